//! Kafka's compression codecs, with a budget for what comes out.
//!
//! | codec | form on the wire |
//! |---|---|
//! | gzip | one gzip member |
//! | snappy | xerial framing: magic `82 S N A P P Y 00`, version, compatible version (8 bytes), then blocks of i32 length and raw snappy; some clients send one raw snappy block |
//! | lz4 | LZ4 frame |
//! | zstd | zstd frames |

use std::borrow::Cow;
use std::io::{Read, Write};

use super::batch::BatchError;

/// How the records of a batch are compressed. The numbers are the attribute bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Codec {
    #[default]
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Codec {
    pub fn from_bits(bits: i16) -> Result<Codec, BatchError> {
        Ok(match bits {
            0 => Codec::None,
            1 => Codec::Gzip,
            2 => Codec::Snappy,
            3 => Codec::Lz4,
            4 => Codec::Zstd,
            other => return Err(BatchError::Codec(other)),
        })
    }

    pub fn bits(self) -> i16 {
        self as i16
    }

    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        ["none", "gzip", "snappy", "lz4", "zstd"][self as usize]
    }
}

const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;
/// What xerial's stream writer uses.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;

/// Undoes the compression. More than `budget` bytes is [`BatchError::TooBig`], found before they are
/// all produced.
pub fn decompress<'a>(
    codec: Codec,
    body: &'a [u8],
    budget: usize,
) -> Result<Cow<'a, [u8]>, BatchError> {
    match codec {
        Codec::None if body.len() > budget => Err(BatchError::TooBig(budget)),
        Codec::None => Ok(Cow::Borrowed(body)),
        Codec::Gzip => drain(flate2::read::MultiGzDecoder::new(body), body.len(), budget),
        Codec::Snappy => snappy(body, budget).map(Cow::Owned),
        Codec::Lz4 => drain(lz4_flex::frame::FrameDecoder::new(body), body.len(), budget),
        Codec::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body)
                .map_err(|_| BatchError::Compressed)?;
            // The window is memory too: 32 MiB is what level 20 takes at most.
            decoder.window_log_max(25).map_err(|_| BatchError::Compressed)?;
            drain(decoder, body.len(), budget)
        }
    }
}

/// Reads a decoder to its end, or until the budget is passed.
fn drain<'a>(
    decoder: impl Read,
    compressed: usize,
    budget: usize,
) -> Result<Cow<'a, [u8]>, BatchError> {
    let mut out = vec![0; compressed.saturating_mul(3).min(budget.saturating_add(1)).max(1)];
    let mut decoder = decoder;
    let mut filled = 0;
    loop {
        match decoder.read(&mut out[filled..]).map_err(|_| BatchError::Compressed)? {
            0 => break,
            count => filled += count,
        }
        if filled > budget {
            return Err(BatchError::TooBig(budget));
        }
        if filled == out.len() {
            // Never more than the budget and the byte that tells it is passed.
            let more = out.len().min(budget.saturating_add(1) - out.len());
            out.reserve_exact(more);
            out.resize(filled + more, 0);
        }
    }
    out.truncate(filled);
    Ok(Cow::Owned(out))
}

fn snappy(body: &[u8], budget: usize) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    if !body.starts_with(XERIAL_MAGIC) {
        snappy_block(body, budget, &mut out)?;
        return Ok(out);
    }
    let mut rest = body.get(XERIAL_HEADER_BYTES..).ok_or(BatchError::Compressed)?;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(BatchError::Compressed)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, after) = after.split_at_checked(length).ok_or(BatchError::Compressed)?;
        snappy_block(block, budget, &mut out)?;
        rest = after;
    }
    Ok(out)
}

/// Appends one raw block. Its claimed length is checked against the budget, and against what its
/// bytes can hold, before memory is taken: a snappy element of 3 bytes makes at most 64.
fn snappy_block(block: &[u8], budget: usize, out: &mut Vec<u8>) -> Result<(), BatchError> {
    let length = snap::raw::decompress_len(block).map_err(|_| BatchError::Compressed)?;
    if length > budget.saturating_sub(out.len()) {
        return Err(BatchError::TooBig(budget));
    }
    if length > block.len().saturating_mul(64) {
        return Err(BatchError::Compressed);
    }
    let from = out.len();
    out.resize(from + length, 0);
    let written = snap::raw::Decoder::new()
        .decompress(block, &mut out[from..])
        .map_err(|_| BatchError::Compressed)?;
    out.truncate(from + written);
    Ok(())
}

/// Zstandard's level when nobody says, as Kafka's.
const ZSTD_LEVEL: i32 = 3;
/// From here on zstd's window may be larger than readers allow, ours and Kafka's.
const ZSTD_LARGE_WINDOW: i32 = 20;

/// Compresses records as Kafka's own clients do.
pub(super) fn compress(codec: Codec, records: &[u8]) -> Result<Cow<'_, [u8]>, BatchError> {
    compress_at(codec, None, records)
}

/// As [`compress`], at a level of gzip (0 to 9) or zstd (to 22); the other codecs have none.
pub(super) fn compress_at(
    codec: Codec,
    level: Option<i32>,
    records: &[u8],
) -> Result<Cow<'_, [u8]>, BatchError> {
    let failed = |_| BatchError::Compressed;
    Ok(match codec {
        Codec::None => Cow::Borrowed(records),
        Codec::Gzip => {
            let level = level.and_then(|level| u32::try_from(level).ok());
            let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(records).map_err(failed)?;
            Cow::Owned(encoder.finish().map_err(failed)?)
        }
        Codec::Snappy => {
            let mut out = XERIAL_MAGIC.to_vec();
            out.extend_from_slice(&1u32.to_be_bytes());
            out.extend_from_slice(&1u32.to_be_bytes());
            let mut encoder = snap::raw::Encoder::new();
            for block in records.chunks(XERIAL_BLOCK_BYTES) {
                let block = encoder.compress_vec(block).map_err(|_| BatchError::Compressed)?;
                out.extend_from_slice(&(block.len() as u32).to_be_bytes());
                out.extend_from_slice(&block);
            }
            Cow::Owned(out)
        }
        Codec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(records).map_err(failed)?;
            Cow::Owned(encoder.finish().map_err(|_| BatchError::Compressed)?)
        }
        Codec::Zstd => {
            let level = level.unwrap_or(ZSTD_LEVEL);
            let encoder = zstd::stream::write::Encoder::new(Vec::new(), level);
            let mut encoder = encoder.map_err(failed)?;
            if level >= ZSTD_LARGE_WINDOW {
                encoder.window_log(25).map_err(failed)?;
            }
            encoder.write_all(records).map_err(failed)?;
            Cow::Owned(encoder.finish().map_err(failed)?)
        }
    })
}
