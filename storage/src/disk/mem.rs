//! A disk in memory that loses what was not synced.
//!
//! Each file is its durable bytes plus the writes since its last sync; each directory its durable
//! names plus the changes since its last `sync_dir`. [`MemDisk::crash`] makes the disk a power cut
//! would leave: every unsynced write is kept, dropped or torn at 512 bytes, every unsynced name
//! change kept or dropped, each by its own throw of the seeded dice. The old disk goes on for whoever
//! still holds it, and touches the new one no more.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirLock, Disk, DiskFile};
use crate::error::Error;

/// What a disk sector is: the unit that is written whole or not at all.
const SECTOR: usize = 512;

/// See the head of the file.
pub struct MemDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    names: BTreeMap<String, u64>,
    dirs: std::collections::BTreeSet<String>,
    durable_names: BTreeMap<String, u64>,
    unsynced_names: Vec<NameChange>,
    locked: bool,
    fault: Option<Fault>,
    syncs: u64,
    /// Bytes that all files together may have.
    space: Option<u64>,
    reads_fail: bool,
}

#[derive(Default, Clone)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { position: u64, data: Vec<u8> },
    Length(u64),
}

#[derive(Clone)]
enum NameChange {
    Link { name: String, inode: u64 },
    Unlink { name: String },
    Rename { from: String, to: String, inode: u64 },
}

/// The next operation after `after` more ones fails with `kind`, and so do all later ones.
#[derive(Clone, Copy)]
struct Fault {
    after: u64,
    kind: io::ErrorKind,
}

impl Default for MemDisk {
    fn default() -> Self {
        MemDisk::new()
    }
}

impl MemDisk {
    pub fn new() -> MemDisk {
        MemDisk { state: Arc::new(Mutex::new(State::default())) }
    }

    /// Lets `after` more writes or syncs pass, then fails all of them: `StorageFull` is ENOSPC,
    /// anything else stands for EIO.
    pub fn fail_after(&self, after: u64, kind: io::ErrorKind) {
        self.state.lock().fault = Some(Fault { after, kind });
    }

    /// Gives the disk so much room for the bytes of all files; what would grow beyond it fails with
    /// `StorageFull`, and changes nothing. A write that a real disk would do in part is not done.
    pub fn limit_space(&self, bytes: Option<u64>) {
        self.state.lock().space = bytes;
    }

    /// From now on every read fails (or works again), as of a disk with bad sectors (EIO).
    pub fn fail_reads(&self, fail: bool) {
        self.state.lock().reads_fail = fail;
    }

    /// Bytes of all files that have a name.
    pub fn used(&self) -> u64 {
        self.state.lock().used()
    }

    /// How many times `sync_data` was called.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// The disk after a power cut, decided by `seed`.
    pub fn crash(&self, seed: u64) -> MemDisk {
        let mut dice = Dice(seed ^ 0x9e37_79b9_7f4a_7c15);
        let state = self.state.lock();
        let mut names = state.durable_names.clone();
        for change in &state.unsynced_names {
            if dice.one_in(2) {
                apply_name(&mut names, change);
            }
        }
        let mut inodes = BTreeMap::new();
        for inode in names.values() {
            let bytes = crashed_bytes(&state.inodes[inode], &mut dice);
            let kept = Inode { durable: bytes.clone(), bytes, unsynced: Vec::new() };
            inodes.insert(*inode, kept);
        }
        let next = State {
            inodes,
            next_inode: state.next_inode,
            durable_names: names.clone(),
            names,
            // Directories are few and made at start; losing them adds nothing to losing their names.
            dirs: state.dirs.clone(),
            ..State::default()
        };
        MemDisk { state: Arc::new(Mutex::new(next)) }
    }

    /// The disk after `kill -9`: everything written is there, no lock is held.
    pub fn kill(&self) -> MemDisk {
        let state = self.state.lock();
        let next = State {
            inodes: state.inodes.clone(),
            next_inode: state.next_inode,
            names: state.names.clone(),
            dirs: state.dirs.clone(),
            durable_names: state.durable_names.clone(),
            unsynced_names: state.unsynced_names.clone(),
            ..State::default()
        };
        MemDisk { state: Arc::new(Mutex::new(next)) }
    }
}

