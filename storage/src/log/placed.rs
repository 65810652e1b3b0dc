//! What a restart does with batches that were written to their segment before the journal named them
//! ("placed": [`crate::journal::record::Fact::Placed`]).
//!
//! Segments of such a partition are not cut to the checkpoint and appended again: they are gone through
//! in place, in the journal's order. A batch that the journal holds is written where it belongs, a
//! placed one is looked at where it lies. So every batch gets the position it had, and a restart can be
//! repeated after another crash at any time. What lies behind the last one is cut in the end.
//!
//! A placed batch was never promised to survive a power cut (`durability = os`) unless something
//! synced came later. One that is lost or torn is replaced by a *void*: a control batch of the same
//! length and the same offsets, with one record of no known type. Clients skip it, as they skip
//! transaction markers. (A batch without records, as compaction makes them, will not do: librdkafka
//! reads to the end of a batch, whatever its count says.)
//!
//! A new segment is begun where the journal's places say that one began, and nowhere else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::batch::{BatchHeader, HEADER_BYTES, LENGTH_END};
use super::builder::{put_varlong, varlong_bytes};
use super::segment::Segment;
use super::{Batch, LOG_DIR, METADATA, Partition, base_offsets};
use crate::error::Error;
use crate::topics::TopicConfig;

/// The way through a partition's segments after a restart.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Base offsets of the segments that placed batches lie in.
    pub bases: BTreeSet<i64>,
    /// The partition is damaged: its files are left as they are.
    pub frozen: bool,
}

/// A placed batch, as the journal has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlacedAt<'a> {
    pub segment: i64,
    pub position: u64,
    pub front: &'a [u8],
    /// It was known to be on disk.
    pub durable: bool,
}

/// Where the next batch goes.
enum Cursor {
    In(Arc<Segment>),
    /// Below the log start: its file may be gone, and nobody reads it.
    Nowhere,
}

impl Partition {
    /// Whether its segments are gone through in place.
    pub(crate) fn has_layout(&self) -> bool {
        self.layout.lock().is_some()
    }

    fn is_frozen(&self) -> bool {
        self.layout.lock().as_ref().is_some_and(|layout| layout.frozen)
    }

    fn freeze(&self, offset: i64, reason: &str) {
        self.note_damage(offset, reason);
        if let Some(layout) = self.layout.lock().as_mut() {
            layout.frozen = true;
        }
    }

    /// A batch that the journal holds: written at its place.
    pub(crate) fn recover_whole(
        &self,
        batch: Batch<'_>,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<(), Error> {
        if !self.is_frozen()
            && let Cursor::In(segment) = self.cursor(&batch.header, config, now_ms)?
        {
            segment.append(&[batch])?;
        }
        self.end.store(batch.header.next_offset(), Ordering::Release);
        Ok(())
    }

    /// A placed batch: looked at where it lies. Gives the header of what is there.
    pub(crate) fn recover_placed(
        &self,
        header: BatchHeader,
        at: PlacedAt<'_>,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<BatchHeader, Error> {
        let mut found = header;
        if !self.is_frozen()
            && let Cursor::In(segment) = self.cursor(&header, config, now_ms)?
        {
            if (segment.base_offset, segment.bytes()) != (at.segment, at.position) {
                let reason = format!(
                    "records {} to {} should lie in segment {} at {}, the one before them ends in {} at {}",
                    header.base_offset,
                    header.last_offset(),
                    at.segment,
                    at.position,
                    segment.base_offset,
                    segment.bytes()
                );
                self.freeze(header.base_offset, &reason);
            } else if !segment.adopt(&header, at.front)? {
                found = self.replace_lost(&segment, header, at.durable)?;
            }
        }
        self.end.store(found.next_offset(), Ordering::Release);
        Ok(found)
    }

