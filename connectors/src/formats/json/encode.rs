//! Columns into JSON text, digit for digit as ksqlDB writes it.
//!
//! Fields in declared order under their stored names, NULL as `null`, doubles as Java prints them,
//! decimals plainly with their scale, BYTES in base64, DATE, TIME and TIMESTAMP as numbers. A bare
//! NULL is a null payload.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray,
    StringViewArray, StructArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type,
    Time32MillisecondType, TimestampMillisecondType,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use millstream_sql::expr::java;
use millstream_sql::types::Column;

use super::iso;
use super::scan::plain_bytes;
use crate::formats::{Encoded, Encoder};

/// How DATE, TIME and TIMESTAMP are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    /// Days, milliseconds of the day, milliseconds since 1970: in records.
    Numbers,
    /// ISO 8601: in answers to queries.
    Text,
}

pub(crate) struct JsonEncoder {
    /// `"NAME":` of each column.
    names: Vec<Vec<u8>>,
    bare: bool,
}

impl JsonEncoder {
    pub(crate) fn new(columns: &[Column], bare: bool) -> Self {
        Self { names: columns.iter().map(|c| field_name(&c.name)).collect(), bare }
    }
}

impl Encoder for JsonEncoder {
    fn encode(&self, columns: &[ArrayRef], rows: usize) -> Encoded {
        let mut out = Encoded::default();
        let writers: Result<Vec<_>, _> = columns.iter().map(|c| Writer::new(c, Times::Numbers)).collect();
        let writers = match writers {
            Ok(writers) => writers,
            Err(reason) => {
                (0..rows).for_each(|_| out.fail_row(0, reason.clone()));
                return out;
            }
        };
        for row in 0..rows {
            let start = out.bytes.len();
            match writers.as_slice() {
                [writer] if self.bare => {
                    if writer.is_null(row) {
                        out.null();
                        continue;
                    }
                    writer.write(row, &mut out.bytes);
                }
                _ => {
                    write_fields(self.names.iter().zip(&writers), row, &mut out.bytes);
                }
            }
            out.end_row(start);
        }
        out
    }
}

fn field_name(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 3);
    write_text(name, &mut out);
    out.push(b':');
    out
}

fn write_fields<'a, 'w: 'a>(
    fields: impl Iterator<Item = (&'a Vec<u8>, &'a Writer<'w>)>,
    row: usize,
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    for (i, (name, writer)) in fields.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name);
        writer.write(row, out);
    }
    out.push(b'}');
}

