//! What clients depend on, one behaviour each.

use super::*;
use crate::error::ErrorCode;

fn code(error: ErrorCode) -> i16 {
    error.code()
}

#[test]
fn a_produce_is_not_answered_before_it_is_published() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    let sent = client.send(9, &produce_to("t", 0, batch(&["v"])));
    let Outcome::Wait { pending, .. } = sent else { panic!("{sent:?}") };
    assert!(pending.is_done_but_for_the_disk());
    let again = resume(&client.node, &mut client.session, pending, client.now_ms);
    let Outcome::Wait { pending, .. } = again else { panic!("{again:?}") };
    client.node.broker.commit_pending(client.now_ms).unwrap();
    let done = resume(&client.node, &mut client.session, pending, client.now_ms);
    assert!(matches!(done, Outcome::Ready(_)), "{done:?}");
    let at = client.node.broker.topic("t").unwrap();
    let at = crate::broker::TopicPartition { topic: at.id, partition: 0 };
    assert_eq!(client.node.broker.high_watermark(at), Ok(1), "resuming appends nothing");
}

#[test]
fn errors_of_a_produce_stay_with_their_partition() {
    let mut client = Client::new();
    client.create("t", 1, &[("max.message.bytes", "200")]);
    let mut check = |topic: &str, partition: i32, records: Bytes, wanted: ErrorCode| {
        let mut request = produce_to("t", 0, batch(&["good"]));
        request.topic_data.extend(produce_to(topic, partition, records).topic_data);
        let answer = client.ask(9, &request);
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        let got = answer.responses[1].partition_responses[0].error_code;
        assert_eq!(got, code(wanted), "{topic}/{partition}");
    };
    let good = batch(&["v"]);
    let mut torn = good.to_vec();
    *torn.last_mut().unwrap() ^= 1;
    check("none", 0, good.clone(), ErrorCode::UnknownTopicOrPartition);
    check("t", 1, good.clone(), ErrorCode::UnknownTopicOrPartition);
    check("t", -1, good.clone(), ErrorCode::UnknownTopicOrPartition);
    check("not a name", 0, good.clone(), ErrorCode::InvalidTopicException);
    check("t", 0, torn.into(), ErrorCode::CorruptMessage);
    check("t", 0, batch(&["x".repeat(300).as_str()]), ErrorCode::MessageTooLarge);
    check("t", 0, Bytes::new(), ErrorCode::InvalidRecord);
    // One replica is all there are: it is enough.
    client.create("two", 1, &[("min.insync.replicas", "2")]);
    assert_eq!(
        client.ask(9, &produce_to("two", 0, good)).responses[0].partition_responses[0].error_code,
        0
    );
}

#[test]
fn a_compacted_topic_says_which_records_have_no_key() {
    let mut client = Client::new();
    client.create("t", 1, &[("cleanup.policy", "compact")]);
    let mut builder = BatchBuilder::new(Codec::Lz4);
    for key in [Some(&b"k"[..]), None, Some(b"k"), None] {
        builder.push(1_000_000, key, Some(b"v"), &[]);
    }
    let answer = client.ask(9, &produce_to("t", 0, builder.build().unwrap()));
    let answer = &answer.responses[0].partition_responses[0];
    assert_eq!(answer.error_code, code(ErrorCode::InvalidRecord));
    let indexes: Vec<_> = answer.record_errors.iter().map(|error| error.batch_index).collect();
    assert_eq!(indexes, [1, 3]);
    assert!(answer.error_message.is_some());
}

#[test]
fn acks_zero_gets_no_answer_and_a_closed_connection_on_failure() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    let mut request = produce_to("t", 0, batch(&["v"]));
    request.acks = 0;
    assert!(matches!(client.send(9, &request), Outcome::NoResponse));
    let mut request = produce_to("none", 0, batch(&["v"]));
    request.acks = 0;
    assert!(matches!(client.send(9, &request), Outcome::Close(_)));
    let mut request = produce_to("t", 0, batch(&["v"]));
    request.acks = 2;
    let answer = client.ask(9, &request);
    let got = answer.responses[0].partition_responses[0].error_code;
    assert_eq!(got, code(ErrorCode::InvalidRequiredAcks));
}

#[test]
fn a_fetch_waits_for_a_record_and_no_longer_than_it_said() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    let started = client.now_ms;
    let sent = client.send(12, &fetch_from("t", 0, 0));
    let Outcome::Wait { until_ms, wake_on, pending } = sent else { panic!("{sent:?}") };
    assert_eq!(until_ms, started + 500);
    assert!(matches!(wake_on[..], [WakeKey::Partition(_)]), "{wake_on:?}");
    assert!(!pending.is_done_but_for_the_disk());
    client.ask(9, &produce_to("t", 0, batch(&["v"])));
    let woken = resume(&client.node, &mut client.session, pending, started + 10);
    let Outcome::Ready(answer) = woken else { panic!("{woken:?}") };
    let answer = read::<FetchRequest>(12, answer);
    assert!(!answer.responses[0].partitions[0].records.as_ref().unwrap().is_empty());

    let empty = client.ask(12, &fetch_from("t", 0, 1));
    let part = &empty.responses[0].partitions[0];
    assert_eq!((part.error_code, part.records.as_ref().unwrap().len()), (0, 0));
    assert!(client.now_ms >= started + 500, "the time had to pass");
}

