//! JSON texts. Objects keep the order of their fields, numbers keep their text.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, Time32MillisecondType};

use super::typed::{B, I, List, MapOf, Opt, S, f1, f2, rows, some};
use super::{Call, Fail, Kernel, Library, Memo};
use crate::expr::eval::cast;
use crate::expr::eval::decimal::{self, DecimalColumn, Rounding};
use crate::expr::java;

pub(super) fn add(lib: &mut Library) {
    lib.category("JSON");
    let memo = Memo::new();
    lib.add(
        "EXTRACTJSONFIELD",
        "The text of what a path leads to in a JSON text.",
        [(
            "S, S -> S",
            f2::<S, S, S>(move |json, path| {
                let path = memo.get(path, path_steps)?;
                Ok(follow(&parse(json)?, &path).map(Json::text))
            }),
        )],
    );
    lib.add(
        "IS_JSON_STRING",
        "Whether a text is valid JSON.",
        [("S -> B", f1::<Opt<S>, B>(|json| some(json.is_some_and(|j| parse(j).is_ok()))))],
    );
    lib.add(
        "JSON_ARRAY_CONTAINS",
        "Whether a JSON array has an element equal to a value.",
        [("S, T -> B", array_contains())],
    );
    lib.add(
        "JSON_ARRAY_LENGTH",
        "The number of elements of a JSON array.",
        [(
            "S -> I",
            f1::<S, I>(|json| match parse(json)? {
                Json::Array(items) => some(items.len() as i32),
                _ => Ok(None),
            }),
        )],
    );
    lib.add(
        "JSON_CONCAT",
        "JSON objects merged, or arrays and values one after the other.",
        [("S... -> S", concat())],
    );
    lib.add(
        "JSON_ITEMS",
        "The elements of a JSON array, each as JSON text.",
        [(
            "S -> [S]",
            f1::<S, List<S>>(|json| match parse(json)? {
                Json::Array(items) => some(items.iter().map(|i| Some(i.json())).collect()),
                _ => Ok(None),
            }),
        )],
    );
    lib.add(
        "JSON_KEYS",
        "The field names of a JSON object.",
        [(
            "S -> [S]",
            f1::<S, List<S>>(|json| match parse(json)? {
                Json::Object(fields) => some(fields.into_iter().map(|(k, _)| Some(k)).collect()),
                _ => Ok(None),
            }),
        )],
    );
    lib.add(
        "JSON_RECORDS",
        "The fields of a JSON object with their values as text.",
        [(
            "S -> {S:S}",
            f1::<S, MapOf<S, S>>(|json| match parse(json)? {
                Json::Object(fields) => {
                    some(fields.into_iter().map(|(k, v)| (k, Some(v.text()))).collect())
                }
                _ => Ok(None),
            }),
        )],
    );
    lib.add(
        "TO_JSON_STRING",
        "A value as JSON text.",
        [(
            "T -> S",
            Box::new(|call: &mut Call<'_, '_>| {
                let arg = call.args.remove(0);
                rows::<S>(call, |row| {
                    let mut out = String::new();
                    write_value(&arg.array, arg.at(row), &mut out);
                    some(out)
                })
            }) as Kernel,
        )],
    );
}

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
enum Json {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Scalars as plain text, the rest as JSON.
    fn text(&self) -> String {
        match self {
            Json::String(text) => text.clone(),
            other => other.json(),
        }
    }

