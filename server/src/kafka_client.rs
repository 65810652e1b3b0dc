//! A small blocking Kafka client: what the command line's tools, the demo and the harnesses need.
//!
//! It speaks the public protocol over TCP to one node, like any other client, so what it shows went the
//! way a user's data goes. Explicit versions, no retries: every call is one request and its answer, an
//! error code is an error, and a broken connection stays broken. No groups, no transactions.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::cli::LoginArgs;
use crate::tls::{self, BlockingTls};
use bytes::{Bytes, BytesMut};
use kafka_wire::{
    CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, InitProducerIdRequest,
    ListOffsetsRequest, MetadataRequest, OutboundFrameLimits, ProduceRequest, RequestResponsePair,
    ResponseHeader, SaslAuthenticateRequest, SaslHandshakeRequest, create_topics_request,
    encode_request, fetch_request, list_offsets_request, metadata_request, produce_request,
    response_header_version_for,
};
use kafka_wire_core::{ApiVersion, DecodeLimits, Decoder, KafkaDecode, KafkaEncode, StrBytes};
use millstream_storage::log::batch::{BatchHeader, RecordIter, records};

/// Answers bigger than this are refused; fetches ask for less.
const FRAME_BYTES_MAX: usize = 256 << 20;
const DECOMPRESSED_MAX: usize = 256 << 20;

/// The version of Produce that is spoken here.
pub const PRODUCE: i16 = 9;
/// The version of Fetch that is spoken here.
pub const FETCH: i16 = 12;
const SASL_HANDSHAKE: i16 = 1;
const SASL_AUTHENTICATE: i16 = 2;
const LIST_OFFSETS: i16 = 7;
const CREATE_TOPICS: i16 = 7;
const DELETE_TOPICS: i16 = 5;
const INIT_PRODUCER_ID: i16 = 4;
const METADATA: i16 = 9;

const READ_COMMITTED: i8 = 1;
const TOPIC_ALREADY_EXISTS: i16 = 36;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("malformed answer: {0}")]
    Answer(String),
    /// Kafka's error code.
    #[error("{what}: Kafka error {code}")]
    Code { what: &'static str, code: i16 },
}

impl From<ClientError> for io::Error {
    fn from(e: ClientError) -> io::Error {
        match e {
            ClientError::Io(e) => e,
            other => io::Error::other(other),
        }
    }
}

pub type Result<T, E = ClientError> = std::result::Result<T, E>;

/// A record as a consumer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedRecord {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

/// What one fetch of one partition brought.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    pub records: Bytes,
    pub high_watermark: i64,
    /// Producer id and first offset of each aborted transaction in `records`.
    pub aborted: Vec<(i64, i64)>,
}

impl Fetched {
    /// The committed records at or after `from`, and the offset after the last batch. Markers and
    /// records of aborted transactions are left out, as a `read_committed` consumer does it: by the
    /// list of aborted transactions, each of which ends at its producer's next abort marker.
    ///
    /// # Errors
    /// When a batch is malformed.
    pub fn open(&self, from: i64) -> Result<(Vec<FetchedRecord>, i64)> {
        let malformed = |e| ClientError::Answer(format!("{e}"));
        let mut out = Vec::new();
        let mut next = from;
        visit_committed(&self.records, &self.aborted, |header, records| {
            next = next.max(header.next_offset());
            for record in records.into_iter().flatten() {
                let record = record.map_err(malformed)?;
                if record.offset >= from {
                    out.push(FetchedRecord {
                        offset: record.offset,
                        timestamp: record.timestamp,
                        key: record.key.map(<[u8]>::to_vec),
                        value: record.value.map(<[u8]>::to_vec),
                    });
                }
            }
            Ok::<_, ClientError>(true)
        })?;
        Ok((out, next))
    }
}

