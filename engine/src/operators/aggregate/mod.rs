//! GROUP BY: groups of rows, each with the values of its aggregate functions.
//!
//! Over a stream each row is added to its group; with a window, to its group in every window that
//! covers its time. Over a table what a row replaces is taken back first. Rows with a NULL in the
//! group key, and rows of a stream without a value, are left out; a late row is dropped in silence
//! (`reference/ksqldb.md` 5.3 nos. 16–20, 5.4).
//!
//! Emits: without `consolidate` every change of a group, one per row and window; two for an update that
//! moves a table's row to another group (taken back there, added here); with it, the net change of each group. A group's time is the
//! latest of its records', a session's its end. With EMIT FINAL a window's groups leave once, when the
//! window closes.
//!
//! A row that an aggregate refuses (a decimal sum overflows) is reported and not added at all.
//!
//! State: `state.rs`. Invariants:
//! - what a step changed is in the state when it returns; slots, numbers and sessions in memory are a
//!   cache of it, and any part of it may go between steps;
//! - `complete` is set only while memory holds all that the state does: then nothing is read.
//!
//! Reading order: [`input`], [`groups`] (key to number), [`slots`] and [`accumulators`] (number to
//! values), [`update`] and [`output`] (what changes), [`windows`], [`sessions`], [`stored`].

mod accumulators;
mod groups;
mod input;
mod output;
mod sessions;
mod slots;
mod state;
mod stored;
mod update;
mod windows;

#[cfg(test)]
mod tests;

use millstream_sql::expr::AggregateCall;
use millstream_sql::plan;
use millstream_sql::syntax::ast::WindowKind;
use millstream_sql::types::Schema;

use self::groups::{Groups, NO_GROUP};
use self::input::{Batch, Input};
use self::output::Output;
use self::sessions::Sessions;
use self::slots::Slots;
use self::update::{Entries, Update};
use self::windows::TimeWindows;
use crate::error::Result;
use crate::operator::{Ctx, Operator};
use crate::rows::{Millis, Rows};
use crate::snapshot::Selection;
use crate::state::StateStore;

/// Steps between two looks at how much memory is held.
const LOOK: u64 = 64;

pub(crate) struct Aggregate {
    calls: Vec<AggregateCall>,
    input: Input,
    output: Output,
    emit_final: bool,
    groups: Groups,
    slots: Slots,
    shape: Shape,
    store: StateStore,
    stream_time: Millis,
    /// All that the state holds is in memory.
    complete: bool,
    /// What may be kept in memory between steps.
    limit_bytes: usize,
    step: u64,
    /// How many slots may be there before memory is looked at.
    look_at: usize,
}

enum Shape {
    /// Without a window: a group's slot has the group's number.
    Plain,
    Windows(TimeWindows),
    Sessions(Sessions),
}

/// A row that moved stream time.
#[derive(Clone, Copy)]
struct Advance {
    row: u32,
    stream_time: Millis,
    /// The latest window start so far.
    latest_start: Millis,
}

impl Aggregate {
    /// `limit_bytes` bounds what is kept in memory beside the state.
    ///
    /// # Errors
    /// When the plan does not fit its input or the state cannot be read.
    pub(crate) fn new(
        plan: &plan::Aggregate,
        input: &Schema,
        output: &Schema,
        mut store: StateStore,
        limit_bytes: usize,
    ) -> Result<Self> {
        let input = Input::new(plan, input)?;
        let shape = match &plan.window {
            None => Shape::Plain,
            Some(window) => {
                let times = (window.grace_ms, window.retention_ms);
                match window.kind {
                    WindowKind::Tumbling { size_ms } => {
                        Shape::Windows(TimeWindows::new((size_ms, size_ms), times, &store)?)
                    }
                    WindowKind::Hopping { size_ms, advance_ms } => {
                        Shape::Windows(TimeWindows::new((size_ms, advance_ms), times, &store)?)
                    }
                    WindowKind::Session { gap_ms } => {
                        Shape::Sessions(Sessions::new(gap_ms, times, plan.emit_final))
                    }
                }
            }
        };
        Ok(Aggregate {
            calls: plan.calls.clone(),
            output: Output::new(output, plan.window.is_some(), plan.window_bounds),
            emit_final: plan.emit_final,
            groups: Groups::new(input.key_types())?,
            slots: Slots::new(&plan.calls)?,
            input,
            shape,
            stream_time: state::stream_time(&mut store)?,
            complete: store.is_complete(),
            store,
            limit_bytes,
            step: 0,
            look_at: look_from(limit_bytes),
        })
    }

