//! Access control as clients meet it: what each API asks for, and what it tells those who may not.

use kafka_wire::create_acls_request::AclCreation;
use kafka_wire::{
    AlterUserScramCredentialsRequest, CreateAclsRequest, DeleteAclsRequest, DeleteGroupsRequest,
    DeleteTopicsRequest, DescribeAclsRequest, DescribeClusterRequest,
    DescribeUserScramCredentialsRequest, FindCoordinatorRequest, HeartbeatRequest,
    InitProducerIdRequest, JoinGroupRequest, ListGroupsRequest, MetadataRequest,
    OffsetCommitRequest, OffsetFetchRequest, alter_user_scram_credentials_request,
    create_topics_request, delete_acls_request, metadata_request, offset_commit_request,
    offset_fetch_request,
};

use super::*;
use crate::error::ErrorCode;
use crate::security::AccessConfig;

/// A node where ACLs count, and its super user connected to it.
fn guarded() -> Client {
    let access = AccessConfig {
        enforced: true,
        super_users: ["User:root".to_owned()].into(),
        ..AccessConfig::default()
    };
    let mut client = Client::with(Arc::new(MemDisk::new()), |config| config.access = access);
    become_user(&mut client, "root");
    client
}

/// From here on the client is this user, known by its certificate.
fn become_user(client: &mut Client, name: &str) {
    let listener =
        Listener { advertised_host: "inside".into(), advertised_port: 9093, sasl: Vec::new() };
    let principal = Some(format!("User:{name}"));
    client.session = Session::at(Arc::new(listener), "/10.0.0.1".into(), principal);
}

/// `allow|deny user operation kind literal|prefixed name` by codes, as the super user makes it.
fn acl(
    user: &str,
    permission: i8,
    operation: i8,
    kind: i8,
    pattern: i8,
    name: &str,
) -> AclCreation {
    let mut acl = AclCreation::default();
    acl.resource_type = kind;
    acl.resource_name = name.into();
    acl.resource_pattern_type = pattern;
    acl.principal = format!("User:{user}").as_str().into();
    acl.host = "*".into();
    acl.operation = operation;
    acl.permission_type = permission;
    acl
}

const ALLOW: i8 = 3;
const DENY: i8 = 2;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const TOPIC: i8 = 2;
const GROUP: i8 = 3;
const CLUSTER: i8 = 4;
const READ: i8 = 3;
const WRITE: i8 = 4;
const CREATE: i8 = 5;
const DELETE: i8 = 6;
const ALTER: i8 = 7;
const DESCRIBE: i8 = 8;
const DESCRIBE_CONFIGS: i8 = 10;

#[track_caller]
fn add(client: &mut Client, acls: Vec<AclCreation>) {
    let before = std::mem::replace(&mut client.session, Session::new("/1.1.1.1"));
    become_user(client, "root");
    let mut request = CreateAclsRequest::default();
    request.creations = acls;
    let made = client.ask(3, &request);
    assert!(made.results.iter().all(|result| result.error_code == 0), "{made:?}");
    client.session = before;
}

