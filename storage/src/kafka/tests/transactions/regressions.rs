//! Faults that Kafka and its kin had, one test each: the list in `reference/kafka.md` §2.8. Those about
//! epochs and expiry alone are in `transactions/tests.rs`.

use kafka_wire::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};

use super::*;
use crate::broker::TransactionEnd;
use crate::disk::Disk;
use crate::log::control::Marker;

/// Jepsen, Bufstream 0.1.0 (2024): a commit or abort delayed on the network ended a *later*
/// transaction. The second protocol refuses it by its epoch; the first one while nothing is open.
#[test]
fn a_delayed_end_does_not_reach_a_later_transaction() {
    let mut client = start();
    let mut tx = ready(&mut client, "tx", true);
    client.write(&mut tx, 0, &["first"]);
    let delayed = [tx.end_request(true), tx.end_request(false)];
    assert_eq!(client.end(&mut tx, true), ErrorCode::None);
    client.write(&mut tx, 0, &["second"]);
    for request in &delayed {
        assert_eq!(name(client.ask(5, request).error_code), ErrorCode::ProducerFenced);
    }
    assert_eq!(client.last_stable(0), 2, "the second transaction is still open");
    assert_eq!(client.end(&mut tx, true), ErrorCode::None);
    assert_eq!(client.committed(0), ["first", "second"]);

    let mut old = ready(&mut client, "old", false);
    client.write(&mut old, 1, &["first"]);
    let delayed = old.end_request(false);
    assert_eq!(client.end(&mut old, true), ErrorCode::None);
    assert_eq!(name(client.ask(4, &delayed).error_code), ErrorCode::InvalidTxnState);
    assert_eq!(client.committed(1), ["first"]);
}

/// Jepsen, Redpanda 21.10 (#3039): a retried write was appended again; #3036: aborted records were
/// read.
#[test]
fn a_retry_within_a_transaction_is_answered_not_appended() {
    for second in [false, true] {
        let mut client = start();
        let mut tx = ready(&mut client, "tx", second);
        let values = ["0", "1", "2", "3", "4"];
        for value in values {
            client.write(&mut tx, 0, &[value]);
        }
        for (sequence, value) in values.iter().enumerate() {
            let mut again = tx.clone();
            again.sequences[0] = sequence as i32;
            let offset = sequence as i64;
            assert_eq!(client.write_again(&again, 0, &[value]), (ErrorCode::None, offset));
        }
        client.end(&mut tx, true);
        assert_eq!(client.committed(0), values);
    }
}

/// Redpanda PR 5026: after an abort the client uses sequences again; taken for repetitions, its new
/// records were lost. With the epoch that each end begins they are new.
#[test]
fn sequences_used_again_after_an_abort_are_new_records() {
    let mut client = start();
    let mut tx = ready(&mut client, "tx", true);
    client.write(&mut tx, 0, &["aborted"]);
    client.end(&mut tx, false);
    assert_eq!(tx.sequences, [0; 3], "the client begins at 0 again");
    assert_eq!(client.write(&mut tx, 0, &["again"]), (ErrorCode::None, 2));
    client.end(&mut tx, true);
    assert_eq!(client.committed(0), ["again"]);
    // An old client that goes on with a new epoch (KIP-360) too.
    let mut old = ready(&mut client, "old", false);
    client.write(&mut old, 1, &["aborted"]);
    client.end(&mut old, false);
    assert_eq!(client.init_as(&mut old, true), ErrorCode::None);
    assert_eq!(client.write(&mut old, 1, &["again"]), (ErrorCode::None, 2));
    client.end(&mut old, true);
    assert_eq!(client.committed(1), ["again"]);
}

/// KAFKA-14402: a batch that arrived after the abort opened a transaction that nobody ended: readers
/// stood still.
#[test]
fn late_data_opens_no_hanging_transaction() {
    for second in [false, true] {
        let mut client = start();
        let mut tx = ready(&mut client, "tx", second);
        client.write(&mut tx, 0, &["in time"]);
        let late = tx.clone();
        // The coordinator aborts; the producer does not know.
        client.now_ms += 60_001;
        client.node.tick(client.now_ms);
        assert_eq!(client.write_again(&late, 0, &["late"]).0, ErrorCode::InvalidProducerEpoch);
        assert_eq!(client.write_again(&late, 1, &["late"]).0, ErrorCode::InvalidProducerEpoch);
        assert_eq!((client.last_stable(0), client.last_stable(1)), (2, 0));
        assert_eq!(client.committed(0), [""; 0]);
    }
    // The client itself aborts, and a batch of the same epoch overtakes nothing.
    let mut client = start();
    let mut old = ready(&mut client, "old", false);
    client.write(&mut old, 0, &["in time"]);
    client.end(&mut old, false);
    assert_eq!(client.write_again(&old, 0, &["late"]).0, ErrorCode::TransactionAbortable);
    assert_eq!(client.last_stable(0), 2);
}

