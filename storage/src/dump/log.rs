//! A `.log` file: a line per batch, and on demand one per record, as `kafka-dump-log` prints them.

use std::io;

use super::{FirstDamage, Options, Source, text};
use crate::log::batch::{BatchHeader, HEADER_BYTES, Record, RecordIter, records};
use crate::log::control::Marker;

const WINDOW_BYTES: usize = 1 << 20;
const DECOMPRESSED_MAX: usize = 128 << 20;

pub(super) fn dump(
    base: i64,
    file: &dyn Source,
    options: Options,
    line: &mut dyn FnMut(&str) -> io::Result<()>,
) -> io::Result<Option<FirstDamage>> {
    line(&format!("Log starting offset: {base}"))?;
    let mut damage = None;
    let mut next_offset = base;
    walk(file, |position, found| {
        let (header, batch) = match found {
            Ok(found) => found,
            Err(reason) => {
                damage.get_or_insert_with(|| FirstDamage::new(position, reason));
                return Ok(());
            }
        };
        let checked = BatchHeader::verify_stored(batch);
        line(&batch_line(header, position, checked.is_ok()))?;
        if let Err(e) = checked {
            damage.get_or_insert_with(|| FirstDamage::new(position, e.to_string()));
            return Ok(());
        }
        if header.base_offset < next_offset {
            let reason = format!("offset {} comes after {}", header.base_offset, next_offset - 1);
            damage.get_or_insert_with(|| FirstDamage::new(position, reason));
        }
        next_offset = header.next_offset();
        if let Some(reason) = each_record(batch, options, line)? {
            damage.get_or_insert_with(|| FirstDamage::new(position, reason));
        }
        Ok(())
    })?;
    Ok(damage)
}

/// Visits the batches of a log, each with its place; ends with an error when one cannot be told.
pub(super) fn walk(
    file: &dyn Source,
    mut visit: impl FnMut(u64, Result<(&BatchHeader, &[u8]), String>) -> io::Result<()>,
) -> io::Result<()> {
    let end = file.len()?;
    let mut position = 0;
    let mut want = WINDOW_BYTES;
    while position < end {
        let window = file.read_at(position, want.min((end - position) as usize))?;
        want = WINDOW_BYTES;
        let mut at = 0;
        while at < window.len() {
            let rest = &window[at..];
            let here = position + at as u64;
            let is_all = here + rest.len() as u64 >= end;
            if rest.len() < HEADER_BYTES && !is_all {
                break;
            }
            let header = match BatchHeader::parse(rest) {
                Ok(header) => header,
                Err(e) => return visit(here, Err(e.to_string())),
            };
            match rest.get(..header.total_bytes) {
                Some(batch) => visit(here, Ok((&header, batch)))?,
                None if is_all => return visit(here, Err("the batch is cut short".to_owned())),
                None => {
                    want = WINDOW_BYTES.max(header.total_bytes);
                    break;
                }
            }
            at += header.total_bytes;
        }
        if window.is_empty() {
            return Ok(());
        }
        position += at as u64;
    }
    Ok(())
}

/// As Kafka's `DumpLogSegments.printBatchLevel`.
pub(super) fn batch_line(header: &BatchHeader, position: u64, is_valid: bool) -> String {
    let last_sequence = if header.base_sequence < 0 { -1 } else { header.last_sequence() };
    let horizon = header
        .delete_horizon()
        .map_or_else(|| "OptionalLong.empty".to_owned(), |at| format!("OptionalLong[{at}]"));
    let time = if header.is_log_append_time() { "LogAppendTime" } else { "CreateTime" };
    let codec = header.codec().map_or("unknown", |codec| codec.name());
    format!(
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {last_sequence} \
         producerId: {} producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} isControl: {} \
         deleteHorizonMs: {horizon} position: {position} {time}: {} size: {} magic: 2 \
         compresscodec: {codec} crc: {} isvalid: {is_valid}",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.base_sequence,
        header.producer_id,
        header.producer_epoch,
        header.leader_epoch,
        header.is_transactional(),
        header.is_control(),
        header.max_timestamp,
        header.total_bytes,
        header.crc,
    )
}

/// Prints the records of a batch; gives what is wrong with them.
pub(super) fn each_record(
    batch: &[u8],
    options: Options,
    line: &mut dyn FnMut(&str) -> io::Result<()>,
) -> io::Result<Option<String>> {
    if !options.records && !options.deep {
        return Ok(None);
    }
    let Ok(header) = BatchHeader::parse(batch) else { return Ok(None) };
    let codec = header.codec().map_or("unknown", |codec| codec.name());
    if codec != "none" && !options.deep {
        line(&format!("| {} records in {codec}: --deep opens them", header.record_count))?;
        return Ok(None);
    }
    let (header, body) = match records(batch, DECOMPRESSED_MAX) {
        Ok(opened) => opened,
        Err(e) => return Ok(Some(e.to_string())),
    };
    for record in RecordIter::new(header, &body) {
        match record {
            Ok(record) if options.records => line(&record_line(&header, batch, &record))?,
            Ok(_) => {}
            Err(e) => return Ok(Some(e.to_string())),
        }
    }
    Ok(None)
}

/// As Kafka prints a record with `--print-data-log`.
fn record_line(header: &BatchHeader, batch: &[u8], record: &Record<'_>) -> String {
    let size = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
    let time = if header.is_log_append_time() { "LogAppendTime" } else { "CreateTime" };
    let sequence = match header.base_sequence {
        none if none < 0 => -1,
        base => {
            crate::log::batch::sequence_after(base, (record.offset - header.base_offset) as i32)
        }
    };
    let names: Vec<String> = record.headers().map(|(name, _)| text(name)).collect();
    let mut line = format!(
        "| offset: {} {time}: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [{}]",
        record.offset,
        record.timestamp,
        size(record.key),
        size(record.value),
        names.join(","),
    );
    match Marker::read(batch) {
        Some(marker) => {
            let kind = if marker.commit { "COMMIT" } else { "ABORT" };
            line +=
                &format!(" endTxnMarker: {kind} coordinatorEpoch: {}", marker.coordinator_epoch);
        }
        None => {
            // A null is left out, as there.
            for (name, part) in [("key", record.key), ("payload", record.value)] {
                line += &part.map_or_else(String::new, |part| format!(" {name}: {}", text(part)));
            }
        }
    }
    line
}
