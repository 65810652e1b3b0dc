//! `WITH (…)`: which properties a statement may have, and what their values mean.
//!
//! Table in `reference/ksqldb.md` 1.7. Everything here is about single properties; what needs the
//! columns (does the TIMESTAMP column exist, can the format hold them) is checked where they are known.

use crate::catalog::{FormatKind, KeyWindow, TimestampColumn};
use crate::expr::java::parse_timestamp;
use crate::plan::StartOffset;
use crate::error::{ErrorKind, Result, Span, SqlError};
use crate::syntax::ast::{Properties, Property};
use crate::types::{Schema, SqlType};

/// The properties of `CREATE … WITH`, in alphabetical order.
pub const CREATE: &[&str] = &[
    "CLEANUP_POLICY",
    "FORMAT",
    "KAFKA_TOPIC",
    "KEY_DELIMITER",
    "KEY_FORMAT",
    "KEY_PROTOBUF_NULLABLE_REPRESENTATION",
    "KEY_SCHEMA_FULL_NAME",
    "KEY_SCHEMA_ID",
    "PARTITIONS",
    "REPLICAS",
    "RETENTION_MS",
    "START",
    "SOURCED_BY_CONNECTOR",
    "TIMESTAMP",
    "TIMESTAMP_FORMAT",
    "VALUE_AVRO_SCHEMA_FULL_NAME",
    "VALUE_DELIMITER",
    "VALUE_FORMAT",
    "VALUE_PROTOBUF_NULLABLE_REPRESENTATION",
    "VALUE_SCHEMA_FULL_NAME",
    "VALUE_SCHEMA_ID",
    "WINDOW_SIZE",
    "WINDOW_TYPE",
    "WRAP_SINGLE_VALUE",
];

/// Not for CREATE … AS SELECT, whose window is the query's.
const CREATE_ONLY: &[&str] = &["SOURCED_BY_CONNECTOR", "WINDOW_SIZE", "WINDOW_TYPE"];

/// Only for a query: where it begins to read.
const QUERY_ONLY: &[&str] = &["START"];

/// A format and its own settings, before the columns are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FormatProperties {
    pub kind: FormatKind,
    pub delimiter: Option<char>,
}

impl FormatProperties {
    pub(super) fn new(kind: FormatKind) -> Self {
        Self { kind, delimiter: None }
    }
}

/// The properties of CREATE and CREATE AS, read and checked one by one.
#[derive(Clone, Debug)]
pub(super) struct RelationProperties {
    pub topic: Option<String>,
    pub partitions: Option<u32>,
    pub replicas: Option<i16>,
    pub retention_ms: Option<i64>,
    pub start: Option<StartOffset>,
    pub key_format: Option<FormatKind>,
    pub value_format: Option<FormatKind>,
    pub key_delimiter: Option<char>,
    pub value_delimiter: Option<char>,
    pub wrap: Option<bool>,
    pub timestamp: Option<TimestampProperty>,
    pub window: Option<KeyWindow>,
    /// Properties only registry formats can use, by name: `(part is the key, name)`.
    registry: Vec<(bool, String)>,
    pub key_schema_id: bool,
    pub value_schema_id: bool,
}

/// `TIMESTAMP` and `TIMESTAMP_FORMAT` as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimestampProperty {
    pub column: String,
    pub format: Option<String>,
    pub span: Option<Span>,
}

impl RelationProperties {
    /// Reads `WITH` of a CREATE (`of_query` false) or a CREATE AS (`of_query` true).
    pub(super) fn read(given: &Properties, of_query: bool) -> Result<Self> {
        for property in &given.0 {
            check_name(property, of_query)?;
        }
        let formats = read_formats(given)?;
        Ok(Self {
            topic: text(given, "KAFKA_TOPIC")?,
            partitions: count(given, "PARTITIONS")?,
            replicas: count(given, "REPLICAS")?,
            retention_ms: number(given, "RETENTION_MS", 0)?,
            start: start(given)?,
            key_format: formats.0,
            value_format: formats.1,
            key_delimiter: delimiter(given, "KEY_DELIMITER")?,
            value_delimiter: delimiter(given, "VALUE_DELIMITER")?,
            wrap: boolean(given, "WRAP_SINGLE_VALUE")?,
            timestamp: timestamp(given)?,
            window: window(given)?,
            registry: registry_properties(given),
            key_schema_id: given.get("KEY_SCHEMA_ID").is_some(),
            value_schema_id: given.get("VALUE_SCHEMA_ID").is_some(),
        })
    }

