//! Formats: the bytes of a record's key or value, and the columns they hold.
//!
//! One file or folder per format; the rules are in `reference/ksqldb.md` 3. A [`Decoder`] appends one
//! row per record to Arrow builders, straight from the log's bytes; an [`Encoder`] writes one payload
//! per row. Both know the columns of one part (key or value) of one relation and nothing of logs.
//!
//! Invariants: a decoder appends exactly one row per call, also when it fails (the caller drops that
//! row), so that key and value columns stay in step; no payload makes it panic or allocate more than
//! a small multiple of its own length.

mod columns;
mod delimited;
pub(crate) mod json;
mod kafka;
mod none;
mod number;
#[cfg(test)]
mod tests;
pub mod window;

use std::ops::Range;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::Buffer;
use bytes::Bytes;
use millstream_sql::catalog::{Format, FormatKind};
use millstream_sql::types::Column;

/// A stretch of log bytes that decoded text may stay a view into.
#[derive(Clone, Debug)]
pub struct Block {
    /// Unlike that of any other block given to the same decoder before it finishes.
    pub id: u32,
    pub buffer: Buffer,
}

impl Block {
    pub fn new(id: u32, bytes: Bytes) -> Self {
        Self { id, buffer: Buffer::from(bytes) }
    }

    /// Where `part` lies in the block, if it does.
    fn offset_of(&self, part: &[u8]) -> Option<u32> {
        let offset = (part.as_ptr() as usize).checked_sub(self.buffer.as_ptr() as usize)?;
        let inside = offset.checked_add(part.len())? <= self.buffer.len();
        if inside { u32::try_from(offset).ok() } else { None }
    }
}

/// The bytes of one key or value; `None` is Kafka's null. `block` is what they lie in, if text may
/// stay a view into it.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    pub bytes: Option<&'a [u8]>,
    pub block: Option<&'a Block>,
}

impl<'a> Payload<'a> {
    pub fn of(bytes: Option<&'a [u8]>) -> Self {
        Self { bytes, block: None }
    }
}

/// Whether a decoded payload holds a row, or is NULL as a whole (a tombstone).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    Row,
    Null,
}

/// Why a payload is not a row of the declared columns. JSON's reasons start with the path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

impl DecodeError {
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Turns payloads into columns.
pub trait Decoder: Send {
    /// Appends one row: the payload's values, or NULL in every column when the payload is NULL. When
    /// this fails there is a row all the same, and what stands in it is to be left out.
    ///
    /// # Errors
    /// When the payload does not hold the declared columns.
    fn decode(&mut self, payload: Payload<'_>) -> Result<Decoded, DecodeError>;

    /// Says which columns anybody reads: the others may come out NULL. What does not fit them fails
    /// all the same. Before the first row.
    fn need_only(&mut self, columns: &[bool]) {
        let _ = columns;
    }

    /// The columns so far, in declared order; the decoder starts anew.
    fn finish(&mut self) -> Vec<ArrayRef>;
}

/// The payloads of some rows, all in one buffer.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    bytes: Vec<u8>,
    rows: Vec<EncodedRow>,
}

#[derive(Clone, Debug)]
enum EncodedRow {
    Null,
    Bytes(Range<usize>),
    Failed(String),
}

impl Encoded {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The payload of a row (`None`: null), or why it cannot be written.
    ///
    /// # Errors
    /// The reason, for the processing log.
    pub fn row(&self, row: usize) -> Result<Option<&[u8]>, &str> {
        match &self.rows[row] {
            EncodedRow::Null => Ok(None),
            EncodedRow::Bytes(range) => Ok(Some(&self.bytes[range.clone()])),
            EncodedRow::Failed(reason) => Err(reason),
        }
    }

    fn null(&mut self) {
        self.rows.push(EncodedRow::Null);
    }

    /// Ends a row that wrote everything from `start` on.
    fn end_row(&mut self, start: usize) {
        self.rows.push(EncodedRow::Bytes(start..self.bytes.len()));
    }

