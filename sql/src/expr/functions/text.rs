//! Texts. Positions and lengths count UTF-16 code units, as Java's strings do.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::{ArrayRef, AsArray, StringViewBuilder};
use std::hash::{BuildHasher, RandomState};

use super::numbers::next_random;
use super::typed::{I, List, MapOf, Opt, S, Y, f1, f2, f3, f4, rows, some, w1, w2, w3};
use super::{Call, Kernel, Library};
use crate::expr::eval::Outcome;

pub(super) fn add(lib: &mut Library) {
    lib.category("STRING");
    basics(lib);
    searching(lib);
    padding(lib);
    splitting(lib);
    lib.add(
        "UUID",
        "A random UUID, or 16 bytes written as one.",
        [
            ("-> S", random_uuid()),
            ("Y -> S", f1::<Y, S>(|bytes| Ok(<[u8; 16]>::try_from(bytes).ok().map(uuid_text)))),
        ],
    )
    .volatile()
    .note("NULL unless there are 16 bytes.")
    .arg("bytes", "The 16 bytes.")
    .example("LEN(UUID())", "36")
    .example(
        "UUID(TO_BYTES('00112233445566778899aabbccddeeff', 'hex'))",
        "'00112233-4455-6677-8899-aabbccddeeff'",
    );
}