impl NameChange {
    /// Does it make `name` stand for `inode`?
    fn links(&self, wanted: &str, wanted_inode: u64) -> bool {
        match self {
            NameChange::Link { name, inode } | NameChange::Rename { to: name, inode, .. } => {
                name == wanted && *inode == wanted_inode
            }
            NameChange::Unlink { .. } => false,
        }
    }
}

/// The bytes of a file after the power cut. A change of length or a write is kept whole, dropped,
/// or (a write) kept sector by sector.
fn crashed_bytes(inode: &Inode, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = inode.durable.clone();
    for change in &inode.unsynced {
        match (change, dice.below(4)) {
            (_, 0) => {}
            (Change::Write { position, data }, 1) => {
                let mut at = 0;
                while at < data.len() {
                    let place = *position as usize + at;
                    let end = (at + SECTOR - place % SECTOR).min(data.len());
                    if dice.one_in(2) {
                        write_bytes(&mut bytes, place as u64, &data[at..end]);
                    }
                    at = end;
                }
            }
            (change, _) => apply_change(&mut bytes, change),
        }
    }
    bytes
}

fn apply_change(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { position, data } => write_bytes(bytes, *position, data),
        Change::Length(len) => bytes.resize(*len as usize, 0),
    }
}

fn write_bytes(bytes: &mut Vec<u8>, position: u64, data: &[u8]) {
    let start = position as usize;
    let end = start + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(data);
}

fn apply_name(names: &mut BTreeMap<String, u64>, change: &NameChange) {
    match change {
        NameChange::Link { name, inode } => {
            names.insert(name.clone(), *inode);
        }
        NameChange::Unlink { name } => {
            names.remove(name);
        }
        NameChange::Rename { from, to, inode } => {
            if names.get(from) == Some(inode) {
                names.remove(from);
            }
            names.insert(to.clone(), *inode);
        }
    }
}

