//! Compaction against a naive model, with crashes at any disk operation.
//!
//! A round is checked as a step from what the log held to what it holds: each record that is left must
//! be one that was there, and the naive rules say which may be missing and which must be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::{open, small_config};
use crate::broker::{Broker, Isolation, TopicPartition, TransactionEnd};
use crate::config::StorageConfig;
use crate::disk::MemDisk;
use crate::log::batch::{self, BatchBuilder, BatchHeader, Codec, RecordIter, batches};
use crate::log::control::Marker;

const ID: Uuid = Uuid::from_u128(9);
const AT: TopicPartition = TopicPartition { topic: ID, partition: 0 };
/// Producers from here on write in transactions.
const TRANSACTIONAL: i64 = 3;
const PRODUCERS: i64 = 6;

/// What is in the log, as its bytes say.
#[derive(Debug, Clone, Default, PartialEq)]
struct Content {
    start: i64,
    records: BTreeMap<i64, Record>,
    /// Markers that still hold their record.
    markers: BTreeMap<i64, BatchHeader>,
    batches: Vec<BatchHeader>,
}

#[derive(Debug, Clone, PartialEq)]
struct Record {
    key: String,
    value: Option<String>,
    timestamp: i64,
    /// Its batch's base offset, and the batch's delete horizon.
    batch: i64,
    horizon: Option<i64>,
}

fn content(broker: &Broker) -> Content {
    let start = broker.log_start(AT).unwrap();
    let mut content = Content { start, ..Content::default() };
    let mut offset = start;
    loop {
        let read = broker.read(AT, offset, 300, Isolation::ReadUncommitted).unwrap();
        if read.records.is_empty() {
            assert_eq!(offset, read.high_watermark, "the log ends with a batch");
            return content;
        }
        for one in batches(&read.records) {
            let (_, bytes) = one.unwrap();
            let header = BatchHeader::verify_stored(bytes).unwrap();
            let (_, body) = batch::records(bytes, 1 << 20).unwrap();
            let mut found = 0;
            for record in RecordIter::new(header, &body) {
                let record = record.unwrap();
                found += 1;
                if record.offset < start {
                    continue;
                }
                if header.is_control() {
                    content.markers.insert(record.offset, header);
                    continue;
                }
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let kept = Record {
                    key: text(record.key.unwrap()),
                    value: record.value.map(text),
                    timestamp: record.timestamp,
                    batch: header.base_offset,
                    horizon: header.delete_horizon(),
                };
                assert_eq!(record.headers().count(), 1);
                assert!(content.records.insert(record.offset, kept).is_none());
            }
            assert_eq!(found, header.record_count);
            content.batches.push(header);
        }
        offset = read.next_offset;
    }
}

struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

struct Run {
    seed: u64,
    dice: Dice,
    now_ms: i64,
    config: StorageConfig,
    /// Every record ever appended, by offset.
    appended: BTreeMap<i64, (String, Option<String>, i64)>,
    /// Per producer the next sequence, and the offset of its last record.
    sequences: BTreeMap<i64, (i32, i64)>,
    /// Records of open transactions, by producer.
    open: BTreeMap<i64, Vec<i64>>,
    /// Records of aborted transactions.
    aborted: BTreeSet<i64>,
    /// Per marker, the offset of the producer's marker before it.
    markers: BTreeMap<i64, (i64, i64)>,
    last_marker: BTreeMap<i64, i64>,
    compactions: usize,
    lives: u128,
}

impl Run {
    fn open(&mut self, disk: MemDisk) -> (Arc<MemDisk>, Broker) {
        let disk = Arc::new(disk);
        self.lives += 1;
        let (broker, _) = open(disk.clone(), self.config.clone(), self.lives).unwrap();
        (disk, broker)
    }

