//! Broker settings given at the start, under Kafka's names and with Kafka's checks: the lines of a
//! `server.properties` that this node acts on.
//!
//! What Kafka knows but this node does not use is refused: a setting that has no effect would be believed.

use super::broker::row;
use crate::kafka::KafkaConfig;

/// The settings that [`KafkaConfig::set`] takes.
const START_SETTINGS: &[&str] = &[
    "auto.create.topics.enable",
    "broker.id",
    "fetch.max.bytes",
    "group.consumer.heartbeat.interval.ms",
    "group.consumer.session.timeout.ms",
    "group.initial.rebalance.delay.ms",
    "group.max.session.timeout.ms",
    "group.min.session.timeout.ms",
    "node.id",
    "offset.metadata.max.bytes",
    "offsets.retention.minutes",
    "transaction.max.timeout.ms",
    "transactional.id.expiration.ms",
];

impl KafkaConfig {
    /// Changes a setting before the node starts.
    ///
    /// Errors: what is wrong with the name or the value, and what would be right.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let value = value.trim();
        let known = row(name).ok_or_else(|| format!("{name} is no setting of a Kafka broker"))?;
        known.check(value)?;
        let groups = &mut self.groups;
        // The table's ranges are within these types.
        let wrong = |_| format!("{name} cannot be {value}");
        match name {
            "auto.create.topics.enable" => self.auto_create_topics = value == "true",
            "broker.id" | "node.id" => {
                // Kafka's default for broker.id, -1, asks for a generated one.
                let id = value.parse::<u16>().map_err(wrong)?;
                self.node_id = i32::from(id);
            }
            "fetch.max.bytes" => self.fetch_bytes_max = value.parse().map_err(wrong)?,
            "group.consumer.heartbeat.interval.ms" => {
                groups.consumer_heartbeat_interval_ms = value.parse().map_err(wrong)?;
            }
            "group.consumer.session.timeout.ms" => {
                groups.consumer_session_timeout_ms = value.parse().map_err(wrong)?;
            }
            "group.initial.rebalance.delay.ms" => {
                groups.initial_delay_ms = value.parse().map_err(wrong)?;
            }
            "group.max.session.timeout.ms" => {
                groups.session_timeout_max_ms = value.parse().map_err(wrong)?;
            }
            "group.min.session.timeout.ms" => {
                groups.session_timeout_min_ms = value.parse().map_err(wrong)?;
            }
            "offset.metadata.max.bytes" => {
                groups.offset_metadata_max = value.parse().map_err(wrong)?;
            }
            "offsets.retention.minutes" => {
                let minutes = value.parse::<i64>().map_err(wrong)?;
                groups.offsets_retention_ms = minutes.saturating_mul(60_000);
            }
            "transaction.max.timeout.ms" => {
                self.transactions.timeout_max_ms = value.parse().map_err(wrong)?;
            }
            "transactional.id.expiration.ms" => {
                self.transactions.id_expiry_ms = value.parse().map_err(wrong)?;
            }
            _ => {
                let known = START_SETTINGS.join(", ");
                return Err(format!("{name} cannot be given at the start; these can: {known}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_setting_is_taken_and_checked() {
        for name in START_SETTINGS {
            let mut config = KafkaConfig::at("localhost", 9092);
            let good = if name.ends_with(".enable") { "false" } else { "4096" };
            config.set(name, good).unwrap();
            assert!(config.set(name, "lots").is_err(), "{name}");
        }
    }

    #[test]
    fn a_setting_without_effect_is_refused() {
        let mut config = KafkaConfig::at("localhost", 9092);
        for name in ["zookeeper.connect", "num.io.threads", ""] {
            assert!(config.set(name, "1").is_err(), "{name}");
        }
        config.set("node.id", "0").unwrap();
        config.set("group.min.session.timeout.ms", " 1000").unwrap();
        assert_eq!((config.node_id, config.groups.session_timeout_min_ms), (0, 1000));
    }
}
