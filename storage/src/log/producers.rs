//! What a partition remembers of idempotent producers.
//!
//! Kafka's rules (`ProducerStateManager`, `ProducerAppendInfo`):
//! - the last five batches of each producer are kept; a batch with the sequence numbers of one of
//!   them is a repetition and gets the first answer again
//! - else the sequence must follow the last one; it wraps from 2³¹−1 to 0
//! - a new epoch begins at sequence 0; an older epoch is refused
//! - of an unknown producer any sequence is taken: its state may have expired (KIP-360)
//! - a transactional batch opens a transaction, a marker ends it; in between the producer writes
//!   nothing else. A marker of a newer epoch begins that epoch: so what a client sent before it is
//!   refused (KIP-890), and a repetition is never taken for a batch from before the end

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::batch::{BatchHeader, NO_PRODUCER_ID, sequence_after};
use super::control::Marker;
use crate::error::ErrorCode;

/// Batches kept per producer: as many as a client may have in flight.
const WINDOW: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Producer {
    pub epoch: i16,
    /// When it appended last, by the broker's clock: records may be of any time.
    pub last_append_ms: i64,
    /// Of the newest marker; −1 before the first.
    pub coordinator_epoch: i32,
    /// The first offset of its open transaction.
    pub open: Option<i64>,
    /// Oldest first; empty after a marker began a new epoch.
    pub batches: VecDeque<Produced>,
}

/// A batch that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Produced {
    pub first_sequence: i32,
    pub last_sequence: i32,
    pub base_offset: i64,
    /// Journal place of the append; 0 after a restart: it is durable.
    pub lsn: u64,
}

impl Produced {
    /// The offset of its last record. Sequences wrap from 2³¹−1 to 0.
    pub(crate) fn last_offset(&self) -> i64 {
        let more =
            (i64::from(self.last_sequence) - i64::from(self.first_sequence)).rem_euclid(1 << 31);
        self.base_offset + more
    }
}

/// The producers of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
    /// Open transactions.
    open_count: usize,
}

/// Where a producer stopped: what compaction must keep of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastOfProducer {
    pub epoch: i16,
    /// The last offset of its last batch; `None` when only a marker of it is known.
    pub last_offset: Option<i64>,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Append,
    Repeated(Produced),
}

impl Producers {
    pub(crate) fn check(&self, batch: &BatchHeader) -> Result<Verdict, ErrorCode> {
        if batch.producer_id == NO_PRODUCER_ID {
            return match batch.is_transactional() {
                true => Err(ErrorCode::InvalidRecord),
                false => Ok(Verdict::Append),
            };
        }
        // Ids below −1 mark batches that this node sealed itself; no client may pose as it.
        if batch.producer_id < 0 || batch.producer_epoch < 0 || batch.base_sequence < 0 {
            return Err(ErrorCode::InvalidRecord);
        }
        let Some(producer) = self.by_id.get(&batch.producer_id) else {
            return Ok(Verdict::Append);
        };
        if batch.producer_epoch < producer.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if producer.open.is_some() && !batch.is_transactional() {
            return Err(ErrorCode::InvalidTxnState);
        }
        if batch.producer_epoch > producer.epoch {
            return match batch.base_sequence {
                0 => Ok(Verdict::Append),
                _ => Err(ErrorCode::OutOfOrderSequenceNumber),
            };
        }
        let same = |known: &&Produced| {
            known.first_sequence == batch.base_sequence
                && known.last_sequence == batch.last_sequence()
        };
        if let Some(known) = producer.batches.iter().find(same) {
            return Ok(Verdict::Repeated(*known));
        }
        match producer.batches.back() {
            Some(last) if sequence_after(last.last_sequence, 1) != batch.base_sequence => {
                Err(ErrorCode::OutOfOrderSequenceNumber)
            }
            None if batch.base_sequence != 0 => Err(ErrorCode::OutOfOrderSequenceNumber),
            _ => Ok(Verdict::Append),
        }
    }

    /// Whether a marker may be written: it must not be of an older producer or coordinator.
    pub(crate) fn check_marker(&self, marker: &Marker) -> Result<(), ErrorCode> {
        match self.by_id.get(&marker.producer_id) {
            Some(known) if marker.producer_epoch < known.epoch => {
                Err(ErrorCode::InvalidProducerEpoch)
            }
            Some(known) if marker.coordinator_epoch < known.coordinator_epoch => {
                Err(ErrorCode::TransactionCoordinatorFenced)
            }
            _ => Ok(()),
        }
    }

    /// Takes note of a marker. Gives the first offset of the transaction it ended, if there was one.
    pub(crate) fn on_marker(&mut self, marker: &Marker, now_ms: i64) -> Option<i64> {
        let producer = self.entry(marker.producer_id, marker.producer_epoch, now_ms);
        producer.coordinator_epoch = marker.coordinator_epoch;
        let ended = producer.open.take();
        self.open_count -= usize::from(ended.is_some());
        ended
    }

