//! Operators of expressions, by precedence climbing; the trees are those of `dialect.rs`.
//!
//! Loosest first: OR, AND, NOT, one predicate (`=`, BETWEEN, IN, LIKE, IS; they do not chain), `||`,
//! `+ -`, `* / %`, sign, then `->` and `[…]`. "Value" below is an expression from `||` on: ksqlDB
//! allows no predicate in GROUP BY, PARTITION BY, VALUES, subscripts and operands of predicates
//! unless it stands in parentheses.
//!
//! Limits: nesting by `Cursor::nested`, and the tree's height by [`HEIGHT_MAX`], since whoever walks
//! the tree recurses. Chains of AND and OR may be long: they are made into balanced trees. Readers
//! return boxes because an `Expr` is 328 bytes, and unoptimised code keeps many copies per frame.

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value, ValueWithSpan};

use super::cursor::Cursor;
use super::dialect::value;
use super::lexer::{Kind, Token, is_number};
use super::primaries::read_primary;
use crate::error::{ErrorKind, Result, SqlError};

/// How many operators may stand above each other in a tree.
const HEIGHT_MAX: usize = 120;

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
    read_level(cursor, OR).map(|expr| *expr)
}

/// An expression without an outer predicate, AND, OR or NOT.
pub(super) fn read_value(cursor: &mut Cursor<'_>) -> Result<Expr> {
    read_level(cursor, CONCAT).map(|expr| *expr)
}

/// The same, boxed.
pub(super) fn read_boxed(cursor: &mut Cursor<'_>) -> Result<Box<Expr>> {
    read_level(cursor, OR)
}

