//! JSON text into Arrow builders, guided by the declared columns.
//!
//! An object is walked once to find where each column's value lies (a value is stepped over, not
//! parsed), then each column takes its value. Which field name is which column is remembered by its
//! place in the object, as records of one topic mostly have the same fields in the same order: then
//! finding a column is one comparison of bytes.

use std::borrow::Cow;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::DataType;
use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use millstream_sql::types::{Column, SqlType};

use super::scan::{Cursor, Kind, SyntaxError, Token, unescape};
use crate::formats::columns::{Builder, ListBuilder, MapBuilder, StructBuilder};
use crate::formats::number::{self, Decimal};
use crate::formats::{DecodeError, Decoded, Decoder, Payload};

/// Field names remembered per object shape: bounds what hostile records can make us keep.
const MEMO_FIELDS_MAX: usize = 256;
const MEMO_NAME_MAX: usize = 256;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(crate) struct JsonDecoder {
    fields: Fields,
    builders: Vec<Builder>,
    types: Vec<DataType>,
    /// Columns that nobody reads: their values are checked, not kept.
    needless: Vec<bool>,
    rows: usize,
    bare: bool,
}

/// The fields of the record's object, or of a STRUCT.
struct Fields {
    names: Vec<String>,
    shapes: Vec<Shape>,
    /// The names met at each place of the last objects, and their columns.
    memo: Vec<(Box<[u8]>, Option<Match>)>,
    /// Where each column's value lies in the object at hand.
    found: Vec<Option<(Token, bool)>>,
}

#[derive(Clone, Copy)]
struct Match {
    column: usize,
    exact: bool,
}

/// What is needed beside the builder to read a type's JSON.
enum Shape {
    Leaf,
    Item(Box<Shape>),
    Fields(Box<Fields>),
}

/// Why a value does not fit, and the path to it from where we are, innermost part last.
struct Misfit {
    path: String,
    reason: String,
}

type Result<T, E = Misfit> = std::result::Result<T, E>;

/// The text being read; `payload` is what views may refer to.
#[derive(Clone, Copy)]
struct Text<'a> {
    json: &'a [u8],
    payload: &'a Payload<'a>,
}

impl JsonDecoder {
    pub(crate) fn new(columns: &[Column], bare: bool) -> Self {
        let fields = Fields::new(columns.iter().map(|c| (c.name.clone(), &c.ty)));
        let builders = columns.iter().map(|c| Builder::new(&c.ty)).collect();
        let types = columns.iter().map(|c| c.ty.to_arrow()).collect();
        Self { fields, builders, types, needless: vec![false; columns.len()], rows: 0, bare }
    }

    fn nulls(&mut self) {
        self.builders.iter_mut().for_each(Builder::null);
    }

    fn decode_json(&mut self, text: Text<'_>) -> Result<Decoded> {
        let mut cursor = Cursor::new(text.json, 0);
        cursor.skip_space();
        if !self.bare && cursor.peek() == Some(b'{') {
            if let Err(e) = self.fields.find_all(&mut cursor).and_then(|()| end(&mut cursor)) {
                self.nulls();
                return Err(e.into());
            }
            let done = self.fields.append(&mut self.builders, &self.needless, text);
            return done.map(|()| Decoded::Row);
        }
        let token = match cursor.value().and_then(|token| end(&mut cursor).map(|()| token)) {
            Ok(token) => token,
            Err(e) => {
                self.nulls();
                return Err(e.into());
            }
        };
        match (self.bare, self.builders.as_mut_slice(), self.fields.shapes.as_mut_slice()) {
            (true, [builder], [shape]) => append(builder, shape, token, text).map(|()| Decoded::Row),
            _ => {
                self.nulls();
                if token.kind == Kind::Null {
                    Ok(Decoded::Null)
                } else {
                    Err(misfit("an object", token, text))
                }
            }
        }
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, payload: Payload<'_>) -> std::result::Result<Decoded, DecodeError> {
        self.rows += 1;
        let Some(json) = payload.bytes else {
            self.nulls();
            return Ok(Decoded::Null);
        };
        self.decode_json(Text { json, payload: &payload })
            .map_err(|e| DecodeError::new(format!("${}: {}", e.path, e.reason)))
    }

