//! The demo's live data: payments, orders and customers, produced through the Kafka port.
//!
//! It keeps its own account of what it was told is durable, in plain Rust, so that the end of the demo
//! can compare. Amounts are multiples of a quarter: sums of them are exact in any order.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millstream_connectors::partitioner::partition_of;
use millstream_storage::log::batch::BatchBuilder;
use millstream_storage::log::batch::Codec;
use parking_lot::Mutex;
use serde_json::json;

use super::TIMEOUT;
use crate::kafka_client::KafkaClient;

pub(super) const PARTITIONS: i32 = 2;
/// Records per batch and the pause between batches: about 400 records per second.
const BATCH: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);
/// The window of `merchant_totals`.
pub(super) const WINDOW_MS: i64 = 5_000;

const MERCHANTS: [&str; 6] = ["bakery", "books", "cinema", "garage", "jeweller", "travel"];
const ITEMS: [&str; 5] = ["lamp", "chair", "kettle", "radio", "clock"];
pub(super) const CUSTOMERS: [(&str, &str, &str); 5] = [
    ("c1", "Ada", "London"),
    ("c2", "Grace", "New York"),
    ("c3", "Edsger", "Rotterdam"),
    ("c4", "Barbara", "Boston"),
    ("c5", "Leslie", "Palo Alto"),
];

/// What was acknowledged.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub payments: u64,
    pub orders: u64,
    pub frauds: u64,
    pub fraud_sum: f64,
    /// (merchant, window start) → (count, sum).
    pub totals: BTreeMap<(String, i64), (u64, f64)>,
    /// Orders per customer's name.
    pub orders_by_name: BTreeMap<String, u64>,
}

/// A small deterministic generator (xorshift): the demo needs variety, not secrecy.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

struct Producer {
    client: KafkaClient,
    id: (i64, i16),
    sequences: BTreeMap<(&'static str, i32), i32>,
}

impl Producer {
    /// Appends records as one idempotent batch; returns when they are durable.
    fn send(
        &mut self,
        topic: &'static str,
        partition: i32,
        records: &[(String, String, i64)],
    ) -> io::Result<()> {
        let sequence = self.sequences.entry((topic, partition)).or_insert(0);
        let mut batch = BatchBuilder::new(Codec::None).producer(self.id.0, self.id.1, *sequence);
        for (key, value, time) in records {
            batch.push(*time, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
        }
        *sequence += i32::try_from(records.len()).map_err(io::Error::other)?;
        let batch: Bytes = batch.build().map_err(|e| io::Error::other(e.to_string()))?;
        self.client.produce(topic, partition, batch)?;
        Ok(())
    }
}

/// Produces until told to stop. The account is updated after each acknowledgement.
///
/// # Errors
/// When the node refuses a batch or goes away.
pub(super) fn produce(
    kafka: SocketAddr,
    clock: impl Fn() -> i64,
    account: &Arc<Mutex<Account>>,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut client = KafkaClient::connect(kafka, TIMEOUT)?.named("millstream-demo");
    let id = client.init_producer()?;
    let mut producer = Producer { client, id, sequences: BTreeMap::new() };
    let seed = u64::from_ne_bytes(clock().to_ne_bytes()) | 1;
    let mut dice = Dice(seed);

    for (id, name, city) in CUSTOMERS {
        let value = json!({ "NAME": name, "CITY": city }).to_string();
        let partition = partition_of(id.as_bytes(), PARTITIONS);
        producer.send("customers", partition, &[(id.to_owned(), value, clock())])?;
    }
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let partition = i32::try_from(dice.roll(PARTITIONS as u64)).unwrap_or(0);
        let payments: Vec<Payment> = (0..BATCH).map(|_| Payment::roll(&mut dice, &mut number, clock())).collect();
        let records: Vec<_> = payments.iter().map(Payment::record).collect();
        producer.send("payments", partition, &records)?;
        account.lock().add_payments(&payments);

        number += 1;
        let (customer, name, _) = CUSTOMERS[dice.roll(CUSTOMERS.len() as u64) as usize];
        let item = ITEMS[dice.roll(ITEMS.len() as u64) as usize];
        let price = quarters(&mut dice, 400);
        let value = json!({ "CUSTOMER_ID": customer, "ITEM": item, "PRICE": price }).to_string();
        producer.send("orders", partition, &[(format!("o{number}"), value, clock())])?;
        let mut account = account.lock();
        account.orders += 1;
        *account.orders_by_name.entry(name.to_owned()).or_default() += 1;
        drop(account);
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// An amount below `below`, in quarters.
fn quarters(dice: &mut Dice, below: u64) -> f64 {
    (dice.roll(below * 4) + 1) as f64 / 4.0
}

struct Payment {
    id: String,
    merchant: &'static str,
    amount: f64,
    time: i64,
}

impl Payment {
    fn roll(dice: &mut Dice, number: &mut u64, time: i64) -> Payment {
        *number += 1;
        let merchant = MERCHANTS[dice.roll(MERCHANTS.len() as u64) as usize];
        // One payment in fifty is far too large.
        let amount = if dice.roll(50) == 0 { 10_000.0 + quarters(dice, 5_000) } else { quarters(dice, 300) };
        Payment { id: format!("p{number}"), merchant, amount, time }
    }

    fn record(&self) -> (String, String, i64) {
        let value = json!({ "MERCHANT": self.merchant, "AMOUNT": self.amount }).to_string();
        (self.id.clone(), value, self.time)
    }
}

impl Account {
    fn add_payments(&mut self, payments: &[Payment]) {
        for payment in payments {
            self.payments += 1;
            if payment.amount > 10_000.0 {
                self.frauds += 1;
                self.fraud_sum += payment.amount;
            }
            let window = payment.time.div_euclid(WINDOW_MS) * WINDOW_MS;
            let total = self.totals.entry((payment.merchant.to_owned(), window)).or_default();
            total.0 += 1;
            total.1 += payment.amount;
        }
    }
}
