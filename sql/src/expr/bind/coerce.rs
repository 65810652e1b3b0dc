//! Implicit conversions: between operands of comparisons, to the common type of lists, CASE and
//! constructors, and to the type a place demands.
//!
//! Two strengths. Everywhere, numbers widen and string *literals* become what they are compared with.
//! In lists (IN, ARRAY, MAP, CASE) literals also bend: a string literal that reads as a number joins
//! numbers, any literal joins strings, and constructors bend element by element.

use datafusion_common::ScalarValue;

use super::{constant_array, error, type_text};
use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::eval::{cast, decimal};
use crate::expr::{CompareOp, Expr, types, value};
use crate::types::{SqlType, StructField};

/// The text of a string literal.
fn literal_string(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal { value: ScalarValue::Utf8View(Some(text)), .. } => Some(text),
        _ => None,
    }
}

fn is_time(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Date | SqlType::Time | SqlType::Timestamp)
}

pub(super) fn not_convertible(text: &str, ty: &str) -> SqlError {
    error(
        ErrorKind::LiteralNotConvertible,
        format!("'{text}' cannot become {ty}"),
        &format!("Write a {ty} as text."),
    )
}

/// A string literal as a literal of another type.
pub(super) fn literal_text(text: &str, ty: &SqlType) -> Result<Expr> {
    // A number's text may be any number that is whole where the type is.
    let read = match ty {
        SqlType::Int | SqlType::Bigint => decimal::parse(text)
            .and_then(|(v, s)| decimal::rescale(v, s, 0, decimal::Rounding::Exact))
            .map(|v| v.to_string()),
        SqlType::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "t" | "y" => Some("true".into()),
            "false" | "no" | "f" | "n" => Some("false".into()),
            _ => None,
        },
        _ => Some(text.to_owned()),
    };
    let Some(read) = read else { return Err(not_convertible(text, &ty.to_string())) };
    let cast = Expr::Cast { operand: Box::new(value::string(read)), ty: ty.clone() };
    match constant_array(&cast) {
        Ok(array) => value::literal_of(&array, ty),
        Err(_) => Err(not_convertible(text, &ty.to_string())),
    }
}

fn incompatible(expr: &Expr, ty: &SqlType) -> SqlError {
    error(
        ErrorKind::IncomparableTypes,
        format!("{expr} is {}, where {ty} is needed", type_text(expr.ty().as_ref())),
        "Cast it.",
    )
}

/// The expression as one of type `ty`, by implicit conversions only.
pub(crate) fn coerce(expr: Expr, ty: &SqlType) -> Result<Expr> {
    let Some(from) = expr.ty() else { return value::null_of(ty) };
    if from == *ty {
        return Ok(expr);
    }
    match &expr {
        Expr::Array { items, .. } if let SqlType::Array(item) = ty => {
            let items = each(items.clone(), item)?;
            return Ok(Expr::Array { items, ty: ty.clone() });
        }
        Expr::Map { entries, .. } if let SqlType::Map(key, item) = ty => {
            let (keys, values): (Vec<_>, Vec<_>) = entries.iter().cloned().unzip();
            let entries = each(keys, key)?.into_iter().zip(each(values, item)?).collect();
            return Ok(Expr::Map { entries, ty: ty.clone() });
        }
        Expr::Struct { fields, .. } if let SqlType::Struct(wanted) = ty => {
            let mut out = Vec::with_capacity(wanted.len());
            for want in wanted {
                let given = fields.iter().find(|(name, _)| *name == want.name);
                let item = match given {
                    Some((_, item)) => coerce(item.clone(), &want.ty)?,
                    None => value::null_of(&want.ty)?,
                };
                out.push((want.name.clone(), item));
            }
            return Ok(Expr::Struct { fields: out, ty: ty.clone() });
        }
        Expr::Literal { value: literal, .. } => {
            if literal.is_null() {
                return value::null_of(ty);
            }
            if let Some(text) = literal_string(&expr) {
                return literal_text(text, ty);
            }
            if *ty == SqlType::String {
                return literal_as_string(&expr);
            }
        }
        Expr::Negate(operand) if *ty == SqlType::String && constant_array(operand).is_ok() => {
            return literal_as_string(&expr);
        }
        _ => {}
    }
    if converts(&from, ty) {
        let cast = Expr::Cast { operand: Box::new(expr), ty: ty.clone() };
        return match &cast {
            Expr::Cast { operand, .. } if matches!(**operand, Expr::Literal { .. }) => {
                match constant_array(&cast) {
                    Ok(array) => value::literal_of(&array, ty),
                    Err(_) => Ok(cast),
                }
            }
            _ => Ok(cast),
        };
    }
    Err(incompatible(&expr, ty))
}