    /// The format of the key with its settings; `inherited` if the statement states none.
    pub(super) fn key(&self, inherited: FormatProperties) -> Result<FormatProperties> {
        let format = with_delimiter(self.key_format, self.key_delimiter, inherited, "KEY")?;
        self.check_registry(true, format.kind)?;
        Ok(format)
    }

    /// The format of the value with its settings; `inherited` if the statement states none.
    pub(super) fn value(&self, inherited: FormatProperties) -> Result<FormatProperties> {
        let format = with_delimiter(self.value_format, self.value_delimiter, inherited, "VALUE")?;
        self.check_registry(false, format.kind)?;
        Ok(format)
    }

    fn check_registry(&self, key: bool, kind: FormatKind) -> Result<()> {
        let takes = kind.uses_registry() || kind == FormatKind::ProtobufNoSr;
        match self.registry.iter().find(|(of_key, _)| *of_key == key) {
            Some((_, name)) if !takes => Err(SqlError::new(
                ErrorKind::PropertyUnsupportedByFormat,
                format!("the format {kind} has no use for {name}"),
                "Drop the property, or choose a format with registry schemas.",
            )),
            _ => Ok(()),
        }
    }
}

fn check_name(property: &Property, of_query: bool) -> Result<()> {
    let of_others = if of_query { CREATE_ONLY } else { QUERY_ONLY };
    let mut names = CREATE.iter().copied().filter(|n| !of_others.contains(n));
    if !names.clone().any(|known| known == property.name) {
        let names = names.by_ref();
        let remedy = super::suggest::did_you_mean(&property.name, names, "Drop it.");
        return Err(SqlError::new(
            ErrorKind::UnknownProperty,
            format!("there is no property {} here", property.name),
            remedy,
        )
        .at(property.span));
    }
    if property.name == "CLEANUP_POLICY" {
        return Err(invalid(property, "it is chosen by the kind of the relation; drop it"));
    }
    Ok(())
}

fn invalid(property: &Property, must: &str) -> SqlError {
    SqlError::new(
        ErrorKind::InvalidPropertyValue,
        format!("{} cannot be {:?}", property.name, property.value),
        format!("{} must fit: {must}.", property.name),
    )
    .at(property.span)
}

fn text(given: &Properties, name: &str) -> Result<Option<String>> {
    match given.get(name) {
        None => Ok(None),
        Some(p) if p.value.is_empty() => Err(invalid(p, "a name of at least one character")),
        Some(p) => Ok(Some(p.value.clone())),
    }
}

fn number(given: &Properties, name: &str, least: i64) -> Result<Option<i64>> {
    let Some(p) = given.get(name) else { return Ok(None) };
    match p.value.trim().parse::<i64>() {
        Ok(n) if n >= least => Ok(Some(n)),
        _ => Err(invalid(p, &format!("a whole number from {least} up"))),
    }
}

fn count<T: TryFrom<i64>>(given: &Properties, name: &str) -> Result<Option<T>> {
    let Some(n) = number(given, name, 1)? else { return Ok(None) };
    match (T::try_from(n), given.get(name)) {
        (Ok(n), _) => Ok(Some(n)),
        (Err(_), Some(p)) => Err(invalid(p, "a whole number that Kafka can hold")),
        (Err(_), None) => Ok(None),
    }
}

fn boolean(given: &Properties, name: &str) -> Result<Option<bool>> {
    let Some(p) = given.get(name) else { return Ok(None) };
    match p.value.to_ascii_lowercase().as_str() {
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        _ => Err(invalid(p, "true or false")),
    }
}

/// Key and value format as stated by FORMAT, KEY_FORMAT and VALUE_FORMAT.
fn read_formats(given: &Properties) -> Result<(Option<FormatKind>, Option<FormatKind>)> {
    if let Some(both) = given.get("FORMAT") {
        if let Some(one) = given.get("KEY_FORMAT").or_else(|| given.get("VALUE_FORMAT")) {
            return Err(conflict("FORMAT", one));
        }
        let kind = Some(format(both)?);
        return Ok((kind, kind));
    }
    let one = |name| given.get(name).map(format).transpose();
    Ok((one("KEY_FORMAT")?, one("VALUE_FORMAT")?))
}

