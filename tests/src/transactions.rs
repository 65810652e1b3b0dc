//! Transactions and groups for harnesses: requests over one [`Client`], as stock clients send them.
//!
//! A transactional producer speaks either protocol: the old one registers partitions and groups with
//! the coordinator first; version 2 (KIP-890) adds them by the first write and gets a new epoch at
//! every end. Nothing is retried but what the coordinator asks to be retried.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_wire::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, HeartbeatRequest,
    InitProducerIdRequest, JoinGroupRequest, OffsetCommitRequest, OffsetFetchRequest,
    ProduceRequest, SyncGroupRequest, TxnOffsetCommitRequest, add_partitions_to_txn_request,
    join_group_request, offset_commit_request, offset_fetch_request, produce_request,
    sync_group_request, txn_offset_commit_request,
};

use crate::wire_client::{Client, ClientError, NewRecord, Result, check, transactional_batch};

const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a coordinator may ask to wait.
const PATIENCE: Duration = Duration::from_secs(10);

const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
const CONCURRENT_TRANSACTIONS: i16 = 51;
const UNSTABLE_OFFSET_COMMIT: i16 = 88;
const MEMBER_ID_REQUIRED: i16 = 79;
const PASSING: [i16; 3] =
    [COORDINATOR_LOAD_IN_PROGRESS, CONCURRENT_TRANSACTIONS, UNSTABLE_OFFSET_COMMIT];

/// The two transaction protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// AddPartitionsToTxn, AddOffsetsToTxn, EndTxn 3.
    Old,
    /// `transaction.version` 2: Produce 12, TxnOffsetCommit 5, EndTxn 5.
    V2,
}

/// One instance of a transactional producer. At most one transaction is open.
pub struct TransactionalProducer {
    client: Client,
    id: String,
    protocol: Protocol,
    producer: (i64, i16),
    sequences: BTreeMap<(String, i32), i32>,
    added: BTreeSet<(String, i32)>,
    groups: BTreeSet<String>,
}

impl TransactionalProducer {
    /// Begins an instance; fences the one before and aborts what it left open.
    ///
    /// # Errors
    /// A connection's, or the coordinator's code.
    pub fn begin(kafka: &str, id: &str, protocol: Protocol) -> Result<TransactionalProducer> {
        let mut client = Client::connect(kafka, TIMEOUT)?;
        let mut request = InitProducerIdRequest::default();
        request.transactional_id = Some(id.into());
        request.transaction_timeout_ms = 60_000;
        request.producer_id = -1;
        request.producer_epoch = -1;
        let response = patiently(|| {
            let response = client.call(&request, 4)?;
            let code = response.error_code;
            Ok((response, code))
        })?;
        check("InitProducerId", response.error_code)?;
        Ok(TransactionalProducer {
            client,
            id: id.to_owned(),
            protocol,
            producer: (response.producer_id, response.producer_epoch),
            sequences: BTreeMap::new(),
            added: BTreeSet::new(),
            groups: BTreeSet::new(),
        })
    }

    /// Writes a batch in the open transaction, which the first write opens.
    ///
    /// # Errors
    /// A connection's, or Kafka's code.
    pub fn send(&mut self, topic: &str, partition: i32, records: &[NewRecord]) -> Result<i64> {
        let place = (topic.to_owned(), partition);
        if self.protocol == Protocol::Old && self.added.insert(place.clone()) {
            self.add_partition(topic, partition)?;
        }
        let sequence = self.sequences.entry(place).or_insert(0);
        let (id, epoch) = self.producer;
        let bytes = transactional_batch(records, (id, epoch, *sequence))?;
        *sequence += records.len() as i32;
        let mut data = produce_request::PartitionProduceData::default();
        data.index = partition;
        data.records = Some(bytes);
        let mut asked = produce_request::TopicProduceData::default();
        asked.name = topic.into();
        asked.partition_data = vec![data];
        let mut request = ProduceRequest::default();
        request.transactional_id = Some(self.id.as_str().into());
        request.acks = -1;
        request.timeout_ms = 30_000;
        request.topic_data = vec![asked];
        let version = if self.protocol == Protocol::V2 { 12 } else { 11 };
        let client = &mut self.client;
        patiently(|| {
            let response = client.call(&request, version)?;
            let partition = response.responses.first().and_then(|t| t.partition_responses.first());
            let partition = partition
                .ok_or_else(|| ClientError::Answer("Produce without a partition".into()))?;
            Ok((partition.base_offset, partition.error_code))
        })
    }