fn literal_as_string(expr: &Expr) -> Result<Expr> {
    let cast = Expr::Cast { operand: Box::new(expr.clone()), ty: SqlType::String };
    value::literal_of(&constant_array(&cast)?, &SqlType::String)
}

fn each(items: Vec<Expr>, ty: &SqlType) -> Result<Vec<Expr>> {
    items.into_iter().map(|item| coerce(item, ty)).collect()
}

/// Whether a value of one type is implicitly converted to the other, inside nested types too.
fn converts(from: &SqlType, to: &SqlType) -> bool {
    match (from, to) {
        _ if from == to => true,
        (SqlType::Decimal { precision: p1, scale: s1 }, SqlType::Decimal { precision, scale }) => {
            scale >= s1 && precision - scale >= p1 - s1
        }
        (SqlType::Array(a), SqlType::Array(b)) => converts(a, b),
        (SqlType::Map(k, v), SqlType::Map(l, w)) => converts(k, l) && converts(v, w),
        (SqlType::Struct(a), SqlType::Struct(b)) => a.iter().all(|field| {
            b.iter().find(|f| f.name == field.name).is_some_and(|f| converts(&field.ty, &f.ty))
        }),
        _ => types::widens(from, to),
    }
}

/// Both sides of a comparison in one type.
pub(super) fn compared(op: CompareOp, left: Expr, right: Expr) -> Result<(Expr, Expr)> {
    let (Some(lt), Some(rt)) = (left.ty(), right.ty()) else {
        // Only IS [NOT] DISTINCT FROM comes here with an untyped NULL.
        let ty = left.ty().or_else(|| right.ty()).unwrap_or(SqlType::String);
        return Ok((coerce(left, &ty)?, coerce(right, &ty)?));
    };
    let refused = || {
        error(
            ErrorKind::IncomparableTypes,
            format!("cannot compare {left} ({lt}) with {right} ({rt}) by {}", op.symbol()),
            "Cast one side, or use another operator.",
        )
    };
    if is_time(&lt)
        && let Some(text) = literal_string(&right)
    {
        let right = literal_text(text, &lt)?;
        return Ok((left, right));
    }
    if is_time(&rt)
        && let Some(text) = literal_string(&left)
    {
        let left = literal_text(text, &rt)?;
        return Ok((left, right));
    }
    if matches!(
        (&lt, &rt),
        (SqlType::Date, SqlType::Timestamp) | (SqlType::Timestamp, SqlType::Date)
    ) {
        let whole = |e: Expr, ty: &SqlType| match ty {
            SqlType::Date => Expr::Cast { operand: Box::new(e), ty: SqlType::Timestamp },
            _ => e,
        };
        return Ok((whole(left, &lt), whole(right, &rt)));
    }
    let equality = !matches!(
        op,
        CompareOp::Less | CompareOp::LessOrEqual | CompareOp::Greater | CompareOp::GreaterOrEqual
    );
    let ordered =
        !matches!(lt, SqlType::Boolean | SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_));
    if lt.is_numeric() && rt.is_numeric() {
        let common = types::common_number(&lt, &rt).ok_or_else(refused)?;
        return match common {
            // Decimals compare by value whatever their scales; no conversion can overflow then.
            SqlType::Decimal { .. } => Ok((plain_decimal(left)?, plain_decimal(right)?)),
            common => Ok((coerce(left, &common)?, coerce(right, &common)?)),
        };
    }
    if lt == rt && (equality || ordered) {
        return Ok((left, right));
    }
    if equality && let Ok(ty) = common_type([&left, &right]) {
        let both = coerce(left.clone(), &ty).and_then(|l| Ok((l, coerce(right.clone(), &ty)?)));
        let nested = matches!(lt, SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_));
        if nested {
            return both.map_err(|_| refused());
        }
    }
    Err(refused())
}

