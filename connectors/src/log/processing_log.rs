//! The processing log: a topic of JSON records that says what could not be processed.
//!
//! Bad records of an epoch are written by the epoch's own seal, so each is told exactly once. At most
//! [`PER_SECOND`] a second are told; the rest are counted in the next record that is. The record's
//! form is ksqlDB's (`reference/ksqldb.md` 5.8), with partition and offset added.

use bytes::Bytes;
use millstream_engine::io::BadRecord;
use millstream_storage::TopicPartition;
use millstream_storage::log::batch::{BatchBuilder, Codec};
use serde_json::{Value, json};

use crate::records::own_producer_id;

/// Records told per second: a broken producer must not fill the disk.
const PER_SECOND: u32 = 100;

/// The name of the processing log's topic.
pub fn topic_name(service_id: &str) -> String {
    format!("{service_id}ksql_processing_log")
}

#[derive(Default)]
pub(super) struct ProcessingLog {
    to: Option<TopicPartition>,
    waiting: Vec<(i64, BadRecord)>,
    /// The second that `told` counts in.
    second: i64,
    told: u32,
    suppressed: u64,
}

impl ProcessingLog {
    pub(super) fn new(to: Option<TopicPartition>) -> Self {
        Self { to, ..Self::default() }
    }

    /// Keeps what the next seal is to tell.
    pub(super) fn note(&mut self, bad: &[BadRecord], now_ms: i64) {
        if bad.is_empty() || self.to.is_none() {
            return;
        }
        let second = now_ms.div_euclid(1000);
        if second != self.second {
            (self.second, self.told) = (second, 0);
        }
        for record in bad {
            if self.told == PER_SECOND {
                self.suppressed += 1;
                continue;
            }
            self.told += 1;
            self.waiting.push((now_ms, record.clone()));
        }
    }

    /// Adds what is kept to a seal's appends.
    pub(super) fn write(
        &mut self,
        epoch: u64,
        now_ms: i64,
        appends: &mut Vec<(TopicPartition, Bytes)>,
    ) {
        let Some(to) = self.to else { return };
        if self.waiting.is_empty() {
            return;
        }
        let mut batch = BatchBuilder::new(Codec::None).producer(own_producer_id(epoch), -1, -1);
        for (time, bad) in self.waiting.drain(..) {
            let record = record_of(&bad, time, std::mem::take(&mut self.suppressed));
            batch.push(now_ms, None, Some(record.to_string().as_bytes()), &[]);
        }
        if let Ok(bytes) = batch.build() {
            appends.push((to, bytes));
        }
    }
}

fn record_of(bad: &BadRecord, time: i64, suppressed: u64) -> Value {
    let kind = if bad.step.ends_with("deserializer") {
        (0, "deserializationError")
    } else if bad.step.ends_with("serializer") {
        (3, "serializationError")
    } else {
        (1, "recordProcessingError")
    };
    let mut message = json!({ "type": kind.0 });
    message[kind.1] = json!({
        "target": if bad.reason.starts_with("key: ") { "key" } else { "value" },
        "errorMessage": bad.reason,
        "topic": bad.topic,
        "partition": bad.partition,
        "offset": bad.offset,
    });
    let mut record = json!({
        "level": "ERROR",
        "logger": format!("processing.{}.{}", bad.query, bad.step),
        "time": time,
        "message": message,
    });
    if suppressed > 0 {
        record["suppressed"] = json!(suppressed);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(offset: i64) -> BadRecord {
        BadRecord {
            query: "CSAS_X_0".into(),
            step: "KsqlTopic.Source.deserializer".into(),
            topic: "t".into(),
            partition: 0,
            offset,
            reason: "$.A: expected BIGINT".into(),
        }
    }

    #[test]
    fn a_flood_is_cut_and_counted() {
        let to = TopicPartition { topic: uuid::Uuid::nil(), partition: 0 };
        let mut log = ProcessingLog::new(Some(to));
        let flood: Vec<_> = (0..250).map(bad).collect();
        log.note(&flood, 5_000);
        assert_eq!((log.waiting.len(), log.suppressed), (100, 150));
        log.note(&flood[..1], 6_000);
        let mut appends = Vec::new();
        log.write(3, 6_001, &mut appends);
        assert_eq!((appends.len(), log.suppressed), (1, 0));
        log.write(4, 6_002, &mut appends);
        assert_eq!(appends.len(), 1);
    }

    #[test]
    fn a_record_says_what_and_where() {
        let record = record_of(&bad(7), 9, 0);
        assert_eq!(record["message"]["deserializationError"]["offset"], 7);
        assert_eq!(record["logger"], "processing.CSAS_X_0.KsqlTopic.Source.deserializer");
    }
}
