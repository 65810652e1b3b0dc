//! Parts of URLs, as Java's `URI` sees them, and form encoding.

use super::Library;
use super::typed::{I, S, f1, f2, some};
use crate::expr::eval::{Fail, Outcome};

/// The parts of a URI; absent ones are `None`.
#[derive(Debug, PartialEq)]
struct Uri<'a> {
    scheme: Option<&'a str>,
    host: Option<&'a str>,
    port: Option<i32>,
    /// `None` for an opaque URI such as `mailto:a@b.c`.
    path: Option<&'a str>,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

pub(super) fn add(lib: &mut Library) {
    lib.category("URL");
    lib.add(
        "URL_DECODE_PARAM",
        "The text that was form-encoded.",
        [("S -> S", f1::<S, S>(decode))],
    )
    .arg("text", "Text encoded as in a URL's query.")
    .example("URL_DECODE_PARAM('a+b%26')", "'a b&'");
    lib.add(
        "URL_ENCODE_PARAM",
        "The text form-encoded.",
        [("S -> S", f1::<S, S>(|text| some(encode(text))))],
    )
    .arg("text", "The text.")
    .example("URL_ENCODE_PARAM('a b&')", "'a+b%26'");
    lib.add(
        "URL_EXTRACT_FRAGMENT",
        "The part of a URL behind #.",
        [("S -> S", f1::<S, S>(|t| part(Uri::parse(t)?.fragment)))],
    )
    .note("NULL if there is none; a text that is no URI is an error.")
    .arg("url", "The URL.")
    .example("URL_EXTRACT_FRAGMENT('http://h/p?q=1#f')", "'f'");
    lib.add(
        "URL_EXTRACT_HOST",
        "The host of a URL.",
        [("S -> S", f1::<S, S>(|t| Ok(Uri::parse(t)?.host.map(str::to_owned))))],
    )
    .note("NULL if there is none; a text that is no URI is an error.")
    .arg("url", "The URL.")
    .example("URL_EXTRACT_HOST('http://u@h.example:81/p')", "'h.example'");
    lib.add(
        "URL_EXTRACT_PATH",
        "The path of a URL.",
        [("S -> S", f1::<S, S>(|t| part(Uri::parse(t)?.path)))],
    )
    .note("A text that is no URI is an error.")
    .arg("url", "The URL.")
    .example("URL_EXTRACT_PATH('http://h/a/b?q=1')", "'/a/b'");
    lib.add(
        "URL_EXTRACT_PORT",
        "The port of a URL.",
        [("S -> I", f1::<S, I>(|t| Ok(Uri::parse(t)?.port)))],
    )
    .note("NULL if there is none; a text that is no URI is an error.")
    .arg("url", "The URL.")
    .example("URL_EXTRACT_PORT('http://h:81/p')", "81");
    lib.add(
        "URL_EXTRACT_PROTOCOL",
        "The protocol of a URL.",
        [("S -> S", f1::<S, S>(|t| Ok(Uri::parse(t)?.scheme.map(str::to_owned))))],
    )
    .note("NULL if there is none; a text that is no URI is an error.")
    .arg("url", "The URL.")
    .example("URL_EXTRACT_PROTOCOL('https://h/p')", "'https'");
    lib.add(
        "URL_EXTRACT_QUERY",
        "The part of a URL behind the question mark.",
        [("S -> S", f1::<S, S>(|t| part(Uri::parse(t)?.query)))],
    )
    .note("NULL if there is none; a text that is no URI is an error.")
    .arg("url", "The URL.")
    .example("URL_EXTRACT_QUERY('http://h/p?q=1&r=2')", "'q=1&r=2'");
    lib.add(
        "URL_EXTRACT_PARAMETER",
        "The value of a parameter in a URL's query.",
        [(
            "S, S -> S",
            f2::<S, S, S>(|t, name| {
                let Some(query) = Uri::parse(t)?.query else { return Ok(None) };
                let query = unescape(query);
                Ok(query.split('&').find_map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (key == name).then(|| value.to_owned())
                }))
            }),
        )],
    )
    .note("Empty for a parameter without a value, NULL if it is not there.")
    .arg("url", "The URL.")
    .arg("name", "The parameter's name.")
    .example("URL_EXTRACT_PARAMETER('http://h/?a=1&b', 'a')", "'1'");
}

/// A part with its escapes read, as `URI.getPath` and its like give it.
fn part(raw: Option<&str>) -> Outcome<String> {
    Ok(raw.map(unescape))
}

fn unescape(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| raw.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()))
            .flatten();
        match escaped {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn decode(text: &str) -> Outcome<String> {
    let spaced = text.replace('+', " ");
    let mut rest = spaced.as_str();
    while let Some(at) = rest.find('%') {
        let hex = rest.get(at + 1..at + 3);
        if !hex.is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err("the text has an incomplete escape".into());
        }
        rest = &rest[at + 3..];
    }
    some(unescape(&spaced))
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => {
                out.push(byte as char);
            }
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl<'a> Uri<'a> {
    fn parse(text: &'a str) -> Result<Self, Fail> {
        let legal = |c: char| {
            c.is_ascii_alphanumeric()
                || "_-!.~'()*,;:$&+=?/[]@%#".contains(c)
                || !(c.is_ascii() || c.is_control() || c.is_whitespace())
        };
        let wrong = || Fail::from(format!("{text:?} is no URI"));
        if !text.chars().all(legal) {
            return Err(wrong());
        }
        for (at, _) in text.match_indices('%') {
            let hex = text.get(at + 1..at + 3);
            if !hex.is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit())) {
                return Err(wrong());
            }
        }
        let (rest, fragment) = match text.split_once('#') {
            Some((_, f)) if f.contains('#') => return Err(wrong()),
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (text, None),
        };
        let colon = rest.find([':', '/', '?']).filter(|at| rest[*at..].starts_with(':'));
        let (scheme, rest) = match colon {
            Some(at) => {
                let scheme = &rest[..at];
                let head = scheme.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
                let tail = scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
                if !head || !tail || rest.len() == at + 1 {
                    return Err(wrong());
                }
                (Some(scheme), &rest[at + 1..])
            }
            None => (None, rest),
        };
        if scheme.is_some() && !rest.starts_with('/') {
            return Ok(Uri { scheme, host: None, port: None, path: None, query: None, fragment });
        }
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find('/').unwrap_or(rest.len());
                (Some(&rest[..end]), &rest[end..])
            }
            None => (None, rest),
        };
        if path.contains(['[', ']']) {
            return Err(wrong());
        }
        let (host, port) = authority.map_or((None, None), server);
        Ok(Uri { scheme, host, port, path: Some(path), query, fragment })
    }
}

/// Host and port of an authority; both absent when it is not `[user@]host[:port]`.
fn server(authority: &str) -> (Option<&str>, Option<i32>) {
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let colon = match place.rfind(']') {
        Some(end) => place[end..].find(':').map(|at| at + end),
        None => place.rfind(':'),
    };
    let (host, port) = match colon {
        Some(at) => (&place[..at], Some(&place[at + 1..])),
        None => (place, None),
    };
    let named = host.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || !(named || bracketed) {
        return (None, None);
    }
    match port {
        None | Some("") => (Some(host), None),
        Some(digits) => match digits.parse() {
            Ok(port) => (Some(host), Some(port)),
            Err(_) => (None, None),
        },
    }
}
