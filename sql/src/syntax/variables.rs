//! `${name}` in a text is replaced by the variable's value before the text is parsed.
//!
//! Where it may stand, and what the value may be there:
//! - in place of a whole token: the value must itself be exactly one token that is a name, a number
//!   (with a sign or not) or a quoted string, so it can neither end a statement nor add a clause;
//! - inside `'…'`: any value, its single quotes doubled, so it cannot end the string;
//! - inside `` `…` `` or `"…"`: a value without that quote.
//!
//! Elsewhere (comments) nothing is replaced. Names ignore case. A name that is not defined is left as
//! it is: in a string it is text, elsewhere the parser will say so. `$${name}` in quotes is the text
//! `${name}`. Values are not looked into for further variables.

use std::collections::BTreeMap;

use super::lexer::{Kind, TEXT_BYTES_MAX, Token, is_number, tokenize};
use crate::error::{ErrorKind, Result, Span, SqlError};

/// The variables of a session. Names keep the case they were first defined in, and ignore it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// By upper-case name: the name as written, the value.
    by_name: BTreeMap<String, (String, String)>,
}

impl Variables {
    pub fn define(&mut self, name: &str, value: &str) {
        let key = name.to_ascii_uppercase();
        let entry = self.by_name.entry(key).or_insert_with(|| (name.to_owned(), String::new()));
        value.clone_into(&mut entry.1);
    }

    /// Whether it was defined.
    pub fn undefine(&mut self, name: &str) -> bool {
        self.by_name.remove(&name.to_ascii_uppercase()).is_some()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.by_name.get(&name.to_ascii_uppercase()).map(|(_, value)| value.as_str())
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_name.values().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The text with values in place of variables. Spans of errors are offsets into `text`.
    pub fn substitute(&self, text: &str) -> Result<String> {
        if self.by_name.is_empty() || !text.contains("${") {
            return Ok(text.to_owned());
        }
        let mut out = Output { text: String::with_capacity(text.len()), copied: 0, source: text };
        let tokens = tokenize(text)?;
        for (n, token) in tokens.iter().enumerate() {
            match token.kind {
                Kind::Unknown('$') => {
                    if let Some((name, span)) = reference(text, &tokens[n..])
                        && let Some(value) = self.get(name)
                    {
                        check_token(name, value, span)?;
                        out.replace(span, value)?;
                    }
                }
                Kind::Text => self.substitute_quoted(token.span, '\'', &mut out)?,
                Kind::Quoted => {
                    let quote = if text[token.span.start..].starts_with('`') { '`' } else { '"' };
                    self.substitute_quoted(token.span, quote, &mut out)?;
                }
                _ => {}
            }
        }
        out.finish()
    }

    /// Replaces what stands between the quotes at `token`.
    fn substitute_quoted(&self, token: Span, quote: char, out: &mut Output<'_>) -> Result<()> {
        let mut at = token.start;
        while let Some(found) = out.source[at..token.end].find("${") {
            let start = at + found;
            at = start + 2;
            let Some(len) = out.source[at..token.end].find('}') else { break };
            let Some(value) = self.get(&out.source[at..at + len]) else { continue };
            let span = Span { start, end: at + len + 1 };
            if out.source[token.start..start].ends_with('$') {
                out.replace(Span { start: start - 1, end: start }, "")?;
            } else if quote == '\'' {
                out.replace(span, &value.replace('\'', "''"))?;
            } else if value.contains(quote) {
                let name = &out.source[start + 2..span.end - 1];
                return Err(unsafe_value(name, "a name in quotes", span));
            } else {
                out.replace(span, value)?;
            }
            at = span.end;
        }
        Ok(())
    }
}

/// The text being written, and up to where the source has been copied to it.
struct Output<'a> {
    source: &'a str,
    text: String,
    copied: usize,
}

impl Output<'_> {
    fn replace(&mut self, span: Span, value: &str) -> Result<()> {
        self.text.push_str(&self.source[self.copied..span.start]);
        self.text.push_str(value);
        self.copied = span.end;
        if self.text.len() <= TEXT_BYTES_MAX {
            return Ok(());
        }
        Err(SqlError::new(
            ErrorKind::Syntax,
            format!("with its variables replaced, the text has more than {TEXT_BYTES_MAX} bytes"),
            "Use shorter values, or several requests.",
        )
        .at(Some(span)))
    }

    fn finish(mut self) -> Result<String> {
        self.text.push_str(&self.source[self.copied..]);
        Ok(self.text)
    }
}

/// The variable's name in `${name}`, if that is what the tokens from a `$` on are.
fn reference<'t>(text: &'t str, tokens: &[Token]) -> Option<(&'t str, Span)> {
    let [dollar, open, name, close, ..] = tokens else { return None };
    let shape = open.kind == Kind::Unknown('{')
        && name.kind == Kind::Word
        && close.kind == Kind::Unknown('}')
        && open.span.start == dollar.span.end;
    let span = Span { start: dollar.span.start, end: close.span.end };
    shape.then(|| (&text[name.span.start..name.span.end], span))
}

/// A value that stands for a token must be one.
fn check_token(name: &str, value: &str, span: Span) -> Result<()> {
    let tokens = tokenize(value).unwrap_or_default();
    let one = match tokens.as_slice() {
        [token, _end] => token.span.end == value.len() && is_plain(token.kind),
        [sign, number, _end] => {
            (sign.is_symbol("-") || sign.is_symbol("+"))
                && number.span.end == value.len()
                && is_number(number.kind)
        }
        _ => false,
    };
    // White space and comments before the token are no part of it either.
    let starts = tokens.first().is_some_and(|token| token.span.start == 0);
    if one && starts { Ok(()) } else { Err(unsafe_value(name, "a name or a literal", span)) }
}

fn is_plain(kind: Kind) -> bool {
    match kind {
        Kind::Word | Kind::DigitWord | Kind::Quoted | Kind::Text => true,
        _ => is_number(kind),
    }
}

fn unsafe_value(name: &str, place: &str, span: Span) -> SqlError {
    SqlError::new(
        ErrorKind::Syntax,
        format!("the value of the variable {name} cannot stand for {place}"),
        "DEFINE it as one name, number or (with quotes in the value: '''…''') string.",
    )
    .at(Some(span))
}
