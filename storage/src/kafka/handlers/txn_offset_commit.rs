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

use super::offset_commits::{Asked, Commits, answers};
use super::*;
use crate::coordinator::CommitAs;
use crate::kafka::transact::Joining;
use crate::transactions::By;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: TxnOffsetCommitRequest,
) -> Step<TxnOffsetCommitResponse> {
    let allowed = check_transactional_id(call, Operation::Write, &request.transactional_id)
        .and_then(|()| check_group(call, Operation::Read, &request.group_id));
    if let Err(code) = allowed {
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
    let decided =
        call.node.commit_in_transaction(&by, joining, &member, asked.commits, call.now_ms);
    let (ticket, decided) = match decided {
        Ok(settled) => (settled.ticket, Ok(settled.response)),
        Err(code) => (Ticket::default(), Err(in_a_write(4, call.version(), code))),
    };
    Step::Once(ticket, respond(&request, asked.refused, decided))
}

/// Puts the answers back in the order of the request.
fn respond(
    request: &TxnOffsetCommitRequest,
    refused: Vec<Option<ErrorCode>>,
    decided: Result<Vec<ErrorCode>, ErrorCode>,
) -> TxnOffsetCommitResponse {
    let mut answer_next = answers(refused, decided);
    let mut response = TxnOffsetCommitResponse::default();
    for topic in &request.topics {
        let mut answer = TxnOffsetCommitResponseTopic::default();
        answer.name = topic.name.clone();
        for asked in &topic.partitions {
            let mut partition = TxnOffsetCommitResponsePartition::default();
            partition.partition_index = asked.partition_index;
            partition.error_code = answer_next().code();
            answer.partitions.push(partition);
        }
        response.topics.push(answer);
    }
    response
}
