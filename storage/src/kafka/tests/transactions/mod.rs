//! Transactions over the wire: requests of both protocols against a node with its log.
//!
//! `regressions.rs` has, one test each, the faults that others had; `random.rs` plays random clients,
//! delays, repetitions and crashes.

mod random;
mod regressions;

use std::collections::{BTreeSet, HashSet};

use kafka_wire::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_wire::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_wire::*;

use super::*;
use crate::broker::{Isolation, TopicPartition};
use crate::error::ErrorCode;
use crate::log::batch::{self, RecordIter, batches};

/// A producer as its client knows it.
#[derive(Debug, Clone)]
struct Tx {
    id: String,
    producer_id: i64,
    epoch: i16,
    /// Next sequence of each partition.
    sequences: [i32; 3],
    /// Speaks the second protocol.
    second: bool,
}

impl Tx {
    fn new(id: &str, second: bool) -> Tx {
        let id = id.to_owned();
        Tx { id, producer_id: -1, epoch: -1, sequences: [0; 3], second }
    }

    fn became(&mut self, producer_id: i64, epoch: i16) {
        if (producer_id, epoch) != (self.producer_id, self.epoch) {
            self.sequences = [0; 3];
        }
        (self.producer_id, self.epoch) = (producer_id, epoch);
    }

    fn init_request(&self, goes_on: bool) -> InitProducerIdRequest {
        let mut request = InitProducerIdRequest::default();
        request.transactional_id = Some(self.id.as_str().into());
        request.transaction_timeout_ms = 60_000;
        let (producer_id, epoch) = if goes_on { (self.producer_id, self.epoch) } else { (-1, -1) };
        request.producer_id = producer_id;
        request.producer_epoch = epoch;
        request
    }

    fn add_request(&self, partition: i32) -> AddPartitionsToTxnRequest {
        let mut topic = AddPartitionsToTxnTopic::default();
        topic.name = "t".into();
        topic.partitions = vec![partition];
        let mut request = AddPartitionsToTxnRequest::default();
        request.v3_and_below_transactional_id = self.id.as_str().into();
        request.v3_and_below_producer_id = self.producer_id;
        request.v3_and_below_producer_epoch = self.epoch;
        request.v3_and_below_topics = vec![topic];
        request
    }

    fn produce_version(&self) -> i16 {
        if self.second { 12 } else { 11 }
    }

    fn write_request(&self, partition: i32, values: &[&str]) -> ProduceRequest {
        let sequence = self.sequences[partition as usize];
        let builder = BatchBuilder::new(Codec::None);
        let mut builder = builder.producer(self.producer_id, self.epoch, sequence).transactional();
        for value in values {
            builder.push(1_000_000, None, Some(value.as_bytes()), &[]);
        }
        let mut request = produce_to("t", partition, builder.build().unwrap());
        request.transactional_id = Some(self.id.as_str().into());
        request
    }

    fn end_version(&self) -> i16 {
        if self.second { 5 } else { 4 }
    }

    fn end_request(&self, commit: bool) -> EndTxnRequest {
        let mut request = EndTxnRequest::default();
        request.transactional_id = self.id.as_str().into();
        request.producer_id = self.producer_id;
        request.producer_epoch = self.epoch;
        request.committed = commit;
        request
    }

    fn offsets_request(&self, group: &str, partition: i32, offset: i64) -> TxnOffsetCommitRequest {
        let mut place = TxnOffsetCommitRequestPartition::default();
        place.partition_index = partition;
        place.committed_offset = offset;
        place.committed_leader_epoch = -1;
        let mut topic = TxnOffsetCommitRequestTopic::default();
        topic.name = "t".into();
        topic.partitions = vec![place];
        let mut request = TxnOffsetCommitRequest::default();
        request.transactional_id = self.id.as_str().into();
        request.group_id = group.into();
        request.producer_id = self.producer_id;
        request.producer_epoch = self.epoch;
        request.generation_id_or_member_epoch = -1;
        request.topics = vec![topic];
        request
    }
}

