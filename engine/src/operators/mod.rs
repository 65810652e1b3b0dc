//! The operators, one file each, and how a step of a plan becomes one.
//!
//! Each file opens with what the operator does, when it emits, its state's key layout, its invariants.

mod aggregate;
mod filter;
mod fixed_time;
mod flat_map;
mod join;
mod project;
mod record_time;
mod select_key;
mod sink;
mod source;
mod table;
mod union;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{filter_record_batch, nullif};
use arrow::datatypes::DataType;
use millstream_sql::expr::{Compiled, EvalContext, Expr, RowErrors, compile};
use millstream_sql::plan::{Op, Step};
use millstream_sql::types::Schema;

pub use record_time::RecordTime;
pub use source::pseudo_column;

use aggregate::Aggregate;
pub(crate) use filter::Filter;
pub(crate) use flat_map::FlatMap;
use join::{ForeignKeyJoin, StreamStreamJoin, StreamTableJoin, TableTableJoin};
pub(crate) use project::Project;
pub(crate) use select_key::SelectKey;
pub(crate) use sink::Sink;
pub(crate) use source::Source;
pub(crate) use union::Union;

use crate::codec::{RowCodec, spread};
use crate::error::{EngineError, Result};
use crate::operator::Operator;
use crate::state::{OperatorId, StateStore};

/// Expressions over one input, evaluated together.
pub(crate) struct Exprs {
    compiled: Vec<Compiled>,
    types: Vec<DataType>,
}

impl Exprs {
    pub(crate) fn new<'a>(
        exprs: impl IntoIterator<Item = &'a Expr>,
        input: &Schema,
    ) -> Result<Self> {
        let mut compiled = Vec::new();
        let mut types = Vec::new();
        for expr in exprs {
            compiled.push(compile(expr, input)?);
            types.push(expr.typed()?.to_arrow());
        }
        Ok(Exprs { compiled, types })
    }

    pub(crate) fn types(&self) -> &[DataType] {
        &self.types
    }

    /// The values for the rows of `batch` that are `present`; NULL for the others, which are not
    /// evaluated (they are tombstones, not rows of NULLs).
    pub(crate) fn evaluate(
        &self,
        batch: &RecordBatch,
        present: Option<&BooleanBuffer>,
        eval: &EvalContext,
        errors: &mut RowErrors,
    ) -> Result<Vec<ArrayRef>> {
        let all = present.is_none_or(|p| p.count_set_bits() == p.len());
        let Some(present) = present.filter(|_| !all) else {
            return Ok(self.compiled.iter().map(|c| c.evaluate(batch, eval, errors)).collect());
        };
        let there = filter_record_batch(batch, &BooleanArray::from(present.clone()))?;
        let first = errors.0.len();
        let dense: Vec<ArrayRef> =
            self.compiled.iter().map(|c| c.evaluate(&there, eval, errors)).collect();
        let places: Vec<usize> = present.set_indices().collect();
        for error in &mut errors.0[first..] {
            error.row = places[error.row];
        }
        spread(&dense, present, &self.types)
    }
}

/// `columns` with NULL where `keep` is not set.
pub(crate) fn keep_only(columns: &[ArrayRef], keep: &BooleanBuffer) -> Result<Vec<ArrayRef>> {
    if keep.count_set_bits() == keep.len() {
        return Ok(columns.to_vec());
    }
    let drop = BooleanArray::from(!keep);
    columns.iter().map(|c| Ok(nullif(c.as_ref(), &drop)?)).collect()
}

/// Whether each row is equal in `old` and `new`, columns of one schema.
pub(crate) fn unchanged(old: &[ArrayRef], new: &[ArrayRef], len: usize) -> Result<Vec<bool>> {
    let mut same = vec![true; len];
    for (old, new) in old.iter().zip(new) {
        if new.data_type().is_nested() {
            let codec = RowCodec::of_types(vec![new.data_type().clone()])?;
            let old = codec.encode(std::slice::from_ref(old), len)?;
            let new = codec.encode(std::slice::from_ref(new), len)?;
            same.iter_mut().enumerate().for_each(|(i, same)| *same &= old.row(i) == new.row(i));
        } else {
            let equal = not_distinct(&old.as_ref(), &new.as_ref())?;
            same.iter_mut().enumerate().for_each(|(i, same)| *same &= equal.value(i));
        }
    }
    Ok(same)
}

/// Gives an operator its state: kind, and whether the store caches what is read.
pub(crate) type OpenState<'a> = dyn FnMut(&'static str, bool) -> Result<(OperatorId, StateStore)> + 'a;

/// Builds the aggregates and joins; `cache` is what each may hold in memory.
pub(crate) fn stateful<'s>(
    step: &Step,
    input: &dyn Fn(usize) -> Result<&'s Step>,
    cache: usize,
    open: &mut OpenState<'_>,
) -> Result<(Box<dyn Operator>, Option<OperatorId>)> {
    let built: (Box<dyn Operator>, OperatorId) = match &step.op {
        Op::Aggregate(plan) => {
            let (schema, of) = (&input(0)?.schema, &step.schema);
            let (id, store) = open("Aggregate", false)?;
            (Box::new(Aggregate::new(plan, schema, of, store, cache)?), id)
        }
        Op::StreamStreamJoin(plan) => {
            let (id, store) = open("StreamStreamJoin", false)?;
            let steps = [step, input(0)?, input(1)?];
            (Box::new(StreamStreamJoin::new(plan, steps, store, cache)?), id)
        }
        Op::StreamTableJoin { kind } => {
            let (id, store) = open("StreamTableJoin", true)?;
            (Box::new(StreamTableJoin::new(*kind, [step, input(0)?, input(1)?], store)?), id)
        }
        Op::TableTableJoin { kind } => {
            let (id, store) = open("TableTableJoin", true)?;
            (Box::new(TableTableJoin::new(*kind, [step, input(0)?, input(1)?], store)?), id)
        }
        Op::ForeignKeyJoin { kind, foreign_key } => {
            let (id, store) = open("ForeignKeyJoin", true)?;
            let steps = [step, input(0)?, input(1)?];
            (Box::new(ForeignKeyJoin::new(*kind, foreign_key, steps, store)?), id)
        }
        other => return Err(EngineError::Shape(format!("{} has no state", step_kind(other)))),
    };
    Ok((built.0, Some(built.1)))
}

fn step_kind(op: &Op) -> String {
    let shown = format!("{op:?}");
    shown.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
}
