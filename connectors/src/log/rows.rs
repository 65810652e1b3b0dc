//! Records into rows: one builder per source.
//!
//! Keys and values are decoded column by column; header columns come from the record's headers. A
//! record that fails is reported and its half-built row left out when the rows are finished.

use std::sync::Arc;

use arrow::array::builder::{BinaryBuilder, BooleanBufferBuilder};
use arrow::array::{ArrayRef, ListArray, RecordBatch, RecordBatchOptions, StringViewArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, SchemaRef};
use millstream_engine::rows::{Headers, Rows, Triggers, Windows};
use millstream_sql::catalog::KeyWindow;
use millstream_sql::plan;
use millstream_sql::types::{Column, HeaderColumn};

use crate::formats::{self, Block, DecodeError, Decoded, Decoder, NotBuilt, Payload, window};

/// A record to be made a row.
pub struct RawRecord<'a> {
    pub order: u64,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub block: &'a Block,
    pub headers: Option<Arc<Headers>>,
}

/// Collects the rows of one source; the conformance runner uses it alone.
pub struct RowBuilder {
    schema: SchemaRef,
    key_len: usize,
    window: Option<KeyWindow>,
    key: Box<dyn Decoder>,
    value: Box<dyn Decoder>,
    /// Header columns by their place among the value columns.
    header_columns: Vec<(usize, HeaderColumn)>,
    /// All value columns are headers: the decoder has nothing to say whether there is a value.
    only_headers: bool,
    times: Vec<i64>,
    starts: Vec<i64>,
    ends: Vec<i64>,
    present: BooleanBufferBuilder,
    tombstones: usize,
    orders: Vec<u64>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    headers: Vec<Option<Arc<Headers>>>,
    any_headers: bool,
    failed: Vec<u32>,
}

impl RowBuilder {
    pub fn new(source: &plan::Source) -> Result<Self, NotBuilt> {
        let schema = &source.schema;
        let columns: Vec<Column> =
            schema.value.iter().filter(|c| c.header.is_none()).cloned().collect();
        let header_columns = schema.value.iter().enumerate();
        let header_columns: Vec<_> =
            header_columns.filter_map(|(i, c)| Some((i, c.header.clone()?))).collect();
        let only_headers = columns.is_empty() && !header_columns.is_empty();
        Ok(RowBuilder {
            schema: schema.to_arrow(),
            key_len: schema.key.len(),
            window: source.window,
            key: formats::decoder(&source.key_format, &schema.key)?,
            value: formats::decoder(&source.value_format, &columns)?,
            header_columns,
            only_headers,
            times: Vec::new(),
            starts: Vec::new(),
            ends: Vec::new(),
            present: BooleanBufferBuilder::new(0),
            tombstones: 0,
            orders: Vec::new(),
            partitions: Vec::new(),
            offsets: Vec::new(),
            headers: Vec::new(),
            any_headers: false,
            failed: Vec::new(),
        })
    }

    /// Says which of the relation's columns anybody reads.
    pub(super) fn need_only(&mut self, columns: &[bool]) {
        let values = columns.get(self.key_len..).unwrap_or_default();
        let is_header = |i: &usize| self.header_columns.iter().any(|(place, _)| place == i);
        let values: Vec<bool> =
            (0..values.len()).filter(|i| !is_header(i)).map(|i| values[i]).collect();
        self.value.need_only(&values);
    }

    /// Appends the record's row.
    ///
    /// # Errors
    /// When its key or value cannot be decoded; the row is then left out.
    pub fn push(&mut self, record: RawRecord<'_>) -> Result<(), DecodeError> {
        let (key, bounds) = match self.split_window(record.key) {
            Ok((key, bounds)) => (Ok(key), bounds),
            Err(e) => (Err(e), (0, 0)),
        };
        // Both are always called, so that their columns keep one length. Keys are short and live
        // long in state: they are copied rather than keeping the whole block in memory.
        let key_done = self.key.decode(Payload::of(key.as_ref().ok().copied().flatten()));
        let value = Payload { bytes: record.value, block: Some(record.block) };
        let value_done = self.value.decode(value);
        let result = match (key, key_done, value_done) {
            (Err(e), ..) => Err(e),
            (_, Err(e), _) => Err(DecodeError::new(format!("key: {e}"))),
            (_, _, Err(e)) => Err(e),
            (_, _, Ok(decoded)) => Ok(decoded),
        };
        let present = match &result {
            Ok(_) if self.only_headers => record.value.is_some(),
            other => *other == Ok(Decoded::Row),
        };
        if !present {
            self.tombstones += 1;
        }
        if result.is_err() {
            self.failed.push(self.times.len() as u32);
        }
        self.present.append(present);
        self.times.push(record.timestamp);
        if self.window.is_some() {
            self.starts.push(bounds.0);
            self.ends.push(bounds.1);
        }
        self.orders.push(record.order);
        self.partitions.push(record.partition);
        self.offsets.push(record.offset);
        self.any_headers |= record.headers.is_some();
        self.headers.push(record.headers);
        result.map(|_| ())
    }

