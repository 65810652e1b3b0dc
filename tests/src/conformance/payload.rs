//! JSON nodes of a case file to record bytes, and record bytes back to what is compared.
//!
//! This is the client's side of a format, as a producer or consumer outside would do it, and so
//! shares nothing with the product's decoders: JSON is written as it stands in the file, DELIMITED is
//! text, KAFKA is Kafka's primitive serializers by the declared type.

use millstream_sql::catalog::{Format, FormatKind, KeyWindow};
use millstream_sql::types::{Column, SqlType};

use super::case::Window;
use super::compare::Actual;
use super::json::Json;

/// The bytes a producer would write for `node`; `None` is Kafka's null.
///
/// # Errors
/// When the node cannot be written in this format.
pub fn encode(node: &Json, format: &Format, columns: &[Column]) -> Result<Option<Vec<u8>>, String> {
    if *node == Json::Null {
        return Ok(None);
    }
    match format.kind {
        FormatKind::Json => Ok(Some(node.to_string().into_bytes())),
        FormatKind::Delimited => Ok(Some(plain_text(node).into_bytes())),
        FormatKind::None => Ok(Some(plain_text(node).into_bytes())),
        FormatKind::Kafka => match columns {
            [column] => kafka(node, &column.ty).map(Some),
            _ => Ok(Some(plain_text(node).into_bytes())),
        },
        FormatKind::JsonSr | FormatKind::Avro | FormatKind::Protobuf | FormatKind::ProtobufNoSr => {
            Err(format!("format not built in: {}", format.kind))
        }
    }
}

