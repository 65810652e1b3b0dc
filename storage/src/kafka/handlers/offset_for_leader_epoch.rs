//! OffsetForLeaderEpoch: where did a leader epoch end?
//!
//! Versions
//! - 2 lets the client say which epoch it takes for the present one
//! - 3 adds the replica, 4 is the first flexible version
//!
//! The one leader of a partition never changes, so epoch 0 goes on to the end of the log and of any
//! later epoch nothing is known (-1, -1). Clients use the answer to notice lost records.

use kafka_wire::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_wire::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_wire::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: OffsetForLeaderEpochRequest,
) -> Step<OffsetForLeaderEpochResponse> {
    let broker = &call.node.broker;
    let mut response = OffsetForLeaderEpochResponse::default();
    for asked in &request.topics {
        let topic = topic_named(call, Operation::Describe, &asked.topic);
        let mut answer = OffsetForLeaderTopicResult::default();
        answer.topic = asked.topic.clone();
        for asked in &asked.partitions {
            let end = topic.as_deref().map_err(|code| *code);
            let end = end.and_then(|topic| end_of(broker, topic, asked));
            answer.partitions.push(respond(asked.partition, end));
        }
        response.topics.push(answer);
    }
    Step::Now(response)
}

fn end_of(
    broker: &Broker,
    topic: &Topic,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<i64>, ErrorCode> {
    let at = partition_of(topic, asked.partition)?;
    check_leader_epoch(asked.current_leader_epoch)?;
    match asked.leader_epoch {
        LEADER_EPOCH => broker.high_watermark(at).map(Some),
        _ => Ok(None),
    }
}

fn respond(partition: i32, end: Result<Option<i64>, ErrorCode>) -> EpochEndOffset {
    let mut answer = EpochEndOffset::default();
    answer.partition = partition;
    answer.leader_epoch = -1;
    answer.end_offset = -1;
    match end {
        Ok(Some(end)) => {
            answer.leader_epoch = LEADER_EPOCH;
            answer.end_offset = end;
        }
        Ok(None) => {}
        Err(code) => answer.error_code = code.code(),
    }
    answer
}
