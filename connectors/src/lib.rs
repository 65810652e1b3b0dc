//! Formats, the built-in log as the engine's source and sink, and the session that carries a statement
//! from text to running query.
//!
//! Knows: sql, engine and storage; it is the only place where engine and log meet. Must not know:
//! HTTP, Kafka's sockets.
//!
//! Reading order: [`formats`] (payloads and columns), [`records`] (record batches taken apart),
//! [`log`] (epochs over the built-in log), [`session`] (the node and its statements).

pub mod formats;
pub mod log;
pub mod metrics;
pub mod partitioner;
pub mod records;
pub mod session;
