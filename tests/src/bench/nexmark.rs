//! The Nexmark benchmark: one log, then each query on a fresh copy of it in a fresh server.
//!
//! Measured from the CREATE … AS statement until every event of the topics read is processed and the
//! results stand in the sink topic, visible to a `read_committed` consumer: nothing has moved for
//! [`QUIET`] and the server is idle. The time that quiet took is not counted.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use millstream_connectors::partitioner::partition_of;
use serde::Serialize;

use super::oracle::Oracle;
use super::queries::{Query, SINK, SOURCES};
use super::table;
use crate::nexmark::{Kind, Nexmark};
use crate::node::{Node, NodeOptions};
use crate::wire_client::{Client, NewRecord, batch};

pub const PARTITIONS: i32 = 4;
const SIDE_ROWS: i64 = 10_000;
const SEED: u64 = 42;
/// Records of one produced batch.
const BATCH_RECORDS: usize = 1000;
/// Batches in flight.
const PIPELINE: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long nothing must move.
const QUIET: Duration = Duration::from_millis(300);
/// CPU time in which a server that only answers questions about itself is not counted as working.
const BUSY: Duration = Duration::from_millis(100);
const POLL_MIN: Duration = Duration::from_millis(5);
const POLL_MAX: Duration = Duration::from_millis(40);
const GIVE_UP: Duration = Duration::from_secs(900);

/// What a run needs.
#[derive(Clone, Debug)]
pub struct Setup {
    pub binary: PathBuf,
    /// Holds the log and the copies; removed by whoever made it.
    pub folder: PathBuf,
    pub durability: String,
    pub events: u64,
}

/// What one query took.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub query: String,
    pub title: String,
    pub events: u64,
    pub seconds: f64,
    pub events_per_second: f64,
    pub cpu_seconds: f64,
    /// Million events per CPU second.
    pub million_events_per_cpu_second: f64,
    pub peak_rss_bytes: u64,
    /// Records in the sink.
    pub rows_written: u64,
    /// Rows of a stream, keys of a table.
    pub results: u64,
    /// By plain counting; see the oracle for where it may differ.
    pub expected: Option<u64>,
}

fn options(setup: &Setup, name: &str) -> NodeOptions {
    NodeOptions {
        binary: setup.binary.clone(),
        data_dir: setup.folder.join(name),
        durability: setup.durability.clone(),
        epoch_rows: None,
        log: setup.folder.join("server.log"),
    }
}

/// Generates the events into the topics of a server in `folder/log`, and stops it.
///
/// # Errors
/// When the server does.
pub fn prepare(setup: &Setup) -> Result<Oracle, String> {
    let node = Node::start(&options(setup, "log"))?;
    let mut client = connect(&node)?;
    for topic in ["person", "auction", "bid", "side"] {
        client.create_topic(topic, PARTITIONS).map_err(text)?;
    }
    let mut writer = Writer { client, open: Vec::new(), in_flight: 0 };
    let generator = Nexmark::new(SEED);
    let mut oracle = Oracle::default();
    let mut json = Vec::new();
    for i in 0..setup.events {
        let event = generator.event(i, &mut json);
        oracle.count(event, &json)?;
        writer.push(event.kind.topic(), event.key, event.time_ms, &json)?;
    }
    for k in 0..SIDE_ROWS {
        let payload = format!("{{\"payload\":\"side input {k}\"}}");
        // Before every bid: a stream–table join sees the table as of the row's time.
        writer.push("side", k, 0, payload.as_bytes())?;
    }
    writer.finish()?;
    node.stop()?;
    Ok(oracle)
}

/// Collects records by topic and partition and sends them in batches.
struct Writer {
    client: Client,
    open: Vec<(&'static str, i32, Vec<NewRecord>)>,
    in_flight: usize,
}

impl Writer {
    fn push(
        &mut self,
        topic: &'static str,
        key: i64,
        time: i64,
        value: &[u8],
    ) -> Result<(), String> {
        let key = key.to_be_bytes();
        let partition = partition_of(&key, PARTITIONS);
        let place = self.open.iter().position(|(t, p, _)| *t == topic && *p == partition);
        let place = place.unwrap_or_else(|| {
            self.open.push((topic, partition, Vec::new()));
            self.open.len() - 1
        });
        self.open[place].2.push((time, Some(key.to_vec()), value.to_vec()));
        if self.open[place].2.len() >= BATCH_RECORDS {
            let records = std::mem::take(&mut self.open[place].2);
            self.send(topic, partition, &records)?;
        }
        Ok(())
    }

