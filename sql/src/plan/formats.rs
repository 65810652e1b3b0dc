//! Which format a relation's key and value have, and whether that format can hold the columns.
//!
//! Rules of `reference/ksqldb.md` 3.1 and 3.2. A registry format is checked like any other and only
//! then refused as not built, so that a statement which is wrong in itself is told so.

use crate::catalog::{Format, FormatKind};
use crate::error::{ErrorKind, Result, SqlError};
use crate::plan::properties::FormatProperties;
use crate::types::{Column, Schema, SqlType};

/// Key or value of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Key => "key",
            Part::Value => "value",
        }
    }
}

/// The key's and the value's format for a schema: settings filled in, rules checked.
///
/// `key` and `value` are what the statement asked for or inherited; `wrap_default` is the server's
/// setting for single values.
pub(super) fn settle(
    schema: &Schema,
    key: FormatProperties,
    value: FormatProperties,
    wrap: Option<bool>,
    wrap_default: Option<bool>,
) -> Result<(Format, Format)> {
    check_no_map_in_key(&schema.key)?;
    check(Part::Key, key.kind, &schema.key)?;
    check(Part::Value, value.kind, &schema.value)?;
    let unwrap_value = unwrap_value(value.kind, schema.value.len(), wrap, wrap_default)?;
    let key = Format {
        kind: key.kind,
        delimiter: key.delimiter,
        unwrap_single: schema.key.len() == 1 && can_unwrap(key.kind),
    };
    let value =
        Format { kind: value.kind, delimiter: value.delimiter, unwrap_single: unwrap_value };
    Ok((key, value))
}

/// Refuses formats that are legal but not built.
pub(super) fn require_built(kind: FormatKind) -> Result<()> {
    if kind.is_built() {
        return Ok(());
    }
    Err(SqlError::new(
        ErrorKind::Unsupported,
        format!("the format {kind} is not built into this version"),
        "Use JSON, DELIMITED or KAFKA.",
    ))
}

pub(super) fn check_no_map_in_key(key: &[Column]) -> Result<()> {
    match key.iter().find(|c| c.ty.contains_map()) {
        None => Ok(()),
        Some(column) => Err(SqlError::new(
            ErrorKind::MapInKey,
            format!("the key column {} is or contains a map: {}", column.name, column.ty),
            "Use another type; two equal maps need not have equal bytes.",
        )),
    }
}

/// Whether `kind` can hold `columns`.
fn check(part: Part, kind: FormatKind, columns: &[Column]) -> Result<()> {
    if kind == FormatKind::None && !columns.is_empty() {
        return Err(SqlError::new(
            ErrorKind::NoneFormatWithColumns,
            format!("the {} format NONE cannot hold {}", part.name(), names(columns)),
            "Choose a real format, or declare no such columns.",
        ));
    }
    if let Some(column) = columns.iter().find(|c| !supports(kind, &c.ty)) {
        return Err(type_error(part, kind, column));
    }
    if kind == FormatKind::Kafka && columns.len() > 1 {
        return Err(SqlError::new(
            ErrorKind::SeveralColumnsUnsupportedByFormat,
            format!("the {} format KAFKA holds one column, not {}", part.name(), names(columns)),
            "Choose another format, such as JSON, or fewer columns.",
        ));
    }
    if kind == FormatKind::Avro {
        check_avro_names(columns)?;
    }
    Ok(())
}

