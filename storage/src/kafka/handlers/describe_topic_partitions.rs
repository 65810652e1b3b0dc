//! DescribeTopicPartitions: topics with their partitions, in pages.
//!
//! Topics come in the order of their names; none asked for means all. A page holds at most as many
//! partitions as the client or this node wants; the cursor names the first partition of the next.
//! Replicas eligible to lead are empty, never null: the Java client would fail on null.

use kafka_wire::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_wire::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};

use super::*;
use crate::topics::check_name;

/// Partitions in one answer (Kafka: `max.request.partition.size.limit`).
const PARTITIONS_MAX: i32 = 2000;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: DescribeTopicPartitionsRequest,
) -> Step<DescribeTopicPartitionsResponse> {
    let mut response = DescribeTopicPartitionsResponse::default();
    let all = request.topics.is_empty();
    let mut names: Vec<String> = match all {
        true => {
            let topics = call.node.broker.topics();
            let seen = topics
                .iter()
                .filter(|topic| check_topic(call, Operation::Describe, &topic.name).is_ok());
            seen.map(|topic| topic.name.to_string()).collect()
        }
        false => request.topics.iter().map(|topic| topic.name.to_string()).collect(),
    };
    names.sort_unstable();
    names.dedup();
    let mut from = 0;
    if let Some(cursor) = &request.cursor {
        names.retain(|name| **name >= *cursor.topic_name);
        if names.first().is_some_and(|name| **name == *cursor.topic_name) {
            from = cursor.partition_index;
        }
        if cursor.partition_index < 0 {
            let refused = names.iter().map(|name| failed(name, ErrorCode::InvalidRequest));
            response.topics = refused.collect();
            return Step::Now(response);
        }
    }
    let mut left = request.response_partition_limit.clamp(1, PARTITIONS_MAX);
    for name in names {
        if left == 0 {
            response.next_cursor = Some(cursor(&name, 0));
            break;
        }
        let topic = match topic_named(call, Operation::Describe, &name) {
            Ok(topic) => topic,
            // Deleted since the names were taken.
            Err(_) if all => continue,
            Err(code) => {
                let code = check_name(&name).map_or_else(|refused| refused.code, |()| code);
                response.topics.push(failed(&name, code));
                continue;
            }
        };
        let to = topic.partition_count().min(from.saturating_add(left));
        response.topics.push(describe(call, &topic, from..to));
        left -= (to - from).max(0);
        if to < topic.partition_count() {
            response.next_cursor = Some(cursor(&name, to));
            break;
        }
        from = 0;
    }
    Step::Now(response)
}

fn cursor(topic: &str, partition: i32) -> Cursor {
    let mut cursor = Cursor::default();
    cursor.topic_name = text(topic);
    cursor.partition_index = partition;
    cursor
}

fn failed(name: &str, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    let mut topic = DescribeTopicPartitionsResponseTopic::default();
    topic.error_code = code.code();
    topic.name = Some(text(name));
    topic.topic_authorized_operations = OPERATIONS_UNKNOWN;
    topic
}

fn describe(
    call: &Call<'_>,
    topic: &Topic,
    partitions: std::ops::Range<i32>,
) -> DescribeTopicPartitionsResponseTopic {
    let mut described = DescribeTopicPartitionsResponseTopic::default();
    described.name = Some(text(&topic.name));
    described.topic_id = to_wire(topic.id);
    described.is_internal = crate::topics::is_internal(&topic.name);
    described.topic_authorized_operations = call.operations(true, Resource::topic(&topic.name));
    let node = call.node.config.node_id;
    described.partitions = partitions
        .map(|index| {
            let mut partition = DescribeTopicPartitionsResponsePartition::default();
            partition.partition_index = index;
            partition.leader_id = node;
            partition.leader_epoch = LEADER_EPOCH;
            partition.replica_nodes = vec![node];
            partition.isr_nodes = vec![node];
            partition.eligible_leader_replicas = Some(Vec::new());
            partition.last_known_elr = Some(Vec::new());
            partition
        })
        .collect();
    described
}
