//! Makes a record batch.
//!
//! Used by the engine's sinks and by tools; clients bring their own batches. Base offset is 0 and the
//! leader epoch −1: the log fills them in.

use bytes::Bytes;

use super::batch::{
    BatchError, CODEC_BITS, CONTROL, HEADER_BYTES, LENGTH_END, NO_PRODUCER_ID, TRANSACTIONAL,
};
use super::compression::{Codec, compress, compress_at};

/// A record header: key and value.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// Collects records, then writes them as one batch.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    codec: Codec,
    records: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    producer: (i64, i16, i32),
    /// Bits beside the codec's.
    attributes: i16,
}

impl BatchBuilder {
    pub fn new(codec: Codec) -> BatchBuilder {
        BatchBuilder {
            codec,
            records: Vec::new(),
            count: 0,
            base_timestamp: 0,
            max_timestamp: i64::MIN,
            producer: (NO_PRODUCER_ID, -1, -1),
            attributes: 0,
        }
    }

    /// Makes it an idempotent producer's batch.
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> BatchBuilder {
        self.producer = (id, epoch, base_sequence);
        self
    }

    /// Makes it a batch of a transactional producer's open transaction.
    pub fn transactional(mut self) -> BatchBuilder {
        self.attributes |= TRANSACTIONAL;
        self
    }

    /// Makes it a marker of a transaction's end; see [`super::control`].
    pub(super) fn marker(mut self, id: i64, epoch: i16) -> BatchBuilder {
        self.producer = (id, epoch, -1);
        self.attributes |= TRANSACTIONAL | CONTROL;
        self
    }

    /// Adds a record; headers keep order and duplicates.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let body_bytes = 1
            + varlong_bytes(timestamp_delta)
            + varlong_bytes(i64::from(self.count))
            + nullable_bytes(key)
            + nullable_bytes(value)
            + varlong_bytes(headers.len() as i64)
            + headers
                .iter()
                .map(|(key, value)| nullable_bytes(Some(key)) + nullable_bytes(*value))
                .sum::<usize>();
        let out = &mut self.records;
        put_varlong(out, body_bytes as i64);
        out.push(0);
        put_varlong(out, timestamp_delta);
        put_varlong(out, i64::from(self.count));
        put_nullable(out, key);
        put_nullable(out, value);
        put_varlong(out, headers.len() as i64);
        for (key, value) in headers {
            put_nullable(out, Some(key));
            put_nullable(out, *value);
        }
        self.count += 1;
    }

    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the records so far, uncompressed.
    pub fn record_bytes(&self) -> usize {
        self.records.len()
    }

    /// The batch. It must hold a record. Errors only when the codec fails.
    pub fn build(self) -> Result<Bytes, BatchError> {
        if self.count == 0 {
            return Err(BatchError::Count);
        }
        let body = compress(self.codec, &self.records)?;
        let length = i32::try_from(HEADER_BYTES - LENGTH_END + body.len());
        let length = length.map_err(|_| BatchError::Length)?;
        let (producer_id, producer_epoch, base_sequence) = self.producer;
        let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
        out.extend_from_slice(&0i64.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&(-1i32).to_be_bytes());
        out.push(2);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(self.codec.bits() | self.attributes).to_be_bytes());
        out.extend_from_slice(&(self.count - 1).to_be_bytes());
        out.extend_from_slice(&self.base_timestamp.to_be_bytes());
        out.extend_from_slice(&self.max_timestamp.to_be_bytes());
        out.extend_from_slice(&producer_id.to_be_bytes());
        out.extend_from_slice(&producer_epoch.to_be_bytes());
        out.extend_from_slice(&base_sequence.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&body);
        let crc = crc_fast::crc32_iscsi(&out[21..]);
        out[17..21].copy_from_slice(&crc.to_be_bytes());
        Ok(Bytes::from(out))
    }
}

/// The same batch with another codec, at its default level unless one is given: the header's codec bits, length and checksum change.
/// `budget` bounds the uncompressed bytes.
pub fn recompress(
    batch: &[u8],
    codec: Codec,
    level: Option<i32>,
    budget: usize,
) -> Result<Bytes, BatchError> {
    let (header, records) = super::records::records(batch, budget)?;
    let body = compress_at(codec, level, &records)?;
    let length = i32::try_from(HEADER_BYTES - LENGTH_END + body.len());
    let length = length.map_err(|_| BatchError::Length)?;
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.extend_from_slice(&batch[..HEADER_BYTES]);
    out.extend_from_slice(&body);
    out[8..12].copy_from_slice(&length.to_be_bytes());
    let attributes = header.attributes & !CODEC_BITS | codec.bits();
    out[21..23].copy_from_slice(&attributes.to_be_bytes());
    let crc = crc_fast::crc32_iscsi(&out[21..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    Ok(Bytes::from(out))
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Bytes of a varint or varlong: both are the same encoding.
pub(super) fn varlong_bytes(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

pub(super) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    match bytes {
        None => 1,
        Some(bytes) => varlong_bytes(bytes.len() as i64) + bytes.len(),
    }
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varlong(out, -1),
        Some(bytes) => {
            put_varlong(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}
