//! Filter, projection, table functions, new keys: what needs no state, on streams and on a table.

use std::collections::HashMap;

use super::{Cells, Meaning, Out, cells, number, text};
use crate::case::Record;

/// `SELECT k, f, 12 / v FROM l`: a failing expression is NULL and reported; a NULL value stays one.
pub(crate) fn project(rows: &[Record], _: bool) -> Meaning {
    let mut errors = Vec::new();
    let mut outs = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let new = row.value.map(|(f, v)| {
            let divided = v.filter(|v| *v != 0).map(|v| 12 / v);
            if divided.is_none() {
                errors.push(i);
            }
            vec![text(f), number(divided)]
        });
        outs.push(Out::stream(i, vec![text(row.key)], row.time, new));
    }
    Meaning { outs, errors: Some(errors) }
}

/// `SELECT k, f, v FROM l WHERE v > 1`.
pub(crate) fn filter(rows: &[Record], _: bool) -> Meaning {
    let out = |(i, row): (usize, &Record)| {
        let value = row.value.filter(|(_, v)| v.is_some_and(|v| v > 1))?;
        Some(Out::stream(i, vec![text(row.key)], row.time, Some(cells(value))))
    };
    rows.iter().enumerate().filter_map(out).collect::<Vec<_>>().into()
}

/// `SELECT f, k, v FROM l PARTITION BY f`.
pub(crate) fn rekey(rows: &[Record], _: bool) -> Meaning {
    let out = |(i, row): (usize, &Record)| {
        let key = vec![text(row.value.and_then(|(f, _)| f))];
        let new = row.value.map(|(_, v)| vec![text(row.key), number(v)]);
        Out::stream(i, key, row.time, new)
    };
    rows.iter().enumerate().map(out).collect::<Vec<_>>().into()
}

/// `SELECT k, EXPLODE(SPLIT(f, '-')), EXPLODE(ARRAY[v, v + 1]) FROM l`: as many rows as the longest.
pub(crate) fn explode(rows: &[Record], _: bool) -> Meaning {
    let mut outs = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let Some((f, v)) = row.value else { continue };
        let texts: Vec<&str> = f.map_or(vec![], |f| f.split('-').collect());
        // What fails in an array is NULL there.
        let numbers = [v, v.map(|v| v + 1)];
        for at in 0..texts.len().max(numbers.len()) {
            let new =
                vec![text(texts.get(at).copied()), number(numbers.get(at).copied().flatten())];
            outs.push(Out::stream(i, vec![text(row.key)], row.time, Some(new)));
        }
    }
    outs.into()
}

/// The changes of a table that is read: rows without a key are left out, and so are deletions of what is
/// not there.
pub(crate) fn table(rows: &[Record], source: usize) -> Vec<Out> {
    let mut held: HashMap<&str, Cells> = HashMap::new();
    let mut outs = Vec::new();
    for (i, row) in rows.iter().enumerate().filter(|(_, row)| row.source == source) {
        let Some(key) = row.key else { continue };
        let new = row.value.map(cells);
        let old = match &new {
            Some(new) => held.insert(key, new.clone()),
            None => held.remove(key),
        };
        if new.is_some() || old.is_some() {
            outs.push(Out::table(i, vec![text(Some(key))], row.time, new, old));
        }
    }
    outs
}

/// `SELECT k, f, v FROM l WHERE v > 1` over a table: a row that matches no more is deleted.
pub(crate) fn filter_table(rows: &[Record], _: bool) -> Meaning {
    let matches = |cells: &Cells| cells[1].parse::<i64>().is_ok_and(|v| v > 1);
    let mut outs = table(rows, 0);
    for out in &mut outs {
        out.new = out.new.take().filter(matches);
        out.old = out.old.take().map(|old| old.filter(matches));
    }
    outs.retain(|out| out.new.is_some() || out.old != Some(None));
    let errors = rows.iter().enumerate().filter(|(_, row)| row.key.is_none()).map(|(i, _)| i);
    Meaning { outs, errors: Some(errors.collect()) }
}
