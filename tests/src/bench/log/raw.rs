//! A connection of a load generator that costs next to nothing: frames made once and sent as they
//! are, answers read into one buffer and looked at only where they say what happened.
//!
//! One request kind per connection, and answers come in the order of the requests; so correlation
//! ids are not looked at. Versions: Produce 9, Fetch 12 (both flexible, topics by name).

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use millstream_storage::log::batch::BatchHeader;

use crate::wire_client::{FETCH, PRODUCE, fetch_request, frame, produce_request};

/// Answers bigger than this are refused.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Small answers are read together.
const READ_BYTES: usize = 64 << 10;
/// How long a fetch may wait for records.
const FETCH_WAIT_MS: i32 = 100;

type Result<T, E = String> = std::result::Result<T, E>;

/// The sending half.
pub struct Sender {
    stream: TcpStream,
}

/// The receiving half.
pub struct Receiver {
    stream: BufReader<TcpStream>,
    answer: Vec<u8>,
}

/// Connects; `timeout` bounds every wait.
///
/// # Errors
/// When nobody listens.
pub fn connect(address: &str, timeout: Duration) -> Result<(Sender, Receiver)> {
    let parsed = address.parse().map_err(|_| format!("address {address}"))?;
    let open = || -> std::io::Result<(TcpStream, TcpStream)> {
        let stream = TcpStream::connect_timeout(&parsed, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok((stream.try_clone()?, stream))
    };
    let (reading, writing) = open().map_err(|e| format!("connect to {address}: {e}"))?;
    let reading = BufReader::with_capacity(READ_BYTES, reading);
    Ok((Sender { stream: writing }, Receiver { stream: reading, answer: Vec::new() }))
}

/// The whole frame of a produce with `acks=all` of one batch.
///
/// # Errors
/// When the batch is too large for a frame.
pub fn produce_frame(topic: &str, partition: i32, batch: Bytes) -> Result<Vec<u8>> {
    frame(&produce_request(topic, partition, batch), PRODUCE).map_err(|e| e.to_string())
}

/// The whole frame of a fetch from `offset` on, as an ordinary consumer asks.
///
/// # Errors
/// Not for these fields.
pub fn fetch_frame(topic: &str, partition: i32, offset: i64, max_bytes: i32) -> Result<Vec<u8>> {
    let mut request = fetch_request(topic, partition, offset, max_bytes, FETCH_WAIT_MS);
    request.isolation_level = 0;
    frame(&request, FETCH).map_err(|e| e.to_string())
}

impl Sender {
    /// # Errors
    /// When the connection is.
    pub fn send(&mut self, frame: &[u8]) -> Result<()> {
        self.stream.write_all(frame).map_err(|e| format!("send: {e}"))
    }
}

impl Receiver {
    fn answer(&mut self) -> Result<&[u8]> {
        let mut length = [0; 4];
        let failed = |e: std::io::Error| format!("receive: {e}");
        self.stream.read_exact(&mut length).map_err(failed)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > ANSWER_BYTES_MAX {
            return Err(format!("an answer of {length} bytes"));
        }
        if self.answer.len() < length {
            self.answer.resize(length, 0);
        }
        let answer = &mut self.answer[..length];
        self.stream.read_exact(answer).map_err(failed)?;
        Ok(answer)
    }

    /// The base offset of the oldest produce that has no answer yet; an error code is the inner error.
    ///
    /// # Errors
    /// When the connection or the answer is broken.
    pub fn acked(&mut self) -> Result<std::result::Result<i64, i16>> {
        let read = |bytes| {
            let mut at = Cursor(bytes);
            // Correlation id and tags; topics, one; its name; partitions, one; its index.
            at.skip(5)?;
            at.varint()?;
            let name = at.varint()?;
            at.skip(name.checked_sub(1)?)?;
            at.varint()?;
            at.skip(4)?;
            let (code, offset) = (at.i16()?, at.i64()?);
            Some(if code == 0 { Ok(offset) } else { Err(code) })
        };
        read(self.answer()?).ok_or_else(|| "a malformed produce answer".into())
    }

    /// The records of a fetch and the offset after their last whole batch (`from` if there is none).
    ///
    /// # Errors
    /// When the connection or the answer is broken, or holds an error code.
    pub fn fetched(&mut self, from: i64) -> Result<(usize, i64)> {
        let read = |bytes| {
            let mut at = Cursor(bytes);
            // Correlation id, tags, throttle time; then the code, the session and the topic.
            at.skip(9)?;
            let code = at.i16()?;
            at.skip(4)?;
            if code != 0 {
                return Some(Err(code));
            }
            at.varint()?;
            let name = at.varint()?;
            at.skip(name.checked_sub(1)?)?;
            at.varint()?;
            at.skip(4)?;
            let code = at.i16()?;
            if code != 0 {
                return Some(Err(code));
            }
            // Three offsets; no aborted transactions when uncommitted records are read; the replica.
            at.skip(24)?;
            let aborted = at.varint()?;
            if aborted > 1 {
                return None;
            }
            at.skip(4)?;
            let length = at.varint()?.saturating_sub(1);
            Some(Ok(at.0.get(..length)?))
        };
        let records = read(self.answer()?).ok_or("a malformed fetch answer")?;
        let records = records.map_err(|code| format!("Fetch: Kafka error {code}"))?;
        let (mut rest, mut next) = (records, from);
        while let Ok(header) = BatchHeader::parse(rest)
            && header.total_bytes <= rest.len()
        {
            next = header.next_offset();
            rest = &rest[header.total_bytes..];
        }
        Ok((records.len(), next))
    }
}

/// Big-endian fields from the front of bytes.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, back) = self.0.split_first_chunk::<N>()?;
        self.0 = back;
        Some(*front)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}
