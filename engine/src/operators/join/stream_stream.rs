//! Joins the records of two streams that have one key and are close in time.
//!
//! A record meets those of the other side whose time is in its reach: seen from the left
//! `[time − before, time + after]`, from the right mirrored; a RIGHT join is the right side's LEFT join
//! with the same `before` and `after` (`reference/ksqldb.md` 5.5 no. 28). Emits a result at the later of
//! the two times, with the later record's headers. What a padded side (LEFT, RIGHT, FULL) emits without
//! a partner: no GRACE: at once, and perhaps the match later (no. 29). GRACE: once stream time has
//! passed the record's reach and grace, in the order of times, triggered by the record that moved stream
//! time; at once if stream time has passed the reach already. Records with a NULL key or value are
//! ignored, and do not move stream time. With a residual (only where a side is padded) a pair counts as
//! a match only if that condition is TRUE for it.
//!
//! Records are kept for `before + after + grace` (no GRACE: 24 hours) of their own side's time; what
//! is older is not seen any more.
//!
//! State:
//! ```text
//! 0                                                → stream time, newest time of each side, buckets let
//!                                                    go of each side: i64 LE each ‖ next number u64 LE
//! 1|2 …                                            → the records (`window.rs`)
//! 3 ‖ time ‖ side (0 right, 1 left) ‖ key ‖ number → nothing: the record waits to be padded
//! ```
//! `time` i64 BE with the sign flipped, `number` u64 BE in the order of arrival; `key` as `JoinKeys` says.
//!
//! Invariants: a record with an entry under 3 is kept as waiting (and stays so when it was padded, until
//! it is matched); a record is padded or matched before its bucket goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_sql::expr::{Compiled, RowErrors, compile};
use millstream_sql::plan::{self, Step};
use millstream_sql::syntax::ast::JoinKind;

use super::rows::{
    Change, Inputs, JoinRows, Joined, KeyAt, Side, Slots, Version, gather, is_padded, merged,
};
use super::window::{Record, Window};
use crate::error::Result;
use crate::operator::{Ctx, Operator};
use crate::operators::table::{damaged, from_ordered, ordered};
use crate::rows::{Millis, Rows};
use crate::state::StateStore;

/// How long a join without GRACE remembers.
const LEGACY_GRACE_MS: Millis = 24 * 3600 * 1000;

const CLOCK: &[u8] = &[0];
const WAITING: u8 = 3;

pub(crate) struct StreamStreamJoin {
    rows: JoinRows,
    /// How far each side's records look back and ahead.
    reach: [Reach; 2],
    padded: [bool; 2],
    grace: Option<Millis>,
    residual: Option<Compiled>,
    retention: Millis,
    window: Window,
    state: StateStore,
}

#[derive(Clone, Copy)]
struct Reach {
    back: Millis,
    ahead: Millis,
}

/// How far the streams have come.
#[derive(Clone, Copy, PartialEq)]
struct Clock {
    stream_time: Millis,
    newest: [Millis; 2],
    /// Buckets before these are gone.
    let_go: [i64; 2],
    next_number: u64,
}

/// A record that may be matched.
#[derive(Clone, Copy)]
struct Entry<'a> {
    version: Version<'a>,
    number: u64,
    waiting: bool,
}

/// A record that waits to be padded.
#[derive(Clone, Copy)]
struct Waiting<'a> {
    side: Side,
    key: KeyAt<'a>,
    version: Version<'a>,
}

