//! What expressions are made of: literals, columns, calls, constructors, CASE and CAST, and the `->`
//! and `[…]` behind them. The trees are those of `dialect.rs`; the operators are in `expressions.rs`.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    AccessExpr, Array, CaseWhen, Expr, FunctionArg, FunctionArgExpr, FunctionArgOperator, Ident,
    Subscript, TypedString, Value,
};
use sqlparser::tokenizer::{Token as ParserToken, TokenWithSpan};

use super::cursor::{Cursor, to_ident};
use super::dialect::{call, cast, data_type, positional, to_parser_span, value};
use super::expressions::{grow, read_boxed, read_expr, read_list, read_value};
use super::lambda::read_lambda;
use super::lexer::Kind;
use super::query::unit_ms;
use super::types::{out_of_range, read_type};
use crate::error::{ErrorKind, Result, Span, SqlError};

/// A literal, name, call or constructor, with `->` and `[…]` behind it.
pub(super) fn read_primary(cursor: &mut Cursor<'_>) -> Result<Box<Expr>> {
    let root = read_root(cursor)?;
    if cursor.at_words(&["AT", "TIME", "ZONE"]) {
        let error = SqlError::unsupported("AT TIME ZONE has no implementation; see CONVERT_TZ");
        return Err(error.at(Some(cursor.peek().span)));
    }
    if cursor.at_symbol("[") || at_field(cursor) { read_accesses(cursor, root) } else { Ok(root) }
}

/// Whether `->field` comes next; `->*` belongs to the SELECT list.
fn at_field(cursor: &Cursor<'_>) -> bool {
    cursor.at_symbol("->") && !cursor.peek_nth(1).is_symbol("*")
}

fn read_accesses(cursor: &mut Cursor<'_>, root: Box<Expr>) -> Result<Box<Expr>> {
    let mut height = cursor.height;
    let mut chain = Vec::new();
    loop {
        if at_field(cursor) {
            cursor.next();
            chain.push(AccessExpr::Dot(Expr::Identifier(cursor.ident("a field name")?)));
        } else if cursor.eat_symbol("[") {
            let index = read_value(cursor)?;
            height = height.max(cursor.height);
            cursor.expect_symbol("]")?;
            chain.push(AccessExpr::Subscript(Subscript::Index { index }));
        } else {
            break;
        }
    }
    cursor.height = height;
    grow(cursor, 0)?;
    Ok(Box::new(match *root {
        // From parentheses: `(a->b)->c` is `a->b->c`.
        Expr::CompoundFieldAccess { root, mut access_chain } => {
            access_chain.extend(chain);
            Expr::CompoundFieldAccess { root, access_chain }
        }
        other => Expr::CompoundFieldAccess { root: Box::new(other), access_chain: chain },
    }))
}

fn read_root(cursor: &mut Cursor<'_>) -> Result<Box<Expr>> {
    let token = cursor.peek();
    cursor.height = 1;
    match token.kind {
        Kind::Symbol("(") => {
            cursor.next();
            let inner = read_boxed(cursor)?;
            cursor.expect_symbol(")")?;
            Ok(inner)
        }
        Kind::Symbol("-") | Kind::Integer | Kind::Decimal | Kind::Double => read_number(cursor),
        Kind::Text => Ok(Box::new(read_text(cursor))),
        Kind::Word => read_word(cursor),
        Kind::Quoted | Kind::DigitWord => read_named(cursor),
        _ => Err(cursor.expected("an expression")),
    }
}

/// The word at the cursor, as a literal.
fn read_literal(cursor: &mut Cursor<'_>, literal: Value) -> Box<Expr> {
    let span = cursor.next().span;
    Box::new(Expr::Value(value(literal, span)))
}

fn read_text(cursor: &mut Cursor<'_>) -> Expr {
    let token = cursor.next();
    Expr::Value(value(Value::SingleQuotedString(token.text.clone()), token.span))
}

