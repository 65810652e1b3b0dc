//! State on disk: the only file that knows RocksDB.
//!
//! One column family holds `operator id u32 BE ‖ key → value` and, under a key after all operators,
//! the epoch of the delta applied last. RocksDB's own log is off: the node journal is the log. So a
//! crash takes what was in memtables, and the epoch read on open says from where the journal's deltas
//! are to be applied again.
//!
//! Invariants: a delta and its epoch are in one write batch; with one column family memtables reach the
//! disk in the order of writing, so what is found after a crash is the state of one epoch.
//!
//! Memory: memtables and block cache together stay under `RocksOptions::memory_bytes`; memtables take
//! memory as they fill.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Options, ReadOptions, WriteBatch, WriteOptions,
};

use super::{Backend, Delta, StateError, Value};
use crate::io::Epoch;

/// After every operator's keys.
const EPOCH_KEY: &[u8] = b"\xff\xff\xff\xffepoch";

#[derive(Clone, Copy, Debug)]
pub struct RocksOptions {
    /// Block cache and memtables together.
    pub memory_bytes: usize,
}

impl Default for RocksOptions {
    fn default() -> Self {
        RocksOptions { memory_bytes: 128 << 20 }
    }
}

pub struct RocksStore {
    db: Arc<DB>,
    epoch: AtomicU64,
    unflushed: AtomicUsize,
}

impl RocksStore {
    /// Opens or creates the state in `path`.
    ///
    /// # Errors
    /// When RocksDB finds damage or the directory cannot be used.
    pub fn open(path: &Path, options: RocksOptions) -> Result<RocksStore, StateError> {
        let db = DB::open(&db_options(options), path).map_err(failed)?;
        let epoch = match db.get(EPOCH_KEY).map_err(failed)? {
            None => 0,
            Some(bytes) => u64::from_be_bytes(
                bytes.as_slice().try_into().map_err(|_| StateError::Damaged("the epoch".into()))?,
            ),
        };
        Ok(RocksStore {
            db: Arc::new(db),
            epoch: AtomicU64::new(epoch),
            unflushed: AtomicUsize::new(0),
        })
    }

    /// Makes a consistent image of the applied state in the directory `path`, which must not exist.
    ///
    /// # Errors
    /// When RocksDB cannot write it.
    pub fn checkpoint(&self, path: &Path) -> Result<Epoch, StateError> {
        let epoch = self.flush()?;
        let checkpoint = rocksdb::checkpoint::Checkpoint::new(&self.db).map_err(failed)?;
        checkpoint.create_checkpoint(path).map_err(failed)?;
        Ok(epoch)
    }
}

fn db_options(options: RocksOptions) -> Options {
    let cache = Cache::new_lru_cache(options.memory_bytes / 2);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&cache);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(6);
    let mut db = Options::default();
    db.create_if_missing(true);
    db.set_paranoid_checks(true);
    db.set_compression_type(DBCompressionType::Lz4);
    db.set_block_based_table_factory(&table);
    db.set_db_write_buffer_size(options.memory_bytes / 2);
    db.set_write_buffer_size(options.memory_bytes / 6);
    db.set_max_write_buffer_number(3);
    db.set_arena_block_size(256 << 10);
    db.set_max_background_jobs(2);
    db.set_max_open_files(256);
    db.set_keep_log_file_num(3);
    db.set_max_log_file_size(4 << 20);
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    db
}

fn failed(error: rocksdb::Error) -> StateError {
    StateError::Failed(error.into_string())
}

impl Backend for RocksStore {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StateError> {
        Ok(self.db.get_pinned(key).map_err(failed)?.map(|v| Value::from(v.as_ref())))
    }

    fn multi_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Value>>, StateError> {
        self.db
            .multi_get(keys)
            .into_iter()
            .map(|found| Ok(found.map_err(failed)?.map(Value::from)))
            .collect()
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StateError> {
        let mut read = ReadOptions::default();
        read.set_iterate_upper_bound(to);
        let mut at = self.db.raw_iterator_opt(read);
        at.seek(from);
        while let Some((key, value)) = at.item() {
            if !visit(key, value) {
                return Ok(());
            }
            at.next();
        }
        at.status().map_err(failed)
    }

    fn apply(&self, delta: &Delta) -> Result<(), StateError> {
        let mut batch = WriteBatch::default();
        for (from, to) in &delta.ranges {
            batch.delete_range(from, to);
        }
        delta.each(&mut |change| match change.value {
            Some(value) => batch.put(change.key, value),
            None => batch.delete(change.key),
        })?;
        batch.put(EPOCH_KEY, delta.epoch.to_be_bytes());
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db.write_opt(batch, &options).map_err(failed)?;
        self.epoch.store(delta.epoch, Ordering::Release);
        self.unflushed.fetch_add(delta.bytes(), Ordering::Relaxed);
        Ok(())
    }

    fn epoch(&self) -> Epoch {
        self.epoch.load(Ordering::Acquire)
    }

    fn flush(&self) -> Result<Epoch, StateError> {
        let epoch = self.epoch();
        self.unflushed.store(0, Ordering::Relaxed);
        self.db.flush().map_err(failed)?;
        Ok(epoch)
    }

    fn unflushed_bytes(&self) -> usize {
        self.unflushed.load(Ordering::Relaxed)
    }
}
