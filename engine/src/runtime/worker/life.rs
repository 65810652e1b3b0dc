//! The life of a query: opened from what is kept, closed, failed and tried again.
//!
//! Invariant: a failed query has changed nothing in its epoch; it goes to ERROR alone.

use millstream_sql::plan::Op;
use tracing::warn;

use super::{Stop, Worker, tell};
use crate::error::{EngineError, Result};
use crate::graph::{Graph, GraphOptions};
use crate::io::{IoError, Polled};
use crate::runtime::query::Kept;
use crate::runtime::{PushEvent, QueryState};
use crate::state::NodeState;

impl Worker {
    /// Builds the graph and opens sources and sinks, from what is kept.
    pub(super) fn open(&mut self, at: usize) -> Result<()> {
        let next = self.epoch();
        let query = &mut self.queries[at];
        let persistent = query.persistent;
        let options = GraphOptions { materialize: persistent, ..self.options.graph };
        let graph = if persistent {
            Graph::build(&query.dataflow, &mut self.state, &options)?
        } else {
            let mut memory = NodeState::in_memory()?;
            let graph = Graph::build(&query.dataflow, &mut memory, &options)?;
            query.memory = Some(memory);
            graph
        };
        for source in &mut query.sources {
            let step = &query.dataflow.steps[source.step];
            let Op::Source(plan) = &step.op else { continue };
            let kept = if persistent { self.state.source(&query.id, &source.name)? } else { None };
            let kept = kept.as_deref().and_then(Kept::decode);
            let position = kept.as_ref().map(|k| k.position.as_ref());
            let id = self.io.open_source(&query.id, plan, position, query.start)?;
            self.io.need_only(id, &query.dataflow.columns_used(source.step));
            source.id = Some(id);
            source.kept = kept.as_ref().map(|k| k.position.clone());
            source.handed_since = None;
            if let Some(Kept { epoch, handed_since: Some(since), .. }) = kept {
                if epoch + 1 == next {
                    source.handed_since = Some(since);
                } else {
                    self.io.skip_own_until(id, epoch + 1);
                }
            }
        }
        for sink in &mut query.sinks {
            let step = &query.dataflow.steps[sink.step];
            let Op::Sink(plan) = &step.op else { continue };
            if persistent && plan.topic.is_some() {
                sink.id = Some(self.io.open_sink(&query.id, plan, &step.schema, step.window)?);
            }
        }
        query.graph = Some(graph);
        self.unsealed |= persistent;
        Ok(())
    }

    pub(super) fn close(&mut self, at: usize) {
        let query = &mut self.queries[at];
        query.graph = None;
        query.memory = None;
        for source in &mut query.sources {
            if let Some(id) = source.id.take() {
                self.io.close_source(id);
            }
            source.handed_since = None;
        }
        for sink in &mut query.sinks {
            if let Some(id) = sink.id.take() {
                self.io.close_sink(id);
            }
        }
    }

    /// Rolls a query back and puts it into ERROR. Nothing may be in flight.
    pub(super) fn fail(&mut self, at: usize, reason: &EngineError) {
        let now = self.now();
        self.close(at);
        let query = &mut self.queries[at];
        warn!(query = query.id, %reason, "a query failed");
        query.status.failures += 1;
        if !query.persistent {
            tell(query, || PushEvent::Failed(reason.to_string()));
            query.receivers.clear();
            return;
        }
        let wait = self.options.retry_first_ms.saturating_mul(1 << query.retries.min(20));
        query.retries += 1;
        let retry_at_ms = now + wait.min(self.options.retry_max_ms);
        query.state = QueryState::Error { reason: reason.to_string(), retry_at_ms };
    }

    pub(super) fn take_failed(&mut self, polled: &Polled) -> std::result::Result<(), Stop> {
        for (id, reason) in &polled.failed {
            let owner = self.queries.iter().position(|q| q.sources.iter().any(|s| s.id == Some(*id)));
            let Some(at) = owner else { continue };
            self.settle()?;
            self.fail(at, &EngineError::Io(reason.clone()));
        }
        self.drop_unheard();
        Ok(())
    }

    pub(super) fn retry(&mut self) -> std::result::Result<(), Stop> {
        let now = self.now();
        for at in 0..self.queries.len() {
            let due = matches!(self.queries[at].state, QueryState::Error { retry_at_ms, .. } if retry_at_ms <= now);
            if due {
                self.settle()?;
                self.queries[at].state = QueryState::Running;
                match self.open(at) {
                    Ok(()) => {}
                    Err(EngineError::Io(stopped @ IoError::Stopped(_))) => return Err(stopped.into()),
                    Err(reason) => self.fail(at, &reason),
                }
            }
        }
        Ok(())
    }
}
