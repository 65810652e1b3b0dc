//! The broker on the operating system's files, with its committer on a thread.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{NoWakes, batch_of, read_all};
use crate::broker::{Broker, Clock, TopicPartition};
use crate::config::StorageConfig;
use crate::disk::{Disk, RealDisk};
use crate::error::Error;

struct Stopped;

impl Clock for Stopped {
    fn now_ms(&self) -> i64 {
        0
    }
}

fn open(path: &std::path::Path, entropy: u128) -> Result<Broker, Error> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(path).unwrap());
    let config = StorageConfig {
        journal_file_bytes: 1 << 20,
        checkpoint_bytes: 1 << 20,
        ..Default::default()
    };
    Broker::open(disk, config, 0, Uuid::from_u128(entropy), Arc::new(NoWakes))
        .map(|(broker, _)| broker)
}

#[test]
fn many_producers_share_syncs_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let id = Uuid::from_u128(1);
    let at = |partition| TopicPartition { topic: id, partition };
    {
        let broker = open(dir.path(), 1).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| broker.run_committer(&Stopped).unwrap());
            let ticket = broker.create_topic("t", 4, &[], id).unwrap();
            broker.wait_durable(ticket).unwrap();
            let producers: Vec<_> = (0..4)
                .map(|p| {
                    let broker = &broker;
                    scope.spawn(move || {
                        for i in 0..500 {
                            let value = format!("{i} {}", "x".repeat(1000));
                            let batch = batch_of(&[value], None);
                            let appended = broker.append(at(p), batch, 0).unwrap();
                            if i % 50 == 0 {
                                broker.wait_durable(appended.ticket).unwrap();
                            }
                        }
                    })
                })
                .collect();
            producers.into_iter().for_each(|producer| producer.join().unwrap());
            broker.shut_down();
        });
        assert!(
            matches!(open(dir.path(), 2), Err(Error::Locked { holder }) if holder.contains(&std::process::id().to_string()))
        );
    }
    let broker = open(dir.path(), 3).unwrap();
    for partition in 0..4 {
        let all = read_all(&broker, at(partition));
        assert_eq!(all.len(), 500);
        assert!(all.iter().zip(0..).all(|((offset, _), i)| *offset == i));
    }
    // Dropped without a clean stop: the journal brings it back.
    broker.append(at(0), batch_of(&["late".into()], None), 0).unwrap();
    broker.append_app(1, Bytes::from("fact")).unwrap();
    broker.commit_pending(0).unwrap();
    drop(broker);
    let broker = open(dir.path(), 4).unwrap();
    assert_eq!(read_all(&broker, at(0)).last().unwrap().1, "late");
}

/// More segments than may be open: appends, reads, compaction, retention, deletion and restarts.
#[test]
fn segments_are_opened_when_they_are_needed() {
    const TOPICS: usize = 6;
    let dir = tempfile::tempdir().unwrap();
    let open = |round: u128| {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::with_files_max(dir.path(), 3).unwrap());
        let config = StorageConfig { journal_file_bytes: 1 << 20, ..Default::default() };
        Broker::open(disk, config, 0, Uuid::from_u128(round), Arc::new(NoWakes)).unwrap().0
    };
    let settings = |topic: usize| {
        let policy = if topic == 0 { "compact" } else { "delete" };
        let retention = if topic == 1 { "4096" } else { "-1" };
        [
            ("segment.bytes", "1024".to_owned()),
            ("min.cleanable.dirty.ratio", "0".to_owned()),
            ("cleanup.policy", policy.to_owned()),
            ("retention.bytes", retention.to_owned()),
        ]
    };
    let mut expected: Vec<Vec<String>> = vec![Vec::new(); TOPICS];
    let mut ids: Vec<u128> = (1..=TOPICS as u128).collect();
    let mut broker = open(0);
    for (topic, id) in ids.iter().enumerate() {
        let settings = settings(topic);
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        broker.create_topic(&format!("t{topic}"), 1, &settings, Uuid::from_u128(*id)).unwrap();
    }
    broker.commit_pending(0).unwrap();
    for round in 1..=8u128 {
        for i in 0..36 {
            let topic = i % TOPICS;
            let value = format!("{round} {i} {}", "x".repeat(100));
            let at = TopicPartition { topic: Uuid::from_u128(ids[topic]), partition: 0 };
            broker.append(at, batch_of(&[value.clone()], None), 0).unwrap();
            expected[topic].push(value);
            broker.commit_pending(0).unwrap();
        }
        broker.checkpoint(0).unwrap();
        broker.enforce_retention(0).unwrap();
        broker.compact(0).unwrap();
        broker.commit_pending(0).unwrap();
        if round % 3 == 0 {
            // A topic goes, and another of the same name comes.
            broker.delete_topic(Uuid::from_u128(ids[5])).unwrap();
            broker.commit_pending(0).unwrap();
            ids[5] += 100;
            broker
                .create_topic(
                    "t5",
                    1,
                    &[("segment.bytes".to_owned(), "1024".to_owned())],
                    Uuid::from_u128(ids[5]),
                )
                .unwrap();
            broker.commit_pending(0).unwrap();
            expected[5].clear();
        }
        if round % 4 == 0 {
            drop(broker);
            broker = open(round);
        }
        for (topic, all) in expected.iter().enumerate() {
            let at = TopicPartition { topic: Uuid::from_u128(ids[topic]), partition: 0 };
            let start = broker.log_start(at).unwrap() as usize;
            let found = read_all(&broker, at);
            let right = |(offset, value): &(i64, String)| all[*offset as usize] == *value;
            assert!(found.iter().all(right), "topic {topic} round {round}");
            match topic {
                0 => assert!(
                    found.len() < all.len().min(20)
                        && found.last().unwrap().1 == all[all.len() - 1]
                ),
                _ => assert_eq!(found.len(), all.len() - start),
            }
            assert!(topic == 1 || start == 0);
        }
    }
}
