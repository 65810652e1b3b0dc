//! ListOffsets: which offset does a moment have, for each partition asked?
//!
//! Versions
//! - 1 gives one offset per partition, 2 adds the isolation level
//! - 4 adds leader epochs
//! - 6 is the first flexible version
//! - 7 adds timestamp -3, the record with the greatest timestamp (KIP-734)
//! - 8 adds -4, the first offset on the local disk; 9 adds -5, the last in remote storage
//! - 10 adds a timeout, which concerns remote storage only
//!
//! A partition that cannot be answered gets an error code of its own; the request never fails.

use kafka_wire::list_offsets_request::ListOffsetsPartition;
use kafka_wire::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_wire::{ListOffsetsRequest, ListOffsetsResponse};

use super::*;
use crate::broker::{Found, Isolation};

const NO_TIMESTAMP: i64 = -1;

/// The moments that are not timestamps, as the wire has them.
enum Moment {
    Start,
    End,
    Greatest,
    /// There is no remote storage, so nothing is ever there.
    Remote,
    At(i64),
}

impl Moment {
    /// Each has a version it began with.
    fn of(timestamp: i64, version: i16) -> Result<Self, ErrorCode> {
        Ok(match timestamp {
            -1 => Self::End,
            -2 => Self::Start,
            -3 if version >= 7 => Self::Greatest,
            // All of the log is local.
            -4 if version >= 8 => Self::Start,
            -5 if version >= 9 => Self::Remote,
            timestamp if timestamp >= 0 => Self::At(timestamp),
            _ => return Err(ErrorCode::UnsupportedVersion),
        })
    }
}

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: ListOffsetsRequest,
) -> Step<ListOffsetsResponse> {
    let isolation = match request.isolation_level {
        1 => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    };
    let mut response = ListOffsetsResponse::default();
    for asked in &request.topics {
        let topic = topic_named(call, Operation::Describe, &asked.name);
        let mut answer = ListOffsetsTopicResponse::default();
        answer.name = asked.name.clone();
        for asked in &asked.partitions {
            let found = topic.as_deref().map_err(|code| *code);
            let found = found.and_then(|topic| find(call, topic, isolation, asked));
            answer.partitions.push(respond(call.version(), asked.partition_index, found));
        }
        response.topics.push(answer);
    }
    Step::Now(response)
}

fn find(
    call: &Call<'_>,
    topic: &Topic,
    isolation: Isolation,
    asked: &ListOffsetsPartition,
) -> Result<Option<Found>, ErrorCode> {
    let broker = &call.node.broker;
    let at = partition_of(topic, asked.partition_index)?;
    check_leader_epoch(asked.current_leader_epoch)?;
    let place = |offset| Some(Found { offset, timestamp: NO_TIMESTAMP });
    Ok(match Moment::of(asked.timestamp, call.version())? {
        Moment::Start => place(broker.log_start(at)?),
        Moment::End => place(match isolation {
            Isolation::ReadUncommitted => broker.high_watermark(at)?,
            Isolation::ReadCommitted => broker.last_stable(at)?,
        }),
        Moment::Greatest => broker.offset_of_max_timestamp(at, isolation)?,
        Moment::Remote => None,
        Moment::At(timestamp) => broker.offset_for(at, timestamp, isolation)?,
    })
}

fn respond(
    version: i16,
    index: i32,
    found: Result<Option<Found>, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    // The defaults are Kafka's "not found": timestamp, offset and epoch -1.
    let mut answer = ListOffsetsPartitionResponse::default();
    answer.partition_index = index;
    match found {
        Ok(Some(found)) => {
            answer.offset = found.offset;
            answer.timestamp = found.timestamp;
            if version >= 4 {
                answer.leader_epoch = LEADER_EPOCH;
            }
        }
        Ok(None) => {}
        Err(code) => answer.error_code = code.code(),
    }
    answer
}
