//! Offsets of partitions and groups: what `consume` and `groups` ask the broker for.

use std::collections::BTreeMap;
use std::io;

use kafka_wire::{
    ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest,
    list_offsets_request, metadata_request, offset_commit_request, offset_fetch_request,
};

use super::args::{From, Isolation};
use super::check;
use crate::kafka_client::KafkaClient;

const METADATA: i16 = 9;
const LIST_OFFSETS: i16 = 6;
const OFFSET_FETCH: i16 = 8;
const OFFSET_COMMIT: i16 = 8;

/// Timestamps with a meaning of their own.
pub(super) const LATEST: i64 = -1;
pub(super) const EARLIEST: i64 = -2;

/// Partitions in their order, with an offset each.
pub(super) type Offsets = BTreeMap<i32, i64>;

pub(super) fn parse_from(text: &str) -> Result<From, String> {
    match text {
        "beginning" | "earliest" => Ok(From::Beginning),
        "end" | "latest" => Ok(From::End),
        text => match text.strip_prefix('@') {
            Some(time) => parse_time(time).map(From::Time),
            None => text
                .parse()
                .map(From::Offset)
                .map_err(|_| format!("{text:?} is not beginning, end, an offset, or @TIME")),
        },
    }
}

/// Milliseconds since 1970, or a time as RFC 3339 writes it.
pub(super) fn parse_time(text: &str) -> Result<i64, String> {
    if let Ok(ms) = text.parse::<i64>() {
        return Ok(ms);
    }
    rfc3339_ms(text).ok_or_else(|| {
        format!("{text:?} is not a time: give ms since 1970, or for instance 2026-05-01T12:00:00Z")
    })
}

/// `2026-05-01[T12:00[:00[.123]][Z|±hh:mm]]`; without an offset it is UTC.
fn rfc3339_ms(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut fields = date.split('-').map(|field| field.parse::<i64>().ok());
    let (year, month, day) = (fields.next()??, fields.next()??, fields.next()??);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let rest = rest.strip_prefix(['T', 't', ' ']).unwrap_or(rest);
    let (time, zone_minutes) = match rest.strip_suffix(['Z', 'z']) {
        Some(time) => (time, 0),
        None => match rest.rfind(['+', '-']) {
            Some(at) => {
                let (hours, minutes) = rest[at + 1..].split_once(':')?;
                let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
                (&rest[..at], if rest[at..].starts_with('-') { -minutes } else { minutes })
            }
            None => (rest, 0),
        },
    };
    let mut parts = time.split(':').filter(|part| !part.is_empty());
    let mut whole = || parts.next().map_or(Some(0.0), |part| part.parse::<f64>().ok());
    let (hours, minutes, seconds) = (whole()?, whole()?, whole()?);
    let of_day = (hours * 3600.0 + minutes * 60.0 + seconds) * 1000.0;
    // Days since 1970 of a Gregorian date; years begin in March.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day
            - 1
            - 719_468;
    Some(days * 86_400_000 + of_day.round() as i64 - zone_minutes * 60_000)
}

/// How many partitions a topic has.
pub(super) fn partitions(client: &mut KafkaClient, topic: &str) -> io::Result<i32> {
    let mut asked = metadata_request::MetadataRequestTopic::default();
    asked.name = Some(topic.into());
    let mut request = MetadataRequest::default();
    request.topics = Some(vec![asked]);
    request.allow_auto_topic_creation = false;
    let answer = client.call(&request, METADATA)?;
    let found = answer.topics.first().ok_or(io::ErrorKind::InvalidData)?;
    check(&format!("topic {topic}"), found.error_code, None)?;
    Ok(i32::try_from(found.partitions.len()).unwrap_or(i32::MAX))
}

