//! The meaning of [`Backend`]: a sorted map in memory. Used where nothing need survive, and as what
//! the RocksDB one is compared with.

use std::collections::BTreeMap;

use parking_lot::RwLock;

use super::{Backend, Delta, StateError, Value};
use crate::io::Epoch;

#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: BTreeMap<Vec<u8>, Value>,
    epoch: Epoch,
}

impl Backend for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StateError> {
        Ok(self.inner.read().entries.get(key).cloned())
    }

    fn multi_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Value>>, StateError> {
        let inner = self.inner.read();
        Ok(keys.iter().map(|key| inner.entries.get(key).cloned()).collect())
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StateError> {
        if from >= to {
            return Ok(());
        }
        for (key, value) in self.inner.read().entries.range(from.to_vec()..to.to_vec()) {
            if !visit(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, delta: &Delta) -> Result<(), StateError> {
        let mut inner = self.inner.write();
        for (from, to) in &delta.ranges {
            let doomed: Vec<_> = if from < to {
                inner.entries.range(from.clone()..to.clone()).map(|(k, _)| k.clone()).collect()
            } else {
                vec![]
            };
            for key in doomed {
                inner.entries.remove(&key);
            }
        }
        delta.each(&mut |change| match change.value {
            Some(value) => {
                inner.entries.insert(change.key.to_vec(), value.into());
            }
            None => {
                inner.entries.remove(change.key);
            }
        })?;
        inner.epoch = delta.epoch;
        Ok(())
    }

    fn epoch(&self) -> Epoch {
        self.inner.read().epoch
    }

    fn flush(&self) -> Result<Epoch, StateError> {
        Ok(self.epoch())
    }

    fn unflushed_bytes(&self) -> usize {
        0
    }
}
