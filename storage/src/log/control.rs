//! Control batches: the markers that end a transaction in a partition.
//!
//! A marker is a batch of its own with the attributes *transactional* and *control*, the producer's id
//! and epoch, no sequence (−1), and one record (Kafka `EndTransactionMarker`, `ControlRecordType`):
//!
//! ```text
//! key    version i16 = 0, type i16: 0 abort, 1 commit
//! value  version i16 = 0, coordinator epoch i32
//! ```
//!
//! It takes an offset as any record does. Clients never send one; the coordinator makes them.
//!
//! The marker of a committed transaction with records in several partitions says where else they are,
//! so that a reader far behind can take all of it or nothing ([`siblings`]). It does so in a header of
//! its record, which clients skip with the rest of a marker:
//!
//! ```text
//! millstream.siblings   for each: topic id 16 bytes, partition i32, offset of the marker there i64
//! ```
//!
//! The partitions of a transaction stand in a ring, and each marker names the next [`SIBLINGS`] of them:
//! all, as a rule, and never a square of bytes.

use bytes::{Buf, BufMut, Bytes};
use uuid::Uuid;

use super::batch::{BatchBuilder, Codec, RecordIter, records};
use crate::broker::TopicPartition;

const ABORT: i16 = 0;
const COMMIT: i16 = 1;
/// A marker is a hundred bytes; nothing bigger is one.
const MARKER_BYTES_MAX: usize = 4096;
const SIBLINGS_HEADER: &[u8] = b"millstream.siblings";
/// So many other partitions a marker names.
pub const SIBLINGS: usize = 8;
pub(crate) const SIBLING_BYTES: usize = 28;

/// The end of a producer's transaction in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    pub producer_id: i64,
    /// The producer's, or one above it when the end also fences: older batches are refused then.
    pub producer_epoch: i16,
    pub coordinator_epoch: i32,
    pub commit: bool,
}

/// A marker of the same transaction in another partition: where, and its offset.
pub type Sibling = (TopicPartition, i64);

impl Marker {
    /// The batch that says this; base offset 0.
    pub(crate) fn to_batch(self, now_ms: i64, siblings: &[Sibling]) -> Bytes {
        let mut key = [0; 4];
        let kind = if self.commit { COMMIT } else { ABORT };
        key[2..].copy_from_slice(&kind.to_be_bytes());
        let mut value = [0; 6];
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        let mut builder =
            BatchBuilder::new(Codec::None).marker(self.producer_id, self.producer_epoch);
        let mut named = Vec::with_capacity(siblings.len() * SIBLING_BYTES);
        for (at, offset) in siblings {
            named.put_slice(at.topic.as_bytes());
            named.put_i32(at.partition);
            named.put_i64(*offset);
        }
        let header = (SIBLINGS_HEADER, Some(&named[..]));
        let headers = if siblings.is_empty() { &[][..] } else { &[header][..] };
        builder.push(now_ms, Some(&key), Some(&value), headers);
        builder.build().expect("one small uncompressed record always makes a batch")
    }

    /// Reads a batch; `None` when it is not a marker.
    pub fn read(batch: &[u8]) -> Option<Marker> {
        let (header, body) = records(batch, MARKER_BYTES_MAX).ok()?;
        if !header.is_control() {
            return None;
        }
        let record = RecordIter::new(header, &body).next()?.ok()?;
        let key: [u8; 4] = record.key?.get(..4)?.try_into().ok()?;
        let value: [u8; 6] = record.value?.get(..6)?.try_into().ok()?;
        let commit = match i16::from_be_bytes([key[2], key[3]]) {
            ABORT => false,
            COMMIT => true,
            _ => return None,
        };
        Some(Marker {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            coordinator_epoch: i32::from_be_bytes([value[2], value[3], value[4], value[5]]),
            commit,
        })
    }
}

/// The other partitions of a marker's transaction, the next ones in its ring; [`SIBLINGS`] of them when
/// there may be more. Empty for a batch that names none.
pub fn siblings(batch: &[u8]) -> Vec<Sibling> {
    let Ok((header, body)) = records(batch, MARKER_BYTES_MAX) else { return Vec::new() };
    let Some(Ok(record)) = RecordIter::new(header, &body).next() else { return Vec::new() };
    let named = record.headers().find(|(key, _)| *key == SIBLINGS_HEADER);
    let Some((_, Some(mut bytes))) = named.filter(|_| header.is_control()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    while let Some((topic, rest)) = bytes.split_first_chunk::<16>()
        && found.len() < SIBLINGS
    {
        bytes = rest;
        let (Ok(partition), Ok(offset)) = (bytes.try_get_i32(), bytes.try_get_i64()) else { break };
        found.push((TopicPartition { topic: Uuid::from_bytes(*topic), partition }, offset));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::batch::BatchHeader;
    use super::*;

    #[test]
    fn a_marker_reads_back_and_is_laid_out_as_kafka_does() {
        for commit in [true, false] {
            let marker = Marker { producer_id: 7, producer_epoch: 3, coordinator_epoch: 9, commit };
            let batch = marker.to_batch(1000, &[]);
            let header = BatchHeader::verify(&batch).unwrap();
            assert!(header.is_control() && header.is_transactional());
            assert_eq!((header.base_sequence, header.record_count), (-1, 1));
            assert_eq!(header.total_bytes, 78, "as Kafka's own markers");
            assert_eq!(Marker::read(&batch), Some(marker));
            assert_eq!(siblings(&batch), []);
        }
    }

    #[test]
    fn a_marker_names_its_siblings() {
        let marker =
            Marker { producer_id: 7, producer_epoch: 3, coordinator_epoch: 9, commit: true };
        let at = |partition| TopicPartition { topic: Uuid::from_u128(5), partition };
        let all: Vec<Sibling> = (0..SIBLINGS as i32).map(|i| (at(i), i64::from(i) + 70)).collect();
        for count in [1, 2, SIBLINGS] {
            let batch = marker.to_batch(1000, &all[..count]);
            BatchHeader::verify(&batch).unwrap();
            assert_eq!(Marker::read(&batch), Some(marker));
            assert_eq!(siblings(&batch), all[..count]);
            for cut in 0..batch.len() {
                assert_eq!(siblings(&batch[..cut]), []);
            }
        }
    }
}
