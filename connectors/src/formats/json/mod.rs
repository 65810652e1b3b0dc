//! JSON: an object with one field per column, or the bare value of a single column.
//!
//! Fields are found by exact name, then ignoring case; the last of duplicates counts; missing ones
//! are NULL, unknown ones ignored. Numbers are accepted as text and the other way round, as ksqlDB
//! does (`reference/ksqldb.md` 3.5); anything else that does not fit fails the record with its path.

mod decode;
mod encode;
mod iso;
mod scan;
#[cfg(test)]
mod tests;

pub(super) use decode::JsonDecoder;
pub(super) use encode::JsonEncoder;
pub(crate) use encode::{Times, Writer};
