//! SUM and SUM_LIST: from 0; NULLs do not count. Integers wrap; a decimal that would not fit its
//! precision refuses the row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, ListArray, PrimitiveArray};
use arrow::datatypes::{ArrowNativeTypeOp, DataType};

use super::number::Number;
use super::{Accumulator, Args, retain_slots};
use crate::error::Result;

pub(super) struct Sum<T: ArrowPrimitiveType> {
    sums: Vec<T::Native>,
    ty: DataType,
    new: Option<PrimitiveArray<T>>,
    old: Option<PrimitiveArray<T>>,
}

impl<T: ArrowPrimitiveType> Sum<T> {
    pub(super) fn new(ty: DataType) -> Self {
        Sum { sums: Vec::new(), ty, new: None, old: None }
    }
}

impl<T: ArrowPrimitiveType> Accumulator for Sum<T>
where
    T::Native: Number,
{
    fn begin(&mut self, args: &Args) -> Result<()> {
        self.new = args.new.first().map(|a| a.as_primitive().clone());
        self.old = args.old.first().map(|a| a.as_primitive().clone());
        Ok(())
    }

    fn end(&mut self) {
        (self.new, self.old) = (None, None);
    }

    fn grow(&mut self, slots: usize) {
        self.sums.resize(slots, T::Native::default());
    }

    fn add(&mut self, rows: &[u32], slots: &[u32]) {
        let Some(args) = &self.new else { return };
        let values = args.values();
        for (&row, &slot) in rows.iter().zip(slots) {
            if args.is_valid(row as usize) {
                let sum = &mut self.sums[slot as usize];
                *sum = sum.add_wrapping(values[row as usize]);
            }
        }
    }

    fn subtract(&mut self, rows: &[u32], slots: &[u32]) {
        let Some(args) = &self.old else { return };
        let values = args.values();
        for (&row, &slot) in rows.iter().zip(slots) {
            if args.is_valid(row as usize) {
                let sum = &mut self.sums[slot as usize];
                *sum = sum.sub_wrapping(values[row as usize]);
            }
        }
    }

    fn commutes(&self) -> bool {
        self.ty != DataType::Float64
    }

    fn can_refuse(&self) -> bool {
        matches!(self.ty, DataType::Decimal128(..) | DataType::Decimal256(..))
    }

    fn refuses(&self, row: u32, slot: u32) -> Option<String> {
        let (DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale)) =
            self.ty
        else {
            return None;
        };
        let args = self.new.as_ref().filter(|args| args.is_valid(row as usize))?;
        let sum = self.sums[slot as usize].add_checked(args.value(row as usize));
        let fits = sum.is_ok_and(|sum| sum.fits(precision));
        (!fits)
            .then(|| format!("SUM overflows DECIMAL({precision}, {scale}): the row is not added"))
    }

    fn merge(&mut self, into: u32, from: u32) {
        self.sums[into as usize] = self.sums[into as usize].add_wrapping(self.sums[from as usize]);
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let sums = slots.iter().map(|&slot| self.sums[slot as usize]);
        let sums = PrimitiveArray::<T>::from_iter_values(sums);
        Ok(Arc::new(sums.with_data_type(self.ty.clone())))
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        self.sums[slot as usize].put(out);
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        self.sums[slot as usize] = T::Native::take(at)?;
        Some(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_slots(&mut self.sums, kept);
    }
}

pub(super) struct SumList<T: ArrowPrimitiveType> {
    sum: Sum<T>,
    new: Option<ListArray>,
    old: Option<ListArray>,
}

impl<T: ArrowPrimitiveType> SumList<T> {
    pub(super) fn new(ty: DataType) -> Self {
        SumList { sum: Sum::new(ty), new: None, old: None }
    }
}

/// The elements of row `row` that are not NULL.
fn elements<T: ArrowPrimitiveType>(
    lists: &ListArray,
    row: usize,
) -> impl Iterator<Item = T::Native> + '_ {
    let values = lists.values().as_primitive::<T>();
    let range = if lists.is_valid(row) {
        lists.value_offsets()[row] as usize..lists.value_offsets()[row + 1] as usize
    } else {
        0..0
    };
    range.filter(|&i| values.is_valid(i)).map(|i| values.value(i))
}

impl<T: ArrowPrimitiveType> Accumulator for SumList<T>
where
    T::Native: Number,
{
    fn begin(&mut self, args: &Args) -> Result<()> {
        self.new = args.new.first().map(|a| a.as_list().clone());
        self.old = args.old.first().map(|a| a.as_list().clone());
        Ok(())
    }

    fn end(&mut self) {
        (self.new, self.old) = (None, None);
    }

    fn grow(&mut self, slots: usize) {
        self.sum.grow(slots);
    }

    fn add(&mut self, rows: &[u32], slots: &[u32]) {
        let Some(lists) = &self.new else { return };
        for (&row, &slot) in rows.iter().zip(slots) {
            let sum = &mut self.sum.sums[slot as usize];
            *sum = elements::<T>(lists, row as usize).fold(*sum, |sum, n| sum.add_wrapping(n));
        }
    }

    fn subtract(&mut self, rows: &[u32], slots: &[u32]) {
        let Some(lists) = &self.old else { return };
        for (&row, &slot) in rows.iter().zip(slots) {
            let sum = &mut self.sum.sums[slot as usize];
            *sum = elements::<T>(lists, row as usize).fold(*sum, |sum, n| sum.sub_wrapping(n));
        }
    }

    fn commutes(&self) -> bool {
        self.sum.commutes()
    }

    fn merge(&mut self, into: u32, from: u32) {
        self.sum.merge(into, from);
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        self.sum.finish(slots)
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        self.sum.save(slot, out);
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        self.sum.load(slot, at)
    }

    fn retain(&mut self, kept: &[u32]) {
        self.sum.retain(kept);
    }
}
