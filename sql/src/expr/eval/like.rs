//! LIKE: `%` is any text, `_` any one character, and the escape character takes their meaning away.
//! A NULL operand or pattern fails.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};

use super::{Fail, Input, Node, NodeRef, Run, Value, all_scalar, each_row, union_failed};

const NULL_OPERAND: Fail = Fail::Borrowed("an operand of LIKE is NULL");

#[derive(Debug)]
pub(crate) struct LikeNode {
    pub operand: NodeRef,
    pub pattern: NodeRef,
    pub escape: Option<char>,
    pub negated: bool,
}

impl Node for LikeNode {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value {
        let operand = self.operand.eval(input, run);
        let pattern = self.pattern.eval(input, run);
        let scalar = all_scalar(&[&operand, &pattern]);
        let len = if scalar { 1 } else { input.rows };
        let before = union_failed(&[&operand, &pattern], len);
        let (texts, patterns) = (operand.array.as_string_view(), pattern.array.as_string_view());
        let mut last: Option<(usize, Pattern)> = None;
        let (values, failed) = each_row(scalar, input.rows, run, |row| {
            if before.as_ref().is_some_and(|f| f.value(row)) {
                return Ok(None);
            }
            if operand.is_null(row) || pattern.is_null(row) {
                return Err(NULL_OPERAND);
            }
            let at = pattern.at(row);
            if last.as_ref().is_none_or(|(of, _)| *of != at) {
                last = Some((at, Pattern::new(patterns.value(at), self.escape)));
            }
            let matches =
                last.as_ref().is_some_and(|(_, p)| p.matches(texts.value(operand.at(row))));
            Ok(Some(matches != self.negated))
        });
        let failed = match (before, failed) {
            (Some(a), Some(b)) => Some(&a | &b),
            (a, b) => a.or(b),
        };
        Value { array: Arc::new(BooleanArray::from(values)), scalar, failed }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Char(char),
    One,
    Any,
}

/// A pattern read once.
#[derive(Debug)]
enum Pattern {
    /// Plain text with `%` at most at its ends: what the text starts with, ends with or contains.
    Plain {
        start: bool,
        end: bool,
        text: String,
    },
    Parts(Vec<Part>),
}

impl Pattern {
    fn new(text: &str, escape: Option<char>) -> Self {
        let parts = Self::parts(text, escape);
        let anchored = |part: Option<&Part>| part != Some(&Part::Any);
        let (start, end) = (anchored(parts.first()), anchored(parts.last()));
        let from = usize::from(!start);
        let to = parts.len().saturating_sub(usize::from(!end)).max(from);
        let chars = parts[from.min(parts.len())..to.min(parts.len())].iter();
        let plain: Option<String> = chars
            .map(|part| match part {
                Part::Char(c) => Some(*c),
                _ => None,
            })
            .collect();
        match plain {
            Some(text) => Pattern::Plain { start, end, text },
            None => Pattern::Parts(parts),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Pattern::Plain { start: true, end: true, text: t } => text == t,
            Pattern::Plain { start: true, end: false, text: t } => text.starts_with(t.as_str()),
            Pattern::Plain { start: false, end: true, text: t } => text.ends_with(t.as_str()),
            Pattern::Plain { start: false, end: false, text: t } => text.contains(t.as_str()),
            Pattern::Parts(parts) => search(parts, text),
        }
    }

    fn parts(text: &str, escape: Option<char>) -> Vec<Part> {
        let mut parts = Vec::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            parts.push(match c {
                c if Some(c) == escape => Part::Char(chars.next().unwrap_or(c)),
                '%' if parts.last() == Some(&Part::Any) => continue,
                '%' => Part::Any,
                '_' => Part::One,
                c => Part::Char(c),
            });
        }
        parts
    }
}

/// Greedy matching that goes back only to the last `%`, so its cost is at most the product of
/// both lengths.
fn search(parts: &[Part], text: &str) -> bool {
    let (mut at, mut part) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let next = text[at..].chars().next();
        match parts.get(part) {
            Some(Part::Any) => {
                part += 1;
                retry = Some((at, part));
                continue;
            }
            Some(Part::One) if next.is_some() => {}
            Some(Part::Char(c)) if next == Some(*c) => {}
            None if next.is_none() => return true,
            _ => {
                let Some((from, after)) = retry else { return false };
                let Some(skipped) = text[from..].chars().next() else { return false };
                at = from + skipped.len_utf8();
                part = after;
                retry = Some((at, after));
                continue;
            }
        }
        at += next.map_or(0, char::len_utf8);
        part += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn wildcards_and_escapes() {
        let cases = [
            ("", "", None, true),
            ("", "%", None, true),
            ("a", "", None, false),
            ("abc", "abc", None, true),
            ("abc", "a_c", None, true),
            ("abc", "a%", None, true),
            ("abc", "%c", None, true),
            ("abc", "%b%", None, true),
            ("abc", "%d%", None, false),
            ("aXbXc", "%X_", None, true),
            ("mississippi", "%iss%pi", None, true),
            ("mississippi", "%iss%pix", None, false),
            ("a%c", "a!%c", Some('!'), true),
            ("abc", "a!%c", Some('!'), false),
            ("ünï", "_n_", None, true),
            ("ab\nc", "a%c", None, true),
        ];
        for (text, pattern, escape, expected) in cases {
            assert_eq!(Pattern::new(pattern, escape).matches(text), expected, "{text} {pattern}");
        }
    }
}
