//! Parsed text to typed expressions.
//!
//! [`mod@self`] names, literals and operators; `coerce.rs` implicit conversions and common types;
//! `call.rs` functions, lambdas and constructors.

mod call;
mod coerce;

use sqlparser::ast::{
    self, AccessExpr, BinaryOperator, CaseWhen, Subscript, UnaryOperator, Value as AstValue,
};

use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::eval::{EvalContext, cast};
use crate::expr::{ArithmeticOp, CompareOp, Expr, FunctionRef, Scope, types, value};
use crate::syntax::dialect;
use crate::types::{SqlType, quote};

pub(crate) use coerce::coerce;

/// Binds `expr`: resolves names through `scope`, chooses overloads, inserts implicit conversions.
pub fn bind(expr: &ast::Expr, scope: &dyn Scope) -> Result<Expr> {
    Binder { scope, lambdas: None }.bind(expr)
}

/// Binds `expr` for a place that wants `ty`, as INSERT VALUES does: literals are converted if their
/// text allows it, numbers are widened, NULL takes the type. The result's type is exactly `ty`.
pub fn bind_with_expected_type(expr: &ast::Expr, scope: &dyn Scope, ty: &SqlType) -> Result<Expr> {
    let bound = bind(expr, scope)?;
    coerce::for_insert(bound, ty).map_err(|e| e.at(dialect::span_of(expr)))
}

/// Binds a condition (WHERE, HAVING): anything but BOOLEAN is refused.
pub fn bind_predicate(expr: &ast::Expr, scope: &dyn Scope) -> Result<Expr> {
    let bound = bind(expr, scope)?;
    match bound.ty() {
        Some(SqlType::Boolean) => Ok(bound),
        other => {
            let ty = other.map_or("NULL".to_owned(), |t| t.to_string());
            Err(SqlError::new(
                ErrorKind::PredicateNotBoolean,
                format!("the condition {bound} is {ty}"),
                "Make it a comparison.",
            )
            .at(dialect::span_of(expr)))
        }
    }
}

/// A call of `function` with bound arguments: chooses the variant, inserts implicit conversions.
pub(crate) fn bind_call(function: FunctionRef, args: Vec<Expr>, scope: &dyn Scope) -> Result<Expr> {
    Binder { scope, lambdas: None }.call_of(function, args)
}

/// Names that a lambda's parameters add, innermost first.
struct LambdaScope<'a> {
    params: Vec<(String, SqlType)>,
    outer: Option<&'a LambdaScope<'a>>,
}

struct Binder<'a> {
    scope: &'a dyn Scope,
    lambdas: Option<&'a LambdaScope<'a>>,
}

fn error(kind: ErrorKind, message: String, remedy: &str) -> SqlError {
    SqlError::new(kind, message, remedy)
}

fn type_text(ty: Option<&SqlType>) -> String {
    ty.map_or("NULL".to_owned(), SqlType::to_string)
}

