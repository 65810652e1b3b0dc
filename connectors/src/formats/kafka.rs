//! KAFKA: exactly one column, as Kafka's own serializers write it: INT 4 bytes, BIGINT 8 bytes and
//! DOUBLE 8 bytes IEEE, all big-endian; STRING as UTF-8; BYTES as they are. NULL is a null payload.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type};
use millstream_sql::types::Column;

use super::columns::Builder;
use super::{DecodeError, Decoded, Decoder, Encoded, Encoder, Payload};

pub(super) struct KafkaDecoder {
    columns: Vec<Builder>,
}

impl KafkaDecoder {
    /// The first column takes the payload; the planner lets no second one through.
    pub(super) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.iter().map(|c| Builder::new(&c.ty)).collect() }
    }
}

impl Decoder for KafkaDecoder {
    fn decode(&mut self, payload: Payload<'_>) -> Result<Decoded, DecodeError> {
        let Some((column, others)) = self.columns.split_first_mut() else {
            return Ok(Decoded::Null);
        };
        others.iter_mut().for_each(Builder::null);
        let Some(bytes) = payload.bytes else {
            column.null();
            return Ok(Decoded::Null);
        };
        append(column, bytes, &payload).map(|()| Decoded::Row).inspect_err(|_| column.null())
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        self.columns.iter_mut().map(Builder::finish).collect()
    }
}

/// Appends the value; nothing on failure.
fn append(column: &mut Builder, bytes: &[u8], payload: &Payload<'_>) -> Result<(), DecodeError> {
    match column {
        Builder::Int(b) => b.append_value(i32::from_be_bytes(exact(bytes, "INTEGER")?)),
        Builder::Bigint(b) => b.append_value(i64::from_be_bytes(exact(bytes, "BIGINT")?)),
        Builder::Double(b) => b.append_value(f64::from_be_bytes(exact(bytes, "DOUBLE")?)),
        Builder::Text(b) => {
            if !b.append_part(payload, bytes) {
                return Err(DecodeError::new("the text is not UTF-8"));
            }
        }
        Builder::Bytes(b) => b.append_value(bytes),
        _ => return Err(DecodeError::new("the KAFKA format does not hold this column's type")),
    }
    Ok(())
}

fn exact<const N: usize>(bytes: &[u8], ty: &str) -> Result<[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| {
        DecodeError::new(format!("{ty} takes {N} bytes in the KAFKA format, found {}", bytes.len()))
    })
}

pub(super) struct KafkaEncoder;

impl Encoder for KafkaEncoder {
    fn encode(&self, columns: &[ArrayRef], rows: usize) -> Encoded {
        let mut out = Encoded::default();
        let [column] = columns else {
            let reason = format!("the KAFKA format holds one column, not {}", columns.len());
            (0..rows).for_each(|_| out.fail_row(0, reason.clone()));
            return out;
        };
        for row in 0..rows {
            let start = out.bytes.len();
            if column.is_null(row) {
                out.null();
                continue;
            }
            match column.data_type() {
                DataType::Int32 => {
                    let value = column.as_primitive::<Int32Type>().value(row);
                    out.bytes.extend_from_slice(&value.to_be_bytes());
                }
                DataType::Int64 => {
                    let value = column.as_primitive::<Int64Type>().value(row);
                    out.bytes.extend_from_slice(&value.to_be_bytes());
                }
                DataType::Float64 => {
                    let value = column.as_primitive::<Float64Type>().value(row);
                    out.bytes.extend_from_slice(&value.to_be_bytes());
                }
                DataType::Utf8View => {
                    out.bytes.extend_from_slice(column.as_string_view().value(row).as_bytes());
                }
                DataType::Binary => {
                    out.bytes.extend_from_slice(column.as_binary::<i32>().value(row));
                }
                other => {
                    out.fail_row(start, format!("the KAFKA format does not hold {other}"));
                    continue;
                }
            }
            out.end_row(start);
        }
        out
    }
}