    fn json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Json::Number(text) => out.push_str(text),
            Json::String(text) => write_string(text, out),
            Json::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Json::Object(fields) => {
                out.push('{');
                for (i, (name, value)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_string(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// A JSON string as Jackson writes it.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Nesting deeper than this is refused.
const DEEPEST: usize = 512;

fn parse(text: &str) -> Result<Json, Fail> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0).filter(|_| {
        reader.blanks();
        reader.at == text.len()
    });
    value.ok_or(Fail::Borrowed("the text is no JSON"))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn blanks(&mut self) {
        let rest = self.text[self.at..].trim_start_matches([' ', '\t', '\n', '\r']);
        self.at = self.text.len() - rest.len();
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > DEEPEST {
            return None;
        }
        self.blanks();
        match self.text.as_bytes().get(self.at)? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(Json::String),
            b't' => self.take("true").then_some(Json::Bool(true)),
            b'f' => self.take("false").then_some(Json::Bool(false)),
            b'n' => self.take("null").then_some(Json::Null),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.take("{");
        let mut fields: Vec<(String, Json)> = vec![];
        self.blanks();
        if self.take("}") {
            return Some(Json::Object(fields));
        }
        loop {
            self.blanks();
            let name = self.string()?;
            self.blanks();
            if !self.take(":") {
                return None;
            }
            let value = self.value(depth + 1)?;
            match fields.iter_mut().find(|(n, _)| *n == name) {
                Some((_, old)) => *old = value,
                None => fields.push((name, value)),
            }
            self.blanks();
            if self.take("}") {
                return Some(Json::Object(fields));
            }
            if !self.take(",") {
                return None;
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        self.take("[");
        let mut items = vec![];
        self.blanks();
        if self.take("]") {
            return Some(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blanks();
            if self.take("]") {
                return Some(Json::Array(items));
            }
            if !self.take(",") {
                return None;
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        if !self.take("\"") {
            return None;
        }
        let mut out = String::new();
        let mut chars = self.text[self.at..].char_indices();
        let start = self.at;
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.at = start + i + 1;
                    return Some(out);
                }
                '\\' => match chars.next()?.1 {
                    'n' => out.push('\n'),
                    't' => out.push('\t'),
                    'r' => out.push('\r'),
                    'b' => out.push('\u{8}'),
                    'f' => out.push('\u{c}'),
                    'u' => {
                        let high = hex4(&mut chars)?;
                        let code = if (0xD800..0xDC00).contains(&high) {
                            if chars.next()?.1 != '\\' || chars.next()?.1 != 'u' {
                                return None;
                            }
                            let low = hex4(&mut chars)?.checked_sub(0xDC00)?;
                            0x10000 + ((high - 0xD800) << 10) + low
                        } else {
                            high
                        };
                        out.push(char::from_u32(code)?);
                    }
                    c @ ('"' | '\\' | '/') => out.push(c),
                    _ => return None,
                },
                c if c < ' ' => return None,
                c => out.push(c),
            }
        }
        None
    }

    fn number(&mut self) -> Option<Json> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let digits = |at: &mut usize| {
            let from = *at;
            while bytes.get(*at).is_some_and(u8::is_ascii_digit) {
                *at += 1;
            }
            *at > from
        };
        let mut at = start;
        if bytes.get(at) == Some(&b'-') {
            at += 1;
        }
        let whole = at;
        if !digits(&mut at) || (bytes[whole] == b'0' && at > whole + 1) {
            return None;
        }
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            if !digits(&mut at) {
                return None;
            }
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            at += 1;
            if matches!(bytes.get(at), Some(b'+' | b'-')) {
                at += 1;
            }
            if !digits(&mut at) {
                return None;
            }
        }
        self.at = at;
        Some(Json::Number(self.text[start..at].to_owned()))
    }
}

fn hex4(chars: &mut std::str::CharIndices<'_>) -> Option<u32> {
    let mut value = 0;
    for _ in 0..4 {
        value = value * 16 + chars.next()?.1.to_digit(16)?;
    }
    Some(value)
}

#[derive(Debug)]
enum Step {
    Field(String),
    Item(usize),
    /// An index that no array has, such as `[-1]`.
    Nothing,
}

/// Reads `$.a.b[0]`, `$['a b']`.
fn path_steps(path: &str) -> Result<Vec<Step>, Fail> {
    let wrong = || Fail::from(format!("{path:?} is no JSON path"));
    let mut rest = path.strip_prefix('$').ok_or_else(wrong)?;
    let mut steps = vec![];
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            if end == 0 {
                return Err(wrong());
            }
            steps.push(Step::Field(after[..end].to_owned()));
            rest = &after[end..];
        } else if let Some(after) = rest.strip_prefix('[') {
            let quote = after.chars().next().filter(|c| *c == '"' || *c == '\'');
            let (inner, behind) = match quote {
                Some(quote) => {
                    let end = after[1..].find(quote).ok_or_else(wrong)? + 1;
                    let behind = after[end + 1..].strip_prefix(']').ok_or_else(wrong)?;
                    (&after[1..end], behind)
                }
                None => after.split_once(']').ok_or_else(wrong)?,
            };
            steps.push(match (quote, inner.parse::<i64>()) {
                (None, Ok(at)) => usize::try_from(at).map_or(Step::Nothing, Step::Item),
                _ => Step::Field(inner.to_owned()),
            });
            rest = behind;
        } else {
            return Err(wrong());
        }
    }
    Ok(steps)
}

fn follow<'a>(json: &'a Json, path: &[Step]) -> Option<&'a Json> {
    path.iter().try_fold(json, |at, step| match (at, step) {
        (Json::Object(fields), Step::Field(name)) => {
            fields.iter().find(|(n, _)| n == name).map(|(_, v)| v)
        }
        (Json::Array(items), Step::Item(i)) => items.get(*i),
        _ => None,
    })
}

fn array_contains() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        let texts = args[0].array.as_string_view();
        rows::<B>(call, |row| {
            if args[0].is_null(row) {
                return some(false);
            }
            let Ok(Json::Array(items)) = parse(texts.value(args[0].at(row))) else {
                return some(false);
            };
            some(items.iter().any(|item| equals(item, &args[1].array, args[1].at(row))))
        })
    })
}

