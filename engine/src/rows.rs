//! Rows: what operators compute with.
//!
//! One [`Rows`] is a run of rows in the order they are to be seen, in columns. Beside the columns of
//! the step's schema each row has a time, a window if its key has one, whether its value is present,
//! for tables the value it replaces, and the record that triggered it (its place in the epoch's merged
//! input order, partition, offset, headers), because Kafka Streams lets headers pass through everything.
//!
//! Invariants: all parts have one length; `order` never falls within one `Rows`; `old` is there
//! for rows of a table unless the plan keeps none (a source table nobody needs the old values of); rows whose value is not present have NULL in every value column.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::compute::{concat, concat_batches, take, take_record_batch};
use arrow::datatypes::{ArrowNativeType, SchemaRef};

use crate::error::Result;

/// Milliseconds since 1970, as in Kafka.
pub type Millis = i64;

/// A run of rows of one step in one epoch.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Key columns, then value columns, as the step's schema says.
    pub columns: RecordBatch,
    /// How many of `columns` are key columns.
    pub key_len: usize,
    /// Record time (ROWTIME).
    pub times: ScalarBuffer<Millis>,
    /// Set when the step's keys carry a window.
    pub windows: Option<Windows>,
    /// False where the record's value is NULL: a tombstone. `None`: all are present.
    pub present: Option<BooleanBuffer>,
    /// For a table: what each row replaces.
    pub old: Option<OldValues>,
    /// What caused each row.
    pub triggers: Triggers,
}

/// Windows of the keys; for sessions `ends` is the time of the last event, else exclusive.
#[derive(Clone, Debug)]
pub struct Windows {
    pub starts: ScalarBuffer<Millis>,
    pub ends: ScalarBuffer<Millis>,
}

/// The value that each row of a table replaces.
#[derive(Clone, Debug)]
pub struct OldValues {
    /// The value columns only.
    pub columns: Vec<ArrayRef>,
    /// False where the key had no value before.
    pub present: BooleanBuffer,
}

/// The record that caused each row.
#[derive(Clone, Debug)]
pub struct Triggers {
    /// The record's place among all records of the epoch, over all sources: what "before" means.
    pub order: ScalarBuffer<u64>,
    pub partitions: ScalarBuffer<i32>,
    pub offsets: ScalarBuffer<i64>,
    /// `None`: no row has headers.
    pub headers: Option<Arc<[Option<Arc<Headers>>]>>,
}

/// A record's headers in order, duplicates kept; a value may be NULL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, Option<Vec<u8>>)>);

impl Rows {
    pub fn len(&self) -> usize {
        self.times.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether row `row` has a value (is no tombstone).
    pub fn is_present(&self, row: usize) -> bool {
        self.present.as_ref().is_none_or(|p| p.value(row))
    }

    pub fn key_columns(&self) -> &[ArrayRef] {
        &self.columns.columns()[..self.key_len]
    }

    pub fn value_columns(&self) -> &[ArrayRef] {
        &self.columns.columns()[self.key_len..]
    }
}

impl Rows {
    /// The rows at `places`, in that order.
    ///
    /// # Errors
    /// When a place is beyond the end.
    pub fn take(&self, places: &[u32]) -> Result<Rows> {
        let indices = UInt32Array::from(places.to_vec());
        let columns = take_record_batch(&self.columns, &indices)?;
        let old = match &self.old {
            None => None,
            Some(old) => Some(OldValues {
                columns: old
                    .columns
                    .iter()
                    .map(|c| Ok(take(c.as_ref(), &indices, None)?))
                    .collect::<Result<_>>()?,
                present: take_bits(&old.present, places),
            }),
        };
        Ok(Rows {
            columns,
            key_len: self.key_len,
            times: take_values(&self.times, places),
            windows: self.windows.as_ref().map(|w| w.take(places)),
            present: self.present.as_ref().map(|p| take_bits(p, places)),
            old,
            triggers: self.triggers.take(places),
        })
    }

    /// The rows where `keep` is set; all of them without a copy if that is every row.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn filter(&self, keep: &BooleanBuffer) -> Result<Rows> {
        if keep.count_set_bits() == self.len() {
            return Ok(self.clone());
        }
        let places: Vec<u32> = keep.set_indices().map(|i| i as u32).collect();
        self.take(&places)
    }

    /// `len` rows from `offset`, without a copy.
    pub fn slice(&self, offset: usize, len: usize) -> Rows {
        Rows {
            columns: self.columns.slice(offset, len),
            key_len: self.key_len,
            times: self.times.slice(offset, len),
            windows: self.windows.as_ref().map(|w| Windows {
                starts: w.starts.slice(offset, len),
                ends: w.ends.slice(offset, len),
            }),
            present: self.present.as_ref().map(|p| p.slice(offset, len)),
            old: self.old.as_ref().map(|old| OldValues {
                columns: old.columns.iter().map(|c| c.slice(offset, len)).collect(),
                present: old.present.slice(offset, len),
            }),
            triggers: self.triggers.slice(offset, len),
        }
    }

