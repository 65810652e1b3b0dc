//! The loads: producers, consumers, and both at once. Threads that block; one connection each.
//!
//! Every client has a partition of its own. A batch is made once and sent again and again, so the
//! generator costs little more than its system calls.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::raw::{connect, fetch_frame, produce_frame};
use crate::wire_client::{NewRecord, batch};

pub const RECORD_BYTES: usize = 1024;
/// Batches in flight, as in Kafka's own producer.
const PIPELINE: usize = 5;
/// What a consumer asks for, as Kafka's own does (`max.partition.fetch.bytes`).
const FETCH_BYTES: i32 = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(60);
/// Batches whose times one client keeps; the load ends there.
const TIMES_MAX: usize = 1 << 20;

/// Where a load goes.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub address: &'a str,
    pub topic: &'a str,
    pub clients: usize,
    /// Records of a batch.
    pub batch: usize,
}

/// What a load did. Latencies are sorted.
#[derive(Default)]
pub struct Done {
    pub records: u64,
    pub seconds: f64,
    /// From sending a batch to its acknowledgement; of a fetch, to its answer.
    pub latencies: Vec<Duration>,
    /// From sending a batch to having read it back.
    pub end_to_end: Vec<Duration>,
}

impl Done {
    fn add(&mut self, mut other: Done) {
        self.records += other.records;
        self.latencies.append(&mut other.latencies);
        self.end_to_end.append(&mut other.end_to_end);
    }
}

/// Milliseconds at this share of sorted durations.
pub fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    let at = sorted.get(place.min(sorted.len().saturating_sub(1)));
    at.map_or(0.0, |d| d.as_secs_f64() * 1e3)
}

/// Runs `work` for each client and adds up.
fn all(
    target: Target<'_>,
    work: impl Fn(i32) -> Result<Done, String> + Sync,
) -> Result<Done, String> {
    let begin = Instant::now();
    let results: Vec<Result<Done, String>> = std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            (0..target.clients).map(|p| scope.spawn(move || work(p as i32))).collect();
        let panicked = |_| Err("a client panicked".to_owned());
        threads.into_iter().map(|t| t.join().unwrap_or_else(panicked)).collect()
    });
    let mut sum = Done { seconds: begin.elapsed().as_secs_f64(), ..Done::default() };
    for one in results {
        sum.add(one?);
    }
    sum.latencies.sort_unstable();
    sum.end_to_end.sort_unstable();
    Ok(sum)
}

/// A batch of `records` records of 1 KB, of now.
pub fn ready_batch(records: usize) -> Result<Bytes, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
    let now = now.as_millis() as i64;
    let records: Vec<NewRecord> =
        (0..records).map(|i| (now, None, vec![b'a' + (i % 26) as u8; RECORD_BYTES])).collect();
    batch(&records, None).map_err(|e| e.to_string())
}

fn frame_for(target: Target<'_>, partition: i32) -> Result<Vec<u8>, String> {
    produce_frame(target.topic, partition, ready_batch(target.batch)?)
}

fn refused(code: i16) -> String {
    format!("Produce: Kafka error {code}")
}

/// Produces for `seconds` with [`PIPELINE`] batches in flight.
///
/// # Errors
/// When a client fails.
pub fn produce(target: Target<'_>, seconds: f64) -> Result<Done, String> {
    all(target, |partition| {
        let frame = frame_for(target, partition)?;
        let (mut sender, mut receiver) = connect(target.address, TIMEOUT)?;
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        let (mut sent, mut latencies) = (VecDeque::new(), Vec::new());
        loop {
            let open = Instant::now() < until;
            if sent.len() >= PIPELINE || !open {
                let Some(at): Option<Instant> = sent.pop_front() else { break };
                receiver.acked()?.map_err(refused)?;
                latencies.push(at.elapsed());
            }
            if open {
                sender.send(&frame)?;
                sent.push_back(Instant::now());
            }
        }
        let records = (latencies.len() * target.batch) as u64;
        Ok(Done { records, latencies, ..Done::default() })
    })
}

/// Consumes each partition from its beginning, again and again, until `seconds` have passed: how
/// much was produced does not decide how long is measured. `ends` are the partitions' ends.
///
/// # Errors
/// When a client fails, or a partition gives nothing where records must be.
pub fn consume(target: Target<'_>, ends: &[i64], seconds: f64) -> Result<Done, String> {
    all(target, |partition| {
        let (mut sender, mut receiver) = connect(target.address, TIMEOUT)?;
        let (mut next, mut records, mut latencies) = (0, 0, Vec::new());
        let end = ends[partition as usize];
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < until {
            let begin = Instant::now();
            sender.send(&fetch_frame(target.topic, partition, next, FETCH_BYTES)?)?;
            let (_, after) = receiver.fetched(next)?;
            latencies.push(begin.elapsed());
            if after <= next {
                return Err(format!("no record at {next} of {}-{partition}", target.topic));
            }
            records += (after - next) as u64;
            next = if after < end { after } else { 0 };
        }
        Ok(Done { records, latencies, ..Done::default() })
    })
}

