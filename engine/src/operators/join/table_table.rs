//! Joins two tables on their keys.
//!
//! Emits when a row of either side changes the result of its key, with the result it replaces: INNER
//! has one while both sides have a row, LEFT while the left has, RIGHT while the right has, FULL while
//! one of them has; what is not there is NULL. When a result ends a deletion is emitted. The time is
//! the later one of the changed row and the other side's row. Rows with windows are joined per key and
//! window.
//!
//! State: `key ‖ side (1 left, 2 right)` → `time i64 LE ‖ value columns as arrow-row bytes`; `key` as
//! [`JoinKeys`] says, so the two rows of a result are neighbours, in the order of their keys.
//!
//! Invariant: after an epoch the state holds the last present value of each key on each side, and
//! nothing else; the result is never kept, because it follows from them.
//!
//! [`JoinKeys`]: super::rows::JoinKeys

use millstream_sql::plan::Step;
use millstream_sql::syntax::ast::JoinKind;

use super::rows::{
    Change, JoinRows, Joined, KeyAt, Side, Slots, Version, consolidated, gather, is_padded, merged,
};
use crate::error::Result;
use crate::operator::{Ctx, Operator};
use crate::rows::{Millis, Rows};
use crate::snapshot::Selection;
use crate::state::{StateStore, Value};

pub(crate) struct TableTableJoin {
    kind: JoinKind,
    rows: JoinRows,
    state: StateStore,
}

impl TableTableJoin {
    pub(crate) fn new(
        kind: JoinKind,
        [step, left, right]: [&Step; 3],
        state: StateStore,
    ) -> Result<Self> {
        Ok(TableTableJoin { kind, rows: JoinRows::new(step, left, right, left)?, state })
    }

    fn joined<'a>(&self, sides: [Option<Version<'a>>; 2]) -> Joined<'a> {
        let there = match sides {
            [Some(_), Some(_)] => true,
            [Some(_), None] => is_padded(self.kind, Side::Left),
            [None, Some(_)] => is_padded(self.kind, Side::Right),
            [None, None] => false,
        };
        there.then_some(sides)
    }
}

fn state_key(key: &[u8], side: Side) -> Vec<u8> {
    [key, &[side as u8 + 1]].concat()
}

impl Operator for TableTableJoin {
    fn step(&mut self, inputs: &[&[Rows]], ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let inputs = gather(inputs)?;
        let keys = self.rows.encode_keys(&inputs)?;
        let values = self.rows.encode_values(&inputs)?;
        let mut slots = Slots::default();
        let order: Vec<(usize, Side, usize)> = merged(&inputs)
            .into_iter()
            .filter_map(|(side, row)| {
                let key = keys[side as usize].as_ref()?.get(row)?;
                Some((slots.number(key), side, row))
            })
            .collect();
        let asked: Vec<Vec<u8>> =
            slots.keys.iter().flat_map(|key| Side::BOTH.map(|side| state_key(key, side))).collect();
        let stored = self.state.multi_get(&asked.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        let first: Vec<[Option<Version<'_>>; 2]> = stored
            .chunks_exact(2)
            .map(|pair| Ok([Version::maybe_stored(&pair[0])?, Version::maybe_stored(&pair[1])?]))
            .collect::<Result<_>>()?;
        let mut current = first.clone();
        let mut changes = Vec::new();
        for (slot, side, row) in order {
            let (Some(rows), Some(values)) = (&inputs[side as usize], &values[side as usize])
            else {
                continue;
            };
            let time = rows.times[row];
            let version = rows.is_present(row).then(|| Version {
                time,
                bytes: values.row(row),
                row: Some(row as u32),
            });
            let was = current[slot];
            if was[side as usize].is_none() && version.is_none() {
                continue;
            }
            current[slot][side as usize] = version;
            let (before, now) = (self.joined(was), self.joined(current[slot]));
            if before.is_some() || now.is_some() {
                let other = was[side.other() as usize].map_or(Millis::MIN, |other| other.time);
                changes.push(Change {
                    slot,
                    key: KeyAt::Row(side, row),
                    time: time.max(other),
                    trigger: (side, row),
                    now,
                    before,
                });
            }
        }
        for (slot, sides) in current.iter().enumerate() {
            for side in Side::BOTH {
                let key = &asked[2 * slot + side as usize];
                match (&first[slot][side as usize], &sides[side as usize]) {
                    (_, Some(version)) if version.row.is_some() => {
                        self.state.put(key, &version.to_state());
                    }
                    (Some(_), None) => self.state.delete(key),
                    _ => {}
                }
            }
        }
        let changes = if ctx.consolidate { consolidated(changes) } else { changes };
        self.rows.table(&inputs, &changes)
    }

    fn state(&mut self) -> Option<&mut StateStore> {
        Some(&mut self.state)
    }

    fn is_materialized(&self) -> bool {
        true
    }

    fn read(&mut self, selection: &Selection) -> Result<Vec<Rows>> {
        let mut found: Vec<(Vec<u8>, Value)> = Vec::new();
        match &selection.keys {
            None => self.state.scan(&[], &[u8::MAX; 64], &mut |key, value| {
                found.push((key.to_vec(), value.into()));
                true
            })?,
            Some(columns) => {
                let len = columns.first().map_or(0, |c| c.len());
                let keys = self.rows.keys.encode_columns(columns, None, len)?;
                for key in (0..len).filter_map(|row| keys.get(row)) {
                    let of_key = self.state.scan_prefix(key)?;
                    found.extend(of_key.into_iter().map(|(key, value)| (key, value.into())));
                }
            }
        }
        let mut results: Vec<(&[u8], Joined<'_>)> = Vec::new();
        let mut sides: [Option<Version<'_>>; 2] = [None, None];
        for (i, (key, value)) in found.iter().enumerate() {
            let Some((side, key)) = key.split_last() else { continue };
            sides[usize::from(*side == 2)] = Some(Version::stored(value)?);
            let next = found.get(i + 1).and_then(|(next, _)| next.split_last());
            if next.is_some_and(|(_, next)| next == key) {
                continue;
            }
            let now = self.joined(std::mem::take(&mut sides));
            let window = self.rows.keys.split(key)?.1;
            if window.is_none_or(|(start, end)| selection.wants_window(start, end)) {
                results.push((key, now));
            }
        }
        self.rows.snapshot(results)
    }
}
