//! The newest offset of each key, in bounded memory.
//!
//! Keys are kept as 128-bit hashes (Kafka uses MD5): two SipHashes with random keys, so that nobody can
//! make two keys of his choice fall together. By chance it happens once in 2¹²⁸/n² rounds.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashMap;

type Hashed = [u64; 2];

pub(super) struct KeyMap {
    newest: HashMap<Hashed, i64>,
    hashers: [RandomState; 2],
    keys_max: usize,
    /// Everything up to this offset was noted; −1: nothing.
    pub latest: i64,
}

impl KeyMap {
    pub(super) fn new(keys_max: usize) -> KeyMap {
        KeyMap {
            newest: HashMap::new(),
            hashers: [RandomState::new(), RandomState::new()],
            keys_max: keys_max.max(1),
            latest: -1,
        }
    }

    fn hash(&self, key: &[u8]) -> Hashed {
        [self.hashers[0].hash_one(key), self.hashers[1].hash_one(key)]
    }

    /// Notes a key's record. Offsets must grow.
    pub(super) fn note(&mut self, key: &[u8], offset: i64) {
        let hash = self.hash(key);
        self.newest.insert(hash, offset);
    }

    /// Should no further batch be noted? One batch may pass the limit, so that there is progress.
    pub(super) fn is_full(&self) -> bool {
        self.newest.len() >= self.keys_max
    }

    /// Is there no newer record of the key among those noted?
    pub(super) fn is_newest(&self, key: &[u8], offset: i64) -> bool {
        self.newest.get(&self.hash(key)).is_none_or(|newest| offset >= *newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_offset_wins_and_memory_is_bounded() {
        let mut map = KeyMap::new(2);
        for (key, offset, full) in [("a", 1, false), ("b", 2, true), ("a", 3, true), ("b", 5, true)]
        {
            map.note(key.as_bytes(), offset);
            assert_eq!(map.is_full(), full, "{key} {offset}");
        }
        for (key, offset, newest) in
            [("a", 1, false), ("a", 3, true), ("b", 4, false), ("z", 0, true)]
        {
            assert_eq!(map.is_newest(key.as_bytes(), offset), newest, "{key} {offset}");
        }
    }
}
