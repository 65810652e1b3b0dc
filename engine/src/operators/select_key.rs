//! New key columns: PARTITION BY, or what a join or GROUP BY needs.
//!
//! Emits each row, its value columns as they are. A key expression that fails gives a NULL key. For a
//! row with a NULL value only expressions over nothing but the key are evaluated; the others are NULL.
//!
//! State: none.

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use millstream_sql::expr::{Expr, RowErrors};
use millstream_sql::types::Schema;

use super::Exprs;
use crate::error::Result;
use crate::operator::{Ctx, Operator};
use crate::rows::{Rows, batch};

pub(crate) struct SelectKey {
    /// One each, with whether it is over key columns only.
    key: Vec<(Exprs, bool)>,
    schema: SchemaRef,
}

impl SelectKey {
    pub(crate) fn new(key: &[Expr], input: &Schema, output: &Schema) -> Result<Self> {
        let key = key
            .iter()
            .map(|expr| Ok((Exprs::new([expr], input)?, is_over_key(expr, input.key.len()))))
            .collect::<Result<_>>()?;
        Ok(SelectKey { key, schema: output.to_arrow() })
    }

    fn select(&self, rows: &Rows, ctx: &mut Ctx<'_>) -> Result<Rows> {
        let mut errors = RowErrors::default();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for (expr, over_key) in &self.key {
            let present = if *over_key { None } else { rows.present.as_ref() };
            columns.extend(expr.evaluate(&rows.columns, present, &ctx.eval(), &mut errors)?);
        }
        columns.extend_from_slice(rows.value_columns());
        ctx.report(errors, &rows.triggers);
        Ok(Rows {
            columns: batch(&self.schema, columns, rows.len())?,
            key_len: self.key.len(),
            windows: None,
            ..rows.clone()
        })
    }
}

fn is_over_key(expr: &Expr, key_len: usize) -> bool {
    match expr {
        Expr::Column { index, .. } => *index < key_len,
        other => other.children().iter().all(|child| is_over_key(child, key_len)),
    }
}

impl Operator for SelectKey {
    fn step(&mut self, inputs: &[&[Rows]], ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        inputs[0].iter().map(|rows| self.select(rows, ctx)).collect()
    }
}
