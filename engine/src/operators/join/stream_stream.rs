//! Joins the records of two streams that have one key and are close in time.
//!
//! A record meets those of the other side whose time is in its reach: seen from the left
//! `[time − before, time + after]`, from the right mirrored; a RIGHT join is the right side's LEFT join
//! with the same `before` and `after` (`reference/ksqldb.md` 5.5 no. 28). Emits a result at the later of
//! the two times, with the later record's headers. What a padded side (LEFT, RIGHT, FULL) emits without
//! a partner: no GRACE: at once, and perhaps the match later (no. 29). GRACE: once stream time has
//! passed the record's reach and grace, in the order of times, triggered by the record that moved stream
//! time; at once if stream time has passed the reach already. Records with a NULL key or value are
//! ignored, and do not move stream time.
//!
//! Records are kept for `before + after + grace` (no GRACE: 24 hours) of their own side's time; what
//! is older is not seen any more.
//!
//! State:
//! ```text
//! 0                                             → stream time, newest time of each side, buckets let go
//!                                                 of each side: i64 LE each ‖ next number u64 LE
//! 1|2 ‖ bucket ‖ key ‖ time ‖ number            → waiting u8 ‖ value columns as arrow-row bytes
//! 3 ‖ time ‖ side (0 right, 1 left) ‖ key ‖ number → nothing: the record waits to be padded
//! ```
//! `1` left, `2` right. `bucket` is the time divided by the bucket's length, so old records go by range.
//! `bucket`, `time` i64 BE with the sign flipped, `number` u64 BE in the order of arrival; `key` as
//! `JoinKeys` says.
//!
//! Invariants: a record with an entry under 3 has `waiting` set (which stays when it was padded, until
//! it is matched); a record is padded or matched before its bucket goes.

use std::collections::BTreeMap;

use millstream_sql::plan::{self, Step};
use millstream_sql::syntax::ast::JoinKind;

use super::rows::{
    Change, Inputs, JoinRows, Joined, KeyAt, KeyBytes, Side, Slots, Version, gather, is_padded,
    merged,
};
use crate::error::Result;
use crate::operator::{Ctx, Operator};
use crate::operators::table::{damaged, from_ordered, ordered};
use crate::rows::{Millis, Rows};
use crate::state::{StateStore, Value};

/// How long a join without GRACE remembers.
const LEGACY_GRACE_MS: Millis = 24 * 3600 * 1000;
/// A bucket is not shorter.
const BUCKET_MIN_MS: Millis = 60_000;

const CLOCK: &[u8] = &[0];
const WAITING: u8 = 3;

