//! The topic `__consumer_offsets`: made when the first group looks for its coordinator, as Kafka
//! does, and then told every change of a group in the journal record that holds it
//! ([`crate::coordinator::offsets_topic`] says how it is written).
//!
//! A node that had groups before the topic was there tells it all of them at once. If somebody deletes
//! the topic it is made again, with all there is, when the next group looks for its coordinator.

use bytes::Bytes;
use uuid::Uuid;

use super::node::KafkaNode;
use crate::broker::{Broker, Ticket, TopicPartition};
use crate::coordinator::GroupRecord;
use crate::coordinator::offsets_topic::{OFFSETS_PARTITIONS, partition_for, write};
use crate::error::{ErrorCode, Refused};
use crate::log::batch::{BatchBuilder, Codec};
use crate::topics::OFFSETS_TOPIC;

/// How Kafka makes the topic (`GroupCoordinatorConfig`, `offsets.topic.*`).
const SETTINGS: [(&str, &str); 3] = [
    ("cleanup.policy", "compact"),
    ("compression.type", "producer"),
    ("segment.bytes", "104857600"),
];

/// The topic's id and number of partitions, if it is there.
pub(super) fn find(broker: &Broker) -> Option<(Uuid, i32)> {
    broker.topic(OFFSETS_TOPIC).map(|topic| (topic.id, topic.partition_count()))
}

impl KafkaNode {
    /// Makes the topic if it is not there. An answer that follows from it waits for the ticket.
    pub(super) fn make_offsets_topic(&self, now_ms: i64) -> Result<Ticket, Refused> {
        if self.broker.topic(OFFSETS_TOPIC).is_some() {
            return Ok(Ticket::default());
        }
        // No group changes between the topic's beginning and what it is told first.
        let groups = self.groups.lock();
        let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let id = self.fresh_id();
        match self.broker.create_topic(OFFSETS_TOPIC, OFFSETS_PARTITIONS, &settings, id) {
            Ok(made) => {
                *self.told_to.lock() = Some((id, OFFSETS_PARTITIONS));
                let told = self.told(&groups.snapshot(), now_ms);
                match told.is_empty() {
                    true => Ok(made),
                    false => Ok(self.broker.append_group_told(&[], &told, now_ms)?),
                }
            }
            // Somebody else makes it at this moment.
            Err(refused) if refused.code == ErrorCode::TopicAlreadyExists => Ok(Ticket::default()),
            Err(refused) => Err(refused),
        }
    }

    /// What the topic is told of these facts; nothing if it is not there.
    pub(super) fn told(
        &self,
        records: &[GroupRecord],
        now_ms: i64,
    ) -> Vec<(TopicPartition, Bytes)> {
        let Some((topic, partitions)) = *self.told_to.lock() else { return Vec::new() };
        let mut told = Vec::new();
        for of_group in records.chunk_by(|one, next| one.group() == next.group()) {
            let mut written = Vec::new();
            of_group.iter().for_each(|record| write(record, &mut written));
            if written.is_empty() {
                continue;
            }
            let mut batch = BatchBuilder::new(Codec::None);
            for (key, value) in &written {
                batch.push(now_ms, Some(key), value.as_deref(), &[]);
            }
            let group = of_group[0].group();
            let partition = partition_for(group, partitions);
            match batch.build() {
                Ok(batch) => told.push((TopicPartition { topic, partition }, batch)),
                // Facts of one request are far below the size of a batch.
                Err(error) => tracing::warn!(group, %error, "what changed is not told"),
            }
        }
        told
    }
}
