//! A node: everything that runs in one data directory.
//!
//! Opening recovers in this order: storage (journal, segments), catalog (its statements planned again),
//! state (brought up to the journal), then the engine with all queries at once. Closing goes the other
//! way round. Threads: the committer, the engine's; sessions run on their callers'.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use millstream_engine::EngineError;
use millstream_engine::io::{EpochIo, StartAt};
use millstream_engine::runtime::{
    Engine, EngineStatus, Options, QueryState, QueryStatus, StartQuery,
};
use millstream_engine::snapshot::Snapshot;
use millstream_engine::state::{
    MemoryStore, NodeState, RocksOptions, RocksStore, SharedBackend, StoreSize, store_sizes,
};
use millstream_sql::catalog::Catalog;
use millstream_sql::error::{Result, SqlError};
use millstream_sql::plan::{Dataflow, PullPlan};
use millstream_sql::syntax::parse_statement;
use millstream_storage::{
    Broker, Clock, Disk, Durability, Error, RealDisk, Recovered, StorageConfig, TopicPartition,
    WakeKey, Wakes,
};
use parking_lot::{Mutex, MutexGuard, RwLock};
use uuid::Uuid;

use super::ddl::{Change, Decision, QuerySpec, World, decide};
use super::record::{CatalogRecord, KIND, RecordedTopics};
use super::scope::start_at;
use super::{Session, node_error};
use crate::log::{Committing, InputSignal, LogIo, LogParts, processing_log};
use crate::metrics::Metrics;

/// Where state lies inside the data directory.
const STATE_DIR: &str = "state";

/// Looks of a millisecond that a count of state waits for the epoch published last.
const STATE_LOOKS: usize = 200;

/// Settings of a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    pub data_dir: PathBuf,
    pub durability: Durability,
    /// Size of a preallocated journal file.
    pub journal_file_bytes: u64,
    /// Of topics created by statements that say nothing else.
    pub default_partitions: u32,
    /// Names the node to clients and in internal topics; ksqlDB's default.
    pub service_id: String,
    /// False: the catalog is there, but nothing runs (to repair what fails at start).
    pub start_queries: bool,
    /// Where a new query starts to read when the client does not say. ksqlDB's default is latest: a
    /// new query sees what comes from now on.
    pub auto_offset_reset: StartAt,
    /// Consolidate changes within an epoch; false gives every intermediate change.
    pub consolidate: bool,
    /// Rows one epoch takes of a backlog (see `log/whole.rs` for when it takes more).
    pub epoch_rows: usize,
    /// How many threads step queries.
    pub parallelism: usize,
}

impl Default for NodeConfig {
    fn default() -> Self {
        NodeConfig {
            data_dir: PathBuf::from("data"),
            durability: Durability::Fsync,
            journal_file_bytes: StorageConfig::default().journal_file_bytes,
            default_partitions: 1,
            service_id: "default_".to_owned(),
            start_queries: true,
            auto_offset_reset: StartAt::Latest,
            consolidate: true,
            epoch_rows: Options::default().budget.rows,
            parallelism: Options::default().parallelism,
        }
    }
}

/// What a node keeps its bytes on.
#[derive(Clone)]
pub enum Place {
    /// A data directory.
    Directory(PathBuf),
    /// A disk given by a test; state is rebuilt from the journal, which then keeps all of it.
    Disk(Arc<dyn Disk>),
}

#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("open storage: {0}")]
    Storage(#[from] Error),
    #[error("open data directory {}: {}", .0.display(), .1)]
    Directory(PathBuf, std::io::Error),
    #[error("open state: {0}")]
    State(String),
    #[error("recover the catalog: {0}")]
    Catalog(String),
    #[error("start the engine: {0}")]
    Engine(String),
}

/// Whether the parts of a node work; else why not.
#[derive(Clone, Debug)]
pub struct Health {
    pub log: std::result::Result<(), String>,
    pub engine: std::result::Result<(), String>,
}

/// Everything that runs in one data directory.
pub struct Node {
    config: NodeConfig,
    log: LogParts,
    engine: Engine,
    /// The engine's, to be counted.
    state: SharedBackend,
    world: RwLock<World>,
    /// Held while a statement changes the world: one after another.
    changes: Mutex<Changes>,
    default_properties: BTreeMap<String, String>,
    transient: AtomicU64,
    committer: Mutex<Option<JoinHandle<()>>>,
}

