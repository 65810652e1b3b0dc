//! Java's regular expressions (`java.util.regex`), as far as `fancy-regex` knows them: look-around,
//! back references, possessive quantifiers and atomic groups too. What needs no backtracking runs in
//! linear time; for the rest the steps are bounded, and a match that takes more fails.
//!
//! Java's syntax is translated: its classes are ASCII, `.` stops at any line terminator and `$` also
//! stands before one at the end. The last two cost a slower pattern, so they are in a second one, used
//! for texts in which they can make a difference.

use std::sync::OnceLock;

/// Steps of backtracking that one search may take.
const MOST_STEPS: usize = 1_000_000;
/// Bytes that one compiled pattern may take.
const LARGEST: usize = 10 << 20;

/// Java's line terminators, for a class.
const TERMINATORS: &str = r"\n\r\x{85}\x{2028}\x{2029}";

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Regex {
    pattern: String,
    plain: fancy_regex::Regex,
    /// With Java's `.` and `$` to the letter; made when first needed.
    strict: OnceLock<Result<fancy_regex::Regex, String>>,
}

/// Where a match and its groups are, in bytes of the text; `None` for a group that took no part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found(Vec<Option<(usize, usize)>>);

impl Found {
    pub(crate) fn start(&self) -> usize {
        self.0.first().copied().flatten().map_or(0, |(start, _)| start)
    }

    pub(crate) fn end(&self) -> usize {
        self.0.first().copied().flatten().map_or(0, |(_, end)| end)
    }

    pub(crate) fn group<'t>(&self, text: &'t str, group: usize) -> Option<&'t str> {
        let (start, end) = self.0.get(group).copied().flatten()?;
        text.get(start..end)
    }
}

impl Regex {
    /// # Errors
    /// What is wrong with the pattern.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let plain = build(&translate(pattern, false)?)?;
        Ok(Regex { pattern: pattern.to_owned(), plain, strict: OnceLock::new() })
    }

    /// How many groups there are, the whole match not counted.
    pub(crate) fn groups(&self) -> usize {
        self.plain.captures_len() - 1
    }

    /// The number of a named group.
    pub(crate) fn group_named(&self, name: &str) -> Option<usize> {
        self.plain.capture_names().position(|n| n == Some(name))
    }

    /// The first match that starts at `from` or later.
    ///
    /// # Errors
    /// When the search takes too many steps.
    pub(crate) fn find_at(&self, text: &str, from: usize) -> Result<Option<Found>, String> {
        if from > text.len() {
            return Ok(None);
        }
        let regex = if is_delicate(text) {
            let strict = self.strict.get_or_init(|| build(&translate(&self.pattern, true)?));
            strict.as_ref().map_err(String::clone)?
        } else {
            &self.plain
        };
        let found = regex.captures_from_pos(text, from).map_err(|e| refused(&e))?;
        Ok(found.map(|c| {
            Found((0..c.len()).map(|i| c.get(i).map(|m| (m.start(), m.end()))).collect())
        }))
    }

    /// All matches, each sought from the end of the one before, as `Matcher.find` does; after an empty
    /// one, from a character further.
    ///
    /// # Errors
    /// When a search takes too many steps.
    pub(crate) fn find_all(&self, text: &str) -> Result<Vec<Found>, String> {
        let mut all = vec![];
        let mut from = 0;
        while let Some(found) = self.find_at(text, from)? {
            from = found.end();
            if found.start() == found.end() {
                from += text[from..].chars().next().map_or(1, char::len_utf8);
            }
            all.push(found);
        }
        Ok(all)
    }
}

fn refused(e: &fancy_regex::Error) -> String {
    format!("the pattern is refused: {e}")
}

fn build(pattern: &str) -> Result<fancy_regex::Regex, String> {
    fancy_regex::RegexBuilder::new(pattern)
        .backtrack_limit(MOST_STEPS)
        .delegate_size_limit(LARGEST)
        .build()
        .map_err(|e| refused(&e))
}

/// Whether the text has a line terminator that `.` or `$` could treat otherwise than Rust's do.
fn is_delicate(text: &str) -> bool {
    text.ends_with('\n') || text.contains(['\r', '\u{85}', '\u{2028}', '\u{2029}'])
}

