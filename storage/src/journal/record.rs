//! The journal's records: their frame, their kinds, and the group they are collected in.
//!
//! Frame, big-endian, beginning at a multiple of 8:
//!
//! ```text
//!  0 payload length u32      8 lsn u64                     24 kind u16, 6 bytes zero
//!  4 crc u32                16 durable-up-to lsn u64       32 payload, zeros up to a multiple of 8
//! ```
//!
//! The checksum (CRC-32C) covers the file's salt, the length, and everything from byte 8 to the end of
//! the payload; so a record of a recycled file, or bytes a client made up, are never taken for one.
//! *Durable-up-to* is the last lsn known to be on disk when the record was written: a bad record at or
//! below the durable-up-to of a later good one had been acknowledged.

use std::collections::BTreeMap;

use bytes::Bytes;
use uuid::Uuid;

use super::wire::{Put, Take};
use crate::log::batch::HEADER_BYTES;

pub(crate) const FRAME_BYTES: usize = 32;
const ALIGN: usize = 8;
/// What says where a placed batch lies, before its header.
const PLACE_BYTES: usize = 16;

/// What a record says. The numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Kind {
    Append = 1,
    TopicCreated = 2,
    TopicDeleted = 3,
    TopicConfig = 4,
    Group = 5,
    ProducerIds = 6,
    Seal = 7,
    App = 8,
    AppReplaced = 9,
    LogStart = 10,
    TopicGrown = 20,
    TransactionEnd = 30,
    /// As `Group`, with batches that tell the same.
    GroupTold = 40,
    /// As `Append`, of a batch whose bytes lie in its segment already: see [`Fact::Placed`].
    Placed = 50,
}

impl Kind {
    fn from_number(number: u16) -> Option<Kind> {
        use Kind::*;
        [
            Append,
            TopicCreated,
            TopicDeleted,
            TopicConfig,
            Group,
            ProducerIds,
            Seal,
            App,
            AppReplaced,
            LogStart,
            TopicGrown,
            TransactionEnd,
            GroupTold,
            Placed,
        ]
        .into_iter()
        .find(|kind| *kind as u16 == number)
    }
}

/// A record's place in a buffer that holds frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub lsn: u64,
    pub durable: u64,
    pub kind: u16,
    /// Of the payload.
    pub start: usize,
    pub end: usize,
    /// Where the next frame begins.
    pub next: usize,
}

fn align(length: usize) -> usize {
    length.next_multiple_of(ALIGN)
}

fn checksum(salt: u64, frame: &[u8]) -> u32 {
    let mut digest = begin_checksum(salt, &frame[0..4]);
    digest.update(&frame[8..]);
    digest.finalize() as u32
}

fn begin_checksum(salt: u64, length: &[u8]) -> crc_fast::Digest {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(&salt.to_be_bytes());
    digest.update(length);
    digest
}

impl Frame {
    /// Reads the frame at `at` without its checksum. `None` when it cannot be one.
    pub(crate) fn peek(bytes: &[u8], at: usize) -> Option<Frame> {
        Frame::head(bytes, at).filter(|frame| frame.end <= bytes.len())
    }

    /// As [`Frame::peek`], of a frame whose payload need not be there.
    fn head(bytes: &[u8], at: usize) -> Option<Frame> {
        let mut fields = Take::new(bytes.get(at..at + FRAME_BYTES)?);
        let length = fields.u32()? as usize;
        let _crc = fields.u32()?;
        let (lsn, durable, kind) = (fields.u64()?, fields.u64()?, fields.u16()?);
        if lsn == 0 || durable >= lsn || fields.rest() != [0; 6] {
            return None;
        }
        let start = at + FRAME_BYTES;
        let end = start.checked_add(length)?;
        Some(Frame { lsn, durable, kind, start, end, next: align(end) })
    }

    /// Reads the frame at `at` if its checksum holds.
    pub(crate) fn read(bytes: &[u8], at: usize, salt: u64) -> Option<Frame> {
        let frame = Frame::peek(bytes, at)?;
        let crc = u32::from_be_bytes(bytes[at + 4..at + 8].try_into().ok()?);
        (checksum(salt, &bytes[at..frame.end]) == crc).then_some(frame)
    }

    pub(crate) fn kind(&self) -> Option<Kind> {
        Kind::from_number(self.kind)
    }
}

