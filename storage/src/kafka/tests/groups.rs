//! Groups over the wire: what only the handlers add to the coordinator.

use kafka_wire::join_group_request::JoinGroupRequestProtocol;
use kafka_wire::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_wire::sync_group_request::SyncGroupRequestAssignment;
use kafka_wire::{JoinGroupRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest};

use super::*;
use crate::error::ErrorCode;

fn join(member: &str) -> JoinGroupRequest {
    let mut protocol = JoinGroupRequestProtocol::default();
    protocol.name = "range".into();
    protocol.metadata = Bytes::from_static(b"topics");
    let mut request = JoinGroupRequest::default();
    request.group_id = "g".into();
    request.session_timeout_ms = 10_000;
    request.rebalance_timeout_ms = 30_000;
    request.member_id = member.into();
    request.protocol_type = "consumer".into();
    request.protocols = vec![protocol];
    request
}

fn sync(member: &str, generation: i32) -> SyncGroupRequest {
    let mut given = SyncGroupRequestAssignment::default();
    given.member_id = member.into();
    given.assignment = Bytes::from_static(b"yours");
    let mut request = SyncGroupRequest::default();
    request.group_id = "g".into();
    request.generation_id = generation;
    request.member_id = member.into();
    request.assignments = vec![given];
    request
}

pub(super) fn commit(
    member: &str,
    generation: i32,
    topics: &[(&str, i32, i64)],
) -> OffsetCommitRequest {
    let mut request = OffsetCommitRequest::default();
    request.group_id = "g".into();
    request.member_id = member.into();
    request.generation_id_or_member_epoch = generation;
    for (name, partition, offset) in topics {
        let mut place = OffsetCommitRequestPartition::default();
        place.partition_index = *partition;
        place.committed_offset = *offset;
        place.committed_metadata = Some("words".into());
        let mut topic = OffsetCommitRequestTopic::default();
        topic.name = (*name).into();
        topic.partitions = vec![place];
        request.topics.push(topic);
    }
    request
}

/// All a group has committed, as `topic/partition offset metadata`.
fn committed(client: &mut Client, group: &str) -> Vec<String> {
    let mut request = OffsetFetchRequest::default();
    request.group_id = group.into();
    request.topics = None;
    let answer = client.ask(7, &request);
    assert_eq!(answer.error_code, 0);
    let each = |topic: &kafka_wire::offset_fetch_response::OffsetFetchResponseTopic| {
        let name = topic.name.clone();
        let one = topic.partitions.iter().map(move |at| {
            let words = at.metadata.as_deref().unwrap_or("null").to_owned();
            format!("{name}/{} {} {words}", at.partition_index, at.committed_offset)
        });
        one.collect::<Vec<_>>()
    };
    answer.topics.iter().flat_map(each).collect()
}

#[test]
fn every_version_brings_a_member_to_its_assignment() {
    for version in 0..=9 {
        let mut client = Client::new();
        let mut joined = client.ask(version, &join(""));
        if version >= 4 {
            assert_eq!(joined.error_code, ErrorCode::MemberIdRequired.code());
            joined = client.ask(version, &join(&joined.member_id));
        }
        assert_eq!((joined.error_code, joined.generation_id), (0, 1), "{version}");
        assert_eq!(joined.leader, joined.member_id);
        assert_eq!(joined.protocol_name.as_deref(), Some("range"));
        assert_eq!(joined.members.len(), 1);
        let synced = client.ask(version.min(5), &sync(&joined.member_id, 1));
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"yours"[..]), "{version}");
    }
}

#[test]
fn commits_survive_a_restart_with_their_words_and_an_unknown_group_has_none() {
    let disk = Arc::new(MemDisk::new());
    {
        let mut client = Client::on(disk.clone());
        client.create("t", 2, &[]);
        let first = client.ask(5, &join(""));
        let member = client.ask(5, &join(&first.member_id)).member_id;
        client.ask(3, &sync(&member, 1));
        let wanted = [("t", 0, 5), ("t", 1, 6), ("t", 2, 7), ("none", 0, 8)];
        let answer = client.ask(8, &commit(&member, 1, &wanted));
        let codes: Vec<i16> =
            answer.topics.iter().map(|topic| topic.partitions[0].error_code).collect();
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        assert_eq!(codes, [0, 0, unknown, unknown]);
        let answer = client.ask(8, &commit(&member, 0, &wanted[..1]));
        let got = answer.topics[0].partitions[0].error_code;
        assert_eq!(got, ErrorCode::IllegalGeneration.code());
    }
    let mut client = Client::on(disk);
    assert_eq!(committed(&mut client, "g"), ["t/0 5 words", "t/1 6 words"]);
    assert_eq!(committed(&mut client, "unknown"), [""; 0]);

    // Asked for by name, what is not there is -1 and no error.
    for version in 1..=9 {
        let mut request = OffsetFetchRequest::default();
        let (code, offset) = if version < 8 {
            let mut topic = kafka_wire::offset_fetch_request::OffsetFetchRequestTopic::default();
            topic.name = "t".into();
            topic.partition_indexes = vec![0];
            request.group_id = "unknown".into();
            request.topics = Some(vec![topic]);
            let answer = client.ask(version, &request);
            let at = &answer.topics[0].partitions[0];
            (answer.error_code + at.error_code, at.committed_offset)
        } else {
            let mut topic = kafka_wire::offset_fetch_request::OffsetFetchRequestTopics::default();
            topic.name = "t".into();
            topic.partition_indexes = vec![0];
            let mut group = kafka_wire::offset_fetch_request::OffsetFetchRequestGroup::default();
            group.group_id = "unknown".into();
            group.topics = Some(vec![topic]);
            request.groups = vec![group];
            let answer = client.ask(version, &request);
            let at = &answer.groups[0].topics[0].partitions[0];
            (answer.groups[0].error_code + at.error_code, at.committed_offset)
        };
        assert_eq!((code, offset), (0, -1), "{version}");
    }
}

