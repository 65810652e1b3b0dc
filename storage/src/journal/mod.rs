//! The node journal: the one commit point.
//!
//! Every durable fact of the node is a record here before it is anything else; segments, the topic
//! set and RocksDB are made from it. One `fdatasync` makes a group of records durable, whatever
//! partitions they touch.
//!
//! Files `journal/<20 digits>.journal`, preallocated: a header of 4096 bytes, then records
//! ([`record`]) with consecutive lsns, then zeros or the rest of a file's earlier life. Header,
//! big-endian: magic `MILLJRNL`, u32 version 2, u32 crc of the fields after it, u64 file number,
//! u64 first lsn, u64 salt. Version 1
//! had no placed batches; its files are read.
//!
//! Invariants:
//! - a file's name appears only after its header is on disk; so a bad header is damage
//! - a file is synced before the next one is begun; so a hole between files is damage
//! - a restart begins a new file: what a torn tail left behind is never written over in place, and its
//!   lsns are used again under another salt
//! - files are recycled from the oldest on, and only below both the checkpoint and the seals that
//!   the layers above still need

pub(crate) mod record;
pub(crate) mod replay;
pub(crate) mod snapshot;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

use std::collections::VecDeque;
use std::sync::Arc;

use uuid::Uuid;

use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use record::Group;
use wire::{Put, Take};

pub(crate) const JOURNAL_DIR: &str = "journal";
pub(crate) const FIRST_RECORD: usize = 4096;
const MAGIC: &[u8; 8] = b"MILLJRNL";
const VERSION: u32 = 2;
/// The oldest that is read.
const VERSION_MIN: u32 = 1;
const NEXT_FILE: &str = "journal/next.tmp";
/// Space for the file that a start on a full disk needs.
pub(crate) const BALLAST: &str = "journal/ballast";
const BALLAST_BYTES_MAX: u64 = 1 << 20;
/// Old files kept for use as new ones.
const SPARES_MAX: usize = 2;

/// What is known of one file.
#[derive(Debug, Clone)]
pub(crate) struct FileInfo {
    pub number: u64,
    /// One less than its first lsn while it holds nothing.
    pub last_lsn: u64,
    /// The last seal in it; 0 if none.
    pub last_seal: u64,
    /// Up to where it is written.
    pub used: u64,
}

/// A file's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub number: u64,
    pub first_lsn: u64,
    pub salt: u64,
}

impl FileHeader {
    fn encode(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        fields.put_u64(self.number);
        fields.put_u64(self.first_lsn);
        fields.put_u64(self.salt);
        let mut out = MAGIC.to_vec();
        out.put_u32(VERSION);
        out.put_u32(crc_fast::crc32_iscsi(&fields));
        out.put(&fields);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<FileHeader> {
        let mut fields = Take::new(bytes.get(..40)?.strip_prefix(MAGIC)?);
        if !(VERSION_MIN..=VERSION).contains(&fields.u32()?) {
            return None;
        }
        let crc = fields.u32()?;
        if crc_fast::crc32_iscsi(fields.rest()) != crc {
            return None;
        }
        Some(FileHeader { number: fields.u64()?, first_lsn: fields.u64()?, salt: fields.u64()? })
    }
}

/// The journal being written.
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    file_bytes: u64,
    entropy: Uuid,
    /// Oldest first; the last is `current`.
    files: VecDeque<FileInfo>,
    current: Arc<dyn DiskFile>,
    current_salt: u64,
    current_bytes: u64,
    spares: Vec<String>,
    /// The last lsn known to be on disk.
    synced_lsn: u64,
    /// As `synced_lsn`, the placed batches of the records included: what records say of it.
    durable_lsn: u64,
    /// Some placed batch may not be on disk.
    has_placed: bool,
    /// Bytes written since the last checkpoint began.
    pub since_checkpoint: u64,
    /// Bytes written since the last sync began.
    pub since_sync: u64,
}

