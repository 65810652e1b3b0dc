//! The sparse indexes of a segment, in memory and in Kafka's files.
//!
//! `.index`: 8-byte entries, i32 last offset of a batch relative to the segment's base, i32 position
//! of that batch; one per more than `index.interval.bytes` of log. `.timeindex`: 12-byte entries, i64
//! largest timestamp so far, i32 relative last offset of the batch that has it. Big-endian, growing
//! in both fields, not preallocated.
//!
//! Both are derived from the `.log` and never synced by themselves: after a crash an index that does
//! not grow strictly, or points beyond the log, is made again.

/// Where a search in the `.log` has to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    pub relative: u32,
    pub position: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeEntry {
    pub timestamp: i64,
    pub relative: u32,
}

pub(super) const OFFSET_ENTRY_BYTES: usize = 8;
pub(super) const TIME_ENTRY_BYTES: usize = 12;

/// Both indexes of one segment.
#[derive(Debug, Clone)]
pub(super) struct Index {
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
    /// Log bytes since the last entry.
    since_entry: u32,
    /// The largest timestamp in the segment and the last offset of the first batch that has it.
    pub max_timestamp: i64,
    pub max_timestamp_relative: u32,
    /// Entries that are in the files already.
    flushed_offsets: usize,
    flushed_times: usize,
}

impl Default for Index {
    fn default() -> Index {
        Index {
            offsets: Vec::new(),
            times: Vec::new(),
            since_entry: 0,
            max_timestamp: -1,
            max_timestamp_relative: 0,
            flushed_offsets: 0,
            flushed_times: 0,
        }
    }
}

impl Index {
    /// Takes note of a batch appended at `position` (Kafka `LogSegment.append`: the entry comes
    /// before the batch's own bytes are counted).
    pub(super) fn on_batch(&mut self, batch: Noted, interval: u32) {
        if batch.max_timestamp > self.max_timestamp {
            self.max_timestamp = batch.max_timestamp;
            self.max_timestamp_relative = batch.last_relative;
        }
        if self.since_entry > interval {
            self.offsets
                .push(OffsetEntry { relative: batch.last_relative, position: batch.position });
            self.note_time();
            self.since_entry = 0;
        }
        self.since_entry = self.since_entry.saturating_add(batch.bytes);
    }

    /// Takes note of the batch of the last entry, after the entries were read from the files. False
    /// when the entries cannot be this log's: its offset was noted, and its time, too.
    pub(super) fn on_last_entry(&mut self, batch: Noted) -> bool {
        self.since_entry = batch.bytes;
        let noted = self.offsets.last().is_none_or(|entry| entry.relative == batch.last_relative);
        noted && batch.max_timestamp <= self.max_timestamp
    }

    /// Drops the entries of batches at or after `position`. True when there were some.
    pub(super) fn cut(&mut self, position: u64) -> bool {
        let keep = self.offsets.partition_point(|entry| u64::from(entry.position) < position);
        let last = self.offsets[..keep].last().map_or(0, |entry| entry.relative);
        let keep_times = self.times.partition_point(|entry| entry.relative <= last);
        let dropped = keep < self.offsets.len() || keep_times < self.times.len();
        self.offsets.truncate(keep);
        self.times.truncate(keep_times);
        self.flushed_offsets = self.flushed_offsets.min(keep);
        self.flushed_times = self.flushed_times.min(keep_times);
        let newest = self.times.last();
        self.max_timestamp = newest.map_or(-1, |entry| entry.timestamp);
        self.max_timestamp_relative = newest.map_or(0, |entry| entry.relative);
        dropped
    }

    /// Adds a time entry if time went on since the last one. Called once more when the segment ends.
    pub(super) fn note_time(&mut self) {
        let entry =
            TimeEntry { timestamp: self.max_timestamp, relative: self.max_timestamp_relative };
        let grows = match self.times.last() {
            None => entry.timestamp >= 0,
            Some(last) => entry.timestamp > last.timestamp && entry.relative > last.relative,
        };
        if grows {
            self.times.push(entry);
        }
    }

    /// The position at which a search for the offset begins.
    pub(super) fn position_for(&self, relative: u32) -> u32 {
        let after = self.offsets.partition_point(|entry| entry.relative <= relative);
        self.offsets[..after].last().map_or(0, |entry| entry.position)
    }

    /// The relative offset at which a search for a timestamp begins: every batch up to it is older.
    pub(super) fn relative_before(&self, timestamp: i64) -> u32 {
        let after = self.times.partition_point(|entry| entry.timestamp < timestamp);
        self.times[..after].last().map_or(0, |entry| entry.relative)
    }

    pub(super) fn last_position(&self) -> u32 {
        self.offsets.last().map_or(0, |entry| entry.position)
    }

