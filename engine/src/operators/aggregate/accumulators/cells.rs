//! Values of any type as bytes: what the functions keep that collect values.
//!
//! A cell is one value's arrow-row encoding: equal bytes are equal values (of doubles: equal bits, as
//! Java's `equals`), NULL is a cell too.

use arrow::array::{Array, ArrayRef, ListArray, new_empty_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use std::sync::Arc;

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
        let cells = self.codec.encode(std::slice::from_ref(arg), arg.len())?;
        Ok(Some(Column { cells, nulls: arg.logical_nulls() }))
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

pub(super) fn lists(values: ArrayRef, lengths: impl IntoIterator<Item = usize>) -> ArrayRef {
    let item = Arc::new(Field::new("item", values.data_type().clone(), true));
    Arc::new(ListArray::new(item, OffsetBuffer::from_lengths(lengths), values, None))
}
