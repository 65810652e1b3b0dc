//! Serialization formats as the catalog knows them: which exist and what each can hold.
//!
//! The bytes are written and read by the connectors crate; here is only what planning must know
//! (`reference/ksqldb.md` 3.1, 3.2).

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FormatKind {
    None,
    Kafka,
    Delimited,
    Json,
    /// Schema-registry formats: known by name, not yet written or read.
    JsonSr,
    Avro,
    Protobuf,
    ProtobufNoSr,
}

impl FormatKind {
    pub const ALL: &'static [FormatKind] = &[
        FormatKind::None,
        FormatKind::Kafka,
        FormatKind::Delimited,
        FormatKind::Json,
        FormatKind::JsonSr,
        FormatKind::Avro,
        FormatKind::Protobuf,
        FormatKind::ProtobufNoSr,
    ];

    pub fn name(self) -> &'static str {
        match self {
            FormatKind::None => "NONE",
            FormatKind::Kafka => "KAFKA",
            FormatKind::Delimited => "DELIMITED",
            FormatKind::Json => "JSON",
            FormatKind::JsonSr => "JSON_SR",
            FormatKind::Avro => "AVRO",
            FormatKind::Protobuf => "PROTOBUF",
            FormatKind::ProtobufNoSr => "PROTOBUF_NOSR",
        }
    }

    /// By name, ignoring case.
    pub fn by_name(name: &str) -> Option<FormatKind> {
        Self::ALL.iter().copied().find(|f| f.name().eq_ignore_ascii_case(name))
    }

    /// Whether Millstream reads and writes it.
    pub fn is_built(self) -> bool {
        match self {
            FormatKind::None | FormatKind::Kafka | FormatKind::Delimited | FormatKind::Json => true,
            FormatKind::JsonSr
            | FormatKind::Avro
            | FormatKind::Protobuf
            | FormatKind::ProtobufNoSr => false,
        }
    }

    /// Whether schemas live in the registry.
    pub fn uses_registry(self) -> bool {
        match self {
            FormatKind::JsonSr | FormatKind::Avro | FormatKind::Protobuf => true,
            FormatKind::None
            | FormatKind::Kafka
            | FormatKind::Delimited
            | FormatKind::Json
            | FormatKind::ProtobufNoSr => false,
        }
    }
}

impl fmt::Display for FormatKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A format with its settings for one part (key or value) of one relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    pub kind: FormatKind,
    /// DELIMITED only.
    pub delimiter: Option<char>,
    /// Whether a single column is written bare rather than as an object with one field.
    pub unwrap_single: bool,
}

impl Format {
    pub fn new(kind: FormatKind) -> Self {
        Self { kind, delimiter: None, unwrap_single: false }
    }
}
