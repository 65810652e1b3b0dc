//! MIN and MAX: NULLs do not count; no value at all is NULL.
//!
//! Strings are in the order of their UTF-16 units, as in Java; bytes are compared as signed numbers.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, PrimitiveArray, StringViewArray,
};
use arrow::datatypes::{ArrowNativeTypeOp, DataType};

use millstream_sql::expr::java::{compare_signed, compare_utf16};

use super::number::Number;
use super::{Accumulator, Args, retain_slots};
use crate::error::Result;
use crate::state::{put_bytes, take, take_bytes};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    Least,
    Greatest,
}

impl Pick {
    /// What `compare(new, kept)` has to be for the new value to be taken.
    fn wanted(self) -> Ordering {
        match self {
            Pick::Least => Ordering::Less,
            Pick::Greatest => Ordering::Greater,
        }
    }
}

pub(super) struct Extreme<T: ArrowPrimitiveType> {
    wanted: Ordering,
    ty: DataType,
    values: Vec<T::Native>,
    set: Vec<bool>,
    new: Option<PrimitiveArray<T>>,
}

impl<T: ArrowPrimitiveType> Extreme<T> {
    pub(super) fn new(pick: Pick, ty: DataType) -> Self {
        let wanted = pick.wanted();
        Extreme { wanted, ty, values: Vec::new(), set: Vec::new(), new: None }
    }
}

impl<T: ArrowPrimitiveType> Accumulator for Extreme<T>
where
    T::Native: Number,
{
    fn begin(&mut self, args: &Args) -> Result<()> {
        self.new = args.new.first().map(|a| a.as_primitive().clone());
        Ok(())
    }

    fn end(&mut self) {
        self.new = None;
    }

    fn grow(&mut self, slots: usize) {
        self.values.resize(slots, T::Native::default());
        self.set.resize(slots, false);
    }

    fn add(&mut self, rows: &[u32], slots: &[u32]) {
        let Some(args) = &self.new else { return };
        let values = args.values();
        for (&row, &slot) in rows.iter().zip(slots) {
            let (value, slot) = (values[row as usize], slot as usize);
            if args.is_valid(row as usize)
                && (!self.set[slot] || value.compare(self.values[slot]) == self.wanted)
            {
                self.values[slot] = value;
                self.set[slot] = true;
            }
        }
    }

    fn merge(&mut self, into: u32, from: u32) {
        let (into, from) = (into as usize, from as usize);
        let better = self.values[from].compare(self.values[into]) == self.wanted;
        if self.set[from] && (!self.set[into] || better) {
            self.values[into] = self.values[from];
            self.set[into] = true;
        }
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let values: PrimitiveArray<T> = slots
            .iter()
            .map(|&slot| self.set[slot as usize].then(|| self.values[slot as usize]))
            .collect();
        Ok(Arc::new(values.with_data_type(self.ty.clone())))
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        out.push(u8::from(self.set[slot as usize]));
        if self.set[slot as usize] {
            self.values[slot as usize].put(out);
        }
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        self.set[slot as usize] = take(at, 1)?[0] == 1;
        if self.set[slot as usize] {
            self.values[slot as usize] = T::Native::take(at)?;
        }
        Some(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_slots(&mut self.values, kept);
        retain_slots(&mut self.set, kept);
    }
}

/// Of STRING and BYTES.
pub(super) struct ExtremeBytes {
    wanted: Ordering,
    text: bool,
    values: Vec<Option<Vec<u8>>>,
    new: Option<ArrayRef>,
    heap: usize,
}

impl ExtremeBytes {
    pub(super) fn new(pick: Pick, ty: DataType) -> Self {
        let text = ty == DataType::Utf8View;
        ExtremeBytes { wanted: pick.wanted(), text, values: Vec::new(), new: None, heap: 0 }
    }

    fn offer(&mut self, slot: u32, value: &[u8]) {
        let compare = if self.text { compare_utf16 } else { compare_signed };
        match &mut self.values[slot as usize] {
            Some(kept) => {
                if compare(value, kept) == self.wanted {
                    self.heap = (self.heap + value.len()).saturating_sub(kept.len());
                    kept.clear();
                    kept.extend_from_slice(value);
                }
            }
            empty => {
                self.heap += value.len();
                *empty = Some(value.to_vec());
            }
        }
    }
}

impl Accumulator for ExtremeBytes {
    fn begin(&mut self, args: &Args) -> Result<()> {
        self.new = args.new.first().cloned();
        Ok(())
    }

    fn end(&mut self) {
        self.new = None;
    }

    fn grow(&mut self, slots: usize) {
        self.values.resize(slots, None);
    }

    fn add(&mut self, rows: &[u32], slots: &[u32]) {
        let Some(args) = self.new.clone() else { return };
        for (&row, &slot) in rows.iter().zip(slots) {
            if args.is_null(row as usize) {
                continue;
            }
            match args.as_string_view_opt() {
                Some(text) => self.offer(slot, text.value(row as usize).as_bytes()),
                None => self.offer(slot, args.as_binary::<i32>().value(row as usize)),
            }
        }
    }

    fn merge(&mut self, into: u32, from: u32) {
        if let Some(value) = self.values[from as usize].take() {
            self.offer(into, &value);
            self.heap = self.heap.saturating_sub(value.len());
        }
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let values = slots.iter().map(|&slot| self.values[slot as usize].as_deref());
        Ok(if self.text {
            // What is kept came from strings or passed `load`.
            let values = values.map(|v| v.and_then(|v| std::str::from_utf8(v).ok()));
            Arc::new(values.collect::<StringViewArray>())
        } else {
            Arc::new(values.collect::<BinaryArray>())
        })
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        match &self.values[slot as usize] {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                put_bytes(out, value);
            }
        }
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        let value = match take(at, 1)?[0] {
            0 => None,
            _ => Some(take_bytes(at)?.to_vec()),
        };
        if self.text {
            std::str::from_utf8(value.as_deref().unwrap_or_default()).ok()?;
        }
        self.heap += value.as_ref().map_or(0, Vec::len);
        self.values[slot as usize] = value;
        Some(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_slots(&mut self.values, kept);
        self.heap = self.values.iter().flatten().map(Vec::len).sum();
    }

    fn heap_bytes(&self) -> usize {
        self.heap
    }
}
