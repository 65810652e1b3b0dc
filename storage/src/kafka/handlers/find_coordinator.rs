//! FindCoordinator: which broker looks after this group or transactional id?
//!
//! Versions
//! - 1 adds the kind of key: 0 a group, 1 a transactional id
//! - 3 is the first flexible version
//! - 4 asks for many keys at once
//! - 6 adds share groups (kind 2), which are not served
//!
//! It is always this node. Transactional ids are answered too, so that their producer gets a clear
//! refusal from InitProducerId instead of looking for a coordinator for ever.

use kafka_wire::find_coordinator_response::Coordinator;
use kafka_wire::{FindCoordinatorRequest, FindCoordinatorResponse};

use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: FindCoordinatorRequest,
) -> Step<FindCoordinatorResponse> {
    let known = matches!(request.key_type, 0 | 1);
    let error = if known { ErrorCode::None } else { ErrorCode::InvalidRequest };
    let config = &call.node.config;
    let mut response = FindCoordinatorResponse::default();
    if call.version() < 4 {
        response.error_code = error.code();
        response.node_id = if known { config.node_id } else { -1 };
        response.host = text(&config.advertised_host);
        response.port = i32::from(config.advertised_port);
        return Step::Now(response);
    }
    let one = |key: &StrBytes| {
        let mut coordinator = Coordinator::default();
        coordinator.key = key.clone();
        coordinator.error_code = error.code();
        coordinator.node_id = if known { config.node_id } else { -1 };
        coordinator.host = text(&config.advertised_host);
        coordinator.port = i32::from(config.advertised_port);
        coordinator
    };
    response.coordinators = request.coordinator_keys.iter().map(one).collect();
    Step::Now(response)
}
