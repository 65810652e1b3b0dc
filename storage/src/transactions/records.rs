//! The stored form of a transactional id.
//!
//! The journal keeps the newest value of each key, as a compacted topic does:
//!
//! ```text
//! key    = kind u8 (= 84), transactional id (UTF-8)
//! value  = version u8 (= 1), producer id i64, epoch i16, previous producer id i64, last epoch i16,
//!          timeout i32 (ms), state u8, started i64, updated i64 (ms since 1970, −1: none),
//!          partitions u32, (topic id, partition i32)*, groups u32, (length u32, UTF-8)*
//! state  = 0 Empty, 1 Ongoing, 2 CompleteCommit, 3 CompleteAbort
//! ```
//!
//! Other kinds are the group coordinator's, of settings and of access.

use bytes::Bytes;

use super::{State, Transaction};
use crate::broker::TopicPartition;
use crate::journal::wire::{Put, Take};

const KIND: u8 = 84;
const VERSION: u8 = 1;
const STATES: [State; 4] =
    [State::Empty, State::Ongoing, State::CompleteCommit, State::CompleteAbort];

/// One fact about one transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionRecord {
    Changed {
        id: String,
        transaction: Transaction,
    },
    /// It was not used for `transactional.id.expiration.ms`.
    Forgotten {
        id: String,
    },
}

impl TransactionRecord {
    /// Whether an entry of the journal is of this coordinator.
    pub fn owns(key: &[u8]) -> bool {
        key.first() == Some(&KIND)
    }

    /// The stored form.
    pub fn to_entry(&self) -> (Bytes, Option<Bytes>) {
        let key = |id: &str| {
            let mut key = vec![KIND];
            key.put(id.as_bytes());
            Bytes::from(key)
        };
        match self {
            Self::Changed { id, transaction } => (key(id), Some(encode(transaction).into())),
            Self::Forgotten { id } => (key(id), None),
        }
    }

    /// Reads an entry that has a value; `None` when it is malformed.
    pub fn from_entry(key: &[u8], value: &[u8]) -> Option<Self> {
        let id = String::from_utf8(key.strip_prefix(&[KIND])?.to_vec()).ok()?;
        Some(Self::Changed { id, transaction: decode(value)? })
    }
}

fn encode(transaction: &Transaction) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.put_i64(transaction.producer_id);
    out.put_u16(transaction.epoch as u16);
    out.put_i64(transaction.previous_producer_id);
    out.put_u16(transaction.last_epoch as u16);
    out.put_i32(transaction.timeout_ms);
    let state = STATES.iter().position(|state| *state == transaction.state).unwrap_or(0);
    out.put(&[state as u8]);
    out.put_i64(transaction.started_ms);
    out.put_i64(transaction.updated_ms);
    out.put_u32(transaction.partitions.len() as u32);
    for at in &transaction.partitions {
        out.put_uuid(at.topic);
        out.put_i32(at.partition);
    }
    out.put_u32(transaction.groups.len() as u32);
    transaction.groups.iter().for_each(|group| out.put_text(group));
    out
}

fn decode(value: &[u8]) -> Option<Transaction> {
    let mut fields = Take::new(value);
    if fields.u8()? != VERSION {
        return None;
    }
    let transaction = Transaction {
        producer_id: fields.i64()?,
        epoch: fields.i16()?,
        previous_producer_id: fields.i64()?,
        last_epoch: fields.i16()?,
        timeout_ms: fields.i32()?,
        state: *STATES.get(usize::from(fields.u8()?))?,
        started_ms: fields.i64()?,
        updated_ms: fields.i64()?,
        partitions: fields
            .list(|fields| {
                Some(TopicPartition { topic: fields.uuid()?, partition: fields.i32()? })
            })?
            .into_iter()
            .collect(),
        groups: fields.list(Take::text)?.into_iter().collect(),
    };
    fields.is_done().then_some(transaction)
}
