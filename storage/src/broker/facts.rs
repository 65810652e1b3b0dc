//! Seals, and the opaque facts that the layers above keep in the journal.

use std::sync::Arc;

use bytes::Bytes;

use super::{AppRecord, Broker, Commit, Part, Seal, Sealed, Ticket, TopicPartition};
use crate::config::Durability;
use crate::error::Error;
use crate::journal::record::{Begun, Kind};
use crate::journal::wire::Put;
use crate::log::Partition;
use crate::log::batch::{BatchError, BatchHeader, batches};
use crate::topics::Topic;

/// A record's length field has 32 bits; nothing sensible comes near this.
const RECORD_BYTES_MAX: usize = 1 << 30;
/// Producer ids journaled at once; a restart wastes at most as many.
const PRODUCER_IDS: i64 = 1000;

impl Broker {
    /// Seals an epoch. Errors: [`Error::Invalid`] when a batch is malformed, a partition is unknown
    /// or the epoch does not grow; [`Error::Poisoned`].
    pub fn seal(&self, seal: Seal, now_ms: i64) -> Result<Sealed, Error> {
        let mut parts = Vec::with_capacity(seal.appends.len());
        for (at, bytes) in &seal.appends {
            let found = self.topic_and_partition(*at).map_err(|_| {
                Error::Invalid(format!(
                    "seal of an unknown partition: {} {}",
                    at.topic, at.partition
                ))
            })?;
            let headers = check_batches(bytes)
                .map_err(|e| Error::Invalid(format!("seal for topic {}: {e}", found.0.name)))?;
            parts.push((found, bytes, headers));
        }
        let bytes: usize = seal.appends.iter().map(|(_, bytes)| bytes.len()).sum();
        check_size(bytes.saturating_add(seal.payload.len()))?;

        let mut commit = self.commit.lock();
        commit.check_open()?;
        if seal.epoch <= commit.last_epoch {
            let (epoch, last) = (seal.epoch, commit.last_epoch);
            return Err(Error::Invalid(format!("epoch {epoch} is sealed after epoch {last}")));
        }
        if let Some(((topic, _), ..)) = parts.iter().find(|part| part.0.1.assigned.lock().deleted) {
            return Err(Error::Invalid(format!("topic {} was deleted", topic.name)));
        }
        commit.last_epoch = seal.epoch;
        let lsn = commit.take_lsn();
        let place = commit.group.begin(Kind::Seal, lsn);
        commit.group.bytes.put_u64(seal.epoch);
        commit.group.bytes.put_bytes(&seal.payload);
        commit.group.bytes.put_u32(parts.len() as u32);
        let mut base_offsets = Vec::with_capacity(parts.len());
        let mut whole = Vec::new();
        // A seal whose end is held back by a client's open transaction must not be split either.
        let held = parts.iter().any(|((_, partition), ..)| partition.has_open_transaction());
        for ((topic, partition), bytes, headers) in parts {
            commit.group.bytes.put_uuid(topic.id);
            commit.group.bytes.put_i32(partition.at.partition);
            commit.group.bytes.put_u32(bytes.len() as u32);
            let mut from = 0;
            let first = partition.assigned.lock().next_offset;
            base_offsets.push(first);
            for header in headers {
                let batch = bytes.slice(from..from + header.total_bytes);
                commit.assign(&topic, &partition, batch, header, lsn, now_ms);
                from += header.total_bytes;
            }
            if held {
                let last = partition.assigned.lock().next_offset - 1;
                whole.push(Part { at: partition.at, first, last });
            }
        }
        commit.wholes.push(whole, self.stable());
        self.end_record(&mut commit, place);
        Ok(Sealed { ticket: Ticket(lsn), base_offsets })
    }

    /// Keeps an opaque record for the layers above, for ever (see [`Broker::replace_app`]).
    pub fn append_app(&self, kind: u16, bytes: Bytes) -> Result<Ticket, Error> {
        check_size(bytes.len())?;
        self.record(Kind::App, |commit, ticket| {
            commit.group.bytes.put_u16(kind);
            commit.group.bytes.put(&bytes);
            commit.app.push(AppRecord { ticket, kind, bytes });
        })
    }

