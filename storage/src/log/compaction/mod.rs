//! Compaction: of each key the newest record stays (`cleanup.policy` with `compact`).
//!
//! A round over one partition:
//!
//! ```text
//! dirty segments ─► key map (newest offset of each key, bounded)
//! all segments up to what the map knows ─► filter.rs ─► `.cleaned` ─► swap.rs ─► one segment
//! ```
//!
//! Neighbouring segments that fit into one are merged. Offsets never change; a segment still ends with
//! a batch that reaches up to the next segment, emptied if need be, so that a gap between segments is
//! always damage.
//!
//! Never touched: the newest segment; anything at or beyond the last stable offset, or beyond the last
//! checkpoint, from which a restart cuts segments and appends again from the journal; segments with
//! a record younger than `min.compaction.lag.ms`. A round is picked when the dirty part is more than
//! `min.cleanable.dirty.ratio` of the bytes, or older than `max.compaction.lag.ms`.
//!
//! It runs on a thread of its own, and takes no lock that an append waits for, except for a moment.

mod filter;
mod keymap;
mod swap;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::batch::{BatchHeader, RecordIter, records};
use super::segment::{Batch, Segment};
use super::{Aborted, Partition};
use crate::error::Error;
use crate::topics::TopicConfig;
use filter::{Filter, Left, Transactions};
use keymap::KeyMap;

/// Memory that one batch may take when its records are looked at.
const DECOMPRESSED_MAX: usize = super::DECOMPRESSED_MAX;
/// What is written to the new segment at once.
const WRITE_BYTES: usize = 1 << 20;

/// What a partition offers to compaction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Dirt {
    /// Records in `from..to` were not compacted yet and may be.
    pub from: i64,
    pub to: i64,
    /// Of the bytes that may be compacted, the share that was not.
    pub ratio: f64,
    /// Some of it waited longer than `max.compaction.lag.ms`.
    pub overdue: bool,
}

impl Dirt {
    /// Is a round due?
    pub(crate) fn is_due(&self, config: &TopicConfig) -> bool {
        self.from < self.to && (self.overdue || self.ratio > config.min_cleanable_dirty_ratio)
    }
}

/// How a round ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Round {
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// Segments that were replaced.
    pub replaced: usize,
}

impl Partition {
    /// What there is to compact. With `beyond_checkpoint`, what there would be after a checkpoint.
    pub(crate) fn dirt(
        &self,
        config: &TopicConfig,
        now_ms: i64,
        beyond_checkpoint: bool,
    ) -> Result<Dirt, Error> {
        let from = self.compacted_to.load(Ordering::Acquire).max(self.log_start());
        let mut dirt = Dirt { from, to: from, ratio: 0.0, overdue: false };
        let (mut clean_bytes, mut dirty_bytes) = (0, 0);
        let youngest = now_ms.saturating_sub(config.min_compaction_lag_ms);
        let overdue_since = now_ms.saturating_sub(config.max_compaction_lag_ms);
        for (segment, end) in self.cleanable(beyond_checkpoint) {
            if end <= from {
                clean_bytes += segment.bytes();
                continue;
            }
            if config.min_compaction_lag_ms > 0 && segment.max_timestamp()?.0 > youngest {
                break;
            }
            dirty_bytes += segment.bytes();
            dirt.to = end;
            let first = segment.first_timestamp()?;
            dirt.overdue |= first >= 0 && first < overdue_since;
        }
        dirt.ratio = dirty_bytes as f64 / ((clean_bytes + dirty_bytes).max(1)) as f64;
        Ok(dirt)
    }

    /// The segments that may be compacted, each with the offset where it ends.
    fn cleanable(&self, beyond_checkpoint: bool) -> Vec<(Arc<Segment>, i64)> {
        let mut limit = self.last_stable();
        if !beyond_checkpoint {
            limit = limit.min(self.checkpointed.load(Ordering::Acquire));
        }
        let segments = self.segments.read();
        let ends = segments.iter().skip(1).map(|next| next.base_offset);
        let all = segments.iter().cloned().zip(ends);
        all.take_while(|(_, end)| *end <= limit).collect()
    }

