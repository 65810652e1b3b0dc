//! Rows on the wire: the four shapes that ksqlDB's clients know (`reference/ksqldb.md` 4.4, 4.5).

use arrow::array::RecordBatch;
use axum::body::Bytes;
use millstream_connectors::session::ResultColumn;
use millstream_connectors::session::json::write_row;
use millstream_sql::types::quote;
use serde_json::{Value, json};

/// Above this a pull query's answer is sent in pieces.
const PIECE_BYTES: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A head object, then an array per row, one line each.
    Delimited,
    /// The same elements inside one JSON array.
    JsonArray,
    /// An array of `{"header"}`, `{"row"}`, `{"finalMessage"}` objects; pull queries have no last one.
    StreamedRows,
    /// As `StreamedRows`, always with a final message.
    OldQuery,
}

impl Format {
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Format::Delimited => "application/vnd.ksqlapi.delimited.v1",
            Format::JsonArray => "application/json",
            Format::StreamedRows | Format::OldQuery => "application/vnd.ksql.v1+json",
        }
    }

    fn is_array(self) -> bool {
        self != Format::Delimited
    }

    fn is_plain(self) -> bool {
        self == Format::Delimited || self == Format::JsonArray
    }
}

/// Writes one answer, piece by piece.
pub(super) struct Writer {
    format: Format,
    out: Vec<u8>,
}

impl Writer {
    pub(super) fn new(format: Format) -> Writer {
        Writer { format, out: Vec::new() }
    }

    pub(super) fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.out))
    }

    pub(super) fn is_large(&self) -> bool {
        self.out.len() >= PIECE_BYTES
    }

    /// The first element. Must come before rows.
    pub(super) fn head(&mut self, query_id: &str, columns: &[ResultColumn]) {
        if self.format.is_plain() {
            let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
            let types: Vec<String> = columns.iter().map(|c| c.ty.to_string()).collect();
            let head = json!({ "queryId": query_id, "columnNames": names, "columnTypes": types });
            self.open(&head);
        } else {
            let head = json!({ "header": { "queryId": query_id, "schema": header_schema(columns) } });
            self.open(&head);
        }
    }

    fn open(&mut self, head: &Value) {
        if self.format.is_array() {
            self.out.push(b'[');
        }
        self.out.extend_from_slice(head.to_string().as_bytes());
        if !self.format.is_array() {
            self.out.push(b'\n');
        }
    }

    /// A comma and a line end before every element but the first.
    fn next(&mut self) {
        if self.format.is_array() {
            self.out.extend_from_slice(b",\n");
        }
    }

    /// One row. A tombstone is left out of the plain formats, as in ksqlDB.
    pub(super) fn row(&mut self, batch: &RecordBatch, row: usize, tombstone: bool) {
        if self.format.is_plain() {
            if tombstone {
                return;
            }
            self.next();
            write_row(batch, row, &mut self.out);
            if !self.format.is_array() {
                self.out.push(b'\n');
            }
            return;
        }
        self.next();
        self.out.extend_from_slice(b"{\"row\":{\"columns\":");
        write_row(batch, row, &mut self.out);
        self.out.extend_from_slice(if tombstone { b",\"tombstone\":true}}" } else { b"}}" });
    }

    pub(super) fn error(&mut self, error: &Value) {
        self.next();
        if self.format.is_plain() {
            self.out.extend_from_slice(error.to_string().as_bytes());
        } else {
            self.out.extend_from_slice(json!({ "errorMessage": error }).to_string().as_bytes());
        }
        if !self.format.is_array() {
            self.out.push(b'\n');
        }
    }

    /// Ends the answer. `message` is a push query's; pull queries have none of their own.
    pub(super) fn end(&mut self, message: Option<&str>) {
        let message = match (self.format, message) {
            (Format::OldQuery, None) => Some("Query Completed"),
            (Format::OldQuery | Format::StreamedRows, message) => message,
            (Format::Delimited | Format::JsonArray, _) => None,
        };
        if let Some(message) = message {
            self.next();
            self.out.extend_from_slice(json!({ "finalMessage": message }).to_string().as_bytes());
        }
        if self.format.is_array() {
            self.out.extend_from_slice(b"]\n");
        }
    }
}

/// The header's schema text: back-quoted names, `KEY` behind key columns.
fn header_schema(columns: &[ResultColumn]) -> String {
    let text = |c: &ResultColumn| {
        let key = if c.key { " KEY" } else { "" };
        format!("{} {}{key}", quote(&c.name), c.ty)
    };
    columns.iter().map(text).collect::<Vec<_>>().join(", ")
}
