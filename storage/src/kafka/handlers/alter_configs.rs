//! AlterConfigs: replace all settings of these topics.
//!
//! Versions
//! - 2 is the first flexible version
//!
//! Settings the request does not name go back to their defaults; that is what makes clients prefer
//! IncrementalAlterConfigs. The broker's own settings are fixed at its start.

use std::collections::BTreeMap;

use kafka_wire::alter_configs_request::AlterConfigsResource;
use kafka_wire::alter_configs_response::AlterConfigsResourceResponse;
use kafka_wire::{AlterConfigsRequest, AlterConfigsResponse};

use super::describe_configs::TOPIC;
use super::*;
use crate::topics::TopicConfig;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: AlterConfigsRequest,
) -> Step<AlterConfigsResponse> {
    let mut ticket = Ticket::default();
    let mut response = AlterConfigsResponse::default();
    for resource in &request.resources {
        let mut answer = AlterConfigsResourceResponse::default();
        answer.resource_type = resource.resource_type;
        answer.resource_name = resource.resource_name.clone();
        match alter(call, resource, request.validate_only) {
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

fn alter(
    call: &Call<'_>,
    resource: &AlterConfigsResource,
    only_check: bool,
) -> Result<Ticket, Refused> {
    let topic = alterable(call, resource.resource_type, &resource.resource_name)?;
    let given = resource.configs.iter();
    let wanted: BTreeMap<String, String> = given
        .map(|config| (config.name.to_string(), config.value.as_deref().map(str::to_owned)))
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    change_to(call, &topic, wanted, only_check)
}

/// The topic whose settings may be changed.
pub(super) fn alterable(call: &Call<'_>, kind: i8, name: &str) -> Result<Arc<Topic>, Refused> {
    if kind != TOPIC {
        let message = "only topic settings can be changed while the node runs";
        return Err(Refused::new(ErrorCode::InvalidRequest, message));
    }
    Ok(topic_named(&call.node.broker, name)?)
}

/// Makes `wanted` all that the topic sets itself.
pub(super) fn change_to(
    call: &Call<'_>,
    topic: &Topic,
    wanted: BTreeMap<String, String>,
    only_check: bool,
) -> Result<Ticket, Refused> {
    TopicConfig::new(wanted.clone())?;
    if only_check {
        return Ok(Ticket::default());
    }
    let gone = topic.config.set().keys().filter(|name| !wanted.contains_key(*name));
    let mut changes: Vec<(String, Option<String>)> =
        gone.map(|name| (name.clone(), None)).collect();
    changes.extend(wanted.into_iter().map(|(name, value)| (name, Some(value))));
    call.node.broker.alter_config(topic.id, &changes)
}
