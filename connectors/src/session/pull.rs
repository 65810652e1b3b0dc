//! Pull queries on streams: a finite read of the topic, up to where it ends when the query starts.
//!
//! Pull queries on tables are answered by the engine from a table's state.

use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use millstream_engine::io::{Budget, EpochIo, StartAt};
use millstream_engine::operators::RecordTime;
use millstream_engine::rows::Rows;
use millstream_sql::catalog::Relation;
use millstream_sql::error::{Result, SqlError};
use millstream_sql::expr::{Compiled, EvalContext, RowErrors, compile};
use millstream_sql::plan::{PseudoColumn, PullPlan, Source};
use millstream_sql::types::Schema;
use millstream_storage::Recovered;

use super::node_error;
use crate::log::{LogIo, LogParts};

/// Rows decoded at once.
const BUDGET: Budget = Budget { rows: 8192, bytes: 8 << 20 };

/// Reads the whole stream and gives the rows that the query asks for.
///
/// # Errors
/// When the topic is gone or cannot be read.
pub(super) fn read_stream(plan: &PullPlan, relation: &Relation, log: &LogParts) -> Result<Vec<RecordBatch>> {
    // A reader of its own: nothing is sealed, and bad records are not told a second time.
    let parts = LogParts { processing_log: None, ..log.clone() };
    let mut io = LogIo::new(parts, &Recovered::default());
    let source = Source {
        fail_on_invalid_timestamp: false,
        relation: relation.name.clone(),
        topic: relation.topic.clone(),
        kind: relation.kind,
        schema: relation.schema.clone(),
        key_format: relation.key_format.clone(),
        value_format: relation.value_format.clone(),
        window: relation.window,
        timestamp: relation.timestamp.clone(),
        pseudo: plan.pseudo.clone(),
        materialize: false,
        start: None,
    };
    let read = |e: millstream_engine::io::IoError| node_error(e.to_string());
    let id = io.open_source("pull", &source, None, StartAt::Earliest).map_err(read)?;
    io.end_at_now(id);
    let view = View::new(plan)?;
    let time = source.timestamp.as_ref().map(|t| RecordTime::new(t, &source.schema)).transpose();
    let time = time.map_err(|e| node_error(e.to_string()))?;
    let now_ms = log.clock.now_ms();
    let mut left = plan.limit.unwrap_or(u64::MAX);
    let mut batches = Vec::new();
    loop {
        let polled = io.poll(&[id], BUDGET).map_err(read)?;
        if let Some((_, e)) = polled.failed.into_iter().next() {
            return Err(read(e));
        }
        for (_, rows) in &polled.rows {
            let found = match &time {
                Some(time) => view.answer(plan, &timed(rows, time, now_ms)?, now_ms)?,
                None => view.answer(plan, rows, now_ms)?,
            };
            let take = (left.min(found.num_rows() as u64)) as usize;
            left -= take as u64;
            batches.push(found.slice(0, take));
        }
        if left == 0 || !polled.more {
            return Ok(batches);
        }
    }
}

/// The rows with their times from the TIMESTAMP column, without those that have none: as the source of
/// a running query sees them.
fn timed(rows: &Rows, time: &RecordTime, now_ms: i64) -> Result<Rows> {
    let found = time.times(&rows.columns, &EvalContext { now_ms });
    let (kept, times): (Vec<u32>, Vec<i64>) =
        found.iter().zip(0..).filter_map(|(time, row)| time.as_ref().ok().map(|t| (row, *t))).unzip();
    let mut rows = rows.take(&kept).map_err(|e| node_error(e.to_string()))?;
    rows.times = times.into();
    Ok(rows)
}

/// The query's expressions, compiled once.
struct View {
    filter: Option<Compiled>,
    items: Vec<Compiled>,
}

impl View {
    fn new(plan: &PullPlan) -> Result<View> {
        let filter = plan.filter.as_ref().map(|f| compile(f, &plan.input)).transpose()?;
        let items: Result<Vec<_>> = plan.items.iter().map(|(_, e)| compile(e, &plan.input)).collect();
        Ok(View { filter, items: items? })
    }

    fn answer(&self, plan: &PullPlan, rows: &Rows, now_ms: i64) -> Result<RecordBatch> {
        let mut columns = rows.columns.columns().to_vec();
        columns.extend(plan.pseudo.iter().map(|pseudo| pseudo_column(*pseudo, rows)));
        let mut input = batch(&plan.input, columns, rows.len())?;
        let eval = EvalContext { now_ms };
        let mut errors = RowErrors::default();
        if let Some(filter) = &self.filter {
            let keep = BooleanArray::from(filter.filter(&input, &eval, &mut errors));
            input = filter_record_batch(&input, &keep).map_err(|e| node_error(e.to_string()))?;
        }
        let item = |e: &Compiled| e.evaluate(&input, &eval, &mut errors);
        let items = self.items.iter().map(item).collect();
        let columns = plan.result_columns().map(|(column, _)| column.clone()).collect();
        batch(&Schema { key: Vec::new(), value: columns }, items, input.num_rows())
    }
}

fn batch(schema: &Schema, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.to_arrow(), columns, &options)
        .map_err(|e| SqlError::unsupported(format!("the columns do not fit the plan: {e}")))
}

fn pseudo_column(pseudo: PseudoColumn, rows: &Rows) -> ArrayRef {
    use std::sync::Arc;
    let bounds = |starts: bool| match &rows.windows {
        Some(windows) if starts => Int64Array::new(windows.starts.clone(), None),
        Some(windows) => Int64Array::new(windows.ends.clone(), None),
        None => Int64Array::new_null(rows.len()),
    };
    match pseudo {
        PseudoColumn::RowTime => Arc::new(Int64Array::new(rows.times.clone(), None)),
        PseudoColumn::RowPartition => {
            Arc::new(Int32Array::new(rows.triggers.partitions.clone(), None))
        }
        PseudoColumn::RowOffset => Arc::new(Int64Array::new(rows.triggers.offsets.clone(), None)),
        PseudoColumn::WindowStart => Arc::new(bounds(true)),
        PseudoColumn::WindowEnd => Arc::new(bounds(false)),
    }
}
