//! Compaction against a naive model, with crashes at any disk operation.
//!
//! A round is checked as a step from what the log held to what it holds: each record that is left must
//! be one that was there, and the naive rules say which may be missing and which must be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::{open, small_config};
use crate::broker::{Broker, Isolation, TopicPartition};
use crate::config::StorageConfig;
use crate::disk::MemDisk;
use crate::log::batch::{self, BatchBuilder, BatchHeader, Codec, RecordIter, batches};

const ID: Uuid = Uuid::from_u128(9);
const AT: TopicPartition = TopicPartition { topic: ID, partition: 0 };
const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// What is in the log, as its bytes say.
#[derive(Debug, Clone, Default, PartialEq)]
struct Content {
    records: BTreeMap<i64, Record>,
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
    let mut content = Content::default();
    let start = broker.log_start(AT).unwrap();
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
    sequences: BTreeMap<i64, i32>,
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
        let mut builder = BatchBuilder::new(CODECS[self.dice.below(5) as usize]);
        let count = 1 + self.dice.below(4) as i32;
        let producer = self.dice.below(4) as i64;
        if producer > 0 {
            let sequence = self.sequences.entry(producer).or_default();
            builder = builder.producer(producer, 0, *sequence);
            *sequence += count;
        }
        let base = broker.high_watermark(AT).unwrap();
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
        let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
        for (offset, (key, ..)) in &self.appended {
            newest.insert(key, *offset);
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
        for (producer, sequence) in &self.sequences {
            let last = now.batches.iter().rfind(|batch| batch.producer_id == *producer);
            let is_gone =
                start == broker.high_watermark(AT).unwrap() || last.is_none() && start > 0;
            assert!(
                is_gone
                    || last.is_some_and(|batch| batch.last_sequence() + 1 == *sequence)
                    || start > 0,
                "seed {seed}: the last sequence of producer {producer} is lost"
            );
        }
    }

    /// Which offsets a finished round over `before` leaves, if the keys it knows end at `latest`.
    fn expected(&self, before: &Content, from: i64, latest: i64) -> BTreeSet<i64> {
        let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
        for (offset, record) in before.records.range(from..) {
            if *offset <= latest {
                newest.insert(&record.key, *offset);
            }
        }
        let stays = |offset: i64, record: &Record| {
            let newer = newest.get(&*record.key).is_some_and(|newest| *newest > offset);
            let dead = record.value.is_none() && record.horizon.is_some_and(|at| at <= self.now_ms);
            offset > latest || (!newer && !dead)
        };
        let left = before.records.iter().filter(|(offset, record)| stays(**offset, record));
        left.map(|(offset, _)| *offset).collect()
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
        let expected = self.expected(&before, dirt.from, to - 1);
        let found: BTreeSet<i64> = after.records.keys().copied().collect();
        assert_eq!(found, expected, "seed {}, {dirt:?}, {to}", self.seed);
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
    }

    /// A compaction that dies at some disk operation, and the restart after it.
    fn die(&mut self, disk: &MemDisk, broker: Broker) -> MemDisk {
        broker.checkpoint(self.now_ms).unwrap();
        let before = content(&broker);
        disk.fail_after(self.dice.below(25), std::io::ErrorKind::Other);
        let _ = broker.compact(self.now_ms);
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

fn check(seed: u64) {
    let mut dice = Dice(seed);
    let config =
        StorageConfig { compaction_keys_max: 1 + dice.below(8) as usize, ..small_config() };
    let segment_bytes = 1024 + dice.below(2000);
    let (appended, sequences) = (BTreeMap::new(), BTreeMap::new());
    let mut run = Run { seed, dice, now_ms: 1_000_000, config, appended, sequences, lives: 0 };
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
    for _ in 0..run.dice.below(60) {
        match run.dice.below(12) {
            0..=6 => (0..=run.dice.below(5)).for_each(|_| run.append(&broker)),
            7 => run.now_ms += run.dice.below(4000) as i64,
            8 | 9 => run.compact(&broker),
            10 if run.dice.below(3) == 0 => {
                let end = broker.high_watermark(AT).unwrap();
                let offset = run.dice.below(end as u64 + 1) as i64;
                broker.delete_records(AT, offset).unwrap();
                broker.commit_pending(run.now_ms).unwrap();
            }
            10 => {
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
}

#[test]
fn compaction_leaves_what_the_naive_model_leaves() {
    for seed in 0..150 {
        check(seed);
    }
}

/// Paste a seed here.
#[test]
fn one_seed() {
    check(0);
}