/// Records that are committed together, as they will stand in the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    /// The frames, without what [`Group::put_large`] added.
    pub bytes: Vec<u8>,
    /// Where the frames begin in `bytes`.
    frames: Vec<usize>,
    large: Vec<Large>,
    large_bytes: usize,
    /// Bytes of placed batches, which go to their segments and not into the journal.
    pub placed_bytes: usize,
    pub first_lsn: u64,
    pub last_lsn: u64,
    /// The last seal in it; 0 if none.
    pub last_seal: u64,
    /// Someone wants it on disk before the acknowledgement.
    pub sync: bool,
}

/// Bytes that are not copied into a group, and their place in [`Group::bytes`].
#[derive(Debug, Clone)]
struct Large {
    at: usize,
    bytes: Bytes,
}

impl Group {
    /// Begins a record; the payload is what is added to `bytes`, and by [`Group::put_large`], until
    /// [`Group::end`].
    pub(crate) fn begin(&mut self, kind: Kind, lsn: u64) -> Begun {
        let at = self.bytes.len();
        if at == 0 {
            self.first_lsn = lsn;
        }
        self.last_lsn = lsn;
        if kind == Kind::Seal {
            self.last_seal = lsn;
        }
        self.frames.push(at);
        self.bytes.put(&[0; 8]);
        self.bytes.put_u64(lsn);
        self.bytes.put_u64(0);
        self.bytes.put_u16(kind as u16);
        self.bytes.put(&[0; 6]);
        Begun { at, len: self.len() }
    }

    /// Adds bytes without copying them.
    pub(crate) fn put_large(&mut self, bytes: Bytes) {
        self.large_bytes += bytes.len();
        self.large.push(Large { at: self.bytes.len(), bytes });
    }

    /// Puts the fields of a [`Fact::Placed`] behind topic and partition; the header follows, then the
    /// record ends. The place is filled in by [`Group::set_place`].
    pub(crate) fn put_no_place(&mut self, rest_bytes: usize) {
        self.placed_bytes += rest_bytes;
        self.bytes.put(&[0; PLACE_BYTES]);
    }

    /// Says where the placed batch lies whose header is at `front`.
    pub(crate) fn set_place(&mut self, front: usize, segment: i64, position: u64) {
        let at = front - PLACE_BYTES;
        self.bytes[at..at + 8].copy_from_slice(&segment.to_be_bytes());
        self.bytes[at + 8..front].copy_from_slice(&position.to_be_bytes());
    }

    /// The same group with the bytes of its placed batches in it, as plain appends. `rests` are what
    /// follows their headers, in order. Gives by how much less what came after each of them moved,
    /// as pairs of a place in the old bytes and one in the new.
    pub(crate) fn with_bytes_of_placed(
        &self,
        mut rests: impl Iterator<Item = Bytes>,
    ) -> (Group, Vec<(usize, usize)>) {
        let mut whole = Group { first_lsn: self.first_lsn, sync: self.sync, ..Group::default() };
        let mut moved = Vec::new();
        let mut large = self.large.iter().peekable();
        let ends = self.frames.iter().skip(1).copied().chain([self.bytes.len()]);
        for (from, until) in self.frames.iter().copied().zip(ends) {
            let Some(frame) = Frame::head(&self.bytes, from) else { continue };
            moved.push((from, whole.bytes.len()));
            if frame.kind() == Some(Kind::Placed) {
                let begun = whole.begin(Kind::Append, frame.lsn);
                let place = from + FRAME_BYTES + 20;
                whole.bytes.put(&self.bytes[from + FRAME_BYTES..place]);
                let front = place + PLACE_BYTES;
                moved.push((front, whole.bytes.len()));
                whole.bytes.put(&self.bytes[front..front + HEADER_BYTES]);
                if let Some(rest) = rests.next() {
                    whole.put_large(rest);
                }
                whole.end(begun);
                continue;
            }
            whole.frames.push(whole.bytes.len());
            let mut copied = from;
            while let Some(next) = large.next_if(|next| next.at <= until && next.at > from) {
                whole.bytes.put(&self.bytes[copied..next.at]);
                whole.put_large(next.bytes.clone());
                copied = next.at;
            }
            whole.bytes.put(&self.bytes[copied..until]);
        }
        (whole.last_lsn, whole.last_seal) = (self.last_lsn, self.last_seal);
        (whole, moved)
    }

