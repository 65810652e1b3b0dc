//! Compares a restarted server with the oracle.
//!
//! - the input log is what was sent, in order, each acknowledged payment once and none twice;
//! - what a consumer saw before the kill stands there still, at the same offsets;
//! - (while it runs) no consumer sees a row of an epoch in one sink before it is in the others;
//! - filter and join sinks are the oracle's rows, in order, none missing and none doubled;
//! - every row of the aggregate's sink is a true total after n payments with n growing, and the last
//!   one is that of all payments;
//! - pull queries answer with the oracle's totals.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

use super::load::{Payment, Producers, SINKS, Seen, account_name};
use super::oracle::{Oracle, Row};
use super::{ACCOUNTS, PARTITIONS, WINDOW_MS};
use crate::node::Node;
use crate::wire_client::{Client, FetchedRecord};

/// How long results may take to appear after a restart.
const CATCH_UP: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(10);
const PULL_QUERIES: usize = 2;

/// What was checked so far; later cycles go on from here.
#[derive(Default)]
pub struct Checker {
    oracle: Oracle,
    /// Sent payments that were looked for in the log.
    looked_for: BTreeMap<i32, usize>,
    /// Sink records that were checked.
    checked: BTreeMap<(&'static str, i32), i64>,
    /// Payments whose rows in a stream sink were checked.
    rows_of: BTreeMap<(&'static str, i32), usize>,
    /// The newest count in the aggregate's sink by account and window.
    counts: BTreeMap<(usize, i64), i64>,
    seen: Seen,
    pub pull_queries: u64,
}

impl Checker {
    pub fn records(&self) -> u64 {
        self.oracle.log.values().map(|l| l.len() as u64).sum()
    }

    pub fn results(&self) -> u64 {
        self.checked.values().map(|n| *n as u64).sum()
    }

    /// Where a consumer goes on that has read what is checked.
    pub fn positions(&self) -> Seen {
        let mut positions = Seen::new();
        for topic in SINKS {
            for partition in 0..PARTITIONS {
                let next = self.checked.get(&(topic, partition)).copied().unwrap_or(0);
                positions.insert((topic, partition), (next, Vec::new()));
            }
        }
        positions
    }

    /// What the consumer saw until the end of the cycle.
    pub fn saw(&mut self, seen: Seen) {
        self.seen = seen;
    }

    /// Checks everything that is new; with `whole` everything from the beginning.
    ///
    /// # Errors
    /// The first violation.
    pub fn check(
        &mut self,
        node: &Node,
        producers: &Producers,
        rng: &mut StdRng,
        whole: bool,
    ) -> Result<(), String> {
        let mut client = Client::connect(&node.kafka, TIMEOUT).map_err(|e| e.to_string())?;
        if whole {
            let pull_queries = self.pull_queries;
            *self = Checker {
                seen: std::mem::take(&mut self.seen),
                pull_queries,
                ..Checker::default()
            };
        }
        for partition in 0..PARTITIONS {
            self.check_input(&mut client, producers, partition)?;
        }
        let seen = std::mem::take(&mut self.seen);
        for ((topic, partition), (begin, records)) in seen {
            self.check_seen(&mut client, topic, partition, begin, &records)?;
        }
        let deadline = Instant::now() + CATCH_UP;
        for partition in 0..PARTITIONS {
            let versions = &producers.versions;
            self.check_stream(&mut client, "BIG", partition, deadline, Oracle::big)?;
            let leveled = |p: &Payment| Oracle::leveled(p, versions);
            self.check_stream(&mut client, "LEVELED", partition, deadline, leveled)?;
        }
        self.check_totals(&mut client, deadline)?;
        for _ in 0..PULL_QUERIES {
            self.check_pull(node, rng.random_range(0..ACCOUNTS))?;
        }
        Ok(())
    }

    fn check_input(
        &mut self,
        client: &mut Client,
        producers: &Producers,
        partition: i32,
    ) -> Result<(), String> {
        let from = self.oracle.payments(partition).len() as i64;
        let records = client.read_all("payments", partition, from).map_err(|e| e.to_string())?;
        let sent = producers.sent(partition);
        let looked_for = self.looked_for.entry(partition).or_default();
        let name = |offset| format!("payments-{partition} offset {offset}");
        for record in records {
            let id = field(&record, "id").map_err(|e| format!("{}: {e}", name(record.offset)))?;
            // Payments that were never acknowledged may be missing; all others come one by one.
            loop {
                let Some(next) = sent.get(*looked_for) else {
                    return Err(format!("{}: payment {id} a second time", name(record.offset)));
                };
                *looked_for += 1;
                if next.payment.id == id {
                    same_payment(&next.payment, &record)
                        .map_err(|e| format!("{}: {e}", name(record.offset)))?;
                    self.oracle.found(partition, next.payment.clone());
                    break;
                }
                if next.acked {
                    let lost = next.payment.id;
                    let at = name(record.offset);
                    return Err(format!("acknowledged payment {lost} lost; {at} is payment {id}"));
                }
            }
        }
        // Nothing is in flight now: whatever is left must be what was given up.
        for next in &sent[*looked_for..] {
            if next.acked {
                let lost = next.payment.id;
                return Err(format!("acknowledged payment {lost} of payments-{partition} lost"));
            }
        }
        *looked_for = sent.len();
        Ok(())
    }

    fn check_seen(
        &self,
        client: &mut Client,
        topic: &str,
        partition: i32,
        begin: i64,
        records: &[FetchedRecord],
    ) -> Result<(), String> {
        if records.is_empty() {
            return Ok(());
        }
        let now = client.read_all(topic, partition, begin).map_err(|e| e.to_string())?;
        for (i, before) in records.iter().enumerate() {
            match now.get(i) {
                Some(after) if after == before => {}
                other => {
                    let offset = before.offset;
                    return Err(format!(
                        "{topic}-{partition} offset {offset} was read as {before:?}, now {other:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_stream(
        &mut self,
        client: &mut Client,
        topic: &'static str,
        partition: i32,
        deadline: Instant,
        row_of: impl Fn(&Payment) -> Option<Row>,
    ) -> Result<(), String> {
        let place = (topic, partition);
        let payments = self.oracle.payments(partition);
        let done = self.rows_of.entry(place).or_default();
        let expected: Vec<Row> = payments[*done..].iter().filter_map(row_of).collect();
        let from = self.checked.get(&place).copied().unwrap_or(0);
        let wanted = from + expected.len() as i64;
        wait_for(client, topic, partition, wanted, deadline)?;
        let records = client.read_all(topic, partition, from).map_err(|e| e.to_string())?;
        for (i, record) in records.iter().enumerate() {
            let at = format!("{topic}-{partition} offset {}", record.offset);
            let Some(row) = expected.get(i) else {
                return Err(format!("{at}: a row too many: {}", show(record)));
            };
            check_row(row, record).map_err(|e| format!("{at}: {e}, expected {row:?}"))?;
        }
        *done = payments.len();
        self.checked.insert(place, wanted);
        Ok(())
    }

    fn check_totals(&mut self, client: &mut Client, deadline: Instant) -> Result<(), String> {
        loop {
            for partition in 0..PARTITIONS {
                let from = self.checked.get(&("TOTALS", partition)).copied().unwrap_or(0);
                let records =
                    client.read_all("TOTALS", partition, from).map_err(|e| e.to_string())?;
                self.checked.insert(("TOTALS", partition), from + records.len() as i64);
                for record in records {
                    self.check_total(&record)
                        .map_err(|e| format!("TOTALS-{partition} offset {}: {e}", record.offset))?;
                }
            }
            let is_behind = |(account, start, n): &(usize, i64, i64)| {
                self.counts.get(&(*account, *start)).copied().unwrap_or(0) < *n
            };
            let Some(behind) = self.oracle.keys().find(is_behind) else { return Ok(()) };
            if Instant::now() > deadline {
                let (account, start, n) = behind;
                let have = self.counts.get(&(account, start)).copied().unwrap_or(0);
                let account = account_name(account);
                return Err(format!("TOTALS of {account} from {start} counts {have} of {n}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn check_total(&mut self, record: &FetchedRecord) -> Result<(), String> {
        let key = record.key.as_deref().unwrap_or_default();
        let (name, start) = key.split_last_chunk::<8>().ok_or("a key without a window")?;
        let start = i64::from_be_bytes(*start);
        let account = (0..ACCOUNTS).find(|a| account_name(*a).as_bytes() == name);
        let account = account.ok_or("a key that is no account")?;
        let (n, total) = (field(record, "N")?, field(record, "TOTAL")?);
        let last = self.counts.insert((account, start), n).unwrap_or(0);
        if n <= last {
            return Err(format!(
                "{} counts {n} after {last}: a row doubled",
                account_name(account)
            ));
        }
        match self.oracle.total(account, start, n) {
            Some(right) if right == total => Ok(()),
            right => Err(format!(
                "{} from {start}: total {total} of {n} payments instead of {right:?}",
                account_name(account)
            )),
        }
    }

    fn check_pull(&mut self, node: &Node, account: usize) -> Result<(), String> {
        let name = account_name(account);
        let sql = format!(
            "SELECT account, WINDOWSTART, WINDOWEND, n, total FROM totals WHERE account = '{name}';"
        );
        let rows = node.pull(&sql).map_err(|e| format!("pull query: {e}"))?;
        let mut answered: Vec<(i64, i64, i64)> = Vec::new();
        for row in &rows {
            let number = |i: usize| row.get(i).and_then(serde_json::Value::as_i64);
            let whole = (number(1), number(2), number(3), number(4));
            let (Some(start), Some(end), Some(n), Some(total)) = whole else {
                return Err(format!("pull query: a row is {row:?}"));
            };
            if end != start + WINDOW_MS || row[0].as_str() != Some(&name) {
                return Err(format!("pull query for {name}: a row is {row:?}"));
            }
            answered.push((start, n, total));
        }
        answered.sort_unstable();
        let right = self.oracle.windows(account);
        self.pull_queries += 1;
        if answered == right {
            return Ok(());
        }
        let differs = |(a, b): &(&(i64, i64, i64), &(i64, i64, i64))| a != b;
        let first = answered.iter().zip(&right).find(differs);
        let (have, want) = (answered.len(), right.len());
        Err(format!("pull query for {name}: {have} windows instead of {want}; first: {first:?}"))
    }
}

/// Waits until a sink partition holds `wanted` records.
fn wait_for(
    client: &mut Client,
    topic: &str,
    partition: i32,
    wanted: i64,
    deadline: Instant,
) -> Result<(), String> {
    loop {
        let end = client.end_offset(topic, partition).map_err(|e| e.to_string())?;
        if end >= wanted {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{topic}-{partition} has {end} records instead of {wanted}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn same_payment(sent: &Payment, record: &FetchedRecord) -> Result<(), String> {
    let key = account_name(sent.account);
    let same = record.key.as_deref() == Some(key.as_bytes())
        && record.timestamp == sent.time
        && field(record, "amount")? == sent.amount;
    if same { Ok(()) } else { Err(format!("{} is not what was sent: {sent:?}", show(record))) }
}

fn check_row(row: &Row, record: &FetchedRecord) -> Result<(), String> {
    if record.key.as_deref() != Some(row.key.as_bytes()) || record.timestamp != row.time {
        return Err(show(record));
    }
    for (name, value) in &row.fields {
        if field(record, name)? != *value {
            return Err(show(record));
        }
    }
    Ok(())
}

/// A number of the record's JSON value.
pub(super) fn field(record: &FetchedRecord, name: &str) -> Result<i64, String> {
    let value = record.value.as_deref().unwrap_or_default();
    let json: serde_json::Value =
        serde_json::from_slice(value).map_err(|e| format!("{}: {e}", show(record)))?;
    json[name].as_i64().ok_or_else(|| format!("{} has no {name}", show(record)))
}

fn show(record: &FetchedRecord) -> String {
    let text = |part: &Option<Vec<u8>>| {
        part.as_deref().map_or("null".into(), |b| String::from_utf8_lossy(b).into_owned())
    };
    format!("{} {} at {}", text(&record.key), text(&record.value), record.timestamp)
}
