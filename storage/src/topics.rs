//! Topics: names, settings with Kafka's names and defaults, and the set of them as a value.
//!
//! A [`Topic`] never changes; altering a setting makes a new value that shares the partitions. So a
//! request keeps one consistent picture for as long as it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use uuid::Uuid;

use crate::config::Durability;
use crate::error::{ErrorCode, Refused};
use crate::log::Partition;
use crate::log::batch::Codec;
pub use crate::setting::ConfigType;
use crate::setting::check_value;

/// One topic, as it is between two changes.
#[derive(Clone)]
pub struct Topic {
    pub id: Uuid,
    pub name: Arc<str>,
    pub config: Arc<TopicConfig>,
    pub(crate) partitions: Arc<[Arc<Partition>]>,
}

impl Topic {
    pub fn partition_count(&self) -> i32 {
        self.partitions.len() as i32
    }
}

impl std::fmt::Debug for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, {} partitions)", self.name, self.id, self.partitions.len())
    }
}

/// All topics, by name and by id.
#[derive(Clone, Default)]
pub(crate) struct Topics {
    by_id: HashMap<Uuid, Arc<Topic>>,
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    /// Counts the changes.
    version: u64,
}

impl Topics {
    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub(crate) fn by_id(&self, id: &Uuid) -> Option<&Arc<Topic>> {
        self.by_id.get(id)
    }

    /// By name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// Changes with every change of a topic.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Adds a topic or replaces the one of the same id.
    pub(crate) fn insert(&mut self, topic: Arc<Topic>) {
        self.version += 1;
        self.by_id.insert(topic.id, topic.clone());
        self.by_name.insert(topic.name.clone(), topic);
    }

    pub(crate) fn remove(&mut self, id: &Uuid) -> Option<Arc<Topic>> {
        let topic = self.by_id.remove(id)?;
        self.version += 1;
        self.by_name.remove(&topic.name);
        Some(topic)
    }
}

/// Where Kafka keeps groups' offsets, and the states of transactions.
///
/// Here both are facts in the journal. The topics are made when the first client looks for a
/// coordinator, as in Kafka: tools look for their names and their mark, and nobody may produce to them.
/// The first is told what becomes of groups (`kafka/offsets_topic.rs`), the second stays empty.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// Whether clients are told that a topic is the broker's own (Kafka `Topic.isInternal`).
pub fn is_internal(name: &str) -> bool {
    matches!(name, OFFSETS_TOPIC | TRANSACTIONS_TOPIC)
}

/// Kafka's rule (`Topic.validate`): 1 to 249 of `[a-zA-Z0-9._-]`, and neither `.` nor `..`.
pub fn check_name(name: &str) -> Result<(), Refused> {
    let refuse = |message: String| Err(Refused::new(ErrorCode::InvalidTopicException, message));
    match name {
        "" => return refuse("Topic name is invalid: the empty string is not allowed".into()),
        "." | ".." => return refuse(format!("Topic name is invalid: '{name}' is not allowed")),
        _ => {}
    }
    if name.len() > 249 {
        return refuse(format!(
            "Topic name is invalid: the length of '{name}' is longer than the max allowed length 249"
        ));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.chars().all(legal) {
        return refuse(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ));
    }
    Ok(())
}

/// Metrics of the Kafka world replace `.` by `_`; two names that differ only there collide.
pub(crate) fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}

/// A UUID as Kafka writes it: 22 characters of base64url, no padding (`Uuid.toString`).
pub fn kafka_uuid(id: Uuid) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // 128 bits and 4 bits of padding make 22 digits of 6 bits.
    let bits = id.as_u128();
    let digit = |i: u32| match i {
        21 => (bits << 4) & 0x3f,
        _ => (bits >> (122 - 6 * i)) & 0x3f,
    };
    (0..22).map(|i| char::from(DIGITS[digit(i) as usize])).collect()
}

/// One topic setting as DescribeConfigs shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: &'static str,
    pub value: String,
    /// False when the topic sets it itself.
    pub is_default: bool,
    pub kind: ConfigType,
    pub doc: &'static str,
}

