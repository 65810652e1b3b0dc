//! Which partition is compacted when, and what is remembered of it.
//!
//! `log/cleaner-offset-checkpoint`, as Kafka has it: a version (0), a count, then lines of topic,
//! partition and the offset up to which it was compacted. It is a hint: without it a partition is
//! compacted from its start again.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Broker, Clock};
use crate::disk::Disk;
use crate::error::Error;
use crate::log::{LOG_DIR, Partition};
use crate::topics::{Topic, Topics};

pub(super) const OFFSETS_FILE: &str = "cleaner-offset-checkpoint";

impl Broker {
    /// Compacts the partitions that are due, the dirtiest first; checkpoints first if that makes
    /// more of them due. Gives how many were compacted. A partition that cannot be compacted is
    /// left as it is; an error is the node's.
    pub fn compact(&self, now_ms: i64) -> Result<usize, Error> {
        let wanted = self.due(now_ms, true);
        if wanted.is_empty() {
            return Ok(0);
        }
        let mut due = self.due(now_ms, false);
        if due.len() < wanted.len() {
            self.checkpoint(now_ms)?;
            due = self.due(now_ms, false);
        }
        let mut compacted = 0;
        for (topic, partition) in due {
            let go_on = || !self.stopping.load(Ordering::Acquire);
            if !go_on() {
                break;
            }
            let keys_max = self.config.compaction_keys_max;
            match partition.compact(&topic.config, now_ms, keys_max, &go_on) {
                Ok(round) => {
                    compacted += 1;
                    tracing::debug!(dir = partition.dir(), ?round, "compacted");
                }
                Err(e @ Error::Poisoned { .. }) => return Err(e),
                // A deleted topic.
                Err(Error::Invalid(_)) => {}
                Err(e) => partition.compaction_failed(&e),
            }
        }
        if let Err(e) = self.write_compacted() {
            tracing::warn!(error = %e, "partitions will be compacted from their start after a restart");
        }
        Ok(compacted)
    }

    /// The partitions that are due, the dirtiest first.
    fn due(&self, now_ms: i64, beyond_checkpoint: bool) -> Vec<(Arc<Topic>, Arc<Partition>)> {
        let mut due = Vec::new();
        for topic in self.topics().into_iter().filter(|topic| topic.config.cleanup_compact) {
            for partition in topic.partitions.iter().filter(|one| one.damage().is_none()) {
                match partition.dirt(&topic.config, now_ms, beyond_checkpoint) {
                    Ok(dirt) if dirt.is_due(&topic.config) => {
                        due.push((dirt.ratio, topic.clone(), partition.clone()));
                    }
                    Ok(_) => {}
                    Err(e) => partition.compaction_failed(&e),
                }
            }
        }
        due.sort_by(|(a, ..), (b, ..)| b.total_cmp(a));
        due.into_iter().map(|(_, topic, partition)| (topic, partition)).collect()
    }

    fn write_compacted(&self) -> Result<(), Error> {
        let mut lines = String::new();
        let mut count = 0;
        for topic in self.topics() {
            for partition in topic.partitions.iter().filter(|one| one.compacted_to() > 0) {
                let (index, offset) = (partition.at.partition, partition.compacted_to());
                // Writing to a String cannot fail.
                let _ = writeln!(lines, "{} {index} {offset}", topic.name);
                count += 1;
            }
        }
        let (path, passing) = (path(), format!("{}.tmp", path()));
        let write = || {
            let file = self.disk.open(&passing, true)?;
            file.truncate(0)?;
            file.write_at(0, format!("0\n{count}\n{lines}").as_bytes())?;
            file.sync_data()?;
            self.disk.rename(&passing, &path)?;
            self.disk.sync_dir(LOG_DIR)
        };
        write().map_err(Error::io(format!("write {path}")))
    }

    pub(super) fn run_compaction(&self, clock: &dyn Clock) {
        let mut due_ms = clock.now_ms().saturating_add(self.config.compaction_check_ms);
        while !self.stopping.load(Ordering::Acquire) {
            {
                let mut chores = self.chores.lock();
                if !self.stopping.load(Ordering::Acquire) {
                    self.chores_wake.wait_for(&mut chores, super::commit::CHORES_EVERY);
                }
            }
            let now_ms = clock.now_ms();
            if now_ms < due_ms {
                continue;
            }
            if let Err(e) = self.compact(now_ms) {
                self.stop(&e.to_string());
            }
            due_ms = clock.now_ms().saturating_add(self.config.compaction_check_ms);
        }
    }
}

fn path() -> String {
    format!("{LOG_DIR}/{OFFSETS_FILE}")
}

/// Tells the partitions how far they were compacted.
pub(super) fn read_compacted(disk: &dyn Disk, topics: &Topics) {
    let file = disk.open(&path(), false);
    let Ok(bytes) = file.and_then(|file| file.read_at(0, file.len()? as usize)) else { return };
    let text = String::from_utf8_lossy(&bytes);
    let mut offsets: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for line in text.lines().skip(2) {
        let words: Vec<&str> = line.split(' ').collect();
        if let [topic, partition, offset] = words[..]
            && let Ok(offset) = offset.parse()
        {
            offsets.insert((topic, partition), offset);
        }
    }
    for topic in topics.iter() {
        for partition in topic.partitions.iter() {
            let index = partition.at.partition.to_string();
            if let Some(offset) = offsets.get(&(&*topic.name, &*index)) {
                partition.set_compacted_to(*offset);
            }
        }
    }
}
