//! The log benchmark: 1 KB records through the Kafka port, ours alone or beside Apache Kafka.
//!
//! Both brokers get the same load from the same generator in the same run, in turns: produce and
//! consume with 1 and with 16 clients, then produce and consume at once, as fast as it goes and at
//! half of what the slower of the two reached. What counts is the work per CPU second *of the broker's
//! process*, because generator and brokers share the machine; and latencies at the same half load.
//! Both are asked in the same way: frames made once, [`load`]'s pipeline and fetch size, connections
//! without delay. Before each load what is left of the one before is settled ([`settle`]), and each
//! round begins with another broker, so that neither always pays for the other's dirty pages.
//!
//! Pairings: A, an acknowledged record is in the page cache (`durability=os` beside Kafka's
//! defaults); B, it is on the disk (`durability=fsync` beside Kafka with `flush.messages=1`).
//! At last: how long until a start with 1,000 partitions takes a record: from starting the process
//! after a clean stop, over its recovery, to the acknowledgement of a produce (its own connection
//! included, tried every millisecond). For Kafka that is the shell script and the JVM, too.
//!
//! Bounded: each load by its seconds; topics are deleted after their load, brokers stopped, and the
//! folder is removed by whoever made it.

pub mod broker;
pub mod load;
pub mod raw;
pub mod report;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::wire_client::Client;
use broker::{Broker, How, Kind, fetch_kafka, take_one};
use load::{Done, RECORD_BYTES, Target, percentile, ready_batch};
pub use report::{ratios, report, summary};

const TIMEOUT: Duration = Duration::from_secs(60);
const MB: f64 = 1e6;
/// Clients of the loads that produce and consume at once.
const BOTH_CLIENTS: usize = 4;
/// Partitions of the start measurement.
const START_PARTITIONS: i32 = 1000;
/// A single start says little on a machine that does other things.
const STARTS_MIN: usize = 5;
/// How long deleted files may take to go before the next load.
const SETTLE_MAX: Duration = Duration::from_secs(20);
/// Java compiles what runs often; a broker that was just started is not what it will be. Loads go on
/// until one does no more than this much better than the best before, or there were enough.
const WARM_UP_SECONDS: f64 = 5.0;
const WARM_UP_GAIN: f64 = 1.1;
const WARM_UPS_MAX: usize = 8;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    pub binary: PathBuf,
    pub folder: PathBuf,
    pub against_kafka: bool,
    /// Of each load.
    pub seconds: f64,
    pub rounds: usize,
    /// Sizes of record batches.
    pub batch_kib: Vec<usize>,
    /// `A`, `B`, `start`; all unless given.
    pub only: Vec<String>,
}

/// How durable an acknowledgement is on both sides.
struct Pairing {
    name: &'static str,
    durability: &'static str,
    kafka_settings: &'static [(&'static str, &'static str)],
    consume: bool,
}

// Without the delay Kafka would keep a minute of deleted topics on the disk.
const PAIRINGS: [Pairing; 2] = [
    Pairing {
        name: "A",
        durability: "os",
        kafka_settings: &[("file.delete.delay.ms", "1000")],
        consume: true,
    },
    Pairing {
        name: "B",
        durability: "fsync",
        kafka_settings: &[("file.delete.delay.ms", "1000"), ("flush.messages", "1")],
        consume: false,
    },
];

/// One load on one broker.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub pairing: String,
    pub broker: &'static str,
    pub what: String,
    pub clients: usize,
    pub batch_kib: usize,
    pub seconds: f64,
    pub mb_per_second: f64,
    /// User and system time of the broker's process.
    pub cpu_seconds: f64,
    /// The kernel's share of it.
    pub system_seconds: f64,
    pub mb_per_cpu_second: f64,
    /// From sending a batch to its acknowledgement (a fetch's answer), milliseconds.
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// From sending a batch to having read it back; 0 where that was not asked.
    pub end_to_end_p50_ms: f64,
    pub end_to_end_p99_ms: f64,
    /// Since the broker's start.
    pub peak_rss_mb: f64,
}

struct Subject {
    how: How,
    broker: Broker,
    client: Client,
    topics: usize,
}

/// Measures everything that is asked for.
///
/// # Errors
/// When a broker or a client fails, or there is no Kafka to compare with.
pub fn run(options: &Options) -> Result<Vec<Measured>, String> {
    let mut kinds = vec![Kind::Millstream];
    if options.against_kafka {
        fetch_kafka()?;
        kinds.push(Kind::Kafka);
    }
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|o| o == name);
    let mut measured = Vec::new();
    for pairing in PAIRINGS.iter().filter(|pairing| wanted(pairing.name)) {
        measured.append(&mut run_pairing(options, pairing, &kinds)?);
    }
    if wanted("start") {
        for kind in kinds {
            measured.append(&mut starts(options, kind)?);
        }
    }
    Ok(measured)
}

