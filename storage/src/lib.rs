//! The partitioned log, the node journal and Kafka's request handlers.
//!
//! Knows nothing of SQL, sockets or async. Time, the disk and randomness are arguments.
//!
//! - [`broker`] is the door: topics, append, read, seal, checkpoint
//! - [`journal`] is the one commit point of the node; everything else is derived from it
//! - [`log`] keeps partitions in Kafka's segment files
//! - [`topics`] knows Kafka's topic settings
//! - [`dump`] says what the files hold
//! - [`disk`] is the only place that touches files
//! - [`security`] says who may log in and do what
//! - [`coordinator`] keeps groups, [`transactions`] transactional ids
//! - [`kafka`] answers Kafka's requests on top of them

pub mod broker;
pub mod config;
pub mod coordinator;
pub mod disk;
pub mod dump;
pub mod error;
pub mod journal;
pub mod kafka;
pub mod log;
pub mod security;
mod setting;
pub mod topics;
pub mod transactions;

pub use broker::{
    Appended, Broker, Clock, Isolation, Read, Recovered, Seal, Sealed, Ticket, TopicPartition,
    WakeKey, Wakes,
};
pub use config::{Durability, StorageConfig};
pub use disk::{Disk, MemDisk, RealDisk};
pub use error::{Error, ErrorCode, ErrorKind, Refused};
pub use topics::{Topic, TopicConfig};
