//! The disk as a trait: the only file that touches `std::fs`.
//!
//! Paths are relative to the data directory, with `/` between names. Two disks exist: [`RealDisk`],
//! and [`MemDisk`], which knows what was synced and can lose the rest.
//!
//! What a caller may count on, with both:
//! - bytes written are read back at once; they survive a power cut only after `sync_data`
//! - a new, renamed or removed name survives only after `sync_dir` of its directory
//! - `rename` replaces its target in one step

mod mem;
mod open_files;

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use mem::MemDisk;
use open_files::{OnDemand, OpenFiles};

use crate::error::Error;

/// Everything the log and the journal need of a disk.
pub trait Disk: Send + Sync {
    /// Opens a file for reading and writing. With `create`, a missing file is made, empty.
    fn open(&self, path: &str, create: bool) -> io::Result<Arc<dyn DiskFile>>;
    /// As [`Disk::open`], but the file may be closed while it is not used. Who changes the file's name
    /// tells the file.
    fn open_on_demand(&self, path: &str, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path, create)
    }
    /// Renames a file or directory, replacing a file of the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Removes a directory with all files in it. A missing one is no error.
    fn remove_dir(&self, path: &str) -> io::Result<()>;
    /// The names in a directory, sorted. A missing directory is empty.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Makes a directory and those above it. An existing one is no error.
    fn create_dir(&self, dir: &str) -> io::Result<()>;
    /// Makes the names in a directory durable. The data directory itself is "".
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// The path as the operating system knows it, if it does.
    fn absolute(&self, path: &str) -> PathBuf {
        PathBuf::from(path)
    }
    /// What people know the data directory as: an absolute path, if it has one.
    fn name(&self) -> String {
        "/".to_owned()
    }
    /// How large the volume is and how much of it is left for us, in bytes, if it can tell.
    fn space(&self) -> Option<Space> {
        None
    }
    /// Takes the data directory for this process until the guard is dropped.
    fn lock(&self) -> Result<Box<dyn DirLock>, Error>;
}

/// The volume under a data directory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    pub usable: u64,
}

/// Holds the data directory while it lives.
pub trait DirLock: Send + Sync {}

/// An open file. Reads and writes name their place, so a file can be shared between threads.
pub trait DiskFile: Send + Sync {
    /// Up to `len` bytes from `position`; fewer only at the end of the file.
    fn read_at(&self, position: u64, len: usize) -> io::Result<Vec<u8>>;
    /// Writes all of `data` at `position`, growing the file if needed.
    fn write_at(&self, position: u64, data: &[u8]) -> io::Result<()>;
    /// Writes all of these, one behind the other.
    fn write_pieces_at(&self, position: u64, pieces: &[&[u8]]) -> io::Result<()> {
        let mut at = position;
        for piece in pieces {
            self.write_at(at, piece)?;
            at += piece.len() as u64;
        }
        Ok(())
    }
    fn len(&self) -> io::Result<u64>;
    /// Cuts or extends (with zeros) to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Reserves space, so that later writes below `len` cannot run out of it. The file gets that
    /// length; new bytes are zero.
    fn preallocate(&self, len: u64) -> io::Result<()>;
    /// Makes the bytes durable. After an error nothing written may be trusted.
    fn sync_data(&self) -> io::Result<()>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// The file's name is about to be changed or removed; it stays open, to be read on.
    fn keep_open(&self) -> io::Result<()> {
        Ok(())
    }
    /// The file's name is about to be changed or removed; if it is not open now, it is gone.
    fn never_open(&self) {}
    /// The file has this absolute path now, for good: it may be closed again.
    fn renamed(&self, _path: PathBuf) -> io::Result<()> {
        Ok(())
    }
}

/// A directory of the operating system.
pub struct RealDisk {
    root: PathBuf,
    files: Arc<OpenFiles>,
}

const LOCK_FILE: &str = "LOCK";
/// More open segments than this help nobody: each takes a kilobyte or so of the kernel's memory.
const SEGMENTS_OPEN_MAX: usize = 32 << 10;

impl RealDisk {
    /// Uses `root` as data directory; makes it if it is missing. Raises the process's limit of open
    /// files to what it may have; segments take at most half of it, connections need the rest.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<RealDisk> {
        RealDisk::with_files_max(root, raised_file_limit() / 2)
    }

    /// As [`RealDisk::new`], with at most so many segments open at a time.
    pub fn with_files_max(root: impl Into<PathBuf>, files_max: usize) -> io::Result<RealDisk> {
        let root = root.into();
        std::fs::create_dir_all(&root)?;
        Ok(RealDisk { root, files: OpenFiles::new(files_max.min(SEGMENTS_OPEN_MAX)) })
    }

    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }
}

