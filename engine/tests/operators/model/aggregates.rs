//! Aggregates: every group's rows are kept, and its values computed from all of them.

use std::collections::{BTreeMap, HashMap};

use super::simple::table;
use super::{Cells, Meaning, Out, number, text};
use crate::case::Record;

type Value = (Option<&'static str>, Option<i64>);

/// The value columns of a group, from its rows in the order they were added.
pub(crate) type Values = fn(&[Value]) -> Cells;

fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(","))
}

/// `COUNT(*), COUNT(v), SUM(v), MIN(v), MAX(v), AVG(v)`.
pub(crate) fn numbers(rows: &[Value]) -> Cells {
    let there: Vec<i64> = rows.iter().filter_map(|(_, v)| *v).collect();
    let sum: i64 = there.iter().sum();
    let mean = if there.is_empty() { 0.0 } else { sum as f64 / there.len() as f64 };
    vec![
        rows.len().to_string(),
        there.len().to_string(),
        sum.to_string(),
        number(there.iter().min().copied()),
        number(there.iter().max().copied()),
        format!("{mean:.6}"),
    ]
}

/// `COLLECT_LIST(v), COLLECT_SET(v), EARLIEST_BY_OFFSET(v), LATEST_BY_OFFSET(v), LATEST_BY_OFFSET(v, 2,
/// false), TOPK(v, 2), TOPKDISTINCT(v, 2), COUNT_DISTINCT(v), HISTOGRAM(f), STDDEV_SAMPLE(v), ATTR(v)`.
pub(crate) fn lists(rows: &[Value]) -> Cells {
    let all: Vec<Option<i64>> = rows.iter().map(|(_, v)| *v).collect();
    let there: Vec<i64> = all.iter().flatten().copied().collect();
    let mut set: Vec<Option<i64>> = Vec::new();
    all.iter().for_each(|v| {
        if !set.contains(v) {
            set.push(*v)
        }
    });
    let mut top = there.clone();
    top.sort_by(|a, b| b.cmp(a));
    let mut distinct = top.clone();
    distinct.dedup();
    let last = &all[all.len().saturating_sub(2)..];
    vec![
        list(all.iter().map(|v| number(*v))),
        list(set.iter().map(|v| number(*v))),
        number(there.first().copied()),
        number(there.last().copied()),
        list(last.iter().map(|v| number(*v))),
        list(top.iter().take(2).map(|v| v.to_string())),
        list(distinct.iter().take(2).map(|v| v.to_string())),
        distinct.len().to_string(),
        histogram(rows),
        deviation(&there),
        if set.len() == 1 { number(set[0]) } else { number(None) },
    ]
}

fn histogram(rows: &[Value]) -> String {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    rows.iter().for_each(|(f, _)| *counts.entry(text(*f)).or_default() += 1);
    let items: Vec<String> = counts.iter().map(|(f, n)| format!("{f}:{n}")).collect();
    format!("{{{}}}", items.join(","))
}

fn deviation(there: &[i64]) -> String {
    let n = there.len() as f64;
    let mean = there.iter().sum::<i64>() as f64 / n;
    let squares: f64 = there.iter().map(|v| (*v as f64 - mean).powi(2)).sum();
    format!("{:.6}", if there.len() < 2 { 0.0 } else { (squares / (n - 1.0)).sqrt() })
}

/// `COUNT(*), SUM(v), COLLECT_LIST(v)`.
pub(crate) fn brief(rows: &[Value]) -> Cells {
    let sum: i64 = rows.iter().filter_map(|(_, v)| *v).sum();
    vec![rows.len().to_string(), sum.to_string(), list(rows.iter().map(|(_, v)| number(*v)))]
}

/// `COUNT(*), COUNT(v), SUM(v), AVG(v), STDDEV_SAMPLE(v), HISTOGRAM(k)`: what a table can undo.
pub(crate) fn undoable(rows: &[Value]) -> Cells {
    let all = numbers(rows);
    let there: Vec<i64> = rows.iter().filter_map(|(_, v)| *v).collect();
    let of = |i: usize| all[i].clone();
    vec![of(0), of(1), of(2), of(5), deviation(&there), histogram(rows)]
}

