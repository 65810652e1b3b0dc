//! Dates as text beside ROWTIME, WINDOWSTART and WINDOWEND in WHERE.
//!
//! Before: `ROWTIME >= '2018'`. After: `ROWTIME >= 1514764800000`. The pseudo columns are BIGINT, so a
//! text could not be compared with them; ksqlDB reads it as a moment, UTC unless it names an offset,
//! with the parts left out at their least. Only a literal directly beside the column is read.

use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, Expr as Ast, Value, visit_expressions_mut};

use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::java::parse_timestamp;

/// The condition with such texts replaced by milliseconds.
pub(super) fn rewrite(condition: &Ast) -> Result<Ast> {
    let mut rewritten = condition.clone();
    let outcome = visit_expressions_mut(&mut rewritten, |expr| match rewrite_one(expr) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    });
    match outcome {
        ControlFlow::Continue(()) => Ok(rewritten),
        ControlFlow::Break(error) => Err(error),
    }
}

fn rewrite_one(expr: &mut Ast) -> Result<()> {
    match expr {
        Ast::BinaryOp { left, op, right } if is_comparison(op) => {
            if is_time_column(left) {
                to_milliseconds(right)?;
            } else if is_time_column(right) {
                to_milliseconds(left)?;
            }
            Ok(())
        }
        Ast::Between { expr, low, high, .. } if is_time_column(expr) => {
            to_milliseconds(low)?;
            to_milliseconds(high)
        }
        _ => Ok(()),
    }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

fn is_time_column(expr: &Ast) -> bool {
    let name = match expr {
        Ast::Identifier(ident) => ident,
        Ast::CompoundIdentifier(parts) => match parts.last() {
            Some(ident) => ident,
            None => return false,
        },
        _ => return false,
    };
    ["ROWTIME", "WINDOWSTART", "WINDOWEND"].contains(&name.value.as_str())
}

fn to_milliseconds(expr: &mut Ast) -> Result<()> {
    let span = crate::syntax::span_of(expr);
    let Ast::Value(value) = expr else { return Ok(()) };
    let Value::SingleQuotedString(text) = &value.value else { return Ok(()) };
    let Some(ms) = parse_timestamp(text) else {
        return Err(SqlError::new(
            ErrorKind::LiteralNotConvertible,
            format!("'{text}' is no date or time"),
            "Write it as in '2018-01-01T10:00:00', or as milliseconds.",
        )
        .at(span));
    };
    value.value = Value::Number(ms.to_string(), false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::{expr_text, parse_expression};

    #[track_caller]
    fn check(before: &str, after: &str) {
        let parsed = parse_expression(before).expect("an expression");
        let got = match rewrite(&parsed) {
            Ok(ast) => expr_text(&ast),
            Err(e) => e.kind.code().to_owned(),
        };
        assert_eq!(got, after);
    }

    #[test]
    fn texts_beside_time_columns() {
        check("ROWTIME >= '2018'", "(ROWTIME >= 1514764800000)");
        check("'1970-01-01T00:00:01' < S.ROWTIME", "(1000 < S.ROWTIME)");
        check(
            "A = '2018' AND WINDOWEND = '1970-01-02'",
            "((A = '2018') AND (WINDOWEND = 86400000))",
        );
        check("ROWTIME > 'soon'", "literal-not-convertible");
        check("ROWTIME + 1 > '2018'", "((ROWTIME + 1) > '2018')");
    }
}
