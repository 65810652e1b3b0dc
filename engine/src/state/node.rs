//! The state of all queries of a node: who owns which keys, and one delta per epoch.
//!
//! Operators are known by query and name (`Aggregate/0`: kind and place among its kind), so that a
//! query planned again finds its state. Operator 0 is the node itself:
//!
//! ```text
//! 'i'                          → next operator id, u32 BE
//! 'n' query 0 operator         → operator id, u32 BE
//! 'p' query 0 source           → what the runtime keeps about a source: its position and more
//! ```
//!
//! Invariant: positions and state of an epoch are in the same delta, so no input counts twice.

use std::sync::Arc;

use bytes::Bytes;

use super::store::after_prefix;
use super::{Delta, DeltaBuilder, MemoryStore, SharedBackend, StateError, StateStore};
use crate::io::Epoch;

/// The number that an operator's keys begin with.
pub type OperatorId = u32;

/// What the meta store may cache.
const META_CACHE: usize = 4 << 20;

pub struct NodeState {
    backend: SharedBackend,
    meta: StateStore,
    /// Operators whose keys go with the running epoch.
    doomed: Vec<OperatorId>,
    /// The epoch sealed last, applied or not.
    last: Epoch,
}

impl NodeState {
    /// # Errors
    /// When the backend fails.
    pub fn open(backend: SharedBackend) -> Result<NodeState, StateError> {
        let meta = StateStore::open(backend.clone(), 0, META_CACHE)?;
        let last = backend.epoch();
        let mut node = NodeState { backend, meta, doomed: Vec::new(), last };
        node.meta.begin(last + 1);
        Ok(node)
    }

    /// State that does not survive.
    ///
    /// # Errors
    /// Never: memory does not fail.
    pub fn in_memory() -> Result<NodeState, StateError> {
        NodeState::open(Arc::new(MemoryStore::default()))
    }

    /// Brings the backend up to the journal: applies the payloads it has forgotten, oldest first.
    /// `last_epoch` is the newest epoch the journal knows of, 0 if none. Returns how many were applied.
    ///
    /// # Errors
    /// [`StateError::Gap`] if a forgotten epoch is no longer in the journal, [`StateError::Ahead`] if
    /// the state is newer than the journal, [`StateError::Damaged`] for a payload that is none.
    pub fn recover<'a>(
        backend: SharedBackend,
        payloads: impl IntoIterator<Item = &'a Bytes>,
        last_epoch: Epoch,
    ) -> Result<(NodeState, usize), StateError> {
        let mut applied = 0;
        if backend.epoch() > last_epoch {
            return Err(StateError::Ahead { state: backend.epoch(), journal: last_epoch });
        }
        for payload in payloads {
            let delta = Delta::decode(payload)?;
            let state = backend.epoch();
            if delta.epoch <= state {
                continue;
            }
            if delta.prev != state {
                return Err(StateError::Gap { state, journal: delta.prev });
            }
            backend.apply(&delta)?;
            applied += 1;
        }
        if backend.epoch() < last_epoch {
            return Err(StateError::Gap { state: backend.epoch(), journal: last_epoch });
        }
        Ok((NodeState::open(backend)?, applied))
    }

    pub fn backend(&self) -> &SharedBackend {
        &self.backend
    }

    /// The epoch sealed last, also if it is not applied yet.
    pub fn last_epoch(&self) -> Epoch {
        self.last
    }

    /// Opens the store of an operator of a query; gives it a number if it has none.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn store(
        &mut self,
        query: &str,
        operator: &str,
        cache_limit: usize,
    ) -> Result<(OperatorId, StateStore), StateError> {
        let name = meta_key(b'n', query, operator);
        let id = match self.meta.get(&name)? {
            Some(id) => decode_id(&id)?,
            None => {
                let id = match self.meta.get(b"i")? {
                    Some(next) => decode_id(&next)?,
                    None => 1,
                };
                self.meta.put(b"i", &(id + 1).to_be_bytes());
                self.meta.put(&name, &id.to_be_bytes());
                id
            }
        };
        let mut store = StateStore::open(self.backend.clone(), id, cache_limit)?;
        store.begin(self.last + 1);
        Ok((id, store))
    }

    /// What was kept about a source of a query.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn source(&mut self, query: &str, source: &str) -> Result<Option<super::Value>, StateError> {
        self.meta.get(&meta_key(b'p', query, source))
    }

    /// Keeps `bytes` about a source of a query, with the running epoch.
    pub fn set_source(&mut self, query: &str, source: &str, bytes: &[u8]) {
        self.meta.put(&meta_key(b'p', query, source), bytes);
    }

    /// Drops all that is kept of a query, with the running epoch.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn forget_query(&mut self, query: &str) -> Result<(), StateError> {
        for (key, id) in self.meta.scan_prefix(&meta_key(b'n', query, ""))? {
            self.doomed.push(decode_id(&id)?);
            self.meta.delete(&key);
        }
        for (key, _) in self.meta.scan_prefix(&meta_key(b'p', query, ""))? {
            self.meta.delete(&key);
        }
        Ok(())
    }

    /// The queries that something is kept of.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn queries(&self) -> Result<Vec<String>, StateError> {
        let mut names = Vec::new();
        for kind in [b"n".as_slice(), b"p"] {
            self.meta.scan(kind, &after_prefix(kind), &mut |key, _| {
                let name = key[1..].split(|b| *b == 0).next().unwrap_or_default();
                names.push(String::from_utf8_lossy(name).into_owned());
                true
            })?;
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Ends the running epoch: the changes of `stores` and of the node as a payload for the journal.
    /// The next epoch begins.
    pub fn finish<'a>(
        &mut self,
        stores: impl IntoIterator<Item = (OperatorId, &'a mut StateStore)>,
    ) -> (Epoch, Bytes) {
        let (prev, epoch) = (self.last, self.last + 1);
        let mut delta = DeltaBuilder::default();
        for id in self.doomed.drain(..) {
            delta.delete_range(id.to_be_bytes().to_vec(), (id + 1).to_be_bytes().to_vec());
        }
        self.meta.gather(&mut delta);
        self.meta.begin(epoch + 1);
        let mut stores: Vec<_> = stores.into_iter().collect();
        stores.sort_by_key(|(id, _)| *id);
        for (_, store) in stores {
            store.gather(&mut delta);
            store.begin(epoch + 1);
        }
        self.last = epoch;
        (epoch, delta.finish(prev, epoch))
    }

    /// Applies a durable epoch to the backend; the stores must be told by [`StateStore::applied`].
    ///
    /// # Errors
    /// When the backend fails.
    pub fn apply(&mut self, payload: &Bytes) -> Result<Epoch, StateError> {
        let delta = Delta::decode(payload)?;
        self.backend.apply(&delta)?;
        self.meta.applied(delta.epoch);
        Ok(delta.epoch)
    }
}

pub(super) fn meta_key(kind: u8, query: &str, rest: &str) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(query.as_bytes());
    key.push(0);
    key.extend_from_slice(rest.as_bytes());
    key
}

pub(super) fn decode_id(bytes: &[u8]) -> Result<OperatorId, StateError> {
    let bytes = bytes.try_into().map_err(|_| StateError::Damaged("an operator's number".into()))?;
    Ok(u32::from_be_bytes(bytes))
}
