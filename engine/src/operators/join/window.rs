//! The records of two streams that may still be matched: in state, and as many as fit in memory.
//!
//! ```text
//! 1|2 ‖ bucket ‖ key ‖ time ‖ number → waiting u8 ‖ value columns as arrow-row bytes
//! ```
//! `1` left, `2` right. `bucket` is the time divided by the bucket's length, so that old records go by
//! range. `bucket`, `time` i64 BE with the sign flipped, `number` u64 BE in the order of arrival; `key`
//! as `JoinKeys` says. `waiting`: the record has not been matched and is to be padded.
//!
//! A side that fits is also held in memory, so that a lookup costs no scan. One that has outgrown its
//! share is scanned, but for keys that it never had.
//!
//! Invariants: what is in memory follows from state; a side in memory is there completely.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::rows::Side;
use crate::error::Result;
use crate::operators::table::{damaged, from_ordered, ordered};
use crate::rows::Millis;
use crate::state::StateStore;

/// A bucket is not shorter.
const BUCKET_MIN_MS: Millis = 60_000;
/// What a record costs in memory beyond its bytes.
const OVERHEAD: usize = 64;
/// How many keys of a side that is not in memory may be known.
const KNOWN_MAX: usize = 4 << 20;

pub(super) struct Window {
    bucket: Millis,
    /// Bytes that each side may hold in memory.
    limit: usize,
    sides: [Recent; 2],
}

/// A record as it is kept.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) time: Millis,
    pub(super) number: u64,
    pub(super) waiting: bool,
    pub(super) bytes: Arc<[u8]>,
}

enum Recent {
    /// All records by key, each key's by time and number.
    Whole { records: HashMap<Box<[u8]>, Vec<Record>, FixedState>, bytes: usize },
    /// Too many. Hashes of the keys that may have records; `None`: any may.
    Outgrown { known: Option<HashSet<u64, FixedState>> },
}

impl Default for Recent {
    fn default() -> Self {
        Recent::Whole { records: HashMap::default(), bytes: 0 }
    }
}

impl Window {
    /// Over what `state` has. `retention` is how long records are kept, `cache` the bytes of memory.
    pub(super) fn open(retention: Millis, cache: usize, state: &StateStore) -> Result<Self> {
        let bucket = (retention / 2).max(BUCKET_MIN_MS);
        let mut window = Window { bucket, limit: cache / 2, sides: Default::default() };
        for side in Side::BOTH {
            let (mut failed, mut fits) = (false, true);
            let tag = side as u8 + 1;
            state.scan(&[tag], &[tag + 1], &mut |key, value| {
                match split(key, value) {
                    Some((key, record)) => {
                        fits = window.sides[side as usize].add(key, record, window.limit);
                    }
                    None => failed = true,
                }
                fits && !failed
            })?;
            if failed {
                return Err(damaged().into());
            }
            if !fits {
                // Not all keys were seen.
                window.sides[side as usize] = Recent::Outgrown { known: None };
            }
        }
        Ok(window)
    }

    pub(super) fn bucket_of(&self, time: Millis) -> i64 {
        time.div_euclid(self.bucket)
    }

    fn state_key(&self, side: Side, key: &[u8], time: Millis, number: u64) -> Vec<u8> {
        let bucket = ordered(self.bucket_of(time));
        [&[side as u8 + 1], &bucket[..], key, &ordered(time), &number.to_be_bytes()].concat()
    }

    /// Keeps a record, or keeps it anew when it does not wait any more.
    pub(super) fn put(
        &mut self,
        state: &mut StateStore,
        side: Side,
        key: &[u8],
        record: (Millis, u64, bool, &[u8]),
    ) {
        let (time, number, waiting, bytes) = record;
        let value = [&[u8::from(waiting)], bytes].concat();
        state.put(&self.state_key(side, key, time, number), &value);
        let record = Record { time, number, waiting, bytes: bytes.into() };
        self.sides[side as usize].add(key, record, self.limit);
    }

    /// The records of `key` with `from <= time <= to`, by time and number.
    pub(super) fn records(
        &self,
        state: &StateStore,
        side: Side,
        key: &[u8],
        (from, to): (Millis, Millis),
        found: &mut Vec<Record>,
    ) -> Result<()> {
        match &self.sides[side as usize] {
            Recent::Whole { records, .. } => {
                let of_key = records.get(key).map_or(&[][..], Vec::as_slice);
                let first = of_key.partition_point(|r| r.time < from);
                found.extend(of_key[first..].iter().take_while(|r| r.time <= to).cloned());
                return Ok(());
            }
            Recent::Outgrown { known: Some(known) } if !known.contains(&hash(key)) => return Ok(()),
            Recent::Outgrown { .. } => {}
        }
        let mut failed = false;
        for bucket in self.bucket_of(from)..=self.bucket_of(to) {
            let start = [&[side as u8 + 1], &ordered(bucket)[..], key].concat();
            let first = [&start[..], &ordered(from)].concat();
            let last = [&start[..], &ordered(to), &[u8::MAX; 9]].concat();
            state.scan(&first, &last, &mut |key, value| {
                match split(key, value) {
                    Some((_, record)) => found.push(record),
                    None => failed = true,
                }
                !failed
            })?;
        }
        if failed { Err(damaged().into()) } else { Ok(()) }
    }

