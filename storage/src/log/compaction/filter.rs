//! What compaction leaves of a batch.
//!
//! Kafka's rules (`Cleaner.cleanInto`, `MemoryRecords.filterTo`, `CleanedTransactionMetadata`), in
//! the order in which a batch meets them:
//! - data of an aborted transaction goes
//! - a marker goes when no batch of its transaction was met in this round and its horizon has passed
//! - of the rest a record stays when it is the newest of its key and is no tombstone whose horizon
//!   has passed; without a key it goes; beyond what the key map knows everything stays
//! - a batch with tombstones, or a marker without transaction, gets its horizon (now +
//!   `delete.retention.ms`) when a round first meets it so, in its base timestamp
//! - a batch without records goes too, unless it is the last of an active producer, or the last
//!   of its segment: then its header stays
//!
//! Offsets, the batch's first and last offset, timestamps and sequences never change.

use std::collections::BTreeSet;

use bytes::Bytes;
use hashbrown::HashMap;

use super::super::batch::{
    BatchError, BatchHeader, DELETE_HORIZON, HEADER_BYTES, LENGTH_END, NO_TIMESTAMP, Record,
    RecordIter, records,
};
use super::super::builder::{put_varlong, varlong_bytes};
use super::super::compression::{Codec, compress};
use super::super::control::Marker;
use super::super::{Aborted, producers::LastOfProducer};
use super::DECOMPRESSED_MAX;
use super::keymap::KeyMap;

/// The decisions of one round over one partition. Batches are shown to it in the order of the log.
pub(super) struct Filter<'a> {
    pub map: &'a KeyMap,
    pub now_ms: i64,
    pub delete_retention_ms: i64,
    pub producers: &'a HashMap<i64, LastOfProducer>,
    pub transactions: Transactions,
}

/// What is left of a batch.
#[derive(Debug, PartialEq)]
pub(super) enum Left {
    /// All of it, byte for byte.
    Same,
    /// Another batch in its place.
    Changed(Bytes),
    Nothing,
}

impl Filter<'_> {
    /// `batch` is whole and its checksum was checked. `is_last`: the batch after which its segment ends.
    pub(super) fn filter(&mut self, batch: &[u8], is_last: bool) -> Result<Left, BatchError> {
        let header = BatchHeader::parse(batch)?;
        let needless = self.transactions.on_batch(&header, batch);
        let passed = |horizon: i64| horizon <= self.now_ms;
        let discard = match header.is_control() {
            true => needless && header.delete_horizon().is_some_and(passed),
            false => needless,
        };
        let keep_empty = is_last || self.is_last_of_producer(&header);
        if discard {
            return Ok(if keep_empty { emptied(&header, batch) } else { Left::Nothing });
        }
        let (_, body) = match records(batch, DECOMPRESSED_MAX) {
            Ok(opened) => opened,
            // Not readable for us, but perhaps for the client that wrote it.
            Err(_) => return Ok(Left::Same),
        };
        let mut kept: Vec<Record<'_>> = Vec::new();
        let mut met = 0;
        let mut tombstones = false;
        for record in RecordIter::new(header, &body) {
            let Ok(record) = record else { return Ok(Left::Same) };
            met += 1;
            if header.is_control() || self.stays(&header, &record) {
                tombstones |= record.value.is_none();
                kept.push(record);
            }
        }
        let is_due = tombstones || (header.is_control() && needless);
        let horizon = match header.delete_horizon() {
            None if is_due => Some(self.now_ms.saturating_add(self.delete_retention_ms)),
            _ => None,
        };
        match kept.is_empty() {
            true if keep_empty => Ok(emptied(&header, batch)),
            true => Ok(Left::Nothing),
            false if kept.len() == met && horizon.is_none() => Ok(Left::Same),
            false => rewritten(&header, batch, &kept, horizon).map(Left::Changed),
        }
    }

    fn stays(&self, header: &BatchHeader, record: &Record<'_>) -> bool {
        if record.offset > self.map.latest {
            return true;
        }
        let Some(key) = record.key else { return false };
        let value_or_time =
            record.value.is_some() || header.delete_horizon().is_none_or(|at| self.now_ms < at);
        value_or_time && self.map.is_newest(key, record.offset)
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        self.producers.get(&header.producer_id).is_some_and(|last| match last.last_offset {
            Some(offset) => header.last_offset() == offset,
            None => header.is_control() && header.producer_epoch == last.epoch,
        })
    }
}

