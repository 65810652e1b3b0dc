//! What functions over arrays and maps share: the elements of a row, their encodings, and building
//! lists and maps of elements picked from columns.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::interleave;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};

use crate::expr::eval::Value;
use crate::expr::java;

/// The element range of a row of a list; `None` when the list is NULL.
pub(super) fn list_range(value: &Value, row: usize) -> Option<Range<usize>> {
    let at = value.at(row);
    let list = value.array.as_list::<i32>();
    let offsets = list.value_offsets();
    list.is_valid(at).then(|| offsets[at] as usize..offsets[at + 1] as usize)
}

/// The entry range of a row of a map; `None` when the map is NULL.
pub(super) fn map_range(value: &Value, row: usize) -> Option<Range<usize>> {
    let at = value.at(row);
    let map = value.array.as_map();
    let offsets = map.value_offsets();
    map.is_valid(at).then(|| offsets[at] as usize..offsets[at + 1] as usize)
}

/// The entries of a row of a map in the order Java would walk them; NULL gives `None`.
pub(super) fn map_entries(value: &Value, row: usize) -> Option<Vec<usize>> {
    let range = map_range(value, row)?;
    let keys = value.array.as_map().keys();
    Some(match keys.as_string_view_opt() {
        Some(texts) => {
            let start = range.start;
            java::map_order(range.map(|i| texts.value(i))).into_iter().map(|i| start + i).collect()
        }
        None => range.collect(),
    })
}

pub(super) fn items(value: &Value) -> &ArrayRef {
    value.array.as_list::<i32>().values()
}

/// Row encodings of a column: equal bytes for equal elements.
pub(super) fn encode(arrays: &[&ArrayRef]) -> Option<Vec<Rows>> {
    let ty = arrays.first()?.data_type().clone();
    let converter = RowConverter::new(vec![SortField::new(ty)]).ok()?;
    arrays.iter().map(|a| converter.convert_columns(&[(*a).clone()]).ok()).collect()
}

/// Builds a list column of elements picked from several columns.
pub(super) struct Picks {
    pub(super) picks: Vec<(usize, usize)>,
    pub(super) offsets: Vec<i32>,
    pub(super) valid: Vec<bool>,
}

impl Picks {
    pub(super) fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { picks: vec![], offsets, valid: Vec::with_capacity(rows) }
    }

    /// Adds a row: its elements as (column, place), or NULL.
    pub(super) fn row(&mut self, elements: Option<Vec<(usize, usize)>>) {
        self.valid.push(elements.is_some());
        self.picks.extend(elements.unwrap_or_default());
        self.offsets.push(self.picks.len() as i32);
    }

    pub(super) fn gather(&self, columns: &[&ArrayRef]) -> ArrayRef {
        let columns: Vec<&dyn Array> = columns.iter().map(|c| c.as_ref()).collect();
        interleave(&columns, &self.picks).expect("elements of one type, picked inside the columns")
    }

    pub(super) fn list(self, columns: &[&ArrayRef], ty: &DataType) -> ArrayRef {
        let DataType::List(field) = ty else { unreachable!("a list result has an ARRAY type") };
        let values = self.gather(columns);
        let offsets = OffsetBuffer::new(self.offsets.into());
        Arc::new(ListArray::new(field.clone(), offsets, values, Some(NullBuffer::from(self.valid))))
    }

    /// The same as a map; every pick takes its key and its value from the same column and place.
    pub(super) fn map(self, keys: &[&ArrayRef], values: &[&ArrayRef], ty: &DataType) -> ArrayRef {
        let DataType::Map(field, _) = ty else { unreachable!("a map result has a MAP type") };
        let DataType::Struct(fields) = field.data_type() else {
            unreachable!("a map's entries are structs");
        };
        let columns = vec![self.gather(keys), self.gather(values)];
        let entries = StructArray::new(fields.clone(), columns, None);
        let offsets = OffsetBuffer::new(self.offsets.into());
        let nulls = Some(NullBuffer::from(self.valid));
        Arc::new(MapArray::new(field.clone(), offsets, entries, nulls, false))
    }
}