    fn append(&mut self, broker: &Broker) {
        let codec = match self.dice.below(40) {
            0 => Codec::Gzip,
            1 => Codec::Zstd,
            2..6 => Codec::Snappy,
            _ => Codec::None,
        };
        let mut builder = BatchBuilder::new(codec);
        let count = 1 + self.dice.below(4) as i32;
        let base = broker.high_watermark(AT).unwrap();
        let producer = self.dice.below(PRODUCERS as u64) as i64;
        if producer > 0 {
            let (sequence, last) = self.sequences.entry(producer).or_default();
            builder = builder.producer(producer, 0, *sequence);
            *sequence += count;
            *last = base + i64::from(count) - 1;
        }
        if producer >= TRANSACTIONAL {
            builder = builder.transactional();
            let open = self.open.entry(producer).or_default();
            open.extend(base..base + i64::from(count));
        }
        for i in 0..count {
            let key = format!("key {}", self.dice.below(6));
            let value = (self.dice.below(4) > 0).then(|| {
                format!("{} {}", base + i64::from(i), "x".repeat(self.dice.below(60) as usize))
            });
            let timestamp = self.now_ms - self.dice.below(50) as i64;
            builder.push(
                timestamp,
                Some(key.as_bytes()),
                value.as_deref().map(str::as_bytes),
                &[(b"h", Some(b"v"))],
            );
            self.appended.insert(base + i64::from(i), (key, value, timestamp));
        }
        let appended = broker.append(AT, builder.build().unwrap(), self.now_ms).unwrap();
        assert_eq!(appended.base_offset, base);
        broker.commit_pending(self.now_ms).unwrap();
    }

    /// Ends an open transaction.
    fn end(&mut self, broker: &Broker) {
        let Some((producer_id, records)) = self.open.pop_first() else { return };
        let commit = self.dice.below(2) == 0;
        if !commit {
            self.aborted.extend(records);
        }
        let marker = Marker { producer_id, producer_epoch: 0, coordinator_epoch: 0, commit };
        let offset = broker.high_watermark(AT).unwrap();
        let end =
            TransactionEnd { marker, partitions: vec![AT], facts: Vec::new(), told: Vec::new() };
        broker.end_transaction(&end, self.now_ms).unwrap();
        broker.commit_pending(self.now_ms).unwrap();
        let before = self.last_marker.insert(producer_id, offset).unwrap_or(-1);
        self.markers.insert(offset, (producer_id, before));
    }

    /// What must hold of any content, however often it was compacted.
    fn check_always(&self, broker: &Broker, now: &Content) {
        let seed = self.seed;
        for (offset, record) in &now.records {
            let (key, value, timestamp) = &self.appended[offset];
            assert_eq!(
                (key, value, timestamp),
                (&record.key, &record.value, &record.timestamp),
                "seed {seed}, offset {offset}: a record never changes"
            );
        }
        let start = broker.log_start(AT).unwrap();
        let stable = broker.last_stable(AT).unwrap();
        let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
        for (offset, (key, ..)) in &self.appended {
            if *offset >= stable {
                let there = now.records.contains_key(offset) || *offset < start;
                assert!(there, "seed {seed}: {offset} is not decided, and lost");
            } else if !self.aborted.contains(offset) {
                newest.insert(key, *offset);
            }
        }
        for (key, offset) in newest {
            let has_value = self.appended[&offset].1.is_some();
            assert!(
                !has_value || offset < start || now.records.contains_key(&offset),
                "seed {seed}: the newest record of {key} is lost"
            );
        }
        let ends_at = now.batches.last().map_or(start, BatchHeader::next_offset);
        assert_eq!(ends_at, broker.high_watermark(AT).unwrap());
        for (producer, (sequence, last)) in &self.sequences {
            let kept = now.batches.iter().rfind(|b| b.producer_id == *producer && !b.is_control());
            assert!(
                *last < start || kept.is_some_and(|batch| batch.last_sequence() + 1 == *sequence),
                "seed {seed}: the last sequence of producer {producer} is lost"
            );
        }
        self.check_committed(broker, start);
    }

    /// What a `read_committed` consumer makes of the log: it sees no aborted record.
    fn check_committed(&self, broker: &Broker, start: i64) {
        let mut offset = start;
        while offset < broker.last_stable(AT).unwrap() {
            let read = broker.read(AT, offset, 300, Isolation::ReadCommitted).unwrap();
            for one in batches(&read.records) {
                let (header, bytes) = one.unwrap();
                if header.is_control() || read.aborted.iter().any(|entry| entry.covers(&header)) {
                    continue;
                }
                let (_, body) = batch::records(bytes, 1 << 20).unwrap();
                for record in RecordIter::new(header, &body) {
                    let offset = record.unwrap().offset;
                    assert!(
                        !self.aborted.contains(&offset),
                        "seed {}: {offset} is shown",
                        self.seed
                    );
                }
            }
            assert!(read.next_offset > offset);
            offset = read.next_offset;
        }
    }

