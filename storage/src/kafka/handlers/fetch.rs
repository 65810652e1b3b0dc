//! Fetch: records from these offsets on, and wait a while if there are none.
//!
//! Versions
//! - 4 adds isolation levels and the list of aborted transactions
//! - 5 adds log start offsets
//! - 7 adds fetch sessions: see [`crate::kafka::fetch_sessions`]
//! - 9 adds leader epochs, 11 the rack
//! - 12 is the first flexible version
//! - 13 names topics by id
//! - 15 to 18 change what replicas send
//!
//! Sizes (KIP-74): whole batches are given; each partition is held to its own limit and all together
//! to the request's, but the first batch of the first partition that has one is given whatever its
//! size, so that no reader gets stuck. Partitions are served in the order asked; clients rotate it.
//!
//! The answer waits until `min_bytes` are there, `max_wait` has passed or a partition has an error.

use bytes::Bytes;
use kafka_wire::fetch_request::{FetchPartition, FetchTopic};
use kafka_wire::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use kafka_wire::{FetchRequest, FetchResponse};

use super::*;
use crate::broker::{Isolation, Read};
use crate::log::Aborted;

pub(in crate::kafka) fn handle(call: &Call<'_>, request: FetchRequest) -> Step<FetchResponse> {
    let until_ms = call.now_ms.saturating_add(i64::from(request.max_wait_ms.max(0)));
    let by_id = call.version() >= 13;
    // The lock ends here: the answer takes it again.
    let begun = call.node.fetch_sessions.lock().begin(request, by_id, call.now_ms);
    match begun {
        Ok(request) => look(call, request, until_ms),
        Err(code) => {
            let mut response = FetchResponse::default();
            response.error_code = code.code();
            Step::Now(response)
        }
    }
}

/// Answers if there is enough, or the time is up.
pub(in crate::kafka) fn look(
    call: &Call<'_>,
    request: FetchRequest,
    until_ms: i64,
) -> Step<FetchResponse> {
    let mut reading = Reading::new(call, &request);
    let responses = request.topics.iter().map(|topic| reading.topic(topic)).collect();

    let enough = reading.bytes >= usize::try_from(request.min_bytes).unwrap_or(0);
    if enough || reading.failed || reading.wake_on.is_empty() || call.now_ms >= until_ms {
        return Step::Now(told(call, &request, responses));
    }
    let wake_on = reading.wake_on;
    Step::Wait { until_ms, wake_on, waiting: Box::new(Waiting::Fetch { request, until_ms }) }
}

/// The answer as the request's session wants it.
fn told(
    call: &Call<'_>,
    request: &FetchRequest,
    topics: Vec<FetchableTopicResponse>,
) -> FetchResponse {
    let by_id = call.version() >= 13;
    let fresh_id = || call.node.fresh_id().as_u128() as i32;
    let mut sessions = call.node.fetch_sessions.lock();
    let told = sessions.end(request, by_id, topics, fresh_id, call.now_ms);
    let mut response = FetchResponse::default();
    response.error_code = told.error.code();
    response.session_id = told.session;
    response.responses = told.topics;
    response
}

struct Reading<'a> {
    call: &'a Call<'a>,
    isolation: Isolation,
    bytes_max: usize,
    /// There is no memory for answers left: nothing is brought, as if nothing were there.
    is_full: bool,
    bytes: usize,
    failed: bool,
    wake_on: Vec<WakeKey>,
}

impl<'a> Reading<'a> {
    fn new(call: &'a Call<'a>, request: &FetchRequest) -> Self {
        let asked = usize::try_from(request.max_bytes).unwrap_or(0);
        let room = call.node.fetch_room();
        Self {
            call,
            isolation: match request.isolation_level {
                1 => Isolation::ReadCommitted,
                _ => Isolation::ReadUncommitted,
            },
            bytes_max: asked.min(room.unwrap_or(0)),
            is_full: room.is_none(),
            bytes: 0,
            failed: false,
            wake_on: Vec::new(),
        }
    }

    fn topic(&mut self, asked: &FetchTopic) -> FetchableTopicResponse {
        let by_id = self.call.version() >= 13;
        let topic = topic_of(self.call, Operation::Read, by_id, &asked.topic, asked.topic_id);
        let mut answer = FetchableTopicResponse::default();
        answer.topic = asked.topic.clone();
        answer.topic_id = asked.topic_id;
        for partition in &asked.partitions {
            let read = topic.as_deref().map_err(|code| *code);
            let read = read.and_then(|topic| self.partition(topic, partition));
            answer.partitions.push(self.respond(partition.partition, read));
        }
        answer
    }

    fn partition(&mut self, topic: &Topic, asked: &FetchPartition) -> Result<Read, ErrorCode> {
        let at = partition_of(topic, asked.partition)?;
        check_leader_epoch(asked.current_leader_epoch)?;
        self.wake_on.push(WakeKey::Partition(at));

        let left = self.bytes_max.saturating_sub(self.bytes);
        let own = usize::try_from(asked.partition_max_bytes).unwrap_or(0);
        let limit = own.min(left);
        let broker = &self.call.node.broker;
        let mut read = broker.read(at, asked.fetch_offset, limit, self.isolation)?;
        // Only the first batch of the whole answer may be larger than allowed.
        if (self.bytes > 0 || self.is_full) && read.records.len() > limit {
            read.records = Bytes::new();
        }
        self.bytes += read.records.len();
        Ok(read)
    }

    fn respond(&mut self, index: i32, read: Result<Read, ErrorCode>) -> PartitionData {
        let mut answer = PartitionData::default();
        let mut aborted = Vec::new();
        answer.partition_index = index;
        match read {
            Ok(read) => {
                answer.high_watermark = read.high_watermark;
                answer.last_stable_offset = read.last_stable_offset;
                answer.log_start_offset = read.log_start_offset;
                answer.records = Some(read.records);
                aborted = read.aborted;
            }
            Err(code) => {
                self.failed = true;
                answer.error_code = code.code();
                answer.high_watermark = -1;
                answer.records = Some(Bytes::new());
            }
        }
        if self.isolation == Isolation::ReadCommitted {
            let one = |aborted: &Aborted| {
                let mut entry = AbortedTransaction::default();
                entry.producer_id = aborted.producer_id;
                entry.first_offset = aborted.first_offset;
                entry
            };
            answer.aborted_transactions = Some(aborted.iter().map(one).collect());
        }
        answer
    }
}
