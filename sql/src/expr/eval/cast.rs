//! CAST between SQL types, and the text of any value.
//!
//! An element that cannot be converted fails; in a nested value the whole row does. Which pairs
//! exist is [`supported`]'s to say, and the binder asks it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Float64Array, Int32Array,
    Int64Array, ListArray, MapArray, StringViewArray, StringViewBuilder, StructArray,
    Time32MillisecondArray, TimestampMillisecondArray, new_null_array,
};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType, i256,
};
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD as BASE64};

use super::decimal::{self, DecimalColumn, Rounding};
use super::{Fail, FailedRows, Input, Node, NodeRef, Run, Value, null_out};
use crate::expr::java;
use crate::types::SqlType;

/// Whether CAST from one type to the other exists.
pub(crate) fn supported(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::*;
    match (from, to) {
        (a, b) if a == b => true,
        (_, String) => true,
        (String, Boolean | Int | Bigint | Double | Decimal { .. } | Bytes) => true,
        (String, Date | Time | Timestamp) => true,
        (a, b) if a.is_numeric() && b.is_numeric() => true,
        (Timestamp, Date | Time) | (Date, Timestamp) => true,
        (Array(a), Array(b)) => supported(a, b),
        (Map(k, v), Map(l, w)) => supported(k, l) && supported(v, w),
        (Struct(a), Struct(b)) => b.iter().all(|field| {
            a.iter().find(|f| f.name == field.name).is_none_or(|f| supported(&f.ty, &field.ty))
        }),
        _ => false,
    }
}

#[derive(Debug)]
pub(crate) struct CastNode {
    pub operand: NodeRef,
    pub from: SqlType,
    pub to: SqlType,
}

impl Node for CastNode {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value {
        let operand = self.operand.eval(input, run).contained();
        let (array, errors) = cast(&operand.array, &self.from, &self.to);
        for (at, message) in errors {
            if operand.scalar {
                (0..input.rows).for_each(|row| run.fail(row, message.clone()));
            } else {
                run.fail(at, message);
            }
        }
        Value { array, scalar: operand.scalar, failed: None }
    }
}

type Errors = Vec<(usize, Fail)>;

/// Converts a column; the places that failed are NULL and listed.
pub(crate) fn cast(array: &ArrayRef, from: &SqlType, to: &SqlType) -> (ArrayRef, Errors) {
    use SqlType::*;
    if from == to {
        return (array.clone(), vec![]);
    }
    let total = |a: ArrayRef| (a, vec![]);
    let kernel = || total(arrow_cast(array, &to.to_arrow()).expect("a total conversion"));
    match (from, to) {
        (Int, Bigint | Double) | (Bigint, Double) => kernel(),
        (Bigint, Int) => {
            let a = array.as_primitive::<Int64Type>();
            total(Arc::new(a.unary::<_, Int32Type>(|v| v as i32)))
        }
        (Double, Int) => {
            let a = array.as_primitive::<Float64Type>();
            total(Arc::new(a.unary::<_, Int32Type>(|v| v as i32)))
        }
        (Double, Bigint) => {
            let a = array.as_primitive::<Float64Type>();
            total(Arc::new(a.unary::<_, Int64Type>(|v| v as i64)))
        }
        (Decimal { .. }, Int | Bigint | Double) => from_decimal(array, to),
        (_, Decimal { precision, scale }) => to_decimal(array, *precision, *scale),
        (Timestamp, Date) => {
            let a = array.as_primitive::<TimestampMillisecondType>();
            total(Arc::new(a.unary::<_, Date32Type>(|v| v.div_euclid(java::DAY_MS) as i32)))
        }
        (Timestamp, Time) => {
            let a = array.as_primitive::<TimestampMillisecondType>();
            total(Arc::new(
                a.unary::<_, Time32MillisecondType>(|v| v.rem_euclid(java::DAY_MS) as i32),
            ))
        }
        (Date, Timestamp) => {
            let a = array.as_primitive::<Date32Type>();
            total(Arc::new(a.unary::<_, TimestampMillisecondType>(|v| i64::from(v) * java::DAY_MS)))
        }
        (Int | Bigint, String) => total(integers(array)),
        (_, String) => {
            let text = (0..array.len()).map(|i| array.is_valid(i).then(|| text(array, i)));
            total(Arc::new(text.collect::<StringViewArray>()))
        }
        (String, _) => from_string(array.as_string_view(), to),
        (Array(a), Array(b)) => cast_list(array.as_list::<i32>(), a, b, to),
        (Map(k, v), Map(l, w)) => cast_map(array.as_map(), (k, l), (v, w), to),
        (Struct(a), Struct(b)) => cast_struct(array.as_struct(), a, b),
        _ => total(new_null_array(&to.to_arrow(), array.len())),
    }
}