/// A number, its sign included.
fn read_number(cursor: &mut Cursor<'_>) -> Result<Box<Expr>> {
    let start = cursor.peek().span.start;
    let negative = cursor.eat_symbol("-");
    let token = cursor.next();
    let span = cursor.span_since(start);
    let text = if negative { format!("-{}", token.text) } else { token.text.clone() };
    let in_range = match token.kind {
        Kind::Integer => text.parse::<i64>().is_ok(),
        Kind::Double => text.parse::<f64>().is_ok_and(f64::is_finite),
        // As many digits as the widest Arrow decimal holds.
        _ => text.bytes().filter(u8::is_ascii_digit).count() <= 76,
    };
    if !in_range {
        return Err(out_of_range(&text, span));
    }
    Ok(Box::new(Expr::Value(value(Value::Number(text, false), span))))
}

/// What starts with an unquoted word.
fn read_word(cursor: &mut Cursor<'_>) -> Result<Box<Expr>> {
    let token = cursor.peek();
    let next = cursor.peek_nth(1);
    match token.text.as_str() {
        "TRUE" | "FALSE" => Ok(read_literal(cursor, Value::Boolean(token.text == "TRUE"))),
        "NULL" => Ok(read_literal(cursor, Value::Null)),
        "CASE" => read_case(cursor),
        "CAST" => read_cast(cursor),
        "ARRAY" if next.is_symbol("[") => read_array(cursor),
        "MAP" if next.is_symbol("(") => read_constructor(cursor, read_map_entry),
        "STRUCT" if next.is_symbol("(") => read_constructor(cursor, read_struct_field),
        "DECIMAL" | "DATE" | "TIME" | "TIMESTAMP" if next.kind == Kind::Text => {
            Ok(Box::new(read_typed_text(cursor)))
        }
        "SELECT" => Err(SqlError::new(
            ErrorKind::Syntax,
            "there are no subqueries",
            "Make a stream or table of the inner query first.",
        )
        .at(Some(token.span))),
        _ => read_named(cursor),
    }
}

/// `DATE '2024-01-01'` and its like.
fn read_typed_text(cursor: &mut Cursor<'_>) -> Expr {
    let name = cursor.next();
    let text = cursor.next();
    Expr::TypedString(TypedString {
        data_type: data_type(name.text.clone(), name.span),
        value: value(Value::SingleQuotedString(text.text.clone()), text.span),
        uses_odbc_syntax: false,
    })
}

/// A column, qualified or not, or a call.
fn read_named(cursor: &mut Cursor<'_>) -> Result<Box<Expr>> {
    let name = cursor.ident("an expression")?;
    if cursor.at_symbol("(") {
        return read_call(cursor, name);
    }
    if cursor.at_symbol(".") && !cursor.peek_nth(1).is_symbol("*") {
        cursor.next();
        let column = cursor.ident("a column name")?;
        return Ok(Box::new(Expr::CompoundIdentifier(vec![name, column])));
    }
    Ok(Box::new(Expr::Identifier(name)))
}

fn read_case(cursor: &mut Cursor<'_>) -> Result<Box<Expr>> {
    let case_token = attached(cursor.next().span);
    let mut height = 0;
    let mut operand = None;
    if !cursor.at_word("WHEN") {
        operand = Some(Box::new(read_value(cursor)?));
        height = cursor.height;
    }
    let mut conditions = Vec::new();
    while cursor.eat_word("WHEN") {
        conditions.push(read_when(cursor)?);
        height = height.max(cursor.height);
    }
    if conditions.is_empty() {
        return Err(cursor.expected("WHEN"));
    }
    let mut else_result = None;
    if cursor.eat_word("ELSE") {
        else_result = Some(read_boxed(cursor)?);
        height = height.max(cursor.height);
    }
    let end_token = attached(cursor.peek().span);
    cursor.expect_word("END")?;
    cursor.height = height;
    grow(cursor, 0)?;
    Ok(Box::new(Expr::Case { case_token, end_token, operand, conditions, else_result }))
}

fn read_when(cursor: &mut Cursor<'_>) -> Result<CaseWhen> {
    let condition = read_expr(cursor)?;
    let height = cursor.height;
    cursor.expect_word("THEN")?;
    let result = read_expr(cursor)?;
    cursor.height = cursor.height.max(height);
    Ok(CaseWhen { condition, result })
}

/// The tokens that sqlparser's CASE keeps only for its place.
fn attached(span: Span) -> AttachedToken {
    TokenWithSpan { token: ParserToken::EOF, span: to_parser_span(span) }.into()
}

