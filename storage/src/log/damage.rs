//! A partition with bad bytes: what is good of it is served, nothing is added, nothing is cut.
//!
//! Damage is found when a read meets a batch whose checksum or header is wrong, when records are
//! missing between segments, and when a restart does not find what the last checkpoint made durable.
//! There is no replica to heal from, so a person must look: restore the segment from a backup, or give
//! the records up with DeleteRecords beyond the place; then the partition is whole again.

use std::sync::atomic::Ordering;

use super::Partition;
use crate::error::{Error, ErrorCode};

/// Where and why a partition cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Records from here on may not be readable.
    pub offset: i64,
    pub reason: String,
}

impl Partition {
    /// Takes note of damage, once. What is known first is kept.
    pub(super) fn note_damage(&self, offset: i64, reason: &str) {
        let mut known = self.damage.lock();
        if known.is_none() {
            tracing::error!(
                dir = %self.dir, offset, reason,
                "the partition is damaged and takes no records any more; restore its files, or give the \
                 records up with DeleteRecords beyond the place"
            );
            *known = Some(Damage { offset, reason: reason.to_owned() });
            self.is_damaged.store(true, Ordering::Release);
        }
    }

    /// The damage, unless the log start has passed it.
    pub(crate) fn damage(&self) -> Option<Damage> {
        if !self.is_damaged.load(Ordering::Acquire) {
            return None;
        }
        let mut known = self.damage.lock();
        if known.as_ref().is_some_and(|damage| damage.offset < self.log_start()) {
            tracing::info!(dir = %self.dir, "the damaged records are deleted; the partition is whole again");
            *known = None;
            self.is_damaged.store(false, Ordering::Release);
        }
        known.clone()
    }

    /// The answer to a read that failed at `offset`: bad bytes are damage, anything else concerns this
    /// request only.
    pub(super) fn read_failed(&self, offset: i64, e: &Error) -> ErrorCode {
        match e {
            Error::Corrupt { .. } => {
                self.note_damage(offset, &e.to_string());
                ErrorCode::CorruptMessage
            }
            _ if self.is_deleted() => ErrorCode::UnknownTopicOrPartition,
            _ => {
                tracing::error!(dir = %self.dir, offset, error = %e, "read failed");
                ErrorCode::KafkaStorageError
            }
        }
    }

    /// A compaction met bad bytes, or the disk failed it.
    pub(crate) fn compaction_failed(&self, e: &Error) {
        match e {
            Error::Corrupt { .. } => self.note_damage(self.log_start(), &e.to_string()),
            _ => {
                tracing::error!(dir = %self.dir, error = %e, "the partition cannot be compacted now")
            }
        }
    }
}
