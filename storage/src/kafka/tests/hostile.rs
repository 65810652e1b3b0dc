//! Frames nobody sane would send: no panic, and no memory for what is only announced.

use proptest::prelude::*;

use super::*;

/// Well-formed frames of many shapes to start from.
fn seeds() -> Vec<Bytes> {
    let mut topic = kafka_wire::metadata_request::MetadataRequestTopic::default();
    topic.name = Some("t".into());
    let mut metadata = MetadataRequest::default();
    metadata.topics = Some(vec![topic.clone(), topic]);
    let mut describe = kafka_wire::DescribeGroupsRequest::default();
    describe.groups = vec!["g".into(), "h".into()];
    let mut find = kafka_wire::FindCoordinatorRequest::default();
    find.coordinator_keys = vec!["g".into(), "h".into()];
    let mut protocol = kafka_wire::join_group_request::JoinGroupRequestProtocol::default();
    protocol.name = "range".into();
    protocol.metadata = Bytes::from_static(b"abc");
    let mut join = kafka_wire::JoinGroupRequest::default();
    join.group_id = "g".into();
    join.session_timeout_ms = 10_000;
    join.protocol_type = "consumer".into();
    join.protocols = vec![protocol];
    let mut create = kafka_wire::CreateTopicsRequest::default();
    let mut made = kafka_wire::create_topics_request::CreatableTopic::default();
    made.name = "made".into();
    made.num_partitions = 1;
    made.replication_factor = 1;
    create.topics = vec![made];
    vec![
        frame(3, &produce_to("t", 0, batch(&["value"]))),
        frame(9, &produce_to("t", 0, batch(&["value", "other"]))),
        frame(4, &fetch_from("t", 0, 0)),
        frame(12, &fetch_from("t", 0, 0)),
        frame(1, &metadata),
        frame(9, &metadata),
        frame(4, &describe),
        frame(5, &describe),
        frame(4, &find),
        frame(5, &join),
        frame(9, &join),
        frame(4, &create),
        frame(7, &create),
        frame(3, &kafka_wire::ApiVersionsRequest::default()),
    ]
}

/// Carries a frame out as a connection would, to the end.
fn endure(client: &mut Client, frame: Bytes) {
    let outcome = handle(&client.node, &mut client.session, frame, client.now_ms);
    if let Outcome::Wait { pending, .. } = outcome {
        client.node.broker.commit_pending(client.now_ms).unwrap();
        resume(&client.node, &mut client.session, pending, client.now_ms + 1000);
    }
}

#[test]
fn every_length_and_count_may_lie() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    for seed in seeds() {
        for at in 0..seed.len() {
            for lie in [&[0x7f_u8, 0xff, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xff, 0x0f]] {
                let mut bytes = seed.to_vec();
                let end = (at + lie.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&lie[..end - at]);
                endure(&mut client, bytes.into());
            }
            endure(&mut client, seed.slice(..at));
        }
    }
}

/// The smallest elements there are, as many as a frame holds: what decoding keeps is a small
/// multiple of the frame.
#[test]
fn frames_of_tiny_elements_cost_a_small_multiple_of_their_size() {
    fn check<R: KafkaRequest>(version: i16, before: &[u8], element: &[u8], compact: bool) {
        let count = 60_000_u32;
        let mut body = before.to_vec();
        if compact {
            let mut rest = count + 1;
            while rest >= 0x80 {
                body.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            body.push(rest as u8);
        } else {
            body.extend_from_slice(&count.to_be_bytes());
        }
        (0..count).for_each(|_| body.extend_from_slice(element));
        body.extend_from_slice(&[0; 16]);
        let len = body.len();
        let key = R::API_KEY.value();
        let header = Header { key, version, correlation_id: 0, client_id: String::new() };
        let request = wire::decode::<R>(&header, body.into()).unwrap();
        let kept = request.retained_size().heap_bytes();
        assert!(kept <= 80 * len, "{} version {version}: {kept} bytes for {len}", R::NAME);
    }
    check::<MetadataRequest>(1, &[], &[0, 0], false);
    check::<kafka_wire::DescribeGroupsRequest>(5, &[], &[1], true);
    check::<kafka_wire::FindCoordinatorRequest>(4, &[0], &[1], true);
    check::<kafka_wire::OffsetFetchRequest>(8, &[], &[1, 0, 0], true);
    check::<kafka_wire::ProduceRequest>(9, &[0, 0, 1, 0, 0, 0, 0], &[1, 1, 0], true);
}

#[test]
fn too_many_elements_and_too_long_control_frames_are_refused() {
    let mut describe = kafka_wire::DescribeGroupsRequest::default();
    describe.groups = vec![StrBytes::default(); 100_001];
    let mut client = Client::new();
    assert!(matches!(client.send(5, &describe), Outcome::Close(_)));
    describe.groups = vec!["x".repeat(30_000).as_str().into(); 400];
    assert!(matches!(client.send(5, &describe), Outcome::Close(_)));
}

#[test]
fn a_large_produce_must_be_large_by_its_records() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    for version in [8, 9, 13] {
        let mut full = produce_to("t", 0, Bytes::from(vec![0; 5 << 20]));
        if version >= 13 {
            full.topic_data[0].name = StrBytes::default();
            full.topic_data[0].topic_id = client.id_of("t");
        }
        let answer = client.ask(version, &full);
        let got = answer.responses[0].partition_responses[0].error_code;
        assert_ne!(got, 0, "five megabytes of nothing are no batch");

        let mut hollow = full.clone();
        let parts = &mut hollow.topic_data[0].partition_data;
        parts[0].records = Some(Bytes::from_static(b"0123456789"));
        let part = parts[0].clone();
        parts.resize(60_000, part);
        hollow.topic_data.resize(8, hollow.topic_data[0].clone());
        assert!(matches!(client.send(version, &hollow), Outcome::Close(_)), "{version}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn altered_frames_do_no_harm(
        seed in 0..14_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut client = Client::new();
        client.create("t", 1, &[]);
        let mut bytes = seeds()[seed].to_vec();
        for (at, value) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        if changes.len() % 3 == 0 {
            bytes.truncate(cut.index(bytes.len()));
        }
        endure(&mut client, bytes.into());
    }

    #[test]
    fn noise_does_no_harm(
        key in -1..80_i16,
        version in -1..20_i16,
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut client = Client::new();
        let mut bytes = [key.to_be_bytes(), version.to_be_bytes()].concat();
        bytes.extend_from_slice(&[0, 0, 0, 1, 0xff, 0xff, 0]);
        bytes.extend_from_slice(&noise);
        endure(&mut client, bytes.into());
    }
}
