//! InitProducerId: a producer takes its transactional id, and whoever had it before is fenced.
//!
//! Kafka's rules (`TransactionCoordinator.prepareInitProducerIdTransit`), but for one thing: an open
//! transaction is aborted at once, with a marker of the epoch in between, instead of sending the client
//! away with CONCURRENT_TRANSACTIONS until it is.

use super::{
    By, Decision, EPOCH_LAST, FreshId, NO_EPOCH, NO_PRODUCER_ID, State, Transaction,
    TransactionRecord, Transactions,
};
use crate::error::ErrorCode;

/// A producer id and its epoch.
pub(super) type Producer = (i64, i16);

impl Transactions {
    /// Decides who writes under `id` from now on. `known` is what a client has that goes on after an
    /// error (KIP-360): it is fenced if another instance took over meanwhile.
    ///
    /// Errors: `INVALID_REQUEST`, `INVALID_TRANSACTION_TIMEOUT`, `PRODUCER_FENCED`.
    pub fn decide_init(
        &self,
        id: &str,
        timeout_ms: i32,
        known: Option<Producer>,
        fresh: FreshId<'_>,
        now_ms: i64,
    ) -> Decision<Result<Producer, ErrorCode>> {
        if id.is_empty() {
            return Decision::only(Err(ErrorCode::InvalidRequest));
        }
        if !(1..=self.config.timeout_max_ms).contains(&timeout_ms) {
            return Decision::only(Err(ErrorCode::InvalidTransactionTimeout));
        }
        let next = match self.by_id.get(id) {
            None => fresh().map(|producer_id| Transaction::new(producer_id, now_ms)),
            Some(before) => before.next_instance(known, fresh, now_ms),
        };
        match next {
            Err(code) => Decision::only(Err(code)),
            Ok(next) => {
                let end = self.by_id.get(id).and_then(|old| old.end(old.fencing_epoch(), false));
                let producer = (next.producer_id, next.epoch);
                let transaction = Transaction { timeout_ms, ..next };
                let record = TransactionRecord::Changed { id: id.to_owned(), transaction };
                Decision::one(Ok(producer), record, end)
            }
        }
    }

    /// The transaction of exactly this producer.
    ///
    /// Errors: `INVALID_REQUEST`, `INVALID_PRODUCER_ID_MAPPING`, `PRODUCER_FENCED`.
    pub(super) fn current(&self, by: &By<'_>) -> Result<&Transaction, ErrorCode> {
        let found = self.of(by)?;
        if found.producer_id != by.producer_id {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        match found.epoch == by.epoch {
            true => Ok(found),
            false => Err(ErrorCode::ProducerFenced),
        }
    }
}

impl Transaction {
    fn new(producer_id: i64, now_ms: i64) -> Self {
        Self {
            producer_id,
            epoch: 0,
            previous_producer_id: NO_PRODUCER_ID,
            last_epoch: NO_EPOCH,
            timeout_ms: 0,
            state: State::Empty,
            partitions: Default::default(),
            groups: Default::default(),
            started_ms: -1,
            updated_ms: now_ms,
        }
    }

    /// The epoch that shuts out the present one; no client ever has it.
    pub(super) fn fencing_epoch(&self) -> i16 {
        self.epoch.saturating_add(1)
    }

    fn next_instance(
        &self,
        known: Option<Producer>,
        fresh: FreshId<'_>,
        now_ms: i64,
    ) -> Result<Self, ErrorCode> {
        let is_open = self.state == State::Ongoing;
        let last_epoch = match known {
            None => NO_EPOCH,
            Some(known) if known == (self.producer_id, self.epoch) => self.epoch,
            // A repetition: its answer was lost. Nobody took over, or the last epoch would be gone.
            Some(known) if self.is_last(known) && !is_open => {
                if self.epoch <= EPOCH_LAST {
                    return Ok(self.closed(self.state, now_ms));
                }
                known.1
            }
            Some(_) => return Err(ErrorCode::ProducerFenced),
        };
        // The abort of an open transaction takes an epoch of its own.
        let before = if is_open { self.fencing_epoch() } else { self.epoch };
        let mut next = Self { last_epoch, ..self.closed(State::Empty, now_ms) };
        if before >= EPOCH_LAST {
            next.previous_producer_id = self.producer_id;
            next.producer_id = fresh()?;
            next.epoch = 0;
        } else {
            next.epoch = before + 1;
        }
        Ok(next)
    }

    /// Whether this is what the producer had before its last change of epoch.
    pub(super) fn is_last(&self, (producer_id, epoch): Producer) -> bool {
        let rotated = producer_id == self.previous_producer_id && epoch >= EPOCH_LAST;
        let same = producer_id == self.producer_id;
        self.last_epoch != NO_EPOCH && epoch == self.last_epoch && (same || rotated)
    }
}