/// A sync that is to be done beside the writing.
pub(crate) struct Unsynced {
    file: Arc<dyn DiskFile>,
    number: u64,
    last_lsn: u64,
    with_placed: bool,
}

impl Unsynced {
    pub(crate) fn sync(&self) -> Result<(), Error> {
        let action = || format!("sync {}", path_of(self.number));
        self.file.sync_data().map_err(|e| Error::sync(action())(e))
    }
}

pub(crate) fn path_of(number: u64) -> String {
    format!("{JOURNAL_DIR}/{number:020}.journal")
}

impl Journal {
    /// Goes on after a replay: begins a new file for `next_lsn`. With `durable_lsn` the batches placed
    /// by later records may not be on disk.
    pub(crate) fn begin(
        disk: Arc<dyn Disk>,
        file_bytes: u64,
        entropy: Uuid,
        files: Vec<FileInfo>,
        next_lsn: u64,
        durable_lsn: Option<u64>,
    ) -> Result<Journal, Error> {
        if let Some(last) = files.last() {
            // What was read may be in the page cache only; it is about to count as durable.
            let path = path_of(last.number);
            let synced = disk.open(&path, false).and_then(|file| file.sync_data());
            synced.map_err(Error::sync(format!("sync {path}")))?;
        }
        let number = files.last().map_or(1, |last| last.number + 1);
        let used: u64 = files.iter().map(|file| file.used - FIRST_RECORD as u64).sum();
        let mut spares = Vec::new();
        let header = FileHeader { number, first_lsn: next_lsn, salt: salt(entropy, number) };
        let (current, current_bytes) = first_file(&*disk, &header, file_bytes, &mut spares)?;
        let mut journal = Journal {
            disk,
            file_bytes,
            entropy,
            files: files.into(),
            current,
            current_salt: header.salt,
            current_bytes,
            spares,
            synced_lsn: next_lsn - 1,
            durable_lsn: durable_lsn.unwrap_or(next_lsn - 1),
            has_placed: durable_lsn.is_some(),
            since_checkpoint: used,
            since_sync: 0,
        };
        journal.files.push_back(FileInfo::empty(number, next_lsn));
        Ok(journal)
    }

    /// Writes a group, and with `sync` makes it durable. After an error the journal must not be
    /// used any more.
    pub(crate) fn write(&mut self, group: &mut Group, sync: bool) -> Result<(), Error> {
        let bytes = group.len() as u64;
        let used = self.files.back().map_or(0, |file| file.used);
        if used + bytes > self.current_bytes {
            self.roll(group.first_lsn, bytes)?;
        }
        group.finish(self.current_salt, self.durable_lsn);
        let file = self.files.back_mut().expect("there is always a current file");
        let action = || format!("write {}", path_of(file.number));
        let written = self.current.write_pieces_at(file.used, &group.pieces());
        written.map_err(|e| Error::io(action())(e))?;
        file.used += bytes;
        file.last_lsn = group.last_lsn;
        file.last_seal = file.last_seal.max(group.last_seal);
        self.since_checkpoint += bytes;
        self.since_sync += bytes;
        if sync {
            self.sync()?;
        }
        Ok(())
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        let file = self.files.back().expect("there is always a current file");
        if self.synced_lsn < file.last_lsn {
            let action = format!("sync {}", path_of(file.number));
            self.current.sync_data().map_err(Error::sync(action))?;
            self.synced_lsn = file.last_lsn;
            self.since_sync = 0;
        }
        if !self.has_placed {
            self.durable_lsn = self.synced_lsn;
        }
        Ok(())
    }

    /// Says whether a batch that a record has placed, or the next one will, may not be on disk.
    pub(crate) fn set_has_placed(&mut self, has_placed: bool) {
        self.has_placed = has_placed;
    }