    fn replace_lost(
        &self,
        segment: &Segment,
        header: BatchHeader,
        durable: bool,
    ) -> Result<BatchHeader, Error> {
        let (from, to) = (header.base_offset, header.last_offset());
        let void = void(&header);
        let there = BatchHeader::parse(&void)
            .map_err(|e| Error::corrupt(segment.path("log"), segment.bytes(), e.to_string()))?;
        if segment.adopt(&there, &void[..HEADER_BYTES])? {
            // An earlier restart told of it.
            return Ok(there);
        }
        if durable {
            self.note_damage(from, &format!("records {from} to {to} were on disk and are not"));
            segment.pass_over(&header)?;
            return Ok(header);
        }
        if from >= self.log_start() {
            tracing::warn!(
                dir = %self.dir, from, to,
                "records were lost with the power: their topic's durability is os"
            );
        }
        segment.append(&[Batch { header: there, front: &void, rest: &[] }])?;
        Ok(there)
    }

    fn cursor(
        &self,
        header: &BatchHeader,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<Cursor, Error> {
        let newest = self.segments.read().last().cloned();
        let base = header.base_offset;
        let (begins, is_nowhere) = {
            let layout = self.layout.lock();
            let bases = layout.as_ref().map(|layout| &layout.bases);
            let begins = bases.is_some_and(|bases| bases.contains(&base));
            // The next one begins at or below the log start: so this one is wholly below it.
            let next = bases.and_then(|bases| bases.range(base + 1..).next());
            (begins, next.is_some_and(|next| *next <= self.log_start()))
        };
        if is_nowhere {
            return Ok(Cursor::Nowhere);
        }
        if let Some(newest) = newest {
            let fits = newest.takes(header.total_bytes as u64, header.last_offset(), u64::MAX);
            if fits && (!begins || newest.base_offset == base) {
                return Ok(Cursor::In(newest));
            }
            newest.trim()?;
            newest.close()?;
        } else {
            self.write_leader_epochs(base)?;
        }
        let interval = config.index_interval_bytes;
        let segment = Segment::reopen(&self.disk, &self.dir, base, now_ms, interval)?;
        let segment = Arc::new(segment);
        self.dir_dirty.store(true, Ordering::Release);
        self.segments.write().push(segment.clone());
        Ok(Cursor::In(segment))
    }

    /// The end of the way: what lies behind it goes.
    pub(super) fn finish_layout(&self, config: &TopicConfig, now_ms: i64) -> Result<(), Error> {
        let Some(layout) = self.layout.lock().take() else { return Ok(()) };
        let end = self.end.load(Ordering::Acquire);
        if layout.frozen {
            // What comes now goes into a segment of its own.
            return self.begin_segment(end, config, now_ms).map(drop);
        }
        let segments = self.segments.read().clone();
        if let Some(newest) = segments.last() {
            newest.trim()?;
        }
        for base in base_offsets(&self.names_in_dir()?) {
            if segments.iter().all(|segment| segment.base_offset != base) {
                let interval = config.index_interval_bytes;
                Segment::open(&self.disk, &self.dir, base, now_ms, interval)?.remove_files()?;
            }
        }
        Ok(())
    }

    /// Makes durable what was appended, and its names. Gives the number of files synced.
    pub(crate) fn sync_log(&self) -> Result<u64, Error> {
        let _syncing = self.syncing.lock();
        let segments = self.segments.read().clone();
        let synced = || -> Result<u64, Error> {
            let mut count = 0;
            for segment in &segments {
                count += u64::from(segment.sync()?);
            }
            if self.dir_dirty.swap(false, Ordering::AcqRel) {
                self.sync_names_and_metadata()?;
            }
            if self.dir_new.swap(false, Ordering::AcqRel) {
                self.disk.sync_dir(LOG_DIR).map_err(Error::sync("sync the log's directory"))?;
            }
            Ok(count)
        };
        match synced() {
            // Removed meanwhile; nothing of it matters any more.
            Err(_) if self.is_deleted() => Ok(0),
            done => done,
        }
    }

    pub(super) fn sync_names_and_metadata(&self) -> Result<(), Error> {
        let path = format!("{}/{METADATA}", self.dir);
        let metadata = self.disk.open(&path, false);
        metadata.and_then(|file| file.sync_data()).map_err(Error::sync(format!("sync {path}")))?;
        let action = format!("sync directory {}", self.dir);
        self.disk.sync_dir(&self.dir).map_err(Error::sync(action))
    }
}

/// The batch that stands for a lost one: see the head of the file.
fn void(lost: &BatchHeader) -> Bytes {
    const CONTROL: i16 = 0x20;
    /// Version 0, and a type that is none of Kafka's (`ControlRecordType.UNKNOWN`).
    const KEY: [u8; 4] = [0, 0, 0xff, 0xff];
    const HEADER: &[u8] = b"lost";
    let delta = i64::from(lost.last_offset_delta);
    let body_bytes = lost.total_bytes.saturating_sub(HEADER_BYTES);
    // All of a record but its length; `in_header` bytes of filling make up for lengths that jump.
    let record_bytes = |value: usize, in_header: usize| {
        let header = varlong_bytes(HEADER.len() as i64) + HEADER.len();
        1 + 1
            + varlong_bytes(delta)
            + 1
            + KEY.len()
            + varlong_bytes(value as i64)
            + value
            + 1
            + header
            + varlong_bytes(in_header as i64)
            + in_header
    };
    let fits = |(value, in_header): &(usize, usize)| {
        let bytes = record_bytes(*value, *in_header);
        varlong_bytes(bytes as i64) + bytes == body_bytes
    };
    let tries = (0..body_bytes.min(64)).flat_map(|less| {
        let value = body_bytes - less;
        (0..4).map(move |in_header| (value, in_header))
    });
    let (value, in_header) = tries.into_iter().find(fits).unwrap_or_default();
    let mut out = Vec::with_capacity(lost.total_bytes);
    out.extend_from_slice(&lost.base_offset.to_be_bytes());
    out.extend_from_slice(&((lost.total_bytes - LENGTH_END) as i32).to_be_bytes());
    out.extend_from_slice(&lost.leader_epoch.to_be_bytes());
    out.push(2);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&CONTROL.to_be_bytes());
    out.extend_from_slice(&lost.last_offset_delta.to_be_bytes());
    out.extend_from_slice(&lost.max_timestamp.to_be_bytes());
    out.extend_from_slice(&lost.max_timestamp.to_be_bytes());
    out.extend_from_slice(&(-1i64).to_be_bytes());
    out.extend_from_slice(&(-1i16).to_be_bytes());
    out.extend_from_slice(&(-1i32).to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    put_varlong(&mut out, record_bytes(value, in_header) as i64);
    out.push(0);
    put_varlong(&mut out, 0);
    put_varlong(&mut out, delta);
    put_varlong(&mut out, KEY.len() as i64);
    out.extend_from_slice(&KEY);
    put_varlong(&mut out, value as i64);
    out.resize(out.len() + value, 0);
    put_varlong(&mut out, 1);
    put_varlong(&mut out, HEADER.len() as i64);
    out.extend_from_slice(HEADER);
    put_varlong(&mut out, in_header as i64);
    out.resize(out.len() + in_header, 0);
    let crc = crc_fast::crc32_iscsi(&out[21..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::super::batch::{BatchBuilder, Codec, RecordIter, records};
    use super::*;

    #[test]
    fn a_void_has_the_length_and_the_offsets_of_what_it_stands_for() {
        for value in (2048..2200).chain(8000..8400).chain(16_000..16_600) {
            let mut builder = BatchBuilder::new(Codec::None);
            for _ in 0..1 + value % 80 {
                builder.push(7, None, Some(b"x"), &[]);
            }
            builder.push(9, None, Some(&vec![1; value]), &[]);
            let mut lost = BatchHeader::verify(&builder.build().unwrap()).unwrap();
            lost.base_offset = 70;
            let void = void(&lost);
            let header = BatchHeader::verify_stored(&void).unwrap();
            assert_eq!(void.len(), lost.total_bytes, "{value}");
            assert_eq!(header.total_bytes, lost.total_bytes);
            assert_eq!((header.base_offset, header.next_offset()), (70, lost.next_offset()));
            assert!(header.is_control() && !header.is_transactional());
            let (header, body) = records(&void, 1 << 20).unwrap();
            let all: Vec<_> = RecordIter::new(header, &body).map(Result::unwrap).collect();
            assert_eq!(all.len(), 1);
            assert_eq!(all[0].offset, lost.last_offset());
        }
    }
}
