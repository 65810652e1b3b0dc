//! The end of a transaction, and what is known of the producers of a partition.
//!
//! An end is one journal record: the markers of all partitions, and the facts of the coordinators
//! that go with them (the transaction's new state, offsets that are now committed). So a crash leaves
//! all of it or nothing, and there is no state in between to recover from.

use std::sync::Arc;

use bytes::Bytes;

use super::facts::{check_size, check_told};
use super::{Broker, Part, Ticket, TopicPartition};
use crate::error::ErrorCode;
use crate::journal::record::Kind;
use crate::journal::wire::Put;
use crate::log::Partition;
use crate::log::batch::BatchHeader;
use crate::log::control::{Marker, SIBLING_BYTES, SIBLINGS, Sibling};
use crate::topics::Topic;

/// A marker takes at most so much of the journal, generously.
const MARKER_BYTES: usize = 160 + SIBLINGS * SIBLING_BYTES;

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
        let bytes = |(key, value): &(Bytes, Option<Bytes>)| {
            key.len() + value.as_ref().map_or(0, |value| value.len())
        };
        let facts: usize = end.facts.iter().map(bytes).sum();
        let told = check_told(&end.told)?;
        check_size(facts + told.bytes() + end.partitions.len() * MARKER_BYTES)?;

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
        let (whole, batches) = markers(&end.marker, &found, now_ms)?;
        let lsn = commit.take_lsn();
        let place = commit.group.begin(Kind::TransactionEnd, lsn);
        let told = commit.find_told(told);
        commit.group.bytes.put_u32((found.len() + told.len()) as u32);
        for ((topic, partition), (batch, header)) in found.iter().zip(batches) {
            commit.group.bytes.put_uuid(topic.id);
            commit.group.bytes.put_i32(partition.at.partition);
            commit.group.bytes.put_u32(batch.len() as u32);
            commit.assign(topic, partition, batch, header, lsn, now_ms);
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

/// The ranges that a committed transaction has in its partitions, and the markers of all: those with
/// records in a ring, so that who meets one finds the others. To be called under the commit lock.
fn markers(
    marker: &Marker,
    found: &[(Arc<Topic>, Arc<Partition>)],
    now_ms: i64,
) -> Result<(Vec<Part>, Vec<(Bytes, BatchHeader)>), ErrorCode> {
    let mut ring: Vec<Part> = Vec::new();
    let mut places = Vec::with_capacity(found.len());
    for (_, partition) in found {
        let assigned = partition.assigned.lock();
        let open = assigned.producers.open_since(marker.producer_id);
        let first = open.filter(|_| marker.commit);
        places.push(first.map(|_| ring.len()));
        let last = assigned.next_offset;
        ring.extend(first.map(|first| Part { at: partition.at, first, last }));
    }
    let batch = |place: &Option<usize>| {
        let siblings = place.map_or_else(Vec::new, |place| next_in_ring(&ring, place));
        let batch = marker.to_batch(now_ms, &siblings);
        let header = BatchHeader::parse(&batch)?;
        Ok((batch, header))
    };
    let batches = places.iter().map(batch).collect::<Result<Vec<_>, ErrorCode>>()?;
    Ok((ring, batches))
}

fn next_in_ring(ring: &[Part], place: usize) -> Vec<Sibling> {
    let others = ring.len() - 1;
    let next = (1..=others.min(SIBLINGS)).map(|step| &ring[(place + step) % ring.len()]);
    next.map(|part| (part.at, part.last)).collect()
}
