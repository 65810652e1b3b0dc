//! What an aggregate reads of its input: group keys and arguments, of the new rows and of a table's old.

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use millstream_sql::expr::RowErrors;
use millstream_sql::plan;
use millstream_sql::types::Schema;

use super::super::Exprs;
use super::accumulators::Args;
use crate::error::Result;
use crate::operator::Ctx;
use crate::rows::Rows;

/// Below this many rows an epoch's arrivals have distinct numbers.
const ARRIVALS: u32 = 28;

pub(super) struct Input {
    group: Exprs,
    args: Vec<Exprs>,
}

/// One epoch's input.
pub(super) struct Batch {
    pub(super) rows: Rows,
    /// Group keys of the rows.
    pub(super) new: Vec<ArrayRef>,
    /// Group keys of what they replace; empty for a stream.
    pub(super) old: Vec<ArrayRef>,
    pub(super) args: Vec<Args>,
}

impl Input {
    pub(super) fn new(plan: &plan::Aggregate, input: &Schema) -> Result<Self> {
        let args = plan.calls.iter().map(|call| Exprs::new(&call.args, input));
        Ok(Input { group: Exprs::new(&plan.group, input)?, args: args.collect::<Result<_>>()? })
    }

    pub(super) fn key_types(&self) -> &[DataType] {
        self.group.types()
    }

    pub(super) fn evaluate(&self, rows: Rows, ctx: &mut Ctx<'_>) -> Result<Batch> {
        let first = (ctx.epoch << ARRIVALS) + 1;
        let mut errors = RowErrors::default();
        let present = rows.present.as_ref();
        let eval = ctx.eval();
        let new = self.group.evaluate(&rows.columns, present, &eval, &mut errors)?;
        let mut args = Vec::with_capacity(self.args.len());
        for exprs in &self.args {
            let new = exprs.evaluate(&rows.columns, present, &eval, &mut errors)?;
            args.push(Args { new, old: vec![], first });
        }
        ctx.report(errors, &rows.triggers);
        let mut old = vec![];
        if let Some(replaced) = rows.old_batch()? {
            // What failed for the old row was reported when it was new.
            let mut known = RowErrors::default();
            let present = rows.old.as_ref().map(|old| &old.present);
            old = self.group.evaluate(&replaced, present, &eval, &mut known)?;
            for (exprs, args) in self.args.iter().zip(&mut args) {
                args.old = exprs.evaluate(&replaced, present, &eval, &mut known)?;
            }
        }
        Ok(Batch { rows, new, old, args })
    }
}

impl Batch {
    /// Which of the replaced values there are.
    pub(super) fn old_present(&self) -> Option<&BooleanBuffer> {
        self.rows.old.as_ref().map(|old| &old.present)
    }
}