/// Equal in value and in kind: `1` is no `1.0` and no `"1"`.
fn equals(json: &Json, array: &dyn Array, at: usize) -> bool {
    if array.is_null(at) {
        return *json == Json::Null;
    }
    let integer = |text: &String| !text.contains(['.', 'e', 'E']);
    match (json, array.data_type()) {
        (Json::Bool(b), DataType::Boolean) => *b == array.as_boolean().value(at),
        (Json::String(s), DataType::Utf8View) => s == array.as_string_view().value(at),
        (Json::Number(n), DataType::Int32) => {
            integer(n) && n.parse() == Ok(array.as_primitive::<Int32Type>().value(at))
        }
        (Json::Number(n), DataType::Int64) => {
            integer(n) && n.parse() == Ok(array.as_primitive::<Int64Type>().value(at))
        }
        (Json::Number(n), DataType::Float64) => {
            !integer(n) && n.parse() == Ok(array.as_primitive::<Float64Type>().value(at))
        }
        (Json::Number(n), DataType::Decimal128(..) | DataType::Decimal256(..)) => {
            match (DecimalColumn::open(array), decimal::parse(n)) {
                (Some(column), Some((value, scale))) if !integer(n) => {
                    let common = scale.max(column.scale());
                    let up = |v, s| decimal::rescale(v, s, common, Rounding::Exact);
                    up(value, scale) == up(column.get(at), column.scale())
                }
                _ => false,
            }
        }
        _ => false,
    }
}

fn concat() -> Kernel {
    Box::new(|call: &mut Call<'_, '_>| {
        let args = std::mem::take(&mut call.args);
        rows::<S>(call, |row| {
            let mut values = Vec::with_capacity(args.len());
            for arg in &args {
                if arg.is_null(row) {
                    return Ok(None);
                }
                values.push(parse(arg.array.as_string_view().value(arg.at(row)))?);
            }
            Ok(concatenated(values).map(|json| json.json()))
        })
    })
}

fn concatenated(values: Vec<Json>) -> Option<Json> {
    if values.is_empty() {
        return None;
    }
    if !values.iter().all(|v| matches!(v, Json::Object(_))) {
        return Some(Json::Array(
            values
                .into_iter()
                .flat_map(|v| match v {
                    Json::Array(items) => items,
                    other => vec![other],
                })
                .collect(),
        ));
    }
    let mut merged: Vec<(String, Json)> = vec![];
    for value in values {
        let Json::Object(fields) = value else { continue };
        for (name, value) in fields {
            match merged.iter_mut().find(|(n, _)| *n == name) {
                Some((_, old)) => *old = value,
                None => merged.push((name, value)),
            }
        }
    }
    Some(Json::Object(merged))
}

/// One element as JSON; struct fields and map keys are sorted.
fn write_value(array: &dyn Array, at: usize, out: &mut String) {
    if array.is_null(at) {
        out.push_str("null");
        return;
    }
    match array.data_type() {
        DataType::Utf8View => write_string(array.as_string_view().value(at), out),
        DataType::Binary | DataType::Date32 | DataType::Timestamp(..) => {
            write_string(&cast::text(array, at), out);
        }
        DataType::Time32(_) => {
            let ms = array.as_primitive::<Time32MillisecondType>().value(at);
            write_string(&java::time_to_string(ms, true), out);
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(at);
            out.push('[');
            for i in 0..items.len() {
                if i > 0 {
                    out.push(',');
                }
                write_value(&items, i, out);
            }
            out.push(']');
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(at);
            let (keys, values) = (entries.column(0), entries.column(1));
            let mut order: Vec<(String, usize)> =
                (0..entries.len()).map(|i| (cast::text(keys, i), i)).collect();
            order.sort();
            write_fields(order.iter().map(|(k, i)| (k.as_str(), values.as_ref(), *i)), out);
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let mut order: Vec<(&str, &dyn Array)> =
                fields.iter().zip(columns).map(|(f, c)| (f.name().as_str(), c.as_ref())).collect();
            order.sort_by_key(|(name, _)| *name);
            write_fields(order.into_iter().map(|(name, column)| (name, column, at)), out);
        }
        _ => out.push_str(&cast::text(array, at)),
    }
}

fn write_fields<'a>(
    fields: impl Iterator<Item = (&'a str, &'a dyn Array, usize)>,
    out: &mut String,
) {
    out.push('{');
    for (i, (name, column, at)) in fields.enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        write_value(column, at, out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_is() {
        for (text, good) in [
            ("1", true),
            (" [1, 2.5e-3, \"x\\u00e4\"] ", true),
            ("{\"a\":{\"b\":[]}}", true),
            ("01", false),
            ("1 2", false),
            ("{a:1}", false),
            ("[1,]", false),
            ("\"open", false),
            ("", false),
        ] {
            assert_eq!(parse(text).is_ok(), good, "{text}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
    }
}
