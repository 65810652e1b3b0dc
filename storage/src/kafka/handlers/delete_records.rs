//! DeleteRecords: forget all records before an offset.
//!
//! Versions
//! - 2 is the first flexible version
//!
//! Offset -1 means all there are. Kafka Streams cleans its repartition topics this way.

use kafka_wire::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_wire::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: DeleteRecordsRequest,
) -> Step<DeleteRecordsResponse> {
    let broker = &call.node.broker;
    let mut ticket = Ticket::default();
    let mut response = DeleteRecordsResponse::default();
    for asked in &request.topics {
        let topic = topic_named(call, Operation::Delete, &asked.name);
        let mut answer = DeleteRecordsTopicResult::default();
        answer.name = asked.name.clone();
        for asked in &asked.partitions {
            let mut result = DeleteRecordsPartitionResult::default();
            result.partition_index = asked.partition_index;
            result.low_watermark = -1;
            let deleted = topic.as_deref().map_err(|code| *code).and_then(|topic| {
                // Of a compacted topic only what retention may delete as well.
                if topic.config.cleanup_compact && !topic.config.cleanup_delete {
                    return Err(ErrorCode::PolicyViolation);
                }
                broker.delete_records(partition_of(topic, asked.partition_index)?, asked.offset)
            });
            match deleted {
                Ok((start, published)) => {
                    result.low_watermark = start;
                    ticket = ticket.max(published);
                }
                Err(code) => result.error_code = code.code(),
            }
            answer.partitions.push(result);
        }
        response.topics.push(answer);
    }
    Step::Once(ticket, response)
}
