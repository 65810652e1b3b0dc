//! AVG, STDDEV_SAMPLE, STDDEV_SAMP and CORRELATION.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Float64Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{ArrowNativeTypeOp, DataType, Float64Type};

use super::number::Number;
use super::{Accumulator, Args, retain_slots};
use crate::error::Result;

/// The sum is kept in the argument's type, so INT wraps as in ksqlDB; of no values it is 0.
pub(super) struct Avg<T: ArrowPrimitiveType> {
    sums: Vec<T::Native>,
    counts: Vec<i64>,
    new: Option<PrimitiveArray<T>>,
    old: Option<PrimitiveArray<T>>,
}

impl<T: ArrowPrimitiveType> Default for Avg<T> {
    fn default() -> Self {
        Avg { sums: Vec::new(), counts: Vec::new(), new: None, old: None }
    }
}

impl<T: ArrowPrimitiveType> Accumulator for Avg<T>
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
        self.counts.resize(slots, 0);
    }

    fn add(&mut self, rows: &[u32], slots: &[u32]) {
        let Some(args) = &self.new else { return };
        let values = args.values();
        for (&row, &slot) in rows.iter().zip(slots) {
            if args.is_valid(row as usize) {
                let sum = &mut self.sums[slot as usize];
                *sum = sum.add_wrapping(values[row as usize]);
                self.counts[slot as usize] += 1;
            }
        }
    }

    fn subtract(&mut self, rows: &[u32], slots: &[u32]) {
        let Some(args) = &self.old else { return };
        for (&row, &slot) in rows.iter().zip(slots) {
            if args.is_valid(row as usize) {
                let sum = &mut self.sums[slot as usize];
                *sum = sum.sub_wrapping(args.value(row as usize));
                self.counts[slot as usize] -= 1;
            }
        }
    }

    fn commutes(&self) -> bool {
        T::DATA_TYPE != DataType::Float64
    }

    fn merge(&mut self, into: u32, from: u32) {
        let (into, from) = (into as usize, from as usize);
        self.sums[into] = self.sums[into].add_wrapping(self.sums[from]);
        self.counts[into] += self.counts[from];
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let average = |&slot: &u32| match self.counts[slot as usize] {
            0 => 0.0,
            count => self.sums[slot as usize].to_f64() / count as f64,
        };
        Ok(Arc::new(Float64Array::from_iter_values(slots.iter().map(average))))
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        self.sums[slot as usize].put(out);
        self.counts[slot as usize].put(out);
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        self.sums[slot as usize] = T::Native::take(at)?;
        self.counts[slot as usize] = i64::take(at)?;
        Some(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_slots(&mut self.sums, kept);
        retain_slots(&mut self.counts, kept);
    }
}

/// Sums of squared distances from the mean, updated as Youngs and Cramer do; fewer than two values
/// give 0. STDDEV_SAMP takes no square root: it is the variance, as in ksqlDB.
pub(super) struct Deviation {
    root: bool,
    groups: Vec<Moments>,
    new: Option<Float64Array>,
    old: Option<Float64Array>,
}

#[derive(Clone, Copy, Default)]
struct Moments {
    count: i64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        if self.count > 1 {
            let n = self.count as f64;
            self.squares += (n * value - self.sum).powi(2) / (n * (n - 1.0));
        }
    }

    fn subtract(&mut self, value: f64) {
        let n = self.count as f64;
        if self.count > 1 {
            self.squares -= (n * value - self.sum).powi(2) / (n * (n - 1.0));
            // What rounding leaves below zero would have no root. (NaN stays NaN.)
            if self.squares < 0.0 {
                self.squares = 0.0;
            }
        }
        self.count -= 1;
        self.sum -= value;
    }

    fn merge(&mut self, other: Moments) {
        let (a, b) = (self.count as f64, other.count as f64);
        if self.count > 0 && other.count > 0 {
            let between = (b / a * self.sum - other.sum).powi(2) * a / (b * (a + b));
            self.squares += between;
        }
        self.squares += other.squares;
        self.count += other.count;
        self.sum += other.sum;
    }
}

impl Deviation {
    pub(super) fn new(root: bool) -> Self {
        Deviation { root, groups: Vec::new(), new: None, old: None }
    }
}

fn doubles(args: &[ArrayRef], at: usize) -> Result<Option<Float64Array>> {
    let Some(arg) = args.get(at) else { return Ok(None) };
    Ok(Some(cast(arg, &DataType::Float64)?.as_primitive::<Float64Type>().clone()))
}

