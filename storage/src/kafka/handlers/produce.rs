//! Produce: put these record batches at the end of these partitions.
//!
//! Versions
//! - 0 to 2 are announced and refused, see [`crate::kafka::supported::PRODUCE_MIN`]
//! - 3 carries record batches of format v2 and the transactional id
//! - 5 answers with the log start, 7 allows zstd, 8 adds words to errors
//! - 9 is the first flexible version
//! - 11 knows TRANSACTION_ABORTABLE
//! - 12 belongs to the second transaction protocol: the first batch for a partition adds it to the
//!   transaction (KIP-890)
//! - 13 names topics by id
//!
//! Batches are not opened: the broker checks their frame, checksum and sequence, assigns offsets,
//! and keeps the bytes. The answer waits until the batches are published, with `acks=1` and
//! `acks=all` alike. With `acks=0` there is no answer; if something went wrong the connection is
//! closed, which is all a client can notice.

use bytes::Bytes;
use kafka_wire::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_wire::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_wire::{ProduceRequest, ProduceResponse};
use kafka_wire_core::{DecodeError, Decoder};

use super::*;
use crate::broker::{Appended, keyless_records};
use crate::kafka::transact::Joining;
use crate::log::batch::BatchHeader;
use crate::topics::{check_name, is_internal};
use crate::transactions::By;

pub(in crate::kafka) const KEY: i16 = 0;

/// Records named in the answer to a refused batch: a few bytes can hold a great many.
const NAMED_MAX: usize = 10_000;

/// Counts the topics and partitions of a request without keeping anything, so that a huge one with
/// hardly any records in it can be refused before it is decoded.
pub(in crate::kafka) fn count_elements(version: i16, body: Bytes) -> Result<usize, DecodeError> {
    let flexible = crate::kafka::supported::is_flexible(KEY, version);
    let limits = crate::kafka::wire::limits(body.len());
    let mut input = Decoder::new(body, limits)?;
    let array_len = |input: &mut Decoder| match flexible {
        true => input.read_compact_array_len(),
        false => input.read_array_len(),
    };
    let tags = |input: &mut Decoder| match flexible {
        true => input.read_tagged_fields().map(drop),
        false => Ok(()),
    };
    match flexible {
        true => input.read_compact_nullable_string()?,
        false => input.read_nullable_string()?,
    };
    input.read_i16()?;
    input.read_i32()?;
    let topics = array_len(&mut input)?.get();
    let mut elements = topics;
    for _ in 0..topics {
        match (version >= 13, flexible) {
            (true, _) => drop(input.read_uuid()?),
            (false, true) => drop(input.read_compact_string()?),
            (false, false) => drop(input.read_string()?),
        }
        let partitions = array_len(&mut input)?.get();
        elements += partitions;
        for _ in 0..partitions {
            input.read_i32()?;
            match flexible {
                true => input.read_compact_nullable_bytes()?,
                false => input.read_nullable_bytes()?,
            };
            tags(&mut input)?;
        }
        tags(&mut input)?;
    }
    Ok(elements)
}

/// How long a produce waits for the committer to make room. Clients retry after it.
const ROOM_WAIT_MS: i64 = 10_000;

pub(in crate::kafka) fn handle(call: &Call<'_>, request: ProduceRequest) -> Step<ProduceResponse> {
    take(call, request, call.now_ms.saturating_add(ROOM_WAIT_MS))
}

/// Takes the records if there is room for them. While there is none the request waits, and with it
/// its connection is not read from: that is how a producer is held back.
pub(in crate::kafka) fn take(
    call: &Call<'_>,
    request: ProduceRequest,
    until_ms: i64,
) -> Step<ProduceResponse> {
    if !call.node.broker.has_room() && call.now_ms < until_ms {
        let waiting = Box::new(Waiting::Produce { request, until_ms });
        return Step::Wait { until_ms, wake_on: vec![WakeKey::Durable], waiting };
    }
    let mut ticket = Ticket::default();
    let mut failed = None;
    let mut response = ProduceResponse::default();
    for data in &request.topic_data {
        let topic = find(call, data);
        let mut answer = TopicProduceResponse::default();
        answer.name = data.name.clone();
        answer.topic_id = data.topic_id;
        for part in &data.partition_data {
            let appended = topic.as_ref().map_err(|error| error.clone());
            let appended = appended.and_then(|topic| append(call, &request, topic, part));
            match &appended {
                Ok(appended) => ticket = ticket.max(appended.ticket),
                Err(refused) => failed = Some(refused.clone()),
            }
            let refused_record =
                matches!(&appended, Err(no) if no.code == ErrorCode::InvalidRecord);
            let mut answered = respond(part.index, appended);
            if let (true, Ok(topic)) = (refused_record, &topic) {
                name_keyless(topic, part, &mut answered);
            }
            answer.partition_responses.push(answered);
        }
        response.responses.push(answer);
    }
    match (request.acks, failed) {
        (0, None) => Step::Silent,
        (0, Some(refused)) => Step::Close(format!("a produce without acks failed: {refused}")),
        _ => Step::Once(ticket, response),
    }
}

