//! Checkpoints and retention: what keeps the journal and the log from growing without end.
//!
//! A checkpoint is: note all facts as assigned at some lsn; publish up to it; sync the segments;
//! write the snapshot; recycle journal files. A crash in between leaves the old snapshot and all the
//! journal it needs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Broker, Commit, Ticket};
use crate::error::{Error, ErrorCode};
use crate::journal::record::TopicFact;
use crate::journal::snapshot::{PartitionState, Snapshot, TopicState};
use crate::log::{LOG_DIR, Partition};

/// From here on partitions are synced by several threads.
const MANY_PARTITIONS: usize = 256;
const SYNC_THREADS: usize = 16;
/// Checkpoints' worth of journal that may be kept before it is worth a word.
const KEPT_WARN: u64 = 16;

impl Broker {
    /// Makes segments and metadata durable up to now and recycles journal files.
    pub fn checkpoint(&self, now_ms: i64) -> Result<(), Error> {
        let _one_at_a_time = self.checkpointing.lock();
        match self.try_checkpoint(now_ms) {
            // The old one stands; the next try comes when there is room.
            Err(e) if e.is_full() => {
                self.note_full(&e.to_string());
                self.chores.lock().checkpoint = true;
                Ok(())
            }
            // A sync that failed cannot be tried again: the kernel may have dropped the pages.
            Err(e) => {
                self.stop(&e.to_string());
                Err(e)
            }
            Ok(()) => Ok(()),
        }
    }

    /// After the last checkpoint: leaves little for the next start to read.
    pub(super) fn close_journal(&self) -> Result<(), Error> {
        let low_water = self.app_low_water.load(Ordering::Acquire);
        let checkpoint = self.checkpoint_lsn.load(Ordering::Acquire);
        match self.writer.lock().journal.close(checkpoint, low_water) {
            // Then the next start reads more.
            Err(e) if e.is_full() => Ok(()),
            done => done,
        }
    }

    /// Makes durable what is in the journal now, while others go on writing.
    pub(super) fn sync_journal(&self) -> Result<(), Error> {
        let Some(unsynced) = self.writer.lock().journal.begin_sync() else { return Ok(()) };
        unsynced.sync()?;
        self.writer.lock().journal.end_sync(&unsynced);
        Ok(())
    }

    fn try_checkpoint(&self, now_ms: i64) -> Result<(), Error> {
        let low_water = self.app_low_water.load(Ordering::Acquire);
        let mut snapshot = self.commit.lock().snapshot();
        snapshot.cluster = self.cluster;
        snapshot.app_low_water = low_water;
        self.commit_pending(now_ms)?;
        if self.published_lsn.load(Ordering::Acquire) < snapshot.lsn {
            // Some of it still waits for room.
            return Ok(());
        }
        self.sync_journal()?;
        self.sync_partitions()?;
        self.note_aborted(&mut snapshot);
        self.disk.sync_dir(LOG_DIR).map_err(Error::sync("sync the log's directory"))?;
        snapshot.write(&*self.disk)?;
        self.on_checkpoint(&snapshot);
        self.checkpoint_lsn.store(snapshot.lsn, Ordering::Release);
        let kept_bytes = {
            let mut writer = self.writer.lock();
            writer.on_checkpoint(snapshot.lsn);
            writer.journal.recycle(snapshot.lsn, low_water)?;
            writer.journal.bytes()
        };
        self.journal_bytes.store(kept_bytes, Ordering::Relaxed);
        if kept_bytes > self.config.checkpoint_bytes.saturating_mul(KEPT_WARN) {
            tracing::warn!(kept_bytes, low_water, "the journal keeps seals that were not released");
        }
        tracing::debug!(lsn = snapshot.lsn, kept_bytes, "checkpoint written");
        Ok(())
    }

