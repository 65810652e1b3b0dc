//! What an operator holds: a sorted map of bytes private to it.
//!
//! A write is visible to the next read at once. It becomes durable when the runtime seals the epoch,
//! and moves to the backend when that is done; until then it stays in `unapplied`, so an epoch may run
//! while the one before is still being sealed. What was read or applied may be kept in a cache of two
//! generations: when the young one is full it becomes the old one, and what was not used since goes.
//!
//! Invariants:
//! - for every key: `unapplied`, else a deleted range, else the cache, else the backend has the truth;
//! - a store that never had entries in the backend (`fresh`) does not ask it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

#[cfg(test)]
use super::Delta;
use super::{DeltaBuilder, SharedBackend, StateError};
use crate::io::Epoch;

/// A value as stores hand it out; cheap to clone.
pub type Value = Arc<[u8]>;

type Cache = HashMap<Box<[u8]>, Option<Value>, RandomState>;

/// A sorted map of bytes, private to one operator.
pub struct StateStore {
    backend: SharedBackend,
    prefix: [u8; 4],
    epoch: Epoch,
    unapplied: BTreeMap<Box<[u8]>, Unapplied>,
    /// Deleted ranges of epochs not yet applied.
    ranges: Vec<(Epoch, Vec<u8>, Vec<u8>)>,
    young: Cache,
    old: Cache,
    young_bytes: usize,
    /// Bytes both generations may hold; 0 keeps nothing.
    cache_limit: usize,
    /// Everything the backend has of this operator is in the cache or `unapplied`.
    complete: bool,
}

struct Unapplied {
    epoch: Epoch,
    value: Option<Value>,
}

/// What an entry costs beyond its bytes.
const OVERHEAD: usize = 64;

impl StateStore {
    /// A store over the part of `backend` that belongs to operator `id`. `cache_limit` bounds the bytes
    /// kept of what was read or written; 0 for operators that keep their own columns.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn open(backend: SharedBackend, id: u32, cache_limit: usize) -> Result<Self, StateError> {
        let prefix = id.to_be_bytes();
        let mut empty = true;
        backend.scan(&prefix, &(id + 1).to_be_bytes(), &mut |_, _| {
            empty = false;
            false
        })?;
        Ok(StateStore {
            backend,
            prefix,
            epoch: 0,
            unapplied: BTreeMap::new(),
            ranges: Vec::new(),
            young: Cache::default(),
            old: Cache::default(),
            young_bytes: 0,
            cache_limit,
            complete: empty,
        })
    }

    /// Whether every entry is known without asking the backend: a key not found is nowhere.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Value>, StateError> {
        if let Some(known) = self.known(key) {
            return Ok(known);
        }
        let value = self.backend.get(&self.whole(key))?;
        self.remember(key, value.clone());
        Ok(value)
    }

    /// The values of `keys`, in their order; what is not known is asked for in one sorted batch.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn multi_get(&mut self, keys: &[&[u8]]) -> Result<Vec<Option<Value>>, StateError> {
        let mut values = vec![None; keys.len()];
        let mut missing = Vec::new();
        for (i, key) in keys.iter().enumerate() {
            match self.known(key) {
                Some(known) => values[i] = known,
                None => missing.push(i),
            }
        }
        if missing.is_empty() {
            return Ok(values);
        }
        missing.sort_unstable_by_key(|&i| keys[i]);
        let whole: Vec<Vec<u8>> = missing.iter().map(|&i| self.whole(keys[i])).collect();
        for (&i, value) in missing.iter().zip(self.backend.multi_get(&whole)?) {
            self.remember(keys[i], value.clone());
            values[i] = value;
        }
        Ok(values)
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.write(key, Some(value.into()));
    }

    pub fn delete(&mut self, key: &[u8]) {
        self.write(key, None);
    }

    /// Deletes all keys with `from <= key < to`: one entry in the journal however many there are.
    pub fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        if from >= to {
            return;
        }
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        let doomed: Vec<_> = self.unapplied.range::<[u8], _>(bounds).map(|(k, _)| k.clone()).collect();
        for key in doomed {
            self.unapplied.remove(&key);
        }
        let inside = |key: &[u8]| from <= key && key < to;
        self.young.retain(|key, _| !inside(key));
        self.old.retain(|key, _| !inside(key));
        self.ranges.push((self.epoch, from.to_vec(), to.to_vec()));
    }

    /// The entries with `from <= key < to` in key order, until `visit` says no.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StateError> {
        if from >= to {
            return Ok(());
        }
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        let mut ours = self.unapplied.range::<[u8], _>(bounds).peekable();
        let mut on = true;
        self.backend.scan(&self.whole(from), &self.whole(to), &mut |whole, value| {
            let key = &whole[self.prefix.len()..];
            while on && let Some((our_key, ours_here)) = ours.next_if(|(k, _)| ***k < *key) {
                if let Some(value) = &ours_here.value {
                    on = visit(our_key, value);
                }
            }
            if !on {
                return false;
            }
            if let Some((_, replaced)) = ours.next_if(|(k, _)| ***k == *key) {
                if let Some(value) = &replaced.value {
                    on = visit(key, value);
                }
            } else if !self.in_deleted_range(key) {
                on = visit(key, value);
            }
            on
        })?;
        for (key, entry) in ours {
            if !on {
                break;
            }
            if let Some(value) = &entry.value {
                on = visit(key, value);
            }
        }
        Ok(())
    }

    /// All entries whose key starts with `prefix`, in key order.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn scan_prefix(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StateError> {
        let mut found = Vec::new();
        self.scan(prefix, &after_prefix(prefix), &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            true
        })?;
        Ok(found)
    }

    fn whole(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, key].concat()
    }

    fn in_deleted_range(&self, key: &[u8]) -> bool {
        self.ranges.iter().any(|(_, from, to)| from.as_slice() <= key && key < to.as_slice())
    }

    /// What is known of `key` without asking the backend.
    fn known(&mut self, key: &[u8]) -> Option<Option<Value>> {
        if let Some(entry) = self.unapplied.get(key) {
            return Some(entry.value.clone());
        }
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.young_bytes += OVERHEAD + key.len() + value.as_ref().map_or(0, |v| v.len());
            self.young.insert(key, value.clone());
            return Some(value);
        }
        (self.complete || self.in_deleted_range(key)).then_some(None)
    }

    fn remember(&mut self, key: &[u8], value: Option<Value>) {
        if self.cache_limit == 0 {
            return;
        }
        self.young_bytes += OVERHEAD + key.len() + value.as_ref().map_or(0, |v| v.len());
        self.young.insert(key.into(), value);
        if self.young_bytes > self.cache_limit / 2 {
            if self.old.values().any(Option::is_some) {
                self.complete = false;
            }
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }

    fn write(&mut self, key: &[u8], value: Option<Value>) {
        self.unapplied.insert(key.into(), Unapplied { epoch: self.epoch, value });
    }
}

