//! Rows of a relation, as the query sees them.
//!
//! Takes rows with the relation's columns; gives them the names the query uses, adds pseudo columns,
//! and takes their time from the TIMESTAMP column if there is one. A row without a valid time is
//! dropped and reported, or stops the query if its plan says so.
//!
//! Emits each row of a stream. Of a table: rows with a NULL key are dropped and reported; if the table
//! is materialised each row comes with what it replaces, and a deletion of a key that is not there is
//! dropped.
//!
//! State (materialised tables only): [`TableCodec`], the value columns with the pseudo columns.
//!
//! Invariant: after an epoch the state holds the last present value of each key, and nothing else.

use std::collections::hash_map::Entry;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::SchemaRef;
use millstream_sql::error::{ErrorKind, SqlError};
use millstream_sql::plan::{self, PseudoColumn};
use millstream_sql::syntax::ast::RelationKind;
use millstream_sql::types::Schema;

use super::table::TableCodec;
use super::RecordTime;
use crate::codec::all_null;
use crate::error::{EngineError, Result};
use crate::operator::{Ctx, Operator};
use crate::rows::{OldValues, Rows, batch};
use crate::snapshot::Selection;
use crate::state::{StateStore, Value};

pub(crate) struct Source {
    relation: SchemaRef,
    output: SchemaRef,
    kind: RelationKind,
    pseudo: Vec<PseudoColumn>,
    time: Option<RecordTime>,
    fail_on_invalid_time: bool,
    table: Option<(TableCodec, StateStore)>,
}

impl Source {
    pub(crate) fn new(
        plan: &plan::Source,
        output: &Schema,
        state: Option<StateStore>,
    ) -> Result<Self> {
        let time = match &plan.timestamp {
            Some(timestamp) => Some(RecordTime::new(timestamp, &plan.schema)?),
            None => None,
        };
        let table = match state {
            Some(state) => Some((TableCodec::new(output, plan.window.is_some(), 1)?, state)),
            None => None,
        };
        Ok(Source {
            relation: plan.schema.to_arrow(),
            output: output.to_arrow(),
            kind: plan.kind,
            pseudo: plan.pseudo.clone(),
            time,
            fail_on_invalid_time: plan.fail_on_invalid_timestamp,
            table,
        })
    }

    /// The input with its final times, without rows that have none.
    fn timed(&self, rows: &Rows, ctx: &mut Ctx<'_>) -> Result<Rows> {
        let Some(time) = &self.time else { return Ok(rows.clone()) };
        // The columns may bear other names here (a chained query's sink).
        let columns = batch(&self.relation, rows.columns.columns().to_vec(), rows.len())?;
        let mut times = Vec::with_capacity(rows.len());
        let mut kept: Vec<u32> = Vec::with_capacity(rows.len());
        for (row, found) in time.times(&columns, &ctx.eval()).into_iter().enumerate() {
            match found {
                Ok(time) => {
                    times.push(time);
                    kept.push(row as u32);
                }
                // A tombstone has no column to take a time from: it keeps the record's.
                Err(_) if !rows.is_present(row) => {
                    times.push(rows.times[row]);
                    kept.push(row as u32);
                }
                Err(reason) if self.fail_on_invalid_time => {
                    return Err(EngineError::Sql(SqlError::new(
                        ErrorKind::InvalidRecordTimestamp,
                        format!("{reason}; ksql.timestamp.throw.on.invalid is set"),
                        "Correct the data, or let such records be left out.",
                    )));
                }
                Err(reason) => ctx.report_row(reason, &rows.triggers, row),
            }
        }
        let mut rows = if kept.len() == rows.len() { rows.clone() } else { rows.take(&kept)? };
        rows.times = times.into();
        Ok(rows)
    }

    fn with_pseudo(&self, rows: Rows) -> Result<Rows> {
        let mut columns = rows.columns.columns().to_vec();
        for pseudo in &self.pseudo {
            columns.push(pseudo_column(*pseudo, &rows));
        }
        Ok(Rows { columns: batch(&self.output, columns, rows.len())?, ..rows })
    }

    fn keyed(&self, rows: Rows, ctx: &mut Ctx<'_>) -> Result<Rows> {
        let keyed: Vec<u32> =
            (0..rows.len() as u32).filter(|&i| !all_null(rows.key_columns(), i as usize)).collect();
        if keyed.len() == rows.len() || rows.key_len == 0 {
            return Ok(rows);
        }
        for row in 0..rows.len() {
            if all_null(rows.key_columns(), row) {
                ctx.report_row("a row of a table without a key is ignored".into(), &rows.triggers, row);
            }
        }
        rows.take(&keyed)
    }
}

