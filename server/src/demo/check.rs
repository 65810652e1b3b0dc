//! What came out, read back from the sink topics with a read_committed Kafka client.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use millstream_storage::log::batch::batches;
use millstream_storage::log::batch::{RecordIter, records};
use serde_json::Value;

use super::TIMEOUT;
use super::load::Account;
use crate::kafka_client::KafkaClient;

/// Asked of a partition at once.
const FETCH_BYTES: i32 = 16 << 20;
/// The most that one batch may grow to when decompressed.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// Everything visible in a topic: key bytes and JSON value (`None` for a tombstone).
pub(super) fn read_topic(kafka: SocketAddr, topic: &str) -> io::Result<Vec<(Vec<u8>, Option<Value>)>> {
    let mut client = KafkaClient::connect(kafka, TIMEOUT)?.named("millstream-demo-check");
    let mut out = Vec::new();
    for partition in 0..client.partitions(topic)?.unwrap_or(0) {
        let partition = i32::try_from(partition).map_err(io::Error::other)?;
        let end = client.end_offset(topic, partition)?;
        let mut offset = 0;
        while offset < end {
            let fetched = client.fetch(topic, partition, offset, FETCH_BYTES, 500)?;
            let start = offset;
            for batch in batches(&fetched.records) {
                let (header, bytes) = batch.map_err(|e| io::Error::other(e.to_string()))?;
                let (header_again, body) =
                    records(bytes, BATCH_BYTES_MAX).map_err(|e| io::Error::other(e.to_string()))?;
                for record in RecordIter::new(header_again, &body) {
                    let record = record.map_err(|e| io::Error::other(e.to_string()))?;
                    if record.offset >= start && record.offset < end {
                        let value = record.value.map(serde_json::from_slice).transpose()?;
                        out.push((record.key.unwrap_or_default().to_vec(), value));
                    }
                }
                offset = header.next_offset();
            }
            if offset == start {
                return Err(io::Error::other(format!("{topic}-{partition} has nothing at offset {offset}")));
            }
        }
    }
    Ok(out)
}

/// The same account, made from what the queries wrote.
pub(super) fn account_of_results(kafka: SocketAddr) -> io::Result<Account> {
    let mut account = Account::default();
    for (_, value) in read_topic(kafka, "FRAUD_ALERT")? {
        account.frauds += 1;
        account.fraud_sum += number(value.as_ref(), "AMOUNT");
    }
    let mut latest = BTreeMap::new();
    for (key, value) in read_topic(kafka, "MERCHANT_TOTALS")? {
        latest.insert(key, value);
    }
    for (key, value) in latest {
        let Some((merchant, window)) = split_windowed_key(&key) else {
            return Err(io::Error::other("MERCHANT_TOTALS holds a key without a window"));
        };
        let count = number(value.as_ref(), "PAYMENTS") as u64;
        account.payments += count;
        account.totals.insert((merchant, window), (count, number(value.as_ref(), "TOTAL")));
    }
    for (_, value) in read_topic(kafka, "ORDERS_BY_CUSTOMER")? {
        account.orders += 1;
        let name = value.as_ref().and_then(|v| v["NAME"].as_str()).unwrap_or("?").to_owned();
        *account.orders_by_name.entry(name).or_default() += 1;
    }
    Ok(account)
}

fn number(value: Option<&Value>, name: &str) -> f64 {
    value.and_then(|v| v[name].as_f64()).unwrap_or(f64::NAN)
}

/// A windowed KAFKA key: the text, then eight bytes of window start.
fn split_windowed_key(key: &[u8]) -> Option<(String, i64)> {
    let (text, start) = key.split_last_chunk::<8>()?;
    Some((String::from_utf8(text.to_vec()).ok()?, i64::from_be_bytes(*start)))
}

/// Where the two accounts differ; empty when they agree.
pub(super) fn differences(produced: &Account, results: &Account) -> Vec<String> {
    let mut out = Vec::new();
    let mut compare = |what: &str, expected: String, found: String| {
        if expected != found {
            out.push(format!("{what}: produced {expected}, results say {found}"));
        }
    };
    compare("payments in windows", produced.payments.to_string(), results.payments.to_string());
    compare("frauds", produced.frauds.to_string(), results.frauds.to_string());
    compare("sum of frauds", produced.fraud_sum.to_string(), results.fraud_sum.to_string());
    compare("orders joined", produced.orders.to_string(), results.orders.to_string());
    compare(
        "orders per customer",
        format!("{:?}", produced.orders_by_name),
        format!("{:?}", results.orders_by_name),
    );
    compare("windows", produced.totals.len().to_string(), results.totals.len().to_string());
    for (key, total) in &produced.totals {
        compare(&format!("total of {key:?}"), format!("{total:?}"), format!("{:?}", results.totals.get(key).copied().unwrap_or_default()));
    }
    out
}
