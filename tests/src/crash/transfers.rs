//! Client transactions and groups under the kills: two transactional producers, a transactional copier,
//! a group member that commits offsets, and a SQL table over what they write.
//!
//! A *transfer* is one transaction that writes amounts with the sum 0 to several partitions of
//! `ledger`; some are aborted. The *copier* reads `ledger` as a `read_committed` consumer and writes
//! each record to `copied` in transactions that carry its group's offsets. One transfer lane and the
//! copier speak the old protocol, the other lane version 2. After a restart every instance begins
//! anew, which settles what the kill left open.
//!
//! What must hold then:
//! - a transfer is visible whole or not at all; acknowledged commits are, aborts and transactions that
//!   nobody ended are not;
//! - `copied` is `ledger`'s visible records in their order, each once, up to the group's offsets;
//! - a committed offset is the last acknowledged one, or a later one that was sent; the member of the
//!   group is still a member;
//! - every row of the table `balance`, and of a table that begins with all there is, has the total 0: no
//!   epoch holds a part of a transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::PARTITIONS;
use super::check::field;
use crate::node::Node;
use crate::transactions::{Member, Protocol, TransactionalProducer, committed_offsets};
use crate::wire_client::{Client, ClientError, FetchedRecord, NewRecord, Result};

const TIMEOUT: Duration = Duration::from_secs(10);
const CATCH_UP: Duration = Duration::from_secs(30);
const SESSION: Duration = Duration::from_secs(300);
const COPIER: &str = "copier";
const FOLLOWERS: &str = "followers";
const ID_STEP: i64 = 1_000_000_000;

/// What the server is asked for at the beginning, besides the topics.
pub const STATEMENTS: &str = "
CREATE STREAM ledger (transfer STRING KEY, amount BIGINT, book STRING)
    WITH (KAFKA_TOPIC='ledger', VALUE_FORMAT='JSON');
CREATE TABLE balance AS SELECT book, COUNT(*) AS n, SUM(amount) AS total FROM ledger GROUP BY book;
";

/// How far a transaction came, as its producer knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Never ended: must be aborted by the next instance.
    Open,
    /// The commit was sent; nobody knows.
    Committing,
    Committed,
    /// An abort was sent, acknowledged or not.
    Aborted,
}

struct Transfer {
    id: i64,
    /// Partition and amount of each record.
    parts: Vec<(i32, i64)>,
    fate: Fate,
}

struct Lane {
    name: &'static str,
    protocol: Protocol,
    rng: StdRng,
    producer: Option<TransactionalProducer>,
    next: i64,
    transfers: Vec<Transfer>,
}

#[derive(Default)]
struct Copier {
    producer: Option<TransactionalProducer>,
    positions: Vec<i64>,
}

#[derive(Default)]
struct Follower {
    member: Option<Member>,
    /// The last offset acknowledged, and the last one sent.
    acked: i64,
    sent: i64,
}

/// All of it, between the cycles.
pub struct Transfers {
    lanes: Vec<Lane>,
    copier: Copier,
    copier_rng: StdRng,
    follower: Follower,
    checked: Checked,
}

/// What was checked so far.
#[derive(Default)]
struct Checked {
    /// The visible records of each partition of `ledger`: offset, key and value.
    ledger: BTreeMap<i32, Vec<FetchedRecord>>,
    next: BTreeMap<(String, i32), i64>,
    copied: BTreeMap<i32, usize>,
    /// Transfers of each lane that are settled for good.
    settled: Vec<usize>,
    /// Records that each table counts.
    counted: BTreeMap<String, i64>,
}

fn text(e: ClientError) -> String {
    e.to_string()
}

impl Transfers {
    pub fn new(rng: &mut StdRng) -> Transfers {
        let mut lane = |name, protocol, first| Lane {
            name,
            protocol,
            rng: StdRng::seed_from_u64(rng.random()),
            producer: None,
            next: first,
            transfers: Vec::new(),
        };
        let lanes = vec![lane("old", Protocol::Old, 0), lane("v2", Protocol::V2, ID_STEP)];
        let copier_rng = StdRng::seed_from_u64(rng.random());
        let checked = Checked { settled: vec![0; lanes.len()], ..Checked::default() };
        Transfers {
            lanes,
            copier: Copier::default(),
            copier_rng,
            follower: Follower::default(),
            checked,
        }
    }

