//! Reading a segment: scans from a position, batches for a reader, the batch of an offset or a time.
//!
//! A read takes whole batches, of bytes below the segment's end only; what the disk gives is checked before
//! anybody gets it, once for each process.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{Placed, READ_BYTES_MAX, SCAN_BYTES, Segment};
use crate::error::Error;
use crate::log::batch::{BatchError, BatchHeader, HEADER_BYTES, batches};

impl Segment {
    /// Visits the batches from `position` until `visit` says false or the log ends. Headers only;
    /// bytes that are no batch end the scan with an error.
    pub(in crate::log) fn scan(
        &self,
        mut position: u64,
        mut visit: impl FnMut(Placed) -> bool,
    ) -> Result<(), Error> {
        let end = self.bytes();
        let mut window = Vec::new();
        let mut window_at = position;
        while position < end {
            let skip = (position - window_at) as usize;
            if window.len() < skip + HEADER_BYTES {
                window_at = position;
                window = self.read(position, SCAN_BYTES.min((end - position) as usize))?;
            }
            let header = window.get((position - window_at) as usize..).unwrap_or_default();
            let damaged = |reason: String| Error::corrupt(self.path("log"), position, reason);
            let header = BatchHeader::parse(header).map_err(|e| damaged(e.to_string()))?;
            if header.base_offset < self.base_offset || header.total_bytes as u64 > end - position {
                return Err(damaged("a batch does not belong here".into()));
            }
            if !visit(Placed { header, position }) {
                return Ok(());
            }
            position += header.total_bytes as u64;
        }
        Ok(())
    }

    /// Visits whole batches from `position` on, each with its checksum checked, until `visit` says
    /// false or the log ends.
    pub(in crate::log) fn walk(
        &self,
        mut position: u64,
        mut visit: impl FnMut(&Placed, &[u8]) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let end = self.bytes();
        let mut want = SCAN_BYTES;
        while position < end {
            let window = self.read(position, want.min((end - position) as usize))?;
            let mut at = 0;
            want = SCAN_BYTES;
            while at < window.len() {
                let here = position + at as u64;
                let damaged = |reason: String| Error::corrupt(self.path("log"), here, reason);
                let rest = &window[at..];
                let is_all = here + rest.len() as u64 == end;
                let header = match BatchHeader::parse(rest) {
                    Ok(header) => header,
                    Err(_) if rest.len() < HEADER_BYTES && !is_all => break,
                    Err(e) => return Err(damaged(e.to_string())),
                };
                let belongs = header.base_offset >= self.base_offset;
                if !belongs || header.total_bytes as u64 > end - here {
                    return Err(damaged("a batch does not belong here".into()));
                }
                let Some(batch) = rest.get(..header.total_bytes) else {
                    want = SCAN_BYTES.max(header.total_bytes);
                    break;
                };
                BatchHeader::verify_stored(batch).map_err(|e| damaged(e.to_string()))?;
                if !visit(&Placed { header, position: here }, batch)? {
                    return Ok(());
                }
                at += header.total_bytes;
            }
            if at == 0 && want == SCAN_BYTES {
                return Err(Error::corrupt(
                    self.path("log"),
                    position,
                    "the log cannot be read on",
                ));
            }
            position += at as u64;
        }
        Ok(())
    }

    /// The largest timestamp of the first batch; −1 when there is none.
    pub(in crate::log) fn first_timestamp(&self) -> Result<i64, Error> {
        let known = self.first_timestamp.load(Ordering::Relaxed);
        if known != i64::MIN || self.bytes() == 0 {
            return Ok(known.max(-1));
        }
        let header = self.read(0, HEADER_BYTES)?;
        let damaged = |e: BatchError| Error::corrupt(self.path("log"), 0, e.to_string());
        let first = BatchHeader::parse(&header).map_err(damaged)?.max_timestamp.max(-1);
        self.first_timestamp.store(first, Ordering::Relaxed);
        Ok(first)
    }

    pub(in crate::log) fn read(&self, position: u64, len: usize) -> Result<Vec<u8>, Error> {
        let action = || format!("read {}", self.path("log"));
        self.file.read_at(position, len).map_err(|e| Error::io(action())(e))
    }

