//! A source's position: next offsets, and which of this engine's own epochs to leave out.
//!
//! Encoding, big-endian: version u8 = 1, topic id 16 bytes, count u16 of epoch ranges, each u64 since
//! (inclusive) and u64 until (exclusive, `u64::MAX`: open), count u32 of partitions, each i64 offset.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use millstream_storage::{Broker, Topic, TopicPartition};
use uuid::Uuid;

const VERSION: u8 = 1;

/// Ranges of epochs whose records the runtime handed over in memory; in order, not touching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnSkip(Vec<(u64, u64)>);

impl OwnSkip {
    /// Skips from `epoch` on.
    pub(super) fn since(&mut self, epoch: u64) {
        match self.0.last_mut() {
            Some((_, until)) if *until >= epoch => *until = u64::MAX,
            _ => self.0.push((epoch, u64::MAX)),
        }
    }

    /// Stops skipping at `epoch`.
    pub(super) fn until(&mut self, epoch: u64) {
        if let Some((since, until)) = self.0.last_mut() {
            *until = epoch.min(*until);
            if *since >= *until {
                self.0.pop();
            }
        }
    }

    pub(super) fn contains(&self, epoch: u64) -> bool {
        self.0.iter().any(|(since, until)| (*since..*until).contains(&epoch))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourcePosition {
    pub topic: Uuid,
    pub own: OwnSkip,
    /// The next offset of each partition.
    pub offsets: Vec<i64>,
}

impl SourcePosition {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(32 + 16 * self.own.0.len() + 8 * self.offsets.len());
        out.put_u8(VERSION);
        out.put_slice(self.topic.as_bytes());
        out.put_u16(self.own.0.len() as u16);
        for (since, until) in &self.own.0 {
            out.put_u64(*since);
            out.put_u64(*until);
        }
        out.put_u32(self.offsets.len() as u32);
        self.offsets.iter().for_each(|offset| out.put_i64(*offset));
        out.freeze()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<SourcePosition, String> {
        match bytes.first() {
            Some(&VERSION) => SourcePosition::fields(&bytes[1..])
                .ok_or_else(|| "the stored position of a source is damaged".to_owned()),
            _ => Err("the stored position of a source is from another version".to_owned()),
        }
    }

    fn fields(mut bytes: &[u8]) -> Option<SourcePosition> {
        let (topic, rest) = bytes.split_first_chunk::<16>()?;
        bytes = rest;
        let ranges = bytes.try_get_u16().ok()?;
        let mut own = Vec::new();
        for _ in 0..ranges {
            own.push((bytes.try_get_u64().ok()?, bytes.try_get_u64().ok()?));
        }
        let count = bytes.try_get_u32().ok()?;
        let mut offsets = Vec::new();
        for _ in 0..count {
            offsets.push(bytes.try_get_i64().ok()?);
        }
        let topic = Uuid::from_bytes(*topic);
        bytes.is_empty().then_some(SourcePosition { topic, own: OwnSkip(own), offsets })
    }

    /// Partitions that the topic got since are read from their first record on.
    pub(super) fn grow_to(&mut self, partitions: usize) {
        if self.offsets.len() < partitions {
            self.offsets.resize(partitions, 0);
        }
    }

    /// Whether reading can go on from here.
    pub(super) fn check(&self, topic: &Topic, broker: &Broker) -> Result<(), String> {
        let name = &topic.name;
        let again = "TERMINATE the query and create it again to read what is there now.";
        if topic.id != self.topic {
            return Err(format!("topic {name} was deleted and created again. {again}"));
        }
        if (topic.partition_count() as usize) < self.offsets.len() {
            return Err(format!("topic {name} has fewer partitions than were read. {again}"));
        }
        for (partition, offset) in self.offsets.iter().enumerate() {
            let at = TopicPartition { topic: topic.id, partition: partition as i32 };
            let start = broker.log_start(at).unwrap_or(0);
            if *offset < start {
                return Err(format!(
                    "records {offset} to {start} of partition {partition} of topic {name} were \
                     deleted before they were read. {again} Raise retention.ms to keep records longer."
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_come_back_and_damage_is_seen() {
        let mut own = OwnSkip::default();
        own.since(3);
        own.until(7);
        own.since(9);
        let place = SourcePosition { topic: Uuid::from_u128(5), own, offsets: vec![0, 12, i64::MAX] };
        let bytes = place.encode();
        assert_eq!(SourcePosition::decode(&bytes).unwrap(), place);
        for cut in 0..bytes.len() {
            assert!(SourcePosition::decode(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn own_epochs_are_skipped_in_ranges() {
        let mut own = OwnSkip::default();
        let check = |own: &OwnSkip, skipped: &[u64]| {
            let found: Vec<u64> = (0..12).filter(|e| own.contains(*e)).collect();
            assert_eq!(found, skipped);
        };
        check(&own, &[]);
        own.since(3);
        check(&own, &[3, 4, 5, 6, 7, 8, 9, 10, 11]);
        own.until(6);
        check(&own, &[3, 4, 5]);
        own.since(6);
        own.until(8);
        check(&own, &[3, 4, 5, 6, 7]);
        own.since(10);
        own.until(10);
        check(&own, &[3, 4, 5, 6, 7]);
    }
}
