//! Opening a data directory: the snapshot, then the journal, give back what was published.
//!
//! Two passes over the journal. The first reads the facts: which topics exist in the end, their
//! settings and log starts, App records, group facts, seals, and where placed batches should lie. Then
//! each partition's segments are cut to the checkpoint, and the second pass appends the later batches
//! again; a partition with placed batches is gone through in place ([`crate::log::placed`]). So the
//! segments end exactly where the journal ends: what a crash left in them beyond it, for instance half
//! of a seal, is gone, and the torn tail of a segment is written anew.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex, RwLock};
use uuid::Uuid;

use super::compaction::{OFFSETS_FILE, read_compacted};
use super::topics::new_topic;
use super::{
    AppRecord, Broker, Chores, Commit, Part, Recovered, SealRecord, Ticket, TopicPartition, Wakes,
    Wholes, Writer,
};
use crate::config::StorageConfig;
use crate::disk::Disk;
use crate::error::Error;
use crate::journal::record::{Fact, Frame, Group, TopicFact};
use crate::journal::replay::{Replayed, replay};
use crate::journal::snapshot::{PartitionState, Snapshot, TopicState};
use crate::journal::{JOURNAL_DIR, Journal};
use crate::log::batch::{BatchHeader, batches};
use crate::log::control::Marker;
use crate::log::placed::PlacedAt;
use crate::log::{Batch, LOG_DIR, Partition, Producers};
use crate::topics::{Topic, TopicConfig, Topics, kafka_uuid};

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
        let lock = disk.lock()?;
        for dir in [JOURNAL_DIR, LOG_DIR] {
            disk.create_dir(dir).map_err(Error::io(format!("make directory {dir}")))?;
        }
        disk.sync_dir("").map_err(Error::io("sync the data directory"))?;
        let stored = Snapshot::read(&disk)?;
        let first_start = stored.is_none();
        let start = stored.unwrap_or_else(|| Snapshot { cluster: entropy, ..Snapshot::default() });
        let (facts, topics, replayed) = roll_forward(&disk, start, first_start, now_ms)?;
        let next_lsn = replayed.next_lsn;
        let file_bytes = config.journal_file_bytes;
        let unsynced: HashMap<_, _> = facts.unsynced(&topics, next_lsn - 1).collect();
        let durable = (!unsynced.is_empty()).then_some(facts.durable);
        let files = replayed.files;
        let journal = Journal::begin(disk.clone(), file_bytes, entropy, files, next_lsn, durable)?;
        let journal_bytes = journal.bytes();
        if first_start {
            // From now on a missing journal is damage, and the cluster id stays.
            let cluster = facts.snapshot.cluster;
            Snapshot { cluster, ..Snapshot::default() }.write(&*disk)?;
        }
        let Facts { snapshot, seals, checkpoint, .. } = facts;
        let recovered = Recovered {
            app: snapshot.app.clone(),
            seals,
            last_epoch: snapshot.last_epoch,
            groups: snapshot.groups.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        };
        let broker = Broker {
            cluster_id: kafka_uuid(snapshot.cluster),
            cluster: snapshot.cluster,
            disk,
            producer_expiry_ms: AtomicI64::new(config.producer_expiry_ms),
            config,
            wakes,
            app_low_water: AtomicU64::new(snapshot.app_low_water),
            checkpoint_lsn: AtomicU64::new(checkpoint),
            commit: Mutex::new(Commit::recovered(snapshot, &topics, next_lsn)),
            work: Condvar::new(),
            published: Condvar::new(),
            writer: Mutex::new(Writer {
                journal,
                waiting: VecDeque::new(),
                unsynced,
                placed_since_checkpoint: 0,
                spare_group: Group::default(),
                spare_effects: Vec::new(),
                #[cfg(feature = "fault-skip-sync")]
                fault: super::commit::SkipFault::default(),
            }),
            topics: RwLock::new(topics),
            published_lsn: AtomicU64::new(next_lsn - 1),
            journal_bytes: AtomicU64::new(journal_bytes),
            placed_syncs: AtomicU64::new(0),
            poisoned: AtomicBool::new(false),
            full: AtomicBool::new(false),
            full_reason: Mutex::new(None),
            stopping: AtomicBool::new(false),
            // What was replayed is checkpointed soon, so restarts in a row do not pile up files.
            chores: Mutex::new(Chores {
                checkpoint: next_lsn > checkpoint + 1,
                spare: true,
                sync: false,
            }),
            chores_wake: Condvar::new(),
            checkpointing: Mutex::new(()),
            _lock: lock,
        };
        Ok((broker, recovered))
    }
}

