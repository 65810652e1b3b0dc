//! AddPartitionsToTxn: these partitions belong to my transaction.
//!
//! Versions
//! - 2 knows PRODUCER_FENCED; before, INVALID_PRODUCER_EPOCH says the same
//! - 3 is the first flexible version
//! - 4 asks for many transactions at once, and may only ask whether partitions belong to them: brokers
//!   do so among themselves; 5 knows TRANSACTION_ABORTABLE
//!
//! Clients of the second transaction protocol do not send it. If one partition of a transaction is
//! unknown none is added.

use kafka_wire::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_wire::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_wire::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use super::*;
use crate::transactions::By;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: AddPartitionsToTxnRequest,
) -> Step<AddPartitionsToTxnResponse> {
    let mut ticket = Ticket::default();
    let mut response = AddPartitionsToTxnResponse::default();
    // Only brokers ask so, and there is no other.
    if call.version() >= 4
        && let Err(code) = check_cluster(call, Operation::ClusterAction)
    {
        response.error_code = code.code();
        return Step::Now(response);
    }
    if call.version() < 4 {
        let by = By {
            id: &request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            epoch: request.v3_and_below_producer_epoch,
        };
        response.results_by_topic_v3_and_below =
            add(call, &by, &request.v3_and_below_topics, false, &mut ticket);
    }
    for transaction in &request.transactions {
        let AddPartitionsToTxnTransaction { topics, verify_only, .. } = transaction;
        let by = By {
            id: &transaction.transactional_id,
            producer_id: transaction.producer_id,
            epoch: transaction.producer_epoch,
        };
        let mut answer = AddPartitionsToTxnResult::default();
        answer.transactional_id = transaction.transactional_id.clone();
        answer.topic_results = add(call, &by, topics, *verify_only, &mut ticket);
        response.results_by_transaction.push(answer);
    }
    Step::Once(ticket, response)
}

fn add(
    call: &Call<'_>,
    by: &By<'_>,
    topics: &[AddPartitionsToTxnTopic],
    verify_only: bool,
    ticket: &mut Ticket,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut places = Vec::new();
    for topic in topics {
        let found = topic_named(call, Operation::Write, &topic.name);
        for index in &topic.partitions {
            let place = found.as_deref().map_err(|code| *code);
            places.push(place.and_then(|topic| partition_of(topic, *index)));
        }
    }
    let known: Vec<TopicPartition> = places.iter().filter_map(|place| place.ok()).collect();
    let allowed = match call.version() < 4 {
        true => check_transactional_id(call, Operation::Write, by.id),
        false => Ok(()),
    };
    let answers: Vec<Result<(), ErrorCode>> = if let Err(code) = allowed {
        vec![Err(code); places.len()]
    } else if verify_only {
        let verify = |place: &Result<TopicPartition, ErrorCode>| {
            let at = (*place)?;
            call.node.look_at_transactions(|all| all.verify(by, &at)).response
        };
        places.iter().map(verify).collect()
    } else if known.len() < places.len() {
        let answer = |place: &Result<_, ErrorCode>| match place {
            Ok(_) => Err(ErrorCode::OperationNotAttempted),
            Err(code) => Err(*code),
        };
        places.iter().map(answer).collect()
    } else {
        let added = call
            .node
            .transact(call.now_ms, |all, _| all.decide_add(by, &known, &[], call.now_ms))
            .and_then(|settled| {
                *ticket = settled.ticket.max(*ticket);
                settled.response
            });
        vec![added; places.len()]
    };
    let mut answers = answers.into_iter();
    let mut results = Vec::new();
    for topic in topics {
        let mut result = AddPartitionsToTxnTopicResult::default();
        result.name = topic.name.clone();
        for index in &topic.partitions {
            let mut partition = AddPartitionsToTxnPartitionResult::default();
            partition.partition_index = *index;
            let answer = answers.next().unwrap_or(Err(ErrorCode::UnknownServerError));
            partition.partition_error_code = code_of(fenced_before(2, call.version(), answer));
            result.results_by_partition.push(partition);
        }
        results.push(result);
    }
    results
}
