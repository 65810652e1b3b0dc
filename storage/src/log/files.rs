//! The small files beside the segments, in Kafka's formats, so that Kafka's tools read a partition.
//!
//! `<offset>.snapshot`: what is known of producers up to that offset, big-endian: version i16 = 1,
//! CRC-32C u32 of what follows, count i32, then per producer: id i64, epoch i16, last sequence i32, last
//! offset i64, offset delta i32, timestamp i64, coordinator epoch i32, first offset of the open
//! transaction i64 or −1 (Kafka `ProducerStateManager`).
//!
//! `leader-epoch-checkpoint`: text: version 0, a count, lines of epoch and its first offset.
//!
//! Both are for others to read. This node has the same in its metadata snapshot, so they are not
//! synced, and nothing depends on them.

use std::sync::atomic::Ordering;

use super::segment::file_name;
use super::{Partition, Producers};
use crate::error::Error;

const VERSION: i16 = 1;
const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";

/// One producer as a snapshot file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnapshotEntry {
    pub producer_id: i64,
    pub epoch: i16,
    pub last_sequence: i32,
    pub last_offset: i64,
    pub offset_delta: i32,
    pub timestamp: i64,
    pub coordinator_epoch: i32,
    pub open: i64,
}

/// A snapshot file's bytes.
fn encode(producers: &Producers) -> Vec<u8> {
    let sorted = producers.sorted();
    let mut body = Vec::new();
    body.extend_from_slice(&(sorted.len() as i32).to_be_bytes());
    for (id, producer) in sorted {
        let last = producer.batches.back();
        let delta = last.map_or(0, |last| last.last_offset() - last.base_offset);
        body.extend_from_slice(&id.to_be_bytes());
        body.extend_from_slice(&producer.epoch.to_be_bytes());
        body.extend_from_slice(&last.map_or(-1, |last| last.last_sequence).to_be_bytes());
        body.extend_from_slice(&last.map_or(-1, |last| last.last_offset()).to_be_bytes());
        body.extend_from_slice(&(delta as i32).to_be_bytes());
        body.extend_from_slice(&producer.last_append_ms.to_be_bytes());
        body.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
        body.extend_from_slice(&producer.open.unwrap_or(-1).to_be_bytes());
    }
    let mut bytes = VERSION.to_be_bytes().to_vec();
    bytes.extend_from_slice(&crc_fast::crc32_iscsi(&body).to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// Reads a snapshot file; the error says what is wrong with it.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<SnapshotEntry>, &'static str> {
    fn field<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], &'static str> {
        let (first, rest) = bytes.split_first_chunk::<N>().ok_or("it is cut short")?;
        *bytes = rest;
        Ok(*first)
    }
    let mut rest = bytes;
    if i16::from_be_bytes(field(&mut rest)?) != VERSION {
        return Err("its version is not known");
    }
    if u32::from_be_bytes(field(&mut rest)?) != crc_fast::crc32_iscsi(rest) {
        return Err("the checksum does not match");
    }
    let count = i32::from_be_bytes(field(&mut rest)?);
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(SnapshotEntry {
            producer_id: i64::from_be_bytes(field(&mut rest)?),
            epoch: i16::from_be_bytes(field(&mut rest)?),
            last_sequence: i32::from_be_bytes(field(&mut rest)?),
            last_offset: i64::from_be_bytes(field(&mut rest)?),
            offset_delta: i32::from_be_bytes(field(&mut rest)?),
            timestamp: i64::from_be_bytes(field(&mut rest)?),
            coordinator_epoch: i32::from_be_bytes(field(&mut rest)?),
            open: i64::from_be_bytes(field(&mut rest)?),
        });
    }
    Ok(entries)
}

impl Partition {
    /// Leaves the snapshot of `producers` at `end` in the place of the one before it.
    pub(crate) fn write_producers(&self, producers: &Producers, end: i64) -> Result<(), Error> {
        let before = self.producers_at.swap(end, Ordering::AcqRel);
        if before == end || (before < 0 && producers.len() == 0) {
            return Ok(());
        }
        let _names = self.names.lock();
        if self.is_deleted() {
            return Ok(());
        }
        let path = |offset| format!("{}/{}", self.dir, file_name(offset, "snapshot"));
        let bytes = encode(producers);
        let write = || {
            let file = self.disk.open(&path(end), true)?;
            file.truncate(0)?;
            file.write_at(0, &bytes)
        };
        if before >= 0 {
            let _ = self.disk.remove(&path(before));
        }
        write().map_err(Error::io(format!("write {}", path(end))))
    }

    /// Says that all records from `start` on are of the one leader epoch there is.
    pub(super) fn write_leader_epochs(&self, start: i64) -> Result<(), Error> {
        let path = format!("{}/{LEADER_EPOCHS}", self.dir);
        let write = || {
            let file = self.disk.open(&path, true)?;
            let text = format!("0\n1\n0 {start}\n");
            file.truncate(0)?;
            file.write_at(0, text.as_bytes())
        };
        write().map_err(Error::io(format!("write {path}")))
    }

    /// After a restart: removes the small files that belong to nothing; notes the newest snapshot.
    pub(super) fn remove_orphans(&self, names: &[String], bases: &[i64]) -> Result<(), Error> {
        for name in names {
            let Some((base, suffix)) = name.split_once('.') else { continue };
            let Ok(base) = base.parse::<i64>() else { continue };
            let orphan = match suffix {
                "index" | "timeindex" | "txnindex" => !bases.contains(&base),
                "snapshot" => self.producers_at.fetch_max(base, Ordering::AcqRel) > base,
                _ => false,
            };
            if orphan {
                let path = format!("{}/{name}", self.dir);
                self.disk.remove(&path).map_err(Error::io(format!("remove {path}")))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Produced, Producer};

    #[test]
    fn a_snapshot_comes_back_and_damage_is_seen() {
        let mut producers = Producers::default();
        let batch = Produced { first_sequence: 5, last_sequence: 7, base_offset: 40, lsn: 0 };
        let producer = Producer {
            epoch: 3,
            last_append_ms: 99,
            coordinator_epoch: 2,
            open: Some(40),
            batches: [batch].into(),
        };
        producers.insert(17, producer);
        let bytes = encode(&producers);
        let expected = SnapshotEntry {
            producer_id: 17,
            epoch: 3,
            last_sequence: 7,
            last_offset: 42,
            offset_delta: 2,
            timestamp: 99,
            coordinator_epoch: 2,
            open: 40,
        };
        assert_eq!(decode(&bytes), Ok(vec![expected]));
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err());
        }
    }
}
