//! ListConfigResources: what has settings?
//!
//! Versions
//! - 0 lists client metrics subscriptions (it was called ListClientMetricsResources)
//! - 1 lists any kinds of resources; none asked for means all

use kafka_wire::list_config_resources_response::ConfigResource;
use kafka_wire::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use super::*;
use crate::kafka::configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: ListConfigResourcesRequest,
) -> Step<ListConfigResourcesResponse> {
    let mut response = ListConfigResourcesResponse::default();
    if let Err(code) = check_cluster(call, Operation::DescribeConfigs) {
        response.error_code = code.code();
        return Step::Now(response);
    }
    let kinds = match (call.version(), request.resource_types) {
        (0, _) => vec![CLIENT_METRICS],
        (_, kinds) if kinds.is_empty() => {
            vec![TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP]
        }
        (_, kinds) => kinds,
    };
    let node = call.node;
    let settings = node.settings.lock();
    for kind in kinds {
        let names: Vec<String> = match kind {
            TOPIC => node.broker.topics().iter().map(|topic| topic.name.to_string()).collect(),
            BROKER | BROKER_LOGGER => vec![node.config.node_id.to_string()],
            CLIENT_METRICS | GROUP => settings.names(kind).map(str::to_owned).collect(),
            _ => {
                response.error_code = ErrorCode::UnsupportedVersion.code();
                response.config_resources = Vec::new();
                return Step::Now(response);
            }
        };
        for name in names {
            let mut resource = ConfigResource::default();
            resource.resource_name = text(&name);
            resource.resource_type = kind;
            response.config_resources.push(resource);
        }
    }
    Step::Once(settings.ticket, response)
}
