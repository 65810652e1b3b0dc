//! Small things on the wire that clients fall over, a line of data for each.
//!
//! What each is for: Java's admin client fails on null arrays and unknown sources; librdkafka and
//! kafka-python have been seen to hang or to switch features off.

use kafka_wire::*;

use super::*;
use crate::error::ErrorCode;

#[test]
fn software_names_are_checked_from_version_3_on() {
    let mut client = Client::new();
    let mut check = |version: i16, name: &str, software: &str, wanted: ErrorCode| {
        let mut request = ApiVersionsRequest::default();
        request.client_software_name = name.into();
        request.client_software_version = software.into();
        let answer = client.ask(version, &request);
        assert_eq!(answer.error_code, wanted.code(), "{version} {name:?} {software:?}");
    };
    check(3, "apache-kafka-java", "4.1.1", ErrorCode::None);
    check(4, "librdkafka", "2.16.1-RC1", ErrorCode::None);
    check(3, "", "1", ErrorCode::InvalidRequest);
    check(3, "a b", "1", ErrorCode::InvalidRequest);
    check(3, "-a", "1", ErrorCode::InvalidRequest);
    check(4, "a", "1.", ErrorCode::InvalidRequest);
}

#[test]
fn a_partition_takes_one_batch_that_begins_at_offset_0() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    let good = batch(&["v"]);
    let mut elsewhere = good.to_vec();
    elsewhere[7] = 5;
    let twice = [&good[..], &good[..]].concat();
    let mut old_format = good.to_vec();
    old_format[16] = 1;
    for (records, wanted) in [
        (elsewhere, &[ErrorCode::InvalidRecord, ErrorCode::CorruptMessage][..]),
        (twice, &[ErrorCode::InvalidRecord, ErrorCode::CorruptMessage]),
        (old_format, &[ErrorCode::UnsupportedForMessageFormat, ErrorCode::InvalidRecord]),
        (good[..good.len() - 1].to_vec(), &[ErrorCode::CorruptMessage]),
        (good.to_vec(), &[ErrorCode::None]),
    ] {
        let answer = client.ask(9, &produce_to("t", 0, records.into()));
        let got = answer.responses[0].partition_responses[0].error_code;
        assert!(wanted.iter().any(|code| code.code() == got), "{got} is none of {wanted:?}");
    }
    let at = client.node.broker.topic("t").unwrap().id;
    let at = crate::broker::TopicPartition { topic: at, partition: 0 };
    assert_eq!(client.node.broker.high_watermark(at), Ok(1), "only the good one");
}

#[test]
fn special_times_have_a_version_they_began_with() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    client.ask(9, &produce_to("t", 0, batch(&["a", "b"])));
    let mut check = |version: i16, timestamp: i64, wanted: Result<i64, ErrorCode>| {
        let mut asked = list_offsets_request::ListOffsetsPartition::default();
        asked.timestamp = timestamp;
        let mut topic = list_offsets_request::ListOffsetsTopic::default();
        topic.name = "t".into();
        topic.partitions = vec![asked];
        let mut request = ListOffsetsRequest::default();
        request.topics = vec![topic];
        let answer = client.ask(version, &request).topics.remove(0).partitions.remove(0);
        let got = match answer.error_code {
            0 => Ok(answer.offset),
            code => Err(code),
        };
        assert_eq!(got, wanted.map_err(ErrorCode::code), "version {version}, {timestamp}");
    };
    let unsupported = Err(ErrorCode::UnsupportedVersion);
    check(1, -1, Ok(2));
    check(1, -2, Ok(0));
    check(7, -3, Ok(0));
    check(6, -3, unsupported);
    check(8, -4, Ok(0));
    check(7, -4, unsupported);
    check(9, -5, Ok(-1));
    check(8, -5, unsupported);
    check(10, -6, unsupported);
    check(10, 0, Ok(0));
    check(10, i64::MAX, Ok(-1));
}

#[test]
fn a_name_given_twice_is_refused_and_answered_once() {
    let mut client = Client::new();
    let mut request = CreateTopicsRequest::default();
    for name in ["twice", "once", "twice"] {
        let mut topic = create_topics_request::CreatableTopic::default();
        topic.name = name.into();
        topic.num_partitions = 1;
        topic.replication_factor = 1;
        request.topics.push(topic);
    }
    let answer = client.ask(7, &request);
    let told: Vec<_> = answer.topics.iter().map(|t| (t.name.to_string(), t.error_code)).collect();
    let refused = ErrorCode::InvalidRequest.code();
    assert_eq!(told, [("twice".to_owned(), refused), ("once".to_owned(), 0)]);
    for topic in &answer.topics {
        assert!(topic.configs.is_some(), "null would break the Java client");
    }
}

#[test]
fn names_of_topics_and_replicas_are_refused_as_kafka_does() {
    let mut client = Client::new();
    client.create("p.c", 1, &[]);
    let node = client.node.config.node_id;
    let mut check = |name: &str, partitions: i32, placed: &[&[i32]], wanted: ErrorCode| {
        let mut topic = create_topics_request::CreatableTopic::default();
        topic.name = name.into();
        topic.num_partitions = partitions;
        topic.replication_factor = -1;
        for (index, brokers) in placed.iter().enumerate() {
            let mut one = create_topics_request::CreatableReplicaAssignment::default();
            one.partition_index = index as i32;
            one.broker_ids = brokers.to_vec();
            topic.assignments.push(one);
        }
        let mut request = CreateTopicsRequest::default();
        request.topics = vec![topic];
        request.validate_only = true;
        let made = client.ask(7, &request).topics.remove(0);
        assert_eq!(made.error_code, wanted.code(), "{name} {placed:?}: {:?}", made.error_message);
    };
    check("p_c", 1, &[], ErrorCode::InvalidTopicException);
    check("p.c", 1, &[], ErrorCode::TopicAlreadyExists);
    check("..", 1, &[], ErrorCode::InvalidTopicException);
    check("new", -1, &[&[node], &[node]], ErrorCode::None);
    check("new", -1, &[&[node + 1]], ErrorCode::InvalidReplicaAssignment);
    check("new", -1, &[&[node, node]], ErrorCode::InvalidReplicaAssignment);
    check("new", -1, &[&[]], ErrorCode::InvalidReplicaAssignment);
    check("new", 1, &[&[node]], ErrorCode::InvalidRequest);
    check("new", -2, &[], ErrorCode::InvalidPartitions);
    assert!(client.node.broker.topic("new").is_none(), "only checked");
}

#[test]
fn topics_are_deleted_by_name_or_id_and_a_failure_spoils_no_other() {
    let mut client = Client::new();
    client.create("a", 1, &[]);
    client.create("b", 1, &[]);
    let mut request = DeleteTopicsRequest::default();
    for (name, id) in [
        (Some("none"), WireUuid::ZERO),
        (Some("a"), WireUuid::ZERO),
        (None, client.id_of("b")),
        (None, WireUuid::from_bytes([9; 16])),
    ] {
        let mut topic = delete_topics_request::DeleteTopicState::default();
        topic.name = name.map(Into::into);
        topic.topic_id = id;
        request.topics.push(topic);
    }
    let answer = client.ask(6, &request);
    let told = answer.responses.iter().map(|topic| (topic.name.as_deref(), topic.error_code));
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let unknown_id = ErrorCode::UnknownTopicId.code();
    let wanted = [(Some("none"), unknown), (Some("a"), 0), (Some("b"), 0), (None, unknown_id)];
    assert_eq!(told.collect::<Vec<_>>(), wanted);
    assert!(client.node.broker.topics().is_empty());
}
