//! Topic settings that decide over a log's life, each by what it does to files and answers.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{batch_of, open, read_all, small_config};
use crate::broker::{Broker, Isolation, TopicPartition};
use crate::disk::{Disk, MemDisk};
use crate::error::ErrorCode;
use crate::log::batch::{BatchBuilder, Codec};

const AT: TopicPartition = TopicPartition { topic: Uuid::from_u128(7), partition: 0 };

fn begin(configs: &[(&str, &str)]) -> (Arc<MemDisk>, Broker) {
    let disk = Arc::new(MemDisk::new());
    let (broker, _) = open(disk.clone(), small_config(), 1).unwrap();
    let configs: Vec<(String, String)> =
        configs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    broker.create_topic("t", 3, &configs, AT.topic).unwrap();
    broker.commit_pending(0).unwrap();
    (disk, broker)
}

fn record(timestamp: i64, bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(timestamp, Some(b"k"), Some(&vec![b'v'; bytes]), &[]);
    builder.build().unwrap()
}

fn put(broker: &Broker, at: TopicPartition, timestamp: i64, bytes: usize) {
    broker.append(at, record(timestamp, bytes), timestamp).unwrap();
    broker.commit_pending(timestamp).unwrap();
}

fn names(disk: &MemDisk, suffix: &str) -> Vec<String> {
    disk.list("log/t-0").unwrap().into_iter().filter(|name| name.ends_with(suffix)).collect()
}

fn bases(disk: &MemDisk) -> Vec<i64> {
    let base = |name: &String| name.strip_suffix(".log").unwrap().parse().unwrap();
    names(disk, ".log").iter().map(base).collect()
}

#[test]
fn segments_end_by_size_and_by_time() {
    // Records of 100 bytes make batches of 171; one each 100 ms, by their own time.
    let check = |configs: &[(&str, &str)], expected: &[i64]| {
        let (disk, broker) = begin(configs);
        (0..20).for_each(|i| put(&broker, AT, i * 100, 100));
        assert_eq!(bases(&disk), expected, "{configs:?}");
        assert_eq!(read_all(&broker, AT).len(), 20);
    };
    check(&[], &[0]);
    check(&[("segment.bytes", "1100")], &[0, 6, 12, 18]);
    check(&[("segment.ms", "500")], &[0, 6, 12, 18]);
    check(&[("segment.ms", "500"), ("message.timestamp.type", "LogAppendTime")], &[0, 6, 12, 18]);
    check(&[("max.compaction.lag.ms", "500")], &[0]);
    check(&[("max.compaction.lag.ms", "500"), ("cleanup.policy", "compact")], &[0, 6, 12, 18]);
}

#[test]
fn jitter_ends_segments_earlier_each_at_its_own_time() {
    let (disk, broker) = begin(&[("segment.ms", "1000"), ("segment.jitter.ms", "900")]);
    (0..100).for_each(|i| put(&broker, AT, i * 100, 10));
    let bases = bases(&disk);
    let lengths: std::collections::BTreeSet<i64> = bases.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(
        lengths.len() > 2 && lengths.iter().all(|length| (1..=11).contains(length)),
        "{bases:?}"
    );
}

#[test]
fn retention_goes_by_size_and_time_and_keeps_the_end() {
    let check = |configs: &[(&str, &str)], now_ms: i64, start: i64| {
        let (_, broker) = begin(&[configs, &[("segment.bytes", "1100")]].concat());
        (0..20).for_each(|i| put(&broker, AT, i * 100, 100));
        broker.enforce_retention(now_ms).unwrap();
        broker.commit_pending(now_ms).unwrap();
        assert_eq!(broker.log_start(AT), Ok(start), "{configs:?}");
        assert_eq!(read_all(&broker, AT).len() as i64, 20 - start);
        assert_eq!(broker.high_watermark(AT), Ok(20));
    };
    check(&[], 10_000, 0);
    check(&[("retention.ms", "-1")], i64::MAX, 0);
    check(&[("retention.ms", "1000")], 1500, 0);
    check(&[("retention.ms", "1000")], 1501, 6);
    check(&[("retention.ms", "1000")], 2101, 12);
    check(&[("retention.ms", "1000")], 100_000, 20);
    check(&[("retention.bytes", "1000000")], 0, 0);
    // Three closed segments of 1026 bytes and 342 bytes after them.
    check(&[("retention.bytes", "2394")], 0, 6);
    check(&[("retention.bytes", "2395")], 0, 0);
    check(&[("retention.bytes", "0")], 0, 20);
    check(&[("retention.ms", "1000"), ("cleanup.policy", "compact")], 100_000, 0);
    check(&[("retention.ms", "1000"), ("cleanup.policy", "compact,delete")], 1501, 6);
}