/// Length in UTF-16 code units.
pub(super) fn utf16_len(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

fn basics(lib: &mut Library) {
    lib.add(
        "CHR",
        "The character of a code point, given as a number or as \\u and hex digits.",
        [
            (
                "I -> S",
                f1::<I, S>(|code| {
                    Ok(u32::try_from(code).ok().and_then(char::from_u32).map(String::from))
                }),
            ),
            ("S -> S", f1::<S, S>(unescape)),
        ],
    )
    .note("NULL for a number that is no code point, and a text that does not begin with `\\u`.")
    .arg("code", "The code point, or an escape such as `\\u0041`.")
    .example("CHR(97)", "'a'")
    .example("CHR('\\u0041')", "'A'");
    lib.add(
        "CONCAT",
        "The texts or bytes one after the other, NULLs left out.",
        [("S... -> S", concat_text()), ("Y... -> Y", concat_bytes())],
    )
    .note("The operator `||` does the same.")
    .arg("values", "The texts, or BYTES.")
    .example("CONCAT('a', NULL, 'b')", "'ab'");
    lib.add(
        "CONCAT_WS",
        "The texts or bytes with a separator between, NULLs left out.",
        [("S, S... -> S", join_text()), ("Y, Y... -> Y", join_bytes())],
    )
    .note("NULL if the separator is.")
    .arg("separator", "What stands between.")
    .arg("values", "The texts, or BYTES.")
    .example("CONCAT_WS(', ', 'a', NULL, 'b')", "'a, b'");
    lib.add("ELT", "The n-th of the texts, counted from 1.", [("I!, S... -> S", elt())])
        .note("NULL where there is none. A NULL position is an error.")
        .arg("n", "The position.")
        .arg("texts", "The texts.")
        .example("ELT(2, 'a', 'b')", "'b'");
    lib.add(
        "FIELD",
        "The position of the first text among the others, 0 if it is not there.",
        [("S, S... -> I", field())],
    )
    .note("0 for NULL too.")
    .arg("text", "What to look for.")
    .arg("texts", "Where to look.")
    .example("FIELD('b', 'a', 'b')", "2");
    lib.add(
        "INITCAP",
        "Each word with a capital and the rest in lower case.",
        [(
            "S -> S",
            w1::<S>(|text, out| {
                initcap(text, out);
                some(())
            }),
        )],
    )
    .arg("text", "Words with blanks between.")
    .example("INITCAP('hello wORLD')", "'Hello World'");
    lib.add("LCASE", "The text in lower case.", [("S -> S", case(false))])
        .arg("text", "The text.")
        .example("LCASE('ÄB')", "'äb'");
    lib.add("UCASE", "The text in upper case.", [("S -> S", case(true))])
        .arg("text", "The text.")
        .example("UCASE('straße')", "'STRASSE'");
    lib.add(
        "TRIM",
        "The text without blanks and control characters at both ends.",
        [(
            "S -> S",
            w1::<S>(|text, out| {
                out.push_str(text.trim_matches(|c: char| c <= ' '));
                some(())
            }),
        )],
    )
    .arg("text", "The text.")
    .example("TRIM('  a b ')", "'a b'");
    lib.add(
        "LEN",
        "The number of characters of a text, or of bytes.",
        [
            ("S -> I", f1::<S, I>(|t| some(utf16_len(t) as i32))),
            ("Y -> I", f1::<Y, I>(|b| some(b.len() as i32))),
        ],
    )
    .arg("value", "The text or BYTES.")
    .example("LEN('añb')", "3")
    .example("LEN(TO_BYTES('ff00', 'hex'))", "2");
    lib.add(
        "REPLACE",
        "The text with every occurrence of the second text replaced by the third.",
        [("S, S, S -> S", w3::<S, S, S>(replace))],
    )
    .arg("text", "The text.")
    .arg("old", "What is to go.")
    .arg("new", "What takes its place.")
    .example("REPLACE('banana', 'an', 'oo')", "'booooa'");
    lib.add(
        "SUBSTRING",
        "The part from a position, counted from 1 or from the end, of a length.",
        [
            ("S, I -> S", w2::<S, I>(|t, from, out| substring(t, from, None, out))),
            ("S, I, I -> S", w3::<S, I, I>(|t, from, n, out| substring(t, from, Some(n), out))),
            ("Y, I -> Y", f2::<Y, I, Y>(|b, from| some(part(b, from, None)))),
            ("Y, I, I -> Y", f3::<Y, I, I, Y>(|b, from, n| some(part(b, from, Some(n))))),
        ],
    )
    .note("What lies outside is empty.")
    .arg("value", "The text or BYTES.")
    .arg("from", "The first position; 0 means 1, a negative one counts from the end.")
    .arg("length", "How much at the most; all the rest unless given.")
    .example("SUBSTRING('stream', 3)", "'ream'")
    .example("SUBSTRING('stream', -3, 2)", "'ea'");
}

/// Where a part starts and ends in something of length `len`.
fn range(len: usize, from: i32, count: Option<i32>) -> (usize, usize) {
    let len = len as i64;
    let from = i64::from(from);
    let start = if from < 0 { len + from } else { (from - 1).max(0) }.clamp(0, len);
    let end = count.map_or(len, |n| (start + i64::from(n.max(0))).min(len));
    (start as usize, end as usize)
}

fn substring(text: &str, from: i32, count: Option<i32>, out: &mut String) -> Outcome<()> {
    if text.is_ascii() {
        let (start, end) = range(text.len(), from, count);
        out.push_str(&text[start..end]);
        return some(());
    }
    let units: Vec<u16> = text.encode_utf16().collect();
    let (start, end) = range(units.len(), from, count);
    out.push_str(&String::from_utf16_lossy(&units[start..end]));
    some(())
}

fn case(upper: bool) -> Kernel {
    w1::<S>(move |text, out| {
        match (text.is_ascii(), upper) {
            (true, true) => {
                out.push_str(text);
                out.make_ascii_uppercase();
            }
            (true, false) => {
                out.push_str(text);
                out.make_ascii_lowercase();
            }
            (false, true) => out.push_str(&text.to_uppercase()),
            (false, false) => out.push_str(&text.to_lowercase()),
        }
        some(())
    })
}

fn replace(text: &str, old: &str, new: &str, out: &mut String) -> Outcome<()> {
    let mut last = 0;
    for (at, _) in text.match_indices(old) {
        out.push_str(&text[last..at]);
        out.push_str(new);
        last = at + old.len();
    }
    out.push_str(&text[last..]);
    some(())
}

fn part(bytes: &[u8], from: i32, count: Option<i32>) -> Vec<u8> {
    let (start, end) = range(bytes.len(), from, count);
    bytes[start..end].to_vec()
}

/// Java's escape sequences in a text that starts with `\u`.
fn unescape(text: &str) -> Outcome<String> {
    if utf16_len(text) < 6 || !text.starts_with("\\u") {
        return Ok(None);
    }
    let mut units: Vec<u16> = vec![];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            units.extend(c.encode_utf16(&mut [0; 2]).iter());
            continue;
        }
        let unit = match chars.next() {
            Some('u') => {
                while chars.next_if_eq(&'u').is_some() {}
                chars.next_if_eq(&'+');
                let digits: String = chars.by_ref().take(4).collect();
                let code = u16::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                code.ok_or("\\u is not followed by four hex digits")?
            }
            Some('b') => 8,
            Some('t') => 9,
            Some('n') => 10,
            Some('f') => 12,
            Some('r') => 13,
            Some(c @ '0'..='7') => {
                let mut code = c as u16 - 48;
                while let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) {
                    if code * 8 + digit as u16 > 0o377 {
                        break;
                    }
                    code = code * 8 + digit as u16;
                    chars.next();
                }
                code
            }
            // Before anything else a backslash is dropped.
            Some(c) => {
                units.extend(c.encode_utf16(&mut [0; 2]).iter());
                continue;
            }
            None => continue,
        };
        units.push(unit);
    }
    Ok(String::from_utf16(&units).ok())
}

