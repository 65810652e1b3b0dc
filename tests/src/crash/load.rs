//! The load: one idempotent producer per partition, and a consumer that follows the sinks.
//!
//! A producer has one batch in flight. When the server dies under it, it does not know whether the
//! batch is in the log: after the restart it sends the same batch with the same sequence number
//! again, or gives it up for good and goes on as a new producer. Record times grow with every record,
//! over all partitions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millstream_connectors::partitioner::partition_of;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{ACCOUNTS, Moment, PARTITIONS};
use crate::wire_client::{Client, FetchedRecord, NewRecord, batch};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Record times: milliseconds from one to the next.
const STEP_MS: i64 = 7;
const START_MS: i64 = 1_700_000_000_000;
pub const SINKS: [&str; 3] = ["BIG", "TOTALS", "LEVELED"];

/// A payment as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    pub id: i64,
    pub account: usize,
    pub amount: i64,
    pub time: i64,
}

/// What became of a payment that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub payment: Payment,
    /// Acknowledged: must be in the log. Else it may be.
    pub acked: bool,
}

pub fn account_name(account: usize) -> String {
    format!("account-{account:02}")
}

pub fn account_partition(account: usize) -> i32 {
    partition_of(account_name(account).as_bytes(), PARTITIONS)
}

fn payment_record(payment: &Payment) -> NewRecord {
    // Some batches are long, so that they go to their segment first where the durability is os.
    let note = "x".repeat(if payment.id % 5 == 0 { 3000 } else { 0 });
    let value =
        format!("{{\"id\":{},\"amount\":{},\"note\":\"{note}\"}}", payment.id, payment.amount);
    (payment.time, Some(account_name(payment.account).into_bytes()), value.into_bytes())
}

/// All producers, between the cycles.
pub struct Producers {
    lanes: Vec<Lane>,
    clock: Arc<AtomicI64>,
    /// From which record time on customers have which level.
    pub versions: Vec<(i64, i64)>,
}

/// One partition's producer.
struct Lane {
    partition: i32,
    accounts: Vec<usize>,
    rng: StdRng,
    producer: Option<(i64, i16)>,
    sequence: i32,
    next: i64,
    /// How many of the last in `sent` have no acknowledgement yet.
    pending: usize,
    sent: Vec<Sent>,
}

impl Producers {
    pub fn new(rng: &mut StdRng) -> Producers {
        let lane = |partition: i32| Lane {
            partition,
            accounts: (0..ACCOUNTS).filter(|a| account_partition(*a) == partition).collect(),
            rng: StdRng::seed_from_u64(rng.random()),
            producer: None,
            sequence: 0,
            next: 0,
            pending: 0,
            sent: Vec::new(),
        };
        let lanes = (0..PARTITIONS).map(lane).collect();
        Producers { lanes, clock: Arc::new(AtomicI64::new(START_MS)), versions: Vec::new() }
    }