    fn split_window<'a>(
        &self,
        key: Option<&'a [u8]>,
    ) -> Result<(Option<&'a [u8]>, window::Bounds), DecodeError> {
        match (self.window, key) {
            (None, key) => Ok((key, (0, 0))),
            (Some(window), Some(key)) => {
                window::split(key, window).map(|(key, bounds)| (Some(key), bounds))
            }
            (Some(_), None) => Err(DecodeError::new("the record has no key to carry a window")),
        }
    }

    /// The rows so far, if any; the builder starts anew.
    ///
    /// # Errors
    /// Only if a decoder breaks its promise of one row per call.
    pub fn finish(&mut self) -> Result<Option<Rows>, String> {
        let len = self.times.len();
        if len == 0 {
            return Ok(None);
        }
        let mut columns = self.key.finish();
        let mut values = self.value.finish();
        let headers = std::mem::take(&mut self.headers);
        for (place, column) in &self.header_columns {
            let nulls = NullBuffer::new(self.present.finish_cloned());
            values.insert((*place).min(values.len()), header_column(column, &headers, &nulls));
        }
        columns.append(&mut values);
        let options = RecordBatchOptions::new().with_row_count(Some(len));
        let columns = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|e| format!("decoded columns do not fit together: {e}"))?;
        let present = self.present.finish();
        let any_headers = std::mem::take(&mut self.any_headers);
        let rows = Rows {
            columns,
            key_len: self.key_len,
            times: std::mem::take(&mut self.times).into(),
            windows: self.window.is_some().then(|| Windows {
                starts: std::mem::take(&mut self.starts).into(),
                ends: std::mem::take(&mut self.ends).into(),
            }),
            present: (std::mem::take(&mut self.tombstones) > 0).then_some(present),
            old: None,
            triggers: Triggers {
                order: std::mem::take(&mut self.orders).into(),
                partitions: std::mem::take(&mut self.partitions).into(),
                offsets: std::mem::take(&mut self.offsets).into(),
                headers: any_headers.then(|| headers.into()),
            },
        };
        let failed = std::mem::take(&mut self.failed);
        if failed.is_empty() {
            return Ok(Some(rows));
        }
        let mut failed = failed.into_iter().peekable();
        let kept: Vec<u32> =
            (0..len as u32).filter(|row| failed.next_if_eq(row).is_none()).collect();
        if kept.is_empty() {
            return Ok(None);
        }
        rows.take(&kept).map(Some).map_err(|e| e.to_string())
    }
}

/// The column of a `HEADERS` or `HEADER('k')` declaration; NULL where the record's value is.
fn header_column(
    column: &HeaderColumn,
    headers: &[Option<Arc<Headers>>],
    present: &NullBuffer,
) -> ArrayRef {
    let of = |row: usize| headers[row].iter().flat_map(|headers| headers.0.iter());
    match column {
        HeaderColumn::Key(key) => {
            let mut values = BinaryBuilder::new();
            for row in 0..headers.len() {
                let last = of(row).rfind(|(name, _)| name == key);
                let value = last.and_then(|(_, value)| value.as_deref());
                values.append_option(value.filter(|_| present.is_valid(row)));
            }
            Arc::new(values.finish())
        }
        HeaderColumn::All => {
            let mut names = Vec::new();
            let mut values = BinaryBuilder::new();
            let mut lengths = Vec::with_capacity(headers.len());
            for row in 0..headers.len() {
                let before = names.len();
                if present.is_valid(row) {
                    for (name, value) in of(row) {
                        names.push(Some(name.as_str()));
                        values.append_option(value.as_deref());
                    }
                }
                lengths.push(names.len() - before);
            }
            all_headers(names, values, lengths, present.clone())
        }
    }
}

/// `ARRAY<STRUCT<KEY STRING, VALUE BYTES>>`
fn all_headers(
    names: Vec<Option<&str>>,
    mut values: BinaryBuilder,
    lengths: Vec<usize>,
    present: NullBuffer,
) -> ArrayRef {
    let field = |name: &str, ty: DataType| arrow::datatypes::Field::new(name, ty, true);
    let fields = vec![field("KEY", DataType::Utf8View), field("VALUE", DataType::Binary)];
    let names: ArrayRef = Arc::new(StringViewArray::from_iter(names));
    let items = StructArray::new(fields.into(), vec![names, Arc::new(values.finish())], None);
    let item = Arc::new(field("item", arrow::array::Array::data_type(&items).clone()));
    let ends = OffsetBuffer::from_lengths(lengths);
    Arc::new(ListArray::new(item, ends, Arc::new(items), Some(present)))
}
