//! COUNT_DISTINCT: exact up to some hundred values, then an estimate (HyperLogLog of 2^14 registers,
//! as in ksqlDB: about 0.8 % off). NULLs do not count.
//!
//! Saved form: 0, a count and so many hashes; or 1 and the registers. The hash is part of the format.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::DataType;

use super::cells::Cells;
use super::number::Number;
use super::{Accumulator, Args, retain_slots};
use crate::error::Result;
use crate::state::{put_varint, take, take_varint};

const REGISTERS: usize = 1 << 14;

/// Above so many distinct hashes registers take less.
const MOST_HASHES: usize = 1024;

#[derive(Clone)]
enum Sketch {
    /// Ascending.
    Hashes(Vec<u64>),
    Registers(Box<[u8]>),
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch::Hashes(Vec::new())
    }
}

impl Sketch {
    fn insert(&mut self, hash: u64) {
        match self {
            Sketch::Hashes(hashes) => {
                if let Err(at) = hashes.binary_search(&hash) {
                    hashes.insert(at, hash);
                }
                if hashes.len() > MOST_HASHES {
                    let mut registers = vec![0; REGISTERS].into_boxed_slice();
                    hashes.iter().for_each(|&hash| register(&mut registers, hash));
                    *self = Sketch::Registers(registers);
                }
            }
            Sketch::Registers(registers) => register(registers, hash),
        }
    }

    fn merge(&mut self, other: Sketch) {
        match (&mut *self, other) {
            (_, Sketch::Hashes(hashes)) => hashes.into_iter().for_each(|hash| self.insert(hash)),
            (Sketch::Hashes(hashes), Sketch::Registers(mut registers)) => {
                hashes.iter().for_each(|&hash| register(&mut registers, hash));
                *self = Sketch::Registers(registers);
            }
            (Sketch::Registers(mine), Sketch::Registers(theirs)) => {
                mine.iter_mut().zip(theirs).for_each(|(a, b)| *a = (*a).max(b));
            }
        }
    }

    fn count(&self) -> i64 {
        match self {
            Sketch::Hashes(hashes) => hashes.len() as i64,
            Sketch::Registers(registers) => estimate(registers),
        }
    }
}

/// The first 14 bits choose a register, the zeros after them are what it remembers the most of.
fn register(registers: &mut [u8], hash: u64) {
    let index = (hash >> 50) as usize;
    let rank = ((hash << 14) | (1 << 13)).leading_zeros() as u8 + 1;
    registers[index] = registers[index].max(rank);
}

/// Flajolet and others, "HyperLogLog", with linear counting for small counts.
fn estimate(registers: &[u8]) -> i64 {
    let m = REGISTERS as f64;
    let sum: f64 = registers.iter().map(|&r| 2f64.powi(-i32::from(r))).sum();
    let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
    let empty = registers.iter().filter(|&&r| r == 0).count();
    let count = if raw <= 2.5 * m && empty > 0 { m * (m / empty as f64).ln() } else { raw };
    count.round() as i64
}

/// Word by word through splitmix64's finisher. It never changes: state outlives the program.
fn hash(bytes: &[u8]) -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    bytes.chunks(8).fold(bytes.len() as u64 ^ STEP, |h, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let mixed = h.wrapping_add(STEP) ^ u64::from_le_bytes(word);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

pub(super) struct CountDistinct {
    cells: Cells,
    sketches: Vec<Sketch>,
}

impl CountDistinct {
    pub(super) fn new(ty: DataType) -> Result<Self> {
        Ok(CountDistinct { cells: Cells::new(ty)?, sketches: Vec::new() })
    }
}

impl Accumulator for CountDistinct {
    fn begin(&mut self, args: &Args) -> Result<()> {
        self.cells.begin(args)
    }

    fn end(&mut self) {
        self.cells.end();
    }

    fn grow(&mut self, slots: usize) {
        self.sketches.resize(slots, Sketch::default());
    }

    fn add(&mut self, rows: &[u32], slots: &[u32]) {
        for (&row, &slot) in rows.iter().zip(slots) {
            let Some((cell, null)) = self.cells.new_cell(row) else { return };
            if !null {
                self.sketches[slot as usize].insert(hash(cell));
            }
        }
    }

    fn merge(&mut self, into: u32, from: u32) {
        let from = std::mem::take(&mut self.sketches[from as usize]);
        self.sketches[into as usize].merge(from);
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let counts = slots.iter().map(|&slot| self.sketches[slot as usize].count());
        Ok(Arc::new(Int64Array::from_iter_values(counts)))
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        match &self.sketches[slot as usize] {
            Sketch::Hashes(hashes) => {
                out.push(0);
                put_varint(out, hashes.len() as u64);
                hashes.iter().for_each(|&hash| (hash as i64).put(out));
            }
            Sketch::Registers(registers) => {
                out.push(1);
                out.extend_from_slice(registers);
            }
        }
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        let sketch = &mut self.sketches[slot as usize];
        match take(at, 1)?[0] {
            0 => {
                for _ in 0..take_varint(at)? {
                    sketch.insert(i64::take(at)? as u64);
                }
            }
            _ => *sketch = Sketch::Registers(take(at, REGISTERS)?.into()),
        }
        Some(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_slots(&mut self.sketches, kept);
    }

    fn heap_bytes(&self) -> usize {
        let bytes = |sketch: &Sketch| match sketch {
            Sketch::Hashes(hashes) => hashes.capacity() * 8,
            Sketch::Registers(registers) => registers.len(),
        };
        self.sketches.iter().map(bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_counts_are_exact_and_large_ones_near() {
        for (n, slack) in [(0, 0), (1, 0), (1000, 0), (20_000, 400), (1_000_000, 40_000)] {
            let mut sketch = Sketch::default();
            (0..n as u64).for_each(|i| sketch.insert(hash(&i.to_be_bytes())));
            let (mut evens, mut odds) = (Sketch::default(), Sketch::default());
            (0..n as u64).for_each(|i| {
                let half = if i % 2 == 0 { &mut evens } else { &mut odds };
                half.insert(hash(&i.to_be_bytes()));
            });
            evens.merge(odds);
            assert!((sketch.count() - n).abs() <= slack, "{n}: {}", sketch.count());
            assert_eq!(evens.count(), sketch.count());
        }
    }
}
