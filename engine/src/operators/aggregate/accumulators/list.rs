//! Lists of values: COLLECT_LIST, COLLECT_SET, and EARLIEST_ and LATEST_BY_OFFSET of several.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use hashbrown::HashSet;

use super::cells::Cells;
use super::{Accumulator, Args, retain_slots};
use crate::error::Result;
use crate::state::{put_bytes, put_varint, take_bytes, take_varint};

/// What a cell costs beyond its bytes.
const CELL: usize = 24;

/// NULLs are kept. A set is in the order of arrival and cannot give back; a list gives back the last
/// element that equals what goes.
pub(super) struct Collect {
    cells: Cells,
    lists: Vec<Vec<Box<[u8]>>>,
    /// What each list has, for a set.
    members: Option<Vec<HashSet<Box<[u8]>>>>,
    heap: usize,
}

impl Collect {
    pub(super) fn new(ty: DataType, set: bool) -> Result<Self> {
        Ok(Collect {
            cells: Cells::new(ty)?,
            lists: Vec::new(),
            members: set.then(Vec::new),
            heap: 0,
        })
    }

    fn push(&mut self, slot: u32, cell: &[u8]) {
        if let Some(members) = &mut self.members
            && !members[slot as usize].insert(cell.into())
        {
            return;
        }
        self.heap += cell.len() + CELL;
        self.lists[slot as usize].push(cell.into());
    }
}

impl Accumulator for Collect {
    fn begin(&mut self, args: &Args) -> Result<()> {
        self.cells.begin(args)
    }

    fn end(&mut self) {
        self.cells.end();
    }

    fn grow(&mut self, slots: usize) {
        self.lists.resize(slots, Vec::new());
        if let Some(members) = &mut self.members {
            members.resize(slots, HashSet::default());
        }
    }

    fn add(&mut self, rows: &[u32], slots: &[u32]) {
        for (&row, &slot) in rows.iter().zip(slots) {
            let Some((cell, _)) = self.cells.new_cell(row) else { return };
            if let Some(members) = &mut self.members
                && !members[slot as usize].insert(cell.into())
            {
                continue;
            }
            self.heap += cell.len() + CELL;
            self.lists[slot as usize].push(cell.into());
        }
    }

    fn subtract(&mut self, rows: &[u32], slots: &[u32]) {
        for (&row, &slot) in rows.iter().zip(slots) {
            let Some((cell, _)) = self.cells.old_cell(row) else { return };
            let list = &mut self.lists[slot as usize];
            if let Some(at) = list.iter().rposition(|kept| **kept == *cell) {
                self.heap = self.heap.saturating_sub(cell.len() + CELL);
                list.remove(at);
            }
        }
    }

    fn merge(&mut self, into: u32, from: u32) {
        for cell in std::mem::take(&mut self.lists[from as usize]) {
            self.heap = self.heap.saturating_sub(cell.len() + CELL);
            self.push(into, &cell);
        }
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let lists = || slots.iter().map(|&slot| &self.lists[slot as usize]);
        self.cells.decode_lists(lists().flatten().map(AsRef::as_ref), lists().map(Vec::len))
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        let list = &self.lists[slot as usize];
        put_varint(out, list.len() as u64);
        list.iter().for_each(|cell| put_bytes(out, cell));
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        for _ in 0..take_varint(at)? {
            let cell = take_bytes(at)?;
            self.push(slot, cell);
        }
        Some(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_slots(&mut self.lists, kept);
        if let Some(members) = &mut self.members {
            retain_slots(members, kept);
        }
        self.heap = self.lists.iter().flatten().map(|cell| cell.len() + CELL).sum();
    }

    fn heap_bytes(&self) -> usize {
        self.heap
    }
}

/// The first or last N in the order of arrival. Quirk of ksqlDB kept: merged sessions keep the first N.
pub(super) struct ByOffset {
    cells: Cells,
    latest: bool,
    ignore_nulls: bool,
    n: usize,
    first: u64,
    lists: Vec<Vec<(u64, Box<[u8]>)>>,
    heap: usize,
}

impl ByOffset {
    pub(super) fn new(ty: DataType, latest: bool, ignore_nulls: bool, n: i32) -> Result<Self> {
        let n = usize::try_from(n).unwrap_or(0);
        let cells = Cells::new(ty)?;
        Ok(ByOffset { cells, latest, ignore_nulls, n, first: 0, lists: Vec::new(), heap: 0 })
    }
}

impl Accumulator for ByOffset {
    fn begin(&mut self, args: &Args) -> Result<()> {
        self.first = args.first;
        self.cells.begin(args)
    }

    fn end(&mut self) {
        self.cells.end();
    }

    fn grow(&mut self, slots: usize) {
        self.lists.resize(slots, Vec::new());
    }

    fn add(&mut self, rows: &[u32], slots: &[u32]) {
        for (&row, &slot) in rows.iter().zip(slots) {
            let Some((cell, null)) = self.cells.new_cell(row) else { return };
            let list = &mut self.lists[slot as usize];
            if null && self.ignore_nulls || self.n == 0 || (!self.latest && list.len() >= self.n) {
                continue;
            }
            if list.len() >= self.n {
                let (_, gone) = list.remove(0);
                self.heap = self.heap.saturating_sub(gone.len() + CELL);
            }
            self.heap += cell.len() + CELL;
            list.push((self.first + u64::from(row), cell.into()));
        }
    }

    fn merge(&mut self, into: u32, from: u32) {
        let more = std::mem::take(&mut self.lists[from as usize]);
        let list = &mut self.lists[into as usize];
        list.extend(more);
        list.sort_by_key(|(arrival, _)| *arrival);
        list.truncate(self.n);
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        let lists = || slots.iter().map(|&slot| &self.lists[slot as usize]);
        let cells = lists().flatten().map(|(_, cell)| cell.as_ref());
        self.cells.decode_lists(cells, lists().map(Vec::len))
    }

    fn save(&self, slot: u32, out: &mut Vec<u8>) {
        let list = &self.lists[slot as usize];
        put_varint(out, list.len() as u64);
        for (arrival, cell) in list {
            put_varint(out, *arrival);
            put_bytes(out, cell);
        }
    }

    fn load(&mut self, slot: u32, at: &mut &[u8]) -> Option<()> {
        for _ in 0..take_varint(at)? {
            let arrival = take_varint(at)?;
            let cell = take_bytes(at)?;
            self.heap += cell.len() + CELL;
            self.lists[slot as usize].push((arrival, cell.into()));
        }
        Some(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_slots(&mut self.lists, kept);
        self.heap = self.lists.iter().flatten().map(|(_, cell)| cell.len() + CELL).sum();
    }

    fn heap_bytes(&self) -> usize {
        self.heap
    }
}
