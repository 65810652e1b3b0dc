//! The entries: a text to its statements, one statement, one expression.
//!
//! Every statement ends with a semicolon. Several statements of one text are either parsed together
//! ([`parse_statements`]: a CREATE TYPE is known to those behind it), or split first and parsed one by
//! one ([`split_statements`], [`parse_statement`]), when what one does must be known before the next
//! is read: SET, DEFINE, or a CREATE TYPE IF NOT EXISTS.

use std::collections::HashMap;

use sqlparser::ast::Expr;

use super::ast::{ParsedStatement, Statement};
use super::cursor::Cursor;
use super::expressions::read_expr;
use super::lexer::{Kind, Token, tokenize};
use super::statements::read_statement;
use super::types::{NoTypes, TypeResolver};
use crate::error::{ErrorKind, Result, Span, SqlError};
use crate::types::SqlType;

/// The text of one statement, without its semicolon and the comments around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    pub text: &'a str,
    /// Where it stands in the whole text.
    pub span: Span,
}

/// All statements of a text. Spans are offsets into `text`.
pub fn parse_statements(text: &str, types: &dyn TypeResolver) -> Result<Vec<ParsedStatement>> {
    let tokens = tokenize(text)?;
    let mut own_types: HashMap<String, Option<SqlType>> = HashMap::new();
    let mut parsed = Vec::new();
    for group in groups(text, &tokens)? {
        let known = |name: &str| match own_types.get(name) {
            Some(ty) => ty.clone(),
            None => types.resolve(name),
        };
        let statement = parse_tokens(text, group, &known)?;
        match &statement.statement {
            Statement::CreateType { name, ty, if_not_exists }
                if !*if_not_exists || known(&name.text).is_none() =>
            {
                own_types.insert(name.text.clone(), Some(ty.clone()));
            }
            Statement::DropType { name, .. } => {
                own_types.insert(name.text.clone(), None);
            }
            _ => {}
        }
        parsed.push(statement);
    }
    Ok(parsed)
}

/// Cuts a text at its semicolons, those in strings, quoted names and comments left alone.
pub fn split_statements(text: &str) -> Result<Vec<Piece<'_>>> {
    let tokens = tokenize(text)?;
    let pieces = groups(text, &tokens)?.into_iter().map(|group| {
        let span = extent(group);
        Piece { text: &text[span.start..span.end], span }
    });
    Ok(pieces.collect())
}

/// Whether a text ends with a finished statement: what a shell asks before it sends its lines.
pub fn is_complete(text: &str) -> bool {
    tokenize(text).is_ok_and(|tokens| match tokens.as_slice() {
        [.., last, _end] => last.is_symbol(";"),
        _ => true,
    })
}

/// One statement, with or without a semicolon at its end. Spans are offsets into `text`.
pub fn parse_statement(text: &str, types: &dyn TypeResolver) -> Result<ParsedStatement> {
    let tokens = tokenize(text)?;
    let body = match tokens.as_slice() {
        [body @ .., semicolon, _end] if semicolon.is_symbol(";") => body,
        [body @ .., _end] => body,
        [] => &[],
    };
    parse_tokens(text, body, types)
}

/// One expression. Spans are offsets into `text`.
pub fn parse_expression(text: &str) -> Result<Expr> {
    let tokens = tokenize(text)?;
    let mut cursor = Cursor::new(text, &tokens, &NoTypes);
    let expr = read_expr(&mut cursor)?;
    if cursor.at_end() { Ok(expr) } else { Err(cursor.expected("the end of the expression")) }
}

/// The tokens of each statement, without semicolons and `End`; empty statements left out.
fn groups<'t>(text: &str, tokens: &'t [Token]) -> Result<Vec<&'t [Token]>> {
    let (_end, tokens) = tokens.split_last().expect("the lexer ends with an End token");
    let mut groups: Vec<&[Token]> = tokens.split(|token| token.is_symbol(";")).collect();
    let tail = groups.pop().unwrap_or(&[]);
    if !tail.is_empty() {
        let at = extent(tail).end;
        let text_end = text.len().min(at + 1);
        return Err(SqlError::new(
            ErrorKind::Syntax,
            "the last statement does not end with a semicolon",
            "Put a \";\" behind it.",
        )
        .at(Some(Span { start: at, end: text_end.max(at) })));
    }
    groups.retain(|group| !group.is_empty());
    Ok(groups)
}

/// From the first token to the last one.
fn extent(tokens: &[Token]) -> Span {
    match tokens {
        [] => Span { start: 0, end: 0 },
        [one] => one.span,
        [first, .., last] => Span { start: first.span.start, end: last.span.end },
    }
}

fn parse_tokens(text: &str, body: &[Token], types: &dyn TypeResolver) -> Result<ParsedStatement> {
    let span = extent(body);
    let mut tokens = body.to_vec();
    let end = Span { start: span.end, end: span.end };
    tokens.push(Token { kind: Kind::End, text: String::new(), span: end });
    let mut cursor = Cursor::new(text, &tokens, types);
    let statement = read_statement(&mut cursor)?;
    if !cursor.at_end() {
        return Err(cursor.expected("the end of the statement"));
    }
    Ok(ParsedStatement { statement, text: text[span.start..span.end].to_owned(), span })
}