    fn need_only(&mut self, columns: &[bool]) {
        // A bare value is the only column: there is nothing to win.
        if columns.len() == self.needless.len() && !self.bare {
            self.needless = columns.iter().map(|needed| !needed).collect();
        }
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        let rows = std::mem::take(&mut self.rows);
        let columns = self.builders.iter_mut().zip(&self.needless).zip(&self.types);
        let array = |((builder, needless), ty): ((&mut Builder, &bool), &DataType)| {
            let array = builder.finish();
            if *needless { new_null_array(ty, rows) } else { array }
        };
        columns.map(array).collect()
    }
}

/// Nothing but white space may follow the value.
fn end(cursor: &mut Cursor<'_>) -> Result<(), SyntaxError> {
    cursor.skip_space();
    match cursor.peek() {
        None => Ok(()),
        Some(_) => Err(SyntaxError { expected: "the end of the text", at: cursor.at }),
    }
}

impl Fields {
    fn new<'t>(fields: impl Iterator<Item = (String, &'t SqlType)>) -> Fields {
        let (names, shapes): (Vec<_>, Vec<_>) =
            fields.map(|(name, ty)| (name, Shape::new(ty))).unzip();
        let found = vec![None; names.len()];
        Fields { names, shapes, memo: Vec::new(), found }
    }

    /// Walks the object at the cursor and notes where each column's value lies.
    fn find_all(&mut self, cursor: &mut Cursor<'_>) -> Result<(), SyntaxError> {
        self.found.fill(None);
        cursor.expect(b'{', "an object")?;
        let mut first = true;
        let mut place = 0;
        while cursor.next_item(&mut first, b'}', "a comma or '}'")? {
            let name = cursor.key()?;
            let value = cursor.value()?;
            if let Some(hit) = self.column_of(place, name, cursor.json) {
                let found = &mut self.found[hit.column];
                // A name that matches exactly counts before one that does not; else the last counts.
                if hit.exact || !matches!(found, Some((_, true))) {
                    *found = Some((value, hit.exact));
                }
            }
            place += 1;
        }
        Ok(())
    }

    fn column_of(&mut self, place: usize, name: Token, json: &[u8]) -> Option<Match> {
        let bytes = name.bytes(json);
        if let Some((known, hit)) = self.memo.get(place)
            && **known == *bytes
        {
            return *hit;
        }
        let text = text_of(name, json);
        let text = text.as_deref().unwrap_or("");
        let hit = self.look_up(text);
        let memo = (bytes.into(), hit);
        if place < self.memo.len() && bytes.len() <= MEMO_NAME_MAX {
            self.memo[place] = memo;
        } else if place == self.memo.len()
            && place < MEMO_FIELDS_MAX
            && bytes.len() <= MEMO_NAME_MAX
        {
            self.memo.push(memo);
        }
        hit
    }

    fn look_up(&self, name: &str) -> Option<Match> {
        if let Some(column) = self.names.iter().position(|n| n == name) {
            return Some(Match { column, exact: true });
        }
        let same = |n: &String| {
            n.eq_ignore_ascii_case(name)
                || (!name.is_ascii() && n.to_uppercase() == name.to_uppercase())
        };
        let column = self.names.iter().position(same)?;
        Some(Match { column, exact: false })
    }

    /// Appends one value to each builder, from the places found. After a failure the remaining
    /// builders get NULL.
    fn append(&mut self, builders: &mut [Builder], needless: &[bool], text: Text<'_>) -> Result<()> {
        let mut result = Ok(());
        for (i, (builder, shape)) in builders.iter_mut().zip(&mut self.shapes).enumerate() {
            match self.found[i] {
                Some((token, _)) if needless.get(i) == Some(&true) && fits(builder, token, text) => {}
                None if needless.get(i) == Some(&true) => {}
                Some((token, _)) if result.is_ok() => {
                    result = append(builder, shape, token, text).map_err(|e| Misfit {
                        path: format!(".{}{}", self.names[i], e.path),
                        ..e
                    });
                }
                _ => builder.null(),
            }
        }
        result
    }
}

