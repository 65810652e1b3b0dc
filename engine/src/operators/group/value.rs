//! Aggregates that hold one value of any type: LATEST_BY_OFFSET and EARLIEST_BY_OFFSET without N, and
//! MIN and MAX of STRING and BYTES. A value is held as its arrow-row bytes; none is no bytes.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray};
use millstream_sql::types::SqlType;

use super::accumulator::{Accumulator, AddErrors, Entries, compact_column};
use crate::codec::RowCodec;
use crate::error::{EngineError, Result};
use crate::state::{put_bytes, put_varint, take_bytes, take_varint};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Latest,
    Earliest,
}

pub(crate) struct Held {
    codec: RowCodec,
    /// Empty: nothing was held yet.
    values: Vec<Vec<u8>>,
    /// When the held value arrived.
    arrivals: Vec<u64>,
    which: Which,
    ignore_nulls: bool,
}

impl Held {
    pub(crate) fn new(ty: &SqlType, which: Which, ignore_nulls: bool) -> Result<Self> {
        let codec = RowCodec::of_types(vec![ty.to_arrow()])?;
        Ok(Held { codec, values: vec![], arrivals: vec![], which, ignore_nulls })
    }
}

impl Accumulator for Held {
    fn grow(&mut self, slots: usize) {
        self.values.resize(slots, Vec::new());
        self.arrivals.resize(slots, 0);
    }

    fn add(&mut self, entries: Entries<'_>, args: &[ArrayRef], _: &mut AddErrors) -> Result<()> {
        let values = self.codec.encode(args, args[0].len())?;
        for (slot, row) in entries.iter() {
            if self.ignore_nulls && args[0].is_null(row) {
                continue;
            }
            if self.which == Which::Earliest && !self.values[slot].is_empty() {
                continue;
            }
            self.values[slot].clear();
            self.values[slot].extend_from_slice(values.row(row));
            self.arrivals[slot] = entries.arrivals[row];
        }
        Ok(())
    }

    fn remove(&mut self, _: Entries<'_>, _: &[ArrayRef], _: &mut AddErrors) -> Result<()> {
        Err(EngineError::Shape("values by offset cannot be taken back".into()))
    }

    fn merge(&mut self, into: usize, from: usize) {
        if self.values[from].is_empty() {
            return;
        }
        let later = self.arrivals[from] > self.arrivals[into];
        if self.values[into].is_empty() || later == (self.which == Which::Latest) {
            self.values[into] = self.values[from].clone();
            self.arrivals[into] = self.arrivals[from];
        }
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let rows: Vec<Option<&[u8]>> = slots
            .iter()
            .map(|&slot| Some(self.values[slot as usize].as_slice()).filter(|v| !v.is_empty()))
            .collect();
        one_column(self.codec.decode_optional(&rows)?.0)
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        put_bytes(out, &self.values[slot]);
        put_varint(out, self.arrivals[slot]);
    }

    fn load(&mut self, slot: usize, at: &mut &[u8]) -> Option<()> {
        self.values[slot] = take_bytes(at)?.to_vec();
        self.arrivals[slot] = take_varint(at)?;
        Some(())
    }

    fn compact(&mut self, keep: &[u32]) {
        compact_column(&mut self.values, keep);
        compact_column(&mut self.arrivals, keep);
    }
}

/// MIN and MAX of STRING (by UTF-16 units, as Java compares) and BYTES (by signed bytes, likewise).
pub(crate) struct Extreme {
    codec: RowCodec,
    /// The raw text or bytes, and their row encoding.
    best: Vec<Option<(Vec<u8>, Vec<u8>)>>,
    text: bool,
    max: bool,
}

impl Extreme {
    pub(crate) fn new(ty: &SqlType, max: bool) -> Result<Self> {
        let codec = RowCodec::of_types(vec![ty.to_arrow()])?;
        Ok(Extreme { codec, best: vec![], text: *ty == SqlType::String, max })
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        if !self.text {
            return a.iter().map(|&x| x as i8).cmp(b.iter().map(|&x| x as i8));
        }
        match (std::str::from_utf8(a), std::str::from_utf8(b)) {
            (Ok(a), Ok(b)) => a.encode_utf16().cmp(b.encode_utf16()),
            _ => a.cmp(b),
        }
    }

    fn offer(&mut self, slot: usize, raw: &[u8], encoded: &[u8]) {
        let better = match &self.best[slot] {
            None => true,
            Some((best, _)) => {
                let order = self.compare(raw, best);
                if self.max { order.is_gt() } else { order.is_lt() }
            }
        };
        if better {
            self.best[slot] = Some((raw.to_vec(), encoded.to_vec()));
        }
    }
}

impl Accumulator for Extreme {
    fn grow(&mut self, slots: usize) {
        self.best.resize(slots, None);
    }

    fn add(&mut self, entries: Entries<'_>, args: &[ArrayRef], _: &mut AddErrors) -> Result<()> {
        let encoded = self.codec.encode(args, args[0].len())?;
        for (slot, row) in entries.iter().filter(|&(_, row)| args[0].is_valid(row)) {
            let raw = if self.text {
                args[0].as_string_view().value(row).as_bytes()
            } else {
                args[0].as_binary::<i32>().value(row)
            };
            self.offer(slot, raw, encoded.row(row));
        }
        Ok(())
    }

    fn remove(&mut self, _: Entries<'_>, _: &[ArrayRef], _: &mut AddErrors) -> Result<()> {
        Err(EngineError::Shape("MIN and MAX cannot take a row back".into()))
    }

    fn merge(&mut self, into: usize, from: usize) {
        if let Some((raw, encoded)) = self.best[from].clone() {
            self.offer(into, &raw, &encoded);
        }
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let rows: Vec<Option<&[u8]>> = slots
            .iter()
            .map(|&slot| self.best[slot as usize].as_ref().map(|(_, encoded)| encoded.as_slice()))
            .collect();
        one_column(self.codec.decode_optional(&rows)?.0)
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        out.push(u8::from(self.best[slot].is_some()));
        if let Some((raw, encoded)) = &self.best[slot] {
            put_bytes(out, raw);
            put_bytes(out, encoded);
        }
    }

    fn load(&mut self, slot: usize, at: &mut &[u8]) -> Option<()> {
        self.best[slot] = match crate::state::take(at, 1)?[0] {
            0 => None,
            _ => Some((take_bytes(at)?.to_vec(), take_bytes(at)?.to_vec())),
        };
        Some(())
    }

    fn compact(&mut self, keep: &[u32]) {
        compact_column(&mut self.best, keep);
    }
}

/// The one column of a codec of one type.
pub(crate) fn one_column(mut columns: Vec<ArrayRef>) -> Result<ArrayRef> {
    columns.pop().ok_or_else(|| EngineError::Shape("a value without a column".into()))
}
