//! One partition of the log: a directory of segments in Kafka's files, and what is known of its
//! producers.
//!
//! The journal is the truth and the segments are made from it, so nothing here syncs on the produce
//! path. Two views exist at once:
//! - *assigned*: offsets given out under the broker's commit lock; runs ahead
//! - *published*: everything below the high watermark; what readers see
//!
//! The committer alone appends, rolls and removes segments. Readers take a segment under a short
//! lock and read without it.

pub mod batch;
mod builder;
mod compaction;
mod compression;
pub mod control;
mod damage;
pub(crate) mod files;
pub(crate) mod index;
pub(crate) mod placed;
mod producers;
mod records;
mod retention;
mod segment;
#[cfg(test)]
mod tests;
pub(crate) mod transactions;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::broker::{Found, TopicPartition};
use crate::disk::Disk;
use crate::error::{Error, ErrorCode};
use crate::topics::{TopicConfig, kafka_uuid};
use batch::{BatchHeader, RecordIter};
use control::Marker;
pub use damage::Damage;
pub(crate) use producers::{Produced, Producer, Producers, Verdict};
use retention::Doomed;
pub(crate) use segment::Batch;
use segment::{Placed, Segment};
pub use transactions::Aborted;
use transactions::Transactions;
pub(crate) use transactions::Stored;

/// Where partition directories stand.
pub(crate) const LOG_DIR: &str = "log";
const METADATA: &str = "partition.metadata";
/// Memory that one batch may take when its records must be looked at.
/// A batch has at most a megabyte on the wire unless its topic says otherwise, and records that
/// people write compress to a tenth or so.
pub const DECOMPRESSED_MAX: usize = 32 << 20;

/// See the head of the file.
pub struct Partition {
    pub(crate) at: TopicPartition,
    dir: Arc<str>,
    disk: Arc<dyn Disk>,
    /// Only touched under the broker's commit lock, so never waited for.
    pub(crate) assigned: Mutex<Assigned>,
    segments: RwLock<Vec<Arc<Segment>>>,
    high_watermark: AtomicI64,
    log_start: AtomicI64,
    /// One past the last record in the segments; only the committer writes it.
    end: AtomicI64,
    /// The directory has names, or a metadata file, that are not synced.
    dir_dirty: AtomicBool,
    deleted: AtomicBool,
    transactions: Transactions,
    /// The offset in the name of the newest producer snapshot file; −1: there is none.
    producers_at: AtomicI64,
    is_damaged: AtomicBool,
    damage: Mutex<Option<Damage>>,
    /// Records below it are durable in the segments: a restart takes them from there.
    checkpointed: AtomicI64,
    /// Compaction has seen the records below it.
    compacted_to: AtomicI64,
    /// The directory itself may not be durable.
    dir_new: AtomicBool,
    /// Held while segments are synced: who finds nothing to sync waits for who does it.
    syncing: Mutex<()>,
    /// Only during a restart: see [`placed`].
    layout: Mutex<Option<placed::Layout>>,
    /// Held by whoever replaces or removes segment files, one at a time; never by the committer.
    upkeep: Mutex<()>,
    /// Segments that left the log; their files go when the delay is over.
    doomed: Mutex<Vec<Doomed>>,
    /// Held for a moment while names in the directory are changed by anyone but the committer, and by
    /// it when the topic is deleted: what stands there afterwards may be a later topic's.
    names: Mutex<()>,
}

/// The state that runs ahead of what is published.
#[derive(Debug, Clone, Default)]
pub(crate) struct Assigned {
    pub next_offset: i64,
    pub log_start: i64,
    pub producers: Producers,
    /// No append is taken any more.
    pub deleted: bool,
}