    fn add_partition(&mut self, topic: &str, partition: i32) -> Result<()> {
        let mut asked = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default();
        asked.name = topic.into();
        asked.partitions = vec![partition];
        let mut request = AddPartitionsToTxnRequest::default();
        request.v3_and_below_transactional_id = self.id.as_str().into();
        request.v3_and_below_producer_id = self.producer.0;
        request.v3_and_below_producer_epoch = self.producer.1;
        request.v3_and_below_topics = vec![asked];
        let client = &mut self.client;
        patiently(|| {
            let response = client.call(&request, 3)?;
            let topic = response.results_by_topic_v3_and_below.first();
            let partition = topic.and_then(|t| t.results_by_partition.first());
            let partition = partition
                .ok_or_else(|| ClientError::Answer("AddPartitionsToTxn without one".into()))?;
            Ok(((), partition.partition_error_code))
        })
    }

    /// Commits a group's offsets with the open transaction.
    ///
    /// # Errors
    /// A connection's, or Kafka's code.
    pub fn send_offsets(&mut self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<()> {
        let client = &mut self.client;
        if self.protocol == Protocol::Old && self.groups.insert(group.to_owned()) {
            let mut request = AddOffsetsToTxnRequest::default();
            request.transactional_id = self.id.as_str().into();
            request.producer_id = self.producer.0;
            request.producer_epoch = self.producer.1;
            request.group_id = group.into();
            patiently(|| Ok(((), client.call(&request, 3)?.error_code)))?;
        }
        let partition = |(index, offset): &(i32, i64)| {
            let mut partition =
                txn_offset_commit_request::TxnOffsetCommitRequestPartition::default();
            partition.partition_index = *index;
            partition.committed_offset = *offset;
            partition.committed_leader_epoch = -1;
            partition.committed_metadata = None;
            partition
        };
        let mut asked = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default();
        asked.name = topic.into();
        asked.partitions = offsets.iter().map(partition).collect();
        let mut request = TxnOffsetCommitRequest::default();
        request.transactional_id = self.id.as_str().into();
        request.group_id = group.into();
        request.producer_id = self.producer.0;
        request.producer_epoch = self.producer.1;
        request.generation_id_or_member_epoch = -1;
        request.topics = vec![asked];
        let version = if self.protocol == Protocol::V2 { 5 } else { 3 };
        patiently(|| {
            let response = client.call(&request, version)?;
            let codes = response.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
            Ok(((), codes.max().unwrap_or(0)))
        })
    }

    /// Ends the open transaction.
    ///
    /// # Errors
    /// A connection's: then nobody knows how it ended. Or Kafka's code.
    pub fn end(&mut self, commit: bool) -> Result<()> {
        let mut request = EndTxnRequest::default();
        request.transactional_id = self.id.as_str().into();
        request.producer_id = self.producer.0;
        request.producer_epoch = self.producer.1;
        request.committed = commit;
        let version = if self.protocol == Protocol::V2 { 5 } else { 3 };
        let client = &mut self.client;
        let response = patiently(|| {
            let response = client.call(&request, version)?;
            let code = response.error_code;
            Ok((response, code))
        })?;
        self.added.clear();
        self.groups.clear();
        if self.protocol == Protocol::V2 {
            self.producer = (response.producer_id, response.producer_epoch);
            self.sequences.clear();
        }
        Ok(())
    }
}

/// Calls again while the coordinator asks for patience; any other code is an error.
fn patiently<T>(mut call: impl FnMut() -> Result<(T, i16)>) -> Result<T> {
    let begin = Instant::now();
    loop {
        match call()? {
            (answer, 0) => return Ok(answer),
            (_, code) if PASSING.contains(&code) && begin.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(2));
            }
            (_, code) => return Err(ClientError::Code { what: "a transaction's request", code }),
        }
    }
}

