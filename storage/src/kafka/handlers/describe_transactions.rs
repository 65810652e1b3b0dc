//! DescribeTransactions: what these transactional ids are doing.

use std::collections::BTreeMap;

use kafka_wire::describe_transactions_response::{TopicData, TransactionState};
use kafka_wire::{DescribeTransactionsRequest, DescribeTransactionsResponse};

use super::*;
use crate::transactions::Transaction;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: DescribeTransactionsRequest,
) -> Step<DescribeTransactionsResponse> {
    let looked = call.node.look_at_transactions(|all| {
        let one = |id: &StrBytes| {
            let allowed = check_transactional_id(call, Operation::Describe, id);
            let mut state = match (allowed, all.get(id)) {
                (Ok(()), Some(transaction)) => describe(call, transaction),
                (Err(code), _) => {
                    let mut state = TransactionState::default();
                    state.error_code = code.code();
                    state
                }
                (Ok(()), None) => {
                    let mut state = TransactionState::default();
                    let code = match id.is_empty() {
                        true => ErrorCode::InvalidRequest,
                        false => ErrorCode::TransactionalIdNotFound,
                    };
                    state.error_code = code.code();
                    state
                }
            };
            state.transactional_id = id.clone();
            state
        };
        request.transactional_ids.iter().map(one).collect()
    });
    let mut response = DescribeTransactionsResponse::default();
    response.transaction_states = looked.response;
    Step::Once(looked.ticket, response)
}

fn describe(call: &Call<'_>, transaction: &Transaction) -> TransactionState {
    let mut state = TransactionState::default();
    state.transaction_state = text(transaction.state.name());
    state.transaction_timeout_ms = transaction.timeout_ms;
    state.transaction_start_time_ms = transaction.started_ms;
    state.producer_id = transaction.producer_id;
    state.producer_epoch = transaction.epoch;
    let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
    for at in &transaction.partitions {
        // Partitions of a topic that was deleted meanwhile have no name any more.
        if let Some(topic) = call.node.broker.topic_by_id(at.topic)
            && check_topic(call, Operation::Describe, &topic.name).is_ok()
        {
            topics.entry(topic.name.clone()).or_default().push(at.partition);
        }
    }
    for (name, partitions) in topics {
        let mut topic = TopicData::default();
        topic.topic = text(&name);
        topic.partitions = partitions;
        state.topics.push(topic);
    }
    state
}
