//! GROUP BY without a window or with TUMBLING or HOPPING ones (`session.rs` has the sessions).
//!
//! Over a stream each row is added to its group (in each window its time lies in that is still open).
//! Over a table the replaced row is taken back and the new one added. A row with a NULL in its group
//! is left out.
//!
//! Emits the changed groups: one net change each when consolidating, else one per row and window (over
//! a table two: after taking back, after adding). With EMIT FINAL nothing leaves until a later row
//! moves stream time past a window's end and grace; then the window's groups leave once, by window
//! start, then key. A result's time is the greatest of its rows'.
//!
//! State: `1 [‖ window start, 8 bytes in order] ‖ group as arrow-row bytes → time, states` and
//! `0 → stream time ‖ closed up to ‖ greatest start`, if windowed. The start comes first, so what to
//! close or expire is one range.
//!
//! In memory: groups and their states in columns, found by hash; every change is written to the state
//! at the end of the step, so they may be dropped at any time. Nothing is read from state that is known
//! to be absent (`complete`).
//!
//! Invariants: after a step state holds every group's value; no window that starts before stream time −
//! retention is kept for longer than an eighth of the retention.

mod accumulator;
mod calls;
mod distinct;
mod groups;
mod listed;
mod numeric;
mod session;
mod value;
mod window;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, UInt32Array};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{concat, take};
use arrow::datatypes::SchemaRef;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use millstream_sql::expr::RowErrors;
use millstream_sql::plan;
use millstream_sql::syntax::ast::WindowKind;
use millstream_sql::types::Schema;

use self::accumulator::Entries;
use self::calls::{Args, Calls};
use self::groups::{Groups, NO_GROUP};
pub(crate) use self::session::SessionAggregate;
use self::window::TimeWindows;
use super::Exprs;
use super::table::{damaged, from_ordered, ordered};
use crate::codec::RowCodec;
use crate::error::Result;
use crate::operator::{Ctx, Operator};
use crate::rows::{Millis, OldValues, Rows, TriggersBuilder, Windows, batch};
use crate::snapshot::Selection;
use crate::state::{StateStore, Value};

const CLOCK: &[u8] = &[0];
const GROUP: u8 = 1;
/// What a slot takes beyond its states, about.
const SLOT_BYTES: usize = 120;

pub(crate) struct Aggregate {
    group: Exprs,
    calls: Calls,
    windows: Option<TimeWindows>,
    window_bounds: bool,
    emit_final: bool,
    schema: SchemaRef,
    store: StateStore,
    clock: Option<Clock>,
    groups: Groups,
    slots: Slots,
    /// Every group in state has a slot.
    complete: bool,
    most_slots: usize,
    expired_before: Millis,
}

/// Times of a windowed aggregate, over all groups.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Clock {
    stream_time: Millis,
    /// Windows that end at or before this were emitted finally.
    closed: Millis,
    /// The greatest window start so far.
    greatest_start: Millis,
}

/// The groups (in their windows) that are in memory, in columns.
#[derive(Default)]
struct Slots {
    /// With windows: the slot of a group in a window. Without, a group's slot is its number.
    of: HashMap<(u32, Millis), u32, RandomState>,
    starts: Vec<Millis>,
    times: Vec<Millis>,
    exists: Vec<bool>,
}

/// One batch's rows as entries: which slot each goes to.
#[derive(Default)]
struct Batch {
    slots: Vec<u32>,
    /// Row in the group columns; those of old values come after the new ones.
    rows: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Add,
    Remove,
    Both,
}

impl Clock {
    const START: Clock =
        Clock { stream_time: Millis::MIN, closed: Millis::MIN, greatest_start: Millis::MIN };

    fn encode(&self) -> Vec<u8> {
        [self.stream_time, self.closed, self.greatest_start].iter().flat_map(|t| t.to_le_bytes()).collect()
    }

