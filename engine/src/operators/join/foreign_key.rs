//! Joins two tables, a column of the left being the key of the right.
//!
//! Emits, by the left row's key, with the result it replaces (rules of Kafka Streams, where left rows
//! subscribe to right keys):
//! - a left row that is new or changed: its result. Without one: what must take back an earlier result,
//!   that is a deletion if the foreign key changed, and nothing if the left row is new or kept it;
//! - a left row that is deleted or loses its foreign key: a deletion, if the foreign key was not NULL,
//!   whether or not there was a result;
//! - a right row that is new, changed or deleted: the result of every left row with its key, in the
//!   order of the left keys. INNER a deleted right row deletes the results, LEFT it pads them.
//!
//! A foreign key that is NULL (in any of its columns) or fails matches nothing: INNER such a row has no result, LEFT a padded
//! one. The time is the later one of the changed row and its partner.
//!
//! State:
//! ```text
//! 1 ‖ left key                 → time i64 LE ‖ left value columns
//! 2 ‖ right key                → time i64 LE ‖ right value columns
//! 3 ‖ foreign key ‖ left key   → nothing: the left row refers to the right key
//! ```
//! Keys and values are arrow-row bytes, so a key is never the beginning of another, and all who refer
//! to a right key are neighbours.
//!
//! Invariants: 1 and 2 hold the last present value of each key; 3 has exactly one entry for each left
//! row whose foreign key is not NULL.

use std::collections::{BTreeSet, HashMap};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use millstream_sql::expr::{EvalContext, Expr, RowErrors};
use millstream_sql::plan::Step;
use millstream_sql::syntax::ast::JoinKind;

use super::rows::{
    Change, Inputs, JoinKeys, JoinRows, Joined, KeyAt, KeyBytes, Side, Slots, Version,
    consolidated, gather, is_padded, merged,
};
use crate::error::Result;
use crate::operator::{Ctx, Operator};
use crate::operators::Exprs;
use crate::rows::{Millis, Rows, batch};
use crate::snapshot::Selection;
use crate::state::{StateStore, Value};

const LEFT: u8 = 1;
const RIGHT: u8 = 2;
const REFERENCE: u8 = 3;

pub(crate) struct ForeignKeyJoin {
    kind: JoinKind,
    foreign_key: Exprs,
    left: SchemaRef,
    rows: JoinRows,
    right_keys: JoinKeys,
    state: StateStore,
}

/// A left row with what it refers to.
#[derive(Clone, Copy)]
struct Referring<'a> {
    version: Version<'a>,
    foreign_key: Option<&'a [u8]>,
}

/// Left rows by the foreign key they refer to, while an epoch is worked out.
type References<'a> = HashMap<&'a [u8], BTreeSet<&'a [u8]>>;

impl ForeignKeyJoin {
    pub(crate) fn new(
        kind: JoinKind,
        foreign_key: &[Expr],
        [step, left, right]: [&Step; 3],
        state: StateStore,
    ) -> Result<Self> {
        Ok(ForeignKeyJoin {
            kind,
            foreign_key: Exprs::new(foreign_key, &left.schema)?,
            left: left.schema.to_arrow(),
            rows: JoinRows::new(step, left, right, left)?,
            right_keys: JoinKeys::new(&right.schema, false)?,
            state,
        })
    }

    /// The foreign keys of rows of the left table, of those that are `present`.
    fn foreign_keys(
        &self,
        columns: &RecordBatch,
        present: Option<&BooleanBuffer>,
        eval: &EvalContext,
    ) -> Result<(KeyBytes, RowErrors)> {
        let mut errors = RowErrors::default();
        let found = self.foreign_key.evaluate(columns, present, eval, &mut errors)?;
        Ok((self.right_keys.encode_columns(&found, None, columns.num_rows())?, errors))
    }

    /// The foreign keys of what state holds of the left table.
    fn stored_foreign_keys(
        &self,
        key_columns: &[ArrayRef],
        stored: &[Option<Value>],
        eval: &EvalContext,
    ) -> Result<KeyBytes> {
        let versions = stored.iter().map(Version::maybe_stored).collect::<Result<Vec<_>>>()?;
        let bytes: Vec<Option<&[u8]>> = versions.iter().map(|v| v.map(|v| v.bytes)).collect();
        let (values, present) = self.rows.values[0].decode_optional(&bytes)?;
        let columns = key_columns.iter().cloned().chain(values).collect();
        let columns = batch(&self.left, columns, stored.len())?;
        // What failed was reported when the row was new.
        Ok(self.foreign_keys(&columns, Some(&present), eval)?.0)
    }

    fn joined<'a>(&self, left: Option<Version<'a>>, right: Option<Version<'a>>) -> Joined<'a> {
        let there = left.is_some() && (right.is_some() || is_padded(self.kind, Side::Left));
        there.then_some([left, right])
    }

    /// Whether a left row that has no result must still say so.
    fn takes_back(old: Option<&[u8]>, new: Option<&Referring<'_>>) -> bool {
        match (old, new) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(old), Some(new)) => new.foreign_key != Some(old),
        }
    }
}

