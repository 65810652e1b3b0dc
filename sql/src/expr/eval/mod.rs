//! Evaluation of compiled expressions over batches.
//!
//! A tree of [`Node`]s, each evaluated once per batch with Arrow's kernels or a loop of its own over
//! whole columns. Every row of every node has one of three outcomes:
//!
//! - a value;
//! - NULL;
//! - *failed*: NULL in the array and set in [`Value::failed`], its message already in the run's
//!   error list.
//!
//! A failed operand makes arithmetic, comparisons, logic and CASE fail too, without a second message.
//! Calls, casts, `->`, `[…]` and the parts of constructors contain it: to what is above them the row
//! is plainly NULL (`ksql.nested.error.set.null`). So NULL arithmetic below a comparison makes the
//! comparison NULL, while a NULL column there makes it FALSE.
//!
//! What SQL evaluates lazily (CASE branches, the right side of AND and OR) is computed here for all
//! rows; errors of rows that were not asked for are taken back, see [`Run::lazily`].
//!
//! Row numbers in errors are those of the current [`Input`]; a lambda, which runs its body over
//! elements, translates them to the rows that hold the elements.

pub(crate) mod arithmetic;
pub(crate) mod cast;
pub(crate) mod compare;
pub(crate) mod construct;
pub(crate) mod decimal;
pub(crate) mod like;
pub(crate) mod logic;

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanBufferBuilder, Datum, UInt32Array, new_null_array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::take;
use arrow::datatypes::DataType;

use super::{RowError, RowErrors};

/// What an evaluation knows of the world: this crate has no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvalContext {
    /// The epoch's time, milliseconds since 1970: what UNIX_TIMESTAMP() and UNIX_DATE() give.
    pub now_ms: i64,
}

/// Why one row failed.
pub(crate) type Fail = Cow<'static, str>;

/// What one row of a computation gives: a value, NULL, or a failure.
pub(crate) type Outcome<T> = Result<Option<T>, Fail>;

/// An operation of a compiled expression.
pub(crate) trait Node: Debug + Send + Sync {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value;
}

pub(crate) type NodeRef = Arc<dyn Node>;

/// The columns an expression runs over; inside a lambda, captured columns and then its parameters.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub columns: &'a [ArrayRef],
    pub rows: usize,
}

/// One evaluation of one batch.
pub(crate) struct Run<'a> {
    pub ctx: &'a EvalContext,
    pub errors: &'a mut RowErrors,
}

impl Run<'_> {
    pub(crate) fn fail(&mut self, row: usize, message: Fail) {
        self.errors.0.push(RowError { row, message });
    }

    /// Evaluates `node` where only the rows in `needed` count: errors of others are forgotten.
    pub(crate) fn lazily(
        &mut self,
        node: &NodeRef,
        input: &Input<'_>,
        needed: &BooleanBuffer,
    ) -> Value {
        let mark = self.errors.0.len();
        let value = node.eval(input, self);
        if self.errors.0.len() > mark {
            let mut at = 0;
            self.errors.0.retain(|e| {
                at += 1;
                at <= mark || needed.value(e.row)
            });
        }
        value
    }
}

/// A node's result for every row of the input.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    /// One element per row, or exactly one when `scalar`.
    pub array: ArrayRef,
    /// The one element stands for every row.
    pub scalar: bool,
    /// Rows that failed, parallel to `array`; `None` when none did. Failed rows are NULL in `array`.
    pub failed: Option<BooleanBuffer>,
}

impl Value {
    pub(crate) fn array(array: ArrayRef) -> Self {
        Value { array, scalar: false, failed: None }
    }

    pub(crate) fn scalar(array: ArrayRef) -> Self {
        debug_assert_eq!(array.len(), 1);
        Value { array, scalar: true, failed: None }
    }

    /// The place of `row`'s element in `array`.
    pub(crate) fn at(&self, row: usize) -> usize {
        if self.scalar { 0 } else { row }
    }

    pub(crate) fn is_failed(&self, row: usize) -> bool {
        self.failed.as_ref().is_some_and(|f| f.value(self.at(row)))
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.array.is_null(self.at(row))
    }

    /// The same value, failures now being plain NULLs.
    #[must_use]
    pub(crate) fn contained(mut self) -> Self {
        self.failed = None;
        self
    }

    /// One element per row.
    pub(crate) fn into_array(self, rows: usize) -> ArrayRef {
        if self.scalar { repeat(&self.array, rows) } else { self.array }
    }