/// Both passes over the journal.
fn roll_forward(
    disk: &Arc<dyn Disk>,
    start: Snapshot,
    first_start: bool,
    now_ms: i64,
) -> Result<(Facts, Topics, Replayed), Error> {
    let checkpoint = start.lsn;
    let mut facts = Facts::new(start);
    let replayed = replay(disk, checkpoint, |bytes, frame| facts.visit(bytes, frame))?;
    if !first_start && replayed.files.is_empty() {
        return Err(Error::corrupt(JOURNAL_DIR, 0, "the journal is missing"));
    }
    facts.remove_leftovers(&**disk)?;
    let topics = facts.open_topics(disk, now_ms)?;
    if replayed.next_lsn > checkpoint + 1 {
        let wholes = std::mem::take(&mut facts.snapshot.wholes);
        let durable = facts.durable;
        let mut rest = Rest { topics: &topics, checkpoint, durable, now_ms, wholes };
        replay(disk, checkpoint, |bytes, frame| rest.visit(bytes, frame))?;
        facts.snapshot.wholes = rest.wholes;
    }
    facts.finish_topics(&topics, now_ms)?;
    read_compacted(&**disk, &topics);
    Ok((facts, topics, replayed))
}

impl Commit {
    fn recovered(snapshot: Snapshot, topics: &Topics, next_lsn: u64) -> Commit {
        let mut commit = Commit {
            group: Group::default(),
            effects: Vec::new(),
            next_lsn,
            topics: Topics::default(),
            collisions: HashMap::new(),
            partitions: 0,
            app: snapshot.app,
            groups: snapshot.groups,
            topic_defaults: BTreeMap::new(),
            last_epoch: snapshot.last_epoch,
            wholes: snapshot.wholes,
            next_producer_id: snapshot.next_producer_id,
            producer_ids_end: snapshot.next_producer_id,
            producer_ticket: Ticket(0),
            stopped: None,
        };
        for topic in topics.iter() {
            commit.add_topic(topic.clone());
        }
        commit
    }
}

/// The first pass: everything but records.
struct Facts {
    /// As of the last record visited; its partitions still as of the checkpoint.
    snapshot: Snapshot,
    topics: BTreeMap<Uuid, TopicState>,
    /// Log starts moved after the checkpoint.
    starts: HashMap<(Uuid, i32), i64>,
    deleted: BTreeSet<Uuid>,
    seals: Vec<SealRecord>,
    checkpoint: u64,
    /// Of partitions with placed batches after the checkpoint, the segments these lie in.
    placed: HashMap<(Uuid, i32), BTreeSet<i64>>,
    /// All records up to it are known to have been on disk, placed batches included.
    durable: u64,
}

impl Facts {
    fn new(mut snapshot: Snapshot) -> Facts {
        let topics = std::mem::take(&mut snapshot.topics);
        Facts {
            checkpoint: snapshot.lsn,
            durable: snapshot.lsn,
            placed: HashMap::new(),
            snapshot,
            topics: topics.into_iter().map(|topic| (topic.fact.topic, topic)).collect(),
            starts: HashMap::new(),
            deleted: BTreeSet::new(),
            seals: Vec::new(),
        }
    }