fn initcap(text: &str, out: &mut String) {
    let mut fresh = true;
    for c in text.to_lowercase().chars() {
        if fresh {
            out.push(title_case(c));
        } else {
            out.push(c);
        }
        fresh = is_java_whitespace(c);
    }
}

/// `Character.toTitleCase`: one character for one.
fn title_case(c: char) -> char {
    match c {
        'Ǆ' | 'ǆ' => 'ǅ',
        'Ǉ' | 'ǉ' => 'ǈ',
        'Ǌ' | 'ǌ' => 'ǋ',
        'Ǳ' | 'ǳ' => 'ǲ',
        c => {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(upper), None) => upper,
                _ => c,
            }
        }
    }
}

/// `Character.isWhitespace`: no-break spaces are none, separators of files to units are.
fn is_java_whitespace(c: char) -> bool {
    match c {
        '\u{A0}' | '\u{2007}' | '\u{202F}' | '\u{85}' => false,
        '\u{1C}'..='\u{1F}' => true,
        c => c.is_whitespace(),
    }
}

fn concat_text() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| -> ArrayRef {
        let args = std::mem::take(&mut call.args);
        let columns: Vec<_> = args.iter().map(|a| (a, a.array.as_string_view())).collect();
        let mut out = StringViewBuilder::with_capacity(call.rows);
        let mut text = String::new();
        for row in 0..call.rows {
            text.clear();
            for (arg, column) in &columns {
                if !arg.is_null(row) {
                    text.push_str(column.value(arg.at(row)));
                }
            }
            out.append_value(&text);
        }
        Arc::new(out.finish())
    })
}

fn concat_bytes() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let columns: Vec<_> = args.iter().map(|a| (a, a.array.as_binary::<i32>())).collect();
        rows::<Y>(call, |row| {
            let present = columns.iter().filter(|(arg, _)| !arg.is_null(row));
            some(present.flat_map(|(arg, c)| c.value(arg.at(row)).iter().copied()).collect())
        })
    })
}

fn join_text() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let columns: Vec<_> = args.iter().map(|a| (a, a.array.as_string_view())).collect();
        rows::<S>(call, |row| {
            let texts: Vec<&str> = columns
                .iter()
                .filter(|(arg, _)| !arg.is_null(row))
                .map(|(arg, c)| c.value(arg.at(row)))
                .collect();
            match texts.as_slice() {
                _ if columns.len() < 2 => Err("CONCAT_WS needs at least two arguments".into()),
                _ if columns[0].0.is_null(row) => Ok(None),
                [separator, items @ ..] => some(items.join(separator)),
                [] => Ok(None),
            }
        })
    })
}

fn join_bytes() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let columns: Vec<_> = args.iter().map(|a| (a, a.array.as_binary::<i32>())).collect();
        rows::<Y>(call, |row| {
            let items: Vec<&[u8]> = columns
                .iter()
                .filter(|(arg, _)| !arg.is_null(row))
                .map(|(arg, c)| c.value(arg.at(row)))
                .collect();
            match items.as_slice() {
                _ if columns.len() < 2 => Err("CONCAT_WS needs at least two arguments".into()),
                _ if columns[0].0.is_null(row) => Ok(None),
                [separator, items @ ..] => some(items.join(*separator)),
                [] => Ok(None),
            }
        })
    })
}

fn elt() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let (places, texts) = args.split_at(1);
        let index = places[0].array.as_primitive::<arrow::datatypes::Int32Type>();
        rows::<S>(call, |row| {
            if places[0].is_null(row) {
                return Ok(None);
            }
            let at = usize::try_from(index.value(places[0].at(row))).ok();
            let chosen = at.and_then(|at| texts.get(at.checked_sub(1)?));
            Ok(chosen
                .filter(|text| !text.is_null(row))
                .map(|text| text.array.as_string_view().value(text.at(row)).to_owned()))
        })
    })
}