fn plain_text(node: &Json) -> String {
    match node {
        Json::Array(_) | Json::Object(_) => node.to_string(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => node.as_text(),
    }
}

fn kafka(node: &Json, ty: &SqlType) -> Result<Vec<u8>, String> {
    let text = plain_text(node);
    let wrong = || format!("{node} is no {ty} for Kafka's serializers");
    match ty {
        SqlType::Int => Ok(text.parse::<i32>().map_err(|_| wrong())?.to_be_bytes().to_vec()),
        SqlType::Bigint => Ok(text.parse::<i64>().map_err(|_| wrong())?.to_be_bytes().to_vec()),
        SqlType::Double => Ok(text.parse::<f64>().map_err(|_| wrong())?.to_be_bytes().to_vec()),
        SqlType::String => Ok(text.into_bytes()),
        SqlType::Bytes => base64_bytes(&text).ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

fn base64_bytes(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// What a consumer makes of `bytes`.
///
/// # Errors
/// When the bytes are not of this format.
pub fn decode(bytes: Option<&[u8]>, format: &Format, columns: &[Column]) -> Result<Actual, String> {
    let Some(bytes) = bytes else { return Ok(Actual::Json(Json::Null)) };
    let text = || {
        std::str::from_utf8(bytes).map_err(|_| format!("{} bytes that are no text", bytes.len()))
    };
    match format.kind {
        FormatKind::Json => {
            let json = Json::parse(text()?).map_err(|e| format!("malformed JSON: {e}"))?;
            for column in columns {
                let value = json.get(&column.name).or((columns.len() == 1).then_some(&json));
                doubles_have_a_fraction(value.unwrap_or(&Json::Null), &column.ty)?;
            }
            Ok(Actual::Json(json))
        }
        FormatKind::Delimited => Ok(Actual::Json(Json::String(text()?.into()))),
        FormatKind::None => Err("bytes where format NONE wants null".into()),
        FormatKind::Kafka => match columns {
            [column] => kafka_back(bytes, &column.ty),
            _ => Ok(Actual::Json(Json::String(text()?.into()))),
        },
        FormatKind::JsonSr | FormatKind::Avro | FormatKind::Protobuf | FormatKind::ProtobufNoSr => {
            Err(format!("format not built in: {}", format.kind))
        }
    }
}

/// Java's text of a DOUBLE always has a point or an exponent.
fn doubles_have_a_fraction(json: &Json, ty: &SqlType) -> Result<(), String> {
    match (json, ty) {
        (Json::Number(text), SqlType::Double) if !text.contains(['.', 'e', 'E']) => {
            Err(format!("a DOUBLE is written as {text}"))
        }
        (Json::Array(items), SqlType::Array(item)) => {
            items.iter().try_for_each(|json| doubles_have_a_fraction(json, item))
        }
        (Json::Object(fields), SqlType::Map(_, item)) => {
            fields.iter().try_for_each(|(_, json)| doubles_have_a_fraction(json, item))
        }
        (Json::Object(_), SqlType::Struct(fields)) => fields.iter().try_for_each(|field| {
            doubles_have_a_fraction(json.get(&field.name).unwrap_or(&Json::Null), &field.ty)
        }),
        _ => Ok(()),
    }
}

fn kafka_back(bytes: &[u8], ty: &SqlType) -> Result<Actual, String> {
    let wrong = || format!("{} bytes are no {ty} of Kafka's serializers", bytes.len());
    let number = |n: i64| Actual::Json(Json::Number(n.to_string()));
    match ty {
        SqlType::Int => {
            Ok(number(i32::from_be_bytes(bytes.try_into().map_err(|_| wrong())?).into()))
        }
        SqlType::Bigint => Ok(number(i64::from_be_bytes(bytes.try_into().map_err(|_| wrong())?))),
        SqlType::Double => {
            Ok(Actual::Double(f64::from_be_bytes(bytes.try_into().map_err(|_| wrong())?)))
        }
        SqlType::String => {
            let text = std::str::from_utf8(bytes).map_err(|_| wrong())?;
            Ok(Actual::Json(Json::String(text.into())))
        }
        SqlType::Bytes => Ok(Actual::Bytes(bytes.to_vec())),
        _ => Err(wrong()),
    }
}

/// Lays a window behind a key, as Kafka Streams does: time windows as their start, sessions as end
/// and start.
pub fn append_window(key: &mut Vec<u8>, window: Window) {
    if window.session {
        key.extend_from_slice(&window.end.to_be_bytes());
    }
    key.extend_from_slice(&window.start.to_be_bytes());
}

/// Splits a key from its window.
///
/// # Errors
/// When the bytes are too few.
pub fn split_window(bytes: &[u8], kind: KeyWindow) -> Result<(&[u8], Window), String> {
    let short = || format!("a windowed key of {} bytes", bytes.len());
    let (rest, start) = bytes.split_last_chunk::<8>().ok_or_else(short)?;
    let start = i64::from_be_bytes(*start);
    match kind {
        KeyWindow::Time { size_ms, .. } => {
            let end = start.saturating_add(size_ms);
            Ok((rest, Window { start, end, session: false }))
        }
        KeyWindow::Session => {
            let (rest, end) = rest.split_last_chunk::<8>().ok_or_else(short)?;
            Ok((rest, Window { start, end: i64::from_be_bytes(*end), session: true }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafka_numbers_are_big_endian_and_come_back() {
        let format = Format::new(FormatKind::Kafka);
        for (ty, node, bytes) in [
            (SqlType::Int, "-2", vec![0xff, 0xff, 0xff, 0xfe]),
            (SqlType::Bigint, "1", vec![0, 0, 0, 0, 0, 0, 0, 1]),
            (SqlType::Double, "1.5", vec![0x3f, 0xf8, 0, 0, 0, 0, 0, 0]),
            (SqlType::String, "\"é\"", "é".as_bytes().to_vec()),
        ] {
            let columns = [Column::new("A", ty)];
            let node = Json::parse(node).unwrap();
            assert_eq!(encode(&node, &format, &columns).unwrap().as_ref(), Some(&bytes));
            let back = decode(Some(&bytes), &format, &columns).unwrap();
            let rules =
                super::super::compare::Rules { exact_numbers: true, zero_time_is_any: false };
            assert!(super::super::compare::matches(&node, &back, rules), "{node} {back}");
        }
    }

    #[test]
    fn windows_lie_behind_the_key() {
        for (window, kind) in [
            (
                Window { start: 10, end: 15, session: false },
                KeyWindow::Time { size_ms: 5, hopping: true },
            ),
            (Window { start: 10, end: 99, session: true }, KeyWindow::Session),
        ] {
            let mut key = b"k".to_vec();
            append_window(&mut key, window);
            assert_eq!(split_window(&key, kind), Ok((&b"k"[..], window)));
            assert!(split_window(b"short", kind).is_err());
        }
    }
}