/// What is counted about changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub statements: u64,
}

/// Tells the engine and the server alike.
struct BothWake {
    signal: Arc<InputSignal>,
    server: Arc<dyn Wakes>,
}

impl Wakes for BothWake {
    fn wake(&self, key: WakeKey) {
        self.signal.wake(&key);
        self.server.wake(key);
    }
}

impl Node {
    /// Opens the data directory of `config` and starts everything.
    ///
    /// # Errors
    /// When the directory is in use or damaged, or was written by a newer version.
    pub fn open(
        config: NodeConfig,
        clock: Arc<dyn Clock>,
        wakes: Arc<dyn Wakes>,
    ) -> std::result::Result<Arc<Node>, NodeError> {
        let place = Place::Directory(config.data_dir.clone());
        Node::open_in(place, config, clock, wakes)
    }

    /// As [`Node::open`], in a place of the caller's choice.
    ///
    /// # Errors
    /// As there.
    pub fn open_in(
        place: Place,
        config: NodeConfig,
        clock: Arc<dyn Clock>,
        wakes: Arc<dyn Wakes>,
    ) -> std::result::Result<Arc<Node>, NodeError> {
        let signal = Arc::new(InputSignal::default());
        let both = Arc::new(BothWake { signal: signal.clone(), server: wakes });
        let disk: Arc<dyn Disk> = match &place {
            Place::Directory(path) => {
                Arc::new(RealDisk::new(path).map_err(|e| NodeError::Directory(path.clone(), e))?)
            }
            Place::Disk(disk) => disk.clone(),
        };
        let storage = StorageConfig {
            durability: config.durability,
            journal_file_bytes: config.journal_file_bytes,
            ..StorageConfig::default()
        };
        let (broker, recovered) =
            Broker::open(disk, storage, clock.now_ms(), Uuid::new_v4(), both)?;
        let broker = Arc::new(broker);
        let committer = start_committer(&broker, &clock);
        let log = LogParts {
            broker,
            clock,
            signal,
            metrics: Arc::new(Metrics::default()),
            committing: Committing::Thread,
            processing_log: None,
            keep_state: matches!(place, Place::Disk(_)),
        };
        let opened = Node::open_over(&place, &config, log.clone(), &recovered);
        match opened {
            Ok((log, engine, state, world)) => {
                let default_properties = default_properties(&config);
                Ok(Arc::new(Node {
                    config,
                    log,
                    engine,
                    state,
                    world: RwLock::new(world),
                    changes: Mutex::default(),
                    default_properties,
                    transient: AtomicU64::new(0),
                    committer: Mutex::new(Some(committer)),
                }))
            }
            Err(e) => {
                log.broker.shut_down();
                let _ = committer.join();
                Err(e)
            }
        }
    }

    /// Catalog, state, engine and queries over open storage.
    fn open_over(
        place: &Place,
        config: &NodeConfig,
        mut log: LogParts,
        recovered: &Recovered,
    ) -> std::result::Result<(LogParts, Engine, SharedBackend, World), NodeError> {
        log.processing_log = Some(processing_log_topic(config, &log)?);
        let world = replay(recovered).map_err(NodeError::Catalog)?;
        let state_error = |e: millstream_engine::state::StateError| NodeError::State(e.to_string());
        let backend: SharedBackend = match place {
            Place::Directory(path) => {
                let path = path.join(STATE_DIR);
                Arc::new(RocksStore::open(&path, RocksOptions::default()).map_err(state_error)?)
            }
            Place::Disk(_) => Arc::new(MemoryStore::default()),
        };
        let payloads = recovered.seals.iter().map(|seal| &seal.payload);
        let (mut state, applied) =
            NodeState::recover(backend.clone(), payloads, recovered.last_epoch).map_err(state_error)?;
        for query in state.queries().map_err(state_error)? {
            if !world.queries.contains_key(&query) {
                state.forget_query(&query).map_err(state_error)?;
            }
        }
        tracing::info!(epochs = applied, queries = world.queries.len(), "state recovered");
        let mut io = LogIo::new(log.clone(), recovered);
        if applied > 0 {
            // Else each of many restarts in a row would leave the journal a file longer, and read it
            // all again.
            io.state_durable(state.backend().flush().map_err(state_error)?);
        }
        let clock = log.clock.clone();
        let mut options = Options {
            consolidate: config.consolidate,
            parallelism: config.parallelism.max(1),
            clock: Arc::new(move || clock.now_ms()),
            ..Options::default()
        };
        options.budget.rows = config.epoch_rows.max(1);
        let engine = Engine::start(Box::new(io), state, options)
            .map_err(|e| NodeError::Engine(e.to_string()))?;
        if config.start_queries {
            let ids: Vec<&String> = world.queries.keys().collect();
            let queries = world.queries.values().map(|spec| start_of(spec, config)).collect();
            let results = engine.start_queries(queries).wait().unwrap_or_default();
            for (id, result) in ids.into_iter().zip(results) {
                if let Err(e) = result {
                    tracing::error!(query = %id, error = %e, "query does not start");
                }
            }
        }
        Ok((log, engine, backend, world))
    }

