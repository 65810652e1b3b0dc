//! Text to tokens with byte spans, by ksqlDB's lexical rules (`reference/ksqldb.md` 1.1).
//!
//! Own code instead of sqlparser's tokenizer: errors need byte offsets, identifiers may start with a
//! digit and hold `@`, and none of its foreign literals (`N'…'`, `$1`, `0x…`) may slip in.
//!
//! Invariants: the last token is `End`; spans are in order, do not overlap and lie on character
//! boundaries; no text makes it panic; memory is bounded by [`TEXT_BYTES_MAX`].

use crate::error::{ErrorKind, Result, Span, SqlError};

/// Longer texts are refused: a token costs about 60 bytes. As long as Kafka's default record limit.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An unquoted identifier or keyword; `text` is in upper case.
    Word,
    /// An identifier that starts with a digit; `text` is in upper case.
    DigitWord,
    /// `` `x` `` or `"x"`; `text` is what is between the quotes, doubled quotes made single.
    Quoted,
    /// `'x'`; `text` likewise.
    Text,
    /// Digits only.
    Integer,
    /// Digits with a point.
    Decimal,
    /// Digits with an exponent.
    Double,
    /// Punctuation; the text is in the kind.
    Symbol(&'static str),
    /// A character that no token starts with.
    Unknown(char),
    End,
}

/// Whether a token of this kind is a number.
pub(super) fn is_number(kind: Kind) -> bool {
    match kind {
        Kind::Integer | Kind::Decimal | Kind::Double => true,
        _ => false,
    }
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) span: Span,
}

impl Token {
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }

    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        match self.kind {
            Kind::Symbol(own) => own == symbol,
            _ => false,
        }
    }
}

/// Longest first: the first that fits is taken.
const SYMBOLS: &[&str] = &[
    "->", "=>", ":=", "<>", "!=", "<=", ">=", "||", "(", ")", "[", "]", "<", ">", "=", ",", ";",
    ".", "+", "-", "*", "/", "%",
];

/// All tokens of `text`, with an `End` token behind them.
pub(super) fn tokenize(text: &str) -> Result<Vec<Token>> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(SqlError::new(
            ErrorKind::Syntax,
            format!("the text has {} bytes, more than the {TEXT_BYTES_MAX} allowed", text.len()),
            "Send the statements in several requests.",
        ));
    }
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks()?;
        let start = lexer.at;
        let Some(first) = lexer.rest().chars().next() else {
            let span = Span { start, end: start };
            tokens.push(Token { kind: Kind::End, text: String::new(), span });
            return Ok(tokens);
        };
        let (kind, text) = lexer.token(first)?;
        tokens.push(Token { kind, text, span: Span { start, end: lexer.at } });
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Skips white space and comments.
    fn skip_blanks(&mut self) -> Result<()> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("--") {
                self.at += trimmed.find('\n').map_or(trimmed.len(), |end| end + 1);
            } else if let Some(comment) = trimmed.strip_prefix("/*") {
                let Some(end) = comment.find("*/") else {
                    return Err(self.open_ended(2, "comment", "*/"));
                };
                self.at += end + 4;
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self, first: char) -> Result<(Kind, String)> {
        let rest = self.rest();
        let point_and_digit = first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit());
        match first {
            '\'' => Ok((Kind::Text, self.quoted('\'', "string")?)),
            '`' | '"' => Ok((Kind::Quoted, self.quoted(first, "name")?)),
            _ if first.is_ascii_digit() || point_and_digit => Ok(self.number()),
            _ if first.is_ascii_alphabetic() || first == '_' => {
                let len = word_len(rest);
                self.at += len;
                Ok((Kind::Word, rest[..len].to_ascii_uppercase()))
            }
            _ => Ok((self.symbol(first), String::new())),
        }
    }

    fn symbol(&mut self, first: char) -> Kind {
        match SYMBOLS.iter().find(|symbol| self.rest().starts_with(**symbol)) {
            Some(symbol) => {
                self.at += symbol.len();
                Kind::Symbol(symbol)
            }
            None => {
                self.at += first.len_utf8();
                Kind::Unknown(first)
            }
        }
    }

    /// From an opening quote to its closing one; a doubled quote stands for itself.
    fn quoted(&mut self, quote: char, what: &str) -> Result<String> {
        let body = &self.rest()[1..];
        let mut text = String::new();
        let mut from = 0;
        loop {
            let Some(len) = body[from..].find(quote) else {
                return Err(self.open_ended(1, what, &quote.to_string()));
            };
            text.push_str(&body[from..from + len]);
            from += len + 1;
            if !body[from..].starts_with(quote) {
                self.at += from + 1;
                return Ok(text);
            }
            text.push(quote);
            from += 1;
        }
    }

    /// A number, or an identifier that starts with a digit: whichever is longer.
    fn number(&mut self) -> (Kind, String) {
        let rest = self.rest();
        let (kind, number_len) = measure_number(rest);
        let word_len = word_len(rest);
        let (kind, len) =
            if word_len > number_len { (Kind::DigitWord, word_len) } else { (kind, number_len) };
        self.at += len;
        (kind, rest[..len].to_ascii_uppercase())
    }

    fn open_ended(&self, len: usize, what: &str, end: &str) -> SqlError {
        let span = Span { start: self.at, end: self.at + len };
        SqlError::new(
            ErrorKind::Syntax,
            format!("the {what} that starts here does not end"),
            format!("Close it with {end}."),
        )
        .at(Some(span))
    }
}

fn word_len(text: &str) -> usize {
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '@';
    text.find(|c| !in_word(c)).unwrap_or(text.len())
}

fn digits_len(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())
}

fn measure_number(text: &str) -> (Kind, usize) {
    let mut len = digits_len(text);
    let mut kind = Kind::Integer;
    if text[len..].starts_with('.') {
        len += 1;
        len += digits_len(&text[len..]);
        kind = Kind::Decimal;
    }
    if text[len..].starts_with(['e', 'E']) {
        let sign = usize::from(text[len + 1..].starts_with(['+', '-']));
        let digits = digits_len(&text[len + 1 + sign..]);
        if digits > 0 {
            return (Kind::Double, len + 1 + sign + digits);
        }
    }
    (kind, len)
}
