//! How each aggregate function adds up (`reference/ksqldb.md` 2.3).
//!
//! An [`Accumulator`] holds one call's running value of many groups, a group's at its slot. The hot
//! ones are columns of numbers; a rarely used one keeps a small structure per slot. Arguments of an
//! epoch are handed over once, then rows are named by their place in them.
//!
//! Saved form: each accumulator appends its own bytes, which it can tell the end of; numbers are
//! little-endian, lengths LEB128, values arrow-row bytes.

mod average;
mod cells;
mod count;
mod distinct;
mod extreme;
mod keep;
mod list;
mod number;
mod sum;
mod tally;
mod top;
mod user;

use arrow::array::ArrayRef;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type,
    Time32MillisecondType, TimestampMillisecondType,
};
use datafusion_common::ScalarValue;
use millstream_sql::expr::{AggregateCall, AggregateFunction};

use self::extreme::Pick;
use crate::error::{EngineError, Result};

/// One call's running values.
pub(super) trait Accumulator: Send {
    /// Takes the arguments of the rows to come. Rows of one epoch follow those of the epochs before.
    ///
    /// # Errors
    /// When the arguments are not what the plan said.
    fn begin(&mut self, args: &Args) -> Result<()>;

    /// Lets go of the arguments.
    fn end(&mut self);

    /// Makes room for `slots` slots; new ones are empty.
    fn grow(&mut self, slots: usize);

    /// Adds row `rows[i]` to slot `slots[i]`, in this order.
    fn add(&mut self, rows: &[u32], slots: &[u32]);

    /// Takes away what row `rows[i]` of the old arguments had added. Only for functions that a table
    /// can be grouped with.
    fn subtract(&mut self, _rows: &[u32], _slots: &[u32]) {}

    /// Whether adding and taking away may change places.
    fn commutes(&self) -> bool {
        false
    }

    /// Whether [`Accumulator::refuses`] may say anything.
    fn can_refuse(&self) -> bool {
        false
    }

    /// Why a row cannot be added.
    fn refuses(&self, _row: u32, _slot: u32) -> Option<String> {
        None
    }

    /// Moves what slot `from` holds to slot `into`, which comes before it in time (sessions); `from` is
    /// not used again.
    fn merge(&mut self, into: u32, from: u32);

    /// The function's value for each of `slots`.
    ///
    /// # Errors
    /// When values kept as bytes do not read back.
    fn finish(&self, slots: &[u32]) -> Result<ArrayRef>;

    fn save(&self, slot: u32, out: &mut Vec<u8>);

    /// Reads what `save` wrote; `None` if it is damaged.
    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()>;

    /// Keeps these slots only, ascending; they get the numbers from 0.
    fn retain(&mut self, kept: &[u32]);

