//! Records as lines: text, JSON, hexadecimal.

use std::io::{self, Write};

use millstream_storage::log::batch::Record;
use serde_json::{Map, Value, json};

use super::args::Format;

/// Where a record is from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
}

pub(super) fn record(
    out: &mut impl Write,
    place: Place<'_>,
    record: &Record<'_>,
    format: Format,
    keys: bool,
) -> io::Result<()> {
    match format {
        Format::Text => {
            if keys {
                out.write_all(record.key.unwrap_or(b"null"))?;
                out.write_all(b"\t")?;
            }
            out.write_all(record.value.unwrap_or(b"null"))?;
            out.write_all(b"\n")
        }
        Format::Hex => writeln!(out, "{}\t{}", hex(record.key), hex(record.value)),
        Format::Json => writeln!(out, "{}", as_json(place, record)),
    }
}

fn hex(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn as_json(place: Place<'_>, record: &Record<'_>) -> Value {
    let headers = record.headers().map(
        |(name, value)| json!({ "name": String::from_utf8_lossy(name), "value": text(value) }),
    );
    let mut line = Map::new();
    line.insert("topic".into(), place.topic.into());
    line.insert("partition".into(), place.partition.into());
    line.insert("offset".into(), record.offset.into());
    line.insert("timestamp".into(), record.timestamp.into());
    line.insert("key".into(), text(record.key));
    line.insert("value".into(), text(record.value));
    line.insert("headers".into(), headers.collect());
    Value::Object(line)
}

/// A string; bytes that are not UTF-8 as `{"hex": …}`.
fn text(bytes: Option<&[u8]>) -> Value {
    match bytes.map(std::str::from_utf8) {
        None => Value::Null,
        Some(Ok(text)) => text.into(),
        Some(Err(_)) => json!({ "hex": hex(bytes) }),
    }
}