/// The pattern in the syntax of `fancy-regex`.
fn translate(pattern: &str, strict: bool) -> Result<String, String> {
    // With these flags `.` and `$` mean something else.
    let (mut dot_all, mut multi_line) = (false, false);
    for flags in pattern.split("(?").skip(1) {
        let flags: String = flags.chars().take_while(char::is_ascii_alphabetic).collect();
        dot_all |= flags.contains('s');
        multi_line |= flags.contains('m');
    }
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    let mut classes = 0;
    while let Some(c) = chars.next() {
        match c {
            '\\' => escape(&mut chars, classes > 0, &mut out)?,
            '[' => {
                classes += 1;
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                // A bracket that comes first is itself.
                if chars.next_if_eq(&']').is_some() {
                    out.push_str(r"\]");
                }
            }
            ']' if classes > 0 => {
                classes -= 1;
                out.push(']');
            }
            // Rust's regexes take these for operations on classes.
            '-' if classes > 0 && chars.peek() == Some(&'-') => out.push_str(r"\-"),
            '~' if classes > 0 => out.push_str(r"\~"),
            '.' if classes == 0 && strict && !dot_all => {
                out.push_str(&format!("[^{TERMINATORS}]"));
            }
            '$' if classes == 0 && strict && !multi_line => {
                out.push_str(&format!(r"(?=(?:\r\n|[{TERMINATORS}])?\z)"));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn escape(chars: &mut Chars<'_>, in_class: bool, out: &mut String) -> Result<(), String> {
    let Some(c) = chars.next() else { return Err("the pattern ends in a backslash".into()) };
    let mut class = |members: &str, negated: bool| match (in_class, negated) {
        (true, false) => out.push_str(members),
        (_, false) => out.push_str(&format!("[{members}]")),
        (_, true) => out.push_str(&format!("[^{members}]")),
    };
    match c {
        // Java's classes are ASCII unless told otherwise.
        'd' | 'D' => class("0-9", c == 'D'),
        'w' | 'W' => class("0-9A-Za-z_", c == 'W'),
        's' | 'S' => class(r" \t\n\x0B\f\r", c == 'S'),
        'h' | 'H' => {
            class(r" \t\xA0\x{1680}\x{180E}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}", c == 'H');
        }
        'v' | 'V' => class(r"\n\x0B\f\r\x{85}\x{2028}\x{2029}", c == 'V'),
        'R' => out.push_str(r"(?:\r\n|[\n\x0B\f\r\x{85}\x{2028}\x{2029}])"),
        'Z' => out.push_str(&format!(r"(?=(?:\r\n|[{TERMINATORS}])?\z)")),
        'e' => out.push_str(r"\x1B"),
        'p' | 'P' => property(chars, c == 'P', in_class, out)?,
        'Q' => {
            let mut literal = String::new();
            while let Some(c) = chars.next() {
                if c == '\\' && chars.next_if_eq(&'E').is_some() {
                    break;
                }
                literal.push(c);
            }
            out.push_str(&regex::escape(&literal));
        }
        '0' => {
            let mut code = 0;
            while let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) {
                if code * 8 + digit > 0o377 {
                    break;
                }
                code = code * 8 + digit;
                chars.next();
            }
            out.push_str(&format!(r"\x{{{code:X}}}"));
        }
        'c' => {
            let control = chars.next().ok_or("the pattern ends in \\c")? as u32 ^ 64;
            out.push_str(&format!(r"\x{{{control:X}}}"));
        }
        'u' => {
            let digits: String = (0..4).filter_map(|_| chars.next()).collect();
            let code = u32::from_str_radix(&digits, 16).map_err(|_| "\\u lacks four digits")?;
            out.push_str(&format!(r"\x{{{code:X}}}"));
        }
        c if c.is_alphanumeric() => {
            out.push('\\');
            out.push(c);
        }
        c => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
    }
    Ok(())
}

/// `\p{…}`: POSIX classes (ASCII), `java.lang.Character` classes, scripts and general categories.
fn property(
    chars: &mut Chars<'_>,
    negated: bool,
    in_class: bool,
    out: &mut String,
) -> Result<(), String> {
    let mut name = String::new();
    if chars.next_if_eq(&'{').is_some() {
        name.extend(chars.by_ref().take_while(|c| *c != '}'));
    } else {
        name.extend(chars.next());
    }
    let ascii = match name.as_str() {
        "Lower" => "a-z",
        "Upper" => "A-Z",
        "ASCII" => r"\x00-\x7F",
        "Alpha" => "A-Za-z",
        "Digit" => "0-9",
        "Alnum" => "0-9A-Za-z",
        "Punct" => r"!-/:-@\[-`{-\x7E",
        "Graph" => "!-~",
        "Print" => r"\x20-~",
        "Blank" => r" \t",
        "Cntrl" => r"\x00-\x1F\x7F",
        "XDigit" => "0-9A-Fa-f",
        "Space" => r" \t\n\x0B\f\r",
        _ => "",
    };
    if !ascii.is_empty() {
        match (negated, in_class) {
            (true, _) => out.push_str(&format!("[^{ascii}]")),
            (false, true) => out.push_str(ascii),
            (false, false) => out.push_str(&format!("[{ascii}]")),
        }
        return Ok(());
    }
    let unicode = match name.as_str() {
        "javaLowerCase" => "Lowercase",
        "javaUpperCase" => "Uppercase",
        "javaWhitespace" | "IsWhite_Space" | "IsWhiteSpace" => "White_Space",
        "IsDigit" => "Nd",
        "IsPunctuation" => "P",
        "IsControl" => "Cc",
        "IsAssigned" => return Err("the pattern has \\p{IsAssigned}".into()),
        other => other
            .strip_prefix("Is")
            .or_else(|| other.split_once('=').map(|(_, value)| value))
            .unwrap_or(other),
    };
    out.push_str(&format!(r"\{}{{{unicode}}}", if negated { 'P' } else { 'p' }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The matches of a pattern in a text, with `|` between.
    fn matches(pattern: &str, text: &str) -> String {
        let found = match Regex::new(pattern).and_then(|r| r.find_all(text)) {
            Ok(found) => found,
            Err(_) => return "refused".into(),
        };
        let texts: Vec<&str> = found.iter().filter_map(|f| f.group(text, 0)).collect();
        texts.join("|")
    }

    #[test]
    fn patterns_match_as_in_java() {
        let mut wrong = vec![];
        for (pattern, text, expected) in [
            ("a(?=b)", "ab ac", "a"),
            ("a(?!b)", "ab ac", "a"),
            ("(?<=\\$)\\d+", "$12 34", "12"),
            ("(?<!\\$)\\b\\d+", "$12 34", "34"),
            ("(\\w)\\1", "hello aa", "ll|aa"),
            ("(?<q>['\"]).*?\\k<q>", "'a' \"b'\"", "'a'|\"b'\""),
            ("a*+a", "aaa", ""),
            ("(?>a+)b", "aab", "aab"),
            ("x{2}+", "xxxx", "xx|xx"),
            ("\\d*", "a1b", "|1||"),
            (".", "a\rb", "a|b"),
            ("b$", "ab\n", "b"),
            ("b$", "ab\r\n", "b"),
            ("b\\z", "ab\n", ""),
            ("(?s).+", "a\nb\n", "a\nb\n"),
            ("\\w+", "é_a", "_a"),
            ("\\p{L}+", "é_a", "é|a"),
            ("\\p{Lu}|\\p{IsGreek}", "Aβ", "A|β"),
            ("\\p{Alpha}+", "é_aB", "aB"),
            ("[\\p{Punct}&&[^_]]", "a_.", "."),
            ("[a-z&&[^b]]+", "abc", "a|c"),
            ("[\\d\\s]+", "a1 2b", "1 2"),
            ("[^\\W_]+", "a_b", "a|b"),
            ("\\Qa.b\\E.", "a.bc axb", "a.bc"),
            ("[]a]+", "a]b", "a]"),
            ("\\x41\\u0042\\0103", "ABC", "ABC"),
            ("\\h\\R", "a\t\r\n", "\t\r\n"),
            ("(?i)ABC", "xabc", "abc"),
            ("\\/\\-\\_\\ ", "/-_ ", "/-_ "),
            ("(", "a", "refused"),
            ("a\\", "a", "refused"),
        ] {
            let got = matches(pattern, text);
            if got != expected {
                wrong.push(format!("{pattern} in {text:?}: {got:?}, not {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn a_search_that_takes_too_long_fails() {
        let regex = Regex::new("(?:(a+)\\1?)+c").expect("a pattern");
        let text = "a".repeat(60) + "b";
        assert!(regex.find_all(&text).is_err());
    }
}
