//! Walking over the tokens of one statement: look-ahead, expectations, names, and how errors read.
//!
//! Invariant: `at` never passes the `End` token, so looking is always possible.

use sqlparser::ast::Ident;

use super::ast::Name;
use super::complete::is_reserved;
use super::dialect::to_parser_span;
use super::lexer::{Kind, Token};
use super::types::TypeResolver;
use crate::error::{ErrorKind, Result, Span, SqlError};

/// How deep expressions and types may nest; keeps the recursion within a 2 MB stack, unoptimised too.
const DEPTH_MAX: usize = 50;

pub(super) struct Cursor<'a> {
    /// The text that all spans refer to.
    pub(super) source: &'a str,
    tokens: &'a [Token],
    at: usize,
    depth: usize,
    /// Height of the expression read last (see `expressions.rs`).
    pub(super) height: usize,
    pub(super) types: &'a dyn TypeResolver,
}

impl<'a> Cursor<'a> {
    /// `tokens` must end with an `End` token.
    pub(super) fn new(source: &'a str, tokens: &'a [Token], types: &'a dyn TypeResolver) -> Self {
        debug_assert!(tokens.last().is_some_and(|t| t.kind == Kind::End));
        Self { source, tokens, at: 0, depth: 0, height: 0, types }
    }

    pub(super) fn peek(&self) -> &'a Token {
        self.peek_nth(0)
    }

    /// The token `n` places ahead; `End` beyond the last one.
    pub(super) fn peek_nth(&self, n: usize) -> &'a Token {
        &self.tokens[(self.at + n).min(self.tokens.len() - 1)]
    }

    pub(super) fn next(&mut self) -> &'a Token {
        let token = self.peek();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    /// Where we are, to come back to by `reset`.
    pub(super) fn mark(&self) -> usize {
        self.at
    }

    pub(super) fn reset(&mut self, mark: usize) {
        self.at = mark;
    }

    /// The place from `start` to the end of the token read last.
    pub(super) fn span_since(&self, start: usize) -> Span {
        let end = match self.at.checked_sub(1) {
            Some(last) => self.tokens[last].span.end,
            None => start,
        };
        Span { start, end: end.max(start) }
    }

    pub(super) fn raw(&self, span: Span) -> &'a str {
        &self.source[span.start..span.end]
    }

    pub(super) fn at_word(&self, word: &str) -> bool {
        self.peek().is_word(word)
    }

    /// Whether these words come next.
    pub(super) fn at_words(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, word)| self.peek_nth(n).is_word(word))
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        self.eat_words(&[word])
    }

    /// Takes all of the words, or none.
    pub(super) fn eat_words(&mut self, words: &[&str]) -> bool {
        let there = self.at_words(words);
        if there {
            self.at += words.len();
        }
        there
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.eat_word(word) { Ok(()) } else { Err(self.expected(word)) }
    }

    pub(super) fn at_symbol(&self, symbol: &str) -> bool {
        self.peek().is_symbol(symbol)
    }

    pub(super) fn eat_symbol(&mut self, symbol: &str) -> bool {
        let there = self.at_symbol(symbol);
        if there {
            self.next();
        }
        there
    }

    pub(super) fn expect_symbol(&mut self, symbol: &str) -> Result<()> {
        if self.eat_symbol(symbol) { Ok(()) } else { Err(self.expected(&format!("\"{symbol}\""))) }
    }

    pub(super) fn at_end(&self) -> bool {
        self.peek().kind == Kind::End
    }

    /// Whether a token is an identifier: quoted, or a word that is not reserved.
    pub(super) fn is_identifier(token: &Token) -> bool {
        match token.kind {
            Kind::Quoted | Kind::DigitWord => true,
            Kind::Word => !is_reserved(&token.text),
            _ => false,
        }
    }

    pub(super) fn at_identifier(&self) -> bool {
        Self::is_identifier(self.peek())
    }

    /// An identifier; `what` says for the error what is named here.
    pub(super) fn name(&mut self, what: &str) -> Result<Name> {
        let token = self.identifier(what)?;
        Ok(Name { text: token.text.clone(), span: Some(token.span) })
    }

    /// An identifier as expressions hold it.
    pub(super) fn ident(&mut self, what: &str) -> Result<Ident> {
        Ok(to_ident(self.identifier(what)?))
    }

    fn identifier(&mut self, what: &str) -> Result<&'a Token> {
        let token = self.peek();
        if Self::is_identifier(token) {
            return Ok(self.next());
        }
        if token.kind == Kind::Word {
            return Err(SqlError::new(
                ErrorKind::Syntax,
                format!("expected {what}, found {}, which is a reserved word", token.text),
                format!("Write `{}` in back quotes if it is meant as a name.", token.text),
            )
            .at(Some(token.span)));
        }
        Err(self.expected(what))
    }

    /// A string literal.
    pub(super) fn text(&mut self, what: &str) -> Result<&'a Token> {
        if self.peek().kind == Kind::Text {
            Ok(self.next())
        } else {
            Err(self.expected(&format!("{what} in single quotes")))
        }
    }

    /// `item, item, …`: at least one.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat_symbol(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// Runs `inner` one level deeper; too deep is an error, not a stack overflow.
    pub(super) fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == DEPTH_MAX {
            return Err(self.too_deep());
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    pub(super) fn too_deep(&self) -> SqlError {
        SqlError::new(
            ErrorKind::Syntax,
            "the expression is nested too deeply",
            "Compute a part of it in an earlier query.",
        )
        .at(Some(self.peek().span))
    }

    /// The error "expected this, found that" at the next token.
    pub(super) fn expected(&self, what: &str) -> SqlError {
        let token = self.peek();
        let found = match token.kind {
            Kind::End => "the end of the statement".to_owned(),
            Kind::Unknown('$') => "a variable that is not defined".to_owned(),
            _ => format!("\"{}\"", shorten(self.raw(token.span))),
        };
        let remedy = match token.kind {
            Kind::End => "Complete the statement.",
            Kind::Unknown('$') => "DEFINE it first, and switch variable substitution on.",
            _ => "Correct the statement at the place marked.",
        };
        SqlError::new(ErrorKind::Syntax, format!("expected {what}, found {found}"), remedy)
            .at(Some(token.span))
    }
}

pub(super) fn to_ident(token: &Token) -> Ident {
    let quote_style = (token.kind == Kind::Quoted).then_some('`');
    Ident { value: token.text.clone(), quote_style, span: to_parser_span(token.span) }
}

/// A text for a message: at most 40 characters.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