/// `START = 'earliest' | 'latest' | a time as text or in milliseconds`.
fn start(given: &Properties) -> Result<Option<StartOffset>> {
    let Some(p) = given.get("START") else { return Ok(None) };
    let text = p.value.trim();
    if text.eq_ignore_ascii_case("earliest") {
        return Ok(Some(StartOffset::Earliest));
    }
    if text.eq_ignore_ascii_case("latest") {
        return Ok(Some(StartOffset::Latest));
    }
    let time = if p.quoted { parse_timestamp(text) } else { text.parse().ok() };
    match time {
        Some(ms) => Ok(Some(StartOffset::Time(ms))),
        None => Err(SqlError::new(
            ErrorKind::InvalidPropertyValue,
            format!("START cannot be {:?}", p.value),
            "Write 'earliest', 'latest', a time such as '2026-01-31T08:00:00', or milliseconds.",
        )
        .at(p.span)),
    }
}

fn conflict(name: &str, other: &Property) -> SqlError {
    SqlError::new(
        ErrorKind::ConflictingProperties,
        format!("{name} and {} say the same thing", other.name),
        "Keep one of the two.",
    )
    .at(other.span)
}

fn format(property: &Property) -> Result<FormatKind> {
    FormatKind::by_name(property.value.trim()).ok_or_else(|| {
        let names = FormatKind::ALL.iter().map(|f| f.name());
        let all = FormatKind::ALL.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ");
        SqlError::new(
            ErrorKind::UnknownFormat,
            format!("there is no format {:?}", property.value),
            super::suggest::did_you_mean(
                &property.value.to_uppercase(),
                names,
                &format!("Choose one of {all}."),
            ),
        )
        .at(property.span)
    })
}

fn delimiter(given: &Properties, name: &str) -> Result<Option<char>> {
    let Some(p) = given.get(name) else { return Ok(None) };
    match p.value.to_ascii_uppercase().as_str() {
        "SPACE" => return Ok(Some(' ')),
        "TAB" => return Ok(Some('\t')),
        _ => {}
    }
    let mut chars = p.value.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) if !c.is_whitespace() => Ok(Some(c)),
        _ => Err(invalid(p, "one character that is no blank, or the word SPACE or TAB")),
    }
}

fn with_delimiter(
    stated: Option<FormatKind>,
    delimiter: Option<char>,
    inherited: FormatProperties,
    part: &str,
) -> Result<FormatProperties> {
    let mut format = stated.map_or(inherited, FormatProperties::new);
    if delimiter.is_some() {
        if format.kind != FormatKind::Delimited {
            return Err(SqlError::new(
                ErrorKind::PropertyUnsupportedByFormat,
                format!("the format {} has no use for {part}_DELIMITER", format.kind),
                "Drop the property, or use the format DELIMITED.",
            ));
        }
        format.delimiter = delimiter;
    }
    Ok(format)
}

fn timestamp(given: &Properties) -> Result<Option<TimestampProperty>> {
    let format = text(given, "TIMESTAMP_FORMAT")?;
    match (given.get("TIMESTAMP"), format) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(SqlError::new(
            ErrorKind::MissingProperty,
            "TIMESTAMP_FORMAT without TIMESTAMP",
            "Name the column by TIMESTAMP.",
        )),
        (Some(p), format) => {
            Ok(Some(TimestampProperty { column: identifier(&p.value), format, span: p.span }))
        }
    }
}

/// A column name inside a string: upper case unless quoted.
fn identifier(text: &str) -> String {
    let text = text.trim();
    for quote in ['`', '"'] {
        let inner = text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote));
        if let Some(inner) = inner {
            let doubled: String = [quote, quote].iter().collect();
            return inner.replace(&doubled, &quote.to_string());
        }
    }
    text.to_uppercase()
}