/// The runtime's half.
impl StateStore {
    /// From now on writes belong to `epoch`.
    pub fn begin(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// Adds the running epoch's changes to `delta`, in key order.
    pub fn gather(&self, delta: &mut DeltaBuilder) {
        for (epoch, from, to) in &self.ranges {
            if *epoch == self.epoch {
                delta.delete_range(self.whole(from), self.whole(to));
            }
        }
        for (key, entry) in &self.unapplied {
            if entry.epoch == self.epoch {
                delta.change(&self.prefix, key, entry.value.as_deref());
            }
        }
    }

    /// Learns that the backend has everything up to `epoch`.
    pub fn applied(&mut self, epoch: Epoch) {
        self.ranges.retain(|(of, ..)| *of > epoch);
        let newest = self.unapplied.values().map(|e| e.epoch).max().unwrap_or(0);
        let done = if newest <= epoch {
            std::mem::take(&mut self.unapplied)
        } else {
            let (done, kept) = std::mem::take(&mut self.unapplied)
                .into_iter()
                .partition(|(_, e): &(Box<[u8]>, Unapplied)| e.epoch <= epoch);
            self.unapplied = kept;
            done
        };
        if self.cache_limit == 0 {
            if !done.is_empty() {
                self.complete = false;
            }
            return;
        }
        for (key, entry) in done {
            self.old.remove(&key);
            // In a complete store an absent key needs no entry.
            if self.complete && entry.value.is_none() {
                self.young.remove(&key);
            } else {
                self.remember(&key, entry.value);
            }
        }
    }

    /// Forgets the running epoch's changes, as a crash would. Epochs before must be applied.
    pub fn roll_back(&mut self) {
        let epoch = self.epoch;
        self.unapplied.retain(|_, entry| entry.epoch < epoch);
        self.ranges.retain(|(of, ..)| *of < epoch);
        self.young.clear();
        self.old.clear();
        self.young_bytes = 0;
        self.complete = false;
    }
}

/// The first key after all keys that start with `prefix`.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return end;
        }
        end.pop();
    }
    vec![u8::MAX; 64]
}

/// Applies a payload to `backend` as the journal's replay would.
#[cfg(test)]
pub(crate) fn apply_payload(
    backend: &SharedBackend,
    payload: &bytes::Bytes,
) -> Result<Epoch, StateError> {
    let delta = Delta::decode(payload)?;
    backend.apply(&delta)?;
    Ok(delta.epoch)
}