/// The values of a pseudo column; NULL for rows with a NULL value.
pub fn pseudo_column(pseudo: PseudoColumn, rows: &Rows) -> ArrayRef {
    let nulls = rows.present.clone().map(NullBuffer::new);
    let window = |ends: bool| {
        let windows = rows.windows.as_ref().map(|w| if ends { &w.ends } else { &w.starts });
        match windows {
            Some(values) => Int64Array::new(values.clone(), nulls.clone()),
            None => Int64Array::new_null(rows.len()),
        }
    };
    match pseudo {
        PseudoColumn::RowTime => Arc::new(Int64Array::new(rows.times.clone(), nulls)),
        PseudoColumn::RowPartition => {
            Arc::new(Int32Array::new(rows.triggers.partitions.clone(), nulls))
        }
        PseudoColumn::RowOffset => Arc::new(Int64Array::new(rows.triggers.offsets.clone(), nulls)),
        PseudoColumn::WindowStart => Arc::new(window(false)),
        PseudoColumn::WindowEnd => Arc::new(window(true)),
    }
}

/// Writes `rows` into a table; what comes back has old values, and, when consolidating, one row per key.
pub(crate) fn upsert(
    codec: &TableCodec,
    state: &mut StateStore,
    rows: &Rows,
    consolidate: bool,
) -> Result<Rows> {
    let keys = codec.keys(rows)?;
    let encoded = codec.values(rows)?;
    let asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    // The value of each key before this row; of consolidated rows, before this epoch.
    let mut before: Vec<Option<Value>> = state.multi_get(&asked)?;
    let mut last: HashMap<&[u8], usize> = HashMap::with_capacity(rows.len());
    let mut now: Vec<Option<Value>> = Vec::with_capacity(rows.len());
    let mut superseded = vec![false; rows.len()];
    for (i, key) in asked.iter().enumerate() {
        let value = rows.is_present(i).then(|| codec.value(rows.times[i], encoded.row(i)).into());
        now.push(value);
        match last.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(i);
            }
            Entry::Occupied(mut entry) => {
                let earlier = entry.insert(i);
                if consolidate {
                    superseded[earlier] = true;
                    before[i] = before[earlier].clone();
                } else {
                    before[i] = now[earlier].clone();
                }
            }
        }
    }
    for (key, &i) in &last {
        match &now[i] {
            Some(value) => state.put(key, value),
            None if before[i].is_some() || !consolidate => state.delete(key),
            None => {}
        }
    }
    let unchanged = |i: usize| match (&before[i], &now[i]) {
        (None, None) => true,
        (Some(before), Some(now)) => consolidate && before[8..] == now[8..],
        _ => false,
    };
    let kept: Vec<u32> =
        (0..rows.len()).filter(|&i| !superseded[i] && !unchanged(i)).map(|i| i as u32).collect();
    let (columns, present) = codec.decode(&before)?;
    let changed = Rows { old: Some(OldValues { columns, present }), ..rows.clone() };
    if kept.len() == rows.len() { Ok(changed) } else { changed.take(&kept) }
}

impl Operator for Source {
    fn step(&mut self, inputs: &[&[Rows]], ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let mut out = Vec::new();
        for rows in inputs[0] {
            let rows = self.with_pseudo(self.timed(rows, ctx)?)?;
            let rows = match self.kind {
                RelationKind::Stream => rows,
                RelationKind::Table => self.keyed(rows, ctx)?,
            };
            out.push(rows);
        }
        if let Some((codec, state)) = &mut self.table
            && let Some(all) = Rows::concat(&out)?
        {
            out = vec![upsert(codec, state, &all, ctx.consolidate)?];
        }
        out.retain(|rows| !rows.is_empty());
        Ok(out)
    }

    fn state(&mut self) -> Option<&mut StateStore> {
        self.table.as_mut().map(|(_, state)| state)
    }

    fn is_materialized(&self) -> bool {
        self.table.is_some()
    }

    fn read(&mut self, selection: &Selection) -> Result<Vec<Rows>> {
        match &mut self.table {
            Some((codec, state)) => codec.read(state, selection),
            None => Ok(vec![]),
        }
    }
}
