//! `+ - * / %` and unary minus.
//!
//! INT and BIGINT wrap, division truncates, division by zero fails. DOUBLE follows IEEE 754. DECIMAL
//! is exact: a result that needs rounding or more digits than its type has fails. NULL operands fail:
//! arithmetic on NULL is an error in ksqlDB, not NULL.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringViewBuilder,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::numeric;
use arrow::datatypes::{
    ArrowNativeTypeOp, Decimal128Type, Float64Type, Int32Type, Int64Type, i256,
};

use super::decimal::{self, DecimalColumn, Rounding};
use super::{
    Fail, FailedRows, Input, Node, NodeRef, Outcome, Run, Value, all_scalar, each_row, nulls_of,
    union_failed,
};
use crate::expr::ArithmeticOp;
use crate::types::SqlType;

const NULL_OPERAND: Fail = Fail::Borrowed("an operand of the arithmetic is NULL");
const BY_ZERO: Fail = Fail::Borrowed("division by zero");
const INEXACT: Fail =
    Fail::Borrowed("the DECIMAL result is not exact in its type: it overflows or needs rounding");

#[derive(Debug)]
pub(crate) struct ArithmeticNode {
    pub op: ArithmeticOp,
    pub left: NodeRef,
    pub right: NodeRef,
    pub ty: SqlType,
}

impl Node for ArithmeticNode {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value {
        let left = self.left.eval(input, run);
        let right = self.right.eval(input, run);
        let scalar = all_scalar(&[&left, &right]);
        let rows = input.rows;
        match &self.ty {
            SqlType::Int if self.divides() => {
                self.divide_int::<Int32Type>(&left, &right, rows, run)
            }
            SqlType::Bigint if self.divides() => {
                self.divide_int::<Int64Type>(&left, &right, rows, run)
            }
            SqlType::Int | SqlType::Bigint | SqlType::Double => {
                let (l, r) = (left.datum(), right.datum());
                let array = match self.op {
                    ArithmeticOp::Add => numeric::add_wrapping(&l, &r),
                    ArithmeticOp::Subtract => numeric::sub_wrapping(&l, &r),
                    ArithmeticOp::Multiply => numeric::mul_wrapping(&l, &r),
                    ArithmeticOp::Divide => numeric::div(&l, &r),
                    ArithmeticOp::Modulo => numeric::rem(&l, &r),
                };
                let array = array.expect("operands are of one type, and this operation is total");
                fail_nulls(array, scalar, &[&left, &right], rows, run)
            }
            SqlType::Decimal { precision, scale } => {
                self.decimal(&left, &right, (*precision, *scale), rows, run)
            }
            _ => concat(&left, &right, rows, run),
        }
    }
}

impl ArithmeticNode {
    fn divides(&self) -> bool {
        self.op == ArithmeticOp::Divide || self.op == ArithmeticOp::Modulo
    }

    fn divide_int<T: ArrowPrimitiveType>(
        &self,
        left: &Value,
        right: &Value,
        rows: usize,
        run: &mut Run<'_>,
    ) -> Value {
        let (l, r) = (left.array.as_primitive::<T>(), right.array.as_primitive::<T>());
        let modulo = self.op == ArithmeticOp::Modulo;
        primitive_rows::<T>(left, right, rows, run, |row| {
            let (a, b) = (l.value(left.at(row)), r.value(right.at(row)));
            if b.is_zero() {
                Err(BY_ZERO)
            } else if modulo {
                Ok(Some(a.mod_wrapping(b)))
            } else {
                Ok(Some(a.div_wrapping(b)))
            }
        })
    }

