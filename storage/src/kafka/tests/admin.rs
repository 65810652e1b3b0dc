//! What admin tools ask of one node, and what it answers when one node cannot do it.

use kafka_wire::*;

use super::*;
use crate::error::ErrorCode;

#[test]
fn topics_are_described_in_pages() {
    let mut client = Client::new();
    client.create("b", 3, &[]);
    client.create("a", 2, &[]);
    client.create("c", 1, &[]);
    // Topics asked, cursor, limit; the partitions told, `name!error` for a failure, `>name/i` the next.
    let mut check = |topics: &str, cursor: Option<(&str, i32)>, limit: i32, wanted: &str| {
        let mut request = DescribeTopicPartitionsRequest::default();
        for name in topics.split_whitespace() {
            let mut topic = describe_topic_partitions_request::TopicRequest::default();
            topic.name = name.into();
            request.topics.push(topic);
        }
        request.response_partition_limit = limit;
        request.cursor = cursor.map(|(topic, partition)| {
            let mut cursor = describe_topic_partitions_request::Cursor::default();
            cursor.topic_name = topic.into();
            cursor.partition_index = partition;
            cursor
        });
        let answer = client.ask(0, &request);
        let mut told = Vec::new();
        for topic in &answer.topics {
            let name = topic.name.as_ref().unwrap();
            if topic.error_code != 0 {
                told.push(format!("{name}!{}", topic.error_code));
            }
            for partition in &topic.partitions {
                // Null would break the Java client.
                assert_eq!(partition.eligible_leader_replicas.as_deref(), Some(&[][..]));
                assert_eq!(partition.last_known_elr.as_deref(), Some(&[][..]));
                told.push(format!("{name}/{}", partition.partition_index));
            }
        }
        if let Some(next) = &answer.next_cursor {
            told.push(format!(">{}/{}", next.topic_name, next.partition_index));
        }
        assert_eq!(told.join(" "), wanted, "{topics} {cursor:?} {limit}");
    };
    check("", None, 2000, "a/0 a/1 b/0 b/1 b/2 c/0");
    check("c a", None, 2000, "a/0 a/1 c/0");
    check("", None, 3, "a/0 a/1 b/0 >b/1");
    check("", Some(("b", 1)), 2, "b/1 b/2 >c/0");
    check("", Some(("c", 0)), 2, "c/0");
    check("", None, 0, "a/0 >a/1");
    check("", Some(("aa", 7)), 9, "b/0 b/1 b/2 c/0");
    check("c", Some(("c", -1)), 9, "c!42");
    check("zz", None, 9, "zz!3");
    check("c/d a", None, 9, "a/0 a/1 c/d!17");
}

#[test]
fn log_dirs_tell_sizes_and_there_is_only_one() {
    let mut client = Client::new();
    client.create("t", 2, &[]);
    client.ask(9, &produce_to("t", 1, batch(&["v"])));
    let answer = client.ask(4, &DescribeLogDirsRequest::default());
    assert_eq!(answer.results[0].topics.len(), 0, "no topics asked for, none told");
    let mut request = DescribeLogDirsRequest::default();
    request.topics = None;
    let answer = client.ask(4, &request);
    let dir = &answer.results[0];
    let sizes: Vec<i64> = dir.topics[0].partitions.iter().map(|p| p.partition_size).collect();
    assert_eq!(sizes, [0, batch(&["v"]).len() as i64]);

    let here = dir.log_dir.to_string();
    let mut check = |path: &str, topic: &str, partition: i32, wanted: ErrorCode| {
        let mut asked = alter_replica_log_dirs_request::AlterReplicaLogDirTopic::default();
        asked.name = topic.into();
        asked.partitions = vec![partition];
        let mut dir = alter_replica_log_dirs_request::AlterReplicaLogDir::default();
        dir.path = path.into();
        dir.topics = vec![asked];
        let mut request = AlterReplicaLogDirsRequest::default();
        request.dirs = vec![dir];
        let answer = client.ask(2, &request);
        assert_eq!(answer.results[0].partitions[0].error_code, wanted.code(), "{path} {topic}");
    };
    check(&here, "t", 1, ErrorCode::None);
    check(&here, "t", 2, ErrorCode::UnknownTopicOrPartition);
    check(&here, "none", 0, ErrorCode::UnknownTopicOrPartition);
    check("/elsewhere", "t", 0, ErrorCode::LogDirNotFound);
}