    fn decode(bytes: &[u8]) -> Result<Clock> {
        let at = |i: usize| bytes.get(i..).and_then(|b| b.first_chunk::<8>()).ok_or_else(damaged);
        let time = |i: usize| at(i).map(|b| Millis::from_le_bytes(*b));
        Ok(Clock { stream_time: time(0)?, closed: time(8)?, greatest_start: time(16)? })
    }
}

impl Aggregate {
    pub(crate) fn new(
        plan: &plan::Aggregate,
        input: &Schema,
        output: &Schema,
        store: StateStore,
        cache_bytes: usize,
    ) -> Result<Self> {
        let windows = plan.window.map(|window| {
            let (size, advance) = match window.kind {
                WindowKind::Tumbling { size_ms } => (size_ms, size_ms),
                WindowKind::Hopping { size_ms, advance_ms } => (size_ms, advance_ms),
                WindowKind::Session { gap_ms } => (gap_ms, gap_ms),
            };
            let (grace, retention) = (window.grace_ms, window.retention_ms);
            TimeWindows { size: size.max(1), advance: advance.max(1), grace, retention }
        });
        let group = Exprs::new(&plan.group, input)?;
        Ok(Aggregate {
            groups: Groups::new(group.types())?,
            group,
            calls: Calls::new(&plan.calls, input)?,
            windows,
            window_bounds: plan.window_bounds,
            emit_final: plan.emit_final,
            schema: output.to_arrow(),
            clock: None,
            complete: store.is_complete(),
            store,
            slots: Slots::default(),
            most_slots: (cache_bytes / SLOT_BYTES).max(1_000),
            expired_before: Millis::MIN,
        })
    }

    fn clock(&mut self) -> Result<Clock> {
        if let Some(clock) = self.clock {
            return Ok(clock);
        }
        let clock = match self.store.get(CLOCK)? {
            Some(bytes) => Clock::decode(&bytes)?,
            None => Clock::START,
        };
        self.clock = Some(clock);
        Ok(clock)
    }

    /// Adds `rows` to their groups and gives the changed groups, or the closed ones.
    fn apply(&mut self, rows: &Rows, phase: Phase, ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let len = rows.len();
        let (groups, args, old_args) = self.evaluate(rows, ctx)?;
        let total = groups.first().map_or(len, |g| g.len());
        let valid = |row: usize| {
            if row < len {
                phase != Phase::Remove && rows.is_present(row)
            } else {
                phase != Phase::Add && rows.had_value(row - len)
            }
        };
        let numbers = self.groups.numbers(&groups, total, valid)?;
        let before = self.slots.len();
        let clock_before = self.clock()?;
        let (mut added, mut advances) = (Batch::default(), Vec::new());
        let clock = self.place(rows, &numbers[..len], &mut added, &mut advances)?;
        let mut removed = Batch::default();
        for (row, &number) in numbers.iter().enumerate().skip(len).filter(|(_, n)| **n != NO_GROUP) {
            removed.slots.push(self.slots.get(number, None));
            removed.rows.push(row as u32);
        }
        self.load(before, &groups, &[&removed, &added])?;
        // What was never added cannot be taken back.
        removed.keep(|slot| self.slots.exists[slot as usize]);

        let touched = touched(&removed, &added, self.slots.len(), len);
        let slots: Vec<u32> = touched.iter().map(|(slot, _)| *slot).collect();
        let existed: Vec<bool> = slots.iter().map(|&s| self.slots.exists[s as usize]).collect();
        let old = if self.emit_final { vec![] } else { self.calls.finish(&slots)? };
        self.accumulate(rows, &removed, &added, &args, old_args.as_ref(), ctx)?;
        self.write_back(&groups, &touched)?;
        if clock != clock_before {
            self.store.put(CLOCK, &clock.encode());
            self.clock = Some(clock);
        }
        let out = if self.emit_final {
            self.close(rows, clock_before, &advances, ctx)?
        } else {
            self.changes(rows, &groups, &touched, &slots, existed, old, ctx)?
        };
        self.forget_old();
        Ok(out)
    }

