//! LeaveGroup: members leave, or are removed by an administrator.
//!
//! Versions
//! - 3 names several members, by id or by instance name, and answers for each
//! - 4 is the first flexible version, 5 carries a reason

use kafka_wire::leave_group_response::MemberResponse;
use kafka_wire::{LeaveGroupRequest, LeaveGroupResponse};

use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: LeaveGroupRequest,
) -> Step<LeaveGroupResponse> {
    let mut ticket = Ticket::default();
    let mut leave = |member: &str, instance: Option<&str>| {
        let group = &request.group_id;
        let left = call
            .node
            .decide(call.now_ms, |groups| groups.leave(group, member, instance, call.now_ms));
        code_of(left.and_then(|settled| {
            ticket = ticket.max(settled.ticket);
            settled.response
        }))
    };
    let mut response = LeaveGroupResponse::default();
    if let Err(code) = check_group(call, Operation::Read, &request.group_id) {
        response.error_code = code.code();
        return Step::Now(response);
    }
    if call.version() < 3 {
        response.error_code = leave(&request.member_id, None);
        return Step::Once(ticket, response);
    }
    for member in &request.members {
        let mut answer = MemberResponse::default();
        answer.member_id = member.member_id.clone();
        answer.group_instance_id = member.group_instance_id.clone();
        answer.error_code = leave(&member.member_id, member.group_instance_id.as_deref());
        response.members.push(answer);
    }
    Step::Once(ticket, response)
}
