//! The result's changes of one step, gathered run by run, then made into rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, SchemaRef};
use millstream_sql::types::Schema;

use super::super::keep_only;
use super::groups::Groups;
use super::input::Batch;
use crate::codec::RowCodec;
use crate::error::Result;
use crate::rows::{Millis, OldValues, Rows, Windows, batch};

/// What the result's rows look like.
pub(super) struct Output {
    pub(super) schema: SchemaRef,
    pub(super) key_len: usize,
    pub(super) windowed: bool,
    /// Whether WINDOWSTART and WINDOWEND are value columns.
    pub(super) bounds: bool,
}

/// One change of the result.
#[derive(Clone, Copy)]
pub(super) struct Change {
    /// The input row that caused it.
    pub(super) row: u32,
    /// The group's number.
    pub(super) key: u32,
    pub(super) start: Millis,
    pub(super) end: Millis,
    pub(super) time: Millis,
    /// Whether there is a value now, and whether there was one before.
    pub(super) present: bool,
    pub(super) had: bool,
}

/// Changes in the order in which they leave; the values of all calls beside them.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) changes: Vec<Change>,
    now: Vec<Vec<ArrayRef>>,
    before: Vec<Vec<ArrayRef>>,
}

impl Changes {
    /// Adds changes with the calls' values now and before.
    pub(super) fn push(
        &mut self,
        changes: impl IntoIterator<Item = Change>,
        now: Vec<ArrayRef>,
        before: Vec<ArrayRef>,
    ) {
        self.changes.extend(changes);
        self.now.push(now);
        self.before.push(before);
    }

    /// Leaves out changes between equal values, of rows that were there and are.
    pub(super) fn drop_unchanged(&mut self) -> Result<()> {
        let now = joined(&self.now)?;
        let before = joined(&self.before)?;
        let mut changed = BooleanBuffer::new_unset(self.changes.len());
        for (now, before) in now.iter().zip(&before) {
            changed = &changed | &differs(now, before)?;
        }
        let kept: Vec<u32> = (0..self.changes.len())
            .filter(|&i| {
                let change = &self.changes[i];
                changed.value(i) || change.present != change.had
            })
            .map(|i| i as u32)
            .collect();
        if kept.len() < self.changes.len() {
            self.select(&kept, &now, &before)?;
        }
        Ok(())
    }

    fn select(&mut self, places: &[u32], now: &[ArrayRef], before: &[ArrayRef]) -> Result<()> {
        let indices = UInt32Array::from(places.to_vec());
        let chosen = |columns: &[ArrayRef]| -> Result<Vec<ArrayRef>> {
            columns.iter().map(|c| Ok(take(c.as_ref(), &indices, None)?)).collect()
        };
        self.now = vec![chosen(now)?];
        self.before = vec![chosen(before)?];
        self.changes = places.iter().map(|&i| self.changes[i as usize]).collect();
        Ok(())
    }

    /// The changes as rows.
    pub(super) fn into_rows(
        self,
        output: &Output,
        input: &Batch,
        groups: &Groups,
    ) -> Result<Vec<Rows>> {
        let len = self.changes.len();
        if len == 0 {
            return Ok(vec![]);
        }
        let rows: Vec<u32> = self.changes.iter().map(|change| change.row).collect();
        let present: BooleanBuffer = self.changes.iter().map(|change| change.present).collect();
        let had: BooleanBuffer = self.changes.iter().map(|change| change.had).collect();
        let numbers: Vec<u32> = self.changes.iter().map(|change| change.key).collect();
        let starts: Vec<Millis> = self.changes.iter().map(|change| change.start).collect();
        let ends: Vec<Millis> = self.changes.iter().map(|change| change.end).collect();
        let mut columns = groups.columns(&numbers)?;
        let bounds = |columns: &mut Vec<ArrayRef>| {
            if output.bounds {
                columns.push(Arc::new(Int64Array::from(starts.clone())));
                columns.push(Arc::new(Int64Array::from(ends.clone())));
            }
        };
        let mut now = joined(&self.now)?;
        bounds(&mut now);
        columns.extend(keep_only(&now, &present)?);
        let mut before = joined(&self.before)?;
        bounds(&mut before);
        let old = OldValues { columns: keep_only(&before, &had)?, present: had };
        let times: Vec<Millis> = self.changes.iter().map(|change| change.time).collect();
        Ok(vec![Rows {
            columns: batch(&output.schema, columns, len)?,
            key_len: output.key_len,
            times: times.into(),
            windows: output.windowed.then(|| Windows { starts: starts.into(), ends: ends.into() }),
            present: (present.count_set_bits() < len).then_some(present),
            old: Some(old),
            triggers: input.rows.triggers.take(&rows),
        }])
    }
}

impl Output {
    pub(super) fn new(schema: &Schema, windowed: bool, bounds: bool) -> Self {
        Output { schema: schema.to_arrow(), key_len: schema.key.len(), windowed, bounds }
    }
}

/// The columns of several parts, one after the other.
fn joined(parts: &[Vec<ArrayRef>]) -> Result<Vec<ArrayRef>> {
    let [first, rest @ ..] = parts else { return Ok(vec![]) };
    if rest.is_empty() {
        return Ok(first.clone());
    }
    (0..first.len())
        .map(|i| {
            let columns: Vec<&dyn Array> = parts.iter().map(|part| part[i].as_ref()).collect();
            Ok(concat(&columns)?)
        })
        .collect()
}

/// Where two columns differ; NULL equals NULL.
fn differs(a: &ArrayRef, b: &ArrayRef) -> Result<BooleanBuffer> {
    if !a.data_type().is_nested() && *a.data_type() != DataType::Float64 {
        return Ok(distinct(a, b)?.values().clone());
    }
    let (codec, len) = (RowCodec::of_types(vec![a.data_type().clone()])?, a.len());
    let a = codec.encode(std::slice::from_ref(a), a.len())?;
    let b = codec.encode(std::slice::from_ref(b), b.len())?;
    Ok(BooleanBuffer::collect_bool(len, |i| a.row(i) != b.row(i)))
}