    /// Group columns (new values, then old ones) and arguments.
    fn evaluate(&mut self, rows: &Rows, ctx: &mut Ctx<'_>) -> Result<(Vec<ArrayRef>, Args, Option<Args>)> {
        let mut errors = RowErrors::default();
        let eval = ctx.eval();
        let present = rows.present.as_ref();
        let mut groups = self.group.evaluate(&rows.columns, present, &eval, &mut errors)?;
        let args = self.calls.args(&rows.columns, present, &eval, &mut errors)?;
        ctx.report(errors, &rows.triggers);
        let mut old_args = None;
        if let (Some(old), Some(batch)) = (&rows.old, rows.old_batch()?) {
            let mut silent = RowErrors::default();
            let old_groups = self.group.evaluate(&batch, Some(&old.present), &eval, &mut silent)?;
            for (new, old) in groups.iter_mut().zip(old_groups) {
                *new = concat(&[new.as_ref(), old.as_ref()])?;
            }
            old_args = Some(self.calls.args(&batch, Some(&old.present), &eval, &mut silent)?);
        }
        Ok((groups, args, old_args))
    }

    /// Places rows in slots: in each open window of their time. Gives the clock after them, and in
    /// `advances` each row that moved stream time.
    fn place(
        &mut self,
        rows: &Rows,
        numbers: &[u32],
        added: &mut Batch,
        advances: &mut Vec<(usize, Clock)>,
    ) -> Result<Clock> {
        let mut clock = self.clock()?;
        for (row, &number) in numbers.iter().enumerate().filter(|(_, n)| **n != NO_GROUP) {
            let Some(windows) = self.windows else {
                added.slots.push(self.slots.get(number, None));
                added.rows.push(row as u32);
                continue;
            };
            let time = rows.times[row];
            let advanced = time > clock.stream_time;
            clock.stream_time = clock.stream_time.max(time);
            let close_time = windows.close_time(clock.stream_time);
            for start in windows.starts(time) {
                // Late rows are dropped without a word, as in Kafka Streams.
                if windows.end(start) > close_time {
                    clock.greatest_start = clock.greatest_start.max(start);
                    added.slots.push(self.slots.get(number, Some(start)));
                    added.rows.push(row as u32);
                }
            }
            if advanced && self.emit_final {
                clock.closed = clock.closed.max(close_time);
                advances.push((row, clock));
            }
        }
        Ok(clock)
    }

    /// Reads the slots from number `before` on from state, unless all of state is in memory.
    fn load(&mut self, before: usize, groups: &[ArrayRef], batches: &[&Batch]) -> Result<()> {
        let after = self.slots.len();
        self.calls.grow(after);
        if self.complete || before == after {
            return Ok(());
        }
        let mut row_of = vec![NO_GROUP; after - before];
        for (&slot, &row) in batches.iter().flat_map(|b| b.slots.iter().zip(&b.rows)) {
            if let Some(found) = (slot as usize).checked_sub(before) {
                row_of[found] = row;
            }
        }
        let slots: Vec<(u32, u32)> =
            row_of.iter().enumerate().map(|(i, &row)| ((before + i) as u32, row)).collect();
        let keys = self.state_keys(groups, &slots)?;
        let asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        for ((slot, _), value) in slots.iter().zip(self.store.multi_get(&asked)?) {
            if let Some(value) = value {
                let slot = *slot as usize;
                self.slots.times[slot] = self.calls.load(slot, &value)?;
                self.slots.exists[slot] = true;
            }
        }
        Ok(())
    }