fn find(call: &Call<'_>, data: &TopicProduceData) -> Result<Arc<Topic>, Refused> {
    let by_id = call.version() >= 13;
    if !by_id {
        check_name(&data.name)?;
    }
    let topic = topic_of(call, Operation::Write, by_id, &data.name, data.topic_id)?;
    if is_internal(&topic.name) {
        let message = format!("Cannot append to internal topic {}", topic.name);
        return Err(Refused::new(ErrorCode::InvalidTopicException, message));
    }
    Ok(topic)
}

fn append(
    call: &Call<'_>,
    request: &ProduceRequest,
    topic: &Topic,
    part: &PartitionProduceData,
) -> Result<Appended, Refused> {
    match request.acks {
        // `min.insync.replicas` counts at most the replicas there are: here always one
        // (`Partition.effectiveMinIsr` of Kafka).
        -1..=1 => {}
        acks => {
            let message = format!("acks is {acks}; it must be -1, 0 or 1");
            return Err(Refused::new(ErrorCode::InvalidRequiredAcks, message));
        }
    }
    let at = partition_of(topic, part.index)?;
    let records = part.records.clone().filter(|records| !records.is_empty());
    let records = records
        .ok_or_else(|| Refused::new(ErrorCode::InvalidRecord, "the request holds no records"))?;
    let header = BatchHeader::parse(&records).map_err(ErrorCode::from)?;
    if !header.is_transactional() {
        let broker = &call.node.broker;
        return match call.node.config.commit_held {
            true => Ok(broker.append_held(at, records, call.now_ms)?),
            false => Ok(broker.append(at, records, call.now_ms)?),
        };
    }
    let id = request.transactional_id.as_deref();
    let id = id.ok_or(ErrorCode::TransactionalIdAuthorizationFailed)?;
    check_transactional_id(call, Operation::Write, id)?;
    let by = By { id, producer_id: header.producer_id, epoch: header.producer_epoch };
    let joining = if call.version() >= 12 { Joining::Implicit } else { Joining::Named };
    let appended = call.node.append_in_transaction(&by, joining, at, records, call.now_ms);
    appended.map_err(|refused| Refused {
        code: in_a_write(11, call.version(), refused.code),
        ..refused
    })
}

/// Names the records that made a compacted topic refuse a batch: a client can then tell its caller which
/// of them are wrong, and which only travelled with them.
fn name_keyless(topic: &Topic, part: &PartitionProduceData, answer: &mut PartitionProduceResponse) {
    let Some(records) = part.records.as_ref().filter(|_| topic.config.cleanup_compact) else {
        return;
    };
    let why = format!(
        "Compacted topic cannot accept message without key in topic partition {}-{}.",
        topic.name, part.index
    );
    let why = text(&why);
    for index in keyless_records(records, NAMED_MAX) {
        let mut record = BatchIndexAndErrorMessage::default();
        record.batch_index = index;
        record.batch_index_error_message = Some(why.clone());
        answer.record_errors.push(record);
    }
    if !answer.record_errors.is_empty() {
        answer.error_message = Some(text("One or more records have been rejected"));
    }
}

fn respond(index: i32, appended: Result<Appended, Refused>) -> PartitionProduceResponse {
    let mut answer = PartitionProduceResponse::default();
    answer.index = index;
    match appended {
        Ok(appended) => {
            answer.base_offset = appended.base_offset;
            answer.log_append_time_ms = appended.log_append_time;
            answer.log_start_offset = appended.log_start_offset;
        }
        Err(refused) => {
            answer.error_code = refused.code.code();
            answer.error_message = words(&refused);
            answer.base_offset = -1;
        }
    }
    answer
}
