//! The log as the engine's source and sink: order, budgets, positions, own epochs, partitions.

mod whole;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch, StringViewArray};
use arrow::datatypes::Int32Type;
use bytes::Bytes;
use millstream_connectors::log::{Committing, InputSignal, LogIo, LogParts};
use millstream_connectors::metrics::Metrics;
use millstream_connectors::partitioner::partition_of;
use millstream_connectors::records;
use millstream_engine::io::{Budget, EpochIo, IoError, Sealing, SinkId, SourceId, StartAt};
use millstream_engine::rows::{Rows, Triggers, Windows};
use millstream_sql::catalog::{Format, FormatKind, KeyWindow};
use millstream_sql::plan;
use millstream_sql::syntax::ast::RelationKind;
use millstream_sql::types::{Column, Schema, SqlType};
use millstream_storage::broker::TransactionEnd;
use millstream_storage::log::batch::{BatchBuilder, Codec};
use millstream_storage::log::control::Marker;
use millstream_storage::{
    Broker, Clock, Isolation, MemDisk, StorageConfig, TopicPartition, WakeKey, Wakes,
};
use uuid::Uuid;

const ALL: Budget = Budget { rows: 1_000_000, bytes: 1 << 30 };

struct Zero;

impl Clock for Zero {
    fn now_ms(&self) -> i64 {
        0
    }
}

impl Wakes for Zero {
    fn wake(&self, _key: WakeKey) {}
}

struct World {
    broker: Arc<Broker>,
    io: LogIo,
}

impl World {
    fn new(topics: &[(&str, i32)]) -> World {
        let config = StorageConfig { journal_file_bytes: 1 << 20, ..StorageConfig::default() };
        let disk = Arc::new(MemDisk::new());
        let opened = Broker::open(disk, config, 0, Uuid::from_u128(9), Arc::new(Zero));
        let (broker, recovered) = opened.expect("opens");
        let broker = Arc::new(broker);
        for (i, (name, partitions)) in topics.iter().enumerate() {
            let id = Uuid::from_u128(i as u128 + 1);
            broker.create_topic(name, *partitions, &[], id).expect("created");
        }
        broker.commit_pending(0).expect("committed");
        let parts = LogParts {
            broker: broker.clone(),
            clock: Arc::new(Zero),
            signal: Arc::new(InputSignal::default()),
            metrics: Arc::new(Metrics::default()),
            committing: Committing::Inline,
            processing_log: None,
            keep_state: true,
        };
        World { broker, io: LogIo::new(parts, &recovered) }
    }

    fn at(&self, topic: &str, partition: i32) -> TopicPartition {
        TopicPartition { topic: self.broker.topic(topic).expect("there").id, partition }
    }

    /// One batch of records: time and V each.
    fn produce(&self, topic: &str, partition: i32, records: &[(i64, i32)]) {
        let mut batch = BatchBuilder::new(Codec::None);
        for (time, v) in records {
            batch.push(*time, Some(b"k"), Some(format!("{{\"v\":{v}}}").as_bytes()), &[]);
        }
        self.broker
            .append(self.at(topic, partition), batch.build().expect("a batch"), 0)
            .expect("taken");
        self.broker.commit_pending(0).expect("committed");
    }

    /// One record of a client's transaction; the time is V.
    fn produce_in_transaction(
        &self,
        producer: i64,
        sequence: i32,
        topic: &str,
        partition: i32,
        v: i32,
    ) {
        let builder = BatchBuilder::new(Codec::None).producer(producer, 0, sequence);
        let mut batch = builder.transactional();
        batch.push(i64::from(v), Some(b"k"), Some(format!("{{\"v\":{v}}}").as_bytes()), &[]);
        self.broker
            .append(self.at(topic, partition), batch.build().expect("a batch"), 0)
            .expect("taken");
        self.broker.commit_pending(0).expect("committed");
    }

