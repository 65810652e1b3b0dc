//! AlterConfigs: replace all settings of these resources.
//!
//! Versions
//! - 2 is the first flexible version
//!
//! Settings the request does not name go back to their defaults; that is what makes clients prefer
//! IncrementalAlterConfigs, with which this shares everything else.

use kafka_wire::alter_configs_response::AlterConfigsResourceResponse;
use kafka_wire::{AlterConfigsRequest, AlterConfigsResponse};

use super::*;
use crate::kafka::configs::alter::{Change, Op, alter};

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: AlterConfigsRequest,
) -> Step<AlterConfigsResponse> {
    let mut ticket = Ticket::default();
    let mut response = AlterConfigsResponse::default();
    for resource in &request.resources {
        let (kind, name) = (resource.resource_type, &*resource.resource_name);
        let same = |other: &&_| is_same(other, kind, name);
        let changes: Vec<Change> = resource
            .configs
            .iter()
            .map(|config| Change {
                name: config.name.to_string(),
                op: Op::Set,
                value: config.value.as_deref().map(str::to_owned),
            })
            .collect();
        let done = match request.resources.iter().filter(same).count() {
            1 => alter(call, kind, name, &changes, true, request.validate_only),
            _ => Err(twice()),
        };
        let mut answer = AlterConfigsResourceResponse::default();
        answer.error_message = None;
        answer.resource_type = kind;
        answer.resource_name = resource.resource_name.clone();
        match done {
            Ok(altered) => ticket = ticket.max(altered),
            Err(refused) => {
                answer.error_code = refused.code.code();
                answer.error_message = words(&refused);
            }
        }
        response.responses.push(answer);
    }
    Step::Once(ticket, response)
}

fn is_same(
    other: &kafka_wire::alter_configs_request::AlterConfigsResource,
    kind: i8,
    name: &str,
) -> bool {
    other.resource_type == kind && &*other.resource_name == name
}

/// A resource named twice is not changed at all.
pub(super) fn twice() -> Refused {
    Refused::new(ErrorCode::InvalidRequest, "Each resource must appear at most once.")
}
