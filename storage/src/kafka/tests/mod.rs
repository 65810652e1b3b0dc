//! The protocol as a client sees it: frames in, frames out, on a disk in memory.

mod access;
mod admin;
mod behaviour;
mod configs;
mod decoders;
mod fetch_sessions;
mod groups;
mod hostile;
mod login;
mod offsets_topic;
mod transactions;
mod traps;
mod versions;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use kafka_wire::{
    KafkaMessage, KafkaRequest, OutboundFrameLimits, RequestResponsePair, ResponseHeader,
    encode_request,
};
use kafka_wire_core::{
    ApiVersion, DecodeLimits, Decoder, KafkaDecode, KafkaEncode, StrBytes, Uuid as WireUuid,
};
use uuid::Uuid;

use super::*;
use crate::broker::{Broker, WakeKey, Wakes};
use crate::config::StorageConfig;
use crate::disk::MemDisk;
use crate::log::batch::{BatchBuilder, Codec};

struct NoWakes;

impl Wakes for NoWakes {
    fn wake(&self, _: WakeKey) {}
}

#[derive(Default)]
struct CountingIds(AtomicU64);

impl Ids for CountingIds {
    fn fresh(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + (1 << 64))
    }
}

/// A node with one client that does one thing after the other, and a clock that jumps to whatever
/// the client waits for.
struct Client {
    node: KafkaNode,
    session: Session,
    now_ms: i64,
}

impl Client {
    fn new() -> Self {
        Self::on(Arc::new(MemDisk::new()))
    }

    fn on(disk: Arc<MemDisk>) -> Self {
        Self::with(disk, |_| {})
    }

    fn with(disk: Arc<MemDisk>, adjust: impl FnOnce(&mut KafkaConfig)) -> Self {
        let now_ms = 1_000_000;
        // Small, because the disk is memory.
        let config = StorageConfig { journal_file_bytes: 64 << 10, ..StorageConfig::default() };
        let (broker, recovered) =
            Broker::open(disk, config, now_ms, Uuid::from_u128(7), Arc::new(NoWakes)).unwrap();
        let mut config = KafkaConfig::at("localhost", 9092);
        adjust(&mut config);
        let ids = Arc::new(CountingIds::default());
        let node =
            KafkaNode::new(Arc::new(broker), &recovered.groups, config, ids, now_ms).unwrap();
        Self { node, session: Session::new("/127.0.0.1"), now_ms }
    }

    fn send<R: KafkaRequest + KafkaEncode>(&mut self, version: i16, request: &R) -> Outcome {
        handle(&self.node, &mut self.session, frame(version, request), self.now_ms)
    }

    /// Commits what is pending, and looks again; when that is not enough, lets the time pass.
    fn wait_for(&mut self, mut outcome: Outcome) -> Outcome {
        loop {
            let Outcome::Wait { pending, until_ms, .. } = outcome else { return outcome };
            self.node.broker.commit_pending(self.now_ms).unwrap();
            outcome = resume(&self.node, &mut self.session, pending, self.now_ms);
            if let Outcome::Wait { pending, .. } = outcome {
                assert!(until_ms < i64::MAX, "nothing will ever wake this request");
                self.now_ms = self.now_ms.max(until_ms);
                outcome = resume(&self.node, &mut self.session, pending, self.now_ms);
            }
        }
    }

    #[track_caller]
    fn ask<R>(&mut self, version: i16, request: &R) -> R::Response
    where
        R: RequestResponsePair + KafkaEncode,
    {
        let sent = self.send(version, request);
        match self.wait_for(sent) {
            Outcome::Ready(answer) => read::<R>(version, answer),
            Outcome::Pieces(pieces) => read::<R>(version, pieces.concat().into()),
            other => panic!("{} version {version} came to {other:?}", R::NAME),
        }
    }

    fn create(&mut self, topic: &str, partitions: i32, configs: &[(&str, &str)]) {
        let mut wanted = kafka_wire::create_topics_request::CreatableTopic::default();
        wanted.name = topic.into();
        wanted.num_partitions = partitions;
        wanted.replication_factor = 1;
        for (name, value) in configs {
            let mut config = kafka_wire::create_topics_request::CreatableTopicConfig::default();
            config.name = (*name).into();
            config.value = Some((*value).into());
            wanted.configs.push(config);
        }
        let mut request = kafka_wire::CreateTopicsRequest::default();
        request.topics = vec![wanted];
        let made = self.ask(7, &request);
        assert_eq!(made.topics[0].error_code, 0, "{:?}", made.topics[0].error_message);
    }

    fn id_of(&self, topic: &str) -> WireUuid {
        let topic = self.node.broker.topic(topic).expect("the topic is there");
        WireUuid::from_bytes(*topic.id.as_bytes())
    }
}

/// A request frame without its length, as [`handle`] takes it.
fn frame<R: KafkaRequest + KafkaEncode>(version: i16, request: &R) -> Bytes {
    let mut out = BytesMut::new();
    let client = Some(StrBytes::from("test"));
    let limits = OutboundFrameLimits::new(1 << 30);
    encode_request(&mut out, 42, client, request, ApiVersion::new(version), limits).unwrap();
    out.freeze().slice(4..)
}

/// Reads a response frame to its last byte.
#[track_caller]
fn read<R: RequestResponsePair>(version: i16, answer: Bytes) -> R::Response {
    let len = i32::from_be_bytes(answer[..4].try_into().unwrap());
    assert_eq!(len as usize, answer.len() - 4);
    let version = ApiVersion::new(version);
    let flexible = R::Response::is_flexible(version);
    let header = kafka_wire::response_header_version(R::API_KEY, version, flexible);
    let mut decoder = Decoder::new(answer.slice(4..), DecodeLimits::default()).unwrap();
    let header = ResponseHeader::decode(&mut decoder, ApiVersion::new(header)).unwrap();
    assert_eq!(header.correlation_id, 42);
    let response = R::Response::decode(&mut decoder, version).unwrap();
    decoder.finish().unwrap();
    response
}

fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    for value in values {
        builder.push(1_000_000, Some(b"k"), Some(value.as_bytes()), &[]);
    }
    builder.build().unwrap()
}

fn produce_to(topic: &str, partition: i32, records: Bytes) -> kafka_wire::ProduceRequest {
    let mut part = kafka_wire::produce_request::PartitionProduceData::default();
    part.index = partition;
    part.records = Some(records);
    let mut data = kafka_wire::produce_request::TopicProduceData::default();
    data.name = topic.into();
    data.partition_data = vec![part];
    let mut request = kafka_wire::ProduceRequest::default();
    request.acks = -1;
    request.timeout_ms = 1000;
    request.topic_data = vec![data];
    request
}

fn fetch_from(topic: &str, partition: i32, offset: i64) -> kafka_wire::FetchRequest {
    let mut part = kafka_wire::fetch_request::FetchPartition::default();
    part.partition = partition;
    part.fetch_offset = offset;
    part.partition_max_bytes = 1 << 20;
    let mut asked = kafka_wire::fetch_request::FetchTopic::default();
    asked.topic = topic.into();
    asked.partitions = vec![part];
    let mut request = kafka_wire::FetchRequest::default();
    request.max_wait_ms = 500;
    request.min_bytes = 1;
    request.max_bytes = 1 << 20;
    request.topics = vec![asked];
    request
}