/// The offset of a time for each of the partitions: [`EARLIEST`], [`LATEST`], or the first record at or
/// after ms since 1970; −1 if there is none.
pub(super) fn at_time(
    client: &mut KafkaClient,
    topic: &str,
    partitions: impl IntoIterator<Item = i32>,
    time: i64,
    isolation: Isolation,
) -> io::Result<Offsets> {
    let mut of_topic = list_offsets_request::ListOffsetsTopic::default();
    of_topic.name = topic.into();
    for partition in partitions {
        let mut asked = list_offsets_request::ListOffsetsPartition::default();
        asked.partition_index = partition;
        asked.current_leader_epoch = -1;
        asked.timestamp = time;
        of_topic.partitions.push(asked);
    }
    let mut request = ListOffsetsRequest::default();
    request.replica_id = -1;
    request.isolation_level = i8::from(isolation == Isolation::ReadCommitted);
    request.topics = vec![of_topic];
    let answer = client.call(&request, LIST_OFFSETS)?;
    let mut offsets = Offsets::new();
    for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        let index = partition.partition_index;
        check(&format!("partition {index} of topic {topic}"), partition.error_code, None)?;
        offsets.insert(index, partition.offset);
    }
    Ok(offsets)
}

/// The committed offsets of a group, by topic; those of partitions without one are left out.
pub(super) fn committed(
    client: &mut KafkaClient,
    group: &str,
) -> io::Result<BTreeMap<String, Offsets>> {
    let mut asked = offset_fetch_request::OffsetFetchRequestGroup::default();
    asked.group_id = group.into();
    asked.topics = None;
    let mut request = OffsetFetchRequest::default();
    request.groups = vec![asked];
    let answer = client.call(&request, OFFSET_FETCH)?;
    let found = answer.groups.first().ok_or(io::ErrorKind::InvalidData)?;
    check(&format!("offsets of group {group}"), found.error_code, None)?;
    let mut topics: BTreeMap<String, Offsets> = BTreeMap::new();
    for topic in &found.topics {
        let of_topic = topics.entry(topic.name.to_string()).or_default();
        for partition in topic.partitions.iter().filter(|p| p.committed_offset >= 0) {
            of_topic.insert(partition.partition_index, partition.committed_offset);
        }
    }
    Ok(topics)
}

/// Commits offsets as somebody who is no member of the group.
pub(super) fn commit(
    client: &mut KafkaClient,
    group: &str,
    topics: &BTreeMap<String, Offsets>,
) -> io::Result<()> {
    let mut request = OffsetCommitRequest::default();
    request.group_id = group.into();
    request.generation_id_or_member_epoch = -1;
    for (name, offsets) in topics {
        let mut topic = offset_commit_request::OffsetCommitRequestTopic::default();
        topic.name = name.as_str().into();
        for (index, offset) in offsets {
            let mut partition = offset_commit_request::OffsetCommitRequestPartition::default();
            partition.partition_index = *index;
            partition.committed_offset = *offset;
            partition.committed_leader_epoch = -1;
            partition.committed_metadata = Some("".into());
            topic.partitions.push(partition);
        }
        request.topics.push(topic);
    }
    let answer = client.call(&request, OFFSET_COMMIT)?;
    for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        check(&format!("commit offsets of group {group}"), partition.error_code, None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let check = |text: &str, wanted: Option<i64>| {
            assert_eq!(parse_time(text).ok(), wanted, "{text}");
        };
        check("1234", Some(1234));
        check("1970-01-01", Some(0));
        check("2000-03-01T00:00:00Z", Some(951_868_800_000));
        check("2026-05-01T12:00:00.25Z", Some(1_777_636_800_250));
        check("2026-05-01T14:00:00+02:00", Some(1_777_636_800_000));
        check("2026-05-01T07:30-04:30", Some(1_777_636_800_000));
        check("2024-02-29 23:59:59", Some(1_709_251_199_000));
        for bad in ["", "soon", "2026-13-01", "2026-05-01T12:00:00+2", "2026-5-1"] {
            check(bad, None);
        }
    }

    #[test]
    fn beginnings_are_read() {
        let check = |text: &str, wanted: Option<From>| {
            assert_eq!(parse_from(text).ok(), wanted, "{text}");
        };
        check("beginning", Some(From::Beginning));
        check("end", Some(From::End));
        check("17", Some(From::Offset(17)));
        check("@1000", Some(From::Time(1000)));
        check("@1970-01-02", Some(From::Time(86_400_000)));
        check("middle", None);
    }
}
