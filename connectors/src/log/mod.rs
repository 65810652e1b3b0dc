//! The built-in log as the engine's source and sink: where epochs meet offsets.
//!
//! [`LogIo`] implements [`EpochIo`] over the broker. One epoch is: one cut of all partitions taken in
//! one moment, rows read up to it in the order of their time, and one seal that carries the outputs of
//! all sinks, the processing log's records, the state and the positions in one journal record.
//!
//! ```text
//! poll:  broker.cut ─► reader.rs (merge by time) ─► rows.rs (decode) ─► engine
//! seal:  engine ─► sink.rs (encode, partition) ─► broker.seal ─► published all together
//! ```
//!
//! Batches of a seal carry the epoch in their producer id (see [`crate::records::own_producer_id`]),
//! so that a source can leave out what the runtime hands over in memory.
//!
//! Invariants: a source never sees a record at or after its cut, and a cut never goes back; positions
//! move only by `poll`; a record is either a row, a [`BadRecord`] or still before the position; a poll ends
//! inside of a client's transaction only where that is too large (`whole.rs`).

mod position;
pub mod processing_log;
mod reader;
pub mod rows;
mod signal;
mod sink;
mod whole;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use millstream_engine::io::{
    BadRecord, Budget, Epoch, EpochIo, IoError, Polled, Position, SealTicket, Sealing, SinkId,
    SourceId, StartAt, Waker,
};
use millstream_sql::catalog::KeyWindow;
use millstream_sql::plan;
use millstream_sql::types::Schema;
use millstream_storage::{
    Broker, Clock, Error, ErrorCode, Isolation, Recovered, Seal, Sealed, Ticket, Topic,
    TopicPartition,
};

use crate::metrics::Metrics;
use position::{OwnSkip, SourcePosition};
use processing_log::ProcessingLog;
pub use signal::InputSignal;
use sink::SinkWriter;

/// How often a seal is tried while a deletion of one of its topics is on its way to the disk.
const DELETION_TRIES: usize = 500;

/// Who moves the journal forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committing {
    /// A thread runs [`Broker::run_committer`].
    Thread,
    /// Whoever waits commits: one thread does everything, as in a simulation.
    Inline,
}

/// What [`LogIo`] is made of.
#[derive(Clone)]
pub struct LogParts {
    pub broker: Arc<Broker>,
    pub clock: Arc<dyn Clock>,
    pub signal: Arc<InputSignal>,
    pub metrics: Arc<Metrics>,
    pub committing: Committing,
    /// Where bad records are written; `None`: they are only counted.
    pub processing_log: Option<TopicPartition>,
    /// Keep every epoch's state in the journal: nothing else keeps it durably.
    pub keep_state: bool,
}

impl LogParts {
    /// Blocks until a change is published.
    ///
    /// # Errors
    /// When it never will be.
    pub fn wait(&self, ticket: Ticket) -> Result<(), Error> {
        if self.committing == Committing::Inline {
            self.broker.commit_pending(self.clock.now_ms())?;
        }
        self.broker.wait_durable(ticket)
    }
}

/// Inputs and outputs of all queries over the built-in log.
pub struct LogIo {
    parts: LogParts,
    sources: BTreeMap<SourceId, reader::Source>,
    sinks: BTreeMap<SinkId, SinkWriter>,
    next_id: u64,
    /// Seals whose state is not yet known to be durable elsewhere, oldest first.
    sealed: VecDeque<(Epoch, Ticket)>,
    processing_log: ProcessingLog,
    next_block: u32,
}

impl LogIo {
    /// `recovered` is what the broker gave back when it opened: its seals are counted as not yet
    /// durable elsewhere.
    pub fn new(parts: LogParts, recovered: &Recovered) -> LogIo {
        let sealed = recovered.seals.iter().map(|s| (s.epoch, s.ticket)).collect();
        LogIo {
            processing_log: ProcessingLog::new(parts.processing_log),
            parts,
            sources: BTreeMap::new(),
            sinks: BTreeMap::new(),
            next_id: 0,
            sealed,
            next_block: 0,
        }
    }

