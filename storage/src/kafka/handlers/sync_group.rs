//! SyncGroup: hand in the assignment, as the leader, and get one's own.
//!
//! Versions
//! - 3 adds static members, 4 is the first flexible version
//! - 5 carries the protocol, which is checked, and answers with it
//!
//! The answer waits until the leader has handed in, and until that is in the journal: a member that
//! works on its partitions does so in a generation a restart will remember.

use kafka_wire::{SyncGroupRequest, SyncGroupResponse};

use super::*;
use crate::coordinator::{Poll, SyncRequest, SyncStep, Synced};

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: SyncGroupRequest,
) -> Step<SyncGroupResponse> {
    let owned = |value: &Option<StrBytes>| value.as_deref().map(str::to_owned);
    let asked = SyncRequest {
        group: request.group_id.to_string(),
        generation: request.generation_id,
        member: request.member_id.to_string(),
        instance: owned(&request.group_instance_id),
        protocol_type: owned(&request.protocol_type),
        protocol: owned(&request.protocol_name),
        assignments: request
            .assignments
            .iter()
            .map(|given| (given.member_id.to_string(), given.assignment.to_vec()))
            .collect(),
    };
    let taken = check_group(call, Operation::Read, &asked.group).and_then(|()| {
        call.node.decide(call.now_ms, |groups| groups.submit_sync(&asked, call.now_ms))
    });
    match taken.map(|settled| (settled.ticket, settled.response)) {
        Ok((ticket, Ok(SyncStep::Done(synced)))) => Step::Once(ticket, respond(synced)),
        Ok((_, Ok(SyncStep::Wait))) => {
            look(call, asked.group, asked.member, asked.instance, asked.generation)
        }
        Ok((_, Err(error))) | Err(error) => Step::Now(refuse(error)),
    }
}

/// Answers if the assignment is there, or will not come.
pub(in crate::kafka) fn look(
    call: &Call<'_>,
    group: String,
    member: String,
    instance: Option<String>,
    generation: i32,
) -> Step<SyncGroupResponse> {
    let now_ms = call.now_ms;
    let polled = call.node.decide(call.now_ms, |groups| {
        groups.poll_sync(&group, &member, instance.as_deref(), generation, now_ms)
    });
    match polled.map(|settled| (settled.ticket, settled.response)) {
        Ok((ticket, Poll::Ready(Ok(synced)))) => Step::Once(ticket, respond(synced)),
        Ok((_, Poll::Wait { until_ms })) => Step::Wait {
            until_ms,
            wake_on: vec![WakeKey::Group(group.clone())],
            waiting: Box::new(Waiting::Sync { group, member, instance, generation }),
        },
        Ok((_, Poll::Ready(Err(error)))) | Err(error) => Step::Now(refuse(error)),
    }
}

fn respond(synced: Synced) -> SyncGroupResponse {
    let mut response = SyncGroupResponse::default();
    response.protocol_type = Some(text(&synced.protocol_type));
    response.protocol_name = synced.protocol.as_deref().map(text);
    response.assignment = synced.assignment.into();
    response
}

fn refuse(error: ErrorCode) -> SyncGroupResponse {
    let mut response = SyncGroupResponse::default();
    response.error_code = error.code();
    response
}
