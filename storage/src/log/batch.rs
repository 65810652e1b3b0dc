//! Kafka's record batch, format v2: the header, its checks, and the fields that may be patched.
//!
//! Layout, big-endian:
//!
//! ```text
//!  0 base offset i64        21 attributes i16          43 producer id i64
//!  8 length i32 (after it)  23 last offset delta i32   51 producer epoch i16
//! 12 leader epoch i32       27 base timestamp i64      53 base sequence i32
//! 16 magic i8 = 2           35 max timestamp i64       57 record count i32
//! 17 crc i32                                           61 records
//! ```
//!
//! The checksum (CRC-32C) covers byte 21 to the end, so base offset and leader epoch are patched
//! without touching it. Attributes: bits 0–2 codec, 3 LogAppendTime, 4 transactional, 5 control,
//! 6 delete horizon (the base timestamp is then the time from which tombstones and markers may go).
//!
//! A client's batch holds a record for each of its offsets. Compaction takes records away and keeps the
//! offsets: a stored batch may hold fewer, or none. Nothing here allocates or trusts a length before the bytes behind it are there.

use crate::error::ErrorCode;

pub use super::builder::{BatchBuilder, Header, recompress};
pub use super::compression::{Codec, decompress};
pub use super::records::{Record, RecordIter, records};

/// Bytes before the records.
pub const HEADER_BYTES: usize = 61;
/// Bytes before those that the length field counts.
pub const LENGTH_END: usize = 12;
/// Where the checksummed bytes begin.
const CRC_FROM: usize = 21;

pub const NO_TIMESTAMP: i64 = -1;
pub const NO_PRODUCER_ID: i64 = -1;

pub(super) const CODEC_BITS: i16 = 0x07;
pub(super) const LOG_APPEND_TIME: i16 = 0x08;
pub(super) const TRANSACTIONAL: i16 = 0x10;
pub(super) const CONTROL: i16 = 0x20;
pub(super) const DELETE_HORIZON: i16 = 0x40;

/// The fields of a batch header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes of the whole batch, header included.
    pub total_bytes: usize,
    pub leader_epoch: i32,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

/// Why bytes are not a record batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("the batch is cut short")]
    Short,
    #[error("the batch length is impossible")]
    Length,
    #[error("the batch format {0} is not 2")]
    Magic(i8),
    #[error("the checksum does not match")]
    Crc,
    #[error("offsets and record count disagree")]
    Count,
    #[error("the compression codec {0} is unknown")]
    Codec(i16),
    #[error("the compressed records cannot be read")]
    Compressed,
    #[error("the records take more than {0} bytes uncompressed")]
    TooBig(usize),
    #[error("a record is malformed")]
    Record,
}

impl From<BatchError> for ErrorCode {
    fn from(e: BatchError) -> ErrorCode {
        match e {
            BatchError::Magic(0 | 1) => ErrorCode::UnsupportedForMessageFormat,
            BatchError::Codec(_) => ErrorCode::UnsupportedCompressionType,
            BatchError::Count | BatchError::Record => ErrorCode::InvalidRecord,
            BatchError::TooBig(_) => ErrorCode::MessageTooLarge,
            _ => ErrorCode::CorruptMessage,
        }
    }
}

