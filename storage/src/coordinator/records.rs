//! The stored form of what a group must not forget.
//!
//! The journal keeps the newest value of each key, as a compacted topic does. So a fact is stored
//! under a key that names what it is about, and forgetting is the key without a value:
//!
//! ```text
//! key      = kind u8, group string [, topic string, partition i32]
//! value    = version u8 (= 1; kind 1: 2), rest by kind
//! kind 1   Generation, GroupForgotten: generation i32, protocol type string, protocol?, leader?,
//!            count u32, member*, emptied at i64 (ms since 1970; not in version 1)
//! member   = id string, instance?, client id string, client host string,
//!            session timeout i32, rebalance timeout i32, subscription bytes, assignment bytes
//! kind 2   OffsetCommitted, OffsetForgotten: offset i64, leader epoch i32, metadata string,
//!            committed at i64 (ms since 1970)
//! kind 3   ConsumerEpochs, ConsumerForgotten: group epoch i32, assignment epoch i32,
//!            hash of the subscribed topics u64, emptied at i64
//! kind 4   ConsumerMember, ConsumerMemberForgotten; key = kind u8, group string, member id string
//!            instance?, rack?, client id string, client host string, rebalance timeout i32,
//!            count u32, topic string*, regex?, assignor?, state u8, epoch i32, previous epoch i32,
//!            assigned parts, revoking parts, target parts,
//!            classic u8 = 0 | 1, session timeout i32, count u32, (protocol string, metadata bytes)*
//! parts    = count u32, (topic id 16 bytes, count u32, partition i32*)*
//! kind 16  OffsetPending, PendingForgotten: key = kind, group, topic, partition, producer id i64;
//!            staged u64, then as kind 2
//! string   = length u32, UTF-8;  bytes = length u32, bytes;  x? = u8 0 | u8 1, x
//! ```
//!
//! All numbers are big-endian. An entry that does not read back to its last byte is refused as a
//! whole. A count is never believed: vectors grow only as members are really there.
//!
//! Facts about different keys may be applied in any order: a group's generation, its members and each
//! of its offsets do not depend on each other.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::consumer::{ClassicPart, ConsumerMember, MemberState, Parts};

/// One fact about one group. Applying the newest fact of each key gives the group back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRecord {
    /// A generation was formed and its assignment handed in; or, without members, the group emptied.
    Generation { group: String, generation: StoredGeneration },
    /// A consumer committed an offset.
    OffsetCommitted { group: String, topic: String, partition: i32, offset: CommittedOffset },
    /// A committed offset was deleted, or its topic was.
    OffsetForgotten { group: String, topic: String, partition: i32 },
    /// A producer put an offset into its open transaction. `staged` orders those of one group.
    OffsetPending {
        group: String,
        topic: String,
        partition: i32,
        producer_id: i64,
        staged: u64,
        offset: CommittedOffset,
    },
    /// A pending offset was committed, aborted or overtaken.
    PendingForgotten { group: String, topic: String, partition: i32, producer_id: i64 },
    /// The group was deleted. Its offsets are forgotten one by one, before.
    GroupForgotten { group: String },
    /// The group is not a classic one any more; its offsets stay.
    ClassicForgotten { group: String },
    /// The epochs of a KIP-848 group.
    ConsumerEpochs { group: String, epochs: StoredEpochs },
    /// The group is not a KIP-848 one any more. Its members are forgotten one by one, before.
    ConsumerForgotten { group: String },
    /// A member of a KIP-848 group is new or has changed.
    ConsumerMember { group: String, member: Arc<ConsumerMember> },
    /// A member of a KIP-848 group is gone.
    ConsumerMemberForgotten { group: String, id: String },
}

/// Where a KIP-848 group is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredEpochs {
    /// Counts up with each change of members, subscriptions or topics.
    pub group: i32,
    /// The group epoch the present target was made for.
    pub assignment: i32,
    /// See `consumer/topics.rs`.
    pub topics_hash: u64,
    /// Since when there are no members, ms since 1970; 0 if there are some, or never were.
    pub emptied_at_ms: i64,
}

