//! The end of a transaction, and what is known of the producers of a partition.
//!
//! An end is one journal record: the markers of all partitions, and the facts of the coordinators
//! that go with them (the transaction's new state, offsets that are now committed). So a crash leaves
//! all of it or nothing, and there is no state in between to recover from.

use bytes::Bytes;

use super::facts::{check_size, check_told};
use super::{Broker, Part, Ticket, TopicPartition};
use crate::error::ErrorCode;
use crate::journal::record::Kind;
use crate::journal::wire::Put;
use crate::log::batch::BatchHeader;
use crate::log::control::Marker;

/// How a transaction ends.
#[derive(Debug, Clone)]
pub struct TransactionEnd {
    pub marker: Marker,
    /// Where markers are written. Those that are gone, or belong to a newer producer, are left out.
    pub partitions: Vec<TopicPartition>,
    /// As in [`Broker::append_group`].
    pub facts: Vec<(Bytes, Option<Bytes>)>,
    /// As in [`Broker::append_group_told`].
    pub told: Vec<(TopicPartition, Bytes)>,
}

/// What a partition knows of a producer (Kafka's DescribeProducers).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    pub producer_id: i64,
    pub epoch: i16,
    /// −1 when there is none.
    pub last_sequence: i32,
    pub last_append_ms: i64,
    /// Of the newest marker; −1 when there was none.
    pub coordinator_epoch: i32,
    /// First offset of the open transaction.
    pub open: Option<i64>,
}

impl Broker {
    /// Ends a transaction.
    pub fn end_transaction(&self, end: &TransactionEnd, now_ms: i64) -> Result<Ticket, ErrorCode> {
        let batch = end.marker.to_batch(now_ms);
        let header = BatchHeader::parse(&batch)?;
        let bytes = |(key, value): &(Bytes, Option<Bytes>)| {
            key.len() + value.as_ref().map_or(0, |value| value.len())
        };
        let facts: usize = end.facts.iter().map(bytes).sum();
        let told = check_told(&end.told)?;
        check_size(facts + told.bytes() + end.partitions.len() * (batch.len() + 24))?;

        let mut commit = self.commit.lock();
        commit.check_open()?;
        let takes = |at: &TopicPartition| {
            let topic = commit.topics.by_id(&at.topic)?.clone();
            let partition = topic.partitions.get(usize::try_from(at.partition).ok()?)?.clone();
            let assigned = partition.assigned.lock();
            let fits = !assigned.deleted && assigned.producers.check_marker(&end.marker).is_ok();
            drop(assigned);
            fits.then_some((topic, partition))
        };
        let found: Vec<_> = end.partitions.iter().filter_map(takes).collect();
        let lsn = commit.take_lsn();
        let place = commit.group.begin(Kind::TransactionEnd, lsn);
        let told = commit.find_told(told);
        commit.group.bytes.put_u32((found.len() + told.len()) as u32);
        let mut whole = Vec::new();
        for (topic, partition) in &found {
            commit.group.bytes.put_uuid(topic.id);
            commit.group.bytes.put_i32(partition.at.partition);
            commit.group.bytes.put_u32(batch.len() as u32);
            let open = partition.assigned.lock().producers.open_since(end.marker.producer_id);
            let last = commit.assign(topic, partition, batch.clone(), header, lsn, now_ms);
            if let Some(first) = open.filter(|_| end.marker.commit) {
                whole.push(Part { at: partition.at, first, last });
            }
            commit.group.sync |= self.wants_sync(topic);
        }
        commit.put_told(told, lsn, now_ms);
        commit.group.bytes.put_u32(end.facts.len() as u32);
        for (key, value) in &end.facts {
            commit.group.bytes.put_bytes(key);
            commit.group.bytes.put_optional(value.as_deref());
            commit.note_group(key.clone(), value.clone());
        }
        commit.wholes.push(whole, self.stable());
        self.end_record(&mut commit, place);
        Ok(Ticket(lsn))
    }

    /// Whether a marker may be written in a partition; see [`Marker`].
    pub fn check_marker(&self, at: TopicPartition, marker: &Marker) -> Result<(), ErrorCode> {
        let partition = self.partition(at)?;
        let _commit = self.commit.lock();
        partition.assigned.lock().producers.check_marker(marker)
    }

    /// The producers a partition knows, by id.
    pub fn producers(&self, at: TopicPartition) -> Result<Vec<ProducerState>, ErrorCode> {
        let partition = self.partition(at)?;
        let _commit = self.commit.lock();
        let assigned = partition.assigned.lock();
        let state = |(producer_id, producer): (i64, &crate::log::Producer)| ProducerState {
            producer_id,
            epoch: producer.epoch,
            last_sequence: producer.batches.back().map_or(-1, |batch| batch.last_sequence),
            last_append_ms: producer.last_append_ms,
            coordinator_epoch: producer.coordinator_epoch,
            open: producer.open,
        };
        Ok(assigned.producers.sorted().into_iter().map(state).collect())
    }
}