fn how(options: &Options, kind: Kind, name: &str, durability: &'static str) -> Result<How, String> {
    let folder = options.folder.join(format!("{name}-{}", kind.name()));
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(How { kind, binary: options.binary.clone(), folder, durability })
}

fn run_pairing(
    options: &Options,
    pairing: &Pairing,
    kinds: &[Kind],
) -> Result<Vec<Measured>, String> {
    let mut subjects = Vec::new();
    for kind in kinds {
        let how = how(options, *kind, pairing.name, pairing.durability)?;
        let (broker, _) = Broker::start(&how, "none", false)?;
        let client = Client::connect(broker.address(), TIMEOUT).map_err(|e| e.to_string())?;
        let mut subject = Subject { how, broker, client, topics: 0 };
        subject.warm_up(pairing, &options.batch_kib)?;
        subjects.push(subject);
    }
    let mut measured = Vec::new();
    for round in 0..options.rounds {
        for &batch_kib in &options.batch_kib {
            for clients in [1, 16] {
                for subject in in_turn(&mut subjects, round) {
                    measured.append(&mut subject.loads(
                        pairing,
                        clients,
                        batch_kib,
                        options.seconds,
                    )?);
                }
            }
        }
    }
    for &batch_kib in &options.batch_kib {
        let mut slowest = f64::INFINITY;
        for subject in &mut subjects {
            let full = subject.both(pairing, batch_kib, options.seconds, None)?;
            slowest = slowest.min(full.mb_per_second);
            measured.push(full);
        }
        for round in 0..options.rounds {
            for subject in in_turn(&mut subjects, round) {
                let half = Some(slowest / 2.0);
                measured.push(subject.both(pairing, batch_kib, options.seconds, half)?);
            }
        }
    }
    for subject in subjects {
        subject.broker.stop()?;
        // Logs left over only take space.
        let _ = std::fs::remove_dir_all(subject.how.folder);
    }
    Ok(measured)
}

/// The subjects, each round in another order.
fn in_turn(subjects: &mut [Subject], round: usize) -> Vec<&mut Subject> {
    let mut order: Vec<&mut Subject> = subjects.iter_mut().collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

impl Subject {
    fn warm_up(&mut self, pairing: &Pairing, batch_kib: &[usize]) -> Result<(), String> {
        let mut best = 0.0;
        for _ in 0..WARM_UPS_MAX {
            let mut reached = 0.0;
            for batch_kib in batch_kib {
                let done = self.loads(pairing, 16, *batch_kib, WARM_UP_SECONDS)?;
                reached += done.first().map_or(0.0, |produced| produced.mb_per_cpu_second);
            }
            if reached < best * WARM_UP_GAIN {
                break;
            }
            best = reached;
        }
        Ok(())
    }

    fn begin(&mut self, pairing: &Pairing, partitions: usize) -> Result<String, String> {
        self.topics += 1;
        let topic = format!("load-{}", self.topics);
        let settings = match self.how.kind {
            Kind::Millstream => &[],
            Kind::Kafka => pairing.kafka_settings,
        };
        make_topic(&mut self.client, self.broker.address(), &topic, partitions as i32, settings)?;
        Ok(topic)
    }

    fn end(&mut self, topic: &str) -> Result<(), String> {
        self.client.delete_topic(topic).map_err(|e| format!("delete {topic}: {e}"))?;
        settle(&self.how.folder)
    }

    /// Produces for some time, then consumes it for as long.
    fn loads(
        &mut self,
        pairing: &Pairing,
        clients: usize,
        batch_kib: usize,
        seconds: f64,
    ) -> Result<Vec<Measured>, String> {
        let topic = self.begin(pairing, clients)?;
        let address = self.broker.address().to_owned();
        let target = Target { address: &address, topic: &topic, clients, batch: batch_kib };
        let mut measured = vec![
            self.measure(pairing, "produce", target, |target| load::produce(target, seconds))?,
        ];
        if pairing.consume {
            write_back(&self.how.folder)?;
            let mut ends = Vec::new();
            for partition in 0..clients as i32 {
                let end = self.client.end_offset(&topic, partition);
                ends.push(end.map_err(|e| e.to_string())?);
            }
            let consume = |target: Target<'_>| load::consume(target, &ends, seconds);
            measured.push(self.measure(pairing, "consume", target, consume)?);
        }
        self.end(&topic)?;
        Ok(measured)
    }

    /// Produces and consumes at once, at `mb_per_second` or as fast as it goes.
    fn both(
        &mut self,
        pairing: &Pairing,
        batch_kib: usize,
        seconds: f64,
        mb_per_second: Option<f64>,
    ) -> Result<Measured, String> {
        let topic = self.begin(pairing, BOTH_CLIENTS)?;
        let address = self.broker.address().to_owned();
        let target =
            Target { address: &address, topic: &topic, clients: BOTH_CLIENTS, batch: batch_kib };
        let batch_mb = (batch_kib * RECORD_BYTES) as f64 / MB;
        let rate = mb_per_second.map(|mb| mb / batch_mb / BOTH_CLIENTS as f64);
        let what = if rate.is_some() { "both, half load" } else { "both, full" };
        let done = self.measure(pairing, what, target, |t| load::both(t, seconds, rate))?;
        self.end(&topic)?;
        Ok(done)
    }

    fn measure(
        &self,
        pairing: &Pairing,
        what: &str,
        target: Target<'_>,
        work: impl FnOnce(Target<'_>) -> Result<Done, String>,
    ) -> Result<Measured, String> {
        let before = self.broker.usage();
        let done = work(target)?;
        let usage = self.broker.usage();
        let cpu = usage.cpu().saturating_sub(before.cpu());
        let cpu_seconds = cpu.max(Duration::from_millis(10)).as_secs_f64();
        let mb = done.records as f64 * RECORD_BYTES as f64 / MB;
        let one = Measured {
            pairing: pairing.name.into(),
            broker: self.how.kind.name(),
            what: what.into(),
            clients: target.clients,
            batch_kib: target.batch,
            seconds: done.seconds,
            mb_per_second: mb / done.seconds,
            cpu_seconds,
            system_seconds: usage.system.saturating_sub(before.system).as_secs_f64(),
            mb_per_cpu_second: mb / cpu_seconds,
            p50_ms: percentile(&done.latencies, 0.5),
            p99_ms: percentile(&done.latencies, 0.99),
            end_to_end_p50_ms: percentile(&done.end_to_end, 0.5),
            end_to_end_p99_ms: percentile(&done.end_to_end, 0.99),
            peak_rss_mb: usage.peak_rss_bytes as f64 / MB,
        };
        eprint!("{}", report(std::slice::from_ref(&one)));
        Ok(one)
    }
}

/// Waits until the files of deleted topics are gone and everything else is on the disk: what one
/// load leaves behind is not the next one's work.
fn settle(folder: &Path) -> Result<(), String> {
    let begin = Instant::now();
    while has_leftovers(folder, 3) && begin.elapsed() < SETTLE_MAX {
        std::thread::sleep(Duration::from_millis(20));
    }
    write_back(folder)
}

/// Whether a directory of a deleted topic is left, `depth` levels down.
fn has_leftovers(folder: &Path, depth: usize) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_left = name.starts_with("load-") || name.ends_with("-delete");
        is_left || (depth > 1 && has_leftovers(&entry.path(), depth - 1))
    })
}

