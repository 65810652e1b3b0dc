//! LATEST_BY_OFFSET and EARLIEST_BY_OFFSET of one value: the last or first in the order of arrival.
//!
//! Each kept value bears the number of its arrival, so that merged sessions know which to keep.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMillisecondType};

use super::cells::Cells;
use super::number::Number;
use super::{Accumulator, Args, retain_slots};
use crate::codec::spread;
use crate::error::Result;
use crate::state::{put_bytes, put_varint, take, take_bytes, take_varint};

pub(super) fn by_offset(
    ty: DataType,
    latest: bool,
    ignore_nulls: bool,
) -> Result<Box<dyn Accumulator>> {
    let which = Which { latest, ignore_nulls };
    Ok(match ty {
        DataType::Int32 => Box::new(KeepNumber::<Int32Type>::new(which, ty)),
        DataType::Int64 => Box::new(KeepNumber::<Int64Type>::new(which, ty)),
        DataType::Float64 => Box::new(KeepNumber::<Float64Type>::new(which, ty)),
        DataType::Timestamp(..) => Box::new(KeepNumber::<TimestampMillisecondType>::new(which, ty)),
        _ => Box::new(KeepCell {
            which,
            cells: Cells::new(ty.clone())?,
            ty,
            arrivals: Vec::new(),
            values: Vec::new(),
            first: 0,
            heap: 0,
        }),
    })
}

#[derive(Clone, Copy)]
struct Which {
    latest: bool,
    ignore_nulls: bool,
}

impl Which {
    /// Whether a value that arrived as number `new` takes the place of one that did as `kept` (0: none).
    fn takes(self, new: u64, kept: u64) -> bool {
        kept == 0 || (self.latest && new > kept) || (!self.latest && new < kept)
    }
}

struct KeepNumber<T: ArrowPrimitiveType> {
    which: Which,
    ty: DataType,
    /// 0: none yet.
    arrivals: Vec<u64>,
    values: Vec<T::Native>,
    valid: Vec<bool>,
    first: u64,
    new: Option<PrimitiveArray<T>>,
}

impl<T: ArrowPrimitiveType> KeepNumber<T> {
    fn new(which: Which, ty: DataType) -> Self {
        KeepNumber {
            which,
            ty,
            arrivals: Vec::new(),
            values: Vec::new(),
            valid: Vec::new(),
            first: 0,
            new: None,
        }
    }
}

impl<T: ArrowPrimitiveType> Accumulator for KeepNumber<T>
where
    T::Native: Number,
{
    fn begin(&mut self, args: &Args) -> Result<()> {
        self.new = args.new.first().map(|a| a.as_primitive().clone());
        self.first = args.first;
        Ok(())
    }

    fn end(&mut self) {
        self.new = None;
    }

    fn grow(&mut self, slots: usize) {
        self.arrivals.resize(slots, 0);
        self.values.resize(slots, T::Native::default());
        self.valid.resize(slots, false);
    }

    fn add(&mut self, rows: &[u32], slots: &[u32]) {
        let Some(args) = &self.new else { return };
        for (&row, &slot) in rows.iter().zip(slots) {
            let (row, slot) = (row as usize, slot as usize);
            let valid = args.is_valid(row);
            let arrival = self.first + row as u64;
            if (valid || !self.which.ignore_nulls) && self.which.takes(arrival, self.arrivals[slot])
            {
                self.arrivals[slot] = arrival;
                self.values[slot] = args.values()[row];
                self.valid[slot] = valid;
            }
        }
    }

    fn merge(&mut self, into: u32, from: u32) {
        let (into, from) = (into as usize, from as usize);
        if self.arrivals[from] > 0 && self.which.takes(self.arrivals[from], self.arrivals[into]) {
            self.arrivals[into] = self.arrivals[from];
            self.values[into] = self.values[from];
            self.valid[into] = self.valid[from];
        }
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let values: PrimitiveArray<T> = slots
            .iter()
            .map(|&slot| self.valid[slot as usize].then(|| self.values[slot as usize]))
            .collect();
        Ok(Arc::new(values.with_data_type(self.ty.clone())))
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        put_varint(out, self.arrivals[slot as usize]);
        out.push(u8::from(self.valid[slot as usize]));
        self.values[slot as usize].put(out);
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        self.arrivals[slot as usize] = take_varint(at)?;
        self.valid[slot as usize] = take(at, 1)?[0] == 1;
        self.values[slot as usize] = T::Native::take(at)?;
        Some(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_slots(&mut self.arrivals, kept);
        retain_slots(&mut self.values, kept);
        retain_slots(&mut self.valid, kept);
    }
}

/// Of any other type.
struct KeepCell {
    which: Which,
    cells: Cells,
    ty: DataType,
    /// 0: none yet.
    arrivals: Vec<u64>,
    values: Vec<Vec<u8>>,
    first: u64,
    heap: usize,
}

impl Accumulator for KeepCell {
    fn begin(&mut self, args: &Args) -> Result<()> {
        self.first = args.first;
        self.cells.begin(args)
    }

    fn end(&mut self) {
        self.cells.end();
    }

    fn grow(&mut self, slots: usize) {
        self.arrivals.resize(slots, 0);
        self.values.resize(slots, Vec::new());
    }

    fn add(&mut self, rows: &[u32], slots: &[u32]) {
        for (&row, &slot) in rows.iter().zip(slots) {
            let Some((cell, null)) = self.cells.new_cell(row) else { return };
            let arrival = self.first + u64::from(row);
            if null && self.which.ignore_nulls
                || !self.which.takes(arrival, self.arrivals[slot as usize])
            {
                continue;
            }
            self.arrivals[slot as usize] = arrival;
            let kept = &mut self.values[slot as usize];
            self.heap = (self.heap + cell.len()).saturating_sub(kept.len());
            kept.clear();
            kept.extend_from_slice(cell);
        }
    }

    fn merge(&mut self, into: u32, from: u32) {
        let (into, from) = (into as usize, from as usize);
        if self.arrivals[from] > 0 && self.which.takes(self.arrivals[from], self.arrivals[into]) {
            self.arrivals[into] = self.arrivals[from];
            self.heap = self.heap.saturating_sub(self.values[into].len());
            self.values[into] = std::mem::take(&mut self.values[from]);
        }
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let there = slots.iter().filter(|&&slot| self.arrivals[slot as usize] > 0);
        let dense = self.cells.decode(there.map(|&slot| self.values[slot as usize].as_slice()))?;
        let present =
            BooleanBuffer::collect_bool(slots.len(), |i| self.arrivals[slots[i] as usize] > 0);
        let column = spread(&[dense], &present, std::slice::from_ref(&self.ty))?;
        Ok(column.into_iter().next().unwrap_or_else(|| new_null_array(&self.ty, slots.len())))
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        put_varint(out, self.arrivals[slot as usize]);
        put_bytes(out, &self.values[slot as usize]);
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        self.arrivals[slot as usize] = take_varint(at)?;
        let value = take_bytes(at)?.to_vec();
        self.heap += value.len();
        self.values[slot as usize] = value;
        Some(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_slots(&mut self.arrivals, kept);
        retain_slots(&mut self.values, kept);
        self.heap = self.values.iter().map(Vec::len).sum();
    }

    fn heap_bytes(&self) -> usize {
        self.heap
    }
}
