//! Push queries: a transient dataflow whose rows go to one client.
//!
//! The engine hands rows over epoch by epoch; they are given on when their epoch has ended, so a
//! client never sees half of one. A client that does not take its rows makes the query end rather
//! than the node's memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::compute::kernels::zip::zip;
use arrow::error::ArrowError;
use millstream_engine::runtime::{PushEvent as EngineEvent, StartQuery};
use millstream_engine::rows::Rows;
use millstream_sql::error::Result;
use millstream_sql::plan::QueryPlan;
use millstream_sql::syntax::ast::RelationKind;
use millstream_sql::types::{Column, Schema};
use parking_lot::Mutex;

use super::node::Node;
use super::scope::start_at;
use super::{Cancel, ResultColumn, node_error};

/// Rows that may wait for a client.
const WAITING_MAX: usize = 1_000_000;
/// How often a wait looks whether the query was cancelled.
const LOOK: Duration = Duration::from_millis(50);

/// A running push query. Dropping the receiver ends it.
pub struct PushRows {
    pub query_id: String,
    pub columns: Vec<ResultColumn>,
    /// Whether rows are changes of a table: a row that is not present is a deletion.
    pub is_table: bool,
    pub rows: RowReceiver,
    pub cancel: Cancel,
}

/// What a push query's client sees.
#[derive(Clone, Debug)]
pub enum PushEvent {
    /// `present`: false for tombstones; `None`: none is.
    Rows { batch: RecordBatch, present: Option<BooleanBuffer>, epoch: u64 },
    /// Nothing came within the time given.
    Idle,
    LimitReached,
    Ended { error: Option<String> },
}

pub struct RowReceiver {
    node: Arc<Node>,
    result: ResultShape,
    query_id: String,
    incoming: Mutex<Incoming>,
    waiting: Arc<AtomicUsize>,
    cancel: Cancel,
}

struct Incoming {
    parts: Receiver<Part>,
    /// Rows that may still be given.
    left: u64,
    ended: bool,
}

enum Part {
    Rows(Rows, u64),
    Ended(Option<String>),
}

/// Starts a push query.
///
/// # Errors
/// When the engine cannot run it.
pub(super) fn start(
    node: &Arc<Node>,
    plan: QueryPlan,
    properties: &BTreeMap<String, String>,
) -> Result<PushRows> {
    let start = start_at(properties, node.auto_offset_reset())?;
    let mut dataflow = plan.dataflow;
    let base = dataflow.query_id.strip_prefix("transient_").unwrap_or(&dataflow.query_id);
    dataflow.query_id = node.transient_id(base);
    let last = dataflow.steps.last().ok_or_else(|| node_error("the plan has no steps"))?;
    // What was selected is in the values; the key columns are the dataflow's own.
    let columns = last.schema.value.iter().map(|c| ResultColumn::new(c, false)).collect();
    let is_table = last.relation == RelationKind::Table;
    let result = ResultShape { is_table, key_parts: key_parts(&last.schema) };
    let query_id = dataflow.query_id.clone();
    let cancel = Cancel::default();
    let waiting = Arc::new(AtomicUsize::new(0));
    let (sender, parts) = channel();
    let receiver = hand_over(sender, waiting.clone(), cancel.clone());
    let query = StartQuery {
        dataflow,
        start,
        persistent: false,
        paused: false,
        receiver: Some(receiver),
        until_caught_up: false,
    };
    node.start_query(query)?;
    let incoming = Incoming { parts, left: plan.limit.unwrap_or(u64::MAX), ended: false };
    let rows = RowReceiver {
        node: node.clone(),
        result,
        query_id: query_id.clone(),
        incoming: Mutex::new(incoming),
        waiting,
        cancel: cancel.clone(),
    };
    Ok(PushRows { query_id, columns, is_table, rows, cancel })
}

/// What the engine calls: keeps an epoch's rows until it ends, then gives them on.
fn hand_over(
    sender: Sender<Part>,
    waiting: Arc<AtomicUsize>,
    cancel: Cancel,
) -> Box<dyn FnMut(EngineEvent) -> bool + Send> {
    let mut epoch_rows: Vec<Rows> = Vec::new();
    Box::new(move |event| {
        if cancel.is_cancelled() {
            return false;
        }
        match event {
            EngineEvent::Rows(rows) => {
                epoch_rows.extend(rows);
                true
            }
            EngineEvent::EpochEnd(epoch) => {
                let count: usize = epoch_rows.iter().map(Rows::len).sum();
                if waiting.fetch_add(count, Ordering::AcqRel) + count > WAITING_MAX {
                    let reason = format!("more than {WAITING_MAX} rows wait for the client");
                    let _ = sender.send(Part::Ended(Some(reason)));
                    return false;
                }
                let mut parts = epoch_rows.drain(..).filter(|rows| !rows.is_empty());
                parts.all(|rows| sender.send(Part::Rows(rows, epoch)).is_ok())
            }
            EngineEvent::Finished => {
                let _ = sender.send(Part::Ended(None));
                false
            }
            EngineEvent::Failed(reason) => {
                let _ = sender.send(Part::Ended(Some(reason)));
                false
            }
        }
    })
}

