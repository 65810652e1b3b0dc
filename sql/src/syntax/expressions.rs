//! Scalar expressions, by precedence climbing; the trees are those of `dialect.rs`.
//!
//! Loosest first: OR, AND, NOT, one predicate (`=`, BETWEEN, IN, LIKE, IS; they do not chain), `||`,
//! `+ -`, `* / %`, sign, then `->` and `[…]`. "Value" below is an expression from `||` on: ksqlDB
//! allows no predicate in GROUP BY, PARTITION BY, VALUES, subscripts and operands of predicates
//! unless it stands in parentheses.
//!
//! Limits: nesting by `Cursor::nested`, and the tree's height by [`HEIGHT_MAX`], since whoever walks
//! the tree recurses. Chains of AND and OR may be long: they are made into balanced trees.

use sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArgOperator,
    Subscript, TypedString, UnaryOperator, Value,
};

use super::cursor::{Cursor, to_ident};
use super::dialect::{call, cast, data_type, positional, to_parser_span, value};
use super::lexer::{Kind, Token};
use super::types::{out_of_range, read_type};
use crate::error::{ErrorKind, Result, Span, SqlError};

/// How many operators may stand above each other in a tree.
const HEIGHT_MAX: usize = 250;

/// The longest AND or OR chain that is kept left-deep, as written.
const CHAIN_LEFT_DEEP: usize = 16;

const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const PREDICATE: u8 = 4;
const CONCAT: u8 = 5;
const ADD: u8 = 6;
const MULTIPLY: u8 = 7;
const SIGN: u8 = 8;

/// Any expression.
pub(super) fn read_expr(cursor: &mut Cursor<'_>) -> Result<Expr> {
    read_level(cursor, OR)
}

/// An expression without an outer predicate, AND, OR or NOT.
pub(super) fn read_value(cursor: &mut Cursor<'_>) -> Result<Expr> {
    read_level(cursor, CONCAT)
}

/// An expression whose operators bind at least as tightly as `min`.
fn read_level(cursor: &mut Cursor<'_>, min: u8) -> Result<Expr> {
    cursor.nested(|cursor| {
        let (mut left, mut level) = read_operand(cursor, min)?;
        loop {
            if level >= CONCAT && min <= PREDICATE && at_predicate(cursor) {
                left = read_predicate(cursor, left)?;
                level = PREDICATE;
            }
            let Some((op, binds)) = infix(cursor.peek()) else { break };
            if binds < min || (binds >= CONCAT && level < CONCAT) {
                break;
            }
            left = match binds {
                OR | AND => read_chain(cursor, left, op, binds)?,
                _ => read_binary(cursor, left, op, binds)?,
            };
            level = binds;
        }
        if level == PREDICATE && at_predicate(cursor) {
            return Err(SqlError::new(
                ErrorKind::Syntax,
                "comparisons do not chain",
                "Put one of them in parentheses, or join them by AND.",
            )
            .at(Some(cursor.peek().span)));
        }
        Ok(left)
    })
}

fn infix(token: &Token) -> Option<(BinaryOperator, u8)> {
    Some(match (token.kind, token.text.as_str()) {
        (Kind::Word, "OR") => (BinaryOperator::Or, OR),
        (Kind::Word, "AND") => (BinaryOperator::And, AND),
        (Kind::Symbol("||"), _) => (BinaryOperator::StringConcat, CONCAT),
        (Kind::Symbol("+"), _) => (BinaryOperator::Plus, ADD),
        (Kind::Symbol("-"), _) => (BinaryOperator::Minus, ADD),
        (Kind::Symbol("*"), _) => (BinaryOperator::Multiply, MULTIPLY),
        (Kind::Symbol("/"), _) => (BinaryOperator::Divide, MULTIPLY),
        (Kind::Symbol("%"), _) => (BinaryOperator::Modulo, MULTIPLY),
        _ => return None,
    })
}

/// What stands before the first infix operator, and the level of what was read.
fn read_operand(cursor: &mut Cursor<'_>, min: u8) -> Result<(Expr, u8)> {
    let token = cursor.peek();
    if token.is_word("NOT") && min <= NOT {
        cursor.next();
        let operand = read_level(cursor, NOT)?;
        grow(cursor, 0)?;
        return Ok((unary(UnaryOperator::Not, operand), NOT));
    }
    let signed = token.is_symbol("-") || token.is_symbol("+");
    let number = matches_number(cursor.peek_nth(1).kind);
    if !signed || (token.is_symbol("-") && number) {
        return Ok((read_primary(cursor)?, SIGN));
    }
    let op = if token.is_symbol("-") { UnaryOperator::Minus } else { UnaryOperator::Plus };
    cursor.next();
    let operand = read_level(cursor, SIGN)?;
    grow(cursor, 0)?;
    Ok((unary(op, operand), SIGN))
}