    fn decimal(
        &self,
        left: &Value,
        right: &Value,
        (precision, scale): (u8, u8),
        rows: usize,
        run: &mut Run<'_>,
    ) -> Value {
        let (Some(l), Some(r)) =
            (DecimalColumn::open(&left.array), DecimalColumn::open(&right.array))
        else {
            unreachable!("the binder casts operands of DECIMAL arithmetic to DECIMAL");
        };
        if let (DecimalColumn::Small(a), DecimalColumn::Small(b)) = (&l, &r)
            && precision <= 38
            && !self.divides()
        {
            return self.small_decimal(a, b, left, right, (precision, scale), rows, run);
        }
        let (ls, rs, s) = (l.scale(), r.scale(), i32::from(scale));
        let scalar = all_scalar(&[left, right]);
        let (values, failed) = binary_rows(left, right, scalar, rows, run, |row| {
            let (a, b) = (l.get(left.at(row)), r.get(right.at(row)));
            if self.divides() && b == i256::ZERO {
                return Err(BY_ZERO);
            }
            decimal_result(self.op, (a, ls), (b, rs), s)
                .filter(|v| decimal::fits(*v, precision))
                .map_or(Err(INEXACT), |v| Ok(Some(v)))
        });
        Value { array: decimal::build(values, precision, scale), scalar, failed }
    }

    /// `+ - *` where everything surely fits 128 bits or is found not to.
    #[expect(clippy::too_many_arguments)]
    fn small_decimal(
        &self,
        l: &PrimitiveArray<Decimal128Type>,
        r: &PrimitiveArray<Decimal128Type>,
        left: &Value,
        right: &Value,
        (precision, scale): (u8, u8),
        rows: usize,
        run: &mut Run<'_>,
    ) -> Value {
        let up = |from: i8| 10i128.checked_pow(u32::from(scale).saturating_sub(from as u32));
        let (Some(lf), Some(rf)) = (up(l.scale()), up(r.scale())) else {
            return Value::array(arrow::array::new_null_array(&self.ty.to_arrow(), rows));
        };
        let limit = 10i128.pow(u32::from(precision));
        let op = self.op;
        let value = primitive_rows::<Decimal128Type>(left, right, rows, run, |row| {
            let (a, b) = (l.value(left.at(row)), r.value(right.at(row)));
            let result = match op {
                ArithmeticOp::Multiply => a.checked_mul(b),
                ArithmeticOp::Add => {
                    a.checked_mul(lf).zip(b.checked_mul(rf)).and_then(|(a, b)| a.checked_add(b))
                }
                _ => a.checked_mul(lf).zip(b.checked_mul(rf)).and_then(|(a, b)| a.checked_sub(b)),
            };
            match result {
                Some(v) if v < limit && v > -limit => Ok(Some(v)),
                _ => Err(INEXACT),
            }
        });
        let array = value.array.as_primitive::<Decimal128Type>().clone();
        Value { array: Arc::new(array.with_data_type(self.ty.to_arrow())), ..value }
    }
}

fn decimal_result(op: ArithmeticOp, l: (i256, i32), r: (i256, i32), scale: i32) -> Option<i256> {
    let exact = |(v, s): (i256, i32), to| decimal::rescale(v, s, to, Rounding::Exact);
    match op {
        ArithmeticOp::Add => exact(l, scale)?.checked_add(exact(r, scale)?),
        ArithmeticOp::Subtract => exact(l, scale)?.checked_sub(exact(r, scale)?),
        ArithmeticOp::Multiply => l.0.checked_mul(r.0),
        ArithmeticOp::Modulo => {
            let common = l.1.max(r.1);
            let rest = exact(l, common)?.checked_rem(exact(r, common)?)?;
            decimal::rescale(rest, common, scale, Rounding::Exact)
        }
        // l / 10^ls ÷ (r / 10^rs), as an integer at `scale`.
        ArithmeticOp::Divide => {
            let shift = scale + r.1 - l.1;
            let (mut top, mut bottom) = (l.0, r.0);
            if shift >= 0 {
                top = top.checked_mul(decimal::power_of_ten(shift as u32)?)?;
            } else {
                bottom = bottom.checked_mul(decimal::power_of_ten(-shift as u32)?)?;
            }
            let rest = top.checked_rem(bottom)?;
            if rest == i256::ZERO { top.checked_div(bottom) } else { None }
        }
    }
}

