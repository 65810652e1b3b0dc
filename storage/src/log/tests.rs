//! Record batches: round trips, and what hostile bytes may do (nothing but an error).

use proptest::prelude::*;

use super::batch::{
    self, BatchBuilder, BatchError, BatchHeader, Codec, RecordIter, batches, decompress,
    patch_append_time, patch_offset, sequence_after,
};
use super::compression::compress;

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
const BUDGET: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq)]
struct Owned {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn build(codec: Codec, records: &[Owned]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for record in records {
        let headers: Vec<batch::Header<'_>> =
            record.headers.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
        builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
    }
    builder.build().unwrap().to_vec()
}

fn read(bytes: &[u8]) -> Result<Vec<(i64, Owned)>, BatchError> {
    let (header, body) = batch::records(bytes, BUDGET)?;
    let owned = |bytes: &[u8]| bytes.to_vec();
    RecordIter::new(header, &body)
        .map(|record| {
            let record = record?;
            let headers = record.headers().map(|(key, value)| (owned(key), value.map(owned)));
            let headers: Vec<_> = headers.collect();
            assert_eq!(headers.len(), record.header_count());
            let (key, value) = (record.key.map(owned), record.value.map(owned));
            Ok((record.offset, Owned { timestamp: record.timestamp, key, value, headers }))
        })
        .collect()
}

fn a_record() -> impl Strategy<Value = Owned> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..80);
    let headers = prop::collection::vec((bytes(), prop::option::of(bytes())), 0..4);
    (any::<i32>(), prop::option::of(bytes()), prop::option::of(bytes()), headers).prop_map(
        |(timestamp, key, value, headers)| Owned {
            timestamp: i64::from(timestamp) * 1000,
            key,
            value,
            headers,
        },
    )
}

proptest! {
    #[test]
    fn a_batch_gives_its_records_back(
        records in prop::collection::vec(a_record(), 1..20),
        codec in 0usize..5,
        base_offset in 0i64..i64::MAX / 2,
    ) {
        let mut bytes = build(CODECS[codec], &records);
        patch_offset(&mut bytes, base_offset, 3);
        let header = BatchHeader::verify(&bytes).unwrap();
        prop_assert_eq!(header.base_offset, base_offset);
        prop_assert_eq!(header.leader_epoch, 3);
        prop_assert_eq!(header.record_count as usize, records.len());
        prop_assert_eq!(Some(header.max_timestamp), records.iter().map(|r| r.timestamp).max());
        let expected: Vec<(i64, Owned)> = (base_offset..).zip(records).collect();
        prop_assert_eq!(read(&bytes).unwrap(), expected);
    }

    #[test]
    fn changed_bytes_never_panic(
        records in prop::collection::vec(a_record(), 1..8),
        codec in 0usize..5,
        changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..6),
        cut in any::<u16>(),
    ) {
        let mut bytes = build(CODECS[codec], &records);
        for (place, value) in changes {
            let place = usize::from(place) % bytes.len();
            bytes[place] = value;
        }
        bytes.truncate(usize::from(cut) % (bytes.len() * 2));
        let _ = BatchHeader::verify(&bytes);
        let _ = read(&bytes);
        for found in batches(&bytes) {
            let _ = found;
        }
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), codec in 0usize..5) {
        let _ = read(&bytes);
        let _ = decompress(CODECS[codec], &bytes, BUDGET);
    }
}

#[test]
fn a_bomb_stops_at_the_budget() {
    let zeros = vec![0u8; 8 << 20];
    for codec in CODECS {
        let body = compress(codec, &zeros).unwrap();
        assert_eq!(decompress(codec, &body, BUDGET).unwrap_err(), BatchError::TooBig(BUDGET));
        assert_eq!(decompress(codec, &body, 8 << 20).unwrap(), zeros);
    }
    // A raw snappy block that claims 4 GiB and holds nothing.
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    assert!(decompress(Codec::Snappy, &claim, usize::MAX).is_err());
}

#[test]
fn raw_snappy_is_read_too() {
    let raw = snap::raw::Encoder::new().compress_vec(b"some records").unwrap();
    assert_eq!(decompress(Codec::Snappy, &raw, BUDGET).unwrap(), &b"some records"[..]);
}

#[test]
fn append_time_replaces_all_timestamps_and_the_checksum() {
    let record = Owned { timestamp: 5, key: None, value: Some(vec![1]), headers: vec![] };
    let mut bytes = build(Codec::None, &[record.clone(), record]);
    patch_append_time(&mut bytes, 0, 4711);
    let header = BatchHeader::verify(&bytes).unwrap();
    assert!(header.is_log_append_time());
    let times: Vec<i64> = read(&bytes).unwrap().iter().map(|(_, r)| r.timestamp).collect();
    assert_eq!(times, [4711, 4711]);
}

#[test]
fn sequences_wrap_to_zero() {
    for (from, steps, to) in [(0, 0, 0), (5, 3, 8), (i32::MAX, 1, 0), (i32::MAX - 1, 3, 1)] {
        assert_eq!(sequence_after(from, steps), to);
    }
}

#[test]
fn the_header_is_where_kafka_has_it() {
    let record = Owned {
        timestamp: 1_700_000_000_000,
        key: None,
        value: Some(b"v".to_vec()),
        headers: vec![],
    };
    let bytes = build(Codec::None, &[record]);
    // length, attributes 0, key −1, value 1 byte, no headers: varints are zigzag.
    assert_eq!(bytes[61..], [14, 0, 0, 0, 1, 2, b'v', 0]);
    assert_eq!(bytes[8..12], (bytes.len() as i32 - 12).to_be_bytes());
    assert_eq!(bytes[16], 2);
    assert_eq!(bytes[17..21], crc_fast::crc32_iscsi(&bytes[21..]).to_be_bytes());
}
