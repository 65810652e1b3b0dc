//! What holds while a text is executed: properties and variables.
//!
//! Properties are known under ksqlDB's names, with or without `ksql.streams.` in front; here they are
//! kept as they were written. The later of two settings counts: node, request, SET.

use std::collections::BTreeMap;

use millstream_engine::io::StartAt;
use millstream_sql::error::{ErrorKind, Result, SqlError};
use millstream_sql::plan::PlanConfig;
use millstream_sql::syntax::Variables;

/// Properties of Kafka Streams and its clients that a client may set though nothing here depends on
/// them: programs written for ksqlDB send them.
const ACCEPTED: &[&str] = &[
    "auto.offset.reset",
    "buffered.records.per.partition",
    "cache.max.bytes.buffering",
    "commit.interval.ms",
    "default.deserialization.exception.handler",
    "default.production.exception.handler",
    "default.timestamp.extractor",
    "max.task.idle.ms",
    "millstream.sql.extensions",
    "num.standby.replicas",
    "num.stream.threads",
    "processing.guarantee",
    "producer.linger.ms",
    "replication.factor",
    "state.cleanup.delay.ms",
    "statestore.cache.max.bytes",
    "task.timeout.ms",
    "topology.optimization",
    "use.exact.numeric.comparison",
];

/// Properties and variables of one request or session.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub properties: BTreeMap<String, String>,
    pub variables: Variables,
}

impl Scope {
    /// Sets a property.
    ///
    /// # Errors
    /// When the property is unknown or its value is none that it can have.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<()> {
        check_name(name)?;
        let mut next = self.properties.clone();
        // One property may be written in several ways: the newest replaces all of them.
        next.retain(|known, _| short_name(known) != short_name(name));
        next.insert(name.to_owned(), value.to_owned());
        PlanConfig::from_properties(&next)?;
        start_at(&next, StartAt::Latest)?;
        self.properties = next;
        Ok(())
    }

    pub(super) fn unset(&mut self, name: &str) {
        self.properties.retain(|known, _| short_name(known) != short_name(name));
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        find(&self.properties, name)
    }

    /// Whether `${…}` is replaced.
    pub(super) fn substitutes(&self) -> bool {
        self.get("variable.substitution.enable").is_none_or(|v| !v.eq_ignore_ascii_case("false"))
    }
}

fn find<'a>(properties: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    let same = |(known, _): &(&String, &String)| short_name(known) == short_name(name);
    properties.iter().find(same).map(|(_, value)| value.as_str())
}

/// Where a query that never ran begins to read.
///
/// # Errors
/// When `auto.offset.reset` is neither earliest nor latest.
pub(super) fn start_at(properties: &BTreeMap<String, String>, default: StartAt) -> Result<StartAt> {
    match find(properties, "auto.offset.reset") {
        None => Ok(default),
        Some(text) if text.eq_ignore_ascii_case("earliest") => Ok(StartAt::Earliest),
        Some(text) if text.eq_ignore_ascii_case("latest") => Ok(StartAt::Latest),
        Some(text) => Err(SqlError::new(
            ErrorKind::InvalidPropertyValue,
            format!("auto.offset.reset cannot be {text:?}"),
            "Set it to 'earliest' or 'latest'.",
        )),
    }
}

/// `ksql.streams.auto.offset.reset` and `auto.offset.reset` are one property.
pub(super) fn short_name(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    let name = name.strip_prefix("ksql.").unwrap_or(&name);
    name.strip_prefix("streams.").unwrap_or(name).to_owned()
}

fn check_name(name: &str) -> Result<()> {
    let lower = name.trim().to_ascii_lowercase();
    let client = ["consumer.", "producer.", "main.consumer.", "admin."];
    let known = lower.starts_with("ksql.")
        || lower.starts_with("__")
        || client.iter().any(|prefix| lower.starts_with(prefix))
        || ACCEPTED.contains(&short_name(&lower).as_str());
    if known {
        return Ok(());
    }
    Err(SqlError::new(
        ErrorKind::UnknownProperty,
        format!("there is no property {name}"),
        "SHOW PROPERTIES lists what can be set.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_have_one_value_however_they_are_written() {
        let mut scope = Scope::default();
        scope.set("auto.offset.reset", "earliest").unwrap();
        scope.set("ksql.streams.auto.offset.reset", "latest").unwrap();
        assert_eq!(scope.get("auto.offset.reset"), Some("latest"));
        assert_eq!(scope.properties.len(), 1);
        assert_eq!(start_at(&scope.properties, StartAt::Earliest), Ok(StartAt::Latest));
        scope.unset("AUTO.OFFSET.RESET");
        assert_eq!(start_at(&scope.properties, StartAt::Earliest), Ok(StartAt::Earliest));
    }

    #[test]
    fn wrong_settings_change_nothing() {
        let mut scope = Scope::default();
        let check = |scope: &mut Scope, name: &str, value: &str, kind: ErrorKind| {
            assert_eq!(scope.set(name, value).unwrap_err().kind, kind);
            assert!(scope.properties.is_empty());
        };
        check(&mut scope, "auto.offset.reset", "never", ErrorKind::InvalidPropertyValue);
        check(&mut scope, "no.such.thing", "1", ErrorKind::UnknownProperty);
        check(&mut scope, "ksql.sink.partitions", "many", ErrorKind::InvalidPropertyValue);
    }
}