fn plain_decimal(expr: Expr) -> Result<Expr> {
    let (precision, scale) = expr.ty().and_then(|t| types::as_decimal(&t)).unwrap_or((1, 0));
    coerce(expr, &SqlType::Decimal { precision, scale })
}

/// `operand [NOT] IN (list)`.
pub(super) fn in_list(operand: Expr, list: Vec<Expr>, negated: bool) -> Result<Expr> {
    if operand.is_null_literal() {
        return Err(error(
            ErrorKind::ComparisonWithNull,
            "NULL IN (…) compares with NULL".into(),
            "Use IS NULL or IS NOT NULL.",
        ));
    }
    let all: Vec<&Expr> = std::iter::once(&operand).chain(&list).collect();
    let ty = common_type(all)?;
    let operand = coerce(operand, &ty)?;
    let list = each(list, &ty)?;
    Ok(Expr::In { operand: Box::new(operand), list, negated })
}

/// `ARRAY[items]`.
pub(super) fn array(items: Vec<Expr>) -> Result<Expr> {
    if items.is_empty() {
        return Err(error(
            ErrorKind::EmptyConstructor,
            "ARRAY[] has no elements, hence no type".into(),
            "Give at least one element.",
        ));
    }
    let (items, ty) = to_common(items, "ARRAY")?;
    Ok(Expr::Array { items, ty: SqlType::array(ty) })
}

/// All expressions in their common type.
pub(super) fn to_common(items: Vec<Expr>, place: &str) -> Result<(Vec<Expr>, SqlType)> {
    if items.iter().all(|i| i.ty().is_none()) {
        return Err(error(
            ErrorKind::UntypedNull,
            format!("{place} holds nothing but NULL, which has no type"),
            "Cast one NULL to the type wanted.",
        ));
    }
    let ty = common_type(&items)?;
    Ok((each(items, &ty)?, ty))
}

/// What is known of an element's type while the common one is sought.
#[derive(Clone, Debug)]
enum Shape {
    Null,
    /// A string literal.
    Text(String),
    /// Another literal: may become a string.
    Literal(SqlType),
    Typed(SqlType),
    Array(Box<Shape>),
    Map(Box<Shape>, Box<Shape>),
    Struct(Vec<(String, Shape)>),
}

fn common_type<'a>(items: impl IntoIterator<Item = &'a Expr>) -> Result<SqlType> {
    let mut merged = Shape::Null;
    let mut fallback = None;
    // String literals last: what they become depends on the others.
    let (texts, others): (Vec<&Expr>, Vec<&Expr>) =
        items.into_iter().partition(|e| literal_string(e).is_some());
    for item in others.into_iter().chain(texts) {
        merged = merge(merged, Shape::of(item), item)?;
        fallback = fallback.or_else(|| item.ty());
    }
    merged.resolve().or(fallback).ok_or_else(|| {
        error(
            ErrorKind::UntypedNull,
            "nothing but NULL where a type has to be inferred".into(),
            "Cast one NULL to the type wanted.",
        )
    })
}