    /// About how many bytes are held beyond the fixed part of each slot.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// The arguments of one call over an epoch's rows.
pub(super) struct Args {
    pub new: Vec<ArrayRef>,
    /// Of what the rows replace; empty for a stream.
    pub old: Vec<ArrayRef>,
    /// A number that grows with every row of the query: this epoch's first.
    pub first: u64,
}

/// The accumulator of a call.
///
/// # Errors
/// When the call is none the planner makes.
pub(super) fn accumulator(call: &AggregateCall) -> Result<Box<dyn Accumulator>> {
    use AggregateFunction::*;
    let ty = call.ty.to_arrow();
    let types = call.args.iter().map(|a| Ok(a.typed()?.to_arrow())).collect::<Result<Vec<_>>>()?;
    let shape = || EngineError::Shape(format!("no such aggregate: {}", call.text));
    let arg = types.first().cloned();
    Ok(match call.function {
        Count => Box::new(count::Count::default()),
        Sum => match ty {
            DataType::Int32 => Box::new(sum::Sum::<Int32Type>::new(ty)),
            DataType::Int64 => Box::new(sum::Sum::<Int64Type>::new(ty)),
            DataType::Float64 => Box::new(sum::Sum::<Float64Type>::new(ty)),
            DataType::Decimal128(..) => Box::new(sum::Sum::<Decimal128Type>::new(ty)),
            DataType::Decimal256(..) => Box::new(sum::Sum::<Decimal256Type>::new(ty)),
            _ => return Err(shape()),
        },
        SumList => match ty {
            DataType::Int32 => Box::new(sum::SumList::<Int32Type>::new(ty)),
            DataType::Int64 => Box::new(sum::SumList::<Int64Type>::new(ty)),
            DataType::Float64 => Box::new(sum::SumList::<Float64Type>::new(ty)),
            _ => return Err(shape()),
        },
        Avg => match arg.ok_or_else(shape)? {
            DataType::Int32 => Box::new(average::Avg::<Int32Type>::default()),
            DataType::Int64 => Box::new(average::Avg::<Int64Type>::default()),
            DataType::Float64 => Box::new(average::Avg::<Float64Type>::default()),
            _ => return Err(shape()),
        },
        StddevSample => Box::new(average::Deviation::new(true)),
        StddevSamp => Box::new(average::Deviation::new(false)),
        Correlation => Box::new(average::Correlation::default()),
        Min => extreme(Pick::Least, &ty).ok_or_else(shape)?,
        Max => extreme(Pick::Greatest, &ty).ok_or_else(shape)?,
        EarliestByOffset | LatestByOffset => {
            let latest = call.function == LatestByOffset;
            let ignore_nulls = call.constants.get(1) != Some(&ScalarValue::Boolean(Some(false)));
            let arg = arg.ok_or_else(shape)?;
            match call.constants.first() {
                Some(ScalarValue::Int32(Some(n))) => {
                    Box::new(list::ByOffset::new(arg, latest, ignore_nulls, *n)?)
                }
                _ => keep::by_offset(arg, latest, ignore_nulls)?,
            }
        }
        CollectList => Box::new(list::Collect::new(arg.ok_or_else(shape)?, false)?),
        CollectSet => Box::new(list::Collect::new(arg.ok_or_else(shape)?, true)?),
        CountDistinct => Box::new(distinct::CountDistinct::new(arg.ok_or_else(shape)?)?),
        Histogram => Box::new(tally::Histogram::new(ty)?),
        User => Box::new(user::User::new(call.user.clone().ok_or_else(shape)?, ty)?),
        Attr => Box::new(tally::Attr::new(arg.ok_or_else(shape)?)?),
        TopK | TopKDistinct => {
            let Some(ScalarValue::Int32(Some(k))) = call.constants.first() else {
                return Err(shape());
            };
            Box::new(top::Top::new(types, ty, *k, call.function == TopKDistinct)?)
        }
    })
}

fn extreme(pick: Pick, ty: &DataType) -> Option<Box<dyn Accumulator>> {
    use extreme::{Extreme, ExtremeBytes};
    let ty = ty.clone();
    Some(match ty {
        DataType::Int32 => Box::new(Extreme::<Int32Type>::new(pick, ty)),
        DataType::Int64 => Box::new(Extreme::<Int64Type>::new(pick, ty)),
        DataType::Float64 => Box::new(Extreme::<Float64Type>::new(pick, ty)),
        DataType::Decimal128(..) => Box::new(Extreme::<Decimal128Type>::new(pick, ty)),
        DataType::Decimal256(..) => Box::new(Extreme::<Decimal256Type>::new(pick, ty)),
        DataType::Date32 => Box::new(Extreme::<Date32Type>::new(pick, ty)),
        DataType::Time32(_) => Box::new(Extreme::<Time32MillisecondType>::new(pick, ty)),
        DataType::Timestamp(..) => Box::new(Extreme::<TimestampMillisecondType>::new(pick, ty)),
        DataType::Utf8View | DataType::Binary => Box::new(ExtremeBytes::new(pick, ty)),
        _ => return None,
    })
}

/// Moves the kept elements of a column of slots to the front.
fn retain_slots<T: Default>(values: &mut Vec<T>, kept: &[u32]) {
    for (to, &from) in kept.iter().enumerate() {
        values[to] = std::mem::take(&mut values[from as usize]);
    }
    values.truncate(kept.len());
}