    /// What is written and not known to be durable. Older files always are.
    pub(crate) fn begin_sync(&mut self) -> Option<Unsynced> {
        let file = self.files.back().filter(|file| self.synced_lsn < file.last_lsn)?;
        let (number, last_lsn) = (file.number, file.last_lsn);
        self.since_sync = 0;
        let with_placed = !self.has_placed;
        Some(Unsynced { file: self.current.clone(), number, last_lsn, with_placed })
    }

    pub(crate) fn end_sync(&mut self, done: &Unsynced) {
        self.synced_lsn = self.synced_lsn.max(done.last_lsn);
        if done.with_placed {
            self.durable_lsn = self.durable_lsn.max(done.last_lsn);
        }
    }

    /// Ends the current file and begins one that has room for `bytes`.
    fn roll(&mut self, first_lsn: u64, bytes: u64) -> Result<(), Error> {
        self.sync()?;
        let number = self.files.back().map_or(1, |file| file.number + 1);
        let header = FileHeader { number, first_lsn, salt: salt(self.entropy, number) };
        let size = self.file_bytes.max(bytes + FIRST_RECORD as u64);
        let (file, size) = new_file(&*self.disk, &header, size, &mut self.spares)?;
        self.current = file;
        self.current_bytes = size;
        self.current_salt = header.salt;
        self.files.push_back(FileInfo::empty(number, first_lsn));
        Ok(())
    }

    /// Gives back the files that hold nothing after `checkpoint` and no seal from `low_water` on.
    pub(crate) fn recycle(&mut self, checkpoint: u64, low_water: u64) -> Result<(), Error> {
        while self.files.len() > 1 {
            let oldest = &self.files[0];
            let needed = oldest.last_lsn > checkpoint
                || (oldest.last_seal > 0 && oldest.last_seal >= low_water);
            if needed {
                break;
            }
            let path = path_of(oldest.number);
            if self.spares.len() < SPARES_MAX {
                let spare = format!("{JOURNAL_DIR}/{:020}.spare", oldest.number);
                let action = format!("rename {path}");
                self.disk.rename(&path, &spare).map_err(Error::io(action))?;
                self.spares.push(spare);
            } else {
                self.disk.remove(&path).map_err(Error::io(format!("remove {path}")))?;
            }
            // One by one and in order, also after a power cut: else there would be a hole.
            self.disk.sync_dir(JOURNAL_DIR).map_err(Error::io("sync the journal's directory"))?;
            self.files.pop_front();
        }
        Ok(())
    }

    /// After the last checkpoint of a clean stop: ends in a file that holds nothing, so that the next
    /// start has little to read, and keeps none in reserve.
    pub(crate) fn close(&mut self, checkpoint: u64, low_water: u64) -> Result<(), Error> {
        self.remove_spares()?;
        let next_lsn = self.files.back().map_or(1, |file| file.last_lsn + 1);
        self.file_bytes = FIRST_RECORD as u64;
        self.roll(next_lsn, 0)?;
        self.recycle(checkpoint, low_water)?;
        self.remove_spares()
    }

    fn remove_spares(&mut self) -> Result<(), Error> {
        for spare in self.spares.drain(..) {
            self.disk.remove(&spare).map_err(Error::io(format!("remove {spare}")))?;
        }
        Ok(())
    }

    /// Whether there is no file in reserve for when the current one is full.
    pub(crate) fn wants_spare(&self) -> bool {
        self.spares.is_empty()
    }

    /// Takes a file made by [`make_spare`] into reserve.
    pub(crate) fn add_spare(&mut self, path: String) {
        self.spares.push(path);
    }

    /// Bytes of records that the files hold.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.used - FIRST_RECORD as u64).sum()
    }
}

