//! Regular expressions, in Java's syntax as far as a linear-time engine can know it: no look-around
//! and no back references; a pattern with those fails the row.

use regex::Regex;

use super::typed::{I, List, S, f2, f3, some};
use super::{Fail, Library, Memo};
use crate::expr::eval::Outcome;

pub(super) fn add(lib: &mut Library) {
    lib.category("REGULAR EXPRESSION");
    let (a, b) = (Memo::new(), Memo::new());
    lib.add(
        "REGEXP_EXTRACT",
        "The first match of a pattern in a text, or a group of it.",
        [
            ("S, S -> S", f2::<S, S, S>(move |p, text| extract(&a, p, text, 0))),
            ("S, S, I -> S", f3::<S, S, I, S>(move |p, text, group| extract(&b, p, text, group))),
        ],
    )
    .note("NULL if nothing matches, or the pattern has no such group.")
    .arg("pattern", "The regular expression.")
    .arg("text", "Where to look.")
    .arg("group", "Which group of the pattern; 0, the whole match, unless given.")
    .example("REGEXP_EXTRACT('(\\w+)@(\\w+)', 'mail ann@home', 2)", "'home'");
    let (a, b) = (Memo::new(), Memo::new());
    lib.add(
        "REGEXP_EXTRACT_ALL",
        "All matches of a pattern in a text, or a group of each.",
        [
            ("S, S -> [S]", f2::<S, S, List<S>>(move |p, text| extract_all(&a, p, text, 0))),
            (
                "S, S, I -> [S]",
                f3::<S, S, I, List<S>>(move |p, text, group| extract_all(&b, p, text, group)),
            ),
        ],
    )
    .note("NULL if the pattern has no such group.")
    .arg("pattern", "The regular expression.")
    .arg("text", "Where to look.")
    .arg("group", "Which group of the pattern; 0, the whole match, unless given.")
    .example("REGEXP_EXTRACT_ALL('\\d+', 'a1b22')", "ARRAY['1', '22']");
    let memo = Memo::new();
    lib.add(
        "REGEXP_REPLACE",
        "The text with every match of a pattern replaced.",
        [("S, S, S -> S", f3::<S, S, S, S>(move |text, p, with| replace(&memo, text, p, with)))],
    )
    .note("`$1` in the replacement stands for the first group.")
    .arg("text", "The text.")
    .arg("pattern", "The regular expression.")
    .arg("replacement", "What takes the place of each match.")
    .example("REGEXP_REPLACE('2024-05', '(\\d+)-(\\d+)', '$2/$1')", "'05/2024'");
    let memo = Memo::new();
    lib.add(
        "REGEXP_SPLIT_TO_ARRAY",
        "The pieces of a text between matches of a pattern.",
        [("S, S -> [S]", f2::<S, S, List<S>>(move |text, p| split(&memo, text, p)))],
    )
    .arg("text", "The text.")
    .arg("pattern", "The regular expression of what stands between the pieces.")
    .example("REGEXP_SPLIT_TO_ARRAY('a1b22c', '\\d+')", "ARRAY['a', 'b', 'c']");
}

fn compile(pattern: &str) -> Result<Regex, Fail> {
    Regex::new(&translate(pattern)).map_err(|e| format!("the pattern is refused: {e}").into())
}

