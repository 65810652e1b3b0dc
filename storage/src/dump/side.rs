//! The indexes and the producer snapshot of a segment, checked against its `.log` where it is there.

use std::collections::HashMap;
use std::io;

use super::{FirstDamage, Source, log};
use crate::log::files;
use crate::log::transactions::{Aborted, ENTRY_BYTES};

type Lines<'a> = &'a mut dyn FnMut(&str) -> io::Result<()>;

fn whole(file: &dyn Source) -> io::Result<Vec<u8>> {
    file.read_at(0, file.len()? as usize)
}

/// The last offset and the largest timestamp of each batch of the log beside, by position.
fn batches_beside(file: &dyn Source) -> io::Result<Option<HashMap<u64, (i64, i64)>>> {
    let Some(log) = file.beside("log") else { return Ok(None) };
    let mut batches = HashMap::new();
    log::walk(&*log, |position, found| {
        if let Ok((header, _)) = found {
            batches.insert(position, (header.last_offset(), header.max_timestamp));
        }
        Ok(())
    })?;
    Ok(Some(batches))
}

pub(super) fn index(
    base: i64,
    file: &dyn Source,
    line: Lines<'_>,
) -> io::Result<Option<FirstDamage>> {
    let bytes = whole(file)?;
    let batches = batches_beside(file)?;
    let mut damage = None;
    let mut last = (-1, -1);
    let (entries, rest) = bytes.as_chunks::<8>();
    for (i, [a, b, c, d, e, f, g, h]) in entries.iter().enumerate() {
        let offset = base + i64::from(u32::from_be_bytes([*a, *b, *c, *d]));
        let position = i64::from(u32::from_be_bytes([*e, *f, *g, *h]));
        line(&format!("offset: {offset} position: {position}"))?;
        let known = batches.as_ref().map(|batches| batches.get(&(position as u64)));
        let wrong = match known {
            _ if offset <= last.0 || position <= last.1 => Some("entries do not grow".to_owned()),
            Some(None) => Some(format!("there is no batch at {position} of the log")),
            Some(Some((found, _))) if *found != offset => {
                Some(format!("the batch at {position} of the log ends with offset {found}"))
            }
            _ => None,
        };
        last = (offset, position);
        if let Some(reason) = wrong {
            damage.get_or_insert_with(|| FirstDamage::new(i as u64 * 8, reason));
        }
    }
    Ok(damage.or_else(|| not_whole(bytes.len(), rest)))
}

pub(super) fn time_index(
    base: i64,
    file: &dyn Source,
    line: Lines<'_>,
) -> io::Result<Option<FirstDamage>> {
    let bytes = whole(file)?;
    let batches = batches_beside(file)?;
    let newest = |offset: i64| -> Option<i64> {
        let upto = batches.as_ref()?.values().filter(|(last, _)| *last <= offset);
        upto.map(|(_, timestamp)| *timestamp).max()
    };
    let mut damage = None;
    let mut last = (i64::MIN, -1);
    let (entries, rest) = bytes.as_chunks::<12>();
    for (i, entry) in entries.iter().enumerate() {
        let [a, b, c, d, e, f, g, h, i4, j, k, l] = *entry;
        let timestamp = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let offset = base + i64::from(u32::from_be_bytes([i4, j, k, l]));
        line(&format!("timestamp: {timestamp} offset: {offset}"))?;
        let wrong = match newest(offset) {
            _ if timestamp <= last.0 || offset <= last.1 => Some("entries do not grow".to_owned()),
            Some(found) if found != timestamp => {
                Some(format!("the largest timestamp up to offset {offset} is {found}"))
            }
            _ => None,
        };
        last = (timestamp, offset);
        if let Some(reason) = wrong {
            damage.get_or_insert_with(|| FirstDamage::new(i as u64 * 12, reason));
        }
    }
    Ok(damage.or_else(|| not_whole(bytes.len(), rest)))
}

pub(super) fn txn_index(file: &dyn Source, line: Lines<'_>) -> io::Result<Option<FirstDamage>> {
    let bytes = whole(file)?;
    let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
    let mut damage = None;
    for (i, entry) in entries.iter().enumerate() {
        match Aborted::decode(entry) {
            Some(entry) => line(&format!(
                "version: 0 producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
                entry.producer_id, entry.first_offset, entry.last_offset, entry.last_stable
            ))?,
            None => {
                let place = (i * ENTRY_BYTES) as u64;
                damage.get_or_insert_with(|| FirstDamage::new(place, "the entry cannot be true"));
            }
        }
    }
    Ok(damage.or_else(|| not_whole(bytes.len(), rest)))
}

pub(super) fn snapshot(file: &dyn Source, line: Lines<'_>) -> io::Result<Option<FirstDamage>> {
    match files::decode(&whole(file)?) {
        Err(reason) => Ok(Some(FirstDamage::new(0, reason))),
        Ok(entries) => {
            for e in entries {
                let open = match e.open {
                    none if none < 0 => "OptionalLong.empty".to_owned(),
                    open => format!("OptionalLong[{open}]"),
                };
                let first = match e.last_sequence {
                    none if none < 0 => -1,
                    last => (i64::from(last) - i64::from(e.offset_delta)).rem_euclid(1 << 31),
                };
                line(&format!(
                    "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {open} \
                     lastTimestamp: {} firstSequence: {first} lastSequence: {} lastOffset: {} \
                     offsetDelta: {} timestamp: {}",
                    e.producer_id,
                    e.epoch,
                    e.coordinator_epoch,
                    e.timestamp,
                    e.last_sequence,
                    e.last_offset,
                    e.offset_delta,
                    e.timestamp
                ))?;
            }
            Ok(None)
        }
    }
}

fn not_whole(len: usize, rest: &[u8]) -> Option<FirstDamage> {
    let place = (len - rest.len()) as u64;
    (!rest.is_empty()).then(|| FirstDamage::new(place, "the last entry is cut short"))
}