impl StreamStreamJoin {
    pub(crate) fn new(
        plan: &plan::StreamStreamJoin,
        [step, left, right]: [&Step; 3],
        state: StateStore,
        cache: usize,
    ) -> Result<Self> {
        let (before, after) = (plan.before_ms, plan.after_ms);
        let straight = Reach { back: before, ahead: after };
        let mirrored = Reach { back: after, ahead: before };
        let retention =
            before.saturating_add(after).saturating_add(plan.grace_ms.unwrap_or(LEGACY_GRACE_MS));
        Ok(StreamStreamJoin {
            rows: JoinRows::new(step, left, right, left)?,
            reach: match plan.kind {
                JoinKind::Right => [mirrored, straight],
                _ => [straight, mirrored],
            },
            padded: Side::BOTH.map(|side| is_padded(plan.kind, side)),
            grace: plan.grace_ms,
            residual: match &plan.residual {
                Some(residual) => Some(compile(residual, &step.schema)?),
                None => None,
            },
            retention,
            window: Window::open(retention, cache, &state)?,
            state,
        })
    }

    /// Before this time of its side a record is not seen any more.
    fn first_seen(&self, clock: &Clock, side: Side) -> Millis {
        clock.newest[side as usize].saturating_sub(self.retention).saturating_add(1)
    }

    fn clock(&mut self) -> Result<Clock> {
        let Some(bytes) = self.state.get(CLOCK)? else {
            return Ok(Clock {
                stream_time: Millis::MIN,
                newest: [Millis::MIN; 2],
                let_go: [i64::MIN; 2],
                next_number: 0,
            });
        };
        let (words, []) = bytes.as_chunks::<8>() else { return Err(damaged().into()) };
        let &[time, left, right, gone_left, gone_right, number] = words else {
            return Err(damaged().into());
        };
        Ok(Clock {
            stream_time: i64::from_le_bytes(time),
            newest: [left, right].map(i64::from_le_bytes),
            let_go: [gone_left, gone_right].map(i64::from_le_bytes),
            next_number: u64::from_le_bytes(number),
        })
    }

    fn put_clock(&mut self, clock: &Clock) {
        let times = [clock.stream_time, clock.newest[0], clock.newest[1]];
        let mut bytes: Vec<u8> =
            times.into_iter().chain(clock.let_go).flat_map(i64::to_le_bytes).collect();
        bytes.extend_from_slice(&clock.next_number.to_le_bytes());
        self.state.put(CLOCK, &bytes);
    }

    /// Deletes the buckets that nothing can see any more.
    fn let_go(&mut self, clock: &mut Clock) {
        for side in Side::BOTH {
            let first = self.first_kept(clock, side);
            let gone = &mut clock.let_go[side as usize];
            if first > *gone {
                self.window.let_go(&mut self.state, side, *gone, first);
                *gone = first;
            }
        }
    }

    /// The oldest bucket that can be seen.
    fn first_kept(&self, clock: &Clock, side: Side) -> i64 {
        match clock.newest[side as usize] {
            Millis::MIN => i64::MIN,
            newest => self.window.bucket_of(newest.saturating_sub(self.retention)),
        }
    }
}

/// The result of a record of `side` and one of the other side.
fn pair<'a>(side: Side, this: Version<'a>, other: Option<Version<'a>>) -> Joined<'a> {
    Some(match side {
        Side::Left => [Some(this), other],
        Side::Right => [other, Some(this)],
    })
}

fn waiting_key(side: Side, key: &[u8], time: Millis, number: u64) -> Vec<u8> {
    let side = u8::from(side == Side::Left);
    [&[WAITING], &ordered(time)[..], &[side], key, &number.to_be_bytes()].concat()
}

/// An epoch's rows that count, in order, each with the number of its key.
struct Order<'a> {
    rows: Vec<(Side, usize, usize)>,
    slots: Slots<'a>,
}

/// What one epoch may need of the state.
#[derive(Default)]
struct Loaded {
    /// With slot and side.
    records: Vec<(usize, Side, Record)>,
    /// Keys of what may be padded, and the rows.
    waiting: Vec<(Vec<u8>, Arc<[u8]>)>,
}

