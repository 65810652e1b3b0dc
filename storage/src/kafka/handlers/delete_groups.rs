//! DeleteGroups: forget these groups and their offsets. A group with members is kept.
//!
//! Versions
//! - 2 is the first flexible version

use kafka_wire::delete_groups_response::DeletableGroupResult;
use kafka_wire::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: DeleteGroupsRequest,
) -> Step<DeleteGroupsResponse> {
    let mut ticket = Ticket::default();
    let mut response = DeleteGroupsResponse::default();
    for group in &request.groups_names {
        let deleted = check_group(call, Operation::Delete, group).and_then(|()| {
            call.node.decide(call.now_ms, |groups| groups.delete(group, call.now_ms))
        });
        let mut result = DeletableGroupResult::default();
        result.group_id = group.clone();
        result.error_code = code_of(deleted.and_then(|settled| {
            ticket = ticket.max(settled.ticket);
            settled.response
        }));
        response.results.push(result);
    }
    Step::Once(ticket, response)
}