#[test]
fn one_node_elects_and_reassigns_nothing() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    for (topic, partition, wanted) in [
        ("t", 0, ErrorCode::ElectionNotNeeded),
        ("t", 1, ErrorCode::UnknownTopicOrPartition),
        ("none", 0, ErrorCode::UnknownTopicOrPartition),
    ] {
        let mut asked = elect_leaders_request::TopicPartitions::default();
        asked.topic = topic.into();
        asked.partitions = vec![partition];
        let mut request = ElectLeadersRequest::default();
        request.topic_partitions = Some(vec![asked]);
        let answer = client.ask(2, &request);
        let told = &answer.replica_election_results[0].partition_result[0];
        assert_eq!(told.error_code, wanted.code(), "{topic}/{partition}");
    }
    let mut request = ElectLeadersRequest::default();
    request.topic_partitions = None;
    assert_eq!(client.ask(2, &request).replica_election_results.len(), 0);

    let node = client.node.config.node_id;
    for (topic, partition, replicas, wanted) in [
        ("t", 0, Some(vec![node]), ErrorCode::None),
        ("t", 0, Some(vec![node + 1]), ErrorCode::InvalidReplicaAssignment),
        ("t", 0, Some(vec![node, node]), ErrorCode::InvalidReplicaAssignment),
        ("t", 0, Some(vec![]), ErrorCode::InvalidReplicaAssignment),
        ("t", 0, None, ErrorCode::NoReassignmentInProgress),
        ("t", 1, Some(vec![node]), ErrorCode::UnknownTopicOrPartition),
        ("none", 0, Some(vec![node]), ErrorCode::UnknownTopicOrPartition),
    ] {
        let mut placed = alter_partition_reassignments_request::ReassignablePartition::default();
        placed.partition_index = partition;
        placed.replicas = replicas.clone();
        let mut asked = alter_partition_reassignments_request::ReassignableTopic::default();
        asked.name = topic.into();
        asked.partitions = vec![placed];
        let mut request = AlterPartitionReassignmentsRequest::default();
        request.topics = vec![asked];
        let answer = client.ask(1, &request);
        let told = &answer.responses[0].partitions[0];
        assert_eq!(told.error_code, wanted.code(), "{topic}/{partition} {replicas:?}");
    }
    assert_eq!(client.ask(0, &ListPartitionReassignmentsRequest::default()).topics.len(), 0);
    for (broker, wanted) in
        [(node, ErrorCode::InvalidRequest), (node + 1, ErrorCode::BrokerIdNotRegistered)]
    {
        let mut request = UnregisterBrokerRequest::default();
        request.broker_id = broker;
        assert_eq!(client.ask(0, &request).error_code, wanted.code());
    }
}

/// `user=alice,client-id=*` as the parts of an entity; `*` is the default.
fn entity(text: &str) -> Vec<alter_client_quotas_request::EntityData> {
    let part = |part: &str| {
        let (kind, name) = part.split_once('=').unwrap();
        let mut data = alter_client_quotas_request::EntityData::default();
        data.entity_type = kind.into();
        data.entity_name = (name != "*").then(|| name.into());
        data
    };
    text.split(',').filter(|part| !part.is_empty()).map(part).collect()
}

fn set_quota(client: &mut Client, whom: &str, key: &str, value: Option<f64>) -> i16 {
    let mut op = alter_client_quotas_request::OpData::default();
    op.key = key.into();
    op.value = value.unwrap_or(0.0);
    op.remove = value.is_none();
    let mut entry = alter_client_quotas_request::EntryData::default();
    entry.entity = entity(whom);
    entry.ops = vec![op];
    let mut request = AlterClientQuotasRequest::default();
    request.entries = vec![entry];
    client.ask(1, &request).entries[0].error_code
}

