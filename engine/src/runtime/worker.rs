//! The engine's thread: one epoch after the other.
//!
//! An epoch: one cut over the sources of all running queries, every query stepped on it (writers before
//! their readers), outputs, positions and state sealed together. While an epoch becomes durable the
//! next one is executed; what is sealed is published, applied to the state and told to receivers in
//! [`Worker::settle`]. When no more input waits, the worker settles at once.
//!
//! A query that fails is rolled back and goes to ERROR alone; its epoch goes on without it.
//!
//! `worker/` has the rest: commands, the life of a query, handing rows over, flushing.
//!
//! Invariants:
//! - an epoch is sealed only after the one before is durable;
//! - the state is at the epoch sealed last, or at the one before while that is in flight;
//! - whoever asks (pull, terminate, …) is answered between epochs, with nothing in flight.

mod commands;
mod flush;
mod handing;
mod life;
mod waves;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use bytes::Bytes;
use tracing::error;

use self::flush::Flusher;
use self::waves::{next_wave, step_all};
use super::query::{Kept, Query};
use super::{Command, Options, PushEvent};
use crate::error::{EngineError, Result};
use crate::graph::{Graph, StepContext, StepOutput};
use crate::io::{BadRecord, Epoch, EpochIo, Polled, SealTicket, Sealing, SinkId, SourceId};
use crate::rows::{Millis, Rows};
use crate::state::NodeState;

pub(crate) struct Worker {
    io: Box<dyn EpochIo>,
    state: NodeState,
    options: Options,
    inbox: Receiver<Command>,
    /// How long to wait for input: commands end the wait if the io can be woken.
    idle: Duration,
    /// Writers before their readers.
    queries: Vec<Query>,
    in_flight: Option<InFlight>,
    /// Something must be sealed though no input came.
    unsealed: bool,
    /// Counts down to the turns in which readers may be joined to their writers.
    turns_to_join: u32,
    flusher: Flusher,
    rows_in: u64,
    rows_out: u64,
}

/// Of so many turns…
const JOIN_EVERY: u32 = 100;
/// …this many in a row may hold writers back: one to read what was in flight, one to find no more.
const JOIN_TURNS: u32 = 4;

/// An epoch that is being sealed.
struct InFlight {
    epoch: Epoch,
    ticket: SealTicket,
    payload: Bytes,
    outputs: Vec<(String, Vec<Rows>)>,
}

/// Why the worker stops.
enum Stop {
    /// Asked to, or nobody holds the engine any more.
    Asked,
    Failed(EngineError),
}

impl<E: Into<EngineError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Failed(error.into())
    }
}

/// What the last turn of the loop found.
#[derive(PartialEq, Eq)]
enum Turn {
    /// Input may be waiting.
    Busy,
    Idle,
}

impl Worker {
    pub(crate) fn new(
        io: Box<dyn EpochIo>,
        state: NodeState,
        options: Options,
        inbox: Receiver<Command>,
        can_wake: bool,
    ) -> Worker {
        Worker {
            io,
            idle: Duration::from_millis(if can_wake { 500 } else { 5 }),
            flusher: Flusher {
                thread: None,
                running: Arc::default(),
                durable: Arc::new(AtomicU64::new(0)),
                told: 0,
                last_ms: (options.clock)(),
            },
            state,
            options,
            inbox,
            queries: Vec::new(),
            in_flight: None,
            unsealed: false,
            turns_to_join: JOIN_TURNS,
            rows_in: 0,
            rows_out: 0,
        }
    }

    pub(crate) fn run(mut self) {
        self.run_until_stopped();
        if let Some(thread) = self.flusher.thread.take() {
            let _ = thread.join();
        }
    }

    fn run_until_stopped(&mut self) {
        let reason = loop {
            match self.turn() {
                Ok(Turn::Busy) => {}
                Ok(Turn::Idle) => {
                    self.turns_to_join = JOIN_TURNS;
                    self.wait();
                }
                Err(Stop::Asked) => return,
                Err(Stop::Failed(reason)) => break reason,
            }
        };
        error!(%reason, "the engine stops");
        for query in &mut self.queries {
            tell(query, || PushEvent::Failed(reason.to_string()));
        }
        // Whoever asks from now on learns that nobody answers.
    }

