//! FindCoordinator: which broker looks after this group or transactional id?
//!
//! Versions
//! - 1 adds the kind of key: 0 a group, 1 a transactional id
//! - 3 is the first flexible version
//! - 4 asks for many keys at once
//! - 6 adds share groups (kind 2), which are not served
//!
//! It is always this node. The first who asks brings the internal topic about whose leader the
//! coordinator is in Kafka (groups': `kafka/offsets_topic.rs`).

use kafka_wire::find_coordinator_response::Coordinator;
use kafka_wire::{FindCoordinatorRequest, FindCoordinatorResponse};

use super::*;
use crate::topics::TRANSACTIONS_TOPIC;

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
    let ticket = match keys.iter().any(|key| check(key).is_ok()) {
        true => make_internal_topic(call, request.key_type),
        false => Ticket::default(),
    };
    let config = &call.node.config;
    let (host, port) = call.advertised();
    let mut response = FindCoordinatorResponse::default();
    if call.version() < 4 {
        let checked = check(&request.key);
        response.node_id = if checked.is_ok() { config.node_id } else { -1 };
        response.error_code = code_of(checked);
        response.host = text(host);
        response.port = i32::from(port);
        return Step::Once(ticket, response);
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
    Step::Once(ticket, response)
}

/// The topic is there when the ticket is published. Nothing else rests on it: if storage makes no
/// topics now, the client gets its coordinator all the same.
fn make_internal_topic(call: &Call<'_>, key_type: i8) -> Ticket {
    let node = call.node;
    let made = match key_type {
        0 => node.make_offsets_topic(call.now_ms),
        1 if node.broker.topic(TRANSACTIONS_TOPIC).is_none() => {
            let configs = [("cleanup.policy".to_owned(), "compact".to_owned())];
            node.broker.create_topic(TRANSACTIONS_TOPIC, 1, &configs, node.fresh_id())
        }
        _ => Ok(Ticket::default()),
    };
    made.unwrap_or_default()
}
