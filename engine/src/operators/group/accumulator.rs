//! What aggregate functions do: states of all groups of one call, in columns.
//!
//! A *slot* is the place of one group (and window). Functions work on many slots at once: `add` takes
//! rows with the slot of each. Each slot's state can be saved as bytes and loaded again; the bytes of
//! one call follow those of another, so each must know its own length.

use arrow::array::ArrayRef;
use millstream_sql::expr::{AggregateCall, AggregateFunction};
use millstream_sql::types::SqlType;

use super::distinct::CountDistinct;
use super::listed::{Listed, Rule};
use super::numeric::{Average, Correlation, Count, Deviation, MinMax, Sum, SumList};
use super::value::{Extreme, Held, Which};
use crate::error::{EngineError, Result};

/// Rows to be added to slots, in order.
#[derive(Clone, Copy)]
pub(crate) struct Entries<'a> {
    pub(crate) slots: &'a [u32],
    /// The row of each entry in the arguments.
    pub(crate) rows: &'a [u32],
    /// Grows with arrival, over all epochs: by row.
    pub(crate) arrivals: &'a [u64],
}

impl Entries<'_> {
    /// Slot and row of each entry.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.slots.iter().zip(self.rows).map(|(&slot, &row)| (slot as usize, row as usize))
    }
}

/// Rows an aggregate could not take, and why; their update is lost.
pub(crate) type AddErrors = Vec<(usize, String)>;

/// One call's states.
pub(crate) trait Accumulator: Send {
    /// Makes room for `slots` slots; new ones are as if nothing had been added.
    fn grow(&mut self, slots: usize);

    fn add(&mut self, entries: Entries<'_>, args: &[ArrayRef], errors: &mut AddErrors) -> Result<()>;

    /// Takes rows back that were added; only for functions that may be used over tables.
    fn remove(
        &mut self,
        entries: Entries<'_>,
        args: &[ArrayRef],
        errors: &mut AddErrors,
    ) -> Result<()>;

    /// Adds the state of slot `from`, the earlier of two sessions, to that of `into`.
    fn merge(&mut self, into: usize, from: usize);

    /// The results of `slots`.
    fn finish(&self, slots: &[u32]) -> Result<ArrayRef>;

    fn save(&self, slot: usize, out: &mut Vec<u8>);

    /// Reads what `save` wrote; `None` if it is damaged.
    fn load(&mut self, slot: usize, at: &mut &[u8]) -> Option<()>;

    /// Slot `i` becomes what `keep[i]` was; the others go.
    fn compact(&mut self, keep: &[u32]);
}

/// Moves the kept entries of a column to their new places.
pub(crate) fn compact_column<T: Clone>(column: &mut Vec<T>, keep: &[u32]) {
    *column = keep.iter().map(|&slot| column[slot as usize].clone()).collect();
}

/// The accumulator of a call.
pub(crate) fn accumulator(call: &AggregateCall) -> Result<Box<dyn Accumulator>> {
    use AggregateFunction as F;
    let unknown = || EngineError::Shape(format!("no aggregate for {}", call.text));
    let args: Vec<SqlType> = call
        .args
        .iter()
        .map(|arg| arg.typed().map_err(EngineError::from))
        .collect::<Result<_>>()?;
    let first = || args.first().cloned().ok_or_else(unknown);
    let number = |i: usize| {
        call.constants.get(i).and_then(|c| match c {
            datafusion_common::ScalarValue::Int32(n) => n.map(i64::from),
            datafusion_common::ScalarValue::Int64(n) => *n,
            _ => None,
        })
    };
    let flag = |i: usize| {
        call.constants.get(i).is_none_or(|c| {
            !matches!(c, datafusion_common::ScalarValue::Boolean(Some(false)))
        })
    };
    let limit = |n: Option<i64>| n.map_or(usize::MAX, |n| n.max(0) as usize);
    Ok(match call.function {
        F::Count => Box::new(Count::new(!args.is_empty())),
        F::Sum => Sum::boxed(&first()?).ok_or_else(unknown)?,
        F::Avg => Box::new(Average::new(&first()?)),
        F::Min | F::Max => {
            let max = call.function == F::Max;
            match first()? {
                ty @ (SqlType::String | SqlType::Bytes) => Box::new(Extreme::new(&ty, max)?),
                ty => MinMax::boxed(&ty, max).ok_or_else(unknown)?,
            }
        }
        F::StddevSample => Box::new(Deviation::new(true)),
        F::StddevSamp => Box::new(Deviation::new(false)),
        F::Correlation => Box::new(Correlation::default()),
        F::SumList => SumList::boxed(&first()?).ok_or_else(unknown)?,
        F::LatestByOffset | F::EarliestByOffset => {
            let latest = call.function == F::LatestByOffset;
            match number(0) {
                None => {
                    let which = if latest { Which::Latest } else { Which::Earliest };
                    Box::new(Held::new(&first()?, which, flag(1))?)
                }
                Some(n) => {
                    let n = limit(Some(n));
                    let rule = if latest {
                        Rule::Latest { n, ignore_nulls: flag(1) }
                    } else {
                        Rule::Earliest { n, ignore_nulls: flag(1) }
                    };
                    Box::new(Listed::new(&args, &call.ty, rule)?)
                }
            }
        }
        F::CollectList => Box::new(Listed::new(&args, &call.ty, Rule::All)?),
        F::CollectSet => Box::new(Listed::new(&args, &call.ty, Rule::Set)?),
        F::TopK => Box::new(Listed::new(&args, &call.ty, Rule::Top(limit(number(0))))?),
        F::TopKDistinct => {
            Box::new(Listed::new(&args, &call.ty, Rule::TopDistinct(limit(number(0))))?)
        }
        F::Histogram => Box::new(Listed::new(&args, &call.ty, Rule::Histogram)?),
        F::Attr => Box::new(Listed::new(&args, &call.ty, Rule::Attr)?),
        F::CountDistinct => Box::new(CountDistinct::new(&first()?)?),
    })
}