/// A fixed number of bytes at a place; `None` beyond the end.
fn at<const N: usize>(bytes: &[u8], from: usize) -> Option<[u8; N]> {
    bytes.get(from..from + N)?.try_into().ok()
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; the records need not be there. Checks format and
    /// length, not the checksum.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        // The magic byte is at the same place in all formats, so an old one is named for what it is.
        match bytes.get(16) {
            None => return Err(BatchError::Short),
            Some(2) => {}
            Some(magic) => return Err(BatchError::Magic(*magic as i8)),
        }
        BatchHeader::fields(bytes).ok_or(BatchError::Short)?
    }

    fn fields(bytes: &[u8]) -> Option<Result<BatchHeader, BatchError>> {
        let length = i32::from_be_bytes(at(bytes, 8)?);
        if length < (HEADER_BYTES - LENGTH_END) as i32 || length > i32::MAX - LENGTH_END as i32 {
            return Some(Err(BatchError::Length));
        }
        Some(Ok(BatchHeader {
            base_offset: i64::from_be_bytes(at(bytes, 0)?),
            total_bytes: length as usize + LENGTH_END,
            leader_epoch: i32::from_be_bytes(at(bytes, 12)?),
            crc: u32::from_be_bytes(at(bytes, 17)?),
            attributes: i16::from_be_bytes(at(bytes, 21)?),
            last_offset_delta: i32::from_be_bytes(at(bytes, 23)?),
            base_timestamp: i64::from_be_bytes(at(bytes, 27)?),
            max_timestamp: i64::from_be_bytes(at(bytes, 35)?),
            producer_id: i64::from_be_bytes(at(bytes, 43)?),
            producer_epoch: i16::from_be_bytes(at(bytes, 51)?),
            base_sequence: i32::from_be_bytes(at(bytes, 53)?),
            record_count: i32::from_be_bytes(at(bytes, 57)?),
        }))
    }

    /// Reads and checks a whole new batch at the start of `bytes`: format, length, checksum, and that
    /// there is a record for each offset.
    pub fn verify(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let header = BatchHeader::verify_stored(bytes)?;
        match header.record_count >= 1 && header.record_count - 1 == header.last_offset_delta {
            true => Ok(header),
            false => Err(BatchError::Count),
        }
    }

    /// As [`BatchHeader::verify`], for a batch that compaction may have been at: it may hold fewer
    /// records than offsets.
    pub fn verify_stored(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let body = bytes.get(CRC_FROM..header.total_bytes).ok_or(BatchError::Short)?;
        if crc_fast::crc32_iscsi(body) != header.crc {
            return Err(BatchError::Crc);
        }
        let last_delta = header.last_offset_delta;
        if last_delta < 0 || header.record_count < 0 || header.record_count - 1 > last_delta {
            return Err(BatchError::Count);
        }
        header.codec()?;
        Ok(header)
    }

    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// One past the last offset.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    pub fn codec(&self) -> Result<Codec, BatchError> {
        Codec::from_bits(self.attributes & CODEC_BITS)
    }

    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// From when on compaction may drop the batch's tombstones or marker; `None` when it has not
    /// seen them yet.
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// The last sequence number of an idempotent producer's batch; wraps from 2³¹−1 to 0.
    pub fn last_sequence(&self) -> i32 {
        sequence_after(self.base_sequence, self.last_offset_delta)
    }
}

/// The sequence number `steps` after `sequence` (Kafka `DefaultRecordBatch.incrementSequence`).
pub fn sequence_after(sequence: i32, steps: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(steps);
    (sum % (1 << 31)) as i32
}

/// Walks over batches laid back to back. Ends at the end of the bytes; a malformed or cut batch is
/// an error and the last item.
pub fn batches(bytes: &[u8]) -> impl Iterator<Item = Result<(BatchHeader, &[u8]), BatchError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = BatchHeader::parse(rest).and_then(|header| {
            let batch = rest.get(..header.total_bytes).ok_or(BatchError::Short)?;
            Ok((header, batch))
        });
        rest = match &next {
            Ok((header, _)) => &rest[header.total_bytes..],
            Err(_) => &[],
        };
        Some(next)
    })
}

/// Writes the offsets the log gives to a batch. The checksum stays valid.
pub fn patch_offset(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    batch[0..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Gives all records of a batch the broker's time, and the batch a new checksum.
pub fn patch_append_time(batch: &mut [u8], attributes: i16, now_ms: i64) {
    batch[21..23].copy_from_slice(&(attributes | LOG_APPEND_TIME).to_be_bytes());
    batch[35..43].copy_from_slice(&now_ms.to_be_bytes());
    let crc = crc_fast::crc32_iscsi(&batch[CRC_FROM..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}