    fn visit(&mut self, bytes: &[u8], frame: &Frame) -> Result<(), Error> {
        let fact = Fact::read(bytes, frame).ok_or_else(|| unreadable(frame))?;
        let ticket = Ticket(frame.lsn);
        if let Fact::Seal { epoch, payload, .. } = &fact
            && frame.lsn >= self.snapshot.app_low_water
        {
            self.seals.push(SealRecord { ticket, epoch: *epoch, payload: payload.clone() });
        }
        self.durable = self.durable.max(frame.durable);
        if frame.lsn <= self.checkpoint {
            return Ok(());
        }
        let snapshot = &mut self.snapshot;
        match fact {
            Fact::Append { .. } => {}
            Fact::Placed { topic, partition, segment, .. } => {
                self.placed.entry((topic, partition)).or_default().insert(segment);
            }
            Fact::Seal { epoch, .. } => snapshot.last_epoch = snapshot.last_epoch.max(epoch),
            Fact::TopicCreated(fact) => {
                let none = PartitionState::default();
                let partitions = vec![none; usize::try_from(fact.partitions).unwrap_or(0)];
                self.topics.insert(fact.topic, TopicState { fact, partitions });
            }
            Fact::TopicDeleted { topic } => {
                self.topics.remove(&topic);
                self.deleted.insert(topic);
            }
            Fact::TopicConfig { topic, config } => {
                if let Some(topic) = self.topics.get_mut(&topic) {
                    topic.fact.config = config;
                }
            }
            Fact::TopicGrown { topic, partitions } => {
                if let Some(topic) = self.topics.get_mut(&topic) {
                    topic.fact.partitions = partitions;
                    let count = usize::try_from(partitions).unwrap_or(0);
                    topic.partitions.resize(count, PartitionState::default());
                }
            }
            Fact::LogStart { topic, partition, offset } => {
                let start = self.starts.entry((topic, partition)).or_insert(offset);
                *start = offset.max(*start);
            }
            Fact::Group(records)
            | Fact::TransactionEnd { groups: records, .. }
            | Fact::GroupTold { groups: records, .. } => {
                for (key, value) in records {
                    note_group(&mut snapshot.groups, key, value);
                }
            }
            Fact::ProducerIds { next } => snapshot.next_producer_id = next,
            Fact::App { kind, bytes } => snapshot.app.push(AppRecord { ticket, kind, bytes }),
            Fact::AppReplaced(records) => {
                let kept = records.into_iter();
                snapshot.app =
                    kept.map(|(kind, bytes)| AppRecord { ticket, kind, bytes }).collect();
            }
        }
        Ok(())
    }

    /// Clears the log's directory of what no topic owns: directories of deleted topics go; others
    /// are put aside, for a person to look at.
    fn remove_leftovers(&self, disk: &dyn Disk) -> Result<(), Error> {
        let mut owned = BTreeSet::new();
        for topic in self.topics.values() {
            for partition in 0..topic.fact.partitions {
                owned.insert(Partition::dir_name(&topic.fact.name, partition));
            }
        }
        for name in disk.list(LOG_DIR).map_err(Error::io("list the log"))? {
            let dir = format!("{LOG_DIR}/{name}");
            if owned.contains(&dir) || name.ends_with("-stray") || name.starts_with(OFFSETS_FILE) {
                continue;
            }
            if name.ends_with("-delete") || self.is_of_deleted(disk, &dir) {
                disk.remove_dir(&dir).map_err(Error::io(format!("remove {dir}")))?;
            } else {
                tracing::warn!(dir, "no topic owns this directory; it is put aside");
                let aside = format!("{dir}-stray");
                disk.rename(&dir, &aside).map_err(Error::io(format!("rename {dir}")))?;
            }
        }
        Ok(())
    }