impl Binder<'_> {
    fn bind(&self, expr: &ast::Expr) -> Result<Expr> {
        if let Some(found) = self.scope.substitute(expr)? {
            return Ok(found);
        }
        self.bind_new(expr).map_err(|e| e.at(dialect::span_of(expr)))
    }

    fn bind_new(&self, expr: &ast::Expr) -> Result<Expr> {
        match expr {
            ast::Expr::Identifier(name) => match self.lambda_param(&name.value) {
                Some(param) => Ok(param),
                None => self.scope.resolve(None, &name.value),
            },
            ast::Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [source, name] => self.scope.resolve(Some(&source.value), &name.value),
                _ => Err(SqlError::unsupported("a name of more than two parts")),
            },
            ast::Expr::CompoundFieldAccess { root, access_chain } => {
                let root = self.bind(root)?;
                access_chain.iter().try_fold(root, |at, step| self.access(at, step))
            }
            ast::Expr::Nested(inner) => self.bind(inner),
            ast::Expr::Value(v) => literal(&v.value),
            ast::Expr::TypedString(typed) => {
                typed_string(&typed.data_type.to_string(), &typed.value.value)
            }
            ast::Expr::UnaryOp { op, expr } => self.unary(*op, expr),
            ast::Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            ast::Expr::Between { expr, negated, low, high } => {
                let compare =
                    |op, bound: &ast::Expr| self.compare(op, self.bind(expr)?, self.bind(bound)?);
                let within = Expr::Logical {
                    and: true,
                    left: Box::new(compare(CompareOp::GreaterOrEqual, low)?),
                    right: Box::new(compare(CompareOp::LessOrEqual, high)?),
                };
                Ok(if *negated { Expr::Not(Box::new(within)) } else { within })
            }
            ast::Expr::InList { expr, list, negated } => {
                let operand = self.bind(expr)?;
                let list = list.iter().map(|i| self.bind(i)).collect::<Result<Vec<_>>>()?;
                coerce::in_list(operand, list, *negated)
            }
            ast::Expr::Like { negated, expr, pattern, escape_char, .. } => {
                let escape = escape_char.as_ref().and_then(|v| text_of(&v.value)?.chars().next());
                self.like(expr, pattern, escape, *negated)
            }
            ast::Expr::IsNull(operand) => self.is_null(operand, false),
            ast::Expr::IsNotNull(operand) => self.is_null(operand, true),
            ast::Expr::IsDistinctFrom(left, right) => {
                self.compare(CompareOp::IsDistinctFrom, self.bind(left)?, self.bind(right)?)
            }
            ast::Expr::IsNotDistinctFrom(left, right) => {
                self.compare(CompareOp::IsNotDistinctFrom, self.bind(left)?, self.bind(right)?)
            }
            ast::Expr::Case { operand: Some(_), .. } => {
                Err(SqlError::unsupported("CASE with an operand is not available; write CASE WHEN"))
            }
            ast::Expr::Case { conditions, else_result, .. } => {
                self.case(conditions, else_result.as_deref())
            }
            ast::Expr::Cast { expr, data_type, .. } => {
                self.cast(self.bind(expr)?, dialect::cast_type(data_type)?)
            }
            ast::Expr::Array(array) => {
                let items = array.elem.iter().map(|i| self.bind(i)).collect::<Result<Vec<_>>>()?;
                coerce::array(items)
            }
            ast::Expr::Function(function) => self.call(function),
            ast::Expr::Lambda(_) => Err(error(
                ErrorKind::FunctionArgumentsMismatch,
                format!("the lambda {expr} stands where a value is needed"),
                "Use it as an argument of TRANSFORM, FILTER or REDUCE.",
            )),
            other => Err(SqlError::unsupported(format!("the expression {other}"))),
        }
    }

    fn lambda_param(&self, name: &str) -> Option<Expr> {
        let mut scope = self.lambdas;
        while let Some(lambda) = scope {
            if let Some((name, ty)) = lambda.params.iter().find(|(n, _)| n == name) {
                return Some(Expr::LambdaParam { name: name.clone(), ty: ty.clone() });
            }
            scope = lambda.outer;
        }
        None
    }

    fn access(&self, at: Expr, step: &AccessExpr) -> Result<Expr> {
        match step {
            AccessExpr::Dot(ast::Expr::Identifier(field)) => self.field(at, &field.value),
            AccessExpr::Subscript(Subscript::Index { index }) => {
                self.element(at, self.bind(index)?)
            }
            other => Err(SqlError::unsupported(format!("the access {other}"))),
        }
    }

    fn field(&self, at: Expr, name: &str) -> Result<Expr> {
        let Some(SqlType::Struct(fields)) = at.ty() else {
            return Err(error(
                ErrorKind::UnknownColumn,
                format!("{at} is {}, which has no fields", type_text(at.ty().as_ref())),
                "Only a STRUCT has fields.",
            ));
        };
        match fields.iter().find(|f| f.name == name) {
            Some(field) => Ok(Expr::Field {
                operand: Box::new(at),
                name: name.to_owned(),
                ty: field.ty.clone(),
            }),
            None => {
                let names: Vec<String> = fields.iter().map(|f| quote(&f.name)).collect();
                Err(error(
                    ErrorKind::UnknownColumn,
                    format!("{at} has no field {}", quote(name)),
                    &format!("Its fields are {}.", names.join(", ")),
                ))
            }
        }
    }

    fn element(&self, at: Expr, index: Expr) -> Result<Expr> {
        let (index_type, ty) = match at.ty() {
            Some(SqlType::Array(item)) => (SqlType::Int, *item),
            Some(SqlType::Map(key, value)) => (*key, *value),
            other => {
                return Err(error(
                    ErrorKind::IncomparableTypes,
                    format!("{at} is {}, which has no elements", type_text(other.as_ref())),
                    "Only an ARRAY or a MAP has elements.",
                ));
            }
        };
        let index = match index.ty() {
            // A BIGINT place is as good as an INT one.
            Some(SqlType::Bigint) if index_type == SqlType::Int => {
                Expr::Cast { operand: Box::new(index), ty: SqlType::Int }
            }
            _ => coerce(index, &index_type)?,
        };
        Ok(Expr::Element { operand: Box::new(at), index: Box::new(index), ty })
    }

    fn unary(&self, op: UnaryOperator, operand: &ast::Expr) -> Result<Expr> {
        let operand = self.bind(operand)?;
        match op {
            UnaryOperator::Not => match operand.ty() {
                Some(SqlType::Boolean) => Ok(Expr::Not(Box::new(operand))),
                other => Err(not_boolean("NOT", &operand, other.as_ref())),
            },
            UnaryOperator::Plus | UnaryOperator::Minus => match operand.ty() {
                Some(ty) if ty.is_numeric() => Ok(match op {
                    UnaryOperator::Minus => Expr::Negate(Box::new(operand)),
                    _ => operand,
                }),
                other => Err(no_number(&operand, other.as_ref(), op.to_string().as_str())),
            },
            other => Err(SqlError::unsupported(format!("the operator {other}"))),
        }
    }

    fn binary(&self, left: &ast::Expr, op: &BinaryOperator, right: &ast::Expr) -> Result<Expr> {
        let (left, right) = (self.bind(left)?, self.bind(right)?);
        let arithmetic = |op| self.arithmetic(op, left.clone(), right.clone());
        let compare = |op| self.compare(op, left.clone(), right.clone());
        match op {
            BinaryOperator::Plus => arithmetic(ArithmeticOp::Add),
            BinaryOperator::Minus => arithmetic(ArithmeticOp::Subtract),
            BinaryOperator::Multiply => arithmetic(ArithmeticOp::Multiply),
            BinaryOperator::Divide => arithmetic(ArithmeticOp::Divide),
            BinaryOperator::Modulo => arithmetic(ArithmeticOp::Modulo),
            BinaryOperator::Eq => compare(CompareOp::Equal),
            BinaryOperator::NotEq => compare(CompareOp::NotEqual),
            BinaryOperator::Lt => compare(CompareOp::Less),
            BinaryOperator::LtEq => compare(CompareOp::LessOrEqual),
            BinaryOperator::Gt => compare(CompareOp::Greater),
            BinaryOperator::GtEq => compare(CompareOp::GreaterOrEqual),
            BinaryOperator::And | BinaryOperator::Or => {
                for side in [&left, &right] {
                    if side.ty() != Some(SqlType::Boolean) {
                        return Err(not_boolean(&op.to_string(), side, side.ty().as_ref()));
                    }
                }
                Ok(Expr::Logical {
                    and: *op == BinaryOperator::And,
                    left: Box::new(left),
                    right: Box::new(right),
                })
            }
            BinaryOperator::StringConcat => self.call_bound("CONCAT", vec![left, right]),
            other => Err(SqlError::unsupported(format!("the operator {other}"))),
        }
    }

    fn arithmetic(&self, op: ArithmeticOp, left: Expr, right: Expr) -> Result<Expr> {
        if op == ArithmeticOp::Add
            && left.ty() == Some(SqlType::String)
            && right.ty() == Some(SqlType::String)
        {
            return Ok(Expr::Arithmetic {
                op,
                left: Box::new(left),
                right: Box::new(right),
                ty: SqlType::String,
            });
        }
        for side in [&left, &right] {
            match side.ty() {
                Some(ty) if ty.is_numeric() => {}
                other => return Err(no_number(side, other.as_ref(), op.symbol())),
            }
        }
        let ty = left
            .ty()
            .zip(right.ty())
            .and_then(|(l, r)| types::arithmetic(op, &l, &r))
            .ok_or_else(|| no_number(&left, left.ty().as_ref(), op.symbol()))?;
        let operand = |side: Expr| match (&ty, side.ty()) {
            // A DECIMAL keeps its precision, an integer gets the one it counts as.
            (SqlType::Decimal { .. }, Some(from)) => {
                let (precision, scale) = types::as_decimal(&from).unwrap_or((1, 0));
                coerce(side, &SqlType::Decimal { precision, scale })
            }
            _ => coerce(side, &ty),
        };
        Ok(Expr::Arithmetic {
            op,
            left: Box::new(operand(left)?),
            right: Box::new(operand(right)?),
            ty,
        })
    }

    fn compare(&self, op: CompareOp, left: Expr, right: Expr) -> Result<Expr> {
        let null_safe = matches!(op, CompareOp::IsDistinctFrom | CompareOp::IsNotDistinctFrom);
        if !null_safe && (left.is_null_literal() || right.is_null_literal()) {
            return Err(error(
                ErrorKind::ComparisonWithNull,
                format!("{left} {} {right} compares with NULL", op.symbol()),
                "Use IS NULL or IS NOT NULL.",
            ));
        }
        let (left, right) = coerce::compared(op, left, right)?;
        Ok(Expr::Compare { op, left: Box::new(left), right: Box::new(right) })
    }

    fn like(
        &self,
        operand: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<char>,
        negated: bool,
    ) -> Result<Expr> {
        let (operand, pattern) = (self.bind(operand)?, self.bind(pattern)?);
        for side in [&operand, &pattern] {
            if side.ty() != Some(SqlType::String) {
                return Err(error(
                    ErrorKind::IncomparableTypes,
                    format!(
                        "LIKE compares STRINGs, but {side} is {}",
                        type_text(side.ty().as_ref())
                    ),
                    "Cast it to STRING.",
                ));
            }
        }
        Ok(Expr::Like { operand: Box::new(operand), pattern: Box::new(pattern), escape, negated })
    }

    fn is_null(&self, operand: &ast::Expr, negated: bool) -> Result<Expr> {
        Ok(Expr::IsNull { operand: Box::new(self.bind(operand)?), negated })
    }

    fn case(&self, conditions: &[CaseWhen], otherwise: Option<&ast::Expr>) -> Result<Expr> {
        let mut whens = Vec::with_capacity(conditions.len());
        let mut results = Vec::with_capacity(conditions.len() + 1);
        for branch in conditions {
            let when = self.bind(&branch.condition)?;
            if when.ty() != Some(SqlType::Boolean) {
                return Err(not_boolean("WHEN", &when, when.ty().as_ref()));
            }
            whens.push(when);
            results.push(self.bind(&branch.result)?);
        }
        if let Some(otherwise) = otherwise {
            results.push(self.bind(otherwise)?);
        }
        let (mut results, ty) = coerce::to_common(results, "CASE")?;
        let otherwise = if otherwise.is_some() { results.pop().map(Box::new) } else { None };
        let branches = whens.into_iter().zip(results).collect();
        Ok(Expr::Case { branches, otherwise, ty })
    }

    fn cast(&self, operand: Expr, ty: SqlType) -> Result<Expr> {
        let Some(from) = operand.ty() else { return value::null_of(&ty) };
        if from == ty {
            return Ok(operand);
        }
        if !cast::supported(&from, &ty) {
            return Err(error(
                ErrorKind::UnsupportedCast,
                format!("there is no cast from {from} to {ty}"),
                "Convert by a function, or by parts.",
            ));
        }
        Ok(Expr::Cast { operand: Box::new(operand), ty })
    }
}

