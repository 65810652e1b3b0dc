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
//!
//! key    = kind u8 (= 85), transactional id (length u32, UTF-8), what u8 (0: a partition, 1: a group),
//!          topic id and partition i32, or the group (length u32, UTF-8)
//! value  = version u8 (= 1), updated i64: it was added to the open transaction
//! ```
//!
//! So what n partitions and groups cost grows as n, not as its square. The two lists of the first kind are
//! empty; they were not in older versions. Kind 85 sorts behind 84: when facts are read in order, the
//! transaction is there first. Its end takes away what was added, in the same journal record.
//!
//! Other kinds are the group coordinator's, of settings and of access.

use bytes::Bytes;

use super::{End, State, Transaction};
use crate::broker::TopicPartition;
use crate::journal::wire::{Put, Take};

const KIND: u8 = 84;
const ADDED: u8 = 85;
const PARTITION: u8 = 0;
const GROUP: u8 = 1;
const VERSION: u8 = 1;
const STATES: [State; 4] =
    [State::Empty, State::Ongoing, State::CompleteCommit, State::CompleteAbort];

/// An entry of the journal: key and value, `None` when it goes.
pub type Entry = (Bytes, Option<Bytes>);

/// One fact about one transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionRecord {
    Changed {
        id: String,
        transaction: Transaction,
    },
    /// The open transaction holds these, too.
    Added {
        id: String,
        partitions: Vec<TopicPartition>,
        groups: Vec<String>,
        updated_ms: i64,
    },
    /// It was not used for `transactional.id.expiration.ms`.
    Forgotten {
        id: String,
    },
}

impl TransactionRecord {
    /// Whether an entry of the journal is of this coordinator.
    pub fn owns(key: &[u8]) -> bool {
        matches_kind(key, KIND) || matches_kind(key, ADDED)
    }

    /// The stored form; what the transaction no longer holds is [`TransactionRecord::taken_away`].
    pub fn to_entries(&self) -> Vec<Entry> {
        let key = |id: &str| {
            let mut key = vec![KIND];
            key.put(id.as_bytes());
            Bytes::from(key)
        };
        match self {
            Self::Changed { id, transaction } => {
                let mut entries = vec![(key(id), Some(encode(transaction).into()))];
                let (partitions, groups) = (&transaction.partitions, &transaction.groups);
                let keys = added_keys(id, partitions.iter(), groups.iter());
                let value = added_value(transaction.updated_ms);
                entries.extend(keys.map(|key| (key, Some(value.clone()))));
                entries
            }
            Self::Added { id, partitions, groups, updated_ms } => {
                let value = added_value(*updated_ms);
                let keys = added_keys(id, partitions.iter(), groups.iter());
                keys.map(|key| (key, Some(value.clone()))).collect()
            }
            Self::Forgotten { id } => vec![(key(id), None)],
        }
    }

    /// What goes from the journal when the transaction of this record's id ends.
    pub fn taken_away(&self, end: &End) -> Vec<Entry> {
        let (Self::Changed { id, .. } | Self::Added { id, .. } | Self::Forgotten { id }) = self;
        let keys = added_keys(id, end.partitions.iter(), end.groups.iter());
        keys.map(|key| (key, None)).collect()
    }

    /// Reads an entry that has a value; `None` when it is malformed.
    pub fn from_entry(key: &[u8], value: &[u8]) -> Option<Self> {
        if matches_kind(key, ADDED) {
            return added(key, value);
        }
        let id = String::from_utf8(key.strip_prefix(&[KIND])?.to_vec()).ok()?;
        Some(Self::Changed { id, transaction: decode(value)? })
    }
}

fn matches_kind(key: &[u8], kind: u8) -> bool {
    key.first() == Some(&kind)
}

fn added_keys<'a>(
    id: &'a str,
    partitions: impl Iterator<Item = &'a TopicPartition> + 'a,
    groups: impl Iterator<Item = &'a String> + 'a,
) -> impl Iterator<Item = Bytes> + 'a {
    let key = |what: u8| {
        let mut key = vec![ADDED];
        key.put_text(id);
        key.put(&[what]);
        key
    };
    let partitions = partitions.map(move |at| {
        let mut key = key(PARTITION);
        key.put_uuid(at.topic);
        key.put_i32(at.partition);
        Bytes::from(key)
    });
    partitions.chain(groups.map(move |group| {
        let mut key = key(GROUP);
        key.put_text(group);
        Bytes::from(key)
    }))
}

fn added_value(updated_ms: i64) -> Bytes {
    let mut value = vec![VERSION];
    value.put_i64(updated_ms);
    Bytes::from(value)
}

fn added(key: &[u8], value: &[u8]) -> Option<TransactionRecord> {
    let mut fields = Take::new(key.strip_prefix(&[ADDED])?);
    let id = fields.text()?;
    let (mut partitions, mut groups) = (Vec::new(), Vec::new());
    match fields.u8()? {
        PARTITION => {
            partitions.push(TopicPartition { topic: fields.uuid()?, partition: fields.i32()? });
        }
        GROUP => groups.push(fields.text()?),
        _ => return None,
    }
    let mut rest = Take::new(value);
    let version = rest.u8()?;
    let updated_ms = rest.i64()?;
    let sound = version == VERSION && fields.is_done() && rest.is_done();
    sound.then_some(TransactionRecord::Added { id, partitions, groups, updated_ms })
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
    out.put_u32(0);
    out.put_u32(0);
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
