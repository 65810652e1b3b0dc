//! The query's results, ready to be written: times are final.
//!
//! Takes rows with the columns to write. With a TIMESTAMP property a result's time is that column's
//! value, and a tombstone's the stream time; a row whose column holds no time is dropped and reported.
//! For a table, when consolidating, a row equal to what it replaces is left out.
//!
//! State: `0` → stream time i64 LE, if TIMESTAMP is set. If nothing before this step holds the table
//! for pull queries, the table itself, as [`TableCodec`] with tag 1.

use millstream_sql::plan;
use millstream_sql::syntax::ast::RelationKind;
use millstream_sql::types::Schema;

use super::{RecordTime, unchanged};
use super::source::upsert;
use super::table::{TableCodec, time_of};
use crate::error::Result;
use crate::operator::{Ctx, Operator};
use crate::rows::{Millis, Rows};
use crate::snapshot::Selection;
use crate::state::StateStore;

const STREAM_TIME: &[u8] = &[0];

pub(crate) struct Sink {
    relation: RelationKind,
    time: Option<RecordTime>,
    table: Option<TableCodec>,
    state: Option<StateStore>,
}

impl Sink {
    /// `state` must be there if the sink has a TIMESTAMP or `materialize` is set.
    pub(crate) fn new(
        plan: &plan::Sink,
        schema: &Schema,
        relation: RelationKind,
        windowed: bool,
        materialize: bool,
        state: Option<StateStore>,
    ) -> Result<Self> {
        let time = match &plan.timestamp {
            Some(timestamp) => Some(RecordTime::new(timestamp, schema)?),
            None => None,
        };
        let table =
            if materialize { Some(TableCodec::new(schema, windowed, 1)?) } else { None };
        Ok(Sink { relation, time, table, state })
    }

    /// Whether a sink of this plan needs state of its own even if it holds no table.
    pub(crate) fn needs_state(plan: &plan::Sink) -> bool {
        plan.timestamp.is_some()
    }

    fn changed(rows: &Rows) -> Result<Rows> {
        let Some(old) = &rows.old else { return Ok(rows.clone()) };
        let same = unchanged(&old.columns, rows.value_columns(), rows.len())?;
        let kept: Vec<u32> = (0..rows.len())
            .filter(|&i| match (old.present.value(i), rows.is_present(i)) {
                (false, false) => false,
                (true, true) => !same[i],
                _ => true,
            })
            .map(|i| i as u32)
            .collect();
        if kept.len() == rows.len() { Ok(rows.clone()) } else { rows.take(&kept) }
    }

    fn timed(&mut self, rows: &Rows, ctx: &mut Ctx<'_>) -> Result<Rows> {
        let (Some(time), Some(state)) = (&self.time, &mut self.state) else {
            return Ok(rows.clone());
        };
        let before: Millis = match state.get(STREAM_TIME)? {
            Some(bytes) => time_of(&bytes)?,
            None => -1,
        };
        let mut stream_time = before;
        let mut times = Vec::with_capacity(rows.len());
        let mut kept: Vec<u32> = Vec::with_capacity(rows.len());
        for (row, found) in time.times(&rows.columns, &ctx.eval()).into_iter().enumerate() {
            stream_time = stream_time.max(rows.times[row]);
            match found {
                _ if !rows.is_present(row) => times.push(stream_time),
                Ok(time) => times.push(time),
                Err(reason) => {
                    ctx.report_row(reason, &rows.triggers, row);
                    continue;
                }
            }
            kept.push(row as u32);
        }
        if stream_time != before {
            state.put(STREAM_TIME, &stream_time.to_le_bytes());
        }
        let mut rows = if kept.len() == rows.len() { rows.clone() } else { rows.take(&kept)? };
        rows.times = times.into();
        Ok(rows)
    }
}

impl Operator for Sink {
    fn step(&mut self, inputs: &[&[Rows]], ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let mut out = Vec::new();
        for rows in inputs[0] {
            let rows = if self.relation == RelationKind::Table && ctx.consolidate {
                Self::changed(rows)?
            } else {
                rows.clone()
            };
            out.push(self.timed(&rows, ctx)?);
        }
        out.retain(|rows| !rows.is_empty());
        if let (Some(codec), Some(state)) = (&self.table, &mut self.state)
            && let Some(all) = Rows::concat(&out)?
        {
            upsert(codec, state, &all, ctx.consolidate)?;
        }
        Ok(out)
    }

    fn state(&mut self) -> Option<&mut StateStore> {
        self.state.as_mut()
    }

    fn is_materialized(&self) -> bool {
        self.table.is_some()
    }

    fn read(&mut self, selection: &Selection) -> Result<Vec<Rows>> {
        match (&self.table, &mut self.state) {
            (Some(codec), Some(state)) => codec.read(state, selection),
            _ => Ok(vec![]),
        }
    }
}
