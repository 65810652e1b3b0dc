//! What planning reads beside statement and catalog: the session's properties, and the topics there are.
//!
//! Property names are ksqlDB's, with or without `ksql.` or `ksql.streams.` in front, in any case.
//! Properties that planning does not know belong to the runtime and are passed over.

use std::collections::BTreeMap;

use crate::catalog::FormatKind;
use crate::error::{ErrorKind, Result, SqlError};

/// The properties that decide what a statement means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanConfig {
    /// `ksql.persistence.default.format.key`
    pub default_key_format: FormatKind,
    /// `ksql.persistence.default.format.value`; without one VALUE_FORMAT has to be stated.
    pub default_value_format: Option<FormatKind>,
    /// `ksql.persistence.wrap.single.values`; `None` leaves it to the format.
    pub wrap_single_values: Option<bool>,
    /// `ksql.output.topic.name.prefix`
    pub topic_prefix: String,
    /// `ksql.query.pull.table.scan.enabled`
    pub table_scan: bool,
    /// `ksql.suppress.enabled`: whether EMIT FINAL may be used.
    pub emit_final: bool,
    /// `ksql.sink.partitions`
    pub sink_partitions: Option<u32>,
    /// `ksql.sink.replicas`
    pub sink_replicas: Option<i16>,
    /// `ksql.new.query.planner.enabled`: the result of a plain projection has the key columns that are
    /// selected, in that order, be it none.
    pub key_as_selected: bool,
    /// `ksql.timestamp.throw.on.invalid`: a record without a valid time stops the query.
    pub fail_on_invalid_timestamp: bool,
    /// `ksql.service.id`: part of the names of internal topics.
    pub service_id: String,
    /// `millstream.sql.extensions`: what ksqlDB's own cases say must be refused is done: several
    /// conditions in ON, and a table of aggregates without GROUP BY. All other extensions are syntax that
    /// ksqlDB has no case for, and need no switch.
    pub extensions: bool,
    /// The number a new query gets in its id, if it shall not be the catalog's own count.
    pub query_number: Option<u64>,
}

impl Default for PlanConfig {
    fn default() -> Self {
        Self {
            default_key_format: FormatKind::Kafka,
            default_value_format: None,
            wrap_single_values: None,
            topic_prefix: String::new(),
            table_scan: true,
            emit_final: true,
            sink_partitions: None,
            sink_replicas: None,
            key_as_selected: false,
            fail_on_invalid_timestamp: false,
            service_id: "default_".to_owned(),
            extensions: false,
            query_number: None,
        }
    }
}

impl PlanConfig {
    /// Reads the properties of a session; refuses a known one whose value is no such thing.
    pub fn from_properties(properties: &BTreeMap<String, String>) -> Result<Self> {
        let mut config = Self::default();
        for (name, value) in properties {
            config.set(name, value)?;
        }
        Ok(config)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match short_name(name).as_str() {
            "persistence.default.format.key" => self.default_key_format = format(name, value)?,
            "persistence.default.format.value" => {
                self.default_value_format = Some(format(name, value)?);
            }
            "persistence.wrap.single.values" => {
                self.wrap_single_values = Some(parse(name, value, "true or false")?);
            }
            "output.topic.name.prefix" => self.topic_prefix = value.to_owned(),
            "query.pull.table.scan.enabled" => {
                self.table_scan = parse(name, value, "true or false")?;
            }
            "suppress.enabled" => self.emit_final = parse(name, value, "true or false")?,
            "new.query.planner.enabled" => {
                self.key_as_selected = parse(name, value, "true or false")?;
            }
            "sink.partitions" => {
                self.sink_partitions = Some(parse(name, value, "a whole number")?);
            }
            "sink.replicas" => self.sink_replicas = Some(parse(name, value, "a whole number")?),
            "millstream.sql.extensions" => {
                self.extensions = parse(name, value, "true or false")?;
            }
            "timestamp.throw.on.invalid" => {
                self.fail_on_invalid_timestamp = parse(name, value, "true or false")?;
            }
            "service.id" => self.service_id = value.to_owned(),
            _ => {}
        }
        Ok(())
    }
}

fn short_name(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    let name = name.strip_prefix("ksql.").unwrap_or(&name);
    name.strip_prefix("streams.").unwrap_or(name).to_owned()
}

fn format(name: &str, value: &str) -> Result<FormatKind> {
    FormatKind::by_name(value).ok_or_else(|| {
        SqlError::new(
            ErrorKind::UnknownFormat,
            format!("the property {name} names no format: {value}"),
            "Use one of NONE, KAFKA, DELIMITED, JSON.",
        )
    })
}

fn parse<T: std::str::FromStr>(name: &str, value: &str, what: &str) -> Result<T> {
    value.trim().to_ascii_lowercase().parse().map_err(|_| {
        SqlError::new(
            ErrorKind::InvalidPropertyValue,
            format!("the property {name} cannot be {value:?}"),
            format!("Give it {what}."),
        )
    })
}

/// What planning asks about the log. A pure look-up.
pub trait PlanEnv {
    /// How many partitions a topic has; `None` when there is no such topic.
    fn partitions(&self, topic: &str) -> Option<u32>;
}

/// An environment without any topic, for tools that only explain.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTopics;

impl PlanEnv for NoTopics {
    fn partitions(&self, _topic: &str) -> Option<u32> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_with_and_without_prefix() {
        let given = [
            ("ksql.persistence.default.format.value", "json"),
            ("output.topic.name.prefix", "p_"),
            ("KSQL.QUERY.PULL.TABLE.SCAN.ENABLED", "FALSE"),
            ("ksql.streams.auto.offset.reset", "earliest"),
        ];
        let map = given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let config = PlanConfig::from_properties(&map).expect("all legal");
        assert_eq!(config.default_value_format, Some(FormatKind::Json));
        assert_eq!(config.topic_prefix, "p_");
        assert!(!config.table_scan);
        let bad = [("sink.replicas".to_owned(), "many".to_owned())].into_iter().collect();
        let error = PlanConfig::from_properties(&bad).expect_err("no number");
        assert_eq!(error.kind, ErrorKind::InvalidPropertyValue);
    }
}
