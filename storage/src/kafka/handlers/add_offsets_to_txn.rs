//! AddOffsetsToTxn: offsets of this group belong to my transaction.
//!
//! Versions
//! - 2 knows PRODUCER_FENCED; before, INVALID_PRODUCER_EPOCH says the same
//! - 3 is the first flexible version, 4 knows TRANSACTION_ABORTABLE
//!
//! Clients of the second transaction protocol do not send it.

use kafka_wire::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::*;
use crate::transactions::By;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: AddOffsetsToTxnRequest,
) -> Step<AddOffsetsToTxnResponse> {
    let by = By {
        id: &request.transactional_id,
        producer_id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let group: &str = &request.group_id;
    let allowed = check_transactional_id(call, Operation::Write, by.id)
        .and_then(|()| check_group(call, Operation::Read, group));
    let (ticket, added) = match allowed {
        Err(code) => (Ticket::default(), Err(code)),
        Ok(()) => told(
            call.node
                .transact(call.now_ms, |all, _| all.decide_add(&by, &[], &[group], call.now_ms)),
        ),
    };
    let mut response = AddOffsetsToTxnResponse::default();
    response.error_code = code_of(fenced_before(2, call.version(), added));
    Step::Once(ticket, response)
}
