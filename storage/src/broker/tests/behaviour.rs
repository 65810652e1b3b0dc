//! Single behaviours of the broker.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{NoWakes, batch_of, open, read_all, small_config};
use crate::broker::{Broker, Isolation, Seal, Ticket, TopicPartition};
use crate::config::{Durability, StorageConfig};
use crate::disk::MemDisk;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::log::batch::{BatchBuilder, Codec};

fn values(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

/// A broker with topic "t" of two partitions.
fn with_topic(configs: &[(&str, &str)]) -> (Arc<MemDisk>, Broker, TopicPartition) {
    let disk = Arc::new(MemDisk::new());
    let (broker, _) = open(disk.clone(), small_config(), 1).unwrap();
    let id = Uuid::from_u128(77);
    let configs: Vec<(String, String)> =
        configs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    broker.create_topic("t", 2, &configs, id).unwrap();
    broker.commit_pending(0).unwrap();
    (disk, broker, TopicPartition { topic: id, partition: 0 })
}

#[test]
fn records_are_visible_when_their_ticket_is_published() {
    let (_, broker, at) = with_topic(&[]);
    let appended = broker.append(at, batch_of(&values(&["a", "b"]), None), 5).unwrap();
    assert_eq!((appended.base_offset, appended.log_append_time), (0, -1));
    assert_eq!(broker.is_durable(appended.ticket), Ok(false));
    assert_eq!(broker.high_watermark(at), Ok(0));
    broker.commit_pending(5).unwrap();
    assert_eq!(broker.is_durable(appended.ticket), Ok(true));
    assert_eq!(read_all(&broker, at), [(0, "a".into()), (1, "b".into())]);
}

#[test]
fn a_read_begins_with_the_batch_that_holds_the_offset() {
    let (_, broker, at) = with_topic(&[]);
    for words in [["a", "b"], ["c", "d"], ["e", "f"]] {
        broker.append(at, batch_of(&values(&words), None), 0).unwrap();
    }
    broker.commit_pending(0).unwrap();
    let read = |offset, max| broker.read(at, offset, max, Isolation::ReadUncommitted);
    let all = read(0, 1 << 20).unwrap();
    assert_eq!(all.next_offset, 6);
    let one = read(3, 1).unwrap();
    assert_eq!((one.next_offset, one.records.len() * 3), (4, all.records.len()));
    assert_eq!(one.records, all.records.slice(one.records.len()..2 * one.records.len()));
    assert!(read(6, 100).unwrap().records.is_empty());
    assert_eq!(read(7, 100).unwrap_err(), ErrorCode::OffsetOutOfRange);
    assert_eq!(read(-1, 100).unwrap_err(), ErrorCode::OffsetOutOfRange);
    let to = broker.read_to(at, 0, 4, 1 << 20).unwrap();
    assert_eq!((to.next_offset, to.high_watermark), (4, 6));
}

#[test]
fn one_sync_commits_many_partitions() {
    let (disk, broker, at) = with_topic(&[]);
    let before = disk.syncs();
    for partition in [0, 1, 0, 1] {
        let at = TopicPartition { partition, ..at };
        broker.append(at, batch_of(&values(&["x"]), None), 0).unwrap();
    }
    broker.append_group(&[(Bytes::from("g"), Some(Bytes::from("v")))]).unwrap();
    assert_eq!(broker.commit_pending(0).unwrap(), 5);
    assert_eq!(disk.syncs() - before, 1);
}

#[test]
fn durability_os_does_not_sync() {
    let (disk, broker, at) = with_topic(&[("millstream.durability", "os")]);
    let before = disk.syncs();
    broker.append(at, batch_of(&values(&["x"]), None), 0).unwrap();
    broker.commit_pending(0).unwrap();
    assert_eq!(disk.syncs(), before);
    assert_eq!(broker.high_watermark(at), Ok(1));
}

#[test]
fn a_failed_sync_stops_everything() {
    let (disk, broker, at) = with_topic(&[]);
    disk.fail_after(1, std::io::ErrorKind::Other);
    let appended = broker.append(at, batch_of(&values(&["x"]), None), 0).unwrap();
    assert!(broker.commit_pending(0).is_err());
    assert_eq!(broker.is_durable(appended.ticket), Err(ErrorCode::KafkaStorageError));
    assert!(broker.wait_durable(appended.ticket).is_err());
    let after = broker.append(at, batch_of(&values(&["y"]), None), 0);
    assert_eq!(after.unwrap_err(), ErrorCode::KafkaStorageError);
    assert_eq!(broker.high_watermark(at), Ok(0), "nothing unsure is shown");
}

#[test]
fn bad_batches_are_refused() {
    let (_, broker, at) = with_topic(&[("max.message.bytes", "200")]);
    let good = batch_of(&values(&["x"]), None);
    let check = |change: &dyn Fn(&mut Vec<u8>), code: ErrorCode| {
        let mut bytes = good.to_vec();
        change(&mut bytes);
        assert_eq!(broker.append(at, bytes.into(), 0).unwrap_err(), code);
    };
    check(&|b| b.truncate(10), ErrorCode::CorruptMessage);
    check(&|b| b.truncate(64), ErrorCode::CorruptMessage);
    check(&|b| b[16] = 1, ErrorCode::UnsupportedForMessageFormat);
    check(&|b| b[69] ^= 1, ErrorCode::CorruptMessage);
    check(&|b| b[7] = 1, ErrorCode::InvalidRecord);
    check(&|b| b.extend_from_slice(&good), ErrorCode::InvalidRecord);
    check(&|b| b[8..12].copy_from_slice(&i32::MAX.to_be_bytes()), ErrorCode::CorruptMessage);
    let big = batch_of(&["x".repeat(300)], None);
    assert_eq!(broker.append(at, big, 0).unwrap_err(), ErrorCode::MessageTooLarge);
    let elsewhere = TopicPartition { partition: 2, ..at };
    let unknown = broker.append(elsewhere, good.clone(), 0).unwrap_err();
    assert_eq!(unknown, ErrorCode::UnknownTopicOrPartition);
    assert!(broker.append(at, good.clone(), 0).is_ok());
    let mut late = BatchBuilder::new(Codec::None);
    late.push(3_600_001, None, Some(b"x"), &[]);
    let late = broker.append(at, late.build().unwrap(), 0).unwrap_err();
    assert_eq!(late, ErrorCode::InvalidTimestamp);
}

#[test]
fn compacted_topics_want_keys() {
    let (_, broker, at) = with_topic(&[("cleanup.policy", "compact")]);
    for (key, expected) in [(Some(&b"k"[..]), None), (None, Some(ErrorCode::InvalidRecord))] {
        let mut builder = BatchBuilder::new(Codec::Zstd);
        builder.push(0, key, Some(b"x"), &[]);
        assert_eq!(broker.append(at, builder.build().unwrap(), 0).err(), expected);
    }
}

#[test]
fn a_topic_may_choose_the_codec() {
    let (_, broker, at) = with_topic(&[("compression.type", "zstd")]);
    broker.append(at, batch_of(&["x".repeat(5000), "y".into()], None), 0).unwrap();
    broker.commit_pending(0).unwrap();
    assert!(broker.size(at).unwrap() < 1000);
    assert_eq!(read_all(&broker, at), [(0, "x".repeat(5000)), (1, "y".into())]);
}

#[test]
fn a_topic_may_choose_how_hard_its_codec_works() {
    let mut state = 7u64;
    let word = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{} ", ["order", "customer", "amount", "currency"][(state >> 60) as usize % 4])
    };
    let text: String = (0..20_000).map(word).collect();
    for (codec, low, high) in [("gzip", "1", "9"), ("zstd", "-5", "22")] {
        let size = |level: &str| {
            let setting = format!("compression.{codec}.level");
            let settings = [("compression.type", codec), (&setting, level)];
            let (_, broker, at) = with_topic(&settings);
            broker.append(at, batch_of(&[text.clone()], None), 0).unwrap();
            broker.commit_pending(0).unwrap();
            assert_eq!(read_all(&broker, at), [(0, text.clone())]);
            broker.size(at).unwrap()
        };
        let (fast, small) = (size(low), size(high));
        assert!(small * 10 < fast * 9, "{codec}: {fast} at {low}, {small} at {high}");
    }
}

