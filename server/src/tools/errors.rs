//! Kafka's error codes in words.

use std::io;

/// Codes a tool may meet, with Kafka's names and what they mean to a person.
const KNOWN: &[(i16, &str, &str)] = &[
    (1, "OFFSET_OUT_OF_RANGE", "there is no such offset (any more)"),
    (3, "UNKNOWN_TOPIC_OR_PARTITION", "there is no such topic or partition"),
    (10, "MESSAGE_TOO_LARGE", "a record is larger than max.message.bytes of the topic"),
    (15, "COORDINATOR_NOT_AVAILABLE", "the group's coordinator is not available; try again"),
    (17, "INVALID_TOPIC_EXCEPTION", "this is not a legal topic name"),
    (19, "NOT_ENOUGH_REPLICAS", "fewer replicas than min.insync.replicas"),
    (22, "ILLEGAL_GENERATION", "the group has members; stop them first"),
    (24, "INVALID_GROUP_ID", "this is not a legal group name"),
    (25, "UNKNOWN_MEMBER_ID", "the group has members; stop them first"),
    (27, "REBALANCE_IN_PROGRESS", "the group is rebalancing; try again"),
    (29, "TOPIC_AUTHORIZATION_FAILED", "this user may not do that to the topic"),
    (30, "GROUP_AUTHORIZATION_FAILED", "this user may not do that to the group"),
    (31, "CLUSTER_AUTHORIZATION_FAILED", "this user may not do that"),
    (36, "TOPIC_ALREADY_EXISTS", "there is a topic of this name"),
    (37, "INVALID_PARTITIONS", "this number of partitions is not possible"),
    (40, "INVALID_CONFIG", "a setting is not legal"),
    (42, "INVALID_REQUEST", "the request makes no sense"),
    (44, "POLICY_VIOLATION", "the server does not allow it"),
    (56, "KAFKA_STORAGE_ERROR", "the server's storage failed; see its log"),
    (68, "NON_EMPTY_GROUP", "the group has members; stop them first"),
    (69, "GROUP_ID_NOT_FOUND", "there is no such group"),
    (86, "GROUP_SUBSCRIBED_TO_TOPIC", "the group's members are reading the topic; stop them first"),
    (87, "INVALID_RECORD", "the topic does not take such a record (compacted topics need keys)"),
];

/// A code's name and meaning.
fn name_of(code: i16) -> String {
    match KNOWN.iter().find(|(known, ..)| *known == code) {
        Some((_, name, meaning)) => format!("{meaning} ({name})"),
        None => format!("Kafka error code {code}"),
    }
}

/// Fails with what was tried, and the broker's own words if it has some.
pub(super) fn check(what: &str, code: i16, message: Option<&str>) -> io::Result<()> {
    match (code, message.filter(|words| !words.is_empty())) {
        (0, _) => Ok(()),
        (_, Some(words)) => Err(io::Error::other(format!("{what}: {words}"))),
        (_, None) => Err(io::Error::other(format!("{what}: {}", name_of(code)))),
    }
}
