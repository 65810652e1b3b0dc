//! Metadata: which brokers and topics are there, and who leads which partition?
//!
//! Versions
//! - 1 adds controller and rack; "all topics" is null instead of empty
//! - 2 adds the cluster id
//! - 4 lets the client forbid that topics are made
//! - 7 adds leader epochs
//! - 8 to 10 may ask for allowed operations
//! - 9 is the first flexible version
//! - 10 adds topic ids, 12 lets the client ask by id
//! - 13 adds an error code for the whole response
//!
//! A topic that is asked for by name and not there is made, if the node and the client allow it, and
//! the answer waits until it is there.

use kafka_wire::metadata_request::MetadataRequestTopic;
use kafka_wire::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_wire::{MetadataRequest, MetadataResponse};

use super::*;
use crate::topics::{check_name, is_internal};

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: MetadataRequest,
) -> Step<MetadataResponse> {
    let ticket = create_missing(call, &request);
    after_creation(call, ticket, request)
}

/// Answers once the topics that were made are there.
pub(in crate::kafka) fn after_creation(
    call: &Call<'_>,
    ticket: Ticket,
    request: MetadataRequest,
) -> Step<MetadataResponse> {
    // If storage has stopped the topics do not appear, and the answer says so.
    let waits = ticket != Ticket::default() && call.node.broker.is_durable(ticket) == Ok(false);
    if !waits {
        return Step::Now(answer(call, &request));
    }
    let waiting = Box::new(Waiting::Metadata { ticket, request });
    Step::Wait { until_ms: i64::MAX, wake_on: vec![WakeKey::Durable], waiting }
}

/// The topics asked for; none for "all".
fn asked(version: i16, request: &MetadataRequest) -> Option<&[MetadataRequestTopic]> {
    let topics = request.topics.as_deref()?;
    if version == 0 && topics.is_empty() { None } else { Some(topics) }
}

fn create_missing(call: &Call<'_>, request: &MetadataRequest) -> Ticket {
    let node = call.node;
    let allowed = call.version() < 4 || request.allow_auto_topic_creation;
    if !allowed || !node.config.auto_create_topics {
        return Ticket::default();
    }
    let names = asked(call.version(), request).unwrap_or_default().iter();
    names
        .filter(|topic| topic.topic_id == WireUuid::ZERO)
        .filter_map(|topic| topic.name.as_deref())
        .filter(|name| node.broker.topic(name).is_none() && !is_internal(name))
        .filter(|name| check_topic(call, Operation::Describe, name).is_ok())
        .filter(|name| check_creation(call, name).is_ok())
        .filter_map(|name| {
            let id = node.fresh_id();
            node.broker.create_topic(name, node.config.default_partitions, &[], id).ok()
        })
        .max()
        .unwrap_or_default()
}

fn answer(call: &Call<'_>, request: &MetadataRequest) -> MetadataResponse {
    let node = call.node;
    let mut response = MetadataResponse::default();
    response.brokers = vec![this_broker(call)];
    response.cluster_id = Some(text(node.broker.cluster_id()));
    response.controller_id = node.config.node_id;
    let asked_for = request.include_cluster_authorized_operations;
    response.cluster_authorized_operations = call.operations(asked_for, Resource::CLUSTER);
    response.topics = match asked(call.version(), request) {
        None => {
            let topics = node.broker.topics();
            let seen = topics
                .iter()
                .filter(|topic| check_topic(call, Operation::Describe, &topic.name).is_ok());
            seen.map(|topic| describe(call, request, topic)).collect()
        }
        Some(topics) => {
            let may_create = node.config.auto_create_topics
                && (call.version() < 4 || request.allow_auto_topic_creation);
            topics.iter().map(|topic| one(call, request, topic, may_create)).collect()
        }
    };
    response
}

fn this_broker(call: &Call<'_>) -> MetadataResponseBroker {
    let (host, port) = call.advertised();
    let mut broker = MetadataResponseBroker::default();
    broker.node_id = call.node.config.node_id;
    broker.host = text(host);
    broker.port = i32::from(port);
    broker
}

fn one(
    call: &Call<'_>,
    request: &MetadataRequest,
    asked: &MetadataRequestTopic,
    may_create: bool,
) -> MetadataResponseTopic {
    let node = call.node;
    // Java asks by id with an empty name.
    let asked_name = asked.name.as_ref().filter(|_| asked.topic_id == WireUuid::ZERO);
    let found = match asked_name {
        Some(name) => node.broker.topic(name),
        None => node.broker.topic_by_id(from_wire(asked.topic_id)),
    };
    let name = asked_name.map(|name| &**name).or(found.as_ref().map(|topic| &*topic.name));
    let hidden = name.and_then(|name| check_topic(call, Operation::Describe, name).err());
    if let (Some(topic), None) = (found, hidden) {
        return describe(call, request, &topic);
    }
    let error = match asked_name {
        // A name that may not be described is answered the same, there or not; an id that may not
        // be does not exist.
        Some(_) if hidden.is_some() => ErrorCode::TopicAuthorizationFailed,
        None => ErrorCode::UnknownTopicId,
        Some(name) if check_name(name).is_err() => ErrorCode::InvalidTopicException,
        // Somebody else is making it at this moment; the client asks again.
        Some(name) if may_create => match check_creation(call, name) {
            Ok(()) => ErrorCode::LeaderNotAvailable,
            Err(code) => code,
        },
        Some(_) => ErrorCode::UnknownTopicOrPartition,
    };
    let mut topic = MetadataResponseTopic::default();
    topic.error_code = error.code();
    // Versions before 12 cannot say "no name".
    topic.name = asked_name.cloned().or((call.version() < 12).then(StrBytes::default));
    topic.topic_id = asked.topic_id;
    topic.topic_authorized_operations = OPERATIONS_UNKNOWN;
    topic
}

fn describe(call: &Call<'_>, request: &MetadataRequest, topic: &Topic) -> MetadataResponseTopic {
    let node = call.node;
    let mut described = MetadataResponseTopic::default();
    described.name = Some(text(&topic.name));
    described.topic_id = to_wire(topic.id);
    described.is_internal = is_internal(&topic.name);
    let asked = request.include_topic_authorized_operations;
    described.topic_authorized_operations = call.operations(asked, Resource::topic(&topic.name));
    described.partitions = (0..topic.partition_count())
        .map(|index| {
            let mut partition = MetadataResponsePartition::default();
            partition.partition_index = index;
            partition.leader_id = node.config.node_id;
            partition.leader_epoch = LEADER_EPOCH;
            partition.replica_nodes = vec![node.config.node_id];
            partition.isr_nodes = vec![node.config.node_id];
            partition
        })
        .collect();
    described
}
