//! The binary's parts: sockets, HTTP, configuration, the command line, start and stop.
//!
//! Knows: the public face of every other crate. Must not know: the inside of any of them. Here, and
//! only here, are threads started, clocks read and signals handled.

pub mod cli;
pub mod clock;
pub mod demo;
pub mod dump_log;
pub mod http;
pub mod kafka_client;
pub mod kafka_listener;
pub mod listeners;
pub mod metrics;
pub mod run;
pub mod security;
pub mod shell;
pub mod tls;
pub mod tools;
