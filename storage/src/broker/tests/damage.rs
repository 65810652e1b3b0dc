//! Changed bytes anywhere in the data directory: an error or an answer, never a panic.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{batch_of, open, small_config};
use crate::broker::{Broker, Isolation, Seal, TopicPartition};
use crate::disk::{Disk, MemDisk};
use crate::error::ErrorCode;
use crate::log::batch::{self, RecordIter, batches};

/// A directory with segments, indexes, a snapshot and a journal.
fn filled(checkpointed: bool) -> MemDisk {
    let disk = Arc::new(MemDisk::new());
    let (broker, _) = open(disk.clone(), small_config(), 1).unwrap();
    let id = Uuid::from_u128(7);
    let configs = [
        ("segment.bytes".to_owned(), "1024".to_owned()),
        ("index.interval.bytes".to_owned(), "100".to_owned()),
    ];
    broker.create_topic("t", 2, &configs, id).unwrap();
    broker.commit_pending(0).unwrap();
    for i in 0..40i32 {
        let at = TopicPartition { topic: id, partition: i % 2 };
        let batch = batch_of(&[format!("{i}{}", "x".repeat(100))], Some((5, 0, i / 2)));
        broker.append(at, batch, 0).unwrap();
        let appends = vec![(at, batch_of(&["sealed".into()], None))];
        broker.seal(Seal { epoch: i as u64 + 1, appends, payload: Bytes::from("p") }, 0).unwrap();
        broker.append_group(&[(Bytes::from("g"), Some(Bytes::from("v")))]).unwrap();
        broker.commit_pending(0).unwrap();
        if checkpointed && i == 30 {
            broker.checkpoint(0).unwrap();
        }
    }
    disk.kill()
}

fn files(disk: &dyn Disk, dir: &str, found: &mut Vec<String>) {
    for name in disk.list(dir).unwrap() {
        let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
        match disk.open(&path, false) {
            Ok(_) => found.push(path),
            Err(_) => files(disk, &path, found),
        }
    }
}

/// Everything a client could ask; answers may be errors.
fn use_it(broker: &Broker) {
    for topic in broker.topics() {
        for partition in 0..topic.partition_count() {
            let at = TopicPartition { topic: topic.id, partition };
            for offset in 0..45 {
                let _ = broker.read(at, offset, 500, Isolation::ReadCommitted);
            }
            let _ = broker.offset_for(at, 0, Isolation::ReadCommitted);
            let _ = broker.offset_of_max_timestamp(at, Isolation::ReadCommitted);
            let _ = broker.append(at, batch_of(&["more".into()], None), 0);
        }
    }
    let _ = broker.commit_pending(0);
    let _ = broker.enforce_retention(i64::MAX);
    let _ = broker.commit_pending(0);
    let _ = broker.checkpoint(0);
}

#[test]
fn a_changed_byte_never_panics() {
    for checkpointed in [false, true] {
        let disk = filled(checkpointed);
        let mut paths = Vec::new();
        files(&disk, "", &mut paths);
        assert!(paths.len() > 10, "{paths:?}");
        for path in &paths {
            let bytes = disk.open(path, false).unwrap().len().unwrap();
            let step = (bytes / 25).max(1);
            for position in (0..bytes.min(9000)).step_by(step as usize) {
                let copy = Arc::new(disk.kill());
                let file = copy.open(path, false).unwrap();
                let old = file.read_at(position, 1).unwrap()[0];
                file.write_at(position, &[old ^ (1 << (position % 8))]).unwrap();
                if let Ok((broker, _)) = open(copy, small_config(), 2) {
                    use_it(&broker);
                }
            }
        }
    }
}

#[test]
fn a_shortened_file_never_panics() {
    let disk = filled(true);
    let mut paths = Vec::new();
    files(&disk, "", &mut paths);
    for path in &paths {
        let bytes = disk.open(path, false).unwrap().len().unwrap();
        for part in 0..8 {
            let copy = Arc::new(disk.kill());
            copy.open(path, false).unwrap().truncate(bytes * part / 8).unwrap();
            if let Ok((broker, _)) = open(copy, small_config(), 2) {
                use_it(&broker);
            }
        }
    }
}

/// Every record of partition 0 as a client would find it from each offset: `None` when the answer is
/// that it is corrupt.
fn records(broker: &Broker, partition: i32) -> Vec<Option<(i64, String)>> {
    let at = TopicPartition { topic: Uuid::from_u128(7), partition };
    let end = broker.high_watermark(at).unwrap();
    let one = |offset| match broker.read(at, offset, 1, Isolation::ReadUncommitted) {
        Err(code) => {
            assert_eq!(code, ErrorCode::CorruptMessage);
            None
        }
        Ok(read) => {
            let (header, body) = batch::records(&read.records, 1 << 20).unwrap();
            let record = RecordIter::new(header, &body)
                .map(Result::unwrap)
                .find(|record| record.offset >= offset);
            let record = record.unwrap();
            Some((record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap()))
        }
    };
    (broker.log_start(at).unwrap()..end).map(one).collect()
}

