//! Harnesses that run Millstream from outside: conformance, benchmark and crash runners.
//!
//! Nothing here computes what the product computes, except the oracles of the crash runner, which
//! are plain recomputations over the input log.

pub mod conformance;
pub mod nexmark;
pub mod wire_client;