fn names(columns: &[Column]) -> String {
    columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn type_error(part: Part, kind: FormatKind, column: &Column) -> SqlError {
    if has_non_string_map(&column.ty) && takes_nested(kind) {
        return SqlError::new(
            ErrorKind::MapWithNonStringKeys,
            format!("{kind} has maps with STRING keys only; {} is {}", column.name, column.ty),
            "Cast the map's keys to STRING.",
        );
    }
    SqlError::new(
        ErrorKind::TypeUnsupportedByFormat,
        format!(
            "the {} format {kind} cannot hold the column {} of type {}",
            part.name(),
            column.name,
            column.ty
        ),
        "Choose another format, such as JSON, or another type.",
    )
}

/// Whether one column of type `ty` can be written in `kind`.
pub(super) fn supports(kind: FormatKind, ty: &SqlType) -> bool {
    use SqlType::{Array, Bigint, Bytes, Double, Int, Map, String, Struct};
    match kind {
        FormatKind::None => true,
        FormatKind::Kafka => matches!(ty, Int | Bigint | Double | String | Bytes),
        FormatKind::Delimited => !matches!(ty, Array(_) | Map(..) | Struct(_)),
        _ => !has_non_string_map(ty),
    }
}

fn takes_nested(kind: FormatKind) -> bool {
    match kind {
        FormatKind::None | FormatKind::Kafka | FormatKind::Delimited => false,
        FormatKind::Json
        | FormatKind::JsonSr
        | FormatKind::Avro
        | FormatKind::Protobuf
        | FormatKind::ProtobufNoSr => true,
    }
}

fn has_non_string_map(ty: &SqlType) -> bool {
    match ty {
        SqlType::Map(key, value) => **key != SqlType::String || has_non_string_map(value),
        SqlType::Array(item) => has_non_string_map(item),
        SqlType::Struct(fields) => fields.iter().any(|f| has_non_string_map(&f.ty)),
        _ => false,
    }
}

fn check_avro_names(columns: &[Column]) -> Result<()> {
    let legal = |name: &str| {
        let mut chars = name.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    match columns.iter().find(|c| !legal(&c.name)) {
        None => Ok(()),
        Some(column) => Err(SqlError::new(
            ErrorKind::NameUnsupportedByFormat,
            format!("{} is no legal name in AVRO", column.name),
            "Rename the column: letters, digits and _ only, not starting with a digit.",
        )),
    }
}

/// Whether a single column can be written bare.
fn can_unwrap(kind: FormatKind) -> bool {
    match kind {
        FormatKind::None | FormatKind::Protobuf => false,
        FormatKind::Kafka
        | FormatKind::Delimited
        | FormatKind::Json
        | FormatKind::JsonSr
        | FormatKind::Avro
        | FormatKind::ProtobufNoSr => true,
    }
}

/// Whether a single column can be written as an object with one field.
fn can_wrap(kind: FormatKind) -> bool {
    takes_nested(kind)
}

fn unwrap_value(
    kind: FormatKind,
    columns: usize,
    wrap: Option<bool>,
    wrap_default: Option<bool>,
) -> Result<bool> {
    let refuse = |message: String| {
        SqlError::new(ErrorKind::WrappingNotApplicable, message, "Drop WRAP_SINGLE_VALUE.")
    };
    if let Some(wrap) = wrap {
        if columns != 1 {
            return Err(refuse(format!(
                "WRAP_SINGLE_VALUE is for a single value column; there are {columns}"
            )));
        }
        if !(if wrap { can_wrap(kind) } else { can_unwrap(kind) }) {
            return Err(refuse(format!("{kind} cannot have WRAP_SINGLE_VALUE = {wrap}")));
        }
        return Ok(!wrap);
    }
    if columns != 1 {
        return Ok(false);
    }
    Ok(match wrap_default {
        Some(wrap) if can_wrap(kind) && can_unwrap(kind) => !wrap,
        _ => !can_wrap(kind),
    })
}

/// The key format of a result whose key columns are new: what it inherits, unless that holds no key.
///
/// A sink keeps an inherited format that does not suit (`settle` refuses it then), as ksqlDB does;
/// only NONE gives way to the configured default.
pub(super) fn for_sink_key(
    inherited: FormatProperties,
    key: &[Column],
    default: FormatKind,
) -> FormatProperties {
    if inherited.kind == FormatKind::None && !key.is_empty() {
        return FormatProperties::new(default);
    }
    inherited
}

/// The key format of an internal topic: what is inherited, or JSON if that cannot hold the columns.
pub(super) fn for_internal_key(inherited: FormatKind, key: &[Column]) -> FormatKind {
    if check(Part::Key, inherited, key).is_ok() { inherited } else { FormatKind::Json }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(text: &str) -> Schema {
        let mut schema = Schema::default();
        for column in text.split(';').map(str::trim).filter(|c| !c.is_empty()) {
            let (name, ty) = column.split_once(' ').expect("name and type");
            let (ty, key) = ty.strip_suffix(" KEY").map_or((ty, false), |t| (t, true));
            let column = Column::new(name, crate::syntax::parse_type(ty).expect("a type"));
            if key { schema.key.push(column) } else { schema.value.push(column) }
        }
        schema
    }

    /// Formats and columns in; `k` or `v` for each part that is written bare, or the error.
    fn check(columns: &str, key: FormatKind, value: FormatKind, wrap: Option<bool>, expect: &str) {
        let (key, value) = (FormatProperties::new(key), FormatProperties::new(value));
        let got = match settle(&schema(columns), key, value, wrap, None) {
            Ok((key, value)) => {
                let k = if key.unwrap_single { "k" } else { "" };
                let v = if value.unwrap_single { "v" } else { "" };
                format!("{k}{v}")
            }
            Err(e) => e.kind.code().to_owned(),
        };
        assert_eq!(got, expect, "{columns} as {key:?}, {value:?}");
    }

    #[test]
    fn what_formats_hold_and_how() {
        use FormatKind::{Avro, Delimited, Json, Kafka, None as NoFormat};
        check("a INT KEY; b INT; c INT", Kafka, Json, None, "k");
        check("a INT KEY; b INT", Kafka, Json, None, "k");
        check("a INT KEY; b INT", Json, Json, Some(false), "kv");
        check("a INT KEY; b INT", Kafka, Kafka, None, "kv");
        check("a INT KEY; b INT", Delimited, Delimited, Some(false), "kv");
        check("a INT KEY; b INT", Kafka, Delimited, Some(true), "wrapping-not-applicable");
        check("a INT; b INT", NoFormat, Json, None, "");
        check("a INT KEY; z INT KEY; b INT", Json, Json, None, "");
        check(
            "a INT KEY; z INT KEY; b INT",
            Kafka,
            Json,
            None,
            "several-columns-unsupported-by-format",
        );
        check("a BOOLEAN KEY; b INT", Kafka, Json, None, "type-unsupported-by-format");
        check("a ARRAY<INT> KEY; b INT", Delimited, Json, None, "type-unsupported-by-format");
        check("a ARRAY<INT> KEY; b INT", Json, Json, None, "k");
        check("a MAP<STRING, INT> KEY; b INT", Delimited, Json, None, "map-in-key");
        check("a INT; m MAP<INT, INT>", Json, Json, None, "map-with-non-string-keys");
        check("a INT; m MAP<INT, INT>", Json, Delimited, None, "type-unsupported-by-format");
        check("a INT KEY; b INT", NoFormat, Json, None, "none-format-with-columns");
        check("a INT KEY; 1b INT", Kafka, Avro, None, "name-unsupported-by-format");
    }

    #[test]
    fn keys_of_internal_topics_fall_back_to_json() {
        let columns = schema("a DECIMAL(4, 2) KEY").key;
        assert_eq!(for_internal_key(FormatKind::Kafka, &columns), FormatKind::Json);
        assert_eq!(for_internal_key(FormatKind::Delimited, &columns), FormatKind::Delimited);
    }
}