/// The error codes that a client with no rights gets, by API.
fn codes(client: &mut Client) -> Vec<(&'static str, i16)> {
    let mut codes = Vec::new();
    let produced = client.ask(9, &produce_to("t", 0, batch(&["x"])));
    codes.push(("produce", produced.responses[0].partition_responses[0].error_code));
    let fetched = client.ask(12, &fetch_from("t", 0, 0));
    codes.push(("fetch", fetched.responses[0].partitions[0].error_code));

    let mut request = kafka_wire::ListOffsetsRequest::default();
    request.topics.push(Default::default());
    request.topics[0].name = "t".into();
    request.topics[0].partitions.push(Default::default());
    codes.push(("offsets", client.ask(7, &request).topics[0].partitions[0].error_code));

    let mut request = FindCoordinatorRequest::default();
    request.coordinator_keys = vec!["g".into()];
    codes.push(("coordinator", client.ask(4, &request).coordinators[0].error_code));

    let mut request = JoinGroupRequest::default();
    request.group_id = "g".into();
    request.session_timeout_ms = 10_000;
    request.protocol_type = "consumer".into();
    codes.push(("join", client.ask(5, &request).error_code));
    let mut request = HeartbeatRequest::default();
    request.group_id = "g".into();
    codes.push(("heartbeat", client.ask(4, &request).error_code));

    let mut request = OffsetCommitRequest::default();
    request.group_id = "g".into();
    request.generation_id_or_member_epoch = -1;
    let mut topic = offset_commit_request::OffsetCommitRequestTopic::default();
    topic.name = "t".into();
    topic.partitions.push(Default::default());
    request.topics.push(topic);
    codes.push(("commit", client.ask(8, &request).topics[0].partitions[0].error_code));
    let mut request = OffsetFetchRequest::default();
    let mut group = offset_fetch_request::OffsetFetchRequestGroup::default();
    group.group_id = "g".into();
    group.member_epoch = -1;
    request.groups.push(group);
    codes.push(("offset fetch", client.ask(8, &request).groups[0].error_code));

    let mut request = kafka_wire::CreateTopicsRequest::default();
    let mut topic = create_topics_request::CreatableTopic::default();
    topic.name = "new".into();
    topic.num_partitions = 1;
    topic.replication_factor = 1;
    request.topics.push(topic);
    codes.push(("create", client.ask(7, &request).topics[0].error_code));
    let mut request = DeleteTopicsRequest::default();
    request.topic_names = vec!["t".into()];
    codes.push(("delete", client.ask(5, &request).responses[0].error_code));
    let mut request = DeleteGroupsRequest::default();
    request.groups_names = vec!["g".into()];
    codes.push(("delete group", client.ask(2, &request).results[0].error_code));

    let mut request = InitProducerIdRequest::default();
    request.transactional_id = None;
    request.producer_id = -1;
    request.producer_epoch = -1;
    codes.push(("producer id", client.ask(4, &request).error_code));
    codes.push(("acls", client.ask(3, &all_acls()).error_code));
    let users = client.ask(0, &DescribeUserScramCredentialsRequest::default());
    codes.push(("users", users.error_code));
    ask_of_the_cluster(client, &mut codes);
    codes
}