impl StreamStreamJoin {
    /// Reads what the epoch's records may meet.
    fn load(&self, clock: &Clock, order: &Order<'_>, inputs: &Inputs) -> Result<Loaded> {
        // Of each slot and side: the times that the other side's records reach.
        let mut reached: Vec<[Option<(Millis, Millis)>; 2]> =
            vec![[None; 2]; order.slots.keys.len()];
        for &(side, row, slot) in &order.rows {
            let Some(rows) = &inputs[side as usize] else { continue };
            let (time, reach) = (rows.times[row], self.reach[side as usize]);
            let (from, to) = (time.saturating_sub(reach.back), time.saturating_add(reach.ahead));
            let range = &mut reached[slot][side.other() as usize];
            *range = Some(range.map_or((from, to), |(f, t)| (f.min(from), t.max(to))));
        }
        let mut loaded = Loaded::default();
        let mut found = Vec::new();
        for (slot, sides) in reached.iter().enumerate() {
            for side in Side::BOTH {
                let Some((from, to)) = sides[side as usize] else { continue };
                // Nothing is seen that is older now, and nothing is there that is newer.
                let from = from.max(self.first_seen(clock, side));
                let to = to.min(clock.newest[side as usize]);
                if from <= to {
                    let key = order.slots.keys[slot];
                    self.window.records(&self.state, side, key, (from, to), &mut found)?;
                    loaded.records.extend(found.drain(..).map(|record| (slot, side, record)));
                }
            }
        }
        Ok(loaded)
    }

    /// Reads what may be padded once stream time is `stream_time`.
    fn load_waiting(&mut self, stream_time: Millis, loaded: &mut Loaded) -> Result<()> {
        let Some(closed) = self.closed_before(stream_time) else { return Ok(()) };
        let end = [&[WAITING], &ordered(closed)[..]].concat();
        let mut keys: Vec<Vec<u8>> = Vec::new();
        self.state.scan(&[WAITING], &end, &mut |key, _| {
            keys.push(key.to_vec());
            true
        })?;
        let asked: Vec<_> = keys.iter().map(|key| split_waiting(key)).collect::<Result<_>>()?;
        let found = self.window.get(&mut self.state, &asked)?;
        loaded.waiting = keys.into_iter().zip(found).collect();
        Ok(())
    }

    /// Waiting records before this time may be closed at `stream_time`; `None`: nothing waits here.
    fn closed_before(&self, stream_time: Millis) -> Option<Millis> {
        let grace = self.grace?;
        let ahead = Side::BOTH.into_iter().filter(|s| self.padded[*s as usize]);
        let ahead = ahead.map(|s| self.reach[s as usize].ahead).min()?;
        Some(stream_time.saturating_sub(ahead).saturating_sub(grace))
    }

    fn is_closed(&self, side: Side, time: Millis, stream_time: Millis) -> bool {
        let ahead = self.reach[side as usize].ahead;
        time.saturating_add(ahead).saturating_add(self.grace.unwrap_or(0)) < stream_time
    }
}

/// Side, time, join key and number of a key under 3.
fn split_waiting(key: &[u8]) -> Result<(Side, Millis, &[u8], u64)> {
    let (rest, number) = key.split_last_chunk::<8>().ok_or_else(damaged)?;
    let (head, key) = rest.split_first_chunk::<10>().ok_or_else(damaged)?;
    let side = if head[9] == 1 { Side::Left } else { Side::Right };
    Ok((side, from_ordered(&head[1..9]), key, u64::from_be_bytes(*number)))
}

/// What one epoch works on.
struct Work<'a> {
    clock: Clock,
    /// Of each slot and side, by time.
    entries: Vec<[Vec<Entry<'a>>; 2]>,
    waiting: BTreeMap<Vec<u8>, Waiting<'a>>,
    results: Vec<Change<'a>>,
}