impl Shape {
    fn new(ty: &SqlType) -> Shape {
        match ty {
            SqlType::Array(item) => Shape::Item(Box::new(Shape::new(item))),
            SqlType::Map(_, value) => Shape::Item(Box::new(Shape::new(value))),
            SqlType::Struct(fields) => {
                let fields = fields.iter().map(|f| (f.name.clone(), &f.ty));
                Shape::Fields(Box::new(Fields::new(fields)))
            }
            _ => Shape::Leaf,
        }
    }
}

/// Whether a value is sure to fit a column, seen without reading it. What is not sure is appended as
/// if it were needed, to find out.
fn fits(builder: &Builder, token: Token, text: Text<'_>) -> bool {
    match (builder, token.kind) {
        (_, Kind::Null) => true,
        (Builder::Text(_), Kind::Text { escaped: false }) => {
            std::str::from_utf8(token.bytes(text.json)).is_ok()
        }
        (Builder::Boolean(_), Kind::True | Kind::False) => true,
        (Builder::Int(_) | Builder::Bigint(_) | Builder::Double(_), Kind::Integer) => true,
        (Builder::Double(_), Kind::Decimal) => true,
        (Builder::Date(_) | Builder::Time(_) | Builder::Timestamp(_), Kind::Integer) => true,
        _ => false,
    }
}

/// Appends exactly one value: the token's, or NULL when that does not fit.
fn append(builder: &mut Builder, shape: &mut Shape, token: Token, text: Text<'_>) -> Result<()> {
    if token.kind == Kind::Null {
        builder.null();
        return Ok(());
    }
    match (builder, shape) {
        (Builder::List(list), Shape::Item(shape)) => append_list(list, shape, token, text),
        (Builder::Map(map), Shape::Item(shape)) => append_map(map, shape, token, text),
        (Builder::Struct(record), Shape::Fields(fields)) => {
            append_struct(record, fields, token, text)
        }
        (builder, _) => {
            let result = append_scalar(builder, token, text);
            if result.is_err() {
                builder.null();
            }
            result
        }
    }
}

/// Appends the value; nothing when it does not fit.
fn append_scalar(builder: &mut Builder, token: Token, text: Text<'_>) -> Result<()> {
    let fail = |expected: &str| Err(misfit(expected, token, text));
    match builder {
        Builder::Boolean(b) => match token.kind {
            Kind::True => b.append_value(true),
            Kind::False => b.append_value(false),
            _ => return fail("BOOLEAN"),
        },
        Builder::Int(b) => match whole::<i32>(token, text) {
            Some(value) => b.append_value(value as i32),
            None => return fail("INTEGER"),
        },
        Builder::Bigint(b) => match whole::<i64>(token, text) {
            Some(value) => b.append_value(value),
            None => return fail("BIGINT"),
        },
        Builder::Double(b) => match double(token, text) {
            Some(value) => b.append_value(value),
            None => return fail("DOUBLE"),
        },
        Builder::Decimal(b, shape) => {
            match decimal_text(token, text).and_then(|t| Decimal::parse(&t)?.to_i128(*shape)) {
                Some(value) => b.append_value(value),
                None => return fail(&format!("DECIMAL({}, {})", shape.precision, shape.scale)),
            }
        }
        Builder::WideDecimal(b, shape) => {
            match decimal_text(token, text).and_then(|t| Decimal::parse(&t)?.to_i256(*shape)) {
                Some(value) => b.append_value(value),
                None => return fail(&format!("DECIMAL({}, {})", shape.precision, shape.scale)),
            }
        }
        Builder::Text(b) => {
            let done = match token.kind {
                Kind::Text { escaped: false } => b.append_part(text.payload, token.bytes(text.json)),
                _ => string_of(token, text.json).map(|s| b.append(&s)).is_some(),
            };
            if !done {
                return fail("UTF-8 text");
            }
        }
        Builder::Bytes(b) => match bytes_of(token, text) {
            Some(bytes) => b.append_value(bytes),
            None => return fail("BYTES as base64"),
        },
        Builder::Date(b) => match whole::<i64>(token, text) {
            Some(days) => b.append_value(days as i32),
            None => return fail("DATE as days"),
        },
        Builder::Time(b) => match whole::<i64>(token, text) {
            Some(ms) => b.append_value(ms as i32),
            None => return fail("TIME as milliseconds"),
        },
        Builder::Timestamp(b) => match whole::<i64>(token, text) {
            Some(ms) => b.append_value(ms),
            None => return fail("TIMESTAMP as milliseconds"),
        },
        Builder::List(_) | Builder::Map(_) | Builder::Struct(_) => {
            unreachable!("nested builders have nested shapes: both are made from one type")
        }
    }
    Ok(())
}