    /// The state keys of slots, given a row of each one's group.
    fn state_keys(&self, groups: &[ArrayRef], slots: &[(u32, u32)]) -> Result<Vec<Vec<u8>>> {
        let rows = UInt32Array::from_iter_values(slots.iter().map(|(_, row)| *row));
        let columns: Vec<ArrayRef> =
            groups.iter().map(|g| Ok(take(g.as_ref(), &rows, None)?)).collect::<Result<_>>()?;
        let encoded = self.groups.codec().encode(&columns, slots.len())?;
        Ok(slots
            .iter()
            .enumerate()
            .map(|(i, (slot, _))| {
                let start = self.windows.map(|_| self.slots.starts[*slot as usize]);
                state_key(start, encoded.row(i))
            })
            .collect())
    }

    fn accumulate(
        &mut self,
        rows: &Rows,
        removed: &Batch,
        added: &Batch,
        args: &Args,
        old_args: Option<&Args>,
        ctx: &mut Ctx<'_>,
    ) -> Result<()> {
        let len = rows.len() as u32;
        let mut errors = Vec::new();
        let arrivals: Vec<u64> =
            rows.triggers.order.iter().map(|order| (ctx.epoch << 32).wrapping_add(*order)).collect();
        if let (Some(args), false) = (old_args, removed.slots.is_empty()) {
            let rows_of: Vec<u32> = removed.rows.iter().map(|row| row - len).collect();
            let entries = Entries { slots: &removed.slots, rows: &rows_of, arrivals: &arrivals };
            self.calls.remove(entries, args, &mut errors)?;
            self.slots.reach(&removed.slots, rows_of.iter().map(|&row| rows.times[row as usize]));
        }
        let entries = Entries { slots: &added.slots, rows: &added.rows, arrivals: &arrivals };
        self.calls.add(entries, args, &mut errors)?;
        self.slots.reach(&added.slots, added.rows.iter().map(|&row| rows.times[row as usize]));
        for (row, reason) in errors {
            ctx.report_row(reason, &rows.triggers, row);
        }
        Ok(())
    }

    fn write_back(&mut self, groups: &[ArrayRef], touched: &[(u32, u32)]) -> Result<()> {
        let keys = self.state_keys(groups, touched)?;
        let mut value = Vec::new();
        for ((slot, _), key) in touched.iter().zip(keys) {
            let slot = *slot as usize;
            value.clear();
            self.calls.save(slot, self.slots.times[slot], &mut value);
            self.store.put(&key, &value);
        }
        Ok(())
    }

    /// The touched groups as rows, in the order of the rows that touched them last.
    #[allow(clippy::too_many_arguments)]
    fn changes(
        &self,
        rows: &Rows,
        groups: &[ArrayRef],
        touched: &[(u32, u32)],
        slots: &[u32],
        existed: Vec<bool>,
        old: Vec<ArrayRef>,
        ctx: &Ctx<'_>,
    ) -> Result<Vec<Rows>> {
        let new = self.calls.finish(slots)?;
        let kept: Vec<u32> = if ctx.consolidate {
            let same = unchanged(&old, &new, slots.len())?;
            (0..slots.len()).filter(|&i| !(existed[i] && same[i])).map(|i| i as u32).collect()
        } else {
            (0..slots.len() as u32).collect()
        };
        if kept.is_empty() {
            return Ok(vec![]);
        }
        let len = rows.len() as u32;
        let group_rows =
            UInt32Array::from_iter_values(kept.iter().map(|&i| touched[i as usize].1));
        let triggers: Vec<u32> = kept.iter().map(|&i| touched[i as usize].1 % len).collect();
        let kept_slots: Vec<usize> = kept.iter().map(|&i| slots[i as usize] as usize).collect();
        let places = UInt32Array::from(kept.clone());
        let pick = |columns: &[ArrayRef], places: &UInt32Array| -> Result<Vec<ArrayRef>> {
            columns.iter().map(|c| Ok(take(c.as_ref(), places, None)?)).collect()
        };
        let windows = self.windows.map(|windows| Windows {
            starts: kept_slots.iter().map(|&s| self.slots.starts[s]).collect(),
            ends: kept_slots.iter().map(|&s| windows.end(self.slots.starts[s])).collect(),
        });
        let mut columns = pick(groups, &group_rows)?;
        let key_len = columns.len();
        columns.extend(pick(&new, &places)?);
        let mut old = pick(&old, &places)?;
        self.push_bounds(windows.as_ref(), &mut columns);
        self.push_bounds(windows.as_ref(), &mut old);
        let present = kept.iter().map(|&i| existed[i as usize]).collect();
        Ok(vec![Rows {
            columns: batch(&self.schema, columns, kept.len())?,
            key_len,
            times: kept_slots.iter().map(|&s| self.slots.times[s]).collect(),
            windows,
            present: None,
            old: Some(OldValues { columns: old, present }),
            triggers: rows.triggers.take(&triggers),
        }])
    }