impl<'a> Work<'a> {
    fn new(clock: Clock, slots: usize, loaded: &'a Loaded) -> Result<Self> {
        let mut entries: Vec<[Vec<Entry<'_>>; 2]> = vec![Default::default(); slots];
        for (slot, side, record) in &loaded.records {
            let version = Version { time: record.time, bytes: &record.bytes, row: None };
            let (number, waiting) = (record.number, record.waiting);
            entries[*slot][*side as usize].push(Entry { version, number, waiting });
        }
        let mut waiting = BTreeMap::new();
        for (key, record) in &loaded.waiting {
            let (side, time, join_key, _) = split_waiting(key)?;
            let version = Version { time, bytes: record, row: None };
            waiting.insert(key.clone(), Waiting { side, key: KeyAt::Stored(join_key), version });
        }
        Ok(Work { clock, entries, waiting, results: Vec::new() })
    }
}

impl Operator for StreamStreamJoin {
    fn step(&mut self, inputs: &[&[Rows]], ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let inputs = gather(inputs)?;
        let keys = self.rows.encode_keys(&inputs)?;
        let mut order = Order { rows: Vec::new(), slots: Slots::default() };
        for (side, row) in merged(&inputs) {
            let key = keys[side as usize].as_ref().and_then(|k| k.get(row));
            let present = inputs[side as usize].as_ref().is_some_and(|r| r.is_present(row));
            if let Some(key) = key.filter(|_| present) {
                order.rows.push((side, row, order.slots.number(key)));
            }
        }
        if order.rows.is_empty() {
            return Ok(vec![]);
        }
        let values = self.rows.encode_values(&inputs)?;
        let clock = self.clock()?;
        let latest = inputs.iter().flatten().flat_map(|r| r.times.iter().copied()).max();
        let mut loaded = self.load(&clock, &order, &inputs)?;
        self.load_waiting(clock.stream_time.max(latest.unwrap_or(Millis::MIN)), &mut loaded)?;
        let mut work = Work::new(clock, order.slots.keys.len(), &loaded)?;
        for &(side, row, slot) in &order.rows {
            let (Some(rows), Some(values)) = (&inputs[side as usize], &values[side as usize])
            else {
                continue;
            };
            let (time, bytes) = (rows.times[row], values.row(row));
            let own = Version { time, bytes, row: Some(row as u32) };
            self.on_record(side, (slot, order.slots.keys[slot]), own, &inputs, &mut work, ctx)?;
        }
        self.let_go(&mut work.clock);
        self.put_clock(&work.clock);
        self.rows.stream(&inputs, &work.results)
    }

    fn state(&mut self) -> Option<&mut StateStore> {
        Some(&mut self.state)
    }
}

impl StreamStreamJoin {
    /// Moves stream time, pads what that closes, matches the record, or lets it wait, and keeps it.
    fn on_record<'a>(
        &mut self,
        side: Side,
        (slot, key): (usize, &'a [u8]),
        own: Version<'a>,
        inputs: &Inputs,
        work: &mut Work<'a>,
        ctx: &mut Ctx<'_>,
    ) -> Result<()> {
        let row = own.row.map_or(0, |row| row as usize);
        let result = |time, now| {
            let key = KeyAt::Row(side, row);
            Change { slot, key, time, trigger: (side, row), now, before: None }
        };
        work.clock.stream_time = work.clock.stream_time.max(own.time);
        if own.time == work.clock.stream_time {
            self.pad_closed((side, row), work);
        }
        let others = self.partners(side, slot, own, inputs, work, ctx)?;
        let matched = self.match_others(side, (slot, key), own, &others, work, &result);
        let number = work.clock.next_number;
        work.clock.next_number += 1;
        let mut waits = false;
        if !matched && self.padded[side as usize] {
            let to = own.time.saturating_add(self.reach[side as usize].ahead);
            waits = self.grace.is_some() && to >= work.clock.stream_time;
            if waits {
                let padding = waiting_key(side, key, own.time, number);
                self.state.put(&padding, &[]);
                let key = KeyAt::Row(side, row);
                work.waiting.insert(padding, Waiting { side, key, version: own });
            } else {
                work.results.push(result(own.time, pair(side, own, None)));
            }
        }
        let newest = &mut work.clock.newest[side as usize];
        *newest = (*newest).max(own.time);
        if self.window.bucket_of(own.time) >= self.first_kept(&work.clock, side) {
            self.window.put(&mut self.state, side, key, (own.time, number, waits, own.bytes));
            let mine = &mut work.entries[slot][side as usize];
            let at = mine.partition_point(|e| e.version.time <= own.time);
            mine.insert(at, Entry { version: own, number, waiting: waits });
        }
        Ok(())
    }

