//! Rows of answers as JSON text.

use arrow::array::RecordBatch;

use crate::formats::json::{Times, Writer};

/// Appends row `row` as a JSON array in ksqlDB's text of values: decimals as numbers with their scale,
/// bytes in base64, time types as ISO text, NULL as `null`.
pub fn write_row(batch: &RecordBatch, row: usize, out: &mut Vec<u8>) {
    out.push(b'[');
    for (i, column) in batch.columns().iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        match Writer::new(column, Times::Text) {
            Ok(writer) => writer.write(row, out),
            // A type that no SQL column has.
            Err(_) => out.extend_from_slice(b"null"),
        }
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Date32Array, Float64Array, StringViewArray};
    use std::sync::Arc;

    #[test]
    fn a_row_is_an_array() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("A", Arc::new(StringViewArray::from(vec![Some("x\"y")]))),
            ("B", Arc::new(Float64Array::from(vec![10.0]))),
            ("C", Arc::new(Date32Array::from(vec![0]))),
            ("D", Arc::new(StringViewArray::from(vec![None::<&str>]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut out = Vec::new();
        write_row(&batch, 0, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), r#"["x\"y",10.0,"1970-01-01",null]"#);
    }
}
