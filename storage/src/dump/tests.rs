//! Dumps of a directory that a broker made, sound and with a changed byte.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{FirstDamage, Options, Source, dump, is_known};
use crate::broker::{Broker, TopicPartition, TransactionEnd, WakeKey, Wakes};
use crate::config::StorageConfig;
use crate::disk::{Disk, MemDisk};
use crate::log::batch::{BatchBuilder, Codec};
use crate::log::control::Marker;

struct NoWakes;

impl Wakes for NoWakes {
    fn wake(&self, _: WakeKey) {}
}

struct InMemory {
    disk: Arc<MemDisk>,
    path: String,
}

impl Source for InMemory {
    fn len(&self) -> io::Result<u64> {
        self.disk.open(&self.path, false)?.len()
    }

    fn read_at(&self, position: u64, len: usize) -> io::Result<Vec<u8>> {
        self.disk.open(&self.path, false)?.read_at(position, len)
    }

    fn beside(&self, suffix: &str) -> Option<Box<dyn Source>> {
        let (stem, _) = self.path.rsplit_once('.')?;
        let path = format!("{stem}.{suffix}");
        self.disk.open(&path, false).ok()?;
        Some(Box::new(InMemory { disk: self.disk.clone(), path }))
    }
}

/// A partition with plain, compressed and aborted batches, in two segments, and its journal.
fn filled() -> Arc<MemDisk> {
    let disk = Arc::new(MemDisk::new());
    let config = StorageConfig { journal_file_bytes: 32 << 10, ..Default::default() };
    let entropy = Uuid::from_u128(1);
    let (broker, _) = Broker::open(disk.clone(), config, 0, entropy, Arc::new(NoWakes)).unwrap();
    let at = TopicPartition { topic: Uuid::from_u128(7), partition: 0 };
    let configs = [("segment.bytes", "1500"), ("index.interval.bytes", "100")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    broker.create_topic("t", 1, &configs, at.topic).unwrap();
    broker.commit_pending(2000).unwrap();
    for i in 0..12 {
        let codec = if i % 3 == 1 { Codec::Zstd } else { Codec::None };
        let mut builder = BatchBuilder::new(codec).producer(5, 0, i).transactional();
        let value = format!("value {i} {}", "x".repeat(100));
        builder.push(1000 + i64::from(i), Some(b"key"), Some(value.as_bytes()), &[]);
        broker.append(at, builder.build().unwrap(), 2000).unwrap();
        broker.commit_pending(2000).unwrap();
    }
    let marker = Marker { producer_id: 5, producer_epoch: 0, coordinator_epoch: 2, commit: false };
    let fact = (Bytes::from("group"), Some(Bytes::from("secret value")));
    let facts = vec![fact];
    let end = TransactionEnd { marker, partitions: vec![at], facts, told: vec![] };
    broker.end_transaction(&end, 2000).unwrap();
    broker.commit_pending(2000).unwrap();
    broker.checkpoint(2000).unwrap();
    broker.append_group(&[(Bytes::from("after"), None)]).unwrap();
    broker.commit_pending(2000).unwrap();
    Arc::new(disk.kill())
}

fn lines(disk: &Arc<MemDisk>, path: &str, options: Options) -> (Vec<String>, Option<FirstDamage>) {
    let file = InMemory { disk: disk.clone(), path: path.to_owned() };
    let mut lines = Vec::new();
    let name = path.rsplit('/').next().unwrap();
    let damage = dump(name, &file, options, &mut |line| {
        lines.push(line.to_owned());
        Ok(())
    });
    (lines, damage.unwrap())
}

fn paths(disk: &MemDisk) -> Vec<String> {
    let mut paths = Vec::new();
    for dir in ["log/t-0", "journal"] {
        let names = disk.list(dir).unwrap();
        paths.extend(names.iter().filter(|n| is_known(n)).map(|name| format!("{dir}/{name}")));
    }
    paths
}

#[test]
fn every_file_says_what_it_holds() {
    let disk = filled();
    let check = |path: &str, options: Options, says: &[&str]| {
        let (lines, damage) = lines(&disk, path, options);
        assert_eq!(damage, None, "{path}");
        let text = lines.join("\n");
        for word in says {
            assert!(text.contains(word), "{path} does not say {word}:\n{text}");
        }
        text
    };
    let plain = Options::default();
    let all = Options { records: true, deep: true };
    let first = "log/t-0/00000000000000000000";
    check(
        &format!("{first}.log"),
        plain,
        &[
            "baseOffset: 1 lastOffset: 1 count: 1 baseSequence: 1",
            "compresscodec: zstd",
            "isvalid: true",
        ],
    );
    let closed = check(
        &format!("{first}.log"),
        Options { records: true, deep: false },
        &["| 1 records in zstd", "payload: value 0"],
    );
    assert!(!closed.contains("value 1 "));
    check(
        &format!("{first}.log"),
        all,
        &["| offset: 1 CreateTime: 1001 keySize: 3 valueSize: 108"],
    );
    check(&format!("{first}.index"), plain, &["offset: 1 position: "]);
    check(&format!("{first}.timeindex"), plain, &["timestamp: 1001 offset: 1"]);
    let paths = paths(&disk);
    let with = |suffix: &str| paths.iter().rfind(|path| path.ends_with(suffix)).unwrap().as_str();
    check(with(".log"), all, &["endTxnMarker: ABORT coordinatorEpoch: 2"]);
    check(with(".txnindex"), plain, &["version: 0 producerId: 5 firstOffset: 0 lastOffset: 12"]);
    check(with(".snapshot"), plain, &["producerId: 5", "firstSequence: 11 lastSequence: 11"]);
    let journal = check(
        with(".journal"),
        plain,
        &["is t with 1 partitions", "kind: Append", "kind: TransactionEnd", "after forgotten"],
    );
    assert!(!journal.contains("secret value"), "values are not shown");
}

#[test]
fn the_first_damage_is_named() {
    let sound = filled();
    for path in paths(&sound) {
        let len = sound.open(&path, false).unwrap().len().unwrap();
        let used = if path.ends_with(".journal") { 4096 + 300 } else { len };
        for position in (0..used.min(len)).step_by(17) {
            let disk = Arc::new(sound.kill());
            let file = disk.open(&path, false).unwrap();
            let old = file.read_at(position, 1).unwrap()[0];
            file.write_at(position, &[old ^ 0x55]).unwrap();
            // No panic, and damage where a checksum is; never before the place.
            let (_, damage) = lines(&disk, &path, Options { records: true, deep: true });
            let is_checked = path.ends_with(".snapshot");
            assert!(!is_checked || damage.is_some(), "{path} {position}");
            if let Some(damage) = damage.filter(|_| path.ends_with(".log")) {
                assert!(damage.position <= position + 200, "{path} {position} {damage:?}");
            }
        }
    }
}