#[test]
fn log_append_time_is_the_brokers() {
    let (_, broker, at) = with_topic(&[("message.timestamp.type", "LogAppendTime")]);
    let appended = broker.append(at, batch_of(&values(&["x"]), None), 4711).unwrap();
    assert_eq!(appended.log_append_time, 4711);
    broker.commit_pending(4711).unwrap();
    assert_eq!(read_all(&broker, at).len(), 1);
    let found = broker.offset_for(at, 4711, Isolation::ReadCommitted).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (0, 4711));
}

#[test]
fn offsets_are_found_by_time_across_segments() {
    let (_, broker, at) = with_topic(&[("segment.bytes", "1024")]);
    for i in 0..100i64 {
        let mut builder = BatchBuilder::new(Codec::Lz4);
        for j in 0..3 {
            builder.push(i * 30 + j * 10, None, Some(&[b'v'; 50]), &[]);
        }
        broker.append(at, builder.build().unwrap(), 10_000).unwrap();
    }
    broker.commit_pending(0).unwrap();
    let find = |time| broker.offset_for(at, time, Isolation::ReadCommitted).unwrap();
    for time in 0..2991 {
        let found = find(time).unwrap();
        assert_eq!((found.offset, found.timestamp), ((time + 9) / 10, (time + 9) / 10 * 10));
    }
    assert_eq!(find(2991), None);
    let newest = broker.offset_of_max_timestamp(at, Isolation::ReadCommitted).unwrap().unwrap();
    assert_eq!((newest.offset, newest.timestamp), (299, 2990));
}