/// Visits the batches of a fetch, each with its records if a `read_committed` consumer sees them: markers
/// and batches of aborted transactions come without. `aborted` has producer id and first offset of each
/// aborted transaction, as the fetch told them; each ends at its producer's next abort marker. A batch
/// cut short at the end is left out. Ends when `visit` gives false.
///
/// # Errors
/// What `visit` gives.
pub fn visit_committed<E>(
    fetched: &[u8],
    aborted: &[(i64, i64)],
    mut visit: impl FnMut(&BatchHeader, Option<RecordIter<'_>>) -> Result<bool, E>,
) -> Result<(), E> {
    let mut to_come = aborted.to_vec();
    to_come.sort_by_key(|(_, first)| std::cmp::Reverse(*first));
    let mut aborted = BTreeSet::new();
    let mut rest = fetched;
    while let Ok((header, body)) = records(rest, DECOMPRESSED_MAX) {
        rest = &rest[header.total_bytes.min(rest.len())..];
        while let Some((producer, _)) = to_come.pop_if(|(_, first)| *first <= header.last_offset())
        {
            aborted.insert(producer);
        }
        if header.is_control() && is_abort_marker(header, &body) {
            aborted.remove(&header.producer_id);
        }
        let is_aborted = header.is_transactional() && aborted.contains(&header.producer_id);
        let seen = !header.is_control() && !is_aborted;
        if !visit(&header, seen.then(|| RecordIter::new(header, &body)))? {
            break;
        }
    }
    Ok(())
}

/// A control record's key is a version and a type, 0 for an abort.
fn is_abort_marker(header: BatchHeader, body: &[u8]) -> bool {
    let first = RecordIter::new(header, body).next();
    first.and_then(Result::ok).and_then(|r| r.key).is_some_and(|key| key.ends_with(&[0, 0]))
}

impl Fetched {
    /// The offset after the last whole batch, from the batches' heads alone; 0 without one.
    pub fn end(&self) -> i64 {
        let mut end = 0;
        let mut rest = &self.records[..];
        while let Ok(header) = BatchHeader::parse(rest)
            && header.total_bytes <= rest.len()
        {
            end = header.next_offset();
            rest = &rest[header.total_bytes..];
        }
        end
    }
}

/// A socket, encrypted or not.
enum Stream {
    Plain(TcpStream),
    Tls(Box<BlockingTls>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.read(buffer),
            Stream::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.write(bytes),
            Stream::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(tcp) => tcp.flush(),
            Stream::Tls(tls) => tls.flush(),
        }
    }
}

/// A connection to one broker.
pub struct KafkaClient {
    stream: Stream,
    name: StrBytes,
    correlation: i32,
    out: BytesMut,
}

