//! Session windows: runs of a group's rows with no gap longer than the window's.
//!
//! A row joins the sessions that it is within the gap of, which become one; a session's window is from
//! its first record's time to its last's, both inclusive. Because the window is part of the result's
//! key, a session that grows is deleted under its old window, at that window's end, and then emitted
//! under its new one. A row is late, and dropped, if the session it would make ends before stream
//! time less gap less grace. What ended at or before stream time less retention is not found again.
//!
//! A step first finds out what happens to the windows, without values; then values before, updates,
//! values after: so that values are computed for many sessions at once.
//!
//! Index: for each session the state has a note that its key may have a session that ends in a span
//! of time. Notes are not corrected when a session grows further; who follows one looks. Spans are one
//! millisecond with EMIT FINAL, which asks for the sessions that end within an interval, else wide,
//! because only retention asks.

use std::ops::Range;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::groups::NO_GROUP;
use super::input::Batch;
use super::output::{Change, Changes};
use super::slots::Slots;
use super::state::{self, ends_key, plain_key, session_key, split_session, split_time};
use super::update::{Entries, Update};
use super::{Advance, Aggregate, Shape};
use crate::error::Result;
use crate::operator::Ctx;
use crate::rows::{Millis, Rows};
use crate::state::StateStore;

pub(super) struct Sessions {
    gap: i64,
    grace: i64,
    retention: i64,
    /// What the spans of the index are long.
    span: i64,
    /// Each group's sessions, by time.
    groups: Vec<Vec<Session>>,
    /// Sessions that end before this are gone.
    forgotten: Millis,
}

#[derive(Clone, Copy)]
struct Session {
    start: Millis,
    end: Millis,
    slot: u32,
}

/// A session that a run of rows changes.
struct Touched {
    slot: u32,
    key: u32,
    /// Its window before the run, if it was there.
    before: Option<(Millis, Millis)>,
    /// The row that made `before` untrue.
    moved_by: u32,
    /// The last row in it.
    last: u32,
    /// Whether it is still a session of its own.
    alive: bool,
}

/// What a run of rows does, before any value is touched.
#[derive(Default)]
struct Moves {
    touched: Vec<Touched>,
    places: HashMap<u32, usize, FixedState>,
    moves: Vec<Move>,
}

enum Move {
    Merge { into: u32, from: u32 },
    Add { row: u32, slot: u32 },
}

impl Sessions {
    pub(super) fn new(gap: i64, (grace, retention): (i64, i64), emit_final: bool) -> Self {
        let span = if emit_final { 1 } else { gap.max(retention / 16).max(1) };
        Sessions { gap, grace, retention, span, groups: Vec::new(), forgotten: Millis::MIN }
    }

    /// Sessions that end before this are closed.
    pub(super) fn close_time(&self, stream_time: Millis) -> Millis {
        stream_time.saturating_sub(self.grace).saturating_sub(self.gap)
    }

    /// Sessions that end at or before this are neither found nor shown any more.
    pub(super) fn horizon(&self, stream_time: Millis) -> Millis {
        stream_time.saturating_sub(self.retention)
    }

    fn span_of(&self, end: Millis) -> Millis {
        end.div_euclid(self.span).saturating_mul(self.span)
    }

    /// Puts a row into its session, which may be new or made of several; nothing if it is late.
    /// `before` is stream time before the row: what is past its retention by then is not found.
    fn place(
        &mut self,
        (row, key, time): (u32, u32, Millis),
        before: Millis,
        slots: &mut Slots,
        run: &mut Moves,
    ) {
        let close_time = self.close_time(before.max(time));
        let horizon = self.horizon(before);
        let sessions = &mut self.groups[key as usize];
        let first = time.saturating_sub(self.gap);
        let from = sessions.partition_point(|s| s.end < first || s.end <= horizon);
        let to = sessions.partition_point(|s| s.start <= time.saturating_add(self.gap)).max(from);
        let near = &sessions[from..to];
        let start = near.first().map_or(time, |s| s.start.min(time));
        let end = near.last().map_or(time, |s| s.end.max(time));
        if end < close_time {
            return;
        }
        let Some(first) = near.first() else {
            let slot = slots.push(key, time, time);
            sessions.insert(from, Session { start, end, slot });
            run.touch(Session { start, end, slot }, key, row, false);
            run.moves.push(Move::Add { row, slot });
            return;
        };
        let slot = first.slot;
        for session in near {
            let exists = slots.exists[session.slot as usize];
            let place = run.touch(*session, key, row, exists);
            let touched = &mut run.touched[place];
            if (session.start, session.end) != (start, end)
                && touched.before == Some((session.start, session.end))
            {
                touched.moved_by = row;
            }
            if session.slot == slot {
                touched.last = row;
            } else {
                touched.alive = false;
                run.moves.push(Move::Merge { into: slot, from: session.slot });
            }
        }
        run.moves.push(Move::Add { row, slot });
        sessions.splice(from..to, [Session { start, end, slot }]);
        (slots.start[slot as usize], slots.end[slot as usize]) = (start, end);
    }