    /// A client's view.
    pub fn session(self: &Arc<Self>) -> Session {
        Session::new(self.clone())
    }

    pub fn broker(&self) -> &Arc<Broker> {
        &self.log.broker
    }

    pub fn cluster_id(&self) -> &str {
        self.log.broker.cluster_id()
    }

    pub fn service_id(&self) -> &str {
        &self.config.service_id
    }

    pub fn metrics(&self) -> &Metrics {
        &self.log.metrics
    }

    pub fn health(&self) -> Health {
        let log = match self.log.broker.stopped() {
            None => Ok(()),
            Some(reason) => Err(reason),
        };
        let engine = match self.engine.status().wait() {
            Some(_) => Ok(()),
            None => Err("the engine has stopped; see the server's log".to_owned()),
        };
        Health { log, engine }
    }

    /// For each persistent query: its id, state, rows taken in and rows given out.
    pub fn query_metrics(&self) -> Vec<(String, String, u64, u64)> {
        let persistent = self.engine_status().queries.into_iter().filter(|q| q.persistent);
        persistent.map(|q| (q.id, state_name(&q.state), q.rows_in, q.rows_out)).collect()
    }

    /// Names that a shell may complete: relations and functions.
    pub fn completions(&self) -> Vec<String> {
        let relations = self.catalog().relations().map(|r| r.name.clone()).collect::<Vec<_>>();
        let functions = super::functions::all(self.catalog().functions()).into_iter().map(|f| f.name);
        relations.into_iter().chain(functions).collect()
    }

    /// Stops cleanly: ends the running epoch, flushes state, writes a checkpoint, releases the lock.
    pub fn shut_down(&self) {
        if let Err(e) = self.engine.shut_down() {
            tracing::error!(error = %e, "the engine did not stop cleanly");
        }
        self.log.signal.stop();
        self.log.broker.shut_down();
        if let Some(committer) = self.committer.lock().take() {
            let _ = committer.join();
        }
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        self.world.read().catalog.clone()
    }

    pub(super) fn log(&self) -> &LogParts {
        &self.log
    }

    pub(super) fn world(&self) -> World {
        self.world.read().clone()
    }

    pub(super) fn set_world(&self, world: World) {
        *self.world.write() = world;
    }

    /// Waits for the change before.
    pub(super) fn begin_change(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock()
    }

    pub(super) fn default_properties(&self) -> &BTreeMap<String, String> {
        &self.default_properties
    }

    pub(super) fn default_partitions(&self) -> u32 {
        self.config.default_partitions
    }

    pub(super) fn auto_offset_reset(&self) -> StartAt {
        self.config.auto_offset_reset
    }

    /// An id that no other transient query of this process has.
    pub(super) fn transient_id(&self, source: &str) -> String {
        let number = self.transient.fetch_add(1, Ordering::Relaxed);
        format!("transient_{source}_{}{number:04}", self.log.clock.now_ms())
    }

    /// Makes a catalog change durable.
    pub(super) fn journal(&self, record: &CatalogRecord) -> Result<()> {
        let ticket = self.log.broker.append_app(KIND, record.encode());
        ticket.and_then(|ticket| self.log.wait(ticket)).map_err(|e| node_error(e.to_string()))
    }

