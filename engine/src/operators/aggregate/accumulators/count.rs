//! COUNT: all rows, or those whose argument is not NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::buffer::NullBuffer;

use super::number::Number;
use super::{Accumulator, Args, retain_slots};
use crate::error::Result;

#[derive(Default)]
pub(super) struct Count {
    counts: Vec<i64>,
    new: Option<NullBuffer>,
    old: Option<NullBuffer>,
}

impl Accumulator for Count {
    fn begin(&mut self, args: &Args) -> Result<()> {
        self.new = args.new.first().and_then(|a| a.logical_nulls());
        self.old = args.old.first().and_then(|a| a.logical_nulls());
        Ok(())
    }

    fn end(&mut self) {
        (self.new, self.old) = (None, None);
    }

    fn grow(&mut self, slots: usize) {
        self.counts.resize(slots, 0);
    }

    fn add(&mut self, rows: &[u32], slots: &[u32]) {
        match &self.new {
            None => slots.iter().for_each(|&slot| self.counts[slot as usize] += 1),
            Some(nulls) => {
                for (&row, &slot) in rows.iter().zip(slots) {
                    self.counts[slot as usize] += i64::from(nulls.is_valid(row as usize));
                }
            }
        }
    }

    fn subtract(&mut self, rows: &[u32], slots: &[u32]) {
        for (&row, &slot) in rows.iter().zip(slots) {
            let counts = self.old.as_ref().is_none_or(|nulls| nulls.is_valid(row as usize));
            self.counts[slot as usize] -= i64::from(counts);
        }
    }

    fn commutes(&self) -> bool {
        true
    }

    fn merge(&mut self, into: u32, from: u32) {
        self.counts[into as usize] += self.counts[from as usize];
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let counts = slots.iter().map(|&slot| self.counts[slot as usize]);
        Ok(Arc::new(Int64Array::from_iter_values(counts)))
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        self.counts[slot as usize].put(out);
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        self.counts[slot as usize] = i64::take(at)?;
        Some(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_slots(&mut self.counts, kept);
    }
}
