//! GROUP BY in SESSION windows: rows of a group no further apart than the gap share a session.
//!
//! A row extends the session it is near to, joins two into one, or begins a new one. A row whose
//! session would end before stream time − gap − grace is late and dropped.
//!
//! Emits: because a session's window is part of its key, a session that grows or is merged away is
//! deleted under its old window, at that window's end, and the grown one appears; a result's time is
//! its session's end. When consolidating, from the sessions at the epoch's beginning to those at its
//! end. With EMIT FINAL a session leaves once, when it is closed.
//!
//! State: `1 ‖ group as arrow-row bytes ‖ start ‖ end, 8 bytes in order each → time, states`, and
//! `0 → stream time ‖ closed up to`. A group's sessions are one prefix, in order of time.
//!
//! Invariants: sessions of a group in state are further apart than the gap; the end is inclusive, the
//! time of the last row.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, Int64Array, UInt32Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use millstream_sql::expr::RowErrors;
use millstream_sql::plan;
use millstream_sql::syntax::ast::WindowKind;
use millstream_sql::types::Schema;

use super::accumulator::Entries;
use super::calls::{Args, Calls};
use super::groups::{Groups, NO_GROUP};
use super::{GROUP, SLOT_BYTES, unchanged};
use crate::codec::{Encoded, spread};
use crate::error::Result;
use crate::operator::{Ctx, Operator};
use crate::operators::Exprs;
use crate::operators::table::{damaged, from_ordered, ordered, time_of};
use crate::rows::{Millis, OldValues, Rows, TriggersBuilder, Windows, batch};
use crate::snapshot::Selection;
use crate::state::StateStore;

const CLOCK: &[u8] = &[0];

pub(crate) struct SessionAggregate {
    group: Exprs,
    calls: Calls,
    gap: Millis,
    grace: Millis,
    retention: Millis,
    window_bounds: bool,
    emit_final: bool,
    schema: SchemaRef,
    store: StateStore,
    clock: Option<Clock>,
    groups: Groups,
    /// Slots of each group's sessions, by start.
    of_group: Vec<Vec<u32>>,
    sessions: Vec<Session>,
    complete: bool,
    most_slots: usize,
    expired_before: Millis,
}

#[derive(Clone, Copy)]
struct Session {
    start: Millis,
    end: Millis,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Clock {
    stream_time: Millis,
    /// Sessions that end before this were emitted finally.
    closed: Millis,
}

/// A session's key within a batch: group number, start, end.
type Key = (u32, Millis, Millis);

/// What became of the sessions that a batch touched.
#[derive(Default)]
struct Changes {
    /// Sessions as they were before: saved states.
    before: BTreeMap<Key, Vec<u8>>,
    /// The row that touched a key last.
    row: BTreeMap<Key, u32>,
    /// The slots of touched sessions that are there now.
    now: BTreeMap<Key, u32>,
    /// Rows not yet added.
    slots: Vec<u32>,
    rows: Vec<u32>,
}

impl SessionAggregate {
    pub(crate) fn new(
        plan: &plan::Aggregate,
        input: &Schema,
        output: &Schema,
        store: StateStore,
        cache_bytes: usize,
    ) -> Result<Self> {
        let (gap, grace, retention) = match plan.window {
            Some(w) => {
                let gap = if let WindowKind::Session { gap_ms } = w.kind { gap_ms } else { 0 };
                (gap, w.grace_ms, w.retention_ms)
            }
            None => (0, 0, 0),
        };
        let group = Exprs::new(&plan.group, input)?;
        Ok(SessionAggregate {
            groups: Groups::new(group.types())?,
            group,
            calls: Calls::new(&plan.calls, input)?,
            gap,
            grace,
            retention,
            window_bounds: plan.window_bounds,
            emit_final: plan.emit_final,
            schema: output.to_arrow(),
            clock: None,
            of_group: Vec::new(),
            sessions: Vec::new(),
            complete: store.is_complete(),
            store,
            most_slots: (cache_bytes / SLOT_BYTES).max(1_000),
            expired_before: Millis::MIN,
        })
    }

