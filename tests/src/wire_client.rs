//! What harnesses use of the server's own Kafka client ([`millstream::kafka_client`]), and batches to
//! send with it.

use bytes::Bytes;
pub use millstream::kafka_client::{
    ClientError, FETCH, Fetched, FetchedRecord, KafkaClient as Client, PRODUCE, Result, check,
    fetch_request, frame, produce_request,
};
use millstream_storage::log::batch::{BatchBuilder, Codec};

/// A record to produce: time, key, value.
pub type NewRecord = (i64, Option<Vec<u8>>, Vec<u8>);

/// A batch of records; with `producer` (id, epoch, first sequence number) an idempotent one.
///
/// # Errors
/// When there are no records.
pub fn batch(new: &[NewRecord], producer: Option<(i64, i16, i32)>) -> Result<Bytes> {
    let mut builder = BatchBuilder::new(Codec::None);
    if let Some((id, epoch, sequence)) = producer {
        builder = builder.producer(id, epoch, sequence);
    }
    fill(builder, new)
}

/// A batch of a transaction, by producer id, epoch and first sequence number.
///
/// # Errors
/// When there are no records.
pub fn transactional_batch(new: &[NewRecord], producer: (i64, i16, i32)) -> Result<Bytes> {
    let (id, epoch, sequence) = producer;
    fill(BatchBuilder::new(Codec::None).producer(id, epoch, sequence).transactional(), new)
}

fn fill(mut builder: BatchBuilder, new: &[NewRecord]) -> Result<Bytes> {
    for (time, key, value) in new {
        builder.push(*time, key.as_deref(), Some(value), &[]);
    }
    builder.build().map_err(|e| ClientError::Answer(format!("{e}")))
}