    fn plain(&mut self, batch: &Batch, ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let rows = &batch.rows;
        let new = self.groups.numbers(&batch.new, rows.len(), |row| rows.is_present(row))?;
        let mut old = vec![];
        if let Some(present) = batch.old_present() {
            old = self.groups.numbers(&batch.old, rows.len(), |row| present.value(row))?;
        }
        let known = self.slots.len();
        for number in known..self.groups.len() {
            self.slots.push(number as u32, 0, 0);
        }
        self.load(known)?;
        let mut entries = Entries::default();
        for (row, &slot) in new.iter().enumerate() {
            if let Some(&old) = old.get(row).filter(|old| **old != NO_GROUP) {
                entries.push(row as u32, old);
                entries.adds.push(false);
            }
            if slot != NO_GROUP {
                entries.push(row as u32, slot);
                entries.adds.extend((!old.is_empty()).then_some(true));
            }
        }
        self.slots.begin(&batch.args)?;
        let mut changed = Vec::new();
        let mut update =
            Update { slots: &mut self.slots, batch, step: self.step, changed: &mut changed };
        let changes = update.run(&entries, ctx)?;
        self.slots.end();
        self.write_back(&changed)?;
        changes.into_rows(&self.output, batch, &self.groups)
    }

    fn windowed(&mut self, batch: &Batch, ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let rows = &batch.rows;
        let numbers = self.groups.numbers(&batch.new, rows.len(), |row| rows.is_present(row))?;
        let Shape::Windows(windows) = &mut self.shape else { return Ok(vec![]) };
        let known = self.slots.len();
        let before = self.stream_time;
        let mut advances = Vec::new();
        let mut latest_start = windows.latest_start();
        let mut entries = Entries::default();
        for (row, &number) in numbers.iter().enumerate().filter(|(_, n)| **n != NO_GROUP) {
            let time = rows.times[row];
            let advanced = time > self.stream_time;
            self.stream_time = self.stream_time.max(time);
            for start in windows.covering(time) {
                if !windows.is_closed(start, self.stream_time) {
                    latest_start = latest_start.max(start);
                    entries.push(row as u32, windows.slot(start, number, &mut self.slots));
                }
            }
            if advanced && self.emit_final {
                let stream_time = self.stream_time;
                advances.push(Advance { row: row as u32, stream_time, latest_start });
            }
        }
        self.load(known)?;
        self.slots.begin(&batch.args)?;
        let mut changed = Vec::new();
        let mut update =
            Update { slots: &mut self.slots, batch, step: self.step, changed: &mut changed };
        let changes = if self.emit_final {
            update.absorb(&entries, ctx);
            None
        } else {
            Some(update.run(&entries, ctx)?)
        };
        self.slots.end();
        self.write_back(&changed)?;
        if self.stream_time > before {
            state::put_stream_time(&mut self.store, self.stream_time);
        }
        match changes {
            Some(changes) => changes.into_rows(&self.output, batch, &self.groups),
            None => self.closed_windows(batch, before, &advances, ctx),
        }
    }

    /// Fills the slots from number `known` on, which are new, with what the state has of them.
    fn load(&mut self, known: usize) -> Result<()> {
        self.slots.grow();
        if self.complete || known == self.slots.len() {
            return Ok(());
        }
        let absent = |slot: &u32| match &self.shape {
            Shape::Windows(windows) => windows.is_whole(self.slots.start[*slot as usize]),
            _ => false,
        };
        let new = known as u32..self.slots.len() as u32;
        let slots: Vec<u32> = new.filter(|slot| !absent(slot)).collect();
        if slots.is_empty() {
            return Ok(());
        }
        let keys = self.slot_keys(&slots)?;
        let asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        for (&slot, value) in slots.iter().zip(self.store.multi_get(&asked)?) {
            if let Some(value) = value {
                self.slots.load(slot, &value)?;
            }
        }
        Ok(())
    }

    /// The state keys of slots.
    fn slot_keys(&self, slots: &[u32]) -> Result<Vec<Vec<u8>>> {
        let mut whole = Vec::with_capacity(slots.len());
        self.each_key(slots, |_, key| whole.push(key.to_vec()))?;
        Ok(whole)
    }

    /// Shows each slot with its state key.
    fn each_key(&self, slots: &[u32], mut visit: impl FnMut(u32, &[u8])) -> Result<()> {
        let numbers: Vec<u32> = slots.iter().map(|&slot| self.slots.key[slot as usize]).collect();
        let keys = self.groups.state_keys(&numbers)?;
        let mut whole = Vec::new();
        for (i, &slot) in slots.iter().enumerate() {
            let (start, end) = (self.slots.start[slot as usize], self.slots.end[slot as usize]);
            whole.clear();
            match &self.shape {
                Shape::Plain => state::put_plain_key(&mut whole, keys.get(i)),
                Shape::Windows(_) => state::put_window_key(&mut whole, start, keys.get(i)),
                Shape::Sessions(_) => state::put_session_key(&mut whole, keys.get(i), start, end),
            }
            visit(slot, &whole);
        }
        Ok(())
    }