    fn turn(&mut self) -> std::result::Result<Turn, Stop> {
        loop {
            match self.inbox.try_recv() {
                Ok(command) => self.obey(command)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(Stop::Asked),
            }
        }
        self.retry()?;
        self.flush_if_due();
        let active = self.active();
        if active.is_empty() {
            return self.without_sources();
        }
        let held = self.join_readers()?;
        let polled = match &held {
            Some(readers) => self.io.poll(readers, self.options.budget)?,
            None => self.io.poll(&active, self.options.budget)?,
        };
        if let Some(readers) = held
            && polled.rows.is_empty()
        {
            self.hand_over(&readers);
        }
        self.take_failed(&polled)?;
        let more = polled.more;
        if polled.rows.is_empty() && polled.bad.is_empty() && !self.unsealed {
            self.settle()?;
            self.finish_caught_up();
            return Ok(if more { Turn::Busy } else { Turn::Idle });
        }
        self.execute(polled)?;
        if more {
            return Ok(Turn::Busy);
        }
        self.settle()?;
        self.finish_caught_up();
        Ok(Turn::Busy)
    }

    /// No query reads anything: only commands (and retries) can change that.
    fn without_sources(&mut self) -> std::result::Result<Turn, Stop> {
        if self.unsealed {
            self.execute(Polled::default())?;
        }
        self.settle()?;
        match self.inbox.recv_timeout(Duration::from_millis(200)) {
            Ok(command) => self.obey(command)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Stop::Asked),
        }
        Ok(Turn::Busy)
    }

    fn wait(&mut self) {
        let active = self.active();
        self.io.wait_for_input(&active, self.idle);
    }

    fn active(&self) -> Vec<SourceId> {
        let running = self.queries.iter().filter(|q| q.is_running());
        running.flat_map(|q| q.sources.iter().filter_map(|s| s.id)).collect()
    }

    fn now(&self) -> Millis {
        (self.options.clock)()
    }

    /// The epoch that runs or runs next.
    fn epoch(&self) -> Epoch {
        self.state.last_epoch() + 1
    }

    fn execute(&mut self, polled: Polled) -> std::result::Result<(), Stop> {
        let epoch = self.epoch();
        let now_ms = self.now();
        let context = StepContext { epoch, now_ms, consolidate: self.options.consolidate };
        let mut inputs: HashMap<SourceId, Vec<Rows>> = HashMap::new();
        for (id, rows) in polled.rows {
            self.rows_in += rows.len() as u64;
            inputs.entry(id).or_default().push(rows);
        }
        let mut handed: HashMap<String, Vec<Rows>> = HashMap::new();
        let mut outputs: Vec<(SinkId, Vec<Rows>)> = Vec::new();
        let mut shown: Vec<(String, Vec<Rows>)> = Vec::new();
        let mut bad: Vec<BadRecord> = Vec::new();
        let mut failed: Vec<(usize, EngineError)> = Vec::new();
        let mut from = 0;
        while from < self.queries.len() {
            let (mut wave, next) =
                next_wave(&mut self.queries, from, &mut inputs, &handed, &mut failed);
            from = next;
            let rows: usize = wave.iter().map(|task| task.rows).sum();
            let few = rows < self.options.parallel_rows;
            step_all(&mut wave, &context, if few { 1 } else { self.options.parallelism });
            for task in wave {
                let (at, counted) = (task.at, task.rows);
                let (graph, stepped) = task.into_answer();
                let query = &mut self.queries[at];
                query.graph = Some(graph);
                let output = match stepped {
                    Ok(output) => output,
                    Err(reason) => {
                        failed.push((at, reason));
                        continue;
                    }
                };
                query.status.epoch = epoch;
                query.status.last_rows_ms = Some(now_ms);
                query.status.rows_in += counted as u64;
                query.status.bad_rows += output.errors.len() as u64;
                let StepOutput { sinks, errors } = output;
                bad.extend(errors);
                for (step, rows) in sinks {
                    let rows: Vec<Rows> = rows.into_iter().filter(|r| !r.is_empty()).collect();
                    let count = rows.iter().map(Rows::len).sum::<usize>() as u64;
                    if count == 0 {
                        continue;
                    }
                    query.status.rows_out += count;
                    self.rows_out += count;
                    if let Some(sink) = query.sinks.iter().find(|sink| sink.step == step) {
                        if let (Some(topic), true) = (&sink.topic, query.persistent) {
                            handed.entry(topic.clone()).or_default().extend(rows.iter().map(without_old));
                        }
                        if let Some(id) = sink.id {
                            outputs.push((id, rows.clone()));
                        }
                    }
                    if !query.receivers.is_empty() {
                        shown.push((query.id.clone(), rows));
                    }
                }
            }
        }
        if !failed.is_empty() {
            // Only one epoch's changes can be rolled back: the one before must be applied.
            self.settle()?;
            for (at, reason) in failed {
                self.fail(at, &reason);
            }
        }
        if !bad.is_empty() {
            self.io.report(&bad);
        }
        self.seal(outputs, shown)
    }

    /// Ends the running epoch and hands it to the journal, once the one before is durable.
    fn seal(
        &mut self,
        outputs: Vec<(SinkId, Vec<Rows>)>,
        shown: Vec<(String, Vec<Rows>)>,
    ) -> std::result::Result<(), Stop> {
        let epoch = self.epoch();
        for query in self.queries.iter_mut().filter(|q| q.persistent && q.is_running()) {
            for source in &mut query.sources {
                let Some(id) = source.id else { continue };
                let position = self.io.position(id);
                if source.handed_since.is_none() && source.kept.as_ref() == Some(&position) {
                    continue;
                }
                let kept = Kept { epoch, handed_since: source.handed_since, position };
                let bytes = kept.encode(source.kept.as_ref());
                self.state.set_source(&query.id, &source.name, &bytes);
                source.kept = Some(kept.position);
            }
        }
        let stores = self
            .queries
            .iter_mut()
            .filter(|q| q.persistent)
            .filter_map(|q| q.graph.as_mut())
            .flat_map(Graph::stores);
        let (epoch, payload) = self.state.finish(stores);
        for query in self.queries.iter_mut().filter(|q| !q.persistent) {
            forward_memory(query)?;
        }
        self.settle()?;
        let sealing = Sealing { epoch, outputs, state: payload.clone() };
        let (ticket, _) = self.io.seal(sealing)?;
        self.unsealed = false;
        self.in_flight = Some(InFlight { epoch, ticket, payload, outputs: shown });
        Ok(())
    }

    /// Waits until the epoch in flight is durable, applies its state and tells receivers.
    fn settle(&mut self) -> std::result::Result<(), Stop> {
        let Some(done) = self.in_flight.take() else { return Ok(()) };
        self.io.wait_sealed(done.ticket)?;
        self.state.apply(&done.payload)?;
        for query in self.queries.iter_mut().filter(|q| q.persistent) {
            for (_, store) in query.graph.iter_mut().flat_map(Graph::stores) {
                store.applied(done.epoch);
            }
        }
        let mut seen: HashSet<String> = HashSet::new();
        for (id, rows) in done.outputs {
            let Some(query) = self.queries.iter_mut().find(|q| q.id == id) else { continue };
            tell(query, || PushEvent::Rows(rows.clone()));
            seen.insert(id);
        }
        for query in self.queries.iter_mut().filter(|q| seen.contains(&q.id)) {
            tell(query, || PushEvent::EpochEnd(done.epoch));
        }
        self.drop_unheard();
        Ok(())
    }

    /// Ends transient queries nobody listens to any more.
    fn drop_unheard(&mut self) {
        let mut gone = Vec::new();
        self.queries.retain_mut(|query| {
            let stays = query.persistent || !query.receivers.is_empty();
            if !stays {
                gone.extend(query.sources.iter().filter_map(|s| s.id));
            }
            stays
        });
        for id in gone {
            self.io.close_source(id);
        }
    }

    /// Ends transient queries that were to read only what was there.
    fn finish_caught_up(&mut self) {
        for query in &mut self.queries {
            let done = query.until_caught_up
                && query.sources.iter().all(|s| s.id.is_some_and(|id| self.io.is_caught_up(id)));
            if done {
                tell(query, || PushEvent::Finished);
                query.receivers.clear();
            }
        }
        self.drop_unheard();
    }
}

