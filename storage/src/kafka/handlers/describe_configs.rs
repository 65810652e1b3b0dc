//! DescribeConfigs: the settings of topics, this broker, groups and client metrics subscriptions.
//!
//! Versions
//! - 1 adds where a setting comes from, and its synonyms
//! - 3 adds types and documentation
//! - 4 is the first flexible version

use kafka_wire::describe_configs_request::DescribeConfigsResource;
use kafka_wire::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_wire::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::*;
use crate::kafka::configs::alter::check_name as check_resource_name;
use crate::kafka::configs::describe::{self, Described};
use crate::kafka::configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, Settings, TOPIC};
use crate::topics::check_name;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: DescribeConfigsRequest,
) -> Step<DescribeConfigsResponse> {
    let mut response = DescribeConfigsResponse::default();
    let settings = call.node.settings.lock();
    for resource in &request.resources {
        let mut result = DescribeConfigsResult::default();
        result.error_message = None;
        result.resource_type = resource.resource_type;
        result.resource_name = resource.resource_name.clone();
        match describe(call, &settings, resource) {
            Ok(described) => {
                let told = described.into_iter().map(|one| tell(one, &request));
                result.configs = told.collect();
            }
            Err(refused) => {
                result.error_code = refused.code.code();
                result.error_message = words(&refused);
            }
        }
        response.results.push(result);
    }
    Step::Once(settings.ticket, response)
}

fn describe(
    call: &Call<'_>,
    settings: &Settings,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Described>, Refused> {
    let name = &*resource.resource_name;
    let node = call.node;
    check_resource(call, Operation::DescribeConfigs, resource.resource_type, name)?;
    check_resource_name(node, resource.resource_type, name)?;
    let mut all = match resource.resource_type {
        TOPIC => {
            check_name(name)?;
            describe::topic(
                node,
                settings,
                &topic_named(call, Operation::DescribeConfigs, name)?.config,
            )
        }
        BROKER if name.is_empty() => describe::all_brokers(settings),
        BROKER => describe::broker(node, settings),
        BROKER_LOGGER => describe::loggers(),
        CLIENT_METRICS => describe::client_metrics(settings, name),
        GROUP => describe::group(settings, name),
        kind => {
            let message = format!("Unsupported resource type: {kind}");
            return Err(Refused::new(ErrorCode::InvalidRequest, message));
        }
    };
    // None asked for by name, be it null or an empty list, means all.
    if let Some(keys) = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty()) {
        all.retain(|one| keys.iter().any(|key| **key == *one.name));
    }
    Ok(all)
}

fn tell(one: Described, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let mut told = DescribeConfigsResourceResult::default();
    told.name = text(&one.name);
    told.value = one.value.as_deref().map(text);
    told.read_only = one.is_read_only;
    told.is_sensitive = one.is_sensitive;
    told.config_source = one.source;
    told.config_type = one.kind as i8;
    told.documentation = None;
    if request.include_documentation {
        told.documentation = Some(text(one.doc));
    }
    if request.include_synonyms {
        for (name, value, source) in one.synonyms {
            let mut synonym = DescribeConfigsSynonym::default();
            synonym.name = text(&name);
            synonym.value = value.as_deref().map(text);
            synonym.source = source;
            told.synonyms.push(synonym);
        }
    }
    told
}
