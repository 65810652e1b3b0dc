//! A Fetch answer in pieces, so that records go from the log's bytes to the socket without a copy.
//!
//! The encoder writes into one buffer. So large records are taken out of the response first, and a
//! [`MARK`] stands in for them; where a mark is found in the encoded bytes the answer is cut, and the
//! length in front of it and that of the whole frame are set right.
//!
//! Nothing else in an answer can look like a mark: text is UTF-8, in which its bytes never occur, and
//! the numbers are ours. An answer in which the marks are not all found is an error, not a wrong answer.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_wire::FetchResponse;
use kafka_wire_core::EncodeError;

use super::supported;
use super::wire::{self, FrameError, Header};

const MARK: [u8; 16] = *b"\xfe\xff\xfe\xff\xfd\xff\xfe\xff\xfe\xff\xfd\xff\xfe\xff\xfe\xff";

/// Smaller records are copied: a piece of its own costs more.
const LARGE_BYTES_MIN: usize = 4 << 10;

/// The whole response frame, length included.
pub(super) fn encode(
    header: &Header,
    mut response: FetchResponse,
) -> Result<Vec<Bytes>, FrameError> {
    let mut large = Vec::new();
    for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
        if let Some(records) = partition.records.as_mut()
            && records.len() >= LARGE_BYTES_MIN
        {
            large.push(std::mem::replace(records, Bytes::from_static(&MARK)));
        }
    }
    let encoded = wire::encode(header, &response)?;
    if large.is_empty() {
        return Ok(vec![encoded]);
    }
    let flexible = supported::is_flexible(header.key, header.version);
    put_back(encoded, &large, flexible).ok_or_else(|| {
        let bytes = large.iter().map(Bytes::len).sum();
        let reason = EncodeError::FrameTooLarge { bytes };
        FrameError::Response { key: header.key, version: header.version, reason }
    })
}

/// `None` when a mark is missing, or the frame is too large for its length.
fn put_back(encoded: Bytes, large: &[Bytes], flexible: bool) -> Option<Vec<Bytes>> {
    let mut pieces = Vec::with_capacity(2 * large.len() + 1);
    let mut rest = &encoded[..];
    for records in large {
        let at = rest.windows(MARK.len()).position(|window| window == MARK)?;
        // In front of the mark stands its own length: one byte (plus one) or four.
        let length_at = at.checked_sub(if flexible { 1 } else { 4 })?;
        let mut front = BytesMut::with_capacity(length_at + 5);
        front.put_slice(&rest[..length_at]);
        match flexible {
            true => put_varint(&mut front, u32::try_from(records.len() + 1).ok()?),
            false => front.put_i32(i32::try_from(records.len()).ok()?),
        }
        pieces.push(front.freeze());
        pieces.push(records.clone());
        rest = &rest[at + MARK.len()..];
    }
    pieces.push(Bytes::copy_from_slice(rest));
    let total: usize = pieces.iter().map(Bytes::len).sum();
    let mut first = BytesMut::from(&pieces[0][..]);
    first.get_mut(..4)?.copy_from_slice(&i32::try_from(total - 4).ok()?.to_be_bytes());
    pieces[0] = first.freeze();
    Some(pieces)
}

fn put_varint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same bytes as when all is copied, for sizes around every border of the lengths.
    #[test]
    fn pieces_make_the_same_answer() {
        use kafka_wire::fetch_response::{FetchableTopicResponse, PartitionData};
        let sizes = [0, 1, 126, 127, 4095, 4096, 16_382, 16_383, 16_384, 2_097_151, 3_000_000];
        for version in 4..=12 {
            let mut topic = FetchableTopicResponse::default();
            topic.topic = "t".into();
            for (index, size) in sizes.into_iter().enumerate() {
                let mut partition = PartitionData::default();
                partition.partition_index = index as i32;
                partition.high_watermark = -1;
                partition.last_stable_offset = -1;
                partition.log_start_offset = -1;
                partition.records = Some(Bytes::from(vec![index as u8; size]));
                topic.partitions.push(partition);
            }
            let mut response = FetchResponse::default();
            response.responses = vec![topic];
            let header = Header { key: 1, version, correlation_id: 7, client_id: String::new() };
            let pieces = encode(&header, response.clone()).unwrap();
            assert!(pieces.len() > 2 * 5);
            let whole = wire::encode(&header, &response).unwrap();
            assert!(pieces.concat() == whole, "version {version}");
        }
    }
}