    /// # Errors
    /// When the server refuses.
    pub fn create_topics(&self, kafka: &str) -> Result<(), String> {
        let mut client = Client::connect(kafka, TIMEOUT).map_err(text)?;
        for topic in ["ledger", "copied"] {
            client.create_topic(topic, PARTITIONS).map_err(text)?;
        }
        Ok(())
    }

    /// How many transactions were begun.
    pub fn transactions(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.transfers.len() as u64).sum()
    }

    /// After a restart: new instances of all producers, which ends what was open; the group's member
    /// and its offset must be there still.
    ///
    /// # Errors
    /// When an instance cannot begin, or the group forgot something.
    pub fn settle(&mut self, kafka: &str) -> Result<(), String> {
        for lane in &mut self.lanes {
            let begun = TransactionalProducer::begin(kafka, lane.name, lane.protocol);
            lane.producer =
                Some(begun.map_err(|e| format!("producer {} cannot begin: {e}", lane.name))?);
        }
        let begun = TransactionalProducer::begin(kafka, COPIER, Protocol::Old);
        self.copier.producer = Some(begun.map_err(|e| format!("the copier cannot begin: {e}"))?);
        let mut client = Client::connect(kafka, TIMEOUT).map_err(text)?;
        let offsets = committed_offsets(&mut client, COPIER, "ledger", PARTITIONS).map_err(text)?;
        self.copier.positions = offsets.iter().map(|offset| (*offset).max(0)).collect();
        self.follower.settle(kafka, &mut client)
    }

    /// Starts everything.
    pub fn begin(&mut self, kafka: &str) -> Running<'_> {
        let stop = Arc::new(AtomicBool::new(false));
        let clock = Arc::new(AtomicI64::new(1_700_000_000_000));
        let lanes = std::mem::take(&mut self.lanes).into_iter().map(|mut lane| {
            let (stop, clock) = (stop.clone(), clock.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) && lane.transfer(&clock).is_ok() {}
                lane.producer = None;
                lane
            })
        });
        let lanes = lanes.collect();
        let copier = {
            let (stop, kafka) = (stop.clone(), kafka.to_owned());
            let mut copier = std::mem::take(&mut self.copier);
            let mut rng = StdRng::seed_from_u64(self.copier_rng.random());
            std::thread::spawn(move || {
                if let Ok(mut client) = Client::connect(&kafka, TIMEOUT) {
                    while !stop.load(Ordering::SeqCst) && copier.copy(&mut client, &mut rng).is_ok()
                    {
                    }
                }
                copier.producer = None;
                copier
            })
        };
        let follower = {
            let stop = stop.clone();
            let mut follower = std::mem::take(&mut self.follower);
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) && follower.commit().is_ok() {}
                follower
            })
        };
        Running { of: self, lanes, copier, follower, stop }
    }

    /// Compares what is visible with what was done.
    ///
    /// # Errors
    /// The first violation.
    pub fn check(&mut self, kafka: &str) -> Result<(), String> {
        let mut client = Client::connect(kafka, TIMEOUT).map_err(text)?;
        let mut visible: BTreeMap<i64, Vec<(i32, i64)>> = BTreeMap::new();
        for partition in 0..PARTITIONS {
            for record in self.checked.read(&mut client, "ledger", partition)? {
                let transfer = transfer_of(&record)?;
                let amount = field(&record, "amount")?;
                visible.entry(transfer).or_default().push((partition, amount));
                self.checked.ledger.entry(partition).or_default().push(record);
            }
        }
        for (lane, settled) in self.lanes.iter().zip(&mut self.checked.settled) {
            for transfer in &lane.transfers[*settled..] {
                let seen = visible.remove(&transfer.id).unwrap_or_default();
                transfer.check(seen).map_err(|e| format!("producer {}: {e}", lane.name))?;
            }
            *settled = lane.transfers.len();
        }
        if let Some((transfer, parts)) = visible.first_key_value() {
            return Err(format!("transfer {transfer} shows {parts:?} again, or out of nothing"));
        }
        self.check_copied(&mut client)?;
        self.checked.check_balance(&mut client, "BALANCE")
    }

    /// A new query over all of `ledger`: its epochs end at their budgets, and split no transfer either.
    ///
    /// # Errors
    /// The first violation.
    pub fn check_backlog(&mut self, node: &Node, cycle: u32) -> Result<(), String> {
        let table = format!("BACKLOG_{cycle}");
        node.ksql(&format!(
            "CREATE TABLE {table} WITH (PARTITIONS={PARTITIONS}) AS SELECT book, COUNT(*) AS n, \
             SUM(amount) AS total FROM ledger GROUP BY book;"
        ))?;
        let mut client = Client::connect(&node.kafka, TIMEOUT).map_err(text)?;
        self.checked.check_balance(&mut client, &table)?;
        node.ksql(&format!("DROP TABLE {table} DELETE TOPIC;")).map(drop)
    }

    fn check_copied(&mut self, client: &mut Client) -> Result<(), String> {
        let committed = committed_offsets(client, COPIER, "ledger", PARTITIONS).map_err(text)?;
        for (partition, committed) in (0..PARTITIONS).zip(committed) {
            let new = self.checked.read(client, "copied", partition)?;
            let ledger = self.checked.ledger.entry(partition).or_default();
            let copied = self.checked.copied.entry(partition).or_default();
            for record in new {
                let at = format!("copied-{partition} offset {}", record.offset);
                let Some(original) = ledger.get(*copied) else {
                    return Err(format!("{at}: a record that ledger has not: doubled"));
                };
                if (&original.key, &original.value) != (&record.key, &record.value) {
                    let (was, is) = (transfer_of(original)?, transfer_of(&record)?);
                    return Err(format!("{at}: transfer {is} instead of {was}: lost or doubled"));
                }
                *copied += 1;
            }
            let below = ledger.partition_point(|record| record.offset < committed);
            if below != *copied {
                return Err(format!(
                    "group {COPIER} stands at {committed} of ledger-{partition}, {below} records, \
                     but {copied} are copied"
                ));
            }
        }
        Ok(())
    }
}

