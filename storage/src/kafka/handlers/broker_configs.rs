//! The broker's own settings under Kafka's names: those that tools look at.
//!
//! They are fixed when the node starts. Topic settings have a default under another name at the
//! broker ([`synonym_of`]); those are listed too.

use crate::kafka::KafkaConfig;
use crate::topics::{ConfigType, TopicConfig};

/// One setting of the broker.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) value: String,
    /// False if the node was started with it.
    pub(super) is_default: bool,
    pub(super) kind: ConfigType,
}

/// Topic settings and the broker settings that give their defaults (Kafka `ServerTopicConfigSynonyms`).
/// Those not listed have the same name at the broker.
const SYNONYMS: &[(&str, &str)] = &[
    ("cleanup.policy", "log.cleanup.policy"),
    ("delete.retention.ms", "log.cleaner.delete.retention.ms"),
    ("file.delete.delay.ms", "log.segment.delete.delay.ms"),
    ("flush.messages", "log.flush.interval.messages"),
    ("flush.ms", "log.flush.interval.ms"),
    ("index.interval.bytes", "log.index.interval.bytes"),
    ("local.retention.bytes", "log.local.retention.bytes"),
    ("local.retention.ms", "log.local.retention.ms"),
    ("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
    ("max.message.bytes", "message.max.bytes"),
    ("message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms"),
    ("message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms"),
    ("message.timestamp.type", "log.message.timestamp.type"),
    ("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio"),
    ("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms"),
    ("preallocate", "log.preallocate"),
    ("retention.bytes", "log.retention.bytes"),
    ("retention.ms", "log.retention.ms"),
    ("segment.bytes", "log.segment.bytes"),
    ("segment.index.bytes", "log.index.size.max.bytes"),
    ("segment.jitter.ms", "log.roll.jitter.ms"),
    ("segment.ms", "log.roll.ms"),
];

/// The broker setting that gives a topic setting its default.
pub(super) fn synonym_of(topic_setting: &'static str) -> &'static str {
    let found = SYNONYMS.iter().find(|(topic, _)| *topic == topic_setting);
    found.map_or(topic_setting, |(_, broker)| broker)
}

/// All settings, by name.
pub(super) fn entries(config: &KafkaConfig) -> Vec<Entry> {
    use ConfigType::{Boolean, Int, Long, Text};
    let given = |name, kind, value: String| Entry { name, value, is_default: false, kind };
    let fixed = |name, kind, value: &str| {
        let value = value.to_owned();
        Entry { name, value, is_default: true, kind }
    };
    let host = &config.advertised_host;
    let listener = format!("PLAINTEXT://{host}:{}", config.advertised_port);
    let retention_minutes = config.groups.offsets_retention_ms / 60_000;
    let initial_delay = config.groups.initial_delay_ms;
    let mut all = vec![
        given("advertised.listeners", Text, listener.clone()),
        given("auto.create.topics.enable", Boolean, config.auto_create_topics.to_string()),
        given("broker.id", Int, config.node_id.to_string()),
        fixed("default.replication.factor", Int, "1"),
        fixed("delete.topic.enable", Boolean, "true"),
        given("fetch.max.bytes", Int, config.fetch_bytes_max.to_string()),
        given("group.initial.rebalance.delay.ms", Int, initial_delay.to_string()),
        given(
            "group.max.session.timeout.ms",
            Int,
            config.groups.session_timeout_max_ms.to_string(),
        ),
        given(
            "group.min.session.timeout.ms",
            Int,
            config.groups.session_timeout_min_ms.to_string(),
        ),
        given("listeners", Text, listener),
        given("node.id", Int, config.node_id.to_string()),
        given("num.partitions", Int, config.default_partitions.to_string()),
        given("offset.metadata.max.bytes", Int, config.groups.offset_metadata_max.to_string()),
        given("offsets.retention.minutes", Int, retention_minutes.to_string()),
        fixed("offsets.topic.replication.factor", Int, "1"),
        fixed("log.cleaner.enable", Boolean, "true"),
        fixed("log.retention.hours", Int, "168"),
        fixed("log.roll.hours", Int, "168"),
        fixed("transaction.max.timeout.ms", Int, "900000"),
        fixed("transactional.id.expiration.ms", Int, "604800000"),
        fixed("producer.id.expiration.ms", Long, "86400000"),
    ];
    for entry in TopicConfig::default().entries() {
        all.push(Entry {
            name: synonym_of(entry.name),
            value: entry.value,
            is_default: true,
            kind: entry.kind,
        });
    }
    all.sort_by_key(|entry| entry.name);
    all
}