    /// The records with these sides, keys, times and numbers; all must be there.
    pub(super) fn get(
        &self,
        state: &mut StateStore,
        asked: &[(Side, Millis, &[u8], u64)],
    ) -> Result<Vec<Arc<[u8]>>> {
        let keys: Vec<Vec<u8>> = asked
            .iter()
            .map(|(side, time, key, number)| self.state_key(*side, key, *time, *number))
            .collect();
        let found = state.multi_get(&keys.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        let bytes = |value: Option<Arc<[u8]>>| Some(Arc::from(value?.get(1..)?));
        Ok(found.into_iter().map(bytes).collect::<Option<_>>().ok_or_else(damaged)?)
    }

    /// Lets the buckets `from..to` of a side go.
    pub(super) fn let_go(&mut self, state: &mut StateStore, side: Side, from: i64, to: i64) {
        let bucket = |at: i64| [&[side as u8 + 1], &ordered(at)[..]].concat();
        state.delete_range(&bucket(from), &bucket(to));
        if let Recent::Whole { records, bytes } = &mut self.sides[side as usize] {
            let first = to.saturating_mul(self.bucket);
            records.retain(|_, of_key| {
                of_key.retain(|r| r.time >= first);
                !of_key.is_empty()
            });
            *bytes = records.iter().map(|(key, of_key)| cost(key, of_key)).sum();
        }
    }
}

impl Recent {
    /// Adds a record, or puts it in the place of the one with its number. False when it does not fit.
    fn add(&mut self, key: &[u8], record: Record, limit: usize) -> bool {
        match self {
            Recent::Whole { records, bytes } => {
                *bytes += cost(&[], std::slice::from_ref(&record));
                let of_key = match records.get_mut(key) {
                    Some(of_key) => of_key,
                    None => {
                        *bytes += cost(key, &[]);
                        records.entry(key.into()).or_default()
                    }
                };
                let place = (record.time, record.number);
                match of_key.binary_search_by_key(&place, |r| (r.time, r.number)) {
                    Ok(at) => of_key[at] = record,
                    Err(at) => of_key.insert(at, record),
                }
                if *bytes <= limit {
                    return true;
                }
                let known = records.keys().map(|key| hash(key)).collect();
                *self = Recent::Outgrown { known: Some(known) };
            }
            Recent::Outgrown { known } => {
                if let Some(keys) = known {
                    keys.insert(hash(key));
                    if keys.len() > KNOWN_MAX {
                        *known = None;
                    }
                }
            }
        }
        false
    }
}

fn cost(key: &[u8], records: &[Record]) -> usize {
    OVERHEAD + key.len() + records.iter().map(|r| OVERHEAD + r.bytes.len()).sum::<usize>()
}

fn hash(key: &[u8]) -> u64 {
    FixedState::with_seed(11).hash_one(key)
}

/// Key and record of an entry.
fn split<'a>(key: &'a [u8], value: &[u8]) -> Option<(&'a [u8], Record)> {
    let (rest, number) = key.split_last_chunk::<8>()?;
    let (rest, time) = rest.split_last_chunk::<8>()?;
    let (waiting, bytes) = value.split_first()?;
    let record = Record {
        time: from_ordered(time),
        number: u64::from_be_bytes(*number),
        waiting: *waiting == 1,
        bytes: bytes.into(),
    };
    Some((rest.get(9..)?, record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::NodeState;

    /// The same records are found from memory, by scans, and after a restart.
    #[test]
    fn memory_and_state_say_the_same() {
        let mut node = NodeState::in_memory().unwrap();
        let (_, mut state) = node.store("q", "join", 0).unwrap();
        let mut whole = Window::open(1_000_000, 1 << 20, &state).unwrap();
        for i in 0..200u64 {
            let (key, time) = ([b'a' + (i % 7) as u8], (i as i64 * 37) % 1000 * 5_000);
            whole.put(&mut state, Side::Right, &key, (time, i, i % 3 == 0, &i.to_be_bytes()));
        }
        whole.put(&mut state, Side::Right, b"a", (0, 0, false, b"again"));
        let small = Window::open(1_000_000, 0, &state).unwrap();
        let again = Window::open(1_000_000, 1 << 20, &state).unwrap();
        assert!(matches!(small.sides[1], Recent::Outgrown { known: None }));
        for key in [b"a", b"c", b"z"] {
            for range in [(0, 5_000_000), (100_000, 1_300_000), (7, 7), (0, 0)] {
                let found = [&whole, &small, &again].map(|window| {
                    let mut found = Vec::new();
                    window.records(&state, Side::Right, key, range, &mut found).unwrap();
                    found
                        .into_iter()
                        .map(|r| (r.time, r.number, r.waiting, r.bytes))
                        .collect::<Vec<_>>()
                });
                assert_eq!(found[0], found[1]);
                assert_eq!(found[0], found[2]);
                assert!(found[0].is_sorted());
            }
        }
    }

    #[test]
    fn an_outgrown_side_knows_which_keys_it_never_had() {
        let mut node = NodeState::in_memory().unwrap();
        let (_, mut state) = node.store("q", "join", 0).unwrap();
        let mut window = Window::open(1_000_000, 1_000, &state).unwrap();
        for i in 0..20 {
            window.put(&mut state, Side::Left, &[i], (1, u64::from(i), false, b"x"));
        }
        assert!(matches!(&window.sides[0], Recent::Outgrown { known: Some(k) } if k.len() == 20));
        window.let_go(&mut state, Side::Left, i64::MIN, 10);
        let mut found = Vec::new();
        window.records(&state, Side::Left, &[3], (0, 5), &mut found).unwrap();
        assert!(found.is_empty());
    }
}
