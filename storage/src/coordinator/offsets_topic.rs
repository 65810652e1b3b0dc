//! `__consumer_offsets` as Kafka writes it: tools that follow groups (Burrow and its kin) read it.
//!
//! The topic is not what groups are rebuilt from; it is the same facts, in Kafka's own format, appended
//! by the journal record that holds them. So it can neither run ahead of the groups nor fall behind.
//!
//! ```text
//! OffsetCommitted        key 1: group, topic, partition          value 3
//! Generation             key 2: group                            value 3
//! ConsumerEpochs         key 3 and 6: group                      value 0
//! ConsumerMember         key 5, 7 and 8: group, member           value 0
//! ..Forgotten            the key, without a value
//! ```
//!
//! Keys are `type i16` and strings with two bytes of length; values of keys 1 and 2 are written alike,
//! those of KIP-848 groups in the flexible form (compact strings, tags). Offsets of open transactions are
//! not there; they come with the transaction's end.

use std::sync::Arc;

use super::consumer::{ConsumerMember, MemberState, Parts};
use super::records::{CommittedOffset, GroupRecord, StoredGeneration};

/// `offsets.topic.num.partitions`
pub const OFFSETS_PARTITIONS: i32 = 50;

/// A record of the topic: its key, and its value unless it is forgotten.
pub type Written = (Vec<u8>, Option<Vec<u8>>);

/// The partition of a group among `count`: Java's hash of its name (`Utils.abs(groupId.hashCode())`).
pub fn partition_for(group: &str, count: i32) -> i32 {
    let hash = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    (group.encode_utf16().fold(0, hash) & i32::MAX) % count.max(1)
}

/// What a fact looks like in the topic.
pub fn write(record: &GroupRecord, out: &mut Vec<Written>) {
    match record {
        GroupRecord::OffsetCommitted { group, topic, partition, offset } => {
            out.push((offset_key(group, topic, *partition), Some(offset_value(offset))));
        }
        GroupRecord::OffsetForgotten { group, topic, partition } => {
            out.push((offset_key(group, topic, *partition), None));
        }
        GroupRecord::Generation { group, generation } => {
            out.push((key(2, &[group]), Some(generation_value(generation))));
        }
        GroupRecord::GroupForgotten { group } | GroupRecord::ClassicForgotten { group } => {
            out.push((key(2, &[group]), None));
        }
        GroupRecord::ConsumerEpochs { group, epochs } => {
            let epoch = |epoch: i32| {
                let mut value = Value::new(0);
                value.i32(epoch);
                value.no_tags();
                Some(value.0)
            };
            out.push((key(3, &[group]), epoch(epochs.group)));
            out.push((key(6, &[group]), epoch(epochs.assignment)));
        }
        GroupRecord::ConsumerForgotten { group } => {
            out.push((key(6, &[group]), None));
            out.push((key(3, &[group]), None));
        }
        GroupRecord::ConsumerMember { group, member } => write_member(group, member, out),
        GroupRecord::ConsumerMemberForgotten { group, id } => {
            out.extend([8, 7, 5].map(|kind| (key(kind, &[group, id]), None)));
        }
        GroupRecord::OffsetPending { .. } | GroupRecord::PendingForgotten { .. } => {}
    }
}

fn key(kind: i16, names: &[&str]) -> Vec<u8> {
    let mut key = Value::new(kind);
    names.iter().for_each(|name| key.text(name));
    key.0
}

fn offset_key(group: &str, topic: &str, partition: i32) -> Vec<u8> {
    let mut key = Value(key(1, &[group, topic]));
    key.i32(partition);
    key.0
}

fn offset_value(offset: &CommittedOffset) -> Vec<u8> {
    let mut value = Value::new(3);
    value.i64(offset.offset);
    value.i32(offset.leader_epoch);
    value.text(&offset.metadata);
    value.i64(offset.committed_at_ms);
    value.0
}

fn generation_value(generation: &StoredGeneration) -> Vec<u8> {
    let mut value = Value::new(3);
    value.text(&generation.protocol_type);
    value.i32(generation.generation);
    value.text_or_null(generation.protocol.as_deref());
    value.text_or_null(generation.leader.as_deref());
    value.i64(generation.emptied_at_ms);
    value.i32(generation.members.len() as i32);
    for member in &generation.members {
        value.text(&member.id);
        value.text_or_null(member.instance.as_deref());
        value.text(&member.client_id);
        value.text(&member.client_host);
        value.i32(member.rebalance_timeout_ms);
        value.i32(member.session_timeout_ms);
        value.bytes(&member.subscription);
        value.bytes(&member.assignment);
    }
    value.0
}

