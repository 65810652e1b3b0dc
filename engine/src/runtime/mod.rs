//! All queries of a node, in epochs: the handle that other threads hold.
//!
//! One thread owns the io, the state and every graph (`worker.rs`); [`Engine`] sends it commands and
//! gets [`Answer`]s. This folder is the only place in the crate with threads.

mod answer;
mod query;
mod worker;

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use millstream_sql::plan::{Dataflow, PullPlan};
use parking_lot::Mutex;

pub use answer::Answer;
use answer::{Reply, question};
use worker::Worker;

use crate::error::{EngineError, Result};
use crate::graph::GraphOptions;
use crate::io::{Budget, Epoch, EpochIo, StartAt, Waker};
use crate::rows::{Millis, Rows};
use crate::snapshot::Snapshot;
use crate::state::NodeState;

/// Milliseconds since 1970; an argument, so that a simulation can have its own.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// How the engine runs.
#[derive(Clone)]
pub struct Options {
    /// How much one epoch takes in.
    pub budget: Budget,
    pub graph: GraphOptions,
    /// One net change per key and epoch.
    pub consolidate: bool,
    pub clock: Clock,
    /// How many threads step queries that do not feed each other. What comes out does not depend on it.
    pub parallelism: usize,
    /// Fewer rows than this are not worth another thread.
    pub parallel_rows: usize,
    /// State is flushed when so many bytes were applied since the last time.
    pub flush_bytes: usize,
    /// …or when this much time has passed since something was.
    pub flush_ms: Millis,
    /// A failed query is tried again after this, then twice as long, up to the maximum.
    pub retry_first_ms: Millis,
    pub retry_max_ms: Millis,
}

impl Default for Options {
    fn default() -> Self {
        let clock = || {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            since.map_or(0, |d| d.as_millis() as Millis)
        };
        Options {
            budget: Budget { rows: 32_768, bytes: 8 << 20 },
            graph: GraphOptions::default(),
            consolidate: true,
            clock: Arc::new(clock),
            parallelism: 1,
            parallel_rows: 2_048,
            flush_bytes: 24 << 20,
            flush_ms: 30_000,
            retry_first_ms: 1_000,
            retry_max_ms: 900_000,
        }
    }
}

/// A query to run.
pub struct StartQuery {
    pub dataflow: Dataflow,
    /// For sources without a kept position.
    pub start: StartAt,
    /// A persistent query keeps its state and positions; others keep nothing and write no topic.
    pub persistent: bool,
    /// Begin paused.
    pub paused: bool,
    /// Takes the result's rows; a transient query ends when it says no.
    pub receiver: Option<RowReceiver>,
    /// End a transient query once everything that was there has been read: a pull query over a stream.
    pub until_caught_up: bool,
}

/// Takes what a query yields, in order; called on the engine's thread, so it must not block. False:
/// nobody listens any more.
pub type RowReceiver = Box<dyn FnMut(PushEvent) -> bool + Send>;

/// What a push query sees.
#[derive(Clone, Debug)]
pub enum PushEvent {
    /// Rows of the epoch that is next to end.
    Rows(Vec<Rows>),
    /// All rows of the epoch were given: they are the result at one cut of the input.
    EpochEnd(Epoch),
    /// The query ended by itself.
    Finished,
    /// The query failed and will not go on.
    Failed(String),
}

/// Whether a query runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryState {
    Running,
    Paused,
    /// Failed; tried again at this time.
    Error { reason: String, retry_at_ms: Millis },
}

/// A query as it is seen from outside.
#[derive(Clone, Debug)]
pub struct QueryStatus {
    pub id: String,
    pub persistent: bool,
    pub state: QueryState,
    /// The last epoch that brought it rows.
    pub epoch: Epoch,
    pub last_rows_ms: Option<Millis>,
    pub rows_in: u64,
    pub rows_out: u64,
    /// Rows reported to the processing log.
    pub bad_rows: u64,
    /// Times it failed since the start.
    pub failures: u64,
    /// Whether everything visible in its sources has been taken in.
    pub caught_up: bool,
}

