//! Transactions of a partition as readers see them: which are open, and which were aborted.
//!
//! The last stable offset is the first offset of the oldest open transaction, or else the high
//! watermark. What lies below it is decided. An aborted transaction leaves an entry with which a
//! `read_committed` reader filters. Entries are kept in memory and, brought up to date at each
//! checkpoint, in Kafka's `.txnindex` files: beside each segment with an abort marker, 34 bytes per
//! entry, big-endian, in the order of the markers:
//!
//! ```text
//! version i16 = 0, producer id i64, first offset i64, last offset (the marker) i64,
//! last stable offset i64: everything that is decided later begins at or after it
//! ```
//!
//! Invariants: the last stable offset never goes back; when it passes a marker, the marker's entry
//! is already there. A checkpoint's snapshot says what each file holds ([`Stored`]): when a file is lost or
//! damaged, the entries are made again from the segments.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::batch::BatchHeader;
use super::control::Marker;
use super::segment::{Segment, file_name};
use crate::disk::Disk;
use crate::error::Error;

pub(crate) const ENTRY_BYTES: usize = 34;
pub(super) const SUFFIX: &str = "txnindex";

/// A transaction that was aborted, in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted {
    pub producer_id: i64,
    pub first_offset: i64,
    /// Where the marker is.
    pub last_offset: i64,
    /// Transactions decided later begin at or after it.
    pub last_stable: i64,
}

impl Aborted {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&0i16.to_be_bytes());
        for field in [self.producer_id, self.first_offset, self.last_offset, self.last_stable] {
            out.extend_from_slice(&field.to_be_bytes());
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Aborted> {
        let field = |at: usize| Some(i64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let entry = Aborted {
            producer_id: field(2)?,
            first_offset: field(10)?,
            last_offset: field(18)?,
            last_stable: field(26)?,
        };
        let sound = bytes[..2] == [0, 0] && entry.first_offset < entry.last_offset;
        sound.then_some(entry)
    }

    /// Whether the batch is one of this transaction's. A producer has one transaction at a time in a
    /// partition, so its id and the place decide.
    pub fn covers(&self, batch: &BatchHeader) -> bool {
        batch.is_transactional()
            && batch.producer_id == self.producer_id
            && (self.first_offset..=self.last_offset).contains(&batch.base_offset)
    }
}

/// What the file beside a segment holds of the transactions decided before a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    pub base_offset: i64,
    pub entries: u32,
    /// CRC-32C of the entries.
    pub crc: u32,
}

impl Stored {
    fn of(base_offset: i64, entries: &[Aborted]) -> Stored {
        let mut bytes = Vec::with_capacity(entries.len() * ENTRY_BYTES);
        entries.iter().for_each(|entry| entry.encode(&mut bytes));
        let crc = crc_fast::crc32_iscsi(&bytes);
        Stored { base_offset, entries: entries.len() as u32, crc }
    }
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Transactions {
    /// First offset of the oldest open transaction; `i64::MAX` if none is open.
    first_open: AtomicI64,
    state: Mutex<State>,
}

impl Default for Transactions {
    fn default() -> Self {
        Transactions { first_open: AtomicI64::new(i64::MAX), state: Mutex::default() }
    }
}

#[derive(Debug, Default)]
struct State {
    /// Producer id and first offset.
    open: HashMap<i64, i64>,
    /// In the order of their markers.
    aborted: Vec<Aborted>,
    /// Entries that the file beside a segment is known to hold.
    stored: HashMap<i64, usize>,
}

impl State {
    fn first_open(&self) -> Option<i64> {
        self.open.values().min().copied()
    }

    /// The entries whose markers are in `from..to`.
    fn within(&self, from: i64, to: i64) -> &[Aborted] {
        let place = |offset| self.aborted.partition_point(|entry| entry.last_offset < offset);
        &self.aborted[place(from)..place(to).max(place(from))]
    }
}

impl Transactions {
    /// Where `read_committed` stops, when the high watermark was read as this *before*.
    pub(super) fn stable_below(&self, high_watermark: i64) -> i64 {
        high_watermark.min(self.first_open.load(Ordering::Acquire))
    }

    /// Takes note of a batch that becomes visible. To be called before the high watermark moves
    /// over a batch of records, and after it moved over a marker.
    pub(super) fn on_publish(&self, batch: &BatchHeader, marker: Option<&Marker>) {
        if !batch.is_transactional() {
            return;
        }
        let mut state = self.state.lock();
        match marker {
            None => {
                state.open.entry(batch.producer_id).or_insert(batch.base_offset);
            }
            Some(marker) => {
                let first = state.open.remove(&marker.producer_id);
                if let Some(first_offset) = first.filter(|_| !marker.commit) {
                    let last_offset = batch.base_offset;
                    let producer_id = marker.producer_id;
                    let last_stable = state.first_open().unwrap_or(last_offset + 1);
                    let entry = Aborted { producer_id, first_offset, last_offset, last_stable };
                    state.aborted.push(entry);
                }
            }
        }
        self.first_open.store(state.first_open().unwrap_or(i64::MAX), Ordering::Release);
    }

