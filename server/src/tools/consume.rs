//! `millstream consume`: records become lines.
//!
//! All partitions are read with one request after the other; the server holds a request until there
//! is something to read. With a group its committed offsets are where reading begins, and what was
//! printed is committed: at least once in five seconds, and at the end.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kafka_wire::{FetchRequest, fetch_request, fetch_response};

use super::args::{ConsumeArgs, From, Isolation};
use super::offsets::{self, EARLIEST, LATEST, Offsets};
use super::print::{self, Place};
use super::{check, connect};
use crate::kafka_client::{KafkaClient, visit_committed};

const FETCH: i16 = 12;
const FETCH_BYTES: i32 = 16 << 20;
const PARTITION_BYTES: i32 = 4 << 20;
/// How long a request waits at the server; then Ctrl-C is looked for.
const WAIT_MS: i32 = 250;
const COMMIT_EVERY: Duration = Duration::from_secs(5);

pub(super) fn run(args: &ConsumeArgs, stop: &AtomicBool) -> io::Result<()> {
    let mut client = connect(&args.server)?;
    let all = offsets::partitions(&mut client, &args.topic)?;
    if let Some(partition) = args.partitions.iter().find(|partition| **partition >= all) {
        let words = format!("topic {} has {all} partitions, and no {partition}", args.topic);
        return Err(io::Error::other(words));
    }
    let chosen: Vec<i32> = match args.partitions.is_empty() {
        true => (0..all).collect(),
        false => args.partitions.clone(),
    };
    let next = beginnings(&mut client, args, &chosen)?;
    let ends = match args.exit_at_end {
        true => Some(offsets::at_time(&mut client, &args.topic, chosen, LATEST, args.isolation)?),
        false => None,
    };
    let out = BufWriter::new(io::stdout());
    let mut consumer =
        Consumer { args, client, committed: next.clone(), next, ends, printed: 0, out };
    let done = consumer.follow(stop);
    // What was printed is committed even when the reader of the pipe has gone.
    let committed = consumer.commit();
    done.and(committed)
}

/// Where each partition is read from.
fn beginnings(client: &mut KafkaClient, args: &ConsumeArgs, chosen: &[i32]) -> io::Result<Offsets> {
    let topic = &args.topic;
    let mut at =
        |time| offsets::at_time(client, topic, chosen.iter().copied(), time, args.isolation);
    let mut next = match args.from {
        Some(From::Beginning) => at(EARLIEST)?,
        None if args.group.is_some() => at(EARLIEST)?,
        Some(From::End) | None => at(LATEST)?,
        Some(From::Offset(offset)) => chosen.iter().map(|partition| (*partition, offset)).collect(),
        Some(From::Time(time)) => {
            let ends = at(LATEST)?;
            let found = at(time)?.into_iter();
            // No record is so young: from the end on.
            found.map(|(p, offset)| (p, if offset < 0 { ends[&p] } else { offset })).collect()
        }
    };
    if let (Some(group), None) = (&args.group, args.from) {
        let committed = offsets::committed(client, group)?;
        for (partition, offset) in committed.get(topic).into_iter().flatten() {
            if let Some(next) = next.get_mut(partition) {
                *next = *offset;
            }
        }
    }
    Ok(next)
}

struct Consumer<'a, W: Write> {
    args: &'a ConsumeArgs,
    client: KafkaClient,
    next: Offsets,
    committed: Offsets,
    /// Reading ends there.
    ends: Option<Offsets>,
    printed: u64,
    out: W,
}

impl<W: Write> Consumer<'_, W> {
    fn follow(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut commit_at = Instant::now() + COMMIT_EVERY;
        while !stop.load(Ordering::Acquire) && !self.is_done() {
            let request = self.request();
            let answer = self.client.call(&request, FETCH)?;
            check("fetch", answer.error_code, None)?;
            let read = answer.responses.iter().flat_map(|topic| &topic.partitions);
            read.into_iter().try_for_each(|partition| self.take(partition))?;
            self.out.flush()?;
            if Instant::now() >= commit_at {
                self.commit()?;
                commit_at = Instant::now() + COMMIT_EVERY;
            }
        }
        self.out.flush()
    }

    fn is_full(&self) -> bool {
        self.args.max.is_some_and(|max| self.printed >= max)
    }

    fn is_done(&self) -> bool {
        let at_end = |ends: &Offsets| self.next.iter().all(|(p, next)| *next >= ends[p]);
        self.is_full() || self.ends.as_ref().is_some_and(at_end)
    }

    fn request(&self) -> FetchRequest {
        let mut topic = fetch_request::FetchTopic::default();
        topic.topic = self.args.topic.as_str().into();
        for (partition, offset) in &self.next {
            let mut asked = fetch_request::FetchPartition::default();
            asked.partition = *partition;
            asked.current_leader_epoch = -1;
            asked.fetch_offset = *offset;
            asked.last_fetched_epoch = -1;
            asked.log_start_offset = -1;
            asked.partition_max_bytes = PARTITION_BYTES;
            topic.partitions.push(asked);
        }
        let mut request = FetchRequest::default();
        request.replica_id = -1;
        request.max_wait_ms = WAIT_MS;
        request.min_bytes = 1;
        request.max_bytes = FETCH_BYTES;
        request.isolation_level = i8::from(self.args.isolation == Isolation::ReadCommitted);
        request.session_epoch = -1;
        request.topics = vec![topic];
        request
    }

    /// Prints the records of one partition, and moves its offset behind them.
    fn take(&mut self, read: &fetch_response::PartitionData) -> io::Result<()> {
        let partition = read.partition_index;
        let what = format!("partition {partition} of {}", self.args.topic);
        check(&what, read.error_code, None)?;
        let damaged =
            |e| io::Error::other(format!("{what} holds a batch that cannot be read: {e}"));
        let aborted = read.aborted_transactions.iter().flatten();
        let aborted: Vec<_> = aborted.map(|one| (one.producer_id, one.first_offset)).collect();
        let bytes = read.records.as_deref().unwrap_or_default();
        visit_committed(bytes, &aborted, |header, records| {
            let from = self.next.get(&partition).copied().unwrap_or(0);
            for record in records.into_iter().flatten() {
                let record = record.map_err(damaged)?;
                if record.offset < from {
                    continue;
                }
                if self.is_full() || self.is_beyond_end(partition, record.offset) {
                    return Ok(false);
                }
                let place = Place { topic: &self.args.topic, partition };
                print::record(&mut self.out, place, &record, self.args.format, self.args.keys)?;
                self.printed += 1;
                self.next.insert(partition, record.offset + 1);
            }
            self.next.insert(partition, header.next_offset().max(from));
            Ok(true)
        })
    }

    fn is_beyond_end(&self, partition: i32, offset: i64) -> bool {
        self.ends.as_ref().is_some_and(|ends| offset >= ends[&partition])
    }

    fn commit(&mut self) -> io::Result<()> {
        let Some(group) = &self.args.group else { return Ok(()) };
        if self.committed == self.next {
            return Ok(());
        }
        let topics = BTreeMap::from([(self.args.topic.clone(), self.next.clone())]);
        offsets::commit(&mut self.client, group, &topics)?;
        self.committed = self.next.clone();
        Ok(())
    }
}
