//! Joins by their definitions (`reference/ksqldb.md` 5.5), over changes that may be joins' themselves.

use std::collections::{BTreeMap, HashMap};

use super::simple::table;
use super::{Cells, Out, cells, text};
use crate::case::Record;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Inner,
    Left,
    Right,
    Full,
}

impl Kind {
    /// Whether rows of side 0 or 1 are padded.
    fn pads(self, side: usize) -> bool {
        self == Kind::Full || self == [Kind::Left, Kind::Right][side]
    }
}

/// The rows of a stream that can be joined: with key and value.
pub(crate) fn stream(rows: &[Record], source: usize) -> Vec<Out> {
    let rows = rows.iter().enumerate().filter(|(_, row)| row.source == source);
    let out = |(i, row): (usize, &Record)| {
        let key = vec![text(Some(row.key?))];
        Some(Out::stream(i, key, row.time, Some(cells(row.value?))))
    };
    rows.filter_map(out).collect()
}

/// Both inputs in the order of what caused them; side 0 is the left.
fn merged<'a>(left: &'a [Out], right: &'a [Out]) -> Vec<(usize, &'a Out)> {
    let mut all: Vec<(usize, &Out)> =
        left.iter().map(|o| (0, o)).chain(right.iter().map(|o| (1, o))).collect();
    all.sort_by_key(|(side, out)| (out.trigger, *side));
    all
}

fn nulls(n: usize) -> Cells {
    vec!["null".into(); n]
}

/// The result of two sides, of which one may be missing; `widths` are how many cells each has.
fn pair(sides: [Option<&Cells>; 2], widths: [usize; 2]) -> Cells {
    let side = |s: usize| sides[s].cloned().unwrap_or_else(|| nulls(widths[s]));
    [side(0), side(1)].concat()
}

pub(crate) fn table_table(kind: Kind, left: &[Out], right: &[Out], widths: [usize; 2]) -> Vec<Out> {
    let mut held: HashMap<Cells, [Option<(i64, Cells)>; 2]> = HashMap::new();
    let joined = |sides: &[Option<(i64, Cells)>; 2]| {
        let there = match (&sides[0], &sides[1]) {
            (Some(_), Some(_)) => true,
            (Some(_), None) => kind.pads(0),
            (None, Some(_)) => kind.pads(1),
            (None, None) => false,
        };
        let cells = |s: usize| sides[s].as_ref().map(|(_, cells)| cells);
        there.then(|| pair([cells(0), cells(1)], widths))
    };
    let mut outs = Vec::new();
    for (side, out) in merged(left, right) {
        let sides = held.entry(out.key.clone()).or_default();
        let old = joined(sides);
        sides[side] = out.new.clone().map(|new| (out.time, new));
        let new = joined(sides);
        if old.is_some() || new.is_some() {
            let time = sides[1 - side].as_ref().map_or(out.time, |(time, _)| out.time.max(*time));
            outs.push(Out::table(out.trigger, out.key.clone(), time, new, old));
        }
    }
    outs
}

/// The left table's `f` is the right table's key.
pub(crate) fn foreign_key(kind: Kind, rows: &[Record]) -> Vec<Out> {
    let (left, right) = (table(rows, 0), table(rows, 1));
    let mut lefts: BTreeMap<Cells, (i64, Cells)> = BTreeMap::new();
    let mut rights: HashMap<Cells, (i64, Cells)> = HashMap::new();
    let refers = |cells: &Cells| (cells[0] != "null").then(|| vec![cells[0].clone()]);
    let mut outs = Vec::new();
    for (side, out) in merged(&left, &right) {
        let joined = |left: Option<&Cells>, right: Option<&Cells>| {
            let there = left.is_some() && (right.is_some() || kind.pads(0));
            there.then(|| pair([left, right], [2, 2]))
        };
        let new = out.new.clone().map(|new| (out.time, new));
        if side == 1 {
            let old = match new.clone() {
                Some(new) => rights.insert(out.key.clone(), new),
                None => rights.remove(&out.key),
            };
            for (key, (time, cells)) in &lefts {
                if refers(cells).as_ref() != Some(&out.key) {
                    continue;
                }
                let now = joined(Some(cells), new.as_ref().map(|(_, c)| c));
                let was = joined(Some(cells), old.as_ref().map(|(_, c)| c));
                outs.push(Out::table(out.trigger, key.clone(), out.time.max(*time), now, was));
            }
            continue;
        }
        let old = match new.clone() {
            Some(new) => lefts.insert(out.key.clone(), new),
            None => lefts.remove(&out.key),
        };
        let partner = |left: &Option<(i64, Cells)>| {
            left.as_ref().and_then(|(_, c)| refers(c)).and_then(|key| rights.get(&key))
        };
        let result = |left: &Option<(i64, Cells)>| {
            joined(left.as_ref().map(|(_, c)| c), partner(left).map(|(_, c)| c))
        };
        let (was, now) = (result(&old), result(&new));
        let old_key = old.as_ref().and_then(|(_, c)| refers(c));
        let new_key = new.as_ref().and_then(|(_, c)| refers(c));
        let takes_back = old_key.is_some() && (new.is_none() || old_key != new_key);
        if was.is_some() || now.is_some() || takes_back {
            // A deletion is the answer of the right key that was referred to.
            let asked = if now.is_some() {
                partner(&new)
            } else {
                partner(&new).or_else(|| if new_key.is_some() { None } else { partner(&old) })
            };
            let time = asked.map_or(out.time, |(time, _)| out.time.max(*time));
            outs.push(Out::table(out.trigger, out.key.clone(), time, now, was));
        }
    }
    outs
}