/// APIs that are about the node as a whole.
fn ask_of_the_cluster(client: &mut Client, codes: &mut Vec<(&'static str, i16)>) {
    macro_rules! ask {
        ($($name:literal $version:literal $request:ident),+ $(,)?) => {
            $({
                let request = kafka_wire::$request::default();
                codes.push(($name, client.ask($version, &request).error_code));
            })+
        };
    }
    ask!(
        "log dirs" 4 DescribeLogDirsRequest,
        "elections" 2 ElectLeadersRequest,
        "reassign" 1 AlterPartitionReassignmentsRequest,
        "reassignments" 0 ListPartitionReassignmentsRequest,
        "quotas" 1 DescribeClientQuotasRequest,
        "quorum" 2 DescribeQuorumRequest,
        "features" 2 UpdateFeaturesRequest,
        "unregister" 0 UnregisterBrokerRequest,
        "config resources" 1 ListConfigResourcesRequest,
    );
}

#[test]
fn without_a_rule_everything_is_refused_and_tells_nothing() {
    let mut client = guarded();
    client.create("t", 1, &[]);
    become_user(&mut client, "eve");
    let there = codes(&mut client);
    let topic = ErrorCode::TopicAuthorizationFailed.code();
    let group = ErrorCode::GroupAuthorizationFailed.code();
    let cluster = ErrorCode::ClusterAuthorizationFailed.code();
    for (api, code) in &there {
        let expected = match *api {
            "produce" | "fetch" | "offsets" | "create" | "delete" => topic,
            "coordinator" | "join" | "heartbeat" | "commit" | "offset fetch" | "delete group" => {
                group
            }
            _ => cluster,
        };
        assert_eq!(*code, expected, "{api}");
    }
    // The same where there is no such topic: its existence is not told.
    let mut other = guarded();
    become_user(&mut other, "eve");
    assert_eq!(codes(&mut other), there);

    let listed = client.ask(9, &all_topics());
    assert!(listed.topics.is_empty(), "{:?}", listed.topics);
    assert_eq!(listed.brokers[0].host.as_str(), "inside");
    for name in ["t", "absent"] {
        let told = client.ask(9, &topic_named(name));
        let told = (told.topics[0].error_code, told.topics[0].partitions.len());
        assert_eq!(told, (topic, 0), "{name}");
    }
    let mut by_id = topic_named("t");
    by_id.topics.as_mut().unwrap()[0].name = None;
    by_id.topics.as_mut().unwrap()[0].topic_id = client.id_of("t");
    let told = client.ask(12, &by_id);
    assert_eq!(told.topics[0].error_code, ErrorCode::UnknownTopicId.code());
    assert!(told.topics[0].name.as_deref().unwrap_or_default().is_empty());
    assert!(client.ask(4, &ListGroupsRequest::default()).groups.is_empty());
}

fn all_acls() -> DescribeAclsRequest {
    let mut all = DescribeAclsRequest::default();
    all.resource_type_filter = 1;
    all.resource_name_filter = None;
    all.pattern_type_filter = 1;
    all.principal_filter = None;
    all.host_filter = None;
    all.operation = 1;
    all.permission_type = 1;
    all
}

fn all_topics() -> MetadataRequest {
    let mut request = MetadataRequest::default();
    request.topics = None;
    request
}

fn topic_named(name: &str) -> MetadataRequest {
    let mut topic = metadata_request::MetadataRequestTopic::default();
    topic.name = Some(name.into());
    let mut request = MetadataRequest::default();
    request.topics = Some(vec![topic]);
    request.allow_auto_topic_creation = true;
    request.include_topic_authorized_operations = true;
    request
}

#[test]
fn each_right_opens_its_apis_and_no_others() {
    for (rule, opened) in [
        // To read or write is to describe. Whoever may write somewhere gets a producer id.
        (acl("eve", ALLOW, READ, TOPIC, LITERAL, "t"), &["fetch", "offsets"][..]),
        (acl("eve", ALLOW, WRITE, TOPIC, PREFIXED, "t"), &["produce", "offsets", "producer id"]),
        (acl("eve", ALLOW, DESCRIBE, TOPIC, LITERAL, "*"), &["offsets"]),
        (acl("eve", ALLOW, CREATE, TOPIC, LITERAL, "new"), &["create"]),
        (acl("eve", ALLOW, CREATE, CLUSTER, LITERAL, "kafka-cluster"), &["create"]),
        (acl("eve", ALLOW, DELETE, TOPIC, LITERAL, "t"), &["offsets", "delete"]),
        (
            acl("eve", ALLOW, READ, GROUP, LITERAL, "g"),
            &["coordinator", "join", "heartbeat", "offset fetch"],
        ),
        (
            acl("eve", ALLOW, DESCRIBE, CLUSTER, LITERAL, "kafka-cluster"),
            &["acls", "users", "log dirs", "reassignments", "quorum"],
        ),
        (
            acl("eve", ALLOW, DESCRIBE_CONFIGS, CLUSTER, LITERAL, "kafka-cluster"),
            &["quotas", "config resources"],
        ),
        (acl("bob", ALLOW, READ, TOPIC, LITERAL, "t"), &[]),
        (acl("eve", DENY, READ, TOPIC, LITERAL, "t"), &[]),
    ] {
        let mut client = guarded();
        client.create("t", 1, &[]);
        add(&mut client, vec![rule.clone()]);
        become_user(&mut client, "eve");
        for (api, code) in codes(&mut client) {
            let denied = (29..=31).contains(&code);
            let expected = !opened.contains(&api);
            // The commit of one who may read the group but not the topic fails for the topic.
            assert_eq!(denied, expected, "{api} got {code} with {rule:?}");
        }
    }
}

#[test]
fn a_topic_is_made_for_those_who_may_make_it() {
    let mut client = guarded();
    add(&mut client, vec![acl("eve", ALLOW, DESCRIBE, TOPIC, LITERAL, "*")]);
    become_user(&mut client, "eve");
    let refused = client.ask(9, &topic_named("wanted"));
    assert_eq!(refused.topics[0].error_code, ErrorCode::TopicAuthorizationFailed.code());
    assert!(client.node.broker.topic("wanted").is_none());
    add(&mut client, vec![acl("eve", ALLOW, CREATE, TOPIC, PREFIXED, "want")]);
    let made = client.ask(9, &topic_named("wanted"));
    assert_eq!((made.topics[0].error_code, made.topics[0].partitions.len()), (0, 1));
    assert_eq!(made.topics[0].topic_authorized_operations, 1 << DESCRIBE | 1 << CREATE);
    let mut cluster = DescribeClusterRequest::default();
    cluster.include_cluster_authorized_operations = true;
    assert_eq!(client.ask(1, &cluster).cluster_authorized_operations, 0);
}

#[test]
fn rules_are_told_and_removed_as_filters_say() {
    let mut client = guarded();
    let rules = [("a", "t"), ("b", "t"), ("a", "u")];
    add(
        &mut client,
        rules.map(|(user, topic)| acl(user, ALLOW, READ, TOPIC, LITERAL, topic)).into(),
    );
    let mut all = all_acls();
    all.resource_type_filter = TOPIC;
    let told = client.ask(3, &all);
    let counts: Vec<_> =
        told.resources.iter().map(|r| (r.resource_name.as_str(), r.acls.len())).collect();
    assert_eq!(counts, [("t", 2), ("u", 1)]);

    let mut filter = delete_acls_request::DeleteAclsFilter::default();
    filter.resource_type_filter = 1;
    filter.pattern_type_filter = 1;
    filter.operation = 1;
    filter.permission_type = 1;
    filter.resource_name_filter = None;
    filter.principal_filter = Some("User:a".into());
    filter.host_filter = None;
    let mut unreadable = filter.clone();
    unreadable.operation = 99;
    let mut request = DeleteAclsRequest::default();
    request.filters = vec![unreadable, filter];
    let removed = client.ask(3, &request);
    assert_eq!(removed.filter_results[0].error_code, ErrorCode::InvalidRequest.code());
    assert_eq!(removed.filter_results[1].matching_acls.len(), 2);
    assert_eq!(client.ask(3, &all).resources.len(), 1);
}

#[test]
fn senseless_rules_are_refused_one_by_one() {
    let mut client = guarded();
    let good = acl("a", ALLOW, READ, TOPIC, LITERAL, "t");
    let spoil = |change: &dyn Fn(&mut AclCreation)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad
    };
    let mut request = CreateAclsRequest::default();
    request.creations = vec![
        good.clone(),
        spoil(&|acl| acl.resource_type = 1),
        spoil(&|acl| acl.resource_pattern_type = 2),
        spoil(&|acl| acl.operation = 1),
        spoil(&|acl| acl.operation = 12),
        spoil(&|acl| acl.permission_type = 0),
        spoil(&|acl| acl.resource_name = "".into()),
        spoil(&|acl| acl.principal = "alice".into()),
        spoil(&|acl| acl.host = "".into()),
        spoil(&|acl| (acl.resource_type, acl.operation) = (CLUSTER, ALTER)),
    ];
    let answers = client.ask(3, &request).results;
    let codes: Vec<i16> = answers.iter().map(|answer| answer.error_code).collect();
    let mut expected = vec![ErrorCode::InvalidRequest.code(); codes.len()];
    expected[0] = 0;
    assert_eq!(codes, expected);
    assert_eq!(client.node.access.find_acls(&Default::default()).len(), 1);
}

