//! Runs query cases in ksqlDB's file format against the real planner, engine and formats.
//!
//! Life of a case: [`case`] reads and expands it → [`world`] plans its statements as a session would →
//! [`execute`] feeds the inputs through each query ([`dataflow`]) and collects what comes out → [`compare`] and
//! [`post`] say the first difference → [`runner`] runs many, [`account`] adds up. [`functions`] are those of ksqlDB's
//! own tests, which only the runner knows. [`json`] is the reader that loses nothing,
//! [`payload`] turns JSON nodes into record bytes and back.

pub mod account;
pub mod case;
pub mod compare;
pub mod dataflow;
pub mod execute;
pub mod functions;
pub mod json;
pub mod payload;
pub mod post;
pub mod runner;
pub mod world;
