//! Aggregates whose state is numbers: COUNT, SUM, AVG, MIN and MAX of numbers and times, standard
//! deviation, correlation, SUM_LIST. Numbers are saved little-endian.
//!
//! NULLs are skipped. INT and BIGINT wrap, as in Java; AVG of INT sums in 32 bits. A DECIMAL sum that
//! leaves its precision is an error and the row is lost.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Float64Array, Int64Array, PrimitiveArray};
use arrow::datatypes::{
    ArrowNativeTypeOp, DataType, Date32Type, Decimal128Type, Decimal256Type, DecimalType,
    Float64Type, Int32Type, Int64Type, Time32MillisecondType, TimestampMillisecondType,
};
use millstream_sql::types::SqlType;

use super::accumulator::{Accumulator, AddErrors, Entries, compact_column};
use crate::error::Result;
use crate::state::take;

/// A number that state can hold.
pub(crate) trait Stored: Copy + Default + Send {
    fn put(self, out: &mut Vec<u8>);
    fn get(at: &mut &[u8]) -> Option<Self>;
}

macro_rules! stored {
    ($($ty:ty => $len:literal),+) => {$(
        impl Stored for $ty {
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn get(at: &mut &[u8]) -> Option<Self> {
                let bytes: [u8; $len] = take(at, $len)?.try_into().ok()?;
                Some(Self::from_le_bytes(bytes))
            }
        }
    )+};
}

stored!(i32 => 4, i64 => 8, u64 => 8, f64 => 8, i128 => 16, arrow::datatypes::i256 => 32);

// ---- COUNT ----

pub(crate) struct Count {
    counts: Vec<i64>,
    /// Skip rows whose argument is NULL.
    of_column: bool,
}

impl Count {
    pub(crate) fn new(of_column: bool) -> Self {
        Count { counts: Vec::new(), of_column }
    }

    fn shift(&mut self, entries: Entries<'_>, args: &[ArrayRef], by: i64) {
        match args.first().filter(|arg| self.of_column && arg.null_count() > 0) {
            None => {
                for &slot in entries.slots {
                    self.counts[slot as usize] += by;
                }
            }
            Some(arg) => {
                for (slot, row) in entries.iter() {
                    self.counts[slot] += if arg.is_valid(row) { by } else { 0 };
                }
            }
        }
    }
}

impl Accumulator for Count {
    fn grow(&mut self, slots: usize) {
        self.counts.resize(slots, 0);
    }

    fn add(&mut self, entries: Entries<'_>, args: &[ArrayRef], _: &mut AddErrors) -> Result<()> {
        self.shift(entries, args, 1);
        Ok(())
    }

    fn remove(&mut self, entries: Entries<'_>, args: &[ArrayRef], _: &mut AddErrors) -> Result<()> {
        self.shift(entries, args, -1);
        Ok(())
    }

    fn merge(&mut self, into: usize, from: usize) {
        self.counts[into] += self.counts[from];
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let counts = slots.iter().map(|&slot| self.counts[slot as usize]);
        Ok(Arc::new(Int64Array::from_iter_values(counts)))
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        self.counts[slot].put(out);
    }

    fn load(&mut self, slot: usize, at: &mut &[u8]) -> Option<()> {
        self.counts[slot] = Stored::get(at)?;
        Some(())
    }

    fn compact(&mut self, keep: &[u32]) {
        compact_column(&mut self.counts, keep);
    }
}

// ---- SUM ----

pub(crate) struct Sum<T: ArrowPrimitiveType> {
    sums: Vec<T::Native>,
    ty: DataType,
    /// Whether a sum fits the type.
    fits: fn(T::Native, &DataType) -> bool,
}