impl Shape {
    fn of(expr: &Expr) -> Shape {
        match expr {
            Expr::Literal { ty: None, .. } => Shape::Null,
            // A NULL that took the type of string literals around it goes on with them.
            Expr::Literal { value, ty: Some(SqlType::String) } if value.is_null() => Shape::Null,
            Expr::Literal { ty: Some(ty), .. } => match literal_string(expr) {
                Some(text) => Shape::Text(text.to_owned()),
                None => Shape::Literal(ty.clone()),
            },
            Expr::Array { items, ty } => match merge_all(items) {
                Some(item) => Shape::Array(Box::new(item)),
                None => Shape::Typed(ty.clone()),
            },
            Expr::Map { entries, ty } => {
                let keys = merge_all(entries.iter().map(|(k, _)| k));
                let values = merge_all(entries.iter().map(|(_, v)| v));
                match keys.zip(values) {
                    Some((k, v)) => Shape::Map(Box::new(k), Box::new(v)),
                    None => Shape::Typed(ty.clone()),
                }
            }
            Expr::Struct { fields, .. } => {
                Shape::Struct(fields.iter().map(|(n, v)| (n.clone(), Shape::of(v))).collect())
            }
            other => match other.ty() {
                Some(ty) => Shape::Typed(ty),
                None => Shape::Null,
            },
        }
    }

    /// The shape of a type, opened one level so that constructors can meet columns.
    fn opened(self) -> Shape {
        match self {
            Shape::Typed(SqlType::Array(item)) => Shape::Array(Box::new(Shape::Typed(*item))),
            Shape::Typed(SqlType::Map(k, v)) => {
                Shape::Map(Box::new(Shape::Typed(*k)), Box::new(Shape::Typed(*v)))
            }
            Shape::Typed(SqlType::Struct(fields)) => {
                Shape::Struct(fields.into_iter().map(|f| (f.name, Shape::Typed(f.ty))).collect())
            }
            other => other,
        }
    }

    fn resolve(&self) -> Option<SqlType> {
        Some(match self {
            Shape::Null => return None,
            Shape::Text(_) => SqlType::String,
            Shape::Literal(ty) | Shape::Typed(ty) => ty.clone(),
            Shape::Array(item) => SqlType::array(item.resolve()?),
            Shape::Map(k, v) => SqlType::map(k.resolve()?, v.resolve()?),
            Shape::Struct(fields) => SqlType::Struct(
                fields
                    .iter()
                    .map(|(name, shape)| {
                        Some(StructField { name: name.clone(), ty: shape.resolve()? })
                    })
                    .collect::<Option<_>>()?,
            ),
        })
    }
}

fn merge_all<'a>(items: impl IntoIterator<Item = &'a Expr>) -> Option<Shape> {
    items.into_iter().try_fold(Shape::Null, |at, item| merge(at, Shape::of(item), item).ok())
}

