//! A full disk: clients' records are refused, reads go on, and it goes on by itself when there is room.
//!
//! The disk's end is met where nothing is lost by it. The journal has its next file in reserve, space
//! included; when a new reserve cannot be made, or a write finds no room, the node is *full*:
//! - appends are refused with `KAFKA_STORAGE_ERROR` before they get an offset
//! - what was accepted before waits in its order, unacknowledged, and is tried again every moment; so
//!   do facts of the layers above, which are small, and seals
//! - a checkpoint is tried, which gives journal files back; a start has a file of its own in reserve
//! - records that may go are deleted at once, and deletions do not wait for their turn
//!
//! A failed *sync* is another thing: it ends the service, whatever its reason.

use std::sync::atomic::Ordering;

use super::{Broker, WakeKey};
use crate::error::{Error, ErrorCode};
use crate::journal::{keep_ballast, make_spare};

impl Broker {
    /// Why clients' records are refused: what could not be written. `None` when there is room.
    pub fn full(&self) -> Option<String> {
        self.full_reason.lock().clone()
    }

    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// To be asked before a client's records are taken.
    pub(super) fn check_not_full(&self) -> Result<(), ErrorCode> {
        match self.is_full() {
            true => Err(ErrorCode::KafkaStorageError),
            false => Ok(()),
        }
    }

    pub(super) fn note_full(&self, reason: &str) {
        let mut known = self.full_reason.lock();
        if known.is_none() {
            tracing::error!(
                reason,
                "the disk is full: producers are refused until there is room; free some, or lower retention"
            );
            *known = Some(reason.to_owned());
            self.full.store(true, Ordering::Release);
            self.chores_wake.notify_all();
        }
    }

    /// Makes the journal's reserve if there is none and, when the disk is full, whatever room can be
    /// made; then tries what waits. Called by the second thread, often.
    pub fn look_after_room(&self, now_ms: i64) -> Result<(), Error> {
        if self.is_full() {
            self.remove_doomed(now_ms, true)?;
            self.enforce_retention(now_ms)?;
            self.commit_pending(now_ms)?;
            self.remove_doomed(now_ms, true)?;
        }
        if self.writer.lock().journal.wants_spare() {
            match make_spare(&*self.disk, self.config.journal_file_bytes)? {
                Some(spare) => self.writer.lock().journal.add_spare(spare),
                None => self.note_full("there is no room for the journal's next file"),
            }
        }
        if !self.is_full() && !keep_ballast(&*self.disk, self.config.journal_file_bytes)? {
            self.note_full("there is no room for the reserve of a restart");
        }
        if self.is_full() {
            self.commit_pending(now_ms)?;
            let writer = self.writer.lock();
            if writer.waiting.is_empty() && !writer.journal.wants_spare() {
                tracing::info!("there is room on the disk again");
                *self.full_reason.lock() = None;
                self.full.store(false, Ordering::Release);
                self.wakes.wake(WakeKey::Durable);
            }
        }
        Ok(())
    }

    /// Removes the files of segments that nobody needs any more; with `at_once`, without the delay.
    pub(super) fn remove_doomed(&self, now_ms: i64, at_once: bool) -> Result<(), Error> {
        for topic in self.topics() {
            for partition in topic.partitions.iter() {
                partition.remove_doomed(now_ms, at_once)?;
            }
        }
        Ok(())
    }
}