    /// The producer, in this epoch, heard of now.
    fn entry(&mut self, id: i64, epoch: i16, now_ms: i64) -> &mut Producer {
        let producer = self.by_id.entry(id).or_insert_with(|| Producer {
            epoch,
            last_append_ms: now_ms,
            coordinator_epoch: -1,
            open: None,
            batches: VecDeque::new(),
        });
        if producer.epoch != epoch {
            producer.epoch = epoch;
            producer.batches.clear();
        }
        producer.last_append_ms = now_ms;
        producer
    }

    /// Takes note of an appended batch; `batch` has its final offset.
    pub(crate) fn on_append(&mut self, batch: &BatchHeader, lsn: u64, now_ms: i64) {
        // Sealed batches (ids below −1) have no sequence: the epoch makes them exactly once.
        if batch.producer_id < 0 {
            return;
        }
        let mut opens = false;
        let producer = self.entry(batch.producer_id, batch.producer_epoch, now_ms);
        if batch.is_transactional() {
            opens = producer.open.is_none();
            producer.open.get_or_insert(batch.base_offset);
        }
        if producer.batches.len() == WINDOW {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Produced {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            base_offset: batch.base_offset,
            lsn,
        });
        self.open_count += usize::from(opens);
    }

    /// Forgets producers that appended nothing since `oldest`; never one whose transaction is open,
    /// whose end could not be found any more (KAFKA-9144).
    pub(crate) fn expire(&mut self, oldest: i64) {
        let keeps = |producer: &Producer| producer.open.is_some();
        self.by_id.retain(|_, producer| producer.last_append_ms >= oldest || keeps(producer));
    }

    /// The open transactions: producer id and first offset.
    pub(crate) fn open(&self) -> impl Iterator<Item = (i64, i64)> {
        self.by_id.iter().filter_map(|(id, producer)| Some((*id, producer.open?)))
    }

    /// Whether some transaction is open. Asked for each seal, so it does not look through them all.
    pub(crate) fn any_open(&self) -> bool {
        self.open_count > 0
    }

    /// The first offset of a producer's open transaction.
    pub(crate) fn open_since(&self, id: i64) -> Option<i64> {
        self.by_id.get(&id)?.open
    }

    /// Where each active producer stopped.
    pub(crate) fn lasts(&self) -> HashMap<i64, LastOfProducer> {
        let last = |producer: &Producer| LastOfProducer {
            epoch: producer.epoch,
            last_offset: producer.batches.back().map(Produced::last_offset),
        };
        self.by_id.iter().map(|(id, producer)| (*id, last(producer))).collect()
    }

    /// By id, so that a snapshot is the same each time.
    pub(crate) fn sorted(&self) -> Vec<(i64, &Producer)> {
        let mut all: Vec<_> = self.by_id.iter().map(|(id, producer)| (*id, producer)).collect();
        all.sort_by_key(|(id, _)| *id);
        all
    }

    pub(crate) fn insert(&mut self, id: i64, producer: Producer) {
        self.open_count += usize::from(producer.open.is_some());
        self.by_id.insert(id, producer);
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(epoch: i16, first: i32, count: i32) -> BatchHeader {
        BatchHeader {
            base_offset: 0,
            total_bytes: 61,
            leader_epoch: 0,
            crc: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: 0,
            max_timestamp: 7,
            producer_id: 1,
            producer_epoch: epoch,
            base_sequence: first,
            record_count: count,
        }
    }

    /// A script: each line is `epoch first count` and what must come out: `+` appended, `= offset`
    /// repeated, or the error.
    fn check(script: &str) {
        let mut producers = Producers::default();
        let mut next_offset = 0;
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (left, right) = line.split_once("->").unwrap();
            let numbers: Vec<i32> = left.split_whitespace().map(|n| n.parse().unwrap()).collect();
            let mut header = batch(numbers[0] as i16, numbers[1], numbers[2]);
            let got = match producers.check(&header) {
                Ok(Verdict::Append) => {
                    header.base_offset = next_offset;
                    next_offset = header.next_offset();
                    producers.on_append(&header, 1, 0);
                    "+".to_owned()
                }
                Ok(Verdict::Repeated(known)) => format!("= {}", known.base_offset),
                Err(code) => format!("{code:?}"),
            };
            assert_eq!(got, right.trim(), "in line {line}");
        }
    }

    #[test]
    fn five_batches_are_remembered() {
        check(
            "0 0 2 -> +
             0 2 1 -> +
             0 2 1 -> = 2
             0 0 2 -> = 0
             0 4 1 -> OutOfOrderSequenceNumber
             0 3 1 -> +
             0 4 1 -> +
             0 5 1 -> +
             0 6 1 -> +
             0 2 1 -> = 2
             0 0 2 -> OutOfOrderSequenceNumber",
        );
    }

    #[test]
    fn epochs_fence_and_begin_at_zero() {
        check(
            "3 17 1 -> +
             2 18 1 -> InvalidProducerEpoch
             4 18 1 -> OutOfOrderSequenceNumber
             4 0 1 -> +
             3 18 1 -> InvalidProducerEpoch",
        );
    }

    #[test]
    fn sequences_wrap() {
        check(
            "0 2147483646 2 -> +
             0 0 3 -> +
             0 2147483646 2 -> = 0",
        );
    }
}