    fn is_of_deleted(&self, disk: &dyn Disk, dir: &str) -> bool {
        let file = disk.open(&format!("{dir}/partition.metadata"), false);
        let text = file.and_then(|file| file.read_at(0, 4096)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        self.deleted.iter().any(|id| text.ends_with(&kafka_uuid(*id)))
    }

    /// Opens every partition as of the checkpoint.
    fn open_topics(&self, disk: &Arc<dyn Disk>, now_ms: i64) -> Result<Topics, Error> {
        let mut topics = Topics::default();
        for TopicState { fact, partitions } in self.topics.values() {
            let config = TopicConfig::new(fact.config.clone()).unwrap_or_else(|e| {
                // Only an older or newer version can have written it.
                tracing::warn!(topic = fact.name, error = %e, "topic settings ignored");
                TopicConfig::default()
            });
            let topic = new_topic(disk, fact, config);
            for (partition, state) in topic.partitions.iter().zip(partitions) {
                let start = self.start_of(fact, partition.at.partition, state.start);
                let placed = self.placed.get(&(fact.topic, partition.at.partition));
                let placed = placed.cloned().unwrap_or_default();
                let (config, aborted) = (&topic.config, &state.aborted);
                partition.open_files(placed, start, state.end, aborted, config, now_ms)?;
                partition.restore_producers(state.producers.clone());
            }
            topics.insert(topic);
        }
        Ok(topics)
    }

    /// The partitions with placed batches that may not be on disk.
    fn unsynced<'a>(
        &'a self,
        topics: &'a Topics,
        last_lsn: u64,
    ) -> impl Iterator<Item = (TopicPartition, (Arc<Partition>, u64))> + 'a {
        self.placed.keys().filter_map(move |(topic, partition)| {
            let topic = topics.by_id(topic)?;
            let partition = topic.partitions.get(usize::try_from(*partition).ok()?)?;
            Some((partition.at, (partition.clone(), last_lsn)))
        })
    }

    fn start_of(&self, fact: &TopicFact, partition: i32, before: i64) -> i64 {
        let moved = self.starts.get(&(fact.topic, partition)).copied();
        moved.map_or(before, |moved| moved.max(before))
    }

    /// After the second pass: the segments that the log starts leave behind are removed.
    fn finish_topics(&self, topics: &Topics, now_ms: i64) -> Result<(), Error> {
        for topic in topics.iter() {
            for partition in topic.partitions.iter() {
                partition.finish_recovery(&topic.config, now_ms)?;
            }
        }
        Ok(())
    }
}

fn note_group(groups: &mut BTreeMap<Bytes, Bytes>, key: Bytes, value: Option<Bytes>) {
    match value {
        Some(value) => groups.insert(key, value),
        None => groups.remove(&key),
    };
}

fn unreadable(frame: &Frame) -> Error {
    let reason = format!("record {} of kind {} is not known", frame.lsn, frame.kind);
    Error::corrupt(JOURNAL_DIR, frame.start as u64, reason)
}

/// The second pass: records after the checkpoint.
struct Rest<'a> {
    topics: &'a Topics,
    checkpoint: u64,
    /// As [`Facts::durable`].
    durable: u64,
    now_ms: i64,
    wholes: Wholes,
}

