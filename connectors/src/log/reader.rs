//! Reading sources up to a cut, merged by record time.
//!
//! Each partition of a source has a buffer of records taken apart but not decoded. [`Merge`] takes one
//! cut over all partitions of all active sources, then repeatedly the record with the smallest
//! (time, source, partition) among the buffers' heads, until the budget or the cut ends. A partition
//! whose buffer runs out before its cut is read on first: so a backlog in one partition does not run
//! ahead of the others. Markers and aborted records of clients' transactions are left out; neither the cut
//! nor the end of the budget splits a transaction (`whole.rs`), and queries that are equally far in a partition
//! stay so. What is left in the buffers serves the
//! next epoch.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use bytes::Bytes;
use millstream_engine::io::{BadRecord, Budget, IoError, Polled, SourceId};
use millstream_sql::plan;
use millstream_sql::syntax::ast::RelationKind;
use millstream_storage::log::control::Sibling;
use millstream_storage::{Broker, ErrorCode, Topic, TopicPartition};

use super::position::{OwnSkip, SourcePosition};
use super::rows::{RawRecord, RowBuilder};
use super::whole::{EXTENDED_MAX, IN_TURN_MAX, Inside, Spot, Taken, Whole, is_in_step};
use crate::formats::Block;
use crate::records::{self, Chunk, RecordRef};

/// Bytes asked of a partition at once.
const READ_BYTES: usize = 1 << 20;

/// A source opened for one query.
pub(super) struct Source {
    query: String,
    topic: String,
    place: SourcePosition,
    pub(super) own: OwnSkip,
    partitions: Vec<TopicPartition>,
    buffers: Vec<Buffer>,
    rows: RowBuilder,
    /// Behind the tables' records of the same time: a stream's record sees the table as of its time.
    is_stream: bool,
}

/// Records read from a partition and not yet taken.
#[derive(Default)]
struct Buffer {
    chunk: Chunk,
    /// The chunk's blocks, once text may refer to them.
    blocks: Vec<Option<Block>>,
    /// Where the next read begins.
    read_from: i64,
    /// Where this poll began.
    start: i64,
    /// No record at or after it is taken in this poll.
    cut: i64,
    /// No record at or after it is ever taken.
    end: Option<i64>,
    inside: Inside,
}

impl Buffer {
    /// The next offset that was not taken.
    fn next_offset(&self) -> i64 {
        self.chunk.records.front().map_or(self.read_from, |record| record.offset)
    }

    fn head(&self) -> Option<&RecordRef> {
        self.chunk.records.front()
    }

    fn is_behind(&self) -> bool {
        self.next_offset() < self.cut
    }
}

impl Source {
    pub(super) fn new(
        query: &str,
        source: &plan::Source,
        partitions: Vec<TopicPartition>,
        place: SourcePosition,
    ) -> Result<Source, IoError> {
        let buffer = |offset: &i64| Buffer { read_from: *offset, ..Buffer::default() };
        Ok(Source {
            query: query.to_owned(),
            topic: source.topic.clone(),
            own: place.own.clone(),
            buffers: place.offsets.iter().map(buffer).collect(),
            place,
            partitions,
            rows: RowBuilder::new(source).map_err(|e| IoError::Query(e.to_string()))?,
            is_stream: source.kind == RelationKind::Stream,
        })
    }

    pub(super) fn need_only(&mut self, columns: &[bool]) {
        self.rows.need_only(columns);
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.iter()
    }

    fn places(&self) -> impl Iterator<Item = (TopicPartition, &Buffer)> {
        self.partitions.iter().copied().zip(&self.buffers)
    }

    pub(super) fn position(&self) -> SourcePosition {
        SourcePosition {
            topic: self.place.topic,
            own: self.own.clone(),
            offsets: self.buffers.iter().map(Buffer::next_offset).collect(),
        }
    }