/// The settings of one topic: what was set, and the parsed values the log works with.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    set: BTreeMap<String, String>,
    pub cleanup_delete: bool,
    pub cleanup_compact: bool,
    /// −1: for ever.
    pub retention_ms: i64,
    /// Per partition; −1: without limit.
    pub retention_bytes: i64,
    pub segment_bytes: u64,
    pub segment_ms: i64,
    /// A segment is begun up to this much earlier, so that not all partitions begin one at once.
    pub segment_jitter_ms: i64,
    /// How long the files of a removed segment stay, under another name.
    pub file_delete_delay_ms: i64,
    /// How long compaction keeps a tombstone or a transaction marker that it could drop.
    pub delete_retention_ms: i64,
    /// Compaction leaves younger records alone.
    pub min_compaction_lag_ms: i64,
    /// Compaction does not wait for the dirty ratio longer than this.
    pub max_compaction_lag_ms: i64,
    /// Share of bytes not yet compacted that starts a compaction.
    pub min_cleanable_dirty_ratio: f64,
    pub index_interval_bytes: u32,
    pub max_message_bytes: u32,
    /// Timestamps are given by the broker at append.
    pub log_append_time: bool,
    pub timestamp_before_max_ms: i64,
    pub timestamp_after_max_ms: i64,
    pub min_insync_replicas: i32,
    /// None: batches keep the producer's codec.
    pub codec: Option<Codec>,
    /// The codec's level, if it has such; None: its default.
    pub codec_level: Option<i32>,
    /// None: what the server says.
    pub durability: Option<Durability>,
}

struct Known {
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    check: Check,
    doc: &'static str,
}

enum Check {
    Any,
    Bool,
    /// Inclusive.
    Between(i64, i64),
    Fraction,
    OneOf(&'static [&'static str]),
    ListOf(&'static [&'static str]),
}

use Check::{Any, Between, Bool, Fraction, ListOf, OneOf};
use ConfigType::{Boolean, Double, Int, List, Long, Text};

const fn known(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    check: Check,
    doc: &'static str,
) -> Known {
    Known { name, kind, default, check, doc }
}

const INT_MAX: i64 = i32::MAX as i64;

/// Kafka 4.1's topic settings and defaults (`LogConfig`), and our own `millstream.durability`.
const KNOWN: &[Known] = &[
    known(
        "cleanup.policy",
        List,
        "delete",
        ListOf(&["compact", "delete"]),
        "delete old segments, compact by key, or both",
    ),
    known(
        "compression.gzip.level",
        Int,
        "-1",
        Between(-1, 9),
        "how hard the broker compresses where compression.type is gzip; -1: gzip's default, 6",
    ),
    known(
        "compression.lz4.level",
        Int,
        "9",
        Between(1, 17),
        "accepted; the broker's LZ4 has one level",
    ),
    known(
        "compression.type",
        Text,
        "producer",
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "producer: batches are kept as sent; else the broker compresses them so",
    ),
    known(
        "compression.zstd.level",
        Int,
        "3",
        Between(-131072, 22),
        "how hard the broker compresses where compression.type is zstd",
    ),
    known(
        "delete.retention.ms",
        Long,
        "86400000",
        Between(0, i64::MAX),
        "how long a tombstone outlives compaction",
    ),
    known(
        "file.delete.delay.ms",
        Long,
        "60000",
        Between(0, i64::MAX),
        "how long the files of a deleted segment stay, renamed to .deleted",
    ),
    known(
        "flush.messages",
        Long,
        "9223372036854775807",
        Between(1, i64::MAX),
        "accepted; see millstream.durability",
    ),
    known(
        "flush.ms",
        Long,
        "9223372036854775807",
        Between(0, i64::MAX),
        "accepted; see millstream.durability",
    ),
    known(
        "follower.replication.throttled.replicas",
        List,
        "",
        Any,
        "accepted; there are no followers",
    ),
    known(
        "index.interval.bytes",
        Int,
        "4096",
        Between(0, INT_MAX),
        "log bytes between two index entries",
    ),
    known(
        "leader.replication.throttled.replicas",
        List,
        "",
        Any,
        "accepted; there are no followers",
    ),
    known(
        "local.retention.bytes",
        Long,
        "-2",
        Between(-2, i64::MAX),
        "accepted; there is no remote storage",
    ),
    known(
        "local.retention.ms",
        Long,
        "-2",
        Between(-2, i64::MAX),
        "accepted; there is no remote storage",
    ),
    known(
        "max.compaction.lag.ms",
        Long,
        "9223372036854775807",
        Between(1, i64::MAX),
        "compact at the latest after this time",
    ),
    known(
        "max.message.bytes",
        Int,
        "1048588",
        Between(0, INT_MAX),
        "largest record batch, in bytes",
    ),
    known(
        "message.timestamp.after.max.ms",
        Long,
        "3600000",
        Between(0, i64::MAX),
        "how far ahead of the clock a record may be",
    ),
    known(
        "message.timestamp.before.max.ms",
        Long,
        "9223372036854775807",
        Between(0, i64::MAX),
        "how far behind the clock a record may be",
    ),
    known(
        "message.timestamp.type",
        Text,
        "CreateTime",
        OneOf(&["CreateTime", "LogAppendTime"]),
        "whose clock the timestamps are from",
    ),
    known(
        "millstream.durability",
        Text,
        "server",
        OneOf(&["server", "fsync", "os"]),
        "fsync: acknowledged records are on disk; os: in the page cache; server: as the server is configured",
    ),
    known(
        "min.cleanable.dirty.ratio",
        Double,
        "0.5",
        Fraction,
        "share of dirty bytes that starts compaction",
    ),
    known(
        "min.compaction.lag.ms",
        Long,
        "0",
        Between(0, i64::MAX),
        "records younger than this are not compacted",
    ),
    known(
        "min.insync.replicas",
        Int,
        "1",
        Between(1, INT_MAX),
        "more than 1 makes acks=all fail: there is one replica",
    ),
    known("preallocate", Boolean, "false", Bool, "accepted; the journal is preallocated"),
    known(
        "remote.log.copy.disable",
        Boolean,
        "false",
        Bool,
        "accepted; there is no remote storage",
    ),
    known(
        "remote.log.delete.on.disable",
        Boolean,
        "false",
        Bool,
        "accepted; there is no remote storage",
    ),
    known("remote.storage.enable", Boolean, "false", Bool, "there is no remote storage"),
    known("retention.bytes", Long, "-1", Between(-1, i64::MAX), "largest size of a partition"),
    known("retention.ms", Long, "604800000", Between(-1, i64::MAX), "how long records are kept"),
    known(
        "segment.bytes",
        Int,
        "1073741824",
        Between(1024, INT_MAX),
        "size at which a new segment is begun",
    ),
    known(
        "segment.index.bytes",
        Int,
        "10485760",
        Between(4, INT_MAX),
        "accepted; an index grows as needed",
    ),
    known(
        "segment.jitter.ms",
        Long,
        "0",
        Between(0, i64::MAX),
        "how much earlier than segment.ms a segment may be begun, at random",
    ),
    known(
        "segment.ms",
        Long,
        "604800000",
        Between(1, i64::MAX),
        "age at which a new segment is begun",
    ),
    known(
        "unclean.leader.election.enable",
        Boolean,
        "false",
        Bool,
        "accepted; there are no elections",
    ),
];