impl Transfer {
    fn check(&self, mut seen: Vec<(i32, i64)>) -> Result<(), String> {
        let (id, fate) = (self.id, self.fate);
        let mut parts = self.parts.clone();
        parts.sort_unstable();
        seen.sort_unstable();
        let right = match fate {
            Fate::Committed => parts == seen,
            Fate::Committing => seen.is_empty() || parts == seen,
            Fate::Open | Fate::Aborted => seen.is_empty(),
        };
        match right {
            true => Ok(()),
            false => Err(format!("transfer {id} ({fate:?}) of {:?} shows {seen:?}", self.parts)),
        }
    }
}

impl Lane {
    /// One transfer, from its first record to its end.
    fn transfer(&mut self, clock: &AtomicI64) -> Result<()> {
        let Some(producer) = &mut self.producer else { return Ok(()) };
        let mut parts: Vec<(i32, i64)> = (0..self.rng.random_range(1..6))
            .map(|_| (self.rng.random_range(0..PARTITIONS), self.rng.random_range(-500..500)))
            .collect();
        let rest = -parts.iter().map(|(_, amount)| amount).sum::<i64>();
        parts.push((self.rng.random_range(0..PARTITIONS), rest));
        let commits = self.rng.random_ratio(3, 4);
        let id = self.next;
        self.next += 1;
        self.transfers.push(Transfer { id, parts: parts.clone(), fate: Fate::Open });
        let Some(transfer) = self.transfers.last_mut() else { return Ok(()) };
        let record = |amount: i64| -> NewRecord {
            let value = format!("{{\"amount\":{amount},\"book\":\"main\"}}");
            let time = clock.fetch_add(1, Ordering::SeqCst);
            (time, Some(id.to_string().into_bytes()), value.into_bytes())
        };
        for (partition, amount) in &parts {
            producer.send("ledger", *partition, &[record(*amount)])?;
        }
        transfer.fate = if commits { Fate::Committing } else { Fate::Aborted };
        producer.end(commits)?;
        if commits {
            transfer.fate = Fate::Committed;
        }
        Ok(())
    }
}

impl Copier {
    /// One transaction: what is new in one or more partitions, and where the group then stands.
    fn copy(&mut self, client: &mut Client, rng: &mut StdRng) -> Result<()> {
        let Some(producer) = &mut self.producer else { return Ok(()) };
        let mut offsets = Vec::new();
        for (partition, position) in (0..PARTITIONS).zip(&self.positions) {
            let fetched = client.fetch("ledger", partition, *position, 16 << 10, 1)?;
            let (records, next) = fetched.open(*position)?;
            if next == *position {
                continue;
            }
            if !records.is_empty() {
                let copy = |record: &FetchedRecord| -> NewRecord {
                    let value = record.value.clone().unwrap_or_default();
                    (record.timestamp, record.key.clone(), value)
                };
                let copies: Vec<NewRecord> = records.iter().map(copy).collect();
                producer.send("copied", partition, &copies)?;
            }
            offsets.push((partition, next));
        }
        if offsets.is_empty() {
            return Ok(());
        }
        producer.send_offsets(COPIER, "ledger", &offsets)?;
        let commits = rng.random_ratio(9, 10);
        producer.end(commits)?;
        if commits {
            for (partition, next) in offsets {
                self.positions[partition as usize] = next;
            }
        }
        Ok(())
    }
}

