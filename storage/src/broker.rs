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
//! The caller owns the threads: it runs [`Broker::run_committer`] on one. A test or simulation may
//! call [`Broker::commit_pending`] itself instead.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::config::StorageConfig;
use crate::disk::Disk;
use crate::error::{Error, ErrorCode, Refused};
use crate::topics::Topic;

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
    /// One past the last record in `records`; the asked offset if there are none.
    pub next_offset: i64,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
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
pub struct Broker {}

impl Broker {
    /// Opens the data directory: takes its lock, replays the journal, cuts torn tails.
    ///
    /// `entropy` is a fresh random UUID; it salts the journal's checksums, and becomes the cluster id
    /// of a new directory. Errors: [`Error::Locked`], [`Error::Corrupt`], [`Error::Io`].
    pub fn open(
        disk: Arc<dyn Disk>,
        config: StorageConfig,
        now_ms: i64,
        entropy: Uuid,
        wakes: Arc<dyn Wakes>,
    ) -> Result<(Broker, Recovered), Error> {
        todo!()
    }

    /// The id of this data directory, as Kafka writes cluster ids (22 characters of base64url).
    pub fn cluster_id(&self) -> &str {
        todo!()
    }

    // ---- topics ----

    /// Creates a topic. `id` is a fresh random UUID. The topic is there when the ticket is published.
    ///
    /// Errors: `INVALID_TOPIC_EXCEPTION`, `TOPIC_ALREADY_EXISTS`, `INVALID_PARTITIONS`,
    /// `INVALID_CONFIG`, `POLICY_VIOLATION` (too many partitions on this node).
    pub fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(String, String)],
        id: Uuid,
    ) -> Result<Ticket, Refused> {
        todo!()
    }

    /// As [`Broker::create_topic`], but only checks.
    pub fn check_topic(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(String, String)],
    ) -> Result<(), Refused> {
        todo!()
    }

    /// Deletes a topic and its records. Appends to it are refused from now on.
    pub fn delete_topic(&self, id: Uuid) -> Result<Ticket, Refused> {
        todo!()
    }

    /// Sets (`Some`) or resets (`None`) settings of a topic.
    pub fn alter_config(
        &self,
        id: Uuid,
        changes: &[(String, Option<String>)],
    ) -> Result<Ticket, Refused> {
        todo!()
    }

    /// Moves the log start of a partition up (Kafka's DeleteRecords); −1 means the high watermark.
    /// Gives the new log start. Whole segments below it are deleted.
    pub fn delete_records(&self, at: TopicPartition, before: i64) -> Result<(i64, Ticket), ErrorCode> {
        todo!()
    }

    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        todo!()
    }

    pub fn topic_by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        todo!()
    }

    /// All topics, by name.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        todo!()
    }

    // ---- records ----

    /// Takes a client's record batch: exactly one, of format v2. Checks length, CRC, producer
    /// sequence, time and size; assigns its offsets.
    ///
    /// Errors: `UNKNOWN_TOPIC_OR_PARTITION`, `CORRUPT_MESSAGE`, `INVALID_RECORD`,
    /// `MESSAGE_TOO_LARGE`, `INVALID_TIMESTAMP`, `UNSUPPORTED_FOR_MESSAGE_FORMAT` (magic 0 and 1),
    /// `UNSUPPORTED_COMPRESSION_TYPE`, `OUT_OF_ORDER_SEQUENCE_NUMBER`, `INVALID_PRODUCER_EPOCH`,
    /// `INVALID_TXN_STATE` (transactional batches come with a later issue), `KAFKA_STORAGE_ERROR`,
    /// `REQUEST_TIMED_OUT` (the committer is behind by `pending_bytes_max`).
    pub fn append(&self, at: TopicPartition, records: Bytes, now_ms: i64) -> Result<Appended, ErrorCode> {
        todo!()
    }

    /// Reads whole batches from the one that holds `offset`; `max_bytes` may be passed only by the
    /// first batch. Nothing beyond what `isolation` allows. Empty at the end of the log.
    ///
    /// Errors: `UNKNOWN_TOPIC_OR_PARTITION`, `OFFSET_OUT_OF_RANGE`, `KAFKA_STORAGE_ERROR`.
    pub fn read(
        &self,
        at: TopicPartition,
        offset: i64,
        max_bytes: usize,
        isolation: Isolation,
    ) -> Result<Read, ErrorCode> {
        todo!()
    }

    /// As [`Broker::read`], but no record at or after `end` is given either. `end` must be the
    /// border of a batch, as a cut is.
    pub fn read_to(
        &self,
        at: TopicPartition,
        offset: i64,
        end: i64,
        max_bytes: usize,
    ) -> Result<Read, ErrorCode> {
        todo!()
    }

    /// The first record whose timestamp is at or after `timestamp`, if it is visible.
    pub fn offset_for(
        &self,
        at: TopicPartition,
        timestamp: i64,
        isolation: Isolation,
    ) -> Result<Option<Found>, ErrorCode> {
        todo!()
    }

    /// The visible record with the greatest timestamp (ListOffsets −3); the first of them.
    pub fn offset_of_max_timestamp(
        &self,
        at: TopicPartition,
        isolation: Isolation,
    ) -> Result<Option<Found>, ErrorCode> {
        todo!()
    }

    /// The first offset that can be read.
    pub fn log_start(&self, at: TopicPartition) -> Result<i64, ErrorCode> {
        todo!()
    }

    /// One past the last published record.
    pub fn high_watermark(&self, at: TopicPartition) -> Result<i64, ErrorCode> {
        todo!()
    }

    /// Where `read_committed` readers stop. The high watermark until transactions exist.
    pub fn last_stable(&self, at: TopicPartition) -> Result<i64, ErrorCode> {
        todo!()
    }

    /// Bytes of a partition's segments on disk.
    pub fn size(&self, at: TopicPartition) -> Result<u64, ErrorCode> {
        todo!()
    }

    /// The last stable offset of each partition, all at one moment: no seal is half inside.
    pub fn cut(&self, of: &[TopicPartition]) -> Result<Vec<i64>, ErrorCode> {
        todo!()
    }

    /// A producer id never given before. It may be told to a client once the ticket is published.
    pub fn allocate_producer_id(&self) -> Result<(i64, Ticket), Error> {
        todo!()
    }

    // ---- facts of the layers above ----

    /// Seals an epoch. Errors: [`Error::Invalid`] when a batch is malformed, a partition is unknown
    /// or the epoch does not grow; [`Error::Poisoned`].
    pub fn seal(&self, seal: Seal, now_ms: i64) -> Result<Sealed, Error> {
        todo!()
    }

    /// Keeps an opaque record for the layers above, for ever (see [`Broker::replace_app`]).
    pub fn append_app(&self, kind: u16, bytes: Bytes) -> Result<Ticket, Error> {
        todo!()
    }

    /// Replaces all App records by these, in one step: how a layer compacts its own history.
    pub fn replace_app(&self, records: Vec<(u16, Bytes)>) -> Result<Ticket, Error> {
        todo!()
    }

    /// Says that no seal before `ticket` is needed any more: the state it carries is durable
    /// elsewhere. The journal keeps all later ones. Without this call it keeps all.
    pub fn set_app_low_water(&self, ticket: Ticket) {
        todo!()
    }

    /// Writes facts of the group coordinator in one step: for each key its new value, or `None` to
    /// forget it. The newest value of each key comes back in [`Recovered::groups`]: as a compacted
    /// topic, so no snapshot is asked of the coordinator.
    pub fn append_group(&self, records: &[(Bytes, Option<Bytes>)]) -> Result<Ticket, Error> {
        todo!()
    }

    // ---- waiting ----

    /// Is the change published? An error when it never will be.
    pub fn is_durable(&self, ticket: Ticket) -> Result<bool, ErrorCode> {
        todo!()
    }

    /// Blocks until the change is published.
    pub fn wait_durable(&self, ticket: Ticket) -> Result<(), Error> {
        todo!()
    }

    /// Wakes requests that wait for `key`.
    pub fn wake(&self, key: WakeKey) {
        todo!()
    }

    // ---- the committer ----

    /// Commits until [`Broker::shut_down`], then checkpoints and returns. Keeps a second thread of
    /// its own for checkpoints and retention. To be run on one thread, which it blocks.
    pub fn run_committer(&self, clock: &dyn Clock) -> Result<(), Error> {
        todo!()
    }

    /// Publishes everything submitted so far. Gives the number of journal records.
    pub fn commit_pending(&self, now_ms: i64) -> Result<usize, Error> {
        todo!()
    }

    /// Ends [`Broker::run_committer`]; what was submitted before is still published.
    pub fn shut_down(&self) {
        todo!()
    }

    /// Makes segments and metadata durable up to now and recycles journal files.
    pub fn checkpoint(&self, now_ms: i64) -> Result<(), Error> {
        todo!()
    }

    /// Deletes what the topics' retention settings allow, and forgets idle producers.
    pub fn enforce_retention(&self, now_ms: i64) -> Result<(), Error> {
        todo!()
    }
}