fn tagged(tag: u8, key: &[u8]) -> Vec<u8> {
    [&[tag], key].concat()
}

/// Reads `tag ‖ key` of all keys.
fn read(state: &mut StateStore, tag: u8, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
    let asked: Vec<Vec<u8>> = keys.iter().map(|key| tagged(tag, key)).collect();
    Ok(state.multi_get(&asked.iter().map(Vec::as_slice).collect::<Vec<_>>())?)
}

/// What one epoch needs of the state, read in batches.
struct Known {
    /// Parallel to the left rows: what their keys had.
    left: Vec<Option<Value>>,
    /// The foreign keys of those.
    left_keys: Option<KeyBytes>,
    /// Left keys that refer to right rows of this epoch: `3 ‖ foreign key ‖ left key`, its length
    /// before the left key, and the left row.
    fans: Vec<(Vec<u8>, usize, Option<Value>)>,
}

impl ForeignKeyJoin {
    fn load(
        &mut self,
        inputs: &Inputs,
        keys: &[Option<KeyBytes>; 2],
        eval: &EvalContext,
    ) -> Result<Known> {
        let mut known = Known { left: Vec::new(), left_keys: None, fans: Vec::new() };
        if let (Some(rows), Some(keys)) = (&inputs[0], &keys[0]) {
            let asked: Vec<&[u8]> =
                (0..rows.len()).map(|row| keys.get(row).unwrap_or_default()).collect();
            known.left = read(&mut self.state, LEFT, &asked)?;
            known.left_keys =
                Some(self.stored_foreign_keys(rows.key_columns(), &known.left, eval)?);
        }
        if let (Some(rows), Some(keys)) = (&inputs[1], &keys[1]) {
            let mut seen = Slots::default();
            for key in (0..rows.len()).filter_map(|row| keys.get(row)) {
                seen.number(key);
            }
            for key in seen.keys {
                let prefix = tagged(REFERENCE, key);
                for (reference, _) in self.state.scan_prefix(&prefix)? {
                    known.fans.push((reference, prefix.len(), None));
                }
            }
            let asked: Vec<&[u8]> = known.fans.iter().map(|(r, at, _)| &r[*at..]).collect();
            let found = read(&mut self.state, LEFT, &asked)?;
            for (fan, found) in known.fans.iter_mut().zip(found) {
                fan.2 = found;
            }
        }
        Ok(known)
    }
}