    /// All rows of `parts`, which must be of one step, as one run; `None` if there are none.
    ///
    /// # Errors
    /// When the parts' columns differ.
    pub fn concat(parts: &[Rows]) -> Result<Option<Rows>> {
        let [first, rest @ ..] = parts else { return Ok(None) };
        if rest.is_empty() {
            return Ok(Some(first.clone()));
        }
        let batches: Vec<RecordBatch> = parts.iter().map(|p| p.columns.clone()).collect();
        let columns = concat_batches(first.columns.schema_ref(), &batches)?;
        let present = parts.iter().any(|p| p.present.is_some()).then(|| {
            parts.iter().flat_map(|p| (0..p.len()).map(|i| p.is_present(i))).collect()
        });
        let old = match &first.old {
            None => None,
            Some(old) => {
                let mut columns = Vec::with_capacity(old.columns.len());
                for i in 0..old.columns.len() {
                    let of: Vec<&dyn Array> =
                        parts.iter().flat_map(|p| p.old.as_ref()).map(|o| o.columns[i].as_ref()).collect();
                    columns.push(concat(&of)?);
                }
                let present =
                    parts.iter().flat_map(|p| p.old.as_ref()).flat_map(|o| o.present.iter()).collect();
                Some(OldValues { columns, present })
            }
        };
        let windows = first.windows.is_some().then(|| Windows {
            starts: join(parts.iter().flat_map(|p| p.windows.as_ref()).map(|w| &w.starts)),
            ends: join(parts.iter().flat_map(|p| p.windows.as_ref()).map(|w| &w.ends)),
        });
        let mut triggers = TriggersBuilder::default();
        for part in parts {
            (0..part.len()).for_each(|i| triggers.push(&part.triggers, i));
        }
        Ok(Some(Rows {
            columns,
            key_len: first.key_len,
            times: join(parts.iter().map(|p| &p.times)),
            windows,
            present,
            old,
            triggers: triggers.finish(),
        }))
    }

    /// The same rows in the order of their triggers; of one trigger, in the order of `parts`.
    ///
    /// # Errors
    /// When the parts' columns differ.
    pub fn in_order(parts: Vec<Rows>) -> Result<Vec<Rows>> {
        let ends = |r: &Rows| Some((*r.triggers.order.first()?, *r.triggers.order.last()?));
        let sorted = parts.iter().filter_map(ends).is_sorted_by(|a, b| a.1 <= b.0);
        if sorted {
            return Ok(parts);
        }
        let Some(all) = Rows::concat(&parts)? else { return Ok(vec![]) };
        let mut places: Vec<u32> = (0..all.len() as u32).collect();
        places.sort_by_key(|&i| all.triggers.order[i as usize]);
        Ok(vec![all.take(&places)?])
    }

    /// Whether row `row` replaces a value. Never for a stream or a table that keeps no old values.
    pub fn had_value(&self, row: usize) -> bool {
        self.old.as_ref().is_some_and(|old| old.present.value(row))
    }

    /// The key columns beside what the rows replace; `None` where nothing is known of that.
    ///
    /// # Errors
    /// When the old values do not fit the columns.
    pub fn old_batch(&self) -> Result<Option<RecordBatch>> {
        let Some(old) = &self.old else { return Ok(None) };
        let columns = self.key_columns().iter().chain(&old.columns).cloned().collect();
        Ok(Some(batch(self.columns.schema_ref(), columns, self.len())?))
    }
}

impl Windows {
    pub fn take(&self, places: &[u32]) -> Windows {
        Windows { starts: take_values(&self.starts, places), ends: take_values(&self.ends, places) }
    }
}

impl Triggers {
    pub fn take(&self, places: &[u32]) -> Triggers {
        let headers = self
            .headers
            .as_ref()
            .map(|headers| places.iter().map(|&i| headers[i as usize].clone()).collect());
        Triggers {
            order: take_values(&self.order, places),
            partitions: take_values(&self.partitions, places),
            offsets: take_values(&self.offsets, places),
            headers,
        }
    }

    fn slice(&self, offset: usize, len: usize) -> Triggers {
        Triggers {
            order: self.order.slice(offset, len),
            partitions: self.partitions.slice(offset, len),
            offsets: self.offsets.slice(offset, len),
            headers: self.headers.as_ref().map(|h| h[offset..offset + len].into()),
        }
    }
}

/// Gathers triggers row by row.
#[derive(Debug, Default)]
pub struct TriggersBuilder {
    order: Vec<u64>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    headers: Vec<Option<Arc<Headers>>>,
    any_headers: bool,
}

impl TriggersBuilder {
    pub fn push(&mut self, from: &Triggers, row: usize) {
        self.order.push(from.order[row]);
        self.partitions.push(from.partitions[row]);
        self.offsets.push(from.offsets[row]);
        let headers = from.headers.as_ref().and_then(|h| h[row].clone());
        self.any_headers |= headers.is_some();
        self.headers.push(headers);
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub fn finish(self) -> Triggers {
        Triggers {
            order: self.order.into(),
            partitions: self.partitions.into(),
            offsets: self.offsets.into(),
            headers: self.any_headers.then(|| self.headers.into()),
        }
    }
}

/// A batch that may have no columns.
///
/// # Errors
/// When the columns do not fit the schema.
pub fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, len: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(len));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

fn take_values<T: ArrowNativeType>(values: &ScalarBuffer<T>, places: &[u32]) -> ScalarBuffer<T> {
    places.iter().map(|&i| values[i as usize]).collect::<Vec<T>>().into()
}

fn take_bits(bits: &BooleanBuffer, places: &[u32]) -> BooleanBuffer {
    BooleanBuffer::collect_bool(places.len(), |i| bits.value(places[i] as usize))
}

fn join<'a, T: ArrowNativeType>(
    parts: impl Iterator<Item = &'a ScalarBuffer<T>>,
) -> ScalarBuffer<T> {
    parts.flat_map(|part| part.iter().copied()).collect::<Vec<T>>().into()
}

impl TriggersBuilder {
    /// Triggers for rows that nothing caused: what a pull query reads.
    pub fn untriggered(len: usize) -> Triggers {
        Triggers {
            order: vec![0; len].into(),
            partitions: vec![-1; len].into(),
            offsets: vec![-1; len].into(),
            headers: None,
        }
    }
}
