//! Values with how often they came: HISTOGRAM and ATTR.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, MapArray, StructArray, new_null_array};
use arrow::buffer::{BooleanBuffer, OffsetBuffer};
use arrow::datatypes::DataType;

use super::cells::Cells;
use super::number::Number;
use super::{Accumulator, Args, retain_slots};
use crate::codec::spread;
use crate::error::{EngineError, Result};
use crate::state::{put_bytes, put_varint, take_bytes, take_varint};

/// How many distinct values a histogram counts; later ones are left out (as in ksqlDB).
const LARGEST_HISTOGRAM: usize = 1000;

/// The distinct values of a group in the order of arrival, each with its count.
type Counts = Vec<(Box<[u8]>, i64)>;

/// What an entry costs beyond its bytes.
const ENTRY: usize = 32;

struct Tallies {
    cells: Cells,
    groups: Vec<Counts>,
    most: usize,
}

impl Tallies {
    fn new(ty: DataType, most: usize) -> Result<Self> {
        Ok(Tallies { cells: Cells::new(ty)?, groups: Vec::new(), most })
    }

    fn count(counts: &mut Counts, cell: &[u8], by: i64, most: usize) {
        let place = counts.iter().position(|(kept, _)| **kept == *cell);
        match place {
            Some(place) => counts[place].1 += by,
            None if counts.len() < most => counts.push((cell.into(), by)),
            None => {}
        }
    }

    fn add(&mut self, rows: &[u32], slots: &[u32], skip_nulls: bool) {
        for (&row, &slot) in rows.iter().zip(slots) {
            let Some((cell, null)) = self.cells.new_cell(row) else { return };
            if !(null && skip_nulls) {
                Self::count(&mut self.groups[slot as usize], cell, 1, self.most);
            }
        }
    }

    fn subtract(&mut self, rows: &[u32], slots: &[u32]) {
        for (&row, &slot) in rows.iter().zip(slots) {
            let Some((cell, _)) = self.cells.old_cell(row) else { return };
            let counts = &mut self.groups[slot as usize];
            if let Some(at) = counts.iter().position(|(kept, _)| **kept == *cell) {
                counts[at].1 -= 1;
                if counts[at].1 < 1 {
                    counts.remove(at);
                }
            }
        }
    }

    fn merge(&mut self, into: u32, from: u32) {
        for (cell, count) in std::mem::take(&mut self.groups[from as usize]) {
            Self::count(&mut self.groups[into as usize], &cell, count, self.most);
        }
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        let counts = &self.groups[slot as usize];
        put_varint(out, counts.len() as u64);
        for (cell, count) in counts {
            put_bytes(out, cell);
            count.put(out);
        }
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        for _ in 0..take_varint(at)? {
            let cell = take_bytes(at)?.into();
            self.groups[slot as usize].push((cell, i64::take(at)?));
        }
        Some(())
    }

    fn heap_bytes(&self) -> usize {
        self.groups.iter().flatten().map(|(cell, _)| cell.len() + ENTRY).sum()
    }
}

pub(super) struct Histogram {
    tallies: Tallies,
    ty: DataType,
}

impl Histogram {
    /// `ty` is the map's.
    pub(super) fn new(ty: DataType) -> Result<Self> {
        Ok(Histogram { tallies: Tallies::new(DataType::Utf8View, LARGEST_HISTOGRAM)?, ty })
    }
}

impl Accumulator for Histogram {
    fn begin(&mut self, args: &Args) -> Result<()> {
        self.tallies.cells.begin(args)
    }

    fn end(&mut self) {
        self.tallies.cells.end();
    }

    fn grow(&mut self, slots: usize) {
        self.tallies.groups.resize(slots, Vec::new());
    }

    fn add(&mut self, rows: &[u32], slots: &[u32]) {
        self.tallies.add(rows, slots, true);
    }

    fn subtract(&mut self, rows: &[u32], slots: &[u32]) {
        self.tallies.subtract(rows, slots);
    }

    fn merge(&mut self, into: u32, from: u32) {
        self.tallies.merge(into, from);
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let DataType::Map(entries, sorted) = &self.ty else {
            return Err(EngineError::Shape("HISTOGRAM gives a map".into()));
        };
        let DataType::Struct(fields) = entries.data_type() else {
            return Err(EngineError::Shape("a map has entries".into()));
        };
        let groups = || slots.iter().map(|&slot| &self.tallies.groups[slot as usize]);
        let keys = self.tallies.cells.decode(groups().flatten().map(|(cell, _)| cell.as_ref()))?;
        let counts = Int64Array::from_iter_values(groups().flatten().map(|(_, count)| *count));
        let values = StructArray::try_new(fields.clone(), vec![keys, Arc::new(counts)], None)?;
        let offsets = OffsetBuffer::from_lengths(groups().map(Vec::len));
        Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, values, None, *sorted)?))
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        self.tallies.save(slot, out);
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        self.tallies.load(slot, at)
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_slots(&mut self.tallies.groups, kept);
    }

    fn heap_bytes(&self) -> usize {
        self.tallies.heap_bytes()
    }
}

/// The value that all rows of a group have, else NULL; NULL is a value.
pub(super) struct Attr {
    tallies: Tallies,
    ty: DataType,
}

impl Attr {
    pub(super) fn new(ty: DataType) -> Result<Self> {
        Ok(Attr { tallies: Tallies::new(ty.clone(), usize::MAX)?, ty })
    }
}

impl Accumulator for Attr {
    fn begin(&mut self, args: &Args) -> Result<()> {
        self.tallies.cells.begin(args)
    }

    fn end(&mut self) {
        self.tallies.cells.end();
    }

    fn grow(&mut self, slots: usize) {
        self.tallies.groups.resize(slots, Vec::new());
    }

    fn add(&mut self, rows: &[u32], slots: &[u32]) {
        self.tallies.add(rows, slots, false);
    }

    fn subtract(&mut self, rows: &[u32], slots: &[u32]) {
        self.tallies.subtract(rows, slots);
    }

    fn merge(&mut self, into: u32, from: u32) {
        self.tallies.merge(into, from);
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let only: Vec<Option<&[u8]>> = slots
            .iter()
            .map(|&slot| match self.tallies.groups[slot as usize].as_slice() {
                [(cell, _)] => Some(cell.as_ref()),
                _ => None,
            })
            .collect();
        let dense = self.tallies.cells.decode(only.iter().flatten().copied())?;
        let present = BooleanBuffer::collect_bool(only.len(), |i| only[i].is_some());
        let column = spread(&[dense], &present, std::slice::from_ref(&self.ty))?;
        Ok(column.into_iter().next().unwrap_or_else(|| new_null_array(&self.ty, slots.len())))
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        self.tallies.save(slot, out);
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        self.tallies.load(slot, at)
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_slots(&mut self.tallies.groups, kept);
    }

    fn heap_bytes(&self) -> usize {
        self.tallies.heap_bytes()
    }
}
