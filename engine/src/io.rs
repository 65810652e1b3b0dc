//! What the engine needs from whatever holds its inputs and outputs.
//!
//! The engine speaks of positions and epochs; offsets, topics and formats are behind [`EpochIo`], which
//! the connectors crate implements over the built-in log (and later over an external Kafka). One
//! implementor serves all queries of a node, because an epoch takes one cut over all of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millstream_sql::plan;
use millstream_sql::types::Schema;
use millstream_sql::catalog::KeyWindow;

use crate::rows::Rows;

/// The number of an epoch; the first is 1. They never repeat and never go back.
pub type Epoch = u64;

/// A source opened for one query's Source step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u64);

/// A sink opened for one query's Sink step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkId(pub u64);

/// An opaque resume point of a source; only the io that made it reads it.
pub type Position = Bytes;

/// Where a source without a position starts (`auto.offset.reset`, or a time in milliseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    Earliest,
    Latest,
    Time(i64),
}

/// Ends a wait from another thread.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// How much one epoch may take in.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub rows: usize,
    pub bytes: usize,
}

/// A record that could not be turned into a row, or a row that could not be turned into a record.
/// Goes to the processing log; nothing else of it is lost or seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    pub query: String,
    /// ksqlDB's step, such as `KsqlTopic.Source.deserializer`.
    pub step: String,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub reason: String,
}

/// What one cut brought.
#[derive(Debug, Default)]
pub struct Polled {
    /// Rows per source, merged over partitions by (time, partition, offset); `triggers.order` counts
    /// over all sources of this poll. Columns are the relation's own (key, then value).
    pub rows: Vec<(SourceId, Rows)>,
    pub bad: Vec<BadRecord>,
    /// Sources that cannot go on, and why (topic deleted, records gone): their queries go to ERROR.
    pub failed: Vec<(SourceId, IoError)>,
    /// Whether more input is waiting beyond this cut.
    pub more: bool,
}

/// What one epoch makes durable, all or nothing.
#[derive(Debug)]
pub struct Sealing {
    pub epoch: Epoch,
    /// Rows of each sink, in order; keys, values, times, windows and headers final.
    pub outputs: Vec<(SinkId, Vec<Rows>)>,
    /// The state's changes and the positions, as `state::Delta` encodes them.
    pub state: Bytes,
}

/// A promise that an epoch becomes durable; made by `seal`, redeemed by `wait_sealed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SealTicket(pub u64);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IoError {
    /// Nothing can be sealed any more (disk failed, node stopping): the runtime stops.
    #[error("the log takes no more epochs: {0}")]
    Stopped(String),
    /// This source or sink cannot go on (topic deleted, damaged file): its query goes to ERROR.
    #[error("{0}")]
    Query(String),
}

/// Inputs and outputs of all queries of a node.
pub trait EpochIo: Send {
    /// Opens a source. `position` is what `position()` said at the last sealed epoch, if any.
    ///
    /// # Errors
    /// When the topic does not exist or the position is before what the log still holds.
    fn open_source(
        &mut self,
        query: &str,
        source: &plan::Source,
        position: Option<&[u8]>,
        start: StartAt,
    ) -> Result<SourceId, IoError>;

    /// Says which of the relation's columns anything depends on: the others may be NULL in the rows of
    /// this source. A record that does not fit a column is bad all the same.
    fn need_only(&mut self, id: SourceId, columns: &[bool]) {
        let _ = (id, columns);
    }

    fn close_source(&mut self, id: SourceId);

    /// From now on leaves out what this engine sealed at or after `epoch` into the source's topic:
    /// the runtime hands those rows over in memory. Kept in the position.
    fn skip_own_since(&mut self, id: SourceId, epoch: Epoch);

    /// Ends `skip_own_since`: what this engine sealed at or after `epoch` comes again; what it sealed
    /// before, back to the epoch skipping began with, is still left out, for it was handed over.
    /// Called when the reader stops while the writer goes on. Kept in the position.
    fn skip_own_until(&mut self, id: SourceId, epoch: Epoch);

    /// Whether everything visible in the source's topic has been taken in by a cut.
    fn is_caught_up(&self, id: SourceId) -> bool;

    /// Opens a sink. `schema` is the key and value columns as they are to be written.
    ///
    /// # Errors
    /// When the topic does not exist.
    fn open_sink(
        &mut self,
        query: &str,
        sink: &plan::Sink,
        schema: &Schema,
        window: Option<KeyWindow>,
    ) -> Result<SinkId, IoError>;

    fn close_sink(&mut self, id: SinkId);

    /// Takes one cut over `active` sources, within the budget, and reads up to it. Partitions advance in
    /// the order of record time, so that a backlog in one does not make rows of another late.
    ///
    /// # Errors
    /// [`IoError::Query`] comes per source in `failed`; the call fails only when the node stops.
    fn poll(&mut self, active: &[SourceId], budget: Budget) -> Result<Polled, IoError>;

    /// Where a source stands after the last `poll`.
    fn position(&self, id: SourceId) -> Position;

    /// Encodes the outputs and hands the epoch to the journal. Rows that cannot be encoded are returned;
    /// they are left out of the sink.
    ///
    /// # Errors
    /// When the journal takes nothing any more.
    fn seal(&mut self, sealing: Sealing) -> Result<(SealTicket, Vec<BadRecord>), IoError>;

    /// Takes rows that the engine could not process, for the processing log: told by the next seal.
    /// Bad records of `poll` and `seal` are known already.
    fn report(&mut self, bad: &[BadRecord]) {
        let _ = bad;
    }

    /// Blocks until the epoch is durable and published.
    ///
    /// # Errors
    /// When it never will be.
    fn wait_sealed(&mut self, ticket: SealTicket) -> Result<(), IoError>;

    /// Tells the log which epochs' state RocksDB holds durably: it need not keep their payloads.
    fn state_durable(&mut self, epoch: Epoch);

    /// Blocks until some active source may have input, the waker was called, or the timeout is over.
    fn wait_for_input(&mut self, active: &[SourceId], timeout: Duration);

    /// What ends a `wait_for_input` from another thread, so that a command need not wait for input. A
    /// call while nobody waits must not be lost. Without one the runtime waits in short turns.
    fn waker(&self) -> Option<Waker> {
        None
    }
}
