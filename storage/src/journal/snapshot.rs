//! The metadata snapshot: what a checkpoint knows beside the records in the segments.
//!
//! `metadata.snapshot`, big-endian: magic `MILLSNAP`, u32 version 3, u32 CRC-32C of the rest, then the
//! fields in the order of [`Snapshot`]. Written under a passing name, synced, renamed, and the
//! directory synced; so either the old or the new one is there, whole.
//!
//! App records and group facts live here once their journal files are recycled.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::record::TopicFact;
use super::wire::{Put, Take};
use crate::broker::{AppRecord, Part, Ticket, TopicPartition, Wholes};
use crate::disk::Disk;
use crate::error::Error;
use crate::log::{Produced, Producer, Producers, Stored};

const PATH: &str = "metadata.snapshot";
const PASSING: &str = "metadata.snapshot.tmp";
const MAGIC: &[u8; 8] = b"MILLSNAP";
const VERSION: u32 = 3;
/// Before version 3 nothing was said of the files of aborted transactions.
const OLDEST_VERSION: u32 = 2;

/// All facts up to and including `lsn`, except records and seals.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Snapshot {
    pub lsn: u64,
    pub cluster: Uuid,
    pub next_producer_id: i64,
    pub app_low_water: u64,
    pub last_epoch: u64,
    pub topics: Vec<TopicState>,
    pub app: Vec<AppRecord>,
    pub groups: BTreeMap<Bytes, Bytes>,
    /// Ended transactions that a cut might still split.
    pub wholes: Wholes,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TopicState {
    pub fact: TopicFact,
    pub partitions: Vec<PartitionState>,
}

/// Records in `start..end` are durable in the segments.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PartitionState {
    pub start: i64,
    pub end: i64,
    pub producers: Producers,
    /// What the `.txnindex` files hold.
    pub aborted: Vec<Stored>,
}

impl Snapshot {
    /// Replaces the snapshot on disk, durably.
    pub(crate) fn write(&self, disk: &dyn Disk) -> Result<(), Error> {
        let body = self.encode();
        let mut bytes = MAGIC.to_vec();
        bytes.put_u32(VERSION);
        bytes.put_u32(crc_fast::crc32_iscsi(&body));
        bytes.put(&body);
        let write = || {
            let file = disk.open(PASSING, true)?;
            file.truncate(0)?;
            file.write_at(0, &bytes)?;
            Ok(file)
        };
        let file = write().map_err(Error::io(format!("write {PATH}")))?;
        let name = || {
            file.sync_data()?;
            disk.rename(PASSING, PATH)?;
            disk.sync_dir("")
        };
        name().map_err(Error::sync(format!("sync {PATH}")))
    }

