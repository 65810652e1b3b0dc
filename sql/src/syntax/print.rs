//! Expressions as text, in ksqlDB's manner: every operator in parentheses, names bare where they can be.
//!
//! Used for EXPLAIN, messages, and to compare expressions. What it writes parses to the same tree.

use std::fmt::{self, Display, Formatter, Write as _};

use sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    LambdaFunction, OneOrManyWithParens, Subscript, UnaryOperator, Value,
};

use super::complete::is_reserved;
use super::dialect::cast_type;
use crate::types::quote;

/// The text of an expression of this dialect (see `dialect.rs`).
pub fn expr_text(expr: &Expr) -> String {
    Text(expr).to_string()
}

/// A name as an expression writes it: bare if it would read back as itself, else in back quotes.
pub fn name_text(name: &str) -> String {
    let bare = name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && !is_reserved(name);
    if bare { name.to_owned() } else { quote(name) }
}

struct Text<'a>(&'a Expr);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expr::Identifier(ident) => write_ident(f, ident),
            Expr::CompoundIdentifier(parts) => write_list(f, parts, ".", write_ident),
            Expr::CompoundFieldAccess { root, access_chain } => {
                write!(f, "{}", Text(root))?;
                access_chain.iter().try_for_each(|access| write_access(f, access))
            }
            Expr::Value(literal) => write_value(f, &literal.value),
            Expr::TypedString(typed) => {
                write!(f, "{} ", typed.data_type)?;
                write_value(f, &typed.value.value)
            }
            Expr::Array(array) => {
                f.write_str("ARRAY[")?;
                write_exprs(f, &array.elem)?;
                f.write_char(']')
            }
            Expr::Function(function) => write_function(f, function),
            Expr::Lambda(lambda) => write_lambda(f, lambda),
            Expr::Cast { expr, data_type, .. } => match cast_type(data_type) {
                Ok(ty) => write!(f, "CAST({} AS {ty})", Text(expr)),
                Err(_) => write!(f, "CAST({} AS {data_type})", Text(expr)),
            },
            other => write_operator(f, other),
        }
    }
}

/// What stands in parentheses of its own.
fn write_operator(f: &mut Formatter<'_>, expr: &Expr) -> fmt::Result {
    let not = |negated: &bool| if *negated { "NOT " } else { "" };
    match expr {
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => write!(f, "(NOT {})", Text(expr)),
        // With a space, so that `-(-1)` does not become a comment.
        Expr::UnaryOp { op, expr } => write!(f, "({op} {})", Text(expr)),
        Expr::BinaryOp { left, op, right } => write!(f, "({} {op} {})", Text(left), Text(right)),
        Expr::Between { expr, negated, low, high } => {
            let (low, high) = (Text(low), Text(high));
            write!(f, "({} {}BETWEEN {low} AND {high})", Text(expr), not(negated))
        }
        Expr::InList { expr, list, negated } => {
            write!(f, "({} {}IN (", Text(expr), not(negated))?;
            write_exprs(f, list)?;
            f.write_str("))")
        }
        Expr::Like { negated, expr, pattern, escape_char, .. } => {
            write!(f, "({} {}LIKE {}", Text(expr), not(negated), Text(pattern))?;
            if let Some(escape) = escape_char {
                f.write_str(" ESCAPE ")?;
                write_value(f, &escape.value)?;
            }
            f.write_char(')')
        }
        Expr::IsNull(expr) => write!(f, "({} IS NULL)", Text(expr)),
        Expr::IsNotNull(expr) => write!(f, "({} IS NOT NULL)", Text(expr)),
        Expr::IsDistinctFrom(left, right) => {
            write!(f, "({} IS DISTINCT FROM {})", Text(left), Text(right))
        }
        Expr::IsNotDistinctFrom(left, right) => {
            write!(f, "({} IS NOT DISTINCT FROM {})", Text(left), Text(right))
        }
        Expr::Case { operand, conditions, else_result, .. } => {
            f.write_str("(CASE")?;
            if let Some(operand) = operand {
                write!(f, " {}", Text(operand))?;
            }
            for when in conditions {
                write!(f, " WHEN {} THEN {}", Text(&when.condition), Text(&when.result))?;
            }
            if let Some(otherwise) = else_result {
                write!(f, " ELSE {}", Text(otherwise))?;
            }
            f.write_str(" END)")
        }
        foreign => write!(f, "{foreign}"),
    }
}

