//! OffsetFetch: how far has a group read?
//!
//! Versions
//! - 2 lets null stand for all topics of the group, and adds an error for the group
//! - 5 adds leader epochs
//! - 6 is the first flexible version
//! - 7 may ask for stable offsets only: UNSTABLE_OFFSET_COMMIT while an open transaction holds one for
//!   the partition (KIP-447)
//! - 8 asks for several groups at once
//! - 9 names the member that asks, whose epoch is checked in a KIP-848 group
//!
//! A group or partition nothing is known of has offset -1 and *no* error: librdkafka takes an error
//! here for a failure of the group.

use kafka_wire::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_wire::{OffsetFetchRequest, OffsetFetchResponse};

use super::*;
use crate::coordinator::group::Group;
use crate::coordinator::{CommittedOffset, Groups};

const NO_OFFSET: i64 = -1;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: OffsetFetchRequest,
) -> Step<OffsetFetchResponse> {
    let looked = call.node.look(|groups| match call.version() {
        0..=7 => one_group(call, groups, &request),
        _ => many_groups(call, groups, &request),
    });
    // What is told here must not be taken back by a crash.
    Step::Once(looked.ticket, looked.response)
}

/// The partitions asked for; for "all" those that have an offset and may be seen.
fn wanted<'a, T>(
    call: &Call<'_>,
    group: Option<&'a Group>,
    asked: Option<&'a [T]>,
    name_and_partitions: impl Fn(&'a T) -> (&'a StrBytes, &'a [i32]),
) -> Vec<(StrBytes, Vec<i32>)> {
    match asked {
        Some(asked) => {
            let split = |topic| {
                let (name, partitions) = name_and_partitions(topic);
                (name.clone(), partitions.to_vec())
            };
            asked.iter().map(split).collect()
        }
        None => group
            .into_iter()
            .flat_map(|group| &group.offsets)
            .filter(|(name, _)| check_topic(call, Operation::Describe, name).is_ok())
            .map(|(name, partitions)| (text(name), partitions.keys().copied().collect()))
            .collect(),
    }
}

/// The offset to tell; none while it is not stable and only stable ones are wanted.
fn find<'a>(
    request: &OffsetFetchRequest,
    group: Option<&'a Group>,
    topic: &str,
    partition: i32,
) -> Option<&'a CommittedOffset> {
    stable(request, group, topic, partition).ok()?;
    group.and_then(|group| group.offset(topic, partition))
}

/// Whether the offset may be told although a transaction may be about to change it.
fn stable(
    request: &OffsetFetchRequest,
    group: Option<&Group>,
    topic: &str,
    partition: i32,
) -> Result<(), ErrorCode> {
    let is_open = group.is_some_and(|group| group.pending.is_open(topic, partition));
    match request.require_stable && is_open {
        true => Err(ErrorCode::UnstableOffsetCommit),
        false => Ok(()),
    }
}

fn one_group(
    call: &Call<'_>,
    groups: &Groups,
    request: &OffsetFetchRequest,
) -> OffsetFetchResponse {
    let version = call.version();
    if let Err(code) = check_group(call, Operation::Describe, &request.group_id) {
        return refuse_one(version, request, code);
    }
    let group = groups.get(&request.group_id);
    let wanted = wanted(call, group, request.topics.as_deref(), |topic| {
        (&topic.name, topic.partition_indexes.as_slice())
    });
    let mut response = OffsetFetchResponse::default();
    for (name, partitions) in wanted {
        let hidden = check_topic(call, Operation::Describe, &name);
        let mut topic = OffsetFetchResponseTopic::default();
        for index in partitions {
            let found = find(request, group, &name, index).filter(|_| hidden.is_ok());
            let mut partition = OffsetFetchResponsePartition::default();
            partition.partition_index = index;
            partition.error_code = code_of(hidden.and(stable(request, group, &name, index)));
            partition.committed_offset = found.map_or(NO_OFFSET, |found| found.offset);
            partition.committed_leader_epoch =
                found.filter(|_| version >= 5).map_or(-1, |found| found.leader_epoch);
            partition.metadata = Some(text(found.map_or("", |found| &found.metadata)));
            topic.partitions.push(partition);
        }
        topic.name = name;
        response.topics.push(topic);
    }
    response
}

/// A member of a KIP-848 group reads in its own epoch; who names no member is an administrator or
/// speaks the classic protocol.
fn may_read(group: Option<&Group>, member: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
    match (group.and_then(|group| group.consumer.as_ref()), member) {
        (Some(group), member) if member.is_some() || epoch >= 0 => {
            group.check_epoch(member.unwrap_or_default(), epoch)
        }
        _ => Ok(()),
    }
}

/// The whole request is refused; version 1 can say so only of each partition.
fn refuse_one(version: i16, request: &OffsetFetchRequest, code: ErrorCode) -> OffsetFetchResponse {
    let mut response = OffsetFetchResponse::default();
    if version >= 2 {
        response.error_code = code.code();
        return response;
    }
    for asked in request.topics.iter().flatten() {
        let mut topic = OffsetFetchResponseTopic::default();
        topic.name = asked.name.clone();
        for index in &asked.partition_indexes {
            let mut partition = OffsetFetchResponsePartition::default();
            partition.partition_index = *index;
            partition.committed_offset = NO_OFFSET;
            partition.error_code = code.code();
            topic.partitions.push(partition);
        }
        response.topics.push(topic);
    }
    response
}

fn many_groups(
    call: &Call<'_>,
    groups: &Groups,
    request: &OffsetFetchRequest,
) -> OffsetFetchResponse {
    let mut response = OffsetFetchResponse::default();
    for asked in &request.groups {
        let mut answer = OffsetFetchResponseGroup::default();
        answer.group_id = asked.group_id.clone();
        let group = groups.get(&asked.group_id);
        let may = check_group(call, Operation::Describe, &asked.group_id)
            .and_then(|()| may_read(group, asked.member_id.as_deref(), asked.member_epoch));
        if let Err(code) = may {
            answer.error_code = code.code();
            response.groups.push(answer);
            continue;
        }
        let wanted = wanted(call, group, asked.topics.as_deref(), |topic| {
            (&topic.name, topic.partition_indexes.as_slice())
        });
        for (name, partitions) in wanted {
            let hidden = check_topic(call, Operation::Describe, &name);
            let mut topic = OffsetFetchResponseTopics::default();
            for index in partitions {
                let found = find(request, group, &name, index).filter(|_| hidden.is_ok());
                let mut partition = OffsetFetchResponsePartitions::default();
                partition.partition_index = index;
                partition.error_code = code_of(hidden.and(stable(request, group, &name, index)));
                partition.committed_offset = found.map_or(NO_OFFSET, |found| found.offset);
                partition.committed_leader_epoch = found.map_or(-1, |found| found.leader_epoch);
                partition.metadata = Some(text(found.map_or("", |found| &found.metadata)));
                topic.partitions.push(partition);
            }
            topic.name = name;
            answer.topics.push(topic);
        }
        response.groups.push(answer);
    }
    response
}
