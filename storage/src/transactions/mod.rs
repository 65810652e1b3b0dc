//! The transaction coordinator: who may write under a transactional id, and what an open transaction
//! holds.
//!
//! It does no I/O, has no clock and takes no lock. A request is served by *decide* (which changes
//! nothing), writing what was decided to the node journal, and *apply*. A restart applies the newest
//! fact of each transactional id again, so a coordinator after a restart is the one before it.
//!
//! On one node the end of a transaction is one journal record ([`crate::Broker::end_transaction`]):
//! the markers of all partitions, the group's pending offsets becoming committed, and the new state
//! here. So Kafka's states Prepare… do not exist: between Ongoing and Complete… there is nothing.
//!
//! ```text
//!            add partitions, offsets            end            add again
//!   Empty ──────────────────────────► Ongoing ─────► Complete… ─────────► Ongoing
//!     ▲                                  │               │
//!     └── a new instance of the producer ┴───────────────┘   (fences the older one)
//! ```
//!
//! Both protocols are served. In the old one a client names its partitions first
//! (AddPartitionsToTxn, AddOffsetsToTxn), and its epoch changes only with a new instance. In the
//! second (KIP-890, `transaction.version` 2) the first batch adds its partition, and each end moves
//! the epoch up, so that what was delayed on the network can never reach a later transaction.
//!
//! - `init.rs`: InitProducerId; `add.rs`: what belongs to a transaction; `end.rs`: how it ends
//! - `expire.rs`: what time does; `records.rs`: the stored form
//!
//! Invariants: an epoch never goes back under one producer id, and 32767 is never given to a client;
//! a transaction that is not Ongoing holds no partitions and no groups.

mod add;
mod end;
mod expire;
mod init;
pub mod records;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::TopicPartition;
use crate::error::ErrorCode;
use crate::log::control::Marker;
pub use records::TransactionRecord;

/// "None", where a request or a state may carry a producer id or epoch.
pub const NO_PRODUCER_ID: i64 = -1;
pub const NO_EPOCH: i16 = -1;
/// The last epoch a client may be given; the one after it is for fencing (Kafka
/// `TransactionMetadata.isEpochExhausted`).
const EPOCH_LAST: i16 = i16::MAX - 1;
/// One coordinator, which never changes hands.
const COORDINATOR_EPOCH: i32 = 0;

/// Settings of the coordinator.
#[derive(Clone, Debug)]
pub struct TransactionConfig {
    /// `transaction.max.timeout.ms`
    pub timeout_max_ms: i32,
    /// How long a transactional id is remembered without use, ms
    /// (`transactional.id.expiration.ms`).
    pub id_expiry_ms: i64,
}

impl TransactionConfig {
    /// Kafka's defaults.
    pub fn standard() -> Self {
        Self { timeout_max_ms: 900_000, id_expiry_ms: 7 * 24 * 3_600_000 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Initialized, and nothing in it yet.
    Empty,
    Ongoing,
    CompleteCommit,
    CompleteAbort,
}

impl State {
    /// Kafka's name, as DescribeTransactions and ListTransactions give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }
}

/// What is known of one transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub producer_id: i64,
    pub epoch: i16,
    /// The producer id before the epochs ran out; −1 if they never did.
    pub previous_producer_id: i64,
    /// The epoch before the last change, by which a client's repetition is known; −1 if a new instance
    /// took over.
    pub last_epoch: i16,
    pub timeout_ms: i32,
    pub state: State,
    pub partitions: BTreeSet<TopicPartition>,
    /// Groups whose offsets belong to the transaction.
    pub groups: BTreeSet<String>,
    /// When the transaction began, ms since 1970; −1 if none is open.
    pub started_ms: i64,
    pub updated_ms: i64,
}

/// What a call comes to.
#[derive(Debug)]
pub struct Decision<R> {
    pub response: R,
    /// To be written to the journal, each in one record, then given to [`Transactions::apply`].
    pub steps: Vec<Step>,
}

impl<R> Decision<R> {
    /// Nothing changes.
    fn only(response: R) -> Self {
        Self { response, steps: Vec::new() }
    }

    fn one(response: R, record: TransactionRecord, end: Option<End>) -> Self {
        Self { response, steps: vec![Step { record, end }] }
    }
}

/// A change, and the end of a transaction that goes with it.
#[derive(Debug)]
pub struct Step {
    pub record: TransactionRecord,
    pub end: Option<End>,
}

/// How a transaction ends, and where.
#[derive(Debug)]
pub struct End {
    pub marker: Marker,
    pub partitions: Vec<TopicPartition>,
    pub groups: BTreeSet<String>,
}

/// In whose name a client asks.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    pub id: &'a str,
    pub producer_id: i64,
    pub epoch: i16,
}

/// Gives a producer id never used before. Called only when one is needed.
pub type FreshId<'a> = &'a mut dyn FnMut() -> Result<i64, ErrorCode>;

/// All transactional ids of the node.
#[derive(Clone, Debug)]
pub struct Transactions {
    config: TransactionConfig,
    by_id: BTreeMap<String, Transaction>,
}

impl Transactions {
    pub fn new(config: TransactionConfig) -> Self {
        Self { config, by_id: BTreeMap::new() }
    }

    /// Takes in one fact that is in the journal.
    pub fn apply(&mut self, record: &TransactionRecord) {
        match record {
            TransactionRecord::Changed { id, transaction } => {
                self.by_id.insert(id.clone(), transaction.clone());
            }
            TransactionRecord::Added { id, partitions, groups, updated_ms } => {
                // Kept only while the transaction is open, so it is there.
                if let Some(transaction) = self.by_id.get_mut(id) {
                    transaction.partitions.extend(partitions);
                    transaction.groups.extend(groups.iter().cloned());
                    transaction.updated_ms = transaction.updated_ms.max(*updated_ms);
                }
            }
            TransactionRecord::Forgotten { id } => {
                self.by_id.remove(id);
            }
        }
    }

    pub fn get(&self, id: &str) -> Option<&Transaction> {
        self.by_id.get(id)
    }

    /// All transactional ids, in order.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Transaction)> {
        self.by_id.iter().map(|(id, transaction)| (id.as_str(), transaction))
    }

    /// The transaction a producer speaks of.
    fn of(&self, by: &By<'_>) -> Result<&Transaction, ErrorCode> {
        if by.id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let found = self.by_id.get(by.id).ok_or(ErrorCode::InvalidProducerIdMapping)?;
        Ok(found)
    }
}

impl Transaction {
    /// Ends what is open. `epoch` is the markers'.
    fn end(&self, epoch: i16, commit: bool) -> Option<End> {
        (self.state == State::Ongoing).then(|| End {
            marker: Marker {
                producer_id: self.producer_id,
                producer_epoch: epoch,
                coordinator_epoch: COORDINATOR_EPOCH,
                commit,
            },
            partitions: self.partitions.iter().copied().collect(),
            groups: self.groups.clone(),
        })
    }

    /// The same with nothing open.
    fn closed(&self, state: State, now_ms: i64) -> Self {
        Self {
            state,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            started_ms: -1,
            updated_ms: now_ms,
            ..self.clone()
        }
    }

    fn is_exhausted(&self) -> bool {
        self.epoch >= EPOCH_LAST
    }
}