/// An array with its type known.
pub(crate) enum Writer<'a> {
    Boolean(&'a BooleanArray),
    Int(&'a PrimitiveArray<Int32Type>),
    Bigint(&'a PrimitiveArray<Int64Type>),
    Double(&'a PrimitiveArray<Float64Type>),
    Decimal(&'a PrimitiveArray<Decimal128Type>, i8),
    WideDecimal(&'a PrimitiveArray<Decimal256Type>),
    Text(&'a StringViewArray),
    Bytes(&'a BinaryArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Time(&'a PrimitiveArray<Time32MillisecondType>),
    Timestamp(&'a PrimitiveArray<TimestampMillisecondType>),
    List(&'a ListArray, Box<Writer<'a>>),
    Map(&'a MapArray, Box<Writer<'a>>, Box<Writer<'a>>),
    Struct(&'a StructArray, Vec<Vec<u8>>, Vec<Writer<'a>>),
    /// DATE, TIME or TIMESTAMP as text.
    TimeText(&'a dyn Array, fn(&dyn Array, usize) -> String),
}

impl<'a> Writer<'a> {
    pub(crate) fn new(array: &'a ArrayRef, times: Times) -> Result<Writer<'a>, String> {
        if times == Times::Text
            && let Some(text) = iso::writer(array.data_type())
        {
            return Ok(Writer::TimeText(array.as_ref(), text));
        }
        Ok(match array.data_type() {
            DataType::Boolean => Writer::Boolean(array.as_boolean()),
            DataType::Int32 => Writer::Int(array.as_primitive()),
            DataType::Int64 => Writer::Bigint(array.as_primitive()),
            DataType::Float64 => Writer::Double(array.as_primitive()),
            DataType::Decimal128(_, scale) => Writer::Decimal(array.as_primitive(), *scale),
            DataType::Decimal256(..) => Writer::WideDecimal(array.as_primitive()),
            DataType::Utf8View => Writer::Text(array.as_string_view()),
            DataType::Binary => Writer::Bytes(array.as_binary()),
            DataType::Date32 => Writer::Date(array.as_primitive()),
            DataType::Time32(_) => Writer::Time(
                array.as_primitive_opt().ok_or("JSON holds TIME in milliseconds only")?,
            ),
            DataType::Timestamp(..) => Writer::Timestamp(
                array.as_primitive_opt().ok_or("JSON holds TIMESTAMP in milliseconds only")?,
            ),
            DataType::List(_) => {
                let list: &ListArray = array.as_list();
                Writer::List(list, Box::new(Writer::new(list.values(), times)?))
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let key = Writer::new(map.keys(), times)?;
                Writer::Map(map, Box::new(key), Box::new(Writer::new(map.values(), times)?))
            }
            DataType::Struct(fields) => {
                let record = array.as_struct();
                let names = fields.iter().map(|f| field_name(f.name())).collect();
                let columns = record.columns().iter().map(|c| Writer::new(c, times));
                let columns: Result<_, _> = columns.collect();
                Writer::Struct(record, names, columns?)
            }
            other => return Err(format!("JSON does not hold {other}")),
        })
    }

    fn array(&self) -> &dyn Array {
        match self {
            Writer::Boolean(a) => a,
            Writer::Int(a) => a,
            Writer::Bigint(a) => a,
            Writer::Double(a) => a,
            Writer::Decimal(a, _) => a,
            Writer::WideDecimal(a) => a,
            Writer::Text(a) => a,
            Writer::Bytes(a) => a,
            Writer::Date(a) => a,
            Writer::Time(a) => a,
            Writer::Timestamp(a) => a,
            Writer::List(a, _) => a,
            Writer::Map(a, _, _) => a,
            Writer::Struct(a, _, _) => a,
            Writer::TimeText(a, _) => *a,
        }
    }

    fn is_null(&self, row: usize) -> bool {
        self.array().is_null(row)
    }

    pub(crate) fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match self {
            Writer::Boolean(a) => {
                out.extend_from_slice(if a.value(row) { b"true" } else { b"false" });
            }
            Writer::Int(a) => write_integer(a.value(row), out),
            Writer::Bigint(a) => write_integer(a.value(row), out),
            Writer::Double(a) => write_double(a.value(row), out),
            Writer::Decimal(a, scale) => {
                out.extend_from_slice(java::decimal_to_string(a.value(row), *scale).as_bytes());
            }
            Writer::WideDecimal(a) => out.extend_from_slice(a.value_as_string(row).as_bytes()),
            Writer::Text(a) => write_text(a.value(row), out),
            Writer::Bytes(a) => {
                out.push(b'"');
                out.extend_from_slice(BASE64.encode(a.value(row)).as_bytes());
                out.push(b'"');
            }
            Writer::Date(a) => write_integer(a.value(row), out),
            Writer::Time(a) => write_integer(a.value(row), out),
            Writer::Timestamp(a) => write_integer(a.value(row), out),
            Writer::List(a, items) => {
                let ends = a.value_offsets();
                out.push(b'[');
                for item in ends[row] as usize..ends[row + 1] as usize {
                    if item > ends[row] as usize {
                        out.push(b',');
                    }
                    items.write(item, out);
                }
                out.push(b']');
            }
            Writer::Map(a, keys, values) => {
                let ends = a.value_offsets();
                out.push(b'{');
                for entry in ends[row] as usize..ends[row + 1] as usize {
                    if entry > ends[row] as usize {
                        out.push(b',');
                    }
                    keys.write_key(entry, out);
                    out.push(b':');
                    values.write(entry, out);
                }
                out.push(b'}');
            }
            Writer::Struct(_, names, columns) => write_fields(names.iter().zip(columns), row, out),
            Writer::TimeText(a, text) => write_text(&text(*a, row), out),
        }
    }

    /// A map's key: always in quotes.
    fn write_key(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Writer::Text(_) | Writer::TimeText(..) => self.write(row, out),
            _ => {
                out.push(b'"');
                self.write(row, out);
                out.push(b'"');
            }
        }
    }
}

fn write_integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// NaN and the infinities are no JSON numbers: Jackson puts them in quotes.
fn write_double(value: f64, out: &mut Vec<u8>) {
    // In this range Java writes the shortest digits plainly, as zmij does.
    if (1e-3..1e7).contains(&value.abs()) {
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format_finite(value);
        if text.contains('.') && !text.contains('e') {
            out.extend_from_slice(text.as_bytes());
            return;
        }
    }
    let quote = !value.is_finite();
    if quote {
        out.push(b'"');
    }
    out.extend_from_slice(java::double_to_string(value).as_bytes());
    if quote {
        out.push(b'"');
    }
}

/// Text in quotes, escaped as Jackson does: quotes, backslashes and control characters only.
pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let plain = plain_bytes(rest);
        out.extend_from_slice(&rest[..plain]);
        let Some((byte, after)) = rest[plain..].split_first() else { break };
        rest = after;
        let letter = match byte {
            8 => b'b',
            9 => b't',
            10 => b'n',
            12 => b'f',
            13 => b'r',
            0..0x20 => b'u',
            quote_or_backslash => *quote_or_backslash,
        };
        out.extend_from_slice(&[b'\\', letter]);
        if letter == b'u' {
            out.extend_from_slice(format!("{byte:04X}").as_bytes());
        }
    }
    out.push(b'"');
}
