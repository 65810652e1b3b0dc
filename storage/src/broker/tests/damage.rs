//! Changed bytes anywhere in the data directory: an error or an answer, never a panic.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{batch_of, open, small_config};
use crate::broker::{Broker, Isolation, Seal, TopicPartition};
use crate::disk::{Disk, MemDisk};

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