pub(crate) struct StreamStreamJoin {
    rows: JoinRows,
    /// How far each side's records look back and ahead.
    reach: [Reach; 2],
    padded: [bool; 2],
    grace: Option<Millis>,
    retention: Millis,
    bucket: Millis,
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
            retention,
            bucket: (retention / 2).max(BUCKET_MIN_MS),
            state,
        })
    }

    fn entry_key(&self, side: Side, key: &[u8], time: Millis, number: u64) -> Vec<u8> {
        let bucket = ordered(time.div_euclid(self.bucket));
        [&[side as u8 + 1], &bucket[..], key, &ordered(time), &number.to_be_bytes()].concat()
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
            let newest = clock.newest[side as usize];
            let first = newest.saturating_sub(self.retention).div_euclid(self.bucket);
            let gone = &mut clock.let_go[side as usize];
            if newest > Millis::MIN && first > *gone {
                let tag = side as u8 + 1;
                let bucket = |at: i64| [&[tag], &ordered(at)[..]].concat();
                self.state.delete_range(&bucket(*gone), &bucket(first));
                *gone = first;
            }
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

/// What one epoch may need of the state.
#[derive(Default)]
struct Loaded {
    /// Slot and side, state key, value.
    entries: Vec<(usize, Side, Vec<u8>, Vec<u8>)>,
    /// Keys of what may be padded, and the records.
    waiting: Vec<(Vec<u8>, Option<Value>)>,
}

impl StreamStreamJoin {
    /// Reads what the epoch's records may meet.
    fn load(
        &self,
        clock: &Clock,
        order: &[(Side, usize)],
        slot_of: &[usize],
        inputs: &Inputs,
        slots: &Slots<'_>,
    ) -> Result<Loaded> {
        // Of each slot and side: the times that the other side's records reach.
        let mut reached: Vec<[Option<(Millis, Millis)>; 2]> = vec![[None; 2]; slots.keys.len()];
        for (&(side, row), &slot) in order.iter().zip(slot_of) {
            let Some(rows) = &inputs[side as usize] else { continue };
            let (time, reach) = (rows.times[row], self.reach[side as usize]);
            let (from, to) = (time.saturating_sub(reach.back), time.saturating_add(reach.ahead));
            let range = &mut reached[slot][side.other() as usize];
            *range = Some(range.map_or((from, to), |(f, t)| (f.min(from), t.max(to))));
        }
        let mut loaded = Loaded::default();
        for (slot, sides) in reached.iter().enumerate() {
            for side in Side::BOTH {
                let Some((from, to)) = sides[side as usize] else { continue };
                // Nothing is seen that is older now, and nothing is there that is newer.
                let from = from.max(self.first_seen(clock, side));
                let to = to.min(clock.newest[side as usize]);
                if from > to {
                    continue;
                }
                let key = slots.keys[slot];
                for bucket in from.div_euclid(self.bucket)..=to.div_euclid(self.bucket) {
                    let start = [&[side as u8 + 1], &ordered(bucket)[..], key].concat();
                    let first = [&start[..], &ordered(from)].concat();
                    let last = [&start[..], &ordered(to), &[u8::MAX; 9]].concat();
                    self.state.scan(&first, &last, &mut |key, value| {
                        loaded.entries.push((slot, side, key.to_vec(), value.to_vec()));
                        true
                    })?;
                }
            }
        }
        Ok(loaded)
    }

    /// Reads what may be padded once stream time is `stream_time`.
    fn load_waiting(&mut self, stream_time: Millis, loaded: &mut Loaded) -> Result<()> {
        let Some(closed) = self.closed_before(stream_time) else { return Ok(()) };
        let end = [&[WAITING], &ordered(closed)[..]].concat();
        self.state.scan(&[WAITING], &end, &mut |key, _| {
            loaded.waiting.push((key.to_vec(), None));
            true
        })?;
        let records: Vec<Vec<u8>> = loaded
            .waiting
            .iter()
            .map(|(key, _)| {
                let (side, time, key, number) = split_waiting(key)?;
                Ok(self.entry_key(side, key, time, number))
            })
            .collect::<Result<_>>()?;
        let found = self.state.multi_get(&records.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        for (waiting, found) in loaded.waiting.iter_mut().zip(found) {
            waiting.1 = found;
        }
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

/// Time, number and record of an entry.
fn split_entry<'a>(key: &[u8], value: &'a [u8]) -> Result<Entry<'a>> {
    let (rest, number) = key.split_last_chunk::<8>().ok_or_else(damaged)?;
    let (_, time) = rest.split_last_chunk::<8>().ok_or_else(damaged)?;
    let (waiting, bytes) = value.split_first().ok_or_else(damaged)?;
    let version = Version { time: from_ordered(time), bytes, row: None };
    Ok(Entry { version, number: u64::from_be_bytes(*number), waiting: *waiting == 1 })
}

impl Operator for StreamStreamJoin {
    fn step(&mut self, inputs: &[&[Rows]], _ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let inputs = gather(inputs)?;
        let keys = self.rows.encode_keys(&inputs)?;
        let mut slots = Slots::default();
        let (mut order, mut slot_of) = (Vec::new(), Vec::new());
        for (side, row) in merged(&inputs) {
            let key = keys[side as usize].as_ref().and_then(|k: &KeyBytes| k.get(row));
            let present = inputs[side as usize].as_ref().is_some_and(|r| r.is_present(row));
            if let Some(key) = key.filter(|_| present) {
                order.push((side, row));
                slot_of.push(slots.number(key));
            }
        }
        if order.is_empty() {
            return Ok(vec![]);
        }
        let values = self.rows.encode_values(&inputs)?;
        let mut clock = self.clock()?;
        let latest = inputs.iter().flatten().flat_map(|r| r.times.iter().copied()).max();
        let mut loaded = self.load(&clock, &order, &slot_of, &inputs, &slots)?;
        self.load_waiting(clock.stream_time.max(latest.unwrap_or(Millis::MIN)), &mut loaded)?;

        let mut entries: Vec<[Vec<Entry<'_>>; 2]> = vec![Default::default(); slots.keys.len()];
        for (slot, side, key, value) in &loaded.entries {
            entries[*slot][*side as usize].push(split_entry(key, value)?);
        }
        let mut waiting: BTreeMap<Vec<u8>, Waiting<'_>> = BTreeMap::new();
        for (key, record) in &loaded.waiting {
            let (side, time, join_key, _) = split_waiting(key)?;
            let record = record.as_deref().and_then(|r| r.get(1..)).ok_or_else(damaged)?;
            let version = Version { time, bytes: record, row: None };
            waiting.insert(key.clone(), Waiting { side, key: KeyAt::Stored(join_key), version });
        }

        let mut results: Vec<Change<'_>> = Vec::new();
        for (&(side, row), &slot) in order.iter().zip(&slot_of) {
            let (Some(rows), Some(values)) = (&inputs[side as usize], &values[side as usize])
            else {
                continue;
            };
            let key = slots.keys[slot];
            let own =
                Version { time: rows.times[row], bytes: values.row(row), row: Some(row as u32) };
            let result = |time, now| Change {
                slot,
                key: KeyAt::Row(side, row),
                time,
                trigger: (side, row),
                now,
                before: None,
            };
            clock.stream_time = clock.stream_time.max(own.time);
            if own.time == clock.stream_time {
                self.pad_closed(&mut waiting, clock.stream_time, (side, row), &mut results);
            }
            let reach = self.reach[side as usize];
            let from =
                own.time.saturating_sub(reach.back).max(self.first_seen(&clock, side.other()));
            let to = own.time.saturating_add(reach.ahead);
            let others = &mut entries[slot][side.other() as usize];
            let first = others.partition_point(|e| e.version.time < from);
            let mut matched = false;
            for other in others[first..].iter_mut().take_while(|e| e.version.time <= to) {
                matched = true;
                results.push(result(
                    own.time.max(other.version.time),
                    pair(side, own, Some(other.version)),
                ));
                if std::mem::take(&mut other.waiting) {
                    let time = other.version.time;
                    let entry = self.entry_key(side.other(), key, time, other.number);
                    self.state.put(&entry, &[&[0], other.version.bytes].concat());
                    let padding = waiting_key(side.other(), key, time, other.number);
                    self.state.delete(&padding);
                    waiting.remove(&padding);
                }
            }
            let number = clock.next_number;
            clock.next_number += 1;
            let mut waits = false;
            if !matched && self.padded[side as usize] {
                waits = self.grace.is_some() && to >= clock.stream_time;
                if waits {
                    let padding = waiting_key(side, key, own.time, number);
                    self.state.put(&padding, &[]);
                    let key = KeyAt::Row(side, row);
                    waiting.insert(padding, Waiting { side, key, version: own });
                } else {
                    results.push(result(own.time, pair(side, own, None)));
                }
            }
            let newest = &mut clock.newest[side as usize];
            *newest = (*newest).max(own.time);
            let first_kept = newest.saturating_sub(self.retention).div_euclid(self.bucket);
            if own.time.div_euclid(self.bucket) >= first_kept {
                let entry = self.entry_key(side, key, own.time, number);
                self.state.put(&entry, &[&[u8::from(waits)], own.bytes].concat());
                let mine = &mut entries[slot][side as usize];
                let at = mine.partition_point(|e| e.version.time <= own.time);
                mine.insert(at, Entry { version: own, number, waiting: waits });
            }
        }
        self.let_go(&mut clock);
        self.put_clock(&clock);
        self.rows.stream(&inputs, &results)
    }

    fn state(&mut self) -> Option<&mut StateStore> {
        Some(&mut self.state)
    }
}

impl StreamStreamJoin {
    /// Emits what waits and is closed now, in the order of times.
    fn pad_closed<'a>(
        &mut self,
        waiting: &mut BTreeMap<Vec<u8>, Waiting<'a>>,
        stream_time: Millis,
        trigger: (Side, usize),
        results: &mut Vec<Change<'a>>,
    ) {
        let Some(closed) = self.closed_before(stream_time) else { return };
        let end = [&[WAITING], &ordered(closed)[..]].concat();
        let mut done = Vec::new();
        for (key, record) in waiting.range(..end) {
            let Waiting { side, key: at, version } = *record;
            if self.is_closed(side, version.time, stream_time) {
                let now = pair(side, version, None);
                let time = version.time;
                results.push(Change { slot: 0, key: at, time, trigger, now, before: None });
                done.push(key.clone());
            }
        }
        for key in done {
            self.state.delete(&key);
            waiting.remove(&key);
        }
    }
}