impl Partition {
    /// A partition that has no files yet.
    pub(crate) fn new(disk: Arc<dyn Disk>, topic: &str, at: TopicPartition) -> Partition {
        Partition {
            at,
            dir: Partition::dir_name(topic, at.partition).into(),
            disk,
            assigned: Mutex::default(),
            segments: RwLock::default(),
            high_watermark: AtomicI64::new(0),
            log_start: AtomicI64::new(0),
            end: AtomicI64::new(0),
            dir_dirty: AtomicBool::new(false),
            deleted: AtomicBool::new(false),
            transactions: Transactions::default(),
            producers_at: AtomicI64::new(-1),
            is_damaged: AtomicBool::new(false),
            damage: Mutex::default(),
            checkpointed: AtomicI64::new(0),
            compacted_to: AtomicI64::new(0),
            dir_new: AtomicBool::new(false),
            syncing: Mutex::default(),
            layout: Mutex::default(),
            upkeep: Mutex::default(),
            doomed: Mutex::default(),
            names: Mutex::default(),
        }
    }

    /// Its directory, below the data directory.
    pub(crate) fn dir(&self) -> &str {
        &self.dir
    }

    fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    pub(crate) fn dir_name(topic: &str, partition: i32) -> String {
        format!("{LOG_DIR}/{topic}-{partition}")
    }

    /// Makes the directory and the file that names the topic's id.
    pub(crate) fn create_files(&self) -> Result<(), Error> {
        let dir = &self.dir;
        self.disk.create_dir(dir).map_err(Error::io(format!("make directory {dir}")))?;
        let path = format!("{dir}/{METADATA}");
        let text = format!("version: 0\ntopic_id: {}", kafka_uuid(self.at.topic));
        let file = self.disk.open(&path, true).map_err(Error::io(format!("open {path}")))?;
        file.write_at(0, text.as_bytes()).map_err(Error::io(format!("write {path}")))?;
        self.dir_dirty.store(true, Ordering::Release);
        self.dir_new.store(true, Ordering::Release);
        Ok(())
    }

    fn files_are_mine(&self) -> bool {
        let expected = format!("version: 0\ntopic_id: {}", kafka_uuid(self.at.topic));
        let file = self.disk.open(&format!("{}/{METADATA}", self.dir), false);
        let text = file.and_then(|file| file.read_at(0, 4096));
        text.is_ok_and(|text| text == expected.as_bytes())
    }