#[test]
fn retention_removes_whole_segments() {
    let (_, broker, at) = with_topic(&[("segment.bytes", "1024"), ("retention.ms", "1000")]);
    for i in 0..50i64 {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(i * 100, None, Some(&[b'v'; 200]), &[]);
        broker.append(at, builder.build().unwrap(), i * 100).unwrap();
        broker.commit_pending(i * 100).unwrap();
    }
    broker.enforce_retention(4900).unwrap();
    broker.commit_pending(4900).unwrap();
    let start = broker.log_start(at).unwrap();
    assert!((36..=39).contains(&start), "{start}");
    assert_eq!(read_all(&broker, at).len() as i64, 50 - start);
    broker.enforce_retention(1_000_000).unwrap();
    broker.commit_pending(1_000_000).unwrap();
    assert_eq!(broker.log_start(at), Ok(50));
    broker.append(at, batch_of(&values(&["x"]), None), 0).unwrap();
    broker.commit_pending(1_000_000).unwrap();
    assert_eq!(read_all(&broker, at), [(50, "x".into())]);
}

#[test]
fn a_cut_never_halves_a_seal_and_epochs_grow() {
    let (_, broker, at) = with_topic(&[]);
    let other = TopicPartition { partition: 1, ..at };
    let two = [batch_of(&values(&["b"]), None), batch_of(&values(&["c"]), None)].concat();
    let appends = vec![(at, batch_of(&values(&["a"]), None)), (other, two.into())];
    let seal = Seal { epoch: 5, appends, payload: Bytes::from("p") };
    let sealed = broker.seal(seal.clone(), 0).unwrap();
    assert_eq!(sealed.base_offsets, [0, 0]);
    assert_eq!(broker.cut(&[at, other]), Ok(vec![0, 0]));
    broker.commit_pending(0).unwrap();
    assert_eq!(broker.cut(&[at, other]), Ok(vec![1, 2]));
    assert!(matches!(broker.seal(seal, 0), Err(Error::Invalid(_))));
}

#[test]
fn topics_come_and_go() {
    let (disk, broker, at) = with_topic(&[]);
    let again = broker.create_topic("t", 1, &[], Uuid::from_u128(5)).unwrap_err();
    assert_eq!(again.code, ErrorCode::TopicAlreadyExists);
    broker.append(at, batch_of(&values(&["x"]), None), 0).unwrap();
    broker.delete_topic(at.topic).unwrap();
    let gone = broker.append(at, batch_of(&values(&["x"]), None), 0).unwrap_err();
    assert_eq!(gone, ErrorCode::UnknownTopicOrPartition);
    broker.create_topic("t", 1, &[], Uuid::from_u128(5)).unwrap();
    broker.commit_pending(0).unwrap();
    let topic = broker.topic("t").unwrap();
    assert_eq!((topic.id, topic.partition_count()), (Uuid::from_u128(5), 1));
    let changes = [("retention.ms".to_owned(), Some("5".to_owned()))];
    broker.alter_config(topic.id, &changes).unwrap();
    let unknown = [("nonsense".to_owned(), Some("5".to_owned()))];
    let refused = broker.alter_config(topic.id, &unknown).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidConfig);
    broker.create_topic("a.b", 1, &[], Uuid::from_u128(6)).unwrap();
    let collides = broker.create_topic("a_b", 1, &[], Uuid::from_u128(7)).unwrap_err();
    assert_eq!(collides.code, ErrorCode::InvalidTopicException);
    broker.commit_pending(0).unwrap();
    drop(broker);
    let (broker, _) = open(Arc::new(disk.kill()), small_config(), 2).unwrap();
    let topic = broker.topic("t").unwrap();
    assert_eq!((topic.id, topic.config.retention_ms), (Uuid::from_u128(5), 5));
    let at = TopicPartition { topic: topic.id, partition: 0 };
    assert_eq!(read_all(&broker, at), []);
}

