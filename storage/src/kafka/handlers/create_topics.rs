//! CreateTopics: make these topics.
//!
//! Versions
//! - 4 lets the broker choose the numbers of partitions and replicas (-1)
//! - 5 is the first flexible version and answers with the topic's settings
//! - 7 answers with the topic's id
//!
//! The answer waits until the topics are there. On success `configs` is never null: the Java admin
//! client would fail on it.

use std::collections::BTreeMap;

use kafka_wire::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_wire::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_wire::{CreateTopicsRequest, CreateTopicsResponse};

use super::describe_configs::{SOURCE_DEFAULT, SOURCE_TOPIC};
use super::*;
use crate::topics::TopicConfig;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: CreateTopicsRequest,
) -> Step<CreateTopicsResponse> {
    let mut ticket = Ticket::default();
    let mut response = CreateTopicsResponse::default();
    for asked in &request.topics {
        let twice = request.topics.iter().filter(|other| other.name == asked.name).count() > 1;
        let created = if twice {
            Err(Refused::new(ErrorCode::InvalidRequest, "the request names this topic twice"))
        } else {
            create(call, asked, request.validate_only)
        };
        if let Ok(created) = &created {
            ticket = ticket.max(created.ticket);
        }
        response.topics.push(respond(asked, created));
    }
    Step::Once(ticket, response)
}

struct Created {
    ticket: Ticket,
    id: Uuid,
    partitions: i32,
    config: TopicConfig,
}

fn create(call: &Call<'_>, asked: &CreatableTopic, only_check: bool) -> Result<Created, Refused> {
    let node = call.node;
    let partitions = partitions(node, asked)?;
    let mut configs = Vec::new();
    for config in &asked.configs {
        let value = config.value.as_deref().ok_or_else(|| {
            let message = format!("the setting {} has no value", &*config.name);
            Refused::new(ErrorCode::InvalidConfig, message)
        })?;
        configs.push((config.name.to_string(), value.to_owned()));
    }
    let config = TopicConfig::new(configs.iter().cloned().collect::<BTreeMap<_, _>>())?;
    if only_check {
        node.broker.check_topic(&asked.name, partitions, &configs)?;
        return Ok(Created { ticket: Ticket::default(), id: Uuid::nil(), partitions, config });
    }
    let id = node.fresh_id();
    let ticket = node.broker.create_topic(&asked.name, partitions, &configs, id)?;
    Ok(Created { ticket, id, partitions, config })
}

fn partitions(node: &KafkaNode, asked: &CreatableTopic) -> Result<i32, Refused> {
    if !asked.assignments.is_empty() {
        return assigned(node, asked);
    }
    if !matches!(asked.replication_factor, -1 | 1) {
        let message = format!(
            "replication factor {} cannot be met: this node is the only one",
            asked.replication_factor
        );
        return Err(Refused::new(ErrorCode::InvalidReplicationFactor, message));
    }
    match asked.num_partitions {
        -1 => Ok(node.config.default_partitions),
        count if count > 0 => Ok(count),
        count => {
            let message = format!("{count} partitions cannot be made: at least 1 is needed");
            Err(Refused::new(ErrorCode::InvalidPartitions, message))
        }
    }
}

/// With replicas placed by hand: every partition once, from 0 on, each on this node.
fn assigned(node: &KafkaNode, asked: &CreatableTopic) -> Result<i32, Refused> {
    let refuse = |code, message: &str| Err(Refused::new(code, message));
    if asked.num_partitions != -1 || asked.replication_factor != -1 {
        let message = "give numbers of partitions and replicas, or an assignment, not both";
        return refuse(ErrorCode::InvalidRequest, message);
    }
    let mut indexes: Vec<i32> = asked.assignments.iter().map(|a| a.partition_index).collect();
    indexes.sort_unstable();
    let count = i32::try_from(indexes.len()).unwrap_or(i32::MAX);
    let here = |a: &CreatableReplicaAssignment| a.broker_ids == [node.config.node_id];
    if !indexes.into_iter().eq(0..count) || !asked.assignments.iter().all(here) {
        let message = "the assignment must place partitions 0, 1, … on this node alone";
        return refuse(ErrorCode::InvalidReplicaAssignment, message);
    }
    Ok(count)
}

fn respond(asked: &CreatableTopic, created: Result<Created, Refused>) -> CreatableTopicResult {
    let mut answer = CreatableTopicResult::default();
    answer.name = asked.name.clone();
    answer.num_partitions = -1;
    answer.replication_factor = -1;
    answer.configs = Some(Vec::new());
    match created {
        Ok(created) => {
            answer.topic_id = to_wire(created.id);
            answer.num_partitions = created.partitions;
            answer.replication_factor = 1;
            answer.configs = Some(settings(&created.config));
        }
        Err(refused) => {
            answer.error_code = refused.code.code();
            answer.error_message = words(&refused);
        }
    }
    answer
}

fn settings(config: &TopicConfig) -> Vec<CreatableTopicConfigs> {
    let one = |entry: crate::topics::ConfigEntry| {
        let mut setting = CreatableTopicConfigs::default();
        setting.name = text(entry.name);
        setting.value = Some(text(&entry.value));
        setting.config_source = if entry.is_default { SOURCE_DEFAULT } else { SOURCE_TOPIC };
        setting
    };
    config.entries().into_iter().map(one).collect()
}