impl RowReceiver {
    /// What comes next; blocks for at most `timeout`. After `LimitReached` or `Ended` there is only
    /// `Ended`.
    pub fn recv(&self, timeout: Duration) -> PushEvent {
        let mut incoming = self.incoming.lock();
        let until = Instant::now() + timeout;
        loop {
            if incoming.ended || self.cancel.is_cancelled() {
                incoming.ended = true;
                return PushEvent::Ended { error: None };
            }
            if incoming.left == 0 {
                incoming.ended = true;
                self.cancel.cancel();
                return PushEvent::LimitReached;
            }
            let wait = until.saturating_duration_since(Instant::now()).min(LOOK);
            match incoming.parts.recv_timeout(wait) {
                Ok(Part::Rows(rows, epoch)) => return self.give(&mut incoming, &rows, epoch),
                Ok(Part::Ended(error)) => {
                    incoming.ended = true;
                    return PushEvent::Ended { error };
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() >= until => return PushEvent::Idle,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    incoming.ended = true;
                    return PushEvent::Ended { error: None };
                }
            }
        }
    }

    /// What is there already; never blocks.
    pub fn try_recv(&self) -> PushEvent {
        self.recv(Duration::ZERO)
    }

    fn give(&self, incoming: &mut Incoming, rows: &Rows, epoch: u64) -> PushEvent {
        self.waiting.fetch_sub(rows.len(), Ordering::AcqRel);
        let (batch, present) = match self.result.of(rows) {
            Ok(result) => result,
            Err(e) => {
                incoming.ended = true;
                return PushEvent::Ended { error: Some(e.to_string()) };
            }
        };
        let len = batch.num_rows();
        let count = usize::try_from(incoming.left).map_or(len, |left| left.min(len));
        incoming.left -= count as u64;
        let present = present.map(|present| present.slice(0, count));
        PushEvent::Rows { batch: batch.slice(0, count), present, epoch }
    }
}

/// How a dataflow's rows become the client's.
struct ResultShape {
    is_table: bool,
    /// For each value column, what part of the row's key it shows.
    key_parts: Vec<Option<KeyPart>>,
}

#[derive(Clone, Copy)]
enum KeyPart {
    Column(usize),
    WindowStart,
    WindowEnd,
}

/// Value columns that bear a key column's name are that column, selected.
fn key_parts(schema: &Schema) -> Vec<Option<KeyPart>> {
    let part = |column: &Column| match column.name.as_str() {
        "WINDOWSTART" => Some(KeyPart::WindowStart),
        "WINDOWEND" => Some(KeyPart::WindowEnd),
        name => schema.key.iter().position(|key| key.name == name).map(KeyPart::Column),
    };
    schema.value.iter().map(part).collect()
}

impl ResultShape {
    /// The selected columns. A stream's rows without a value are no rows to a client; a table's are
    /// deletions, of which the key is shown.
    fn of(&self, rows: &Rows) -> std::result::Result<(RecordBatch, Option<BooleanBuffer>), ArrowError> {
        let values: Vec<usize> = (rows.key_len..rows.columns.num_columns()).collect();
        let batch = rows.columns.project(&values)?;
        let Some(present) = &rows.present else { return Ok((batch, None)) };
        let mask = BooleanArray::new(present.clone(), None);
        if !self.is_table {
            return Ok((filter_record_batch(&batch, &mask)?, None));
        }
        let mut columns = batch.columns().to_vec();
        for (column, part) in columns.iter_mut().zip(&self.key_parts) {
            let key: ArrayRef = match (part, &rows.windows) {
                (Some(KeyPart::Column(i)), _) => rows.columns.column(*i).clone(),
                (Some(KeyPart::WindowStart), Some(windows)) => {
                    Arc::new(Int64Array::new(windows.starts.clone(), None))
                }
                (Some(KeyPart::WindowEnd), Some(windows)) => {
                    Arc::new(Int64Array::new(windows.ends.clone(), None))
                }
                _ => continue,
            };
            if key.data_type() == column.data_type() {
                *column = zip(&mask, column, &key)?;
            }
        }
        Ok((RecordBatch::try_new(batch.schema(), columns)?, Some(present.clone())))
    }
}

impl Drop for RowReceiver {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.node.end_transient(&self.query_id);
    }
}