#[test]
fn producer_ids_are_never_given_twice() {
    let disk = Arc::new(MemDisk::new());
    let mut seen = std::collections::BTreeSet::new();
    let mut lives = vec![disk];
    for life in 0..3 {
        let disk = lives.pop().unwrap();
        let (broker, _) = open(disk.clone(), small_config(), life).unwrap();
        for _ in 0..1500 {
            let (id, _) = broker.allocate_producer_id().unwrap();
            assert!(seen.insert(id));
        }
        broker.commit_pending(0).unwrap();
        lives.push(Arc::new(disk.crash(life as u64)));
    }
}

#[test]
fn a_clean_stop_leaves_nothing_to_replay() {
    let disk = Arc::new(MemDisk::new());
    let (broker, _) = open(disk.clone(), small_config(), 1).unwrap();
    broker.append_app(3, Bytes::from("fact")).unwrap();
    broker.shut_down();
    struct At(i64);
    impl crate::broker::Clock for At {
        fn now_ms(&self) -> i64 {
            self.0
        }
    }
    broker.run_committer(&At(0)).unwrap();
    assert!(broker.append_app(3, Bytes::from("late")).is_err());
    let cluster = broker.cluster_id().to_owned();
    drop(broker);
    let (broker, recovered) = open(disk, small_config(), 2).unwrap();
    assert_eq!(recovered.app.len(), 1);
    assert_eq!(broker.journal_bytes(), 0, "the stop gave back the old file");
    broker.checkpoint(0).unwrap();
    assert_eq!(broker.journal_bytes(), 0);
    assert_eq!(broker.cluster_id(), cluster);
}

#[test]
fn the_directory_has_one_owner() {
    let disk = Arc::new(MemDisk::new());
    let (_broker, _) = open(disk.clone(), small_config(), 1).unwrap();
    let second = open(disk, small_config(), 2).err().unwrap();
    assert_eq!(second.kind(), ErrorKind::Busy);
}

#[test]
fn a_full_group_makes_appends_wait_or_fail() {
    let disk = Arc::new(MemDisk::new());
    let config = StorageConfig { durability: Durability::Os, ..small_config() };
    let entropy = Uuid::from_u128(9);
    let (broker, _) = Broker::open(disk, config, 0, entropy, Arc::new(NoWakes)).unwrap();
    broker.create_topic("t", 1, &[], Uuid::from_u128(77)).unwrap();
    broker.commit_pending(0).unwrap();
    let at = TopicPartition { topic: Uuid::from_u128(77), partition: 0 };
    // A batch bigger than a journal file makes a bigger file.
    let big = batch_of(&["x".repeat(100_000)], None);
    let appended = broker.append(at, big, 0).unwrap();
    assert!(appended.ticket > Ticket(0));
    broker.commit_pending(0).unwrap();
    assert_eq!(read_all(&broker, at).len(), 1);
}

#[test]
fn a_topic_grows_and_is_as_large_after_a_restart() {
    let (disk, broker, at) = with_topic(&[]);
    let third = TopicPartition { partition: 2, ..at };
    let append = |broker: &Broker, word: &str| {
        broker.append(third, batch_of(&values(&[word]), None), 0).map(|appended| appended.ticket)
    };
    assert_eq!(append(&broker, "x"), Err(ErrorCode::UnknownTopicOrPartition));
    for (count, wanted) in [(2, ErrorCode::InvalidPartitions), (1, ErrorCode::InvalidPartitions)] {
        assert_eq!(broker.create_partitions(at.topic, count, false).unwrap_err().code, wanted);
    }
    broker.create_partitions(at.topic, 4, true).unwrap();
    assert_eq!(broker.topic("t").unwrap().partition_count(), 2, "only checked");
    broker.create_partitions(at.topic, 3, false).unwrap();
    broker.commit_pending(0).unwrap();
    append(&broker, "a").unwrap();
    broker.commit_pending(0).unwrap();
    // From the journal, and then from the snapshot.
    let mut broker = broker;
    for (word, before) in [("b", 1), ("c", 2)] {
        drop(broker);
        broker = open(disk.clone(), small_config(), 1).unwrap().0;
        assert_eq!(broker.topic("t").unwrap().partition_count(), 3);
        assert_eq!(read_all(&broker, third).len(), before);
        append(&broker, word).unwrap();
        broker.commit_pending(0).unwrap();
        broker.checkpoint(0).unwrap();
    }
    broker.create_partitions(at.topic, 5, false).unwrap();
    broker.commit_pending(0).unwrap();
    drop(broker);
    let broker = open(disk, small_config(), 1).unwrap().0;
    assert_eq!(broker.topic("t").unwrap().partition_count(), 5, "grown after the checkpoint");
    assert_eq!(read_all(&broker, third).len(), 3);
}
