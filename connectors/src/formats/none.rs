//! NONE: no columns, a null payload. Only for keys of relations without key columns; and what any format
//! does where there are no columns: a payload is a row of nothing, no payload is NULL.

use arrow::array::{ArrayRef, new_null_array};
use millstream_sql::types::Column;

use super::{DecodeError, Decoded, Decoder, Encoded, Encoder, Payload};

/// Ignores the payload. Columns should not exist; if they do, they are NULL.
pub(super) struct NoneDecoder {
    columns: Vec<Column>,
    rows: usize,
}

impl NoneDecoder {
    pub(super) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: 0 }
    }
}

impl Decoder for NoneDecoder {
    fn decode(&mut self, payload: Payload<'_>) -> Result<Decoded, DecodeError> {
        self.rows += 1;
        Ok(if payload.bytes.is_some() { Decoded::Row } else { Decoded::Null })
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        let rows = std::mem::take(&mut self.rows);
        self.columns.iter().map(|c| new_null_array(&c.ty.to_arrow(), rows)).collect()
    }
}

/// Writes null payloads.
pub(super) struct NoneEncoder;

impl Encoder for NoneEncoder {
    fn encode(&self, _columns: &[ArrayRef], rows: usize) -> Encoded {
        let mut out = Encoded::default();
        (0..rows).for_each(|_| out.null());
        out
    }
}