    fn topic(&self, name: &str) -> Result<Arc<Topic>, IoError> {
        self.parts.broker.topic(name).ok_or_else(|| {
            IoError::Query(format!(
                "there is no topic {name}. Create it, or TERMINATE the query and DROP the relation."
            ))
        })
    }

    fn partitions(topic: &Topic) -> Vec<TopicPartition> {
        (0..topic.partition_count())
            .map(|partition| TopicPartition { topic: topic.id, partition })
            .collect()
    }

    /// Where a source without a position begins.
    fn start(&self, at: TopicPartition, start: StartAt) -> Result<i64, ErrorCode> {
        let broker = &self.parts.broker;
        match start {
            StartAt::Earliest => broker.log_start(at),
            StartAt::Latest => broker.last_stable(at),
            StartAt::Time(time) => match broker.offset_for(at, time, Isolation::ReadCommitted)? {
                Some(found) => Ok(found.offset),
                None => broker.last_stable(at),
            },
        }
    }

    /// From now on gives nothing that comes after what is visible now: for finite reads.
    pub fn end_at_now(&mut self, id: SourceId) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.end_at_now(&self.parts.broker);
        }
    }

    /// Seals. A client may delete a sink's topic between our look and the seal; then the seal is
    /// refused, and is tried again without that topic once the deletion is published.
    fn seal_surviving(&self, mut seal: Seal, now_ms: i64) -> Result<Sealed, IoError> {
        let broker = &self.parts.broker;
        for _ in 0..DELETION_TRIES {
            match broker.seal(seal.clone(), now_ms) {
                Ok(sealed) => return Ok(sealed),
                Err(Error::Invalid(reason)) => {
                    let before = seal.appends.len();
                    if self.parts.committing == Committing::Inline {
                        let _ = broker.commit_pending(now_ms);
                    }
                    seal.appends.retain(|(at, _)| broker.topic_by_id(at.topic).is_some());
                    if seal.appends.len() == before {
                        tracing::debug!(%reason, "seal refused, trying again");
                        std::thread::sleep(Duration::from_millis(2));
                    }
                }
                Err(e) => return Err(IoError::Stopped(e.to_string())),
            }
        }
        Err(IoError::Stopped("the log refuses the epoch although all its topics exist".to_owned()))
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

impl EpochIo for LogIo {
    fn open_source(
        &mut self,
        query: &str,
        source: &plan::Source,
        position: Option<&[u8]>,
        start: StartAt,
    ) -> Result<SourceId, IoError> {
        let topic = self.topic(&source.topic)?;
        let partitions = LogIo::partitions(&topic);
        let place = match position {
            Some(bytes) => {
                let mut place = SourcePosition::decode(bytes).map_err(IoError::Query)?;
                place.grow_to(partitions.len());
                place.check(&topic, &self.parts.broker).map_err(IoError::Query)?;
                place
            }
            None => {
                let start = source.start.map_or(start, |of_query| match of_query {
                    plan::StartOffset::Earliest => StartAt::Earliest,
                    plan::StartOffset::Latest => StartAt::Latest,
                    plan::StartOffset::Time(ms) => StartAt::Time(ms),
                });
                let offsets: Result<Vec<_>, _> =
                    partitions.iter().map(|at| self.start(*at, start)).collect();
                let offsets = offsets.map_err(|e| reader::failed(&source.topic, e))?;
                SourcePosition { topic: topic.id, own: OwnSkip::default(), offsets }
            }
        };
        let opened = reader::Source::new(query, source, partitions, place)?;
        let id = SourceId(self.take_id());
        self.sources.insert(id, opened);
        Ok(id)
    }

    fn need_only(&mut self, id: SourceId, columns: &[bool]) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.need_only(columns);
        }
    }

    fn close_source(&mut self, id: SourceId) {
        self.sources.remove(&id);
    }

    fn skip_own_since(&mut self, id: SourceId, epoch: Epoch) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.own.since(epoch);
        }
    }

    fn skip_own_until(&mut self, id: SourceId, epoch: Epoch) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.own.until(epoch);
        }
    }

    fn is_caught_up(&self, id: SourceId) -> bool {
        self.sources.get(&id).is_none_or(|source| source.is_caught_up(&self.parts.broker))
    }

    fn open_sink(
        &mut self,
        query: &str,
        sink: &plan::Sink,
        schema: &Schema,
        window: Option<KeyWindow>,
    ) -> Result<SinkId, IoError> {
        let name = sink.topic.as_deref().unwrap_or_default();
        let topic = self.topic(name)?;
        let writer = SinkWriter::new(query, sink, schema, window, &topic)?;
        let id = SinkId(self.take_id());
        self.sinks.insert(id, writer);
        Ok(id)
    }

    fn close_sink(&mut self, id: SinkId) {
        self.sinks.remove(&id);
    }

    fn poll(&mut self, active: &[SourceId], budget: Budget) -> Result<Polled, IoError> {
        self.parts.signal.begin_poll();
        if let Some(reason) = self.parts.broker.stopped() {
            return Err(IoError::Stopped(reason));
        }
        let sources = self.sources.iter_mut().filter(|(id, _)| active.contains(id));
        let sources = sources.map(|(id, source)| (*id, source)).collect();
        let polled = reader::poll(&self.parts.broker, sources, budget, &mut self.next_block);
        self.parts.metrics.polled(&polled);
        self.processing_log.note(&polled.bad, self.parts.clock.now_ms());
        Ok(polled)
    }

    fn position(&self, id: SourceId) -> Position {
        self.sources.get(&id).map_or_else(Position::new, |s| s.position().encode())
    }

    fn seal(&mut self, sealing: Sealing) -> Result<(SealTicket, Vec<BadRecord>), IoError> {
        let now_ms = self.parts.clock.now_ms();
        let mut appends = Vec::new();
        let mut bad = Vec::new();
        let mut written = 0;
        for (id, rows) in &sealing.outputs {
            let Some(sink) = self.sinks.get_mut(id) else { continue };
            if self.parts.broker.topic_by_id(sink.topic).is_none() {
                bad.push(sink.topic_gone());
                continue;
            }
            written += sink.write(rows, sealing.epoch, &mut appends, &mut bad);
        }
        self.processing_log.note(&bad, now_ms);
        self.processing_log.write(sealing.epoch, now_ms, &mut appends);
        let bytes: usize = appends.iter().map(|(_, batch)| batch.len()).sum();
        let seal = Seal { epoch: sealing.epoch, appends, payload: sealing.state };
        let sealed = self.seal_surviving(seal, now_ms)?;
        self.parts.metrics.sealed(written, bytes, bad.len());
        self.sealed.push_back((sealing.epoch, sealed.ticket));
        Ok((SealTicket(sealed.ticket.0), bad))
    }

    fn report(&mut self, bad: &[BadRecord]) {
        self.parts.metrics.bad(bad.len());
        self.processing_log.note(bad, self.parts.clock.now_ms());
    }

    fn wait_sealed(&mut self, ticket: SealTicket) -> Result<(), IoError> {
        let begun_ms = self.parts.clock.now_ms();
        self.parts.wait(Ticket(ticket.0)).map_err(|e| IoError::Stopped(e.to_string()))?;
        self.parts.metrics.waited(self.parts.clock.now_ms() - begun_ms);
        Ok(())
    }

    fn state_durable(&mut self, epoch: Epoch) {
        if self.parts.keep_state {
            return;
        }
        let mut needless = None;
        while let Some((sealed, ticket)) = self.sealed.front().copied()
            && sealed <= epoch
        {
            needless = Some(ticket);
            self.sealed.pop_front();
        }
        if let Some(ticket) = needless {
            let low = self.sealed.front().map_or(Ticket(ticket.0 + 1), |(_, ticket)| *ticket);
            self.parts.broker.set_app_low_water(low);
        }
    }

    fn wait_for_input(&mut self, active: &[SourceId], timeout: Duration) {
        let sources = active.iter().filter_map(|id| self.sources.get(id));
        self.parts.signal.wait(sources.flat_map(reader::Source::partitions), timeout);
    }

    fn waker(&self) -> Option<Waker> {
        let signal = self.parts.signal.clone();
        Some(Arc::new(move || signal.call()))
    }
}
