//! Torn tails are cut; damage is named with its file and place.

use std::sync::Arc;

use uuid::Uuid;

use super::record::{Group, Kind};
use super::replay::replay;
use super::wire::Put;
use super::{FIRST_RECORD, Journal, path_of};
use crate::disk::{Disk, MemDisk};
use crate::error::Error;

const FILE_BYTES: u64 = 8 << 10;

/// A journal on `disk` that goes on where the last one ended.
fn begin(disk: &Arc<dyn Disk>, entropy: u128) -> (Journal, u64) {
    let replayed = replay(disk, 0, |_, _| Ok(())).unwrap();
    let next = replayed.next_lsn;
    let entropy = Uuid::from_u128(entropy);
    (Journal::begin(disk.clone(), FILE_BYTES, entropy, replayed.files, next, None).unwrap(), next)
}

/// Writes one group of records with these payloads.
fn write(journal: &mut Journal, lsn: &mut u64, payloads: &[&str], sync: bool) {
    let mut group = Group::default();
    for payload in payloads {
        let place = group.begin(Kind::App, *lsn);
        group.bytes.put_u16(0);
        group.bytes.put(payload.as_bytes());
        group.end(place);
        *lsn += 1;
    }
    journal.write(&mut group, sync).unwrap();
}

fn payloads(disk: &Arc<dyn Disk>) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    replay(disk, 0, |bytes, frame| {
        found.push(String::from_utf8_lossy(&bytes[frame.start + 2..frame.end]).into_owned());
        Ok(())
    })?;
    Ok(found)
}

/// Three groups: "a", then "b" and "c", then "d". Gives the place of each record in the first file.
fn written() -> (Arc<dyn Disk>, Vec<u64>) {
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::new());
    let (mut journal, mut lsn) = begin(&disk, 1);
    for group in [&["a"][..], &["b", "c"], &["d"]] {
        write(&mut journal, &mut lsn, group, true);
    }
    let places = (0..4).map(|i| FIRST_RECORD as u64 + i * 40).collect();
    (disk, places)
}

fn damage(disk: &Arc<dyn Disk>, file: u64, position: u64) {
    let file = disk.open(&path_of(file), false).unwrap();
    let byte = file.read_at(position, 1).unwrap()[0];
    file.write_at(position, &[byte ^ 0x40]).unwrap();
}

#[test]
fn records_come_back_across_restarts() {
    let (disk, _) = written();
    let (mut journal, mut lsn) = begin(&disk, 2);
    assert_eq!(lsn, 5);
    write(&mut journal, &mut lsn, &["e"], true);
    assert_eq!(payloads(&disk).unwrap(), ["a", "b", "c", "d", "e"]);
}

#[test]
fn a_torn_last_group_is_cut() {
    for byte in [0, 4, 8, 16, 31, 34] {
        let (disk, places) = written();
        damage(&disk, 1, places[3] + byte);
        assert_eq!(payloads(&disk).unwrap(), ["a", "b", "c"], "byte {byte}");
    }
}

#[test]
fn a_record_that_was_durable_must_be_readable() {
    for record in [0, 1, 2] {
        let (disk, places) = written();
        damage(&disk, 1, places[record] + 33);
        match payloads(&disk) {
            Err(Error::Corrupt { file, position, .. }) => {
                assert_eq!((file, position), (path_of(1), places[record]));
            }
            other => panic!("record {record}: {other:?}"),
        }
    }
}

#[test]
fn pages_of_the_last_group_may_persist_in_any_order() {
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::new());
    let (mut journal, mut lsn) = begin(&disk, 1);
    write(&mut journal, &mut lsn, &["a"], true);
    write(&mut journal, &mut lsn, &["b", "c", "d"], true);
    damage(&disk, 1, FIRST_RECORD as u64 + 40 + 33);
    assert_eq!(payloads(&disk).unwrap(), ["a"]);
}

#[test]
fn what_a_torn_tail_left_is_never_read_again() {
    let (disk, places) = written();
    // "c" is torn, "d" stays good behind it, in the file of an earlier life.
    let file = disk.open(&path_of(1), false).unwrap();
    let (c, d) = (file.read_at(places[2], 40).unwrap(), file.read_at(places[3], 40).unwrap());
    file.write_at(places[2], &[0; 80]).unwrap();
    let (mut journal, mut lsn) = begin(&disk, 2);
    assert_eq!(lsn, 3);
    write(&mut journal, &mut lsn, &["C"], true);
    file.write_at(places[3], &d).unwrap();
    assert_eq!(payloads(&disk).unwrap(), ["a", "b", "C"]);
    // Even if the torn record came back, the two lives would not fit together: that is damage.
    file.write_at(places[2], &c).unwrap();
    assert!(matches!(payloads(&disk), Err(Error::Corrupt { .. })));
}

#[test]
fn a_missing_or_bad_file_is_damage() {
    let fill = || {
        let disk: Arc<dyn Disk> = Arc::new(MemDisk::new());
        let (mut journal, mut lsn) = begin(&disk, 1);
        for _ in 0..30 {
            write(&mut journal, &mut lsn, &[&"x".repeat(1000)], true);
        }
        disk
    };
    let disk = fill();
    assert_eq!(payloads(&disk).unwrap().len(), 30);
    disk.remove(&path_of(2)).unwrap();
    assert!(matches!(payloads(&disk), Err(Error::Corrupt { .. })));
    let disk = fill();
    damage(&disk, 3, 20);
    match payloads(&disk) {
        Err(Error::Corrupt { file, position: 0, .. }) => assert_eq!(file, path_of(3)),
        other => panic!("{other:?}"),
    }
    let disk = fill();
    disk.remove(&path_of(1)).unwrap();
    assert!(matches!(payloads(&disk), Err(Error::Corrupt { .. })));
}

#[test]
fn recycled_files_bring_nothing_back() {
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::new());
    let (mut journal, mut lsn) = begin(&disk, 1);
    for i in 0..60 {
        write(&mut journal, &mut lsn, &[&format!("{i:04}{}", "x".repeat(900))], i % 3 == 0);
        journal.recycle(lsn.saturating_sub(10), u64::MAX).unwrap();
    }
    let names = disk.list("journal").unwrap();
    assert!(names.iter().filter(|name| name.ends_with(".journal")).count() <= 4, "{names:?}");
    let mut found = Vec::new();
    let replayed = replay(&disk, lsn - 11, |bytes, frame| {
        found.push(String::from_utf8_lossy(&bytes[frame.start + 2..frame.start + 6]).into_owned());
        Ok(())
    });
    assert_eq!(replayed.unwrap().next_lsn, 61);
    let expected: Vec<String> = (60 - found.len()..60).map(|i| format!("{i:04}")).collect();
    assert_eq!(found, expected);
}
