//! DELIMITED: one line of comma-separated values, as Apache commons-csv reads and writes it.
//!
//! Only the first line of a payload counts. A field in quotes may hold the delimiter, line ends and
//! doubled quotes. An empty field is NULL, NULL is written as an empty field; a single NULL column is
//! a null payload. The number of fields must be that of the columns.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type,
    Time32MillisecondType, TimestampMillisecondType,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use millstream_sql::expr::java;
use millstream_sql::types::{Column, SqlType};

use super::columns::Builder;
use super::number::{self, Decimal};
use super::{DecodeError, Decoded, Decoder, Encoded, Encoder, Payload};

type Result<T> = std::result::Result<T, DecodeError>;

pub(super) struct DelimitedDecoder {
    columns: Vec<(String, SqlType, Builder)>,
    delimiter: String,
}

impl DelimitedDecoder {
    pub(super) fn new(columns: &[Column], delimiter: char) -> Self {
        let column = |c: &Column| (c.name.clone(), c.ty.clone(), Builder::new(&c.ty));
        Self { columns: columns.iter().map(column).collect(), delimiter: delimiter.to_string() }
    }

    fn fields(&self, bytes: &[u8]) -> Result<Vec<String>> {
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::new("not UTF-8 text"))?;
        let fields = first_line(text, &self.delimiter, self.columns.len())?;
        if fields.len() != self.columns.len() {
            let (found, wanted) = (fields.len(), self.columns.len());
            return Err(DecodeError::new(format!("found {found} fields, expected {wanted}")));
        }
        Ok(fields)
    }
}

impl Decoder for DelimitedDecoder {
    fn decode(&mut self, payload: Payload<'_>) -> Result<Decoded> {
        let fields = match payload.bytes {
            None => Ok(None),
            Some(bytes) => self.fields(bytes).map(Some),
        };
        let fields = match fields {
            Ok(Some(fields)) => fields,
            nothing => {
                self.columns.iter_mut().for_each(|(_, _, builder)| builder.null());
                return nothing.map(|_| Decoded::Null);
            }
        };
        let mut result = Ok(Decoded::Row);
        for ((name, ty, builder), field) in self.columns.iter_mut().zip(fields) {
            if field.is_empty() || append(builder, &field).is_none() {
                builder.null();
                if !field.is_empty() && result.is_ok() {
                    let shown: String = field.chars().take(40).collect();
                    result = Err(DecodeError::new(format!("{name}: expected {ty}, found {shown}")));
                }
            }
        }
        result
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        self.columns.iter_mut().map(|(_, _, builder)| builder.finish()).collect()
    }
}

/// The fields of the first line that is not empty. One more than `max` ends the search.
fn first_line(text: &str, delimiter: &str, max: usize) -> Result<Vec<String>> {
    let mut rest = text.trim_start_matches(['\r', '\n']);
    if rest.is_empty() {
        return Err(DecodeError::new("no fields in the record"));
    }
    let mut fields = Vec::with_capacity(max);
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted, delimiter)?,
            None => {
                let stop = rest.find(delimiter).unwrap_or(rest.len());
                let stop = rest.find(['\r', '\n']).map_or(stop, |line| stop.min(line));
                (rest[..stop].to_owned(), &rest[stop..])
            }
        };
        fields.push(field);
        match after.strip_prefix(delimiter) {
            Some(next) if fields.len() <= max => rest = next,
            _ => return Ok(fields),
        }
    }
}

/// A field after its opening quote, and what follows its closing one.
fn quoted_field<'a>(text: &'a str, delimiter: &str) -> Result<(String, &'a str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some((part, after)) = rest.split_once('"') else {
            return Err(DecodeError::new("a quoted field is not closed"));
        };
        field.push_str(part);
        if let Some(more) = after.strip_prefix('"') {
            field.push('"');
            rest = more;
            continue;
        }
        if after.starts_with(delimiter) {
            return Ok((field, after));
        }
        let after = after.trim_start_matches([' ', '\t']);
        let ends = after.is_empty() || after.starts_with(['\r', '\n']) || after.starts_with(delimiter);
        return match ends {
            true => Ok((field, after)),
            false => Err(DecodeError::new("text between a closing quote and the delimiter")),
        };
    }
}

