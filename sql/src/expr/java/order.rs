//! The orders of Java's `String` and `ByteBuffer`, which are not those of the bytes.

use std::cmp::Ordering;

/// UTF-8 in the order of UTF-16 units: what is above U+FFFF comes before U+E000 to U+FFFF.
pub fn compare_utf16(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |byte: &u8| if matches!(byte, 0xee | 0xef) { byte + 0x10 } else { *byte };
    a.iter().map(rank).cmp(b.iter().map(rank))
}

/// Bytes as Java's `ByteBuffer` compares them: signed.
pub fn compare_signed(a: &[u8], b: &[u8]) -> Ordering {
    a.iter().map(|&byte| byte as i8).cmp(b.iter().map(|&byte| byte as i8))
}