#[test]
fn without_an_authorizer_acls_are_disabled() {
    let mut client = Client::new();
    let mut request = CreateAclsRequest::default();
    request.creations = vec![acl("a", ALLOW, READ, TOPIC, LITERAL, "t")];
    let disabled = ErrorCode::SecurityDisabled.code();
    assert_eq!(client.ask(3, &request).results[0].error_code, disabled);
    assert_eq!(client.ask(3, &DescribeAclsRequest::default()).error_code, disabled);
}

#[test]
fn users_are_changed_one_by_one_and_never_told_apart_by_their_secrets() {
    let mut client = guarded();
    let upsert = |name: &str, mechanism: i8, iterations: i32, bytes: usize| {
        let mut one = alter_user_scram_credentials_request::ScramCredentialUpsertion::default();
        one.name = name.into();
        one.mechanism = mechanism;
        one.iterations = iterations;
        one.salt = Bytes::from_static(b"salt");
        one.salted_password = vec![7; bytes].into();
        one
    };
    let mut request = AlterUserScramCredentialsRequest::default();
    request.upsertions = vec![
        upsert("good", 1, 4096, 32),
        upsert("good", 2, 8192, 64),
        upsert("few", 1, 4095, 32),
        upsert("many", 1, 16385, 32),
        upsert("short", 2, 4096, 32),
        upsert("odd", 3, 4096, 32),
        upsert("", 1, 4096, 32),
        upsert("twice", 1, 4096, 32),
        upsert("twice", 1, 4096, 32),
    ];
    let mut deletion = alter_user_scram_credentials_request::ScramCredentialDeletion::default();
    deletion.name = "absent".into();
    deletion.mechanism = 1;
    request.deletions = vec![deletion];
    let answers = client.ask(0, &request).results;
    let codes: Vec<_> = answers.iter().map(|a| (a.user.as_str(), a.error_code)).collect();
    assert_eq!(
        codes,
        [
            ("", 93),
            ("absent", 91),
            ("few", 93),
            ("good", 0),
            ("many", 93),
            ("odd", 33),
            ("short", 93),
            ("twice", 92)
        ]
    );
    let told = client.ask(0, &DescribeUserScramCredentialsRequest::default()).results;
    assert_eq!(told.len(), 1);
    let infos: Vec<_> =
        told[0].credential_infos.iter().map(|info| (info.mechanism, info.iterations)).collect();
    assert_eq!(infos, [(1, 4096), (2, 8192)]);
    become_user(&mut client, "eve");
    let refused = client.ask(0, &request).results;
    assert!(refused.iter().all(|r| r.error_code == 31), "{refused:?}");
}

