//! Constants: literal expressions as Arrow values and back.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use datafusion_common::ScalarValue;

use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::eval::decimal::{self, power_of_ten};
use crate::expr::eval::{Input, Run};
use crate::expr::{EvalContext, Expr, RowErrors, compile};
use crate::types::{Schema, SqlType};

/// A STRING constant.
pub fn string(text: impl Into<String>) -> Expr {
    Expr::Literal { value: ScalarValue::Utf8View(Some(text.into())), ty: Some(SqlType::String) }
}

/// The literal NULL without a type.
pub fn untyped_null() -> Expr {
    Expr::Literal { value: ScalarValue::Null, ty: None }
}

/// A NULL of a type.
pub fn null_of(ty: &SqlType) -> Result<Expr> {
    let value = ScalarValue::try_from(&ty.to_arrow()).map_err(unsupported)?;
    Ok(Expr::Literal { value, ty: Some(ty.clone()) })
}

pub fn boolean(value: bool) -> Expr {
    Expr::Literal { value: ScalarValue::Boolean(Some(value)), ty: Some(SqlType::Boolean) }
}

pub fn int(value: i32) -> Expr {
    Expr::Literal { value: ScalarValue::Int32(Some(value)), ty: Some(SqlType::Int) }
}

pub fn bigint(value: i64) -> Expr {
    Expr::Literal { value: ScalarValue::Int64(Some(value)), ty: Some(SqlType::Bigint) }
}

pub fn double(value: f64) -> Expr {
    Expr::Literal { value: ScalarValue::Float64(Some(value)), ty: Some(SqlType::Double) }
}

/// A DECIMAL constant from its text: its precision and scale are those written.
pub(crate) fn decimal(text: &str) -> Option<Expr> {
    let (mut value, mut scale) = decimal::parse(text)?;
    if scale < 0 {
        value = value.checked_mul(power_of_ten(scale.unsigned_abs())?)?;
        scale = 0;
    }
    // A value below one counts the zero before its point: 0.005 is DECIMAL(4, 3).
    let digits = value.to_string().trim_start_matches('-').len();
    let precision = u8::try_from(digits.max(scale as usize + 1)).ok()?;
    if precision > decimal::MAX_DIGITS {
        return None;
    }
    let (p, s) = (precision, scale as i8);
    let value = match value.to_i128().filter(|_| p <= 38) {
        Some(small) => ScalarValue::Decimal128(Some(small), p, s),
        None => ScalarValue::Decimal256(Some(value), p, s),
    };
    let ty = SqlType::Decimal { precision, scale: scale as u8 };
    Some(Expr::Literal { value, ty: Some(ty) })
}

fn unsupported(error: datafusion_common::DataFusionError) -> SqlError {
    SqlError::new(ErrorKind::Unsupported, error.to_string(), "Write the constant differently.")
}

/// The constant as a one-element array of its SQL type's Arrow type.
pub(crate) fn literal_array(value: &ScalarValue, ty: &SqlType) -> Result<ArrayRef> {
    if value.is_null() {
        return Ok(new_null_array(&ty.to_arrow(), 1));
    }
    let array = match value {
        ScalarValue::Utf8(Some(s)) => {
            ScalarValue::Utf8View(Some(s.clone())).to_array().map_err(unsupported)?
        }
        other => other.to_array().map_err(unsupported)?,
    };
    Ok(array)
}

/// The value of an expression without columns, as INSERT VALUES and key lookups need it: an array of
/// one element. `Err` carries why it failed.
pub fn evaluate_constant(expr: &Expr, ctx: &EvalContext) -> Result<ArrayRef> {
    let compiled = compile(expr, &Schema::default())?;
    let mut errors = RowErrors::default();
    let input = Input { columns: &[], rows: 1 };
    let value = compiled.root().eval(&input, &mut Run { ctx, errors: &mut errors });
    match errors.0.into_iter().next() {
        Some(error) => Err(SqlError::new(
            ErrorKind::LiteralNotConvertible,
            format!("{expr} has no value: {}", error.message),
            "Correct the expression.",
        )),
        None => Ok(value.into_array(1)),
    }
}

/// The value of an expression without columns as a scalar.
pub fn constant(expr: &Expr, ctx: &EvalContext) -> Result<ScalarValue> {
    if let Expr::Literal { value, .. } = expr {
        return Ok(value.clone());
    }
    let array = evaluate_constant(expr, ctx)?;
    ScalarValue::try_from_array(&array, 0).map_err(unsupported)
}

/// A literal of the type of a one-element array.
pub(crate) fn literal_of(array: &ArrayRef, ty: &SqlType) -> Result<Expr> {
    let value = ScalarValue::try_from_array(array, 0).map_err(unsupported)?;
    Ok(Expr::Literal { value, ty: Some(ty.clone()) })
}

/// Rows of constants as columns: `rows[r][c]` becomes element `r` of column `c`.
pub fn columns_from_rows(rows: &[Vec<ScalarValue>], types: &[SqlType]) -> Result<Vec<ArrayRef>> {
    types
        .iter()
        .enumerate()
        .map(|(c, ty)| {
            if rows.is_empty() {
                return Ok(new_null_array(&ty.to_arrow(), 0));
            }
            let parts = rows
                .iter()
                .map(|row| literal_array(&row[c], ty))
                .collect::<Result<Vec<ArrayRef>>>()?;
            let parts: Vec<&dyn arrow::array::Array> = parts.iter().map(Arc::as_ref).collect();
            arrow::compute::concat(&parts).map_err(|e| unsupported(e.into()))
        })
        .collect()
}