#[test]
fn the_first_batch_is_given_whatever_its_size_and_only_the_first() {
    let mut client = Client::new();
    client.create("t", 2, &[]);
    let large = batch(&["x".repeat(5000).as_str()]);
    let size = large.len();
    for partition in [0, 0, 1] {
        client.ask(9, &produce_to("t", partition, large.clone()));
    }
    let mut check = |max: i32, own: i32, wanted: [usize; 2]| {
        let mut request = fetch_from("t", 0, 0);
        request.max_bytes = max;
        let mut second = request.topics[0].partitions[0].clone();
        second.partition = 1;
        request.topics[0].partitions.push(second);
        request.topics[0].partitions.iter_mut().for_each(|p| p.partition_max_bytes = own);
        let answer = client.ask(12, &request);
        let parts = answer.responses[0].partitions.iter();
        let got: Vec<usize> = parts.map(|part| part.records.as_ref().unwrap().len()).collect();
        assert_eq!(got, wanted, "max {max}, of one partition {own}");
    };
    let (size_i32, all) = (size as i32, i32::MAX);
    check(all, all, [2 * size, size]);
    check(all, size_i32, [size, size]);
    check(1, all, [size, 0]);
    check(all, 1, [size, 0]);
    check(2 * size_i32, all, [2 * size, 0]);
    check(-1, -1, [size, 0]);
}

#[test]
fn a_fetch_answers_errors_at_once() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    let mut check = |topic: &str, partition: i32, offset: i64, epoch: i32, wanted: ErrorCode| {
        let mut request = fetch_from(topic, partition, offset);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        let sent = client.send(12, &request);
        let Outcome::Ready(answer) = sent else { panic!("{sent:?}") };
        let answer = read::<FetchRequest>(12, answer);
        assert_eq!(answer.responses[0].partitions[0].error_code, code(wanted));
    };
    check("none", 0, 0, -1, ErrorCode::UnknownTopicOrPartition);
    check("t", 7, 0, -1, ErrorCode::UnknownTopicOrPartition);
    check("t", 0, 5, -1, ErrorCode::OffsetOutOfRange);
    check("t", 0, 0, 3, ErrorCode::UnknownLeaderEpoch);

    let mut request = fetch_from("", 0, 0);
    request.topics[0].topic_id = WireUuid::from_bytes([9; 16]);
    let answer = client.ask(13, &request);
    let got = answer.responses[0].partitions[0].error_code;
    assert_eq!(got, code(ErrorCode::UnknownTopicId));
}

#[test]
fn metadata_makes_a_topic_and_answers_when_it_is_there() {
    let mut client = Client::new();
    let asked = |name: &str, allow: bool| {
        let mut topic = kafka_wire::metadata_request::MetadataRequestTopic::default();
        topic.name = Some(name.into());
        let mut request = MetadataRequest::default();
        request.topics = Some(vec![topic]);
        request.allow_auto_topic_creation = allow;
        request
    };
    let mut check = |name: &str, allow: bool, wanted: ErrorCode, partitions: usize| {
        let answer = client.ask(9, &asked(name, allow));
        let topic = &answer.topics[0];
        assert_eq!((topic.error_code, topic.partitions.len()), (code(wanted), partitions));
    };
    check("new", false, ErrorCode::UnknownTopicOrPartition, 0);
    check("new", true, ErrorCode::None, 1);
    check("new", false, ErrorCode::None, 1);
    check("not a name", true, ErrorCode::InvalidTopicException, 0);

    let mut nothing = MetadataRequest::default();
    nothing.topics = Some(vec![]);
    assert_eq!(client.ask(0, &nothing).topics.len(), 1, "in version 0 none means all");
    assert_eq!(client.ask(1, &nothing).topics.len(), 0);
    nothing.topics = None;
    assert_eq!(client.ask(1, &nothing).topics.len(), 1);
}

#[test]
fn create_topics_refuses_what_one_node_cannot_do() {
    let mut client = Client::new();
    client.create("there", 1, &[]);
    let mut check = |name: &str, partitions: i32, replicas: i16, wanted: ErrorCode| {
        let mut topic = kafka_wire::create_topics_request::CreatableTopic::default();
        topic.name = name.into();
        topic.num_partitions = partitions;
        topic.replication_factor = replicas;
        let mut request = kafka_wire::CreateTopicsRequest::default();
        request.topics = vec![topic];
        let made = client.ask(7, &request).topics.remove(0);
        assert_eq!(made.error_code, code(wanted), "{name}: {:?}", made.error_message);
        assert!(made.configs.is_some(), "null would break the Java client");
        made
    };
    check("there", 1, 1, ErrorCode::TopicAlreadyExists);
    check("a", 0, 1, ErrorCode::InvalidPartitions);
    check("a", 1, 3, ErrorCode::InvalidReplicationFactor);
    check("a b", 1, 1, ErrorCode::InvalidTopicException);
    let made = check("a", -1, -1, ErrorCode::None);
    assert_eq!((made.num_partitions, made.replication_factor), (1, 1));
    assert!(made.configs.unwrap().iter().all(|config| config.config_source > 0));
}