impl Sum<Int64Type> {
    pub(crate) fn boxed(ty: &SqlType) -> Option<Box<dyn Accumulator>> {
        let arrow = ty.to_arrow();
        Some(match &arrow {
            DataType::Int32 => Box::new(Sum::<Int32Type> { sums: vec![], ty: arrow, fits: |_, _| true }),
            DataType::Int64 => Box::new(Sum::<Int64Type> { sums: vec![], ty: arrow, fits: |_, _| true }),
            DataType::Float64 => {
                Box::new(Sum::<Float64Type> { sums: vec![], ty: arrow, fits: |_, _| true })
            }
            DataType::Decimal128(..) => {
                Box::new(Sum::<Decimal128Type> { sums: vec![], ty: arrow, fits: fits_decimal::<Decimal128Type> })
            }
            DataType::Decimal256(..) => {
                Box::new(Sum::<Decimal256Type> { sums: vec![], ty: arrow, fits: fits_decimal::<Decimal256Type> })
            }
            _ => return None,
        })
    }
}

fn fits_decimal<T: DecimalType>(value: T::Native, ty: &DataType) -> bool {
    match ty {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            T::validate_decimal_precision(value, *precision, *scale).is_ok()
        }
        _ => true,
    }
}

impl<T: ArrowPrimitiveType> Sum<T>
where
    T::Native: Stored + ArrowNativeTypeOp,
{
    fn shift(
        &mut self,
        entries: Entries<'_>,
        args: &[ArrayRef],
        errors: &mut AddErrors,
        by: impl Fn(T::Native, T::Native) -> T::Native,
    ) {
        let values = args[0].as_primitive::<T>();
        for (slot, row) in entries.iter() {
            if values.is_null(row) {
                continue;
            }
            let sum = by(self.sums[slot], values.value(row));
            if (self.fits)(sum, &self.ty) {
                self.sums[slot] = sum;
            } else {
                errors.push((row, format!("the sum does not fit {}", self.ty)));
            }
        }
    }
}

impl<T: ArrowPrimitiveType> Accumulator for Sum<T>
where
    T::Native: Stored + ArrowNativeTypeOp,
{
    fn grow(&mut self, slots: usize) {
        self.sums.resize(slots, T::Native::default());
    }

    fn add(&mut self, entries: Entries<'_>, args: &[ArrayRef], errors: &mut AddErrors) -> Result<()> {
        self.shift(entries, args, errors, |a, b| a.add_wrapping(b));
        Ok(())
    }

    fn remove(&mut self, entries: Entries<'_>, args: &[ArrayRef], errors: &mut AddErrors) -> Result<()> {
        self.shift(entries, args, errors, |a, b| a.sub_wrapping(b));
        Ok(())
    }

    fn merge(&mut self, into: usize, from: usize) {
        self.sums[into] = self.sums[into].add_wrapping(self.sums[from]);
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let sums = slots.iter().map(|&slot| self.sums[slot as usize]);
        Ok(Arc::new(PrimitiveArray::<T>::from_iter_values(sums).with_data_type(self.ty.clone())))
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        self.sums[slot].put(out);
    }

    fn load(&mut self, slot: usize, at: &mut &[u8]) -> Option<()> {
        self.sums[slot] = Stored::get(at)?;
        Some(())
    }

    fn compact(&mut self, keep: &[u32]) {
        compact_column(&mut self.sums, keep);
    }
}

// ---- MIN, MAX ----

pub(crate) struct MinMax<T: ArrowPrimitiveType> {
    best: Vec<Option<T::Native>>,
    ty: DataType,
    max: bool,
}

impl MinMax<Int64Type> {
    pub(crate) fn boxed(ty: &SqlType, max: bool) -> Option<Box<dyn Accumulator>> {
        let ty = ty.to_arrow();
        fn of<T: ArrowPrimitiveType>(ty: DataType, max: bool) -> Box<dyn Accumulator>
        where
            T::Native: Stored + ArrowNativeTypeOp,
        {
            Box::new(MinMax::<T> { best: vec![], ty, max })
        }
        Some(match &ty {
            DataType::Int32 => of::<Int32Type>(ty, max),
            DataType::Int64 => of::<Int64Type>(ty, max),
            DataType::Float64 => of::<Float64Type>(ty, max),
            DataType::Decimal128(..) => of::<Decimal128Type>(ty, max),
            DataType::Decimal256(..) => of::<Decimal256Type>(ty, max),
            DataType::Date32 => of::<Date32Type>(ty, max),
            DataType::Time32(_) => of::<Time32MillisecondType>(ty, max),
            DataType::Timestamp(..) => of::<TimestampMillisecondType>(ty, max),
            _ => return None,
        })
    }
}