fn append_list(
    list: &mut ListBuilder,
    shape: &mut Shape,
    token: Token,
    text: Text<'_>,
) -> Result<()> {
    if token.kind != Kind::Array {
        list.end(false);
        return Err(misfit("ARRAY", token, text));
    }
    let mut cursor = Cursor::new(text.json, token.start + 1);
    let mut first = true;
    let mut place = 0;
    let mut items = || -> Result<()> {
        while cursor.next_item(&mut first, b']', "a comma or ']'")? {
            let item = cursor.value()?;
            append(&mut list.item, shape, item, text)
                .map_err(|e| Misfit { path: format!("[{place}]{}", e.path), ..e })?;
            place += 1;
        }
        Ok(())
    };
    let result = items();
    list.end(result.is_ok());
    result
}

fn append_map(map: &mut MapBuilder, shape: &mut Shape, token: Token, text: Text<'_>) -> Result<()> {
    let result = if token.kind == Kind::Object {
        append_entries(map, shape, token, text)
    } else {
        Err(misfit("MAP", token, text))
    };
    map.end(result.is_ok());
    result
}

/// The entries of an object; the last of duplicate keys counts, at the place of the first.
fn append_entries(
    map: &mut MapBuilder,
    shape: &mut Shape,
    token: Token,
    text: Text<'_>,
) -> Result<()> {
    let mut cursor = Cursor::new(text.json, token.start + 1);
    let mut first = true;
    let mut entries: Vec<(Token, Token)> = Vec::new();
    let mut places = hashbrown::HashMap::new();
    while cursor.next_item(&mut first, b'}', "a comma or '}'")? {
        let (name, value) = (cursor.key()?, cursor.value()?);
        let key = text_of(name, text.json).ok_or_else(|| misfit("UTF-8 text", name, text))?;
        match places.entry(key) {
            hashbrown::hash_map::Entry::Occupied(place) => {
                let place: usize = *place.get();
                entries[place].1 = value;
            }
            hashbrown::hash_map::Entry::Vacant(place) => {
                place.insert(entries.len());
                entries.push((name, value));
            }
        }
    }
    for (name, value) in entries {
        let Builder::Text(keys) = &mut map.key else {
            return Err(Misfit {
                path: String::new(),
                reason: "JSON maps have STRING keys".to_owned(),
            });
        };
        let key = text_of(name, text.json).ok_or_else(|| misfit("UTF-8 text", name, text))?;
        keys.append(&key);
        append(&mut map.value, shape, value, text)
            .map_err(|e| Misfit { path: format!(".{key}{}", e.path), ..e })?;
    }
    Ok(())
}

fn append_struct(
    record: &mut StructBuilder,
    fields: &mut Fields,
    token: Token,
    text: Text<'_>,
) -> Result<()> {
    let mut cursor = Cursor::new(text.json, token.start);
    let found = match token.kind {
        Kind::Object => fields.find_all(&mut cursor).map_err(Misfit::from),
        _ => Err(misfit("STRUCT", token, text)),
    };
    let result = match found {
        Ok(()) => fields.append(&mut record.fields, &[], text),
        Err(e) => {
            record.fields.iter_mut().for_each(Builder::null);
            Err(e)
        }
    };
    record.end(result.is_ok());
    result
}

/// An integer: a number (its fraction cut off, wrapping as Java's `intValue` does) or the text of one
/// that fits `T`.
fn whole<T: std::str::FromStr + Into<i64>>(token: Token, text: Text<'_>) -> Option<i64> {
    let bytes = token.bytes(text.json);
    match token.kind {
        Kind::Integer => short_integer(bytes)
            .or_else(|| Decimal::parse(bytes).map(Decimal::to_i64_wrapping)),
        Kind::Decimal => Decimal::parse(bytes).map(Decimal::to_i64_wrapping),
        Kind::Text { .. } => {
            number::integer::<T>(text_of(token, text.json)?.as_bytes()).map(Into::into)
        }
        _ => None,
    }
}