/// KAFKA-9144: producer state expired while its transaction was open, and the coordinator's epoch
/// went back. An open transaction keeps its producer.
#[test]
fn a_producer_does_not_expire_while_its_transaction_is_open() {
    let mut client = start();
    let mut tx = ready(&mut client, "tx", true);
    client.write(&mut tx, 0, &["a"]);
    let at = client.place(0);
    client.node.broker.enforce_retention(client.now_ms + 10 * 86_400_000).unwrap();
    assert_eq!(client.node.broker.producers(at).unwrap()[0].open, Some(0));
    client.end(&mut tx, true);
    assert_eq!(client.committed(0), ["a"]);
    client.node.broker.enforce_retention(client.now_ms + 10 * 86_400_000).unwrap();
    assert_eq!(client.node.broker.producers(at).unwrap(), []);
    // What the coordinator wrote before stays in force.
    client.write(&mut tx, 0, &["b"]);
    client.end(&mut tx, true);
    let stale = Marker {
        producer_id: tx.producer_id,
        producer_epoch: tx.epoch,
        coordinator_epoch: -1,
        commit: false,
    };
    let refused = client.node.broker.check_marker(at, &stale);
    assert_eq!(refused, Err(ErrorCode::TransactionCoordinatorFenced));
}

/// KAFKA-15653: while one request waited to be verified another used its buffer: compressed batches
/// came out broken. Many compressed batches in one request come out as they went in.
#[test]
fn verified_batches_are_not_mixed_up() {
    let mut client = start();
    let mut tx = ready(&mut client, "tx", true);
    let mut request = tx.write_request(0, &["x"]);
    request.topic_data[0].partition_data.clear();
    for partition in 0..3 {
        let codec = [Codec::Gzip, Codec::Lz4, Codec::Zstd][partition];
        let builder = BatchBuilder::new(codec);
        let mut builder = builder.producer(tx.producer_id, tx.epoch, 0).transactional();
        for i in 0..50 {
            let value = format!("{partition}-{i}");
            builder.push(1_000_000, None, Some(value.as_bytes()), &[]);
        }
        let mut part = produce_request::PartitionProduceData::default();
        part.index = partition as i32;
        part.records = Some(builder.build().unwrap());
        request.topic_data[0].partition_data.push(part);
    }
    let answer = client.ask(12, &request);
    assert!(answer.responses[0].partition_responses.iter().all(|part| part.error_code == 0));
    client.end(&mut tx, true);
    for partition in 0..3 {
        let expected: Vec<String> = (0..50).map(|i| format!("{partition}-{i}")).collect();
        assert_eq!(client.committed(partition), expected);
    }
}

/// KAFKA-17507: the end was acknowledged before the group's offsets were visible; the consumer went on
/// from the old one and read twice.
#[test]
fn offsets_are_visible_when_the_end_is_acknowledged() {
    let mut client = start();
    let mut tx = ready(&mut client, "tx", true);
    for offset in 1..20 {
        client.put_offset(&tx, "g", 0, offset);
        assert_eq!(client.end(&mut tx, true), ErrorCode::None);
        assert_eq!(client.offset_of("g", 0, true), Ok(offset));
    }
}

/// KAFKA-19999: a marker that was repeated with the same epoch failed for ever, and the coordinator
/// with it.
#[test]
fn a_repeated_marker_succeeds() {
    let mut client = start();
    let mut tx = ready(&mut client, "tx", true);
    client.write(&mut tx, 0, &["a"]);
    client.end(&mut tx, true);
    let mut topic = WritableTxnMarkerTopic::default();
    topic.name = "t".into();
    topic.partition_indexes = vec![0, 7];
    let mut marker = WritableTxnMarker::default();
    marker.producer_id = tx.producer_id;
    marker.producer_epoch = tx.epoch;
    marker.coordinator_epoch = 0;
    marker.transaction_result = true;
    marker.topics = vec![topic];
    let mut request = WriteTxnMarkersRequest::default();
    request.markers = vec![marker];
    for _ in 0..3 {
        let answer = client.ask(1, &request);
        let parts = &answer.markers[0].topics[0].partitions;
        let codes: Vec<ErrorCode> = parts.iter().map(|part| name(part.error_code)).collect();
        assert_eq!(codes, [ErrorCode::None, ErrorCode::UnknownTopicOrPartition]);
    }
    request.markers[0].producer_epoch = 0;
    let answer = client.ask(1, &request);
    let code = answer.markers[0].topics[0].partitions[0].error_code;
    assert_eq!(name(code), ErrorCode::InvalidProducerEpoch, "of an epoch that is over");
    assert_eq!(client.committed(0), ["a"]);
}