fn dir_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl State {
    fn change_name(&mut self, change: NameChange) {
        apply_name(&mut self.names, &change);
        self.unsynced_names.push(change);
    }

    fn used(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[inode].bytes.len() as u64).sum()
    }

    /// Is there room for a file to become so long?
    fn check_space(&self, inode: u64, len: u64) -> io::Result<()> {
        let now = self.inodes.get(&inode).map_or(0, |inode| inode.bytes.len() as u64);
        match self.space {
            Some(space) if len > now && self.used() + (len - now) > space => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    /// Counts down to the planted fault.
    fn may_fail(&mut self) -> io::Result<()> {
        if let Some(fault) = &mut self.fault {
            if fault.after == 0 {
                return Err(io::Error::new(fault.kind, "planted fault"));
            }
            fault.after -= 1;
        }
        Ok(())
    }
}

impl Disk for MemDisk {
    fn open(&self, path: &str, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        let inode = match state.names.get(path) {
            Some(inode) => *inode,
            None if create => {
                let inode = state.next_inode;
                state.next_inode += 1;
                state.inodes.insert(inode, Inode::default());
                state.change_name(NameChange::Link { name: path.to_owned(), inode });
                inode
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(MemFile { state: self.state.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.may_fail()?;
        if let Some(inode) = state.names.get(from).copied() {
            let (from, to) = (from.to_owned(), to.to_owned());
            state.change_name(NameChange::Rename { from, to, inode });
            return Ok(());
        }
        let inside = format!("{from}/");
        let moved: Vec<(String, u64)> = state
            .names
            .range(inside.clone()..)
            .take_while(|(name, _)| name.starts_with(&inside))
            .map(|(name, inode)| (name.clone(), *inode))
            .collect();
        if moved.is_empty() && !state.dirs.contains(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.dirs.remove(from);
        state.dirs.insert(to.to_owned());
        for (name, inode) in moved {
            let to = format!("{to}/{}", &name[inside.len()..]);
            state.change_name(NameChange::Rename { from: name, to, inode });
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Unlink { name: path.to_owned() });
        Ok(())
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let inside = format!("{path}/");
        let gone: Vec<String> = state
            .names
            .range(inside.clone()..)
            .map(|(name, _)| name.clone())
            .take_while(|name| name.starts_with(&inside))
            .collect();
        for name in gone {
            state.change_name(NameChange::Unlink { name });
        }
        state.dirs.retain(|dir| dir != path && !dir.starts_with(&inside));
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        let inside = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let mut found: Vec<String> = state
            .names
            .keys()
            .chain(state.dirs.iter())
            .filter_map(|name| name.strip_prefix(&inside))
            .filter_map(|rest| rest.split('/').next())
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        found.sort();
        found.dedup();
        Ok(found)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.state.lock().dirs.insert(dir.to_owned());
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.may_fail()?;
        let changes = std::mem::take(&mut state.unsynced_names);
        for change in changes {
            let here = match &change {
                NameChange::Link { name, .. } | NameChange::Unlink { name } => dir_of(name) == dir,
                NameChange::Rename { from, to, .. } => dir_of(to) == dir || dir_of(from) == dir,
            };
            // A directory renamed as a whole is synced with the directory it stands in.
            let above = match &change {
                NameChange::Rename { from, to, .. } => {
                    dir_of(from) != dir_of(to) && dir_of(dir_of(to)) == dir
                }
                _ => false,
            };
            if here || above {
                apply_name(&mut state.durable_names, &change);
                // A name that went away with its directory cannot come back by its own entry.
                if let NameChange::Rename { from, inode, .. } = &change {
                    state.unsynced_names.retain(|earlier| !earlier.links(from, *inode));
                }
            } else {
                state.unsynced_names.push(change);
            }
        }
        Ok(())
    }

    fn lock(&self) -> Result<Box<dyn DirLock>, Error> {
        let mut state = self.state.lock();
        if state.locked {
            return Err(Error::Locked { holder: "this test".to_owned() });
        }
        state.locked = true;
        Ok(Box::new(MemLock { state: self.state.clone() }))
    }
}

struct MemLock {
    state: Arc<Mutex<State>>,
}

impl DirLock for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.state.lock().locked = false;
    }
}

struct MemFile {
    state: Arc<Mutex<State>>,
    inode: u64,
}

impl MemFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.state.lock();
        state.may_fail()?;
        let len = match &change {
            Change::Write { position, data } => position + data.len() as u64,
            Change::Length(len) => *len,
        };
        state.check_space(self.inode, len)?;
        if let Some(inode) = state.inodes.get_mut(&self.inode) {
            apply_change(&mut inode.bytes, &change);
            inode.unsynced.push(change);
        }
        Ok(())
    }
}

impl DiskFile for MemFile {
    fn read_at(&self, position: u64, len: usize) -> io::Result<Vec<u8>> {
        let state = self.state.lock();
        if state.reads_fail {
            return Err(io::Error::other("planted read fault"));
        }
        let bytes = state.inodes.get(&self.inode).map_or(&[][..], |inode| &inode.bytes);
        let start = (position.min(bytes.len() as u64)) as usize;
        let end = start.saturating_add(len).min(bytes.len());
        Ok(bytes[start..end].to_vec())
    }

    fn write_at(&self, position: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write { position, data: data.to_vec() })
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.state.lock();
        Ok(state.inodes.get(&self.inode).map_or(0, |inode| inode.bytes.len() as u64))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(len))
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        let now = self.len()?;
        if now < len { self.change(Change::Length(len)) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.may_fail()?;
        state.syncs += 1;
        if let Some(inode) = state.inodes.get_mut(&self.inode) {
            let unsynced = std::mem::take(&mut inode.unsynced);
            for change in &unsynced {
                apply_change(&mut inode.durable, change);
            }
        }
        Ok(())
    }
}

/// A small seeded generator (SplitMix64); good enough to decide a crash.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
