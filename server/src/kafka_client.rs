//! A small blocking Kafka client: what the command line's own producers and readers need.
//!
//! It speaks the public protocol over TCP to one node, like any other client, so what the demo shows
//! went the way a user's data goes. One request at a time; no groups, no transactions.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_wire::{
    CreateTopicsRequest, FetchRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest,
    OutboundFrameLimits, ProduceRequest, RequestResponsePair, ResponseHeader, create_topics_request,
    encode_request, fetch_request, list_offsets_request, metadata_request, produce_request,
    response_header_version_for,
};
use kafka_wire_core::{ApiVersion, DecodeLimits, Decoder, KafkaDecode, KafkaEncode, StrBytes};

const PRODUCE: i16 = 9;
const FETCH: i16 = 12;
const LIST_OFFSETS: i16 = 6;
const CREATE_TOPICS: i16 = 5;
const METADATA: i16 = 9;
const INIT_PRODUCER_ID: i16 = 3;
/// The greatest answer taken from a server.
const FRAME_BYTES_MAX: usize = 128 << 20;

/// A connection to one node.
pub struct KafkaClient {
    stream: TcpStream,
    client_id: StrBytes,
    correlation: i32,
}

/// One partition's part of a fetch.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub partition: i32,
    pub high_watermark: i64,
    /// Whole record batches as the log holds them.
    pub records: Bytes,
}

