//! Heartbeat: a member is alive, and asks whether the group is rebalancing.
//!
//! Versions
//! - 3 adds static members, 4 is the first flexible version

use kafka_wire::{HeartbeatRequest, HeartbeatResponse};

use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: HeartbeatRequest,
) -> Step<HeartbeatResponse> {
    let beat = check_group(call, Operation::Read, &request.group_id).and_then(|()| {
        call.node.decide(call.now_ms, |groups| {
            groups.heartbeat(
                &request.group_id,
                &request.member_id,
                request.group_instance_id.as_deref(),
                request.generation_id,
                call.now_ms,
            )
        })
    });
    let mut response = HeartbeatResponse::default();
    response.error_code = code_of(beat.and_then(|settled| settled.response));
    Step::Now(response)
}