    /// Stops and starts what a change says.
    pub(super) fn run_change(&self, change: &Change) -> Result<()> {
        if !self.config.start_queries {
            return Ok(());
        }
        for id in &change.stop {
            if change.start.as_ref() != Some(id) {
                match self.engine.terminate(id).wait() {
                    // What does not run need not be stopped.
                    Some(Err(EngineError::UnknownQuery(_))) => {}
                    answer => self.engine_answer(answer)?,
                }
            }
        }
        for id in &change.pause {
            self.engine_answer(self.engine.pause(id).wait())?;
        }
        for id in &change.resume {
            self.engine_answer(self.engine.resume(id).wait())?;
        }
        let Some(spec) = change.start.as_ref().and_then(|id| change.next.queries.get(id)) else {
            return Ok(());
        };
        if change.stop.contains(&spec.dataflow.query_id) {
            // The new version of a running query goes on with its state and positions.
            let replaced = self.engine.replace(start_of(spec, &self.config)).wait();
            return self.engine_answer(replaced);
        }
        self.start_query(start_of(spec, &self.config))
    }

    /// After a change that could not run: what it started is forgotten, what it stopped runs again.
    pub(super) fn restart_after_undo(&self, change: &Change, world: &World) {
        if let Some(id) = change.start.as_ref().filter(|id| !change.stop.contains(id)) {
            drop(self.engine.terminate(id));
        }
        for spec in change.stop.iter().filter_map(|id| world.queries.get(id)) {
            let _ = self.engine.replace(start_of(spec, &self.config)).wait();
            let _ = self.start_query(start_of(spec, &self.config));
        }
    }

    pub(super) fn start_query(&self, query: StartQuery) -> Result<()> {
        let results = self.engine.start_queries(vec![query]).wait();
        self.engine_answer(results.and_then(|mut results| results.pop()))
    }

    /// Ends a transient query; does not wait for it.
    pub(super) fn end_transient(&self, id: &str) {
        drop(self.engine.terminate(id));
    }

    /// Ends a transient query and says whether there was one.
    pub(super) fn terminate_transient(&self, id: &str) -> bool {
        matches!(self.engine.terminate(id).wait(), Some(Ok(())))
    }

    pub(super) fn pull(&self, plan: &PullPlan) -> Result<Snapshot> {
        self.engine_answer(self.engine.pull(plan.clone()).wait())
    }

    fn engine_answer<T>(
        &self,
        answer: Option<millstream_engine::Result<T>>,
    ) -> Result<T> {
        match answer {
            Some(Ok(value)) => Ok(value),
            Some(Err(EngineError::Sql(e))) => Err(e),
            Some(Err(e)) => Err(node_error(e.to_string())),
            None => Err(node_error("the engine has stopped")),
        }
    }

    fn engine_status(&self) -> EngineStatus {
        self.engine.status().wait().unwrap_or_default()
    }

    pub(super) fn query_status(&self, id: &str) -> Option<QueryStatus> {
        self.engine_status().queries.into_iter().find(|q| q.id == id)
    }

    /// `RUNNING`, `PAUSED`, `ERROR`, or `STOPPED` when queries were not started.
    pub(super) fn query_state(&self, id: &str) -> String {
        self.query_status(id).map_or_else(|| "STOPPED".to_owned(), |q| state_name(&q.state))
    }

