//! Parsed text to typed expressions.

use crate::error::{Result, SqlError};
use crate::expr::{Expr, Scope};
use crate::types::SqlType;

/// Binds `expr`: resolves names through `scope`, chooses overloads, inserts implicit conversions.
pub fn bind(_expr: &sqlparser::ast::Expr, _scope: &dyn Scope) -> Result<Expr> {
    Err(SqlError::unsupported("expressions"))
}

/// Binds `expr` for a place that wants `ty`, as INSERT VALUES does: literals are converted if their
/// text allows it, numbers are widened, NULL takes the type. The result's type is exactly `ty`.
pub fn bind_with_expected_type(
    expr: &sqlparser::ast::Expr,
    scope: &dyn Scope,
    _ty: &SqlType,
) -> Result<Expr> {
    bind(expr, scope)
}

/// Binds a condition (WHERE, HAVING): anything but BOOLEAN is refused.
pub fn bind_predicate(expr: &sqlparser::ast::Expr, scope: &dyn Scope) -> Result<Expr> {
    bind(expr, scope)
}