/// The quotas that match `kind=name`, with `*` the default and `?` any; `!` at the end is strict.
fn quotas(client: &mut Client, filter: &str) -> Vec<String> {
    let mut request = DescribeClientQuotasRequest::default();
    request.strict = filter.ends_with('!');
    for part in filter.trim_end_matches('!').split(',').filter(|part| !part.is_empty()) {
        let (kind, name) = part.split_once('=').unwrap();
        let mut component = describe_client_quotas_request::ComponentData::default();
        component.entity_type = kind.into();
        (component.match_type, component.match_) = match name {
            "*" => (1, None),
            "?" => (2, None),
            name => (0, Some(name.into())),
        };
        request.components.push(component);
    }
    let answer = client.ask(1, &request);
    assert_eq!(answer.error_code, 0);
    let entries = answer.entries.unwrap().into_iter();
    let one = entries.map(|entry| {
        let whom = entry.entity.iter().map(|part| {
            let name = part.entity_name.as_ref().map_or("*", |name| &**name);
            format!("{}={name}", part.entity_type)
        });
        let limits = entry.values.iter().map(|limit| format!("{}:{}", limit.key, limit.value));
        whom.chain(limits).collect::<Vec<_>>().join(" ")
    });
    one.collect()
}

#[test]
fn quotas_are_kept_and_told() {
    let disk = Arc::new(MemDisk::new());
    let mut client = Client::on(disk.clone());
    let mut set = |whom: &str, key: &str, value: Option<f64>, wanted: i16| {
        assert_eq!(set_quota(&mut client, whom, key, value), wanted, "{whom} {key} {value:?}");
    };
    set("user=alice", "producer_byte_rate", Some(1000.0), 0);
    set("user=alice", "request_percentage", Some(12.5), 0);
    set("user=alice,client-id=*", "consumer_byte_rate", Some(5.0), 0);
    set("user=*", "consumer_byte_rate", Some(9.0), 0);
    set("user=*", "consumer_byte_rate", None, 0);
    set("ip=10.0.0.1", "connection_creation_rate", Some(3.0), 0);
    set("", "producer_byte_rate", Some(1.0), 42);
    set("user=alice", "no_such", Some(1.0), 42);
    set("user=alice", "connection_creation_rate", Some(1.0), 42);
    set("user=alice", "producer_byte_rate", Some(-1.0), 42);
    set("user=alice", "producer_byte_rate", Some(1.5), 42);
    set("planet=mars", "producer_byte_rate", Some(1.0), 42);
    set("ip=10.0.0.1,user=alice", "connection_creation_rate", Some(3.0), 42);
    set("ip=not-one", "connection_creation_rate", Some(3.0), 42);
    drop(client);
    let mut client = Client::on(disk);
    let alice = "user=alice producer_byte_rate:1000 request_percentage:12.5";
    let both = "client-id=* user=alice consumer_byte_rate:5";
    let mut check = |filter: &str, wanted: &[&str]| {
        assert_eq!(quotas(&mut client, filter), wanted, "{filter}");
    };
    check("user=alice", &[both, alice]);
    check("user=alice!", &[alice]);
    check("user=?,client-id=*", &[both]);
    check("user=*", &[]);
    check("ip=?", &["ip=10.0.0.1 connection_creation_rate:3"]);
    check("", &[both, "ip=10.0.0.1 connection_creation_rate:3", alice]);
}

