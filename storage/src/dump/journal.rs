//! A file of the node journal: its header, then a line per record with what it says.

use std::io;

use super::{FirstDamage, Options, Source, log, text};
use crate::journal::record::{Fact, Frame};
use crate::journal::replay::later_witness;
use crate::journal::{FIRST_RECORD, FileHeader};
use crate::log::batch::{BatchHeader, batches};
use crate::topics::kafka_uuid;

pub(super) fn dump(
    file: &dyn Source,
    options: Options,
    line: &mut dyn FnMut(&str) -> io::Result<()>,
) -> io::Result<Option<FirstDamage>> {
    let bytes = file.read_at(0, file.len()? as usize)?;
    let Some(header) = FileHeader::decode(&bytes) else {
        return Ok(Some(FirstDamage::new(0, "the file header is not readable")));
    };
    line(&format!(
        "Journal file {} from lsn {}, {} bytes",
        header.number,
        header.first_lsn,
        bytes.len()
    ))?;
    let mut position = FIRST_RECORD;
    let mut expected = header.first_lsn;
    while let Some(frame) =
        Frame::read(&bytes, position, header.salt).filter(|frame| frame.lsn == expected)
    {
        let fact = Fact::read(&bytes, &frame);
        let kind = frame.kind().map_or_else(|| frame.kind.to_string(), |kind| format!("{kind:?}"));
        let says =
            fact.as_ref().map_or_else(|| "not readable".to_owned(), |fact| say(&bytes, fact));
        line(&format!(
            "lsn: {} kind: {kind} size: {} durableUpTo: {} position: {position} | {says}",
            frame.lsn,
            frame.end - frame.start,
            frame.durable
        ))?;
        if fact.is_none() {
            return Ok(Some(FirstDamage::new(position as u64, "the record is not readable")));
        }
        for range in fact.iter().flat_map(batch_ranges) {
            each_batch(&bytes[range], options, line)?;
        }
        position = frame.next;
        expected += 1;
    }
    line(&format!("The next lsn is {expected}, at byte {position}"))?;
    // What follows is free space, a torn tail that a start cuts, or damage that it refuses.
    Ok(later_witness(&bytes, position, header.salt, expected).map(|witness| {
        let reason = format!(
            "record {expected} is not readable, but record {} says it was durable",
            witness.lsn
        );
        FirstDamage::new(position as u64, reason)
    }))
}

fn batch_ranges(fact: &Fact) -> Vec<std::ops::Range<usize>> {
    match fact {
        Fact::Append { batches, .. } => vec![batches.clone()],
        Fact::Seal { appends: parts, .. }
        | Fact::TransactionEnd { markers: parts, .. }
        | Fact::GroupTold { appends: parts, .. } => {
            parts.iter().map(|(_, _, range)| range.clone()).collect()
        }
        _ => Vec::new(),
    }
}

fn each_batch(
    bytes: &[u8],
    options: Options,
    line: &mut dyn FnMut(&str) -> io::Result<()>,
) -> io::Result<()> {
    if !options.records && !options.deep {
        return Ok(());
    }
    for (header, batch) in batches(bytes).map_while(Result::ok) {
        let is_valid = BatchHeader::verify_stored(batch).is_ok();
        line(&format!("  {}", log::batch_line(&header, 0, is_valid)))?;
        log::each_record(batch, options, &mut |record| line(&format!("  {record}")))?;
    }
    Ok(())
}

/// A record in words.
fn say(bytes: &[u8], fact: &Fact) -> String {
    let offsets = |range: &std::ops::Range<usize>| -> String {
        let headers: Vec<_> = batches(&bytes[range.clone()])
            .map_while(Result::ok)
            .map(|(header, _)| header)
            .collect();
        match (headers.first(), headers.last()) {
            (Some(first), Some(last)) => format!(
                "offsets {} to {} in {} batches",
                first.base_offset,
                last.last_offset(),
                headers.len()
            ),
            _ => "no batch".to_owned(),
        }
    };
    let keys = |facts: &[(bytes::Bytes, Option<bytes::Bytes>)]| -> String {
        let key = |(key, value): &(bytes::Bytes, Option<bytes::Bytes>)| match value {
            Some(value) => format!("{} = {} bytes", text(key), value.len()),
            None => format!("{} forgotten", text(key)),
        };
        facts.iter().map(key).collect::<Vec<_>>().join(", ")
    };
    match fact {
        Fact::Append { topic, partition, batches } => {
            format!("topic {} partition {partition}: {}", kafka_uuid(*topic), offsets(batches))
        }
        Fact::Placed { topic, partition, segment, position, front } => {
            let what = BatchHeader::parse(&bytes[front.clone()])
                .map_or_else(|e| e.to_string(), |header| log::batch_line(&header, *position, true));
            format!(
                "topic {} partition {partition}, in its segment {segment}: {what}",
                kafka_uuid(*topic)
            )
        }
        Fact::TopicCreated(topic) => format!(
            "topic {} is {} with {} partitions, settings {:?}",
            kafka_uuid(topic.topic),
            topic.name,
            topic.partitions,
            topic.config
        ),
        Fact::TopicDeleted { topic } => format!("topic {} is deleted", kafka_uuid(*topic)),
        Fact::TopicConfig { topic, config } => {
            format!("topic {} has settings {config:?}", kafka_uuid(*topic))
        }
        Fact::TopicGrown { topic, partitions } => {
            format!("topic {} has {partitions} partitions", kafka_uuid(*topic))
        }
        Fact::Group(facts) => keys(facts),
        Fact::ProducerIds { next } => format!("producer ids below {next} are given"),
        Fact::Seal { epoch, payload, appends } => {
            let part = |(topic, partition, range): &(uuid::Uuid, i32, std::ops::Range<usize>)| {
                format!("topic {} partition {partition}: {}", kafka_uuid(*topic), offsets(range))
            };
            let parts: Vec<String> = appends.iter().map(part).collect();
            format!("epoch {epoch}, state of {} bytes; {}", payload.len(), parts.join("; "))
        }
        Fact::App { kind, bytes } => format!("fact of kind {kind}, {} bytes", bytes.len()),
        Fact::AppReplaced(facts) => format!("all facts replaced by {}", facts.len()),
        Fact::LogStart { topic, partition, offset } => {
            format!("topic {} partition {partition} begins at {offset}", kafka_uuid(*topic))
        }
        Fact::TransactionEnd { markers, groups } | Fact::GroupTold { appends: markers, groups } => {
            let part = |(topic, partition, range): &(uuid::Uuid, i32, std::ops::Range<usize>)| {
                format!("topic {} partition {partition}: {}", kafka_uuid(*topic), offsets(range))
            };
            let parts: Vec<String> = markers.iter().map(part).collect();
            format!("{}; {}", parts.join("; "), keys(groups))
        }
    }
}