impl Default for TopicConfig {
    fn default() -> Self {
        TopicConfig::new(BTreeMap::new()).expect("the defaults are legal: a test parses them")
    }
}

impl TopicConfig {
    /// Checks what was set; the rest gets Kafka's defaults. An unknown name or an illegal value is
    /// `INVALID_CONFIG`.
    pub fn new(set: BTreeMap<String, String>) -> Result<TopicConfig, Refused> {
        TopicConfig::with_defaults(set, &BTreeMap::new())
    }

    /// As [`TopicConfig::new`], with these defaults in place of Kafka's: what the cluster or the
    /// broker was told (under the topic settings' names).
    pub fn with_defaults(
        set: BTreeMap<String, String>,
        defaults: &BTreeMap<String, String>,
    ) -> Result<TopicConfig, Refused> {
        let invalid = |message: String| Refused::new(ErrorCode::InvalidConfig, message);
        for (name, value) in &set {
            let known = KNOWN.iter().find(|known| known.name == name);
            let known =
                known.ok_or_else(|| invalid(format!("Unknown topic config name: {name}")))?;
            if known.name == "remote.storage.enable" && value.trim() == "true" {
                return Err(invalid(
                    "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.".into(),
                ));
            }
            known.accepts(value).map_err(invalid)?;
        }
        let text = |name: &str| -> &str {
            let value = set.get(name).or_else(|| defaults.get(name));
            value.map_or_else(|| default_of(name), |value| value.trim())
        };
        let number = |name: &str| -> i64 { text(name).trim().parse().unwrap_or(0) };
        let (min_lag, max_lag) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
        if min_lag > max_lag {
            return Err(invalid(format!(
                "conflict topic config setting min.compaction.lag.ms ({min_lag}) > max.compaction.lag.ms ({max_lag})"
            )));
        }
        let policies = text("cleanup.policy").split(',').map(str::trim).collect::<Vec<_>>();
        Ok(TopicConfig {
            cleanup_delete: policies.contains(&"delete"),
            cleanup_compact: policies.contains(&"compact"),
            retention_ms: number("retention.ms"),
            retention_bytes: number("retention.bytes"),
            segment_bytes: number("segment.bytes") as u64,
            segment_ms: number("segment.ms"),
            segment_jitter_ms: number("segment.jitter.ms"),
            file_delete_delay_ms: number("file.delete.delay.ms"),
            delete_retention_ms: number("delete.retention.ms"),
            min_compaction_lag_ms: number("min.compaction.lag.ms"),
            max_compaction_lag_ms: number("max.compaction.lag.ms"),
            min_cleanable_dirty_ratio: text("min.cleanable.dirty.ratio")
                .trim()
                .parse()
                .unwrap_or_default(),
            index_interval_bytes: number("index.interval.bytes") as u32,
            max_message_bytes: number("max.message.bytes") as u32,
            log_append_time: text("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
            min_insync_replicas: number("min.insync.replicas") as i32,
            codec: match text("compression.type") {
                "uncompressed" => Some(Codec::None),
                "gzip" => Some(Codec::Gzip),
                "snappy" => Some(Codec::Snappy),
                "lz4" => Some(Codec::Lz4),
                "zstd" => Some(Codec::Zstd),
                _ => None,
            },
            codec_level: match text("compression.type") {
                "gzip" => Some(number("compression.gzip.level") as i32).filter(|level| *level >= 0),
                "zstd" => Some(number("compression.zstd.level") as i32),
                _ => None,
            },
            durability: match text("millstream.durability") {
                "fsync" => Some(Durability::Fsync),
                "os" => Some(Durability::Os),
                _ => None,
            },
            set,
        })
    }

    /// What the topic sets itself, as text.
    pub fn set(&self) -> &BTreeMap<String, String> {
        &self.set
    }

    /// Every setting with its value, in the order of their names.
    pub fn entries(&self) -> Vec<ConfigEntry> {
        KNOWN
            .iter()
            .map(|known| {
                let set = self.set.get(known.name);
                ConfigEntry {
                    name: known.name,
                    value: set.map_or(known.default, String::as_str).to_owned(),
                    is_default: set.is_none(),
                    kind: known.kind,
                    doc: known.doc,
                }
            })
            .collect()
    }
}

fn default_of(name: &str) -> &'static str {
    KNOWN.iter().find(|known| known.name == name).map_or("", |known| known.default)
}

