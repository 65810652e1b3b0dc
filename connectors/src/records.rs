//! Record batches taken apart without copying: where each record's parts lie.
//!
//! [`Chunk`] holds the records of one read of one partition: offset, time and places in the bytes
//! they came in. Uncompressed batches stay in the read's own bytes; compressed ones become a block of
//! their own, within a budget. Control batches (transaction markers) hold no rows and are left out; where
//! a client's transaction has records and where it ends is in [`Chunk::marks`]. So is a batch that cannot be
//! taken apart, or that takes more memory than the budget: its records are left out, all of them.
//! Decoding into columns is the formats' work.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use millstream_engine::rows::Headers;
use millstream_storage::log::batch::{self, BatchError, BatchHeader, Codec, RecordIter};
use millstream_storage::log::control::{self, Sibling};

/// Bytes that one compressed batch may take uncompressed.
const UNCOMPRESSED_MAX: usize = millstream_storage::log::DECOMPRESSED_MAX;

/// Marks batches that this engine sealed: the producer id is `OWN_MARK - epoch`. Ids below −1 mean
/// nothing to Kafka's clients (they test for a producer by `id > -1`) and no client can append them,
/// so a reader tells its own epochs apart without a header that users would see.
const OWN_MARK: i64 = -2;

/// The producer id that marks a batch of this epoch.
pub fn own_producer_id(epoch: u64) -> i64 {
    OWN_MARK.saturating_sub_unsigned(epoch)
}

/// The epoch that sealed a batch; `None` for a client's.
pub fn own_epoch(header: &BatchHeader) -> Option<u64> {
    u64::try_from(OWN_MARK.checked_sub(header.producer_id)?).ok()
}

/// Where a record's key or value lies in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    /// `u32::MAX`: null.
    len: u32,
}

impl Span {
    const NULL: Span = Span { start: 0, len: u32::MAX };

    fn new(block: &[u8], part: Option<&[u8]>) -> Span {
        match part {
            None => Span::NULL,
            Some(part) => {
                let start = part.as_ptr() as usize - block.as_ptr() as usize;
                Span { start: start as u32, len: part.len() as u32 }
            }
        }
    }

    /// The bytes; `None` for null.
    pub fn of(self, block: &[u8]) -> Option<&[u8]> {
        if self == Span::NULL {
            return None;
        }
        block.get(self.start as usize..)?.get(..self.len as usize)
    }
}

/// One record's facts and places.
#[derive(Clone, Debug)]
pub struct RecordRef {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Span,
    pub value: Span,
    /// Index into the chunk's blocks.
    pub block: u32,
    pub headers: Option<Arc<Headers>>,
}

/// What a reader must know of an offset, when it comes past it, beside the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub offset: i64,
    pub what: What,
}

/// See [`Mark`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The first record of a batch of this producer's transaction.
    InTransaction { producer_id: i64 },
    /// The end of this producer's transaction, with the marker's siblings.
    End { producer_id: i64, siblings: Vec<Sibling> },
    /// A batch whose records cannot be had: up to this offset, and why.
    Skipped { last_offset: i64, reason: BatchError },
}

/// The records of one read, in offset order.
#[derive(Debug, Default)]
pub struct Chunk {
    pub blocks: Vec<Bytes>,
    pub records: VecDeque<RecordRef>,
    pub marks: VecDeque<Mark>,
}

/// Takes apart whole record batches. Leaves out records before `from`, and batches for which `skip`
/// says so.
///
/// # Errors
/// When a batch's length or format cannot be true, so that nobody knows where the next one begins; nothing
/// of the read is used then.
pub fn chunk(
    read: &Bytes,
    from: i64,
    skip: impl Fn(&BatchHeader) -> bool,
) -> Result<Chunk, BatchError> {
    let mut out = Chunk::default();
    out.blocks.push(read.clone());
    for item in batch::batches(read) {
        let (header, bytes) = item?;
        if header.next_offset() <= from {
            continue;
        }
        if header.is_control() {
            let (offset, producer_id) = (header.base_offset, header.producer_id);
            let what = What::End { producer_id, siblings: control::siblings(bytes) };
            out.marks.push_back(Mark { offset, what });
            continue;
        }
        if skip(&header) {
            continue;
        }
        let before = out.records.len();
        if let Err(reason) = push_batch(&mut out, header, bytes, read, from) {
            out.records.truncate(before);
            let (offset, last_offset) = (header.base_offset, header.last_offset());
            out.marks.push_back(Mark { offset, what: What::Skipped { last_offset, reason } });
            continue;
        }
        if header.is_transactional()
            && let Some(first) = out.records.get(before)
        {
            let what = What::InTransaction { producer_id: header.producer_id };
            out.marks.push_back(Mark { offset: first.offset, what });
        }
    }
    Ok(out)
}

/// Takes one batch apart; after an error some of its records may be there.
fn push_batch(
    out: &mut Chunk,
    header: BatchHeader,
    bytes: &[u8],
    read: &Bytes,
    from: i64,
) -> Result<(), BatchError> {
    let (_, body) = batch::records(bytes, UNCOMPRESSED_MAX)?;
    if header.codec()? == Codec::None {
        return push_records(&mut out.records, header, &body, read, 0, from);
    }
    let block = Bytes::from(body.into_owned());
    let number = out.blocks.len() as u32;
    push_records(&mut out.records, header, &block, &block, number, from)?;
    out.blocks.push(block);
    Ok(())
}