impl KafkaClient {
    /// Connects to `host:port`. The timeout bounds the connecting and every later answer.
    ///
    /// # Errors
    /// When nobody listens there, in time.
    pub fn connect(address: impl ToSocketAddrs, timeout: Duration) -> Result<KafkaClient> {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(timeout))?;
                    stream.set_write_timeout(Some(timeout))?;
                    let name = StrBytes::from("millstream");
                    let stream = Stream::Plain(stream);
                    return Ok(KafkaClient { stream, name, correlation: 0, out: BytesMut::new() });
                }
                Err(e) => failed = e,
            }
        }
        Err(failed.into())
    }

    /// Connects to `host:port` as somebody: with TLS if there are certificates to trust, and logged
    /// in (SASL PLAIN) if there is a user. A password goes out unencrypted only to this machine.
    ///
    /// # Errors
    /// Those of [`KafkaClient::connect`]; the server is not trusted, or the login failed.
    pub fn connect_as(place: &str, timeout: Duration, login: &LoginArgs) -> Result<KafkaClient> {
        let mut client = KafkaClient::connect(place, timeout)?;
        let mut is_local = false;
        if let Stream::Plain(tcp) = &client.stream {
            is_local = tcp.peer_addr()?.ip().is_loopback();
            if let Some(ca) = &login.ca {
                let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']');
                client.stream = Stream::Tls(Box::new(tls::over(tcp.try_clone()?, host, ca)?));
            }
        }
        let Some(user) = &login.user else { return Ok(client) };
        if login.ca.is_none() && !is_local {
            let message = "a password goes to another machine only with TLS: give --ca FILE";
            return Err(io::Error::other(message).into());
        }
        let password = login.password()?;
        let mut handshake = SaslHandshakeRequest::default();
        handshake.mechanism = "PLAIN".into();
        check("SaslHandshake", client.call(&handshake, SASL_HANDSHAKE)?.error_code)?;
        let mut authenticate = SaslAuthenticateRequest::default();
        authenticate.auth_bytes = format!("\0{user}\0{}", password.reveal()).into();
        let answer = client.call(&authenticate, SASL_AUTHENTICATE)?;
        match answer.error_message.filter(|_| answer.error_code != 0) {
            Some(message) => {
                Err(io::Error::new(io::ErrorKind::PermissionDenied, message.as_str()).into())
            }
            None => check("SaslAuthenticate", answer.error_code).map(|()| client),
        }
    }

    /// The same connection under a name that the broker may show to people.
    pub fn named(mut self, name: &str) -> KafkaClient {
        self.name = StrBytes::from(name);
        self
    }

    /// Sends a request without waiting.
    pub fn send<R>(&mut self, request: &R, version: i16) -> Result<()>
    where
        R: RequestResponsePair + KafkaEncode,
    {
        self.correlation = self.correlation.wrapping_add(1);
        self.out.clear();
        encode(&mut self.out, request, version, self.correlation, &self.name)?;
        self.stream.write_all(&self.out)?;
        Ok(())
    }

    /// Receives the answer to the oldest request that has none.
    pub fn receive<R>(&mut self, version: i16) -> Result<R::Response>
    where
        R: RequestResponsePair,
        R::Response: KafkaDecode,
    {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(ClientError::Answer(format!("{length} bytes")));
        }
        let mut body = Vec::new();
        Read::by_ref(&mut self.stream).take(length as u64).read_to_end(&mut body)?;
        if body.len() < length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let malformed = |e: &dyn std::fmt::Debug| ClientError::Answer(format!("{e:?}"));
        let mut limits = DecodeLimits::default();
        limits.max_frame_bytes = FRAME_BYTES_MAX;
        limits.max_bytes_bytes = FRAME_BYTES_MAX;
        let mut decoder = Decoder::new(Bytes::from(body), limits).map_err(|e| malformed(&e))?;
        let header = response_header_version_for::<R>(ApiVersion::new(version));
        let header = ApiVersion::new(header.map_err(|e| malformed(&e))?);
        ResponseHeader::decode(&mut decoder, header).map_err(|e| malformed(&e))?;
        R::Response::decode(&mut decoder, ApiVersion::new(version)).map_err(|e| malformed(&e))
    }

    /// Sends a request and waits for its answer.
    pub fn call<R>(&mut self, request: &R, version: i16) -> Result<R::Response>
    where
        R: RequestResponsePair + KafkaEncode,
        R::Response: KafkaDecode,
    {
        self.send(request, version)?;
        self.receive::<R>(version)
    }

    /// Creates a topic; one that exists already is fine.
    pub fn create_topic(&mut self, name: &str, partitions: i32) -> Result<()> {
        self.create_topic_with(name, partitions, &[])
    }

    /// As [`KafkaClient::create_topic`], with settings.
    pub fn create_topic_with(
        &mut self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<()> {
        let mut topic = create_topics_request::CreatableTopic::default();
        topic.name = name.into();
        topic.num_partitions = partitions;
        topic.replication_factor = 1;
        for (setting, value) in settings {
            let mut config = create_topics_request::CreatableTopicConfig::default();
            config.name = (*setting).into();
            config.value = Some((*value).into());
            topic.configs.push(config);
        }
        let mut request = CreateTopicsRequest::default();
        request.topics = vec![topic];
        request.timeout_ms = 10_000;
        let response = self.call(&request, CREATE_TOPICS)?;
        match response.topics.first().map(|t| t.error_code) {
            Some(0 | TOPIC_ALREADY_EXISTS) => Ok(()),
            Some(code) => Err(ClientError::Code { what: "CreateTopics", code }),
            None => Err(ClientError::Answer("CreateTopics without a topic".into())),
        }
    }

    /// Deletes a topic.
    pub fn delete_topic(&mut self, name: &str) -> Result<()> {
        let mut request = DeleteTopicsRequest::default();
        request.topic_names = vec![name.into()];
        request.timeout_ms = 10_000;
        let response = self.call(&request, DELETE_TOPICS)?;
        match response.responses.first() {
            Some(topic) => check("DeleteTopics", topic.error_code),
            None => Err(ClientError::Answer("DeleteTopics without a topic".into())),
        }
    }

    /// The number of partitions of a topic; `None` when there is no such topic.
    pub fn partitions(&mut self, topic: &str) -> Result<Option<usize>> {
        let mut asked = metadata_request::MetadataRequestTopic::default();
        asked.name = Some(topic.into());
        let mut request = MetadataRequest::default();
        request.topics = Some(vec![asked]);
        request.allow_auto_topic_creation = false;
        let response = self.call(&request, METADATA)?;
        Ok(response.topics.first().filter(|t| t.error_code == 0).map(|t| t.partitions.len()))
    }

    /// A producer id and epoch for an idempotent producer.
    pub fn init_producer(&mut self) -> Result<(i64, i16)> {
        let mut request = InitProducerIdRequest::default();
        request.transactional_id = None;
        request.transaction_timeout_ms = 60_000;
        request.producer_id = -1;
        request.producer_epoch = -1;
        let response = self.call(&request, INIT_PRODUCER_ID)?;
        check("InitProducerId", response.error_code)?;
        Ok((response.producer_id, response.producer_epoch))
    }

    /// Sends one batch with `acks=all`, without waiting for the answer.
    pub fn send_batch(&mut self, topic: &str, partition: i32, batch: Bytes) -> Result<()> {
        let request = produce_request(topic, partition, batch);
        self.send(&request, PRODUCE)
    }

    /// The offset of the first record of the oldest batch sent and not yet answered.
    pub fn receive_ack(&mut self) -> Result<i64> {
        let response = self.receive::<ProduceRequest>(PRODUCE)?;
        let partition = response.responses.first().and_then(|t| t.partition_responses.first());
        let partition =
            partition.ok_or_else(|| ClientError::Answer("Produce without a partition".into()))?;
        check("Produce", partition.error_code)?;
        Ok(partition.base_offset)
    }

    /// Produces one batch and waits for its acknowledgement.
    pub fn produce(&mut self, topic: &str, partition: i32, batch: Bytes) -> Result<i64> {
        self.send_batch(topic, partition, batch)?;
        self.receive_ack()
    }

    /// Fetches from one partition as a `read_committed` consumer.
    pub fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_bytes: i32,
        max_wait_ms: i32,
    ) -> Result<Fetched> {
        let request = fetch_request(topic, partition, offset, max_bytes, max_wait_ms);
        let response = self.call(&request, FETCH)?;
        check("Fetch", response.error_code)?;
        let partition = response.responses.into_iter().flat_map(|t| t.partitions).next();
        let partition =
            partition.ok_or_else(|| ClientError::Answer("Fetch without a partition".into()))?;
        check("Fetch", partition.error_code)?;
        Ok(Fetched {
            records: partition.records.unwrap_or_default(),
            high_watermark: partition.high_watermark,
            aborted: partition
                .aborted_transactions
                .unwrap_or_default()
                .iter()
                .map(|t| (t.producer_id, t.first_offset))
                .collect(),
        })
    }

    /// One past the last record that a `read_committed` consumer may see.
    pub fn end_offset(&mut self, topic: &str, partition: i32) -> Result<i64> {
        let mut asked = list_offsets_request::ListOffsetsPartition::default();
        asked.partition_index = partition;
        asked.current_leader_epoch = -1;
        asked.timestamp = -1;
        let partition = asked;
        let mut asked = list_offsets_request::ListOffsetsTopic::default();
        asked.name = topic.into();
        asked.partitions = vec![partition];
        let topic = asked;
        let mut request = ListOffsetsRequest::default();
        request.replica_id = -1;
        request.isolation_level = READ_COMMITTED;
        request.topics = vec![topic];
        let response = self.call(&request, LIST_OFFSETS)?;
        let partition = response.topics.first().and_then(|t| t.partitions.first());
        let partition = partition
            .ok_or_else(|| ClientError::Answer("ListOffsets without a partition".into()))?;
        check("ListOffsets", partition.error_code)?;
        Ok(partition.offset)
    }

    /// All committed records of a partition from `offset` up to its end as it is now.
    ///
    /// # Errors
    /// A connection's, Kafka's code, or an end that is not reached.
    pub fn read_all(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<Vec<FetchedRecord>> {
        Ok(self.read_committed(topic, partition, offset)?.0)
    }

    /// As [`Client::read_all`], with the offset after what was read.
    ///
    /// # Errors
    /// The same.
    pub fn read_committed(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<(Vec<FetchedRecord>, i64)> {
        let end = self.end_offset(topic, partition)?;
        let mut all = Vec::new();
        let mut next = offset;
        while next < end {
            let (records, after) = self.fetch(topic, partition, next, 32 << 20, 500)?.open(next)?;
            if after == next {
                return Err(ClientError::Answer(format!(
                    "no record at {next}, before the end {end}"
                )));
            }
            all.extend(records);
            next = after;
        }
        all.retain(|r| r.offset < end);
        Ok((all, next.min(end.max(offset))))
    }
}

/// A produce of one batch with `acks=all`.
pub fn produce_request(topic: &str, partition: i32, batch: Bytes) -> ProduceRequest {
    let mut partition_data = produce_request::PartitionProduceData::default();
    partition_data.index = partition;
    partition_data.records = Some(batch);
    let mut asked = produce_request::TopicProduceData::default();
    asked.name = topic.into();
    asked.partition_data = vec![partition_data];
    let topic = asked;
    let mut request = ProduceRequest::default();
    request.transactional_id = None;
    request.acks = -1;
    request.timeout_ms = 30_000;
    request.topic_data = vec![topic];
    request
}

/// A fetch from one partition as a `read_committed` consumer.
pub fn fetch_request(
    topic: &str,
    partition: i32,
    offset: i64,
    max_bytes: i32,
    max_wait_ms: i32,
) -> FetchRequest {
    let mut asked = fetch_request::FetchPartition::default();
    asked.partition = partition;
    asked.current_leader_epoch = -1;
    asked.fetch_offset = offset;
    asked.last_fetched_epoch = -1;
    asked.log_start_offset = -1;
    asked.partition_max_bytes = max_bytes;
    let partition = asked;
    let mut asked = fetch_request::FetchTopic::default();
    asked.topic = topic.into();
    asked.partitions = vec![partition];
    let topic = asked;
    let mut request = FetchRequest::default();
    request.replica_id = -1;
    request.max_wait_ms = max_wait_ms;
    request.min_bytes = 1;
    request.max_bytes = max_bytes;
    request.isolation_level = READ_COMMITTED;
    request.session_id = 0;
    request.session_epoch = -1;
    request.topics = vec![topic];
    request
}

/// A whole request frame, length included.
///
/// # Errors
/// When it is too large.
pub fn frame<R>(request: &R, version: i16) -> Result<Vec<u8>>
where
    R: RequestResponsePair + KafkaEncode,
{
    let mut out = BytesMut::new();
    encode(&mut out, request, version, 0, &StrBytes::from("millstream"))?;
    Ok(out.to_vec())
}

fn encode<R>(
    out: &mut BytesMut,
    request: &R,
    version: i16,
    correlation: i32,
    name: &StrBytes,
) -> Result<()>
where
    R: RequestResponsePair + KafkaEncode,
{
    encode_request(
        out,
        correlation,
        Some(name.clone()),
        request,
        ApiVersion::new(version),
        OutboundFrameLimits::new(FRAME_BYTES_MAX),
    )
    .map(drop)
    .map_err(|e| ClientError::Answer(format!("cannot encode: {e:?}")))
}

/// Any code but 0 is an error.
///
/// # Errors
/// The code.
pub fn check(what: &'static str, code: i16) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(ClientError::Code { what, code }) }
}
