//! The log benchmark: 1 KB records through the Kafka port, by 1 and by 16 clients.
//!
//! Each producer has a partition of its own, sends batches of 64 records with `acks=all` and keeps
//! five in flight. Batches are built once: the generator costs next to nothing. Each consumer reads
//! its partition from the beginning.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::nexmark::Setup;
use super::table;
use crate::node::{Node, NodeOptions};
use crate::wire_client::{Client, NewRecord, batch};

const RECORD_BYTES: usize = 1024;
const BATCH_RECORDS: usize = 64;
const PIPELINE: usize = 5;
const TIMEOUT: Duration = Duration::from_secs(60);
const MB: f64 = 1e6;

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub what: String,
    pub clients: usize,
    pub records: u64,
    pub seconds: f64,
    pub mb_per_second: f64,
    /// Of the server.
    pub cpu_seconds: f64,
    pub mb_per_cpu_second: f64,
    /// From sending a batch to its acknowledgement (a fetch's answer), milliseconds.
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// Produces for `seconds`, then consumes it all, with 1 and with 16 clients.
///
/// # Errors
/// When the server or a client fails.
pub fn run(setup: &Setup, seconds: u64) -> Result<Vec<Measured>, String> {
    let mut measured = Vec::new();
    for clients in [1, 16] {
        let node = Node::start(&NodeOptions {
            binary: setup.binary.clone(),
            data_dir: setup.folder.join(format!("log{clients}")),
            durability: setup.durability.clone(),
            log: setup.folder.join("server.log"),
        })?;
        let mut client = Client::connect(&node.kafka, TIMEOUT).map_err(|e| e.to_string())?;
        client.create_topic("load", clients as i32).map_err(|e| e.to_string())?;
        let until = Instant::now() + Duration::from_secs(seconds);
        measured.push(phase(&node, "produce", clients, |kafka, p| produce(kafka, p, until))?);
        measured.push(phase(&node, "consume", clients, consume)?);
        node.stop()?;
        // A log left over only takes space.
        let _ = std::fs::remove_dir_all(setup.folder.join(format!("log{clients}")));
    }
    Ok(measured)
}

/// Records and the latencies of their batches.
type Done = Result<(u64, Vec<Duration>), String>;

fn phase(
    node: &Node,
    what: &str,
    clients: usize,
    work: impl Fn(&str, i32) -> Done + Sync,
) -> Result<Measured, String> {
    let cpu_before = node.usage().cpu;
    let begin = Instant::now();
    let done: Vec<Done> = std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            (0..clients).map(|p| scope.spawn(move || work(&node.kafka, p as i32))).collect();
        let panicked = |_| Err("a client panicked".to_owned());
        threads.into_iter().map(|t| t.join().unwrap_or_else(panicked)).collect()
    });
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = (node.usage().cpu - cpu_before).max(Duration::from_millis(1)).as_secs_f64();
    let (mut records, mut latencies) = (0, Vec::new());
    for one in done {
        let (n, mut some) = one?;
        records += n;
        latencies.append(&mut some);
    }
    latencies.sort_unstable();
    let at = |share: f64| {
        let place = (latencies.len() as f64 * share) as usize;
        latencies
            .get(place.min(latencies.len().saturating_sub(1)))
            .map_or(0.0, |d| d.as_secs_f64() * 1e3)
    };
    let mb = records as f64 * RECORD_BYTES as f64 / MB;
    Ok(Measured {
        what: what.into(),
        clients,
        records,
        seconds,
        mb_per_second: mb / seconds,
        cpu_seconds: cpu,
        mb_per_cpu_second: mb / cpu,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
    })
}

fn produce(kafka: &str, partition: i32, until: Instant) -> Done {
    let failed = |e: crate::wire_client::ClientError| e.to_string();
    let mut client = Client::connect(kafka, TIMEOUT).map_err(failed)?;
    let records: Vec<NewRecord> = (0..BATCH_RECORDS)
        .map(|i| (i as i64, Some(vec![b'k'; 8]), vec![b'a' + (i % 26) as u8; RECORD_BYTES]))
        .collect();
    let bytes = batch(&records, None).map_err(failed)?;
    let (mut sent, mut latencies) = (std::collections::VecDeque::new(), Vec::new());
    while Instant::now() < until {
        if sent.len() >= PIPELINE {
            client.receive_ack().map_err(failed)?;
            latencies.extend(sent.pop_front().map(|at: Instant| at.elapsed()));
        }
        client.send_batch("load", partition, bytes.clone()).map_err(failed)?;
        sent.push_back(Instant::now());
    }
    while let Some(at) = sent.pop_front() {
        client.receive_ack().map_err(failed)?;
        latencies.push(at.elapsed());
    }
    Ok((latencies.len() as u64 * BATCH_RECORDS as u64, latencies))
}

fn consume(kafka: &str, partition: i32) -> Done {
    let failed = |e: crate::wire_client::ClientError| e.to_string();
    let mut client = Client::connect(kafka, TIMEOUT).map_err(failed)?;
    let end = client.end_offset("load", partition).map_err(failed)?;
    let (mut next, mut latencies) = (0, Vec::new());
    while next < end {
        let begin = Instant::now();
        let fetched = client.fetch("load", partition, next, 8 << 20, 500).map_err(failed)?;
        latencies.push(begin.elapsed());
        let after = fetched.end();
        if after <= next {
            return Err(format!("no record at {next} of load-{partition}"));
        }
        next = after;
    }
    Ok((end as u64, latencies))
}

/// The results as a table.
pub fn report(measured: &[Measured]) -> String {
    let head = ["", "clients", "seconds", "MB/s", "CPU s", "MB/CPU s", "p50 ms", "p99 ms"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for m in measured {
        rows.push(vec![
            m.what.clone(),
            m.clients.to_string(),
            format!("{:.2}", m.seconds),
            format!("{:.0}", m.mb_per_second),
            format!("{:.2}", m.cpu_seconds),
            format!("{:.0}", m.mb_per_cpu_second),
            format!("{:.2}", m.p50_ms),
            format!("{:.2}", m.p99_ms),
        ]);
    }
    table(&rows)
}
