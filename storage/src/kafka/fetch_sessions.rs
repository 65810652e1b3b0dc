//! Fetch sessions (KIP-227): a client names its partitions once, then only what changes; and is
//! answered only for partitions with news.
//!
//! ```text
//! session epoch -1   no session: all partitions are in the request and in the answer
//! epoch 0            as before, and a session is made if there is room: the answer tells its id
//! epoch n            the next request of that session; partitions added, changed and forgotten
//! ```
//!
//! A partition has news when it has records, an error, or another high watermark or log start than
//! was told last. Partitions that gave records go to the end of the order, so none is starved.
//!
//! The cache belongs to the node, as a session may be used from several connections. Its bounds are
//! slots (Kafka: 1,000) and partitions in all sessions together. A full cache makes room for a new
//! session by dropping one that was idle for [`EVICT_AFTER_MS`], or else one that is that old and has
//! fewer partitions. A client whose session is gone is told so and begins anew; nothing is lost.
//!
//! Invariant: what a session knows of a partition is what its client was told last.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use kafka_wire::FetchRequest;
use kafka_wire::fetch_request::{FetchPartition, FetchTopic};
use kafka_wire::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_wire_core::{StrBytes, Uuid as WireUuid};

use crate::error::ErrorCode;

/// Sessions at a time (Kafka: `max.incremental.fetch.session.cache.slots`).
const SLOTS: usize = 1000;
/// Partitions in all sessions together: bounds their memory to about 100 MB.
const PARTITIONS_MAX: usize = 500_000;
/// Sessions younger than this, or used since, are not dropped for others.
const EVICT_AFTER_MS: i64 = 120_000;

/// The epoch of requests outside of sessions.
const NONE: i32 = -1;
/// The epoch of a request that begins a session.
const FIRST: i32 = 0;

/// A topic as its client names it: by id or by name; the other is zero or empty.
type Name = (WireUuid, StrBytes);

#[derive(Debug)]
struct Session {
    /// What the next request must say.
    epoch: i32,
    by_id: bool,
    /// In the order they are served.
    partitions: BTreeMap<u64, Known>,
    places: HashMap<(Name, i32), u64>,
    next_place: u64,
    made_ms: i64,
    used_ms: i64,
}

/// A partition of a session.
#[derive(Debug)]
struct Known {
    name: Name,
    asked: FetchPartition,
    /// Told last; -1: nothing, or an error.
    high_watermark: i64,
    log_start: i64,
}

/// All sessions of a node.
#[derive(Debug, Default)]
pub(in crate::kafka) struct FetchSessions {
    sessions: HashMap<i32, Session>,
    partitions: usize,
}

/// What is answered in the end.
pub(in crate::kafka) struct Told {
    pub(in crate::kafka) error: ErrorCode,
    pub(in crate::kafka) session: i32,
    pub(in crate::kafka) topics: Vec<FetchableTopicResponse>,
}

impl FetchSessions {
    /// Turns a request into one that names all its partitions, whatever its session knew already.
    ///
    /// Errors, for the whole request: `FETCH_SESSION_ID_NOT_FOUND`, `INVALID_FETCH_SESSION_EPOCH`,
    /// `FETCH_SESSION_TOPIC_ID_ERROR` (the client began to use topic ids, or ceased to).
    pub(in crate::kafka) fn begin(
        &mut self,
        mut request: FetchRequest,
        by_id: bool,
        now_ms: i64,
    ) -> Result<FetchRequest, ErrorCode> {
        let id = request.session_id;
        if matches!(request.session_epoch, NONE | FIRST) {
            // The client is done with its session, or has lost track of it.
            self.remove(id);
            return Ok(request);
        }
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        session.epoch = epoch_after(session.epoch);
        session.used_ms = now_ms;
        let before = session.partitions.len();
        for topic in std::mem::take(&mut request.topics) {
            let name = (topic.topic_id, topic.topic);
            topic.partitions.into_iter().for_each(|asked| session.ask(&name, asked));
        }
        for topic in &request.forgotten_topics_data {
            let name = (topic.topic_id, topic.topic.clone());
            topic.partitions.iter().for_each(|index| session.forget(&name, *index));
        }
        request.topics = session.topics();
        let after = session.partitions.len();
        self.partitions = self.partitions + after - before;
        if after == 0 || self.partitions > PARTITIONS_MAX {
            self.remove(id);
            request.session_epoch = NONE;
        }
        Ok(request)
    }

    /// Turns the parts of an answer to a request that [`FetchSessions::begin`] gave into what is
    /// told. `fresh_id` gives random numbers.
    pub(in crate::kafka) fn end(
        &mut self,
        request: &FetchRequest,
        by_id: bool,
        mut topics: Vec<FetchableTopicResponse>,
        fresh_id: impl FnMut() -> i32,
        now_ms: i64,
    ) -> Told {
        let error = ErrorCode::None;
        match request.session_epoch {
            NONE => Told { error, session: 0, topics },
            FIRST => {
                let session = self.make(request, by_id, &topics, fresh_id, now_ms);
                Told { error, session, topics }
            }
            epoch => {
                let id = request.session_id;
                if let Some(session) = self.sessions.get_mut(&id) {
                    // Another request of the session overtook this one.
                    if session.epoch != epoch_after(epoch) {
                        let error = ErrorCode::InvalidFetchSessionEpoch;
                        return Told { error, session: 0, topics: Vec::new() };
                    }
                    session.used_ms = now_ms;
                    session.keep_news(&mut topics);
                }
                Told { error, session: id, topics }
            }
        }
    }