    /// Sets the open transactions, after a restart.
    pub(super) fn restore(&self, open: impl Iterator<Item = (i64, i64)>) {
        let mut state = self.state.lock();
        state.open = open.collect();
        self.first_open.store(state.first_open().unwrap_or(i64::MAX), Ordering::Release);
    }

    /// The aborted transactions that have offsets in `from..to`.
    pub(super) fn aborted(&self, from: i64, to: i64) -> Vec<Aborted> {
        let state = self.state.lock();
        let mut found = Vec::new();
        for entry in state.within(from, i64::MAX) {
            if entry.first_offset < to {
                found.push(*entry);
            }
            // Whatever was decided later begins behind what was asked for.
            if entry.last_stable >= to {
                break;
            }
        }
        found
    }

    /// Forgets what lies below the first segment that is left.
    pub(super) fn forget_below(&self, base_offset: i64) {
        let mut state = self.state.lock();
        let gone = state.aborted.partition_point(|entry| entry.last_offset < base_offset);
        state.aborted.drain(..gone);
        state.stored.retain(|base, _| *base >= base_offset);
    }

    /// Compaction made one segment of those in `of`, and removed their files.
    pub(super) fn on_merge(&self, of: Range<i64>) {
        self.state.lock().stored.retain(|base, _| !of.contains(base));
    }

    /// Forgets aborted transactions, by the offsets of their markers: their data is gone for long.
    pub(super) fn forget(&self, markers: &BTreeSet<i64>) {
        if !markers.is_empty() {
            self.state.lock().aborted.retain(|entry| !markers.contains(&entry.last_offset));
        }
    }

    /// Brings the files up to date and makes them durable. `bases` are the segments' base offsets.
    pub(super) fn sync(&self, disk: &dyn Disk, dir: &str, bases: &[i64]) -> Result<bool, Error> {
        let mut wrote = false;
        for (i, base) in bases.iter().enumerate() {
            let end = bases.get(i + 1).copied().unwrap_or(i64::MAX);
            let mut bytes = Vec::new();
            let count = {
                let state = self.state.lock();
                let entries = state.within(*base, end);
                if state.stored.get(base).copied().unwrap_or(0) == entries.len() {
                    continue;
                }
                entries.iter().for_each(|entry| entry.encode(&mut bytes));
                entries.len()
            };
            let path = format!("{dir}/{}", file_name(*base, SUFFIX));
            let write = || {
                let file = disk.open(&path, true)?;
                // What was durable is written over with the same bytes: a crash here loses nothing.
                file.write_at(0, &bytes)?;
                file.truncate(bytes.len() as u64)?;
                Ok(file)
            };
            let file = write().map_err(Error::io(format!("write {path}")))?;
            file.sync_data().map_err(Error::sync(format!("sync {path}")))?;
            self.state.lock().stored.insert(*base, count);
            wrote = true;
        }
        Ok(wrote)
    }

    /// What the files hold of what was decided before `end`; nothing of those that hold nothing.
    pub(super) fn stored(&self, bases: &[i64], end: i64) -> Vec<Stored> {
        let state = self.state.lock();
        if state.aborted.is_empty() {
            return Vec::new();
        }
        let ends = bases.iter().skip(1).copied().chain([i64::MAX]);
        let within = |(base, to): (&i64, i64)| Stored::of(*base, state.within(*base, to.min(end)));
        bases.iter().zip(ends).map(within).filter(|stored| stored.entries > 0).collect()
    }

    /// Reads the files again after a restart; entries at or after `end` are not yet decided again.
    /// `stored` is what the checkpoint says of them.
    pub(super) fn load(
        &self,
        disk: &dyn Disk,
        dir: &str,
        segments: &[Arc<Segment>],
        end: i64,
        stored: &[Stored],
    ) -> Result<(), Error> {
        let mut state = State::default();
        for (i, segment) in segments.iter().enumerate() {
            let next = segments.get(i + 1).map_or(i64::MAX, |next| next.base_offset);
            let path = format!("{dir}/{}", file_name(segment.base_offset, SUFFIX));
            let read = |file: Arc<dyn crate::disk::DiskFile>| file.read_at(0, file.len()? as usize);
            let bytes = match disk.open(&path, false).and_then(read) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
                read => read.map_err(Error::io(format!("read {path}")))?,
            };
            let expected = stored.iter().find(|stored| stored.base_offset == segment.base_offset);
            if bytes.is_empty() && expected.is_none() {
                continue;
            }
            let within = segment.base_offset..next;
            let as_stored = |all: &Vec<Aborted>| {
                let decided = all.partition_point(|entry| entry.last_offset < end);
                expected.is_none_or(|stored| {
                    *stored == Stored::of(segment.base_offset, &all[..decided])
                })
            };
            let Some(entries) = entries(&bytes, within).filter(as_stored) else {
                tracing::warn!(
                    path,
                    "the index of aborted transactions is lost or damaged; made again from the segments"
                );
                state.aborted = rebuild(segments, end)?;
                // No count is right, so all files are written again.
                let all = segments.iter().map(|segment| (segment.base_offset, usize::MAX));
                state.stored = all.collect();
                break;
            };
            state.stored.insert(segment.base_offset, entries.len());
            state.aborted.extend(entries.into_iter().filter(|entry| entry.last_offset < end));
        }
        *self.state.lock() = state;
        Ok(())
    }
}

