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

use super::offset_commits::{Asked, Commits, answers};
use super::*;
use crate::coordinator::CommitAs;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: OffsetCommitRequest,
) -> Step<OffsetCommitResponse> {
    if let Err(code) = check_group(call, Operation::Read, &request.group_id) {
        return Step::Now(respond(&request, Vec::new(), Err(code)));
    }
    let mut asked = Commits::default();
    for topic in &request.topics {
        let partitions = topic.partitions.iter().map(|asked| Asked {
            partition: asked.partition_index,
            offset: asked.committed_offset,
            leader_epoch: asked.committed_leader_epoch,
            metadata: asked.committed_metadata.as_deref(),
        });
        asked.add(call, &topic.name, partitions);
    }
    let by = CommitAs {
        group: &request.group_id,
        member: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id_or_member_epoch,
        knows_epochs: call.version() >= 9,
    };
    let decided =
        call.node.decide(call.now_ms, |groups| groups.commit(&by, asked.commits, call.now_ms));
    let (ticket, decided) = match decided {
        Ok(settled) => (settled.ticket, settled.response),
        // Then none was looked at, not even for whether it is there.
        Err(code) => (Ticket::default(), Err(code)),
    };
    let refused = if decided.is_ok() { asked.refused } else { Vec::new() };
    Step::Once(ticket, respond(&request, refused, decided))
}

/// Puts the answers back in the order of the request.
fn respond(
    request: &OffsetCommitRequest,
    refused: Vec<Option<ErrorCode>>,
    decided: Result<Vec<ErrorCode>, ErrorCode>,
) -> OffsetCommitResponse {
    let mut answer_next = answers(refused, decided);
    let mut response = OffsetCommitResponse::default();
    for topic in &request.topics {
        let mut answer = OffsetCommitResponseTopic::default();
        answer.name = topic.name.clone();
        for asked in &topic.partitions {
            let mut partition = OffsetCommitResponsePartition::default();
            partition.partition_index = asked.partition_index;
            partition.error_code = answer_next().code();
            answer.partitions.push(partition);
        }
        response.topics.push(answer);
    }
    response
}
