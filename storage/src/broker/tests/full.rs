//! A full disk: producers are refused, reads go on, it goes on by itself when there is room; and
//! whatever happens in between, nothing acknowledged is lost and nothing is there twice.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{batch_of, open, read_all, small_config};
use crate::broker::{Broker, Seal, TopicPartition};
use crate::config::StorageConfig;
use crate::disk::MemDisk;
use crate::error::ErrorCode;

const ID: Uuid = Uuid::from_u128(3);

fn at(partition: i32) -> TopicPartition {
    TopicPartition { topic: ID, partition }
}

fn begin(configs: &[(&str, &str)]) -> (Arc<MemDisk>, Broker) {
    let disk = Arc::new(MemDisk::new());
    let (broker, _) = open(disk.clone(), small_config(), 1).unwrap();
    let configs: Vec<(String, String)> =
        configs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    broker.create_topic("t", 2, &configs, ID).unwrap();
    broker.commit_pending(0).unwrap();
    broker.look_after_room(0).unwrap();
    (disk, broker)
}

/// Appends until it is refused; gives the number of records that were acknowledged, and of those that
/// wait.
fn fill(broker: &Broker) -> (usize, usize) {
    let mut tickets = Vec::new();
    for i in 0..100_000 {
        let value = format!("{i} {}", "x".repeat(200));
        match broker.append(at(i % 2), batch_of(&[value], None), 0) {
            Ok(appended) => tickets.push(appended.ticket),
            Err(code) => {
                assert_eq!(code, ErrorCode::KafkaStorageError);
                let acknowledged = tickets.iter().filter(|t| broker.is_durable(**t).unwrap());
                let acknowledged = acknowledged.count();
                return (acknowledged, tickets.len() - acknowledged);
            }
        }
        broker.commit_pending(0).unwrap();
        broker.look_after_room(0).unwrap();
    }
    panic!("the disk never got full");
}

fn count(broker: &Broker) -> usize {
    read_all(broker, at(0)).len() + read_all(broker, at(1)).len()
}

#[test]
fn producers_are_refused_and_it_goes_on_by_itself() {
    for space in [100_000u64, 133_333, 170_001, 200_000, 222_222] {
        let (disk, broker) = begin(&[]);
        disk.limit_space(Some(space));
        let (acknowledged, waiting) = fill(&broker);
        assert!(acknowledged > 50, "{space}: {acknowledged}");
        assert!(waiting <= 1, "{space}: {waiting} records wait");
        assert_eq!(count(&broker), acknowledged, "reads go on");
        assert!(broker.full().is_some() && broker.stopped().is_none());
        for _ in 0..5 {
            broker.look_after_room(0).unwrap();
            assert!(broker.append(at(0), batch_of(&["no".into()], None), 0).is_err());
        }
        disk.limit_space(Some(space * 2));
        broker.look_after_room(0).unwrap();
        assert_eq!(broker.full(), None);
        assert_eq!(count(&broker), acknowledged + waiting, "what waited is there, once");
        broker.append(at(0), batch_of(&["yes".into()], None), 0).unwrap();
        broker.commit_pending(0).unwrap();
        broker.checkpoint(0).unwrap();
        let expected = [read_all(&broker, at(0)), read_all(&broker, at(1))];
        drop(broker);
        let (broker, _) = open(Arc::new(disk.crash(space)), small_config(), 2).unwrap();
        assert_eq!([read_all(&broker, at(0)), read_all(&broker, at(1))], expected);
    }
}

#[test]
fn a_restart_on_a_full_disk_has_everything() {
    for space in [100_000u64, 133_333, 170_001, 200_000] {
        for cut in [false, true] {
            let (disk, broker) = begin(&[]);
            disk.limit_space(Some(space));
            let (acknowledged, waiting) = fill(&broker);
            drop(broker);
            let disk = Arc::new(if cut { disk.crash(space) } else { disk.kill() });
            disk.limit_space(Some(space));
            let (broker, _) = open(disk.clone(), small_config(), 2).unwrap();
            let found = count(&broker);
            assert!(found >= acknowledged && found <= acknowledged + waiting, "{space} {found}");
            disk.limit_space(None);
            broker.look_after_room(0).unwrap();
            broker.append(at(0), batch_of(&["yes".into()], None), 0).unwrap();
            broker.commit_pending(0).unwrap();
            assert_eq!(count(&broker), found + 1);
        }
    }
}