/// KIP-664: a transaction that no coordinator knows (here written to the log directly) is found by its
/// producer and aborted by an administrator.
#[test]
fn a_hanging_transaction_is_found_and_aborted() {
    let mut client = start();
    let at = client.place(0);
    let mut builder = BatchBuilder::new(Codec::None).producer(777, 4, 0).transactional();
    builder.push(1_000_000, None, Some(b"hanging"), &[]);
    client.node.broker.append(at, builder.build().unwrap(), client.now_ms).unwrap();
    let mut tx = ready(&mut client, "tx", true);
    client.write(&mut tx, 0, &["behind"]);
    client.end(&mut tx, true);
    assert_eq!(client.last_stable(0), 0);
    let producers = client.node.broker.producers(at).unwrap();
    let hanging = producers.iter().find(|producer| producer.open.is_some()).unwrap();
    let mut topic = WritableTxnMarkerTopic::default();
    topic.name = "t".into();
    topic.partition_indexes = vec![0];
    let mut marker = WritableTxnMarker::default();
    marker.producer_id = hanging.producer_id;
    marker.producer_epoch = hanging.epoch;
    marker.coordinator_epoch = hanging.coordinator_epoch;
    marker.topics = vec![topic];
    let mut request = WriteTxnMarkersRequest::default();
    request.markers = vec![marker];
    let answer = client.ask(1, &request);
    assert_eq!(answer.markers[0].topics[0].partitions[0].error_code, 0);
    assert_eq!((client.last_stable(0), client.committed(0)), (4, vec!["behind".to_owned()]));
}

/// Redpanda #22670: an idle producer whose state had expired was told that its sequence is out of
/// order. Of an unknown producer any sequence is taken.
#[test]
fn an_idle_producer_goes_on_after_its_state_expired() {
    let mut client = start();
    let mut tx = ready(&mut client, "tx", false);
    client.write(&mut tx, 0, &["a", "b"]);
    client.end(&mut tx, true);
    client.now_ms += 2 * 86_400_000;
    client.node.broker.enforce_retention(client.now_ms).unwrap();
    assert_eq!(client.write(&mut tx, 0, &["c"]).0, ErrorCode::None);
    client.end(&mut tx, true);
    assert_eq!(client.committed(0), ["a", "b", "c"]);
}

/// `producer.id.expiration.ms` is in force from the moment it is changed, and after a restart.
#[test]
fn the_expiry_of_producers_can_be_changed() {
    let disk = Arc::new(MemDisk::new());
    let mut client = Client::on(disk.clone());
    client.create("t", 3, &[("retention.ms", "-1")]);
    let mut tx = ready(&mut client, "tx", true);
    client.write(&mut tx, 0, &["a"]);
    client.end(&mut tx, true);
    let mut change = incremental_alter_configs_request::AlterableConfig::default();
    change.name = "producer.id.expiration.ms".into();
    change.value = Some("5000".into());
    let mut resource = incremental_alter_configs_request::AlterConfigsResource::default();
    resource.resource_type = 4;
    resource.configs = vec![change];
    let mut request = IncrementalAlterConfigsRequest::default();
    request.resources = vec![resource];
    let answer = client.ask(1, &request);
    assert_eq!(answer.responses[0].error_code, 0, "{answer:?}");
    let after = Client::on(Arc::new(disk.kill()));
    for client in [client, after] {
        let at = client.place(0);
        client.node.broker.enforce_retention(client.now_ms + 4000).unwrap();
        assert_eq!(client.node.broker.producers(at).unwrap().len(), 1);
        client.node.broker.enforce_retention(client.now_ms + 6000).unwrap();
        assert_eq!(client.node.broker.producers(at).unwrap().len(), 0);
    }
}

