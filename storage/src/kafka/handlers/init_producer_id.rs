//! InitProducerId: an id under which a producer's batches can be told from its retries; with a
//! transactional id, the right to write under it.
//!
//! Versions
//! - 2 is the first flexible version
//! - 3 lets a producer go on after an error with the id and epoch it has (KIP-360)
//! - 4 knows PRODUCER_FENCED; before, INVALID_PRODUCER_EPOCH says the same
//! - 5 knows TRANSACTION_ABORTABLE
//!
//! Without a transactional id the answer is always a new id.

use kafka_wire::{InitProducerIdRequest, InitProducerIdResponse};

use super::*;
use crate::transactions::{NO_EPOCH, NO_PRODUCER_ID};

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: InitProducerIdRequest,
) -> Step<InitProducerIdResponse> {
    let (ticket, given) = give(call, &request);
    let mut response = InitProducerIdResponse::default();
    match fenced_before(4, call.version(), given) {
        Ok((producer_id, epoch)) => {
            response.producer_id = producer_id;
            response.producer_epoch = epoch;
        }
        Err(code) => {
            response.error_code = code.code();
            response.producer_id = NO_PRODUCER_ID;
            response.producer_epoch = NO_EPOCH;
        }
    }
    Step::Once(ticket, response)
}

fn give(
    call: &Call<'_>,
    request: &InitProducerIdRequest,
) -> (Ticket, Result<(i64, i16), ErrorCode>) {
    // A producer without transactions needs the cluster's leave, or some topic to write to (KIP-679).
    let idempotent = || {
        call.allowed(Operation::IdempotentWrite, Resource::CLUSTER)
            || call.allowed_any(Operation::Write, ResourceKind::Topic)
    };
    let checked = match &request.transactional_id {
        Some(id) => check_transactional_id(call, Operation::Write, id),
        None if idempotent() => Ok(()),
        None => Err(ErrorCode::ClusterAuthorizationFailed),
    };
    if let Err(code) = checked {
        return (Ticket::default(), Err(code));
    }
    let none = (NO_PRODUCER_ID, NO_EPOCH);
    let known = match (request.producer_id, request.producer_epoch) {
        _ if call.version() < 3 => None,
        known if known == none => None,
        // Both or neither.
        (NO_PRODUCER_ID, _) | (_, NO_EPOCH) => {
            return (Ticket::default(), Err(ErrorCode::InvalidRequest));
        }
        known => Some(known),
    };
    let Some(id) = request.transactional_id.as_deref() else {
        return match call.node.broker.allocate_producer_id() {
            Ok((id, ticket)) => (ticket, Ok((id, 0))),
            Err(error) => (Ticket::default(), Err(error.into())),
        };
    };
    told(call.node.transact(call.now_ms, |all, fresh| {
        all.decide_init(id, request.transaction_timeout_ms, known, fresh, call.now_ms)
    }))
}
