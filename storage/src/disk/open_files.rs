//! Files that are opened when they are used: so that a node may have more segments than descriptors.
//!
//! [`OnDemand`] is a file by its path. [`OpenFiles`] keeps the ones used lately open, up to a number, and
//! closes others (second chance, in the order they were opened; clean ones first).
//!
//! Invariants:
//! - bytes written and not synced are never closed over: the kernel tells a failed write-back only to who
//!   has the file open. What must be closed is synced before, and its failure is the opener's error.
//! - a path is opened again only while it is this file's: who renames or removes it says so before
//!   ([`super::DiskFile::keep_open`], [`super::DiskFile::never_open`]) and after
//!   ([`super::DiskFile::renamed`]).

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::{DiskFile, RealFile};

/// Closes what was not used lately.
pub(super) struct OpenFiles {
    max: usize,
    /// Open and closable, in the order of opening; some may be closed or gone already.
    order: Mutex<VecDeque<Weak<State>>>,
    open: AtomicUsize,
}

impl OpenFiles {
    pub(super) fn new(max: usize) -> Arc<OpenFiles> {
        Arc::new(OpenFiles { max: max.max(1), order: Mutex::default(), open: AtomicUsize::new(0) })
    }

    /// How many files are open now.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn opened(&self, state: &Arc<State>) -> io::Result<()> {
        self.order.lock().push_back(Arc::downgrade(state));
        if self.open.load(Ordering::Relaxed) <= self.max {
            return Ok(());
        }
        self.close_some()
    }

    fn close_some(&self) -> io::Result<()> {
        let mut looked_at = 0;
        while self.open.load(Ordering::Relaxed) > self.max {
            let (next, left) = {
                let mut order = self.order.lock();
                (order.pop_front(), order.len())
            };
            let Some(next) = next else { return Ok(()) };
            let Some(state) = next.upgrade() else { continue };
            looked_at += 1;
            // Twice around for what was used or is dirty; after that anything.
            let patient = looked_at <= 2 * (left + 1);
            if state.used.swap(false, Ordering::Relaxed) && patient {
                self.order.lock().push_back(next);
                continue;
            }
            let mut place = state.place.lock();
            if state.dirty.load(Ordering::Acquire) && patient {
                drop(place);
                self.order.lock().push_back(next);
                continue;
            }
            if let Place::Open { path: Some(path), file } = &*place {
                if state.dirty.load(Ordering::Acquire) {
                    file.sync_data()?;
                    state.dirty.store(false, Ordering::Release);
                }
                let path = path.clone();
                *place = Place::Closed(path);
                self.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// A file of a path that is opened when it is used.
pub(super) struct OnDemand {
    files: Arc<OpenFiles>,
    state: Arc<State>,
}

struct State {
    place: Mutex<Place>,
    used: AtomicBool,
    /// Written to since the last sync.
    dirty: AtomicBool,
}

enum Place {
    Closed(PathBuf),
    /// Without a path it stays open until it is dropped.
    Open {
        path: Option<PathBuf>,
        file: Arc<RealFile>,
    },
    /// Its name is another file's by now, or nobody's.
    Gone,
}

impl OnDemand {
    /// A file that is there; it may be open already.
    pub(super) fn new(
        files: &Arc<OpenFiles>,
        path: PathBuf,
        open: Option<RealFile>,
    ) -> io::Result<OnDemand> {
        let is_open = open.is_some();
        let place = match open {
            None => Place::Closed(path),
            Some(file) => Place::Open { path: Some(path), file: Arc::new(file) },
        };
        let state = State {
            place: Mutex::new(place),
            used: AtomicBool::new(false),
            dirty: AtomicBool::new(false),
        };
        let file = OnDemand { files: files.clone(), state: Arc::new(state) };
        if is_open {
            files.open.fetch_add(1, Ordering::Relaxed);
            files.opened(&file.state)?;
        }
        Ok(file)
    }

    fn open(&self) -> io::Result<Arc<RealFile>> {
        self.open_with(|_| {})
    }

    /// The open file; `under_lock` is called before anybody can close it.
    fn open_with(&self, under_lock: impl FnOnce(&State)) -> io::Result<Arc<RealFile>> {
        let state = &self.state;
        let mut place = state.place.lock();
        let path = match &*place {
            Place::Open { file, .. } => {
                let file = file.clone();
                state.used.store(true, Ordering::Relaxed);
                under_lock(state);
                return Ok(file);
            }
            Place::Gone => return Err(io::ErrorKind::NotFound.into()),
            Place::Closed(path) => path.clone(),
        };
        let file = Arc::new(RealFile::open(&path, false)?);
        *place = Place::Open { path: Some(path), file: file.clone() };
        under_lock(state);
        drop(place);
        self.files.open.fetch_add(1, Ordering::Relaxed);
        self.files.opened(state)?;
        Ok(file)
    }

    fn open_to_write(&self) -> io::Result<Arc<RealFile>> {
        self.open_with(|state| state.dirty.store(true, Ordering::Release))
    }
}

impl Drop for OnDemand {
    fn drop(&mut self) {
        if let Place::Open { path: Some(_), .. } = &*self.state.place.lock() {
            self.files.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl DiskFile for OnDemand {
    fn read_at(&self, position: u64, len: usize) -> io::Result<Vec<u8>> {
        self.open()?.read_at(position, len)
    }

    fn write_at(&self, position: u64, data: &[u8]) -> io::Result<()> {
        self.open_to_write()?.write_at(position, data)
    }

    fn write_pieces_at(&self, position: u64, pieces: &[&[u8]]) -> io::Result<()> {
        self.open_to_write()?.write_pieces_at(position, pieces)
    }

    fn len(&self) -> io::Result<u64> {
        if let Place::Closed(path) = &*self.state.place.lock() {
            return super::len_of(path);
        }
        self.open()?.len()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.open_to_write()?.truncate(len)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.open_to_write()?.preallocate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        // What is written while this syncs is dirty again.
        let file = self.open_with(|state| state.dirty.store(false, Ordering::Release))?;
        let synced = file.sync_data();
        if synced.is_err() {
            self.state.dirty.store(true, Ordering::Release);
        }
        synced
    }

    fn keep_open(&self) -> io::Result<()> {
        let opened = self.open();
        let mut place = self.state.place.lock();
        *place = match (opened, &*place) {
            (Ok(file), Place::Closed(_)) => Place::Open { path: None, file },
            (_, Place::Open { path, file }) => {
                if path.is_some() {
                    self.files.open.fetch_sub(1, Ordering::Relaxed);
                }
                Place::Open { path: None, file: file.clone() }
            }
            (Ok(_), Place::Gone) => return Ok(()),
            (Err(e), _) => {
                *place = Place::Gone;
                return Err(e);
            }
        };
        Ok(())
    }

    fn never_open(&self) {
        let mut place = self.state.place.lock();
        *place = match &*place {
            Place::Open { path, file } => {
                if path.is_some() {
                    self.files.open.fetch_sub(1, Ordering::Relaxed);
                }
                Place::Open { path: None, file: file.clone() }
            }
            Place::Closed(_) | Place::Gone => Place::Gone,
        };
    }

    fn renamed(&self, path: PathBuf) -> io::Result<()> {
        {
            let mut place = self.state.place.lock();
            let Place::Open { path: now, .. } = &mut *place else { return Ok(()) };
            if now.replace(path).is_some() {
                return Ok(());
            }
        }
        self.files.open.fetch_add(1, Ordering::Relaxed);
        self.files.opened(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Disk, RealDisk};
    use super::*;

    /// Many files, few descriptors: every byte is where it belongs, whatever is closed meanwhile.
    #[test]
    fn files_are_closed_and_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::with_files_max(dir.path(), 4).unwrap();
        let name = |i: usize| format!("f{i}");
        let files: Vec<_> = (0..50).map(|i| disk.open_on_demand(&name(i), true).unwrap()).collect();
        for round in 0..5u8 {
            for (i, file) in files.iter().enumerate() {
                file.write_at(u64::from(round), &[round ^ i as u8]).unwrap();
                if i % 3 == 0 {
                    file.sync_data().unwrap();
                }
                assert!(disk.files.count() <= 4);
            }
        }
        std::thread::scope(|scope| {
            for start in 0..4 {
                let files = &files;
                scope.spawn(move || {
                    for (i, file) in files.iter().enumerate().cycle().skip(start * 13).take(200) {
                        let expected: Vec<u8> = (0..5).map(|round: u8| round ^ i as u8).collect();
                        assert_eq!(file.read_at(0, 9).unwrap(), expected);
                        assert_eq!(file.len().unwrap(), 5);
                    }
                });
            }
        });
        drop(files);
        assert_eq!(disk.files.count(), 0);
    }

    #[test]
    fn a_name_is_not_opened_again_when_it_is_anothers() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::with_files_max(dir.path(), 2).unwrap();
        let make = |name: &str| {
            let file = disk.open_on_demand(name, true).unwrap();
            file.write_at(0, name.as_bytes()).unwrap();
            file.sync_data().unwrap();
            file
        };
        let (old, new, gone) = (make("old"), make("new"), make("gone"));
        let close_all = || {
            let others: Vec<_> = (0..9).map(|i| make(&format!("other{i}"))).collect();
            others.iter().for_each(|file| drop(file.read_at(0, 1).unwrap()));
        };
        close_all();
        // The old one is read on; the new one takes its name.
        old.keep_open().unwrap();
        new.keep_open().unwrap();
        disk.rename("new", "old").unwrap();
        new.renamed(dir.path().join("old")).unwrap();
        gone.never_open();
        disk.rename("other1", "gone").unwrap();
        for _ in 0..2 {
            close_all();
            assert_eq!(old.read_at(0, 9).unwrap(), b"old");
            assert_eq!(new.read_at(0, 9).unwrap(), b"new");
            assert_eq!(gone.read_at(0, 9).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
        assert!(disk.files.count() <= 2);
    }
}