/// The rows of one epoch for each source step of `query`: polled ones and handed-over ones in order.
fn take_inputs(
    query: &Query,
    polled: &mut HashMap<SourceId, Vec<Rows>>,
    handed: &HashMap<String, Vec<Rows>>,
) -> Result<Vec<(usize, Vec<Rows>)>> {
    let mut given = Vec::new();
    for source in &query.sources {
        let mut rows = source.id.and_then(|id| polled.remove(&id)).unwrap_or_default();
        if source.handed_since.is_some()
            && let Some(more) = handed.get(&source.topic)
        {
            rows.extend(more.iter().cloned());
        }
        rows.retain(|rows| !rows.is_empty());
        if !rows.is_empty() {
            given.push((source.step, Rows::in_order(rows)?));
        }
    }
    Ok(given)
}

/// Rows as a reader of the topic gets them: it keeps its own old values.
fn without_old(rows: &Rows) -> Rows {
    Rows { old: None, ..rows.clone() }
}

/// Moves a transient query's own state to the next epoch.
fn forward_memory(query: &mut Query) -> Result<()> {
    let (Some(memory), Some(graph)) = (&mut query.memory, &mut query.graph) else { return Ok(()) };
    let (epoch, payload) = memory.finish(graph.stores());
    memory.apply(&payload)?;
    graph.stores().for_each(|(_, store)| store.applied(epoch));
    Ok(())
}

/// Tells all receivers of a query; forgets those that do not listen any more.
fn tell(query: &mut Query, event: impl Fn() -> PushEvent) {
    query.receivers.retain_mut(|receiver| receiver(event()));
}
