//! `millstream produce`: lines become records.
//!
//! A batch is sent when no more lines are there to be read at once, or when it is large enough; so a
//! person sees each line acknowledged, and a file goes in large batches. The next batch is sent when
//! the one before is acknowledged: lines keep their order.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use kafka_wire::{ProduceRequest, produce_request};
use millstream_connectors::partitioner::{Sticky, partition_of};
use millstream_storage::log::batch::{BatchBuilder, Codec, Header};

use super::args::{Acks, Compression, ProduceArgs};
use super::{check, connect, offsets};
use crate::clock::now_ms;
use crate::kafka_client::KafkaClient;

const PRODUCE: i16 = 9;
const BATCH_BYTES: usize = 256 << 10;
const TIMEOUT_MS: i32 = 30_000;

pub(super) fn run(args: &ProduceArgs, stop: &AtomicBool) -> io::Result<()> {
    let input: Box<dyn Read> = match &args.file {
        None => Box::new(io::stdin()),
        Some(path) => Box::new(File::open(path).map_err(|e| {
            io::Error::new(e.kind(), format!("cannot read {}: {e}", path.display()))
        })?),
    };
    let mut client = connect(&args.server)?;
    let partitions = topic(&mut client, &args.topic)?;
    if let Some(partition) = args.partition.filter(|partition| *partition >= partitions) {
        let words = format!("topic {} has {partitions} partitions, and no {partition}", args.topic);
        return Err(io::Error::other(words));
    }
    let sticky = Sticky::default();
    let mut producer =
        Producer { args, client, partitions, sticky, open: BTreeMap::new(), bytes: 0, sent: 0 };
    let mut lines = BufReader::with_capacity(BATCH_BYTES, input);
    let mut line = Vec::new();
    while !stop.load(Ordering::Acquire) {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        producer.take(text)?;
        // Nothing more to be had without waiting.
        if lines.buffer().is_empty() || producer.bytes >= BATCH_BYTES {
            producer.send()?;
        }
    }
    producer.send()?;
    eprintln!("{} records produced to {}.", producer.sent, args.topic);
    Ok(())
}

/// The number of partitions; the topic is made if the server makes topics by itself.
fn topic(client: &mut KafkaClient, name: &str) -> io::Result<i32> {
    use kafka_wire::{MetadataRequest, metadata_request::MetadataRequestTopic};
    let mut asked = MetadataRequestTopic::default();
    asked.name = Some(name.into());
    let mut request = MetadataRequest::default();
    request.topics = Some(vec![asked]);
    request.allow_auto_topic_creation = true;
    client.call(&request, 9)?;
    offsets::partitions(client, name)
}

struct Producer<'a> {
    args: &'a ProduceArgs,
    client: KafkaClient,
    partitions: i32,
    sticky: Sticky,
    open: BTreeMap<i32, BatchBuilder>,
    bytes: usize,
    sent: u64,
}

impl Producer<'_> {
    fn take(&mut self, line: &[u8]) -> io::Result<()> {
        let (key, value) = match &self.args.key_separator {
            None => (None, line),
            Some(separator) => {
                let (key, value) = split(line, separator.as_bytes()).ok_or_else(|| {
                    let line = String::from_utf8_lossy(line);
                    io::Error::other(format!("there is no {separator:?} in the line {line:?}"))
                })?;
                (Some(key), value)
            }
        };
        let is_null = self.args.null.as_ref().is_some_and(|null| null.as_bytes() == value);
        let partition = match (self.args.partition, key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_of(key, self.partitions),
            (None, None) => self.sticky.partition(self.partitions),
        };
        let headers: Vec<Header<'_>> = self
            .args
            .headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())))
            .collect();
        let codec = match self.args.compression {
            Compression::None => Codec::None,
            Compression::Gzip => Codec::Gzip,
            Compression::Snappy => Codec::Snappy,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd => Codec::Zstd,
        };
        let batch = self.open.entry(partition).or_insert_with(|| BatchBuilder::new(codec));
        batch.push(now_ms(), key, (!is_null).then_some(value), &headers);
        self.bytes += line.len() + 32;
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        let acks = match self.args.acks {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        };
        let mut topic = produce_request::TopicProduceData::default();
        topic.name = self.args.topic.as_str().into();
        let mut records = 0;
        for (partition, batch) in std::mem::take(&mut self.open) {
            records += batch.len() as u64;
            let mut data = produce_request::PartitionProduceData::default();
            data.index = partition;
            data.records = Some(batch.build().map_err(|e| io::Error::other(e.to_string()))?);
            topic.partition_data.push(data);
        }
        self.bytes = 0;
        self.sticky.next_batch();
        if records == 0 {
            return Ok(());
        }
        let mut request = ProduceRequest::default();
        request.transactional_id = None;
        request.acks = acks;
        request.timeout_ms = TIMEOUT_MS;
        request.topic_data = vec![topic];
        if acks == 0 {
            self.client.send(&request, PRODUCE)?;
        } else {
            let answer = self.client.call(&request, PRODUCE)?;
            for partition in answer.responses.iter().flat_map(|topic| &topic.partition_responses) {
                let what =
                    format!("produce to partition {} of {}", partition.index, self.args.topic);
                // What is wrong with a record says more than that the batch was rejected.
                let record = partition.record_errors.first();
                let words = record.and_then(|one| one.batch_index_error_message.as_deref());
                let words = words.or(partition.error_message.as_deref());
                check(&what, partition.error_code, words)?;
            }
        }
        self.sent += records;
        Ok(())
    }
}

/// What stands before and after the first separator.
fn split<'a>(line: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    if separator.is_empty() {
        return None;
    }
    let at = line.windows(separator.len()).position(|window| window == separator)?;
    Some((&line[..at], &line[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn keys_end_at_the_first_separator() {
        let check = |line: &str, separator: &str, wanted: Option<(&str, &str)>| {
            let wanted = wanted.map(|(key, value)| (key.as_bytes(), value.as_bytes()));
            assert_eq!(split(line.as_bytes(), separator.as_bytes()), wanted, "{line}");
        };
        check("a:b:c", ":", Some(("a", "b:c")));
        check("a=>b", "=>", Some(("a", "b")));
        check(":b", ":", Some(("", "b")));
        check("b", ":", None);
        check("b", "", None);
    }
}