    pub(crate) fn end(&mut self, begun: Begun) {
        let length = (self.len() - begun.len) as u32;
        self.bytes[begun.at..begun.at + 4].copy_from_slice(&length.to_be_bytes());
        let padding = align(self.len()) - self.len();
        self.bytes.resize(self.bytes.len() + padding, 0);
    }

    /// Fills in what is known only when the group is written: durable-up-to and the checksums.
    pub(crate) fn finish(&mut self, salt: u64, durable: u64) {
        let mut large = self.large.iter().peekable();
        for at in self.frames.iter().copied() {
            self.bytes[at + 16..at + 24].copy_from_slice(&durable.to_be_bytes());
            let length = u32::from_be_bytes(*self.bytes[at..].first_chunk().unwrap_or(&[0; 4]));
            let mut digest = begin_checksum(salt, &self.bytes[at..at + 4]);
            let (mut from, mut left) = (at + 8, FRAME_BYTES - 8 + length as usize);
            while left > 0 {
                let until = large.peek().map_or(from + left, |next| next.at.min(from + left));
                digest.update(&self.bytes[from..until]);
                left -= until - from;
                from = until;
                if left > 0
                    && let Some(next) = large.next()
                {
                    digest.update(&next.bytes);
                    left -= next.bytes.len();
                }
            }
            let crc = digest.finalize() as u32;
            self.bytes[at + 4..at + 8].copy_from_slice(&crc.to_be_bytes());
        }
    }

    /// Bytes it has in the file.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + self.large_bytes
    }

    /// Bytes that it keeps in memory.
    pub(crate) fn held_bytes(&self) -> usize {
        self.len() + self.placed_bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes as they stand in the file, in pieces.
    pub(crate) fn pieces(&self) -> Vec<&[u8]> {
        let mut pieces = Vec::with_capacity(2 * self.large.len() + 1);
        let mut from = 0;
        for large in &self.large {
            pieces.push(&self.bytes[from..large.at]);
            pieces.push(&large.bytes[..]);
            from = large.at;
        }
        pieces.push(&self.bytes[from..]);
        pieces
    }

    /// Empties it and keeps the memory, unless it is unusually much.
    pub(crate) fn clear(&mut self) {
        const KEEP_BYTES: usize = 1 << 20;
        let (mut bytes, mut frames, mut large) = (
            std::mem::take(&mut self.bytes),
            std::mem::take(&mut self.frames),
            std::mem::take(&mut self.large),
        );
        bytes.clear();
        bytes.shrink_to(KEEP_BYTES);
        frames.clear();
        large.clear();
        *self = Group { bytes, frames, large, ..Group::default() };
    }
}

/// A record of a group that has no end yet.
#[derive(Debug)]
pub(crate) struct Begun {
    at: usize,
    /// Of the group, when the payload began.
    len: usize,
}

/// A record's meaning, read back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fact {
    Append {
        topic: Uuid,
        partition: i32,
        batches: std::ops::Range<usize>,
    },
    /// A batch that lies in its segment, written there before this record. Payload: topic id,
    /// partition i32, then:
    Placed {
        topic: Uuid,
        partition: i32,
        /// Base offset of the segment, i64, and the batch's first byte in it, u64.
        segment: i64,
        position: u64,
        /// The batch's header, with its offset, as it lies there: all a restart needs to know of it,
        /// its checksum among it.
        front: std::ops::Range<usize>,
    },
    TopicCreated(TopicFact),
    TopicDeleted {
        topic: Uuid,
    },
    TopicConfig {
        topic: Uuid,
        config: BTreeMap<String, String>,
    },
    Group(Vec<(Bytes, Option<Bytes>)>),
    ProducerIds {
        next: i64,
    },
    Seal {
        epoch: u64,
        payload: Bytes,
        appends: Vec<(Uuid, i32, std::ops::Range<usize>)>,
    },
    App {
        kind: u16,
        bytes: Bytes,
    },
    AppReplaced(Vec<(u16, Bytes)>),
    LogStart {
        topic: Uuid,
        partition: i32,
        offset: i64,
    },
    TopicGrown {
        topic: Uuid,
        partitions: i32,
    },
    TransactionEnd {
        markers: Vec<(Uuid, i32, std::ops::Range<usize>)>,
        groups: Vec<(Bytes, Option<Bytes>)>,
    },
    GroupTold {
        appends: Vec<(Uuid, i32, std::ops::Range<usize>)>,
        groups: Vec<(Bytes, Option<Bytes>)>,
    },
}

