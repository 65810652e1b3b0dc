//! What DescribeConfigs and CreateTopics say of settings.
//!
//! Every setting has a source and, if it has a value, synonyms: the Java client fails on an unknown
//! source, and ksqlDB refuses to start without the broker's settings. A password's value is never told.

use super::broker::{self, Layer, Layers, SOURCE_DEFAULT, SOURCE_TOPIC};
use super::resources::{GROUP_SETTINGS, Known, METRICS_SETTINGS};
use super::{CLIENT_METRICS, GROUP, Map, Settings};
use crate::kafka::node::KafkaNode;
use crate::setting::ConfigType;
use crate::topics::TopicConfig;

const SOURCE_LOGGER: i8 = 6;
const SOURCE_METRICS: i8 = 7;
const SOURCE_GROUP: i8 = 8;

/// One setting as it is told.
#[derive(Debug)]
pub(in crate::kafka) struct Described {
    pub(in crate::kafka) name: String,
    /// Null also for what is sensitive.
    pub(in crate::kafka) value: Option<String>,
    pub(in crate::kafka) source: i8,
    pub(in crate::kafka) kind: ConfigType,
    pub(in crate::kafka) is_read_only: bool,
    pub(in crate::kafka) is_sensitive: bool,
    /// Name, value and source of each place that gives it a value; the first wins.
    pub(in crate::kafka) synonyms: Vec<(String, Option<String>, i8)>,
    pub(in crate::kafka) doc: &'static str,
}

/// All settings of a topic.
pub(in crate::kafka) fn topic(
    node: &KafkaNode,
    settings: &Settings,
    config: &TopicConfig,
) -> Vec<Described> {
    let layers = Layers::new(node, settings);
    let describe = |entry: crate::topics::ConfigEntry| {
        let mut synonyms = Vec::new();
        if !entry.is_default {
            synonyms.push((entry.name.to_owned(), Some(entry.value.clone()), SOURCE_TOPIC));
        }
        let behind = layers.behind_topic(entry.name);
        let (value, source) = match (entry.is_default, behind.first()) {
            (false, _) => (entry.value, SOURCE_TOPIC),
            // In coarser units the value is not the topic's.
            (true, Some(layer)) if is_same_unit(layer, entry.name) => {
                (layer.value.clone(), layer.source)
            }
            (true, _) => (entry.value, SOURCE_DEFAULT),
        };
        synonyms.extend(behind.into_iter().map(told));
        if synonyms.is_empty() {
            synonyms.push((entry.name.to_owned(), Some(value.clone()), SOURCE_DEFAULT));
        }
        Described {
            name: entry.name.to_owned(),
            value: Some(value),
            source,
            kind: entry.kind,
            is_read_only: false,
            is_sensitive: false,
            synonyms,
            doc: entry.doc,
        }
    };
    config.entries().into_iter().map(describe).collect()
}

fn is_same_unit(layer: &Layer, topic_setting: &str) -> bool {
    // `server` says that the broker's own setting counts.
    let own = topic_setting == "millstream.durability";
    !own && broker::topic_setting(layer.name) == Some(topic_setting)
}

fn told(layer: Layer) -> (String, Option<String>, i8) {
    (layer.name.to_owned(), Some(layer.value), layer.source)
}

