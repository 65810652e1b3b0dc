//! DescribeConfigs: the settings of topics and of this broker.
//!
//! Versions
//! - 1 adds where a setting comes from, and its synonyms
//! - 3 adds types and documentation
//! - 4 is the first flexible version
//!
//! Every setting is listed with its source: the Java client fails on an unknown one, and ksqlDB
//! refuses to start without the broker's.

use kafka_wire::describe_configs_request::DescribeConfigsResource;
use kafka_wire::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_wire::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::broker_configs::{self, synonym_of};
use super::*;

/// Where a setting comes from, as the wire has it: set on the topic, given at the broker's start, or
/// built in.
pub(super) const SOURCE_TOPIC: i8 = 1;
pub(super) const SOURCE_BROKER: i8 = 4;
pub(super) const SOURCE_DEFAULT: i8 = 5;

/// Kinds of resources that have settings here.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: DescribeConfigsRequest,
) -> Step<DescribeConfigsResponse> {
    let mut response = DescribeConfigsResponse::default();
    for resource in &request.resources {
        let mut result = DescribeConfigsResult::default();
        result.resource_type = resource.resource_type;
        result.resource_name = resource.resource_name.clone();
        match describe(call, resource) {
            Ok(mut settings) => {
                for setting in &mut settings {
                    if !request.include_synonyms {
                        setting.synonyms.clear();
                    }
                    if !request.include_documentation {
                        setting.documentation = None;
                    }
                }
                result.configs = settings;
            }
            Err(refused) => {
                result.error_code = refused.code.code();
                result.error_message = words(&refused);
            }
        }
        response.results.push(result);
    }
    Step::Now(response)
}

fn describe(
    call: &Call<'_>,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    let mut settings = match resource.resource_type {
        TOPIC => topic_settings(&*topic_named(&call.node.broker, &resource.resource_name)?),
        BROKER => broker_settings(call.node, &resource.resource_name)?,
        kind => {
            let message = format!("resources of type {kind} have no settings here");
            return Err(Refused::new(ErrorCode::InvalidRequest, message));
        }
    };
    // None asked for by name, be it null or an empty list, means all.
    if let Some(keys) = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty()) {
        settings.retain(|setting| keys.contains(&setting.name));
    }
    Ok(settings)
}

fn topic_settings(topic: &Topic) -> Vec<DescribeConfigsResourceResult> {
    let defaults = crate::topics::TopicConfig::default().entries();
    let with_default = topic.config.entries().into_iter().zip(defaults);
    with_default
        .map(|(entry, default)| {
            let source = if entry.is_default { SOURCE_DEFAULT } else { SOURCE_TOPIC };
            let mut setting = DescribeConfigsResourceResult::default();
            setting.name = text(entry.name);
            setting.value = Some(text(&entry.value));
            setting.config_source = source;
            setting.config_type = entry.kind as i8;
            setting.documentation = Some(text(entry.doc));
            if !entry.is_default {
                setting.synonyms.push(synonym(entry.name, &entry.value, SOURCE_TOPIC));
            }
            let on_broker = synonym(synonym_of(entry.name), &default.value, SOURCE_DEFAULT);
            setting.synonyms.push(on_broker);
            setting
        })
        .collect()
}

fn broker_settings(
    node: &KafkaNode,
    name: &str,
) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    // The empty name asks for settings that were changed for the whole cluster: none can be.
    if name.is_empty() {
        return Ok(Vec::new());
    }
    if name.parse() != Ok(node.config.node_id) {
        let message = format!("there is no broker {name}; this one is {}", node.config.node_id);
        return Err(Refused::new(ErrorCode::InvalidRequest, message));
    }
    let describe = |entry: broker_configs::Entry| {
        let source = if entry.is_default { SOURCE_DEFAULT } else { SOURCE_BROKER };
        let mut setting = DescribeConfigsResourceResult::default();
        setting.name = text(entry.name);
        setting.value = Some(text(&entry.value));
        setting.read_only = true;
        setting.config_source = source;
        setting.config_type = entry.kind as i8;
        setting.documentation = Some(StrBytes::default());
        setting.synonyms = vec![synonym(entry.name, &entry.value, source)];
        setting
    };
    Ok(broker_configs::entries(&node.config).into_iter().map(describe).collect())
}

fn synonym(name: &str, value: &str, source: i8) -> DescribeConfigsSynonym {
    let mut synonym = DescribeConfigsSynonym::default();
    synonym.name = text(name);
    synonym.value = Some(text(value));
    synonym.source = source;
    synonym
}