    fn clock(&mut self) -> Result<Clock> {
        if let Some(clock) = self.clock {
            return Ok(clock);
        }
        let clock = match self.store.get(CLOCK)? {
            Some(b) => Clock { stream_time: time_of(&b)?, closed: time_of(b.get(8..).unwrap_or(&[]))? },
            None => Clock { stream_time: Millis::MIN, closed: Millis::MIN },
        };
        self.clock = Some(clock);
        Ok(clock)
    }

    fn apply(&mut self, rows: &Rows, ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let mut errors = RowErrors::default();
        let (eval, present) = (ctx.eval(), rows.present.as_ref());
        let groups = self.group.evaluate(&rows.columns, present, &eval, &mut errors)?;
        let args = self.calls.args(&rows.columns, present, &eval, &mut errors)?;
        ctx.report(errors, &rows.triggers);
        let numbers = self.groups.numbers(&groups, rows.len(), |row| rows.is_present(row))?;
        let encoded = self.groups.codec().encode(&groups, rows.len())?;
        self.load(&numbers, &encoded)?;

        let before = self.clock()?;
        let mut clock = before;
        let mut changes = Changes::default();
        let mut advances: Vec<(usize, Millis)> = Vec::new();
        for (row, &number) in numbers.iter().enumerate().filter(|(_, n)| **n != NO_GROUP) {
            clock.stream_time = clock.stream_time.max(rows.times[row]);
            let close_time = clock.stream_time.saturating_sub(self.gap).saturating_sub(self.grace);
            self.place(row, number, rows, close_time, &args, &mut changes, ctx)?;
            if close_time > clock.closed && self.emit_final {
                clock.closed = close_time;
                advances.push((row, close_time));
            }
        }
        self.add_pending(rows, &args, &mut changes, ctx)?;
        self.write_back(&changes, &encoded)?;
        if clock != before {
            let bytes = [clock.stream_time.to_le_bytes(), clock.closed.to_le_bytes()].concat();
            self.store.put(CLOCK, &bytes);
            self.clock = Some(clock);
        }
        let out = if self.emit_final {
            self.close(rows, before.closed, &advances)?
        } else {
            self.changes(rows, &groups, &changes, ctx)?
        };
        self.forget_old()?;
        Ok(out)
    }

    /// Reads the sessions of groups that are not in memory.
    fn load(&mut self, numbers: &[u32], encoded: &Encoded) -> Result<()> {
        for (row, &number) in numbers.iter().enumerate().filter(|(_, n)| **n != NO_GROUP) {
            if (number as usize) < self.of_group.len() {
                continue;
            }
            self.of_group.resize(number as usize + 1, Vec::new());
            if self.complete {
                continue;
            }
            let mut prefix = vec![GROUP];
            prefix.extend_from_slice(encoded.row(row));
            for (key, value) in self.store.scan_prefix(&prefix)? {
                let (_, start, end) = split_key(&key)?;
                let slot = self.slot(start, end);
                self.calls.load(slot as usize, &value)?;
                self.of_group[number as usize].push(slot);
            }
        }
        Ok(())
    }

    fn slot(&mut self, start: Millis, end: Millis) -> u32 {
        self.sessions.push(Session { start, end });
        self.calls.grow(self.sessions.len());
        self.sessions.len() as u32 - 1
    }