    /// One round. `go_on` is asked now and then; a round that must end early leaves everything as
    /// good as before. An error leaves the partition as it was, unless the broker is to stop:
    /// [`Error::Poisoned`].
    pub(crate) fn compact(
        &self,
        config: &TopicConfig,
        now_ms: i64,
        keys_max: usize,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Round, Error> {
        let _one_at_a_time = self.upkeep.lock();
        let dirt = self.dirt(config, now_ms, false)?;
        let mut round = Round::default();
        if dirt.from >= dirt.to {
            return Ok(round);
        }
        let mut segments = self.cleanable(false);
        segments.retain(|(_, end)| *end <= dirt.to);
        let aborted = self.aborted(segments[0].0.base_offset, dirt.to);
        let Some(map) = self.map_keys(&segments, dirt, &aborted, keys_max, go_on)? else {
            return Ok(round);
        };
        segments.retain(|(segment, _)| segment.base_offset <= map.latest);
        let producers = self.assigned.lock().producers.lasts();
        let mut filter = Filter {
            map: &map,
            now_ms,
            delete_retention_ms: config.delete_retention_ms,
            producers: &producers,
            transactions: Transactions::new(aborted),
        };
        for group in groups(&segments, config.segment_bytes) {
            let before: u64 = group.iter().map(|(segment, _)| segment.bytes()).sum();
            let cleaned = match self.clean(group, &mut filter, go_on) {
                Ok(Cleaned::Stopped) => return Ok(round),
                Ok(Cleaned::Unchanged) => None,
                Ok(Cleaned::Into(segment)) => Some(segment),
                Err(e) => {
                    self.drop_cleaned(group[0].0.base_offset);
                    return Err(e);
                }
            };
            round.bytes_before += before;
            round.bytes_after += match cleaned {
                None => before,
                Some(segment) => {
                    let after = segment.bytes();
                    if !self.swap_in(group, segment)? {
                        return Ok(round);
                    }
                    round.replaced += group.len();
                    after
                }
            };
        }
        self.transactions.forget(&filter.transactions.needless);
        let compacted_to = (map.latest + 1).min(dirt.to);
        self.compacted_to.fetch_max(compacted_to, Ordering::AcqRel);
        Ok(round)
    }

    /// Reads the keys of the dirty part, as many as there is room for. `None`: it was to end.
    fn map_keys(
        &self,
        segments: &[(Arc<Segment>, i64)],
        dirt: Dirt,
        aborted: &[Aborted],
        keys_max: usize,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<KeyMap>, Error> {
        let mut map = KeyMap::new(keys_max);
        let mut transactions = Transactions::new(aborted.to_vec());
        let mut stopped = false;
        for (segment, end) in segments.iter().filter(|(_, end)| *end > dirt.from) {
            segment.walk(0, |placed, batch| {
                stopped = !go_on();
                if stopped || map.is_full() {
                    return Ok(false);
                }
                let header = &placed.header;
                let needless = transactions.on_batch(header, batch);
                if !needless && !header.is_control() {
                    note_keys(&mut map, batch, dirt.from);
                }
                map.latest = header.last_offset();
                Ok(true)
            })?;
            if stopped {
                return Ok(None);
            }
            if map.is_full() {
                break;
            }
            map.latest = end - 1;
        }
        Ok(Some(map))
    }

    /// Writes what stays of a group of neighbours into one new segment, durably.
    fn clean(
        &self,
        group: &[(Arc<Segment>, i64)],
        filter: &mut Filter<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Cleaned, Error> {
        let mut out = Output::default();
        if group.len() > 1 {
            out.segment = Some(self.begin_cleaned(group)?);
        }
        for (segment, end) in group {
            let (mut stopped, is_final) = (false, *end == group[group.len() - 1].1);
            segment.walk(0, |placed, batch| {
                stopped = !go_on() || self.is_deleted();
                if stopped {
                    return Ok(false);
                }
                let is_last = is_final && placed.header.next_offset() >= *end;
                let left = filter.filter(batch, is_last);
                let left = left.map_err(|e| {
                    Error::corrupt(segment.path("log"), placed.position, e.to_string())
                })?;
                if left != Left::Same && out.segment.is_none() {
                    // The first difference: what came before is taken over as it is.
                    out.segment = Some(self.begin_cleaned(group)?);
                    segment.walk(0, |earlier, batch| {
                        if earlier.position >= placed.position {
                            return Ok(false);
                        }
                        out.add(batch, &earlier.header).map(|()| true)
                    })?;
                }
                match left {
                    Left::Nothing => {}
                    Left::Same if out.segment.is_none() => {}
                    Left::Same => out.add(batch, &placed.header)?,
                    Left::Changed(batch) => {
                        let header = BatchHeader::parse(&batch).map_err(|e| {
                            Error::corrupt(segment.path("log"), placed.position, e.to_string())
                        })?;
                        out.add(&batch, &header)?;
                    }
                }
                Ok(true)
            })?;
            if stopped {
                drop(out);
                self.drop_cleaned(group[0].0.base_offset);
                return Ok(Cleaned::Stopped);
            }
        }
        match out.finish()? {
            Some(segment) => Ok(Cleaned::Into(segment)),
            None => Ok(Cleaned::Unchanged),
        }
    }
}

enum Cleaned {
    Into(Segment),
    /// Everything stays as it is.
    Unchanged,
    /// It was to end.
    Stopped,
}

/// The segment being written.
#[derive(Default)]
struct Output {
    segment: Option<Segment>,
    bytes: Vec<u8>,
    headers: Vec<BatchHeader>,
}

impl Output {
    fn add(&mut self, batch: &[u8], header: &BatchHeader) -> Result<(), Error> {
        self.bytes.extend_from_slice(batch);
        self.headers.push(*header);
        if self.bytes.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        if let Some(segment) = self.segment.as_ref().filter(|_| !self.headers.is_empty()) {
            segment.append(&Batch::all(&self.bytes, &self.headers))?;
        }
        self.bytes.clear();
        self.headers.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Option<Segment>, Error> {
        self.flush()?;
        if let Some(segment) = &self.segment {
            segment.sync()?;
        }
        Ok(self.segment)
    }
}

/// Neighbours that fit into one segment together.
fn groups(segments: &[(Arc<Segment>, i64)], segment_bytes: u64) -> Vec<&[(Arc<Segment>, i64)]> {
    let mut groups = Vec::new();
    let mut rest = segments;
    while let Some((first, _)) = rest.first() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|(segment, end)| {
            bytes += segment.bytes();
            bytes <= segment_bytes.min(i32::MAX as u64)
                && end - 1 - first.base_offset <= i64::from(i32::MAX)
        });
        let take = fits.count().max(1);
        let (group, after) = rest.split_at(take);
        groups.push(group);
        rest = after;
    }
    groups
}

fn note_keys(map: &mut KeyMap, batch: &[u8], from: i64) {
    // A batch that cannot be read stays whole: see the filter.
    let Ok((header, body)) = records(batch, DECOMPRESSED_MAX) else { return };
    for record in RecordIter::new(header, &body).map_while(Result::ok) {
        if let Some(key) = record.key.filter(|_| record.offset >= from) {
            map.note(key, record.offset);
        }
    }
}