    pub fn create_topics(&self, kafka: &str) -> Result<(), String> {
        let mut client = Client::connect(kafka, TIMEOUT).map_err(|e| e.to_string())?;
        for topic in ["payments", "customers"] {
            client.create_topic(topic, PARTITIONS).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Everything ever sent to a partition, in order.
    pub fn sent(&self, partition: i32) -> &[Sent] {
        &self.lanes[partition as usize].sent
    }

    /// After a restart: sends again what has no acknowledgement, or gives it up.
    pub fn settle(&mut self, kafka: &str, rng: &mut StdRng) -> Result<(), String> {
        for lane in &mut self.lanes {
            if lane.pending > 0 && rng.random_ratio(1, 4) {
                lane.pending = 0;
                lane.producer = None;
            }
            if lane.pending > 0 {
                let mut client = Client::connect(kafka, TIMEOUT).map_err(|e| e.to_string())?;
                let repeat = lane.transmit(&mut client);
                repeat.map_err(|e| format!("a repeated batch is refused; an acknowledged one before it may be lost: {e}"))?;
            }
        }
        Ok(())
    }

    /// Gives all customers a new level; none of this is in flight when the server is killed.
    pub fn update_customers(&mut self, kafka: &str) -> Result<(), String> {
        let mut client = Client::connect(kafka, TIMEOUT).map_err(|e| e.to_string())?;
        let time = self.clock.fetch_add(STEP_MS, Ordering::SeqCst);
        let version = self.versions.len() as i64;
        for partition in 0..PARTITIONS {
            let record = |account: usize| {
                let value = format!("{{\"level\":{}}}", level(version, account));
                (time, Some(account_name(account).into_bytes()), value.into_bytes())
            };
            let accounts = (0..ACCOUNTS).filter(|a| account_partition(*a) == partition);
            let records: Vec<NewRecord> = accounts.map(record).collect();
            if !records.is_empty() {
                let batch = batch(&records, None).map_err(|e| e.to_string())?;
                client.produce("customers", partition, batch).map_err(|e| e.to_string())?;
            }
        }
        self.versions.push((time, version));
        Ok(())
    }
}

pub fn level(version: i64, account: usize) -> i64 {
    version * 1000 + account as i64
}

impl Lane {
    /// Sends the pending payments as one batch and waits for the acknowledgement.
    fn transmit(&mut self, client: &mut Client) -> Result<(), String> {
        let (id, epoch) = match self.producer {
            Some(producer) => producer,
            None => {
                let producer = client.init_producer().map_err(|e| e.to_string())?;
                self.sequence = 0;
                *self.producer.insert(producer)
            }
        };
        let from = self.sent.len() - self.pending;
        let records: Vec<NewRecord> =
            self.sent[from..].iter().map(|s| payment_record(&s.payment)).collect();
        let bytes = batch(&records, Some((id, epoch, self.sequence))).map_err(|e| e.to_string())?;
        client.produce("payments", self.partition, bytes).map_err(|e| e.to_string())?;
        for sent in &mut self.sent[from..] {
            sent.acked = true;
        }
        self.sequence += self.pending as i32;
        self.pending = 0;
        Ok(())
    }

    fn draw(&mut self, clock: &AtomicI64) {
        let count = self.rng.random_range(1..40);
        for _ in 0..count {
            let payment = Payment {
                id: i64::from(self.partition) * 1_000_000_000 + self.next,
                account: self.accounts[self.rng.random_range(0..self.accounts.len())],
                amount: self.rng.random_range(1..1000),
                time: clock.fetch_add(STEP_MS, Ordering::SeqCst),
            };
            self.next += 1;
            self.sent.push(Sent { payment, acked: false });
        }
        self.pending = count;
    }
}

/// What a consumer saw of each sink partition, from where it began.
pub type Seen = BTreeMap<(&'static str, i32), (i64, Vec<FetchedRecord>)>;

/// A running load.
pub struct Load<'a> {
    producers: &'a mut Producers,
    lanes: Vec<JoinHandle<Lane>>,
    consumer: JoinHandle<Result<Seen, String>>,
    stop: Arc<AtomicBool>,
    acks: Arc<AtomicU64>,
}

impl<'a> Load<'a> {
    /// Starts the producers, and a consumer at `positions`.
    pub fn begin(kafka: &str, producers: &'a mut Producers, positions: Seen) -> Load<'a> {
        let stop = Arc::new(AtomicBool::new(false));
        let acks = Arc::new(AtomicU64::new(0));
        let lanes = std::mem::take(&mut producers.lanes).into_iter().map(|mut lane| {
            let (stop, acks, clock) = (stop.clone(), acks.clone(), producers.clock.clone());
            let kafka = kafka.to_owned();
            std::thread::spawn(move || {
                let Ok(mut client) = Client::connect(&kafka, TIMEOUT) else { return lane };
                while !stop.load(Ordering::SeqCst) {
                    lane.draw(&clock);
                    if lane.transmit(&mut client).is_err() {
                        break;
                    }
                    acks.fetch_add(1, Ordering::SeqCst);
                }
                lane
            })
        });
        let lanes = lanes.collect();
        let consumer = {
            let (stop, kafka) = (stop.clone(), kafka.to_owned());
            std::thread::spawn(move || follow(&kafka, positions, &stop))
        };
        Load { producers, lanes, consumer, stop, acks }
    }

    /// Waits until the moment has come.
    pub fn wait(&self, moment: Moment) {
        match moment {
            Moment::After(time) => std::thread::sleep(time),
            Moment::Acknowledged(batches) => {
                let begin = Instant::now();
                while self.acks.load(Ordering::SeqCst) < batches
                    && begin.elapsed() < Duration::from_millis(500)
                {
                    std::hint::spin_loop();
                }
            }
        }
    }

    /// Ends the load; gives what the consumer saw.
    ///
    /// # Errors
    /// When the consumer saw half an epoch, or a thread of the harness itself panicked.
    pub fn end(self) -> Result<Seen, String> {
        self.stop.store(true, Ordering::SeqCst);
        for lane in self.lanes {
            self.producers.lanes.push(lane.join().map_err(|_| "a producer panicked")?);
        }
        self.consumer.join().map_err(|_| "the consumer panicked")?
    }
}

/// Reads the sinks round and round until the load stops or the server is gone.
///
/// All sinks advance together: who has seen a payment in the filter's sink must find it in the join's.
fn follow(kafka: &str, mut seen: Seen, stop: &AtomicBool) -> Result<Seen, String> {
    let Ok(mut client) = Client::connect(kafka, TIMEOUT) else { return Ok(seen) };
    let mut newest_big = BTreeMap::new();
    while !stop.load(Ordering::SeqCst) {
        // In the order of their names: BIG before LEVELED.
        for ((topic, partition), (begin, records)) in &mut seen {
            let next = *begin + records.len() as i64;
            let Ok(fetched) = client.fetch(topic, *partition, next, 1 << 20, 0) else {
                return Ok(seen);
            };
            let (new, end) = fetched.open(next).map_err(|e| e.to_string())?;
            records.extend(new);
            let Some(newest) = records.last().map(|r| r.timestamp) else { continue };
            match *topic {
                "BIG" => {
                    newest_big.insert(*partition, newest);
                }
                "LEVELED" if end >= fetched.high_watermark => {
                    if let Some(big) = newest_big.get(partition).filter(|big| **big > newest) {
                        return Err(format!(
                            "partition {partition}: BIG shows the payment of {big}, LEVELED only \
                             {newest}: half an epoch"
                        ));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(seen)
}
