//! Putting a compacted segment in the place of the ones it was made from.
//!
//! Kafka's names, in an order that a power cut at any point cannot spoil, whichever unsynced names it
//! keeps:
//!
//! 1. `<base>.log.cleaned` is written and synced; a restart removes it
//! 2. renamed to `<base>.log.swap`, directory synced; from now on a restart finishes the work
//! 3. readers get the new segment in memory; who reads an old one reads on in its open file
//! 4. the indexes of all old segments, and all their logs but the first, are removed; directory synced
//! 5. `.swap` is renamed over the first old log; directory synced
//!
//! An index of aborted transactions goes with the rest: compaction left none of their data. A checkpoint
//! writes it again for readers that are still on the way.
//!
//! A segment ends with a batch that reaches up to the next one, so a `.swap` file itself says which
//! segments it replaces.

use std::io::ErrorKind;
use std::sync::Arc;

use super::super::Partition;
use super::super::segment::{Segment, file_name};
use crate::error::Error;

const CLEANED: &str = "log.cleaned";
const SWAP: &str = "log.swap";
const INDEXES: [&str; 3] = ["index", "timeindex", "txnindex"];

impl Partition {
    /// Begins the segment that is to replace a group.
    pub(super) fn begin_cleaned(&self, group: &[(Arc<Segment>, i64)]) -> Result<Segment, Error> {
        let (first, _) = &group[0];
        let created_ms = group.iter().map(|(segment, _)| segment.created_ms).max().unwrap_or(0);
        let _names = self.names.lock();
        self.check_not_deleted()?;
        let (base, interval) = (first.base_offset, first.index_interval());
        let segment = Segment::open_as(&self.disk, &self.dir, base, CLEANED, created_ms, interval)?;
        segment.cut(0)?;
        segment.begin_index();
        Ok(segment)
    }

    /// Forgets what was begun. What it leaves behind a restart removes.
    pub(super) fn drop_cleaned(&self, base_offset: i64) {
        let _names = self.names.lock();
        if !self.is_deleted() {
            for suffix in [CLEANED, SWAP] {
                let _ = self.disk.remove(&self.file(base_offset, suffix));
            }
        }
    }

    /// Replaces a group by a segment that was written and synced under its `.cleaned` name. False
    /// when the group is not there any more: the log start moved up meanwhile.
    pub(super) fn swap_in(
        &self,
        group: &[(Arc<Segment>, i64)],
        segment: Segment,
    ) -> Result<bool, Error> {
        let base = segment.base_offset;
        let begun = self.rename(base, CLEANED, SWAP).and_then(|()| self.sync_names());
        if let Err(e) = begun {
            self.drop_cleaned(base);
            return Err(e);
        }
        let segment = Arc::new(segment);
        if !self.replace(group, &segment) {
            self.drop_cleaned(base);
            return Ok(false);
        }
        group.iter().for_each(|(old, _)| old.retire());
        self.transactions.on_merge(base..group[group.len() - 1].1);
        let logs: Vec<i64> = group.iter().map(|(old, _)| old.base_offset).collect();
        let done = self.finish_swap(base, &logs).and_then(|()| segment.has_its_name());
        let done = done.and_then(|()| segment.close());
        match done {
            Ok(()) => Ok(true),
            Err(_) if self.is_deleted() => Ok(false),
            // Memory and names disagree now; a restart brings them together.
            Err(e) => Err(Error::Poisoned { reason: format!("swap in compacted segment: {e}") }),
        }
    }

    /// Step 3: all of the group or nothing.
    fn replace(&self, group: &[(Arc<Segment>, i64)], new: &Arc<Segment>) -> bool {
        let mut segments = self.segments.write();
        let Some(at) = segments.iter().position(|one| Arc::ptr_eq(one, &group[0].0)) else {
            return false;
        };
        let here = segments[at..].iter().zip(group).filter(|(a, (b, _))| Arc::ptr_eq(a, b));
        if here.count() != group.len() {
            return false;
        }
        segments.splice(at..at + group.len(), [new.clone()]);
        true
    }

    /// Steps 4 and 5. `logs` are the base offsets of the old segments.
    fn finish_swap(&self, base: i64, logs: &[i64]) -> Result<(), Error> {
        {
            let _names = self.names.lock();
            self.check_not_deleted()?;
            for old in logs {
                for suffix in INDEXES {
                    self.remove_file(*old, suffix)?;
                }
                if *old != base {
                    self.remove_file(*old, "log")?;
                }
            }
        }
        self.sync_names()?;
        self.rename(base, SWAP, "log")?;
        self.sync_names()
    }

    /// After a restart, with the names of all files: removes what was begun, finishes what was
    /// decided. True when that changed the names.
    pub(crate) fn settle_swaps(&self, names: &[String]) -> Result<bool, Error> {
        let mut changed = false;
        for name in names {
            if name.ends_with(".cleaned") || name.ends_with(".deleted") {
                changed = true;
                let path = format!("{}/{name}", self.dir);
                self.disk.remove(&path).map_err(Error::io(format!("remove {path}")))?;
            }
        }
        let bases = |suffix: &str| -> Vec<i64> {
            let of = |name: &String| name.strip_suffix(suffix)?.strip_suffix('.')?.parse().ok();
            names.iter().filter_map(of).collect()
        };
        for base in bases(SWAP) {
            let segment = Segment::open_as(&self.disk, &self.dir, base, SWAP, 0, 0)?;
            let mut end = base;
            segment.scan(0, |placed| {
                end = placed.header.next_offset();
                true
            })?;
            changed = true;
            let old: Vec<i64> =
                bases("log").into_iter().filter(|log| (base..end).contains(log)).collect();
            self.finish_swap(base, &old)?;
        }
        Ok(changed)
    }

    fn file(&self, base_offset: i64, suffix: &str) -> String {
        format!("{}/{}", self.dir, file_name(base_offset, suffix))
    }

    fn remove_file(&self, base_offset: i64, suffix: &str) -> Result<(), Error> {
        let path = self.file(base_offset, suffix);
        match self.disk.remove(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(Error::io(format!("remove {path}"))(e))
            }
            _ => Ok(()),
        }
    }

    fn rename(&self, base_offset: i64, from: &str, to: &str) -> Result<(), Error> {
        let _names = self.names.lock();
        self.check_not_deleted()?;
        let (from, to) = (self.file(base_offset, from), self.file(base_offset, to));
        self.disk.rename(&from, &to).map_err(Error::io(format!("rename {from}")))
    }

    fn sync_names(&self) -> Result<(), Error> {
        let action = format!("sync directory {}", self.dir);
        match self.disk.sync_dir(&self.dir) {
            Err(_) if self.is_deleted() => self.check_not_deleted(),
            done => done.map_err(Error::io(action)),
        }
    }

    /// The directory of that name may be a later topic's.
    fn check_not_deleted(&self) -> Result<(), Error> {
        match self.is_deleted() {
            true => Err(Error::Invalid(format!("{} was deleted", self.dir))),
            false => Ok(()),
        }
    }
}
