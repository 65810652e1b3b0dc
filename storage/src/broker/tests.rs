//! The broker as its callers see it, on a disk in memory.

mod behaviour;
mod compaction;
mod crash;
mod damage;
mod full;
mod placed;
mod real;
mod settings;

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{Broker, Isolation, Recovered, TopicPartition, WakeKey, Wakes};
use crate::config::StorageConfig;
use crate::disk::Disk;
use crate::error::Error;
use crate::log::batch::{self, BatchBuilder, Codec, RecordIter, batches};

pub(super) struct NoWakes;

impl Wakes for NoWakes {
    fn wake(&self, _: WakeKey) {}
}

/// Small files, so that rolling and recycling happen all the time.
pub(super) fn small_config() -> StorageConfig {
    StorageConfig { journal_file_bytes: 16 << 10, checkpoint_bytes: 32 << 10, ..Default::default() }
}

pub(super) fn open(
    disk: Arc<dyn Disk>,
    config: StorageConfig,
    entropy: u128,
) -> Result<(Broker, Recovered), Error> {
    Broker::open(disk, config, 0, Uuid::from_u128(entropy), Arc::new(NoWakes))
}

/// A batch whose values are these.
pub(super) fn batch_of(values: &[String], producer: Option<(i64, i16, i32)>) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    if let Some((id, epoch, sequence)) = producer {
        builder = builder.producer(id, epoch, sequence);
    }
    for value in values {
        builder.push(0, Some(b"k"), Some(value.as_bytes()), &[]);
    }
    builder.build().unwrap()
}

/// All visible records of a partition, read in small steps.
pub(super) fn read_all(broker: &Broker, at: TopicPartition) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    let mut offset = broker.log_start(at).unwrap();
    loop {
        let read = broker.read(at, offset, 300, Isolation::ReadCommitted).unwrap();
        if read.records.is_empty() {
            assert_eq!(offset, read.high_watermark, "a read stops only at the end");
            return found;
        }
        for one in batches(&read.records) {
            let (_, bytes) = one.unwrap();
            let (header, body) = batch::records(bytes, 1 << 20).unwrap();
            batch::BatchHeader::verify_stored(bytes).unwrap();
            if header.is_control() {
                // A marker, or a void in the place of a lost batch.
                continue;
            }
            for record in RecordIter::new(header, &body) {
                let record = record.unwrap();
                if record.offset >= offset {
                    let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                    found.push((record.offset, value));
                }
            }
        }
        assert!(read.next_offset > offset);
        offset = read.next_offset;
    }
}