/// An expression whose operators bind at least as tightly as `min`.
fn read_level(cursor: &mut Cursor<'_>, min: u8) -> Result<Box<Expr>> {
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
fn read_operand(cursor: &mut Cursor<'_>, min: u8) -> Result<(Box<Expr>, u8)> {
    let token = cursor.peek();
    if token.is_word("NOT") && min <= NOT {
        cursor.next();
        let operand = read_level(cursor, NOT)?;
        grow(cursor, 0)?;
        return Ok((unary(UnaryOperator::Not, operand), NOT));
    }
    let signed = token.is_symbol("-") || token.is_symbol("+");
    let number = is_number(cursor.peek_nth(1).kind);
    if !signed || (token.is_symbol("-") && number) {
        return Ok((read_primary(cursor)?, SIGN));
    }
    let op = if token.is_symbol("-") { UnaryOperator::Minus } else { UnaryOperator::Plus };
    cursor.next();
    let operand = read_level(cursor, SIGN)?;
    grow(cursor, 0)?;
    Ok((unary(op, operand), SIGN))
}

fn unary(op: UnaryOperator, expr: Box<Expr>) -> Box<Expr> {
    Box::new(Expr::UnaryOp { op, expr })
}

fn binary(left: Box<Expr>, op: BinaryOperator, right: Box<Expr>) -> Box<Expr> {
    Box::new(Expr::BinaryOp { left, op, right })
}

fn read_binary(
    cursor: &mut Cursor<'_>,
    left: Box<Expr>,
    op: BinaryOperator,
    level: u8,
) -> Result<Box<Expr>> {
    let left_height = cursor.height;
    cursor.next();
    let right = read_level(cursor, level + 1)?;
    grow(cursor, left_height)?;
    Ok(binary(left, op, right))
}

/// The rest of `left AND … AND …` (or OR).
fn read_chain(
    cursor: &mut Cursor<'_>,
    left: Box<Expr>,
    op: BinaryOperator,
    level: u8,
) -> Result<Box<Expr>> {
    let mut operands = vec![*left];
    let mut height = cursor.height;
    let word = if level == OR { "OR" } else { "AND" };
    while cursor.eat_word(word) {
        operands.push(*read_level(cursor, level + 1)?);
        height = height.max(cursor.height);
    }
    let left_deep = operands.len() <= CHAIN_LEFT_DEEP;
    let levels = if left_deep { operands.len() - 1 } else { operands.len().ilog2() as usize + 1 };
    cursor.height = height + levels - 1;
    grow(cursor, 0)?;
    Ok(Box::new(if left_deep { left_most_first(operands, &op) } else { balanced(operands, &op) }))
}

fn left_most_first(operands: Vec<Expr>, op: &BinaryOperator) -> Expr {
    let join = |left, right| *binary(Box::new(left), op.clone(), Box::new(right));
    operands.into_iter().reduce(join).expect("a chain has operands")
}

/// The operands joined pairwise, in order, until one tree is left.
fn balanced(mut operands: Vec<Expr>, op: &BinaryOperator) -> Expr {
    while operands.len() > 1 {
        let mut next = Vec::with_capacity(operands.len().div_ceil(2));
        let mut items = operands.into_iter();
        while let Some(left) = items.next() {
            next.push(match items.next() {
                Some(right) => *binary(Box::new(left), op.clone(), Box::new(right)),
                None => left,
            });
        }
        operands = next;
    }
    operands.pop().expect("a chain has operands")
}

/// One more operator above the expression read last, whose sibling has height `other`.
pub(super) fn grow(cursor: &mut Cursor<'_>, other: usize) -> Result<()> {
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

fn read_predicate(cursor: &mut Cursor<'_>, left: Box<Expr>) -> Result<Box<Expr>> {
    if let Some(op) = comparison(cursor.peek()) {
        return read_binary(cursor, left, op, PREDICATE);
    }
    if cursor.eat_word("IS") {
        return read_is(cursor, left);
    }
    let negated = cursor.eat_word("NOT");
    if cursor.eat_word("BETWEEN") {
        read_between(cursor, left, negated)
    } else if cursor.eat_word("IN") {
        let height = cursor.height;
        cursor.expect_symbol("(")?;
        let list = read_list(cursor)?;
        cursor.expect_symbol(")")?;
        grow(cursor, height)?;
        Ok(Box::new(Expr::InList { expr: left, list, negated }))
    } else if cursor.eat_word("LIKE") {
        read_like(cursor, left, negated)
    } else {
        Err(cursor.expected("BETWEEN, IN or LIKE after NOT"))
    }
}

fn read_between(cursor: &mut Cursor<'_>, expr: Box<Expr>, negated: bool) -> Result<Box<Expr>> {
    let height = cursor.height;
    let low = read_level(cursor, CONCAT)?;
    let height = height.max(cursor.height);
    cursor.expect_word("AND")?;
    let high = read_level(cursor, CONCAT)?;
    grow(cursor, height)?;
    Ok(Box::new(Expr::Between { expr, negated, low, high }))
}

fn read_like(cursor: &mut Cursor<'_>, expr: Box<Expr>, negated: bool) -> Result<Box<Expr>> {
    let height = cursor.height;
    let pattern = read_level(cursor, CONCAT)?;
    let escape_char = if cursor.eat_word("ESCAPE") { Some(read_escape(cursor)?) } else { None };
    grow(cursor, height)?;
    Ok(Box::new(Expr::Like { negated, any: false, expr, pattern, escape_char }))
}

fn read_is(cursor: &mut Cursor<'_>, left: Box<Expr>) -> Result<Box<Expr>> {
    let height = cursor.height;
    let negated = cursor.eat_word("NOT");
    let read = if cursor.eat_word("NULL") {
        if negated { Expr::IsNotNull(left) } else { Expr::IsNull(left) }
    } else if cursor.eat_words(&["DISTINCT", "FROM"]) {
        let right = read_level(cursor, CONCAT)?;
        if negated {
            Expr::IsNotDistinctFrom(left, right)
        } else {
            Expr::IsDistinctFrom(left, right)
        }
    } else {
        return Err(cursor.expected("[NOT] NULL or [NOT] DISTINCT FROM after IS"));
    };
    grow(cursor, height)?;
    Ok(Box::new(read))
}

fn read_escape(cursor: &mut Cursor<'_>) -> Result<ValueWithSpan> {
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

/// A comma list of at least one; the height becomes that of the highest.
pub(super) fn read_list(cursor: &mut Cursor<'_>) -> Result<Vec<Expr>> {
    let mut height = 0;
    let items = cursor.list(|cursor| {
        let item = read_expr(cursor)?;
        height = height.max(cursor.height);
        Ok(item)
    })?;
    cursor.height = height;
    Ok(items)
}