/// Writes what is dirty in the page cache of the folder's file system.
fn write_back(folder: &Path) -> Result<(), String> {
    let synced = std::fs::File::open(folder).and_then(|file| Ok(rustix::fs::syncfs(file)?));
    synced.map_err(|e| format!("sync the file system of {}: {e}", folder.display()))
}

/// Makes a topic and waits until all of it takes records. Each partition gets one.
fn make_topic(
    client: &mut Client,
    address: &str,
    topic: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<(), String> {
    client.create_topic_with(topic, partitions, settings).map_err(|e| e.to_string())?;
    let begin = Instant::now();
    for partition in 0..partitions {
        let frame = raw::produce_frame(topic, partition, ready_batch(1)?)?;
        loop {
            match take_one(address, &frame)? {
                Ok(()) => break,
                Err(code) if broker::is_passing(code) && begin.elapsed() < TIMEOUT => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(code) => return Err(format!("produce to {topic}: Kafka error {code}")),
            }
        }
    }
    Ok(())
}

/// Times from starting the process to the first record taken, with [`START_PARTITIONS`] partitions
/// that hold a record each.
fn starts(options: &Options, kind: Kind) -> Result<Vec<Measured>, String> {
    let how = how(options, kind, "start", "fsync")?;
    let (broker, _) = Broker::start(&how, "none", false)?;
    let mut client = Client::connect(broker.address(), TIMEOUT).map_err(|e| e.to_string())?;
    make_topic(&mut client, broker.address(), "many", START_PARTITIONS, &[])?;
    broker.stop()?;
    let mut measured = Vec::new();
    for _ in 0..options.rounds.max(STARTS_MIN) {
        let (broker, took) = Broker::start(&how, "many", true)?;
        let usage = broker.usage();
        let ms = took.as_secs_f64() * 1e3;
        let one = Measured {
            pairing: "start".into(),
            broker: kind.name(),
            what: format!("start, {START_PARTITIONS} partitions"),
            clients: 1,
            batch_kib: 1,
            seconds: took.as_secs_f64(),
            mb_per_second: 0.0,
            cpu_seconds: usage.cpu().as_secs_f64(),
            system_seconds: usage.system.as_secs_f64(),
            mb_per_cpu_second: 0.0,
            p50_ms: ms,
            p99_ms: ms,
            end_to_end_p50_ms: 0.0,
            end_to_end_p99_ms: 0.0,
            peak_rss_mb: usage.peak_rss_bytes as f64 / MB,
        };
        eprint!("{}", report(std::slice::from_ref(&one)));
        measured.push(one);
        broker.stop()?;
    }
    let _ = std::fs::remove_dir_all(how.folder);
    Ok(measured)
}
