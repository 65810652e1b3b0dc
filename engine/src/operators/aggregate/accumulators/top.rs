//! TOPK and TOPKDISTINCT: the k largest, largest first; a NULL sort value does not count, of equal
//! ones the earlier stays before. TOPK may carry further columns beside the sort value.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray, new_empty_array};
use arrow::datatypes::DataType;

use super::cells::lists;
use super::{Accumulator, Args, retain_slots};
use crate::codec::{Encoded, RowCodec};
use crate::error::Result;
use crate::state::{put_bytes, put_varint, take_bytes, take_varint};

pub(super) struct Top {
    k: usize,
    distinct: bool,
    types: Vec<DataType>,
    /// The type of the list's items.
    item: Option<DataType>,
    sort: RowCodec,
    rows: RowCodec,
    new: Option<New>,
    groups: Vec<Vec<Entry>>,
}

/// An epoch's arguments.
struct New {
    sort: ArrayRef,
    /// Of sort values whose order is that of their encoding.
    encoded: Option<Encoded>,
    rows: Encoded,
}

/// `sort` orders as the sort values do.
#[derive(Clone, Default)]
struct Entry {
    sort: Box<[u8]>,
    row: Box<[u8]>,
}

impl Top {
    pub(super) fn new(
        types: Vec<DataType>,
        list: DataType,
        k: i32,
        distinct: bool,
    ) -> Result<Self> {
        let item = match list {
            DataType::List(field) => Some(field.data_type().clone()),
            _ => None,
        };
        Ok(Top {
            k: usize::try_from(k).unwrap_or(0),
            distinct,
            sort: RowCodec::of_types(types[..1].to_vec())?,
            rows: RowCodec::of_types(types.clone())?,
            types,
            item,
            new: None,
            groups: Vec::new(),
        })
    }

    fn offer(&mut self, slot: u32, entry: Entry) {
        let group = &mut self.groups[slot as usize];
        if self.distinct && group.iter().any(|kept| kept.sort == entry.sort) {
            return;
        }
        let at = group.partition_point(|kept| kept.sort >= entry.sort);
        if at < self.k {
            group.truncate(self.k - 1);
            group.insert(at, entry);
        }
    }
}

/// Bytes in whose order strings are by UTF-16 units, and BYTES as signed numbers (see `extreme.rs`).
fn sortable(values: &ArrayRef, row: usize) -> Option<Box<[u8]>> {
    if let Some(text) = values.as_string_view_opt() {
        let rank = |byte: u8| if matches!(byte, 0xee | 0xef) { byte + 0x10 } else { byte };
        return Some(text.value(row).bytes().map(rank).collect());
    }
    let bytes = values.as_binary_opt::<i32>()?;
    Some(bytes.value(row).iter().map(|byte| byte ^ 0x80).collect())
}

impl Accumulator for Top {
    fn begin(&mut self, args: &Args) -> Result<()> {
        let Some(sort) = args.new.first().cloned() else { return Ok(()) };
        let special = matches!(sort.data_type(), DataType::Utf8View | DataType::Binary);
        let encoded = if special {
            None
        } else {
            Some(self.sort.encode(std::slice::from_ref(&sort), sort.len())?)
        };
        let rows = self.rows.encode(&args.new, sort.len())?;
        self.new = Some(New { sort, encoded, rows });
        Ok(())
    }

    fn end(&mut self) {
        self.new = None;
    }

    fn grow(&mut self, slots: usize) {
        self.groups.resize(slots, Vec::new());
    }

    fn add(&mut self, rows: &[u32], slots: &[u32]) {
        let Some(new) = self.new.take() else { return };
        for (&row, &slot) in rows.iter().zip(slots) {
            let row = row as usize;
            if new.sort.is_null(row) {
                continue;
            }
            let full = self.groups[slot as usize].get(self.k.wrapping_sub(1));
            let sort = match &new.encoded {
                Some(encoded) if full.is_some_and(|last| *last.sort >= *encoded.row(row)) => {
                    continue;
                }
                Some(encoded) => Some(encoded.row(row).into()),
                None => sortable(&new.sort, row),
            };
            if let Some(sort) = sort {
                self.offer(slot, Entry { sort, row: new.rows.row(row).into() });
            }
        }
        self.new = Some(new);
    }

    fn merge(&mut self, into: u32, from: u32) {
        for entry in std::mem::take(&mut self.groups[from as usize]) {
            self.offer(into, entry);
        }
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let groups = || slots.iter().map(|&slot| &self.groups[slot as usize]);
        let columns = self.rows.decode(groups().flatten().map(|entry| entry.row.as_ref()))?;
        let values: ArrayRef = match &self.item {
            Some(DataType::Struct(fields)) if self.types.len() > 1 => {
                Arc::new(StructArray::try_new(fields.clone(), columns, None)?)
            }
            _ => columns.into_iter().next().unwrap_or_else(|| new_empty_array(&self.types[0])),
        };
        Ok(lists(values, groups().map(Vec::len)))
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        let group = &self.groups[slot as usize];
        put_varint(out, group.len() as u64);
        for entry in group {
            put_bytes(out, &entry.sort);
            put_bytes(out, &entry.row);
        }
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        for _ in 0..take_varint(at)? {
            let (sort, row) = (take_bytes(at)?.into(), take_bytes(at)?.into());
            self.groups[slot as usize].push(Entry { sort, row });
        }
        Some(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_slots(&mut self.groups, kept);
    }

    fn heap_bytes(&self) -> usize {
        self.groups.iter().flatten().map(|e| e.sort.len() + e.row.len() + 32).sum()
    }
}