/// What survives of a generation: enough for its members to go on after a restart as if nothing
/// had happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredGeneration {
    /// Counts up with each completed join phase.
    pub generation: i32,
    /// `consumer`, `connect`, `sr`, …; empty only for a group that never had a member.
    pub protocol_type: String,
    /// The assignment protocol chosen; `None` in an empty group.
    pub protocol: Option<String>,
    /// The member that computes the assignment; `None` in an empty group.
    pub leader: Option<String>,
    pub members: Vec<StoredMember>,
    /// Since when there are no members, ms since 1970; 0 if there are some, or never were.
    pub emptied_at_ms: i64,
}

/// A member as it was when its generation's assignment came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMember {
    pub id: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    /// The member's metadata for the chosen protocol.
    pub subscription: Vec<u8>,
    pub assignment: Vec<u8>,
}

/// A committed offset of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read, -1 if the client does not say.
    pub leader_epoch: i32,
    /// The client's own words; given back as they came.
    pub metadata: String,
    /// When it was committed, ms since 1970.
    pub committed_at_ms: i64,
}

/// Why a journal entry could not be read as a group record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the record is of version {0}, which this program does not know")]
    Version(u8),
    #[error("the record is of kind {0}, which this program does not know")]
    Kind(u8),
    #[error("the record ends too early")]
    Cut,
    #[error("a text in the record is not UTF-8")]
    Text,
    #[error("the record goes on after its end")]
    Trailing,
    #[error("an ACL or a user is damaged, or of a newer program")]
    Access,
    #[error("the record says that a member is in state {0}, which this program does not know")]
    State(u8),
}

const VERSION: u8 = 1;
/// Of kind 1; version 1 did not say since when a group was empty.
const GENERATION_VERSION: u8 = 2;
const GENERATION: u8 = 1;
const OFFSET: u8 = 2;
const EPOCHS: u8 = 3;
const MEMBER: u8 = 4;
const PENDING: u8 = 16;

/// A key of the journal with its new value, or without one to forget it.
pub type Entry = (Bytes, Option<Bytes>);

impl GroupRecord {
    /// The group this is about.
    pub fn group(&self) -> &str {
        match self {
            Self::Generation { group, .. }
            | Self::OffsetCommitted { group, .. }
            | Self::OffsetForgotten { group, .. }
            | Self::OffsetPending { group, .. }
            | Self::PendingForgotten { group, .. }
            | Self::GroupForgotten { group }
            | Self::ClassicForgotten { group }
            | Self::ConsumerEpochs { group, .. }
            | Self::ConsumerForgotten { group }
            | Self::ConsumerMember { group, .. }
            | Self::ConsumerMemberForgotten { group, .. } => group,
        }
    }

    /// The stored form.
    pub fn to_entry(&self) -> Entry {
        match self {
            Self::Generation { group, generation } => {
                let mut value = Writer(vec![GENERATION_VERSION]);
                value.generation(generation);
                value.i64(generation.emptied_at_ms);
                (group_key(GENERATION, group), Some(value.0.into()))
            }
            Self::OffsetCommitted { group, topic, partition, offset } => {
                let mut value = Writer(vec![VERSION]);
                value.offset(offset);
                (offset_key(group, topic, *partition), Some(value.0.into()))
            }
            Self::OffsetForgotten { group, topic, partition } => {
                (offset_key(group, topic, *partition), None)
            }
            Self::GroupForgotten { group } | Self::ClassicForgotten { group } => {
                (group_key(GENERATION, group), None)
            }
            Self::ConsumerEpochs { group, epochs } => {
                let mut value = Writer(vec![VERSION]);
                value.i32(epochs.group);
                value.i32(epochs.assignment);
                value.i64(epochs.topics_hash.cast_signed());
                value.i64(epochs.emptied_at_ms);
                (group_key(EPOCHS, group), Some(value.0.into()))
            }
            Self::ConsumerForgotten { group } => (group_key(EPOCHS, group), None),
            Self::ConsumerMember { group, member } => {
                let mut value = Writer(vec![VERSION]);
                value.consumer_member(member);
                (member_key(group, &member.id), Some(value.0.into()))
            }
            Self::ConsumerMemberForgotten { group, id } => (member_key(group, id), None),
            Self::OffsetPending { group, topic, partition, producer_id, staged, offset } => {
                let mut value = Writer(vec![VERSION]);
                value.i64(*staged as i64);
                value.offset(offset);
                (pending_key(group, topic, *partition, *producer_id), Some(value.0.into()))
            }
            Self::PendingForgotten { group, topic, partition, producer_id } => {
                (pending_key(group, topic, *partition, *producer_id), None)
            }
        }
    }

