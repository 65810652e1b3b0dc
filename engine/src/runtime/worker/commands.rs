//! What the worker does when it is told: start, replace, stop and pause queries, tell how they are,
//! and answer pull queries. Each command is carried out between two epochs.
//!
//! Invariant: a command that fails has changed nothing, and only its caller learns of it.

use std::sync::atomic::Ordering;

use millstream_sql::plan::PullPlan;

use super::{Stop, Worker, tell};
use crate::error::{EngineError, Result};
use crate::runtime::query::Query;
use crate::runtime::{Command, EngineStatus, Forget, PushEvent, QueryState, StartQuery};
use crate::snapshot::{Snapshot, pull};

impl Worker {
    pub(super) fn obey(&mut self, command: Command) -> std::result::Result<(), Stop> {
        self.settle()?;
        match command {
            Command::Start(queries, reply) => {
                let answers = queries.into_iter().map(|query| self.start(query)).collect();
                self.order();
                self.drop_unheard();
                reply.send(answers);
            }
            Command::Replace(query, reply) => reply.send(self.replace(*query)),
            Command::Stop(id, forget, reply) => reply.send(self.stop(&id, forget)),
            Command::Pause(id, pause, reply) => reply.send(self.pause(&id, pause)),
            Command::Status(reply) => reply.send(self.status()),
            Command::Pull(plan, reply) => reply.send(self.pull(&plan)),
            Command::Subscribe(id, receiver, reply) => {
                let found = self.find(&id).map(|at| self.queries[at].receivers.push(receiver));
                reply.send(found);
            }
            Command::Flush(reply) => {
                let flushed = self.state.backend().flush().map_err(EngineError::from);
                if let Ok(epoch) = &flushed {
                    self.io.state_durable(*epoch);
                }
                reply.send(flushed);
            }
            Command::Shutdown(reply) => {
                let flushed = self.state.backend().flush().map_err(EngineError::from);
                if let Ok(epoch) = &flushed {
                    self.io.state_durable(*epoch);
                }
                for query in &mut self.queries {
                    tell(query, || PushEvent::Failed("the server stops".into()));
                }
                reply.send(flushed.map(|_| ()));
                return Err(Stop::Asked);
            }
        }
        Ok(())
    }

    fn find(&self, id: &str) -> Result<usize> {
        let at = self.queries.iter().position(|q| q.id == id);
        at.ok_or_else(|| EngineError::UnknownQuery(id.into()))
    }

    fn start(&mut self, start: StartQuery) -> Result<()> {
        let query = Query::new(start);
        if self.find(&query.id).is_ok() {
            return Err(EngineError::QueryExists(query.id));
        }
        let paused = query.state == QueryState::Paused;
        self.queries.push(query);
        let at = self.queries.len() - 1;
        // A paused query's graph is there for pull queries; its sources are opened when it resumes.
        match self.open(at) {
            Ok(()) => {
                if paused {
                    self.close_sources(at);
                }
                Ok(())
            }
            Err(reason) if self.queries[at].persistent => {
                // It stays, in ERROR: what it lacks may come back.
                self.fail(at, &reason);
                Err(reason)
            }
            Err(reason) => {
                self.close(at);
                self.queries.pop();
                Err(reason)
            }
        }
    }

    fn close_sources(&mut self, at: usize) {
        for source in &mut self.queries[at].sources {
            if let Some(id) = source.id.take() {
                self.io.close_source(id);
            }
            source.handed_since = None;
        }
    }

    /// The new dataflow finds the state of operators that are the same in both.
    fn replace(&mut self, start: StartQuery) -> Result<()> {
        let at = self.find(&start.dataflow.query_id)?;
        self.close(at);
        self.queries.remove(at);
        self.start(start)
    }

    fn stop(&mut self, id: &str, forget: Forget) -> Result<()> {
        let at = self.find(id)?;
        self.close(at);
        let mut query = self.queries.remove(at);
        tell(&mut query, || PushEvent::Finished);
        if query.persistent && forget == Forget::Yes {
            self.state.forget_query(id)?;
            self.unsealed = true;
        }
        Ok(())
    }

    fn pause(&mut self, id: &str, pause: bool) -> Result<()> {
        let at = self.find(id)?;
        match (&self.queries[at].state, pause) {
            (QueryState::Running, true) => {
                self.close_sources(at);
                self.queries[at].state = QueryState::Paused;
            }
            (QueryState::Error { .. }, true) => self.queries[at].state = QueryState::Paused,
            (QueryState::Paused, false) => {
                self.close(at);
                self.queries[at].state = QueryState::Running;
                if let Err(reason) = self.open(at) {
                    self.fail(at, &reason);
                    return Err(reason);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn status(&self) -> EngineStatus {
        let caught_up = |query: &Query| {
            query.sources.iter().all(|s| s.id.is_some_and(|id| self.io.is_caught_up(id)))
        };
        EngineStatus {
            epoch: self.state.last_epoch(),
            rows_in: self.rows_in,
            rows_out: self.rows_out,
            durable_epoch: self.flusher.durable.load(Ordering::Acquire),
            queries: self.queries.iter().map(|q| q.status(caught_up(q))).collect(),
        }
    }

    fn pull(&mut self, plan: &PullPlan) -> Result<Snapshot> {
        let (epoch, now_ms) = (self.state.last_epoch(), self.now());
        let at = self.queries.iter().position(|q| q.holds(&plan.relation));
        let at = at.or_else(|| self.queries.iter().position(|q| q.holds_source(&plan.relation)));
        let unknown = || EngineError::NotMaterialized(plan.relation.clone());
        let query = &mut self.queries[at.ok_or_else(unknown)?];
        match (&mut query.graph, &query.state) {
            (Some(graph), _) => pull(graph, plan, epoch, now_ms),
            (None, QueryState::Error { reason, .. }) => {
                Err(EngineError::NotMaterialized(format!("{} ({reason})", plan.relation)))
            }
            (None, _) => Err(unknown()),
        }
    }

    // ---- keeping state without the journal ----
}