    /// Ends a client's transaction in these partitions of topic a.
    fn end_transaction(&self, producer: i64, partitions: &[i32], commit: bool) {
        let marker =
            Marker { producer_id: producer, producer_epoch: 0, coordinator_epoch: 0, commit };
        let partitions = partitions.iter().map(|partition| self.at("a", *partition)).collect();
        let end = TransactionEnd { marker, partitions, facts: Vec::new(), told: Vec::new() };
        self.broker.end_transaction(&end, 0).expect("ended");
        self.broker.commit_pending(0).expect("committed");
    }

    fn open(&mut self, topic: &str, position: Option<&[u8]>) -> SourceId {
        self.open_for("Q", topic, position)
    }

    fn open_for(&mut self, query: &str, topic: &str, position: Option<&[u8]>) -> SourceId {
        let source = source(topic);
        self.io.open_source(query, &source, position, StartAt::Earliest).expect("opens")
    }

    /// Source, time and V of each row of a poll, in the order of the epoch.
    fn poll(&mut self, active: &[SourceId], rows: usize) -> Vec<(u64, i64, i32)> {
        let polled = self.io.poll(active, Budget { rows, ..ALL }).expect("polls");
        assert_eq!(polled.failed, []);
        let mut all = Vec::new();
        for (id, rows) in &polled.rows {
            let values = rows.value_columns()[0].as_primitive::<Int32Type>();
            for row in 0..rows.len() {
                all.push((rows.triggers.order[row], (id.0, rows.times[row], values.value(row))));
            }
        }
        all.sort();
        assert!(all.iter().enumerate().all(|(i, (order, _))| *order == i as u64), "{all:?}");
        all.into_iter().map(|(_, row)| row).collect()
    }

    fn seal(&mut self, epoch: u64, sink: SinkId, rows: Rows) {
        let outputs = vec![(sink, vec![rows])];
        let sealing = Sealing { epoch, outputs, state: Bytes::new() };
        let (ticket, bad) = self.io.seal(sealing).expect("seals");
        assert_eq!(bad, []);
        self.io.wait_sealed(ticket).expect("sealed");
    }

    /// Keys of the records of a partition, as bytes.
    fn keys(&self, topic: &str, partition: i32) -> Vec<Vec<u8>> {
        let read =
            self.broker.read(self.at(topic, partition), 0, 1 << 20, Isolation::ReadCommitted);
        let chunk = records::chunk(&read.expect("readable").records, 0, |_| false).expect("good");
        let key =
            |r: &records::RecordRef| r.key.of(&chunk.blocks[r.block as usize]).map(<[u8]>::to_vec);
        chunk.records.iter().filter_map(key).collect()
    }
}

fn schema() -> Schema {
    Schema {
        key: vec![Column::new("K", SqlType::String)],
        value: vec![Column::new("V", SqlType::Int)],
    }
}

fn source(topic: &str) -> plan::Source {
    plan::Source {
        fail_on_invalid_timestamp: false,
        relation: topic.to_uppercase(),
        topic: topic.to_owned(),
        kind: RelationKind::Stream,
        schema: schema(),
        key_format: Format::new(FormatKind::Kafka),
        value_format: Format::new(FormatKind::Json),
        window: None,
        timestamp: None,
        pseudo: vec![],
        materialize: false,
        start: None,
    }
}

fn sink(world: &mut World, topic: &str, window: Option<KeyWindow>) -> SinkId {
    let sink = plan::Sink {
        rekeyed: false,
        relation: Some(topic.to_uppercase()),
        topic: Some(topic.to_owned()),
        key_format: Format::new(FormatKind::Kafka),
        value_format: Format::new(FormatKind::Json),
        timestamp: None,
    };
    world.io.open_sink("Q", &sink, &schema(), window).expect("opens")
}

