//! One running query of a case: the engine's graph with the real formats at both ends.
//!
//! Each record is an epoch of its own, sealed and applied before the next, so that state is read
//! back from the store as after any epoch. State lives in memory.

use std::sync::Arc;

use bytes::Bytes;
use millstream_connectors::formats::{self, Block, Encoder, window};
use millstream_connectors::log::rows::{RawRecord, RowBuilder};
use millstream_engine::EngineError;
use millstream_engine::graph::{Graph, GraphOptions, StepContext};
use millstream_engine::rows::{Headers, Rows};
use millstream_engine::state::NodeState;
use millstream_sql::catalog::KeyWindow;
use millstream_sql::plan::{Dataflow, Op, StepId};

use super::world::{Refusal, StubRecord};

/// A query that can be fed.
pub struct Query {
    graph: Graph,
    node: NodeState,
    sources: Vec<Source>,
    sinks: Vec<Sink>,
    /// Records fed so far: their order.
    fed: u64,
    /// Rows and records that the product reports instead of failing.
    pub reported: Vec<String>,
}

struct Source {
    step: StepId,
    topic: String,
    rows: RowBuilder,
    next_offset: i64,
}

struct Sink {
    step: StepId,
    topic: Option<String>,
    key: Box<dyn Encoder>,
    value: Box<dyn Encoder>,
    window: Option<KeyWindow>,
}

fn other(e: impl std::fmt::Display) -> Refusal {
    Refusal::Other(e.to_string())
}

impl Query {
    /// # Errors
    /// When the engine or a format cannot run the plan.
    pub fn start(dataflow: &Dataflow) -> Result<Query, Refusal> {
        let mut node = NodeState::in_memory().map_err(other)?;
        let graph = Graph::build(dataflow, &mut node, &GraphOptions::default()).map_err(other)?;
        let (mut sources, mut sinks) = (Vec::new(), Vec::new());
        for (step, plan) in dataflow.steps.iter().enumerate() {
            match &plan.op {
                Op::Source(source) => sources.push(Source {
                    step,
                    topic: source.topic.clone(),
                    rows: RowBuilder::new(source).map_err(other)?,
                    next_offset: 0,
                }),
                Op::Sink(sink) => sinks.push(Sink {
                    step,
                    topic: sink.topic.clone(),
                    key: formats::key_encoder(&sink.key_format, &plan.schema.key, sink.rekeyed)
                        .map_err(other)?,
                    value: formats::encoder(&sink.value_format, &plan.schema.value)
                        .map_err(other)?,
                    window: plan.window,
                }),
                _ => {}
            }
        }
        Ok(Query { graph, node, sources, sinks, fed: 0, reported: Vec::new() })
    }

    pub fn source_topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self.sources.iter().map(|s| s.topic.clone()).collect();
        topics.dedup();
        topics
    }

    /// Feeds one record of `topic` through the whole dataflow; gives what comes out of each sink.
    ///
    /// # Errors
    /// When the query would stop.
    pub fn feed(
        &mut self,
        topic: &str,
        record: &StubRecord,
    ) -> Result<Vec<(String, StubRecord)>, Refusal> {
        let mut written = Vec::new();
        for (step, rows) in self.step(topic, record)? {
            let sink = self.sinks.iter().find(|s| s.step == step);
            let Some(sink) = sink.filter(|s| s.topic.is_some()) else { continue };
            for part in &rows {
                write(sink, part, &mut written, &mut self.reported);
            }
        }
        Ok(written)
    }

    /// As `feed`, but gives the rows that reach each sink.
    ///
    /// # Errors
    /// When the query would stop.
    pub fn step(
        &mut self,
        topic: &str,
        record: &StubRecord,
    ) -> Result<Vec<(StepId, Vec<Rows>)>, Refusal> {
        let mut inputs = Vec::new();
        for source in self.sources.iter_mut().filter(|s| s.topic == topic) {
            let value = Bytes::from(record.value.clone().unwrap_or_default());
            let block = Block::new(0, value.clone());
            let headers = || Arc::new(Headers(record.headers.clone()));
            let raw = RawRecord {
                order: self.fed,
                partition: 0,
                offset: source.next_offset,
                timestamp: record.timestamp,
                key: record.key.as_deref(),
                value: record.value.as_ref().map(|_| &value[..]),
                block: &block,
                headers: (!record.headers.is_empty()).then(headers),
            };
            source.next_offset += 1;
            if let Err(e) = source.rows.push(raw) {
                self.reported.push(e.to_string());
            }
            if let Some(rows) = source.rows.finish().map_err(Refusal::Other)? {
                inputs.push((source.step, vec![rows]));
            }
        }
        self.fed += 1;
        let context = StepContext { epoch: self.fed, now_ms: 0, consolidate: false };
        let output = self.graph.step(inputs, &context).map_err(|e| match e {
            EngineError::Sql(e) => Refusal::Sql(e),
            e => other(e),
        })?;
        self.reported.extend(output.errors.into_iter().map(|e| e.reason));
        self.seal()?;
        Ok(output.sinks)
    }

    fn seal(&mut self) -> Result<(), Refusal> {
        let (_, payload) = self.node.finish(self.graph.stores());
        let epoch = self.node.apply(&payload).map_err(other)?;
        for (_, store) in self.graph.stores() {
            store.applied(epoch);
        }
        Ok(())
    }
}

fn write(
    sink: &Sink,
    rows: &Rows,
    written: &mut Vec<(String, StubRecord)>,
    reported: &mut Vec<String>,
) {
    let keys = sink.key.encode(rows.key_columns(), rows.len());
    let values = sink.value.encode(rows.value_columns(), rows.len());
    for row in 0..rows.len() {
        let value = if rows.is_present(row) { values.row(row) } else { Ok(None) };
        let (key, value) = match (keys.row(row), value) {
            (Ok(key), Ok(value)) => (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec)),
            (Err(reason), _) | (_, Err(reason)) => {
                reported.push(reason.to_owned());
                continue;
            }
        };
        let key = match (key, sink.window, &rows.windows) {
            (Some(mut key), Some(kind), Some(windows)) => {
                window::append(&mut key, kind, (windows.starts[row], windows.ends[row]));
                Some(key)
            }
            (key, ..) => key,
        };
        let headers = rows.triggers.headers.as_ref().and_then(|all| all[row].clone());
        let headers = headers.map(|h| h.0.clone()).unwrap_or_default();
        let record = StubRecord { key, value, timestamp: rows.times[row], headers };
        written.push((sink.topic.clone().unwrap_or_default(), record));
    }
}