    fn push_bounds(&self, windows: Option<&Windows>, columns: &mut Vec<ArrayRef>) {
        if let (true, Some(windows)) = (self.window_bounds, windows) {
            columns.push(Arc::new(Int64Array::new(windows.starts.clone(), None)));
            columns.push(Arc::new(Int64Array::new(windows.ends.clone(), None)));
        }
    }

    /// EMIT FINAL: the groups of windows that stream time has passed, each with the row that passed it.
    fn close(
        &mut self,
        rows: &Rows,
        before: Clock,
        advances: &[(usize, Clock)],
        ctx: &Ctx<'_>,
    ) -> Result<Vec<Rows>> {
        let (Some(windows), Some((_, last))) = (self.windows, advances.last()) else {
            return Ok(vec![]);
        };
        if last.closed <= before.closed {
            return Ok(vec![]);
        }
        let after = |closed: Millis| closed.saturating_sub(windows.size).saturating_add(1);
        let (from, to) = (state_key(Some(after(before.closed)), &[]), state_key(Some(after(last.closed)), &[]));
        let from = if before.closed == Millis::MIN { vec![GROUP] } else { from };
        let mut triggers = Vec::new();
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut advance = 0;
        self.store.scan(&from, &to, &mut |key, value| {
            let start = key.get(1..9).map_or(0, from_ordered);
            while advances[advance].1.closed < windows.end(start) && advance + 1 < advances.len() {
                advance += 1;
            }
            let (row, clock) = advances[advance];
            // Kafka Streams has lost what its store let expire in the same jump. That is no result
            // anybody wants, but it is what its tests have.
            let lost = !ctx.consolidate
                && start < clock.greatest_start.saturating_sub(windows.size + windows.grace);
            if !lost {
                triggers.push(row as u32);
                found.push((key.to_vec(), value.to_vec()));
            }
            true
        })?;
        self.rows_of(found, rows.triggers.take(&triggers))
    }

    /// Rows as they are in state; `triggers` has one for each.
    fn rows_of(&self, found: Vec<(Vec<u8>, Vec<u8>)>, triggers: crate::rows::Triggers) -> Result<Vec<Rows>> {
        if found.is_empty() {
            return Ok(vec![]);
        }
        let len = found.len();
        let prefix = if self.windows.is_some() { 9 } else { 1 };
        let (keys, values): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let windows = match self.windows {
            None => None,
            Some(windows) => {
                let starts = keys
                    .iter()
                    .map(|k| Ok(from_ordered(k.get(1..9).ok_or_else(damaged)?)))
                    .collect::<Result<Vec<Millis>>>()?;
                let ends = starts.iter().map(|&start| windows.end(start)).collect();
                Some(Windows { starts: starts.into(), ends })
            }
        };
        let bytes = keys
            .iter()
            .map(|k| Ok(k.get(prefix..).ok_or_else(damaged)?))
            .collect::<Result<Vec<_>>>()?;
        let mut columns = self.groups.codec().decode(bytes)?;
        let key_len = columns.len();
        let (times, results) = self.calls.read(&values)?;
        columns.extend(results);
        self.push_bounds(windows.as_ref(), &mut columns);
        let absent = columns[key_len..]
            .iter()
            .map(|c| arrow::array::new_null_array(c.data_type(), len))
            .collect();
        Ok(vec![Rows {
            columns: batch(&self.schema, columns, len)?,
            key_len,
            times: times.into(),
            windows,
            present: None,
            old: Some(OldValues { columns: absent, present: vec![false; len].into() }),
            triggers,
        }])
    }