fn rows(keys: &[&str], windows: Option<Windows>) -> Rows {
    let len = keys.len();
    let keys: ArrayRef = Arc::new(StringViewArray::from_iter_values(keys));
    let values: ArrayRef = Arc::new(Int32Array::from_iter_values(0..len as i32));
    Rows {
        columns: RecordBatch::try_new(schema().to_arrow(), vec![keys, values]).expect("fits"),
        key_len: 1,
        times: vec![0; len].into(),
        windows,
        present: None,
        old: None,
        triggers: Triggers {
            order: vec![0; len].into(),
            partitions: vec![0; len].into(),
            offsets: vec![0; len].into(),
            headers: None,
        },
    }
}

#[test]
fn partitions_and_sources_merge_by_time() {
    let mut world = World::new(&[("a", 2), ("b", 1)]);
    world.produce("a", 0, &[(1, 10), (5, 11), (4, 12)]);
    world.produce("a", 1, &[(2, 20), (3, 21)]);
    world.produce("b", 0, &[(2, 30), (9, 31)]);
    let (a, b) = (world.open("a", None), world.open("b", None));
    let want = [(1, 1, 10), (1, 2, 20), (2, 2, 30), (1, 3, 21), (1, 5, 11), (1, 4, 12), (2, 9, 31)];
    assert_eq!(world.poll(&[a, b], 100), want);
    assert!(world.io.is_caught_up(a) && world.io.is_caught_up(b));
    assert_eq!(world.poll(&[a, b], 100), []);
}

#[test]
fn new_partitions_are_read_from_their_first_record_on() {
    let mut world = World::new(&[("a", 1)]);
    world.produce("a", 0, &[(1, 10)]);
    let running = world.open("a", None);
    assert_eq!(world.poll(&[running], 100), [(running.0, 1, 10)]);
    let position = world.io.position(running);
    let id = world.broker.topic("a").expect("there").id;
    world.broker.create_partitions(id, 3, false).expect("grows");
    world.broker.commit_pending(0).expect("committed");
    assert!(!world.io.is_caught_up(running), "it has not looked at the new partitions");
    world.produce("a", 2, &[(2, 20)]);
    world.produce("a", 0, &[(3, 30)]);
    assert_eq!(world.poll(&[running], 100), [(running.0, 2, 20), (running.0, 3, 30)]);
    assert!(world.io.is_caught_up(running));
    // A query that stood still meanwhile goes on in the same way.
    let restarted = world.open("a", Some(&position));
    assert_eq!(world.poll(&[restarted], 100), [(restarted.0, 2, 20), (restarted.0, 3, 30)]);
}

#[test]
fn a_budget_cuts_and_positions_go_on() {
    let mut world = World::new(&[("a", 2)]);
    for i in 0..10 {
        world.produce("a", i % 2, &[(i64::from(i), i), (i64::from(i), i + 100)]);
    }
    let mut whole = World::new(&[("a", 2)]);
    for i in 0..10 {
        whole.produce("a", i % 2, &[(i64::from(i), i), (i64::from(i), i + 100)]);
    }
    let id = whole.open("a", None);
    let want = whole.poll(&[id], 1_000);
    let mut got = Vec::new();
    let mut position = None;
    for turn in 0..40 {
        // Each turn with a new source at the old one's position, as after a restart.
        let id = world.open("a", position.as_deref());
        let part = world.poll(&[id], 1 + turn % 3);
        got.extend(part.into_iter().map(|(_, time, v)| (1, time, v)));
        position = Some(world.io.position(id));
        world.io.close_source(id);
    }
    assert_eq!(got, want);
}