/// The shape that covers both; `item` is what the second belongs to, for the message.
fn merge(before: Shape, next: Shape, item: &Expr) -> Result<Shape> {
    use Shape::{Array, Literal, Map, Null, Struct, Text, Typed};
    let clash = |before: &Shape| {
        let ty = before.resolve().map_or("NULL".into(), |t| t.to_string());
        error(
            ErrorKind::IncomparableTypes,
            format!("{item} is {}, beside {ty}", type_text(item.ty().as_ref())),
            "Cast one to the other's type.",
        )
    };
    Ok(match (before.opened(), next.opened()) {
        (Null, other) | (other, Null) => other,
        (Text(_), Text(text)) => Text(text),
        (before @ (Literal(_) | Typed(_)), Text(text)) => with_text(before, &text)?,
        (Text(text), next @ (Literal(_) | Typed(_))) => with_text(next, &text)?,
        (Array(a), Array(b)) => Array(Box::new(merge(*a, *b, item)?)),
        (Map(k, v), Map(l, w)) => {
            Map(Box::new(merge(*k, *l, item)?), Box::new(merge(*v, *w, item)?))
        }
        (Struct(a), Struct(b)) => {
            let mut fields = a;
            for (name, shape) in b {
                match fields.iter_mut().find(|(n, _)| *n == name) {
                    Some((_, slot)) => {
                        let old = std::mem::replace(slot, Null);
                        *slot = merge(old, shape, item)?;
                    }
                    None => fields.push((name, shape)),
                }
            }
            Struct(fields)
        }
        (before, next) => {
            let (a, b) = match (&before, &next) {
                (Literal(a) | Typed(a), Literal(b) | Typed(b)) => (a, b),
                _ => return Err(clash(&before)),
            };
            let literals = matches!((&before, &next), (Literal(_), Literal(_)));
            let ty = if a == b {
                a.clone()
            } else if let Some(common) = types::common_number(a, b) {
                common
            } else if *a == SqlType::String && matches!(next, Literal(_)) {
                SqlType::String
            } else if *b == SqlType::String && matches!(before, Literal(_)) {
                SqlType::String
            } else {
                return Err(clash(&before));
            };
            if literals { Literal(ty) } else { Typed(ty) }
        }
    })
}

/// A string literal among others: it must read as their type, and may widen a number.
fn with_text(before: Shape, text: &str) -> Result<Shape> {
    let (Shape::Literal(ty) | Shape::Typed(ty)) = &before else { return Ok(before) };
    if !ty.is_numeric() {
        if *ty != SqlType::String {
            literal_text(text, ty)?;
        }
        return Ok(before);
    }
    let Some(number) = value::decimal(text) else {
        return Err(not_convertible(text, &ty.to_string()));
    };
    // Digits alone are an integer; a point or an exponent makes a DECIMAL.
    let read = match (text.parse::<i32>(), text.parse::<i64>()) {
        (Ok(_), _) => SqlType::Int,
        (_, Ok(_)) => SqlType::Bigint,
        _ => number.ty().unwrap_or(SqlType::Double),
    };
    let common = types::common_number(ty, &read).unwrap_or(SqlType::Double);
    Ok(match before {
        Shape::Literal(_) => Shape::Literal(common),
        _ => Shape::Typed(common),
    })
}

/// The expression as INSERT VALUES stores it in a column of type `ty`.
pub(super) fn for_insert(expr: Expr, ty: &SqlType) -> Result<Expr> {
    let refused = |expr: &Expr| {
        error(
            ErrorKind::LiteralNotConvertible,
            format!("{expr} cannot become {ty}"),
            &format!("Write a {ty}."),
        )
    };
    // Elsewhere any literal joins texts; a STRING column takes nothing but texts.
    if *ty == SqlType::String && expr.ty().is_some_and(|from| from != SqlType::String) {
        return Err(refused(&expr));
    }
    match coerce(expr.clone(), ty) {
        Ok(coerced) => return Ok(coerced),
        Err(e) if literal_string(&expr).is_some() => return Err(e),
        Err(_) => {}
    }
    let Some(from) = expr.ty() else { return value::null_of(ty) };
    // Any constant number that is exactly one of the column's type will do.
    if from.is_numeric() && ty.is_numeric() && cast::supported(&from, ty) {
        let cast = Expr::Cast { operand: Box::new(expr.clone()), ty: ty.clone() };
        let Ok(array) = constant_array(&cast) else { return Err(refused(&expr)) };
        let back =
            Expr::Cast { operand: Box::new(value::literal_of(&array, ty)?), ty: from.clone() };
        let same = constant_array(&back).ok().zip(constant_array(&expr).ok());
        if same.is_some_and(|(a, b)| a == b) {
            return value::literal_of(&array, ty);
        }
    }
    if cast::supported(&from, ty) && !from.is_numeric() && from != SqlType::Boolean {
        return Ok(Expr::Cast { operand: Box::new(expr), ty: ty.clone() });
    }
    Err(refused(&expr))
}
