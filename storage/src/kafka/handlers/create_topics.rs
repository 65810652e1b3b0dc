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

use kafka_wire::create_topics_request::CreatableTopic;
use kafka_wire::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_wire::{CreateTopicsRequest, CreateTopicsResponse};

use super::*;
use crate::kafka::configs::describe;
use crate::topics::{TopicConfig, check_name};

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: CreateTopicsRequest,
) -> Step<CreateTopicsResponse> {
    let mut ticket = Ticket::default();
    let mut response = CreateTopicsResponse::default();
    for (place, asked) in request.topics.iter().enumerate() {
        let same = |other: &CreatableTopic| other.name == asked.name;
        // A name given twice is answered once.
        if request.topics[..place].iter().any(same) {
            continue;
        }
        let created = match request.topics[place + 1..].iter().any(same) {
            true => Err(Refused::new(ErrorCode::InvalidRequest, "Duplicate topic name.")),
            false => create(call, asked, request.validate_only),
        };
        if let Ok(created) = &created {
            ticket = ticket.max(created.ticket);
        }
        response.topics.push(respond(call, asked, created));
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
    check_creation(call, &asked.name)?;
    check_name(&asked.name)?;
    if node.broker.topic(&asked.name).is_some() {
        let message = format!("Topic '{}' already exists.", &*asked.name);
        return Err(Refused::new(ErrorCode::TopicAlreadyExists, message));
    }
    let partitions = partitions(node, asked)?;
    let mut configs = Vec::new();
    for config in &asked.configs {
        let value = config.value.as_deref().ok_or_else(|| {
            let message = format!("Null value not supported for topic configs: {}", &*config.name);
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
    match asked.replication_factor {
        -1 | 1 => {}
        2.. => {
            let wanted = asked.replication_factor;
            let message = format!(
                "Unable to replicate the partition {wanted} time(s): The target replication factor of {wanted} cannot be reached because only 1 broker(s) are registered."
            );
            return Err(Refused::new(ErrorCode::InvalidReplicationFactor, message));
        }
        _ => {
            let message =
                "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(Refused::new(ErrorCode::InvalidReplicationFactor, message));
        }
    }
    match asked.num_partitions {
        -1 => Ok(node.config.default_partitions),
        count if count > 0 => Ok(count),
        _ => {
            let message = "Number of partitions was set to an invalid non-positive value.";
            Err(Refused::new(ErrorCode::InvalidPartitions, message))
        }
    }
}

/// With replicas placed by hand: every partition once, from 0 on, each on this node.
fn assigned(node: &KafkaNode, asked: &CreatableTopic) -> Result<i32, Refused> {
    let refuse = |code, message: &str| Err(Refused::new(code, message));
    if asked.replication_factor != -1 {
        let message = "A manual partition assignment was specified, but replication factor was not set to -1.";
        return refuse(ErrorCode::InvalidRequest, message);
    }
    if asked.num_partitions != -1 {
        let message =
            "A manual partition assignment was specified, but numPartitions was not set to -1.";
        return refuse(ErrorCode::InvalidRequest, message);
    }
    let mut indexes: Vec<i32> = asked.assignments.iter().map(|a| a.partition_index).collect();
    indexes.sort_unstable();
    let count = i32::try_from(indexes.len()).unwrap_or(i32::MAX);
    if !indexes.into_iter().eq(0..count) {
        let message = "partitions should be a consecutive 0-based integer sequence";
        return refuse(ErrorCode::InvalidReplicaAssignment, message);
    }
    asked.assignments.iter().try_for_each(|placed| check_placed(node, &placed.broker_ids))?;
    Ok(count)
}

/// The replicas of one partition, placed by hand: this node, once.
pub(super) fn check_placed(node: &KafkaNode, brokers: &[i32]) -> Result<(), Refused> {
    let here = node.config.node_id;
    let message = match brokers {
        [broker] if *broker == here => return Ok(()),
        [] => "The manual partition assignment includes an empty replica list.".to_owned(),
        brokers => match brokers.iter().find(|broker| **broker != here) {
            Some(broker) => format!(
                "The manual partition assignment includes broker {broker}, but no such broker is registered."
            ),
            None => format!(
                "The manual partition assignment includes the broker {here} more than once."
            ),
        },
    };
    Err(Refused::new(ErrorCode::InvalidReplicaAssignment, message))
}

fn respond(
    call: &Call<'_>,
    asked: &CreatableTopic,
    created: Result<Created, Refused>,
) -> CreatableTopicResult {
    let mut answer = CreatableTopicResult::default();
    answer.name = asked.name.clone();
    answer.error_message = None;
    answer.num_partitions = -1;
    answer.replication_factor = -1;
    answer.configs = Some(Vec::new());
    match created {
        Ok(created) => {
            answer.topic_id = to_wire(created.id);
            // Settings are told only to those who may see them (KIP-525).
            if let Err(code) = check_topic(call, Operation::DescribeConfigs, &asked.name) {
                answer.topic_config_error_code = code.code();
                return answer;
            }
            answer.num_partitions = created.partitions;
            answer.replication_factor = 1;
            answer.configs = Some(settings(call.node, &created.config));
        }
        Err(refused) => {
            answer.error_code = refused.code.code();
            answer.error_message = words(&refused);
        }
    }
    answer
}

fn settings(node: &KafkaNode, config: &TopicConfig) -> Vec<CreatableTopicConfigs> {
    let one = |told: describe::Described| {
        let mut setting = CreatableTopicConfigs::default();
        setting.name = text(&told.name);
        setting.value = told.value.as_deref().map(text);
        setting.read_only = told.is_read_only;
        setting.config_source = told.source;
        setting.is_sensitive = told.is_sensitive;
        setting
    };
    describe::topic(node, &node.settings.lock(), config).into_iter().map(one).collect()
}
