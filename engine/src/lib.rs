//! Runs dataflows: operators over Arrow batches, state in RocksDB, one commit per epoch.
//!
//! Knows: plans (from `millstream-sql`), rows, operators, state stores, epochs, snapshots for pull
//! queries. Must not know: offsets, topics, formats, sockets, async. What holds inputs and outputs is
//! behind [`io::EpochIo`].

pub mod io;
pub mod rows;
