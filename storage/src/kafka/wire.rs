//! Frames: from bytes to a typed request, and from a typed response to bytes.
//!
//! ```text
//! request  = key i16, version i16, correlation id i32, client id nullable string, [tags], body
//! response = length i32, correlation id i32, [tags], body
//! ```
//!
//! The tags are there in flexible versions (request header 2, response header 1); ApiVersions keeps
//! response header 0 for all time. The messages themselves are `kafka-wire`'s.
//!
//! No length or count is trusted. The decoder never reserves memory for a count; it grows vectors as
//! elements are really read. [`limits`] adds the bound that keeps even well-formed frames of tiny
//! elements small: see there.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_wire::{KafkaRequest, KafkaResponse, RequestHeader, ResponseHeader};
use kafka_wire_core::{ApiKey, ApiVersion, DecodeError, DecodeLimits, Decoder, EncodeError};
use kafka_wire_core::{KafkaDecode, KafkaEncode};

use super::supported;

/// Most bytes a request may have that carries no records. Kafka has one limit for all (100 MiB),
/// but only Produce needs it, and an element of an array may take 40 times its bytes in memory.
pub const CONTROL_FRAME_MAX: usize = 4 << 20;

/// Elements in one array. Kafka's own largest use is a metadata or offset request over all
/// partitions of a cluster.
const ARRAY_MAX: usize = 100_000;

/// Topics and partitions in a Produce request longer than [`CONTROL_FRAME_MAX`].
pub const ELEMENTS_MAX: usize = ARRAY_MAX;

/// Unknown tags are read over and never used; no client sends more than a handful.
const TAGS_MAX: usize = 16;
const TAG_BYTES_MAX: usize = 4096;

/// Header of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub key: i16,
    pub version: i16,
    pub correlation_id: i32,
    /// The name the client gives itself; empty if it gives none.
    pub client_id: String,
}

/// Why a frame was not understood. The connection is closed, as Kafka does it: there is no way to
/// know what the client would make of an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("the frame is too short for a request header")]
    NoHeader,
    #[error("request {key} version {version} cannot be read: {reason}")]
    Malformed { key: i16, version: i16, reason: DecodeError },
    #[error("request {key} version {version} is not served")]
    NotServed { key: i16, version: i16 },
    #[error("request {key} has {len} bytes, more than the {max} such a request may have")]
    TooLong { key: i16, len: usize, max: usize },
    #[error("a produce names {elements} topics and partitions; at most {max} are taken")]
    TooMany { elements: usize, max: usize },
    #[error("request {key} comes before the login")]
    NotLoggedIn { key: i16 },
    #[error("the login has run out and was not renewed")]
    LoginOver,
    #[error("the response to request {key} version {version} cannot be written: {reason}")]
    Response { key: i16, version: i16, reason: EncodeError },
}

/// Splits a frame into its header and the body. For a version that is not served the body is
/// meaningless and only the part of the header that never changed is read.
pub fn split(frame: Bytes) -> Result<(Header, Bytes), FrameError> {
    let peek = |at: usize| -> Option<i16> {
        Some(i16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?))
    };
    let (Some(key), Some(version)) = (peek(0), peek(2)) else { return Err(FrameError::NoHeader) };
    let flexible = supported::is_flexible(key, version);
    let header_version = ApiVersion::new(kafka_wire::request_header_version(flexible));
    let len = frame.len();
    let malformed = |reason| FrameError::Malformed { key, version, reason };
    let mut decoder = Decoder::new(frame.clone(), limits(len)).map_err(malformed)?;
    let header = RequestHeader::decode(&mut decoder, header_version).map_err(malformed)?;
    let body = frame.slice(decoder.offset()..);
    let header = Header {
        key,
        version,
        correlation_id: header.correlation_id,
        client_id: header.client_id.map(|id| id.as_str().to_owned()).unwrap_or_default(),
    };
    Ok((header, body))
}

/// What a frame of `len` bytes may ask the decoder for. A string, a blob or a count never exceeds
/// the frame it is in; a count also not [`ARRAY_MAX`].
pub fn limits(len: usize) -> DecodeLimits {
    let mut limits = DecodeLimits::default();
    limits.max_frame_bytes = len;
    limits.max_string_bytes = len.min(i16::MAX as usize);
    limits.max_bytes_bytes = len;
    limits.max_array_elements = len.min(ARRAY_MAX);
    limits.max_tagged_fields = TAGS_MAX;
    limits.max_tag_bytes = TAG_BYTES_MAX;
    limits.max_total_tag_bytes = TAG_BYTES_MAX;
    limits
}

/// Reads the body of a request. Bytes after it are ignored, as Kafka does.
pub fn decode<R: KafkaRequest>(header: &Header, body: Bytes) -> Result<R, FrameError> {
    let Header { key, version, .. } = *header;
    let malformed = |reason| FrameError::Malformed { key, version, reason };
    let limits = limits(body.len());
    let mut decoder = Decoder::new(body, limits).map_err(malformed)?;
    R::decode(&mut decoder, ApiVersion::new(version)).map_err(malformed)
}

/// Writes a whole response frame in the version that was asked for.
pub fn encode<R: KafkaResponse>(header: &Header, response: &R) -> Result<Bytes, FrameError> {
    encode_as(header, header.version, response)
}

/// As [`encode`], but with the body in another version than the request's.
pub fn encode_as<R: KafkaResponse>(
    header: &Header,
    version: i16,
    response: &R,
) -> Result<Bytes, FrameError> {
    let flexible = R::is_flexible(ApiVersion::new(version));
    let version = ApiVersion::new(version);
    let header_version =
        kafka_wire::response_header_version(ApiKey::new(header.key), version, flexible);
    let mut head = ResponseHeader::default();
    head.correlation_id = header.correlation_id;

    let failed =
        |reason| FrameError::Response { key: header.key, version: version.value(), reason };
    let mut out = BytesMut::new();
    out.put_i32(0);
    head.encode_into(&mut out, ApiVersion::new(header_version)).map_err(failed)?;
    response.encode_into(&mut out, version).map_err(failed)?;
    let len = i32::try_from(out.len() - 4)
        .map_err(|_| failed(EncodeError::FrameTooLarge { bytes: out.len() }))?;
    out[..4].copy_from_slice(&len.to_be_bytes());
    Ok(out.freeze())
}
