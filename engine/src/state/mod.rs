//! State: sorted bytes that survive.
//!
//! Three layers, each one file:
//! - [`StateStore`] (`store.rs`) is what an operator holds: a sorted map private to it, with the
//!   changes of epochs that are not yet applied, and a bounded cache of what was read;
//! - [`NodeState`] (`node.rs`) is what the runtime holds: it hands out stores, gathers their changes
//!   at the end of an epoch into one [`Delta`], and applies a delta once the journal has it;
//! - [`Backend`] is where applied deltas are: [`MemoryStore`] or [`RocksStore`].
//!
//! The node journal is the write-ahead log: a delta is the payload of its epoch's seal. A backend may
//! forget its newest epochs in a crash, never older ones; [`NodeState::recover`] applies them again
//! and refuses if the journal no longer holds them.
//!
//! Invariant: nothing reaches a backend before its epoch is durable in the journal.

mod delta;
mod memory;
mod node;
mod rocks;
mod sizes;
mod store;

#[cfg(test)]
mod contract;

use std::sync::Arc;

pub(crate) use delta::{put_bytes, put_varint, take, take_bytes, take_varint};
pub use delta::{Change, Delta, DeltaBuilder};
pub use memory::MemoryStore;
pub use node::{NodeState, OperatorId};
pub use rocks::{RocksOptions, RocksStore};
pub use sizes::{StoreSize, store_sizes};
pub use store::{StateStore, Value};

use crate::io::Epoch;

/// Why state cannot be read or kept. All of them stop what depends on the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error("the state store failed: {0}")]
    Failed(String),
    /// Bytes that this version did not write, or that were damaged.
    #[error("damaged state: {0}")]
    Damaged(String),
    /// The state is older than the oldest change the journal still holds.
    #[error(
        "state is at epoch {state}, but the journal's oldest kept change follows epoch {journal}: \
         epochs between are lost; restore a checkpoint"
    )]
    Gap { state: Epoch, journal: Epoch },
    /// The state is newer than the journal: one of them comes from another time or machine.
    #[error("state is at epoch {state}, but the journal ends at epoch {journal}")]
    Ahead { state: Epoch, journal: Epoch },
}

/// Where applied deltas are: a sorted map of bytes, shared by all operators of the node.
pub trait Backend: Send + Sync {
    /// # Errors
    /// When the medium fails.
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StateError>;

    /// The values of `keys`, in their order. Faster when the keys are sorted.
    ///
    /// # Errors
    /// When the medium fails.
    fn multi_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Value>>, StateError>;

    /// Shows `visit` the entries with `from <= key < to` in key order, until it says no.
    ///
    /// # Errors
    /// When the medium fails.
    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StateError>;

    /// Makes all of a delta's changes and its epoch visible, or none of them.
    ///
    /// # Errors
    /// When the medium fails.
    fn apply(&self, delta: &Delta) -> Result<(), StateError>;

    /// The epoch of the delta applied last; 0 if none.
    fn epoch(&self) -> Epoch;

    /// Makes what was applied survive without the journal; returns the epoch that does.
    ///
    /// # Errors
    /// When the medium fails.
    fn flush(&self) -> Result<Epoch, StateError>;

    /// About how many bytes were applied since the last flush.
    fn unflushed_bytes(&self) -> usize;
}

/// A backend shared by the stores of a node.
pub type SharedBackend = Arc<dyn Backend>;