/// What Java writes differently: possessive quantifiers, `\Z`, `\h`, ASCII classes.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    let mut in_class = 0;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                // Java's classes are ASCII unless told otherwise.
                Some('d') => out.push_str(if in_class > 0 { "0-9" } else { "[0-9]" }),
                Some('w') => out.push_str(if in_class > 0 { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                Some('s') => {
                    out.push_str(if in_class > 0 { r" \t\n\x0B\f\r" } else { r"[ \t\n\x0B\f\r]" });
                }
                Some('D') => out.push_str("[^0-9]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('S') => out.push_str(r"[^ \t\n\x0B\f\r]"),
                Some('h') => out.push_str(if in_class > 0 { r" \t" } else { r"[ \t]" }),
                Some('Z') => out.push_str(r"\n?\z"),
                Some('Q') => {
                    let mut literal = String::new();
                    while let Some(c) = chars.next() {
                        if c == '\\' && chars.next_if_eq(&'E').is_some() {
                            break;
                        }
                        literal.push(c);
                    }
                    out.push_str(&regex::escape(&literal));
                }
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            },
            '[' => {
                in_class += 1;
                out.push('[');
            }
            ']' if in_class > 0 => {
                in_class -= 1;
                out.push(']');
            }
            '*' | '+' | '?' | '}' if in_class == 0 => {
                out.push(c);
                // Possessive: without backtracking there is no difference worth having.
                if chars.peek() == Some(&'+') {
                    chars.next();
                }
            }
            c => out.push(c),
        }
    }
    out
}

fn extract(memo: &Memo<Regex>, pattern: &str, text: &str, group: i32) -> Outcome<String> {
    let regex = memo.get(pattern, compile)?;
    let Ok(group) = usize::try_from(group) else { return Ok(None) };
    let found = regex.captures(text).and_then(|c| Some(c.get(group)?.as_str().to_owned()));
    Ok(found)
}

fn extract_all(
    memo: &Memo<Regex>,
    pattern: &str,
    text: &str,
    group: i32,
) -> Outcome<Vec<Option<String>>> {
    let regex = memo.get(pattern, compile)?;
    let Ok(group) = usize::try_from(group) else { return Ok(None) };
    if group >= regex.captures_len() {
        return Ok(None);
    }
    let all = regex.captures_iter(text);
    some(all.map(|c| c.get(group).map(|m| m.as_str().to_owned())).collect())
}

fn replace(memo: &Memo<Regex>, text: &str, pattern: &str, with: &str) -> Outcome<String> {
    let regex = memo.get(pattern, compile)?;
    let mut out = String::with_capacity(text.len());
    let mut last = 0;
    for found in regex.captures_iter(text) {
        let Some(whole) = found.get(0) else { continue };
        out.push_str(&text[last..whole.start()]);
        expand(with, &found, &mut out)?;
        last = whole.end();
    }
    out.push_str(&text[last..]);
    some(out)
}

/// Java's replacement text: `$1`, `${name}`, `\` before a character to take as it is.
fn expand(with: &str, found: &regex::Captures<'_>, out: &mut String) -> Result<(), Fail> {
    let mut chars = with.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c) => out.push(c),
                None => return Err("the replacement ends in a backslash".into()),
            },
            '$' if chars.next_if_eq(&'{').is_some() => {
                let name: String = chars.by_ref().take_while(|c| *c != '}').collect();
                let group = found.name(&name);
                out.push_str(group.map_or("", |m| m.as_str()));
            }
            '$' => {
                let digit = chars.next().and_then(|c| c.to_digit(10));
                let Some(mut group) = digit.map(|d| d as usize) else {
                    return Err("the replacement has $ without a group".into());
                };
                if group >= found.len() {
                    return Err(format!("the pattern has no group {group}").into());
                }
                // Further digits belong to the number while such a group exists.
                while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                    let longer = group * 10 + digit as usize;
                    if longer >= found.len() {
                        break;
                    }
                    group = longer;
                    chars.next();
                }
                out.push_str(found.get(group).map_or("", |m| m.as_str()));
            }
            c => out.push(c),
        }
    }
    Ok(())
}

/// Empty pieces are kept, but a pattern that matches the empty text splits into characters.
fn split(memo: &Memo<Regex>, text: &str, pattern: &str) -> Outcome<Vec<Option<String>>> {
    let regex = memo.get(pattern, compile)?;
    if text.is_empty() {
        return some(vec![Some(String::new())]);
    }
    let matches_empty = regex.is_match("");
    let pieces = regex.split(text).filter(|piece| !(matches_empty && piece.is_empty()));
    some(pieces.map(|piece| Some(piece.to_owned())).collect())
}