    /// Whether a row would join a session that is closed at `stream_time`.
    fn meets_closed(&self, key: u32, time: Millis, stream_time: Millis) -> bool {
        let close_time = self.close_time(stream_time);
        let first = time.saturating_sub(self.gap);
        first < close_time
            && self.groups[key as usize].iter().any(|session| {
                (first..close_time).contains(&session.end)
                    && session.start <= time.saturating_add(self.gap)
            })
    }

    /// Deletes sessions past their retention, once enough time has passed that it pays: no row finds
    /// them, so when that is makes no difference. Their slots go later.
    pub(super) fn forget(&mut self, stream_time: Millis, store: &mut StateStore) -> Result<()> {
        let horizon = self.horizon(stream_time);
        let step = self.span.max(self.retention / 16);
        if horizon < self.forgotten.saturating_add(step) {
            return Ok(());
        }
        let to = self.span_of(horizon);
        let mut keys: Vec<Vec<u8>> = Vec::new();
        store.scan(&ends_key(Millis::MIN, &[]), &ends_key(to, &[]), &mut |key, _| {
            keys.extend(split_time(&key[1..]).ok().map(|(_, key)| key.to_vec()));
            true
        })?;
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            for (whole, _) in store.scan_prefix(&plain_key(&key))? {
                if split_session(&whole)?.2 < horizon {
                    store.delete(&whole);
                }
            }
        }
        store.delete_range(&ends_key(Millis::MIN, &[]), &ends_key(to, &[]));
        for sessions in &mut self.groups {
            sessions.retain(|session| session.end >= horizon);
        }
        self.forgotten = horizon;
        Ok(())
    }

    /// The slots that are sessions, ascending.
    pub(super) fn live_slots(&self) -> Vec<u32> {
        let mut live: Vec<u32> = self.groups.iter().flatten().map(|session| session.slot).collect();
        live.sort_unstable();
        live
    }

    /// The slots of the groups that a step from `oldest` on used, ascending.
    pub(super) fn slots_used_since(&self, slots: &Slots, oldest: u64) -> Vec<u32> {
        let used = |sessions: &&Vec<Session>| {
            sessions.iter().any(|session| slots.used[session.slot as usize] >= oldest)
        };
        let mut kept: Vec<u32> =
            self.groups.iter().filter(used).flatten().map(|session| session.slot).collect();
        kept.sort_unstable();
        kept
    }

    /// Learns the sessions anew after some of their slots went.
    pub(super) fn rebuild(&mut self, slots: &Slots, groups: usize) {
        self.groups = vec![Vec::new(); groups];
        for slot in 0..slots.len() {
            let (start, end) = (slots.start[slot], slots.end[slot]);
            let session = Session { start, end, slot: slot as u32 };
            self.groups[slots.key[slot] as usize].push(session);
        }
        self.groups.iter_mut().for_each(|sessions| sessions.sort_unstable_by_key(|s| s.start));
    }
}

impl Moves {
    /// The place in `touched` of a session, noted with its window when it is first seen.
    fn touch(&mut self, session: Session, key: u32, row: u32, exists: bool) -> usize {
        *self.places.entry(session.slot).or_insert_with(|| {
            self.touched.push(Touched {
                slot: session.slot,
                key,
                before: exists.then_some((session.start, session.end)),
                moved_by: NO_GROUP,
                last: row,
                alive: true,
            });
            self.touched.len() - 1
        })
    }
}