    /// Reads an entry that has a value.
    pub fn from_entry(key: &[u8], value: &[u8]) -> Result<Self, RecordError> {
        let (mut key, mut value) = (Reader(key), Reader(value));
        let kind = key.u8()?;
        let group = key.text()?;
        let version = value.u8()?;
        let newest = if kind == GENERATION { GENERATION_VERSION } else { VERSION };
        if !(VERSION..=newest).contains(&version) {
            return Err(RecordError::Version(version));
        }
        let record = match kind {
            GENERATION => {
                let mut generation = value.generation()?;
                if version > VERSION {
                    generation.emptied_at_ms = value.i64()?;
                }
                Self::Generation { group, generation }
            }
            OFFSET => Self::OffsetCommitted {
                group,
                topic: key.text()?,
                partition: key.i32()?,
                offset: value.offset()?,
            },
            PENDING => Self::OffsetPending {
                group,
                topic: key.text()?,
                partition: key.i32()?,
                producer_id: key.i64()?,
                staged: value.i64()? as u64,
                offset: value.offset()?,
            },
            EPOCHS => Self::ConsumerEpochs {
                group,
                epochs: StoredEpochs {
                    group: value.i32()?,
                    assignment: value.i32()?,
                    topics_hash: value.i64()?.cast_unsigned(),
                    emptied_at_ms: value.i64()?,
                },
            },
            MEMBER => {
                let member = Arc::new(value.consumer_member(key.text()?)?);
                Self::ConsumerMember { group, member }
            }
            kind => return Err(RecordError::Kind(kind)),
        };
        match key.0.is_empty() && value.0.is_empty() {
            true => Ok(record),
            false => Err(RecordError::Trailing),
        }
    }
}

fn group_key(kind: u8, group: &str) -> Bytes {
    let mut key = Writer(vec![kind]);
    key.text(group);
    key.0.into()
}

fn member_key(group: &str, id: &str) -> Bytes {
    let mut key = Writer(vec![MEMBER]);
    key.text(group);
    key.text(id);
    key.0.into()
}

fn offset_key(group: &str, topic: &str, partition: i32) -> Bytes {
    let mut key = Writer(vec![OFFSET]);
    key.text(group);
    key.text(topic);
    key.i32(partition);
    key.0.into()
}

fn pending_key(group: &str, topic: &str, partition: i32, producer_id: i64) -> Bytes {
    let mut key = Writer(vec![PENDING]);
    key.text(group);
    key.text(topic);
    key.i32(partition);
    key.i64(producer_id);
    key.0.into()
}

struct Writer(Vec<u8>);

