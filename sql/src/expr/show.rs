//! SQL text of a typed expression, for EXPLAIN and messages. Implicit conversions show as CASTs.

use std::fmt;

use datafusion_common::ScalarValue;

use super::{ArithmeticOp, CompareOp, Expr};
use crate::types::quote;

impl ArithmeticOp {
    pub fn symbol(self) -> &'static str {
        match self {
            ArithmeticOp::Add => "+",
            ArithmeticOp::Subtract => "-",
            ArithmeticOp::Multiply => "*",
            ArithmeticOp::Divide => "/",
            ArithmeticOp::Modulo => "%",
        }
    }
}

impl CompareOp {
    pub fn symbol(self) -> &'static str {
        match self {
            CompareOp::Equal => "=",
            CompareOp::NotEqual => "<>",
            CompareOp::Less => "<",
            CompareOp::LessOrEqual => "<=",
            CompareOp::Greater => ">",
            CompareOp::GreaterOrEqual => ">=",
            CompareOp::IsDistinctFrom => "IS DISTINCT FROM",
            CompareOp::IsNotDistinctFrom => "IS NOT DISTINCT FROM",
        }
    }
}

/// A name as it can be written: bare if it reads back as itself, else in back quotes.
fn name(text: &str) -> String {
    let mut chars = text.chars();
    let head = chars.next().is_some_and(|c| c.is_ascii_uppercase() || c == '_');
    let tail = chars.all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if head && tail { text.to_owned() } else { quote(text) }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    mut each: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        each(f, item)?;
    }
    Ok(())
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Column { name: n, .. } | Expr::LambdaParam { name: n, .. } => {
                f.write_str(&name(n))
            }
            Expr::Literal { value, .. } => write_literal(f, value),
            Expr::Call { function, args, .. } => {
                write!(f, "{}(", function.name())?;
                list(f, args, |f, a| write!(f, "{a}"))?;
                f.write_str(")")
            }
            Expr::Arithmetic { op, left, right, .. } => {
                write!(f, "({left} {} {right})", op.symbol())
            }
            Expr::Negate(operand) => write!(f, "-{operand}"),
            Expr::Compare { op, left, right } => write!(f, "({left} {} {right})", op.symbol()),
            Expr::Logical { and, left, right } => {
                write!(f, "({left} {} {right})", if *and { "AND" } else { "OR" })
            }
            Expr::Not(operand) => write!(f, "(NOT {operand})"),
            Expr::IsNull { operand, negated } => {
                write!(f, "({operand} IS {}NULL)", if *negated { "NOT " } else { "" })
            }
            Expr::Like { operand, pattern, escape, negated } => {
                let not = if *negated { "NOT " } else { "" };
                write!(f, "({operand} {not}LIKE {pattern}")?;
                match escape {
                    Some(c) => write!(f, " ESCAPE '{c}')"),
                    None => f.write_str(")"),
                }
            }
            Expr::In { operand, list: items, negated } => {
                write!(f, "({operand} {}IN (", if *negated { "NOT " } else { "" })?;
                list(f, items, |f, i| write!(f, "{i}"))?;
                f.write_str("))")
            }
            Expr::Case { branches, otherwise, .. } => {
                f.write_str("(CASE")?;
                for (when, then) in branches {
                    write!(f, " WHEN {when} THEN {then}")?;
                }
                if let Some(otherwise) = otherwise {
                    write!(f, " ELSE {otherwise}")?;
                }
                f.write_str(" END)")
            }
            Expr::Cast { operand, ty } => write!(f, "CAST({operand} AS {ty})"),
            Expr::Field { operand, name: n, .. } => write!(f, "{operand}->{}", name(n)),
            Expr::Element { operand, index, .. } => write!(f, "{operand}[{index}]"),
            Expr::Array { items, .. } => {
                f.write_str("ARRAY[")?;
                list(f, items, |f, i| write!(f, "{i}"))?;
                f.write_str("]")
            }
            Expr::Map { entries, .. } => {
                f.write_str("MAP(")?;
                list(f, entries, |f, (k, v)| write!(f, "{k}:={v}"))?;
                f.write_str(")")
            }
            Expr::Struct { fields, .. } => {
                f.write_str("STRUCT(")?;
                list(f, fields, |f, (n, v)| write!(f, "{}:={v}", name(n)))?;
                f.write_str(")")
            }
            Expr::Lambda { params, body } => {
                f.write_str("(")?;
                list(f, params, |f, (n, _)| f.write_str(&name(n)))?;
                write!(f, ") => {body}")
            }
        }
    }
}

fn write_literal(f: &mut fmt::Formatter<'_>, value: &ScalarValue) -> fmt::Result {
    if value.is_null() {
        return f.write_str("null");
    }
    match value {
        ScalarValue::Utf8View(Some(s)) | ScalarValue::Utf8(Some(s)) => {
            write!(f, "'{}'", s.replace('\'', "''"))
        }
        ScalarValue::Boolean(Some(b)) => f.write_str(if *b { "true" } else { "false" }),
        ScalarValue::Decimal128(Some(v), _, s) => {
            f.write_str(&super::java::decimal_to_string(*v, *s))
        }
        ScalarValue::Float64(Some(d)) => f.write_str(&super::java::double_to_string(*d)),
        other => write!(f, "{other}"),
    }
}
