//! The door to storage: topics, append, read, seal.
//!
//! Every change goes through the node journal ([`crate::journal`]). A submitter gets a [`Ticket`] at
//! once and waits for it as it likes: the change is *published* (durable as configured, applied,
//! visible) when its ticket is. One committer publishes groups of changes in journal order:
//!
//! ```text
//! append ─┐
//! seal ───┤ commit lock: check, assign offsets, copy into the group
//! topics ─┘        │
//!                  ▼ committer: write the group, one fdatasync, append to segments, publish, wake
//! ```
//!
//! A batch that nobody waits for on the disk (`durability = os`) is *placed*: appended to its segment
//! first; the group says only where. A group that syncs has the segments synced before.
//!
//! The caller owns the threads: it runs [`Broker::run_committer`] on one. A test or simulation may
//! call [`Broker::commit_pending`] itself instead.

//!
//! Files: `append.rs` clients' batches, `facts.rs` seals and facts of the layers above, `topics.rs`
//! topic changes, `transactions.rs` the ends of transactions, `wholes.rs` what no cut may split,
//! `reads.rs`, `commit.rs` the committer, `checkpoint.rs`, `compaction.rs`, `room.rs` a
//! full disk, `recovery.rs`.

mod append;
mod checkpoint;
mod commit;
mod compaction;
mod facts;
mod reads;
mod recovery;
mod room;
#[cfg(test)]
mod tests;
mod topics;
mod transactions;
mod wholes;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex, RwLock};
use uuid::Uuid;

use crate::config::{Durability, StorageConfig};
use crate::disk::{DirLock, Disk, Space};
use crate::error::{Error, ErrorCode};
use crate::journal::Journal;
use crate::journal::record::Group;
use crate::log::batch::BatchHeader;
use crate::log::{Aborted, Partition};
use crate::topics::{Topic, Topics};
pub(crate) use append::keyless_records;
use commit::{Effect, Waiting};
pub use transactions::{ProducerState, TransactionEnd};
pub(crate) use wholes::{Part, Wholes};

/// One partition of one topic. Topic ids are never used twice, names may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: Uuid,
    pub partition: i32,
}

/// A place in the journal (a log sequence number, counted from 1). A change with this ticket is
/// published when the broker's published ticket reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Ticket(pub u64);

/// Time, given by whoever owns the process.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> i64;
}

/// How the broker tells the server that a waiting request should be tried again. Called from the
/// committer and from request handlers, so it must be quick and must not call back.
pub trait Wakes: Send + Sync {
    fn wake(&self, key: WakeKey);
}

/// What a request may wait for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WakeKey {
    /// Some ticket was published (produce, commits, topic changes), or the broker stopped.
    Durable,
    /// Records became visible in a partition, or it was deleted.
    Partition(TopicPartition),
    /// A group changed. Sent by the coordinator through [`Broker::wake`].
    Group(String),
}

/// How far a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset.
    ReadCommitted,
}

/// An accepted produce. It may be acknowledged once `ticket` is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: i64,
    /// The broker's time when the topic uses LogAppendTime, else −1.
    pub log_append_time: i64,
    pub log_start_offset: i64,
    pub ticket: Ticket,
    /// The batch was already there: an idempotent producer repeated itself.
    pub duplicate: bool,
}

/// Whole record batches, starting with the one that holds the offset asked for.
#[derive(Debug, Clone)]
pub struct Read {
    pub records: Bytes,
    /// Where to read on: past the last offset of `records`; without records, the first offset from the
    /// asked one on that may hold some (compaction leaves gaps).
    pub next_offset: i64,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    /// With [`Isolation::ReadCommitted`] the aborted transactions that have records here.
    pub aborted: Vec<Aborted>,
}

impl Read {
    /// Whether a batch of `records` is of a transaction that was aborted.
    pub fn is_aborted(&self, batch: &BatchHeader) -> bool {
        self.aborted.iter().any(|aborted| aborted.covers(batch))
    }
}

/// A record's place found by its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub offset: i64,
    pub timestamp: i64,
}

