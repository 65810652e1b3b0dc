//! FindCoordinator: which broker looks after this group or transactional id?
//!
//! Versions
//! - 1 adds the kind of key: 0 a group, 1 a transactional id
//! - 3 is the first flexible version
//! - 4 asks for many keys at once
//! - 6 adds share groups (kind 2), which are not served
//!
//! It is always this node. The first who asks brings the internal topic about whose leader the
//! coordinator is in Kafka; the answer does not wait for it.

use kafka_wire::find_coordinator_response::Coordinator;
use kafka_wire::{FindCoordinatorRequest, FindCoordinatorResponse};

use super::*;
use crate::topics::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC};

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: FindCoordinatorRequest,
) -> Step<FindCoordinatorResponse> {
    let check = |key: &str| match request.key_type {
        0 => check_group(call, Operation::Describe, key),
        1 => check_transactional_id(call, Operation::Describe, key),
        _ => Err(ErrorCode::InvalidRequest),
    };
    let keys = if call.version() < 4 {
        std::slice::from_ref(&request.key)
    } else {
        request.coordinator_keys.as_slice()
    };
    if keys.iter().any(|key| check(key).is_ok()) {
        make_internal_topic(call, request.key_type);
    }
    let config = &call.node.config;
    let (host, port) = call.advertised();
    let mut response = FindCoordinatorResponse::default();
    if call.version() < 4 {
        let checked = check(&request.key);
        response.node_id = if checked.is_ok() { config.node_id } else { -1 };
        response.error_code = code_of(checked);
        response.host = text(host);
        response.port = i32::from(port);
        return Step::Now(response);
    }
    let one = |key: &StrBytes| {
        let mut coordinator = Coordinator::default();
        coordinator.key = key.clone();
        let checked = check(key);
        coordinator.node_id = if checked.is_ok() { config.node_id } else { -1 };
        coordinator.error_code = code_of(checked);
        coordinator.host = text(host);
        coordinator.port = i32::from(port);
        coordinator
    };
    response.coordinators = request.coordinator_keys.iter().map(one).collect();
    Step::Now(response)
}

fn make_internal_topic(call: &Call<'_>, key_type: i8) {
    let name = if key_type == 0 { OFFSETS_TOPIC } else { TRANSACTIONS_TOPIC };
    if call.node.broker.topic(name).is_none() {
        let configs = [("cleanup.policy".to_owned(), "compact".to_owned())];
        // Another client was faster, or storage makes no topics now: nothing rests on this one.
        call.node.broker.create_topic(name, 1, &configs, call.node.fresh_id()).ok();
    }
}