    /// Which records a finished round over `before` leaves when the keys it knows end at `latest`,
    /// and which it may leave: aborted ones in a segment that it knows only in part.
    fn expected(&self, before: &Content, from: i64, latest: i64) -> (BTreeSet<i64>, BTreeSet<i64>) {
        let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
        for (offset, record) in before.records.range(from..) {
            if *offset <= latest && !self.aborted.contains(offset) {
                newest.insert(&record.key, *offset);
            }
        }
        let stays = |offset: i64, record: &Record| {
            let newer = newest.get(&*record.key).is_some_and(|newest| *newest > offset);
            let dead = record.value.is_none() && record.horizon.is_some_and(|at| at <= self.now_ms);
            offset > latest || (!newer && !dead && !self.aborted.contains(&offset))
        };
        let may = before.records.iter().filter(|(offset, record)| stays(**offset, record));
        let may: BTreeSet<i64> = may.map(|(offset, _)| *offset).collect();
        let must = may.iter().copied().filter(|offset| !self.aborted.contains(offset)).collect();
        (must, may)
    }

    /// Markers go only after their data, and after the horizon that they got when it was gone.
    fn check_markers(&self, before: &Content, after: &Content, latest: i64, fresh: i64) {
        for (offset, header) in &before.markers {
            let (producer, previous) = self.markers[offset];
            let has_data = before.batches.iter().any(|batch| {
                let here = batch.base_offset > previous && batch.base_offset < *offset;
                here && batch.producer_id == producer && !batch.is_control()
            });
            let left = after.markers.get(offset);
            let horizon = header.delete_horizon();
            let goes = !has_data && horizon.is_some_and(|at| at <= self.now_ms);
            let Some(left) = left else {
                assert!(goes, "seed {}: the marker at {offset} went too early", self.seed);
                continue;
            };
            let unsure = *offset > latest || previous < before.start;
            assert!(!goes || unsure, "seed {}: the marker at {offset} stays", self.seed);
            let got = left.delete_horizon();
            match horizon {
                Some(_) => assert_eq!(got, horizon),
                // Data below the log start may still be in the segment.
                None if unsure => {
                    assert!(got.is_none_or(|at| at == fresh));
                }
                None => assert_eq!(got, (!has_data).then_some(fresh)),
            }
        }
    }

    /// One compaction that nothing disturbs.
    fn compact(&mut self, broker: &Broker) {
        broker.checkpoint(self.now_ms).unwrap();
        let topic = broker.topic_by_id(ID).unwrap();
        let partition = topic.partitions[0].clone();
        let dirt = partition.dirt(&topic.config, self.now_ms, false).unwrap();
        let before = content(broker);
        let ran = broker.compact(self.now_ms).unwrap();
        let after = content(broker);
        self.check_always(broker, &after);
        if ran == 0 {
            assert_eq!(before, after);
            assert_eq!(dirt.from, dirt.to, "the ratio is 0: whatever is dirty is compacted");
            return;
        }
        let to = partition.compacted_to();
        assert!(to > dirt.from && to <= dirt.to, "seed {}: no progress", self.seed);
        self.compactions += 1;
        let (must, may) = self.expected(&before, dirt.from, to - 1);
        let found: BTreeSet<i64> = after.records.keys().copied().collect();
        let seed = self.seed;
        assert!(found.is_superset(&must), "seed {seed}, {dirt:?}, {to}: {found:?} {must:?}");
        assert!(found.is_subset(&may), "seed {seed}, {dirt:?}, {to}: {found:?} {may:?}");
        let fresh = self.now_ms + topic.config.delete_retention_ms;
        for (offset, record) in &after.records {
            let horizon = before.records[offset].horizon;
            match horizon {
                Some(_) => assert_eq!(record.horizon, horizon, "a horizon never moves"),
                None if *offset < to && record.value.is_none() => {
                    assert_eq!(record.horizon, Some(fresh));
                }
                None => assert!(record.horizon.is_none_or(|at| at == fresh)),
            }
        }
        self.check_markers(&before, &after, to - 1, fresh);
    }

