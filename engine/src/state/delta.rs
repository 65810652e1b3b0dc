//! The changes one epoch made to the state, as the journal holds them.
//!
//! ```text
//! version u8 = 1 | prev varint | epoch varint
//! ranges varint | (from bytes, to bytes)*            deleted ranges, before the changes
//! changes varint | (shared varint, suffix bytes, value)*   by key, ascending
//! bytes = length varint, then so many bytes
//! value = 0 for a deletion, else length + 1 as varint, then so many bytes
//! ```
//!
//! A key is the first `shared` bytes of the key before it and the suffix: neighbours of one operator
//! share most of theirs. `prev` is the epoch before, so that a missing delta is noticed. The journal's
//! record carries the checksum.

use bytes::Bytes;

use super::StateError;
use crate::io::Epoch;

const VERSION: u8 = 1;

/// One epoch's changes, checked once and walked any number of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    pub prev: Epoch,
    pub epoch: Epoch,
    /// Deleted ranges, end exclusive; they come before the changes.
    pub ranges: Vec<(Vec<u8>, Vec<u8>)>,
    count: usize,
    changes: Bytes,
}

/// A key and its new value; `None` deletes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Change<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// Gathers a delta; keys must come in ascending order.
#[derive(Debug, Default)]
pub struct DeltaBuilder {
    ranges: Vec<(Vec<u8>, Vec<u8>)>,
    count: usize,
    changes: Vec<u8>,
    last_key: Vec<u8>,
}

impl DeltaBuilder {
    pub fn delete_range(&mut self, from: Vec<u8>, to: Vec<u8>) {
        self.ranges.push((from, to));
    }

    /// Adds a change. The key is `prefix` then `key`.
    pub fn change(&mut self, prefix: &[u8], key: &[u8], value: Option<&[u8]>) {
        let whole = prefix.iter().chain(key);
        let shared = self.last_key.iter().zip(whole).take_while(|(a, b)| a == b).count();
        self.last_key.truncate(shared);
        let suffix = prefix.len() + key.len() - shared;
        put_varint(&mut self.changes, shared as u64);
        put_varint(&mut self.changes, suffix as u64);
        let start = self.changes.len();
        if shared < prefix.len() {
            self.changes.extend_from_slice(&prefix[shared..]);
            self.changes.extend_from_slice(key);
        } else {
            self.changes.extend_from_slice(&key[shared - prefix.len()..]);
        }
        self.last_key.extend_from_slice(&self.changes[start..]);
        match value {
            None => self.changes.push(0),
            Some(value) => {
                put_varint(&mut self.changes, value.len() as u64 + 1);
                self.changes.extend_from_slice(value);
            }
        }
        self.count += 1;
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.ranges.is_empty()
    }

    pub fn finish(self, prev: Epoch, epoch: Epoch) -> Bytes {
        let mut out = Vec::with_capacity(self.changes.len() + 64);
        out.push(VERSION);
        put_varint(&mut out, prev);
        put_varint(&mut out, epoch);
        put_varint(&mut out, self.ranges.len() as u64);
        for (from, to) in &self.ranges {
            put_bytes(&mut out, from);
            put_bytes(&mut out, to);
        }
        put_varint(&mut out, self.count as u64);
        out.extend_from_slice(&self.changes);
        out.into()
    }
}

impl Delta {
    /// Reads a payload of the journal.
    ///
    /// # Errors
    /// When it is no delta of a version this program knows. Nothing is allocated on its word.
    pub fn decode(payload: &Bytes) -> Result<Delta, StateError> {
        let damaged = || StateError::Damaged("an epoch's changes in the journal".into());
        let mut at = payload.as_ref();
        let version = take(&mut at, 1).ok_or_else(damaged)?[0];
        if version != VERSION {
            return Err(StateError::Damaged(format!("changes of unknown version {version}")));
        }
        let prev = take_varint(&mut at).ok_or_else(damaged)?;
        let epoch = take_varint(&mut at).ok_or_else(damaged)?;
        let mut ranges = Vec::new();
        for _ in 0..take_varint(&mut at).ok_or_else(damaged)? {
            let from = take_bytes(&mut at).ok_or_else(damaged)?.to_vec();
            let to = take_bytes(&mut at).ok_or_else(damaged)?.to_vec();
            ranges.push((from, to));
        }
        let count = take_varint(&mut at).ok_or_else(damaged)? as usize;
        let changes = payload.slice_ref(at);
        let delta = Delta { prev, epoch, ranges, count, changes };
        delta.each(&mut |_| {})?;
        Ok(delta)
    }

    /// Shows every change in key order.
    ///
    /// # Errors
    /// When the bytes are damaged; not after `decode` let them pass.
    pub fn each(&self, visit: &mut dyn FnMut(Change<'_>)) -> Result<(), StateError> {
        let damaged = || StateError::Damaged("a change in the journal".into());
        let mut at = self.changes.as_ref();
        let mut key: Vec<u8> = Vec::new();
        for _ in 0..self.count {
            let shared = take_varint(&mut at).ok_or_else(damaged)? as usize;
            if shared > key.len() {
                return Err(damaged());
            }
            key.truncate(shared);
            key.extend_from_slice(take_bytes(&mut at).ok_or_else(damaged)?);
            let value = match take_varint(&mut at).ok_or_else(damaged)? {
                0 => None,
                n => Some(take(&mut at, (n - 1) as usize).ok_or_else(damaged)?),
            };
            visit(Change { key: &key, value });
        }
        if at.is_empty() { Ok(()) } else { Err(damaged()) }
    }

    /// How many keys change.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.ranges.is_empty()
    }

    /// About how many bytes a backend takes in.
    pub fn bytes(&self) -> usize {
        self.changes.len()
    }
}

/// Appends an unsigned LEB128 number.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn take_varint(at: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(at, 1)?[0];
        n |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

pub(crate) fn take_bytes<'a>(at: &mut &'a [u8]) -> Option<&'a [u8]> {
    let n = take_varint(at)?;
    take(at, usize::try_from(n).ok()?)
}

pub(crate) fn take<'a>(at: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, tail) = at.split_at_checked(n)?;
    *at = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_reads_back_and_damage_is_noticed() {
        let mut builder = DeltaBuilder::default();
        builder.delete_range(b"a".to_vec(), b"b".to_vec());
        builder.change(b"01", b"apple", Some(b"x"));
        builder.change(b"01", b"apply", None);
        builder.change(b"02", b"", Some(b""));
        let bytes = builder.finish(6, 7);
        let delta = Delta::decode(&bytes).unwrap();
        let mut seen = Vec::new();
        delta
            .each(&mut |c| seen.push((c.key.to_vec(), c.value.map(<[u8]>::to_vec))))
            .unwrap();
        assert_eq!((delta.prev, delta.epoch, delta.ranges.len()), (6, 7, 1));
        assert_eq!(
            seen,
            [
                (b"01apple".to_vec(), Some(b"x".to_vec())),
                (b"01apply".to_vec(), None),
                (b"02".to_vec(), Some(vec![])),
            ]
        );
        for cut in 0..bytes.len() {
            assert!(Delta::decode(&bytes.slice(..cut)).is_err(), "cut at {cut}");
        }
    }
}
