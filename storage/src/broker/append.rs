//! Taking record batches: the checks, the offsets, the place in the journal's group.
//!
//! The order of checks is Kafka's (`LogValidator`, `UnifiedLog.append`). Everything that needs only the
//! batch is done before the commit lock is taken; under it there are the producer's sequence and the
//! offsets. The records of a large batch are not copied: the group holds on to the request's bytes. Where
//! nobody waits for the disk, they go to their segment only (*placed*), else into the journal too.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::MutexGuard;

use super::commit::{Appending, Effect};
use super::{Appended, Broker, Commit, Ticket, TopicPartition};
use crate::error::ErrorCode;
use crate::journal::record::Kind;
use crate::journal::wire::Put;
use crate::log::batch::{self, BatchHeader, HEADER_BYTES, RecordIter};
use crate::log::control::Marker;
use crate::log::{Partition, Verdict};
use crate::topics::{Topic, TopicConfig};

/// There is one leader and it never changes.
const LEADER_EPOCH: i32 = 0;
/// From here on holding on to a batch is cheaper than copying it.
const LARGE_BYTES_MIN: usize = 2 << 10;
/// Memory for looking into a batch of a compacted topic.
const DECOMPRESSED_MAX: usize = crate::log::DECOMPRESSED_MAX;

impl Broker {
    /// Takes a client's record batch: exactly one, of format v2. Checks length, CRC, producer
    /// sequence, time and size; assigns its offsets.
    ///
    /// Errors: `UNKNOWN_TOPIC_OR_PARTITION`, `CORRUPT_MESSAGE`, `INVALID_RECORD`,
    /// `MESSAGE_TOO_LARGE`, `INVALID_TIMESTAMP`, `UNSUPPORTED_FOR_MESSAGE_FORMAT` (magic 0 and 1),
    /// `UNSUPPORTED_COMPRESSION_TYPE`, `OUT_OF_ORDER_SEQUENCE_NUMBER`, `INVALID_PRODUCER_EPOCH`,
    /// `INVALID_TXN_STATE` (a plain batch inside its producer's transaction), `KAFKA_STORAGE_ERROR`,
    /// `REQUEST_TIMED_OUT` (the committer is behind by `pending_bytes_max`).
    ///
    /// Whether a transactional batch belongs to a transaction that its coordinator knows is for the
    /// caller to check; here it opens one.
    pub fn append(
        &self,
        at: TopicPartition,
        records: Bytes,
        now_ms: i64,
    ) -> Result<Appended, ErrorCode> {
        let appended = self.append_held(at, records, now_ms);
        self.work.notify_one();
        appended
    }

    /// As [`Broker::append`], but the committer is not called: the caller does so when it has more to
    /// append, with [`Broker::commit_held`].
    pub fn append_held(
        &self,
        at: TopicPartition,
        mut records: Bytes,
        now_ms: i64,
    ) -> Result<Appended, ErrorCode> {
        let (topic, partition) = self.topic_and_partition(at)?;
        let mut header = check_batch(&records, &topic.config, now_ms)?;
        if let Some(codec) = topic.config.codec.filter(|codec| header.codec() != Ok(*codec)) {
            records =
                batch::recompress(&records, codec, topic.config.codec_level, DECOMPRESSED_MAX)?;
            header = BatchHeader::parse(&records)?;
        }
        if partition.damage().is_some() {
            return Err(ErrorCode::KafkaStorageError);
        }
        let mut commit = self.commit_with_room()?;
        if partition.assigned.lock().deleted {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        let log_append_time = if topic.config.log_append_time { now_ms } else { -1 };
        let (verdict, log_start_offset) = {
            let assigned = partition.assigned.lock();
            (assigned.producers.check(&header)?, assigned.log_start)
        };
        if let Verdict::Repeated(known) = verdict {
            return Ok(Appended {
                base_offset: known.base_offset,
                log_append_time,
                log_start_offset,
                ticket: Ticket(known.lsn),
                duplicate: true,
            });
        }
        let lsn = commit.take_lsn();
        let waits = self.wants_sync(&topic);
        // Who waits for the disk waits for the journal alone, whatever the number of partitions.
        let placed = !waits && records.len() >= LARGE_BYTES_MIN && !topic.config.log_append_time;
        let place = commit.group.begin(if placed { Kind::Placed } else { Kind::Append }, lsn);
        commit.group.bytes.put_uuid(at.topic);
        commit.group.bytes.put_i32(at.partition);
        if placed {
            commit.group.put_no_place(records.len() - HEADER_BYTES);
        }
        let base_offset = commit.put(&topic, &partition, records, header, lsn, now_ms, placed);
        commit.group.end(place);
        commit.group.sync |= waits;
        let ticket = Ticket(lsn);
        Ok(Appended { base_offset, log_append_time, log_start_offset, ticket, duplicate: false })
    }

    /// Whether the committer keeps up: less than `pending_bytes_max` waits for it. Each publication
    /// makes room ([`super::WakeKey::Durable`]).
    pub fn has_room(&self) -> bool {
        let commit = self.commit.lock();
        commit.stopped.is_some() || commit.group.held_bytes() < self.config.pending_bytes_max
    }

    /// The commit lock, if not far too much waits already. Never blocks for long: whoever can wait
    /// asks [`Broker::has_room`] first, and what got in between may exceed the limit once.
    fn commit_with_room(&self) -> Result<MutexGuard<'_, Commit>, ErrorCode> {
        let commit = self.commit.lock();
        commit.check_open()?;
        self.check_not_full()?;
        match commit.group.held_bytes() < 2 * self.config.pending_bytes_max {
            true => Ok(commit),
            false => Err(ErrorCode::RequestTimedOut),
        }
    }
}

