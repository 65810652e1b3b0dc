//! What every operator can do.
//!
//! An operator owns no thread, clock, channel or file. Once per epoch it is given all rows of each of
//! its inputs and answers with its own. It keeps nothing a crash may not take: what it must remember
//! is in its [`StateStore`]; other fields are caches of that, or columns written back before `step`
//! returns. So recovery is making it anew over the same state.
//!
//! Rules that hold for all (`reference/ksqldb.md` 5.2, 5.3, 5.8):
//! - rows come out in the order of their triggers, and keep the trigger of the row that caused them;
//! - a row that cannot be computed is reported, never a failed batch;
//! - with `consolidate` a table operator lets at most one change per key leave in an epoch: from the
//!   value at the epoch's beginning to the one at its end, nothing if they are equal. Without it every
//!   intermediate change leaves, as in ksqlDB with its caches off.

use millstream_sql::expr::{EvalContext, RowErrors};

use crate::error::Result;
use crate::io::{BadRecord, Epoch};
use crate::rows::{Millis, Rows, Triggers};
use crate::snapshot::Selection;
use crate::state::StateStore;

/// One step of a query.
pub trait Operator: Send {
    /// Takes one epoch's rows of each input, in order; answers with this step's rows.
    ///
    /// # Errors
    /// When state cannot be read or rows do not fit the plan: the query stops.
    fn step(&mut self, inputs: &[&[Rows]], ctx: &mut Ctx<'_>) -> Result<Vec<Rows>>;

    /// The state, for the runtime to gather.
    fn state(&mut self) -> Option<&mut StateStore> {
        None
    }

    /// Whether [`Operator::read`] answers: the state holds this step's table.
    fn is_materialized(&self) -> bool {
        false
    }

    /// The rows of this step's table that `selection` may want, all present: those of its keys (in
    /// key order of asking), else all, in key order; outside its windows left out.
    ///
    /// # Errors
    /// When state cannot be read.
    fn read(&mut self, _selection: &Selection) -> Result<Vec<Rows>> {
        Ok(vec![])
    }
}

/// What surrounds one step of one epoch.
pub struct Ctx<'a> {
    pub epoch: Epoch,
    /// The epoch's time: what `now()` means.
    pub now_ms: Millis,
    pub consolidate: bool,
    pub query: &'a str,
    /// ksqlDB's name of the step.
    pub step: &'a str,
    /// The processing log's entries of this epoch.
    pub errors: &'a mut Vec<BadRecord>,
}

impl Ctx<'_> {
    pub fn eval(&self) -> EvalContext {
        EvalContext { now_ms: self.now_ms }
    }

    /// Reports rows that an expression failed for; `triggers` are those of the evaluated batch.
    pub fn report(&mut self, errors: RowErrors, triggers: &Triggers) {
        for error in errors.0 {
            self.report_row(error.message.into_owned(), triggers, error.row);
        }
    }

    /// Reports one row.
    pub fn report_row(&mut self, reason: String, triggers: &Triggers, row: usize) {
        self.errors.push(BadRecord {
            query: self.query.into(),
            step: self.step.into(),
            topic: String::new(),
            partition: triggers.partitions.get(row).copied().unwrap_or(-1),
            offset: triggers.offsets.get(row).copied().unwrap_or(-1),
            reason,
        });
    }
}