    /// Replaces all App records by these, in one step: how a layer compacts its own history.
    pub fn replace_app(&self, records: Vec<(u16, Bytes)>) -> Result<Ticket, Error> {
        check_size(records.iter().map(|(_, bytes)| bytes.len()).sum())?;
        self.record(Kind::AppReplaced, |commit, ticket| {
            commit.group.bytes.put_u32(records.len() as u32);
            for (kind, bytes) in &records {
                commit.group.bytes.put_u16(*kind);
                commit.group.bytes.put_bytes(bytes);
            }
            let kept = records.into_iter().map(|(kind, bytes)| AppRecord { ticket, kind, bytes });
            commit.app = kept.collect();
        })
    }

    /// Writes facts of the group coordinator in one step: for each key its new value, or `None` to
    /// forget it. The newest value of each key comes back in [`super::Recovered::groups`]: as a
    /// compacted topic, so no snapshot is asked of the coordinator.
    pub fn append_group(&self, records: &[(Bytes, Option<Bytes>)]) -> Result<Ticket, Error> {
        let bytes = |(key, value): &(Bytes, Option<Bytes>)| {
            key.len() + value.as_ref().map_or(0, |value| value.len())
        };
        check_size(records.iter().map(bytes).sum())?;
        self.record(Kind::Group, |commit, _| {
            commit.group.bytes.put_u32(records.len() as u32);
            for (key, value) in records {
                commit.group.bytes.put_bytes(key);
                commit.group.bytes.put_optional(value.as_deref());
                commit.note_group(key.clone(), value.clone());
            }
        })
    }

    /// As [`Broker::append_group`], and in the same step appends batches that tell readers of a topic
    /// the same. Batches of partitions that are not there any more are left out.
    pub fn append_group_told(
        &self,
        records: &[(Bytes, Option<Bytes>)],
        told: &[(TopicPartition, Bytes)],
        now_ms: i64,
    ) -> Result<Ticket, Error> {
        let bytes = |(key, value): &(Bytes, Option<Bytes>)| {
            key.len() + value.as_ref().map_or(0, |value| value.len())
        };
        let told = check_told(told)?;
        check_size(records.iter().map(bytes).sum::<usize>() + told.bytes())?;
        let mut commit = self.commit.lock();
        commit.check_open()?;
        let told = commit.find_told(told);
        let lsn = commit.take_lsn();
        let place = commit.group.begin(Kind::GroupTold, lsn);
        commit.group.bytes.put_u32(told.len() as u32);
        commit.put_told(told, lsn, now_ms);
        commit.group.bytes.put_u32(records.len() as u32);
        for (key, value) in records {
            commit.group.bytes.put_bytes(key);
            commit.group.bytes.put_optional(value.as_deref());
            commit.note_group(key.clone(), value.clone());
        }
        self.end_record(&mut commit, place);
        Ok(Ticket(lsn))
    }