/// Runs `each` where both operands have values; NULL operands fail, failed ones stay failed.
fn binary_rows<T>(
    left: &Value,
    right: &Value,
    scalar: bool,
    rows: usize,
    run: &mut Run<'_>,
    mut each: impl FnMut(usize) -> Outcome<T>,
) -> (Vec<Option<T>>, Option<BooleanBuffer>) {
    let len = if scalar { 1 } else { rows };
    let before = union_failed(&[left, right], len);
    let (values, failed) = each_row(scalar, rows, run, |row| {
        if before.as_ref().is_some_and(|f| f.value(row)) {
            Ok(None)
        } else if left.is_null(row) || right.is_null(row) {
            Err(NULL_OPERAND)
        } else {
            each(row)
        }
    });
    let failed = match (before, failed) {
        (Some(a), Some(b)) => Some(&a | &b),
        (a, b) => a.or(b),
    };
    (values, failed)
}

fn primitive_rows<T: ArrowPrimitiveType>(
    left: &Value,
    right: &Value,
    rows: usize,
    run: &mut Run<'_>,
    each: impl FnMut(usize) -> Outcome<T::Native>,
) -> Value {
    let scalar = all_scalar(&[left, right]);
    let (values, failed) = binary_rows(left, right, scalar, rows, run, each);
    let array: PrimitiveArray<T> = values.into_iter().collect();
    Value { array: Arc::new(array), scalar, failed }
}

/// Turns the NULLs of a result into failures, with a message for those that are new.
fn fail_nulls(
    array: ArrayRef,
    scalar: bool,
    operands: &[&Value],
    rows: usize,
    run: &mut Run<'_>,
) -> Value {
    let Some(nulls) = array.logical_nulls().filter(|n| n.null_count() > 0) else {
        return Value { array, scalar, failed: None };
    };
    let len = array.len();
    let before = union_failed(operands, len);
    let mut failed = FailedRows::new(len);
    for (row, valid) in nulls.iter().enumerate() {
        if valid {
            continue;
        }
        failed.push(row);
        if before.as_ref().is_some_and(|f| f.value(row)) {
            continue;
        }
        if scalar {
            (0..rows).for_each(|r| run.fail(r, NULL_OPERAND));
        } else {
            run.fail(row, NULL_OPERAND);
        }
    }
    Value { array, scalar, failed: failed.finish() }
}

/// `+` of two STRINGs.
fn concat(left: &Value, right: &Value, rows: usize, run: &mut Run<'_>) -> Value {
    let (l, r) = (left.array.as_string_view(), right.array.as_string_view());
    let scalar = all_scalar(&[left, right]);
    let mut text = String::new();
    let mut out = StringViewBuilder::with_capacity(rows);
    let (values, failed) = binary_rows(left, right, scalar, rows, run, |row| {
        text.clear();
        text.push_str(l.value(left.at(row)));
        text.push_str(r.value(right.at(row)));
        Ok(Some(text.clone()))
    });
    values.iter().for_each(|v| out.append_option(v.as_deref()));
    Value { array: Arc::new(out.finish()), scalar, failed }
}

/// Unary minus.
#[derive(Debug)]
pub(crate) struct NegateNode(pub NodeRef);

impl Node for NegateNode {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value {
        let operand = self.0.eval(input, run);
        let array = match operand.array.data_type() {
            // Java's minus turns 0.0 into -0.0, and so does this.
            arrow::datatypes::DataType::Float64 => Arc::new(
                operand.array.as_primitive::<Float64Type>().unary::<_, Float64Type>(|v| -v),
            ) as ArrayRef,
            _ => numeric::neg_wrapping(&operand.array).expect("a number can be negated"),
        };
        debug_assert!(nulls_of(&operand, array.len()).is_none() || array.null_count() > 0);
        fail_nulls(array, operand.scalar, &[&operand], input.rows, run)
    }
}