fn matches_number(kind: Kind) -> bool {
    match kind {
        Kind::Integer | Kind::Decimal | Kind::Double => true,
        _ => false,
    }
}

fn unary(op: UnaryOperator, operand: Expr) -> Expr {
    Expr::UnaryOp { op, expr: Box::new(operand) }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn read_binary(cursor: &mut Cursor<'_>, left: Expr, op: BinaryOperator, level: u8) -> Result<Expr> {
    let left_height = cursor.height;
    cursor.next();
    let right = read_level(cursor, level + 1)?;
    grow(cursor, left_height)?;
    Ok(binary(left, op, right))
}

/// The rest of `left AND … AND …` (or OR).
fn read_chain(cursor: &mut Cursor<'_>, left: Expr, op: BinaryOperator, level: u8) -> Result<Expr> {
    let mut operands = vec![left];
    let mut height = cursor.height;
    let word = if level == OR { "OR" } else { "AND" };
    while cursor.eat_word(word) {
        operands.push(read_level(cursor, level + 1)?);
        height = height.max(cursor.height);
    }
    let levels = if operands.len() <= CHAIN_LEFT_DEEP {
        operands.len()
    } else {
        operands.len().ilog2() as usize + 1
    };
    cursor.height = height + levels - 1;
    grow(cursor, 0)?;
    if operands.len() > CHAIN_LEFT_DEEP {
        return Ok(balanced(operands, &op));
    }
    let joined = operands.into_iter().reduce(|left, right| binary(left, op.clone(), right));
    Ok(joined.expect("the chain has at least its left operand"))
}

/// The operands joined pairwise, in order, until one tree is left.
fn balanced(mut operands: Vec<Expr>, op: &BinaryOperator) -> Expr {
    while operands.len() > 1 {
        let mut next = Vec::with_capacity(operands.len().div_ceil(2));
        let mut items = operands.into_iter();
        while let Some(left) = items.next() {
            next.push(match items.next() {
                Some(right) => binary(left, op.clone(), right),
                None => left,
            });
        }
        operands = next;
    }
    operands.pop().expect("a chain has operands")
}

/// One more operator above the expression read last, whose sibling has height `other`.
fn grow(cursor: &mut Cursor<'_>, other: usize) -> Result<()> {
    cursor.height = cursor.height.max(other) + 1;
    if cursor.height > HEIGHT_MAX { Err(cursor.too_deep()) } else { Ok(()) }
}

fn comparison(token: &Token) -> Option<BinaryOperator> {
    match token.kind {
        Kind::Symbol("=") => Some(BinaryOperator::Eq),
        Kind::Symbol("<>" | "!=") => Some(BinaryOperator::NotEq),
        Kind::Symbol("<") => Some(BinaryOperator::Lt),
        Kind::Symbol("<=") => Some(BinaryOperator::LtEq),
        Kind::Symbol(">") => Some(BinaryOperator::Gt),
        Kind::Symbol(">=") => Some(BinaryOperator::GtEq),
        _ => None,
    }
}

fn at_predicate(cursor: &Cursor<'_>) -> bool {
    let token = cursor.peek();
    let words = ["NOT", "BETWEEN", "IN", "LIKE", "IS"];
    comparison(token).is_some() || words.iter().any(|word| token.is_word(word))
}

fn read_predicate(cursor: &mut Cursor<'_>, left: Expr) -> Result<Expr> {
    if let Some(op) = comparison(cursor.peek()) {
        return read_binary(cursor, left, op, PREDICATE);
    }
    if cursor.eat_word("IS") {
        return read_is(cursor, left);
    }
    let height = cursor.height;
    let negated = cursor.eat_word("NOT");
    let expr = Box::new(left);
    let read = if cursor.eat_word("BETWEEN") {
        let low = Box::new(read_value(cursor)?);
        let height = cursor.height;
        cursor.expect_word("AND")?;
        let high = Box::new(read_value(cursor)?);
        cursor.height = cursor.height.max(height);
        Expr::Between { expr, negated, low, high }
    } else if cursor.eat_word("IN") {
        cursor.expect_symbol("(")?;
        let list = read_list(cursor, read_expr)?;
        cursor.expect_symbol(")")?;
        Expr::InList { expr, list, negated }
    } else if cursor.eat_word("LIKE") {
        let pattern = Box::new(read_value(cursor)?);
        let escape_char = if cursor.eat_word("ESCAPE") { Some(read_escape(cursor)?) } else { None };
        Expr::Like { negated, any: false, expr, pattern, escape_char }
    } else {
        return Err(cursor.expected("BETWEEN, IN or LIKE after NOT"));
    };
    grow(cursor, height)?;
    Ok(read)
}

fn read_is(cursor: &mut Cursor<'_>, left: Expr) -> Result<Expr> {
    let height = cursor.height;
    let negated = cursor.eat_word("NOT");
    let left = Box::new(left);
    let read = if cursor.eat_word("NULL") {
        if negated { Expr::IsNotNull(left) } else { Expr::IsNull(left) }
    } else if cursor.eat_words(&["DISTINCT", "FROM"]) {
        let right = Box::new(read_value(cursor)?);
        if negated {
            Expr::IsNotDistinctFrom(left, right)
        } else {
            Expr::IsDistinctFrom(left, right)
        }
    } else {
        return Err(cursor.expected("[NOT] NULL or [NOT] DISTINCT FROM after IS"));
    };
    grow(cursor, height)?;
    Ok(read)
}

fn read_escape(cursor: &mut Cursor<'_>) -> Result<sqlparser::ast::ValueWithSpan> {
    let token = cursor.text("the escape character")?;
    if token.text.chars().count() != 1 {
        return Err(SqlError::new(
            ErrorKind::Syntax,
            "ESCAPE takes exactly one character",
            "Write one character in single quotes.",
        )
        .at(Some(token.span)));
    }
    Ok(value(Value::SingleQuotedString(token.text.clone()), token.span))
}

/// A comma list of at least one; `height` becomes that of the highest.
fn read_list(
    cursor: &mut Cursor<'_>,
    read: fn(&mut Cursor<'_>) -> Result<Expr>,
) -> Result<Vec<Expr>> {
    let mut height = 0;
    let items = cursor.list(|cursor| {
        let item = read(cursor)?;
        height = height.max(cursor.height);
        Ok(item)
    })?;
    cursor.height = height;
    Ok(items)
}

/// A literal, name, call or constructor, with `->` and `[…]` behind it.
fn read_primary(cursor: &mut Cursor<'_>) -> Result<Expr> {
    let root = read_root(cursor)?;
    if cursor.at_words(&["AT", "TIME", "ZONE"]) {
        let error = SqlError::unsupported("AT TIME ZONE has no implementation; see CONVERT_TZ");
        return Err(error.at(Some(cursor.peek().span)));
    }
    let mut height = cursor.height;
    let mut chain = Vec::new();
    loop {
        if cursor.at_symbol("->") && !cursor.peek_nth(1).is_symbol("*") {
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
    if chain.is_empty() {
        return Ok(root);
    }
    grow(cursor, 0)?;
    Ok(match root {
        // From parentheses: `(a->b)->c` is `a->b->c`.
        Expr::CompoundFieldAccess { root, mut access_chain } => {
            access_chain.extend(chain);
            Expr::CompoundFieldAccess { root, access_chain }
        }
        root => Expr::CompoundFieldAccess { root: Box::new(root), access_chain: chain },
    })
}

fn read_root(cursor: &mut Cursor<'_>) -> Result<Expr> {
    let token = cursor.peek();
    cursor.height = 1;
    match token.kind {
        Kind::Symbol("(") => {
            cursor.next();
            let inner = read_expr(cursor)?;
            cursor.expect_symbol(")")?;
            Ok(inner)
        }
        Kind::Symbol("-") | Kind::Integer | Kind::Decimal | Kind::Double => read_number(cursor),
        Kind::Text => Ok(read_text(cursor)),
        Kind::Word => read_word(cursor),
        Kind::Quoted | Kind::DigitWord => read_named(cursor),
        _ => Err(cursor.expected("an expression")),
    }
}

fn read_text(cursor: &mut Cursor<'_>) -> Expr {
    let token = cursor.next();
    Expr::Value(value(Value::SingleQuotedString(token.text.clone()), token.span))
}

/// A number, its sign included.
fn read_number(cursor: &mut Cursor<'_>) -> Result<Expr> {
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
    Ok(Expr::Value(value(Value::Number(text, false), span)))
}

/// What starts with an unquoted word.
fn read_word(cursor: &mut Cursor<'_>) -> Result<Expr> {
    let token = cursor.peek();
    let next = cursor.peek_nth(1);
    match token.text.as_str() {
        "TRUE" | "FALSE" => {
            cursor.next();
            Ok(Expr::Value(value(Value::Boolean(token.text == "TRUE"), token.span)))
        }
        "NULL" => {
            cursor.next();
            Ok(Expr::Value(value(Value::Null, token.span)))
        }
        "CASE" => read_case(cursor),
        "CAST" => read_cast(cursor),
        "ARRAY" if next.is_symbol("[") => read_array(cursor),
        "MAP" if next.is_symbol("(") => read_constructor(cursor, read_map_entry),
        "STRUCT" if next.is_symbol("(") => read_constructor(cursor, read_struct_field),
        "DECIMAL" | "DATE" | "TIME" | "TIMESTAMP" if next.kind == Kind::Text => {
            Ok(read_typed_text(cursor))
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
fn read_named(cursor: &mut Cursor<'_>) -> Result<Expr> {
    let name = cursor.ident("an expression")?;
    if cursor.at_symbol("(") {
        return read_call(cursor, name);
    }
    if cursor.at_symbol(".") && !cursor.peek_nth(1).is_symbol("*") {
        cursor.next();
        let column = cursor.ident("a column name")?;
        return Ok(Expr::CompoundIdentifier(vec![name, column]));
    }
    Ok(Expr::Identifier(name))
}

fn read_case(cursor: &mut Cursor<'_>) -> Result<Expr> {
    let case_token = attached(cursor.next().span);
    let mut height = 0;
    let mut operand = None;
    if !cursor.at_word("WHEN") {
        operand = Some(Box::new(read_value(cursor)?));
        height = cursor.height;
    }
    let mut conditions = Vec::new();
    while cursor.eat_word("WHEN") {
        let condition = read_expr(cursor)?;
        height = height.max(cursor.height);
        cursor.expect_word("THEN")?;
        let result = read_expr(cursor)?;
        height = height.max(cursor.height);
        conditions.push(sqlparser::ast::CaseWhen { condition, result });
    }
    if conditions.is_empty() {
        return Err(cursor.expected("WHEN"));
    }
    let mut else_result = None;
    if cursor.eat_word("ELSE") {
        else_result = Some(Box::new(read_expr(cursor)?));
        height = height.max(cursor.height);
    }
    let end_token = attached(cursor.peek().span);
    cursor.expect_word("END")?;
    cursor.height = height;
    grow(cursor, 0)?;
    Ok(Expr::Case { case_token, end_token, operand, conditions, else_result })
}

/// The tokens that sqlparser's CASE keeps only for its place.
fn attached(span: Span) -> sqlparser::ast::helpers::attached_token::AttachedToken {
    let token = sqlparser::tokenizer::Token::EOF;
    sqlparser::tokenizer::TokenWithSpan { token, span: to_parser_span(span) }.into()
}

fn read_cast(cursor: &mut Cursor<'_>) -> Result<Expr> {
    cursor.next();
    cursor.expect_symbol("(")?;
    let operand = read_expr(cursor)?;
    grow(cursor, 0)?;
    cursor.expect_word("AS")?;
    let start = cursor.peek().span.start;
    let ty = read_type(cursor)?;
    let span = cursor.span_since(start);
    cursor.expect_symbol(")")?;
    Ok(cast(operand, &ty, span))
}

fn read_array(cursor: &mut Cursor<'_>) -> Result<Expr> {
    cursor.next();
    cursor.expect_symbol("[")?;
    let elem = if cursor.at_symbol("]") { vec![] } else { read_list(cursor, read_expr)? };
    cursor.expect_symbol("]")?;
    grow(cursor, 0)?;
    Ok(Expr::Array(Array { elem, named: true }))
}

/// `MAP(…)` or `STRUCT(…)`.
fn read_constructor(
    cursor: &mut Cursor<'_>,
    entry: fn(&mut Cursor<'_>) -> Result<FunctionArg>,
) -> Result<Expr> {
    let name = to_ident(cursor.next());
    cursor.expect_symbol("(")?;
    let args = read_args(cursor, entry)?;
    Ok(call(name, args))
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

fn read_call(cursor: &mut Cursor<'_>, name: sqlparser::ast::Ident) -> Result<Expr> {
    cursor.expect_symbol("(")?;
    if cursor.at_symbol("*") && cursor.peek_nth(1).is_symbol(")") {
        cursor.next();
        cursor.next();
        return Ok(call(name, vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]));
    }
    let mut lambda_seen = false;
    let args = read_args(cursor, |cursor| {
        if let Some(lambda) = super::lambda::read_lambda(cursor)? {
            lambda_seen = true;
            return Ok(positional(lambda));
        }
        if lambda_seen {
            return Err(cursor.expected("a lambda: they come after all other arguments"));
        }
        read_arg(cursor).map(positional)
    })?;
    Ok(call(name, args))
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
    long.contains(&word) || super::query::unit_ms(word).is_some()
}
