//! SELECT: its clauses in their fixed order, sources and joins, windows, durations.
//!
//! `SELECT … FROM … [WINDOW] [WHERE] [GROUP BY] [PARTITION BY] [HAVING] [EMIT] [LIMIT]`. A clause out
//! of place is told so, rather than called an unexpected word. Several SELECTs may be joined by UNION
//! ALL; EMIT and LIMIT then stand behind the last and are the whole query's.

use sqlparser::ast::Expr;

use super::ast::{
    Emit, Join, JoinKind, Name, Query, SelectItem, SourceRef, Window, WindowKind, Within,
};
use super::cursor::Cursor;
use super::expressions::{read_expr, read_value};
use super::lexer::Kind;
use super::types::out_of_range;
use crate::error::{ErrorKind, Result, Span, SqlError};

/// The clauses behind FROM, in their order.
const CLAUSES: &[&[&str]] = &[
    &["WINDOW"],
    &["WHERE"],
    &["GROUP", "BY"],
    &["PARTITION", "BY"],
    &["HAVING"],
    &["EMIT"],
    &["LIMIT"],
];

/// What other dialects have there, worth an answer of its own.
const FOREIGN: &[&[&str]] = &[
    &["ORDER", "BY"],
    &["UNION", "SELECT"],
    &["UNION", "ALL"],
    &["INTERSECT", "SELECT"],
    &["EXCEPT", "SELECT"],
    &["FETCH", "FIRST"],
    &["CROSS", "JOIN"],
    &["NATURAL", "JOIN"],
];

pub(super) fn read_query(cursor: &mut Cursor<'_>) -> Result<Query> {
    let mut query = read_select(cursor)?;
    while cursor.at_words(&["UNION", "ALL"]) {
        if query.emit.is_some() || query.limit.is_some() {
            let message = "EMIT and LIMIT are of the whole query";
            let error = SqlError::new(ErrorKind::Syntax, message, "Put them behind the last SELECT.");
            return Err(error.at(Some(cursor.peek().span)));
        }
        cursor.eat_words(&["UNION", "ALL"]);
        let mut next = read_select(cursor)?;
        (query.emit, query.limit) = (next.emit.take(), next.limit.take());
        query.unions.push(next);
    }
    Ok(query)
}

fn read_select(cursor: &mut Cursor<'_>) -> Result<Query> {
    cursor.expect_word("SELECT")?;
    if cursor.at_word("DISTINCT") {
        let error = SqlError::new(
            ErrorKind::Syntax,
            "there is no SELECT DISTINCT",
            "GROUP BY the columns into a table.",
        );
        return Err(error.at(Some(cursor.peek().span)));
    }
    let items = cursor.list(read_item)?;
    cursor.expect_word("FROM")?;
    let from = read_source(cursor)?;
    let joins = read_joins(cursor)?;
    let mut query = Query {
        items,
        from,
        joins,
        window: None,
        filter: None,
        group_by: vec![],
        partition_by: vec![],
        having: None,
        emit: None,
        limit: None,
        unions: vec![],
    };
    let mut last = None;
    while let Some(clause) = CLAUSES.iter().position(|words| cursor.at_words(words)) {
        check_order(cursor, last, clause)?;
        last = Some(clause);
        for _ in CLAUSES[clause] {
            cursor.next();
        }
        read_clause(cursor, clause, &mut query)?;
    }
    refuse_foreign(cursor)?;
    Ok(query)
}