    /// Finds or makes the session of a row; merges those it joins.
    #[allow(clippy::too_many_arguments)]
    fn place(
        &mut self,
        row: usize,
        number: u32,
        rows: &Rows,
        close_time: Millis,
        args: &Args,
        changes: &mut Changes,
        ctx: &mut Ctx<'_>,
    ) -> Result<()> {
        let time = rows.times[row];
        let slots = &self.of_group[number as usize];
        let near = |slot: &u32| {
            let session = &self.sessions[*slot as usize];
            session.end >= time.saturating_sub(self.gap) && session.start <= time.saturating_add(self.gap)
        };
        let joined: Vec<u32> = slots.iter().filter(|slot| near(slot)).copied().collect();
        let (mut start, mut end) = (time, time);
        for &slot in &joined {
            start = start.min(self.sessions[slot as usize].start);
            end = end.max(self.sessions[slot as usize].end);
        }
        if end < close_time {
            return Ok(());
        }
        for &slot in &joined {
            let Session { start, end } = self.sessions[slot as usize];
            let key = (number, start, end);
            if changes.now.remove(&key).is_none() && !changes.before.contains_key(&key) {
                let mut saved = Vec::new();
                self.calls.save(slot as usize, end, &mut saved);
                changes.before.insert(key, saved);
            }
            changes.row.insert(key, row as u32);
        }
        let slot = match joined.as_slice() {
            [] => self.slot(start, end),
            [only] => *only,
            [earlier @ .., last] => {
                self.add_pending(rows, args, changes, ctx)?;
                for &slot in earlier.iter().rev() {
                    self.calls.merge(*last as usize, slot as usize);
                }
                *last
            }
        };
        self.sessions[slot as usize] = Session { start, end };
        let slots = &mut self.of_group[number as usize];
        slots.retain(|s| !joined.contains(s));
        let at = slots.partition_point(|&s| self.sessions[s as usize].start < start);
        slots.insert(at, slot);
        changes.slots.push(slot);
        changes.rows.push(row as u32);
        changes.now.insert((number, start, end), slot);
        changes.row.insert((number, start, end), row as u32);
        Ok(())
    }

    fn add_pending(
        &mut self,
        rows: &Rows,
        args: &Args,
        changes: &mut Changes,
        ctx: &mut Ctx<'_>,
    ) -> Result<()> {
        let arrivals: Vec<u64> =
            rows.triggers.order.iter().map(|order| (ctx.epoch << 32).wrapping_add(*order)).collect();
        let (slots, of) = (std::mem::take(&mut changes.slots), std::mem::take(&mut changes.rows));
        let mut errors = Vec::new();
        let entries = Entries { slots: &slots, rows: &of, arrivals: &arrivals };
        self.calls.add(entries, args, &mut errors)?;
        for (row, reason) in errors {
            ctx.report_row(reason, &rows.triggers, row);
        }
        Ok(())
    }

    fn write_back(&mut self, changes: &Changes, encoded: &Encoded) -> Result<()> {
        let key_of = |key: &Key| -> Option<Vec<u8>> {
            let row = changes.row.get(key)?;
            Some(state_key(encoded.row(*row as usize), key.1, key.2))
        };
        for key in changes.before.keys().filter(|key| !changes.now.contains_key(key)) {
            if let Some(key) = key_of(key) {
                self.store.delete(&key);
            }
        }
        let mut value = Vec::new();
        for (key, slot) in &changes.now {
            value.clear();
            self.calls.save(*slot as usize, key.2, &mut value);
            if let Some(key) = key_of(key) {
                self.store.put(&key, &value);
            }
        }
        Ok(())
    }