fn write_member(group: &str, member: &Arc<ConsumerMember>, out: &mut Vec<Written>) {
    let mut metadata = Value::new(0);
    metadata.compact_or_null(member.instance.as_deref());
    metadata.compact_or_null(member.rack.as_deref());
    metadata.compact(member.client_id.as_bytes());
    metadata.compact(member.client_host.as_bytes());
    metadata.compact_len(member.topics.len());
    member.topics.iter().for_each(|topic| metadata.compact(topic.as_bytes()));
    metadata.compact_or_null(member.regex.as_deref());
    metadata.i32(member.rebalance_timeout_ms);
    metadata.compact_or_null(member.assignor.as_deref());
    match &member.classic {
        None => metadata.no_tags(),
        Some(classic) => {
            let mut tag = Value(vec![1]);
            tag.i32(classic.session_timeout_ms);
            tag.compact_len(classic.protocols.len());
            for (name, bytes) in &classic.protocols {
                tag.compact(name.as_bytes());
                tag.compact(bytes);
                tag.no_tags();
            }
            tag.no_tags();
            // One tag, of number 0.
            metadata.0.extend([1, 0]);
            metadata.varint(tag.0.len());
            metadata.0.extend(tag.0);
        }
    }
    let mut target = Value::new(0);
    target.parts(&member.target);
    target.no_tags();
    let mut current = Value::new(0);
    current.i32(member.epoch);
    current.i32(member.previous_epoch);
    // Kafka's `MemberState`.
    current.0.push(match member.state {
        MemberState::Stable => 0,
        MemberState::Unrevoked => 1,
        MemberState::Unreleased => 2,
    });
    current.parts(&member.assigned);
    current.parts(&member.revoking);
    current.no_tags();
    for (kind, value) in [(5, metadata), (7, target), (8, current)] {
        out.push((key(kind, &[group, &member.id]), Some(value.0)));
    }
}

struct Value(Vec<u8>);

impl Value {
    fn new(version: i16) -> Self {
        Self(version.to_be_bytes().to_vec())
    }

    fn i32(&mut self, value: i32) {
        self.0.extend(value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.0.extend(value.to_be_bytes());
    }

    /// Texts come from requests, whose strings have two bytes of length or are held shorter.
    fn text(&mut self, value: &str) {
        let mut end = value.len().min(i16::MAX as usize);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        self.0.extend((end as i16).to_be_bytes());
        self.0.extend(&value.as_bytes()[..end]);
    }

    fn text_or_null(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.text(value),
            None => self.0.extend((-1_i16).to_be_bytes()),
        }
    }

    fn bytes(&mut self, value: &[u8]) {
        self.i32(value.len() as i32);
        self.0.extend(value);
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn compact_len(&mut self, len: usize) {
        self.varint(len + 1);
    }

    fn compact(&mut self, value: &[u8]) {
        self.compact_len(value.len());
        self.0.extend(value);
    }

    fn compact_or_null(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.compact(value.as_bytes()),
            None => self.varint(0),
        }
    }

    fn no_tags(&mut self) {
        self.0.push(0);
    }

    fn parts(&mut self, parts: &Parts) {
        self.compact_len(parts.len());
        for (topic, indexes) in parts {
            self.0.extend(topic.as_bytes());
            self.compact_len(indexes.len());
            indexes.iter().for_each(|index| self.i32(*index));
            self.no_tags();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_fall_into_the_partitions_java_puts_them() {
        // `Math.abs("…".hashCode()) % 50` as computed by hand.
        for (group, wanted) in [("", 0), ("g", 3), ("group", 47), ("my-group", 36), ("żółć", 48)]
        {
            assert_eq!(partition_for(group, 50), wanted, "{group}");
        }
    }

    #[test]
    fn an_offset_is_written_as_kafka_does() {
        let offset = CommittedOffset {
            offset: 5,
            leader_epoch: -1,
            metadata: "m".into(),
            committed_at_ms: 7,
        };
        let group = || "g".to_owned();
        let topic = || "t".to_owned();
        let mut out = Vec::new();
        let record =
            GroupRecord::OffsetCommitted { group: group(), topic: topic(), partition: 2, offset };
        write(&record, &mut out);
        write(
            &GroupRecord::OffsetForgotten { group: group(), topic: topic(), partition: 2 },
            &mut out,
        );
        let key = [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 2].to_vec();
        let value =
            [&[0, 3][..], &5_i64.to_be_bytes(), &[255; 4], &[0, 1, b'm'], &7_i64.to_be_bytes()];
        assert_eq!(out, [(key.clone(), Some(value.concat())), (key, None)]);
    }

    #[test]
    fn a_member_is_three_records_and_its_end_three_tombstones() {
        let mut member = ConsumerMember::new("m");
        member.topics = vec!["t".into()];
        member.epoch = 3;
        member.assigned = Parts::from([(uuid::Uuid::from_u128(1), [4].into())]);
        let mut out = Vec::new();
        let group = || "g".to_owned();
        write(&GroupRecord::ConsumerMember { group: group(), member: Arc::new(member) }, &mut out);
        let key = |kind: u8| vec![0, kind, 0, 1, b'g', 0, 1, b'm'];
        let metadata =
            [&[0, 0, 0, 0, 1, 1, 2, 2, b't', 0][..], &(-1_i32).to_be_bytes(), &[0, 0]].concat();
        let current = [
            &[0, 0, 0, 0, 0, 3][..],
            &(-1_i32).to_be_bytes(),
            &[0, 2],
            &1_u128.to_be_bytes(),
            &[2, 0, 0, 0, 4, 0, 1, 0],
        ];
        let wanted = [
            (key(5), Some(metadata)),
            (key(7), Some(vec![0, 0, 1, 0])),
            (key(8), Some(current.concat())),
        ];
        assert_eq!(out, wanted);
        out.clear();
        write(&GroupRecord::ConsumerMemberForgotten { group: group(), id: "m".into() }, &mut out);
        assert_eq!(out, [(key(8), None), (key(7), None), (key(5), None)]);
    }
}