impl Disk for RealDisk {
    fn name(&self) -> String {
        let path = std::path::absolute(&self.root).unwrap_or_else(|_| self.root.clone());
        path.to_string_lossy().into_owned()
    }

    fn absolute(&self, path: &str) -> PathBuf {
        self.at(path)
    }

    fn space(&self) -> Option<Space> {
        let volume = rustix::fs::statvfs(&self.root).ok()?;
        Some(Space {
            total: volume.f_blocks.saturating_mul(volume.f_frsize),
            usable: volume.f_bavail.saturating_mul(volume.f_frsize),
        })
    }

    fn open(&self, path: &str, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile::open(&self.at(path), create)?))
    }

    fn open_on_demand(&self, path: &str, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.at(path);
        let open = match create {
            true => Some(RealFile::open(&path, true)?),
            false => None,
        };
        Ok(Arc::new(OnDemand::new(&self.files, path, open)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        std::fs::remove_file(self.at(path))
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        match std::fs::remove_dir_all(self.at(path)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.at(dir)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            found => found?,
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is not UTF-8 is not one of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        std::fs::create_dir_all(self.at(dir))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        File::open(self.at(dir))?.sync_all()
    }

    fn lock(&self) -> Result<Box<dyn DirLock>, Error> {
        lock_file(&self.root.join(LOCK_FILE))
    }
}

/// Pieces of one system call (Linux: `IOV_MAX`).
const PIECES_MAX: usize = 1024;

struct RealFile {
    file: File,
}

impl RealFile {
    fn open(path: &Path, create: bool) -> io::Result<RealFile> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(create).truncate(false).open(path)?;
        Ok(RealFile { file })
    }
}

fn len_of(path: &Path) -> io::Result<u64> {
    Ok(std::fs::metadata(path)?.len())
}

impl DiskFile for RealFile {
    fn read_at(&self, position: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = position + bytes.len() as u64;
            // Reads into the vector's unused capacity: no time is spent on zeroing it first.
            match rustix::io::pread(&self.file, rustix::buffer::spare_capacity(&mut bytes), at) {
                Ok(0) => break,
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        // The allocator may have given more room than asked for.
        bytes.truncate(len);
        Ok(bytes)
    }

    fn write_at(&self, position: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, position)
    }

    fn write_pieces_at(&self, mut position: u64, pieces: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut rest = &mut slices[..];
        loop {
            // Drops what is empty, at the end everything.
            IoSlice::advance_slices(&mut rest, 0);
            if rest.is_empty() {
                return Ok(());
            }
            let some = &rest[..rest.len().min(PIECES_MAX)];
            match rustix::io::pwritev(&self.file, some, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    position += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), 0, len) {
            // Some file systems cannot reserve; then space is found when it is written.
            Err(rustix::io::Errno::OPNOTSUPP) => self.file.set_len(len.max(self.len()?)),
            done => Ok(done?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Raises the limit of open files to what the process may have, and gives it.
fn raised_file_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(e) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(error = %e, "the limit of open files stays as it is");
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(now).unwrap_or(usize::MAX)
}

/// The lock lives as long as the open file; the operating system drops it with the process.
struct HeldLock {
    _file: File,
}

impl DirLock for HeldLock {}

/// `flock` on a file that holds the process id and command line of its owner.
fn lock_file(path: &Path) -> Result<Box<dyn DirLock>, Error> {
    let io = |e: io::Error| Error::io(format!("lock {}", path.display()))(e);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(io)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            // What the file says is for a person; a holder that just starts may not have written.
            let _ = Read::by_ref(&mut file).take(4096).read_to_string(&mut holder);
            let holder = match holder.trim() {
                "" => "another process".to_owned(),
                said => format!("process {said}"),
            };
            return Err(Error::Locked { holder });
        }
        Err(e) => return Err(io(e.into())),
    }
    let command: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    file.set_len(0).map_err(io)?;
    file.write_all(format!("{} ({})\n", std::process::id(), command.join(" ")).as_bytes())
        .map_err(io)?;
    Ok(Box::new(HeldLock { _file: file }))
}
