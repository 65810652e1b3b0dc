//! New value columns; key columns chosen among the input's.
//!
//! Emits each row. A tombstone stays one: expressions are not evaluated for it. For a table the
//! expressions are evaluated for what the row replaces too. Columns passed on as they are, are shared.
//!
//! State: none.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use millstream_sql::expr::{Expr, RowErrors};
use millstream_sql::types::Schema;

use super::Exprs;
use crate::error::Result;
use crate::operator::{Ctx, Operator};
use crate::rows::{OldValues, Rows, batch};

pub(crate) struct Project {
    key: Vec<usize>,
    values: Exprs,
    schema: SchemaRef,
}

impl Project {
    pub(crate) fn new(
        key: &[usize],
        values: &[Expr],
        input: &Schema,
        output: &Schema,
    ) -> Result<Self> {
        let values = Exprs::new(values, input)?;
        Ok(Project { key: key.to_vec(), values, schema: Arc::clone(&output.to_arrow()) })
    }

    fn project(&self, rows: &Rows, ctx: &mut Ctx<'_>) -> Result<Rows> {
        let mut errors = RowErrors::default();
        let mut columns: Vec<_> =
            self.key.iter().map(|&i| rows.key_columns()[i].clone()).collect();
        columns.extend(self.values.evaluate(
            &rows.columns,
            rows.present.as_ref(),
            &ctx.eval(),
            &mut errors,
        )?);
        ctx.report(errors, &rows.triggers);
        let old = match (&rows.old, rows.old_batch()?) {
            (Some(old), Some(old_batch)) => Some(OldValues {
                columns: self.values.evaluate(
                    &old_batch,
                    Some(&old.present),
                    &ctx.eval(),
                    &mut RowErrors::default(),
                )?,
                present: old.present.clone(),
            }),
            _ => None,
        };
        Ok(Rows {
            columns: batch(&self.schema, columns, rows.len())?,
            key_len: self.key.len(),
            old,
            ..rows.clone()
        })
    }
}

impl Operator for Project {
    fn step(&mut self, inputs: &[&[Rows]], ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        inputs[0].iter().map(|rows| self.project(rows, ctx)).collect()
    }
}
