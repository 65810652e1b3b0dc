//! Keeps rows for which a predicate is TRUE (WHERE, HAVING).
//!
//! Emits: on a stream each matching row; rows with a NULL value never match. On a table a row that
//! stops matching becomes a deletion, at the time of the row that made it stop; one that never matched
//! yields nothing. Where the table keeps no old values, every row that does not match becomes a
//! deletion, because it may have matched before (as in Kafka Streams).
//!
//! State: none.

use arrow::buffer::BooleanBuffer;
use millstream_sql::expr::{Compiled, Expr, RowErrors, compile};
use millstream_sql::syntax::ast::RelationKind;
use millstream_sql::types::Schema;

use super::keep_only;
use crate::error::Result;
use crate::operator::{Ctx, Operator};
use crate::rows::{OldValues, Rows, batch};

pub(crate) struct Filter {
    predicate: Compiled,
    relation: RelationKind,
}

impl Filter {
    pub(crate) fn new(predicate: &Expr, relation: RelationKind, input: &Schema) -> Result<Self> {
        Ok(Filter { predicate: compile(predicate, input)?, relation })
    }

    fn on_stream(&self, rows: &Rows, matches: &BooleanBuffer) -> Result<Rows> {
        let mut rows = rows.filter(matches)?;
        rows.present = None;
        Ok(rows)
    }

    fn on_table(&self, rows: &Rows, matches: &BooleanBuffer, ctx: &Ctx<'_>) -> Result<Rows> {
        let Some(old) = &rows.old else {
            let values = keep_only(rows.value_columns(), matches)?;
            let columns = rows.key_columns().iter().cloned().chain(values).collect();
            let mut rows = rows.clone();
            rows.columns = batch(rows.columns.schema_ref(), columns, rows.len())?;
            rows.present = Some(matches.clone());
            return Ok(rows);
        };
        let mut matched = old.present.clone();
        if let Some(old_batch) = rows.old_batch()? {
            // What failed for the old value was reported when it was new.
            matched =
                &matched & &self.predicate.filter(&old_batch, &ctx.eval(), &mut RowErrors::default());
        }
        let values = keep_only(rows.value_columns(), matches)?;
        let columns = rows.key_columns().iter().cloned().chain(values).collect();
        let changed = Rows {
            columns: batch(rows.columns.schema_ref(), columns, rows.len())?,
            present: Some(matches.clone()),
            old: Some(OldValues {
                columns: keep_only(&old.columns, &matched)?,
                present: matched.clone(),
            }),
            ..rows.clone()
        };
        changed.filter(&(matches | &matched))
    }
}

impl Operator for Filter {
    fn step(&mut self, inputs: &[&[Rows]], ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let mut out = Vec::new();
        for rows in inputs[0] {
            let mut errors = RowErrors::default();
            let mut matches = self.predicate.filter(&rows.columns, &ctx.eval(), &mut errors);
            if let Some(present) = &rows.present {
                matches = &matches & present;
                errors.0.retain(|e| present.value(e.row));
            }
            ctx.report(errors, &rows.triggers);
            let kept = match self.relation {
                RelationKind::Stream => self.on_stream(rows, &matches)?,
                RelationKind::Table => self.on_table(rows, &matches, ctx)?,
            };
            if !kept.is_empty() {
                out.push(kept);
            }
        }
        Ok(out)
    }
}