/// One epoch of the layers above: all of it becomes durable and visible, or nothing.
#[derive(Debug, Clone)]
pub struct Seal {
    /// Must be greater than any sealed before.
    pub epoch: u64,
    /// Record batches (v2, base offset 0, as [`crate::log::batch::BatchBuilder`] makes them); one
    /// entry may hold several.
    pub appends: Vec<(TopicPartition, Bytes)>,
    /// Given back by [`Recovered::seals`].
    pub payload: Bytes,
}

/// Where a seal's records went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub ticket: Ticket,
    /// For each entry of `appends`, the offset of its first record.
    pub base_offsets: Vec<i64>,
}

/// What the layers above get back when the broker opens.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// All App records since the last [`Broker::replace_app`], oldest first.
    pub app: Vec<AppRecord>,
    /// The seals at or after the ticket given to [`Broker::set_app_low_water`], oldest first.
    pub seals: Vec<SealRecord>,
    /// The epoch of the newest seal ever; 0 if none.
    pub last_epoch: u64,
    /// The newest value of each key written by [`Broker::append_group`], by key.
    pub groups: Vec<(Bytes, Bytes)>,
}

/// An opaque fact of a layer above, for instance a catalog change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRecord {
    pub ticket: Ticket,
    pub kind: u16,
    pub bytes: Bytes,
}

/// The payload of a recovered seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealRecord {
    pub ticket: Ticket,
    pub epoch: u64,
    pub payload: Bytes,
}

/// The node's storage. Shared by all threads of the server.
pub struct Broker {
    disk: Arc<dyn Disk>,
    config: StorageConfig,
    wakes: Arc<dyn Wakes>,
    cluster_id: String,
    cluster: Uuid,
    /// Submitters: short, never with I/O inside. Published together with `commit` held, so that a
    /// cut sees all of a seal or nothing.
    commit: Mutex<Commit>,
    /// Something waits for the committer, or it should stop.
    work: Condvar,
    /// Some ticket was published, or the broker stopped. Waited for with `commit`.
    published: Condvar,
    /// The committer's own: journal and files are written with it.
    writer: Mutex<Writer>,
    topics: RwLock<Topics>,
    published_lsn: AtomicU64,
    journal_bytes: AtomicU64,
    /// See [`Broker::placed_syncs`].
    placed_syncs: AtomicU64,
    app_low_water: AtomicU64,
    /// As in [`StorageConfig`], until it is changed.
    producer_expiry_ms: AtomicI64,
    /// The last record that the newest snapshot has seen.
    checkpoint_lsn: AtomicU64,
    poisoned: AtomicBool,
    /// The disk is full, and what could not be written: see `room.rs`.
    full: AtomicBool,
    full_reason: Mutex<Option<String>>,
    stopping: AtomicBool,
    /// A checkpoint is wanted; waited for by the second thread.
    chores: Mutex<Chores>,
    chores_wake: Condvar,
    checkpointing: Mutex<()>,
    _lock: Box<dyn DirLock>,
}

/// What the commit lock guards: everything as it is *assigned*, ahead of what is published.
struct Commit {
    group: Group,
    effects: Vec<Effect>,
    next_lsn: u64,
    topics: Topics,
    /// Name with `.` as `_` → name.
    collisions: HashMap<String, Arc<str>>,
    partitions: usize,
    app: Vec<AppRecord>,
    groups: BTreeMap<Bytes, Bytes>,
    /// What topics have unless they set it themselves, where it is not Kafka's default.
    topic_defaults: BTreeMap<String, String>,
    last_epoch: u64,
    /// As assigned: what is not yet published is above every last stable offset.
    wholes: Wholes,
    next_producer_id: i64,
    /// Ids below it are in the journal by `producer_ticket`.
    producer_ids_end: i64,
    producer_ticket: Ticket,
    /// Why nothing is taken any more.
    stopped: Option<String>,
}

/// What the committer works with.
struct Writer {
    journal: Journal,
    /// Taken from [`Commit`] and not yet published: more than one only when the disk is full.
    waiting: VecDeque<Waiting>,
    /// Buffers used in turn with those of [`Commit`].
    /// Partitions with placed batches that may not be durable, and the last group that placed some.
    unsynced: HashMap<TopicPartition, (Arc<Partition>, u64)>,
    /// Bytes placed since the last checkpoint began.
    placed_since_checkpoint: u64,
    spare_group: Group,
    spare_effects: Vec<Effect>,
    #[cfg(feature = "fault-skip-sync")]
    fault: commit::SkipFault,
}