impl Accumulator for Deviation {
    fn begin(&mut self, args: &Args) -> Result<()> {
        self.new = doubles(&args.new, 0)?;
        self.old = doubles(&args.old, 0)?;
        Ok(())
    }

    fn end(&mut self) {
        (self.new, self.old) = (None, None);
    }

    fn grow(&mut self, slots: usize) {
        self.groups.resize(slots, Moments::default());
    }

    fn add(&mut self, rows: &[u32], slots: &[u32]) {
        let Some(args) = &self.new else { return };
        for (&row, &slot) in rows.iter().zip(slots) {
            if args.is_valid(row as usize) {
                self.groups[slot as usize].add(args.value(row as usize));
            }
        }
    }

    fn subtract(&mut self, rows: &[u32], slots: &[u32]) {
        let Some(args) = &self.old else { return };
        for (&row, &slot) in rows.iter().zip(slots) {
            if args.is_valid(row as usize) {
                self.groups[slot as usize].subtract(args.value(row as usize));
            }
        }
    }

    fn merge(&mut self, into: u32, from: u32) {
        let from = self.groups[from as usize];
        self.groups[into as usize].merge(from);
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let deviation = |&slot: &u32| {
            let Moments { count, squares, .. } = self.groups[slot as usize];
            let variance = if count < 2 { 0.0 } else { squares / (count - 1) as f64 };
            if self.root { variance.sqrt() } else { variance }
        };
        Ok(Arc::new(Float64Array::from_iter_values(slots.iter().map(deviation))))
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        let Moments { count, sum, squares } = self.groups[slot as usize];
        count.put(out);
        sum.put(out);
        squares.put(out);
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        self.groups[slot as usize] =
            Moments { count: i64::take(at)?, sum: f64::take(at)?, squares: f64::take(at)? };
        Some(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_slots(&mut self.groups, kept);
    }
}

/// Pearson's; pairs with a NULL do not count, too few give NaN.
#[derive(Default)]
pub(super) struct Correlation {
    /// Sums over a group's pairs: 1, x, y, x², y², xy.
    groups: Vec<[f64; 6]>,
    new: Option<(Float64Array, Float64Array)>,
    old: Option<(Float64Array, Float64Array)>,
}

fn apply(
    groups: &mut [[f64; 6]],
    pairs: &Option<(Float64Array, Float64Array)>,
    (rows, slots): (&[u32], &[u32]),
    sign: f64,
) {
    let Some((xs, ys)) = pairs else { return };
    for (&row, &slot) in rows.iter().zip(slots) {
        if xs.is_null(row as usize) || ys.is_null(row as usize) {
            continue;
        }
        let (x, y) = (xs.value(row as usize), ys.value(row as usize));
        for (sum, term) in groups[slot as usize].iter_mut().zip([1.0, x, y, x * x, y * y, x * y]) {
            *sum += sign * term;
        }
    }
}

impl Accumulator for Correlation {
    fn begin(&mut self, args: &Args) -> Result<()> {
        self.new = doubles(&args.new, 0)?.zip(doubles(&args.new, 1)?);
        self.old = doubles(&args.old, 0)?.zip(doubles(&args.old, 1)?);
        Ok(())
    }

    fn end(&mut self) {
        (self.new, self.old) = (None, None);
    }

    fn grow(&mut self, slots: usize) {
        self.groups.resize(slots, [0.0; 6]);
    }

    fn add(&mut self, rows: &[u32], slots: &[u32]) {
        apply(&mut self.groups, &self.new, (rows, slots), 1.0);
    }

    fn subtract(&mut self, rows: &[u32], slots: &[u32]) {
        apply(&mut self.groups, &self.old, (rows, slots), -1.0);
    }

    fn merge(&mut self, into: u32, from: u32) {
        let from = self.groups[from as usize];
        self.groups[into as usize].iter_mut().zip(from).for_each(|(sum, more)| *sum += more);
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let correlation = |&slot: &u32| {
            let [n, x, y, xx, yy, xy] = self.groups[slot as usize];
            let spread = (n * xx - x * x) * (n * yy - y * y);
            (n * xy - x * y) / spread.sqrt()
        };
        Ok(Arc::new(Float64Array::from_iter_values(slots.iter().map(correlation))))
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        self.groups[slot as usize].iter().for_each(|n| n.put(out));
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        for n in &mut self.groups[slot as usize] {
            *n = f64::take(at)?;
        }
        Some(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_slots(&mut self.groups, kept);
    }
}