#[test]
fn deletion_makes_room() {
    type Free = fn(&Broker);
    let by_start: Free = |broker| {
        let end = broker.high_watermark(at(0)).unwrap();
        broker.delete_records(at(0), end).unwrap();
    };
    let by_topic: Free = |broker| {
        broker.delete_topic(Uuid::from_u128(4)).unwrap();
    };
    for (name, free) in [("DeleteRecords", by_start), ("DeleteTopics", by_topic)] {
        let (disk, broker) = begin(&[("segment.bytes", "4096")]);
        broker.create_topic("other", 1, &[], Uuid::from_u128(4)).unwrap();
        broker.commit_pending(0).unwrap();
        let other = TopicPartition { topic: Uuid::from_u128(4), partition: 0 };
        for _ in 0..50 {
            broker.append(other, batch_of(&["x".repeat(1000)], None), 0).unwrap();
            broker.commit_pending(0).unwrap();
        }
        broker.checkpoint(0).unwrap();
        disk.limit_space(Some(250_000));
        fill(&broker);
        free(&broker);
        broker.commit_pending(0).unwrap();
        broker.look_after_room(0).unwrap();
        broker.checkpoint(0).unwrap();
        broker.look_after_room(0).unwrap();
        assert_eq!(broker.full(), None, "{name}");
        broker.append(at(0), batch_of(&["yes".into()], None), 0).unwrap();
        broker.commit_pending(0).unwrap();
        assert_eq!(read_all(&broker, at(0)).last().unwrap().1, "yes");
    }
}

#[test]
fn retention_makes_room() {
    let (disk, broker) = begin(&[("segment.bytes", "2048"), ("retention.bytes", "4000")]);
    disk.limit_space(Some(150_000));
    fill(&broker);
    for _ in 0..3 {
        broker.look_after_room(0).unwrap();
        broker.checkpoint(0).unwrap();
    }
    assert_eq!(broker.full(), None);
    assert!(broker.log_start(at(0)).unwrap() > 0);
}

#[test]
fn seals_and_facts_wait_for_room() {
    let (disk, broker) = begin(&[]);
    disk.limit_space(Some(150_000));
    let (acknowledged, waiting) = fill(&broker);
    let seal = |epoch| Seal {
        epoch,
        appends: vec![(at(0), batch_of(&["s".repeat(2000)], None))],
        payload: Bytes::from("state"),
    };
    let sealed: Vec<_> = (1..20).map(|epoch| broker.seal(seal(epoch), 0).unwrap()).collect();
    let fact = broker.append_group(&[(Bytes::from("k"), Some(Bytes::from("v")))]).unwrap();
    broker.commit_pending(0).unwrap();
    assert_eq!(broker.is_durable(fact), Ok(false));
    disk.limit_space(None);
    broker.look_after_room(0).unwrap();
    assert_eq!(broker.full(), None);
    assert!(sealed.iter().all(|one| broker.is_durable(one.ticket).unwrap()));
    assert_eq!(broker.is_durable(fact), Ok(true));
    assert_eq!(count(&broker), acknowledged + waiting + sealed.len());
}

/// The disk's end at any place: every size of disk, one byte more each time would be best; in steps
/// that hit all kinds of writes.
#[test]
fn any_end_of_the_disk_is_survived() {
    for step in 0..60u64 {
        let config = StorageConfig { checkpoint_bytes: 8 << 10, ..small_config() };
        let disk = Arc::new(MemDisk::new());
        let (broker, _) = open(disk.clone(), config.clone(), 1).unwrap();
        let mut configs = vec![("segment.bytes".to_owned(), "1500".to_owned())];
        if step % 2 == 1 {
            configs.push(("millstream.durability".to_owned(), "os".to_owned()));
        }
        broker.create_topic("t", 2, &configs, ID).unwrap();
        broker.commit_pending(0).unwrap();
        let mut tickets = Vec::new();
        for i in 0..60i32 {
            if i == 20 {
                disk.limit_space(Some(disk.used() + step * 411));
            }
            if i == 45 {
                disk.limit_space(None);
            }
            let value = format!("{i} {}", "x".repeat(if i % 3 == 0 { 2500 } else { 150 }));
            if let Ok(appended) = broker.append(at(i % 2), batch_of(&[value], None), 0) {
                tickets.push(appended.ticket);
            }
            broker.commit_pending(0).unwrap();
            broker.look_after_room(0).unwrap();
            if i % 7 == 0 {
                broker.checkpoint(0).unwrap();
            }
        }
        assert_eq!(broker.full(), None, "step {step}");
        assert!(tickets.iter().all(|ticket| broker.is_durable(*ticket).unwrap()));
        assert_eq!(count(&broker), tickets.len());
        drop(broker);
        let disk = if step % 2 == 1 { disk.kill() } else { disk.crash(step) };
        let (broker, _) = open(Arc::new(disk), config, 2).unwrap();
        assert_eq!(count(&broker), tickets.len(), "step {step}");
    }
}