#[test]
fn offsets_go_with_their_topic() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    client.create("kept", 1, &[]);
    client.ask(8, &commit("", -1, &[("t", 0, 5), ("kept", 0, 6)]));
    let mut request = kafka_wire::DeleteTopicsRequest::default();
    request.topic_names = vec!["t".into(), "none".into()];
    let answer = client.ask(5, &request);
    let codes: Vec<i16> = answer.responses.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::UnknownTopicOrPartition.code()]);
    assert_eq!(committed(&mut client, "g"), ["kept/0 6 words"]);
}

#[test]
fn a_group_is_listed_described_and_deleted() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    client.ask(8, &commit("", -1, &[("t", 0, 5)]));
    let listed = client.ask(5, &kafka_wire::ListGroupsRequest::default());
    let group = &listed.groups[0];
    assert_eq!(
        (&*group.group_id, &*group.group_state, &*group.group_type),
        ("g", "Empty", "classic")
    );

    let mut request = kafka_wire::DescribeGroupsRequest::default();
    request.groups = vec!["g".into(), "none".into()];
    let described = client.ask(6, &request);
    assert_eq!(described.groups[0].error_code, 0);
    assert_eq!(described.groups[1].error_code, ErrorCode::GroupIdNotFound.code());
    let described = client.ask(5, &request);
    assert_eq!((described.groups[1].error_code, &*described.groups[1].group_state), (0, "Dead"));

    let mut request = kafka_wire::DeleteGroupsRequest::default();
    request.groups_names = vec!["g".into(), "g".into()];
    let deleted = client.ask(2, &request);
    let codes: Vec<i16> = deleted.results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::GroupIdNotFound.code()]);
}

pub(super) fn heartbeat(member: &str, epoch: i32) -> kafka_wire::ConsumerGroupHeartbeatRequest {
    let mut request = kafka_wire::ConsumerGroupHeartbeatRequest::default();
    request.group_id = "g".into();
    request.member_id = member.into();
    request.member_epoch = epoch;
    request.rebalance_timeout_ms = -1;
    request.subscribed_topic_names = None;
    request.subscribed_topic_regex = None;
    request.topic_partitions = None;
    if epoch == 0 {
        request.rebalance_timeout_ms = 30_000;
        request.subscribed_topic_names = Some(vec!["t".into()]);
        request.topic_partitions = Some(vec![]);
    }
    request
}

