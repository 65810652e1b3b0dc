//! One segment of a partition: a `.log` of batches back to back, and its two indexes.
//!
//! Only the committer appends; readers take whatever bytes are below `bytes`, which moves after the
//! write. A batch never spans segments. The index of a closed segment is read from its files when it
//! is first needed.

mod read;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::batch::{BatchHeader, NO_TIMESTAMP};
use super::index::{Index, Noted};
use crate::disk::{Disk, DiskFile};
use crate::error::Error;

/// What a scan reads at once.
const SCAN_BYTES: usize = 1 << 20;
/// What one read takes into memory at most, unless a single batch is bigger.
const READ_BYTES_MAX: usize = 16 << 20;

pub(super) struct Segment {
    /// Offset of the first record it may hold; also its file name.
    pub base_offset: i64,
    dir: Arc<str>,
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    bytes: AtomicU64,
    /// Bytes were written since the last sync.
    dirty: AtomicBool,
    /// Batches were added since the indexes were brought to their files.
    index_behind: AtomicBool,
    /// The time of the broker when it was begun.
    pub created_ms: i64,
    index: Mutex<Option<Index>>,
    index_interval: u32,
    /// The files of this name belong to another segment now, or to none. Set and asked with `index`.
    retired: AtomicBool,
    /// The checksums of the batches below this position were checked by this process.
    verified: AtomicU64,
    /// See [`Segment::first_timestamp`]; `i64::MIN`: not known.
    first_timestamp: AtomicI64,
}

/// A batch's place in a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub header: BatchHeader,
    pub position: u64,
}

/// A batch to append, in two pieces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch<'a> {
    /// With its final offset.
    pub header: BatchHeader,
    pub front: &'a [u8],
    pub rest: &'a [u8],
}

impl Batch<'_> {
    /// Batches that lie back to back in `bytes`; `headers` are theirs.
    pub(crate) fn all<'a>(mut bytes: &'a [u8], headers: &[BatchHeader]) -> Vec<Batch<'a>> {
        let mut batches = Vec::with_capacity(headers.len());
        for header in headers {
            let (front, after) = bytes.split_at(header.total_bytes.min(bytes.len()));
            batches.push(Batch { header: *header, front, rest: &[] });
            bytes = after;
        }
        batches
    }
}

pub(super) fn file_name(base_offset: i64, suffix: &str) -> String {
    format!("{base_offset:020}.{suffix}")
}