impl<T: ArrowPrimitiveType> MinMax<T>
where
    T::Native: ArrowNativeTypeOp,
{
    fn offer(&mut self, slot: usize, value: T::Native) {
        let better = match self.best[slot] {
            None => true,
            Some(best) if self.max => value.is_gt(best),
            Some(best) => value.is_lt(best),
        };
        if better {
            self.best[slot] = Some(value);
        }
    }
}

impl<T: ArrowPrimitiveType> Accumulator for MinMax<T>
where
    T::Native: Stored + ArrowNativeTypeOp,
{
    fn grow(&mut self, slots: usize) {
        self.best.resize(slots, None);
    }

    fn add(&mut self, entries: Entries<'_>, args: &[ArrayRef], _: &mut AddErrors) -> Result<()> {
        let values = args[0].as_primitive::<T>();
        for (slot, row) in entries.iter() {
            if values.is_valid(row) {
                self.offer(slot, values.value(row));
            }
        }
        Ok(())
    }

    fn remove(&mut self, _: Entries<'_>, _: &[ArrayRef], _: &mut AddErrors) -> Result<()> {
        Err(crate::EngineError::Shape("MIN and MAX cannot take a row back".into()))
    }

    fn merge(&mut self, into: usize, from: usize) {
        if let Some(value) = self.best[from] {
            self.offer(into, value);
        }
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let best: PrimitiveArray<T> = slots.iter().map(|&slot| self.best[slot as usize]).collect();
        Ok(Arc::new(best.with_data_type(self.ty.clone())))
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        out.push(u8::from(self.best[slot].is_some()));
        if let Some(best) = self.best[slot] {
            best.put(out);
        }
    }

    fn load(&mut self, slot: usize, at: &mut &[u8]) -> Option<()> {
        self.best[slot] = match take(at, 1)?[0] {
            0 => None,
            _ => Some(Stored::get(at)?),
        };
        Some(())
    }

    fn compact(&mut self, keep: &[u32]) {
        compact_column(&mut self.best, keep);
    }
}

// ---- several numbers per slot ----

/// A fixed number of f64 and a way to add a row: what AVG, deviation and correlation have in common.
macro_rules! summed {
    ($name:ident, $state:ty) => {
        impl Accumulator for $name {
            fn grow(&mut self, slots: usize) {
                self.states.resize(slots, <$state>::default());
            }

            fn add(&mut self, entries: Entries<'_>, args: &[ArrayRef], _: &mut AddErrors) -> Result<()> {
                for (slot, row) in entries.iter() {
                    self.shift(slot, args, row, true);
                }
                Ok(())
            }

            fn remove(&mut self, entries: Entries<'_>, args: &[ArrayRef], _: &mut AddErrors) -> Result<()> {
                for (slot, row) in entries.iter() {
                    self.shift(slot, args, row, false);
                }
                Ok(())
            }

            fn merge(&mut self, into: usize, from: usize) {
                let from = self.states[from];
                self.combine(into, from);
            }

            fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
                let values = slots.iter().map(|&slot| self.result(&self.states[slot as usize]));
                Ok(Arc::new(Float64Array::from_iter_values(values)))
            }

            fn save(&self, slot: usize, out: &mut Vec<u8>) {
                self.states[slot].iter().for_each(|part| part.put(out));
            }

            fn load(&mut self, slot: usize, at: &mut &[u8]) -> Option<()> {
                for part in &mut self.states[slot] {
                    *part = Stored::get(at)?;
                }
                Some(())
            }

            fn compact(&mut self, keep: &[u32]) {
                compact_column(&mut self.states, keep);
            }
        }
    };
}