    /// Makes a session of a whole request and what it was told. Gives 0 if there is no room.
    fn make(
        &mut self,
        request: &FetchRequest,
        by_id: bool,
        told: &[FetchableTopicResponse],
        mut fresh_id: impl FnMut() -> i32,
        now_ms: i64,
    ) -> i32 {
        let mut session = Session {
            epoch: epoch_after(FIRST),
            by_id,
            partitions: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
            made_ms: now_ms,
            used_ms: now_ms,
        };
        for topic in &request.topics {
            let name = (topic.topic_id, topic.topic.clone());
            topic.partitions.iter().for_each(|asked| session.ask(&name, asked.clone()));
        }
        let size = session.partitions.len();
        if size == 0 || !self.make_room(size, now_ms) {
            return 0;
        }
        for topic in told {
            let name = (topic.topic_id, topic.topic.clone());
            for partition in &topic.partitions {
                session.told(&name, partition);
            }
        }
        let mut id = 0;
        while id == 0 || self.sessions.contains_key(&id) {
            id = fresh_id() & i32::MAX;
        }
        self.partitions += size;
        self.sessions.insert(id, session);
        id
    }

    /// Whether a session of so many partitions fits, if need be after another was dropped.
    fn make_room(&mut self, size: usize, now_ms: i64) -> bool {
        if self.sessions.len() >= SLOTS {
            let Some(victim) = self.victim(size, now_ms) else { return false };
            self.remove(victim);
        }
        self.partitions + size <= PARTITIONS_MAX
    }

    fn victim(&self, size: usize, now_ms: i64) -> Option<i32> {
        let is_old = |since_ms: i64| now_ms.saturating_sub(since_ms) > EVICT_AFTER_MS;
        let (idle, _) = self.sessions.iter().min_by_key(|(_, session)| session.used_ms)?;
        if is_old(self.sessions[idle].used_ms) {
            return Some(*idle);
        }
        let old = self.sessions.iter().filter(|(_, session)| is_old(session.made_ms));
        let (smallest, session) = old.min_by_key(|(_, session)| session.partitions.len())?;
        (session.partitions.len() < size).then_some(*smallest)
    }

    fn remove(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.partitions -= session.partitions.len();
        }
    }

    #[cfg(test)]
    pub(in crate::kafka) fn len(&self) -> usize {
        self.sessions.len()
    }
}

/// Epochs of a session go round from 1.
fn epoch_after(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

impl Session {
    /// Adds a partition, or changes where it is read.
    fn ask(&mut self, name: &Name, asked: FetchPartition) {
        let key = (name.clone(), asked.partition);
        let place = self.places.get(&key).copied();
        if let Some(known) = place.and_then(|place| self.partitions.get_mut(&place)) {
            known.asked = asked;
            return;
        }
        self.places.insert(key, self.next_place);
        let known = Known { name: name.clone(), asked, high_watermark: -1, log_start: -1 };
        self.partitions.insert(self.next_place, known);
        self.next_place += 1;
    }

    fn forget(&mut self, name: &Name, partition: i32) {
        if let Some(place) = self.places.remove(&(name.clone(), partition)) {
            self.partitions.remove(&place);
        }
    }

    /// All partitions as a request names them. One topic may come several times.
    fn topics(&self) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for known in self.partitions.values() {
            let (id, name) = &known.name;
            match topics.last_mut() {
                Some(last) if last.topic_id == *id && last.topic == *name => {
                    last.partitions.push(known.asked.clone());
                }
                _ => {
                    let mut topic = FetchTopic::default();
                    topic.topic_id = *id;
                    topic.topic = name.clone();
                    topic.partitions = vec![known.asked.clone()];
                    topics.push(topic);
                }
            }
        }
        topics
    }

    /// Takes out of an answer what its client knows already.
    fn keep_news(&mut self, topics: &mut Vec<FetchableTopicResponse>) {
        for topic in topics.iter_mut() {
            let name = (topic.topic_id, topic.topic.clone());
            topic.partitions.retain(|partition| self.told(&name, partition));
        }
        topics.retain(|topic| !topic.partitions.is_empty());
    }

    /// Notes what is told of a partition. Gives whether it is news.
    fn told(&mut self, name: &Name, partition: &PartitionData) -> bool {
        let key = (name.clone(), partition.partition_index);
        let Some(place) = self.places.get(&key).copied() else { return true };
        let Some(known) = self.partitions.get_mut(&place) else { return true };
        let has_records = partition.records.as_ref().is_some_and(|records| !records.is_empty());
        let failed = partition.error_code != 0;
        let now = (partition.high_watermark, partition.log_start_offset);
        let is_news = has_records || failed || now != (known.high_watermark, known.log_start);
        // After an error the partition is told again, whatever has become of it.
        (known.high_watermark, known.log_start) = if failed { (-1, -1) } else { now };
        if has_records && let Some(known) = self.partitions.remove(&place) {
            self.partitions.insert(self.next_place, known);
            self.places.insert(key, self.next_place);
            self.next_place += 1;
        }
        is_news
    }
}