fn write_ident(f: &mut Formatter<'_>, ident: &Ident) -> fmt::Result {
    f.write_str(&name_text(&ident.value))
}

fn write_list<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    between: &str,
    write: impl Fn(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            f.write_str(between)?;
        }
        write(f, item)?;
    }
    Ok(())
}

fn write_exprs(f: &mut Formatter<'_>, exprs: &[Expr]) -> fmt::Result {
    write_list(f, exprs, ", ", |f, expr| write!(f, "{}", Text(expr)))
}

fn write_access(f: &mut Formatter<'_>, access: &AccessExpr) -> fmt::Result {
    match access {
        AccessExpr::Dot(field) => write!(f, "->{}", Text(field)),
        AccessExpr::Subscript(Subscript::Index { index }) => write!(f, "[{}]", Text(index)),
        AccessExpr::Subscript(foreign) => write!(f, "[{foreign}]"),
    }
}

fn write_value(f: &mut Formatter<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::SingleQuotedString(text) => write!(f, "'{}'", text.replace('\'', "''")),
        Value::Boolean(true) => f.write_str("TRUE"),
        Value::Boolean(false) => f.write_str("FALSE"),
        Value::Null => f.write_str("NULL"),
        other => write!(f, "{other}"),
    }
}

fn write_function(f: &mut Formatter<'_>, function: &Function) -> fmt::Result {
    write!(f, "{}(", function_name(function))?;
    if let FunctionArguments::List(list) = &function.args {
        write_list(f, &list.args, ", ", write_arg)?;
    }
    f.write_char(')')
}

/// `ARRAY`, `MAP`, `STRUCT` and other words that are free as names stay bare.
fn function_name(function: &Function) -> String {
    match function.name.0.first().and_then(|part| part.as_ident()) {
        Some(ident) => name_text(&ident.value),
        None => function.name.to_string(),
    }
}

fn write_arg(f: &mut Formatter<'_>, arg: &FunctionArg) -> fmt::Result {
    match arg {
        FunctionArg::Named { name, arg, .. } => {
            write_ident(f, name)?;
            f.write_str(":=")?;
            write_arg_value(f, arg)
        }
        FunctionArg::ExprNamed { name, arg, .. } => {
            write!(f, "{}:=", Text(name))?;
            write_arg_value(f, arg)
        }
        FunctionArg::Unnamed(arg) => write_arg_value(f, arg),
    }
}

fn write_arg_value(f: &mut Formatter<'_>, arg: &FunctionArgExpr) -> fmt::Result {
    match arg {
        // A unit of time is an argument only; quoted it would be a column.
        FunctionArgExpr::Expr(Expr::Identifier(ident)) if ident.quote_style.is_none() => {
            f.write_str(&ident.value)
        }
        FunctionArgExpr::Expr(expr) => write!(f, "{}", Text(expr)),
        FunctionArgExpr::Wildcard => f.write_char('*'),
        foreign => write!(f, "{foreign}"),
    }
}

fn write_lambda(f: &mut Formatter<'_>, lambda: &LambdaFunction) -> fmt::Result {
    match &lambda.params {
        OneOrManyWithParens::One(param) => write_ident(f, &param.name)?,
        OneOrManyWithParens::Many(params) => {
            f.write_char('(')?;
            write_list(f, params, ", ", |f, param| write_ident(f, &param.name))?;
            f.write_char(')')?;
        }
    }
    write!(f, " => {}", Text(&lambda.body))
}
