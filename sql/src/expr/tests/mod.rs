//! Expressions as text, evaluated over a sample batch.
//!
//! A case is an expression and what it gives: one text per row, separated by ` | `, or for a refused
//! expression `error: kind`. A row that failed is followed by `!`.
//!
//! The sample has three rows: ordinary values, NULL everywhere, and edges.

mod binding;
mod edges;
mod functions;
mod java_text;
mod operators;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringViewArray, Time32MillisecondArray, TimestampMillisecondArray,
};

use super::eval::cast;
use super::{EvalContext, Expr, RowErrors, Scope, bind, compile};
use crate::error::{ErrorKind, Result, SqlError};
use crate::syntax::parse_expression;
use crate::types::{Column, Schema, SqlType};

struct Columns(Schema);

impl Scope for Columns {
    fn resolve(&self, _qualifier: Option<&str>, name: &str) -> Result<Expr> {
        let found = self.0.columns().enumerate().find(|(_, c)| c.name == name);
        let (index, column) = found.ok_or_else(|| {
            SqlError::new(ErrorKind::UnknownColumn, format!("no column {name}"), "Correct it.")
        })?;
        Ok(Expr::Column { index, name: name.to_owned(), ty: column.ty.clone() })
    }
}

/// Columns whose values are simple, then some made from text by CAST and constructors.
fn sample() -> (Columns, RecordBatch) {
    let columns: Vec<(&str, SqlType, ArrayRef)> = vec![
        ("I", SqlType::Int, Arc::new(Int32Array::from(vec![Some(7), None, Some(-3)]))),
        ("L", SqlType::Bigint, Arc::new(Int64Array::from(vec![Some(40), None, Some(i64::MAX)]))),
        ("D", SqlType::Double, Arc::new(Float64Array::from(vec![Some(2.5), None, Some(-0.5)]))),
        ("S", SqlType::String, Arc::new(StringViewArray::from(vec![Some("abc"), None, Some("")]))),
        ("B", SqlType::Boolean, Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        (
            "Y",
            SqlType::Bytes,
            Arc::new(BinaryArray::from(vec![Some(&b"hi!"[..]), None, Some(b"")])),
        ),
        ("DT", SqlType::Date, Arc::new(Date32Array::from(vec![Some(18_690), None, Some(-1)]))),
        (
            "TM",
            SqlType::Time,
            Arc::new(Time32MillisecondArray::from(vec![Some(54_367_089), None, Some(0)])),
        ),
        (
            "TS",
            SqlType::Timestamp,
            Arc::new(TimestampMillisecondArray::from(vec![Some(1_614_870_367_089), None, Some(0)])),
        ),
    ];
    let mut schema = Schema::default();
    let mut arrays = vec![];
    for (name, ty, array) in columns {
        schema.value.push(Column::new(name, ty));
        arrays.push(array);
    }
    // Built by the expressions under test themselves: short, and checked by every case that reads them.
    let made = [
        ("N", "CAST(CASE WHEN I = 7 THEN '12.345' WHEN I = -3 THEN '-0.500' END AS DECIMAL(6, 3))"),
        (
            "A",
            "CASE WHEN I = 7 THEN ARRAY[3, 1, NULL, 2, 1] WHEN I = -3 THEN SLICE(ARRAY[1], 2, 1) END",
        ),
        ("M", "CASE WHEN I = 7 THEN MAP('x' := 1, 'y' := 2) WHEN I = -3 THEN MAP('z' := I) END"),
        (
            "ST",
            "CASE WHEN I = 7 THEN STRUCT(F := 1, G := 'g') WHEN I = -3 THEN STRUCT(F := I, G := S) END",
        ),
    ];
    let mut scope = Columns(schema);
    for (name, text) in made {
        let batch = RecordBatch::try_new(scope.0.to_arrow(), arrays.clone()).expect("sample");
        let expr = parse_expression(text).and_then(|e| bind(&e, &scope)).expect(name);
        let compiled = compile(&expr, &scope.0).expect(name);
        let mut errors = RowErrors::default();
        arrays.push(compiled.evaluate(&batch, &EvalContext::default(), &mut errors));
        assert!(errors.0.is_empty(), "{name}: {errors:?}");
        scope.0.value.push(Column::new(name, expr.typed().expect(name)));
    }
    let batch = RecordBatch::try_new(scope.0.to_arrow(), arrays).expect("sample");
    (scope, batch)
}

fn outcome(text: &str, scope: &Columns, batch: &RecordBatch) -> String {
    let expr = match parse_expression(text).and_then(|e| bind(&e, scope)) {
        Ok(expr) => expr,
        Err(e) => return format!("error: {}", e.kind),
    };
    let compiled = match compile(&expr, &scope.0) {
        Ok(compiled) => compiled,
        Err(e) => return format!("not compiled: {e}"),
    };
    let ctx = EvalContext { now_ms: 1_614_870_367_089 };
    let mut errors = RowErrors::default();
    let array = compiled.evaluate(batch, &ctx, &mut errors);
    assert_eq!(array.len(), batch.num_rows(), "{text}");
    let ty = expr.ty().unwrap_or(SqlType::String).to_arrow();
    assert_eq!(array.data_type(), &ty, "{text}");
    let rows = (0..array.len()).map(|row| {
        let failed = errors.0.iter().any(|e| e.row == row);
        format!("{}{}", cast::text(&array, row), if failed { "!" } else { "" })
    });
    rows.collect::<Vec<_>>().join(" | ")
}

/// Runs cases of expression and outcome. A constant's outcome may be given once for all rows.
fn check(cases: &[(&str, &str)]) {
    let (scope, batch) = sample();
    let mut wrong = vec![];
    for (text, expected) in cases {
        let got = outcome(text, &scope, &batch);
        let thrice = format!("{expected} | {expected} | {expected}");
        if got != *expected && got != thrice {
            wrong.push(format!("{text}\n  gives    {got}\n  expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Runs cases of expression and the type it is bound to.
fn check_types(cases: &[(&str, &str)]) {
    let (scope, _) = sample();
    for (text, expected) in cases {
        let expr = parse_expression(text).and_then(|e| bind(&e, &scope)).expect(text);
        assert_eq!(expr.typed().expect(text).to_string(), *expected, "{text}");
    }
}