fn field() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let columns: Vec<_> = args.iter().map(|a| (a, a.array.as_string_view())).collect();
        rows::<I>(call, |row| {
            let get =
                |(arg, column): &(&crate::expr::eval::Value, &arrow::array::StringViewArray)| {
                    (!arg.is_null(row)).then(|| column.value(arg.at(row)).to_owned())
                };
            let Some(wanted) = columns.first().and_then(&get) else { return some(0) };
            let at = columns[1..].iter().position(|c| get(c).as_ref() == Some(&wanted));
            some(at.map_or(0, |at| at as i32 + 1))
        })
    })
}

fn searching(lib: &mut Library) {
    lib.add(
        "INSTR",
        "The position of a text in another, from a position on, the n-th occurrence.",
        [
            ("S, S -> I", f2::<Opt<S>, Opt<S>, I>(|t, part| some(instr(t, part, 1, 1)))),
            (
                "S, S, I! -> I",
                f3::<Opt<S>, Opt<S>, I, I>(|t, part, from| some(instr(t, part, from, 1))),
            ),
            (
                "S, S, I!, I! -> I",
                f4::<Opt<S>, Opt<S>, I, I, I>(|t, part, from, nth| some(instr(t, part, from, nth))),
            ),
        ],
    )
    .note("0 where there is none, and for NULL.")
    .arg("text", "Where to look.")
    .arg("part", "What to look for.")
    .arg(
        "from",
        "The position to begin at; a negative one counts from the end and searches backwards.",
    )
    .arg("occurrence", "Which occurrence, counted from 1.")
    .example("INSTR('abcabc', 'b')", "2")
    .example("INSTR('abcabc', 'b', 3)", "5")
    .example("INSTR('abcabc', 'b', -1)", "5")
    .example("INSTR('abcabc', 'b', 1, 2)", "5");
}

/// 1-based; a negative `from` searches backwards from that place from the end; 0 if not found.
fn instr(text: Option<&str>, part: Option<&str>, from: i32, nth: i32) -> i32 {
    let (Some(text), Some(part)) = (text, part) else { return 0 };
    if part.is_empty() || from == 0 || nth < 1 {
        return 0;
    }
    let text: Vec<u16> = text.encode_utf16().collect();
    let part: Vec<u16> = part.encode_utf16().collect();
    let Some(last) = text.len().checked_sub(part.len()) else { return 0 };
    let matches = |at: &usize| text[*at..].starts_with(&part);
    let skip = nth as usize - 1;
    let found = if from > 0 {
        (from as usize - 1..=last).filter(matches).nth(skip)
    } else {
        let back = text.len() as i64 + i64::from(from);
        let start = usize::try_from(back).ok().map(|b| b.min(last));
        start.and_then(|start| (0..=start).rev().filter(matches).nth(skip))
    };
    found.map_or(0, |at| at as i32 + 1)
}

fn padding(lib: &mut Library) {
    lib.add(
        "LPAD",
        "The text or bytes filled up on the left, or cut, to a length.",
        [
            ("S, I, S -> S", f3::<S, I, S, S>(|t, n, fill| Ok(pad_text(t, n, fill, true)))),
            ("Y, I, Y -> Y", f3::<Y, I, Y, Y>(|b, n, fill| Ok(pad(b, n, fill, true)))),
        ],
    )
    .note("NULL for a negative length or an empty padding.")
    .arg("value", "The text or BYTES.")
    .arg("length", "The length wanted.")
    .arg("padding", "What to fill up with.")
    .example("LPAD('7', 3, '0')", "'007'")
    .example("LPAD('stream', 3, ' ')", "'str'");
    lib.add(
        "RPAD",
        "The text or bytes filled up on the right, or cut, to a length.",
        [
            ("S, I, S -> S", f3::<S, I, S, S>(|t, n, fill| Ok(pad_text(t, n, fill, false)))),
            ("Y, I, Y -> Y", f3::<Y, I, Y, Y>(|b, n, fill| Ok(pad(b, n, fill, false)))),
        ],
    )
    .note("NULL for a negative length or an empty padding.")
    .arg("value", "The text or BYTES.")
    .arg("length", "The length wanted.")
    .arg("padding", "What to fill up with.")
    .example("RPAD('ab', 5, '.-')", "'ab.-.'");
}

