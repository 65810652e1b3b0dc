//! ConsumerGroupDescribe: epochs, members and assignments of KIP-848 groups.
//!
//! Versions
//! - 0 is the first and flexible
//! - 1 says of each member which protocol it speaks
//!
//! A classic group is GROUP_ID_NOT_FOUND here: clients then ask DescribeGroups.

use kafka_wire::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use kafka_wire::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};

use super::*;
use crate::coordinator::consumer::{ConsumerGroup, ConsumerMember, Parts};

/// Kafka's `ConsumerGroupDescribe` member types.
const MEMBER_CLASSIC: i8 = 0;
const MEMBER_CONSUMER: i8 = 1;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: ConsumerGroupDescribeRequest,
) -> Step<ConsumerGroupDescribeResponse> {
    call.node.tick(call.now_ms);
    let broker = &call.node.broker;
    let looked = call.node.look(|groups| {
        let one = |name: &StrBytes| {
            if let Err(code) = check_group(call, Operation::Describe, name) {
                return refuse(name, code, None);
            }
            let not_found = |why: &str| {
                let why = format!("Group {} {why}.", &**name);
                refuse(name, ErrorCode::GroupIdNotFound, Some(why))
            };
            let mut described = match groups.get(name).map(|group| &group.consumer) {
                Some(Some(consumer)) => describe(broker, name, consumer),
                Some(None) => not_found("is not a consumer group"),
                None => not_found("not found"),
            };
            let asked = request.include_authorized_operations;
            described.authorized_operations = call.operations(asked, Resource::group(name));
            described
        };
        request.group_ids.iter().map(one).collect()
    });
    let mut response = ConsumerGroupDescribeResponse::default();
    response.groups = looked.response;
    Step::Once(looked.ticket, response)
}

fn refuse(name: &StrBytes, code: ErrorCode, why: Option<String>) -> DescribedGroup {
    let mut described = DescribedGroup::default();
    described.group_id = name.clone();
    described.error_code = code.code();
    described.error_message = why.as_deref().map(text);
    described.authorized_operations = OPERATIONS_UNKNOWN;
    described
}

fn describe(broker: &Broker, name: &StrBytes, group: &ConsumerGroup) -> DescribedGroup {
    let mut described = DescribedGroup::default();
    described.group_id = name.clone();
    described.group_state = text(group.state());
    described.group_epoch = group.epochs.group;
    described.assignment_epoch = group.epochs.assignment;
    described.assignor_name = text(group.assignor());
    described.members =
        group.members.values().map(|member| describe_member(broker, member)).collect();
    described
}

fn describe_member(broker: &Broker, member: &ConsumerMember) -> Member {
    let mut described = Member::default();
    described.member_id = text(&member.id);
    described.instance_id = member.instance.as_deref().map(text);
    described.rack_id = member.rack.as_deref().map(text);
    described.member_epoch = member.epoch;
    described.client_id = text(&member.client_id);
    described.client_host = text(&member.client_host);
    described.subscribed_topic_names = member.topics.iter().map(|topic| text(topic)).collect();
    described.subscribed_topic_regex = member.regex.as_deref().map(text);
    described.assignment = assignment(broker, &member.assigned);
    described.target_assignment = assignment(broker, &member.target);
    described.member_type = if member.classic.is_some() { MEMBER_CLASSIC } else { MEMBER_CONSUMER };
    described
}

/// Topics that are gone are left out: they have no name any more.
fn assignment(broker: &Broker, parts: &Parts) -> Assignment {
    let mut assignment = Assignment::default();
    for (id, indexes) in parts {
        if let Some(topic) = broker.topic_by_id(*id) {
            let mut given = TopicPartitions::default();
            given.topic_id = to_wire(*id);
            given.topic_name = text(&topic.name);
            given.partitions = indexes.iter().copied().collect();
            assignment.topic_partitions.push(given);
        }
    }
    assignment
}