/// Redpanda CORE-16998, CORE-17000: an offset held by an open transaction was expired, and what was
/// committed later depended on when its transaction ended, so a replay came out differently.
#[test]
fn offsets_of_open_transactions_neither_expire_nor_change_their_order() {
    let mut client = start();
    let (mut one, mut two) = (ready(&mut client, "1", true), ready(&mut client, "2", true));
    client.put_offset(&one, "g", 0, 1);
    client.end(&mut one, true);
    client.put_offset(&one, "g", 0, 2);
    client.put_offset(&two, "g", 0, 3);
    // Put later, it wins although its transaction ends first.
    client.end(&mut two, true);
    client.end(&mut one, true);
    assert_eq!(client.offset_of("g", 0, true), Ok(3));

    client.put_offset(&one, "g", 0, 4);
    // The group is old enough to be forgotten, but a transaction holds an offset of it.
    client.now_ms += 59_000;
    client
        .node
        .decide(client.now_ms, |groups| groups.tick(client.now_ms + 8 * 86_400_000))
        .unwrap();
    assert_eq!(client.offset_of("g", 0, false), Ok(3));
    client.end(&mut one, true);
    assert_eq!(client.offset_of("g", 0, true), Ok(4));
}

/// Tansu: a fetch from the middle of a batch left the batch out, and `read_committed` showed aborted
/// records. A consumer that begins inside an aborted transaction is told of it.
#[test]
fn a_fetch_inside_a_transaction_gets_its_batch_and_its_fate() {
    let mut client = start();
    let mut tx = ready(&mut client, "tx", true);
    client.write(&mut tx, 0, &["a", "b", "c"]);
    client.write(&mut tx, 0, &["d"]);
    client.end(&mut tx, false);
    let at = client.place(0);
    for offset in 0..4 {
        let read = client.node.broker.read(at, offset, 1 << 20, Isolation::ReadCommitted).unwrap();
        assert_eq!(read.aborted.len(), 1, "from {offset}");
        let first = batches(&read.records).next().unwrap().unwrap().0;
        assert_eq!(first.base_offset, if offset < 3 { 0 } else { 3 });
        assert!(read.is_aborted(&first));
    }
}

/// Redpanda 7458, 7544: the last stable offset went back over a restart.
#[test]
fn the_last_stable_offset_survives_a_restart() {
    let disk = Arc::new(MemDisk::new());
    let mut client = Client::on(disk.clone());
    client.create("t", 3, &[]);
    let (mut open, mut done) = (ready(&mut client, "a", true), ready(&mut client, "b", true));
    client.write(&mut done, 0, &["aborted"]);
    client.end(&mut done, false);
    client.write(&mut open, 0, &["open"]);
    client.write(&mut done, 0, &["done"]);
    client.put_offset(&open, "g", 1, 7);
    client.end(&mut done, true);
    for checkpoint in [false, true, false] {
        if checkpoint {
            client.node.broker.checkpoint(client.now_ms).unwrap();
        }
        assert_eq!(client.last_stable(0), 2);
        let disk = Arc::new(disk.kill());
        let mut after = Client::on(disk);
        after.now_ms = client.now_ms;
        assert_eq!((after.last_stable(0), after.committed(0)), (2, vec![]));
        assert_eq!(after.offset_of("g", 1, true), Err(ErrorCode::UnstableOffsetCommit));
        // The coordinator goes on where it was.
        let mut open = open.clone();
        assert_eq!(after.write(&mut open, 0, &["more"]).0, ErrorCode::None);
        assert_eq!(after.end(&mut open, true), ErrorCode::None);
        assert_eq!(after.committed(0), ["open", "done", "more"]);
        assert_eq!(after.offset_of("g", 1, true), Ok(7));
    }
}

fn open(disk: &MemDisk, path: &str) -> Arc<dyn crate::disk::DiskFile> {
    disk.open(path, false).unwrap()
}