/// An integer of at most 18 digits.
#[inline]
fn short_integer(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 18 {
        return None;
    }
    let value = digits.iter().fold(0i64, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some(if negative { -value } else { value })
}

fn double(token: Token, text: Text<'_>) -> Option<f64> {
    match token.kind {
        // The cursor has checked the grammar, which is part of Rust's own.
        Kind::Integer | Kind::Decimal => std::str::from_utf8(token.bytes(text.json)).ok()?.parse().ok(),
        Kind::Text { .. } => number::double(text_of(token, text.json)?.as_bytes()),
        _ => None,
    }
}

fn decimal_text<'a>(token: Token, text: Text<'a>) -> Option<Cow<'a, [u8]>> {
    match token.kind {
        Kind::Integer | Kind::Decimal => Some(Cow::Borrowed(token.bytes(text.json))),
        Kind::Text { .. } => match text_of(token, text.json)? {
            Cow::Borrowed(text) => Some(Cow::Borrowed(text.as_bytes())),
            Cow::Owned(text) => Some(Cow::Owned(text.into_bytes())),
        },
        _ => None,
    }
}

fn bytes_of(token: Token, text: Text<'_>) -> Option<Vec<u8>> {
    match token.kind {
        Kind::Text { .. } => BASE64.decode(text_of(token, text.json)?.as_bytes()).ok(),
        _ => None,
    }
}

/// The text of a string token; `None` when it is not UTF-8.
fn text_of(token: Token, json: &[u8]) -> Option<Cow<'_, str>> {
    match token.kind {
        Kind::Text { escaped: true } => unescape(token.bytes(json)).map(Cow::Owned),
        _ => std::str::from_utf8(token.bytes(json)).ok().map(Cow::Borrowed),
    }
}

/// Any value as STRING: text bare, numbers as `BigDecimal` prints them, arrays as `[a, b]` with bare
/// items, objects as JSON again, without white space.
fn string_of(token: Token, json: &[u8]) -> Option<String> {
    match token.kind {
        Kind::Text { .. } => text_of(token, json).map(Cow::into_owned),
        Kind::Integer | Kind::Decimal => {
            Decimal::parse(token.bytes(json)).map(|d| d.java_text())
        }
        Kind::Null => Some("null".to_owned()),
        Kind::True => Some("true".to_owned()),
        Kind::False => Some("false".to_owned()),
        Kind::Object => compact(token.bytes(json)),
        Kind::Array => {
            let mut cursor = Cursor::new(json, token.start + 1);
            let mut first = true;
            let mut out = String::from("[");
            while cursor.next_item(&mut first, b']', "a comma or ']'").ok()? {
                if out.len() > 1 {
                    out.push_str(", ");
                }
                out.push_str(&string_of(cursor.value().ok()?, json)?);
            }
            out.push(']');
            Some(out)
        }
    }
}

/// JSON without the white space between its parts. The text was checked by the cursor.
fn compact(json: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(json.len());
    let mut in_string = false;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\n' | b'\t' | b'\r' if !in_string => continue,
            b'\\' => {
                out.push(*byte);
                out.extend(bytes.next());
                continue;
            }
            b'"' => in_string = !in_string,
            _ => {}
        }
        out.push(*byte);
    }
    String::from_utf8(out).ok()
}

fn misfit(expected: &str, token: Token, text: Text<'_>) -> Misfit {
    let found = match token.kind {
        Kind::Null => "null",
        Kind::True | Kind::False => "a boolean",
        Kind::Integer | Kind::Decimal => "the number",
        Kind::Text { .. } => "the text",
        Kind::Object => "an object",
        Kind::Array => "an array",
    };
    let shown = match token.kind {
        Kind::Integer | Kind::Decimal | Kind::Text { .. } => {
            let bytes = token.bytes(text.json);
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            format!(" {shown}{}", if bytes.len() > 40 { "…" } else { "" })
        }
        _ => String::new(),
    };
    Misfit { path: String::new(), reason: format!("expected {expected}, found {found}{shown}") }
}

impl From<SyntaxError> for Misfit {
    fn from(e: SyntaxError) -> Self {
        let reason = format!("not JSON: expected {} at byte {}", e.expected, e.at);
        Misfit { path: String::new(), reason }
    }
}