    /// Reads the snapshot; `None` when there is none.
    pub(crate) fn read(disk: &Arc<dyn Disk>) -> Result<Option<Snapshot>, Error> {
        let file = match disk.open(PATH, false) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(Error::io(format!("open {PATH}")))?,
        };
        let read = || file.read_at(0, file.len()? as usize);
        let bytes = read().map_err(Error::io(format!("read {PATH}")))?;
        let damaged = |reason: &str| Error::corrupt(PATH, 0, reason);
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("it is not a snapshot"))?;
        let mut fields = Take::new(rest);
        let version = fields.u32().unwrap_or(0);
        if !(OLDEST_VERSION..=VERSION).contains(&version) {
            return Err(damaged("its version is not known"));
        }
        let crc = fields.u32().ok_or_else(|| damaged("it is cut short"))?;
        if crc_fast::crc32_iscsi(fields.rest()) != crc {
            return Err(damaged("the checksum does not match"));
        }
        let snapshot = Snapshot::decode(fields, version).ok_or_else(|| damaged("a field is malformed"))?;
        Ok(Some(snapshot))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u64(self.lsn);
        out.put_uuid(self.cluster);
        out.put_i64(self.next_producer_id);
        out.put_u64(self.app_low_water);
        out.put_u64(self.last_epoch);
        out.put_u32(self.topics.len() as u32);
        for topic in &self.topics {
            topic.fact.put(&mut out);
            for partition in &topic.partitions {
                out.put_i64(partition.start);
                out.put_i64(partition.end);
                put_producers(&mut out, &partition.producers);
                out.put_u32(partition.aborted.len() as u32);
                for stored in &partition.aborted {
                    out.put_i64(stored.base_offset);
                    out.put_u32(stored.entries);
                    out.put_u32(stored.crc);
                }
            }
        }
        out.put_u32(self.app.len() as u32);
        for record in &self.app {
            out.put_u64(record.ticket.0);
            out.put_u16(record.kind);
            out.put_bytes(&record.bytes);
        }
        out.put_u32(self.groups.len() as u32);
        for (key, value) in &self.groups {
            out.put_bytes(key);
            out.put_bytes(value);
        }
        out.put_u32(self.wholes.all().len() as u32);
        for parts in self.wholes.all() {
            out.put_u32(parts.len() as u32);
            for part in parts {
                out.put_uuid(part.at.topic);
                out.put_i32(part.at.partition);
                out.put_i64(part.first);
                out.put_i64(part.last);
            }
        }
        out
    }

    fn decode(mut fields: Take<'_>, version: u32) -> Option<Snapshot> {
        let snapshot = Snapshot {
            lsn: fields.u64()?,
            cluster: fields.uuid()?,
            next_producer_id: fields.i64()?,
            app_low_water: fields.u64()?,
            last_epoch: fields.u64()?,
            topics: fields.list(|fields| {
                let fact = TopicFact::take(fields)?;
                let mut partitions = Vec::new();
                for _ in 0..fact.partitions {
                    partitions.push(PartitionState {
                        start: fields.i64()?,
                        end: fields.i64()?,
                        producers: take_producers(fields)?,
                        aborted: match version {
                            OLDEST_VERSION => Vec::new(),
                            _ => fields.list(take_stored)?,
                        },
                    });
                }
                Some(TopicState { fact, partitions })
            })?,
            app: fields.list(|fields| {
                let ticket = Ticket(fields.u64()?);
                Some(AppRecord { ticket, kind: fields.u16()?, bytes: fields.bytes()? })
            })?,
            groups: fields
                .list(|fields| Some((fields.bytes()?, fields.bytes()?)))?
                .into_iter()
                .collect(),
            wholes: Wholes::of(fields.list(|fields| fields.list(take_part))?),
        };
        fields.is_done().then_some(snapshot)
    }
}

fn take_stored(fields: &mut Take<'_>) -> Option<Stored> {
    Some(Stored { base_offset: fields.i64()?, entries: fields.u32()?, crc: fields.u32()? })
}

fn take_part(fields: &mut Take<'_>) -> Option<Part> {
    let at = TopicPartition { topic: fields.uuid()?, partition: fields.i32()? };
    Some(Part { at, first: fields.i64()?, last: fields.i64()? })
}

fn put_producers(out: &mut Vec<u8>, producers: &Producers) {
    out.put_u32(producers.len() as u32);
    for (id, producer) in producers.sorted() {
        out.put_i64(id);
        out.put_u16(producer.epoch as u16);
        out.put_i64(producer.last_append_ms);
        out.put_i32(producer.coordinator_epoch);
        out.put_i64(producer.open.unwrap_or(-1));
        out.put_u32(producer.batches.len() as u32);
        for batch in &producer.batches {
            out.put_i32(batch.first_sequence);
            out.put_i32(batch.last_sequence);
            out.put_i64(batch.base_offset);
        }
    }
}

fn take_producers(fields: &mut Take<'_>) -> Option<Producers> {
    let mut producers = Producers::default();
    let list = fields.list(|fields| {
        let id = fields.i64()?;
        let producer = Producer {
            epoch: fields.i16()?,
            last_append_ms: fields.i64()?,
            coordinator_epoch: fields.i32()?,
            open: Some(fields.i64()?).filter(|first| *first >= 0),
            batches: VecDeque::from(fields.list(|fields| {
                Some(Produced {
                    first_sequence: fields.i32()?,
                    last_sequence: fields.i32()?,
                    base_offset: fields.i64()?,
                    lsn: 0,
                })
            })?),
        };
        Some((id, producer))
    })?;
    for (id, producer) in list {
        producers.insert(id, producer);
    }
    Some(producers)
}
