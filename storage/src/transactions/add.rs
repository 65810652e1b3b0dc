//! What belongs to a transaction: partitions and groups, named by the client first or with its first
//! write.

use super::{By, Decision, State, Transaction, TransactionRecord, Transactions};
use crate::broker::TopicPartition;
use crate::error::ErrorCode;

impl Transactions {
    /// Decides on adding partitions and groups; the first begins the transaction.
    ///
    /// Errors: `INVALID_REQUEST`, `INVALID_PRODUCER_ID_MAPPING`, `PRODUCER_FENCED`.
    pub fn decide_add(
        &self,
        by: &By<'_>,
        partitions: &[TopicPartition],
        groups: &[&str],
        now_ms: i64,
    ) -> Decision<Result<(), ErrorCode>> {
        let found = match self.current(by) {
            Ok(found) => found,
            Err(code) => return Decision::only(Err(code)),
        };
        if partitions.iter().all(|at| found.holds(at))
            && groups.iter().all(|group| found.holds_group(group))
        {
            return Decision::only(Ok(()));
        }
        let id = by.id.to_owned();
        let partitions = partitions.iter().copied().filter(|at| !found.holds(at));
        let groups = groups.iter().filter(|group| !found.holds_group(group));
        let groups = groups.map(|group| (*group).to_owned());
        let record = match found.state {
            State::Ongoing => {
                let (partitions, groups) = (partitions.collect(), groups.collect());
                TransactionRecord::Added { id, partitions, groups, updated_ms: now_ms }
            }
            _ => {
                let (partitions, groups) = (partitions.collect(), groups.collect());
                let closed = found.closed(State::Ongoing, now_ms);
                let transaction = Transaction { started_ms: now_ms, partitions, groups, ..closed };
                TransactionRecord::Changed { id, transaction }
            }
        };
        Decision::one(Ok(()), record, None)
    }

    /// Whether a producer of the old protocol may write here: it must have named the place before, and
    /// the transaction must not have ended. Otherwise a late batch would open a transaction that nobody
    /// ends (KAFKA-14402).
    ///
    /// Errors: as [`Transactions::decide_add`], and `TRANSACTION_ABORTABLE`.
    pub fn verify(&self, by: &By<'_>, at: &TopicPartition) -> Result<(), ErrorCode> {
        match self.current(by)?.holds(at) {
            true => Ok(()),
            false => Err(ErrorCode::TransactionAbortable),
        }
    }

    /// As [`Transactions::verify`], for the offsets of a group.
    pub fn verify_group(&self, by: &By<'_>, group: &str) -> Result<(), ErrorCode> {
        match self.current(by)?.holds_group(group) {
            true => Ok(()),
            false => Err(ErrorCode::TransactionAbortable),
        }
    }
}

impl Transaction {
    fn holds(&self, at: &TopicPartition) -> bool {
        self.state == State::Ongoing && self.partitions.contains(at)
    }

    fn holds_group(&self, group: &str) -> bool {
        self.state == State::Ongoing && self.groups.contains(group)
    }
}