/// The entries of one file; `None` when they cannot be true.
fn entries(bytes: &[u8], within: std::ops::Range<i64>) -> Option<Vec<Aborted>> {
    let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        return None;
    }
    let mut last = within.start - 1;
    let mut all = Vec::with_capacity(entries.len());
    for entry in entries {
        let entry = Aborted::decode(entry)?;
        if entry.last_offset <= last || entry.last_offset >= within.end {
            return None;
        }
        last = entry.last_offset;
        all.push(entry);
    }
    Some(all)
}

/// Finds the aborted transactions below `end` in the segments themselves. What lies behind damage is
/// not found: a read meets the damage first.
fn rebuild(segments: &[Arc<Segment>], end: i64) -> Result<Vec<Aborted>, Error> {
    let replayed = Transactions::default();
    for segment in segments {
        match replay_segment(segment, end, &replayed) {
            Err(Error::Corrupt { .. }) | Ok(()) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(replayed.state.into_inner().aborted)
}

fn replay_segment(segment: &Segment, end: i64, replayed: &Transactions) -> Result<(), Error> {
    let mut found = Vec::new();
    let scanned = segment.scan(0, |placed| {
        if placed.header.is_transactional() && placed.header.base_offset < end {
            found.push(placed);
        }
        true
    });
    for placed in found {
        let marker = match placed.header.is_control() {
            true => Marker::read(&segment.read(placed.position, placed.header.total_bytes)?),
            false => None,
        };
        if marker.is_some() || !placed.header.is_control() {
            replayed.on_publish(&placed.header, marker.as_ref());
        }
    }
    scanned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(producer_id: i64, base_offset: i64, control: bool) -> BatchHeader {
        BatchHeader {
            base_offset,
            total_bytes: 78,
            leader_epoch: 0,
            crc: 0,
            attributes: if control { 0x30 } else { 0x10 },
            last_offset_delta: 0,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id,
            producer_epoch: 0,
            base_sequence: if control { -1 } else { 0 },
            record_count: 1,
        }
    }

    /// A log, one batch a word: `d7` data of producer 7, `c7` its commit, `a7` its abort. Gives the
    /// partition's transactions after it and the last stable offset after each word.
    fn play(log: &str) -> (Transactions, Vec<i64>) {
        let transactions = Transactions::default();
        let mut stable = Vec::new();
        for (offset, word) in log.split_whitespace().enumerate() {
            let (kind, producer) = word.split_at(1);
            let producer_id = producer.parse().unwrap();
            let header = batch(producer_id, offset as i64, kind != "d");
            let commit = kind == "c";
            let marker = Marker { producer_id, producer_epoch: 0, coordinator_epoch: 0, commit };
            transactions.on_publish(&header, (kind != "d").then_some(&marker));
            stable.push(transactions.stable_below(offset as i64 + 1));
        }
        (transactions, stable)
    }

    #[test]
    fn the_last_stable_offset_waits_for_the_oldest_open_transaction() {
        let check = |log: &str, expected: &[i64]| assert_eq!(play(log).1, expected, "{log}");
        check("d1 c1 d2 a2", &[0, 2, 2, 4]);
        check("d1 d2 c2 d3 c1 a3", &[0, 0, 0, 0, 3, 6]);
        check("c1 d1 d1 a1 a1", &[1, 1, 1, 4, 5]);
    }

    #[test]
    fn readers_are_told_what_was_aborted_where_they_read() {
        let (transactions, _) = play("d1 d2 a2 d3 c1 d2 a3 a2 d4");
        let told = |from, to| {
            let entries = transactions.aborted(from, to);
            entries.iter().map(|e| (e.producer_id, e.first_offset)).collect::<Vec<_>>()
        };
        assert_eq!(told(0, 8), [(2, 1), (3, 3), (2, 5)]);
        assert_eq!(told(0, 1), []);
        assert_eq!(told(3, 4), [(3, 3)], "the marker is beyond what is read");
        assert_eq!(told(4, 6), [(3, 3), (2, 5)]);
        assert_eq!(told(8, 9), []);
    }

    #[test]
    fn files_that_cannot_be_true_are_refused() {
        let (transactions, _) = play("d1 a1 d1 a1");
        let mut bytes = Vec::new();
        let known = transactions.aborted(0, 4);
        known.iter().for_each(|entry| entry.encode(&mut bytes));
        assert_eq!(bytes.len(), 68);
        assert_eq!(entries(&bytes, 0..10), Some(known));
        assert_eq!(entries(&bytes[..67], 0..10), None, "cut short");
        assert_eq!(entries(&bytes, 0..3), None, "of another segment");
        bytes.rotate_left(34);
        assert_eq!(entries(&bytes, 0..10), None, "out of order");
    }
}
