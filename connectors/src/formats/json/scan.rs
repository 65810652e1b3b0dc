//! Walks over JSON text without building a tree.
//!
//! [`Cursor::value`] steps over one value, checks its grammar and says what it is and where; the
//! decoder then reads only the values it wants. Bytes of strings are not checked for UTF-8 here but
//! where they are used. Strict like Jackson by default: no comments, no single quotes, no NaN, no
//! control characters in strings. Nesting deeper than [`NESTING_MAX`] is refused.

/// How deep arrays and objects may be nested.
pub(super) const NESTING_MAX: u32 = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    True,
    False,
    /// Digits with an optional minus.
    Integer,
    /// With a point or an exponent.
    Decimal,
    /// The token's bytes are those between the quotes.
    Text { escaped: bool },
    Object,
    Array,
}

/// A value's kind and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

impl Token {
    pub(super) fn bytes<'a>(&self, json: &'a [u8]) -> &'a [u8] {
        &json[self.start..self.end]
    }
}

/// What is wrong, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub expected: &'static str,
    pub at: usize,
}

type Result<T> = std::result::Result<T, SyntaxError>;

#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub json: &'a [u8],
    pub at: usize,
    depth: u32,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(json: &'a [u8], at: usize) -> Self {
        Self { json, at, depth: 0 }
    }

    fn fail<T>(&self, expected: &'static str) -> Result<T> {
        Err(SyntaxError { expected, at: self.at })
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    #[inline]
    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Steps over `byte` after white space, if it is next.
    #[inline]
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<()> {
        if self.eat(byte) { Ok(()) } else { self.fail(expected) }
    }

    /// Steps over the next value.
    pub(super) fn value(&mut self) -> Result<Token> {
        self.skip_space();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') => return self.string(),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'{') => {
                self.nested(Cursor::object)?;
                Kind::Object
            }
            Some(b'[') => {
                self.nested(Cursor::array)?;
                Kind::Array
            }
            Some(b't') => self.word(b"true", Kind::True)?,
            Some(b'f') => self.word(b"false", Kind::False)?,
            Some(b'n') => self.word(b"null", Kind::Null)?,
            _ => return self.fail("a value"),
        };
        Ok(Token { kind, start, end: self.at })
    }

    fn word(&mut self, word: &'static [u8], kind: Kind) -> Result<Kind> {
        if !self.json[self.at..].starts_with(word) {
            return self.fail("true, false or null");
        }
        self.at += word.len();
        match self.peek() {
            Some(b) if b.is_ascii_alphanumeric() || b == b'_' => self.fail("true, false or null"),
            _ => Ok(kind),
        }
    }

    fn nested(&mut self, inside: fn(&mut Self) -> Result<()>) -> Result<()> {
        if self.depth == NESTING_MAX {
            return self.fail("less nesting");
        }
        self.depth += 1;
        self.at += 1;
        inside(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn object(&mut self) -> Result<()> {
        let mut first = true;
        while self.next_item(&mut first, b'}', "a comma or '}'")? {
            self.key()?;
            self.value()?;
        }
        Ok(())
    }

    fn array(&mut self) -> Result<()> {
        let mut first = true;
        while self.next_item(&mut first, b']', "a comma or ']'")? {
            self.value()?;
        }
        Ok(())
    }

    /// Steps to the next item of an array or object (whose opening has been stepped over): false at
    /// its closing, which is stepped over.
    #[inline]
    pub(super) fn next_item(
        &mut self,
        first: &mut bool,
        close: u8,
        expected: &'static str,
    ) -> Result<bool> {
        if self.eat(close) {
            // After a comma the caller has read another item, so this is no trailing comma.
            return Ok(false);
        }
        if !std::mem::take(first) {
            self.expect(b',', expected)?;
            self.skip_space();
            if self.peek() == Some(close) {
                return self.fail("a value after the comma");
            }
        }
        Ok(true)
    }

    /// Steps over a field's name and the colon; gives the name.
    #[inline]
    pub(super) fn key(&mut self) -> Result<Token> {
        self.skip_space();
        if self.peek() != Some(b'"') {
            return self.fail("a field name in quotes");
        }
        let name = self.string()?;
        self.expect(b':', "a colon")?;
        Ok(name)
    }

    #[inline]
    fn string(&mut self) -> Result<Token> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_bytes(&self.json[self.at..]);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.fail("no control character inside a text"),
                None => return self.fail("a closing quote"),
            }
        }
        let token = Token { kind: Kind::Text { escaped }, start, end: self.at };
        self.at += 1;
        Ok(token)
    }

    fn escape(&mut self) -> Result<()> {
        let hex = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_hexdigit);
        match self.json.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') if self.json.get(self.at + 2..self.at + 6).is_some_and(hex) => self.at += 6,
            _ => return self.fail("a known escape"),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Kind> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return self.fail("a digit"),
        }
        let mut kind = Kind::Integer;
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
            kind = Kind::Decimal;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.some_digits()?;
            kind = Kind::Decimal;
        }
        match self.peek() {
            Some(b) if b.is_ascii_alphanumeric() => self.fail("the end of the number"),
            _ => Ok(kind),
        }
    }

    #[inline]
    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<()> {
        match self.peek() {
            Some(b'0'..=b'9') => {
                self.digits();
                Ok(())
            }
            _ => self.fail("a digit"),
        }
    }
}

/// How many bytes in front are neither quote, backslash nor control character; eight at a time.
#[inline]
pub(super) fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // The high bit of each byte of `word` that is zero, exact up to the first one found.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let quotes = zeros(word ^ (ONES * u64::from(b'"')));
        let slashes = zeros(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found = quotes | slashes | controls;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let special = |b: &u8| *b == b'"' || *b == b'\\' || *b < 0x20;
    at + bytes[at..].iter().position(special).unwrap_or(bytes.len() - at)
}

/// Text between quotes with its escapes resolved; `None` when it is not UTF-8 or holds half a
/// surrogate pair. The escapes were checked by the cursor.
pub(super) fn unescape(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        if *first != b'\\' {
            let plain = plain_bytes(rest).max(1);
            out.extend_from_slice(&rest[..plain]);
            rest = &rest[plain..];
            continue;
        }
        let (letter, mut after) = tail.split_first()?;
        match letter {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let (c, tail) = unicode(after)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                after = tail;
            }
            other => out.push(*other),
        }
        rest = after;
    }
    String::from_utf8(out).ok()
}

/// The character of `XXXX` or `XXXX\uXXXX`, and what follows.
fn unicode(text: &[u8]) -> Option<(char, &[u8])> {
    let unit = |hex: &[u8]| u16::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok();
    let (first, rest) = text.split_at_checked(4)?;
    let first = unit(first)?;
    if !(0xD800..0xE000).contains(&first) {
        return Some((char::from_u32(u32::from(first))?, rest));
    }
    let (second, rest) = rest.strip_prefix(b"\\u")?.split_at_checked(4)?;
    let pair = [first, unit(second)?];
    let c = char::decode_utf16(pair).next()?.ok()?;
    Some((c, rest))
}