    fn send(&mut self, topic: &str, partition: i32, records: &[NewRecord]) -> Result<(), String> {
        if self.in_flight >= PIPELINE {
            self.client.receive_ack().map_err(text)?;
            self.in_flight -= 1;
        }
        let bytes: Bytes = batch(records, None).map_err(text)?;
        self.client.send_batch(topic, partition, bytes).map_err(text)?;
        self.in_flight += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), String> {
        for (topic, partition, records) in std::mem::take(&mut self.open) {
            if !records.is_empty() {
                self.send(topic, partition, &records)?;
            }
        }
        while self.in_flight > 0 {
            self.client.receive_ack().map_err(text)?;
            self.in_flight -= 1;
        }
        Ok(())
    }
}

fn connect(node: &Node) -> Result<Client, String> {
    Client::connect(&node.kafka, TIMEOUT).map_err(text)
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// Runs one query on a copy of the prepared log.
///
/// # Errors
/// When a statement is refused or the query does not finish.
pub fn run(setup: &Setup, query: &Query, oracle: &Oracle) -> Result<Measured, String> {
    let copy = setup.folder.join(query.name);
    copy_folder(&setup.folder.join("log"), &copy)?;
    let result = measure(setup, query, oracle);
    // A copy left over only takes space.
    let _ = std::fs::remove_dir_all(&copy);
    result
}

fn measure(setup: &Setup, query: &Query, oracle: &Oracle) -> Result<Measured, String> {
    let node = Node::start(&options(setup, query.name))?;
    let mut client = connect(&node)?;
    let mut expected_in = 0;
    for topic in query.reads {
        for partition in 0..PARTITIONS {
            expected_in += client.end_offset(topic, partition).map_err(text)? as u64;
        }
    }
    node.ksql(SOURCES)?;
    let cpu_before = node.usage().cpu();
    let read_before = records_in(&node)?;
    let begin = Instant::now();
    node.ksql(query.sql)?;
    let mut last = Progress::default();
    let (mut moved, mut moved_cpu) = (begin, cpu_before);
    let (mut quiet, mut quiet_cpu) = (begin, cpu_before);
    while quiet.elapsed() < QUIET || last.records_in < expected_in {
        let cpu = node.usage().cpu();
        let now =
            Progress { records_in: records_in(&node)? - read_before, rows: end_of(&mut client)? };
        if now != last {
            (last, moved, moved_cpu) = (now, Instant::now(), cpu);
        }
        // A server that still computes is not done, whatever stands still.
        if moved > quiet || cpu.saturating_sub(quiet_cpu) > BUSY {
            (quiet, quiet_cpu) = (Instant::now(), cpu);
        }
        if begin.elapsed() > GIVE_UP {
            return Err(format!("{}: not done: {now:?} of {expected_in}", query.name));
        }
        // Looking costs the server time too: about every fiftieth of the run is enough.
        std::thread::sleep((begin.elapsed() / 50).clamp(POLL_MIN, POLL_MAX));
    }
    let seconds = (moved - begin).as_secs_f64();
    let usage = node.usage();
    let cpu = moved_cpu.saturating_sub(cpu_before).max(Duration::from_millis(1)).as_secs_f64();
    let results = if query.is_table { live_keys(&mut client)? } else { last.rows };
    Ok(Measured {
        query: query.name.into(),
        title: query.title.into(),
        events: setup.events,
        seconds,
        events_per_second: setup.events as f64 / seconds,
        cpu_seconds: cpu,
        million_events_per_cpu_second: setup.events as f64 / cpu / 1e6,
        peak_rss_bytes: usage.peak_rss_bytes,
        rows_written: last.rows,
        results,
        expected: oracle.expected(query.name),
    })
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    records_in: u64,
    rows: u64,
}

fn records_in(node: &Node) -> Result<u64, String> {
    let metrics = node.metrics()?;
    let found = metrics.iter().find(|(name, _)| name == "millstream_records_in_total");
    found.map(|(_, value)| *value as u64).ok_or_else(|| "no millstream_records_in_total".into())
}

fn end_of(client: &mut Client) -> Result<u64, String> {
    let ends = (0..PARTITIONS).map(|p| client.end_offset(SINK, p).map_err(text));
    ends.map(|end| end.map(|end| end as u64)).sum()
}

/// Keys of the sink whose last record is not a tombstone.
fn live_keys(client: &mut Client) -> Result<u64, String> {
    let mut live: HashSet<Vec<u8>> = HashSet::new();
    for partition in 0..PARTITIONS {
        let mut next = 0;
        let end = client.end_offset(SINK, partition).map_err(text)?;
        while next < end {
            let fetched = client.fetch(SINK, partition, next, 16 << 20, 500).map_err(text)?;
            let (records, after) = fetched.open(next).map_err(text)?;
            if after == next {
                return Err(format!("no record at {next} of {SINK}-{partition}"));
            }
            next = after;
            for record in records {
                let key = record.key.unwrap_or_default();
                match record.value {
                    Some(_) => live.insert(key),
                    None => live.remove(&key),
                };
            }
        }
    }
    Ok(live.len() as u64)
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), String> {
    let at = |e: std::io::Error| format!("copy {}: {e}", from.display());
    std::fs::create_dir_all(to).map_err(at)?;
    for entry in std::fs::read_dir(from).map_err(at)? {
        let entry = entry.map_err(at)?;
        let target = to.join(entry.file_name());
        if entry.file_type().map_err(at)?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target).map_err(at)?;
        }
    }
    Ok(())
}

/// The results as a table.
pub fn report(measured: &[Measured]) -> String {
    let mut rows = vec![
        [
            "query",
            "",
            "seconds",
            "events/s",
            "CPU s",
            "M ev/CPU s",
            "peak MB",
            "written",
            "results",
            "expected",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for m in measured {
        rows.push(vec![
            m.query.clone(),
            m.title.clone(),
            format!("{:.2}", m.seconds),
            format!("{:.0}", m.events_per_second),
            format!("{:.2}", m.cpu_seconds),
            format!("{:.2}", m.million_events_per_cpu_second),
            format!("{}", m.peak_rss_bytes >> 20),
            m.rows_written.to_string(),
            m.results.to_string(),
            m.expected.map_or("?".into(), |n| n.to_string()),
        ]);
    }
    table(&rows)
}

/// How many events of each kind `events` holds, for the head of the report.
pub fn kinds(events: u64) -> String {
    let rounds = events / 50;
    let counts = [rounds, rounds * 3, events - rounds * 4];
    let named = Kind::ALL.iter().zip(counts).map(|(kind, n)| format!("{n} {}s", kind.topic()));
    named.collect::<Vec<_>>().join(", ")
}