    /// Gives nothing that comes after what is visible now.
    pub(super) fn end_at_now(&mut self, broker: &Broker) {
        // Of a topic that is gone the next poll says so.
        let Ok(ends) = broker.cut(&self.partitions) else { return };
        for (buffer, end) in self.buffers.iter_mut().zip(ends) {
            buffer.end = Some(end);
        }
    }

    /// Whether partitions added to the topic belong to it: not if it ends at a moment that is past.
    fn grows(&self) -> bool {
        self.buffers.iter().all(|buffer| buffer.end.is_none())
    }

    /// Takes in partitions that the topic got since it was opened, each from its first record on.
    fn grow(&mut self, broker: &Broker) {
        if !self.grows() {
            return;
        }
        let Some(topic) = broker.topic_by_id(self.place.topic) else { return };
        for partition in self.partitions.len() as i32..topic.partition_count() {
            self.partitions.push(TopicPartition { topic: topic.id, partition });
            self.buffers.push(Buffer::default());
        }
    }

    /// Whether everything that is visible now has been taken.
    pub(super) fn is_caught_up(&self, broker: &Broker) -> bool {
        let grown = |topic: Arc<Topic>| topic.partition_count() as usize > self.partitions.len();
        if self.grows() && broker.topic_by_id(self.place.topic).is_some_and(grown) {
            return false;
        }
        let Ok(ends) = broker.cut(&self.partitions) else { return true };
        self.buffers.iter().zip(ends).all(|(buffer, end)| buffer.next_offset() >= end)
    }

    /// Reads on until the partition's buffer holds a record or its cut is reached.
    fn fill(&mut self, partition: usize, broker: &Broker) -> Result<(), IoError> {
        let at = self.partitions[partition];
        let own = &self.own;
        let buffer = &mut self.buffers[partition];
        while buffer.chunk.records.is_empty() && buffer.read_from < buffer.cut {
            let read = broker.read_to(at, buffer.read_from, buffer.cut, READ_BYTES);
            let read = read.map_err(|e| failed(&self.topic, e))?;
            if read.next_offset <= buffer.read_from {
                // Nothing was read although the cut is beyond: try again at the next poll.
                buffer.cut = buffer.read_from;
                return Ok(());
            }
            let skip = |header: &_| {
                read.is_aborted(header)
                    || records::own_epoch(header).is_some_and(|e| own.contains(e))
            };
            let chunk = records::chunk(&read.records, buffer.read_from, skip);
            buffer.chunk = chunk.map_err(|e| {
                IoError::Query(format!(
                    "topic {} partition {} cannot be read from offset {}: {e}. Restore the topic, or \
                     delete its records up to there.",
                    self.topic, at.partition, buffer.read_from
                ))
            })?;
            buffer.inside.read(std::mem::take(&mut buffer.chunk.marks));
            buffer.blocks.clear();
            buffer.blocks.resize(buffer.chunk.blocks.len(), None);
            buffer.read_from = read.next_offset;
        }
        Ok(())
    }

    /// Takes the head record of a partition's buffer into the rows. Gives its size in bytes.
    fn take(
        &mut self,
        partition: usize,
        order: u64,
        next_block: &mut u32,
        bad: &mut Vec<BadRecord>,
    ) -> usize {
        let at = self.partitions[partition];
        let buffer = &mut self.buffers[partition];
        let Some(record) = buffer.chunk.records.pop_front() else { return 0 };
        let place = record.block as usize;
        let bytes: &Bytes = &buffer.chunk.blocks[place];
        let block = buffer.blocks[place].get_or_insert_with(|| {
            *next_block = next_block.wrapping_add(1);
            Block::new(*next_block, bytes.clone())
        });
        let (key, value) = (record.key.of(bytes), record.value.of(bytes));
        let size = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + 16;
        let raw = RawRecord {
            order,
            partition: at.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key,
            value,
            block,
            headers: record.headers,
        };
        if let Err(e) = self.rows.push(raw) {
            bad.push(self.bad(partition, record.offset, e.to_string()));
        }
        size
    }