    /// Opens the files after a restart and cuts them to what the last checkpoint made durable:
    /// records below `end`. Everything later comes from the journal again. Records below `start` may
    /// be missing; any other missing record is damage. `aborted` as [`Partition::aborted_stored`] gave
    /// it at the checkpoint. `placed` are the segments that later records have placed batches in: with
    /// some, nothing is cut, see [`placed`].
    pub(crate) fn open_files(
        &self,
        placed: BTreeSet<i64>,
        start: i64,
        end: i64,
        aborted: &[Stored],
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<(), Error> {
        if !self.files_are_mine() {
            if start < end {
                // Whatever stands there is another topic's.
                let aside = format!("{}.{now_ms:x}-stray", self.dir);
                let action = format!("rename {}", self.dir);
                match self.disk.rename(&self.dir, &aside) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        return Err(Error::io(action)(e));
                    }
                    _ => {}
                }
                self.note_damage(start, "partition.metadata is missing or names another topic");
            }
            let action = format!("remove {}", self.dir);
            self.disk.remove_dir(&self.dir).map_err(Error::io(action))?;
            self.create_files()?;
        }
        let mut names = self.names_in_dir()?;
        if self.settle_swaps(&names)? {
            names = self.names_in_dir()?;
        }
        let in_place = !placed.is_empty();
        let mut kept = Vec::new();
        let bases = base_offsets(&names);
        self.remove_orphans(&names, &bases)?;
        for base_offset in bases {
            if base_offset >= end && in_place {
                continue;
            }
            let interval = config.index_interval_bytes;
            let segment = Segment::open(&self.disk, &self.dir, base_offset, now_ms, interval)?;
            match base_offset < end {
                true => kept.push(Arc::new(segment)),
                false => segment.remove_files()?,
            }
        }
        let lost = "records that were durable at the last checkpoint are missing";
        let cut = kept.last().map_or(Ok(start >= end), |last| last.cut_at_offset(end, in_place));
        let mut fresh = false;
        match cut {
            Ok(true) => {}
            Ok(false) if start >= end => {
                for segment in kept.drain(..) {
                    segment.remove_files()?;
                }
            }
            Err(e) if !matches!(e, Error::Corrupt { .. }) => return Err(e),
            // Nothing of it is touched; what the journal has goes into a segment of its own.
            Ok(false) => {
                fresh = true;
                self.note_damage(start, lost);
            }
            Err(e) => {
                fresh = true;
                self.note_damage(
                    kept.last().map_or(start, |last| last.base_offset),
                    &e.to_string(),
                );
            }
        }
        if kept.first().is_some_and(|first| first.base_offset > start.max(0)) && start < end {
            self.note_damage(start, lost);
        }
        self.transactions.load(&*self.disk, &self.dir, &kept, end, aborted)?;
        *self.segments.write() = kept;
        self.dir_dirty.store(true, Ordering::Release);
        let mut assigned = self.assigned.lock();
        assigned.next_offset = end;
        assigned.log_start = start;
        self.log_start.store(start, Ordering::Release);
        self.high_watermark.store(end, Ordering::Release);
        self.end.store(end, Ordering::Release);
        self.checkpointed.store(end, Ordering::Release);
        drop(assigned);
        if in_place {
            *self.layout.lock() = Some(placed::Layout { bases: placed, frozen: fresh });
        } else if fresh {
            self.begin_segment(end, config, now_ms)?;
        }
        Ok(())
    }

    /// What was known of producers at the checkpoint, their open transactions included.
    pub(crate) fn restore_producers(&self, producers: Producers) {
        self.transactions.restore(producers.open());
        self.assigned.lock().producers = producers;
    }

    /// Records below `end` are durable in the segments, and a snapshot says so.
    pub(crate) fn on_checkpoint(&self, end: i64) {
        self.checkpointed.fetch_max(end, Ordering::AcqRel);
    }

    /// Where compaction goes on. What is not known is compacted again.
    pub(crate) fn compacted_to(&self) -> i64 {
        self.compacted_to.load(Ordering::Acquire)
    }

    pub(crate) fn set_compacted_to(&self, offset: i64) {
        if offset <= self.high_watermark() {
            self.compacted_to.store(offset, Ordering::Release);
        }
    }

    /// After the journal was replayed: removes the segments below the log start.
    pub(crate) fn finish_recovery(&self, config: &TopicConfig, now_ms: i64) -> Result<(), Error> {
        // Never beyond the end: in the page cache's durability a start may outlive its records.
        self.finish_layout(config, now_ms)?;
        let start = self.log_start().min(self.high_watermark());
        self.assigned.lock().log_start = start;
        self.remove_below(start, config, now_ms)
    }

    fn names_in_dir(&self) -> Result<Vec<String>, Error> {
        self.disk.list(&self.dir).map_err(Error::io(format!("list {}", self.dir)))
    }

    // ---- the committer's side ----

    /// Appends batches to the newest segment or a new one. Tells `placed`, for each of them: its index,
    /// the base offset of the segment, its place there.
    pub(crate) fn append(
        &self,
        batches: &[Batch<'_>],
        config: &TopicConfig,
        now_ms: i64,
        mut placed: impl FnMut(usize, i64, u64),
    ) -> Result<(), Error> {
        if self.is_deleted() {
            return Ok(());
        }
        // Tried again after the disk was full: what it took before is there.
        let end = self.end.load(Ordering::Acquire);
        let there = batches.iter().take_while(|batch| batch.header.next_offset() <= end).count();
        let mut rest = &batches[there..];
        while let Some(first) = rest.first() {
            let segment = self.segment_for(&first.header, config, now_ms)?;
            // As many batches as the segment takes, in one write.
            let mut take = 0;
            let mut take_bytes = 0;
            for Batch { header, .. } in rest {
                let more = take_bytes + header.total_bytes;
                let takes = segment.takes(more as u64, header.last_offset(), config.segment_bytes);
                if take > 0 && !takes {
                    break;
                }
                take += 1;
                take_bytes = more;
            }
            let (now, later) = rest.split_at(take);
            let mut position = segment.bytes();
            segment.append(now)?;
            let before = batches.len() - rest.len();
            for (i, batch) in now.iter().enumerate() {
                placed(before + i, segment.base_offset, position);
                position += batch.header.total_bytes as u64;
            }
            let end = now.last().map_or(0, |last| last.header.next_offset());
            self.end.store(end, Ordering::Release);
            rest = later;
        }
        Ok(())
    }

    /// The newest segment, after rolling it if the batch has no place in it.
    fn segment_for(
        &self,
        batch: &BatchHeader,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<Arc<Segment>, Error> {
        let newest = self.segments.read().last().cloned();
        if let Some(newest) = newest {
            let takes =
                newest.takes(batch.total_bytes as u64, batch.last_offset(), config.segment_bytes);
            let old = newest.bytes() > 0 && self.is_old(&newest, batch, config, now_ms)?;
            if takes && !old {
                return Ok(newest);
            }
            newest.close()?;
        }
        self.begin_segment(batch.base_offset, config, now_ms)
    }

    /// Kafka's rule (`LogSegment.shouldRoll`): the time from the first record to the new one, or since
    /// the segment was begun if records have no time. A compacted topic rolls in time for
    /// `max.compaction.lag.ms`.
    fn is_old(
        &self,
        segment: &Segment,
        batch: &BatchHeader,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<bool, Error> {
        let waited = match segment.first_timestamp()? {
            first if first >= 0 => batch.max_timestamp.saturating_sub(first),
            _ => now_ms.saturating_sub(segment.created_ms),
        };
        let mut limit = config.segment_ms;
        if config.cleanup_compact {
            limit = limit.min(config.max_compaction_lag_ms);
        }
        Ok(waited > limit - self.jitter(segment.base_offset, config))
    }

    /// A share of `segment.jitter.ms`, another for each segment and partition and always the same.
    fn jitter(&self, base_offset: i64, config: &TopicConfig) -> i64 {
        let most = config.segment_jitter_ms.min(config.segment_ms);
        if most <= 0 {
            return 0;
        }
        let (high, low) = self.at.topic.as_u64_pair();
        let mixed = (high ^ low ^ base_offset as u64 ^ (self.at.partition as u64) << 32)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed >> 1) as i64).rem_euclid(most)
    }

    fn begin_segment(
        &self,
        base_offset: i64,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<Arc<Segment>, Error> {
        let interval = config.index_interval_bytes;
        if self.segments.read().is_empty() {
            self.write_leader_epochs(base_offset)?;
        }
        let segment = Segment::create(&self.disk, &self.dir, base_offset, now_ms, interval)?;
        let segment = Arc::new(segment);
        self.dir_dirty.store(true, Ordering::Release);
        self.segments.write().push(segment.clone());
        Ok(segment)
    }

    /// Makes a batch visible; `marker` if it is one.
    pub(crate) fn publish(&self, batch: &BatchHeader, marker: Option<&Marker>) {
        let end = batch.next_offset();
        debug_assert!(end >= self.high_watermark(), "a high watermark never goes back");
        // In this order nobody sees a record below the last stable offset that is not decided.
        if marker.is_none() {
            self.transactions.on_publish(batch, None);
        }
        self.high_watermark.store(end, Ordering::Release);
        if marker.is_some() {
            self.transactions.on_publish(batch, marker);
        }
    }

    /// Moves the log start up and removes the segments that lie wholly below it.
    pub(crate) fn apply_log_start(
        &self,
        start: i64,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<(), Error> {
        match start > self.log_start() {
            true => self.remove_below(start, config, now_ms),
            false => Ok(()),
        }
    }

    fn remove_below(&self, start: i64, config: &TopicConfig, now_ms: i64) -> Result<(), Error> {
        let newest = self.segments.read().last().cloned();
        let end = self.end.load(Ordering::Acquire);
        if let Some(newest) = newest.filter(|newest| start >= end && newest.bytes() > 0) {
            newest.close()?;
            self.begin_segment(end, config, now_ms)?;
        }
        self.log_start.store(start, Ordering::Release);
        let gone: Vec<Arc<Segment>> = {
            let mut segments = self.segments.write();
            let below = segments.iter().skip(1).take_while(|s| s.base_offset <= start).count();
            segments.drain(..below).collect()
        };
        self.doom(gone, now_ms.saturating_add(config.file_delete_delay_ms));
        if let Some(first) = self.segments.read().first() {
            self.transactions.forget_below(first.base_offset);
        }
        Ok(())
    }

    /// Makes all segments and their names durable, and brings the indexes up to date.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        let _syncing = self.syncing.lock();
        let segments = self.segments.read().clone();
        let synced = || -> Result<(), Error> {
            for segment in &segments {
                segment.sync()?;
                segment.flush_index_if_behind()?;
            }
            let bases: Vec<i64> = segments.iter().map(|segment| segment.base_offset).collect();
            let named = self.transactions.sync(&*self.disk, &self.dir, &bases)?;
            if self.dir_dirty.swap(false, Ordering::AcqRel) || named {
                self.sync_names_and_metadata()?;
            }
            Ok(())
        };
        match synced() {
            // Removed meanwhile; nothing of it matters any more.
            Err(_) if self.deleted.load(Ordering::Acquire) => Ok(()),
            done => done,
        }
    }

    /// What the files of aborted transactions hold, of those decided before `end`.
    pub(crate) fn aborted_stored(&self, end: i64) -> Vec<Stored> {
        let bases: Vec<i64> = self.segments.read().iter().map(|s| s.base_offset).collect();
        self.transactions.stored(&bases, end)
    }

    /// Takes the files away. Readers that have a segment open go on reading it.
    pub(crate) fn remove_files(&self) -> Result<(), Error> {
        let _names = self.names.lock();
        self.deleted.store(true, Ordering::Release);
        let aside = format!("{LOG_DIR}/{}.{}-delete", self.at.topic.simple(), self.at.partition);
        let action = format!("remove {}", self.dir);
        self.segments.read().iter().for_each(|segment| segment.abandon());
        match self.disk.rename(&self.dir, &aside) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            done => done.map_err(Error::io(action.clone()))?,
        }
        self.disk.remove_dir(&aside).map_err(Error::io(action))
    }

    // ---- the readers' side ----

    pub(crate) fn high_watermark(&self) -> i64 {
        self.high_watermark.load(Ordering::Acquire)
    }

    /// Where `read_committed` stops: at the first record of the oldest open transaction.
    pub(crate) fn last_stable(&self) -> i64 {
        let high_watermark = self.high_watermark();
        self.transactions.stable_below(high_watermark).max(self.log_start()).min(high_watermark)
    }

    /// Whether a transaction is open here, as assigned.
    pub(crate) fn has_open_transaction(&self) -> bool {
        self.assigned.lock().producers.any_open()
    }

    /// The aborted transactions with offsets in `from..to`, which must lie below the last stable
    /// offset.
    pub(crate) fn aborted(&self, from: i64, to: i64) -> Vec<Aborted> {
        self.transactions.aborted(from, to)
    }

    pub(crate) fn log_start(&self) -> i64 {
        self.log_start.load(Ordering::Acquire)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments.read().iter().map(|segment| segment.bytes()).sum()
    }

    /// Whole batches from the one with `offset` on, below `end`, and where to read on: after them, or
    /// at `end` when compaction left nothing before it.
    pub(crate) fn read(
        &self,
        offset: i64,
        end: i64,
        max_bytes: usize,
    ) -> Result<(Bytes, i64), ErrorCode> {
        if offset < self.log_start() || offset > self.high_watermark() {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let mut search = offset;
        while search < end {
            let Some((segment, next_base)) = self.segment_at(search) else {
                return Ok((Bytes::new(), offset));
            };
            if search < segment.base_offset {
                if search < self.log_start() {
                    return Err(ErrorCode::OffsetOutOfRange);
                }
                let reason = format!("records {search} to {} are missing", segment.base_offset - 1);
                self.note_damage(search, &reason);
                return Err(ErrorCode::CorruptMessage);
            }
            let segment_end = next_base.map_or(end, |next_base| next_base.min(end));
            let found = segment.read_batches(offset, segment_end, max_bytes);
            let found = found.map_err(|e| self.read_failed(offset, &e))?;
            match (found, next_base) {
                (Some(found), _) => return Ok(found),
                // A segment reaches up to the next one, also after compaction.
                (None, Some(next_base)) if next_base <= end => {
                    let reason = format!("records {search} to {} are missing", next_base - 1);
                    self.note_damage(search, &reason);
                    return Err(ErrorCode::CorruptMessage);
                }
                (None, Some(next_base)) => search = next_base,
                (None, None) => break,
            }
        }
        Ok((Bytes::new(), offset.max(end)))
    }

    /// The segment that may hold the offset, and where the next one begins.
    fn segment_at(&self, offset: i64) -> Option<(Arc<Segment>, Option<i64>)> {
        let segments = self.segments.read();
        let after = segments.partition_point(|segment| segment.base_offset <= offset);
        let found = segments.get(after.saturating_sub(1))?.clone();
        Some((found, segments.get(after.max(1)).map(|next| next.base_offset)))
    }

    /// The first record below `end` whose timestamp is at or after `timestamp`.
    pub(crate) fn offset_for(&self, timestamp: i64, end: i64) -> Result<Option<Found>, Error> {
        let start = self.log_start();
        let segments = self.segments.read().clone();
        for segment in segments {
            if segment.base_offset >= end {
                break;
            }
            if segment.max_timestamp()?.0 < timestamp {
                continue;
            }
            let mut from = start;
            loop {
                let wanted = |header: &BatchHeader| {
                    header.max_timestamp >= timestamp && header.last_offset() >= from
                };
                let Some(placed) = segment.find(timestamp, wanted)? else { break };
                if placed.header.base_offset >= end {
                    return Ok(None);
                }
                if let Some(found) = record_at(&segment, &placed, timestamp, start)? {
                    return Ok(Some(found));
                }
                from = placed.header.next_offset();
            }
        }
        Ok(None)
    }

    /// The first record below `end` with the greatest timestamp.
    pub(crate) fn offset_of_max_timestamp(&self, end: i64) -> Result<Option<Found>, Error> {
        let start = self.log_start();
        let segments = self.segments.read().clone();
        let mut newest: Option<(i64, Arc<Segment>)> = None;
        for segment in segments {
            let (greatest, _) = segment.max_timestamp()?;
            if newest.as_ref().is_none_or(|(timestamp, _)| *timestamp < greatest) {
                newest = Some((greatest, segment));
            }
        }
        let Some((greatest, segment)) = newest else { return Ok(None) };
        let wanted = |header: &BatchHeader| {
            let visible = header.last_offset() >= start && header.base_offset < end;
            visible && header.max_timestamp >= greatest
        };
        match segment.find(greatest, wanted)? {
            Some(placed) => record_at(&segment, &placed, greatest, start),
            None => Ok(None),
        }
    }
}

/// The segments among the names of files.
fn base_offsets(names: &[String]) -> Vec<i64> {
    let of = |name: &String| name.strip_suffix(".log")?.parse::<i64>().ok();
    names.iter().filter_map(of).filter(|base| *base >= 0).collect()
}

/// The first record of a batch at or after a time and an offset.
fn record_at(
    segment: &Segment,
    placed: &Placed,
    timestamp: i64,
    start: i64,
) -> Result<Option<Found>, Error> {
    let bytes = segment.read(placed.position, placed.header.total_bytes)?;
    let Ok((header, body)) = batch::records(&bytes, DECOMPRESSED_MAX) else {
        // Not readable for us, but perhaps for the client that wrote it: the batch will do.
        let offset = placed.header.base_offset.max(start);
        return Ok(Some(Found { offset, timestamp: placed.header.max_timestamp }));
    };
    let found = RecordIter::new(header, &body)
        .map_while(Result::ok)
        .find(|record| record.timestamp >= timestamp && record.offset >= start);
    Ok(found.map(|record| Found { offset: record.offset, timestamp: record.timestamp }))
}