/// A numeric argument as f64; `None` for NULL.
fn double(values: &ArrayRef, row: usize) -> Option<f64> {
    if values.is_null(row) {
        return None;
    }
    Some(match values.data_type() {
        DataType::Int32 => f64::from(values.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => values.as_primitive::<Int64Type>().value(row) as f64,
        DataType::Float64 => values.as_primitive::<Float64Type>().value(row),
        DataType::Decimal128(_, scale) => {
            let unscaled = values.as_primitive::<Decimal128Type>().value(row) as f64;
            unscaled / 10f64.powi(i32::from(*scale))
        }
        _ => return None,
    })
}

/// AVG: sum (as f64's bits or a wrapping integer) and count.
pub(crate) struct Average {
    states: Vec<[i64; 2]>,
    ty: DataType,
}

impl Average {
    pub(crate) fn new(ty: &SqlType) -> Self {
        Average { states: vec![], ty: ty.to_arrow() }
    }

    fn shift(&mut self, slot: usize, args: &[ArrayRef], row: usize, add: bool) {
        let values = &args[0];
        if values.is_null(row) {
            return;
        }
        let [sum, count] = self.states[slot];
        let sum = match self.ty {
            DataType::Int32 => {
                let value = values.as_primitive::<Int32Type>().value(row);
                let sum = sum as i32;
                i64::from(if add { sum.wrapping_add(value) } else { sum.wrapping_sub(value) })
            }
            DataType::Int64 => {
                let value = values.as_primitive::<Int64Type>().value(row);
                if add { sum.wrapping_add(value) } else { sum.wrapping_sub(value) }
            }
            _ => {
                let value = double(values, row).unwrap_or(0.0);
                let sum = f64::from_bits(sum as u64);
                (if add { sum + value } else { sum - value }).to_bits() as i64
            }
        };
        self.states[slot] = [sum, count + if add { 1 } else { -1 }];
    }

    fn combine(&mut self, into: usize, from: [i64; 2]) {
        let [sum, count] = self.states[into];
        let sum = match self.ty {
            DataType::Int32 => i64::from((sum as i32).wrapping_add(from[0] as i32)),
            DataType::Int64 => sum.wrapping_add(from[0]),
            _ => (f64::from_bits(sum as u64) + f64::from_bits(from[0] as u64)).to_bits() as i64,
        };
        self.states[into] = [sum, count + from[1]];
    }

    fn result(&self, [sum, count]: &[i64; 2]) -> f64 {
        if *count == 0 {
            return 0.0;
        }
        let sum = match self.ty {
            DataType::Int32 | DataType::Int64 => *sum as f64,
            _ => f64::from_bits(*sum as u64),
        };
        sum / *count as f64
    }
}

summed!(Average, [i64; 2]);

/// STDDEV_SAMPLE, and STDDEV_SAMP, which gives the variance: sum, count, squared distance to the mean,
/// kept as Youngs and Cramer do.
pub(crate) struct Deviation {
    states: Vec<[f64; 3]>,
    root: bool,
}

impl Deviation {
    pub(crate) fn new(root: bool) -> Self {
        Deviation { states: vec![], root }
    }

    fn shift(&mut self, slot: usize, args: &[ArrayRef], row: usize, add: bool) {
        let Some(value) = double(&args[0], row) else { return };
        let [sum, count, square] = self.states[slot];
        self.states[slot] = if add {
            let (sum, count) = (sum + value, count + 1.0);
            let off = count * value - sum;
            let more = if count > 1.0 { off * off / (count * (count - 1.0)) } else { 0.0 };
            [sum, count, square + more]
        } else {
            let off = count * value - sum;
            let less = if count > 1.0 { off * off / (count * (count - 1.0)) } else { 0.0 };
            [sum - value, count - 1.0, square - less]
        };
    }

    fn combine(&mut self, into: usize, from: [f64; 3]) {
        let ([sum, n, square], [sum2, m, square2]) = (self.states[into], from);
        let between = if n > 0.0 && m > 0.0 {
            let off = sum * m / n - sum2;
            n / (m * (n + m)) * off * off
        } else {
            0.0
        };
        self.states[into] = [sum + sum2, n + m, square + square2 + between];
    }

    fn result(&self, [_, count, square]: &[f64; 3]) -> f64 {
        if *count < 2.0 {
            return 0.0;
        }
        let variance = square / (count - 1.0);
        if self.root { variance.sqrt() } else { variance }
    }
}

summed!(Deviation, [f64; 3]);

/// CORRELATION: count, sums of x, y, xx, yy, xy.
#[derive(Default)]
pub(crate) struct Correlation {
    states: Vec<[f64; 6]>,
}

impl Correlation {
    fn shift(&mut self, slot: usize, args: &[ArrayRef], row: usize, add: bool) {
        let (Some(x), Some(y)) = (double(&args[0], row), double(&args[1], row)) else { return };
        let sign = if add { 1.0 } else { -1.0 };
        let row = [1.0, x, y, x * x, y * y, x * y];
        for (sum, part) in self.states[slot].iter_mut().zip(row) {
            *sum += sign * part;
        }
    }

    fn combine(&mut self, into: usize, from: [f64; 6]) {
        for (sum, part) in self.states[into].iter_mut().zip(from) {
            *sum += part;
        }
    }

    fn result(&self, [n, x, y, xx, yy, xy]: &[f64; 6]) -> f64 {
        let spread = ((n * xx - x * x) * (n * yy - y * y)).sqrt();
        (n * xy - x * y) / spread
    }
}

summed!(Correlation, [f64; 6]);

// ---- SUM_LIST ----

/// SUM over the elements of lists; NULL elements and lists are skipped.
pub(crate) struct SumList(Box<dyn Accumulator>);

impl SumList {
    pub(crate) fn boxed(ty: &SqlType) -> Option<Box<dyn Accumulator>> {
        let SqlType::Array(item) = ty else { return None };
        Some(Box::new(SumList(Sum::boxed(item)?)))
    }

    /// Each element as an entry of its own.
    fn elements(entries: Entries<'_>, lists: &ArrayRef) -> (Vec<u32>, Vec<u32>, ArrayRef) {
        let lists = lists.as_list::<i32>();
        let (mut slots, mut rows) = (Vec::new(), Vec::new());
        for (slot, row) in entries.iter() {
            if lists.is_valid(row) {
                let range = lists.value_offsets()[row]..lists.value_offsets()[row + 1];
                for element in range {
                    slots.push(slot as u32);
                    rows.push(element as u32);
                }
            }
        }
        (slots, rows, lists.values().clone())
    }
}

impl Accumulator for SumList {
    fn grow(&mut self, slots: usize) {
        self.0.grow(slots);
    }

    fn add(&mut self, entries: Entries<'_>, args: &[ArrayRef], errors: &mut AddErrors) -> Result<()> {
        let (slots, rows, values) = Self::elements(entries, &args[0]);
        self.0.add(Entries { slots: &slots, rows: &rows, arrivals: &[] }, &[values], errors)
    }

    fn remove(&mut self, entries: Entries<'_>, args: &[ArrayRef], errors: &mut AddErrors) -> Result<()> {
        let (slots, rows, values) = Self::elements(entries, &args[0]);
        self.0.remove(Entries { slots: &slots, rows: &rows, arrivals: &[] }, &[values], errors)
    }

    fn merge(&mut self, into: usize, from: usize) {
        self.0.merge(into, from);
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        self.0.finish(slots)
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        self.0.save(slot, out);
    }

    fn load(&mut self, slot: usize, at: &mut &[u8]) -> Option<()> {
        self.0.load(slot, at)
    }

    fn compact(&mut self, keep: &[u32]) {
        self.0.compact(keep);
    }
}