#[test]
fn a_kip_848_member_joins_commits_and_is_described_and_survives_a_restart() {
    let disk = Arc::new(MemDisk::new());
    let topic_id = {
        let mut client = Client::on(disk.clone());
        client.create("t", 2, &[]);
        // Version 0 may leave the member id to the server, version 1 may not.
        let refused = client.ask(1, &heartbeat("", 0));
        assert_eq!(refused.error_code, ErrorCode::InvalidRequest.code());
        let told = client.ask(0, &heartbeat("", 0));
        assert_eq!((told.error_code, told.member_epoch), (0, 1));
        let mut left = heartbeat(told.member_id.as_deref().expect("an id"), -1);
        left.group_id = "g".into();
        assert_eq!(client.ask(0, &left).error_code, 0);

        let told = client.ask(1, &heartbeat("m", 0));
        let given = &told.assignment.as_ref().expect("an assignment").topic_partitions;
        assert_eq!((told.error_code, told.member_epoch, told.heartbeat_interval_ms), (0, 3, 5000));
        assert_eq!(given[0].topic_id, client.id_of("t"));
        assert_eq!(given[0].partitions, [0, 1]);
        assert_eq!(client.ask(1, &heartbeat("m", 3)).assignment, None);
        let code =
            |answer: kafka_wire::OffsetCommitResponse| answer.topics[0].partitions[0].error_code;
        let stale = code(client.ask(9, &commit("m", 2, &[("t", 0, 5)])));
        assert_eq!(stale, ErrorCode::StaleMemberEpoch.code());
        let old = code(client.ask(8, &commit("m", 3, &[("t", 0, 5)])));
        assert_eq!(old, ErrorCode::UnsupportedVersion.code());
        assert_eq!(code(client.ask(9, &commit("m", 3, &[("t", 0, 5)]))), 0);
        client.id_of("t")
    };
    let mut client = Client::on(disk);
    let told = client.ask(1, &heartbeat("m", 3));
    assert_eq!((told.error_code, told.member_epoch, told.assignment), (0, 3, None));
    assert_eq!(committed(&mut client, "g"), ["t/0 5 words"]);

    let mut request = kafka_wire::ConsumerGroupDescribeRequest::default();
    request.group_ids = vec!["g".into(), "none".into()];
    let described = client.ask(1, &request).groups;
    let group = &described[0];
    assert_eq!(
        (group.error_code, &*group.group_state, &*group.assignor_name),
        (0, "Stable", "uniform")
    );
    let member = &group.members[0];
    assert_eq!((&*member.member_id, member.member_epoch, member.member_type), ("m", 3, 1));
    for assignment in [&member.assignment, &member.target_assignment] {
        let of = &assignment.topic_partitions[0];
        assert_eq!(
            (&*of.topic_name, of.topic_id, &of.partitions[..]),
            ("t", topic_id, &[0, 1][..])
        );
    }
    assert_eq!(described[1].error_code, ErrorCode::GroupIdNotFound.code());

    // DescribeGroups does not know it, ListGroups does, with type and state.
    let mut request = kafka_wire::DescribeGroupsRequest::default();
    request.groups = vec!["g".into()];
    let described = client.ask(6, &request);
    assert_eq!(described.groups[0].error_code, ErrorCode::GroupIdNotFound.code());
    let mut request = kafka_wire::ListGroupsRequest::default();
    for (types, states, wanted) in [
        (&[][..], &[][..], 1),
        (&["consumer"], &["stable"], 1),
        (&["classic"], &[], 0),
        (&["Consumer"], &["Empty", "Dead"], 0),
    ] {
        request.types_filter = types.iter().map(|name| (*name).into()).collect();
        request.states_filter = states.iter().map(|name| (*name).into()).collect();
        assert_eq!(client.ask(5, &request).groups.len(), wanted, "{types:?} {states:?}");
    }

    // A member reads offsets in its epoch, an administrator without one.
    for (member, epoch, wanted) in [
        (None, -1, ErrorCode::None),
        (Some("m"), 3, ErrorCode::None),
        (Some("m"), 2, ErrorCode::StaleMemberEpoch),
        (Some("x"), 3, ErrorCode::UnknownMemberId),
    ] {
        let mut group = kafka_wire::offset_fetch_request::OffsetFetchRequestGroup::default();
        group.group_id = "g".into();
        group.member_id = member.map(StrBytes::from);
        group.member_epoch = epoch;
        group.topics = None;
        let mut request = OffsetFetchRequest::default();
        request.groups = vec![group];
        let answer = client.ask(9, &request);
        assert_eq!(answer.groups[0].error_code, wanted.code(), "{member:?} {epoch}");
    }
}

#[test]
fn group_settings_are_in_force_at_once_and_after_a_restart() {
    let disk = Arc::new(MemDisk::new());
    let mut client = Client::on(disk.clone());
    client.create("t", 1, &[]);
    let mut config = kafka_wire::incremental_alter_configs_request::AlterableConfig::default();
    config.name = "consumer.heartbeat.interval.ms".into();
    config.value = Some("7000".into());
    let mut resource =
        kafka_wire::incremental_alter_configs_request::AlterConfigsResource::default();
    resource.resource_type = 32;
    resource.resource_name = "g".into();
    resource.configs = vec![config];
    let mut request = kafka_wire::IncrementalAlterConfigsRequest::default();
    request.resources = vec![resource];
    assert_eq!(client.ask(1, &request).responses[0].error_code, 0);
    assert_eq!(client.ask(1, &heartbeat("m", 0)).heartbeat_interval_ms, 7000);
    drop(client);
    let mut client = Client::on(disk);
    assert_eq!(client.ask(1, &heartbeat("m", 1)).heartbeat_interval_ms, 7000);
}

#[test]
fn the_feature_of_kip_848_is_announced() {
    let mut client = Client::new();
    for (version, supported) in [(3, 0), (4, 1)] {
        let mut request = kafka_wire::ApiVersionsRequest::default();
        request.client_software_name = "test".into();
        request.client_software_version = "1".into();
        let answer = client.ask(version, &request);
        let named = |name: &StrBytes| &**name == "group.version";
        let shown = answer.supported_features.iter().filter(|feature| named(&feature.name));
        assert_eq!(shown.count(), supported, "{version}");
        let on = answer.finalized_features.iter().find(|feature| named(&feature.name));
        assert_eq!(on.map(|feature| feature.max_version_level), Some(1), "{version}");
    }
}