fn window(given: &Properties) -> Result<Option<KeyWindow>> {
    let size = given.get("WINDOW_SIZE");
    let Some(kind) = given.get("WINDOW_TYPE") else {
        return match size {
            None => Ok(None),
            Some(p) => {
                Err(window_error(p, "WINDOW_SIZE without WINDOW_TYPE", "State WINDOW_TYPE."))
            }
        };
    };
    let hopping = match kind.value.to_ascii_uppercase().as_str() {
        "SESSION" => {
            return match size {
                None => Ok(Some(KeyWindow::Session)),
                Some(p) => {
                    Err(window_error(p, "a SESSION window has no fixed size", "Drop WINDOW_SIZE."))
                }
            };
        }
        "TUMBLING" => false,
        "HOPPING" => true,
        _ => {
            let message = format!("there is no WINDOW_TYPE {:?}", kind.value);
            return Err(window_error(kind, &message, "Use TUMBLING, HOPPING or SESSION."));
        }
    };
    let Some(size) = size else {
        return Err(window_error(
            kind,
            "a window of fixed size needs WINDOW_SIZE",
            "Add WINDOW_SIZE = '<number> <unit>'.",
        ));
    };
    match duration_ms(&size.value) {
        Some(size_ms) => Ok(Some(KeyWindow::Time { size_ms, hopping })),
        None => Err(window_error(
            size,
            &format!("WINDOW_SIZE {:?} is no duration", size.value),
            "Give number and unit, as in '10 SECONDS'.",
        )),
    }
}

fn window_error(property: &Property, message: &str, remedy: &str) -> SqlError {
    SqlError::new(ErrorKind::InvalidWindowProperty, message, remedy).at(property.span)
}

/// `10 SECONDS` in milliseconds.
fn duration_ms(text: &str) -> Option<i64> {
    let mut words = text.split_whitespace();
    let (number, unit) = (words.next()?, words.next()?.to_ascii_uppercase());
    if words.next().is_some() {
        return None;
    }
    let unit_ms = match unit.strip_suffix('S').unwrap_or(&unit) {
        "MILLISECOND" => 1,
        "SECOND" => 1_000,
        "MINUTE" => 60_000,
        "HOUR" => 3_600_000,
        "DAY" => 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok().filter(|n| *n > 0)?.checked_mul(unit_ms)
}

fn registry_properties(given: &Properties) -> Vec<(bool, String)> {
    let of_registry = |name: &str| {
        name.ends_with("_SCHEMA_ID")
            || name.ends_with("_SCHEMA_FULL_NAME")
            || name.ends_with("_NULLABLE_REPRESENTATION")
    };
    given
        .0
        .iter()
        .filter(|p| of_registry(&p.name))
        .map(|p| (p.name.starts_with("KEY_"), p.name.clone()))
        .collect()
}

/// The column that gives records their time, checked against the columns there are.
pub(super) fn timestamp_column(
    property: Option<&TimestampProperty>,
    schema: &Schema,
) -> Result<Option<TimestampColumn>> {
    let Some(TimestampProperty { column, format, span }) = property else { return Ok(None) };
    let refuse = |message: String, remedy: &str| {
        SqlError::new(ErrorKind::InvalidTimestampColumn, message, remedy).at(*span)
    };
    let Some(found) = schema.columns().find(|c| c.name == *column) else {
        let names = schema.columns().map(|c| c.name.as_str());
        return Err(refuse(
            format!("TIMESTAMP names the column {column}, which does not exist"),
            &super::suggest::did_you_mean(column, names, "Name a column of the relation."),
        ));
    };
    match (&found.ty, format) {
        (SqlType::Bigint | SqlType::Timestamp, None) | (SqlType::String, Some(_)) => {
            Ok(Some(TimestampColumn { column: column.clone(), format: format.clone() }))
        }
        (SqlType::String, None) => Err(refuse(
            format!("the TIMESTAMP column {column} is a STRING of unknown layout"),
            "Add TIMESTAMP_FORMAT.",
        )),
        (SqlType::Bigint | SqlType::Timestamp, Some(_)) => Err(refuse(
            format!("TIMESTAMP_FORMAT is for STRING columns; {column} is {}", found.ty),
            "Drop TIMESTAMP_FORMAT.",
        )),
        (ty, _) => Err(refuse(
            format!("the TIMESTAMP column {column} is {ty}"),
            "Name a BIGINT or TIMESTAMP column, or a STRING with TIMESTAMP_FORMAT.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_names() {
        assert_eq!(duration_ms("10 seconds"), Some(10_000));
        assert_eq!(duration_ms(" 1  DAY "), Some(86_400_000));
        for wrong in ["10", "ten SECONDS", "10 YEARS", "0 DAYS", "1 DAY 2 HOURS", ""] {
            assert_eq!(duration_ms(wrong), None, "{wrong}");
        }
        assert_eq!(identifier("seen"), "SEEN");
        assert_eq!(identifier("`se``en`"), "se`en");
    }
}