impl Writer {
    fn offset(&mut self, offset: &CommittedOffset) {
        self.i64(offset.offset);
        self.i32(offset.leader_epoch);
        self.text(&offset.metadata);
        self.i64(offset.committed_at_ms);
    }

    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// Lengths come from requests, which are far below 4 GiB.
    fn len(&mut self, value: usize) {
        let value = u32::try_from(value).expect("a request is smaller than 4 GiB");
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn bytes(&mut self, value: &[u8]) {
        self.len(value.len());
        self.0.extend_from_slice(value);
    }

    fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    fn optional(&mut self, value: Option<&str>) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            self.text(value);
        }
    }

    fn generation(&mut self, generation: &StoredGeneration) {
        self.i32(generation.generation);
        self.text(&generation.protocol_type);
        self.optional(generation.protocol.as_deref());
        self.optional(generation.leader.as_deref());
        self.len(generation.members.len());
        for member in &generation.members {
            self.text(&member.id);
            self.optional(member.instance.as_deref());
            self.text(&member.client_id);
            self.text(&member.client_host);
            self.i32(member.session_timeout_ms);
            self.i32(member.rebalance_timeout_ms);
            self.bytes(&member.subscription);
            self.bytes(&member.assignment);
        }
    }

    fn consumer_member(&mut self, member: &ConsumerMember) {
        self.optional(member.instance.as_deref());
        self.optional(member.rack.as_deref());
        self.text(&member.client_id);
        self.text(&member.client_host);
        self.i32(member.rebalance_timeout_ms);
        self.len(member.topics.len());
        member.topics.iter().for_each(|topic| self.text(topic));
        self.optional(member.regex.as_deref());
        self.optional(member.assignor.as_deref());
        self.u8(member.state as u8);
        self.i32(member.epoch);
        self.i32(member.previous_epoch);
        self.parts(&member.assigned);
        self.parts(&member.revoking);
        self.parts(&member.target);
        self.u8(u8::from(member.classic.is_some()));
        if let Some(classic) = &member.classic {
            self.i32(classic.session_timeout_ms);
            self.len(classic.protocols.len());
            for (name, metadata) in &classic.protocols {
                self.text(name);
                self.bytes(metadata);
            }
        }
    }

    fn parts(&mut self, parts: &Parts) {
        self.len(parts.len());
        for (topic, indexes) in parts {
            self.0.extend_from_slice(topic.as_bytes());
            self.len(indexes.len());
            indexes.iter().for_each(|index| self.i32(*index));
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(RecordError::Cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(RecordError::Cut)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, RecordError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn i32(&mut self) -> Result<i32, RecordError> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, RecordError> {
        self.array().map(i64::from_be_bytes)
    }

    fn len(&mut self) -> Result<usize, RecordError> {
        self.array().map(|bytes| u32::from_be_bytes(bytes) as usize)
    }

    fn bytes(&mut self) -> Result<Vec<u8>, RecordError> {
        let len = self.len()?;
        self.take(len).map(<[u8]>::to_vec)
    }

    fn text(&mut self) -> Result<String, RecordError> {
        String::from_utf8(self.bytes()?).map_err(|_| RecordError::Text)
    }

    fn optional(&mut self) -> Result<Option<String>, RecordError> {
        match self.u8()? {
            0 => Ok(None),
            _ => self.text().map(Some),
        }
    }

    fn many<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Vec<T>, RecordError> {
        let count = self.len()?;
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(read(self)?);
        }
        Ok(all)
    }

    fn offset(&mut self) -> Result<CommittedOffset, RecordError> {
        Ok(CommittedOffset {
            offset: self.i64()?,
            leader_epoch: self.i32()?,
            metadata: self.text()?,
            committed_at_ms: self.i64()?,
        })
    }

    fn generation(&mut self) -> Result<StoredGeneration, RecordError> {
        Ok(StoredGeneration {
            generation: self.i32()?,
            protocol_type: self.text()?,
            protocol: self.optional()?,
            leader: self.optional()?,
            members: self.many(Self::member)?,
            emptied_at_ms: 0,
        })
    }

    fn member(&mut self) -> Result<StoredMember, RecordError> {
        Ok(StoredMember {
            id: self.text()?,
            instance: self.optional()?,
            client_id: self.text()?,
            client_host: self.text()?,
            session_timeout_ms: self.i32()?,
            rebalance_timeout_ms: self.i32()?,
            subscription: self.bytes()?,
            assignment: self.bytes()?,
        })
    }

    fn consumer_member(&mut self, id: String) -> Result<ConsumerMember, RecordError> {
        Ok(ConsumerMember {
            id,
            instance: self.optional()?,
            rack: self.optional()?,
            client_id: self.text()?,
            client_host: self.text()?,
            rebalance_timeout_ms: self.i32()?,
            topics: self.many(Self::text)?,
            regex: self.optional()?,
            assignor: self.optional()?,
            state: match self.u8()? {
                0 => MemberState::Stable,
                1 => MemberState::Unrevoked,
                2 => MemberState::Unreleased,
                other => return Err(RecordError::State(other)),
            },
            epoch: self.i32()?,
            previous_epoch: self.i32()?,
            assigned: self.parts()?,
            revoking: self.parts()?,
            target: self.parts()?,
            classic: match self.u8()? {
                0 => None,
                _ => Some(ClassicPart {
                    session_timeout_ms: self.i32()?,
                    protocols: self.many(|value| Ok((value.text()?, value.bytes()?)))?,
                }),
            },
        })
    }

    fn parts(&mut self) -> Result<Parts, RecordError> {
        let parts = self.many(|value| {
            let topic = Uuid::from_bytes(value.array()?);
            Ok((topic, value.many(Self::i32)?.into_iter().collect()))
        })?;
        Ok(parts.into_iter().collect())
    }
}