fn read_cast(cursor: &mut Cursor<'_>) -> Result<Box<Expr>> {
    cursor.next();
    cursor.expect_symbol("(")?;
    let operand = read_boxed(cursor)?;
    grow(cursor, 0)?;
    cursor.expect_word("AS")?;
    let start = cursor.peek().span.start;
    let ty = read_type(cursor)?;
    let span = cursor.span_since(start);
    cursor.expect_symbol(")")?;
    Ok(Box::new(cast(operand, &ty, span)))
}

fn read_array(cursor: &mut Cursor<'_>) -> Result<Box<Expr>> {
    cursor.next();
    cursor.expect_symbol("[")?;
    let elem = if cursor.at_symbol("]") { vec![] } else { read_list(cursor)? };
    cursor.expect_symbol("]")?;
    grow(cursor, 0)?;
    Ok(Box::new(Expr::Array(Array { elem, named: true })))
}

/// `MAP(…)` or `STRUCT(…)`.
fn read_constructor(
    cursor: &mut Cursor<'_>,
    entry: fn(&mut Cursor<'_>) -> Result<FunctionArg>,
) -> Result<Box<Expr>> {
    let name = to_ident(cursor.next());
    cursor.expect_symbol("(")?;
    let args = read_args(cursor, entry)?;
    Ok(Box::new(call(name, args)))
}

/// Arguments up to the closing parenthesis.
fn read_args(
    cursor: &mut Cursor<'_>,
    mut entry: impl FnMut(&mut Cursor<'_>) -> Result<FunctionArg>,
) -> Result<Vec<FunctionArg>> {
    let mut args = vec![];
    let mut height = 0;
    if !cursor.at_symbol(")") {
        args = cursor.list(|cursor| {
            let arg = entry(cursor)?;
            height = height.max(cursor.height);
            Ok(arg)
        })?;
    }
    cursor.expect_symbol(")")?;
    cursor.height = height;
    grow(cursor, 0)?;
    Ok(args)
}

fn read_map_entry(cursor: &mut Cursor<'_>) -> Result<FunctionArg> {
    let name = read_expr(cursor)?;
    let height = cursor.height;
    cursor.expect_symbol(":=")?;
    let arg = FunctionArgExpr::Expr(read_expr(cursor)?);
    cursor.height = cursor.height.max(height);
    Ok(FunctionArg::ExprNamed { name, arg, operator: FunctionArgOperator::Assignment })
}

fn read_struct_field(cursor: &mut Cursor<'_>) -> Result<FunctionArg> {
    let name = cursor.ident("a field name")?;
    cursor.expect_symbol(":=")?;
    let arg = FunctionArgExpr::Expr(read_expr(cursor)?);
    Ok(FunctionArg::Named { name, arg, operator: FunctionArgOperator::Assignment })
}

fn read_call(cursor: &mut Cursor<'_>, name: Ident) -> Result<Box<Expr>> {
    cursor.expect_symbol("(")?;
    if cursor.at_symbol("*") && cursor.peek_nth(1).is_symbol(")") {
        cursor.next();
        cursor.next();
        let star = FunctionArg::Unnamed(FunctionArgExpr::Wildcard);
        return Ok(Box::new(call(name, vec![star])));
    }
    let mut lambda_seen = false;
    let args = read_args(cursor, |cursor| {
        if let Some(lambda) = read_lambda(cursor)? {
            lambda_seen = true;
            return Ok(positional(lambda));
        }
        if lambda_seen {
            return Err(cursor.expected("a lambda: they come after all other arguments"));
        }
        read_arg(cursor).map(positional)
    })?;
    Ok(Box::new(call(name, args)))
}

/// An argument: an expression, or a unit of time, whose words are reserved elsewhere.
fn read_arg(cursor: &mut Cursor<'_>) -> Result<Expr> {
    let token = cursor.peek();
    let next = cursor.peek_nth(1);
    let alone = next.is_symbol(",") || next.is_symbol(")");
    if alone && token.kind == Kind::Word && is_unit(&token.text) {
        cursor.height = 1;
        return Ok(Expr::Identifier(to_ident(cursor.next())));
    }
    read_expr(cursor)
}

/// Years and months are units only here: windows have fixed lengths.
fn is_unit(word: &str) -> bool {
    let long = ["MONTH", "MONTHS", "YEAR", "YEARS"];
    long.contains(&word) || unit_ms(word).is_some()
}