fn name(code: i16) -> ErrorCode {
    use ErrorCode::*;
    let all = [
        None,
        UnknownTopicOrPartition,
        IllegalGeneration,
        UnknownMemberId,
        OutOfOrderSequenceNumber,
        InvalidProducerEpoch,
        InvalidTxnState,
        InvalidProducerIdMapping,
        InvalidTransactionTimeout,
        TransactionalIdAuthorizationFailed,
        TransactionalIdNotFound,
        OperationNotAttempted,
        UnstableOffsetCommit,
        ProducerFenced,
        TransactionAbortable,
        TransactionCoordinatorFenced,
        FencedInstanceId,
    ];
    all.into_iter().find(|known| known.code() == code).expect("a code of these tests")
}

impl Client {
    fn init(&mut self, tx: &mut Tx) -> ErrorCode {
        self.init_as(tx, false)
    }

    fn init_as(&mut self, tx: &mut Tx, goes_on: bool) -> ErrorCode {
        let answer = self.ask(4, &tx.init_request(goes_on));
        if answer.error_code == 0 {
            tx.became(answer.producer_id, answer.producer_epoch);
        }
        name(answer.error_code)
    }

    fn add(&mut self, tx: &Tx, partition: i32) -> ErrorCode {
        let answer = self.ask(3, &tx.add_request(partition));
        let topics = &answer.results_by_topic_v3_and_below;
        name(topics[0].results_by_partition[0].partition_error_code)
    }

    /// Writes, adding the partition first in the old protocol. Gives the answer's code and offset.
    fn write(&mut self, tx: &mut Tx, partition: i32, values: &[&str]) -> (ErrorCode, i64) {
        if !tx.second {
            let added = self.add(tx, partition);
            if added != ErrorCode::None {
                return (added, -1);
            }
        }
        let answer = self.write_again(tx, partition, values);
        if answer.0 == ErrorCode::None {
            tx.sequences[partition as usize] += values.len() as i32;
        }
        answer
    }

    /// Writes with the sequence as it stands, and leaves it there.
    fn write_again(&mut self, tx: &Tx, partition: i32, values: &[&str]) -> (ErrorCode, i64) {
        let request = tx.write_request(partition, values);
        let answer = self.ask(tx.produce_version(), &request);
        let part = &answer.responses[0].partition_responses[0];
        (name(part.error_code), part.base_offset)
    }

    fn end(&mut self, tx: &mut Tx, commit: bool) -> ErrorCode {
        let answer = self.ask(tx.end_version(), &tx.end_request(commit));
        if answer.error_code == 0 && tx.second {
            tx.became(answer.producer_id, answer.producer_epoch);
        }
        name(answer.error_code)
    }

    fn add_group(&mut self, tx: &Tx, group: &str) -> ErrorCode {
        let mut request = AddOffsetsToTxnRequest::default();
        request.transactional_id = tx.id.as_str().into();
        request.producer_id = tx.producer_id;
        request.producer_epoch = tx.epoch;
        request.group_id = group.into();
        name(self.ask(3, &request).error_code)
    }

    fn put_offset(&mut self, tx: &Tx, group: &str, partition: i32, offset: i64) -> ErrorCode {
        if !tx.second {
            let added = self.add_group(tx, group);
            if added != ErrorCode::None {
                return added;
            }
        }
        let version = if tx.second { 5 } else { 3 };
        let answer = self.ask(version, &tx.offsets_request(group, partition, offset));
        name(answer.topics[0].partitions[0].error_code)
    }

    /// The committed offset of a group, −1 for none; or that it is not stable.
    fn offset_of(&mut self, group: &str, partition: i32, stable: bool) -> Result<i64, ErrorCode> {
        let mut topic = offset_fetch_request::OffsetFetchRequestTopic::default();
        topic.name = "t".into();
        topic.partition_indexes = vec![partition];
        let mut request = OffsetFetchRequest::default();
        request.group_id = group.into();
        request.topics = Some(vec![topic]);
        request.require_stable = stable;
        let answer = self.ask(7, &request);
        let found = &answer.topics[0].partitions[0];
        match found.error_code {
            0 => Ok(found.committed_offset),
            code => Err(name(code)),
        }
    }

    fn place(&self, partition: i32) -> TopicPartition {
        let topic = self.node.broker.topic("t").expect("the topic is there");
        TopicPartition { topic: topic.id, partition }
    }

    /// What a `read_committed` consumer hands to its application, up to an offset.
    fn committed_below(&self, partition: i32, end: i64) -> Vec<String> {
        read_committed(&self.node.broker, self.place(partition), end)
    }

    fn committed(&self, partition: i32) -> Vec<String> {
        self.committed_below(partition, i64::MAX)
    }