fn at_foreign(cursor: &Cursor<'_>) -> Option<&'static [&'static str]> {
    FOREIGN.iter().copied().find(|words| cursor.at_words(words))
}

fn refuse_foreign(cursor: &Cursor<'_>) -> Result<()> {
    let Some(words) = at_foreign(cursor).filter(|w| **w != ["UNION", "ALL"]) else { return Ok(()) };
    let message = format!("there is no {}", words.join(" "));
    Err(SqlError::new(ErrorKind::Syntax, message, "Leave it out.").at(Some(cursor.peek().span)))
}

fn check_order(cursor: &Cursor<'_>, last: Option<usize>, clause: usize) -> Result<()> {
    let Some(last) = last.filter(|last| *last >= clause) else { return Ok(()) };
    let (this, before) = (CLAUSES[clause].join(" "), CLAUSES[last].join(" "));
    let (message, remedy) = if last == clause {
        (format!("there are two {this} clauses"), "Make one of them.".to_owned())
    } else {
        (format!("{this} must come before {before}"), format!("Move {this} up."))
    };
    Err(SqlError::new(ErrorKind::Syntax, message, remedy).at(Some(cursor.peek().span)))
}

/// What stands behind the words of the clause.
fn read_clause(cursor: &mut Cursor<'_>, clause: usize, query: &mut Query) -> Result<()> {
    match CLAUSES[clause][0] {
        "WINDOW" => query.window = Some(read_window(cursor)?),
        "WHERE" => query.filter = Some(read_expr(cursor)?),
        "GROUP" => query.group_by = read_grouping(cursor, "GROUP BY")?,
        "PARTITION" => query.partition_by = read_grouping(cursor, "PARTITION BY")?,
        "HAVING" => query.having = Some(read_expr(cursor)?),
        "EMIT" => query.emit = Some(read_emit(cursor)?),
        _ => query.limit = Some(read_limit(cursor)?),
    }
    Ok(())
}

fn read_item(cursor: &mut Cursor<'_>) -> Result<SelectItem> {
    let start = cursor.peek().span.start;
    if cursor.eat_symbol("*") {
        return Ok(SelectItem::Star(Some(cursor.span_since(start))));
    }
    if cursor.peek_nth(1).is_symbol(".") && cursor.peek_nth(2).is_symbol("*") {
        let source = cursor.name("a source")?;
        cursor.expect_symbol(".")?;
        cursor.expect_symbol("*")?;
        return Ok(SelectItem::QualifiedStar(source));
    }
    let expr = read_expr(cursor)?;
    if cursor.at_symbol("->") {
        return read_struct_star(cursor, expr);
    }
    let alias = read_alias(cursor)?;
    Ok(SelectItem::Expr { expr, alias })
}

/// `->*` behind the expression of a struct.
fn read_struct_star(cursor: &mut Cursor<'_>, base: Expr) -> Result<SelectItem> {
    match base {
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::CompoundFieldAccess { .. }
        | Expr::Function(_)
        | Expr::Case { .. }
        | Expr::Cast { .. } => {}
        _ => return Err(cursor.expected("FROM or \",\" after this expression")),
    }
    cursor.expect_symbol("->")?;
    cursor.expect_symbol("*")?;
    Ok(SelectItem::StructStar(base))
}

/// `[AS] name`.
fn read_alias(cursor: &mut Cursor<'_>) -> Result<Option<Name>> {
    if cursor.eat_word("AS") || cursor.at_identifier() {
        return cursor.name("an alias").map(Some);
    }
    Ok(None)
}

/// Words that are not reserved, but behind a source begin something else than an alias.
fn at_clause(cursor: &Cursor<'_>) -> bool {
    cursor.at_word("EMIT")
        || cursor.at_words(&["PARTITION", "BY"])
        || cursor.at_words(&["GRACE", "PERIOD"])
        || at_foreign(cursor).is_some()
}

fn read_source(cursor: &mut Cursor<'_>) -> Result<SourceRef> {
    if cursor.at_symbol("(") {
        return Err(SqlError::new(
            ErrorKind::Syntax,
            "there are no subqueries",
            "Make a stream or table of the inner query first.",
        )
        .at(Some(cursor.peek().span)));
    }
    let name = cursor.name("a stream or table")?;
    if cursor.at_symbol("(") {
        return Err(SqlError::new(
            ErrorKind::Syntax,
            "functions cannot stand in FROM",
            "Name a stream or table; table functions go into the SELECT list.",
        )
        .at(name.span));
    }
    let alias = if at_clause(cursor) { None } else { read_alias(cursor)? };
    let alias = alias.unwrap_or_else(|| name.clone());
    Ok(SourceRef { name, alias })
}

fn read_joins(cursor: &mut Cursor<'_>) -> Result<Vec<Join>> {
    let mut joins = Vec::new();
    loop {
        let start = cursor.peek().span.start;
        let Some(kind) = read_join_kind(cursor)? else { break };
        let source = read_source(cursor)?;
        let within = if cursor.eat_word("WITHIN") { Some(read_within(cursor)?) } else { None };
        if cursor.at_words(&["GRACE", "PERIOD"]) {
            return Err(cursor.expected("WITHIN before GRACE PERIOD"));
        }
        cursor.expect_word("ON")?;
        let on = read_expr(cursor)?;
        joins.push(Join { kind, source, within, on, span: Some(cursor.span_since(start)) });
    }
    refuse_foreign(cursor)?;
    if cursor.at_symbol(",") {
        return Err(SqlError::new(
            ErrorKind::Syntax,
            "sources are not joined by a comma",
            "Write JOIN … ON.",
        )
        .at(Some(cursor.peek().span)));
    }
    Ok(joins)
}

fn read_join_kind(cursor: &mut Cursor<'_>) -> Result<Option<JoinKind>> {
    let kind = if cursor.eat_word("LEFT") {
        JoinKind::Left
    } else if cursor.eat_word("RIGHT") {
        JoinKind::Right
    } else if cursor.eat_word("FULL") {
        JoinKind::Full
    } else if cursor.eat_word("INNER") {
        cursor.expect_word("JOIN")?;
        return Ok(Some(JoinKind::Inner));
    } else {
        return Ok(cursor.eat_word("JOIN").then_some(JoinKind::Inner));
    };
    cursor.eat_word("OUTER");
    cursor.expect_word("JOIN")?;
    Ok(Some(kind))
}

/// Behind WITHIN.
fn read_within(cursor: &mut Cursor<'_>) -> Result<Within> {
    let (before_ms, after_ms) = if cursor.eat_symbol("(") {
        let before = read_duration(cursor)?;
        cursor.expect_symbol(",")?;
        let after = read_duration(cursor)?;
        cursor.expect_symbol(")")?;
        (before, after)
    } else {
        let both = read_duration(cursor)?;
        (both, both)
    };
    let grace_ms =
        if cursor.eat_words(&["GRACE", "PERIOD"]) { Some(read_duration(cursor)?) } else { None };
    Ok(Within { before_ms, after_ms, grace_ms })
}

/// Behind WINDOW.
fn read_window(cursor: &mut Cursor<'_>) -> Result<Window> {
    let is_kind = |n: usize| {
        let token = cursor.peek_nth(n);
        ["TUMBLING", "HOPPING", "SESSION"].iter().any(|word| token.is_word(word))
    };
    let named = cursor.at_identifier() && is_kind(1) && cursor.peek_nth(2).is_symbol("(");
    if named {
        cursor.next();
    }
    let kind = if cursor.eat_word("TUMBLING") {
        cursor.expect_symbol("(")?;
        cursor.expect_word("SIZE")?;
        WindowKind::Tumbling { size_ms: read_positive(cursor, "SIZE")? }
    } else if cursor.eat_word("HOPPING") {
        read_hopping(cursor)?
    } else if cursor.eat_word("SESSION") {
        cursor.expect_symbol("(")?;
        WindowKind::Session { gap_ms: read_positive(cursor, "the gap")? }
    } else {
        return Err(cursor.expected("TUMBLING, HOPPING or SESSION"));
    };
    let retention_ms = read_window_option(cursor, &["RETENTION"])?;
    let grace_ms = read_window_option(cursor, &["GRACE", "PERIOD"])?;
    if cursor.at_symbol(",") && cursor.peek_nth(1).is_word("RETENTION") {
        return Err(cursor.expected("RETENTION before GRACE PERIOD"));
    }
    cursor.expect_symbol(")")?;
    Ok(Window { kind, retention_ms, grace_ms })
}

fn read_hopping(cursor: &mut Cursor<'_>) -> Result<WindowKind> {
    cursor.expect_symbol("(")?;
    cursor.expect_word("SIZE")?;
    let size_ms = read_positive(cursor, "SIZE")?;
    cursor.expect_symbol(",")?;
    cursor.expect_word("ADVANCE")?;
    cursor.expect_word("BY")?;
    let start = cursor.peek().span.start;
    let advance_ms = read_positive(cursor, "ADVANCE BY")?;
    if advance_ms > size_ms {
        return Err(SqlError::new(
            ErrorKind::Syntax,
            "a hopping window advances by more than its size",
            "Make ADVANCE BY at most SIZE, so that no time falls between two windows.",
        )
        .at(Some(cursor.span_since(start))));
    }
    Ok(WindowKind::Hopping { size_ms, advance_ms })
}

/// `, RETENTION n unit` or `, GRACE PERIOD n unit`.
fn read_window_option(cursor: &mut Cursor<'_>, words: &[&str]) -> Result<Option<i64>> {
    let there = cursor.at_symbol(",")
        && words.iter().enumerate().all(|(n, word)| cursor.peek_nth(n + 1).is_word(word));
    if !there {
        return Ok(None);
    }
    cursor.next();
    cursor.eat_words(words);
    read_duration(cursor).map(Some)
}

fn read_positive(cursor: &mut Cursor<'_>, what: &str) -> Result<i64> {
    let start = cursor.peek().span.start;
    let ms = read_duration(cursor)?;
    if ms > 0 {
        return Ok(ms);
    }
    let message = format!("{what} of a window must be more than 0");
    let error = SqlError::new(ErrorKind::Syntax, message, "Write a positive duration.");
    Err(error.at(Some(cursor.span_since(start))))
}

/// `n unit` in milliseconds, not negative.
pub(super) fn read_duration(cursor: &mut Cursor<'_>) -> Result<i64> {
    let token = cursor.peek();
    if token.kind != Kind::Integer {
        return Err(cursor.expected("a duration, such as 10 SECONDS"));
    }
    cursor.next();
    let unit = cursor.peek();
    let unit_ms = match unit.kind {
        Kind::Word => unit_ms(&unit.text),
        _ => None,
    };
    let Some(unit_ms) = unit_ms else {
        return Err(cursor.expected("a unit: MILLISECONDS, SECONDS, MINUTES, HOURS or DAYS"));
    };
    cursor.next();
    let number = token.text.parse::<i64>().ok();
    number.and_then(|n| n.checked_mul(unit_ms)).ok_or_else(|| out_of_range(&token.text, token.span))
}

/// Milliseconds of a unit of time, singular or plural, in upper case.
pub(super) fn unit_ms(word: &str) -> Option<i64> {
    Some(match word {
        "MILLISECOND" | "MILLISECONDS" => 1,
        "SECOND" | "SECONDS" => 1_000,
        "MINUTE" | "MINUTES" => 60_000,
        "HOUR" | "HOURS" => 3_600_000,
        "DAY" | "DAYS" => 86_400_000,
        _ => return None,
    })
}

/// `a, b` or `(a, b)` behind GROUP BY or PARTITION BY.
fn read_grouping(cursor: &mut Cursor<'_>, clause: &str) -> Result<Vec<Expr>> {
    let start = cursor.peek().span.start;
    if cursor.at_symbol("(") && cursor.peek_nth(1).is_symbol(")") {
        let span = Span { start, end: cursor.peek_nth(1).span.end };
        return Err(SqlError::new(
            ErrorKind::InvalidGroupingList,
            format!("{clause} lists nothing"),
            "List at least one expression, or leave the clause out.",
        )
        .at(Some(span)));
    }
    // `(a, b)` is a list, `(a) + b` and `(a + b) * c, d` start an expression.
    let mark = cursor.mark();
    if cursor.eat_symbol("(")
        && let Ok(items) = cursor.list(read_value)
        && cursor.eat_symbol(")")
        && ends_grouping(cursor)
    {
        return Ok(items);
    }
    cursor.reset(mark);
    cursor.list(read_value)
}

fn ends_grouping(cursor: &Cursor<'_>) -> bool {
    cursor.at_end() || CLAUSES.iter().chain(FOREIGN).any(|words| cursor.at_words(words))
}

fn read_emit(cursor: &mut Cursor<'_>) -> Result<Emit> {
    if cursor.eat_word("CHANGES") {
        Ok(Emit::Changes)
    } else if cursor.eat_word("FINAL") {
        Ok(Emit::Final)
    } else {
        Err(cursor.expected("CHANGES or FINAL"))
    }
}

/// Behind LIMIT.
pub(super) fn read_limit(cursor: &mut Cursor<'_>) -> Result<u64> {
    let start = cursor.peek().span.start;
    let negative = cursor.eat_symbol("-");
    let token = cursor.peek();
    let number = match token.kind {
        Kind::Integer | Kind::Decimal | Kind::Double => cursor.next(),
        _ => return Err(cursor.expected("a number")),
    };
    let limit = number.text.parse::<u64>().ok();
    limit.filter(|n| !negative && i64::try_from(*n).is_ok()).ok_or_else(|| {
        let span = cursor.span_since(start);
        SqlError::new(
            ErrorKind::InvalidLimit,
            format!("LIMIT {} is no whole number from 0 up", cursor.raw(span)),
            "Write how many rows are wanted.",
        )
        .at(Some(span))
    })
}
