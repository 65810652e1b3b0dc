//! Pull queries: what a table holds at the end of the last published epoch.
//!
//! A query's table is found by walking up from its sink to the last step that holds state (an
//! aggregate, a join of tables, a materialised source; else the sink itself); the stateless steps
//! between are applied to what is read there. [`Selection`] is what can be looked up instead of
//! scanned; the plan's filter is applied to what comes, so a wider answer is never wrong.

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use millstream_sql::expr::{EvalContext, Expr, RowErrors, compile};
use millstream_sql::plan::{PullPlan, TimeRange};
use millstream_sql::types::Schema;

use crate::error::{EngineError, Result};
use crate::graph::Graph;
use crate::io::Epoch;
use crate::operators::pseudo_column;
use crate::rows::{Millis, Rows, batch};

/// Which rows of a table are asked for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Whole keys: one array per key column, all of one length. `None`: every key.
    pub keys: Option<Vec<ArrayRef>>,
    pub window_start: TimeRange,
    pub window_end: TimeRange,
}

impl Selection {
    pub fn wants_window(&self, start: Millis, end: Millis) -> bool {
        contains(&self.window_start, start) && contains(&self.window_end, end)
    }
}

fn contains(range: &TimeRange, at: Millis) -> bool {
    range.from_ms.is_none_or(|from| from <= at) && range.to_ms.is_none_or(|to| at <= to)
}

/// The answer to a pull query.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The epoch whose state was read.
    pub epoch: Epoch,
    /// The plan's result columns, in the order they were selected.
    pub rows: RecordBatch,
}

/// Answers `plan` from the state of the query that makes its relation.
///
/// # Errors
/// When the query holds no table, or its state cannot be read.
pub fn pull(graph: &mut Graph, plan: &PullPlan, epoch: Epoch, now_ms: Millis) -> Result<Snapshot> {
    let eval = EvalContext { now_ms };
    let selection = selection(plan, &eval)?;
    let parts = graph
        .read(&selection, now_ms)?
        .ok_or_else(|| EngineError::NotMaterialized(plan.relation.clone()))?;
    let schema = result_schema(plan).to_arrow();
    let mut batches = Vec::with_capacity(parts.len());
    let mut left = plan.limit.unwrap_or(u64::MAX) as usize;
    for rows in parts {
        if left == 0 {
            break;
        }
        let found = answer(plan, &rows, &eval)?;
        let found = found.slice(0, found.num_rows().min(left));
        left -= found.num_rows();
        batches.push(found);
    }
    Ok(Snapshot { epoch, rows: concat_batches(&schema, &batches)? })
}

/// Filter and items over one run of a table's rows.
fn answer(plan: &PullPlan, rows: &Rows, eval: &EvalContext) -> Result<RecordBatch> {
    let mut columns = rows.columns.columns().to_vec();
    for pseudo in &plan.pseudo {
        columns.push(pseudo_column(*pseudo, rows));
    }
    let mut input = batch(&plan.input.to_arrow(), columns, rows.len())?;
    let mut errors = RowErrors::default();
    if let Some(filter) = &plan.filter {
        let keep = compile(filter, &plan.input)?.filter(&input, eval, &mut errors);
        input = filter_record_batch(&input, &BooleanArray::from(keep))?;
    }
    let mut items = Vec::with_capacity(plan.items.len());
    for (_, item) in &plan.items {
        items.push(compile(item, &plan.input)?.evaluate(&input, eval, &mut errors));
    }
    batch(&result_schema(plan).to_arrow(), items, input.num_rows())
}

fn result_schema(plan: &PullPlan) -> Schema {
    Schema { key: vec![], value: plan.result_columns().map(|(column, _)| column.clone()).collect() }
}

/// The plan's key literals as columns.
fn selection(plan: &PullPlan, eval: &EvalContext) -> Result<Selection> {
    let keys = match &plan.keys {
        None => None,
        Some(keys) => {
            let width = keys.first().map_or(0, Vec::len);
            let columns = (0..width)
                .map(|i| literals(keys.iter().filter_map(|key| key.get(i)), eval))
                .collect::<Result<Vec<_>>>()?;
            // Keys that no row can have (an empty IN list) select nothing: no column says that.
            (width > 0).then_some(columns)
        }
    };
    Ok(Selection { keys, window_start: plan.window_start, window_end: plan.window_end })
}

fn literals<'a>(exprs: impl Iterator<Item = &'a Expr>, eval: &EvalContext) -> Result<ArrayRef> {
    let nothing = Schema::default();
    let one = batch(&nothing.to_arrow(), vec![], 1)?;
    let mut values = Vec::new();
    for expr in exprs {
        values.push(compile(expr, &nothing)?.evaluate(&one, eval, &mut RowErrors::default()));
    }
    let parts: Vec<&dyn arrow::array::Array> = values.iter().map(AsRef::as_ref).collect();
    Ok(arrow::compute::concat(&parts)?)
}
