//! Batches that are written once, to their segment: what survives a kill, a power cut, a full disk.

use std::sync::Arc;

use uuid::Uuid;

use super::{batch_of, open, read_all, small_config};
use crate::broker::{Broker, TopicPartition};
use crate::config::StorageConfig;
use crate::disk::{Disk, MemDisk};

const OS: TopicPartition = TopicPartition { topic: Uuid::from_u128(3), partition: 0 };
const FSYNC: TopicPartition = TopicPartition { topic: Uuid::from_u128(4), partition: 0 };

/// Room for everything in one journal file, and no checkpoint.
fn config() -> StorageConfig {
    StorageConfig { journal_file_bytes: 1 << 20, ..small_config() }
}

fn begin() -> (Arc<MemDisk>, Broker) {
    let disk = Arc::new(MemDisk::new());
    let (broker, _) = open(disk.clone(), config(), 1).unwrap();
    let os = [("millstream.durability".to_owned(), "os".to_owned())];
    broker.create_topic("os", 1, &os, OS.topic).unwrap();
    broker.create_topic("fsync", 1, &[], FSYNC.topic).unwrap();
    broker.commit_pending(0).unwrap();
    (disk, broker)
}

fn append(broker: &Broker, at: TopicPartition, from: usize, count: usize, bytes: usize) {
    for i in from..from + count {
        broker.append(at, batch_of(&[format!("{i} {}", "x".repeat(bytes))], None), 0).unwrap();
        broker.commit_pending(0).unwrap();
    }
}

#[test]
fn a_placed_batch_is_not_in_the_journal_and_survives_a_kill() {
    let (disk, broker) = begin();
    let before = broker.journal_bytes();
    append(&broker, OS, 0, 20, 5000);
    append(&broker, OS, 20, 5, 10);
    append(&broker, OS, 25, 20, 5000);
    let journaled = broker.journal_bytes() - before;
    assert!(journaled < 40 * 200 + 5 * 400, "{journaled} bytes for 200,000");
    let expected = read_all(&broker, OS);
    drop(broker);
    let mut disk = disk.kill();
    // Again and again, with a crash in the middle of the restart, too.
    for life in 2..6 {
        let shared = Arc::new(disk);
        if life % 2 == 0 {
            shared.fail_after(life as u64, std::io::ErrorKind::Other);
            assert!(open(shared.clone(), config(), life).is_err());
            disk = shared.kill();
            continue;
        }
        let (broker, _) = open(shared.clone(), config(), life).unwrap();
        assert_eq!(read_all(&broker, OS), expected);
        drop(broker);
        disk = shared.kill();
    }
}

#[test]
fn what_was_published_before_a_synced_record_is_durable_with_it() {
    for seed in 0..40 {
        let (disk, broker) = begin();
        append(&broker, OS, 0, 10, 5000);
        let syncs = broker.placed_syncs();
        append(&broker, FSYNC, 0, 1, 10);
        assert_eq!(broker.placed_syncs(), syncs + 1, "one segment had something to sync");
        append(&broker, FSYNC, 1, 1, 10);
        assert_eq!(broker.placed_syncs(), syncs + 1, "nothing was placed since");
        append(&broker, OS, 10, 10, 5000);
        let expected = read_all(&broker, OS);
        drop(broker);
        let (broker, _) = open(Arc::new(disk.crash(seed)), config(), 2).unwrap();
        assert_eq!(read_all(&broker, FSYNC).len(), 2);
        let found = read_all(&broker, OS);
        assert_eq!(found[..10], expected[..10], "seed {seed}");
        // The rest may be gone, but what is there is what was there.
        assert!(found.iter().all(|one| expected.contains(one)));
        append(&broker, OS, 20, 1, 5000);
        assert_eq!(read_all(&broker, OS).len(), found.len() + 1);
    }
}

#[test]
fn a_lost_batch_leaves_a_void_and_a_batch_that_was_on_disk_is_damage() {
    for synced in [false, true] {
        let (disk, broker) = begin();
        append(&broker, OS, 0, 3, 5000);
        if synced {
            // The second one's record says that the first was on disk.
            append(&broker, FSYNC, 0, 2, 10);
        }
        let expected = read_all(&broker, OS);
        drop(broker);
        let disk = disk.kill();
        let file = disk.open("log/os-0/00000000000000000000.log", false).unwrap();
        let at = file.len().unwrap() / 3 + 100;
        file.write_at(at, &[0; 200]).unwrap();
        let (broker, _) = open(Arc::new(disk.kill()), config(), 2).unwrap();
        assert_eq!(broker.high_watermark(OS), Ok(3), "offsets are not used again");
        let appended = broker.append(OS, batch_of(&["next".into()], None), 0);
        if synced {
            assert!(appended.is_err(), "the partition is read-only");
            continue;
        }
        broker.commit_pending(0).unwrap();
        let found = read_all(&broker, OS);
        assert_eq!(found[..2], [expected[0].clone(), expected[2].clone()]);
        assert_eq!(found[2], (3, "next".to_owned()));
    }
}

#[test]
fn a_directory_from_before_placed_batches_opens() {
    let (disk, broker) = begin();
    append(&broker, FSYNC, 0, 5, 3000);
    drop(broker);
    let disk = disk.kill();
    let file = disk.open("journal/00000000000000000001.journal", false).unwrap();
    assert_eq!(file.read_at(8, 4).unwrap(), [0, 0, 0, 2]);
    file.write_at(8, &[0, 0, 0, 1]).unwrap();
    let (broker, _) = open(Arc::new(disk.kill()), config(), 2).unwrap();
    assert_eq!(read_all(&broker, FSYNC).len(), 5);
}
