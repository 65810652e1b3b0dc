//! Reading partitions. Nothing here waits for the committer, except [`Broker::cut`] for a moment.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Broker, Found, Isolation, Read, TopicPartition};
use crate::error::{Error, ErrorCode};
use crate::log::batch::batches;
use crate::log::{Damage, Partition, control};

impl Broker {
    /// Bytes of records in a partition's segments.
    pub fn partition_bytes(&self, at: TopicPartition) -> Result<u64, ErrorCode> {
        Ok(self.partition(at)?.bytes())
    }

    /// Reads whole batches from the one that holds `offset`; `max_bytes` may be passed only by the
    /// first batch. Nothing beyond what `isolation` allows. Empty at the end of the log.
    ///
    /// Errors: `UNKNOWN_TOPIC_OR_PARTITION`, `OFFSET_OUT_OF_RANGE`, `KAFKA_STORAGE_ERROR`.
    pub fn read(
        &self,
        at: TopicPartition,
        offset: i64,
        max_bytes: usize,
        isolation: Isolation,
    ) -> Result<Read, ErrorCode> {
        let partition = self.partition(at)?;
        let end = visible_end(&partition, isolation);
        read(&partition, offset, end, max_bytes, isolation)
    }

    /// As [`Broker::read`], but no record at or after `end` is given either. `end` must be the
    /// border of a batch, as a cut is.
    pub fn read_to(
        &self,
        at: TopicPartition,
        offset: i64,
        end: i64,
        max_bytes: usize,
    ) -> Result<Read, ErrorCode> {
        let partition = self.partition(at)?;
        let end = end.min(partition.last_stable());
        read(&partition, offset, end, max_bytes, Isolation::ReadCommitted)
    }

    /// The first record whose timestamp is at or after `timestamp`, if it is visible.
    pub fn offset_for(
        &self,
        at: TopicPartition,
        timestamp: i64,
        isolation: Isolation,
    ) -> Result<Option<Found>, ErrorCode> {
        let partition = self.partition(at)?;
        let end = visible_end(&partition, isolation);
        partition.offset_for(timestamp, end).map_err(logged)
    }

    /// The visible record with the greatest timestamp (ListOffsets −3); the first of them.
    pub fn offset_of_max_timestamp(
        &self,
        at: TopicPartition,
        isolation: Isolation,
    ) -> Result<Option<Found>, ErrorCode> {
        let partition = self.partition(at)?;
        let end = visible_end(&partition, isolation);
        partition.offset_of_max_timestamp(end).map_err(logged)
    }

    /// The first offset that can be read.
    pub fn log_start(&self, at: TopicPartition) -> Result<i64, ErrorCode> {
        Ok(self.partition(at)?.log_start())
    }

    /// One past the last published record.
    pub fn high_watermark(&self, at: TopicPartition) -> Result<i64, ErrorCode> {
        Ok(self.partition(at)?.high_watermark())
    }

    /// Where `read_committed` readers stop: the first record of the oldest open transaction, or the
    /// high watermark.
    pub fn last_stable(&self, at: TopicPartition) -> Result<i64, ErrorCode> {
        Ok(self.partition(at)?.last_stable())
    }

    /// The partitions with bad or missing records, by topic. They are read-only: see
    /// [`crate::log::Damage`].
    pub fn damaged(&self) -> Vec<(Arc<str>, i32, Damage)> {
        let mut damaged = Vec::new();
        for topic in self.topics() {
            for partition in topic.partitions.iter() {
                if let Some(damage) = partition.damage() {
                    damaged.push((topic.name.clone(), partition.at.partition, damage));
                }
            }
        }
        damaged
    }

    /// Bytes of a partition's segments on disk.
    pub fn size(&self, at: TopicPartition) -> Result<u64, ErrorCode> {
        Ok(self.partition(at)?.bytes())
    }

    /// The markers that the marker at `offset` names (see [`control::siblings`]); none when it is gone.
    pub fn marker_siblings(&self, at: TopicPartition, offset: i64) -> Vec<control::Sibling> {
        let Ok(read) = self.read(at, offset, 1, Isolation::ReadUncommitted) else {
            return Vec::new();
        };
        let first = batches(&read.records).next();
        let marker = first.and_then(Result::ok).filter(|(header, _)| header.base_offset == offset);
        marker.map_or_else(Vec::new, |(_, bytes)| control::siblings(bytes))
    }

    /// Ends at or below the last stable offsets, all of one moment, with no seal and no committed
    /// transaction half inside (see `wholes.rs`). They never go back.
    pub fn cut(&self, of: &[TopicPartition]) -> Result<Vec<i64>, ErrorCode> {
        let partitions =
            of.iter().map(|at| self.partition(*at)).collect::<Result<Vec<_>, ErrorCode>>()?;
        let mut no_publishing = self.commit.lock();
        let ends = partitions.iter().map(|partition| partition.last_stable());
        if no_publishing.wholes.is_empty() {
            return Ok(ends.collect());
        }
        no_publishing.wholes.prune(self.stable());
        let mut cut: HashMap<_, _> = of.iter().copied().zip(ends).collect();
        no_publishing.wholes.lower(&mut cut);
        Ok(of.iter().filter_map(|at| cut.get(at).copied()).collect())
    }

    /// The last stable offset of a partition, `None` when it is gone.
    pub(super) fn stable(&self) -> impl Fn(TopicPartition) -> Option<i64> {
        |at| self.partition(at).ok().map(|partition| partition.last_stable())
    }
}

fn visible_end(partition: &Partition, isolation: Isolation) -> i64 {
    match isolation {
        Isolation::ReadUncommitted => partition.high_watermark(),
        Isolation::ReadCommitted => partition.last_stable(),
    }
}

fn read(
    partition: &Partition,
    offset: i64,
    end: i64,
    max_bytes: usize,
    isolation: Isolation,
) -> Result<Read, ErrorCode> {
    let (records, next_offset) = partition.read(offset, end, max_bytes)?;
    let aborted = match isolation {
        Isolation::ReadCommitted if next_offset > offset => partition.aborted(offset, next_offset),
        _ => Vec::new(),
    };
    Ok(Read {
        records,
        next_offset,
        high_watermark: partition.high_watermark(),
        last_stable_offset: partition.last_stable(),
        log_start_offset: partition.log_start(),
        aborted,
    })
}

fn logged(e: Error) -> ErrorCode {
    tracing::error!(error = %e, "search failed");
    ErrorCode::KafkaStorageError
}