pub(crate) fn stream_table(
    kind: Kind,
    left: &[Out],
    right: &[Out],
    widths: [usize; 2],
) -> Vec<Out> {
    let mut held: HashMap<&Cells, Cells> = HashMap::new();
    let mut outs = Vec::new();
    for (side, out) in merged(left, right) {
        if side == 1 {
            match out.new.clone() {
                Some(new) => held.insert(&out.key, new),
                None => held.remove(&out.key),
            };
            continue;
        }
        let found = held.get(&out.key);
        if found.is_some() || kind.pads(0) {
            let new = pair([out.new.as_ref(), found], widths);
            outs.push(Out::stream(out.trigger, out.key.clone(), out.time, Some(new)));
        }
    }
    outs
}

/// `WITHIN (before, after) [GRACE PERIOD grace]`, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Within {
    pub(crate) before: i64,
    pub(crate) after: i64,
    pub(crate) grace: Option<i64>,
}

/// A record of a stream that a stream–stream join remembers.
struct Seen<'a> {
    side: usize,
    out: &'a Out,
    number: usize,
    /// Not padded and not matched yet.
    waits: bool,
}

pub(crate) fn stream_stream(
    kind: Kind,
    within: Within,
    left: &[Out],
    right: &[Out],
    widths: [usize; 2],
) -> Vec<Out> {
    let straight = (within.before, within.after);
    let mirrored = (within.after, within.before);
    // A RIGHT join is the right side's LEFT join with the same bounds.
    let reach = if kind == Kind::Right { [mirrored, straight] } else { [straight, mirrored] };
    let day = 24 * 3_600_000;
    let kept_ms = within.before + within.after + within.grace.unwrap_or(day);
    let (mut stream_time, mut newest) = (i64::MIN, [i64::MIN; 2]);
    let mut seen: Vec<Seen<'_>> = Vec::new();
    let mut outs = Vec::new();
    let result = |trigger: &Out, time: i64, side: usize, this: &Out, other: Option<&Out>| {
        let mut sides = [None; 2];
        sides[side] = this.new.as_ref();
        sides[1 - side] = other.and_then(|other| other.new.as_ref());
        Out::stream(trigger.trigger, this.key.clone(), time, Some(pair(sides, widths)))
    };
    for (number, (side, out)) in merged(left, right).into_iter().enumerate() {
        stream_time = stream_time.max(out.time);
        if let Some(grace) = within.grace
            && out.time == stream_time
        {
            let mut closed: Vec<&mut Seen<'_>> = seen
                .iter_mut()
                .filter(|s| s.waits && s.out.time + reach[s.side].1 + grace < stream_time)
                .collect();
            // The right side comes first.
            closed.sort_by_key(|s| (s.out.time, 1 - s.side, s.out.key.clone(), s.number));
            for record in closed {
                record.waits = false;
                outs.push(result(out, record.out.time, record.side, record.out, None));
            }
        }
        let (back, ahead) = reach[side];
        let visible = newest[1 - side].saturating_sub(kept_ms);
        let mut matches: Vec<&mut Seen<'_>> = seen
            .iter_mut()
            .filter(|s| s.side != side && s.out.key == out.key && s.out.time > visible)
            .filter(|s| (out.time - back..=out.time + ahead).contains(&s.out.time))
            .collect();
        matches.sort_by_key(|s| (s.out.time, s.number));
        let matched = !matches.is_empty();
        for other in matches {
            other.waits = false;
            outs.push(result(out, out.time.max(other.out.time), side, out, Some(other.out)));
        }
        let mut waits = false;
        if !matched && kind.pads(side) {
            waits = within.grace.is_some() && out.time + ahead >= stream_time;
            if !waits {
                outs.push(result(out, out.time, side, out, None));
            }
        }
        newest[side] = newest[side].max(out.time);
        seen.push(Seen { side, out, number, waits });
    }
    outs
}
