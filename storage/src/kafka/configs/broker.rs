//! Kafka 4.1's broker settings, and where the value of each comes from.
//!
//! `broker.tsv` has one line for each: name, type, default (`-`: null), legal values (`low..high`,
//! words with `|`, `*`), `dynamic` or `fixed`, and what it does here (nothing: this node does not use
//! it). Names, types, defaults and which of them are dynamic are Kafka's (`KafkaConfig`,
//! `DynamicBrokerConfig`); two rows of ours beside them begin with `millstream.`.
//!
//! A value is looked for in this order: changed for this broker, changed for all brokers, given at
//! the start, built in. A few settings exist in several units; then the finer one wins.

use std::sync::LazyLock;

use super::{BROKER, Map, Settings};
use crate::config::Durability;
use crate::kafka::node::KafkaNode;
use crate::setting::{ConfigType, check_value};

/// Where a value comes from (`DescribeConfigsResponse.ConfigSource`).
pub(in crate::kafka) const SOURCE_TOPIC: i8 = 1;
pub(in crate::kafka) const SOURCE_BROKER: i8 = 2;
pub(in crate::kafka) const SOURCE_ALL_BROKERS: i8 = 3;
pub(in crate::kafka) const SOURCE_STATIC: i8 = 4;
pub(in crate::kafka) const SOURCE_DEFAULT: i8 = 5;

const UNUSED: &str = "a setting of Kafka that this node does not use";

/// One row of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) kind: ConfigType,
    pub(super) default: Option<&'static str>,
    range: Option<(i64, i64)>,
    words: Vec<&'static str>,
    pub(super) is_dynamic: bool,
    pub(super) doc: &'static str,
}

/// By name.
pub(super) static ROWS: LazyLock<Vec<Row>> =
    LazyLock::new(|| include_str!("broker.tsv").lines().filter_map(Row::parse).collect());

impl Row {
    /// A test reads every line.
    fn parse(line: &'static str) -> Option<Row> {
        let mut fields = line.split('\t');
        let name = fields.next()?;
        let kind = match fields.next()? {
            "boolean" => ConfigType::Boolean,
            "string" => ConfigType::Text,
            "int" => ConfigType::Int,
            "short" => ConfigType::Short,
            "long" => ConfigType::Long,
            "double" => ConfigType::Double,
            "list" => ConfigType::List,
            "class" => ConfigType::Class,
            "password" => ConfigType::Password,
            _ => return None,
        };
        let default = match fields.next()? {
            "-" => None,
            "\"\"" => Some(""),
            value => Some(value),
        };
        let (range, words) = match fields.next()? {
            "*" => (None, Vec::new()),
            legal => match legal.split_once("..") {
                Some((low, "")) => (Some((low.parse().ok()?, i64::MAX)), Vec::new()),
                Some((low, high)) => {
                    (Some((low.parse().ok()?, high.parse::<f64>().ok()? as i64)), Vec::new())
                }
                None => (None, legal.split('|').collect()),
            },
        };
        let is_dynamic = fields.next()? == "dynamic";
        let doc = fields.next().filter(|doc| !doc.is_empty()).unwrap_or(UNUSED);
        Some(Row { name, kind, default, range, words, is_dynamic, doc })
    }

    pub(super) fn check(&self, value: &str) -> Result<(), String> {
        check_value(self.name, value, self.kind, self.range, &self.words)
    }
}

pub(super) fn row(name: &str) -> Option<&'static Row> {
    let at = ROWS.binary_search_by(|row| row.name.cmp(name)).ok()?;
    ROWS.get(at)
}

