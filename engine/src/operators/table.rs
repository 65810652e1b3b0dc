//! A table in state: what several operators keep of their keys.
//!
//! ```text
//! key:   key columns as arrow-row bytes [ ‖ window start i64 BE, sign flipped ‖ window end likewise ]
//! value: time i64 LE ‖ value columns as arrow-row bytes
//! ```
//!
//! So byte order is key order, then window order. Operators that keep several tables put a byte before
//! the key ([`TableCodec::tag`]).

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use millstream_sql::types::Schema;

use crate::codec::{Encoded, RowCodec};
use crate::error::Result;
use crate::rows::{Millis, Rows, TriggersBuilder, Windows, batch};
use crate::snapshot::Selection;
use crate::state::{StateError, StateStore, Value};

pub(crate) struct TableCodec {
    keys: RowCodec,
    values: RowCodec,
    schema: SchemaRef,
    key_len: usize,
    windowed: bool,
    tag: u8,
}

impl TableCodec {
    /// For rows of `schema`, `windowed` if their keys carry a window.
    pub(crate) fn new(schema: &Schema, windowed: bool, tag: u8) -> Result<Self> {
        Ok(TableCodec {
            keys: RowCodec::new(&schema.key)?,
            values: RowCodec::new(&schema.value)?,
            schema: schema.to_arrow(),
            key_len: schema.key.len(),
            windowed,
            tag,
        })
    }

    /// The state keys of all rows.
    pub(crate) fn keys(&self, rows: &Rows) -> Result<Vec<Vec<u8>>> {
        let encoded = self.keys.encode(rows.key_columns(), rows.len())?;
        Ok((0..rows.len())
            .map(|i| {
                let window = rows.windows.as_ref().map(|w| (w.starts[i], w.ends[i]));
                self.key(encoded.row(i), window)
            })
            .collect())
    }

    pub(crate) fn key(&self, key: &[u8], window: Option<(Millis, Millis)>) -> Vec<u8> {
        let mut out = Vec::with_capacity(key.len() + 17);
        out.push(self.tag);
        out.extend_from_slice(key);
        if let Some((start, end)) = window.filter(|_| self.windowed) {
            out.extend_from_slice(&ordered(start));
            out.extend_from_slice(&ordered(end));
        }
        out
    }

    pub(crate) fn values(&self, rows: &Rows) -> Result<Encoded> {
        self.values.encode(rows.value_columns(), rows.len())
    }

    pub(crate) fn value(&self, time: Millis, row: &[u8]) -> Vec<u8> {
        [&time.to_le_bytes(), row].concat()
    }

    /// The value columns of what was found, NULL where nothing was, and where something was.
    pub(crate) fn decode(&self, found: &[Option<Value>]) -> Result<(Vec<ArrayRef>, BooleanBuffer)> {
        let rows: Vec<Option<&[u8]>> =
            found.iter().map(|v| v.as_deref().map(row_of).transpose()).collect::<Result<_>>()?;
        self.values.decode_optional(&rows)
    }

    /// The table's rows that `selection` may want.
    pub(crate) fn read(&self, store: &mut StateStore, selection: &Selection) -> Result<Vec<Rows>> {
        let mut found: Vec<(Vec<u8>, Value)> = Vec::new();
        match &selection.keys {
            None => {
                store.scan(&[self.tag], &[self.tag + 1], &mut |key, value| {
                    found.push((key.to_vec(), value.into()));
                    true
                })?;
            }
            Some(keys) => {
                let count = keys.first().map_or(0, |c| c.len());
                let encoded = self.keys.encode(keys, count)?;
                for i in 0..count {
                    let key = self.key(encoded.row(i), None);
                    if self.windowed {
                        for (key, value) in store.scan_prefix(&key)? {
                            found.push((key, value.into()));
                        }
                    } else if let Some(value) = store.get(&key)? {
                        found.push((key, value));
                    }
                }
            }
        }
        self.rows(found, selection)
    }

    fn rows(&self, found: Vec<(Vec<u8>, Value)>, selection: &Selection) -> Result<Vec<Rows>> {
        let (mut keys, mut times, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for (key, value) in &found {
            let mut key = &key[1..];
            if self.windowed {
                let (rest, window) = key.split_at_checked(key.len().wrapping_sub(16)).ok_or_else(damaged)?;
                let (start, end) = (from_ordered(&window[..8]), from_ordered(&window[8..]));
                if !selection.wants_window(start, end) {
                    continue;
                }
                key = rest;
                starts.push(start);
                ends.push(end);
            }
            keys.push(key);
            times.push(time_of(value)?);
            values.push(row_of(value)?);
        }
        if keys.is_empty() {
            return Ok(vec![]);
        }
        let len = keys.len();
        let mut columns = self.keys.decode(keys)?;
        columns.extend(self.values.decode(values)?);
        Ok(vec![Rows {
            columns: batch(&self.schema, columns, len)?,
            key_len: self.key_len,
            times: times.into(),
            windows: self
                .windowed
                .then(|| Windows { starts: starts.into(), ends: ends.into() }),
            present: None,
            old: None,
            triggers: TriggersBuilder::untriggered(len),
        }])
    }
}

pub(crate) fn time_of(value: &[u8]) -> Result<Millis> {
    let bytes = value.first_chunk::<8>().ok_or_else(damaged)?;
    Ok(Millis::from_le_bytes(*bytes))
}

pub(crate) fn row_of(value: &[u8]) -> Result<&[u8]> {
    Ok(value.get(8..).ok_or_else(damaged)?)
}

pub(crate) fn damaged() -> StateError {
    StateError::Damaged("a row of a table".into())
}

/// Eight bytes whose order is the number's.
pub(crate) fn ordered(n: i64) -> [u8; 8] {
    ((n as u64) ^ (1 << 63)).to_be_bytes()
}

/// The number in eight bytes of `ordered`.
pub(crate) fn from_ordered(bytes: &[u8]) -> i64 {
    let mut all = [0; 8];
    all.copy_from_slice(&bytes[..8]);
    (u64::from_be_bytes(all) ^ (1 << 63)) as i64
}
