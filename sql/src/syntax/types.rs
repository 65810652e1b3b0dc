//! Type syntax: `MAP<K, V>`, `ARRAY<T>`, `T ARRAY`, `STRUCT<f T, …>`, `DECIMAL(p, s)`, plain names.
//!
//! Names that are no built-in type are custom ones (`CREATE TYPE`); they are expanded at once through
//! a [`TypeResolver`], so that no later stage ever sees an alias.

use std::collections::HashSet;

use super::cursor::Cursor;
use super::lexer::{Kind, tokenize};
use crate::error::{ErrorKind, Result, Span, SqlError};
use crate::types::{SqlType, StructField};

/// As many digits as the widest Arrow decimal holds.
const DECIMAL_PRECISION_MAX: u8 = 76;

/// Who knows the custom types; usually `|name: &str| catalog.custom_type(name).cloned()`.
pub trait TypeResolver {
    /// The type that `name` (normalised) stands for.
    fn resolve(&self, name: &str) -> Option<SqlType>;
}

impl<F: Fn(&str) -> Option<SqlType>> TypeResolver for F {
    fn resolve(&self, name: &str) -> Option<SqlType> {
        self(name)
    }
}

/// Knows no custom type.
pub struct NoTypes;

impl TypeResolver for NoTypes {
    fn resolve(&self, _name: &str) -> Option<SqlType> {
        None
    }
}

/// A type by its text, without custom types. Reads whatever `SqlType`'s `Display` writes.
pub fn parse_type(text: &str) -> Result<SqlType> {
    parse_type_with(text, &NoTypes)
}

/// A type by its text; spans in errors are offsets into it.
pub fn parse_type_with(text: &str, types: &dyn TypeResolver) -> Result<SqlType> {
    let tokens = tokenize(text)?;
    let mut cursor = Cursor::new(text, &tokens, types);
    let ty = read_type(&mut cursor)?;
    if cursor.at_end() { Ok(ty) } else { Err(cursor.expected("the end of the type")) }
}

/// Deeper types are refused; keeps every walk over a type within the stack.
const DEPTH_MAX: usize = 40;
/// Larger types are refused: custom types made of custom types would grow exponentially.
const NODES_MAX: usize = 10_000;

/// A type with its size, so that limits are checked before it grows.
struct Measured {
    ty: SqlType,
    depth: usize,
    nodes: usize,
}

pub(super) fn read_type(cursor: &mut Cursor<'_>) -> Result<SqlType> {
    Ok(read_measured(cursor)?.ty)
}

fn read_measured(cursor: &mut Cursor<'_>) -> Result<Measured> {
    cursor.nested(|cursor| {
        let mut read = read_prefix(cursor)?;
        while cursor.eat_word("ARRAY") {
            read = wrap(cursor, SqlType::array(read.ty), read.depth, read.nodes)?;
        }
        Ok(read)
    })
}

/// `ty` whose parts have this depth and this many nodes altogether, if it is not too large.
fn wrap(cursor: &Cursor<'_>, ty: SqlType, depth: usize, nodes: usize) -> Result<Measured> {
    if depth >= DEPTH_MAX || nodes >= NODES_MAX {
        return Err(SqlError::new(
            ErrorKind::Syntax,
            format!("the type is too large (over {DEPTH_MAX} levels or {NODES_MAX} parts)"),
            "Split it over several columns.",
        )
        .at(Some(cursor.peek().span)));
    }
    Ok(Measured { ty, depth: depth + 1, nodes: nodes + 1 })
}

fn read_prefix(cursor: &mut Cursor<'_>) -> Result<Measured> {
    let generic = cursor.peek_nth(1).is_symbol("<");
    if generic && cursor.eat_word("ARRAY") {
        cursor.expect_symbol("<")?;
        let item = read_measured(cursor)?;
        cursor.expect_symbol(">")?;
        return wrap(cursor, SqlType::array(item.ty), item.depth, item.nodes);
    }
    if generic && cursor.eat_word("MAP") {
        cursor.expect_symbol("<")?;
        let key = read_measured(cursor)?;
        cursor.expect_symbol(",")?;
        let value = read_measured(cursor)?;
        cursor.expect_symbol(">")?;
        let depth = key.depth.max(value.depth);
        return wrap(cursor, SqlType::map(key.ty, value.ty), depth, key.nodes + value.nodes);
    }
    if generic && cursor.eat_word("STRUCT") {
        return read_struct(cursor);
    }
    if cursor.at_word("STRUCT") && cursor.peek_nth(1).is_symbol("<>") {
        cursor.next();
        cursor.next();
        return wrap(cursor, SqlType::Struct(vec![]), 0, 0);
    }
    let ty = if cursor.at_word("DECIMAL") { read_decimal(cursor)? } else { read_named(cursor)? };
    let (depth, nodes) = measure(&ty);
    wrap(cursor, ty, depth - 1, nodes - 1)
}

