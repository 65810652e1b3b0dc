//! Aggregates that hold several values of any type: COLLECT_LIST, COLLECT_SET, TOPK, TOPKDISTINCT, the
//! N-forms of LATEST_BY_OFFSET and EARLIEST_BY_OFFSET, HISTOGRAM, ATTR.
//!
//! A value is its arrow-row bytes over all arguments; those of the first argument come first, so their
//! order is the sort column's.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, ListArray, MapArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use millstream_sql::types::SqlType;

use super::accumulator::{Accumulator, AddErrors, Entries, compact_column};
use super::value::one_column;
use crate::codec::RowCodec;
use crate::error::{EngineError, Result};
use crate::state::{put_bytes, put_varint, take_bytes, take_varint};

/// HISTOGRAM ignores new keys beyond so many.
const HISTOGRAM_KEYS: usize = 1_000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Every value, NULL too.
    All,
    /// Every value once, in the order of their first arrival.
    Set,
    /// The greatest, by the first argument, descending; of equals the earlier first.
    Top(usize),
    /// The same, each value once.
    TopDistinct(usize),
    /// The last `n` in arrival order.
    Latest { n: usize, ignore_nulls: bool },
    /// The first `n`.
    Earliest { n: usize, ignore_nulls: bool },
    /// How often each value came.
    Histogram,
    /// The value, if there is only one; NULL counts.
    Attr,
}

#[derive(Clone, PartialEq, Eq)]
struct Item {
    bytes: Box<[u8]>,
    /// How many of `bytes` are the sort column's.
    sort: u32,
    /// How often it came (HISTOGRAM, ATTR), else when it arrived.
    count: u64,
}

impl Item {
    fn sort_key(&self) -> &[u8] {
        &self.bytes[..self.sort as usize]
    }
}

pub(crate) struct Listed {
    codec: RowCodec,
    first: RowCodec,
    lists: Vec<Vec<Item>>,
    rule: Rule,
    ty: DataType,
}

impl Listed {
    pub(crate) fn new(args: &[SqlType], result: &SqlType, rule: Rule) -> Result<Self> {
        let types: Vec<DataType> = args.iter().map(SqlType::to_arrow).collect();
        let first = RowCodec::of_types(types[..1].to_vec())?;
        let codec = RowCodec::of_types(types)?;
        Ok(Listed { codec, first, lists: vec![], rule, ty: result.to_arrow() })
    }

    fn items(&self, entries: Entries<'_>, args: &[ArrayRef]) -> Result<Vec<(usize, bool, Item)>> {
        let len = args[0].len();
        let encoded = self.codec.encode(args, len)?;
        let sort = self.first.encode(&args[..1], len)?;
        Ok(entries
            .iter()
            .map(|(slot, row)| {
                let count = match self.rule {
                    Rule::Histogram | Rule::Attr => 1,
                    _ => entries.arrivals.get(row).copied().unwrap_or(0),
                };
                let sort = sort.row(row).len() as u32;
                (slot, args[0].is_null(row), Item { bytes: encoded.row(row).into(), sort, count })
            })
            .collect())
    }

    fn insert(list: &mut Vec<Item>, rule: Rule, item: Item, is_null: bool) {
        match rule {
            Rule::All => list.push(item),
            Rule::Set => {
                if !list.iter().any(|i| i.bytes == item.bytes) {
                    list.push(item);
                }
            }
            Rule::Top(k) | Rule::TopDistinct(k) => {
                if is_null {
                    return;
                }
                let at = list.partition_point(|i| i.sort_key() >= item.sort_key());
                if let Rule::TopDistinct(_) = rule
                    && list[..at].last().is_some_and(|i| i.sort_key() == item.sort_key())
                {
                    return;
                }
                if at < k {
                    list.insert(at, item);
                    list.truncate(k);
                }
            }
            Rule::Latest { n, ignore_nulls } => {
                if ignore_nulls && is_null {
                    return;
                }
                list.push(item);
                if list.len() > n {
                    list.remove(0);
                }
            }
            Rule::Earliest { n, ignore_nulls } => {
                if !(ignore_nulls && is_null) && list.len() < n {
                    list.push(item);
                }
            }
            Rule::Histogram | Rule::Attr => {
                if rule == Rule::Histogram && is_null {
                    return;
                }
                match list.iter().position(|i| i.bytes == item.bytes) {
                    Some(at) => list[at].count += item.count,
                    None if rule == Rule::Attr || list.len() < HISTOGRAM_KEYS => list.push(item),
                    None => {}
                }
            }
        }
    }

    fn take_out(list: &mut Vec<Item>, rule: Rule, item: &Item) {
        // The last of equals goes: the one that was added last.
        let Some(at) = list.iter().rposition(|i| i.bytes == item.bytes) else { return };
        if matches!(rule, Rule::Histogram | Rule::Attr) && list[at].count > 1 {
            list[at].count -= 1;
        } else {
            list.remove(at);
        }
    }