/// `… FROM l GROUP BY f` over a stream, `HAVING COUNT(*) > least`.
pub(crate) fn stream(rows: &[Record], values: Values, least: usize) -> Meaning {
    let mut groups: HashMap<&str, (i64, Vec<Value>)> = HashMap::new();
    let mut outs = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let Some((Some(f), v)) = row.value else { continue };
        let (time, group) = groups.entry(f).or_insert((i64::MIN, vec![]));
        let old = (group.len() > least).then(|| values(group));
        group.push((Some(f), v));
        *time = row.time.max(*time);
        let new = (group.len() > least).then(|| values(group));
        if new.is_some() || old.is_some() {
            outs.push(Out::table(i, vec![text(Some(f))], *time, new, old));
        }
    }
    outs.into()
}

/// `… FROM l GROUP BY f` over a table: what a row replaces is taken back first. Groups never go.
pub(crate) fn undo(rows: &[Record]) -> Meaning {
    let mut groups: HashMap<String, (i64, Vec<(String, Value)>)> = HashMap::new();
    let mut outs = Vec::new();
    let mut held: HashMap<String, Value> = HashMap::new();
    for out in table(rows, 0) {
        let key = out.key[0].clone();
        let row = &rows[out.trigger];
        let old = match row.value {
            Some(value) => held.insert(key.clone(), value),
            None => held.remove(&key),
        };
        let of = |value: Option<Value>| value.and_then(|(f, _)| f);
        let moves = of(old) != of(row.value);
        for (value, adds) in [(old, false), (row.value, true)] {
            let Some((Some(f), v)) = value else { continue };
            let (time, group) = groups.entry(f.to_owned()).or_insert((i64::MIN, vec![]));
            let mut before = (*time > i64::MIN).then(|| of_table(group));
            if adds && !moves {
                // What replaces a row in its own group leaves as one change.
                before = outs.pop().and_then(|undone: Out| undone.old).flatten();
            }
            if adds {
                group.push((key.clone(), (Some(f), v)));
            } else if let Some(at) = group.iter().position(|(k, _)| *k == key) {
                group.remove(at);
            }
            *time = row.time.max(*time);
            let new = Some(of_table(group));
            outs.push(Out::table(out.trigger, vec![text(Some(f))], *time, new, before));
        }
    }
    outs.into()
}

/// `undoable` with the keys as what the histogram is of.
fn of_table(group: &[(String, Value)]) -> Cells {
    let mut cells = undoable(&group.iter().map(|(_, value)| *value).collect::<Vec<_>>());
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    group.iter().for_each(|(key, _)| *counts.entry(key).or_default() += 1);
    let items: Vec<String> = counts.iter().map(|(key, n)| format!("{key}:{n}")).collect();
    if let Some(last) = cells.last_mut() {
        *last = format!("{{{}}}", items.join(","));
    }
    cells
}

/// A window clause in milliseconds; `advance` is the size for a tumbling one.
#[derive(Clone, Copy)]
pub(crate) struct Windows {
    pub(crate) size: i64,
    pub(crate) advance: i64,
    pub(crate) grace: i64,
}