/// Topic settings and the broker settings that give their defaults, first the one that wins
/// (Kafka `ServerTopicConfigSynonyms`). Those not listed have the same name at the broker.
const SYNONYMS: &[(&str, &[&str])] = &[
    ("cleanup.policy", &["log.cleanup.policy"]),
    ("delete.retention.ms", &["log.cleaner.delete.retention.ms"]),
    ("file.delete.delay.ms", &["log.segment.delete.delay.ms"]),
    ("flush.messages", &["log.flush.interval.messages"]),
    ("flush.ms", &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"]),
    ("index.interval.bytes", &["log.index.interval.bytes"]),
    ("local.retention.bytes", &["log.local.retention.bytes"]),
    ("local.retention.ms", &["log.local.retention.ms"]),
    ("max.compaction.lag.ms", &["log.cleaner.max.compaction.lag.ms"]),
    ("max.message.bytes", &["message.max.bytes"]),
    ("message.timestamp.after.max.ms", &["log.message.timestamp.after.max.ms"]),
    ("message.timestamp.before.max.ms", &["log.message.timestamp.before.max.ms"]),
    ("message.timestamp.type", &["log.message.timestamp.type"]),
    ("min.cleanable.dirty.ratio", &["log.cleaner.min.cleanable.ratio"]),
    ("min.compaction.lag.ms", &["log.cleaner.min.compaction.lag.ms"]),
    ("preallocate", &["log.preallocate"]),
    ("retention.bytes", &["log.retention.bytes"]),
    ("retention.ms", &["log.retention.ms", "log.retention.minutes", "log.retention.hours"]),
    ("segment.bytes", &["log.segment.bytes"]),
    ("segment.index.bytes", &["log.index.size.max.bytes"]),
    ("segment.jitter.ms", &["log.roll.jitter.ms", "log.roll.jitter.hours"]),
    ("segment.ms", &["log.roll.ms", "log.roll.hours"]),
];

/// The broker settings behind a topic setting; none if there are none.
fn behind_topic(name: &'static str) -> Vec<&'static str> {
    match SYNONYMS.iter().find(|(topic, _)| *topic == name) {
        Some((_, broker)) => broker.to_vec(),
        None => row(name).map(|row| row.name).into_iter().collect(),
    }
}

/// A broker setting and its coarser units, which only topic defaults have.
fn with_units(name: &'static str) -> Vec<&'static str> {
    let known = SYNONYMS.iter().find(|(_, broker)| broker.first() == Some(&name));
    known.map_or_else(|| vec![name], |(_, broker)| broker.to_vec())
}

/// The topic setting whose default a broker setting is.
pub(super) fn topic_setting(name: &str) -> Option<&'static str> {
    let known = SYNONYMS.iter().find(|(_, broker)| broker.first() == Some(&name));
    let same = || {
        let settings = crate::topics::TopicConfig::default().entries();
        settings.into_iter().map(|entry| entry.name).find(|topic| *topic == name)
    };
    known.map(|(topic, _)| *topic).or_else(same)
}

/// One place that gives a setting a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct Layer {
    pub(in crate::kafka) name: &'static str,
    pub(in crate::kafka) value: String,
    pub(in crate::kafka) source: i8,
}

/// Looks up broker settings of one node at one moment.
pub(super) struct Layers {
    here: Map,
    everywhere: Map,
    given: Map,
}

impl Layers {
    pub(super) fn new(node: &KafkaNode, settings: &Settings) -> Layers {
        let here = settings.of(BROKER, &node.config.node_id.to_string());
        Layers { here, everywhere: settings.of(BROKER, ""), given: given(node) }
    }

    /// Who gives a broker setting its value; the first wins.
    pub(super) fn of(&self, name: &'static str) -> Vec<Layer> {
        with_units(name).into_iter().flat_map(|name| self.of_one(name)).collect()
    }

    /// Who gives a topic setting its default; the first wins.
    pub(super) fn behind_topic(&self, name: &'static str) -> Vec<Layer> {
        behind_topic(name).into_iter().flat_map(|name| self.of_one(name)).collect()
    }

    fn of_one(&self, name: &'static str) -> Vec<Layer> {
        let built_in = row(name).and_then(|row| row.default).map(str::to_owned);
        let layers = [
            (self.here.get(name).cloned(), SOURCE_BROKER),
            (self.everywhere.get(name).cloned(), SOURCE_ALL_BROKERS),
            (self.given.get(name).cloned(), SOURCE_STATIC),
            (built_in, SOURCE_DEFAULT),
        ];
        let present = layers.into_iter().filter_map(|(value, source)| Some((value?, source)));
        present.map(|(value, source)| Layer { name, value, source }).collect()
    }
}

/// What topics have by default, where it was changed while the node ran.
pub(in crate::kafka) fn topic_defaults(node_id: i32, settings: &Settings) -> Map {
    let mut defaults = Map::new();
    let all = settings.of(BROKER, "").into_iter();
    for (name, value) in all.chain(settings.of(BROKER, &node_id.to_string())) {
        if let Some(topic) = topic_setting(&name) {
            defaults.insert(topic.to_owned(), value);
        }
    }
    defaults
}

/// How long an idle producer id is remembered, ms, if that was changed while the node ran.
pub(in crate::kafka) fn producer_expiry_ms(node_id: i32, settings: &Settings) -> Option<i64> {
    const NAME: &str = "producer.id.expiration.ms";
    let here = settings.of(BROKER, &node_id.to_string());
    let value = here.get(NAME).cloned().or_else(|| settings.of(BROKER, "").get(NAME).cloned());
    value?.parse().ok()
}

/// What the node was started with, or is by its nature.
fn given(node: &KafkaNode) -> Map {
    let config = &node.config;
    let groups = &config.groups;
    let listener = format!("PLAINTEXT://{}:{}", config.advertised_host, config.advertised_port);
    let durability = match node.broker.durability() {
        Durability::Fsync => "fsync",
        Durability::Os => "os",
    };
    [
        ("advertised.listeners", listener.clone()),
        ("auto.create.topics.enable", config.auto_create_topics.to_string()),
        ("broker.id", config.node_id.to_string()),
        ("fetch.max.bytes", config.fetch_bytes_max.to_string()),
        ("group.consumer.heartbeat.interval.ms", groups.consumer_heartbeat_interval_ms.to_string()),
        ("group.consumer.max.size", groups.members_max.to_string()),
        ("group.consumer.session.timeout.ms", groups.consumer_session_timeout_ms.to_string()),
        ("group.initial.rebalance.delay.ms", groups.initial_delay_ms.to_string()),
        ("group.max.session.timeout.ms", groups.session_timeout_max_ms.to_string()),
        ("group.max.size", groups.members_max.to_string()),
        ("group.min.session.timeout.ms", groups.session_timeout_min_ms.to_string()),
        ("listeners", listener),
        ("log.dirs", node.broker.log_dir()),
        ("millstream.durability", durability.to_owned()),
        ("node.id", config.node_id.to_string()),
        ("num.partitions", config.default_partitions.to_string()),
        ("offset.metadata.max.bytes", groups.offset_metadata_max.to_string()),
        ("offsets.retention.minutes", (groups.offsets_retention_ms / 60_000).to_string()),
        ("offsets.topic.replication.factor", "1".to_owned()),
        ("process.roles", "broker,controller".to_owned()),
        ("transaction.max.timeout.ms", config.transactions.timeout_max_ms.to_string()),
        ("transaction.state.log.min.isr", "1".to_owned()),
        ("transaction.state.log.num.partitions", "1".to_owned()),
        ("transaction.state.log.replication.factor", "1".to_owned()),
        ("transactional.id.expiration.ms", config.transactions.id_expiry_ms.to_string()),
    ]
    .into_iter()
    // Whoever gives the built-in value is not told apart from who gives none.
    .filter(|(name, value)| row(name).and_then(|row| row.default) != Some(value))
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read_and_its_default_is_legal() {
        let lines = include_str!("broker.tsv").lines().count();
        assert_eq!(ROWS.len(), lines);
        assert!(ROWS.is_sorted_by_key(|row| row.name), "looked up by halving");
        for row in ROWS.iter() {
            if let Some(default) = row.default.filter(|default| !default.is_empty()) {
                row.check(default).unwrap();
            }
        }
        for (topic, broker) in SYNONYMS {
            assert!(broker.iter().all(|name| row(name).is_some()), "{topic}");
        }
    }

    #[test]
    fn defaults_of_topics_are_the_same_under_the_brokers_names() {
        for entry in crate::topics::TopicConfig::default().entries() {
            let Some(name) = behind_topic(entry.name).first().copied() else { continue };
            let default = row(name).and_then(|row| row.default);
            if let Some(default) = default.filter(|_| !name.starts_with("millstream.")) {
                assert_eq!(default, entry.value, "{name}");
            }
            assert_eq!(topic_setting(name), Some(entry.name));
        }
    }
}
