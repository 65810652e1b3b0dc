//! How much state a query has, for EXPLAIN: counted in the backend, without asking the engine's thread.
//!
//! What is counted is the state of the epoch applied last. Counting reads every entry, so it stops at
//! a million per operator.

use super::node::{decode_id, meta_key};
use super::store::after_prefix;
use super::{Backend, StateError};

/// Entries counted of one operator.
const ENTRIES_MAX: u64 = 1_000_000;

/// The state of one operator of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSize {
    /// Kind and place among its kind: `Aggregate/0`.
    pub operator: String,
    pub entries: u64,
    /// Of keys and values, uncompressed.
    pub bytes: u64,
    /// Counting stopped at a million: there is more.
    pub more: bool,
}

/// The state of each operator of a query, by name.
///
/// # Errors
/// When the backend fails or is damaged.
pub fn store_sizes(backend: &dyn Backend, query: &str) -> Result<Vec<StoreSize>, StateError> {
    let mut from = 0u32.to_be_bytes().to_vec();
    from.extend_from_slice(&meta_key(b'n', query, ""));
    let mut operators = Vec::new();
    backend.scan(&from, &after_prefix(&from), &mut |key, id| {
        let name = String::from_utf8_lossy(&key[from.len()..]).into_owned();
        operators.push((name, id.to_vec()));
        true
    })?;
    let mut sizes = Vec::with_capacity(operators.len());
    for (operator, id) in operators {
        let id = decode_id(&id)?;
        let mut size = StoreSize { operator, entries: 0, bytes: 0, more: false };
        let prefix = id.to_be_bytes();
        backend.scan(&prefix, &after_prefix(&prefix), &mut |key, value| {
            size.more = size.entries == ENTRIES_MAX;
            if !size.more {
                size.entries += 1;
                size.bytes += (key.len() - prefix.len() + value.len()) as u64;
            }
            !size.more
        })?;
        sizes.push(size);
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Delta, MemoryStore, NodeState};
    use std::sync::Arc;

    #[test]
    fn the_entries_of_each_operator_are_counted() {
        let backend = Arc::new(MemoryStore::default());
        let mut node = NodeState::open(backend.clone()).unwrap();
        let (first, mut one) = node.store("Q", "Aggregate/0", 0).unwrap();
        let (second, mut two) = node.store("Q", "Join/0", 0).unwrap();
        let (other, mut three) = node.store("QQ", "Aggregate/0", 0).unwrap();
        one.put(b"key", b"value");
        one.put(b"k", b"v");
        three.put(b"x", b"y");
        let stores = [(first, &mut one), (second, &mut two), (other, &mut three)];
        let (_, payload) = node.finish(stores);
        backend.apply(&Delta::decode(&payload).unwrap()).unwrap();
        let size = |operator: &str, entries, bytes| StoreSize {
            operator: operator.into(),
            entries,
            bytes,
            more: false,
        };
        let sizes = store_sizes(&*backend, "Q").unwrap();
        assert_eq!(sizes, [size("Aggregate/0", 2, 10), size("Join/0", 0, 0)]);
        assert_eq!(store_sizes(&*backend, "none").unwrap(), []);
    }
}