/// What a member with a regular expression is given, as topic names.
fn given(client: &mut Client, member: &str, epoch: &mut i32, pattern: Option<&str>) -> String {
    let mut request = super::groups::heartbeat(member, *epoch);
    request.subscribed_topic_names = None;
    request.rebalance_timeout_ms = 30_000;
    request.topic_partitions = Some(vec![]);
    request.subscribed_topic_regex = pattern.map(Into::into);
    let told = client.ask(1, &request);
    assert_eq!(told.error_code, 0, "{told:?}");
    *epoch = told.member_epoch;
    let Some(assignment) = told.assignment else { return "unchanged".to_owned() };
    let ids = assignment.topic_partitions.iter().map(|topic| topic.topic_id);
    let topic = |id: WireUuid| client.node.broker.topic_by_id(Uuid::from_bytes(*id.as_bytes()));
    let mut names: Vec<String> = ids.filter_map(topic).map(|t| t.name.to_string()).collect();
    names.sort();
    names.join(" ")
}

#[test]
fn a_pattern_matches_what_its_member_may_describe() {
    let mut client = guarded();
    for topic in ["a1", "b1"] {
        client.create(topic, 1, &[]);
    }
    let group = ["alice", "bob"].map(|user| acl(user, ALLOW, READ, GROUP, LITERAL, "g"));
    add(&mut client, group.to_vec());
    add(&mut client, vec![acl("alice", ALLOW, DESCRIBE, TOPIC, PREFIXED, "a")]);
    let (mut alices, mut bobs) = (0, 0);
    become_user(&mut client, "alice");
    assert_eq!(given(&mut client, "alice", &mut alices, Some(".*1")), "a1");
    // Bob's pattern is looked at with his eyes, and takes nothing from Alice.
    become_user(&mut client, "bob");
    assert_eq!(given(&mut client, "bob", &mut bobs, Some("..")), "");
    become_user(&mut client, "alice");
    assert_eq!(given(&mut client, "alice", &mut alices, Some(".*1")), "a1");
    // More topics and more rights are noticed by the next heartbeat.
    become_user(&mut client, "root");
    client.create("a21", 1, &[]);
    become_user(&mut client, "alice");
    assert_eq!(given(&mut client, "alice", &mut alices, Some(".*1")), "a1 a21");
    add(&mut client, vec![acl("alice", ALLOW, DESCRIBE, TOPIC, LITERAL, "b1")]);
    assert_eq!(given(&mut client, "alice", &mut alices, Some(".*1")), "a1 a21 b1");
}