/// Appends the field's value; nothing when it does not fit.
fn append(builder: &mut Builder, field: &str) -> Option<()> {
    let bytes = field.as_bytes();
    match builder {
        Builder::Boolean(b) => b.append_value(field.eq_ignore_ascii_case("true")),
        Builder::Int(b) => b.append_value(number::integer(bytes)?),
        Builder::Bigint(b) => b.append_value(number::integer(bytes)?),
        Builder::Double(b) => b.append_value(number::double(bytes)?),
        Builder::Decimal(b, shape) => b.append_value(Decimal::parse(bytes)?.to_i128(*shape)?),
        Builder::WideDecimal(b, shape) => b.append_value(Decimal::parse(bytes)?.to_i256(*shape)?),
        Builder::Text(b) => b.append(field),
        Builder::Bytes(b) => b.append_value(BASE64.decode(bytes).ok()?),
        Builder::Date(b) => b.append_value(number::integer(bytes)?),
        Builder::Time(b) => b.append_value(number::integer(bytes)?),
        Builder::Timestamp(b) => b.append_value(number::integer(bytes)?),
        Builder::List(_) | Builder::Map(_) | Builder::Struct(_) => return None,
    }
    Some(())
}

pub(super) struct DelimitedEncoder {
    delimiter: char,
}

impl DelimitedEncoder {
    pub(super) fn new(delimiter: char) -> Self {
        Self { delimiter }
    }
}

impl Encoder for DelimitedEncoder {
    fn encode(&self, columns: &[ArrayRef], rows: usize) -> Encoded {
        let mut out = Encoded::default();
        for row in 0..rows {
            if let [column] = columns
                && column.is_null(row)
            {
                out.null();
                continue;
            }
            let start = out.bytes.len();
            let mut line = String::new();
            match write_line(columns, row, self.delimiter, &mut line) {
                Ok(()) => {
                    out.bytes.extend_from_slice(line.as_bytes());
                    out.end_row(start);
                }
                Err(reason) => out.fail_row(start, reason),
            }
        }
        out
    }
}

fn write_line(
    columns: &[ArrayRef],
    row: usize,
    delimiter: char,
    line: &mut String,
) -> std::result::Result<(), String> {
    for (i, column) in columns.iter().enumerate() {
        if i > 0 {
            line.push(delimiter);
        }
        if !column.is_null(row) {
            let text = text_of(column, row)?;
            write_field(&text, i == 0, delimiter, line);
        }
    }
    Ok(())
}

/// Quotes a field where commons-csv 1.4 does: it decides by the first and last character, more
/// eagerly for the first field of a line.
fn write_field(text: &str, first: bool, delimiter: char, line: &mut String) {
    let quote = match text.chars().next() {
        None => first,
        Some(c) if first && !c.is_ascii_alphanumeric() => true,
        Some(c) if c <= '#' => true,
        Some(_) => {
            text.contains(['\r', '\n', '"', delimiter]) || text.ends_with(|c: char| c <= ' ')
        }
    };
    if quote {
        line.push('"');
        line.push_str(&text.replace('"', "\"\""));
        line.push('"');
    } else {
        line.push_str(text);
    }
}

fn text_of(column: &ArrayRef, row: usize) -> std::result::Result<String, String> {
    Ok(match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float64 => java::double_to_string(column.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            java::decimal_to_string(column.as_primitive::<Decimal128Type>().value(row), *scale)
        }
        DataType::Decimal256(..) => column.as_primitive::<Decimal256Type>().value_as_string(row),
        DataType::Utf8View => column.as_string_view().value(row).to_owned(),
        DataType::Binary => BASE64.encode(column.as_binary::<i32>().value(row)),
        DataType::Date32 => column.as_primitive::<Date32Type>().value(row).to_string(),
        other => {
            let time = column.as_primitive_opt::<Time32MillisecondType>();
            let timestamp = column.as_primitive_opt::<TimestampMillisecondType>();
            match (time, timestamp) {
                (Some(time), _) => time.value(row).to_string(),
                (_, Some(timestamp)) => timestamp.value(row).to_string(),
                _ => return Err(format!("the DELIMITED format does not hold {other}")),
            }
        }
    })
}
