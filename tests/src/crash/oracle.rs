//! What the sinks must hold, recomputed from the input log alone by the plainest code there is.

use std::collections::BTreeMap;

use super::load::{Payment, account_name, level};
use super::{BIG_AMOUNT, WINDOW_MS};

/// The input as it stands in the log, and what follows from it.
#[derive(Default)]
pub struct Oracle {
    /// Payments of each partition, in log order.
    pub log: BTreeMap<i32, Vec<Payment>>,
    /// For each account and window start, the totals after 1, 2, … payments.
    totals: BTreeMap<(usize, i64), Vec<i64>>,
}

/// A row of a stream sink: key and value as they must stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: String,
    pub time: i64,
    pub fields: Vec<(&'static str, i64)>,
}

impl Oracle {
    /// Takes in a payment that was found in the log.
    pub fn found(&mut self, partition: i32, payment: Payment) {
        let window = payment.time.div_euclid(WINDOW_MS) * WINDOW_MS;
        let totals = self.totals.entry((payment.account, window)).or_default();
        totals.push(totals.last().copied().unwrap_or(0) + payment.amount);
        self.log.entry(partition).or_default().push(payment);
    }

    pub fn payments(&self, partition: i32) -> &[Payment] {
        self.log.get(&partition).map_or(&[], |l| l)
    }

    /// The filter's row for a payment, if it has one.
    pub fn big(payment: &Payment) -> Option<Row> {
        (payment.amount > BIG_AMOUNT).then(|| Row {
            key: account_name(payment.account),
            time: payment.time,
            fields: vec![("ID", payment.id), ("AMOUNT", payment.amount)],
        })
    }

    /// The join's row: the customer's level as of the payment's time.
    pub fn leveled(payment: &Payment, versions: &[(i64, i64)]) -> Option<Row> {
        let known = versions.iter().rev().find(|(since, _)| *since <= payment.time)?;
        let level = level(known.1, payment.account);
        Some(Row {
            key: account_name(payment.account),
            time: payment.time,
            fields: vec![("ID", payment.id), ("AMOUNT", payment.amount), ("LEVEL", level)],
        })
    }

    /// The total of an account's window after its first `n` payments.
    pub fn total(&self, account: usize, window: i64, n: i64) -> Option<i64> {
        let place = usize::try_from(n).ok()?.checked_sub(1)?;
        self.totals.get(&(account, window))?.get(place).copied()
    }

    /// How many payments each window of an account has, and their sum.
    pub fn windows(&self, account: usize) -> Vec<(i64, i64, i64)> {
        let own = self.totals.range((account, i64::MIN)..=(account, i64::MAX));
        own.filter_map(|((_, start), t)| Some((*start, t.len() as i64, *t.last()?))).collect()
    }

    /// All accounts and windows there are.
    pub fn keys(&self) -> impl Iterator<Item = (usize, i64, i64)> {
        self.totals.iter().map(|((account, start), t)| (*account, *start, t.len() as i64))
    }
}