    fn bad(&self, partition: usize, offset: i64, reason: String) -> BadRecord {
        BadRecord {
            query: self.query.clone(),
            step: "KsqlTopic.Source.deserializer".to_owned(),
            topic: self.topic.clone(),
            partition: self.partitions[partition].partition,
            offset,
            reason,
        }
    }
}

/// Why a partition cannot be read, with what to do.
pub(super) fn failed(topic: &str, code: ErrorCode) -> IoError {
    let again = "TERMINATE the query and create it again to read what is there now.";
    IoError::Query(match code {
        ErrorCode::UnknownTopicOrPartition => {
            format!(
                "topic {topic} was deleted. Create it and the query again, or DROP the relation."
            )
        }
        ErrorCode::OffsetOutOfRange => {
            format!("records of topic {topic} were deleted before they were read. {again}")
        }
        other => format!("topic {topic} cannot be read: {other:?}. See the server's log."),
    })
}

/// Whose head record is next: smallest time, then tables before streams, then source and partition
/// in order.
type Turn = Reverse<(i64, bool, usize, usize)>;

/// One poll: takes a cut over the sources and reads up to it, within the budget.
pub(super) fn poll(
    broker: &Broker,
    sources: Vec<(SourceId, &mut Source)>,
    budget: Budget,
    next_block: &mut u32,
) -> Polled {
    let mut merge = Merge {
        broker,
        sources,
        turns: BinaryHeap::new(),
        polled: Polled::default(),
        budget,
        taken: Taken::default(),
        whole: Whole::default(),
    };
    merge.cut();
    merge.take_in_turn(next_block);
    merge.take_missing(next_block);
    merge.align(next_block);
    merge.finish()
}

struct Merge<'a> {
    broker: &'a Broker,
    sources: Vec<(SourceId, &'a mut Source)>,
    /// One entry for each partition with a record to take.
    turns: BinaryHeap<Turn>,
    polled: Polled,
    budget: Budget,
    taken: Taken,
    whole: Whole,
}

