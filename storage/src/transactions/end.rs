//! EndTxn: a transaction is committed or aborted, once, however often the client asks.
//!
//! In the old protocol the epoch stays, so a repetition cannot be told from a new request: it is
//! answered by how the transaction ended. In the second protocol each end moves the epoch up, and a
//! repetition carries the epoch before. When the epochs run out, the end gives a new producer id.

use super::init::Producer;
use super::{
    By, Decision, EPOCH_LAST, End, FreshId, State, Transaction, TransactionRecord, Transactions,
};
use crate::error::ErrorCode;

impl Transactions {
    /// Decides on an end. `bumps` in the second protocol. Gives the producer as it is from now on.
    ///
    /// Errors: `INVALID_REQUEST`, `INVALID_PRODUCER_ID_MAPPING`, `PRODUCER_FENCED`,
    /// `INVALID_TXN_STATE`.
    pub fn decide_end(
        &self,
        by: &By<'_>,
        commit: bool,
        bumps: bool,
        fresh: FreshId<'_>,
        now_ms: i64,
    ) -> Decision<Result<Producer, ErrorCode>> {
        let decided = match bumps {
            false => self.end_keeping_the_epoch(by, commit, now_ms),
            true => self.end_bumping_the_epoch(by, commit, fresh, now_ms),
        };
        match decided {
            Err(code) => Decision::only(Err(code)),
            Ok((producer, None)) => Decision::only(Ok(producer)),
            Ok((producer, Some((transaction, end)))) => {
                let record = TransactionRecord::Changed { id: by.id.to_owned(), transaction };
                Decision::one(Ok(producer), record, end)
            }
        }
    }

    fn end_keeping_the_epoch(&self, by: &By<'_>, commit: bool, now_ms: i64) -> Decided {
        let found = self.current(by)?;
        let producer = (found.producer_id, found.epoch);
        match (found.state, commit) {
            (State::Ongoing, _) => {
                let end = found.end(found.epoch, commit);
                Ok((producer, Some((found.closed(complete(commit), now_ms), end))))
            }
            (State::CompleteCommit, true) | (State::CompleteAbort, false) => Ok((producer, None)),
            _ => Err(ErrorCode::InvalidTxnState),
        }
    }

    fn end_bumping_the_epoch(
        &self,
        by: &By<'_>,
        commit: bool,
        fresh: FreshId<'_>,
        now_ms: i64,
    ) -> Decided {
        let found = self.of(by)?;
        let again = found.is_last((by.producer_id, by.epoch));
        if !again {
            self.current(by)?;
        }
        match (found.state, commit, again) {
            // The end was an abort that fenced the last epoch: what follows it is no epoch for clients.
            (State::CompleteAbort, false, true) if found.epoch > EPOCH_LAST => {
                let next = found.bumped(State::CompleteAbort, fresh, now_ms)?;
                let next = Transaction { last_epoch: by.epoch, ..next };
                Ok(((next.producer_id, next.epoch), Some((next, None))))
            }
            (State::CompleteCommit, true, true) | (State::CompleteAbort, false, true) => {
                Ok(((found.producer_id, found.epoch), None))
            }
            (State::CompleteCommit | State::CompleteAbort, _, true) => {
                Err(ErrorCode::InvalidTxnState)
            }
            // Ended by this epoch before, and since then another transaction began.
            (State::Empty | State::Ongoing, _, true) => Err(ErrorCode::ProducerFenced),
            // A client may abort what it never wrote to.
            (State::Ongoing, ..) | (_, false, false) => {
                let end = found.end(found.fencing_epoch(), commit);
                let next = found.bumped(complete(commit), fresh, now_ms)?;
                Ok(((next.producer_id, next.epoch), Some((next, end))))
            }
            (_, true, false) => Err(ErrorCode::InvalidTxnState),
        }
    }
}

/// The producer as it is from now on, and what changes.
type Decided = Result<(Producer, Option<(Transaction, Option<End>)>), ErrorCode>;

fn complete(commit: bool) -> State {
    match commit {
        true => State::CompleteCommit,
        false => State::CompleteAbort,
    }
}

impl Transaction {
    /// The same, ended, for the next epoch.
    fn bumped(&self, state: State, fresh: FreshId<'_>, now_ms: i64) -> Result<Self, ErrorCode> {
        let mut next = Self { last_epoch: self.epoch, ..self.closed(state, now_ms) };
        if self.is_exhausted() {
            next.previous_producer_id = self.producer_id;
            next.producer_id = fresh()?;
            next.epoch = 0;
        } else {
            next.epoch = self.epoch + 1;
        }
        Ok(next)
    }
}
