//! INSERT VALUES: one record, durable before the answer.

use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Int64Type, Schema as ArrowSchema};
use millstream_sql::catalog::{Catalog, Relation};
use millstream_sql::error::{ErrorKind, Result, SqlError};
use millstream_sql::expr::{EvalContext, Expr, RowErrors, compile};
use millstream_sql::plan::InsertValues;
use millstream_sql::types::{Column, Schema};
use millstream_storage::TopicPartition;
use millstream_storage::log::batch::{BatchBuilder, Codec};

use super::node_error;
use crate::formats;
use crate::log::LogParts;
use crate::partitioner::partition_of;

/// Records without a key go to the partitions in turn.
static TURN: AtomicU32 = AtomicU32::new(0);

/// Writes the row.
///
/// # Errors
/// When a value cannot be computed or written, or the topic is gone.
pub(super) fn insert(plan: &InsertValues, catalog: &Catalog, log: &LogParts) -> Result<()> {
    let relation = catalog.relation(&plan.relation).ok_or_else(|| {
        let message = format!("no stream or table is called {}", plan.relation);
        SqlError::new(ErrorKind::UnknownSource, message, "SHOW STREAMS and SHOW TABLES list them.")
    })?;
    let now_ms = log.clock.now_ms();
    let columns: Result<Vec<ArrayRef>> = plan.values.iter().map(|e| value_of(e, now_ms)).collect();
    let columns = columns?;
    let time = match &plan.time {
        None => now_ms,
        Some(time) => {
            let value = value_of(time, now_ms)?;
            let time = value.as_primitive_opt::<Int64Type>();
            time.filter(|t| t.is_valid(0)).map(|t| t.value(0)).ok_or_else(|| {
                let message = "the ROWTIME is no number of milliseconds";
                SqlError::new(ErrorKind::LiteralNotConvertible, message, "Give a BIGINT.")
            })?
        }
    };
    let (key, value) = encode(relation, &columns)?;
    let topic = log.broker.topic(&relation.topic).ok_or_else(|| {
        let message = format!("topic {} of {} does not exist", relation.topic, relation.name);
        SqlError::new(ErrorKind::UnknownTopic, message, "Create the topic, or DROP the relation.")
    })?;
    let partitions = topic.partition_count();
    let partition = match &key {
        Some(key) => partition_of(key, partitions),
        None => (TURN.fetch_add(1, Ordering::Relaxed) % partitions.max(1) as u32) as i32,
    };
    let mut batch = BatchBuilder::new(Codec::None);
    batch.push(time, key.as_deref(), value.as_deref(), &[]);
    let batch = batch.build().map_err(|e| node_error(format!("the record cannot be built: {e}")))?;
    let at = TopicPartition { topic: topic.id, partition };
    let appended = log.broker.append(at, batch, now_ms).map_err(|code| {
        let message = format!("topic {} does not take the record: {code:?}", relation.topic);
        SqlError::new(ErrorKind::SerializationFailed, message, "See the topic's settings.")
    })?;
    log.wait(appended.ticket).map_err(|e| node_error(e.to_string()))
}

/// The one value of an expression without columns. What would be NULL with an entry in the processing
/// log inside a query is an error here.
fn value_of(expr: &Expr, now_ms: i64) -> Result<ArrayRef> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let one = RecordBatch::try_new_with_options(ArrowSchema::empty().into(), vec![], &options)
        .map_err(|e| node_error(e.to_string()))?;
    let mut errors = RowErrors::default();
    let compiled = compile(expr, &Schema::default())?;
    let value = compiled.evaluate(&one, &EvalContext { now_ms }, &mut errors);
    match errors.0.first() {
        None => Ok(value),
        Some(error) => {
            let message = format!("a value cannot be computed: {}", error.message);
            Err(SqlError::new(ErrorKind::LiteralNotConvertible, message, "Give another value."))
        }
    }
}

type Payloads = (Option<Vec<u8>>, Option<Vec<u8>>);

fn encode(relation: &Relation, columns: &[ArrayRef]) -> Result<Payloads> {
    let schema = &relation.schema;
    let (key, value) = columns.split_at(schema.key.len().min(columns.len()));
    let is_value = |(_, column): &(&ArrayRef, &Column)| column.header.is_none();
    let (value, value_columns): (Vec<ArrayRef>, Vec<Column>) = value
        .iter()
        .zip(&schema.value)
        .filter(is_value)
        .map(|(array, column)| (array.clone(), column.clone()))
        .unzip();
    Ok((
        payload(&relation.key_format, &schema.key, key)?,
        payload(&relation.value_format, &value_columns, &value)?,
    ))
}

fn payload(
    format: &millstream_sql::catalog::Format,
    columns: &[Column],
    arrays: &[ArrayRef],
) -> Result<Option<Vec<u8>>> {
    let encoder = formats::encoder(format, columns).map_err(|e| SqlError::unsupported(e.to_string()))?;
    let encoded = encoder.encode(arrays, 1);
    match encoded.row(0) {
        Ok(bytes) => Ok(bytes.map(<[u8]>::to_vec)),
        Err(reason) => Err(SqlError::new(
            ErrorKind::SerializationFailed,
            format!("the row cannot be written as {}: {reason}", format.kind),
            "Give values that the format can hold.",
        )),
    }
}