    /// The entries that are not in the files yet: `.index` place and bytes, `.timeindex` place and
    /// bytes. They count as flushed from now on.
    pub(super) fn take_unflushed(&mut self) -> [(u64, Vec<u8>); 2] {
        let mut offsets = Vec::new();
        for entry in &self.offsets[self.flushed_offsets..] {
            offsets.extend_from_slice(&entry.relative.to_be_bytes());
            offsets.extend_from_slice(&entry.position.to_be_bytes());
        }
        let mut times = Vec::new();
        for entry in &self.times[self.flushed_times..] {
            times.extend_from_slice(&entry.timestamp.to_be_bytes());
            times.extend_from_slice(&entry.relative.to_be_bytes());
        }
        let places = [
            (self.flushed_offsets * OFFSET_ENTRY_BYTES) as u64,
            (self.flushed_times * TIME_ENTRY_BYTES) as u64,
        ];
        self.flushed_offsets = self.offsets.len();
        self.flushed_times = self.times.len();
        [(places[0], offsets), (places[1], times)]
    }

    /// The files may hold anything: all entries are to be written again.
    pub(super) fn forget_flushed(&mut self) {
        self.flushed_offsets = 0;
        self.flushed_times = 0;
    }

    /// Reads both files. `None` when they cannot belong to a log of `log_bytes`. The caller must
    /// note the batches from [`Index::last_position`] on.
    pub(super) fn from_files(offsets: &[u8], times: &[u8], log_bytes: u64) -> Option<Index> {
        let mut index = Index::default();
        if !offsets.len().is_multiple_of(OFFSET_ENTRY_BYTES)
            || !times.len().is_multiple_of(TIME_ENTRY_BYTES)
        {
            return None;
        }
        for entry in offsets.chunks_exact(OFFSET_ENTRY_BYTES) {
            let (relative, position) = entry.split_at(4);
            let entry = OffsetEntry {
                relative: u32::from_be_bytes(relative.try_into().ok()?),
                position: u32::from_be_bytes(position.try_into().ok()?),
            };
            let grows = index.offsets.last().is_none_or(|last| {
                last.relative < entry.relative && last.position < entry.position
            });
            if !grows || entry.position == 0 || u64::from(entry.position) >= log_bytes {
                return None;
            }
            index.offsets.push(entry);
        }
        for entry in times.chunks_exact(TIME_ENTRY_BYTES) {
            let (timestamp, relative) = entry.split_at(8);
            let entry = TimeEntry {
                timestamp: i64::from_be_bytes(timestamp.try_into().ok()?),
                relative: u32::from_be_bytes(relative.try_into().ok()?),
            };
            let grows = index.times.last().is_none_or(|last| {
                last.timestamp < entry.timestamp && last.relative < entry.relative
            });
            if !grows {
                return None;
            }
            index.times.push(entry);
        }
        let first = index.times.first();
        if first.map_or(!index.offsets.is_empty(), |first| first.timestamp == 0) {
            // Records without any time, or a lost file or sector: the log knows.
            return None;
        }
        if let Some(last) = index.times.last() {
            index.max_timestamp = last.timestamp;
            index.max_timestamp_relative = last.relative;
        }
        index.flushed_offsets = index.offsets.len();
        index.flushed_times = index.times.len();
        Some(index)
    }
}

/// What the index wants to know of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noted {
    pub position: u32,
    pub bytes: u32,
    pub last_relative: u32,
    pub max_timestamp: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> Index {
        let mut index = Index::default();
        for i in 0..100u32 {
            let batch = Noted {
                position: i * 1000,
                bytes: 1000,
                last_relative: i * 10 + 9,
                max_timestamp: i64::from(i) * 5,
            };
            index.on_batch(batch, 4096);
        }
        index
    }

    #[test]
    fn a_search_begins_at_or_before_its_batch() {
        let index = filled();
        for offset in 0..1000u32 {
            let position = index.position_for(offset);
            assert!(position <= offset / 10 * 1000);
            assert!(position + 6000 > offset / 10 * 1000);
        }
        for time in 0..500i64 {
            let relative = index.relative_before(time);
            assert!(i64::from(relative / 10 * 5) < time.max(1));
        }
    }

    #[test]
    fn files_give_the_index_back_and_damage_is_seen() {
        let mut index = filled();
        let [(_, offsets), (_, times)] = index.take_unflushed();
        let read = Index::from_files(&offsets, &times, 100_000).unwrap();
        assert_eq!(read.offsets, index.offsets);
        assert_eq!(read.times, index.times);
        assert!(Index::from_files(&offsets, &times, 10_000).is_none(), "beyond the log");
        assert!(Index::from_files(&offsets[1..], &times, 100_000).is_none(), "not whole entries");
        let mut holed = offsets.clone();
        holed[16..48].fill(0);
        assert!(Index::from_files(&holed, &times, 100_000).is_none(), "lost sector");
    }
}