fn integers(array: &ArrayRef) -> ArrayRef {
    let mut out = StringViewBuilder::with_capacity(array.len());
    let mut digits = itoa::Buffer::new();
    match array.as_primitive_opt::<Int64Type>() {
        Some(a) => a.iter().for_each(|v| out.append_option(v.map(|v| digits.format(v)))),
        None => array
            .as_primitive::<Int32Type>()
            .iter()
            .for_each(|v| out.append_option(v.map(|v| digits.format(v)))),
    }
    Arc::new(out.finish())
}

fn from_decimal(array: &ArrayRef, to: &SqlType) -> (ArrayRef, Errors) {
    let Some(column) = DecimalColumn::open(array) else {
        unreachable!("a DECIMAL is a decimal array");
    };
    let scale = column.scale();
    let get = |i: usize| array.is_valid(i).then(|| column.get(i));
    let all = 0..array.len();
    let out: ArrayRef = match to {
        SqlType::Int => Arc::new(Int32Array::from_iter(
            all.map(|i| get(i).map(|v| decimal::to_bigint(v, scale) as i32)),
        )),
        SqlType::Bigint => Arc::new(Int64Array::from_iter(
            all.map(|i| get(i).map(|v| decimal::to_bigint(v, scale))),
        )),
        _ => Arc::new(Float64Array::from_iter(
            all.map(|i| get(i).map(|v| decimal::to_double(v, scale))),
        )),
    };
    (out, vec![])
}

fn to_decimal(array: &ArrayRef, precision: u8, scale: u8) -> (ArrayRef, Errors) {
    let to = i32::from(scale);
    let from_int = |v: i128| decimal::rescale(i256::from_i128(v), 0, to, Rounding::HalfUp);
    let decimals = DecimalColumn::open(array);
    let get = |i: usize| -> Option<i256> {
        match array.data_type() {
            DataType::Int32 => from_int(i128::from(array.as_primitive::<Int32Type>().value(i))),
            DataType::Int64 => from_int(i128::from(array.as_primitive::<Int64Type>().value(i))),
            DataType::Float64 => {
                let v = array.as_primitive::<Float64Type>().value(i);
                decimal::parse_as(&java::double_to_string(v), precision, scale)
            }
            DataType::Utf8View => {
                decimal::parse_as(array.as_string_view().value(i), precision, scale)
            }
            _ => {
                let column = decimals.as_ref()?;
                decimal::rescale(column.get(i), column.scale(), to, Rounding::HalfUp)
            }
        }
    };
    let mut errors = vec![];
    let mut values = Vec::with_capacity(array.len());
    for i in 0..array.len() {
        if array.is_null(i) {
            values.push(None);
            continue;
        }
        let value = get(i).filter(|v| decimal::fits(*v, precision));
        if value.is_none() {
            let message = format!("{} is no DECIMAL({precision}, {scale})", text(array, i));
            errors.push((i, message.into()));
        }
        values.push(value);
    }
    (decimal::build(values, precision, scale), errors)
}