    /// One element per row, failures kept.
    #[must_use]
    pub(crate) fn spread(self, rows: usize) -> Self {
        if !self.scalar {
            return self;
        }
        let failed = self.failed.as_ref().map(|f| {
            if f.value(0) { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) }
        });
        Value { array: repeat(&self.array, rows), scalar: false, failed }
    }

    /// What Arrow's kernels take.
    pub(crate) fn datum(&self) -> DatumRef<'_> {
        DatumRef { array: self.array.as_ref(), scalar: self.scalar }
    }
}

/// A [`Value`] as an Arrow [`Datum`], without copying.
pub(crate) struct DatumRef<'a> {
    array: &'a dyn Array,
    scalar: bool,
}

impl Datum for DatumRef<'_> {
    fn get(&self) -> (&dyn Array, bool) {
        (self.array, self.scalar)
    }
}

/// `rows` copies of a one-element array.
pub(crate) fn repeat(array: &ArrayRef, rows: usize) -> ArrayRef {
    if rows == 1 {
        return array.clone();
    }
    if array.is_null(0) {
        return new_null_array(array.data_type(), rows);
    }
    let zeros = UInt32Array::from(vec![0u32; rows]);
    take(array, &zeros, None).expect("index 0 of a one-element array exists")
}

/// Whether the results of operations on these operands are scalars too.
pub(crate) fn all_scalar(values: &[&Value]) -> bool {
    values.iter().all(|v| v.scalar)
}

/// The union of several failure masks over `len` places.
pub(crate) fn union_failed(values: &[&Value], len: usize) -> Option<BooleanBuffer> {
    let mut all: Option<BooleanBuffer> = None;
    for value in values {
        let Some(failed) = &value.failed else { continue };
        let failed = if value.scalar && len != 1 {
            if !failed.value(0) {
                continue;
            }
            BooleanBuffer::new_set(len)
        } else {
            failed.clone()
        };
        all = Some(match all {
            None => failed,
            Some(before) => &before | &failed,
        });
    }
    all
}

/// The rows of `value` that are NULL, over `len` places; `None` when there are none.
pub(crate) fn nulls_of(value: &Value, len: usize) -> Option<NullBuffer> {
    let nulls = value.array.logical_nulls()?;
    if nulls.null_count() == 0 {
        return None;
    }
    if value.scalar && len != 1 { Some(NullBuffer::new_null(len)) } else { Some(nulls) }
}

/// An array with more NULLs: those of `failed`.
pub(crate) fn null_out(array: ArrayRef, failed: &BooleanBuffer) -> ArrayRef {
    let mask = arrow::array::BooleanArray::new(failed.clone(), None);
    arrow::compute::nullif(&array, &mask).expect("mask and array have the same length")
}

/// Collects which rows failed while a column is built.
pub(crate) struct FailedRows {
    len: usize,
    rows: Vec<usize>,
}

impl FailedRows {
    pub(crate) fn new(len: usize) -> Self {
        Self { len, rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, row: usize) {
        self.rows.push(row);
    }

    pub(crate) fn finish(self) -> Option<BooleanBuffer> {
        if self.rows.is_empty() {
            return None;
        }
        let mut bits = BooleanBufferBuilder::new(self.len);
        bits.append_n(self.len, false);
        for row in self.rows {
            bits.set_bit(row, true);
        }
        Some(bits.finish())
    }
}

/// Runs `each` for every place of the result, `len` of them, noting failures. A scalar's failure is
/// reported for every row, because every row of the data meets it.
pub(crate) fn each_row<T>(
    scalar: bool,
    rows: usize,
    run: &mut Run<'_>,
    mut each: impl FnMut(usize) -> Outcome<T>,
) -> (Vec<Option<T>>, Option<BooleanBuffer>) {
    let len = if scalar { 1 } else { rows };
    let mut out = Vec::with_capacity(len);
    let mut failed = FailedRows::new(len);
    for row in 0..len {
        match each(row) {
            Ok(value) => out.push(value),
            Err(message) => {
                out.push(None);
                failed.push(row);
                if scalar {
                    (0..rows).for_each(|r| run.fail(r, message.clone()));
                } else {
                    run.fail(row, message);
                }
            }
        }
    }
    (out, failed.finish())
}

/// A column of the input.
#[derive(Debug)]
pub(crate) struct ColumnNode(pub usize);

impl Node for ColumnNode {
    fn eval(&self, input: &Input<'_>, _run: &mut Run<'_>) -> Value {
        Value::array(input.columns[self.0].clone())
    }
}

/// A constant.
#[derive(Debug)]
pub(crate) struct LiteralNode(pub ArrayRef);

impl Node for LiteralNode {
    fn eval(&self, _input: &Input<'_>, _run: &mut Run<'_>) -> Value {
        Value::scalar(self.0.clone())
    }
}

/// A NULL of a type, for every row.
pub(crate) fn null_scalar(ty: &DataType) -> Value {
    Value::scalar(new_null_array(ty, 1))
}
