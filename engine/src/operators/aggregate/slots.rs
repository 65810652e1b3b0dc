//! The groups in memory: a slot each, its values in the columns of the accumulators.
//!
//! Slots are a cache. What a slot holds is written to the state at the end of each step that changed
//! it, so a slot may go at any time between steps.

use arrow::array::ArrayRef;
use millstream_sql::expr::AggregateCall;

use super::super::table::damaged;
use super::accumulators::{Accumulator, Args, accumulator};
use crate::error::Result;
use crate::rows::Millis;

/// What a slot costs beside its accumulators' columns, about.
const SLOT: usize = 64;

pub(super) struct Slots {
    pub(super) accumulators: Vec<Box<dyn Accumulator>>,
    /// The group's number.
    pub(super) key: Vec<u32>,
    /// The window, if there are windows; a session's may grow.
    pub(super) start: Vec<Millis>,
    pub(super) end: Vec<Millis>,
    /// The latest of the record times.
    pub(super) time: Vec<Millis>,
    /// Whether the group has a row in the result.
    pub(super) exists: Vec<bool>,
    /// The step that used the slot last.
    pub(super) used: Vec<u64>,
    /// The step that changed the slot last.
    changed: Vec<u64>,
    /// The pass that saw the slot last, and its place in it.
    pass: Vec<u64>,
    place: Vec<u32>,
    passes: u64,
}

impl Slots {
    pub(super) fn new(calls: &[AggregateCall]) -> Result<Self> {
        Ok(Slots {
            accumulators: calls.iter().map(accumulator).collect::<Result<_>>()?,
            key: Vec::new(),
            start: Vec::new(),
            end: Vec::new(),
            time: Vec::new(),
            exists: Vec::new(),
            used: Vec::new(),
            changed: Vec::new(),
            pass: Vec::new(),
            place: Vec::new(),
            passes: 0,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.key.len()
    }

    /// A new empty slot; [`Slots::grow`] must follow before it is used.
    pub(super) fn push(&mut self, key: u32, start: Millis, end: Millis) -> u32 {
        self.key.push(key);
        self.start.push(start);
        self.end.push(end);
        self.time.push(Millis::MIN);
        self.exists.push(false);
        self.used.push(0);
        self.changed.push(0);
        self.pass.push(0);
        self.place.push(0);
        self.key.len() as u32 - 1
    }

    /// Makes the accumulators as long as the slots.
    pub(super) fn grow(&mut self) {
        let len = self.len();
        self.accumulators.iter_mut().for_each(|a| a.grow(len));
    }

    /// Hands the accumulators the arguments of a step.
    pub(super) fn begin(&mut self, args: &[Args]) -> Result<()> {
        self.accumulators.iter_mut().zip(args).try_for_each(|(a, args)| a.begin(args))
    }

    pub(super) fn end(&mut self) {
        self.accumulators.iter_mut().for_each(|a| a.end());
    }

    /// The distinct slots of a list in the order of their last place in it, with that place.
    pub(super) fn distinct(&mut self, slots: &[u32]) -> (Vec<u32>, Vec<u32>) {
        self.passes += 1;
        let mut touched: Vec<u32> = Vec::new();
        let mut last: Vec<u32> = Vec::new();
        let mut repeated = false;
        for (i, &slot) in slots.iter().enumerate() {
            let at = slot as usize;
            if self.pass[at] == self.passes {
                last[self.place[at] as usize] = i as u32;
                repeated = true;
            } else {
                self.pass[at] = self.passes;
                self.place[at] = touched.len() as u32;
                touched.push(slot);
                last.push(i as u32);
            }
        }
        if repeated {
            let mut order: Vec<u32> = (0..touched.len() as u32).collect();
            order.sort_unstable_by_key(|&i| last[i as usize]);
            touched = order.iter().map(|&i| touched[i as usize]).collect();
            last = order.iter().map(|&i| last[i as usize]).collect();
        }
        (touched, last)
    }

    /// How many entries, from the first, have distinct slots; what one row takes from a slot and adds
    /// to it again counts as one.
    pub(super) fn distinct_prefix(&mut self, rows: &[u32], slots: &[u32]) -> usize {
        self.passes += 1;
        let passes = self.passes;
        let repeated = (0..slots.len()).find(|&i| {
            let seen = std::mem::replace(&mut self.pass[slots[i] as usize], passes) == passes;
            seen && (rows[i - 1], slots[i - 1]) != (rows[i], slots[i])
        });
        repeated.unwrap_or(slots.len())
    }

    /// Notes that a step changed a slot; whether it is the first time in this step.
    pub(super) fn mark_changed(&mut self, slot: u32, step: u64) -> bool {
        self.used[slot as usize] = step;
        std::mem::replace(&mut self.changed[slot as usize], step) != step
    }

    /// The values of the calls for each of `slots`.
    pub(super) fn finish(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.accumulators.iter().map(|a| a.finish(slots)).collect()
    }

    /// A slot as state has it: time, then what each accumulator saves.
    pub(super) fn save(&self, slot: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.time[slot as usize].to_le_bytes());
        self.accumulators.iter().for_each(|a| a.save(slot, out));
    }

    /// Fills an empty slot from state.
    pub(super) fn load(&mut self, slot: u32, value: &[u8]) -> Result<()> {
        let (time, mut rest) = value.split_first_chunk::<8>().ok_or_else(damaged)?;
        self.time[slot as usize] = Millis::from_le_bytes(*time);
        self.exists[slot as usize] = true;
        for accumulator in &mut self.accumulators {
            accumulator.load(slot, &mut rest).ok_or_else(damaged)?;
        }
        Ok(())
    }

    /// Moves what `from` holds into `into`.
    pub(super) fn merge(&mut self, into: u32, from: u32) {
        self.accumulators.iter_mut().for_each(|a| a.merge(into, from));
        let time = self.time[from as usize];
        self.time[into as usize] = self.time[into as usize].max(time);
    }

    /// Keeps these slots only, ascending; they get the numbers from 0.
    pub(super) fn retain(&mut self, kept: &[u32]) {
        fn retain<T: Copy>(values: &mut Vec<T>, kept: &[u32]) {
            *values = kept.iter().map(|&slot| values[slot as usize]).collect();
        }
        retain(&mut self.key, kept);
        retain(&mut self.start, kept);
        retain(&mut self.end, kept);
        retain(&mut self.time, kept);
        retain(&mut self.exists, kept);
        retain(&mut self.used, kept);
        retain(&mut self.changed, kept);
        retain(&mut self.pass, kept);
        retain(&mut self.place, kept);
        self.accumulators.iter_mut().for_each(|a| a.retain(kept));
    }

    /// About how many bytes the slots hold.
    pub(super) fn bytes(&self) -> usize {
        let heap: usize = self.accumulators.iter().map(|a| a.heap_bytes()).sum();
        self.len() * (SLOT + 16 * self.accumulators.len()) + heap
    }
}
