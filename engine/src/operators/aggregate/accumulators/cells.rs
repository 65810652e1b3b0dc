//! Values of any type as bytes: what the functions keep that collect values.
//!
//! A cell is one value's arrow-row encoding: equal bytes are equal values (of doubles: equal bits, as
//! Java's `equals`), NULL is a cell too. Maps are equal whatever their order: it is made one.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, UInt32Array, new_empty_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field};

use super::Args;
use crate::codec::{Encoded, RowCodec};
use crate::error::Result;

pub(super) struct Cells {
    ty: DataType,
    codec: RowCodec,
    new: Option<Column>,
    old: Option<Column>,
}

struct Column {
    cells: Encoded,
    nulls: Option<NullBuffer>,
}

impl Cells {
    pub(super) fn new(ty: DataType) -> Result<Self> {
        let codec = RowCodec::of_types(vec![ty.clone()])?;
        Ok(Cells { ty, codec, new: None, old: None })
    }

    pub(super) fn begin(&mut self, args: &Args) -> Result<()> {
        self.new = self.column(args.new.first())?;
        self.old = self.column(args.old.first())?;
        Ok(())
    }

    fn column(&self, arg: Option<&ArrayRef>) -> Result<Option<Column>> {
        let Some(arg) = arg else { return Ok(None) };
        let nulls = arg.logical_nulls();
        let cells = self.codec.encode(&[ordered_maps(arg)?], arg.len())?;
        Ok(Some(Column { cells, nulls }))
    }

    pub(super) fn end(&mut self) {
        (self.new, self.old) = (None, None);
    }

    /// The new argument of a row, and whether it is NULL.
    pub(super) fn new_cell(&self, row: u32) -> Option<(&[u8], bool)> {
        self.new.as_ref().map(|column| column.cell(row))
    }

    pub(super) fn old_cell(&self, row: u32) -> Option<(&[u8], bool)> {
        self.old.as_ref().map(|column| column.cell(row))
    }

    pub(super) fn decode<'a>(&self, cells: impl IntoIterator<Item = &'a [u8]>) -> Result<ArrayRef> {
        let column = self.codec.decode(cells)?.into_iter().next();
        Ok(column.unwrap_or_else(|| new_empty_array(&self.ty)))
    }

    /// Lists of cells; `lengths` says how many each has.
    pub(super) fn decode_lists<'a>(
        &self,
        cells: impl IntoIterator<Item = &'a [u8]>,
        lengths: impl IntoIterator<Item = usize>,
    ) -> Result<ArrayRef> {
        Ok(lists(self.decode(cells)?, lengths))
    }
}

impl Column {
    fn cell(&self, row: u32) -> (&[u8], bool) {
        let null = self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row as usize));
        (self.cells.row(row as usize), null)
    }
}

/// The same values, the entries of each map in the order of their keys.
fn ordered_maps(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Map(entries, sorted) => {
            let map = values.as_map();
            let keys = RowCodec::of_types(vec![map.keys().data_type().clone()])?;
            let keys = keys.encode(std::slice::from_ref(map.keys()), map.keys().len())?;
            let mut places: Vec<u32> = Vec::with_capacity(map.keys().len());
            for range in map.offsets().windows(2) {
                let first = places.len();
                places.extend(range[0] as u32..range[1] as u32);
                places[first..].sort_by(|&a, &b| keys.row(a as usize).cmp(keys.row(b as usize)));
            }
            let lengths = map.offsets().lengths();
            let entry_values = ordered_maps(map.values())?;
            let columns = [map.keys(), &entry_values]
                .map(|c| take(c.as_ref(), &UInt32Array::from(places.clone()), None));
            let columns = columns.into_iter().collect::<std::result::Result<_, _>>()?;
            let structs = StructArray::try_new(map.entries().fields().clone(), columns, None)?;
            let (offsets, nulls) = (OffsetBuffer::from_lengths(lengths), map.nulls().cloned());
            Arc::new(MapArray::try_new(entries.clone(), offsets, structs, nulls, *sorted)?)
        }
        DataType::List(item) => {
            let list = values.as_list::<i32>();
            let items = ordered_maps(list.values())?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(ListArray::try_new(item.clone(), offsets, items, nulls)?)
        }
        DataType::Struct(fields) => {
            let columns = values.as_struct().columns().iter().map(ordered_maps);
            let (columns, nulls) = (columns.collect::<Result<_>>()?, values.nulls().cloned());
            Arc::new(StructArray::try_new(fields.clone(), columns, nulls)?)
        }
        _ => values.clone(),
    })
}

pub(super) fn lists(values: ArrayRef, lengths: impl IntoIterator<Item = usize>) -> ArrayRef {
    let item = Arc::new(Field::new("item", values.data_type().clone(), true));
    Arc::new(ListArray::new(item, OffsetBuffer::from_lengths(lengths), values, None))
}