impl Commit {
    /// Puts a checked batch, or a marker, into the group and gives it the partition's next offsets.
    pub(super) fn assign(
        &mut self,
        topic: &Arc<Topic>,
        partition: &Arc<Partition>,
        batch: Bytes,
        header: BatchHeader,
        lsn: u64,
        now_ms: i64,
    ) -> i64 {
        self.put(topic, partition, batch, header, lsn, now_ms, false)
    }

    /// As [`Commit::assign`]; of a `placed` batch only the header goes into the group.
    #[allow(clippy::too_many_arguments, reason = "a batch, and where and when it goes")]
    fn put(
        &mut self,
        topic: &Arc<Topic>,
        partition: &Arc<Partition>,
        batch: Bytes,
        mut header: BatchHeader,
        lsn: u64,
        now_ms: i64,
        placed: bool,
    ) -> i64 {
        let mut assigned = partition.assigned.lock();
        header.base_offset = assigned.next_offset;
        header.leader_epoch = LEADER_EPOCH;
        let start = self.group.bytes.len();
        // The front is patched. A new time changes the checksum, for which all must lie together.
        let whole = batch.len() < LARGE_BYTES_MIN || topic.config.log_append_time;
        let front = if whole { batch.len() } else { HEADER_BYTES };
        self.group.bytes.extend_from_slice(&batch[..front]);
        let copy = &mut self.group.bytes[start..];
        batch::patch_offset(copy, header.base_offset, LEADER_EPOCH);
        if topic.config.log_append_time {
            batch::patch_append_time(copy, header.attributes, now_ms);
            header.max_timestamp = now_ms;
        }
        let rest = batch.slice(front..);
        if !rest.is_empty() && !placed {
            self.group.put_large(rest.clone());
        }
        assigned.next_offset = header.next_offset();
        let marker = if header.is_control() { Marker::read(&batch) } else { None };
        match &marker {
            Some(marker) => drop(assigned.producers.on_marker(marker, now_ms)),
            None => assigned.producers.on_append(&header, lsn, now_ms),
        }
        self.effects.push(Effect::Append(Appending {
            partition: partition.clone(),
            config: topic.config.clone(),
            front: start..start + front,
            rest,
            header,
            marker,
            placed,
            is_there: false,
        }));
        header.base_offset
    }
}

/// The indexes of the first records of a batch that have no key, which is what a compacted topic refuses.
///
/// For the answer to a batch that was refused; one that cannot be read has none.
pub(crate) fn keyless_records(records: &[u8], at_most: usize) -> Vec<i32> {
    let Ok((header, body)) = batch::records(records, DECOMPRESSED_MAX) else { return Vec::new() };
    let numbered = (0..).zip(RecordIter::new(header, &body));
    let keyless = numbered.filter(|(_, record)| record.is_ok_and(|record| record.key.is_none()));
    keyless.map(|(index, _)| index).take(at_most).collect()
}

/// Checks what can be checked without knowing the partition.
fn check_batch(
    records: &[u8],
    config: &TopicConfig,
    now_ms: i64,
) -> Result<BatchHeader, ErrorCode> {
    let header = BatchHeader::parse(records)?;
    if header.total_bytes > config.max_message_bytes as usize {
        return Err(ErrorCode::MessageTooLarge);
    }
    let header = BatchHeader::verify(records)?;
    // One batch per partition and request, as Kafka asks since produce v3.
    if records.len() != header.total_bytes || header.base_offset != 0 || header.is_control() {
        return Err(ErrorCode::InvalidRecord);
    }
    if !config.log_append_time {
        if header.is_log_append_time() {
            return Err(ErrorCode::InvalidTimestamp);
        }
        let ahead = header.max_timestamp.saturating_sub(now_ms);
        let behind = now_ms.saturating_sub(header.base_timestamp);
        if header.max_timestamp >= 0
            && (ahead > config.timestamp_after_max_ms || behind > config.timestamp_before_max_ms)
        {
            return Err(ErrorCode::InvalidTimestamp);
        }
    }
    if config.cleanup_compact {
        let (header, body) = batch::records(records, DECOMPRESSED_MAX)?;
        for record in RecordIter::new(header, &body) {
            record?.key.ok_or(ErrorCode::InvalidRecord)?;
        }
    }
    Ok(header)
}
