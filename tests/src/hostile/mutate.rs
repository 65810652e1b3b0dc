//! What is done to a well-formed request: bits, lengths, counts, cuts, nesting, tags.

use bytes::Bytes;
use rand::Rng;

/// Numbers that lie, as they stand in the old and in the compact encoding.
const LIES: [&[u8]; 12] = [
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff],
    &[0x80, 0x00, 0x00, 0x00],
    &[0x00, 0xff, 0xff, 0xff],
    &[0x00, 0x01, 0x86, 0xa0],
    &[0x7f, 0xff],
    &[0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0x00],
    &[0x81, 0x80, 0x80, 0x80, 0x80, 0x00],
];

/// A request made of `seed`, and the length it is announced with.
pub(super) fn mutate(rng: &mut impl Rng, seed: &Bytes, other: &Bytes) -> (Vec<u8>, i32) {
    let mut bytes = seed.to_vec();
    for _ in 0..rng.random_range(1..=3) {
        match rng.random_range(0..9) {
            0 => {
                for _ in 0..rng.random_range(1..=8) {
                    let at = rng.random_range(0..bytes.len());
                    bytes[at] ^= 1 << rng.random_range(0..8);
                }
            }
            // Behind the header, where the counts and lengths are.
            1..=3 => {
                let from = 8.min(bytes.len() - 1);
                let at = rng.random_range(from..bytes.len());
                let lie = LIES[rng.random_range(0..LIES.len())];
                let end = (at + lie.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&lie[..end - at]);
            }
            4 => bytes.truncate(rng.random_range(1..=bytes.len())),
            // A part again and again: what was one element becomes many, or nests.
            5 => {
                let from = rng.random_range(0..bytes.len());
                let to = (from + rng.random_range(1..64)).min(bytes.len());
                let part = bytes[from..to].to_vec();
                let times = rng.random_range(1..200);
                let many = part.repeat(times);
                bytes.splice(to..to, many);
            }
            6 => {
                let from = rng.random_range(0..other.len());
                let at = rng.random_range(0..bytes.len());
                bytes.truncate(at.max(4));
                bytes.extend_from_slice(&other[from..]);
            }
            // Tags without end.
            7 => {
                let tags = rng.random_range(1..2000);
                bytes.extend([0xff, 0xff, 0x03]);
                (0..tags).for_each(|_| bytes.extend([0x05, 0x00]));
            }
            _ => {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
        }
        bytes.truncate(256 << 10);
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    let honest = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
    let announced = match rng.random_range(0..60) {
        0 => i32::MAX,
        1 => -1,
        2 => honest.saturating_add(rng.random_range(1..1 << 24)),
        3 => rng.random_range(0..honest.max(1)),
        _ => honest,
    };
    (bytes, announced)
}