#[test]
fn what_has_settings_is_listed() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    let mut list = |version: i16, kinds: &[i8]| {
        let mut request = ListConfigResourcesRequest::default();
        request.resource_types = kinds.to_vec();
        let answer = client.ask(version, &request);
        let told = answer.config_resources.iter();
        let told = told.map(|r| format!("{}:{}", r.resource_type, r.resource_name));
        (answer.error_code, told.collect::<Vec<_>>().join(" "))
    };
    assert_eq!(list(1, &[]), (0, "2:t 4:1 8:1".into()));
    assert_eq!(list(1, &[2]), (0, "2:t".into()));
    assert_eq!(list(1, &[99]), (ErrorCode::UnsupportedVersion.code(), String::new()));
    assert_eq!(list(0, &[]), (0, String::new()));
}

#[test]
fn the_quorum_is_this_node() {
    let mut client = Client::new();
    let mut check = |topic: &str, wanted: ErrorCode| {
        let mut partition = describe_quorum_request::PartitionData::default();
        partition.partition_index = 0;
        let mut asked = describe_quorum_request::TopicData::default();
        asked.topic_name = topic.into();
        asked.partitions = vec![partition];
        let mut request = DescribeQuorumRequest::default();
        request.topics = vec![asked];
        for version in [0, 1] {
            client.ask(version, &request);
        }
        let answer = client.ask(2, &request);
        let told = answer.topics[0].partitions[0].clone();
        assert_eq!(told.error_code, wanted.code());
        told.current_voters.len()
    };
    assert_eq!(check("__cluster_metadata", ErrorCode::None), 1);
    assert_eq!(check("t", ErrorCode::UnknownTopicOrPartition), 0);
}

#[test]
fn partitions_are_created_by_request() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    let node = client.node.config.node_id;
    let mut check = |topic: &str, count: i32, placed: Option<&[&[i32]]>, wanted: ErrorCode| {
        let mut asked = create_partitions_request::CreatePartitionsTopic::default();
        asked.name = topic.into();
        asked.count = count;
        asked.assignments = placed.map(|placed| {
            let one = |brokers: &&[i32]| {
                let mut one = create_partitions_request::CreatePartitionsAssignment::default();
                one.broker_ids = brokers.to_vec();
                one
            };
            placed.iter().map(one).collect()
        });
        let mut request = CreatePartitionsRequest::default();
        request.topics = vec![asked];
        let told = client.ask(3, &request).results.remove(0);
        assert_eq!(told.error_code, wanted.code(), "{topic} {count}: {:?}", told.error_message);
        client.node.broker.topic("t").unwrap().partition_count()
    };
    assert_eq!(check("t", 1, None, ErrorCode::InvalidPartitions), 1);
    assert_eq!(check("none", 2, None, ErrorCode::UnknownTopicOrPartition), 1);
    assert_eq!(check("t", 2, Some(&[&[node + 1]]), ErrorCode::InvalidReplicaAssignment), 1);
    assert_eq!(check("t", 3, Some(&[&[node]]), ErrorCode::InvalidReplicaAssignment), 1);
    assert_eq!(check("t", 2, Some(&[&[node]]), ErrorCode::None), 2);
    assert_eq!(check("t", 4, None, ErrorCode::None), 4);
    assert_eq!(check("t", 1_000_000, None, ErrorCode::PolicyViolation), 4);
}

#[test]
fn features_stay_at_their_levels() {
    let mut client = Client::new();
    let mut check = |name: &str, level: i16, wanted: ErrorCode| {
        for version in [1, 2] {
            let mut update = update_features_request::FeatureUpdateKey::default();
            update.feature = name.into();
            update.max_version_level = level;
            update.upgrade_type = 1;
            let mut request = UpdateFeaturesRequest::default();
            request.feature_updates = vec![update];
            let answer = client.ask(version, &request);
            let got = match version {
                1 => answer.results[0].error_code,
                _ => answer.error_code,
            };
            assert_eq!(got, wanted.code(), "{name} {level}");
        }
    };
    for feature in supported::FEATURES {
        check(feature.name, feature.level, ErrorCode::None);
        check(feature.name, feature.max + 1, ErrorCode::InvalidUpdateVersion);
    }
    check("no.such", 1, ErrorCode::InvalidUpdateVersion);
}