    /// Publishes what is pending, then gives the last stable offset.
    fn last_stable(&self, partition: i32) -> i64 {
        self.node.broker.commit_pending(self.now_ms).unwrap();
        self.node.broker.last_stable(self.place(partition)).unwrap()
    }
}

/// Reads as Kafka's consumer does (`CompletedFetch`): the list of aborted transactions is a queue by
/// first offset; a producer whose entry was passed is aborted until its abort marker comes.
fn read_committed(broker: &Broker, at: TopicPartition, end: i64) -> Vec<String> {
    let mut values = Vec::new();
    let mut offset = broker.log_start(at).unwrap();
    loop {
        let read = broker.read(at, offset, 400, Isolation::ReadCommitted).unwrap();
        let mut coming: BTreeSet<(i64, i64)> =
            read.aborted.iter().map(|entry| (entry.first_offset, entry.producer_id)).collect();
        let mut aborted: HashSet<i64> = HashSet::new();
        for one in batches(&read.records) {
            let (header, bytes) = one.unwrap();
            if header.base_offset >= end {
                return values;
            }
            while let Some(first) =
                coming.first().filter(|(first, _)| *first <= header.last_offset())
            {
                aborted.insert(first.1);
                coming.pop_first();
            }
            if header.is_control() {
                if crate::log::control::Marker::read(bytes).is_some_and(|marker| !marker.commit) {
                    aborted.remove(&header.producer_id);
                }
                continue;
            }
            let skipped = header.is_transactional() && aborted.contains(&header.producer_id);
            assert_eq!(skipped, read.is_aborted(&header), "both ways to filter are the same");
            if skipped {
                continue;
            }
            let (header, body) = batch::records(bytes, 1 << 20).unwrap();
            for record in RecordIter::new(header, &body).map(Result::unwrap) {
                if record.offset >= offset {
                    values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
                }
            }
        }
        if read.next_offset == offset {
            return values;
        }
        offset = read.next_offset;
    }
}

fn start() -> Client {
    let mut client = Client::new();
    client.create("t", 3, &[("retention.ms", "-1")]);
    client
}

fn ready(client: &mut Client, id: &str, second: bool) -> Tx {
    let mut tx = Tx::new(id, second);
    assert_eq!(client.init(&mut tx), ErrorCode::None);
    tx
}

#[test]
fn a_transaction_is_read_when_it_is_committed_and_only_then() {
    for second in [false, true] {
        let mut client = start();
        let mut tx = ready(&mut client, "tx", second);
        assert_eq!(client.write(&mut tx, 0, &["a", "b"]), (ErrorCode::None, 0));
        assert_eq!(client.write(&mut tx, 1, &["c"]), (ErrorCode::None, 0));
        assert_eq!((client.last_stable(0), client.committed(0).len()), (0, 0));
        assert_eq!(client.end(&mut tx, true), ErrorCode::None);
        assert_eq!(client.last_stable(0), 3, "the marker has an offset");
        assert_eq!(
            (client.committed(0), client.committed(1)),
            (vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()])
        );
        assert_eq!(client.write(&mut tx, 0, &["d"]).0, ErrorCode::None);
        assert_eq!(client.end(&mut tx, false), ErrorCode::None);
        assert_eq!(client.write(&mut tx, 0, &["e"]).0, ErrorCode::None);
        assert_eq!(client.end(&mut tx, true), ErrorCode::None);
        assert_eq!(client.committed(0), ["a", "b", "e"], "second protocol: {second}");
        assert_eq!(tx.epoch, if second { 3 } else { 0 });
    }
}