    /// Deletes windows past their retention, in large steps, and clears memory that grew too large.
    fn forget_old(&mut self) {
        if let (Some(windows), Some(clock)) = (self.windows, self.clock) {
            let bound = clock.stream_time.saturating_sub(windows.retention);
            let step = (windows.retention / 8).max(windows.advance);
            if self.expired_before == Millis::MIN {
                self.expired_before = bound;
            } else if bound >= self.expired_before.saturating_add(step) {
                // Slots of these windows may stay: no row reaches them any more.
                self.store.delete_range(&[GROUP], &state_key(Some(bound), &[]));
                self.expired_before = bound;
            }
        }
        if self.slots.len() > self.most_slots {
            self.complete = false;
            self.groups.clear();
            self.slots = Slots::default();
            self.calls.compact(&[]);
        }
    }

    /// The starts of the windows in state that `selection` wants.
    fn starts(&self, selection: &Selection) -> Result<Vec<Millis>> {
        let Some(windows) = self.windows else { return Ok(vec![]) };
        let mut starts = Vec::new();
        let mut from = selection.window_start.from_ms.unwrap_or(Millis::MIN);
        loop {
            let mut found = None;
            self.store.scan(&state_key(Some(from), &[]), &[GROUP + 1], &mut |key, _| {
                found = key.get(1..9).map(from_ordered);
                false
            })?;
            match found {
                Some(start) if selection.window_start.to_ms.is_none_or(|to| start <= to) => {
                    if selection.wants_window(start, windows.end(start)) {
                        starts.push(start);
                    }
                    from = start + 1;
                }
                _ => return Ok(starts),
            }
        }
    }
}

impl Slots {
    fn len(&self) -> usize {
        self.times.len()
    }

    /// The slot of a group, made if it has none.
    fn get(&mut self, number: u32, start: Option<Millis>) -> u32 {
        let next = self.times.len() as u32;
        let slot = match start {
            // Numbers may have run ahead over rows that are placed later.
            None => number,
            Some(start) => *self.of.entry((number, start)).or_insert(next),
        };
        while self.times.len() <= slot as usize {
            self.times.push(Millis::MIN);
            self.exists.push(false);
            self.starts.push(start.unwrap_or(0));
        }
        slot
    }

    fn reach(&mut self, slots: &[u32], times: impl Iterator<Item = Millis>) {
        for (&slot, time) in slots.iter().zip(times) {
            let slot = slot as usize;
            self.times[slot] = self.times[slot].max(time);
            self.exists[slot] = true;
        }
    }
}

impl Batch {
    fn keep(&mut self, keep: impl Fn(u32) -> bool) {
        let kept: Vec<usize> = (0..self.slots.len()).filter(|&i| keep(self.slots[i])).collect();
        if kept.len() < self.slots.len() {
            self.slots = kept.iter().map(|&i| self.slots[i]).collect();
            self.rows = kept.iter().map(|&i| self.rows[i]).collect();
        }
    }
}

fn state_key(start: Option<Millis>, group: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(group.len() + 9);
    key.push(GROUP);
    if let Some(start) = start {
        key.extend_from_slice(&ordered(start));
    }
    key.extend_from_slice(group);
    key
}