impl Rest<'_> {
    fn visit(&mut self, bytes: &[u8], frame: &Frame) -> Result<(), Error> {
        if frame.lsn <= self.checkpoint {
            return Ok(());
        }
        match Fact::read(bytes, frame).ok_or_else(|| unreadable(frame))? {
            Fact::Append { topic, partition, batches } => {
                self.append(topic, partition, &bytes[batches], frame).map(drop)
            }
            Fact::Placed { topic, partition, segment, position, front } => {
                let durable = frame.lsn <= self.durable;
                let at = PlacedAt { segment, position, front: &bytes[front], durable };
                self.take_placed(topic, partition, at, frame)
            }
            Fact::Seal { appends, .. } => {
                let held = |(topic, partition, _): &(Uuid, i32, _)| {
                    let found = self.partition(*topic, *partition);
                    found.is_some_and(|(_, partition)| partition.has_open_transaction())
                };
                let held = appends.iter().any(held);
                self.append_all(appends, bytes, frame, held)
            }
            Fact::TransactionEnd { markers, .. } => self.append_all(markers, bytes, frame, true),
            Fact::GroupTold { appends, .. } => self.append_all(appends, bytes, frame, false),
            _ => Ok(()),
        }
    }

    /// Appends what belongs together; with `whole` no cut may split it.
    fn append_all(
        &mut self,
        appends: Vec<(Uuid, i32, Range<usize>)>,
        bytes: &[u8],
        frame: &Frame,
        whole: bool,
    ) -> Result<(), Error> {
        let mut parts = Vec::new();
        for (topic, partition, at) in appends {
            parts.extend(self.append(topic, partition, &bytes[at], frame)?);
        }
        if whole {
            let mut wholes = std::mem::take(&mut self.wholes);
            wholes.push(parts, |at| {
                self.partition(at.topic, at.partition).map(|(_, found)| found.last_stable())
            });
            self.wholes = wholes;
        }
        Ok(())
    }

    fn partition(&self, topic: Uuid, partition: i32) -> Option<(&Arc<Topic>, &Arc<Partition>)> {
        let topic = self.topics.by_id(&topic)?;
        Some((topic, topic.partitions.get(usize::try_from(partition).ok()?)?))
    }

    /// Appends batches of one partition. Gives their place; of a marker that of its transaction, if
    /// it committed one.
    fn append(
        &self,
        topic: Uuid,
        partition: i32,
        bytes: &[u8],
        frame: &Frame,
    ) -> Result<Option<Part>, Error> {
        // A topic that is not there any more was deleted later in the journal.
        let Some(topic): Option<&Arc<Topic>> = self.topics.by_id(&topic) else { return Ok(None) };
        let damaged = |reason: &str| Error::corrupt(JOURNAL_DIR, frame.start as u64, reason);
        let partition = usize::try_from(partition).ok().and_then(|i| topic.partitions.get(i));
        let partition = partition.ok_or_else(|| damaged("a record names no partition"))?;
        let mut headers: Vec<BatchHeader> = Vec::new();
        let mut markers: Vec<Option<Marker>> = Vec::new();
        let first_offset = partition.assigned.lock().next_offset;
        let mut next_offset = first_offset;
        for batch in batches(bytes) {
            let (header, batch) = batch.map_err(|e| damaged(&e.to_string()))?;
            if header.base_offset != next_offset {
                return Err(damaged("the offsets of a partition have a gap"));
            }
            next_offset = header.next_offset();
            headers.push(header);
            markers.push(if header.is_control() { Marker::read(batch) } else { None });
        }
        let all = Batch::all(bytes, &headers);
        match partition.has_layout() {
            true => all
                .into_iter()
                .try_for_each(|batch| partition.recover_whole(batch, &topic.config, self.now_ms))?,
            false => partition.append(&all, &topic.config, self.now_ms, |_, _, _| {})?,
        }
        let mut part = Some(Part { at: partition.at, first: first_offset, last: next_offset - 1 });
        for (header, marker) in headers.iter().zip(&markers) {
            let mut assigned = partition.assigned.lock();
            assigned.next_offset = header.next_offset();
            let producers: &mut Producers = &mut assigned.producers;
            match marker {
                None => producers.on_append(header, 0, self.now_ms),
                Some(marker) => {
                    let open = producers.on_marker(marker, self.now_ms);
                    let first = open.filter(|_| marker.commit);
                    part = first.map(|first| Part {
                        first,
                        at: partition.at,
                        last: header.base_offset,
                    });
                }
            }
            drop(assigned);
            partition.publish(header, marker.as_ref());
        }
        Ok(part)
    }

    /// A batch that should lie in its segment.
    fn take_placed(
        &self,
        topic: Uuid,
        partition: i32,
        at: PlacedAt<'_>,
        frame: &Frame,
    ) -> Result<(), Error> {
        // A topic that is not there any more was deleted later in the journal.
        let Some(topic) = self.topics.by_id(&topic) else { return Ok(()) };
        let damaged = |reason: &str| Error::corrupt(JOURNAL_DIR, frame.start as u64, reason);
        let partition = usize::try_from(partition).ok().and_then(|i| topic.partitions.get(i));
        let partition = partition.ok_or_else(|| damaged("a record names no partition"))?;
        let header = BatchHeader::parse(at.front).map_err(|e| damaged(&e.to_string()))?;
        if header.base_offset != partition.assigned.lock().next_offset {
            return Err(damaged("the offsets of a partition have a gap"));
        }
        let header = partition.recover_placed(header, at, &topic.config, self.now_ms)?;
        let mut assigned = partition.assigned.lock();
        assigned.next_offset = header.next_offset();
        assigned.producers.on_append(&header, 0, self.now_ms);
        drop(assigned);
        partition.publish(&header, None);
        Ok(())
    }
}
