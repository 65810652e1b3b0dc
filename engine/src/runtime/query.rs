//! One query of the runtime: its plan, graph, opened sources and sinks, and how it fares.
//!
//! What is kept about a source in the state, with every epoch that ran it:
//!
//! ```text
//! epoch varint | handed over since varint (0: not) | position bytes [ | position before, a fault's ]
//! ```

use bytes::Bytes;
use millstream_sql::plan::{Dataflow, Op, PseudoColumn, StepId};

use super::{QueryState, QueryStatus, RowReceiver};
use crate::graph::Graph;
use crate::io::{Epoch, SinkId, SourceId, StartAt};
use crate::rows::Millis;
use crate::state::NodeState;
use crate::state::{put_bytes, put_varint, take_bytes, take_varint};

pub(crate) struct Query {
    pub(crate) id: String,
    pub(crate) dataflow: Dataflow,
    pub(crate) start: StartAt,
    pub(crate) persistent: bool,
    pub(crate) until_caught_up: bool,
    pub(crate) state: QueryState,
    /// Not there while the query is in ERROR.
    pub(crate) graph: Option<Graph>,
    /// A transient query's own state.
    pub(crate) memory: Option<NodeState>,
    pub(crate) sources: Vec<Source>,
    pub(crate) sinks: Vec<Sink>,
    pub(crate) receivers: Vec<RowReceiver>,
    pub(crate) retries: u32,
    pub(crate) status: Counters,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) epoch: Epoch,
    pub(crate) last_rows_ms: Option<Millis>,
    pub(crate) rows_in: u64,
    pub(crate) rows_out: u64,
    pub(crate) bad_rows: u64,
    pub(crate) failures: u64,
}

pub(crate) struct Source {
    pub(crate) step: StepId,
    /// What its position is kept under.
    pub(crate) name: String,
    pub(crate) relation: String,
    pub(crate) topic: String,
    /// Whether rows may be handed over: not if the query asks for their places in the topic.
    pub(crate) may_join: bool,
    pub(crate) id: Option<SourceId>,
    /// Since which epoch rows of queries on this node are handed over in memory.
    pub(crate) handed_since: Option<Epoch>,
    /// The position kept last.
    pub(crate) kept: Option<Bytes>,
}

pub(crate) struct Sink {
    pub(crate) step: StepId,
    pub(crate) relation: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) id: Option<SinkId>,
}

impl Query {
    pub(crate) fn new(start: super::StartQuery) -> Query {
        let mut sources = Vec::new();
        let mut sinks = Vec::new();
        for (step, of) in start.dataflow.steps.iter().enumerate() {
            match &of.op {
                Op::Source(source) => sources.push(Source {
                    step,
                    name: format!("{}/{}", source.relation, sources.len()),
                    relation: source.relation.clone(),
                    topic: source.topic.clone(),
                    may_join: !source.pseudo.iter().any(|p| {
                        matches!(p, PseudoColumn::RowPartition | PseudoColumn::RowOffset)
                    }),
                    id: None,
                    handed_since: None,
                    kept: None,
                }),
                Op::Sink(sink) => sinks.push(Sink {
                    step,
                    relation: sink.relation.clone(),
                    topic: sink.topic.clone(),
                    id: None,
                }),
                _ => {}
            }
        }
        Query {
            id: start.dataflow.query_id.clone(),
            dataflow: start.dataflow,
            start: start.start,
            persistent: start.persistent,
            until_caught_up: start.until_caught_up,
            state: if start.paused { QueryState::Paused } else { QueryState::Running },
            graph: None,
            memory: None,
            sources,
            sinks,
            receivers: start.receiver.into_iter().collect(),
            retries: 0,
            status: Counters::default(),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state == QueryState::Running && self.graph.is_some()
    }

    pub(crate) fn writes(&self, topic: &str) -> bool {
        self.persistent && self.sinks.iter().any(|sink| sink.topic.as_deref() == Some(topic))
    }

    /// Whether what this query writes into a source's topic is what the source reads: the same relation,
    /// not another one declared over the topic with columns or formats of its own.
    pub(crate) fn feeds(&self, source: &Source) -> bool {
        let of_topic = |sink: &&Sink| sink.topic.as_deref() == Some(source.topic.as_str());
        self.sinks
            .iter()
            .filter(of_topic)
            .all(|sink| sink.relation.as_deref() == Some(source.relation.as_str()))
    }

    /// The relation this query holds the table of, if it is `relation`.
    pub(crate) fn holds(&self, relation: &str) -> bool {
        self.persistent
            && self.dataflow.steps.iter().any(|step| match &step.op {
                Op::Sink(sink) => sink.relation.as_deref() == Some(relation),
                _ => false,
            })
    }

    /// Whether this query is there only to hold the SOURCE TABLE `relation`.
    pub(crate) fn holds_source(&self, relation: &str) -> bool {
        self.persistent
            && self.sinks.iter().all(|sink| sink.topic.is_none())
            && self.dataflow.steps.iter().any(|step| match &step.op {
                Op::Source(source) => source.relation == relation,
                _ => false,
            })
    }

    pub(crate) fn status(&self, caught_up: bool) -> QueryStatus {
        QueryStatus {
            id: self.id.clone(),
            persistent: self.persistent,
            state: self.state.clone(),
            epoch: self.status.epoch,
            last_rows_ms: self.status.last_rows_ms,
            rows_in: self.status.rows_in,
            rows_out: self.status.rows_out,
            bad_rows: self.status.bad_rows,
            failures: self.status.failures,
            caught_up,
        }
    }
}

/// What is kept about a source.
pub(crate) struct Kept {
    /// The last epoch that ran it.
    pub(crate) epoch: Epoch,
    pub(crate) handed_since: Option<Epoch>,
    pub(crate) position: Bytes,
}

impl Kept {
    pub(crate) fn encode(&self, before: Option<&Bytes>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.position.len() + 16);
        put_varint(&mut out, self.epoch);
        put_varint(&mut out, self.handed_since.unwrap_or(0));
        put_bytes(&mut out, &self.position);
        if cfg!(feature = "fault-double-apply") {
            put_bytes(&mut out, before.unwrap_or(&self.position));
        }
        out
    }

    /// `None` for bytes that are none.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Kept> {
        let epoch = take_varint(&mut bytes)?;
        let handed_since = Some(take_varint(&mut bytes)?).filter(|since| *since > 0);
        let mut position = take_bytes(&mut bytes)?;
        if cfg!(feature = "fault-double-apply") {
            // The planted fault: the last epoch's input is taken in again after a restart.
            position = take_bytes(&mut bytes)?;
        }
        Some(Kept { epoch, handed_since, position: Bytes::copy_from_slice(position) })
    }
}