    fn histogram(&self, slots: &[u32]) -> Result<ArrayRef> {
        let DataType::Map(entries, sorted) = &self.ty else { return Err(wrong_type(&self.ty)) };
        let DataType::Struct(fields) = entries.data_type() else { return Err(wrong_type(&self.ty)) };
        let items = || slots.iter().flat_map(|&slot| &self.lists[slot as usize]);
        let keys = one_column(self.codec.decode(items().map(|i| &*i.bytes))?)?;
        let counts = Int64Array::from_iter_values(items().map(|i| i.count as i64));
        let entries_array = StructArray::new(fields.clone(), vec![keys, Arc::new(counts)], None);
        let offsets = OffsetBuffer::from_lengths(slots.iter().map(|&s| self.lists[s as usize].len()));
        Ok(Arc::new(MapArray::new(entries.clone(), offsets, entries_array, None, *sorted)))
    }

    fn lists(&self, slots: &[u32]) -> Result<ArrayRef> {
        let DataType::List(item) = &self.ty else { return Err(wrong_type(&self.ty)) };
        let items = slots.iter().flat_map(|&slot| &self.lists[slot as usize]);
        let mut columns = self.codec.decode(items.map(|i| &*i.bytes))?;
        let values: ArrayRef = match item.data_type() {
            DataType::Struct(fields) if columns.len() == fields.len() && columns.len() > 1 => {
                Arc::new(StructArray::new(fields.clone(), std::mem::take(&mut columns), None))
            }
            _ => one_column(columns)?,
        };
        let offsets = OffsetBuffer::from_lengths(slots.iter().map(|&s| self.lists[s as usize].len()));
        Ok(Arc::new(ListArray::new(item.clone(), offsets, values, None)))
    }
}

fn wrong_type(ty: &DataType) -> EngineError {
    EngineError::Shape(format!("an aggregate of several values cannot give {ty}"))
}

impl Accumulator for Listed {
    fn grow(&mut self, slots: usize) {
        self.lists.resize(slots, Vec::new());
    }

    fn add(&mut self, entries: Entries<'_>, args: &[ArrayRef], _: &mut AddErrors) -> Result<()> {
        for (slot, is_null, item) in self.items(entries, args)? {
            Self::insert(&mut self.lists[slot], self.rule, item, is_null);
        }
        Ok(())
    }

    fn remove(&mut self, entries: Entries<'_>, args: &[ArrayRef], _: &mut AddErrors) -> Result<()> {
        for (slot, _, item) in self.items(entries, args)? {
            Self::take_out(&mut self.lists[slot], self.rule, &item);
        }
        Ok(())
    }

    fn merge(&mut self, into: usize, from: usize) {
        let earlier = self.lists[from].clone();
        let later = std::mem::take(&mut self.lists[into]);
        let rule = match self.rule {
            // Merged by arrival; ksqlDB keeps the first n of both, also of the latest.
            Rule::Latest { n, .. } | Rule::Earliest { n, .. } => {
                let mut all = [earlier, later].concat();
                all.sort_by_key(|item| item.count);
                all.truncate(n);
                self.lists[into] = all;
                return;
            }
            rule => rule,
        };
        let mut merged = earlier;
        for item in later {
            Self::insert(&mut merged, rule, item, false);
        }
        self.lists[into] = merged;
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        match self.rule {
            Rule::Histogram => self.histogram(slots),
            Rule::Attr => {
                let rows: Vec<Option<&[u8]>> = slots
                    .iter()
                    .map(|&slot| match self.lists[slot as usize].as_slice() {
                        [only] => Some(&*only.bytes),
                        _ => None,
                    })
                    .collect();
                one_column(self.codec.decode_optional(&rows)?.0)
            }
            _ => self.lists(slots),
        }
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        put_varint(out, self.lists[slot].len() as u64);
        for item in &self.lists[slot] {
            put_bytes(out, &item.bytes);
            put_varint(out, u64::from(item.sort));
            put_varint(out, item.count);
        }
    }

    fn load(&mut self, slot: usize, at: &mut &[u8]) -> Option<()> {
        let count = take_varint(at)?;
        let mut list = Vec::new();
        for _ in 0..count {
            let bytes: Box<[u8]> = take_bytes(at)?.into();
            let sort = u32::try_from(take_varint(at)?).ok().filter(|s| *s as usize <= bytes.len())?;
            list.push(Item { bytes, sort, count: take_varint(at)? });
        }
        self.lists[slot] = list;
        Some(())
    }

    fn compact(&mut self, keep: &[u32]) {
        compact_column(&mut self.lists, keep);
    }
}