    /// What changed: deletions of sessions that are no more, and the sessions that are.
    fn changes(
        &self,
        rows: &Rows,
        groups: &[ArrayRef],
        changes: &Changes,
        ctx: &Ctx<'_>,
    ) -> Result<Vec<Rows>> {
        let mut keys: Vec<(u32, bool, Key)> = Vec::new();
        for key in changes.before.keys().filter(|key| !changes.now.contains_key(key)) {
            keys.push((changes.row[key], false, *key));
        }
        keys.extend(changes.now.keys().map(|key| (changes.row[key], true, *key)));
        keys.sort_unstable_by_key(|(row, alive, key)| (*row, *alive, key.1, key.0));

        let old_saved: Vec<Vec<u8>> =
            keys.iter().filter_map(|(_, _, key)| changes.before.get(key)).cloned().collect();
        let (_, old_dense) = self.calls.read(&old_saved)?;
        let had =
            BooleanBuffer::collect_bool(keys.len(), |i| changes.before.contains_key(&keys[i].2));
        let alive = BooleanBuffer::collect_bool(keys.len(), |i| keys[i].1);
        let slots: Vec<u32> =
            keys.iter().filter_map(|(_, _, key)| changes.now.get(key)).copied().collect();
        let new_dense = self.calls.finish(&slots)?;
        let types: Vec<_> = new_dense.iter().map(|c| c.data_type().clone()).collect();
        let mut new = spread(&new_dense, &alive, &types)?;
        let mut old = spread(&old_dense, &had, &types)?;

        let windows = Windows {
            starts: keys.iter().map(|(_, _, key)| key.1).collect(),
            ends: keys.iter().map(|(_, _, key)| key.2).collect(),
        };
        let group_rows = UInt32Array::from_iter_values(keys.iter().map(|(row, ..)| *row));
        let mut columns: Vec<ArrayRef> =
            groups.iter().map(|g| Ok(take(g.as_ref(), &group_rows, None)?)).collect::<Result<_>>()?;
        let key_len = columns.len();
        let same = unchanged(&old, &new, keys.len())?;
        self.push_bounds(&windows, &alive, &mut new);
        self.push_bounds(&windows, &had, &mut old);
        columns.extend(new);
        let places: Vec<u32> = keys.iter().map(|(row, ..)| *row).collect();
        let all = Rows {
            columns: batch(&self.schema, columns, keys.len())?,
            key_len,
            times: windows.ends.clone(),
            windows: Some(windows),
            present: Some(alive.clone()),
            old: Some(OldValues { columns: old, present: had.clone() }),
            triggers: rows.triggers.take(&places),
        };
        let keep = BooleanBuffer::collect_bool(keys.len(), |i| {
            !(ctx.consolidate && alive.value(i) && had.value(i) && same[i])
        });
        Ok(vec![all.filter(&keep)?])
    }

    fn push_bounds(&self, windows: &Windows, present: &BooleanBuffer, columns: &mut Vec<ArrayRef>) {
        if self.window_bounds {
            let nulls = Some(arrow::buffer::NullBuffer::new(present.clone()));
            columns.push(std::sync::Arc::new(Int64Array::new(windows.starts.clone(), nulls.clone())));
            columns.push(std::sync::Arc::new(Int64Array::new(windows.ends.clone(), nulls)));
        }
    }

    /// EMIT FINAL: sessions that stream time has passed, by end, start, key.
    fn close(&mut self, rows: &Rows, before: Millis, advances: &[(usize, Millis)]) -> Result<Vec<Rows>> {
        let Some((_, closed)) = advances.last() else { return Ok(vec![]) };
        let mut found: Vec<(Millis, Vec<u8>, Vec<u8>)> = Vec::new();
        for (key, value) in self.store.scan_prefix(&[GROUP])? {
            let (_, _, end) = split_key(&key)?;
            if end >= before && end < *closed {
                found.push((end, key, value));
            }
        }
        found.sort();
        let triggers: Vec<u32> = found
            .iter()
            .map(|(end, ..)| {
                let at = advances.partition_point(|(_, closed)| closed <= end);
                advances[at.min(advances.len() - 1)].0 as u32
            })
            .collect();
        let found = found.into_iter().map(|(_, key, value)| (key, value)).collect();
        self.rows_of(found, rows.triggers.take(&triggers))
    }