#[test]
fn every_described_setting_has_a_source_and_synonyms() {
    let mut client = Client::new();
    client.create("t", 1, &[("retention.ms", "5")]);
    for (kind, name, has) in [(2, "t", "retention.ms"), (4, "1", "num.partitions")] {
        let mut resource = kafka_wire::describe_configs_request::DescribeConfigsResource::default();
        resource.resource_type = kind;
        resource.resource_name = name.into();
        let mut request = kafka_wire::DescribeConfigsRequest::default();
        request.resources = vec![resource];
        request.include_synonyms = true;
        let result = client.ask(4, &request).results.remove(0);
        assert_eq!(result.error_code, 0);
        assert!(result.configs.iter().any(|config| &*config.name == has));
        for config in &result.configs {
            assert!(config.config_source > 0, "{}", config.name);
            let is_told = config.value.is_some();
            assert_eq!(!config.synonyms.is_empty(), is_told, "{}", config.name);
        }
    }
}

#[test]
fn settings_are_changed_one_by_one_or_all_at_once() {
    use kafka_wire::incremental_alter_configs_request as incremental;
    let mut client = Client::new();
    client.create("t", 1, &[("retention.ms", "5")]);
    let set = |client: &Client, name: &str| {
        client.node.broker.topic("t").unwrap().config.set().get(name).cloned()
    };
    let mut check = |operation: i8, name: &str, value: &str, wanted: Option<&str>| {
        let mut config = incremental::AlterableConfig::default();
        config.name = name.into();
        config.config_operation = operation;
        config.value = Some(value.into());
        let mut resource = incremental::AlterConfigsResource::default();
        resource.resource_type = 2;
        resource.resource_name = "t".into();
        resource.configs = vec![config];
        let mut request = kafka_wire::IncrementalAlterConfigsRequest::default();
        request.resources = vec![resource];
        let answer = client.ask(1, &request);
        let refused = wanted.is_none() && operation != 1;
        assert_eq!(answer.responses[0].error_code != 0, refused, "{name}");
        assert_eq!(set(&client, name).as_deref(), wanted, "{name}");
    };
    check(0, "retention.ms", "7", Some("7"));
    check(2, "cleanup.policy", "compact", Some("delete,compact"));
    check(3, "cleanup.policy", "delete", Some("compact"));
    check(1, "retention.ms", "", None);
    check(0, "no.such", "1", None);
    check(2, "segment.ms", "1", None);

    let mut config = kafka_wire::alter_configs_request::AlterableConfig::default();
    config.name = "segment.ms".into();
    config.value = Some("9".into());
    let mut resource = kafka_wire::alter_configs_request::AlterConfigsResource::default();
    resource.resource_type = 2;
    resource.resource_name = "t".into();
    resource.configs = vec![config];
    let mut request = kafka_wire::AlterConfigsRequest::default();
    request.resources = vec![resource];
    client.ask(2, &request);
    assert_eq!(set(&client, "segment.ms").as_deref(), Some("9"));
    assert_eq!(set(&client, "cleanup.policy"), None, "what is not named is reset");
}

#[test]
fn a_producer_id_is_new_each_time() {
    let mut client = Client::new();
    let mut request = kafka_wire::InitProducerIdRequest::default();
    request.transactional_id = None;
    let first = client.ask(4, &request);
    let second = client.ask(4, &request);
    assert_eq!((first.error_code, first.producer_epoch), (0, 0));
    assert_ne!(first.producer_id, second.producer_id);
}

#[test]
fn the_first_group_brings_the_internal_topic_and_nobody_writes_to_it() {
    let mut client = Client::new();
    let describe = |client: &mut Client| {
        let mut asked = kafka_wire::metadata_request::MetadataRequestTopic::default();
        asked.name = Some("__consumer_offsets".into());
        let mut request = kafka_wire::MetadataRequest::default();
        request.topics = Some(vec![asked]);
        request.allow_auto_topic_creation = false;
        let topic = client.ask(12, &request).topics.remove(0);
        (topic.error_code, topic.is_internal)
    };
    assert_eq!(describe(&mut client), (code(ErrorCode::UnknownTopicOrPartition), false));
    let mut request = kafka_wire::FindCoordinatorRequest::default();
    request.coordinator_keys = vec!["g".into()];
    assert_eq!(client.ask(4, &request).coordinators[0].error_code, 0);
    client.node.broker.commit_pending(client.now_ms).unwrap();
    assert_eq!(describe(&mut client), (0, true));
    let refused = client.ask(9, &produce_to("__consumer_offsets", 0, batch(&["v"])));
    let refused = refused.responses[0].partition_responses[0].error_code;
    assert_eq!(refused, code(ErrorCode::InvalidTopicException));
}
