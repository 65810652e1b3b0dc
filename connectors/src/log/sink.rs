//! Rows into record batches: what a seal appends to a sink's topic.
//!
//! The key's bytes choose the partition as Kafka's default partitioner does, without the window (as
//! Kafka Streams does for windowed keys). Rows keep their order within a partition. Batches are cut
//! below the topic's `max.message.bytes`. A row that cannot be written is reported and left out.

use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_engine::io::{BadRecord, IoError};
use millstream_engine::rows::Rows;
use millstream_sql::catalog::KeyWindow;
use millstream_sql::plan;
use millstream_sql::types::Schema;
use millstream_storage::log::batch::{BatchBuilder, Codec, Header};
use millstream_storage::{Topic, TopicPartition};
use uuid::Uuid;

use crate::formats::{self, Encoder, window};
use crate::partitioner::{Sticky, partition_of};
use crate::records::own_producer_id;

/// Batches are cut at this size, so that a reader can take them in small portions.
const BATCH_BYTES: usize = 512 << 10;
/// What a record and a batch take beyond key, value and headers; generous.
const OVERHEAD_BYTES: usize = 128;

pub(super) struct SinkWriter {
    query: String,
    name: String,
    pub(super) topic: Uuid,
    partitions: i32,
    /// Bytes a batch may have.
    batch_max: usize,
    key: Box<dyn Encoder>,
    value: Box<dyn Encoder>,
    window: Option<KeyWindow>,
    sticky: Sticky,
}

/// The batches of one seal and one topic, by partition.
struct Batches {
    epoch: u64,
    open: BTreeMap<i32, BatchBuilder>,
    done: Vec<(i32, Bytes)>,
}

impl SinkWriter {
    pub(super) fn new(
        query: &str,
        sink: &plan::Sink,
        schema: &Schema,
        window: Option<KeyWindow>,
        topic: &Topic,
    ) -> Result<SinkWriter, IoError> {
        let not_built = |e: formats::NotBuilt| IoError::Query(e.to_string());
        Ok(SinkWriter {
            query: query.to_owned(),
            name: topic.name.to_string(),
            topic: topic.id,
            partitions: topic.partition_count(),
            batch_max: (topic.config.max_message_bytes as usize).saturating_sub(OVERHEAD_BYTES),
            key: formats::key_encoder(&sink.key_format, &schema.key, sink.rekeyed)
                .map_err(not_built)?,
            value: formats::encoder(&sink.value_format, &schema.value).map_err(not_built)?,
            window,
            sticky: Sticky::default(),
        })
    }

    /// Encodes the rows into batches and adds them to a seal's appends. Gives how many rows were
    /// written.
    pub(super) fn write(
        &mut self,
        rows: &[Rows],
        epoch: u64,
        appends: &mut Vec<(TopicPartition, Bytes)>,
        bad: &mut Vec<BadRecord>,
    ) -> usize {
        let mut batches = Batches { epoch, open: BTreeMap::new(), done: Vec::new() };
        let before = bad.len();
        let total: usize = rows.iter().map(Rows::len).sum();
        for part in rows {
            self.write_part(part, &mut batches, bad);
        }
        self.sticky.next_batch();
        let topic = self.topic;
        for (partition, batch) in batches.finish() {
            appends.push((TopicPartition { topic, partition }, batch));
        }
        total.saturating_sub(bad.len() - before)
    }

    fn write_part(&self, rows: &Rows, batches: &mut Batches, bad: &mut Vec<BadRecord>) {
        let keys = self.key.encode(rows.key_columns(), rows.len());
        let values = self.value.encode(rows.value_columns(), rows.len());
        let mut windowed = Vec::new();
        for row in 0..rows.len() {
            let value = if rows.is_present(row) { values.row(row) } else { Ok(None) };
            let (key, value) = match (keys.row(row), value) {
                (Ok(key), Ok(value)) => (key, value),
                (Err(reason), _) | (_, Err(reason)) => {
                    bad.push(self.bad(rows, row, reason));
                    continue;
                }
            };
            let partition = match key {
                Some(key) => partition_of(key, self.partitions),
                None => self.sticky.partition(self.partitions),
            };
            let key = match (key, self.window, &rows.windows) {
                (Some(key), Some(kind), Some(windows)) => {
                    windowed.clear();
                    windowed.extend_from_slice(key);
                    window::append(&mut windowed, kind, (windows.starts[row], windows.ends[row]));
                    Some(&windowed[..])
                }
                (key, ..) => key,
            };
            let headers = rows.triggers.headers.as_ref().and_then(|all| all[row].clone());
            let headers: Vec<Header<'_>> = headers
                .iter()
                .flat_map(|headers| headers.0.iter())
                .map(|(name, value)| (name.as_bytes(), value.as_deref()))
                .collect();
            let bytes = key.map_or(0, <[u8]>::len)
                + value.map_or(0, <[u8]>::len)
                + headers.iter().map(|(k, v)| k.len() + v.map_or(0, <[u8]>::len)).sum::<usize>();
            if bytes + OVERHEAD_BYTES > self.batch_max {
                let reason = format!("the record has {bytes} bytes, more than max.message.bytes");
                bad.push(self.bad(rows, row, &reason));
                continue;
            }
            let builder = batches.builder(partition, bytes, self.batch_max.min(BATCH_BYTES));
            builder.push(rows.times[row], key, value, &headers);
        }
    }

    fn bad(&self, rows: &Rows, row: usize, reason: &str) -> BadRecord {
        BadRecord {
            query: self.query.clone(),
            step: format!("{}.serializer", self.name),
            topic: self.name.clone(),
            partition: rows.triggers.partitions[row],
            offset: rows.triggers.offsets[row],
            reason: reason.to_owned(),
        }
    }

    /// What is reported when the topic was deleted under the query.
    pub(super) fn topic_gone(&self) -> BadRecord {
        BadRecord {
            query: self.query.clone(),
            step: format!("{}.serializer", self.name),
            topic: self.name.clone(),
            partition: -1,
            offset: -1,
            reason: format!(
                "topic {} was deleted. TERMINATE the query, or create the topic again.",
                self.name
            ),
        }
    }
}

impl Batches {
    /// The batch that takes `bytes` more for this partition.
    fn builder(&mut self, partition: i32, bytes: usize, max: usize) -> &mut BatchBuilder {
        if let Some(open) = self.open.get(&partition)
            && !open.is_empty()
            && open.record_bytes() + bytes + OVERHEAD_BYTES > max
            && let Some(full) = self.open.remove(&partition)
        {
            self.end(partition, full);
        }
        let epoch = self.epoch;
        self.open.entry(partition).or_insert_with(|| {
            BatchBuilder::new(Codec::None).producer(own_producer_id(epoch), -1, -1)
        })
    }

    fn end(&mut self, partition: i32, batch: BatchBuilder) {
        // It fails only beyond 2 GiB, and batches are cut far below.
        if let Ok(bytes) = batch.build() {
            self.done.push((partition, bytes));
        }
    }

    /// All batches; those of one partition in order.
    fn finish(mut self) -> Vec<(i32, Bytes)> {
        for (partition, batch) in std::mem::take(&mut self.open) {
            self.end(partition, batch);
        }
        self.done
    }
}
