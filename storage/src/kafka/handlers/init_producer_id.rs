//! InitProducerId: an id under which a producer's batches can be told from its retries.
//!
//! Versions
//! - 2 is the first flexible version
//! - 3 lets a producer bump the epoch of the id it has (KIP-360); only transactions need that
//! - 4 and 5 change errors of transactions
//!
//! A transactional id is refused for now. Of all codes TRANSACTIONAL_ID_AUTHORIZATION_FAILED is the
//! one every client takes as final at once and reports; others make some of them retry for ever.

use kafka_wire::{InitProducerIdRequest, InitProducerIdResponse};

use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: InitProducerIdRequest,
) -> Step<InitProducerIdResponse> {
    let mut response = InitProducerIdResponse::default();
    response.producer_id = -1;
    response.producer_epoch = -1;
    // A producer without transactions needs the cluster's leave, or some topic to write to (KIP-679).
    let idempotent = call.allowed(Operation::IdempotentWrite, Resource::CLUSTER)
        || call.allowed_any(Operation::Write, ResourceKind::Topic);
    let checked = match &request.transactional_id {
        Some(id) => check_transactional_id(call, Operation::Write, id),
        None if idempotent => Ok(()),
        None => Err(ErrorCode::ClusterAuthorizationFailed),
    };
    if let Err(code) = checked {
        response.error_code = code.code();
        return Step::Now(response);
    }
    if request.transactional_id.is_some() {
        response.error_code = ErrorCode::TransactionalIdAuthorizationFailed.code();
        return Step::Now(response);
    }
    match call.node.broker.allocate_producer_id() {
        Ok((id, ticket)) => {
            response.producer_id = id;
            response.producer_epoch = 0;
            Step::Once(ticket, response)
        }
        Err(error) => {
            response.error_code = ErrorCode::from(error).code();
            Step::Now(response)
        }
    }
}
