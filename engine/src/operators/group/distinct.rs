//! COUNT_DISTINCT: exact while few, then HyperLogLog with 2^14 registers (as ksqlDB from the start).
//!
//! State: hashes of the values, sorted, up to [`EXACT`]; beyond that the registers, a byte each. The
//! hash is our own and never changes, because state outlives the program.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use millstream_sql::types::SqlType;

use super::accumulator::{Accumulator, AddErrors, Entries, compact_column};
use crate::codec::RowCodec;
use crate::error::{EngineError, Result};
use crate::state::{put_varint, take, take_varint};

/// So many distinct values are counted exactly.
const EXACT: usize = 1_024;
const BITS: u32 = 14;
const REGISTERS: usize = 1 << BITS;

#[derive(Clone)]
enum Sketch {
    Exact(Vec<u64>),
    Registers(Box<[u8]>),
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch::Exact(Vec::new())
    }
}

pub(crate) struct CountDistinct {
    codec: RowCodec,
    sketches: Vec<Sketch>,
}

impl CountDistinct {
    pub(crate) fn new(ty: &SqlType) -> Result<Self> {
        let codec = RowCodec::of_types(vec![ty.to_arrow()])?;
        Ok(CountDistinct { codec, sketches: vec![] })
    }
}

impl Sketch {
    fn insert(&mut self, hash: u64) {
        match self {
            Sketch::Exact(hashes) => {
                if let Err(at) = hashes.binary_search(&hash) {
                    hashes.insert(at, hash);
                }
                if hashes.len() > EXACT {
                    let mut registers = Sketch::Registers(vec![0; REGISTERS].into());
                    hashes.iter().for_each(|&hash| registers.insert(hash));
                    *self = registers;
                }
            }
            Sketch::Registers(registers) => {
                let register = (hash >> (64 - BITS)) as usize;
                let rank = ((hash << BITS) | (1 << (BITS - 1))).leading_zeros() as u8 + 1;
                registers[register] = registers[register].max(rank);
            }
        }
    }

    fn merge(&mut self, other: &Sketch) {
        match (&mut *self, other) {
            (_, Sketch::Exact(hashes)) => hashes.iter().for_each(|&hash| self.insert(hash)),
            (Sketch::Registers(ours), Sketch::Registers(theirs)) => {
                ours.iter_mut().zip(theirs).for_each(|(a, b)| *a = (*a).max(*b));
            }
            (Sketch::Exact(hashes), Sketch::Registers(_)) => {
                let hashes = std::mem::take(hashes);
                *self = other.clone();
                hashes.iter().for_each(|&hash| self.insert(hash));
            }
        }
    }

    fn count(&self) -> i64 {
        match self {
            Sketch::Exact(hashes) => hashes.len() as i64,
            Sketch::Registers(registers) => {
                let m = REGISTERS as f64;
                let sum: f64 = registers.iter().map(|&r| 2f64.powi(-i32::from(r))).sum();
                let estimate = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
                let empty = registers.iter().filter(|&&r| r == 0).count();
                if estimate <= 2.5 * m && empty > 0 {
                    (m * (m / empty as f64).ln()).round() as i64
                } else {
                    estimate.round() as i64
                }
            }
        }
    }
}

/// FNV-1a, then mixed so that the high bits are as good as the low ones.
fn stable_hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for &byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

impl Accumulator for CountDistinct {
    fn grow(&mut self, slots: usize) {
        self.sketches.resize(slots, Sketch::default());
    }

    fn add(&mut self, entries: Entries<'_>, args: &[ArrayRef], _: &mut AddErrors) -> Result<()> {
        let values = self.codec.encode(args, args[0].len())?;
        for (slot, row) in entries.iter() {
            if args[0].is_valid(row) {
                self.sketches[slot].insert(stable_hash(values.row(row)));
            }
        }
        Ok(())
    }

    fn remove(&mut self, _: Entries<'_>, _: &[ArrayRef], _: &mut AddErrors) -> Result<()> {
        Err(EngineError::Shape("COUNT_DISTINCT cannot take a row back".into()))
    }

    fn merge(&mut self, into: usize, from: usize) {
        let from = self.sketches[from].clone();
        self.sketches[into].merge(&from);
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let counts = slots.iter().map(|&slot| self.sketches[slot as usize].count());
        Ok(Arc::new(Int64Array::from_iter_values(counts)))
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        match &self.sketches[slot] {
            Sketch::Exact(hashes) => {
                put_varint(out, hashes.len() as u64 + 1);
                hashes.iter().for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
            }
            Sketch::Registers(registers) => {
                put_varint(out, 0);
                out.extend_from_slice(registers);
            }
        }
    }

    fn load(&mut self, slot: usize, at: &mut &[u8]) -> Option<()> {
        self.sketches[slot] = match take_varint(at)? {
            0 => Sketch::Registers(take(at, REGISTERS)?.into()),
            n => {
                let bytes = take(at, usize::try_from(n - 1).ok()?.checked_mul(8)?)?;
                let hash = |chunk: &[u8]| chunk.try_into().map(u64::from_le_bytes).ok();
                Sketch::Exact(bytes.chunks_exact(8).map(hash).collect::<Option<_>>()?)
            }
        };
        Some(())
    }

    fn compact(&mut self, keep: &[u32]) {
        compact_column(&mut self.sketches, keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_exact_and_many_are_near() {
        for n in [0u64, 1, 1_000, 1_024, 50_000, 400_000] {
            let mut sketch = Sketch::default();
            for _ in 0..2 {
                (0..n).for_each(|i| sketch.insert(stable_hash(&i.to_be_bytes())));
            }
            let off = (sketch.count() as f64 - n as f64).abs() / (n.max(1) as f64);
            let allowed = if n as usize <= EXACT { 0.0 } else { 0.03 };
            assert!(off <= allowed, "{n}: {}", sketch.count());
        }
    }
}