fn from_string(array: &StringViewArray, to: &SqlType) -> (ArrayRef, Errors) {
    let mut errors = vec![];
    macro_rules! read {
        ($array:ty, $read:expr) => {{
            let mut values = Vec::with_capacity(array.len());
            for (i, text) in array.iter().enumerate() {
                let value = text.map($read);
                if value == Some(None) {
                    let text = text.unwrap_or_default();
                    errors.push((i, format!("{text:?} is no {to}").into()));
                }
                values.push(value.flatten());
            }
            Arc::new(<$array>::from(values)) as ArrayRef
        }};
    }
    let out = match to {
        SqlType::Boolean => read!(BooleanArray, |t| Some(is_true(t))),
        SqlType::Int => read!(Int32Array, |t| t.parse::<i32>().ok()),
        SqlType::Bigint => read!(Int64Array, |t| t.parse::<i64>().ok()),
        SqlType::Double => read!(Float64Array, parse_double),
        SqlType::Date => read!(Date32Array, java::parse_date),
        SqlType::Time => read!(Time32MillisecondArray, java::parse_time),
        SqlType::Timestamp => read!(TimestampMillisecondArray, java::parse_timestamp),
        SqlType::Bytes => {
            let mut values: Vec<Option<Vec<u8>>> = Vec::with_capacity(array.len());
            for (i, text) in array.iter().enumerate() {
                let value = text.map(|t| JAVA_BASE64.decode(t));
                if let Some(Err(_)) = value {
                    errors.push((i, "the text is no base64".into()));
                }
                values.push(value.and_then(Result::ok));
            }
            Arc::new(values.iter().map(|v| v.as_deref()).collect::<BinaryArray>()) as ArrayRef
        }
        _ => new_null_array(&to.to_arrow(), array.len()),
    };
    (out, errors)
}

/// TRUE for a leading part of `true` or `yes`, in any case.
pub(crate) fn is_true(text: &str) -> bool {
    let prefix = |of: &str| {
        of.get(..text.len()).is_some_and(|p| !p.is_empty() && p.eq_ignore_ascii_case(text))
    };
    prefix("true") || prefix("yes")
}

/// `Double.parseDouble`: blanks around, a type suffix, `NaN` and `Infinity` are allowed.
pub(crate) fn parse_double(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c: char| c <= ' ');
    match text.trim_start_matches(['+', '-']) {
        "NaN" => return Some(f64::NAN),
        "Infinity" if text.starts_with('-') => return Some(f64::NEG_INFINITY),
        "Infinity" => return Some(f64::INFINITY),
        _ => {}
    }
    let text = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-' | 'e' | 'E');
    if text.chars().all(plain) { text.parse().ok() } else { None }
}

/// Errors of elements, as errors of the rows that hold them; each row once.
fn lift(errors: Errors, offsets: &[i32]) -> Errors {
    let mut rows: Errors = errors
        .into_iter()
        .filter_map(|(at, message)| {
            let row = offsets.partition_point(|o| *o as usize <= at).checked_sub(1)?;
            (row + 1 < offsets.len()).then_some((row, message))
        })
        .collect();
    rows.dedup_by_key(|(row, _)| *row);
    rows
}

fn drop_failed(array: ArrayRef, errors: &Errors) -> ArrayRef {
    let mut failed = FailedRows::new(array.len());
    errors.iter().for_each(|(row, _)| failed.push(*row));
    match failed.finish() {
        Some(failed) => null_out(array, &failed),
        None => array,
    }
}

fn cast_list(
    list: &ListArray,
    from: &SqlType,
    to: &SqlType,
    whole: &SqlType,
) -> (ArrayRef, Errors) {
    let DataType::List(field) = whole.to_arrow() else { unreachable!("an ARRAY is a list") };
    let (values, errors) = cast(list.values(), from, to);
    let errors = lift(errors, list.value_offsets());
    let out = ListArray::new(field, list.offsets().clone(), values, list.nulls().cloned());
    (drop_failed(Arc::new(out), &errors), errors)
}

