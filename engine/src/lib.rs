//! Runs dataflows: operators over Arrow batches, state in RocksDB, one commit per epoch.
//!
//! Knows: plans (from `millstream-sql`), rows, operators, state stores, epochs, snapshots for pull
//! queries. Must not know: offsets, topics, formats, sockets, async. What holds inputs and outputs is
//! behind [`io::EpochIo`].
//!
//! Reading order: [`rows`] (what is computed with), [`operator`] and [`operators`] (who computes),
//! [`state`] (what survives), [`graph`] (one query), [`runtime`] (all of them, in epochs), [`snapshot`]
//! (looking in from outside).

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod codec;
mod error;
pub mod graph;
pub mod io;
pub mod operator;
pub mod operators;
pub mod rows;
pub mod runtime;
pub mod snapshot;
pub mod state;

pub use error::{EngineError, Result};

#[cfg(test)]
mod tests;
