//! Comparisons and IN.
//!
//! A comparison with NULL is FALSE, also `<>`; IS [NOT] DISTINCT FROM treats NULL as a value. DOUBLE
//! compares as Java's operators do: NaN is neither equal to, nor different from, nor less than
//! anything. Maps are equal when they have the same entries in any order.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::cmp;
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, i256};

use super::decimal::{self, DecimalColumn, Rounding};
use super::{Input, Node, NodeRef, Run, Value, all_scalar, union_failed};
use crate::expr::CompareOp;

#[derive(Debug)]
pub(crate) struct CompareNode {
    pub op: CompareOp,
    pub left: NodeRef,
    pub right: NodeRef,
}

impl Node for CompareNode {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value {
        let left = self.left.eval(input, run);
        let right = self.right.eval(input, run);
        let scalar = all_scalar(&[&left, &right]);
        let len = if scalar { 1 } else { input.rows };
        let answer = compare(self.op, &left, &right, len);
        finish(answer, scalar, union_failed(&[&left, &right], len))
    }
}

/// A boolean without NULLs but for failed rows.
fn finish(answer: BooleanBuffer, scalar: bool, failed: Option<BooleanBuffer>) -> Value {
    let nulls = failed.as_ref().map(|f| NullBuffer::new(!f));
    Value { array: Arc::new(BooleanArray::new(answer, nulls)), scalar, failed }
}

/// TRUE or FALSE for each of `len` places.
pub(crate) fn compare(op: CompareOp, left: &Value, right: &Value, len: usize) -> BooleanBuffer {
    use CompareOp::*;
    match left.array.data_type() {
        DataType::Float64 => return doubles(op, left, right, len),
        DataType::List(_) | DataType::Struct(_) | DataType::Map(..) => {
            return by_row(op, left, right, len, nested_order(&left.array, &right.array));
        }
        DataType::Decimal128(..) | DataType::Decimal256(..)
            if left.array.data_type() != right.array.data_type() =>
        {
            return by_row(op, left, right, len, decimal_order(&left.array, &right.array));
        }
        _ => {}
    }
    let (l, r) = (left.datum(), right.datum());
    let answer = match op {
        Equal => cmp::eq(&l, &r),
        NotEqual => cmp::neq(&l, &r),
        Less => cmp::lt(&l, &r),
        LessOrEqual => cmp::lt_eq(&l, &r),
        Greater => cmp::gt(&l, &r),
        GreaterOrEqual => cmp::gt_eq(&l, &r),
        IsDistinctFrom => cmp::distinct(&l, &r),
        IsNotDistinctFrom => cmp::not_distinct(&l, &r),
    };
    let answer = answer.expect("the binder gives both sides of a comparison one type");
    let answer = match answer.nulls() {
        None => answer.values().clone(),
        Some(nulls) => answer.values() & nulls.inner(),
    };
    // Two constants give one answer, for however many places were asked.
    match (answer.len() == len, answer.len() == 1 && answer.value(0)) {
        (true, _) => answer,
        (false, true) => BooleanBuffer::new_set(len),
        (false, false) => BooleanBuffer::new_unset(len),
    }
}

fn doubles(op: CompareOp, left: &Value, right: &Value, len: usize) -> BooleanBuffer {
    use CompareOp::*;
    let (l, r) =
        (left.array.as_primitive::<Float64Type>(), right.array.as_primitive::<Float64Type>());
    let (lv, rv) = (l.values(), r.values());
    let (ls, rs) = (usize::from(!left.scalar), usize::from(!right.scalar));
    let test =
        |f: fn(f64, f64) -> bool| BooleanBuffer::collect_bool(len, |i| f(lv[i * ls], rv[i * rs]));
    let both = |answer: BooleanBuffer| {
        let mut answer = answer;
        for (value, array) in [(left, l), (right, r)] {
            match array.nulls() {
                None => {}
                Some(_) if value.scalar && array.is_null(0) => {
                    return BooleanBuffer::new_unset(len);
                }
                Some(_) if value.scalar => {}
                Some(nulls) => answer = &answer & nulls.inner(),
            }
        }
        answer
    };
    match op {
        Equal => both(test(|a, b| a == b)),
        NotEqual => both(test(|a, b| a < b || a > b)),
        Less => both(test(|a, b| a < b)),
        LessOrEqual => both(test(|a, b| a <= b)),
        Greater => both(test(|a, b| a > b)),
        GreaterOrEqual => both(test(|a, b| a >= b)),
        IsDistinctFrom | IsNotDistinctFrom => {
            let order: Order<'_> = Box::new(|i, j| {
                // As an object, not as a number: NaN equals NaN.
                Some(lv[i].total_cmp(&rv[j]))
            });
            by_row(op, left, right, len, order)
        }
    }
}