/// `… FROM l WINDOW … GROUP BY f`, with `emit_final` when windows close.
pub(crate) fn windows(
    rows: &[Record],
    of: Windows,
    values: Values,
    emit_final: bool,
    consolidate: bool,
) -> Meaning {
    // By start, then key: the order in which closed windows leave.
    let mut groups: BTreeMap<(i64, &str), (i64, Vec<Value>)> = BTreeMap::new();
    let mut stream_time = i64::MIN;
    let mut latest_start = i64::MIN;
    let mut outs = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let Some((Some(f), v)) = row.value else { continue };
        let before = stream_time;
        stream_time = stream_time.max(row.time);
        let closed = |start: i64, at: i64| start + of.size <= at.saturating_sub(of.grace);
        let starts = (0..=row.time / of.advance).map(|n| n * of.advance);
        for start in starts.filter(|start| row.time < start + of.size) {
            if closed(start, stream_time) {
                continue;
            }
            latest_start = latest_start.max(start);
            let is_new = !groups.contains_key(&(start, f));
            let (time, group) = groups.entry((start, f)).or_insert((i64::MIN, vec![]));
            let old = (!is_new).then(|| values(group));
            group.push((Some(f), v));
            *time = row.time.max(*time);
            if !emit_final {
                let window = Some((start, start + of.size));
                let out = Out::table(i, vec![text(Some(f))], *time, Some(values(group)), old);
                outs.push(Out { window, ..out });
            }
        }
        if !emit_final || stream_time == before {
            continue;
        }
        for ((start, f), (time, group)) in &groups {
            // Kafka's store has let go of what is far behind the newest window.
            let lost = !consolidate && *start < latest_start - of.size - of.grace;
            if closed(*start, stream_time) && !closed(*start, before) && !lost {
                let window = Some((*start, start + of.size));
                let out = Out::table(i, vec![text(Some(f))], *time, Some(values(group)), None);
                outs.push(Out { window, ..out });
            }
        }
    }
    outs.into()
}

struct Session {
    start: i64,
    end: i64,
    rows: Vec<Value>,
}

/// `… FROM l WINDOW SESSION (gap, RETENTION kept, GRACE PERIOD grace) GROUP BY f`.
pub(crate) fn sessions(
    rows: &[Record],
    (gap, kept, grace): (i64, i64, i64),
    values: Values,
    emit_final: bool,
) -> Meaning {
    let mut groups: BTreeMap<&str, Vec<Session>> = BTreeMap::new();
    let mut stream_time = i64::MIN;
    let mut outs = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let Some((Some(f), v)) = row.value else { continue };
        let before = stream_time;
        stream_time = stream_time.max(row.time);
        let close_time = |at: i64| at.saturating_sub(grace).saturating_sub(gap);
        let horizon = before.saturating_sub(kept);
        let sessions = groups.entry(f).or_default();
        let near =
            |s: &Session| s.end >= row.time - gap && s.start <= row.time + gap && s.end > horizon;
        let found: Vec<&Session> = sessions.iter().filter(|s| near(s)).collect();
        let start = found.iter().map(|s| s.start).fold(row.time, i64::min);
        let end = found.iter().map(|s| s.end).fold(row.time, i64::max);
        if end >= close_time(stream_time) {
            let mut merged = Session { start, end, rows: vec![] };
            let mut old = None;
            let mut left = Vec::new();
            for session in std::mem::take(sessions) {
                if !near(&session) {
                    left.push(session);
                    continue;
                }
                if (session.start, session.end) == (start, end) {
                    old = Some(values(&session.rows));
                } else if !emit_final {
                    let was = Some(values(&session.rows));
                    let out = Out::table(i, vec![text(Some(f))], session.end, None, was);
                    outs.push(Out { window: Some((session.start, session.end)), ..out });
                }
                merged.rows.extend(session.rows);
            }
            merged.rows.push((Some(f), v));
            if !emit_final {
                let new = Some(values(&merged.rows));
                let out = Out::table(i, vec![text(Some(f))], end, new, old);
                outs.push(Out { window: Some((start, end)), ..out });
            }
            left.push(merged);
            left.sort_by_key(|s| s.start);
            *sessions = left;
        }
        if emit_final && stream_time > before {
            let mut closed: Vec<(i64, &str, &Session)> = groups
                .iter()
                .flat_map(|(f, sessions)| sessions.iter().map(move |s| (s.end, *f, s)))
                .filter(|(end, ..)| *end < close_time(stream_time) && *end >= close_time(before))
                .collect();
            closed.sort_by_key(|(end, f, s)| (*end, *f, s.start));
            for (end, f, session) in closed {
                let new = Some(values(&session.rows));
                let out = Out::table(i, vec![text(Some(f))], end, new, None);
                outs.push(Out { window: Some((session.start, end)), ..out });
            }
        }
    }
    outs.into()
}
