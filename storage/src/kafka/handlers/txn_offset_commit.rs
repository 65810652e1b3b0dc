//! TxnOffsetCommit: this is how far the group will have read when my transaction is committed.
//!
//! Versions
//! - 2 adds leader epochs
//! - 3 is the first flexible version and names the member of the group, so that one which was replaced
//!   is refused (KIP-447)
//! - 4 knows TRANSACTION_ABORTABLE
//! - 5 belongs to the second transaction protocol: the group is added with its first offset (KIP-890)

use kafka_wire::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_wire::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::*;
use crate::coordinator::{Commit, CommitAs};
use crate::kafka::transact::Joining;
use crate::transactions::By;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: TxnOffsetCommitRequest,
) -> Step<TxnOffsetCommitResponse> {
    let allowed = check_transactional_id(call, Operation::Write, &request.transactional_id)
        .and_then(|()| check_group(call, Operation::Read, &request.group_id));
    if let Err(code) = allowed {
        return Step::Now(respond(&request, &[], Err(code)));
    }
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
    let by = By {
        id: &request.transactional_id,
        producer_id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let named = call.version() >= 3;
    let member = CommitAs {
        group: &request.group_id,
        member: if named { &request.member_id } else { "" },
        instance: request.group_instance_id.as_deref().filter(|_| named),
        generation: if named { request.generation_id_or_member_epoch } else { -1 },
        knows_epochs: false,
    };
    let joining = if call.version() >= 5 { Joining::Implicit } else { Joining::Named };
    let decided = call.node.commit_in_transaction(&by, joining, &member, commits, call.now_ms);
    let (ticket, decided) = match decided {
        Ok(settled) => (settled.ticket, Ok(settled.response)),
        Err(code) => (Ticket::default(), Err(in_a_write(4, call.version(), code))),
    };
    Step::Once(ticket, respond(&request, &refused, decided))
}

/// Puts the answers back in the order of the request.
fn respond(
    request: &TxnOffsetCommitRequest,
    refused: &[Option<ErrorCode>],
    decided: Result<Vec<ErrorCode>, ErrorCode>,
) -> TxnOffsetCommitResponse {
    let (mut each, whole) = match decided {
        Ok(each) => (each.into_iter(), None),
        Err(code) => (Vec::new().into_iter(), Some(code)),
    };
    let mut refused = refused.iter();
    let mut response = TxnOffsetCommitResponse::default();
    for topic in &request.topics {
        let mut answer = TxnOffsetCommitResponseTopic::default();
        answer.name = topic.name.clone();
        for asked in &topic.partitions {
            let own = refused.next().copied().flatten();
            let code = match own.or(whole) {
                Some(code) => code,
                None => each.next().unwrap_or(ErrorCode::UnknownServerError),
            };
            let mut partition = TxnOffsetCommitResponsePartition::default();
            partition.partition_index = asked.partition_index;
            partition.error_code = code.code();
            answer.partitions.push(partition);
        }
        response.topics.push(answer);
    }
    response
}