impl Known {
    /// On refusal, Kafka's words.
    fn accepts(&self, value: &str) -> Result<(), String> {
        let (range, words): (_, &[&str]) = match self.check {
            Any | Bool => (None, &[]),
            Between(low, high) => (Some((low, high)), &[]),
            Fraction => (Some((0, 1)), &[]),
            OneOf(words) | ListOf(words) => (None, words),
        };
        check_value(self.name, value, self.kind, range, words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_legal_when_set() {
        let set = KNOWN.iter().map(|known| (known.name.to_owned(), known.default.to_owned()));
        let set: BTreeMap<_, _> = set.collect();
        let config = TopicConfig::new(set).unwrap();
        let default = TopicConfig::default();
        assert_eq!(TopicConfig { set: BTreeMap::new(), ..config }, default);
        assert_eq!(default.max_message_bytes, 1_048_588);
        assert!(default.cleanup_delete && !default.cleanup_compact);
    }

    #[test]
    fn wrong_settings_are_refused() {
        let check = |name: &str, value: &str, says: &str| {
            let set = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            let refused = TopicConfig::new(set).unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidConfig);
            assert!(refused.message.contains(says), "{}", refused.message);
        };
        check("no.such", "1", "Unknown topic config name: no.such");
        check("retention.ms", "soon", "retention.ms: Not a number of type LONG");
        check("retention.ms", "-2", "Value must be at least -1");
        check("max.message.bytes", "9999999999", "Not a number of type INT");
        check("min.cleanable.dirty.ratio", "1.5", "Value must be no more than 1");
        check("preallocate", "yes", "Expected value to be either true or false");
        check("cleanup.policy", "shred", "String must be one of: compact, delete");
        check("message.timestamp.type", "MyTime", "CreateTime");
        check("remote.storage.enable", "true", "Tiered Storage functionality is disabled");
        check("max.compaction.lag.ms", "0", "Value must be at least 1");
    }

    #[test]
    fn uuids_are_written_as_kafka_does() {
        // From Kafka's own UuidTest.
        let id = Uuid::from_u64_pair(0, 1);
        assert_eq!(kafka_uuid(id), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(kafka_uuid(Uuid::from_u128(u128::MAX)), "_____________________w");
    }

    #[test]
    fn names_follow_kafka() {
        for good in ["a", "A.b_c-9", &"x".repeat(249)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a b", "ä", "a/b", &"x".repeat(250)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