impl Follower {
    fn settle(&mut self, kafka: &str, client: &mut Client) -> Result<(), String> {
        let offsets = committed_offsets(client, FOLLOWERS, "payments", 1).map_err(text)?;
        let (acked, sent) = (self.acked, self.sent);
        let stands = offsets.first().copied().unwrap_or(-1).max(0);
        if stands < acked || stands > sent {
            return Err(format!(
                "group {FOLLOWERS} stands at {stands}; {acked} was acknowledged, {sent} sent last"
            ));
        }
        (self.acked, self.sent) = (stands, stands);
        let Some(member) = &mut self.member else {
            let joined = Member::join(kafka, FOLLOWERS, SESSION);
            self.member = Some(joined.map_err(|e| format!("group {FOLLOWERS}: {e}"))?);
            return Ok(());
        };
        member.reconnect(kafka).map_err(text)?;
        match member.heartbeat().map_err(text)? {
            0 => Ok(()),
            code => Err(format!("group {FOLLOWERS} forgot its member: Kafka error {code}")),
        }
    }

    fn commit(&mut self) -> Result<()> {
        let Some(member) = &mut self.member else { return Ok(()) };
        self.sent += 1;
        member.commit("payments", 0, self.sent)?;
        self.acked = self.sent;
        Ok(())
    }
}

/// The load while it runs.
pub struct Running<'a> {
    of: &'a mut Transfers,
    lanes: Vec<JoinHandle<Lane>>,
    copier: JoinHandle<Copier>,
    follower: JoinHandle<Follower>,
    stop: Arc<AtomicBool>,
}

impl Running<'_> {
    /// Ends it; transactions under way are finished if the server still lives.
    ///
    /// # Errors
    /// When a thread of the harness itself panicked.
    pub fn end(self) -> Result<(), String> {
        self.stop.store(true, Ordering::SeqCst);
        for lane in self.lanes {
            self.of.lanes.push(lane.join().map_err(|_| "a transactional producer panicked")?);
        }
        self.of.copier = self.copier.join().map_err(|_| "the copier panicked")?;
        self.of.follower = self.follower.join().map_err(|_| "the follower panicked")?;
        Ok(())
    }
}

impl Checked {
    /// What is new in a partition.
    fn read(
        &mut self,
        client: &mut Client,
        topic: &str,
        partition: i32,
    ) -> Result<Vec<FetchedRecord>, String> {
        let next = self.next.entry((topic.to_owned(), partition)).or_insert(0);
        let (records, after) = client.read_committed(topic, partition, *next).map_err(text)?;
        *next = after;
        Ok(records)
    }

    /// Every row of the table: total 0 over a number of records that grows, up to all of them.
    fn check_balance(&mut self, client: &mut Client, table: &str) -> Result<(), String> {
        let all: usize = self.ledger.values().map(Vec::len).sum();
        let mut counted = self.counted.get(table).copied().unwrap_or(0);
        let deadline = Instant::now() + CATCH_UP;
        loop {
            for partition in 0..PARTITIONS {
                for record in self.read(client, table, partition)? {
                    let at = format!("{table}-{partition} offset {}", record.offset);
                    let (n, total) = (field(&record, "N")?, field(&record, "TOTAL")?);
                    if total != 0 {
                        return Err(format!("{at}: {total} after {n} records: a split transfer"));
                    }
                    if n <= counted {
                        return Err(format!("{at}: {n} records after {counted}"));
                    }
                    counted = n;
                }
            }
            self.counted.insert(table.to_owned(), counted);
            if counted == all as i64 {
                return Ok(());
            }
            if counted > all as i64 || Instant::now() > deadline {
                return Err(format!("{table} counts {counted} of {all} records"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn transfer_of(record: &FetchedRecord) -> Result<i64, String> {
    let key = record.key.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    key.parse().map_err(|_| format!("ledger offset {}: key {key}", record.offset))
}
