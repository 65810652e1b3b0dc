//! JoinGroup: become a member of the group's next generation.
//!
//! Versions
//! - 1 adds the rebalance timeout; before, the session timeout stands for it
//! - 4 gives a new member an id first and has it join again (KIP-394)
//! - 5 adds static members (KIP-345)
//! - 6 is the first flexible version
//! - 7 answers with the protocol type, 8 carries a reason
//! - 9 can tell a leader that the old assignment is still good
//!
//! The answer waits until the join phase ends.

use kafka_wire::join_group_response::JoinGroupResponseMember;
use kafka_wire::{JoinGroupRequest, JoinGroupResponse};

use super::*;
use crate::coordinator::{JoinRefused, JoinRequest, JoinStep, Joined, Poll};

const NO_GENERATION: i32 = -1;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: JoinGroupRequest,
) -> Step<JoinGroupResponse> {
    let group = request.group_id.to_string();
    let asked = to_join(call, &request);
    let taken = check_group(call, Operation::Read, &group).and_then(|()| {
        call.node.decide(call.now_ms, |groups| groups.submit_join(&asked, call.now_ms))
    });
    match taken.map(|settled| (settled.ticket, settled.response)) {
        Ok((ticket, Ok(JoinStep::Done(joined)))) => Step::Once(ticket, respond(call, joined)),
        Ok((_, Ok(JoinStep::Wait { member }))) => look(call, group, member, asked.instance),
        Ok((_, Err(refused))) => Step::Now(refuse(call, refused)),
        Err(error) => Step::Now(refuse(call, error.into())),
    }
}

fn to_join(call: &Call<'_>, request: &JoinGroupRequest) -> JoinRequest {
    let client_id = &call.header.client_id;
    let rebalance_timeout_ms = match call.version() {
        0 => request.session_timeout_ms,
        _ => request.rebalance_timeout_ms,
    };
    let named = request.group_instance_id.as_deref().unwrap_or(client_id);
    JoinRequest {
        group: request.group_id.to_string(),
        member: request.member_id.to_string(),
        instance: request.group_instance_id.as_deref().map(str::to_owned),
        client_id: client_id.clone(),
        client_host: call.session.client_host.clone(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: request.protocol_type.to_string(),
        protocols: request
            .protocols
            .iter()
            .map(|protocol| (protocol.name.to_string(), protocol.metadata.to_vec()))
            .collect(),
        requires_known_member: call.version() >= 4,
        can_skip_assignment: call.version() >= 9,
        fresh_id: format!("{named}-{}", call.node.fresh_id()),
    }
}

/// Answers if the join phase has ended for this member.
pub(in crate::kafka) fn look(
    call: &Call<'_>,
    group: String,
    member: String,
    instance: Option<String>,
) -> Step<JoinGroupResponse> {
    let polled = call.node.decide(call.now_ms, |groups| {
        groups.poll_join(&group, &member, instance.as_deref(), call.now_ms)
    });
    match polled.map(|settled| settled.response) {
        Ok(Poll::Ready(Ok(joined))) => Step::Now(respond(call, joined)),
        Ok(Poll::Wait { until_ms }) => Step::Wait {
            until_ms,
            wake_on: vec![WakeKey::Group(group.clone())],
            waiting: Box::new(Waiting::Join { group, member, instance }),
        },
        Ok(Poll::Ready(Err(error))) | Err(error) => {
            Step::Now(refuse(call, JoinRefused { error, member }))
        }
    }
}

fn respond(call: &Call<'_>, joined: Joined) -> JoinGroupResponse {
    let mut response = JoinGroupResponse::default();
    response.generation_id = joined.generation;
    response.protocol_type = Some(text(&joined.protocol_type));
    response.protocol_name = Some(text(joined.protocol.as_deref().unwrap_or_default()));
    response.leader = text(&joined.leader);
    response.skip_assignment = joined.skip_assignment && call.version() >= 9;
    response.member_id = text(&joined.member);
    response.members = joined
        .members
        .into_iter()
        .map(|member| {
            let mut described = JoinGroupResponseMember::default();
            described.member_id = text(&member.id);
            described.group_instance_id = member.instance.as_deref().map(text);
            described.metadata = member.metadata.into();
            described
        })
        .collect();
    response
}

fn refuse(call: &Call<'_>, refused: JoinRefused) -> JoinGroupResponse {
    let mut response = JoinGroupResponse::default();
    response.error_code = refused.error.code();
    response.generation_id = NO_GENERATION;
    response.member_id = text(&refused.member);
    // From version 7 on the protocol may be null; before, it must be a string.
    response.protocol_name = (call.version() < 7).then(StrBytes::default);
    response
}