/// Kafka makes its indexes again after an unclean stop. Here the file of aborted transactions is, when
/// it is not what the checkpoint says: lost, cut short, emptied, another's, or with other numbers in it.
#[test]
fn a_damaged_index_of_aborted_transactions_is_made_again() {
    let disk = Arc::new(MemDisk::new());
    let mut client = Client::on(disk.clone());
    client.create("t", 3, &[("retention.ms", "-1"), ("segment.bytes", "1024")]);
    let (mut one, mut two) = (ready(&mut client, "1", true), ready(&mut client, "2", true));
    for round in 0..15 {
        client.write(&mut one, 0, &["aborted"]);
        client.write(&mut two, 0, &["committed"]);
        client.end(&mut one, round == 14);
        client.end(&mut two, true);
    }
    client.node.broker.checkpoint(client.now_ms).unwrap();
    let told = |client: &Client| {
        let at = client.place(0);
        let mut all = Vec::new();
        let mut offset = 0;
        loop {
            let read = client.node.broker.read(at, offset, 1, Isolation::ReadCommitted).unwrap();
            if read.next_offset == offset {
                return (all, client.committed(0));
            }
            offset = read.next_offset;
            all.push(read.aborted);
        }
    };
    let expected = told(&client);
    let dir = "log/t-0";
    let files = disk.list(dir).unwrap();
    let indexes: Vec<&String> = files.iter().filter(|file| file.ends_with(".txnindex")).collect();
    assert!(indexes.len() > 2, "{files:?}");
    let damages: [(&str, fn(&MemDisk, &str)); 7] = [
        ("lost", |disk, path| disk.remove(path).unwrap()),
        ("cut short", |disk, path| open(disk, path).truncate(33).unwrap()),
        ("emptied", |disk, path| open(disk, path).truncate(0).unwrap()),
        ("zeros", |disk, path| open(disk, path).write_at(9, &[0; 20]).unwrap()),
        ("another producer", |disk, path| open(disk, path).write_at(9, &[77]).unwrap()),
        ("a later first offset", |disk, path| {
            let first = open(disk, path).read_at(17, 1).unwrap();
            open(disk, path).write_at(17, &[first[0].wrapping_add(1)]).unwrap();
        }),
        ("the last entry is missing", |disk, path| {
            let file = open(disk, path);
            file.truncate(file.len().unwrap() - 34).unwrap();
        }),
    ];
    for (name, damage) in damages {
        for file in &indexes {
            let after = Arc::new(disk.kill());
            damage(&after, &format!("{dir}/{file}"));
            let opened = Client::on(after.clone());
            assert_eq!(told(&opened), expected, "{file}: {name}");
            // The next checkpoint writes the file again.
            opened.node.broker.checkpoint(client.now_ms).unwrap();
            let whole = |disk: &MemDisk| {
                let file = open(disk, &format!("{dir}/{file}"));
                file.read_at(0, file.len().unwrap() as usize).unwrap()
            };
            assert_eq!(whole(&after), whole(&disk), "{file}: {name}");
            assert_eq!(told(&Client::on(Arc::new(after.kill()))), expected, "{file}: {name}");
        }
    }
}

/// KAFKA-19407: two appends got offsets in the wrong order. Offsets follow the journal, whatever is
/// appended and ended in between; recovery refuses a gap.
#[test]
fn offsets_grow_by_one() {
    let mut client = start();
    let mut producers: Vec<Tx> =
        (0..4).map(|i| ready(&mut client, &format!("tx{i}"), i % 2 == 0)).collect();
    let mut next = 0;
    for round in 0..40 {
        let tx = &mut producers[round % 4];
        let (code, offset) = client.write(tx, 0, &["v", "w"]);
        assert_eq!((code, offset), (ErrorCode::None, next));
        next += 2;
        if round % 3 == 0 {
            assert_eq!(client.end(tx, round % 2 == 0), ErrorCode::None);
            next += 1;
        }
    }
    client.node.broker.commit_pending(client.now_ms).unwrap();
    assert_eq!(client.node.broker.high_watermark(client.place(0)), Ok(next));
}

/// A marker may name partitions that are gone, or belong to a newer producer by now: the end must not
/// hang on them.
#[test]
fn an_end_leaves_out_what_is_gone() {
    let mut client = start();
    let mut tx = ready(&mut client, "tx", true);
    client.write(&mut tx, 0, &["a"]);
    let at = client.place(0);
    let marker = Marker {
        producer_id: tx.producer_id,
        producer_epoch: 0,
        coordinator_epoch: 0,
        commit: false,
    };
    let gone = TopicPartition { topic: Uuid::from_u128(1), partition: 0 };
    let end = TransactionEnd { marker, partitions: vec![gone, at], facts: vec![], told: vec![] };
    client.node.broker.end_transaction(&end, client.now_ms).unwrap();
    assert_eq!(client.last_stable(0), 2);
    assert_eq!(client.end(&mut tx, true), ErrorCode::None);
    assert_eq!(client.committed(0), [""; 0]);
}