fn cast_map(
    map: &MapArray,
    key: (&SqlType, &SqlType),
    value: (&SqlType, &SqlType),
    whole: &SqlType,
) -> (ArrayRef, Errors) {
    let DataType::Map(field, _) = whole.to_arrow() else { unreachable!("a MAP is a map") };
    let DataType::Struct(fields) = field.data_type() else { unreachable!("entries are structs") };
    let (keys, mut errors) = cast(map.keys(), key.0, key.1);
    let (values, more) = cast(map.values(), value.0, value.1);
    let broken = !errors.is_empty();
    errors.extend(more);
    errors.sort_by_key(|(at, _)| *at);
    let errors = lift(errors, map.value_offsets());
    if broken {
        // A key that failed is NULL, which no map may hold: give up on the batch's maps.
        return (new_null_array(&whole.to_arrow(), map.len()), errors);
    }
    let entries = StructArray::new(fields.clone(), vec![keys, values], None);
    let out = MapArray::new(field, map.offsets().clone(), entries, map.nulls().cloned(), false);
    (drop_failed(Arc::new(out), &errors), errors)
}

fn cast_struct(
    array: &StructArray,
    from: &[crate::types::StructField],
    to: &[crate::types::StructField],
) -> (ArrayRef, Errors) {
    let mut errors = vec![];
    let mut columns = Vec::with_capacity(to.len());
    for field in to {
        let Some(i) = from.iter().position(|f| f.name == field.name) else {
            columns.push(new_null_array(&field.ty.to_arrow(), array.len()));
            continue;
        };
        let (column, more) = cast(array.column(i), &from[i].ty, &field.ty);
        errors.extend(more.into_iter().filter(|(row, _)| array.is_valid(*row)));
        columns.push(column);
    }
    errors.sort_by_key(|(row, _)| *row);
    errors.dedup_by_key(|(row, _)| *row);
    let DataType::Struct(fields) = SqlType::Struct(to.to_vec()).to_arrow() else {
        unreachable!("a STRUCT is a struct");
    };
    let out = StructArray::new(fields, columns, array.nulls().cloned());
    (drop_failed(Arc::new(out), &errors), errors)
}

/// Reads base64 as `java.util.Base64` does: padding may be left out, odd bits at the end do not matter.
pub(crate) const JAVA_BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The text of one element as Java's `toString` gives it; `null` for NULL.
pub(crate) fn text(array: &dyn Array, at: usize) -> String {
    if array.is_null(at) {
        return "null".into();
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(at).to_string(),
        DataType::Int32 => {
            itoa::Buffer::new().format(array.as_primitive::<Int32Type>().value(at)).to_owned()
        }
        DataType::Int64 => {
            itoa::Buffer::new().format(array.as_primitive::<Int64Type>().value(at)).to_owned()
        }
        DataType::Float64 => java::double_to_string(array.as_primitive::<Float64Type>().value(at)),
        DataType::Decimal128(..) | DataType::Decimal256(..) => match DecimalColumn::open(array) {
            Some(column) => decimal::to_text(column.get(at), column.scale()),
            None => String::new(),
        },
        DataType::Utf8View => array.as_string_view().value(at).to_owned(),
        DataType::Binary => BASE64.encode(array.as_binary::<i32>().value(at)),
        DataType::Date32 => java::date_to_string(array.as_primitive::<Date32Type>().value(at)),
        DataType::Time32(_) => {
            java::time_to_string(array.as_primitive::<Time32MillisecondType>().value(at), false)
        }
        DataType::Timestamp(..) => {
            java::timestamp_to_string(array.as_primitive::<TimestampMillisecondType>().value(at))
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(at);
            let texts: Vec<String> = (0..items.len()).map(|i| text(&items, i)).collect();
            format!("[{}]", texts.join(", "))
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(at);
            let texts: Vec<String> = (0..entries.len())
                .map(|i| format!("{}={}", text(entries.column(0), i), text(entries.column(1), i)))
                .collect();
            format!("{{{}}}", texts.join(", "))
        }
        DataType::Struct(fields) => {
            let array = array.as_struct();
            let texts: Vec<String> = fields
                .iter()
                .zip(array.columns())
                .filter(|(_, column)| column.is_valid(at))
                .map(|(field, column)| format!("{}={}", field.name(), text(column, at)))
                .collect();
            format!("Struct{{{}}}", texts.join(","))
        }
        _ => String::new(),
    }
}