    fn rows_of(
        &self,
        found: Vec<(Vec<u8>, Vec<u8>)>,
        triggers: crate::rows::Triggers,
    ) -> Result<Vec<Rows>> {
        if found.is_empty() {
            return Ok(vec![]);
        }
        let len = found.len();
        let (keys, values): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let split = keys.iter().map(|key| split_key(key)).collect::<Result<Vec<_>>>()?;
        let windows = Windows {
            starts: split.iter().map(|(_, start, _)| *start).collect(),
            ends: split.iter().map(|(.., end)| *end).collect(),
        };
        let mut columns = self.groups.codec().decode(split.iter().map(|(group, ..)| *group))?;
        let key_len = columns.len();
        let (_, results) = self.calls.read(&values)?;
        columns.extend(results);
        self.push_bounds(&windows, &BooleanBuffer::new_set(len), &mut columns);
        let absent = columns[key_len..].iter().map(|c| new_null_array(c.data_type(), len)).collect();
        Ok(vec![Rows {
            columns: batch(&self.schema, columns, len)?,
            key_len,
            times: windows.ends.clone(),
            windows: Some(windows),
            present: None,
            old: Some(OldValues { columns: absent, present: BooleanBuffer::new_unset(len) }),
            triggers,
        }])
    }

    /// Deletes sessions past their retention, in large steps, and clears memory that grew too large.
    fn forget_old(&mut self) -> Result<()> {
        let stream_time = self.clock()?.stream_time;
        let bound = stream_time.saturating_sub(self.retention);
        if self.expired_before == Millis::MIN {
            self.expired_before = bound;
        } else if bound >= self.expired_before.saturating_add((self.retention / 8).max(1_000)) {
            let mut expired = Vec::new();
            for (key, _) in self.store.scan_prefix(&[GROUP])? {
                if split_key(&key)?.2 < bound {
                    expired.push(key);
                }
            }
            expired.iter().for_each(|key| self.store.delete(key));
            for slots in &mut self.of_group {
                slots.retain(|&slot| self.sessions[slot as usize].end >= bound);
            }
            self.expired_before = bound;
        }
        if self.sessions.len() > self.most_slots {
            self.complete = false;
            self.groups.clear();
            self.of_group.clear();
            self.sessions.clear();
            self.calls.compact(&[]);
        }
        Ok(())
    }
}

fn state_key(group: &[u8], start: Millis, end: Millis) -> Vec<u8> {
    [&[GROUP], group, &ordered(start), &ordered(end)].concat()
}

/// Group bytes, start and end of a state key.
fn split_key(key: &[u8]) -> Result<(&[u8], Millis, Millis)> {
    let at = key.len().checked_sub(16).filter(|at| *at >= 1).ok_or_else(damaged)?;
    Ok((&key[1..at], from_ordered(&key[at..]), from_ordered(&key[at + 8..])))
}

impl Operator for SessionAggregate {
    fn step(&mut self, inputs: &[&[Rows]], ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let Some(rows) = Rows::concat(inputs[0])? else { return Ok(vec![]) };
        let mut out = Vec::new();
        if ctx.consolidate {
            out.extend(self.apply(&rows, ctx)?);
        } else {
            for row in 0..rows.len() {
                out.extend(self.apply(&rows.slice(row, 1), ctx)?);
            }
        }
        out.retain(|rows| !rows.is_empty());
        Ok(out)
    }

    fn state(&mut self) -> Option<&mut StateStore> {
        Some(&mut self.store)
    }

    fn is_materialized(&self) -> bool {
        true
    }

    fn read(&mut self, selection: &Selection) -> Result<Vec<Rows>> {
        let mut found = Vec::new();
        match &selection.keys {
            None => found = self.store.scan_prefix(&[GROUP])?,
            Some(keys) => {
                let count = keys.first().map_or(0, |k| k.len());
                let encoded = self.groups.codec().encode(keys, count)?;
                for i in 0..count {
                    found.extend(self.store.scan_prefix(&[&[GROUP], encoded.row(i)].concat())?);
                }
            }
        }
        found.retain(|(key, _)| {
            split_key(key).is_ok_and(|(_, start, end)| selection.wants_window(start, end))
        });
        let triggers = TriggersBuilder::untriggered(found.len());
        let mut rows = self.rows_of(found, triggers)?;
        rows.iter_mut().for_each(|rows| rows.old = None);
        Ok(rows)
    }
}
