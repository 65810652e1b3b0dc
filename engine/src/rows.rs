//! Rows: what operators compute with.
//!
//! One [`Rows`] is a run of rows in the order they are to be seen, in columns. Beside the columns of
//! the step's schema each row has a time, a window if its key has one, whether its value is present,
//! for tables the value it replaces, and the record that triggered it (its place in the epoch's merged
//! input order, partition, offset, headers), because Kafka Streams lets headers pass through everything.
//!
//! Invariants: all parts have one length; `order` never falls within one `Rows`; `old` is there exactly
//! for rows of a table; rows whose value is not present have NULL in every value column.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};

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