#[test]
fn fetch_and_list_offsets_know_the_last_stable_offset() {
    let mut client = start();
    let (mut open, mut done) = (ready(&mut client, "a", true), ready(&mut client, "b", true));
    client.write(&mut done, 0, &["aborted"]);
    client.end(&mut done, false);
    client.write(&mut open, 0, &["open"]);
    client.write(&mut done, 0, &["behind"]);
    client.end(&mut done, true);

    let mut request = fetch_from("t", 0, 0);
    request.isolation_level = 1;
    let answer = client.ask(11, &request);
    let part = &answer.responses[0].partitions[0];
    assert_eq!((part.high_watermark, part.last_stable_offset), (5, 2));
    let aborted = part.aborted_transactions.as_ref().unwrap();
    assert_eq!(aborted.len(), 1);
    assert_eq!((aborted[0].producer_id, aborted[0].first_offset), (done.producer_id, 0));
    let records = part.records.as_ref().unwrap();
    assert_eq!(batches(records).count(), 2, "nothing beyond the open transaction");
    request.isolation_level = 0;
    let answer = client.ask(11, &request);
    let part = &answer.responses[0].partitions[0];
    assert_eq!(batches(part.records.as_ref().unwrap()).count(), 5);

    for (isolation, expected) in [(0, 5), (1, 2)] {
        let mut place = list_offsets_request::ListOffsetsPartition::default();
        place.timestamp = -1;
        let mut topic = list_offsets_request::ListOffsetsTopic::default();
        topic.name = "t".into();
        topic.partitions = vec![place];
        let mut request = ListOffsetsRequest::default();
        request.isolation_level = isolation;
        request.topics = vec![topic];
        let answer = client.ask(7, &request);
        assert_eq!(answer.topics[0].partitions[0].offset, expected);
    }
}

#[test]
fn offsets_in_a_transaction_are_pending_until_its_end() {
    for second in [false, true] {
        let mut client = start();
        let mut tx = ready(&mut client, "tx", second);
        for (offset, commit, before, after) in [(5, true, -1, 5), (9, false, 5, 5), (9, true, 5, 9)]
        {
            assert_eq!(client.put_offset(&tx, "g", 0, offset), ErrorCode::None);
            assert_eq!(client.offset_of("g", 0, false), Ok(before));
            let unstable = Err(ErrorCode::UnstableOffsetCommit);
            assert_eq!(client.offset_of("g", 0, true), unstable);
            assert_eq!(client.end(&mut tx, commit), ErrorCode::None);
            assert_eq!(client.offset_of("g", 0, true), Ok(after));
        }
    }
}

