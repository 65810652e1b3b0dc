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

use bytes::Bytes;

use super::batch::{BatchBuilder, Codec, RecordIter, records};

const ABORT: i16 = 0;
const COMMIT: i16 = 1;
/// A marker is a hundred bytes; nothing bigger is one.
const MARKER_BYTES_MAX: usize = 4096;

/// The end of a producer's transaction in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    pub producer_id: i64,
    /// The producer's, or one above it when the end also fences: older batches are refused then.
    pub producer_epoch: i16,
    pub coordinator_epoch: i32,
    pub commit: bool,
}

impl Marker {
    /// The batch that says this; base offset 0.
    pub(crate) fn to_batch(self, now_ms: i64) -> Bytes {
        let mut key = [0; 4];
        let kind = if self.commit { COMMIT } else { ABORT };
        key[2..].copy_from_slice(&kind.to_be_bytes());
        let mut value = [0; 6];
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        let mut builder =
            BatchBuilder::new(Codec::None).marker(self.producer_id, self.producer_epoch);
        builder.push(now_ms, Some(&key), Some(&value), &[]);
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

#[cfg(test)]
mod tests {
    use super::super::batch::BatchHeader;
    use super::*;

    #[test]
    fn a_marker_reads_back_and_is_laid_out_as_kafka_does() {
        for commit in [true, false] {
            let marker = Marker { producer_id: 7, producer_epoch: 3, coordinator_epoch: 9, commit };
            let batch = marker.to_batch(1000);
            let header = BatchHeader::verify(&batch).unwrap();
            assert!(header.is_control() && header.is_transactional());
            assert_eq!((header.base_sequence, header.record_count), (-1, 1));
            assert_eq!(header.total_bytes, 78, "as Kafka's own markers");
            assert_eq!(Marker::read(&batch), Some(marker));
        }
    }
}
