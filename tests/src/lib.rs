//! Harnesses that run Millstream from outside: conformance, benchmark and crash runners.
//!
//! Nothing here computes what the product computes, except the oracles, which are plain
//! recomputations: `bench/oracle.rs` counts results, `crash/oracle.rs` knows every row.

pub mod bench;
pub mod conformance;
pub mod crash;
pub mod fuzz;
pub mod hostile;
pub mod http;
pub mod nexmark;
pub mod node;
pub mod reference;
pub mod transactions;
pub mod wire_client;