/// KIP-447: a member that was replaced is refused through the group, whatever its producer.
#[test]
fn offsets_are_refused_to_strangers_of_the_group() {
    let mut client = start();
    let tx = ready(&mut client, "tx", true);
    let mut request = tx.offsets_request("g", 0, 1);
    request.generation_id_or_member_epoch = 3;
    request.member_id = "m".into();
    let code = |client: &mut Client, request: &TxnOffsetCommitRequest| {
        name(client.ask(5, request).topics[0].partitions[0].error_code)
    };
    assert_eq!(code(&mut client, &request), ErrorCode::IllegalGeneration, "no such group");
    request.generation_id_or_member_epoch = -1;
    request.member_id = "".into();
    assert_eq!(code(&mut client, &request), ErrorCode::None, "older clients name nobody");
    request.group_id = "g2".into();
    request.topics[0].partitions[0].partition_index = 9;
    assert_eq!(code(&mut client, &request), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn a_batch_must_belong_to_a_transaction() {
    let mut client = start();
    let mut old = ready(&mut client, "old", false);
    let mut request = old.write_request(0, &["x"]);
    let told = |client: &mut Client, version, request: &ProduceRequest| {
        name(client.ask(version, request).responses[0].partition_responses[0].error_code)
    };
    assert_eq!(told(&mut client, 11, &request), ErrorCode::TransactionAbortable);
    assert_eq!(told(&mut client, 10, &request), ErrorCode::InvalidTxnState, "the older name");
    request.transactional_id = None;
    let refused = ErrorCode::TransactionalIdAuthorizationFailed;
    assert_eq!(told(&mut client, 11, &request), refused);
    request.transactional_id = Some("other".into());
    assert_eq!(told(&mut client, 12, &request), ErrorCode::InvalidProducerIdMapping);
    assert_eq!(client.add(&old, 9), ErrorCode::UnknownTopicOrPartition);
    // Inside a transaction its producer writes nothing else.
    assert_eq!(client.write(&mut old, 0, &["x"]).0, ErrorCode::None);
    let mut plain = BatchBuilder::new(Codec::None).producer(old.producer_id, old.epoch, 1);
    plain.push(1_000_000, None, Some(b"y"), &[]);
    let plain = produce_to("t", 0, plain.build().unwrap());
    assert_eq!(told(&mut client, 11, &plain), ErrorCode::InvalidTxnState);
    // A broker in between has asked whether the partition belongs to the transaction.
    let mut asked = add_partitions_to_txn_request::AddPartitionsToTxnTransaction::default();
    asked.transactional_id = "old".into();
    asked.producer_id = old.producer_id;
    asked.producer_epoch = old.epoch;
    asked.verify_only = true;
    let mut topic = AddPartitionsToTxnTopic::default();
    topic.name = "t".into();
    topic.partitions = vec![0, 1];
    asked.topics = vec![topic];
    let mut request = AddPartitionsToTxnRequest::default();
    request.transactions = vec![asked];
    let answer = client.ask(5, &request);
    let found = &answer.results_by_transaction[0].topic_results[0].results_by_partition;
    let codes: Vec<ErrorCode> = found.iter().map(|one| name(one.partition_error_code)).collect();
    assert_eq!(codes, [ErrorCode::None, ErrorCode::TransactionAbortable]);
}

#[test]
fn transactions_and_producers_are_described() {
    let mut client = start();
    let mut tx = ready(&mut client, "tx", true);
    ready(&mut client, "idle", true);
    client.write(&mut tx, 2, &["a", "b"]);

    let mut request = DescribeTransactionsRequest::default();
    request.transactional_ids = vec!["tx".into(), "nobody".into()];
    let states = client.ask(0, &request).transaction_states;
    assert_eq!((&*states[0].transaction_state, states[0].producer_id), ("Ongoing", tx.producer_id));
    assert_eq!(states[0].transaction_timeout_ms, 60_000);
    assert_eq!((&*states[0].topics[0].topic, &states[0].topics[0].partitions[..]), ("t", &[2][..]));
    assert_eq!(name(states[1].error_code), ErrorCode::TransactionalIdNotFound);

    let list = |client: &mut Client, states: &[&str], producers: &[i64], open_ms: i64| {
        let mut request = ListTransactionsRequest::default();
        request.state_filters = states.iter().map(|state| (*state).into()).collect();
        request.producer_id_filters = producers.to_vec();
        request.duration_filter = open_ms;
        let answer = client.ask(1, &request);
        let ids = answer.transaction_states.iter().map(|state| state.transactional_id.to_string());
        (ids.collect::<Vec<_>>(), answer.unknown_state_filters.len())
    };
    let all = vec!["idle".to_owned(), "tx".to_owned()];
    assert_eq!(list(&mut client, &[], &[], -1), (all, 0));
    assert_eq!(list(&mut client, &["Ongoing"], &[], -1), (vec!["tx".to_owned()], 0));
    assert_eq!(list(&mut client, &["Nonsense"], &[], -1), (vec![], 1));
    assert_eq!(list(&mut client, &[], &[tx.producer_id], -1).0, ["tx"]);
    assert_eq!(list(&mut client, &["Ongoing"], &[], 1000).0, [""; 0]);
    client.now_ms += 1001;
    assert_eq!(list(&mut client, &[], &[], 1000).0, ["tx"], "idle ones are not open at all");
    for (pattern, expected) in [("t.", Ok(1)), ("t", Ok(0)), ("", Ok(2)), ("(", Err(128))] {
        let mut request = ListTransactionsRequest::default();
        request.duration_filter = -1;
        request.transactional_id_pattern = Some(pattern.into());
        let answer = client.ask(2, &request);
        let found = match answer.error_code {
            0 => Ok(answer.transaction_states.len()),
            code => Err(code),
        };
        assert_eq!(found, expected, "{pattern}");
    }

    let mut topic = describe_producers_request::TopicRequest::default();
    topic.name = "t".into();
    topic.partition_indexes = vec![2, 9];
    let mut request = DescribeProducersRequest::default();
    request.topics = vec![topic];
    let parts = client.ask(0, &request).topics[0].partitions.clone();
    assert_eq!(name(parts[1].error_code), ErrorCode::UnknownTopicOrPartition);
    let producer = &parts[0].active_producers[0];
    assert_eq!((producer.producer_id, producer.last_sequence), (tx.producer_id, 1));
    assert_eq!((producer.current_txn_start_offset, producer.coordinator_epoch), (0, -1));
    client.end(&mut tx, true);
    let parts = client.ask(0, &request).topics[0].partitions.clone();
    let producer = &parts[0].active_producers[0];
    assert_eq!((producer.current_txn_start_offset, producer.coordinator_epoch), (-1, 0));
    assert_eq!(producer.producer_epoch, 1, "the marker began the next epoch");
}