    /// Whole batches from the one that holds `offset` (or the first after it), below `end`. One
    /// batch at least if there is one, else not more than `max_bytes`. Gives the batches and the
    /// offset after the last of them.
    pub(in crate::log) fn read_batches(
        &self,
        offset: i64,
        end: i64,
        max_bytes: usize,
    ) -> Result<Option<(Bytes, i64)>, Error> {
        let max_bytes = max_bytes.min(READ_BYTES_MAX);
        let relative = (offset - self.base_offset).clamp(0, i64::from(u32::MAX)) as u32;
        let mut from = self.with_index(|index| u64::from(index.position_for(relative)))?;
        let log_end = self.bytes();
        // Beside what was asked for, what lies between the index entry and the offset.
        let mut want = max_bytes.saturating_add(self.index_interval as usize).max(HEADER_BYTES);
        loop {
            let window = self.read(from, want.min(log_end.saturating_sub(from) as usize))?;
            match cut_window(&window, offset, end, max_bytes)
                .map_err(|(at, e)| Error::corrupt(self.path("log"), from + at, e.to_string()))?
            {
                Cut::Found { start, stop, next_offset } => {
                    let found = Bytes::from(window).slice(start..stop);
                    return self.verified(from + start as u64, found, next_offset).map(Some);
                }
                Cut::Nothing => return Ok(None),
                Cut::Later { skip, need } => {
                    from += skip as u64;
                    if from + need as u64 > log_end {
                        return Ok(None);
                    }
                    want = want.max(need);
                }
            }
        }
    }

    /// Gives found batches as far as their checksums are right. Each place is checked once by this
    /// process: a reader checks, too, but only here a person is told.
    fn verified(
        &self,
        position: u64,
        found: Bytes,
        next_offset: i64,
    ) -> Result<(Bytes, i64), Error> {
        let end = position + found.len() as u64;
        let known = self.verified.load(Ordering::Acquire);
        if end <= known {
            return Ok((found, next_offset));
        }
        let mut at = 0;
        while at < found.len() {
            match BatchHeader::verify_stored(&found[at..]) {
                Ok(header) => at += header.total_bytes,
                Err(e) if at == 0 => {
                    return Err(Error::corrupt(self.path("log"), position, e.to_string()));
                }
                Err(_) => {
                    let good = found.slice(..at);
                    let last = batches(&good).filter_map(Result::ok).last();
                    let next_offset = last.map_or(next_offset, |(header, _)| header.next_offset());
                    return Ok((good, next_offset));
                }
            }
        }
        if position <= known {
            self.verified.fetch_max(end, Ordering::AcqRel);
        }
        Ok((found, next_offset))
    }

    /// The first batch, from the index's hint on, that `wanted` accepts.
    pub(in crate::log) fn find(
        &self,
        timestamp: i64,
        mut wanted: impl FnMut(&BatchHeader) -> bool,
    ) -> Result<Option<Placed>, Error> {
        let from = self.with_index(|index| {
            let relative = index.relative_before(timestamp);
            u64::from(index.position_for(relative))
        })?;
        let mut found = None;
        self.scan(from, |placed| {
            if wanted(&placed.header) {
                found = Some(placed);
            }
            found.is_none()
        })?;
        Ok(found)
    }
}

/// What a window of the log holds of a read.
enum Cut {
    Found {
        start: usize,
        stop: usize,
        next_offset: i64,
    },
    /// Everything below the limit is before the offset.
    Nothing,
    /// Read again from `skip` on, at least `need` bytes: the batch begins there, or might.
    Later {
        skip: usize,
        need: usize,
    },
}

/// Finds the batches of a read in a window that begins at a batch. An error carries its place.
fn cut_window(
    window: &[u8],
    offset: i64,
    end: i64,
    max_bytes: usize,
) -> Result<Cut, (u64, BatchError)> {
    let mut position = 0;
    let mut found: Option<(usize, usize, i64)> = None;
    let mut after = i64::MIN;
    loop {
        let rest = &window[position..];
        if rest.len() < HEADER_BYTES {
            break;
        }
        let header = match BatchHeader::parse(rest) {
            Ok(header) if header.base_offset >= after => header,
            // What came before is good; the next read meets it again.
            _ if found.is_some() => break,
            Ok(_) => return Err((position as u64, BatchError::Count)),
            Err(e) => return Err((position as u64, e)),
        };
        after = header.next_offset();
        if header.base_offset >= end {
            return Ok(match found {
                Some((start, stop, next_offset)) => Cut::Found { start, stop, next_offset },
                None => Cut::Nothing,
            });
        }
        if header.last_offset() >= offset {
            let stop = position + header.total_bytes;
            let start = found.map_or(position, |(start, ..)| start);
            let fits = found.is_none() || stop - start <= max_bytes;
            if stop > window.len() || !fits {
                if found.is_none() {
                    return Ok(Cut::Later { skip: position, need: header.total_bytes });
                }
                break;
            }
            found = Some((start, stop, header.next_offset()));
        }
        position += header.total_bytes;
        if position > window.len() {
            return Ok(Cut::Later { skip: position, need: HEADER_BYTES });
        }
    }
    Ok(match found {
        Some((start, stop, next_offset)) => Cut::Found { start, stop, next_offset },
        None => Cut::Later { skip: position, need: HEADER_BYTES },
    })
}