fn pad_text(text: &str, len: i32, fill: &str, left: bool) -> Option<String> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let fill: Vec<u16> = fill.encode_utf16().collect();
    pad(&units, len, &fill, left).map(|padded| String::from_utf16_lossy(&padded))
}

/// No result is longer than this, whatever a row asks for.
const LONGEST: usize = 1 << 20;

fn pad<T: Clone>(items: &[T], len: i32, fill: &[T], left: bool) -> Option<Vec<T>> {
    let len = usize::try_from(len).ok().filter(|len| *len <= LONGEST)?;
    if fill.is_empty() {
        return None;
    }
    let kept = &items[..items.len().min(len)];
    let padding: Vec<T> = fill.iter().cycle().take(len - kept.len()).cloned().collect();
    Some(if left { [&padding, kept].concat() } else { [kept, &padding].concat() })
}

fn splitting(lib: &mut Library) {
    lib.add(
        "SPLIT",
        "The pieces between delimiters; an empty delimiter splits into characters.",
        [
            ("S, S -> [S]", f2::<S, S, List<S>>(|t, d| some(split_text(t, d)))),
            ("Y, Y -> [Y]", f2::<Y, Y, List<Y>>(|b, d| some(split_bytes(b, d)))),
        ],
    )
    .arg("value", "The text or BYTES.")
    .arg("delimiter", "What stands between the pieces.")
    .example("SPLIT('a,b,,c', ',')", "ARRAY['a', 'b', '', 'c']")
    .example("SPLIT('abc', '')", "ARRAY['a', 'b', 'c']");
    lib.add(
        "SPLIT_TO_MAP",
        "The map in a text of entries with keys and values.",
        [(
            "S, S, S -> {S:S}",
            f3::<S, S, S, MapOf<S, S>>(|text, entry, kv| Ok(split_to_map(text, entry, kv))),
        )],
    ).note("Entries without a key-value delimiter are left out; of equal keys the last counts. NULL if a delimiter is empty or both are equal.").arg("text", "The text.").arg("entryDelimiter", "What stands between entries.").arg("kvDelimiter", "What stands between key and value.").example("SPLIT_TO_MAP('a:1;b:2', ';', ':')", "MAP('a' := '1', 'b' := '2')");
}

fn split_text(text: &str, delimiter: &str) -> Vec<Option<String>> {
    if delimiter.is_empty() {
        if text.is_empty() {
            return vec![Some(String::new())];
        }
        return text.chars().map(|c| Some(c.to_string())).collect();
    }
    text.split(delimiter).map(|piece| Some(piece.to_owned())).collect()
}

fn split_bytes(bytes: &[u8], delimiter: &[u8]) -> Vec<Option<Vec<u8>>> {
    if delimiter.is_empty() {
        if bytes.is_empty() {
            return vec![Some(vec![])];
        }
        return bytes.iter().map(|b| Some(vec![*b])).collect();
    }
    let mut pieces = vec![];
    let mut rest = bytes;
    while let Some(at) = rest.windows(delimiter.len()).position(|w| w == delimiter) {
        pieces.push(Some(rest[..at].to_vec()));
        rest = &rest[at + delimiter.len()..];
    }
    pieces.push(Some(rest.to_vec()));
    pieces
}

fn split_to_map(text: &str, entry: &str, kv: &str) -> Option<Vec<(String, Option<String>)>> {
    if entry.is_empty() || kv.is_empty() || entry == kv {
        return None;
    }
    let mut map: Vec<(String, Option<String>)> = vec![];
    for (key, value) in text.split(entry).filter_map(|e| e.split_once(kv)) {
        let value = Some(value.split(kv).next().unwrap_or_default().to_owned());
        match map.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = value,
            None => map.push((key.to_owned(), value)),
        }
    }
    Some(map)
}

fn random_uuid() -> Kernel {
    let state = AtomicU64::new(RandomState::new().hash_one(1));
    Box::new(move |call: &mut Call<'_, '_>| {
        rows::<S>(call, |_| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&next_random(&state).to_be_bytes());
            bytes[8..].copy_from_slice(&next_random(&state).to_be_bytes());
            bytes[6] = bytes[6] & 0x0F | 0x40;
            bytes[8] = bytes[8] & 0x3F | 0x80;
            some(uuid_text(bytes))
        })
    })
}

fn uuid_text(bytes: [u8; 16]) -> String {
    let mut out = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{byte:02x}"));
    }
    out
}
