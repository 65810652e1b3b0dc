//! What time does to transactions: those that take too long are aborted, and ids that nobody uses are
//! forgotten.

use super::{Decision, NO_EPOCH, State, Step, Transaction, TransactionRecord, Transactions};

impl Transactions {
    /// Lets time pass. A transaction beyond its timeout is aborted and its producer fenced: the epoch
    /// moves up, so that it learns of the abort with whatever it does next. The id of a transaction
    /// that is open is never forgotten.
    pub fn decide_tick(&self, now_ms: i64) -> Decision<()> {
        let mut decision = Decision::only(());
        for (id, transaction) in &self.by_id {
            let step = match transaction.state {
                State::Ongoing if transaction.is_late(now_ms) => {
                    let epoch = transaction.fencing_epoch();
                    let end = transaction.end(epoch, false);
                    let last_epoch = match epoch > transaction.epoch {
                        true => transaction.epoch,
                        false => NO_EPOCH,
                    };
                    let closed = transaction.closed(State::CompleteAbort, now_ms);
                    let transaction = Transaction { epoch, last_epoch, ..closed };
                    let record = TransactionRecord::Changed { id: id.clone(), transaction };
                    Step { record, end }
                }
                State::Ongoing => continue,
                _ if now_ms.saturating_sub(transaction.updated_ms) < self.config.id_expiry_ms => {
                    continue;
                }
                _ => Step { record: TransactionRecord::Forgotten { id: id.clone() }, end: None },
            };
            decision.steps.push(step);
        }
        decision
    }
}

impl Transaction {
    fn is_late(&self, now_ms: i64) -> bool {
        self.started_ms.saturating_add(i64::from(self.timeout_ms)) < now_ms
    }
}