/// Opens a damaged copy. Whatever was done to partition 0: a record reads as it was or not at all,
/// partition 1 is untouched, and the damage is named, refuses appends and ends with its records.
fn check_damage(disk: MemDisk, expected: &[Vec<Option<(i64, String)>>; 2], what: &str) -> bool {
    let (broker, _) = open(Arc::new(disk), small_config(), 2).unwrap();
    let found = records(&broker, 0);
    assert_eq!(found.len(), expected[0].len(), "{what}: nothing acknowledged is cut");
    for (found, expected) in found.iter().zip(&expected[0]) {
        assert!(found.is_none() || found == expected, "{what}: {found:?} is not {expected:?}");
    }
    assert_eq!(records(&broker, 1), expected[1], "{what}");
    let at = |partition| TopicPartition { topic: Uuid::from_u128(7), partition };
    let more = || batch_of(&["more".into()], None);
    broker.append(at(1), more(), 0).unwrap();
    let damaged = broker.damaged();
    if found.iter().all(Option::is_some) {
        return false;
    }
    assert_eq!((&*damaged[0].0, damaged[0].1, damaged.len()), ("t", 0, 1), "{what}");
    assert_eq!(broker.append(at(0), more(), 0).unwrap_err(), ErrorCode::KafkaStorageError);
    broker.commit_pending(0).unwrap();
    broker.checkpoint(0).unwrap();
    let end = broker.high_watermark(at(0)).unwrap();
    broker.delete_records(at(0), end).unwrap();
    broker.commit_pending(0).unwrap();
    assert_eq!(broker.damaged(), []);
    assert_eq!(broker.append(at(0), more(), 0).unwrap().base_offset, end);
    broker.commit_pending(0).unwrap();
    true
}

#[test]
fn a_damaged_partition_is_read_only_and_the_others_work() {
    let disk = filled(true);
    let (broker, _) = open(Arc::new(disk.kill()), small_config(), 2).unwrap();
    let expected = [records(&broker, 0), records(&broker, 1)];
    assert!(expected[0].len() > 30 && expected.iter().flatten().all(Option::is_some));
    drop(broker);
    let logs: Vec<String> =
        disk.list("log/t-0").unwrap().into_iter().filter(|name| name.ends_with(".log")).collect();
    assert!(logs.len() > 3);
    let (mut seen, mut tried) = (0, 0);
    for name in &logs {
        let path = format!("log/t-0/{name}");
        let bytes = disk.open(&path, false).unwrap().len().unwrap();
        for position in (0..bytes).step_by(13) {
            // Base offset and leader epoch are outside of the checksum; see Kafka's format.
            let copy = disk.kill();
            let file = copy.open(&path, false).unwrap();
            let old = file.read_at(position, 1).unwrap()[0];
            file.write_at(position, &[old ^ 0x55]).unwrap();
            let what = format!("{path} {position}");
            if is_checked(&disk, &path, position) {
                seen += usize::from(check_damage(copy, &expected, &what));
                tried += 1;
            }
        }
        let copy = disk.kill();
        copy.remove(&path).unwrap();
        check_damage(copy, &expected, &format!("{path} removed"));
        let copy = disk.kill();
        copy.open(&path, false).unwrap().truncate(bytes / 2).unwrap();
        check_damage(copy, &expected, &format!("{path} cut"));
    }
    // The rest lies beyond the checkpoint, and is made again from the journal.
    assert!(seen * 2 > tried, "{seen} of {tried} were seen");
}

/// Is the byte covered by the checksum of a batch?
fn is_checked(disk: &MemDisk, path: &str, position: u64) -> bool {
    let file = disk.open(path, false).unwrap();
    let bytes = file.read_at(0, file.len().unwrap() as usize).unwrap();
    let mut at = 0;
    for one in batches(&bytes) {
        let (header, _) = one.unwrap();
        if position < at + header.total_bytes as u64 {
            return position - at >= 17;
        }
        at += header.total_bytes as u64;
    }
    false
}

#[test]
fn a_failed_read_concerns_that_request_only() {
    let disk = Arc::new(filled(true));
    let (broker, _) = open(disk.clone(), small_config(), 2).unwrap();
    let at = TopicPartition { topic: Uuid::from_u128(7), partition: 0 };
    disk.fail_reads(true);
    let read = broker.read(at, 0, 100, Isolation::ReadCommitted);
    assert_eq!(read.unwrap_err(), ErrorCode::KafkaStorageError);
    let _ = broker.enforce_retention(i64::MAX);
    let _ = broker.compact(0);
    disk.fail_reads(false);
    assert_eq!((broker.stopped(), broker.damaged()), (None, vec![]));
    assert!(!broker.read(at, 0, 100, Isolation::ReadCommitted).unwrap().records.is_empty());
    broker.append(at, batch_of(&["more".into()], None), 0).unwrap();
    broker.commit_pending(0).unwrap();
}