    /// Syncs all segments. Of very many several at a time: file systems then share the work.
    fn sync_partitions(&self) -> Result<(), Error> {
        let topics = self.topics();
        let all: Vec<&Arc<Partition>> =
            topics.iter().flat_map(|topic| topic.partitions.iter()).collect();
        if all.len() < MANY_PARTITIONS {
            return all.iter().try_for_each(|partition| partition.sync());
        }
        std::thread::scope(|scope| {
            let share = all.len().div_ceil(SYNC_THREADS);
            let sync = |some: &[&Arc<Partition>]| some.iter().try_for_each(|one| one.sync());
            let threads: Vec<_> =
                all.chunks(share).map(|some| scope.spawn(move || sync(some))).collect();
            threads.into_iter().try_for_each(|thread| {
                let panicked = |_| Error::Poisoned { reason: "a sync panicked".to_owned() };
                thread.join().map_err(panicked)?
            })
        })
    }

    /// Says in the snapshot what the files of aborted transactions hold, once they are synced.
    fn note_aborted(&self, snapshot: &mut Snapshot) {
        for state in &mut snapshot.topics {
            let Some(topic) = self.topic_by_id(state.fact.topic) else { continue };
            for (partition, state) in topic.partitions.iter().zip(&mut state.partitions) {
                state.aborted = partition.aborted_stored(state.end);
            }
        }
    }

    /// Tells the partitions what of them is durable in the segments.
    fn on_checkpoint(&self, snapshot: &Snapshot) {
        for state in &snapshot.topics {
            let Some(topic) = self.topic_by_id(state.fact.topic) else { continue };
            for (partition, state) in topic.partitions.iter().zip(&state.partitions) {
                partition.on_checkpoint(state.end);
                if let Err(e) = partition.write_producers(&state.producers, state.end) {
                    tracing::warn!(error = %e, "a producer snapshot for other tools is missing");
                }
            }
        }
    }

    /// Says that no seal before `ticket` is needed any more: the state it carries is durable
    /// elsewhere. The journal keeps all later ones. Without this call it keeps all.
    pub fn set_app_low_water(&self, ticket: Ticket) {
        self.app_low_water.fetch_max(ticket.0, Ordering::AcqRel);
    }

    /// Changes how long an idle producer id is remembered (`producer.id.expiration.ms`); `None`: as
    /// configured.
    pub fn set_producer_expiry(&self, ms: Option<i64>) {
        let ms = ms.unwrap_or(self.config.producer_expiry_ms);
        self.producer_expiry_ms.store(ms, Ordering::Relaxed);
    }

    /// Deletes what the topics' retention settings allow, and forgets idle producers.
    pub fn enforce_retention(&self, now_ms: i64) -> Result<(), Error> {
        let oldest = now_ms.saturating_sub(self.producer_expiry_ms.load(Ordering::Relaxed));
        for topic in self.topics() {
            for partition in topic.partitions.iter() {
                let start = partition.retention_start(&topic.config, now_ms).unwrap_or_else(|e| {
                    // That partition's trouble only.
                    tracing::error!(dir = partition.dir(), error = %e, "retention cannot be enforced");
                    None
                });
                if let Some(start) = start {
                    match self.delete_records(partition.at, start) {
                        // Gone meanwhile.
                        Ok(_) | Err(ErrorCode::UnknownTopicOrPartition) => {}
                        Err(_) => self.commit.lock().check_open()?,
                    }
                }
                let _commit = self.commit.lock();
                partition.assigned.lock().producers.expire(oldest);
            }
        }
        Ok(())
    }
}

impl Commit {
    /// All facts as assigned now.
    fn snapshot(&self) -> Snapshot {
        let topics = self.topics.iter().map(|topic| TopicState {
            fact: TopicFact {
                topic: topic.id,
                name: topic.name.to_string(),
                partitions: topic.partition_count(),
                config: topic.config.set().clone(),
            },
            partitions: topic
                .partitions
                .iter()
                .map(|partition| {
                    let assigned = partition.assigned.lock();
                    PartitionState {
                        start: assigned.log_start,
                        end: assigned.next_offset,
                        producers: assigned.producers.clone(),
                        aborted: Vec::new(),
                    }
                })
                .collect(),
        });
        Snapshot {
            lsn: self.next_lsn - 1,
            next_producer_id: self.producer_ids_end,
            last_epoch: self.last_epoch,
            topics: topics.collect(),
            app: self.app.clone(),
            groups: self.groups.clone(),
            wholes: self.wholes.clone(),
            ..Snapshot::default()
        }
    }
}
