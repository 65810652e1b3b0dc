//! OffsetDelete: forget offsets a group committed.
//!
//! Only for groups without members: see [`crate::coordinator::Groups::forget_offsets`].

use kafka_wire::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_wire::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_wire::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: OffsetDeleteRequest,
) -> Step<OffsetDeleteResponse> {
    let mut response = OffsetDeleteResponse::default();
    let each = |topic: &OffsetDeleteRequestTopic| {
        let name = topic.name.to_string();
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
        indexes.map(move |index| (name.clone(), index)).collect::<Vec<_>>()
    };
    let may_read =
        |topic: &&OffsetDeleteRequestTopic| check_topic(call, Operation::Read, &topic.name).is_ok();
    let places: Vec<(String, i32)> =
        request.topics.iter().filter(may_read).flat_map(each).collect();
    let group = &request.group_id;
    if let Err(code) = check_group(call, Operation::Delete, group) {
        response.error_code = code.code();
        return Step::Now(response);
    }
    let decided =
        call.node.decide(call.now_ms, |groups| groups.forget_offsets(group, &places, call.now_ms));
    let (ticket, codes) = match decided {
        Ok(settled) => (settled.ticket, settled.response),
        Err(code) => (Ticket::default(), Err(code)),
    };
    let mut codes = match codes {
        Ok(codes) => codes.into_iter(),
        Err(code) => {
            response.error_code = code.code();
            return Step::Now(response);
        }
    };
    for topic in &request.topics {
        let mut answer = OffsetDeleteResponseTopic::default();
        answer.name = topic.name.clone();
        for asked in &topic.partitions {
            let mut partition = OffsetDeleteResponsePartition::default();
            partition.partition_index = asked.partition_index;
            let code = match may_read(&topic) {
                true => codes.next().unwrap_or(ErrorCode::UnknownServerError),
                false => ErrorCode::TopicAuthorizationFailed,
            };
            partition.error_code = code.code();
            answer.partitions.push(partition);
        }
        response.topics.push(answer);
    }
    Step::Once(ticket, response)
}