fn push_records(
    out: &mut VecDeque<RecordRef>,
    header: BatchHeader,
    body: &[u8],
    block: &[u8],
    number: u32,
    from: i64,
) -> Result<(), BatchError> {
    if u32::try_from(block.len()).is_err() {
        return Err(BatchError::TooBig(u32::MAX as usize));
    }
    // A hostile count is bounded by the bytes: a record takes at least seven.
    out.reserve((header.record_count.max(0) as usize).min(body.len() / 7 + 1));
    for record in RecordIter::new(header, body) {
        let record = record?;
        if record.offset < from {
            continue;
        }
        out.push_back(RecordRef {
            offset: record.offset,
            timestamp: record.timestamp,
            key: Span::new(block, record.key),
            value: Span::new(block, record.value),
            block: number,
            headers: headers_of(&record),
        });
    }
    Ok(())
}

fn headers_of(record: &batch::Record<'_>) -> Option<Arc<Headers>> {
    if record.header_count() == 0 {
        return None;
    }
    let owned = |(key, value): (&[u8], Option<&[u8]>)| {
        (String::from_utf8_lossy(key).into_owned(), value.map(<[u8]>::to_vec))
    };
    Some(Arc::new(Headers(record.headers().map(owned).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_storage::log::batch::BatchBuilder;

    fn batch(codec: Codec, producer: i64, records: &[(i64, &str, Option<&str>)]) -> Bytes {
        let mut builder = BatchBuilder::new(codec).producer(producer, -1, -1);
        for (time, key, value) in records {
            builder.push(*time, Some(key.as_bytes()), value.map(str::as_bytes), &[(b"h", None)]);
        }
        builder.build().unwrap()
    }

    #[test]
    fn records_are_found_in_plain_and_compressed_batches() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let bytes = batch(codec, -1, &[(5, "a", Some("x")), (6, "b", None)]);
            let chunk = chunk(&bytes, 1, |_| false).unwrap();
            let record = &chunk.records[0];
            assert_eq!((chunk.records.len(), record.offset, record.timestamp), (1, 1, 6));
            let block = &chunk.blocks[record.block as usize];
            assert_eq!(record.key.of(block), Some(&b"b"[..]));
            assert_eq!(record.value.of(block), None);
            assert_eq!(record.headers.as_ref().unwrap().0, [("h".to_owned(), None)]);
        }
    }

    #[test]
    fn own_batches_carry_their_epoch() {
        let bytes = batch(Codec::None, own_producer_id(7), &[(5, "a", None)]);
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(own_epoch(&header), Some(7));
        let clients = batch(Codec::None, -1, &[(5, "a", None)]);
        assert_eq!(own_epoch(&BatchHeader::parse(&clients).unwrap()), None);
        assert_eq!(chunk(&bytes, 0, |h| own_epoch(h).is_some()).unwrap().records.len(), 0);
    }

    /// A batch that grows beyond the budget, records that are none, an unknown codec: left out whole and
    /// told, and what is before and behind them is read.
    #[test]
    fn batches_that_cannot_be_taken_apart_are_left_out() {
        let zeros = "0".repeat(UNCOMPRESSED_MAX + 1);
        let bomb = batch(Codec::Zstd, -1, &[(5, "a", Some(&zeros)), (5, "b", None)]);
        assert!(bomb.len() < 64 << 10);
        let mut no_records =
            batch(Codec::None, -1, &[(5, "a", Some("x")), (6, "b", None)]).to_vec();
        *no_records.last_mut().unwrap() = 0x7f;
        let mut no_codec = batch(Codec::None, -1, &[(5, "a", Some("x")), (6, "b", None)]).to_vec();
        no_codec[22] |= 7;
        let mut no_lz4 = batch(Codec::Lz4, -1, &[(5, "a", Some("x")), (6, "b", None)]).to_vec();
        no_lz4[70] ^= 0xff;
        let cases: [(&[u8], &str); 4] = [
            (&bomb, "the records take more than"),
            (&no_records, "a record is malformed"),
            (&no_codec, "the compression codec 7 is unknown"),
            (&no_lz4, "the compressed records cannot be read"),
        ];
        for (bad, reason) in cases {
            let good = batch(Codec::Gzip, -1, &[(5, "a", Some("x"))]);
            let mut read = Vec::new();
            for (bytes, base) in [(&good[..], 0), (bad, 1), (&good[..], 3)] {
                let mut bytes = bytes.to_vec();
                batch::patch_offset(&mut bytes, base, 0);
                read.extend(bytes);
            }
            let chunk = chunk(&Bytes::from(read), 0, |_| false).unwrap();
            let offsets: Vec<i64> = chunk.records.iter().map(|record| record.offset).collect();
            assert_eq!(offsets, [0, 3], "{reason}");
            let Some(Mark { offset: 1, what: What::Skipped { last_offset: 2, reason: told } }) =
                chunk.marks.front()
            else {
                panic!("{reason}: {:?}", chunk.marks)
            };
            assert!(told.to_string().contains(reason), "{told} is not {reason}");
        }
    }

    #[test]
    fn damaged_batches_are_refused() {
        let bytes = batch(Codec::None, -1, &[(5, "a", Some("xyz"))]);
        for cut in 1..bytes.len() {
            let result = chunk(&bytes.slice(..cut), 0, |_| false);
            assert!(result.is_err(), "{cut}");
        }
    }
}