/// The engine as a whole, for metrics.
#[derive(Clone, Debug, Default)]
pub struct EngineStatus {
    /// The last epoch made durable.
    pub epoch: Epoch,
    pub rows_in: u64,
    pub rows_out: u64,
    /// The epoch up to which state needs no journal.
    pub durable_epoch: Epoch,
    pub queries: Vec<QueryStatus>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forget {
    Yes,
    No,
}

pub(crate) enum Command {
    Start(Vec<StartQuery>, Reply<Vec<Result<()>>>),
    Replace(Box<StartQuery>, Reply<Result<()>>),
    /// Stop a query, and forget it or keep its state and positions.
    Stop(String, Forget, Reply<Result<()>>),
    Pause(String, bool, Reply<Result<()>>),
    Status(Reply<EngineStatus>),
    Pull(Box<PullPlan>, Reply<Result<Snapshot>>),
    Subscribe(String, RowReceiver, Reply<Result<()>>),
    Flush(Reply<Result<Epoch>>),
    Shutdown(Reply<Result<()>>),
}

/// The running engine. Dropped, it stops after the running epoch without flushing, so a restart replays
/// the journal; [`Engine::shut_down`] leaves nothing to replay. Both wait until the state is released.
pub struct Engine {
    commands: Sender<Command>,
    waker: Option<Waker>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Starts the engine's thread. `state` is already brought up to the journal ([`NodeState::recover`]).
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(io: Box<dyn EpochIo>, state: NodeState, options: Options) -> Result<Engine> {
        let (commands, inbox) = channel();
        let waker = io.waker();
        let worker = Worker::new(io, state, options, inbox, waker.is_some());
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || worker.run())
            .map_err(|e| EngineError::Stopped(e.to_string()))?;
        Ok(Engine { commands, waker, thread: Mutex::new(Some(thread)) })
    }

    fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Answer<T> {
        let (reply, answer) = question();
        // If the thread is gone the command is dropped, and its reply with it: the answer is `None`.
        let _ = self.commands.send(command(reply));
        if let Some(waker) = &self.waker {
            waker();
        }
        answer
    }

    /// Starts queries, all before the next epoch: those of a node that restarts should come together, so
    /// that queries which hand rows to each other need not go back to the log. A persistent query that
    /// cannot start says why and stays, in ERROR, to be tried again; `terminate` it if it is not wanted.
    pub fn start_queries(&self, queries: Vec<StartQuery>) -> Answer<Vec<Result<()>>> {
        self.ask(|reply| Command::Start(queries, reply))
    }

    /// Puts another dataflow in a query's place: it goes on with the state and positions there are.
    pub fn replace(&self, query: StartQuery) -> Answer<Result<()>> {
        self.ask(|reply| Command::Replace(Box::new(query), reply))
    }

    /// Stops a query and forgets its state and positions.
    pub fn terminate(&self, query: &str) -> Answer<Result<()>> {
        self.ask(|reply| Command::Stop(query.into(), Forget::Yes, reply))
    }

    /// Stops a query but keeps its state and positions, for a new plan of the same query to go on from
    /// (CREATE OR REPLACE). Steps find their state by kind and place among their kind.
    pub fn stop(&self, query: &str) -> Answer<Result<()>> {
        self.ask(|reply| Command::Stop(query.into(), Forget::No, reply))
    }

    pub fn pause(&self, query: &str) -> Answer<Result<()>> {
        self.ask(|reply| Command::Pause(query.into(), true, reply))
    }

    pub fn resume(&self, query: &str) -> Answer<Result<()>> {
        self.ask(|reply| Command::Pause(query.into(), false, reply))
    }

    pub fn status(&self) -> Answer<EngineStatus> {
        self.ask(Command::Status)
    }

    /// Reads a table at the end of the last published epoch.
    pub fn pull(&self, plan: PullPlan) -> Answer<Result<Snapshot>> {
        self.ask(|reply| Command::Pull(Box::new(plan), reply))
    }

    /// Gives a running query's results to `receiver` too, from the next epoch on.
    pub fn subscribe(&self, query: &str, receiver: RowReceiver) -> Answer<Result<()>> {
        self.ask(|reply| Command::Subscribe(query.into(), receiver, reply))
    }

    /// Makes the state survive without the journal; answers with the epoch that does.
    pub fn flush(&self) -> Answer<Result<Epoch>> {
        self.ask(Command::Flush)
    }

    /// Ends the running epoch, flushes the state and stops.
    ///
    /// # Errors
    /// When the last epoch cannot be sealed or the state cannot be flushed.
    pub fn shut_down(&self) -> Result<()> {
        let answer = self.ask(Command::Shutdown).wait();
        self.join();
        answer.unwrap_or(Ok(()))
    }

    fn join(&self) {
        let thread = self.thread.lock().take();
        // A receiver may hold the engine, and be dropped on its thread.
        if let Some(thread) = thread.filter(|t| t.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Without a sender the thread sees that nobody asks any more.
        self.commands = channel().0;
        if let Some(waker) = &self.waker {
            waker();
        }
        self.join();
    }
}