/// All settings of this broker.
pub(in crate::kafka) fn broker(node: &KafkaNode, settings: &Settings) -> Vec<Described> {
    let layers = Layers::new(node, settings);
    let mut all: Vec<Described> = Vec::new();
    for row in broker::ROWS.iter() {
        let found = layers.of(row.name);
        let own = found.first().filter(|layer| layer.name == row.name);
        let is_sensitive = row.kind == ConfigType::Password;
        let hide = |value: String| (!is_sensitive).then_some(value);
        all.push(Described {
            name: row.name.to_owned(),
            value: own.and_then(|layer| hide(layer.value.clone())),
            source: own.map_or(SOURCE_DEFAULT, |layer| layer.source),
            kind: row.kind,
            is_read_only: !row.is_dynamic,
            is_sensitive,
            synonyms: match own {
                None => Vec::new(),
                Some(_) => found
                    .iter()
                    .map(|layer| (layer.name.to_owned(), hide(layer.value.clone()), layer.source))
                    .collect(),
            },
            doc: row.doc,
        });
    }
    // Names Kafka does not know may be set too; what they mean is not known, so they are hidden.
    let id = node.config.node_id.to_string();
    for (name, source) in [(id.as_str(), broker::SOURCE_BROKER), ("", broker::SOURCE_ALL_BROKERS)] {
        let unknown = settings.of(super::BROKER, name).into_keys();
        for name in unknown.filter(|name| broker::row(name).is_none()) {
            if all.iter().all(|described| described.name != name) {
                all.push(hidden(name, source));
            }
        }
    }
    all
}

/// What was changed for all brokers of the cluster.
pub(in crate::kafka) fn all_brokers(settings: &Settings) -> Vec<Described> {
    let one = |(name, value): (String, String)| {
        let Some(row) = broker::row(&name) else { return hidden(name, broker::SOURCE_ALL_BROKERS) };
        let is_sensitive = row.kind == ConfigType::Password;
        let value = (!is_sensitive).then_some(value);
        let source = broker::SOURCE_ALL_BROKERS;
        Described {
            value: value.clone(),
            source,
            kind: row.kind,
            is_read_only: false,
            is_sensitive,
            synonyms: vec![(name.clone(), value, source)],
            doc: row.doc,
            name,
        }
    };
    settings.of(super::BROKER, "").into_iter().map(one).collect()
}

fn hidden(name: String, source: i8) -> Described {
    Described {
        synonyms: vec![(name.clone(), None, source)],
        name,
        value: None,
        source,
        kind: ConfigType::Text,
        is_read_only: false,
        is_sensitive: true,
        doc: "not a setting of Kafka; kept, without effect",
    }
}

/// All settings of a group.
pub(in crate::kafka) fn group(settings: &Settings, name: &str) -> Vec<Described> {
    of_table(GROUP_SETTINGS, &settings.of(GROUP, name), SOURCE_GROUP)
}

/// All settings of a client metrics subscription; none if there is no such.
pub(in crate::kafka) fn client_metrics(settings: &Settings, name: &str) -> Vec<Described> {
    let set = settings.of(CLIENT_METRICS, name);
    if set.is_empty() {
        return Vec::new();
    }
    of_table(METRICS_SETTINGS, &set, SOURCE_METRICS)
}

fn of_table(table: &[Known], set: &Map, source: i8) -> Vec<Described> {
    let describe = |known: &Known| {
        let mut synonyms = Vec::new();
        if let Some(value) = set.get(known.name) {
            synonyms.push((known.name.to_owned(), Some(value.clone()), source));
        }
        synonyms.push((known.name.to_owned(), Some(known.default.to_owned()), SOURCE_DEFAULT));
        Described {
            name: known.name.to_owned(),
            value: synonyms[0].1.clone(),
            source: synonyms[0].2,
            kind: known.kind,
            is_read_only: false,
            is_sensitive: false,
            synonyms,
            doc: known.doc,
        }
    };
    table.iter().map(describe).collect()
}

/// The one logger there is.
pub(in crate::kafka) fn loggers() -> Vec<Described> {
    let (name, value) = ("ROOT".to_owned(), Some("INFO".to_owned()));
    vec![Described {
        synonyms: vec![(name.clone(), value.clone(), SOURCE_LOGGER)],
        name,
        value,
        source: SOURCE_LOGGER,
        kind: ConfigType::Text,
        is_read_only: true,
        is_sensitive: false,
        doc: "levels are set at the start, with RUST_LOG",
    }]
}