/// Depth and number of nodes, both at least 1.
fn measure(ty: &SqlType) -> (usize, usize) {
    let add = |(d, n): (usize, usize), (depth, nodes): (usize, usize)| (d.max(depth), n + nodes);
    let (depth, nodes) = match ty {
        SqlType::Array(item) => measure(item),
        SqlType::Map(key, value) => add(measure(key), measure(value)),
        SqlType::Struct(fields) => fields.iter().map(|f| measure(&f.ty)).fold((0, 0), add),
        _ => (0, 0),
    };
    (depth + 1, nodes + 1)
}

fn read_struct(cursor: &mut Cursor<'_>) -> Result<Measured> {
    cursor.expect_symbol("<")?;
    let mut fields: Vec<StructField> = Vec::new();
    let (mut depth, mut nodes) = (0, 0);
    if !cursor.at_symbol(">") {
        let mut names = HashSet::new();
        cursor.list(|cursor| {
            let name = cursor.name("a field name")?;
            if !names.insert(name.text.clone()) {
                return Err(duplicate("field", &name.text, name.span));
            }
            let field = read_measured(cursor)?;
            depth = depth.max(field.depth);
            nodes += field.nodes;
            fields.push(StructField { name: name.text, ty: field.ty });
            Ok(())
        })?;
    }
    cursor.expect_symbol(">")?;
    wrap(cursor, SqlType::Struct(fields), depth, nodes)
}

/// Two columns or fields of the same name in one list.
pub(super) fn duplicate(what: &str, name: &str, span: Option<Span>) -> SqlError {
    SqlError::new(
        ErrorKind::DuplicateName,
        format!("there are two {what}s called \"{name}\""),
        "Rename one of them.",
    )
    .at(span)
}

fn read_decimal(cursor: &mut Cursor<'_>) -> Result<SqlType> {
    let start = cursor.next().span.start;
    cursor.expect_symbol("(")?;
    let precision = read_digits(cursor, "the number of digits")?;
    cursor.expect_symbol(",")?;
    let scale = read_digits(cursor, "the number of digits after the point")?;
    cursor.expect_symbol(")")?;
    let span = Some(cursor.span_since(start));
    if precision == 0 || scale > precision {
        return Err(SqlError::new(
            ErrorKind::Syntax,
            format!("there is no DECIMAL({precision}, {scale})"),
            "Give at least one digit in all, and at most that many after the point.",
        )
        .at(span));
    }
    if precision > u64::from(DECIMAL_PRECISION_MAX) {
        let most = format!("a DECIMAL has at most {DECIMAL_PRECISION_MAX} digits here");
        return Err(SqlError::unsupported(most).at(span));
    }
    // Both fit: scale ≤ precision ≤ 76.
    Ok(SqlType::Decimal { precision: precision as u8, scale: scale as u8 })
}

fn read_digits(cursor: &mut Cursor<'_>, what: &str) -> Result<u64> {
    let token = cursor.peek();
    match token.kind {
        Kind::Integer => {
            cursor.next();
            token.text.parse().map_err(|_| out_of_range(&token.text, token.span))
        }
        _ => Err(cursor.expected(what)),
    }
}

pub(super) fn out_of_range(number: &str, span: Span) -> SqlError {
    SqlError::new(
        ErrorKind::NumberLiteralOutOfRange,
        format!("the number {number} is out of range"),
        "Write a smaller one, or a string and a cast.",
    )
    .at(Some(span))
}

/// `255` or the word `STRING`, as in `VARCHAR(255)`.
fn read_parameter(cursor: &mut Cursor<'_>) -> Result<()> {
    if cursor.eat_word("STRING") {
        return Ok(());
    }
    read_digits(cursor, "a length").map(|_| ())
}

fn read_named(cursor: &mut Cursor<'_>) -> Result<SqlType> {
    let name = cursor.name("a type")?;
    if cursor.eat_symbol("(") {
        // A length says nothing here: ksqlDB accepts and forgets it.
        cursor.list(read_parameter)?;
        cursor.expect_symbol(")")?;
    }
    let built_in = match name.text.as_str() {
        "BOOLEAN" => Some(SqlType::Boolean),
        "INT" | "INTEGER" => Some(SqlType::Int),
        "BIGINT" => Some(SqlType::Bigint),
        "DOUBLE" => Some(SqlType::Double),
        "VARCHAR" | "STRING" => Some(SqlType::String),
        "BYTES" => Some(SqlType::Bytes),
        "DATE" => Some(SqlType::Date),
        "TIME" => Some(SqlType::Time),
        "TIMESTAMP" => Some(SqlType::Timestamp),
        _ => None,
    };
    built_in.or_else(|| cursor.types.resolve(&name.text)).ok_or_else(|| {
        SqlError::new(
            ErrorKind::Syntax,
            format!("no type is called \"{}\"", name.text),
            "Check the spelling, or CREATE TYPE first.",
        )
        .at(name.span)
    })
}
