//! ListTransactions: the transactional ids of this node.
//!
//! Versions
//! - 0 filters by state and producer id
//! - 1 adds how long a transaction must have been open, ms; −1 for any
//! - 2 adds a pattern, of RE2's syntax, that the whole transactional id must match

use kafka_wire::list_transactions_response::TransactionState;
use kafka_wire::{ListTransactionsRequest, ListTransactionsResponse};

use super::*;
use crate::coordinator::consumer::topics::compile;
use crate::transactions::Transaction;

/// Kafka's states, those that do not occur here included.
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: ListTransactionsRequest,
) -> Step<ListTransactionsResponse> {
    let mut response = ListTransactionsResponse::default();
    let unknown = |state: &&StrBytes| !STATES.contains(&&***state);
    response.unknown_state_filters =
        request.state_filters.iter().filter(unknown).cloned().collect();
    let known = request.state_filters.len() - response.unknown_state_filters.len();
    if known == 0 && !request.state_filters.is_empty() {
        return Step::Now(response);
    }
    let pattern = request.transactional_id_pattern.as_deref().filter(|text| !text.is_empty());
    let pattern = match pattern.map(compile).transpose() {
        Ok(pattern) => pattern,
        Err(refused) => {
            response.error_code = refused.code.code();
            return Step::Now(response);
        }
    };
    let shown = |transaction: &Transaction| {
        let state = transaction.state.name();
        let states = &request.state_filters;
        let producers = &request.producer_id_filters;
        let open_ms = match transaction.started_ms {
            ..0 => -1,
            started_ms => call.now_ms.saturating_sub(started_ms),
        };
        (states.is_empty() || states.iter().any(|wanted| &**wanted == state))
            && (producers.is_empty() || producers.contains(&transaction.producer_id))
            && (request.duration_filter < 0 || open_ms > request.duration_filter)
    };
    let looked = call.node.look_at_transactions(|all| {
        let matches = |id: &str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(id));
        let may =
            |id: &str| matches(id) && check_transactional_id(call, Operation::Describe, id).is_ok();
        let all = all.all().filter(|(id, transaction)| shown(transaction) && may(id));
        all.map(|(id, transaction)| {
            let mut state = TransactionState::default();
            state.transactional_id = text(id);
            state.producer_id = transaction.producer_id;
            state.transaction_state = text(transaction.state.name());
            state
        })
        .collect()
    });
    response.transaction_states = looked.response;
    Step::Once(looked.ticket, response)
}