/// A topic without its records.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TopicFact {
    pub topic: Uuid,
    pub name: String,
    pub partitions: i32,
    pub config: BTreeMap<String, String>,
}

impl TopicFact {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_uuid(self.topic);
        out.put_text(&self.name);
        out.put_i32(self.partitions);
        put_config(out, &self.config);
    }

    pub(crate) fn take(fields: &mut Take<'_>) -> Option<TopicFact> {
        Some(TopicFact {
            topic: fields.uuid()?,
            name: fields.text()?,
            partitions: fields.i32()?,
            config: take_config(fields)?,
        })
    }
}

pub(crate) fn put_config(out: &mut Vec<u8>, config: &BTreeMap<String, String>) {
    out.put_u32(config.len() as u32);
    for (name, value) in config {
        out.put_text(name);
        out.put_text(value);
    }
}

pub(crate) fn take_config(fields: &mut Take<'_>) -> Option<BTreeMap<String, String>> {
    let pairs = fields.list(|fields| Some((fields.text()?, fields.text()?)))?;
    Some(pairs.into_iter().collect())
}

impl Fact {
    /// Reads the payload of a frame in `bytes`. Ranges point into `bytes`. `None` when it is not
    /// what its kind says, which the checksum makes a fault of ours.
    pub(crate) fn read(bytes: &[u8], frame: &Frame) -> Option<Fact> {
        let payload = &bytes[frame.start..frame.end];
        let mut fields = Take::new(payload);
        let here = |slice: &[u8]| {
            let from = slice.as_ptr() as usize - bytes.as_ptr() as usize;
            from..from + slice.len()
        };
        let fact = match frame.kind()? {
            Kind::Append => {
                let (topic, partition) = (fields.uuid()?, fields.i32()?);
                return Some(Fact::Append { topic, partition, batches: here(fields.rest()) });
            }
            Kind::Placed => {
                let (topic, partition) = (fields.uuid()?, fields.i32()?);
                let (segment, position) = (fields.i64()?, fields.u64()?);
                let front = here(fields.rest());
                let placed = Fact::Placed { topic, partition, segment, position, front };
                return (frame.end - frame.start == 20 + PLACE_BYTES + HEADER_BYTES)
                    .then_some(placed);
            }
            Kind::TopicCreated => Fact::TopicCreated(TopicFact::take(&mut fields)?),
            Kind::TopicDeleted => Fact::TopicDeleted { topic: fields.uuid()? },
            Kind::TopicConfig => {
                Fact::TopicConfig { topic: fields.uuid()?, config: take_config(&mut fields)? }
            }
            Kind::Group => {
                Fact::Group(fields.list(|fields| Some((fields.bytes()?, fields.optional()?)))?)
            }
            Kind::ProducerIds => Fact::ProducerIds { next: fields.i64()? },
            Kind::Seal => Fact::Seal {
                epoch: fields.u64()?,
                payload: fields.bytes()?,
                appends: fields
                    .list(|fields| Some((fields.uuid()?, fields.i32()?, here(fields.slice()?))))?,
            },
            Kind::App => {
                return Some(Fact::App {
                    kind: fields.u16()?,
                    bytes: Bytes::copy_from_slice(fields.rest()),
                });
            }
            Kind::AppReplaced => {
                Fact::AppReplaced(fields.list(|fields| Some((fields.u16()?, fields.bytes()?)))?)
            }
            Kind::TransactionEnd => Fact::TransactionEnd {
                markers: fields
                    .list(|fields| Some((fields.uuid()?, fields.i32()?, here(fields.slice()?))))?,
                groups: fields.list(|fields| Some((fields.bytes()?, fields.optional()?)))?,
            },
            Kind::GroupTold => Fact::GroupTold {
                appends: fields
                    .list(|fields| Some((fields.uuid()?, fields.i32()?, here(fields.slice()?))))?,
                groups: fields.list(|fields| Some((fields.bytes()?, fields.optional()?)))?,
            },
            Kind::LogStart => Fact::LogStart {
                topic: fields.uuid()?,
                partition: fields.i32()?,
                offset: fields.i64()?,
            },
            Kind::TopicGrown => {
                Fact::TopicGrown { topic: fields.uuid()?, partitions: fields.i32()? }
            }
        };
        fields.is_done().then_some(fact)
    }
}