    /// The newest value of each key written by [`Broker::append_group`], by key: what the group
    /// coordinator is rebuilt from.
    pub fn group_facts(&self) -> Vec<(Bytes, Bytes)> {
        let commit = self.commit.lock();
        commit.groups.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// A producer id never given before. It may be told to a client once the ticket is published.
    pub fn allocate_producer_id(&self) -> Result<(i64, Ticket), Error> {
        let mut commit = self.commit.lock();
        commit.check_open()?;
        if commit.next_producer_id == commit.producer_ids_end {
            let lsn = commit.take_lsn();
            let place = commit.group.begin(Kind::ProducerIds, lsn);
            commit.producer_ids_end += PRODUCER_IDS;
            let end = commit.producer_ids_end;
            commit.group.bytes.put_i64(end);
            commit.producer_ticket = Ticket(lsn);
            self.end_record(&mut commit, place);
        }
        let id = commit.next_producer_id;
        commit.next_producer_id += 1;
        Ok((id, commit.producer_ticket))
    }

    /// One record without effect on partitions or topics.
    fn record(&self, kind: Kind, fill: impl FnOnce(&mut Commit, Ticket)) -> Result<Ticket, Error> {
        let mut commit = self.commit.lock();
        commit.check_open()?;
        let lsn = commit.take_lsn();
        let place = commit.group.begin(kind, lsn);
        fill(&mut commit, Ticket(lsn));
        self.end_record(&mut commit, place);
        Ok(Ticket(lsn))
    }

    /// Ends a record that is as durable as the server is configured.
    pub(super) fn end_record(&self, commit: &mut Commit, place: Begun) {
        commit.group.end(place);
        commit.group.sync |= self.config.durability == Durability::Fsync;
        self.work.notify_one();
    }
}

/// Batches that tell of facts, checked.
pub(super) struct Told<'a>(Vec<(TopicPartition, &'a Bytes, Vec<BatchHeader>)>);

impl Told<'_> {
    /// What they take in a journal record.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|(_, batch, _)| batch.len() + 24).sum()
    }
}

pub(super) fn check_told(told: &[(TopicPartition, Bytes)]) -> Result<Told<'_>, Error> {
    let one = |(at, bytes): &(TopicPartition, Bytes)| {
        check_batches(bytes)
            .map(|headers| (*at, headers))
            .map_err(|e| Error::Invalid(format!("what is told of facts: {e}")))
    };
    let mut checked = Vec::with_capacity(told.len());
    for part in told {
        let (at, headers) = one(part)?;
        checked.push((at, &part.1, headers));
    }
    Ok(Told(checked))
}

/// Where a batch that tells of facts goes.
pub(super) type Teller<'a> = (Arc<Topic>, Arc<Partition>, &'a Bytes, Vec<BatchHeader>);

impl Commit {
    /// The partitions that are there for what is told.
    pub(super) fn find_told<'a>(&self, told: Told<'a>) -> Vec<Teller<'a>> {
        let one = |(at, bytes, headers): (TopicPartition, &'a Bytes, _)| {
            let topic = self.topics.by_id(&at.topic)?.clone();
            let partition = topic.partitions.get(usize::try_from(at.partition).ok()?)?.clone();
            let takes = !partition.assigned.lock().deleted && partition.damage().is_none();
            takes.then_some((topic, partition, bytes, headers))
        };
        told.0.into_iter().filter_map(one).collect()
    }

    pub(super) fn put_told(&mut self, told: Vec<Teller<'_>>, lsn: u64, now_ms: i64) {
        for (topic, partition, bytes, headers) in told {
            self.group.bytes.put_uuid(topic.id);
            self.group.bytes.put_i32(partition.at.partition);
            self.group.bytes.put_u32(bytes.len() as u32);
            let mut from = 0;
            for header in headers {
                let batch = bytes.slice(from..from + header.total_bytes);
                self.assign(&topic, &partition, batch, header, lsn, now_ms);
                from += header.total_bytes;
            }
        }
    }

    pub(super) fn note_group(&mut self, key: Bytes, value: Option<Bytes>) {
        match value {
            Some(value) => self.groups.insert(key, value),
            None => self.groups.remove(&key),
        };
    }
}

pub(super) fn check_size(bytes: usize) -> Result<(), Error> {
    match bytes <= RECORD_BYTES_MAX {
        true => Ok(()),
        false => Err(Error::Invalid(format!("{bytes} bytes are too many for one journal record"))),
    }
}

/// The headers of batches laid back to back, each checked.
fn check_batches(bytes: &[u8]) -> Result<Vec<BatchHeader>, BatchError> {
    let mut headers = Vec::new();
    for batch in batches(bytes) {
        headers.push(BatchHeader::verify(batch?.1)?);
    }
    if headers.is_empty() {
        return Err(BatchError::Count);
    }
    Ok(headers)
}