impl Merge<'_> {
    /// Sets the end of every partition, all at one moment, and reads the first records.
    fn cut(&mut self) {
        let broker = self.broker;
        self.sources.iter_mut().for_each(|(_, source)| source.grow(broker));
        self.drop_sources(|source| {
            let known = source.partitions.iter().all(|at| broker.last_stable(*at).is_ok());
            if known {
                None
            } else {
                Some(failed(&source.topic, ErrorCode::UnknownTopicOrPartition))
            }
        });
        let partitions: Vec<TopicPartition> =
            self.sources.iter().flat_map(|(_, source)| source.partitions.clone()).collect();
        // A topic deleted just now makes this fail; the next poll finds out which.
        let Ok(ends) = broker.cut(&partitions) else {
            self.sources.clear();
            self.polled.more = true;
            return;
        };
        let mut ends = ends.into_iter();
        for (_, source) in &mut self.sources {
            for (buffer, end) in source.buffers.iter_mut().zip(ends.by_ref()) {
                buffer.start = buffer.next_offset();
                buffer.cut = buffer.end.map_or(end, |last| last.min(end));
            }
        }
        self.split_endless();
        for source in 0..self.sources.len() {
            for partition in 0..self.sources[source].1.partitions.len() {
                self.queue(source, partition);
            }
        }
    }

    /// When transactions overlap each other without end, no cut above the beginning of the chain splits
    /// none. With more waiting than an epoch may take for their sake, the cut is at the last stable offsets.
    fn split_endless(&mut self) {
        let some =
            |(_, source): &(SourceId, &mut Source)| source.buffers.iter().any(Buffer::is_behind);
        if self.sources.iter().any(some) {
            return;
        }
        let rows_max = self.budget.rows.saturating_mul(EXTENDED_MAX);
        let mut waiting = 0;
        let mut ends = Vec::new();
        for (_, source) in &self.sources {
            for (buffer, at) in source.buffers.iter().zip(&source.partitions) {
                let end = self.broker.last_stable(*at).unwrap_or(buffer.cut);
                let end = buffer.end.map_or(end, |last| last.min(end)).max(buffer.cut);
                waiting += (end - buffer.next_offset()).max(0);
                ends.push(end);
            }
        }
        if usize::try_from(waiting).is_ok_and(|waiting| waiting < rows_max.max(1)) {
            return;
        }
        tracing::warn!(
            records = waiting,
            "clients' transactions overlap each other without end, or one stays open: queries see some in \
             several epochs. Let a partition have fewer transactional producers at a time."
        );
        let buffers = self.sources.iter_mut().flat_map(|(_, source)| source.buffers.iter_mut());
        buffers.zip(ends).for_each(|(buffer, end)| buffer.cut = end);
    }

    /// Removes the sources for which `fails` gives a reason.
    fn drop_sources(&mut self, fails: impl Fn(&Source) -> Option<IoError>) {
        let polled = &mut self.polled;
        self.sources.retain(|(id, source)| match fails(source) {
            None => true,
            Some(e) => {
                polled.failed.push((*id, e));
                false
            }
        });
    }

    /// Gives a partition its turn, if it has a record before its cut.
    fn queue(&mut self, place: usize, partition: usize) {
        let (id, source) = &mut self.sources[place];
        if let Err(e) = source.fill(partition, self.broker) {
            if !self.polled.failed.iter().any(|(failed, _)| failed == id) {
                self.polled.failed.push((*id, e));
            }
            return;
        }
        if let Some(record) = source.buffers[partition].head() {
            self.turns.push(Reverse((record.timestamp, source.is_stream, place, partition)));
        }
        self.note_whole((place, partition));
    }

    /// Takes records in the order of time until the budget is used up and no transaction is split; for
    /// that it may be exceeded.
    fn take_in_turn(&mut self, next_block: &mut u32) {
        while let Some(turn) = self.turns.pop() {
            if self.is_enough() {
                return;
            }
            let Reverse((_, is_stream, place, partition)) = turn;
            self.take((place, partition), next_block);
            // While the same partition is the next anyway, the heap can be left alone.
            while !self.is_enough() {
                let (_, source) = &self.sources[place];
                let Some(head) = source.buffers[partition].head() else { break };
                let turn = Reverse((head.timestamp, is_stream, place, partition));
                if self.turns.peek().is_some_and(|other| *other > turn) {
                    break;
                }
                self.take((place, partition), next_block);
            }
            self.queue(place, partition);
        }
    }

    fn is_enough(&self) -> bool {
        self.taken.is(1, self.budget)
            && (self.whole.is_whole() || self.taken.is(IN_TURN_MAX, self.budget))
    }

    /// Takes what is missing of transactions that were begun; see `whole.rs`.
    fn take_missing(&mut self, next_block: &mut u32) {
        while let Some(spot) = self.whole.unfinished() {
            let (_, source) = &self.sources[spot.0];
            if self.taken.is(EXTENDED_MAX, self.budget) {
                tracing::warn!(
                    topic = source.topic,
                    partition = spot.1,
                    offset = source.buffers[spot.1].next_offset(),
                    rows = self.taken.rows,
                    bytes = self.taken.bytes,
                    "a client's transaction, or a chain of such as overlap, does not fit into an epoch: \
                     queries see it in several. Commit more often, or let a partition have fewer \
                     transactional producers at a time."
                );
                return;
            }
            if source.buffers[spot.1].head().is_none() {
                // It cannot be read now: its source has failed, or the next poll goes on.
                self.whole.inside.remove(&spot);
                self.whole.behind.remove(&spot);
                continue;
            }
            self.take(spot, next_block);
            self.queue(spot.0, spot.1);
        }
    }

    /// Sources that began this poll equally far in a partition end it equally far: what one query
    /// shows of a record, all that read it show in the same epoch.
    fn align(&mut self, next_block: &mut u32) {
        // Within the budget everything up to the cut was taken.
        while self.taken.is(1, self.budget) && !self.taken.is(EXTENDED_MAX, self.budget) {
            let mut furthest: BTreeMap<(TopicPartition, i64), i64> = BTreeMap::new();
            for (at, buffer) in self.sources.iter().flat_map(|(_, source)| source.places()) {
                let next_offset = furthest.entry((at, buffer.start)).or_insert(0);
                *next_offset = buffer.next_offset().max(*next_offset);
            }
            for (place, (_, source)) in self.sources.iter().enumerate() {
                for (partition, (at, buffer)) in source.places().enumerate() {
                    let end = furthest.get(&(at, buffer.start)).copied().unwrap_or(0);
                    if buffer.next_offset() < end && buffer.head().is_some() {
                        self.whole.behind.insert((place, partition), end);
                    }
                }
            }
            if self.whole.is_whole() {
                return;
            }
            self.take_missing(next_block);
        }
    }

    fn take(&mut self, spot: Spot, next_block: &mut u32) {
        let (_, source) = &mut self.sources[spot.0];
        let order = self.taken.rows as u64;
        self.taken.bytes += source.take(spot.1, order, next_block, &mut self.polled.bad);
        self.taken.rows += 1;
        self.note_whole(spot);
    }

    /// Looks which transactions a partition's position has come into, out of, or past the end of.
    fn note_whole(&mut self, spot: Spot) {
        let (_, source) = &mut self.sources[spot.0];
        let at = source.partitions[spot.1];
        let buffer = &mut source.buffers[spot.1];
        let next_offset = buffer.next_offset();
        if buffer.inside.is_touched(next_offset) {
            let passed = buffer.inside.pass(next_offset);
            let bad = passed.skipped.into_iter();
            self.polled.bad.extend(bad.map(|(offset, reason)| source.bad(spot.1, offset, reason)));
            for (offset, siblings) in passed.ended {
                let ring = self.whole.ring(self.broker, (at, offset), siblings);
                self.hold_together(spot.0, &ring);
            }
        }
        let buffer = &self.sources[spot.0].1.buffers[spot.1];
        match !buffer.inside.is_empty() && buffer.is_behind() {
            true => self.whole.inside.insert(spot),
            false => self.whole.inside.remove(&spot),
        };
        let done = |end: &i64| next_offset >= *end || !buffer.is_behind();
        if self.whole.behind.get(&spot).is_some_and(done) {
            self.whole.behind.remove(&spot);
        }
    }

    /// The source at `place` has passed the end of a transaction: so must the others that read it.
    fn hold_together(&mut self, place: usize, ring: &[Sibling]) {
        let query = &self.sources[place].1.query;
        for (at, marker) in ring {
            let Ok(partition) = usize::try_from(at.partition) else { continue };
            for (other, (_, source)) in self.sources.iter().enumerate() {
                let of_this = source.partitions.get(partition) == Some(at);
                let Some(buffer) = source.buffers.get(partition).filter(|_| of_this) else {
                    continue;
                };
                let next_offset = buffer.next_offset();
                let in_step =
                    source.query == *query || is_in_step(next_offset, *marker, self.budget);
                if in_step && next_offset <= *marker && buffer.is_behind() {
                    let end = self.whole.behind.entry((other, partition)).or_insert(0);
                    *end = (marker + 1).max(*end);
                }
            }
        }
    }

    fn finish(mut self) -> Polled {
        for (id, source) in &mut self.sources {
            match source.rows.finish() {
                Ok(Some(rows)) => self.polled.rows.push((*id, rows)),
                Ok(None) => {}
                Err(reason) => self.polled.failed.push((*id, IoError::Query(reason))),
            }
            self.polled.more |= source.buffers.iter().any(Buffer::is_behind);
        }
        self.polled
    }
}