fn bad(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn refused(what: &str, code: i16) -> io::Error {
    io::Error::other(format!("{what}: Kafka error code {code}"))
}

impl KafkaClient {
    /// # Errors
    /// When nothing listens there.
    pub fn connect(address: SocketAddr, client_id: &str) -> io::Result<KafkaClient> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(KafkaClient { stream, client_id: StrBytes::from(client_id), correlation: 0 })
    }

    /// Sends one request and waits for its answer.
    fn call<R>(&mut self, request: &R, version: i16) -> io::Result<R::Response>
    where
        R: RequestResponsePair + KafkaEncode,
        R::Response: KafkaDecode,
    {
        self.correlation = self.correlation.wrapping_add(1);
        let version = ApiVersion::new(version);
        let mut frame = BytesMut::new();
        let limits = OutboundFrameLimits::new(FRAME_BYTES_MAX);
        encode_request(
            &mut frame,
            self.correlation,
            Some(self.client_id.clone()),
            request,
            version,
            limits,
        )
        .map_err(|e| bad(e.to_string()))?;
        self.stream.write_all(&frame)?;

        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(|_| bad("negative frame length"))?;
        if length > FRAME_BYTES_MAX {
            return Err(bad(format!("answer of {length} bytes")));
        }
        let mut body = Vec::new();
        Read::by_ref(&mut self.stream).take(length as u64).read_to_end(&mut body)?;
        if body.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut decoder = Decoder::new(Bytes::from(body), DecodeLimits::default())
            .map_err(|e| bad(e.to_string()))?;
        let header = response_header_version_for::<R>(version).map_err(|e| bad(e.to_string()))?;
        let header = ResponseHeader::decode(&mut decoder, ApiVersion::new(header))
            .map_err(|e| bad(e.to_string()))?;
        if header.correlation_id != self.correlation {
            return Err(bad("answer to another request"));
        }
        R::Response::decode(&mut decoder, version).map_err(|e| bad(e.to_string()))
    }

    /// Creates a topic; one that exists already is fine.
    ///
    /// # Errors
    /// When the node refuses it.
    pub fn create_topic(&mut self, name: &str, partitions: i32) -> io::Result<()> {
        const TOPIC_ALREADY_EXISTS: i16 = 36;
        let mut topic = create_topics_request::CreatableTopic::default();
        topic.name = StrBytes::from(name);
        topic.num_partitions = partitions;
        topic.replication_factor = 1;
        let mut request = CreateTopicsRequest::default();
        request.topics = vec![topic];
        request.timeout_ms = 10_000;
        let answer = self.call(&request, CREATE_TOPICS)?;
        match answer.topics.first().map(|t| t.error_code) {
            Some(0 | TOPIC_ALREADY_EXISTS) => Ok(()),
            Some(code) => Err(refused(&format!("create topic {name}"), code)),
            None => Err(bad("empty answer to CreateTopics")),
        }
    }

    /// The number of partitions of a topic; `None` when there is no such topic.
    ///
    /// # Errors
    /// When the node does not answer.
    pub fn partitions(&mut self, topic: &str) -> io::Result<Option<usize>> {
        let mut asked = metadata_request::MetadataRequestTopic::default();
        asked.name = Some(StrBytes::from(topic));
        let mut request = MetadataRequest::default();
        request.topics = Some(vec![asked]);
        request.allow_auto_topic_creation = false;
        let answer = self.call(&request, METADATA)?;
        Ok(answer.topics.first().filter(|t| t.error_code == 0).map(|t| t.partitions.len()))
    }

    /// A producer id and epoch, for idempotent batches.
    ///
    /// # Errors
    /// When the node gives none.
    pub fn init_producer_id(&mut self) -> io::Result<(i64, i16)> {
        let mut request = InitProducerIdRequest::default();
        request.transactional_id = None;
        request.transaction_timeout_ms = 60_000;
        request.producer_id = -1;
        request.producer_epoch = -1;
        let answer = self.call(&request, INIT_PRODUCER_ID)?;
        match answer.error_code {
            0 => Ok((answer.producer_id, answer.producer_epoch)),
            code => Err(refused("init producer id", code)),
        }
    }

    /// Appends one record batch and waits until it is acknowledged; gives its base offset.
    ///
    /// # Errors
    /// When the node refuses the batch.
    pub fn produce(&mut self, topic: &str, partition: i32, batch: Bytes) -> io::Result<i64> {
        let mut data = produce_request::PartitionProduceData::default();
        data.index = partition;
        data.records = Some(batch);
        let mut of_topic = produce_request::TopicProduceData::default();
        of_topic.name = StrBytes::from(topic);
        of_topic.partition_data = vec![data];
        let mut request = ProduceRequest::default();
        request.transactional_id = None;
        request.acks = -1;
        request.timeout_ms = 30_000;
        request.topic_data = vec![of_topic];
        let answer = self.call(&request, PRODUCE)?;
        let partition = answer.responses.first().and_then(|t| t.partition_responses.first());
        match partition {
            Some(p) if p.error_code == 0 => Ok(p.base_offset),
            Some(p) => Err(refused(&format!("produce to {topic}"), p.error_code)),
            None => Err(bad("empty answer to Produce")),
        }
    }

    /// The offset after the last visible record.
    ///
    /// # Errors
    /// When there is no such partition.
    pub fn end_offset(&mut self, topic: &str, partition: i32) -> io::Result<i64> {
        let mut asked = list_offsets_request::ListOffsetsPartition::default();
        asked.partition_index = partition;
        asked.timestamp = -1;
        let mut of_topic = list_offsets_request::ListOffsetsTopic::default();
        of_topic.name = StrBytes::from(topic);
        of_topic.partitions = vec![asked];
        let mut request = ListOffsetsRequest::default();
        request.replica_id = -1;
        request.isolation_level = 1;
        request.topics = vec![of_topic];
        let answer = self.call(&request, LIST_OFFSETS)?;
        match answer.topics.first().and_then(|t| t.partitions.first()) {
            Some(p) if p.error_code == 0 => Ok(p.offset),
            Some(p) => Err(refused(&format!("list offsets of {topic}"), p.error_code)),
            None => Err(bad("empty answer to ListOffsets")),
        }
    }

    /// Reads committed records of one partition, waiting up to `wait` for the first.
    ///
    /// # Errors
    /// When there is no such partition or offset.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64, wait: Duration) -> io::Result<Fetched> {
        let mut asked = fetch_request::FetchPartition::default();
        asked.partition = partition;
        asked.fetch_offset = offset;
        asked.current_leader_epoch = -1;
        asked.partition_max_bytes = 16 << 20;
        let mut of_topic = fetch_request::FetchTopic::default();
        of_topic.topic = StrBytes::from(topic);
        of_topic.partitions = vec![asked];
        let mut request = FetchRequest::default();
        request.replica_id = -1;
        request.max_wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        request.min_bytes = 1;
        request.max_bytes = 32 << 20;
        request.isolation_level = 1;
        request.session_epoch = -1;
        request.topics = vec![of_topic];
        let answer = self.call(&request, FETCH)?;
        if answer.error_code != 0 {
            return Err(refused("fetch", answer.error_code));
        }
        let partition = answer.responses.into_iter().next().and_then(|t| t.partitions.into_iter().next());
        match partition {
            Some(p) if p.error_code == 0 => Ok(Fetched {
                partition: p.partition_index,
                high_watermark: p.high_watermark,
                records: p.records.unwrap_or_default(),
            }),
            Some(p) => Err(refused(&format!("fetch from {topic}"), p.error_code)),
            None => Err(bad("empty answer to Fetch")),
        }
    }
}
