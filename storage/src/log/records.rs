//! The records inside a batch, borrowed from its uncompressed bytes.
//!
//! Record: varint length, i8 attributes, varlong timestamp delta, varint offset delta, then key and
//! value as varint length (−1: null) and bytes, then a varint count of headers, each a key (never
//! null) and a value. Varints are zigzag, at most 5 bytes (varlong: 10). Header keys may repeat and
//! their order matters.

use super::batch::{BatchError, BatchHeader, HEADER_BYTES, decompress};
use std::borrow::Cow;

/// One record. Key, value and headers point into the uncompressed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
    header_count: u32,
    /// The whole record, and what follows its timestamp delta: for who writes it again.
    pub(super) raw: &'a [u8],
    pub(super) after_time: &'a [u8],
}

impl<'a> Record<'a> {
    /// The headers in their order. They were checked when the record was read.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut rest = Reader { bytes: self.headers };
        (0..self.header_count).map_while(move |_| rest.header())
    }

    pub fn header_count(&self) -> usize {
        self.header_count as usize
    }
}

/// The uncompressed bytes of a whole batch's records. `budget` bounds the memory this may take.
pub fn records<'a>(
    batch: &'a [u8],
    budget: usize,
) -> Result<(BatchHeader, Cow<'a, [u8]>), BatchError> {
    let header = BatchHeader::parse(batch)?;
    let body = batch.get(HEADER_BYTES..header.total_bytes).ok_or(BatchError::Short)?;
    Ok((header, decompress(header.codec()?, body, budget)?))
}

/// Iterates over the records of a batch; made from its header and uncompressed bytes. Ends after
/// the header's count; missing or malformed records are an error and the last item.
pub struct RecordIter<'a> {
    header: BatchHeader,
    rest: Reader<'a>,
    left: i32,
}

impl<'a> RecordIter<'a> {
    pub fn new(header: BatchHeader, uncompressed: &'a [u8]) -> RecordIter<'a> {
        RecordIter { header, rest: Reader { bytes: uncompressed }, left: header.record_count }
    }

    fn read(&mut self) -> Option<Record<'a>> {
        let before = self.rest.bytes;
        let length = self.rest.varint()?;
        let mut body = Reader { bytes: self.rest.take(usize::try_from(length).ok()?)? };
        let raw = &before[..before.len() - self.rest.bytes.len()];
        let _attributes = body.take(1)?;
        let timestamp_delta = body.varlong()?;
        let after_time = body.bytes;
        let offset_delta = body.varint()?;
        let key = body.nullable()?;
        let value = body.nullable()?;
        let header_count = u32::try_from(body.varint()?).ok()?;
        let headers = body.bytes;
        for _ in 0..header_count {
            body.header()?;
        }
        if !body.bytes.is_empty() {
            return None;
        }
        let timestamp = match self.header.is_log_append_time() {
            true => self.header.max_timestamp,
            false => self.header.base_timestamp.wrapping_add(timestamp_delta),
        };
        let offset = self.header.base_offset.wrapping_add(i64::from(offset_delta));
        Some(Record { offset, timestamp, key, value, headers, header_count, raw, after_time })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let record = self.read();
        if record.is_none() {
            self.left = 0;
        }
        Some(record.ok_or(BatchError::Record))
    }
}

/// Reads from the front of bytes; `None` when they do not hold what is asked.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, back) = self.bytes.split_at_checked(count)?;
        self.bytes = back;
        Some(front)
    }

    /// Base-128 with the low group first; at most `bytes_max` bytes.
    fn unsigned(&mut self, bytes_max: usize) -> Option<u64> {
        let mut value = 0u64;
        for (i, byte) in self.bytes.iter().take(bytes_max).enumerate() {
            value |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
            if byte & 0x80 == 0 {
                self.bytes = &self.bytes[i + 1..];
                return Some(value);
            }
        }
        None
    }

    fn varint(&mut self) -> Option<i32> {
        let raw = u32::try_from(self.unsigned(5)?).ok()?;
        Some((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    fn varlong(&mut self) -> Option<i64> {
        let raw = self.unsigned(10)?;
        Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// Outer `None`: malformed. Inner `None`: null.
    fn nullable(&mut self) -> Option<Option<&'a [u8]>> {
        match self.varint()? {
            -1 => Some(None),
            length => Some(Some(self.take(usize::try_from(length).ok()?)?)),
        }
    }

    fn header(&mut self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        let key = self.nullable()??;
        let value = self.nullable()?;
        Some((key, value))
    }
}
