//! SQL text → statement → catalog → plan; types, expressions and functions.
//!
//! Knows: ksqlDB's grammar and rules, what relations exist (a value), how expressions are evaluated
//! over Arrow batches. Must not know: files, sockets, clocks, threads, RocksDB, the log. Everything
//! here is a function of its arguments; a plan is a function of statement and catalog.
//!
//! Reading order: [`types`], [`syntax`] (text to AST), [`catalog`] (what exists), [`expr`] (typed
//! expressions, functions, aggregates), [`plan`] (AST and catalog to dataflow), [`error`].

pub mod catalog;
pub mod error;
pub mod expr;
pub mod plan;
pub mod syntax;
pub mod types;

pub use error::{ErrorKind, Result, SqlError};