    /// A compaction that dies at some disk operation, and the restart after it.
    fn die(&mut self, disk: &MemDisk, broker: Broker) -> MemDisk {
        broker.checkpoint(self.now_ms).unwrap();
        let before = content(&broker);
        disk.fail_after(self.dice.below(25), std::io::ErrorKind::Other);
        let _ = broker.compact(self.now_ms);
        self.compactions += 1;
        drop(broker);
        let next = match self.dice.below(2) {
            0 => disk.crash(self.dice.next()),
            _ => disk.kill(),
        };
        let (disk, broker) = self.open(next);
        let after = content(&broker);
        self.check_always(&broker, &after);
        for offset in after.records.keys() {
            assert!(before.records.contains_key(offset), "seed {}: {offset} is back", self.seed);
        }
        disk.kill()
    }
}

/// A run of at most so many steps. Gives how often it compacted.
fn check(seed: u64, steps: u64) -> usize {
    let mut dice = Dice(seed);
    let config =
        StorageConfig { compaction_keys_max: 1 + dice.below(8) as usize, ..small_config() };
    let segment_bytes = 1024 + dice.below(2000);
    let mut run = Run {
        seed,
        dice,
        now_ms: 1_000_000,
        config,
        appended: BTreeMap::new(),
        sequences: BTreeMap::new(),
        open: BTreeMap::new(),
        aborted: BTreeSet::new(),
        markers: BTreeMap::new(),
        last_marker: BTreeMap::new(),
        compactions: 0,
        lives: 0,
    };
    let (mut disk, mut broker) = run.open(MemDisk::new());
    let configs = [
        ("cleanup.policy", "compact".to_owned()),
        ("segment.bytes", segment_bytes.to_string()),
        ("index.interval.bytes", "200".to_owned()),
        ("min.cleanable.dirty.ratio", "0".to_owned()),
        ("delete.retention.ms", "5000".to_owned()),
    ];
    let configs: Vec<(String, String)> =
        configs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    broker.create_topic("t", 1, &configs, ID).unwrap();
    broker.commit_pending(0).unwrap();
    for _ in 0..run.dice.below(steps) {
        match run.dice.below(14) {
            0..=5 => (0..=run.dice.below(5)).for_each(|_| run.append(&broker)),
            6 | 7 => run.end(&broker),
            8 => run.now_ms += run.dice.below(4000) as i64,
            9 | 10 => run.compact(&broker),
            11 if run.dice.below(3) == 0 => {
                let end = broker.high_watermark(AT).unwrap();
                let offset = run.dice.below(end as u64 + 1) as i64;
                broker.delete_records(AT, offset).unwrap();
                broker.commit_pending(run.now_ms).unwrap();
            }
            11 => {
                drop(broker);
                let next = disk.crash(run.dice.next());
                (disk, broker) = run.open(next);
                run.check_always(&broker, &content(&broker));
            }
            _ => {
                let next = run.die(&disk, broker);
                (disk, broker) = run.open(next);
            }
        }
    }
    run.check_always(&broker, &content(&broker));
    run.compactions
}

#[test]
fn compaction_leaves_what_the_naive_model_leaves() {
    let compactions: usize = (0..150).map(|seed| check(seed, 80)).sum();
    assert!(compactions > 900, "{compactions}");
}

/// Few steps each, so that many different beginnings are tried; about 2 ms a case.
#[test]
fn compaction_leaves_what_the_naive_model_leaves_in_ten_thousand_small_cases() {
    let of = |from: u64| (from..from + 2_500).map(|seed| check(seed, 24)).sum::<usize>();
    let compactions: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|i| scope.spawn(move || of(1_000 + 2_500 * i))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(compactions > 10_000, "{compactions}");
}

/// Paste a seed here.
#[test]
fn one_seed() {
    check(0, 80);
}