#[test]
fn compaction_leaves_gaps_that_a_source_reads_over() {
    let mut world = World::new(&[("a", 1)]);
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1024"),
        ("min.cleanable.dirty.ratio", "0"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
    world.broker.alter_config(world.at("a", 0).topic, &settings).expect("altered");
    world.broker.commit_pending(0).expect("committed");
    // All of one key: the newest record of each part that is compacted stays.
    (0..100).for_each(|v| world.produce("a", 0, &[(i64::from(v), v)]));
    let early = world.open("a", None);
    assert_eq!(world.poll(&[early], 3), [(1, 0, 0), (1, 1, 1), (1, 2, 2)]);
    assert_eq!(world.broker.compact(0).expect("compacts"), 1);
    let late = world.open("a", None);
    world.io.end_at_now(late);
    let mut last = Vec::new();
    for _ in 0..300 {
        let rows = world.poll(&[late], 1);
        if rows.is_empty() {
            break;
        }
        last.extend(rows.into_iter().map(|(_, _, v)| v));
    }
    assert!(last.len() < 20 && last.is_sorted(), "{last:?}");
    assert_eq!(last.last(), Some(&99));
    assert!(world.io.is_caught_up(late));
    // Who began before goes on with what it had read, then over the gap.
    let mut rest = Vec::new();
    while !world.io.is_caught_up(early) {
        rest.extend(world.poll(&[early], 7).into_iter().map(|(_, _, v)| v));
    }
    assert!(rest.is_sorted() && rest.first() == Some(&3) && rest.last() == Some(&99), "{rest:?}");
}

#[test]
fn rows_of_aborted_and_open_transactions_are_no_input() {
    let mut world = World::new(&[("a", 1)]);
    let id = world.open("a", None);
    world.produce_in_transaction(1, 0, "a", 0, 10);
    world.produce_in_transaction(2, 0, "a", 0, 20);
    world.end_transaction(1, &[0], false);
    assert_eq!(world.poll(&[id], 100), [], "one is aborted, the other open");
    world.produce("a", 0, &[(30, 30)]);
    world.produce_in_transaction(2, 1, "a", 0, 21);
    world.end_transaction(2, &[0], true);
    assert_eq!(world.poll(&[id], 100), [(id.0, 20, 20), (id.0, 30, 30), (id.0, 21, 21)]);
    assert!(world.io.is_caught_up(id));
    // From the middle of what was aborted, after a restart.
    world.produce_in_transaction(1, 1, "a", 0, 11);
    world.produce_in_transaction(1, 2, "a", 0, 12);
    world.end_transaction(1, &[0], false);
    let position = world.io.position(id);
    let again = world.open("a", Some(&position));
    assert_eq!(world.poll(&[again], 100), []);
    assert!(world.io.is_caught_up(again));
}

/// Another client's open transaction holds one partition back: then of a committed transaction in it
/// nothing is input yet, in no partition and of no source.
#[test]
fn a_committed_transaction_is_in_one_epoch() {
    let mut world = World::new(&[("a", 3)]);
    let (id, other) = (world.open("a", None), world.open("a", None));
    world.produce_in_transaction(1, 0, "a", 0, 1);
    world.produce_in_transaction(2, 0, "a", 1, 100);
    world.produce_in_transaction(1, 0, "a", 1, 2);
    world.produce_in_transaction(1, 0, "a", 2, 3);
    world.produce("a", 2, &[(4, 4)]);
    world.end_transaction(1, &[0, 1, 2], true);
    assert_eq!(world.poll(&[id, other], 100), [], "partition 1 is held back, so all are");
    world.end_transaction(2, &[1], false);
    let rows = world.poll(&[id, other], 100);
    let values = |source: SourceId| {
        let of = rows.iter().filter(|row| row.0 == source.0);
        of.map(|row| row.2).collect::<Vec<_>>()
    };
    assert_eq!((values(id), values(other)), (vec![1, 2, 3, 4], vec![1, 2, 3, 4]));
}

/// A decompression bomb stops no query: it is told, once, and what is behind it is read.
#[test]
fn a_batch_beyond_the_budget_is_left_out_and_told() {
    let mut world = World::new(&[("a", 1)]);
    let id = world.open("a", None);
    world.produce("a", 0, &[(1, 1)]);
    let mut bomb = BatchBuilder::new(Codec::Zstd);
    let zeros = vec![b'0'; 40 << 20];
    bomb.push(2, Some(b"k"), Some(&zeros), &[]);
    bomb.push(2, Some(b"k"), Some(b"{\"v\":2}"), &[]);
    world.broker.append(world.at("a", 0), bomb.build().expect("a batch"), 0).expect("taken");
    world.produce("a", 0, &[(3, 3), (4, 4)]);
    let mut told = Vec::new();
    let mut times = Vec::new();
    while !world.io.is_caught_up(id) {
        let polled = world.io.poll(&[id], Budget { rows: 1, ..ALL }).expect("polls");
        assert_eq!(polled.failed, []);
        times.extend(polled.rows.iter().flat_map(|(_, rows)| rows.times.to_vec()));
        told.extend(polled.bad.into_iter().map(|bad| (bad.topic, bad.offset, bad.reason)));
    }
    assert_eq!(times, [1, 3, 4]);
    let [(topic, 1, reason)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(topic, "a");
    assert_eq!(
        reason,
        "records 1 to 2 are left out, their batch cannot be read: the records take more than 33554432 \
         bytes uncompressed"
    );
}

#[test]
fn own_epochs_are_left_out_and_come_back() {
    let mut world = World::new(&[("a", 1)]);
    let out = sink(&mut world, "a", None);
    let id = world.open("a", None);
    let values = |rows: Vec<(u64, i64, i32)>| rows.len();
    world.seal(1, out, rows(&["x"], None));
    assert_eq!(values(world.poll(&[id], 10)), 1);
    world.io.skip_own_since(id, 2);
    world.seal(2, out, rows(&["x", "y"], None));
    world.produce("a", 0, &[(0, 7)]);
    assert_eq!(values(world.poll(&[id], 10)), 1);
    world.io.skip_own_until(id, 3);
    world.seal(3, out, rows(&["x", "y"], None));
    assert_eq!(values(world.poll(&[id], 10)), 2);
    let position = world.io.position(id);
    let again = world.open("a", Some(&position));
    assert_eq!(values(world.poll(&[again], 10)), 0);
}

#[test]
fn keys_choose_partitions_as_kafka_does() {
    let mut world = World::new(&[("a", 4), ("w", 4)]);
    let names = ["a", "b", "c", "d", "e", "f"];
    let plain = sink(&mut world, "a", None);
    world.seal(1, plain, rows(&names, None));
    let window = KeyWindow::Time { size_ms: 10, hopping: false };
    let windowed = sink(&mut world, "w", Some(window));
    let windows = Windows { starts: vec![50; 6].into(), ends: vec![60; 6].into() };
    world.seal(2, windowed, rows(&names, Some(windows)));
    for partition in 0..4 {
        let want: Vec<&str> =
            names.iter().copied().filter(|n| partition_of(n.as_bytes(), 4) == partition).collect();
        let plain: Vec<Vec<u8>> = want.iter().map(|n| n.as_bytes().to_vec()).collect();
        assert_eq!(world.keys("a", partition), plain);
        let behind = |key: &Vec<u8>| [&key[..], &50i64.to_be_bytes()].concat();
        assert_eq!(world.keys("w", partition), plain.iter().map(behind).collect::<Vec<_>>());
    }
}

#[test]
fn what_is_gone_is_told_with_a_remedy() {
    let mut world = World::new(&[("a", 1)]);
    world.produce("a", 0, &[(1, 1)]);
    let id = world.open("a", None);
    let position = world.io.position(id);
    world.broker.delete_records(world.at("a", 0), 1).expect("deleted");
    world.broker.commit_pending(0).expect("committed");
    let fails = |e: IoError| matches!(e, IoError::Query(text) if text.contains("TERMINATE"));
    let again = world.io.open_source("Q", &source("a"), Some(&position), StartAt::Earliest);
    assert!(fails(again.expect_err("the records are gone")));
    let polled = world.io.poll(&[id], ALL).expect("polls");
    assert!(matches!(polled.failed.as_slice(), [(failed, e)] if *failed == id && fails(e.clone())));
    assert!(world.io.open_source("Q", &source("none"), None, StartAt::Latest).is_err());
}
