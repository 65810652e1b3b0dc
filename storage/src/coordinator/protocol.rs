//! The consumer protocol inside JoinGroup and SyncGroup: what consumers tell each other in the
//! metadata bytes. The coordinator reads it when a classic group must be understood: to convert it,
//! and to know which topics it subscribes to.
//!
//! ```text
//! subscription = version i16, count i32, topic string*, user data bytes?,
//!                v1: count i32, (topic string, count i32, partition i32*)*   owned
//!                v2: generation i32     v3: rack string?
//! assignment   = version i16, count i32, (topic string, count i32, partition i32*)*, user data bytes?
//! string       = length i16, UTF-8;  bytes = length i32 (-1 for none), bytes
//! ```
//!
//! As Kafka does, a newer version is read as the newest known, and what follows is left alone.
//! Counts are never believed.

use std::collections::BTreeMap;

/// Partitions by topic name, as consumers write them.
pub type NamedParts = BTreeMap<String, Vec<i32>>;

/// The protocol type of consumers; Connect and Schema Registry have others.
pub const CONSUMER: &str = "consumer";

/// What a consumer subscribes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    pub version: i16,
    pub topics: Vec<String>,
    pub owned: NamedParts,
    pub rack: Option<String>,
}

/// Reads a subscription; `None` if it is none.
pub fn read_subscription(bytes: &[u8]) -> Option<Subscription> {
    let mut from = Reader(bytes);
    let version = from.i16()?;
    if version < 0 {
        return None;
    }
    let topics = from.many(Reader::text)?;
    from.skip_bytes()?;
    let owned = if version >= 1 { from.parts()? } else { NamedParts::new() };
    if version >= 2 {
        from.i32()?;
    }
    let rack = if version >= 3 { from.text_or_null()? } else { None };
    Some(Subscription { version, topics, owned, rack })
}

/// Reads an assignment; empty bytes are an empty assignment. `None` if it is none.
pub fn read_assignment(bytes: &[u8]) -> Option<NamedParts> {
    if bytes.is_empty() {
        return Some(NamedParts::new());
    }
    let mut from = Reader(bytes);
    (from.i16()? >= 0).then_some(())?;
    from.parts()
}

/// Writes an assignment in the version of the subscription it answers.
pub fn write_assignment(version: i16, parts: &NamedParts) -> Vec<u8> {
    let len = |len: usize| i32::try_from(len).expect("a node has fewer than 2^31 partitions");
    let mut out = version.min(3).to_be_bytes().to_vec();
    out.extend(len(parts.len()).to_be_bytes());
    for (topic, indexes) in parts {
        let name_len = i16::try_from(topic.len()).expect("a topic name has at most 249 bytes");
        out.extend(name_len.to_be_bytes());
        out.extend(topic.as_bytes());
        out.extend(len(indexes.len()).to_be_bytes());
        indexes.iter().for_each(|index| out.extend(index.to_be_bytes()));
    }
    out.extend((-1_i32).to_be_bytes());
    out
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn text_or_null(&mut self) -> Option<Option<String>> {
        let len = self.i16()?;
        if len < 0 {
            return Some(None);
        }
        let (taken, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        String::from_utf8(taken.to_vec()).ok().map(Some)
    }

    fn text(&mut self) -> Option<String> {
        self.text_or_null()?
    }

    fn skip_bytes(&mut self) -> Option<()> {
        let len = self.i32()?;
        if len >= 0 {
            self.0 = self.0.split_at_checked(usize::try_from(len).ok()?)?.1;
        }
        Some(())
    }

    fn many<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.i32()?;
        let mut all = Vec::new();
        for _ in 0..count.max(0) {
            all.push(read(self)?);
        }
        Some(all)
    }

    fn parts(&mut self) -> Option<NamedParts> {
        let parts = self.many(|from| Some((from.text()?, from.many(Reader::i32)?)))?;
        Some(parts.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(version: i16, topics: &[&str], rest: &[u8]) -> Vec<u8> {
        let mut out = version.to_be_bytes().to_vec();
        out.extend((topics.len() as i32).to_be_bytes());
        for topic in topics {
            out.extend((topic.len() as i16).to_be_bytes());
            out.extend(topic.as_bytes());
        }
        out.extend((-1_i32).to_be_bytes());
        out.extend(rest);
        out
    }

    #[test]
    fn a_subscription_is_read_in_every_version_and_refused_when_cut() {
        let owned = [0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4];
        let all = [&owned[..], &[0, 0, 0, 7], &[0, 1, b'r']].concat();
        let parts = NamedParts::from([("t".to_owned(), vec![3, 4])]);
        // (version, what follows the user data, owned, rack)
        let cases = [
            (0, &[][..], NamedParts::new(), None),
            (1, &owned[..], parts.clone(), None),
            (3, &all[..], parts.clone(), Some("r".to_owned())),
            (9, &all[..], parts, Some("r".to_owned())),
        ];
        for (version, rest, owned, rack) in cases {
            let bytes = subscription(version, &["t", "u"], rest);
            let topics = vec!["t".to_owned(), "u".to_owned()];
            let wanted = Subscription { version, topics, owned, rack };
            assert_eq!(read_subscription(&bytes), Some(wanted), "{version}");
            for cut in 0..bytes.len() {
                assert_eq!(read_subscription(&bytes[..cut]), None, "{version} cut at {cut}");
            }
        }
        assert_eq!(read_subscription(&[0, 0, 127, 255, 255, 255]), None);
        assert_eq!(read_subscription(b"\xff\xff"), None);
    }

    #[test]
    fn an_assignment_reads_back() {
        let parts = NamedParts::from([("t".to_owned(), vec![0, 2]), ("u".to_owned(), vec![1])]);
        assert_eq!(read_assignment(&write_assignment(1, &parts)), Some(parts));
        assert_eq!(read_assignment(b""), Some(NamedParts::new()));
        assert_eq!(read_assignment(b"words"), None);
    }
}