impl Segment {
    /// Makes a new, empty segment.
    pub(super) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Arc<str>,
        base_offset: i64,
        now_ms: i64,
        index_interval: u32,
    ) -> Result<Segment, Error> {
        let segment = Segment::reopen(disk, dir, base_offset, now_ms, index_interval)?;
        segment.trim()?;
        Ok(segment)
    }

    /// As [`Segment::create`], but bytes that a restart has still to look at stay where they are: see
    /// [`Segment::adopt`].
    pub(super) fn reopen(
        disk: &Arc<dyn Disk>,
        dir: &Arc<str>,
        base_offset: i64,
        now_ms: i64,
        index_interval: u32,
    ) -> Result<Segment, Error> {
        let path = format!("{dir}/{}", file_name(base_offset, "log"));
        let file = disk.open_on_demand(&path, true).map_err(Error::io(format!("open {path}")))?;
        let segment = Segment::of(disk, dir, base_offset, file, now_ms, index_interval)?;
        segment.rewind(0);
        // Leftovers of a segment of the same name must not be taken for its indexes.
        for suffix in ["index", "timeindex", super::transactions::SUFFIX] {
            let _ = disk.remove(&segment.path(suffix));
        }
        segment.begin_index();
        Ok(segment)
    }

    /// The segment of that name, which must be there; its file and index are opened when needed.
    pub(super) fn open(
        disk: &Arc<dyn Disk>,
        dir: &Arc<str>,
        base_offset: i64,
        now_ms: i64,
        index_interval: u32,
    ) -> Result<Segment, Error> {
        let path = format!("{dir}/{}", file_name(base_offset, "log"));
        let file = disk.open_on_demand(&path, false).map_err(Error::io(format!("open {path}")))?;
        Segment::of(disk, dir, base_offset, file, now_ms, index_interval)
    }

    /// Opens a segment whose log stands under a passing name. It takes its own in the end: see
    /// [`Segment::has_its_name`].
    pub(super) fn open_as(
        disk: &Arc<dyn Disk>,
        dir: &Arc<str>,
        base_offset: i64,
        suffix: &str,
        now_ms: i64,
        index_interval: u32,
    ) -> Result<Segment, Error> {
        let path = format!("{dir}/{}", file_name(base_offset, suffix));
        let file = disk.open_on_demand(&path, true).map_err(Error::io(format!("open {path}")))?;
        file.keep_open().map_err(Error::io(format!("open {path}")))?;
        Segment::of(disk, dir, base_offset, file, now_ms, index_interval)
    }

    fn of(
        disk: &Arc<dyn Disk>,
        dir: &Arc<str>,
        base_offset: i64,
        file: Arc<dyn DiskFile>,
        now_ms: i64,
        index_interval: u32,
    ) -> Result<Segment, Error> {
        let measure = || format!("measure {dir}/{}", file_name(base_offset, "log"));
        let bytes = file.len().map_err(|e| Error::io(measure())(e))?;
        Ok(Segment {
            base_offset,
            dir: dir.clone(),
            disk: disk.clone(),
            file,
            bytes: AtomicU64::new(bytes),
            dirty: AtomicBool::new(false),
            index_behind: AtomicBool::new(false),
            created_ms: now_ms,
            index: Mutex::new(None),
            index_interval,
            retired: AtomicBool::new(false),
            verified: AtomicU64::new(0),
            first_timestamp: AtomicI64::new(i64::MIN),
        })
    }

    /// An empty segment has an empty index: nothing is to be read for it.
    pub(super) fn begin_index(&self) {
        *self.index.lock() = Some(Index::default());
    }

    pub(super) fn index_interval(&self) -> u32 {
        self.index_interval
    }

    /// From now on its files are left alone: its name is about to be another segment's. It can be
    /// read on.
    pub(super) fn retire(&self) {
        let _index = self.index.lock();
        if !self.retired.swap(true, Ordering::AcqRel)
            && let Err(e) = self.file.keep_open()
        {
            tracing::warn!(path = self.path("log"), error = %e, "a removed segment cannot be read on");
        }
    }

    /// As [`Segment::retire`], when the whole partition goes: only who has the file open reads on.
    pub(super) fn abandon(&self) {
        let _index = self.index.lock();
        if !self.retired.swap(true, Ordering::AcqRel) {
            self.file.never_open();
        }
    }

    /// The log stands under its own name now.
    pub(super) fn has_its_name(&self) -> Result<(), Error> {
        let path = self.path("log");
        let named = self.file.renamed(self.disk.absolute(&path));
        named.map_err(Error::io(format!("open {path}")))
    }

    pub(super) fn path(&self, suffix: &str) -> String {
        format!("{}/{}", self.dir, file_name(self.base_offset, suffix))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Cuts the log at `bytes` and forgets the index. Only while the partition is being opened.
    pub(super) fn cut(&self, bytes: u64) -> Result<(), Error> {
        if self.bytes() != bytes {
            let action = || format!("cut {}", self.path("log"));
            self.file.truncate(bytes).map_err(|e| Error::io(action())(e))?;
            self.bytes.store(bytes, Ordering::Release);
            self.verified.fetch_min(bytes, Ordering::AcqRel);
            self.first_timestamp.store(i64::MIN, Ordering::Relaxed);
            self.dirty.store(true, Ordering::Release);
        }
        *self.index.lock() = None;
        Ok(())
    }

    /// Counts only the first `bytes` as the segment's and forgets the index; the others stay in the file
    /// until [`Segment::trim`]. Only while the partition is being opened.
    fn rewind(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Release);
        self.verified.fetch_min(bytes, Ordering::AcqRel);
        self.first_timestamp.store(i64::MIN, Ordering::Relaxed);
        self.dirty.store(true, Ordering::Release);
        *self.index.lock() = None;
    }

    /// Cuts off what lies in the file behind the segment's bytes.
    pub(super) fn trim(&self) -> Result<(), Error> {
        let bytes = self.bytes();
        let trim = || match self.file.len()? > bytes {
            true => self.file.truncate(bytes),
            false => Ok(()),
        };
        trim().map_err(Error::io(format!("cut {}", self.path("log"))))
    }

    /// After a restart: takes the batch that should lie next as appended, if it is there, whole; `front`
    /// is its header. False, and nothing changed, when it is not.
    pub(super) fn adopt(&self, header: &BatchHeader, front: &[u8]) -> Result<bool, Error> {
        let start = self.bytes();
        let len = self.file.len().map_err(Error::io(format!("measure {}", self.path("log"))))?;
        if len.saturating_sub(start) < header.total_bytes as u64 {
            return Ok(false);
        }
        let found = self.read(start, header.total_bytes)?;
        let is_there = found.starts_with(front) && BatchHeader::verify_stored(&found).is_ok();
        if is_there {
            self.dirty.store(true, Ordering::Release);
            self.note_appended(start, [header].into_iter(), true)?;
        }
        Ok(is_there)
    }

    /// After a restart: leaves the place of a batch that cannot be read to whoever looks at it later.
    pub(super) fn pass_over(&self, header: &BatchHeader) -> Result<(), Error> {
        self.note_appended(self.bytes(), [header].into_iter(), false)
    }

    /// Appends batches.
    pub(super) fn append(&self, batches: &[Batch<'_>]) -> Result<(), Error> {
        let start = self.bytes();
        self.dirty.store(true, Ordering::Release);
        let action = || format!("append to {}", self.path("log"));
        let pieces: Vec<&[u8]> =
            batches.iter().flat_map(|batch| [batch.front, batch.rest]).collect();
        self.file.write_pieces_at(start, &pieces).map_err(|e| Error::io(action())(e))?;
        // They were checked when they were taken.
        self.note_appended(start, batches.iter().map(|batch| &batch.header), true)
    }

    /// Takes note of batches that lie at `start`, which is where the segment ended.
    fn note_appended<'a>(
        &self,
        start: u64,
        headers: impl Iterator<Item = &'a BatchHeader> + Clone,
        verified: bool,
    ) -> Result<(), Error> {
        let mut position = start;
        self.index_behind.store(true, Ordering::Release);
        self.with_index(|index| {
            for header in headers.clone() {
                let noted = self.noted(&Placed { header: *header, position });
                index.on_batch(noted, self.index_interval);
                position += header.total_bytes as u64;
            }
        })?;
        if start == 0
            && let Some(first) = headers.clone().next()
        {
            self.first_timestamp.store(first.max_timestamp.max(-1), Ordering::Relaxed);
        }
        if verified {
            let known = &self.verified;
            let _ = known.compare_exchange(start, position, Ordering::AcqRel, Ordering::Relaxed);
        }
        self.bytes.store(position, Ordering::Release);
        Ok(())
    }

    fn noted(&self, placed: &Placed) -> Noted {
        Noted {
            position: placed.position as u32,
            bytes: placed.header.total_bytes as u32,
            last_relative: (placed.header.last_offset() - self.base_offset) as u32,
            // A batch that compaction emptied has no record of its time.
            max_timestamp: match placed.header.record_count {
                0 => NO_TIMESTAMP,
                _ => placed.header.max_timestamp,
            },
        }
    }

    /// Brings the indexes to their files if batches were added since the last time.
    pub(super) fn flush_index_if_behind(&self) -> Result<(), Error> {
        match self.index_behind.swap(false, Ordering::AcqRel) {
            true => self.flush_index(),
            false => Ok(()),
        }
    }

    /// Has the batch room here? A segment ends at its size, and where the index's 32 bits end.
    pub(super) fn takes(&self, bytes: u64, last_offset: i64, segment_bytes: u64) -> bool {
        let after = self.bytes() + bytes;
        let fits = after <= segment_bytes || self.bytes() == 0;
        fits && after <= i32::MAX as u64 && last_offset - self.base_offset <= i64::from(i32::MAX)
    }

    /// Ends the segment: its indexes get their last entry and go to their files.
    pub(super) fn close(&self) -> Result<(), Error> {
        self.with_index(|index| index.note_time())?;
        self.flush_index()
    }

    /// Brings new index entries to the files. Not synced: see [`super::index`].
    pub(super) fn flush_index(&self) -> Result<(), Error> {
        // Held while writing, so that the files of a removed segment are not made again.
        let mut index = self.index.lock();
        let Some(index) = index.as_mut().filter(|_| !self.retired.load(Ordering::Acquire)) else {
            return Ok(());
        };
        match self.write_index(index.take_unflushed()) {
            // The files are a help; without room they are written another time, from the start.
            Err(e) if e.is_full() => index.forget_flushed(),
            done => done?,
        }
        Ok(())
    }

    fn write_index(&self, parts: [(u64, Vec<u8>); 2]) -> Result<(), Error> {
        for (suffix, (place, bytes)) in ["index", "timeindex"].into_iter().zip(parts) {
            let path = self.path(suffix);
            let file = self.disk.open(&path, true).map_err(Error::io(format!("open {path}")))?;
            file.truncate(place).map_err(Error::io(format!("cut {path}")))?;
            file.write_at(place, &bytes).map_err(Error::io(format!("write {path}")))?;
        }
        Ok(())
    }

    /// Makes the log durable. True when there was something to do.
    pub(super) fn sync(&self) -> Result<bool, Error> {
        if !self.dirty.swap(false, Ordering::AcqRel) {
            return Ok(false);
        }
        let action = || format!("sync {}", self.path("log"));
        self.file.sync_data().map_err(|e| Error::sync(action())(e))?;
        Ok(true)
    }

    /// Renames the log to `.deleted`; the indexes, which are made again from it, go.
    pub(super) fn set_aside(&self) -> Result<(), Error> {
        self.retire();
        let (path, aside) = (self.path("log"), self.path("log.deleted"));
        match self.disk.rename(&path, &aside) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(format!("rename {path}"))(e));
            }
            _ => {
                let named = self.file.renamed(self.disk.absolute(&aside));
                named.map_err(Error::io(format!("open {aside}")))?;
            }
        }
        for suffix in ["index", "timeindex", super::transactions::SUFFIX] {
            // What is left of them a restart removes.
            let _ = self.disk.remove(&self.path(suffix));
        }
        Ok(())
    }

    pub(super) fn remove_files(&self) -> Result<(), Error> {
        self.retire();
        self.file.never_open();
        for suffix in ["log", "log.deleted", "index", "timeindex", super::transactions::SUFFIX] {
            let path = self.path(suffix);
            match self.disk.remove(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(format!("remove {path}"))(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The largest timestamp and the last offset of the first batch that has it.
    pub(super) fn max_timestamp(&self) -> Result<(i64, i64), Error> {
        self.with_index(|index| {
            (index.max_timestamp, self.base_offset + i64::from(index.max_timestamp_relative))
        })
    }

    /// Works with the index, after reading it from its files or, failing that, from the log.
    fn with_index<T>(&self, work: impl FnOnce(&mut Index) -> T) -> Result<T, Error> {
        let mut index = self.index.lock();
        if index.is_none() {
            *index = Some(self.load_index()?);
        }
        Ok(work(index.get_or_insert_default()))
    }

    fn load_index(&self) -> Result<Index, Error> {
        if let Some(mut index) = self.stored_index()
            && let Ok(true) = self.note_tail(&mut index)
        {
            return Ok(index);
        }
        let mut index = Index::default();
        self.note_tail(&mut index)?;
        Ok(index)
    }

    /// The index as its files have it; `None` when they are missing or cannot be true.
    fn stored_index(&self) -> Option<Index> {
        if self.retired.load(Ordering::Acquire) {
            return None;
        }
        let read = |suffix: &str| -> Option<Vec<u8>> {
            let file = self.disk.open(&self.path(suffix), false).ok()?;
            file.read_at(0, file.len().ok()? as usize).ok()
        };
        Index::from_files(&read("index")?, &read("timeindex")?, self.bytes())
    }

    /// Takes note of the batches after the last entry. That entry's own batch was counted before;
    /// false when it is not what the entry says.
    fn note_tail(&self, index: &mut Index) -> Result<bool, Error> {
        let from = u64::from(index.last_position());
        let mut fits = true;
        self.scan(from, |placed| {
            match from > 0 && placed.position == from {
                true => fits = index.on_last_entry(self.noted(&placed)),
                false => index.on_batch(self.noted(&placed), self.index_interval),
            }
            fits
        })?;
        Ok(fits)
    }

    /// Cuts the log after the record before `end`, which must be there. Only while the partition is
    /// being opened. False when the log ends before, or `end` is inside a batch. With `keep` what lies
    /// behind stays in the file, as with [`Segment::reopen`].
    pub(super) fn cut_at_offset(&self, end: i64, keep: bool) -> Result<bool, Error> {
        if let Some(index) = self.small_index(end) {
            *self.index.lock() = Some(index);
            return Ok(true);
        }
        match self.stored_index().map(|index| self.cut_with(index, end, keep)) {
            Some(Ok(true)) => Ok(true),
            // The index may lie; the log itself decides.
            _ => self.cut_with(Index::default(), end, keep),
        }
    }

    /// The index of a log that ends at `end` and is too short for entries: no file is opened for it.
    fn small_index(&self, end: i64) -> Option<Index> {
        if self.bytes() > u64::from(self.index_interval) {
            return None;
        }
        let (mut index, mut next_offset) = (Index::default(), self.base_offset);
        let scanned = self.scan(0, |placed| {
            index.on_batch(self.noted(&placed), self.index_interval);
            next_offset = placed.header.next_offset();
            true
        });
        scanned.is_ok().then_some(index).filter(|_| next_offset == end)
    }

    fn cut_with(&self, mut index: Index, end: i64, keep: bool) -> Result<bool, Error> {
        let relative = (end - 1 - self.base_offset).clamp(0, i64::from(u32::MAX)) as u32;
        let mut reached = None;
        // What lies after the record may be anything: the scan stops before looking at it.
        let scanned = self.scan(u64::from(index.position_for(relative)), |placed| {
            if placed.header.next_offset() >= end {
                let after = placed.position + placed.header.total_bytes as u64;
                reached = Some((placed.header.next_offset(), after));
            }
            reached.is_none()
        });
        let Some((next_offset, after)) = reached else {
            return scanned.map(|()| false);
        };
        if next_offset != end {
            return Ok(false);
        }
        match keep {
            true => self.rewind(after),
            false => self.cut(after)?,
        }
        let stale = index.cut(after);
        if !self.note_tail(&mut index)? {
            index = Index::default();
            self.note_tail(&mut index)?;
        }
        *self.index.lock() = Some(index);
        match stale {
            true => self.flush_index().map(|()| true),
            false => Ok(true),
        }
    }
}