fn not_boolean(place: &str, operand: &Expr, ty: Option<&SqlType>) -> SqlError {
    error(
        ErrorKind::PredicateNotBoolean,
        format!("{place} takes a BOOLEAN, but {operand} is {}", type_text(ty)),
        "Make it a comparison.",
    )
}

fn no_number(operand: &Expr, ty: Option<&SqlType>, op: &str) -> SqlError {
    error(
        ErrorKind::InvalidArithmeticOperand,
        format!("{op} takes numbers, but {operand} is {}", type_text(ty)),
        "Cast it, or take another operator.",
    )
}

fn text_of(value: &AstValue) -> Option<&str> {
    match value {
        AstValue::SingleQuotedString(text) => Some(text),
        _ => None,
    }
}

fn literal(literal: &AstValue) -> Result<Expr> {
    match literal {
        AstValue::Number(text, _) => number(&text.to_string()),
        AstValue::SingleQuotedString(text) => Ok(value::string(text.clone())),
        AstValue::Boolean(b) => Ok(value::boolean(*b)),
        AstValue::Null => Ok(value::untyped_null()),
        other => Err(SqlError::unsupported(format!("the literal {other}"))),
    }
}

/// INT if it fits, else BIGINT; with a point DECIMAL; with an exponent DOUBLE.
fn number(text: &str) -> Result<Expr> {
    let out_of_range = |ty: &str| {
        error(
            ErrorKind::NumberLiteralOutOfRange,
            format!("{text} is out of range for {ty}"),
            "Write a smaller number, or a string and a cast.",
        )
    };
    if text.contains(['e', 'E']) {
        return match text.parse::<f64>() {
            Ok(d) if d.is_finite() => Ok(value::double(d)),
            _ => Err(out_of_range("DOUBLE")),
        };
    }
    if text.contains('.') {
        return value::decimal(text).ok_or_else(|| out_of_range("DECIMAL"));
    }
    if let Ok(int) = text.parse::<i32>() {
        return Ok(value::int(int));
    }
    text.parse::<i64>().map(value::bigint).map_err(|_| out_of_range("BIGINT"))
}

/// `DECIMAL '1.2'`, `DATE '2020-01-01'` and their like.
fn typed_string(ty: &str, text: &AstValue) -> Result<Expr> {
    let Some(text) = text_of(text) else {
        return Err(SqlError::unsupported("a typed literal that is no string"));
    };
    let target = match ty.to_ascii_uppercase().as_str() {
        "DECIMAL" => {
            return value::decimal(text).ok_or_else(|| coerce::not_convertible(text, "DECIMAL"));
        }
        "DATE" => SqlType::Date,
        "TIME" => SqlType::Time,
        "TIMESTAMP" => SqlType::Timestamp,
        other => return Err(SqlError::unsupported(format!("a literal of type {other}"))),
    };
    coerce::literal_text(text, &target)
}

/// The value of a bound expression without columns.
pub(crate) fn constant_array(expr: &Expr) -> Result<arrow::array::ArrayRef> {
    value::evaluate_constant(expr, &EvalContext::default())
}