/// A batch of the same offsets, producer and sequence with only these records.
fn rewritten(
    header: &BatchHeader,
    batch: &[u8],
    kept: &[Record<'_>],
    horizon: Option<i64>,
) -> Result<Bytes, BatchError> {
    let mut body = Vec::with_capacity(batch.len());
    let mut max_timestamp = NO_TIMESTAMP;
    for record in kept {
        max_timestamp = max_timestamp.max(record.timestamp);
        let Some(base) = horizon else {
            body.extend_from_slice(record.raw);
            continue;
        };
        let delta = record.timestamp.wrapping_sub(base);
        let length = 1 + varlong_bytes(delta) + record.after_time.len();
        put_varlong(&mut body, length as i64);
        body.push(0);
        put_varlong(&mut body, delta);
        body.extend_from_slice(record.after_time);
    }
    let facts = Facts {
        attributes: header.attributes | if horizon.is_some() { DELETE_HORIZON } else { 0 },
        base_timestamp: horizon.unwrap_or(header.base_timestamp),
        max_timestamp: if header.is_log_append_time() {
            header.max_timestamp
        } else {
            max_timestamp
        },
        record_count: kept.len() as i32,
    };
    with_body(batch, &compress(header.codec()?, &body)?, &facts)
}

/// The batch's header without records (Kafka `DefaultRecordBatch.writeEmptyHeader`).
fn emptied(header: &BatchHeader, batch: &[u8]) -> Left {
    if header.record_count == 0 {
        return Left::Same;
    }
    let facts = Facts {
        attributes: header.attributes & !(DELETE_HORIZON | super::super::batch::CODEC_BITS)
            | Codec::None.bits(),
        base_timestamp: NO_TIMESTAMP,
        max_timestamp: header.max_timestamp,
        record_count: 0,
    };
    with_body(batch, &[], &facts).map_or(Left::Same, Left::Changed)
}

/// The fields that a rewritten batch does not take from its original.
struct Facts {
    attributes: i16,
    base_timestamp: i64,
    max_timestamp: i64,
    record_count: i32,
}

fn with_body(original: &[u8], body: &[u8], facts: &Facts) -> Result<Bytes, BatchError> {
    let length = i32::try_from(HEADER_BYTES - LENGTH_END + body.len());
    let length = length.map_err(|_| BatchError::Length)?;
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.extend_from_slice(&original[..HEADER_BYTES]);
    out.extend_from_slice(body);
    out[8..12].copy_from_slice(&length.to_be_bytes());
    out[21..23].copy_from_slice(&facts.attributes.to_be_bytes());
    out[27..35].copy_from_slice(&facts.base_timestamp.to_be_bytes());
    out[35..43].copy_from_slice(&facts.max_timestamp.to_be_bytes());
    out[57..61].copy_from_slice(&facts.record_count.to_be_bytes());
    let crc = crc_fast::crc32_iscsi(&out[21..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    Ok(Bytes::from(out))
}

/// Which transactions are under way while a round walks over the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Transactions {
    /// Aborted ones that the walk has not reached, the last first.
    ahead: Vec<Aborted>,
    /// Aborted ones it is inside of by their producers: where the marker is (or was), and whether
    /// data of theirs was met.
    aborted: HashMap<i64, (i64, bool)>,
    /// Producers with data of a committed transaction since their last marker.
    committed: BTreeSet<i64>,
    /// Abort markers whose data is gone: no reader needs to be told of them.
    pub needless: BTreeSet<i64>,
}

impl Transactions {
    pub(super) fn new(mut aborted: Vec<Aborted>) -> Transactions {
        aborted.sort_by_key(|one| std::cmp::Reverse(one.first_offset));
        Transactions { ahead: aborted, ..Transactions::default() }
    }

    /// Is the batch data of an aborted transaction, or a marker that marks nothing any more?
    pub(super) fn on_batch(&mut self, header: &BatchHeader, batch: &[u8]) -> bool {
        while let Some(next) = self.ahead.last()
            && next.first_offset <= header.last_offset()
        {
            self.aborted.insert(next.producer_id, (next.last_offset, false));
            self.ahead.pop();
        }
        if !header.is_control() {
            return self.on_data(header);
        }
        match Marker::read(batch) {
            Some(marker) if marker.commit => !self.committed.remove(&header.producer_id),
            Some(_) => {
                let aborted = self.aborted.remove(&header.producer_id).is_some_and(|(_, met)| met);
                // An emptied batch of a transaction that is forgotten passes for a committed one.
                let needless = !self.committed.remove(&header.producer_id) && !aborted;
                if needless {
                    self.needless.insert(header.base_offset);
                }
                needless
            }
            // It was emptied before; else it is not readable, and stays.
            None => header.record_count == 0,
        }
    }

    fn on_data(&mut self, header: &BatchHeader) -> bool {
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some((marker, met)) if header.base_offset < *marker => {
                *met = true;
                true
            }
            _ => {
                self.committed.insert(header.producer_id);
                false
            }
        }
    }
}
