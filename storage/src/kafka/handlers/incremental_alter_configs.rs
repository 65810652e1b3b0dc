//! IncrementalAlterConfigs: change single settings of these topics.
//!
//! Versions
//! - 1 is the first flexible version
//!
//! Besides setting and resetting, a list can be added to and taken from.

use std::collections::BTreeMap;

use kafka_wire::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_wire::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_wire::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::alter_configs::{alterable, change_to};
use super::*;
use crate::topics::{ConfigType, TopicConfig};

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: IncrementalAlterConfigsRequest,
) -> Step<IncrementalAlterConfigsResponse> {
    let mut ticket = Ticket::default();
    let mut response = IncrementalAlterConfigsResponse::default();
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
    let mut wanted = topic.config.set().clone();
    for config in &resource.configs {
        change(&topic.config, &mut wanted, config)?;
    }
    change_to(call, &topic, wanted, only_check)
}

/// One change: 0 sets, 1 resets, 2 adds to a list, 3 takes from a list.
fn change(
    now: &TopicConfig,
    wanted: &mut BTreeMap<String, String>,
    config: &AlterableConfig,
) -> Result<(), Refused> {
    let invalid = |message: String| Refused::new(ErrorCode::InvalidConfig, message);
    let name = config.name.to_string();
    if config.config_operation == 1 {
        wanted.remove(&name);
        return Ok(());
    }
    let value = config.value.as_deref();
    let value = value.ok_or_else(|| invalid(format!("the setting {name} has no value")))?;
    if config.config_operation == 0 {
        wanted.insert(name, value.to_owned());
        return Ok(());
    }
    let entry = now.entries().into_iter().find(|entry| entry.name == name);
    let entry = entry.ok_or_else(|| invalid(format!("unknown topic config name: {name}")))?;
    if entry.kind != ConfigType::List {
        return Err(invalid(format!("{name} is not a list")));
    }
    let before = wanted.get(&name).unwrap_or(&entry.value);
    let mut items: Vec<&str> = before.split(',').filter(|item| !item.is_empty()).collect();
    for item in value.split(',').filter(|item| !item.is_empty()) {
        items.retain(|known| *known != item);
        if config.config_operation == 2 {
            items.push(item);
        }
    }
    let items = items.join(",");
    wanted.insert(name, items);
    Ok(())
}
