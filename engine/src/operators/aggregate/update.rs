//! Adding and taking away rows, and what changes by it: groups without windows and with time windows.

use std::collections::HashSet;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter;

use super::input::Batch;
use super::output::{Change, Changes};
use super::slots::Slots;
use crate::error::Result;
use crate::operator::Ctx;

/// What happens to slots, in order: row `rows[i]` goes to slot `slots[i]`.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) rows: Vec<u32>,
    pub(super) slots: Vec<u32>,
    /// False where the row's old value is taken away. Empty: all are added.
    pub(super) adds: Vec<bool>,
}

impl Entries {
    pub(super) fn push(&mut self, row: u32, slot: u32) {
        self.rows.push(row);
        self.slots.push(slot);
    }
}

/// Carries out entries.
pub(super) struct Update<'a> {
    pub(super) slots: &'a mut Slots,
    pub(super) batch: &'a Batch,
    pub(super) step: u64,
    /// The slots changed in this step.
    pub(super) changed: &'a mut Vec<u32>,
}

impl Update<'_> {
    /// All of `entries`: every change of each slot, or, with `consolidate`, one for each slot.
    ///
    /// # Errors
    /// When values do not read back.
    pub(super) fn run(&mut self, entries: &Entries, ctx: &mut Ctx<'_>) -> Result<Changes> {
        let mut changes = Changes::default();
        if ctx.consolidate {
            self.distinct_run(entries, 0..entries.rows.len(), &mut changes, ctx)?;
            changes.drop_unchanged()?;
            return Ok(changes);
        }
        let mut at = 0;
        while at < entries.rows.len() {
            let end = at + self.slots.distinct_prefix(&entries.rows[at..], &entries.slots[at..]);
            self.distinct_run(entries, at..end, &mut changes, ctx)?;
            at = end;
        }
        Ok(changes)
    }

    /// All of `entries`, without asking what changes by it.
    pub(super) fn absorb(&mut self, entries: &Entries, ctx: &mut Ctx<'_>) {
        self.apply(&entries.rows, &entries.slots, &entries.adds, ctx);
        for &slot in &entries.slots {
            if self.slots.mark_changed(slot, self.step) {
                self.changed.push(slot);
            }
        }
    }

    /// One change for each slot that the entries in `range` touch.
    fn distinct_run(
        &mut self,
        entries: &Entries,
        range: std::ops::Range<usize>,
        changes: &mut Changes,
        ctx: &mut Ctx<'_>,
    ) -> Result<()> {
        let rows = &entries.rows[range.clone()];
        let slots = &entries.slots[range.clone()];
        let adds = entries.adds.get(range).unwrap_or_default();
        let (touched, last) = self.slots.distinct(slots);
        let had: Vec<bool> = touched.iter().map(|&s| self.slots.exists[s as usize]).collect();
        let before = self.slots.finish(&touched)?;
        let applied = self.apply(rows, slots, adds, ctx);
        let now = self.slots.finish(&touched)?;
        for &slot in &touched {
            if self.slots.mark_changed(slot, self.step) {
                self.changed.push(slot);
            }
        }
        let change = |i: usize| {
            let slot = touched[i] as usize;
            Change {
                row: rows[last[i] as usize],
                key: self.slots.key[slot],
                start: self.slots.start[slot],
                end: self.slots.end[slot],
                time: self.slots.time[slot],
                present: self.slots.exists[slot],
                had: had[i],
            }
        };
        let all: Vec<Change> = (0..touched.len()).map(change).collect();
        let kept: BooleanBuffer =
            touched.iter().map(|slot| applied.as_ref().is_none_or(|a| a.contains(slot))).collect();
        if kept.count_set_bits() == all.len() {
            changes.push(all, now, before);
        } else {
            let keep = BooleanArray::from(kept.clone());
            let taken = |columns: Vec<ArrayRef>| -> Result<Vec<ArrayRef>> {
                columns.iter().map(|c| Ok(filter(c.as_ref(), &keep)?)).collect()
            };
            changes.push(kept.set_indices().map(|i| all[i]), taken(now)?, taken(before)?);
        }
        Ok(())
    }

    /// The slots that took a row; `None` if no row can be refused.
    fn apply(
        &mut self,
        rows: &[u32],
        slots: &[u32],
        adds: &[bool],
        ctx: &mut Ctx<'_>,
    ) -> Option<HashSet<u32>> {
        if self.slots.accumulators.iter().any(|a| a.can_refuse()) {
            let add = |i: usize| adds.get(i).copied().unwrap_or(true);
            let taken = (0..rows.len()).filter(|&i| self.apply_one(rows[i], slots[i], add(i), ctx));
            return Some(taken.map(|i| slots[i]).collect());
        }
        for (&row, &slot) in rows.iter().zip(slots) {
            let time = &mut self.slots.time[slot as usize];
            *time = (*time).max(self.batch.rows.times[row as usize]);
            self.slots.exists[slot as usize] = true;
        }
        if adds.is_empty() {
            self.slots.accumulators.iter_mut().for_each(|a| a.add(rows, slots));
            return None;
        }
        for accumulator in &mut self.slots.accumulators {
            if accumulator.commutes() {
                let pick = |wanted: bool, from: &[u32]| -> Vec<u32> {
                    from.iter()
                        .zip(adds)
                        .filter(|(_, add)| **add == wanted)
                        .map(|(&n, _)| n)
                        .collect()
                };
                accumulator.subtract(&pick(false, rows), &pick(false, slots));
                accumulator.add(&pick(true, rows), &pick(true, slots));
                continue;
            }
            let mut at = 0;
            for run in adds.chunk_by(|a, b| a == b) {
                let range = at..at + run.len();
                at = range.end;
                if run[0] {
                    accumulator.add(&rows[range.clone()], &slots[range]);
                } else {
                    accumulator.subtract(&rows[range.clone()], &slots[range]);
                }
            }
        }
        None
    }

    /// One entry, unless an accumulator refuses it: then the row is reported and nothing of it added.
    fn apply_one(&mut self, row: u32, slot: u32, add: bool, ctx: &mut Ctx<'_>) -> bool {
        let accumulators = &mut self.slots.accumulators;
        if add && let Some(reason) = accumulators.iter().find_map(|a| a.refuses(row, slot)) {
            ctx.report_row(reason, &self.batch.rows.triggers, row as usize);
            return false;
        }
        for accumulator in accumulators {
            if add {
                accumulator.add(&[row], &[slot]);
            } else {
                accumulator.subtract(&[row], &[slot]);
            }
        }
        let time = &mut self.slots.time[slot as usize];
        *time = (*time).max(self.batch.rows.times[row as usize]);
        self.slots.exists[slot as usize] = true;
        true
    }
}
