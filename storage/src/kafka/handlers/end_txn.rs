//! EndTxn: commit or abort my transaction.
//!
//! Versions
//! - 2 knows PRODUCER_FENCED; before, INVALID_PRODUCER_EPOCH says the same
//! - 3 is the first flexible version, 4 knows TRANSACTION_ABORTABLE
//! - 5 belongs to the second transaction protocol: each end moves the epoch up and the answer carries
//!   the producer as it is from now on (KIP-890)
//!
//! The answer goes out when the end is durable, and then it is visible in all partitions.

use kafka_wire::{EndTxnRequest, EndTxnResponse};

use super::*;
use crate::transactions::By;

const BUMPS_FROM: i16 = 5;

pub(in crate::kafka) fn handle(call: &Call<'_>, request: EndTxnRequest) -> Step<EndTxnResponse> {
    let by = By {
        id: &request.transactional_id,
        producer_id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let bumps = call.version() >= BUMPS_FROM;
    if let Err(code) = check_transactional_id(call, Operation::Write, by.id) {
        let mut response = EndTxnResponse::default();
        response.error_code = code.code();
        return Step::Now(response);
    }
    let decided = call.node.transact(call.now_ms, |all, fresh| {
        all.decide_end(&by, request.committed, bumps, fresh, call.now_ms)
    });
    let (ticket, ended) = told(decided);
    let mut response = EndTxnResponse::default();
    match fenced_before(2, call.version(), ended) {
        Ok((producer_id, epoch)) => {
            response.producer_id = producer_id;
            response.producer_epoch = epoch;
        }
        Err(code) => response.error_code = code.code(),
    }
    Step::Once(ticket, response)
}