/// A group's committed offsets of a topic's partitions from 0 on; −1 where there is none. Waits until
/// no transaction has offsets of the group pending.
///
/// # Errors
/// A connection's, or Kafka's code.
pub fn committed_offsets(
    client: &mut Client,
    group: &str,
    topic: &str,
    partitions: i32,
) -> Result<Vec<i64>> {
    let mut asked = offset_fetch_request::OffsetFetchRequestTopic::default();
    asked.name = topic.into();
    asked.partition_indexes = (0..partitions).collect();
    let mut request = OffsetFetchRequest::default();
    request.group_id = group.into();
    request.topics = Some(vec![asked]);
    request.require_stable = true;
    patiently(|| {
        let response = client.call(&request, 7)?;
        let answered: Vec<_> = response.topics.iter().flat_map(|t| &t.partitions).collect();
        let codes = answered.iter().map(|p| p.error_code).chain([response.error_code]);
        let code = codes.max().unwrap_or(0);
        let mut offsets = vec![-1; partitions as usize];
        for partition in answered {
            if let Some(offset) = offsets.get_mut(partition.partition_index as usize) {
                *offset = partition.committed_offset;
            }
        }
        Ok((offsets, code))
    })
}

/// The only member of a classic group.
pub struct Member {
    client: Client,
    group: String,
    member_id: String,
    generation: i32,
}

impl Member {
    /// Joins and gets the assignment it made itself, as leader of a group of one. A session left by a
    /// member before must end first, so give it a short one.
    ///
    /// # Errors
    /// A connection's, or Kafka's code.
    pub fn join(kafka: &str, group: &str, session: Duration) -> Result<Member> {
        let mut client = Client::connect(kafka, TIMEOUT)?;
        let mut protocol = join_group_request::JoinGroupRequestProtocol::default();
        protocol.name = "range".into();
        protocol.metadata = Bytes::from_static(&[0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
        let mut request = JoinGroupRequest::default();
        request.group_id = group.into();
        request.session_timeout_ms = session.as_millis() as i32;
        request.rebalance_timeout_ms = session.as_millis() as i32;
        request.protocol_type = "consumer".into();
        request.protocols = vec![protocol];
        let mut joined = client.call(&request, 7)?;
        if joined.error_code == MEMBER_ID_REQUIRED {
            request.member_id = joined.member_id;
            joined = client.call(&request, 7)?;
        }
        check("JoinGroup", joined.error_code)?;
        let mut request = SyncGroupRequest::default();
        request.group_id = group.into();
        request.generation_id = joined.generation_id;
        request.member_id = joined.member_id.clone();
        let of = |member_id: &str| {
            let mut assignment = sync_group_request::SyncGroupRequestAssignment::default();
            assignment.member_id = member_id.into();
            assignment.assignment = Bytes::from_static(&[0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
            assignment
        };
        request.assignments = joined.members.iter().map(|m| of(&m.member_id)).collect();
        let synced = client.call(&request, 3)?;
        check("SyncGroup", synced.error_code)?;
        Ok(Member {
            client,
            group: group.to_owned(),
            member_id: joined.member_id.to_string(),
            generation: joined.generation_id,
        })
    }

    /// The same member over a new connection, for instance after the server was killed.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn reconnect(&mut self, kafka: &str) -> Result<()> {
        self.client = Client::connect(kafka, TIMEOUT)?;
        Ok(())
    }

    /// Says that it lives; Kafka's code is the answer.
    ///
    /// # Errors
    /// A connection's.
    pub fn heartbeat(&mut self) -> Result<i16> {
        let mut request = HeartbeatRequest::default();
        request.group_id = self.group.as_str().into();
        request.generation_id = self.generation;
        request.member_id = self.member_id.as_str().into();
        Ok(self.client.call(&request, 3)?.error_code)
    }

    /// Commits one offset as a member of its generation.
    ///
    /// # Errors
    /// A connection's, or Kafka's code.
    pub fn commit(&mut self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        let mut asked = offset_commit_request::OffsetCommitRequestPartition::default();
        asked.partition_index = partition;
        asked.committed_offset = offset;
        asked.committed_leader_epoch = -1;
        let mut topic_asked = offset_commit_request::OffsetCommitRequestTopic::default();
        topic_asked.name = topic.into();
        topic_asked.partitions = vec![asked];
        let mut request = OffsetCommitRequest::default();
        request.group_id = self.group.as_str().into();
        request.generation_id_or_member_epoch = self.generation;
        request.member_id = self.member_id.as_str().into();
        request.topics = vec![topic_asked];
        let response = self.client.call(&request, 7)?;
        let codes = response.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
        check("OffsetCommit", codes.max().unwrap_or(0))
    }
}