impl Aggregate {
    pub(super) fn sessions(&mut self, batch: &Batch, ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let rows = &batch.rows;
        let mut before = self.stream_time;
        let numbers = self.groups.numbers(&batch.new, rows.len(), |row| rows.is_present(row))?;
        self.load_sessions()?;
        self.slots.begin(&batch.args)?;
        let mut advances = Vec::new();
        let mut changes = Changes::default();
        let mut closed = Vec::new();
        let mut at = 0;
        while at < numbers.len() {
            let end =
                if ctx.consolidate { numbers.len() } else { at + distinct_groups(&numbers[at..]) };
            at = self.session_run(batch, &numbers, at..end, &mut advances, &mut changes, ctx)?;
            if self.stream_time > before {
                state::put_stream_time(&mut self.store, self.stream_time);
            }
            if self.emit_final {
                closed.extend(self.closed_sessions(batch, before, &advances)?);
                before = self.stream_time;
                advances.clear();
            }
        }
        self.slots.end();
        if self.emit_final {
            return Ok(closed);
        }
        if ctx.consolidate {
            changes.drop_unchanged()?;
        }
        changes.into_rows(&self.output, batch, &self.groups)
    }

    /// Reads the sessions of groups that are new in memory.
    fn load_sessions(&mut self) -> Result<()> {
        let Shape::Sessions(sessions) = &mut self.shape else { return Ok(()) };
        let known = sessions.groups.len();
        sessions.groups.resize(self.groups.len(), Vec::new());
        if self.complete {
            return Ok(());
        }
        let numbers: Vec<u32> = (known as u32..self.groups.len() as u32).collect();
        let keys = self.groups.state_keys(&numbers)?;
        let mut loaded: Vec<(u32, Vec<u8>)> = Vec::new();
        for (i, &number) in numbers.iter().enumerate() {
            for (key, value) in self.store.scan_prefix(&plain_key(keys.get(i)))? {
                let (_, start, end) = split_session(&key)?;
                let slot = self.slots.push(number, start, end);
                sessions.groups[number as usize].push(Session { start, end, slot });
                loaded.push((slot, value));
            }
        }
        self.slots.grow();
        loaded.into_iter().try_for_each(|(slot, value)| self.slots.load(slot, &value))
    }

    /// A run of rows, of which each group has one change for each window. Ends before a row that would
    /// change a session that the run closes: with EMIT FINAL that session leaves first, wherever the
    /// epoch ends. Returns where it ends.
    fn session_run(
        &mut self,
        batch: &Batch,
        numbers: &[u32],
        range: Range<usize>,
        advances: &mut Vec<Advance>,
        changes: &mut Changes,
        ctx: &mut Ctx<'_>,
    ) -> Result<usize> {
        let mut end = range.end;
        let Shape::Sessions(sessions) = &mut self.shape else { return Ok(end) };
        let mut run = Moves::default();
        for row in range.filter(|&row| numbers[row] != NO_GROUP) {
            let time = batch.rows.times[row];
            let closes = self.emit_final && !advances.is_empty();
            if closes && sessions.meets_closed(numbers[row], time, self.stream_time) {
                end = row;
                break;
            }
            let place = (row as u32, numbers[row], time);
            sessions.place(place, self.stream_time, &mut self.slots, &mut run);
            if time > self.stream_time {
                self.stream_time = time;
                let advance =
                    Advance { row: row as u32, stream_time: time, latest_start: Millis::MIN };
                advances.push(advance);
            }
        }
        self.slots.grow();
        let existed: Vec<u32> =
            run.touched.iter().filter(|t| t.before.is_some()).map(|t| t.slot).collect();
        let before = self.slots.finish(&existed)?;
        self.carry_out(batch, &run.moves, ctx);
        self.save_sessions(&run.touched)?;
        if !self.emit_final {
            self.session_changes(&run.touched, &before, changes)?;
        }
        Ok(end)
    }

    fn carry_out(&mut self, batch: &Batch, moves: &[Move], ctx: &mut Ctx<'_>) {
        let mut changed = Vec::new();
        let mut entries = Entries::default();
        for step in moves {
            match step {
                Move::Add { row, slot } => entries.push(*row, *slot),
                Move::Merge { into, from } => {
                    let mut update = Update {
                        slots: &mut self.slots,
                        batch,
                        step: self.step,
                        changed: &mut changed,
                    };
                    update.absorb(&entries, ctx);
                    entries = Entries::default();
                    self.slots.merge(*into, *from);
                }
            }
        }
        let mut update =
            Update { slots: &mut self.slots, batch, step: self.step, changed: &mut changed };
        update.absorb(&entries, ctx);
    }

