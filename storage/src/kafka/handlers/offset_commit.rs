//! OffsetCommit: this is how far the group has read.
//!
//! Versions
//! - 2 to 4 carry a retention time, which Kafka no longer honours either
//! - 6 adds leader epochs, 7 static members
//! - 8 is the first flexible version
//! - 9 serves members of KIP-848 groups, and knows the errors of member epochs
//!
//! All partitions of a request become durable together.

use kafka_wire::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_wire::{OffsetCommitRequest, OffsetCommitResponse};

use super::*;
use crate::coordinator::{Commit, CommitAs};

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: OffsetCommitRequest,
) -> Step<OffsetCommitResponse> {
    if let Err(code) = check_group(call, Operation::Read, &request.group_id) {
        return Step::Now(respond(&request, &[], Err(code)));
    }
    // Partitions that are not there are answered at once; the rest goes to the coordinator.
    let mut commits = Vec::new();
    let mut refused = Vec::new();
    for topic in &request.topics {
        let found = topic_named(call, Operation::Read, &topic.name);
        for asked in &topic.partitions {
            let place = found.as_deref().map_err(|code| *code);
            let place = place.and_then(|topic| partition_of(topic, asked.partition_index));
            refused.push(place.err());
            if place.is_ok() {
                commits.push(Commit {
                    topic: topic.name.to_string(),
                    partition: asked.partition_index,
                    offset: asked.committed_offset,
                    leader_epoch: asked.committed_leader_epoch,
                    metadata: asked.committed_metadata.as_deref().unwrap_or_default().to_owned(),
                });
            }
        }
    }
    let by = CommitAs {
        group: &request.group_id,
        member: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id_or_member_epoch,
        knows_epochs: call.version() >= 9,
    };
    let decided = call.node.decide(call.now_ms, |groups| groups.commit(&by, commits, call.now_ms));
    let (ticket, decided) = match decided {
        Ok(settled) => (settled.ticket, settled.response),
        Err(code) => (Ticket::default(), Err(code)),
    };
    Step::Once(ticket, respond(&request, &refused, decided))
}

/// Puts the answers back in the order of the request.
fn respond(
    request: &OffsetCommitRequest,
    refused: &[Option<ErrorCode>],
    decided: Result<Vec<ErrorCode>, ErrorCode>,
) -> OffsetCommitResponse {
    let (mut each, whole) = match decided {
        Ok(each) => (each.into_iter(), ErrorCode::None),
        Err(code) => (Vec::new().into_iter(), code),
    };
    let mut refused = refused.iter();
    let mut response = OffsetCommitResponse::default();
    for topic in &request.topics {
        let mut answer = OffsetCommitResponseTopic::default();
        answer.name = topic.name.clone();
        for asked in &topic.partitions {
            let code = match (refused.next().copied().flatten(), whole) {
                (Some(code), ErrorCode::None) => code,
                (None, ErrorCode::None) => each.next().unwrap_or(ErrorCode::UnknownServerError),
                (_, whole) => whole,
            };
            let mut partition = OffsetCommitResponsePartition::default();
            partition.partition_index = asked.partition_index;
            partition.error_code = code.code();
            answer.partitions.push(partition);
        }
        response.topics.push(answer);
    }
    response
}