    /// Ends a row that cannot be written; what it wrote is taken back.
    fn fail_row(&mut self, start: usize, reason: impl Into<String>) {
        self.bytes.truncate(start);
        self.rows.push(EncodedRow::Failed(reason.into()));
    }
}

/// Turns columns into payloads.
pub trait Encoder: Send {
    /// One payload per row of `columns`, which are those the encoder was made for. `rows` is their
    /// length, for formats without columns.
    fn encode(&self, columns: &[ArrayRef], rows: usize) -> Encoded;
}

/// A format that a plan should not have let through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {0} format is not built in yet; use JSON, DELIMITED or KAFKA")]
pub struct NotBuilt(pub FormatKind);

/// A decoder for these columns of a key or value.
///
/// # Errors
/// When the format is known by name only.
pub fn decoder(format: &Format, columns: &[Column]) -> Result<Box<dyn Decoder>, NotBuilt> {
    Ok(match format.kind {
        // Without columns there is nothing to read, whatever the format: a stream without a key.
        _ if columns.is_empty() => Box::new(none::NoneDecoder::new(columns)),
        FormatKind::None => Box::new(none::NoneDecoder::new(columns)),
        FormatKind::Kafka => Box::new(kafka::KafkaDecoder::new(columns)),
        FormatKind::Delimited => {
            Box::new(delimited::DelimitedDecoder::new(columns, format.delimiter.unwrap_or(',')))
        }
        FormatKind::Json => Box::new(json::JsonDecoder::new(columns, is_bare(format, columns))),
        FormatKind::JsonSr | FormatKind::Avro | FormatKind::Protobuf | FormatKind::ProtobufNoSr => {
            return Err(NotBuilt(format.kind));
        }
    })
}

/// An encoder for these columns of a key or value.
///
/// # Errors
/// When the format is known by name only.
pub fn encoder(format: &Format, columns: &[Column]) -> Result<Box<dyn Encoder>, NotBuilt> {
    Ok(match format.kind {
        _ if columns.is_empty() => Box::new(none::NoneEncoder),
        FormatKind::None => Box::new(none::NoneEncoder),
        FormatKind::Kafka => Box::new(kafka::KafkaEncoder),
        FormatKind::Delimited => {
            Box::new(delimited::DelimitedEncoder::new(format.delimiter.unwrap_or(',')))
        }
        FormatKind::Json => Box::new(json::JsonEncoder::new(columns, is_bare(format, columns))),
        FormatKind::JsonSr | FormatKind::Avro | FormatKind::Protobuf | FormatKind::ProtobufNoSr => {
            return Err(NotBuilt(format.kind));
        }
    })
}

/// An encoder for the keys a query writes. A key of several columns that are all NULL is a record without
/// a key, handed through; unless the query made the keys itself (`rekeyed`): then it is one of NULLs, as
/// ksqlDB distinguishes them.
///
/// # Errors
/// When the format is known by name only.
pub fn key_encoder(
    format: &Format,
    columns: &[Column],
    rekeyed: bool,
) -> Result<Box<dyn Encoder>, NotBuilt> {
    let encoder = encoder(format, columns)?;
    if rekeyed || columns.len() < 2 {
        return Ok(encoder);
    }
    Ok(Box::new(NullKeys(encoder)))
}

/// Writes a null payload for rows whose columns are all NULL.
struct NullKeys(Box<dyn Encoder>);

impl Encoder for NullKeys {
    fn encode(&self, columns: &[ArrayRef], rows: usize) -> Encoded {
        let mut encoded = self.0.encode(columns, rows);
        if columns.iter().any(|c| c.null_count() == 0) {
            return encoded;
        }
        for (row, payload) in encoded.rows.iter_mut().enumerate() {
            if columns.iter().all(|c| c.is_null(row)) {
                *payload = EncodedRow::Null;
            }
        }
        encoded
    }
}

/// Whether the payload is the single column's value itself, not an object with one field.
fn is_bare(format: &Format, columns: &[Column]) -> bool {
    format.unwrap_single && columns.len() == 1
}
