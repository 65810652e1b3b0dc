//! Regular expressions, in Java's syntax; a pattern that is none, or a search that takes too many
//! steps, fails the row.

use super::typed::{I, List, S, f2, f3, some};
use super::{Fail, Library, Memo};
use crate::expr::eval::Outcome;
use crate::expr::java::regex::{Found, Regex};

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
    Regex::new(pattern).map_err(Fail::from)
}

fn extract(memo: &Memo<Regex>, pattern: &str, text: &str, group: i32) -> Outcome<String> {
    let regex = memo.get(pattern, compile)?;
    let found = regex.find_at(text, 0)?;
    let Some(found) = found.filter(|_| group <= regex.groups() as i32) else { return Ok(None) };
    Ok(found.group(text, numbered(group)?).map(str::to_owned))
}

fn numbered(group: i32) -> Result<usize, Fail> {
    usize::try_from(group).map_err(|_| format!("no group has the number {group}").into())
}

fn extract_all(
    memo: &Memo<Regex>,
    pattern: &str,
    text: &str,
    group: i32,
) -> Outcome<Vec<Option<String>>> {
    let regex = memo.get(pattern, compile)?;
    if group > regex.groups() as i32 {
        return Ok(None);
    }
    let all = regex.find_all(text)?;
    let group = if all.is_empty() { 0 } else { numbered(group)? };
    some(all.iter().map(|found| found.group(text, group).map(str::to_owned)).collect())
}

fn replace(memo: &Memo<Regex>, text: &str, pattern: &str, with: &str) -> Outcome<String> {
    let regex = memo.get(pattern, compile)?;
    let mut out = String::with_capacity(text.len());
    let mut last = 0;
    for found in regex.find_all(text)? {
        out.push_str(&text[last..found.start()]);
        expand(with, text, &regex, &found, &mut out)?;
        last = found.end();
    }
    out.push_str(&text[last..]);
    some(out)
}

/// Java's replacement text: `$1`, `${name}`, `\` before a character to take as it is.
fn expand(
    with: &str,
    text: &str,
    regex: &Regex,
    found: &Found,
    out: &mut String,
) -> Result<(), Fail> {
    let mut chars = with.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c) => out.push(c),
                None => return Err("the replacement ends in a backslash".into()),
            },
            '$' if chars.next_if_eq(&'{').is_some() => {
                let name: String = chars.by_ref().take_while(|c| *c != '}').collect();
                let group = regex
                    .group_named(&name)
                    .ok_or_else(|| format!("the pattern has no group {name}"))?;
                out.push_str(found.group(text, group).unwrap_or(""));
            }
            '$' => {
                let digit = chars.next().and_then(|c| c.to_digit(10));
                let Some(mut group) = digit.map(|d| d as usize) else {
                    return Err("the replacement has $ without a group".into());
                };
                if group > regex.groups() {
                    return Err(format!("the pattern has no group {group}").into());
                }
                // Further digits belong to the number while such a group exists.
                while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                    let longer = group * 10 + digit as usize;
                    if longer > regex.groups() {
                        break;
                    }
                    group = longer;
                    chars.next();
                }
                out.push_str(found.group(text, group).unwrap_or(""));
            }
            c => out.push(c),
        }
    }
    Ok(())
}

fn split(memo: &Memo<Regex>, text: &str, pattern: &str) -> Outcome<Vec<Option<String>>> {
    let regex = memo.get(pattern, compile)?;
    let matches_empty = regex.find_at("", 0)?.is_some();
    let pieces =
        if matches_empty { split_as_java(&regex, text)? } else { split_as_guava(&regex, text)? };
    some(pieces.into_iter().map(|piece| Some(piece.to_owned())).collect())
}

/// `Pattern.split`: nothing before an empty match at the beginning, no empty pieces at the end.
fn split_as_java<'t>(regex: &Regex, text: &'t str) -> Result<Vec<&'t str>, Fail> {
    let (mut pieces, mut last) = (vec![], 0);
    for found in regex.find_all(text)? {
        if last == 0 && found.end() == 0 {
            continue;
        }
        pieces.push(&text[last..found.start()]);
        last = found.end();
    }
    if last == 0 {
        return Ok(vec![text]);
    }
    pieces.push(&text[last..]);
    while pieces.last().is_some_and(|piece| piece.is_empty()) {
        pieces.pop();
    }
    Ok(pieces)
}

/// Guava's `Splitter.on(pattern)`: empty pieces are kept, an empty match that makes none is passed
/// over.
fn split_as_guava<'t>(regex: &Regex, text: &'t str) -> Result<Vec<&'t str>, Fail> {
    let (mut pieces, mut start, mut from) = (vec![], 0, 0);
    while let Some(found) = regex.find_at(text, from)? {
        if found.end() == start {
            from = start + text[start..].chars().next().map_or(1, char::len_utf8);
            continue;
        }
        pieces.push(&text[start..found.start()]);
        start = found.end();
        from = start;
    }
    pieces.push(&text[start..]);
    Ok(pieces)
}