#[test]
fn timestamps_have_limits() {
    let now = 1_000_000;
    let check = |configs: &[(&str, &str)], timestamp: i64, expected: Option<ErrorCode>| {
        let (_, broker) = begin(configs);
        let answer = broker.append(AT, record(timestamp, 1), now).err();
        assert_eq!(answer, expected, "{configs:?} {timestamp}");
    };
    let bad = Some(ErrorCode::InvalidTimestamp);
    check(&[], 0, None);
    check(&[], now + 3_600_000, None);
    check(&[], now + 3_600_001, bad);
    check(&[("message.timestamp.before.max.ms", "1000")], now - 1000, None);
    check(&[("message.timestamp.before.max.ms", "1000")], now - 1001, bad);
    check(&[("message.timestamp.after.max.ms", "1000")], now + 1001, bad);
    let append_time =
        [("message.timestamp.type", "LogAppendTime"), ("message.timestamp.after.max.ms", "1000")];
    check(&append_time, now + 1001, None);
}

#[test]
fn deleted_segments_stay_for_a_while_under_another_name() {
    let (disk, broker) = begin(&[("segment.bytes", "1100"), ("file.delete.delay.ms", "5000")]);
    (0..20).for_each(|i| put(&broker, AT, i * 100, 100));
    broker.checkpoint(2000).unwrap();
    let (start, _) = broker.delete_records(AT, 13).unwrap();
    broker.commit_pending(2000).unwrap();
    assert_eq!((start, bases(&disk)), (13, vec![0, 6, 12, 18]));
    broker.remove_doomed(2000, false).unwrap();
    assert_eq!((bases(&disk), names(&disk, ".deleted").len()), (vec![12, 18], 2));
    assert_eq!(names(&disk, ".index").len(), 2);
    broker.remove_doomed(6999, false).unwrap();
    assert_eq!(names(&disk, ".deleted").len(), 2);
    broker.remove_doomed(7000, false).unwrap();
    assert_eq!(names(&disk, ".deleted"), [""; 0]);
    // A restart removes them, too.
    broker.delete_records(AT, 18).unwrap();
    broker.commit_pending(8000).unwrap();
    broker.remove_doomed(8000, false).unwrap();
    assert_eq!(names(&disk, ".deleted").len(), 1);
    drop(broker);
    let disk = Arc::new(disk.kill());
    let (broker, _) = open(disk.clone(), small_config(), 2).unwrap();
    assert_eq!((names(&disk, ".deleted").len(), bases(&disk)), (0, vec![18]));
    assert_eq!(read_all(&broker, AT).len(), 2);
}

#[test]
fn missing_and_damaged_side_files_are_made_again() {
    let (disk, broker) = begin(&[("segment.bytes", "1100"), ("index.interval.bytes", "200")]);
    (0..20).for_each(|i| put(&broker, AT, i * 100, 100));
    broker.append(AT, batch_of(&["x".into()], Some((5, 0, 0))), 2000).unwrap();
    broker.commit_pending(2000).unwrap();
    broker.checkpoint(2000).unwrap();
    assert_eq!(names(&disk, ".snapshot"), ["00000000000000000021.snapshot"]);
    let epochs = disk.open("log/t-0/leader-epoch-checkpoint", false).unwrap();
    assert_eq!(epochs.read_at(0, 100).unwrap(), b"0\n1\n0 0\n");
    drop(broker);
    let expected: Vec<i64> = (0..20).collect();
    for suffix in ["index", "timeindex", "snapshot"] {
        for change in ["removed", "emptied", "zeros", "cut"] {
            let copy = Arc::new(disk.kill());
            for name in names(&copy, suffix) {
                let path = format!("log/t-0/{name}");
                let file = copy.open(&path, false).unwrap();
                let len = file.len().unwrap();
                match change {
                    "removed" => copy.remove(&path).unwrap(),
                    "emptied" => file.truncate(0).unwrap(),
                    "zeros" => file.write_at(0, &vec![0; len as usize]).unwrap(),
                    _ => file.truncate(len.saturating_sub(3)).unwrap(),
                }
            }
            let (broker, _) = open(copy, small_config(), 2).unwrap();
            let found: Vec<i64> = (0..20)
                .map(|i| broker.offset_for(AT, i * 100, Isolation::ReadUncommitted).unwrap())
                .map(|found| found.map_or(-1, |found| found.offset))
                .collect();
            assert_eq!(found, expected, "{suffix} {change}");
            for offset in 0..20 {
                let read = broker.read(AT, offset, 1, Isolation::ReadUncommitted).unwrap();
                assert_eq!(read.next_offset, offset + 1, "{suffix} {change}");
            }
            assert_eq!(broker.damaged(), []);
        }
    }
}