/// Makes a file of this size for later use. So the disk's end is met here, where nothing depends on
/// it, and not when records are waiting. `None` when there is no room.
pub(crate) fn make_spare(disk: &dyn Disk, bytes: u64) -> Result<Option<String>, Error> {
    // The only one of its name: it is renamed when it is used, and there is no other in reserve.
    let path = format!("{JOURNAL_DIR}/reserve.spare");
    let made = disk.open(&path, true).and_then(|file| file.preallocate(bytes));
    match made.map_err(Error::io(format!("make {path}"))) {
        Ok(()) => Ok(Some(path)),
        Err(e) => {
            // What it holds already is not kept from others. It may not even have been made.
            let _ = disk.remove(&path);
            if e.is_full() { Ok(None) } else { Err(e) }
        }
    }
}

fn ballast_bytes(file_bytes: u64) -> u64 {
    file_bytes.min(BALLAST_BYTES_MAX)
}

/// Takes the space that a start on a full disk will need. False when there is no room for it.
pub(crate) fn keep_ballast(disk: &dyn Disk, file_bytes: u64) -> Result<bool, Error> {
    let bytes = ballast_bytes(file_bytes);
    let made = disk.open(BALLAST, true).and_then(|file| file.preallocate(bytes));
    match made.map_err(Error::io(format!("make {BALLAST}"))) {
        Ok(()) => Ok(true),
        Err(e) if e.is_full() => Ok(false),
        Err(e) => Err(e),
    }
}

impl FileInfo {
    fn empty(number: u64, first_lsn: u64) -> FileInfo {
        let used = FIRST_RECORD as u64;
        FileInfo { number, last_lsn: first_lsn - 1, last_seal: 0, used }
    }
}

/// A salt no client can guess and no other file has.
fn salt(entropy: Uuid, number: u64) -> u64 {
    let (high, low) = entropy.as_u64_pair();
    let mut mixed = high ^ low.rotate_left(32) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The file that a start begins: smaller than wanted rather than none, when the disk is full.
fn first_file(
    disk: &dyn Disk,
    header: &FileHeader,
    file_bytes: u64,
    spares: &mut Vec<String>,
) -> Result<(Arc<dyn DiskFile>, u64), Error> {
    let mut bytes = file_bytes;
    loop {
        match new_file(disk, header, bytes, spares) {
            Err(e) if e.is_full() && bytes / 4 >= BALLAST_BYTES_MAX => bytes /= 4,
            Err(e) if e.is_full() => {
                bytes = ballast_bytes(file_bytes);
                if disk.remove(BALLAST).is_err() {
                    return Err(Error::Invalid(format!(
                        "{e}. The disk of the data directory is full: free {bytes} bytes there"
                    )));
                }
            }
            made => return made,
        }
    }
}

/// Makes a file under a passing name, syncs its header and space, then gives it its name. When there is
/// no room, nothing has changed.
fn new_file(
    disk: &dyn Disk,
    header: &FileHeader,
    bytes: u64,
    spares: &mut Vec<String>,
) -> Result<(Arc<dyn DiskFile>, u64), Error> {
    let path = path_of(header.number);
    let make = || -> std::io::Result<(Arc<dyn DiskFile>, u64)> {
        if let Some(spare) = spares.last() {
            disk.rename(spare, NEXT_FILE)?;
        }
        let file = disk.open(NEXT_FILE, true)?;
        if let Err(e) = file.preallocate(bytes).and_then(|()| file.write_at(0, &header.encode())) {
            match spares.last() {
                Some(spare) => disk.rename(NEXT_FILE, spare)?,
                None => disk.remove(NEXT_FILE)?,
            }
            return Err(e);
        }
        let bytes = file.len()?;
        Ok((file, bytes))
    };
    let made = make().map_err(Error::io(format!("begin {path}")))?;
    spares.pop();
    let name = || {
        made.0.sync_data()?;
        disk.rename(NEXT_FILE, &path)?;
        disk.sync_dir(JOURNAL_DIR)
    };
    name().map_err(Error::sync(format!("begin {path}")))?;
    Ok(made)
}