    fn write_back(&mut self, changed: &[u32]) -> Result<()> {
        let there: Vec<u32> =
            changed.iter().copied().filter(|&slot| self.slots.exists[slot as usize]).collect();
        // One after the other: keys and values, each with its end.
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(there.len()));
        self.each_key(&there, |slot, key| {
            bytes.extend_from_slice(key);
            let key_end = bytes.len();
            self.slots.save(slot, &mut bytes);
            ends.push((key_end, bytes.len()));
        })?;
        let mut start = 0;
        for (key_end, end) in ends {
            self.store.put(&bytes[start..key_end], &bytes[key_end..end]);
            start = end;
        }
        Ok(())
    }

    /// Forgets what is past its retention, and what memory should not hold.
    fn tidy(&mut self) -> Result<()> {
        match &mut self.shape {
            Shape::Plain => {}
            Shape::Windows(windows) => {
                windows.forget(windows.horizon(self.stream_time), &mut self.store);
            }
            Shape::Sessions(sessions) => {
                sessions.forget(self.stream_time, &mut self.store)?;
            }
        }
        if self.slots.len() < self.look_at && !self.step.is_multiple_of(LOOK) {
            return Ok(());
        }
        self.drop_dead();
        if self.slots.bytes() + self.groups.bytes() > self.limit_bytes {
            self.evict();
        }
        self.look_at = (self.slots.len() * 5 / 4).max(look_from(self.limit_bytes));
        Ok(())
    }

    /// Drops slots of windows and sessions that are no more, if they are many.
    fn drop_dead(&mut self) {
        let live: Vec<u32> = match &self.shape {
            Shape::Plain => return,
            Shape::Windows(windows) => (0..self.slots.len() as u32)
                .filter(|&slot| windows.holds(self.slots.start[slot as usize]))
                .collect(),
            Shape::Sessions(sessions) => sessions.live_slots(),
        };
        if live.len() < self.slots.len() / 4 * 3 {
            self.retain(&live);
        }
    }

    /// Keeps the slots used last, about half of what may be kept.
    fn evict(&mut self) {
        let each = (self.slots.bytes() + self.groups.bytes()) / self.slots.len().max(1);
        let most = self.limit_bytes / 2 / each.max(1);
        let mut used: Vec<u64> = self.slots.used.clone();
        used.sort_unstable_by(|a, b| b.cmp(a));
        let oldest = used.get(most).map_or(0, |&step| step + 1);
        let kept: Vec<u32> = match &self.shape {
            // A group's sessions go together.
            Shape::Sessions(sessions) => sessions.slots_used_since(&self.slots, oldest),
            _ => (0..self.slots.len() as u32)
                .filter(|&slot| self.slots.used[slot as usize] >= oldest)
                .collect(),
        };
        self.complete = false;
        if let Shape::Windows(windows) = &mut self.shape {
            windows.evicted();
        }
        self.retain(&kept);
    }

    /// Keeps these slots only, ascending, and the groups they belong to.
    fn retain(&mut self, kept: &[u32]) {
        let mut numbers: Vec<u32> =
            kept.iter().map(|&slot| self.slots.key[slot as usize]).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut renumbered = vec![NO_GROUP; self.groups.len()];
        for (new, &old) in numbers.iter().enumerate() {
            renumbered[old as usize] = new as u32;
        }
        self.groups.retain(&numbers);
        self.slots.retain(kept);
        self.slots.key.iter_mut().for_each(|key| *key = renumbered[*key as usize]);
        match &mut self.shape {
            Shape::Plain => {}
            Shape::Windows(windows) => windows.rebuild(&self.slots),
            Shape::Sessions(sessions) => sessions.rebuild(&self.slots, self.groups.len()),
        }
    }
}

/// So few slots need no look at the memory they take.
fn look_from(limit_bytes: usize) -> usize {
    (limit_bytes / 256).clamp(1, 1024)
}

impl Operator for Aggregate {
    fn step(&mut self, inputs: &[&[Rows]], ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let Some(rows) = Rows::concat(inputs[0])? else { return Ok(vec![]) };
        self.step += 1;
        let batch = self.input.evaluate(rows, ctx)?;
        let out = match &self.shape {
            Shape::Plain => self.plain(&batch, ctx)?,
            Shape::Windows(_) => self.windowed(&batch, ctx)?,
            Shape::Sessions(_) => self.sessions(&batch, ctx)?,
        };
        self.tidy()?;
        Ok(out)
    }

    fn state(&mut self) -> Option<&mut StateStore> {
        Some(&mut self.store)
    }

    fn is_materialized(&self) -> bool {
        true
    }

    fn read(&mut self, selection: &Selection) -> Result<Vec<Rows>> {
        self.read_stored(selection)
    }
}