    /// The places, among the other side's entries, of those that are in the record's reach and for which
    /// the residual holds.
    fn partners<'a>(
        &self,
        side: Side,
        slot: usize,
        own: Version<'a>,
        inputs: &Inputs,
        work: &Work<'a>,
        ctx: &mut Ctx<'_>,
    ) -> Result<Vec<usize>> {
        let (reach, theirs) = (self.reach[side as usize], side.other());
        let from = own.time.saturating_sub(reach.back).max(self.first_seen(&work.clock, theirs));
        let to = own.time.saturating_add(reach.ahead);
        let others = &work.entries[slot][theirs as usize];
        let first = others.partition_point(|e| e.version.time < from);
        let end = others.partition_point(|e| e.version.time <= to).max(first);
        let Some(residual) = self.residual.as_ref().filter(|_| first < end) else {
            return Ok((first..end).collect());
        };
        let row = own.row.map_or(0, |row| row as usize);
        let pairs: Vec<Change<'_>> = others[first..end]
            .iter()
            .map(|other| Change {
                slot,
                key: KeyAt::Row(side, row),
                time: own.time,
                trigger: (side, row),
                now: pair(side, own, Some(other.version)),
                before: None,
            })
            .collect();
        let mut found = Vec::new();
        for rows in self.rows.stream(inputs, &pairs)? {
            let mut errors = RowErrors::default();
            let holds = residual.filter(&rows.columns, &ctx.eval(), &mut errors);
            ctx.report(errors, &rows.triggers);
            found.extend(holds.set_indices().map(|i| first + i));
        }
        Ok(found)
    }

    /// Emits a record with its partners; false when there are none.
    fn match_others<'a>(
        &mut self,
        side: Side,
        (slot, key): (usize, &[u8]),
        own: Version<'a>,
        partners: &[usize],
        work: &mut Work<'a>,
        result: &dyn Fn(Millis, Joined<'a>) -> Change<'a>,
    ) -> bool {
        let theirs = side.other();
        let others = &mut work.entries[slot][theirs as usize];
        for &at in partners {
            let other = &mut others[at];
            let Version { time, bytes, .. } = other.version;
            work.results.push(result(own.time.max(time), pair(side, own, Some(other.version))));
            if std::mem::take(&mut other.waiting) {
                self.window.put(&mut self.state, theirs, key, (time, other.number, false, bytes));
                let padding = waiting_key(theirs, key, time, other.number);
                self.state.delete(&padding);
                work.waiting.remove(&padding);
            }
        }
        !partners.is_empty()
    }

    /// Emits what waits and is closed now, in the order of times.
    fn pad_closed(&mut self, trigger: (Side, usize), work: &mut Work<'_>) {
        let stream_time = work.clock.stream_time;
        let Some(closed) = self.closed_before(stream_time) else { return };
        let end = [&[WAITING], &ordered(closed)[..]].concat();
        let mut done = Vec::new();
        for (key, record) in work.waiting.range(..end) {
            let Waiting { side, key: at, version } = *record;
            if self.is_closed(side, version.time, stream_time) {
                let (time, now) = (version.time, pair(side, version, None));
                work.results.push(Change { slot: 0, key: at, time, trigger, now, before: None });
                done.push(key.clone());
            }
        }
        for key in done {
            self.state.delete(&key);
            work.waiting.remove(&key);
        }
    }
}
