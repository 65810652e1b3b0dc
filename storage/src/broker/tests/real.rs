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
