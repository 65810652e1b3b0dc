//! Reads the journal after a restart, and tells a torn tail from damage.
//!
//! Records are read until the first that is not good. What follows decides:
//! - the next file begins with the very lsn that is missing: the tail was torn in an earlier life, and
//!   that life went on in the next file
//! - the next file begins later: records are missing, damage
//! - no next file, but a later good record in this one says the missing lsn was durable: damage
//! - otherwise the missing record belongs to the last group, which nobody saw acknowledged; it and
//!   what follows is cut

use std::sync::Arc;

use super::record::{FRAME_BYTES, Frame};
use super::{BALLAST, FIRST_RECORD, FileHeader, FileInfo, JOURNAL_DIR, path_of};
use crate::disk::Disk;
use crate::error::Error;

/// The result of a replay.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub files: Vec<FileInfo>,
    pub next_lsn: u64,
}

/// The numbers of the journal's files, oldest first. Files under passing names are removed.
fn numbers(disk: &dyn Disk) -> Result<Vec<u64>, Error> {
    let names = disk.list(JOURNAL_DIR).map_err(Error::io("list the journal"))?;
    let mut numbers = Vec::new();
    for name in names {
        match name.strip_suffix(".journal").and_then(|number| number.parse().ok()) {
            Some(number) => numbers.push(number),
            None if name.ends_with(".tmp") || name.ends_with(".spare") => {
                let path = format!("{JOURNAL_DIR}/{name}");
                disk.remove(&path).map_err(Error::io(format!("remove {path}")))?;
            }
            None if BALLAST.ends_with(&name) => {}
            None => tracing::warn!(name, "unknown file in the journal's directory"),
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Visits all good records, oldest first. `visit` gets the file's bytes and a frame in them.
/// `after` is the checkpoint: records up to it may be gone, later ones may not.
pub(crate) fn replay(
    disk: &Arc<dyn Disk>,
    after: u64,
    mut visit: impl FnMut(&[u8], &Frame) -> Result<(), Error>,
) -> Result<Replayed, Error> {
    let mut files: Vec<FileInfo> = Vec::new();
    let mut next_lsn = None;
    let mut tail: Option<Tail> = None;
    for number in numbers(&**disk)? {
        let path = path_of(number);
        let bytes = read_file(&**disk, &path)?;
        let header = FileHeader::decode(&bytes)
            .filter(|header| header.number == number && header.first_lsn > 0)
            .ok_or_else(|| Error::corrupt(&path, 0, "the file header is not readable"))?;
        match next_lsn {
            None if header.first_lsn > after + 1 => {
                let reason =
                    format!("records {} to {} are missing", after + 1, header.first_lsn - 1);
                return Err(Error::corrupt(&path, 0, reason));
            }
            Some(expected) if header.first_lsn != expected => {
                let (path, position) = tail.map_or((path, 0), |tail| (tail.path, tail.position));
                let reason = format!(
                    "record {expected} is not readable, and the next file begins with {}",
                    header.first_lsn
                );
                return Err(Error::corrupt(path, position as u64, reason));
            }
            _ => {}
        }
        let mut info = FileInfo::empty(number, header.first_lsn);
        let mut position = FIRST_RECORD;
        let mut expected = header.first_lsn;
        while let Some(frame) =
            Frame::read(&bytes, position, header.salt).filter(|frame| frame.lsn == expected)
        {
            if frame.kind() == Some(super::record::Kind::Seal) {
                info.last_seal = frame.lsn;
            }
            visit(&bytes, &frame)?;
            position = frame.next;
            expected += 1;
        }
        info.last_lsn = expected - 1;
        info.used = position as u64;
        files.push(info);
        next_lsn = Some(expected);
        let witness = later_witness(&bytes, position, header.salt, expected);
        tail = Some(Tail { path, position, witness });
    }
    // Only the last file's tail is judged by what follows in it; the others by the next file.
    if let (Some(Tail { path, position, witness: Some(witness) }), Some(lsn)) = (tail, next_lsn) {
        let reason =
            format!("record {lsn} is not readable, but record {} says it was durable", witness.lsn);
        return Err(Error::corrupt(path, position as u64, reason));
    }
    let next_lsn = next_lsn.unwrap_or(1);
    if next_lsn <= after {
        let reason = format!("it ends before record {after}, which the checkpoint has seen");
        return Err(Error::corrupt(JOURNAL_DIR, 0, reason));
    }
    Ok(Replayed { files, next_lsn })
}

/// Where a file stopped being good.
struct Tail {
    path: String,
    position: usize,
    witness: Option<Frame>,
}

/// A good record beyond `position` that knew `lsn` to be durable.
pub(crate) fn later_witness(bytes: &[u8], position: usize, salt: u64, lsn: u64) -> Option<Frame> {
    const PAGE: [u8; 4096] = [0; 4096];
    // Files are preallocated: what was never written is zeros, where no frame can begin.
    let unused = bytes.rchunks_exact(PAGE.len()).take_while(|page| **page == PAGE).count();
    let used = bytes.len() - unused * PAGE.len();
    let last = bytes.len().checked_sub(FRAME_BYTES)?.min(used);
    (position..=last).step_by(8).find_map(|at| {
        // The numbers rule nearly every place out before a checksum is needed.
        let frame = Frame::peek(bytes, at)?;
        if frame.lsn <= lsn || frame.durable < lsn {
            return None;
        }
        Frame::read(bytes, at, salt)
    })
}

fn read_file(disk: &dyn Disk, path: &str) -> Result<Vec<u8>, Error> {
    let read = || {
        let file = disk.open(path, false)?;
        file.read_at(0, file.len()? as usize)
    };
    read().map_err(Error::io(format!("read {path}")))
}