    /// Writes the changed sessions, deletes those that are no more under their window.
    fn save_sessions(&mut self, touched: &[Touched]) -> Result<()> {
        let Shape::Sessions(sessions) = &mut self.shape else { return Ok(()) };
        let numbers: Vec<u32> = touched.iter().map(|t| t.key).collect();
        let keys = self.groups.state_keys(&numbers)?;
        let mut value = Vec::new();
        for (i, session) in touched.iter().enumerate() {
            let (key, slot) = (keys.get(i), session.slot as usize);
            let now = (self.slots.start[slot], self.slots.end[slot]);
            if let Some((start, end)) = session.before
                && (!session.alive || now != (start, end))
            {
                self.store.delete(&session_key(key, start, end));
            }
            if !session.alive {
                continue;
            }
            if !self.slots.exists[slot] {
                // Its only row was refused.
                sessions.groups[session.key as usize].retain(|s| s.slot != session.slot);
                continue;
            }
            self.slots.time[slot] = now.1;
            value.clear();
            self.slots.save(session.slot, &mut value);
            self.store.put(&session_key(key, now.0, now.1), &value);
            let span = sessions.span_of(now.1);
            if session.before.is_none_or(|(_, end)| sessions.span_of(end) != span) {
                self.store.put(&ends_key(span, key), &[]);
            }
        }
        Ok(())
    }

    /// Deletions of windows that are no more, and the sessions as they are now, in the order of the
    /// rows that caused them. `before` are the values of those that were there, in order.
    fn session_changes(
        &self,
        touched: &[Touched],
        before: &[ArrayRef],
        changes: &mut Changes,
    ) -> Result<()> {
        let alive: Vec<u32> = touched
            .iter()
            .filter(|t| t.alive && self.slots.exists[t.slot as usize])
            .map(|t| t.slot)
            .collect();
        let now = self.slots.finish(&alive)?;
        // Each change with its places in `now` and `before`.
        let mut all: Vec<(Change, Option<u32>, Option<u32>)> = Vec::new();
        let (mut next_now, mut next_before) = (0, 0);
        for session in touched {
            let slot = session.slot as usize;
            let (start, end) = (self.slots.start[slot], self.slots.end[slot]);
            let mut was = None;
            if let Some((old_start, old_end)) = session.before {
                was = Some(next_before);
                next_before += 1;
                if !session.alive || (old_start, old_end) != (start, end) {
                    let deletion = Change {
                        row: session.moved_by,
                        key: session.key,
                        start: old_start,
                        end: old_end,
                        time: old_end,
                        present: false,
                        had: true,
                    };
                    all.push((deletion, None, was.take()));
                }
            }
            if session.alive && self.slots.exists[slot] {
                let change = Change {
                    row: session.last,
                    key: session.key,
                    start,
                    end,
                    time: end,
                    present: true,
                    had: was.is_some(),
                };
                all.push((change, Some(next_now), was));
                next_now += 1;
            }
        }
        all.sort_by_key(|(change, ..)| (change.row, change.present, change.start));
        let pick = |columns: &[ArrayRef], places: UInt32Array| -> Result<Vec<ArrayRef>> {
            columns.iter().map(|c| Ok(take(c.as_ref(), &places, None)?)).collect()
        };
        let now = pick(&now, all.iter().map(|(_, now, _)| *now).collect())?;
        let before = pick(before, all.iter().map(|(.., before)| *before).collect())?;
        changes.push(all.into_iter().map(|(change, ..)| change), now, before);
        Ok(())
    }
}

/// How many rows, from the first, are of distinct groups; rows without one do not count.
fn distinct_groups(numbers: &[u32]) -> usize {
    let mut seen = hashbrown::HashSet::<u32, FixedState>::default();
    let repeated = numbers.iter().position(|&number| number != NO_GROUP && !seen.insert(number));
    repeated.unwrap_or(numbers.len())
}