impl Operator for ForeignKeyJoin {
    fn step(&mut self, inputs: &[&[Rows]], ctx: &mut Ctx<'_>) -> Result<Vec<Rows>> {
        let inputs = gather(inputs)?;
        let side_keys =
            |s: usize, of: &JoinKeys| inputs[s].as_ref().map(|r| of.encode(r)).transpose();
        let keys = [side_keys(0, &self.rows.keys)?, side_keys(1, &self.right_keys)?];
        let values = self.rows.encode_values(&inputs)?;
        let new_foreign = match &inputs[0] {
            Some(rows) => {
                let (found, errors) =
                    self.foreign_keys(&rows.columns, rows.present.as_ref(), &ctx.eval())?;
                ctx.report(errors, &rows.triggers);
                Some(found)
            }
            None => None,
        };
        let known = self.load(&inputs, &keys, &ctx.eval())?;
        let old_foreign = |row: usize| known.left_keys.as_ref().and_then(|k| k.get(row));

        // The left rows that are touched, the right rows they or their change refer to.
        let (mut lefts, mut rights) = (Slots::default(), Slots::default());
        let mut left: Vec<Option<Referring<'_>>> = Vec::new();
        let mut references: References<'_> = HashMap::new();
        for row in 0..inputs[0].as_ref().map_or(0, Rows::len) {
            let Some(key) = keys[0].as_ref().and_then(|k| k.get(row)) else { continue };
            if lefts.number(key) == left.len() {
                let version = Version::maybe_stored(&known.left[row])?;
                left.push(
                    version.map(|version| Referring { version, foreign_key: old_foreign(row) }),
                );
            }
            let new = new_foreign.as_ref().and_then(|k| k.get(row));
            for key in old_foreign(row).into_iter().chain(new) {
                rights.number(key);
            }
        }
        for row in 0..inputs[1].as_ref().map_or(0, Rows::len) {
            if let Some(key) = keys[1].as_ref().and_then(|k| k.get(row)) {
                rights.number(key);
                references.entry(key).or_default();
            }
        }
        for (reference, at, value) in &known.fans {
            let (foreign_key, key) = (&reference[1..*at], &reference[*at..]);
            if lefts.number(key) == left.len() {
                let version = Version::maybe_stored(value)?;
                let foreign_key = Some(foreign_key);
                left.push(version.map(|version| Referring { version, foreign_key }));
            }
            if let Some(of) = references.get_mut(foreign_key) {
                of.insert(key);
            }
        }
        let stored_right = read(&mut self.state, RIGHT, &rights.keys)?;
        let mut right: Vec<Option<Version<'_>>> =
            stored_right.iter().map(Version::maybe_stored).collect::<Result<_>>()?;

        let mut changes: Vec<Change<'_>> = Vec::new();
        for (side, row) in merged(&inputs) {
            let (Some(rows), Some(values)) = (&inputs[side as usize], &values[side as usize])
            else {
                continue;
            };
            let Some(key) = keys[side as usize].as_ref().and_then(|k| k.get(row)) else { continue };
            let time = rows.times[row];
            let version = rows.is_present(row).then(|| Version {
                time,
                bytes: values.row(row),
                row: Some(row as u32),
            });
            if side == Side::Right {
                let Some(slot) = rights.find(key) else { continue };
                let old = std::mem::replace(&mut right[slot], version);
                match version {
                    Some(version) => self.state.put(&tagged(RIGHT, key), &version.to_state()),
                    None if old.is_some() => self.state.delete(&tagged(RIGHT, key)),
                    None => continue,
                }
                for left_key in references.get(key).into_iter().flatten() {
                    let Some(left_slot) = lefts.find(left_key) else { continue };
                    let Some(referring) = &left[left_slot] else { continue };
                    let own = Some(referring.version);
                    changes.push(Change {
                        slot: left_slot,
                        key: KeyAt::Stored(left_key),
                        time: time.max(referring.version.time),
                        trigger: (side, row),
                        now: self.joined(own, version),
                        before: self.joined(own, old),
                    });
                }
                continue;
            }
            let Some(slot) = lefts.find(key) else { continue };
            let foreign_key = new_foreign.as_ref().and_then(|k| k.get(row));
            let new = version.map(|version| Referring { version, foreign_key });
            let old = std::mem::replace(&mut left[slot], new);
            let old_key = old.and_then(|old| old.foreign_key);
            let new_key = new.and_then(|new| new.foreign_key);
            match version {
                Some(version) => self.state.put(&tagged(LEFT, key), &version.to_state()),
                None if old.is_some() => self.state.delete(&tagged(LEFT, key)),
                None => continue,
            }
            if old_key != new_key {
                if let Some(old_key) = old_key {
                    self.state.delete(&[&[REFERENCE], old_key, key].concat());
                    if let Some(of) = references.get_mut(old_key) {
                        of.remove(key);
                    }
                }
                if let Some(new_key) = new_key {
                    self.state.put(&[&[REFERENCE], new_key, key].concat(), &[]);
                    if let Some(of) = references.get_mut(new_key) {
                        of.insert(key);
                    }
                }
            }
            let partner = |key: Option<&[u8]>| right[rights.find(key?)?];
            let before = self.joined(old.map(|old| old.version), partner(old_key));
            let now = self.joined(version, partner(new_key));
            if now.is_some() || before.is_some() || Self::takes_back(old_key, new.as_ref()) {
                // A deletion is the answer of the right key that was referred to.
                let asked = if now.is_some() { new_key } else { new_key.or(old_key) };
                let partner_time = partner(asked).map_or(Millis::MIN, |right| right.time);
                changes.push(Change {
                    slot,
                    key: KeyAt::Row(side, row),
                    time: time.max(partner_time),
                    trigger: (side, row),
                    now,
                    before,
                });
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
            None => self.state.scan(&[LEFT], &[LEFT + 1], &mut |key, value| {
                found.push((key[1..].to_vec(), value.into()));
                true
            })?,
            Some(columns) => {
                let len = columns.first().map_or(0, |c| c.len());
                let keys = self.rows.keys.encode_columns(columns, None, len)?;
                let asked: Vec<&[u8]> = (0..len).filter_map(|row| keys.get(row)).collect();
                let values = read(&mut self.state, LEFT, &asked)?;
                let there = asked.iter().zip(values).filter_map(|(k, v)| Some((k.to_vec(), v?)));
                found.extend(there);
            }
        }
        if found.is_empty() {
            return Ok(vec![]);
        }
        let (keys, values): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let values: Vec<Option<Value>> = values.into_iter().map(Some).collect();
        let asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let key_columns = self.rows.keys.decode(&asked)?;
        // An expression that asks for the time is no foreign key: it would not stay what it was.
        let foreign =
            self.stored_foreign_keys(&key_columns, &values, &EvalContext { now_ms: 0 })?;
        let mut rights = Slots::default();
        let slots: Vec<Option<usize>> =
            (0..keys.len()).map(|row| Some(rights.number(foreign.get(row)?))).collect();
        let right = read(&mut self.state, RIGHT, &rights.keys)?;
        let mut results = Vec::new();
        for (i, slot) in slots.into_iter().enumerate() {
            let left = Version::maybe_stored(&values[i])?;
            let right = slot.map(|slot| Version::maybe_stored(&right[slot])).transpose()?.flatten();
            let now = self.joined(left, right);
            results.push((keys[i].as_slice(), now));
        }
        self.rows.snapshot(results)
    }
}
