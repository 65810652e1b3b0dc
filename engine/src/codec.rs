//! Rows as bytes: keys and values of state.
//!
//! The encoding is arrow-row's: byte order is value order, equal bytes are equal values, every Arrow
//! type of a SQL type is covered. Columns without a row (a key of no column) are empty bytes.

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, RowParser, SortField};
use millstream_sql::types::Column;

use crate::error::{EngineError, Result};
use crate::state::StateError;

/// Turns columns into one byte string per row, and back.
pub(crate) struct RowCodec {
    types: Vec<DataType>,
    converter: Option<RowConverter>,
    parser: Option<RowParser>,
}

/// Encoded rows.
pub(crate) struct Encoded {
    rows: Option<arrow::row::Rows>,
    len: usize,
}

impl Encoded {
    pub(crate) fn row(&self, i: usize) -> &[u8] {
        debug_assert!(i < self.len, "row {i} of {}", self.len);
        match &self.rows {
            Some(rows) => rows.row(i).data(),
            None => &[],
        }
    }
}

impl RowCodec {
    pub(crate) fn new<'a>(columns: impl IntoIterator<Item = &'a Column>) -> Result<Self> {
        Self::of_types(columns.into_iter().map(|c| c.ty.to_arrow()).collect())
    }

    pub(crate) fn of_types(types: Vec<DataType>) -> Result<Self> {
        if types.is_empty() {
            return Ok(RowCodec { types, converter: None, parser: None });
        }
        let fields = types.iter().cloned().map(SortField::new).collect();
        let converter = RowConverter::new(fields)?;
        let parser = converter.parser();
        Ok(RowCodec { types, converter: Some(converter), parser: Some(parser) })
    }

    /// `len` rows of `columns`.
    pub(crate) fn encode(&self, columns: &[ArrayRef], len: usize) -> Result<Encoded> {
        let rows = match &self.converter {
            Some(converter) => Some(converter.convert_columns(columns)?),
            None => None,
        };
        Ok(Encoded { rows, len })
    }

    /// The columns of `rows`.
    pub(crate) fn decode<'a>(
        &self,
        rows: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<ArrayRef>> {
        let (Some(converter), Some(parser)) = (&self.converter, &self.parser) else {
            return Ok(vec![]);
        };
        let parsed = rows.into_iter().map(|row| parser.parse(row));
        converter
            .convert_rows(parsed)
            .map_err(|e| EngineError::State(StateError::Damaged(e.to_string())))
    }

    /// The columns of rows some of which are not there: NULL in every column. Also which are there.
    pub(crate) fn decode_optional(
        &self,
        rows: &[Option<&[u8]>],
    ) -> Result<(Vec<ArrayRef>, BooleanBuffer)> {
        let present = BooleanBuffer::collect_bool(rows.len(), |i| rows[i].is_some());
        let columns = self.decode(rows.iter().flatten().copied())?;
        Ok((spread(&columns, &present, &self.types)?, present))
    }
}

/// Puts the rows of dense `columns` where `present` is set; NULL elsewhere.
pub(crate) fn spread(
    columns: &[ArrayRef],
    present: &BooleanBuffer,
    types: &[DataType],
) -> Result<Vec<ArrayRef>> {
    let count = present.count_set_bits();
    if count == present.len() {
        return Ok(columns.to_vec());
    }
    if count == 0 {
        return Ok(types.iter().map(|t| arrow::array::new_null_array(t, present.len())).collect());
    }
    let mut next = 0u32;
    let places: UInt32Array = present
        .iter()
        .map(|set| {
            set.then(|| {
                next += 1;
                next - 1
            })
        })
        .collect();
    columns.iter().map(|c| Ok(take(c.as_ref(), &places, None)?)).collect()
}

/// Whether row `row` is NULL in every one of `columns` (a record without a key).
pub(crate) fn all_null(columns: &[ArrayRef], row: usize) -> bool {
    columns.iter().all(|c| c.is_null(row))
}