#[derive(Default)]
struct Chores {
    checkpoint: bool,
    /// The journal has no file in reserve.
    spare: bool,
    /// Much of the journal is in the page cache only.
    sync: bool,
}

impl Broker {
    /// The id of this data directory, as Kafka writes cluster ids (22 characters of base64url).
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Is the change published? An error when it never will be.
    pub fn is_durable(&self, ticket: Ticket) -> Result<bool, ErrorCode> {
        if self.published_lsn.load(Ordering::Acquire) >= ticket.0 {
            return Ok(true);
        }
        match self.poisoned.load(Ordering::Acquire) {
            true => Err(ErrorCode::KafkaStorageError),
            false => Ok(false),
        }
    }

    /// Blocks until the change is published.
    pub fn wait_durable(&self, ticket: Ticket) -> Result<(), Error> {
        let mut commit = self.commit.lock();
        loop {
            if self.published_lsn.load(Ordering::Acquire) >= ticket.0 {
                return Ok(());
            }
            if let Some(reason) = &commit.stopped {
                return Err(Error::Poisoned { reason: reason.clone() });
            }
            self.published.wait(&mut commit);
        }
    }

    /// The newest ticket that is published.
    pub fn published(&self) -> Ticket {
        Ticket(self.published_lsn.load(Ordering::Acquire))
    }

    /// Where the segments are, as people know it.
    pub fn log_dir(&self) -> String {
        format!("{}/{}", self.disk.name().trim_end_matches('/'), crate::log::LOG_DIR)
    }

    /// The volume under the data directory, if it can tell.
    pub fn space(&self) -> Option<Space> {
        self.disk.space()
    }

    /// What this node was started with.
    pub fn durability(&self) -> Durability {
        self.config.durability
    }

    /// Wakes requests that wait for `key`.
    pub fn wake(&self, key: WakeKey) {
        self.wakes.wake(key);
    }

    /// Why nothing is accepted any more: a failed write or sync, or a stop.
    pub fn stopped(&self) -> Option<String> {
        self.commit.lock().stopped.clone()
    }

    /// Ends [`Broker::run_committer`]; what was submitted before is still published, later
    /// submissions are refused once it has ended.
    pub fn shut_down(&self) {
        {
            let _commit = self.commit.lock();
            self.stopping.store(true, Ordering::Release);
            self.work.notify_all();
        }
        let _chores = self.chores.lock();
        self.chores_wake.notify_all();
    }

    /// Bytes of records in the journal's files. Much more than twice `checkpoint_bytes` means that
    /// seals are kept for a layer above that does not move [`Broker::set_app_low_water`].
    pub fn journal_bytes(&self) -> u64 {
        self.journal_bytes.load(Ordering::Relaxed)
    }

    /// Syncs of segments, since the start, that had to come before the journal's: batches with
    /// `durability = os` lie there only, and what is published before a synced change is synced with it.
    pub fn placed_syncs(&self) -> u64 {
        self.placed_syncs.load(Ordering::Relaxed)
    }

    fn partition(&self, at: TopicPartition) -> Result<Arc<Partition>, ErrorCode> {
        self.topic_and_partition(at).map(|(_, partition)| partition)
    }

    fn topic_and_partition(
        &self,
        at: TopicPartition,
    ) -> Result<(Arc<Topic>, Arc<Partition>), ErrorCode> {
        let topics = self.topics.read();
        let topic = topics.by_id(&at.topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let index = usize::try_from(at.partition).unwrap_or(usize::MAX);
        let partition = topic.partitions.get(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        Ok((topic.clone(), partition.clone()))
    }

    fn wants_sync(&self, topic: &Topic) -> bool {
        topic.config.durability.unwrap_or(self.config.durability) == Durability::Fsync
    }
}

impl Commit {
    /// The next place in the journal.
    fn take_lsn(&mut self) -> u64 {
        let lsn = self.next_lsn;
        self.next_lsn += 1;
        lsn
    }

    fn check_open(&self) -> Result<(), Error> {
        match &self.stopped {
            None => Ok(()),
            Some(reason) => Err(Error::Poisoned { reason: reason.clone() }),
        }
    }
}
