//! IncrementalAlterConfigs: change single settings of these resources.
//!
//! Versions
//! - 1 is the first flexible version
//!
//! Besides setting and resetting, a list can be added to and taken from.

use kafka_wire::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_wire::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_wire::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::alter_configs::twice;
use super::*;
use crate::kafka::configs::alter::{Change, Op, alter};

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: IncrementalAlterConfigsRequest,
) -> Step<IncrementalAlterConfigsResponse> {
    let mut ticket = Ticket::default();
    let mut response = IncrementalAlterConfigsResponse::default();
    for resource in &request.resources {
        let same = |other: &&AlterConfigsResource| {
            other.resource_type == resource.resource_type
                && other.resource_name == resource.resource_name
        };
        let done = match request.resources.iter().filter(same).count() {
            1 => one(call, resource, request.validate_only),
            _ => Err(twice()),
        };
        let mut answer = AlterConfigsResourceResponse::default();
        answer.error_message = None;
        answer.resource_type = resource.resource_type;
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

fn one(
    call: &Call<'_>,
    resource: &AlterConfigsResource,
    only_check: bool,
) -> Result<Ticket, Refused> {
    let change = |config: &AlterableConfig| {
        Ok(Change {
            name: config.name.to_string(),
            op: Op::from_wire(config.config_operation)?,
            value: config.value.as_deref().map(str::to_owned),
        })
    };
    let changes = resource.configs.iter().map(change).collect::<Result<Vec<_>, Refused>>()?;
    alter(call, resource.resource_type, &resource.resource_name, &changes, false, only_check)
}