/// Compares element `i` of one array with `j` of another, both not NULL. `None`: not equal, and the
/// type has no order.
type Order<'a> = Box<dyn Fn(usize, usize) -> Option<Ordering> + 'a>;

fn by_row(
    op: CompareOp,
    left: &Value,
    right: &Value,
    len: usize,
    order: Order<'_>,
) -> BooleanBuffer {
    use CompareOp::*;
    BooleanBuffer::collect_bool(len, |row| {
        let (i, j) = (left.at(row), right.at(row));
        let null = (left.array.is_null(i), right.array.is_null(j));
        if null.0 || null.1 {
            return match op {
                IsDistinctFrom => null.0 != null.1,
                IsNotDistinctFrom => null.0 == null.1,
                _ => false,
            };
        }
        let order = order(i, j);
        match op {
            Equal | IsNotDistinctFrom => order == Some(Ordering::Equal),
            NotEqual | IsDistinctFrom => order != Some(Ordering::Equal),
            Less => order == Some(Ordering::Less),
            LessOrEqual => order.is_some_and(Ordering::is_le),
            Greater => order == Some(Ordering::Greater),
            GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    })
}

fn decimal_order<'a>(left: &'a ArrayRef, right: &'a ArrayRef) -> Order<'a> {
    let (Some(l), Some(r)) = (DecimalColumn::open(left), DecimalColumn::open(right)) else {
        return Box::new(|_, _| None);
    };
    let (ls, rs) = (l.scale(), r.scale());
    Box::new(move |i, j| Some(decimal_cmp((l.get(i), ls), (r.get(j), rs))))
}

/// Orders two decimals of any scales. A value too large to be brought to the other's scale is
/// farther from zero than the other.
fn decimal_cmp(l: (i256, i32), r: (i256, i32)) -> Ordering {
    let common = l.1.max(r.1);
    let up = |(v, s)| decimal::rescale(v, s, common, Rounding::Exact);
    match (up(l), up(r)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (None, _) => l.0.cmp(&i256::ZERO),
        (_, None) => i256::ZERO.cmp(&r.0),
    }
}

fn nested_order<'a>(left: &'a ArrayRef, right: &'a ArrayRef) -> Order<'a> {
    Box::new(move |i, j| same(left, i, right, j).then_some(Ordering::Equal))
}

/// Whether two elements, which may be NULL and nested, are equal; NULLs are equal to each other.
pub(crate) fn same(left: &dyn Array, i: usize, right: &dyn Array, j: usize) -> bool {
    match (left.is_null(i), right.is_null(j)) {
        (true, true) => return true,
        (false, false) => {}
        _ => return false,
    }
    match left.data_type() {
        DataType::List(_) => {
            let (a, b) = (left.as_list::<i32>().value(i), right.as_list::<i32>().value(j));
            a.len() == b.len() && (0..a.len()).all(|k| same(&a, k, &b, k))
        }
        DataType::Struct(_) => {
            let (a, b) = (left.as_struct(), right.as_struct());
            a.columns().iter().zip(b.columns()).all(|(x, y)| same(x, i, y, j))
        }
        DataType::Map(..) => {
            let (a, b) = (left.as_map().value(i), right.as_map().value(j));
            a.len() == b.len()
                && (0..a.len()).all(|k| {
                    (0..b.len()).any(|m| {
                        same(a.column(0), k, b.column(0), m) && same(a.column(1), k, b.column(1), m)
                    })
                })
        }
        DataType::Boolean => left.as_boolean().value(i) == right.as_boolean().value(j),
        DataType::Int32 => {
            left.as_primitive::<Int32Type>().value(i) == right.as_primitive::<Int32Type>().value(j)
        }
        DataType::Int64 => {
            left.as_primitive::<Int64Type>().value(i) == right.as_primitive::<Int64Type>().value(j)
        }
        DataType::Float64 => {
            let (a, b) = (left.as_primitive::<Float64Type>(), right.as_primitive::<Float64Type>());
            a.value(i).total_cmp(&b.value(j)).is_eq()
        }
        DataType::Utf8View => left.as_string_view().value(i) == right.as_string_view().value(j),
        DataType::Binary => left.as_binary::<i32>().value(i) == right.as_binary::<i32>().value(j),
        DataType::Decimal128(..) | DataType::Decimal256(..) => {
            match (DecimalColumn::open(left), DecimalColumn::open(right)) {
                (Some(l), Some(r)) => {
                    decimal_cmp((l.get(i), l.scale()), (r.get(j), r.scale())).is_eq()
                }
                _ => false,
            }
        }
        _ => cmp::eq(&left.slice(i, 1), &right.slice(j, 1)).is_ok_and(|a| a.value(0)),
    }
}

/// `operand IN (…)`; the binder gives all one type. A list of constants is looked up in a set.
#[derive(Debug)]
pub(crate) struct InNode {
    pub operand: NodeRef,
    pub list: Vec<NodeRef>,
    pub negated: bool,
    pub set: Option<ConstantSet>,
}

#[derive(Debug)]
pub(crate) enum ConstantSet {
    Ints(HashSet<i64>),
    Texts(HashSet<String>),
}

impl ConstantSet {
    /// A set for constants of a type worth hashing, NULLs left out.
    pub(crate) fn of(constants: &[ArrayRef]) -> Option<Self> {
        let present = || constants.iter().filter(|c| c.is_valid(0));
        match constants.first()?.data_type() {
            DataType::Int32 => Some(Self::Ints(
                present().map(|c| i64::from(c.as_primitive::<Int32Type>().value(0))).collect(),
            )),
            DataType::Int64 => Some(Self::Ints(
                present().map(|c| c.as_primitive::<Int64Type>().value(0)).collect(),
            )),
            DataType::Utf8View => Some(Self::Texts(
                present().map(|c| c.as_string_view().value(0).to_owned()).collect(),
            )),
            _ => None,
        }
    }

    fn contains(&self, operand: &ArrayRef) -> Option<BooleanBuffer> {
        let hit = match (self, operand.data_type()) {
            (Self::Ints(set), DataType::Int32) => {
                let a = operand.as_primitive::<Int32Type>().values();
                BooleanBuffer::collect_bool(a.len(), |i| set.contains(&i64::from(a[i])))
            }
            (Self::Ints(set), DataType::Int64) => {
                let a = operand.as_primitive::<Int64Type>().values();
                BooleanBuffer::collect_bool(a.len(), |i| set.contains(&a[i]))
            }
            (Self::Texts(set), DataType::Utf8View) => {
                let a = operand.as_string_view();
                BooleanBuffer::collect_bool(a.len(), |i| set.contains(a.value(i)))
            }
            _ => return None,
        };
        Some(match operand.nulls() {
            None => hit,
            Some(nulls) => &hit & nulls.inner(),
        })
    }
}

impl Node for InNode {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value {
        let operand = self.operand.eval(input, run);
        if let Some(hit) = self.set.as_ref().and_then(|set| set.contains(&operand.array)) {
            let answer = if self.negated { !&hit } else { hit };
            return finish(answer, operand.scalar, operand.failed);
        }
        let items: Vec<Value> = self.list.iter().map(|item| item.eval(input, run)).collect();
        let all: Vec<&Value> = std::iter::once(&operand).chain(&items).collect();
        let scalar = all_scalar(&all);
        let len = if scalar { 1 } else { input.rows };
        let mut hit = BooleanBuffer::new_unset(len);
        for item in &items {
            hit = &hit | &compare(CompareOp::Equal, &operand, item, len);
        }
        let answer = if self.negated { !&hit } else { hit };
        finish(answer, scalar, union_failed(&all, len))
    }
}
