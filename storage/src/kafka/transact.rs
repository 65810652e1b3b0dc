//! Transactions as the front door carries them out: a decision, its record in the journal, its effect.
//!
//! One lock holds all transactional ids. What must not come between a check and what follows from it,
//! for instance a batch's place in its transaction and the batch itself, is done under that lock. Locks
//! are taken in this order: transactions, groups, the broker's commit lock.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::MutexGuard;

use super::node::{KafkaNode, Settled};
use crate::broker::{Appended, Ticket, TopicPartition, TransactionEnd};
use crate::coordinator::{Commit, CommitAs, GroupRecord};
use crate::error::{ErrorCode, Refused};
use crate::transactions::{By, Decision, FreshId, Step, Transactions};

/// How a client of some version takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joining {
    /// It named partitions and groups before; the first protocol.
    Named,
    /// Its first write adds what it writes to; the second protocol (KIP-890).
    Implicit,
}

impl KafkaNode {
    /// Makes a decision about transactional ids and puts it into effect.
    pub(super) fn transact<R>(
        &self,
        now_ms: i64,
        decide: impl FnOnce(&Transactions, FreshId<'_>) -> Decision<R>,
    ) -> Result<Settled<R>, ErrorCode> {
        let mut transactions = self.transactions.lock();
        self.settle(&mut transactions, now_ms, decide)
    }

    fn settle<R>(
        &self,
        transactions: &mut MutexGuard<'_, Transactions>,
        now_ms: i64,
        decide: impl FnOnce(&Transactions, FreshId<'_>) -> Decision<R>,
    ) -> Result<Settled<R>, ErrorCode> {
        let mut fresh = || Ok(self.broker.allocate_producer_id()?.0);
        let Decision { response, steps } = decide(transactions, &mut fresh);
        for step in steps {
            let ticket = self.carry_out(&step, now_ms)?;
            transactions.apply(&step.record);
            self.transactions_ticket.store(ticket.0, Ordering::Relaxed);
        }
        let ticket = Ticket(self.transactions_ticket.load(Ordering::Relaxed));
        Ok(Settled { response, ticket })
    }

    /// Puts one change into the journal: with the end of a transaction its markers, and what becomes
    /// of the offsets it holds, all in one record.
    fn carry_out(&self, Step { record, end }: &Step, now_ms: i64) -> Result<Ticket, ErrorCode> {
        let Some(end) = end else { return Ok(self.broker.append_group(&record.to_entries())?) };
        let mut groups = self.groups.lock();
        let marker = end.marker;
        let offsets = groups.end_transaction(marker.producer_id, &end.groups, marker.commit);
        let mut facts = record.taken_away(end);
        facts.extend(record.to_entries());
        facts.extend(offsets.iter().map(GroupRecord::to_entry));
        let partitions = end.partitions.clone();
        let told = self.told(&offsets, now_ms);
        let end = TransactionEnd { marker, partitions, facts, told };
        let ticket = self.broker.end_transaction(&end, now_ms)?;
        offsets.iter().for_each(|record| groups.apply(record));
        self.groups_ticket.store(ticket.0, Ordering::Relaxed);
        Ok(ticket)
    }

    /// Looks at the transactional ids.
    pub(super) fn look_at_transactions<R>(
        &self,
        look: impl FnOnce(&Transactions) -> R,
    ) -> Settled<R> {
        let transactions = self.transactions.lock();
        let response = look(&transactions);
        Settled { response, ticket: Ticket(self.transactions_ticket.load(Ordering::Relaxed)) }
    }

    /// Takes a batch of a transaction.
    ///
    /// Errors: those of [`crate::Broker::append`] and of [`Transactions::decide_add`].
    pub(super) fn append_in_transaction(
        &self,
        by: &By<'_>,
        joining: Joining,
        at: TopicPartition,
        records: Bytes,
        now_ms: i64,
    ) -> Result<Appended, Refused> {
        let mut transactions = self.transactions.lock();
        match joining {
            Joining::Named => transactions.verify(by, &at)?,
            Joining::Implicit => {
                self.settle(&mut transactions, now_ms, |transactions, _| {
                    transactions.decide_add(by, &[at], &[], now_ms)
                })?
                .response?
            }
        }
        Ok(self.broker.append(at, records, now_ms)?)
    }

    /// Puts offsets of a group into a transaction.
    ///
    /// Errors: those of [`Transactions::decide_add`] and of
    /// [`crate::coordinator::Groups::commit_in_transaction`].
    pub(super) fn commit_in_transaction(
        &self,
        by: &By<'_>,
        joining: Joining,
        member: &CommitAs<'_>,
        commits: Vec<Commit>,
        now_ms: i64,
    ) -> Result<Settled<Vec<ErrorCode>>, ErrorCode> {
        let mut transactions = self.transactions.lock();
        match joining {
            Joining::Named => transactions.verify_group(by, member.group)?,
            Joining::Implicit => {
                self.settle(&mut transactions, now_ms, |transactions, _| {
                    transactions.decide_add(by, &[], &[member.group], now_ms)
                })?
                .response?
            }
        }
        let settled = self.decide(now_ms, |groups| {
            groups.commit_in_transaction(member, by.producer_id, commits, now_ms)
        })?;
        Ok(Settled { response: settled.response?, ticket: settled.ticket })
    }
}
