//! What an aggregate keeps.
//!
//! ```text
//! 0                              → stream time i64 LE
//! 1 key                          → row         no window
//! 1 start key                    → row         tumbling, hopping: end is start and size
//! 1 key start end                → row         session
//! 2 from key                     → nothing     the key may have a session that ends at `from` or after,
//!                                              before the next `from` (`sessions.rs`)
//! row = time i64 LE, then what each call's accumulator saves
//! ```
//!
//! Keys are arrow-row bytes, times eight bytes in the order of the number (`table.rs`). Time windows
//! put the start first, so that old windows go in one range and a window is read in one.

use crate::error::Result;
use crate::operators::table::{damaged, from_ordered, ordered};
use crate::rows::Millis;
use crate::state::StateStore;

/// What the keys of rows begin with.
pub(super) const ROWS: u8 = 1;

/// What the keys of the sessions' index begin with.
const ENDS: u8 = 2;

const STREAM_TIME: &[u8] = &[0];

/// The largest record time seen; `Millis::MIN` before the first.
pub(super) fn stream_time(store: &mut StateStore) -> Result<Millis> {
    match store.get(STREAM_TIME)? {
        None => Ok(Millis::MIN),
        Some(value) => Ok(Millis::from_le_bytes(value[..].try_into().map_err(|_| damaged())?)),
    }
}

pub(super) fn put_stream_time(store: &mut StateStore, time: Millis) {
    store.put(STREAM_TIME, &time.to_le_bytes());
}

pub(super) fn put_plain_key(out: &mut Vec<u8>, key: &[u8]) {
    out.push(ROWS);
    out.extend_from_slice(key);
}

/// Of a window's group; with an empty key, the first of the window.
pub(super) fn put_window_key(out: &mut Vec<u8>, start: Millis, key: &[u8]) {
    out.push(ROWS);
    out.extend_from_slice(&ordered(start));
    out.extend_from_slice(key);
}

pub(super) fn put_session_key(out: &mut Vec<u8>, key: &[u8], start: Millis, end: Millis) {
    put_plain_key(out, key);
    out.extend_from_slice(&ordered(start));
    out.extend_from_slice(&ordered(end));
}

pub(super) fn plain_key(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 1);
    put_plain_key(&mut out, key);
    out
}

pub(super) fn window_key(start: Millis, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 9);
    put_window_key(&mut out, start, key);
    out
}

pub(super) fn session_key(key: &[u8], start: Millis, end: Millis) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 17);
    put_session_key(&mut out, key, start, end);
    out
}

/// Of the index; with an empty key, the first of those that end from `from` on.
pub(super) fn ends_key(from: Millis, key: &[u8]) -> Vec<u8> {
    [&[ENDS], ordered(from).as_slice(), key].concat()
}

/// Takes a time off the front.
pub(super) fn split_time(key: &[u8]) -> Result<(Millis, &[u8])> {
    let (time, rest) = key.split_first_chunk::<8>().ok_or_else(damaged)?;
    Ok((from_ordered(time), rest))
}

/// The group's key, start and end of a session's state key.
pub(super) fn split_session(key: &[u8]) -> Result<(&[u8], Millis, Millis)> {
    let (rest, end) = key.split_last_chunk::<8>().ok_or_else(damaged)?;
    let (rest, start) = rest.split_last_chunk::<8>().ok_or_else(damaged)?;
    Ok((rest.get(1..).ok_or_else(damaged)?, from_ordered(start), from_ordered(end)))
}
