//! AND, OR, NOT, IS NULL and CASE.
//!
//! A NULL boolean as operand or condition fails: ksqlDB has no third truth value. AND and OR stop at
//! the left side when it decides; CASE evaluates only what it needs. That is visible in errors only.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::DataType;

use super::{Fail, FailedRows, Input, Node, NodeRef, Run, Value, null_scalar};

const NULL_BOOLEAN: Fail = Fail::Borrowed("a condition is NULL");

/// A boolean operand: which rows are TRUE, and which have failed (a NULL fails here).
struct Truth {
    yes: BooleanBuffer,
    failed: Option<BooleanBuffer>,
}

/// Reads a boolean value over all rows; NULLs among `needed` rows are reported and fail.
fn truth(value: Value, rows: usize, needed: Option<&BooleanBuffer>, run: &mut Run<'_>) -> Truth {
    let value = value.spread(rows);
    let array = value.array.as_boolean();
    let yes = match array.nulls() {
        None => return Truth { yes: array.values().clone(), failed: None },
        Some(nulls) => array.values() & nulls.inner(),
    };
    let mut failed = FailedRows::new(rows);
    for row in 0..rows {
        if !array.is_null(row) || needed.is_some_and(|n| !n.value(row)) {
            continue;
        }
        if !value.is_failed(row) {
            run.fail(row, NULL_BOOLEAN);
        }
        failed.push(row);
    }
    Truth { yes, failed: failed.finish() }
}

fn boolean(yes: BooleanBuffer, failed: Option<BooleanBuffer>) -> Value {
    let nulls = failed.as_ref().map(|f| NullBuffer::new(!f));
    Value { array: Arc::new(BooleanArray::new(yes, nulls)), scalar: false, failed }
}

#[derive(Debug)]
pub(crate) struct LogicalNode {
    pub and: bool,
    pub left: NodeRef,
    pub right: NodeRef,
}

impl Node for LogicalNode {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value {
        let rows = input.rows;
        let left = self.left.eval(input, run);
        let left = truth(left, rows, None, run);
        // The rows that the left side does not decide.
        let mut open = if self.and { left.yes.clone() } else { !&left.yes };
        if let Some(failed) = &left.failed {
            open = &open & &!failed;
        }
        let right = run.lazily(&self.right, input, &open);
        let right = truth(right, rows, Some(&open), run);
        let yes = if self.and { &left.yes & &right.yes } else { &left.yes | &right.yes };
        let failed = match (left.failed, right.failed) {
            (Some(a), Some(b)) => Some(&a | &b),
            (a, b) => a.or(b),
        };
        boolean(yes, failed)
    }
}

#[derive(Debug)]
pub(crate) struct NotNode(pub NodeRef);

impl Node for NotNode {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value {
        let operand = self.0.eval(input, run);
        let Truth { yes, failed } = truth(operand, input.rows, None, run);
        boolean(!&yes, failed)
    }
}

#[derive(Debug)]
pub(crate) struct IsNullNode {
    pub operand: NodeRef,
    pub negated: bool,
}

impl Node for IsNullNode {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value {
        let operand = self.operand.eval(input, run);
        let len = operand.array.len();
        let valid = match operand.array.logical_nulls() {
            Some(nulls) => nulls.into_inner(),
            None => BooleanBuffer::new_set(len),
        };
        let answer = if self.negated { valid } else { !&valid };
        Value { scalar: operand.scalar, ..boolean(answer, operand.failed) }
    }
}

#[derive(Debug)]
pub(crate) struct CaseNode {
    pub branches: Vec<(NodeRef, NodeRef)>,
    pub otherwise: Option<NodeRef>,
    pub ty: DataType,
}

impl Node for CaseNode {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value {
        let rows = input.rows;
        let mut open = BooleanBuffer::new_set(rows);
        let mut failed: Option<BooleanBuffer> = None;
        let mut fail = |rows: BooleanBuffer| {
            failed = Some(failed.take().map_or(rows.clone(), |before| &before | &rows));
        };
        let mut chosen = Vec::with_capacity(self.branches.len() + 1);
        for (when, then) in &self.branches {
            if open.count_set_bits() == 0 {
                break;
            }
            let when = run.lazily(when, input, &open);
            let when = truth(when, rows, Some(&open), run);
            if let Some(bad) = when.failed {
                open = &open & &!&bad;
                fail(bad);
            }
            let taken = &open & &when.yes;
            open = &open & &!&taken;
            if taken.count_set_bits() == 0 {
                continue;
            }
            let then = run.lazily(then, input, &taken);
            if let Some(bad) = then.clone().spread(rows).failed {
                fail(&bad & &taken);
            }
            chosen.push((taken, then));
        }
        let mut result: Value = match &self.otherwise {
            Some(node) if open.count_set_bits() > 0 => {
                let value = run.lazily(node, input, &open);
                if let Some(bad) = value.clone().spread(rows).failed {
                    fail(&bad & &open);
                }
                if open.count_set_bits() == rows {
                    value
                } else {
                    chosen.push((open, value));
                    null_scalar(&self.ty)
                }
            }
            _ => null_scalar(&self.ty),
        };
        for (taken, value) in chosen {
            let mask = BooleanArray::new(taken, None);
            let array = zip(&mask, &value.datum(), &result.datum())
                .expect("all branches have the type of the CASE");
            result = Value::array(array);
        }
        let array: ArrayRef = result.into_array(rows);
        Value { array, scalar: false, failed }
    }
}