    /// How much state each operator of a query has, as of the epoch published last.
    pub(super) fn state_sizes(&self, id: &str) -> Result<Vec<StoreSize>> {
        // State follows what is published, after a moment.
        let published = self.engine_status().epoch;
        for _ in 0..STATE_LOOKS {
            if self.state.epoch() >= published {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        store_sizes(&*self.state, id).map_err(|e| node_error(e.to_string()))
    }

    pub(super) fn dataflow(&self, id: &str) -> Option<(Dataflow, BTreeMap<String, String>)> {
        let world = self.world.read();
        let spec = world.queries.get(id)?;
        Some((spec.dataflow.clone(), spec.properties.clone()))
    }

    /// Blocks until every running query has taken in everything that is visible, or `tries` looks were
    /// in vain. For tests and tools that compare results.
    pub fn wait_until_caught_up(&self, tries: usize) -> bool {
        for _ in 0..tries {
            let status = self.engine_status();
            let running = status.queries.iter().filter(|q| q.state == QueryState::Running);
            if running.clone().all(|q| q.caught_up) {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        false
    }
}

/// A node that is only dropped stops as in a crash: the next one recovers.
impl Drop for Node {
    fn drop(&mut self) {
        self.log.signal.stop();
        self.log.broker.shut_down();
        if let Some(committer) = self.committer.lock().take() {
            let _ = committer.join();
        }
    }
}

fn state_name(state: &QueryState) -> String {
    match state {
        QueryState::Running => "RUNNING",
        QueryState::Paused => "PAUSED",
        QueryState::Error { .. } => "ERROR",
    }
    .to_owned()
}

fn start_of(spec: &QuerySpec, config: &NodeConfig) -> StartQuery {
    StartQuery {
        dataflow: spec.dataflow.clone(),
        // The value was checked when the query was created.
        start: start_at(&spec.properties, config.auto_offset_reset).unwrap_or(StartAt::Latest),
        persistent: true,
        paused: spec.paused,
        receiver: None,
        until_caught_up: false,
    }
}

fn default_properties(config: &NodeConfig) -> BTreeMap<String, String> {
    let reset = match config.auto_offset_reset {
        StartAt::Earliest => "earliest",
        StartAt::Latest | StartAt::Time(_) => "latest",
    };
    BTreeMap::from([
        ("ksql.service.id".to_owned(), config.service_id.clone()),
        ("ksql.streams.auto.offset.reset".to_owned(), reset.to_owned()),
        ("ksql.persistence.default.format.key".to_owned(), "KAFKA".to_owned()),
        ("ksql.query.pull.table.scan.enabled".to_owned(), "true".to_owned()),
        ("ksql.variable.substitution.enable".to_owned(), "true".to_owned()),
    ])
}

fn start_committer(broker: &Arc<Broker>, clock: &Arc<dyn Clock>) -> JoinHandle<()> {
    let (broker, clock) = (broker.clone(), clock.clone());
    let work = move || {
        if let Err(e) = broker.run_committer(&*clock) {
            tracing::error!(error = %e, "the log stopped");
        }
    };
    std::thread::Builder::new()
        .name("committer".to_owned())
        .spawn(work)
        .expect("a process that cannot start its second thread cannot run at all")
}

fn processing_log_topic(
    config: &NodeConfig,
    log: &LogParts,
) -> std::result::Result<TopicPartition, NodeError> {
    let name = processing_log::topic_name(&config.service_id);
    if log.broker.topic(&name).is_none() {
        let created = log.broker.create_topic(&name, 1, &[], Uuid::new_v4());
        let ticket = created.map_err(|e| NodeError::Catalog(e.to_string()))?;
        log.wait(ticket)?;
    }
    let topic = log.broker.topic(&name);
    let topic = topic.ok_or_else(|| NodeError::Catalog(format!("topic {name} is not there")))?;
    Ok(TopicPartition { topic: topic.id, partition: 0 })
}

/// The world after all recorded statements.
fn replay(recovered: &Recovered) -> std::result::Result<World, String> {
    let mut world = World::default();
    let mut before = World::default();
    for app in recovered.app.iter().filter(|app| app.kind == KIND) {
        let record = CatalogRecord::decode(&app.bytes)?;
        if record.undo {
            world = before.clone();
            continue;
        }
        before = world.clone();
        let failed = |e: SqlError| {
            format!(
                "the statement {:?} cannot be planned any more: {e}. Start the version that wrote this \
                 data directory.",
                record.statement
            )
        };
        let types = |name: &str| before.catalog.custom_type(name).cloned();
        let parsed = parse_statement(&record.statement, &types).map_err(failed)?;
        let topics = RecordedTopics(&record.topics);
        let number = Some(record.query_number);
        match decide(&parsed, &record.properties, number, &before, &topics).map_err(failed)? {
            Decision::Change(change) => world = change.next,
            Decision::NoOp(_) => {}
        }
    }
    Ok(world)
}
