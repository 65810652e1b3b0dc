//! The order in which Java's `HashMap` walks STRING keys. Nothing promises it, but it is what ksqlDB's
//! users see from MAP_KEYS, MAP_VALUES, ENTRIES and REDUCE over a map.

/// `String.hashCode`.
fn hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |h, unit| h.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The places of `keys` in the order of a `HashMap` they were put into one after the other.
pub(crate) fn map_order<'a>(keys: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let hashes: Vec<u32> = keys
        .map(|key| {
            let h = hash(key) as u32;
            h ^ (h >> 16)
        })
        .collect();
    // Made for the number of keys, the table doubles when it is more than three quarters full;
    // buckets keep their order.
    let mut table = hashes.len().next_power_of_two();
    while hashes.len() * 4 > table * 3 {
        table *= 2;
    }
    let mut order: Vec<usize> = (0..hashes.len()).collect();
    order.sort_by_key(|i| hashes[*i] as usize & (table - 1));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        assert_eq!(hash(""), 0);
        assert_eq!(hash("hello"), 99_162_322);
        assert_eq!(hash("polygenelubricants"), i32::MIN);
        assert_eq!(map_order(["c", "b", "a"].into_iter()), [2, 1, 0]);
        assert_eq!(map_order(["d", "h", "b"].into_iter()), [0, 1, 2]);
    }
}