/// Each slot touched, with the row that touched it last, in the order of those rows. A row of old values
/// (`len` and above) comes just before its new one; a row that touches several slots keeps their order.
fn touched(removed: &Batch, added: &Batch, slots: usize, len: usize) -> Vec<(u32, u32)> {
    let entries = |b: &Batch| b.slots.iter().copied().zip(b.rows.iter().copied()).collect::<Vec<_>>();
    let mut all = entries(removed);
    all.extend(entries(added));
    if !removed.slots.is_empty() {
        all.sort_by_key(|(_, row)| *row as usize % len);
    }
    let mut seen = vec![false; slots];
    let mut out: Vec<(u32, u32)> = Vec::new();
    for (slot, row) in all.into_iter().rev() {
        if !std::mem::replace(&mut seen[slot as usize], true) {
            out.push((slot, row));
        }
    }
    out.reverse();
    out
}

/// Whether each row is equal in `old` and `new`.
fn unchanged(old: &[ArrayRef], new: &[ArrayRef], len: usize) -> Result<Vec<bool>> {
    let mut same = vec![true; len];
    for (old, new) in old.iter().zip(new) {
        if old.data_type().is_nested() {
            let codec = RowCodec::of_types(vec![new.data_type().clone()])?;
            let (old, new) = (codec.encode(&[old.clone()], len)?, codec.encode(&[new.clone()], len)?);
            same.iter_mut().enumerate().for_each(|(i, same)| *same &= old.row(i) == new.row(i));
        } else {
            let equal = not_distinct(&old.as_ref(), &new.as_ref())?;
            same.iter_mut().enumerate().for_each(|(i, same)| *same &= equal.value(i));
        }
    }
    Ok(same)
}

impl Operator for Aggregate {
    fn step(&mut self, inputs: &[&[Rows]], ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let Some(rows) = Rows::concat(inputs[0])? else { return Ok(vec![]) };
        if ctx.consolidate {
            return self.apply(&rows, Phase::Both, ctx);
        }
        let mut out = Vec::new();
        for row in 0..rows.len() {
            let row = rows.slice(row, 1);
            if row.had_value(0) {
                out.extend(self.apply(&row, Phase::Remove, ctx)?);
            }
            if row.is_present(0) {
                out.extend(self.apply(&row, Phase::Add, ctx)?);
            }
        }
        Ok(out)
    }

    fn state(&mut self) -> Option<&mut StateStore> {
        Some(&mut self.store)
    }

    fn is_materialized(&self) -> bool {
        true
    }

    fn read(&mut self, selection: &Selection) -> Result<Vec<Rows>> {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        match &selection.keys {
            None if self.windows.is_none() => {
                self.store.scan(&[GROUP], &[GROUP + 1], &mut |key, value| {
                    found.push((key.to_vec(), value.to_vec()));
                    true
                })?;
            }
            None => {
                for start in self.starts(selection)? {
                    found.extend(self.store.scan_prefix(&state_key(Some(start), &[]))?);
                }
            }
            Some(keys) => {
                let count = keys.first().map_or(0, |k| k.len());
                let encoded = self.groups.codec().encode(keys, count)?;
                let starts: Vec<Option<Millis>> = match self.windows {
                    None => vec![None],
                    Some(_) => self.starts(selection)?.into_iter().map(Some).collect(),
                };
                for i in 0..count {
                    let keys: Vec<Vec<u8>> =
                        starts.iter().map(|&start| state_key(start, encoded.row(i))).collect();
                    let asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                    let values: Vec<Option<Value>> = self.store.multi_get(&asked)?;
                    for (key, value) in keys.into_iter().zip(values) {
                        found.extend(value.map(|value| (key, value.to_vec())));
                    }
                }
            }
        }
        let triggers = TriggersBuilder::untriggered(found.len());
        let mut rows = self.rows_of(found, triggers)?;
        rows.iter_mut().for_each(|rows| rows.old = None);
        Ok(rows)
    }
}
