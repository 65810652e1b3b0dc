//! Which partition a record goes to: Kafka's default partitioner.
//!
//! Records with a key: murmur2 of the serialised key, so that any Kafka client that writes the same
//! key finds the same partition. Records without: whole batches go to the partitions in turn.

/// Kafka's `Utils.murmur2`: 32-bit MurmurHash2 with the seed `0x9747b28c`.
pub fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = 0x9747_b28c ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(M);
        word ^= word >> R;
        hash = hash.wrapping_mul(M) ^ word.wrapping_mul(M);
    }
    for (i, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * i);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition of a serialised key. `partitions` is at least 1.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    // Kafka drops the sign bit rather than taking the absolute value.
    (murmur2(key) & 0x7fff_ffff) as i32 % partitions.max(1)
}

/// Gives records without a key a partition: the same until `next_batch`, as Kafka's sticky
/// partitioner, so that their batches stay whole.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sticky {
    turn: u32,
}

impl Sticky {
    pub fn partition(self, partitions: i32) -> i32 {
        (self.turn % partitions.max(1) as u32) as i32
    }

    pub fn next_batch(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_java() {
        // Known values of org.apache.kafka.common.utils.Utils.murmur2.
        let check = |key: &str, hash: i32| assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        check("21", -973_932_308);
        check("foobar", -790_332_482);
        check("a-little-bit-long-string", -985_981_536);
        check("a-little-bit-longer-string", -1_486_304_829);
        check("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971);
        check("abc", 479_470_107);
    }

    #[test]
    fn partitions_are_in_range_and_sticky() {
        assert_eq!(partition_of(b"foobar", 1), 0);
        assert!((0..7).contains(&partition_of(b"foobar", 7)));
        let mut sticky = Sticky::default();
        let first = sticky.partition(3);
        assert_eq!(first, sticky.partition(3));
        sticky.next_batch();
        assert_ne!(first, sticky.partition(3));
    }
}