/// The moments at which one client's batches were sent, in ns since `begin`.
struct Times {
    begin: Instant,
    sent: Vec<AtomicU64>,
    acked: AtomicI64,
    ended: AtomicBool,
}

impl Times {
    fn since(&self, batch: usize) -> Option<Duration> {
        let at = self.sent.get(batch)?.load(Ordering::Acquire);
        Some(self.begin.elapsed().saturating_sub(Duration::from_nanos(at)))
    }

    fn note(&self, batch: usize, at: Instant) {
        let ns = at.saturating_duration_since(self.begin).as_nanos() as u64;
        self.sent[batch].store(ns, Ordering::Release);
    }
}

/// Produces and consumes the same partitions at once. With a `rate` (batches per second of one
/// client) batches leave at fixed times, whatever became of those before; a late one counts from the
/// time it should have left. Without, as fast as [`PIPELINE`] in flight allow.
///
/// # Errors
/// When a client fails.
pub fn both(target: Target<'_>, seconds: f64, rate: Option<f64>) -> Result<Done, String> {
    let batches = rate.map_or(TIMES_MAX, |rate| ((seconds * rate) as usize).clamp(1, TIMES_MAX));
    all(target, |partition| {
        let times = Arc::new(Times {
            begin: Instant::now(),
            sent: (0..batches).map(|_| AtomicU64::new(0)).collect(),
            acked: AtomicI64::new(0),
            ended: AtomicBool::new(false),
        });
        let until = times.begin + Duration::from_secs_f64(seconds);
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| tail(target, partition, &times));
            let wrote = match rate {
                Some(rate) => paced(target, partition, &times, rate),
                None => unpaced(target, partition, &times, until),
            };
            times.ended.store(true, Ordering::Release);
            let end_to_end = reading.join().map_err(|_| "a consumer panicked".to_owned())??;
            let latencies = wrote?;
            let records = (latencies.len() * target.batch) as u64;
            Ok(Done { records, latencies, end_to_end, ..Done::default() })
        })
    })
}

fn unpaced(
    target: Target<'_>,
    partition: i32,
    times: &Times,
    until: Instant,
) -> Result<Vec<Duration>, String> {
    let frame = frame_for(target, partition)?;
    let (mut sender, mut receiver) = connect(target.address, TIMEOUT)?;
    let (mut sent, mut latencies) = (0, Vec::new());
    loop {
        let open = sent < times.sent.len() && Instant::now() < until;
        if sent - latencies.len() >= PIPELINE || !open {
            if sent == latencies.len() {
                return Ok(latencies);
            }
            receiver.acked()?.map_err(refused)?;
            latencies.extend(times.since(latencies.len()));
            times.acked.store((latencies.len() * target.batch) as i64, Ordering::Release);
        }
        if open {
            times.note(sent, Instant::now());
            sender.send(&frame)?;
            sent += 1;
        }
    }
}

fn paced(
    target: Target<'_>,
    partition: i32,
    times: &Times,
    rate: f64,
) -> Result<Vec<Duration>, String> {
    let frame = frame_for(target, partition)?;
    let (mut sender, mut receiver) = connect(target.address, TIMEOUT)?;
    std::thread::scope(|scope| {
        let acks = scope.spawn(move || -> Result<Vec<Duration>, String> {
            let mut latencies = Vec::with_capacity(times.sent.len());
            for batch in 0..times.sent.len() {
                receiver.acked()?.map_err(refused)?;
                latencies.extend(times.since(batch));
                times.acked.store(((batch + 1) * target.batch) as i64, Ordering::Release);
            }
            Ok(latencies)
        });
        // Clients do not start together.
        let shift = f64::from(partition) / target.clients as f64;
        for batch in 0..times.sent.len() {
            let due = times.begin + Duration::from_secs_f64((batch as f64 + shift) / rate);
            let wait = due.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                times.note(batch, due);
            } else {
                std::thread::sleep(wait);
                // The generator's own oversleeping is not the broker's.
                times.note(batch, Instant::now());
            }
            sender.send(&frame)?;
        }
        acks.join().map_err(|_| "a producer panicked".to_owned())?
    })
}

/// Reads a partition as it grows, until its producer has ended and all of it is read.
fn tail(target: Target<'_>, partition: i32, times: &Times) -> Result<Vec<Duration>, String> {
    let (mut sender, mut receiver) = connect(target.address, TIMEOUT)?;
    let (mut next, mut latencies) = (0, Vec::new());
    loop {
        // In this order: what was acknowledged when the producer ended is all there is.
        let ended = times.ended.load(Ordering::Acquire);
        if ended && next >= times.acked.load(Ordering::Acquire) {
            return Ok(latencies);
        }
        sender.send(&fetch_frame(target.topic, partition, next, FETCH_BYTES)?)?;
        let (_, after) = receiver.fetched(next)?;
        let (first, last) = (next as usize / target.batch, after as usize / target.batch);
        latencies.extend((first..last).filter_map(|batch| times.since(batch)));
        next = after;
    }
}
