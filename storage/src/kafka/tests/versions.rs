//! Every API in every version: the answer can be read to its last byte.

use super::*;
use crate::error::ErrorCode;

/// Asks every API in every version served, with a request that asks for nothing.
#[test]
fn every_version_of_every_api_is_answered() {
    let mut asked = Vec::new();
    let mut client = Client::new();
    macro_rules! ask {
        ($($request:ident),+ $(,)?) => {
            $({
                let key = kafka_wire::$request::API_KEY.value();
                let api = supported::find(key).expect("an API of the table");
                for version in api.min..=api.max {
                    // Produce without acks is not answered.
                    if supported::serves(key, version) && key != 0 {
                        client.ask(version, &kafka_wire::$request::default());
                    }
                }
                asked.push(key);
            })+
        };
    }
    ask!(
        ProduceRequest,
        FetchRequest,
        ListOffsetsRequest,
        MetadataRequest,
        OffsetCommitRequest,
        OffsetFetchRequest,
        FindCoordinatorRequest,
        JoinGroupRequest,
        HeartbeatRequest,
        LeaveGroupRequest,
        SyncGroupRequest,
        DescribeGroupsRequest,
        ListGroupsRequest,
        SaslHandshakeRequest,
        ApiVersionsRequest,
        CreateTopicsRequest,
        DeleteTopicsRequest,
        DeleteRecordsRequest,
        InitProducerIdRequest,
        OffsetForLeaderEpochRequest,
        DescribeAclsRequest,
        CreateAclsRequest,
        DeleteAclsRequest,
        CreateDelegationTokenRequest,
        RenewDelegationTokenRequest,
        ExpireDelegationTokenRequest,
        DescribeDelegationTokenRequest,
        DescribeUserScramCredentialsRequest,
        AlterUserScramCredentialsRequest,
        DescribeConfigsRequest,
        AlterConfigsRequest,
        SaslAuthenticateRequest,
        CreatePartitionsRequest,
        DeleteGroupsRequest,
        IncrementalAlterConfigsRequest,
        OffsetDeleteRequest,
        DescribeClusterRequest,
        AddPartitionsToTxnRequest,
        AddOffsetsToTxnRequest,
        EndTxnRequest,
        WriteTxnMarkersRequest,
        TxnOffsetCommitRequest,
        DescribeProducersRequest,
        DescribeTransactionsRequest,
        ListTransactionsRequest,
        ConsumerGroupHeartbeatRequest,
        ConsumerGroupDescribeRequest,
        AlterReplicaLogDirsRequest,
        DescribeLogDirsRequest,
        ElectLeadersRequest,
        AlterPartitionReassignmentsRequest,
        ListPartitionReassignmentsRequest,
        DescribeClientQuotasRequest,
        AlterClientQuotasRequest,
        DescribeQuorumRequest,
        UpdateFeaturesRequest,
        UnregisterBrokerRequest,
        ListConfigResourcesRequest,
        DescribeTopicPartitionsRequest,
    );
    let table: Vec<i16> = supported::SUPPORTED.iter().map(|api| api.key).collect();
    asked.sort_unstable();
    assert_eq!(asked, table, "the dispatcher and the table name the same APIs");
}

#[test]
fn the_table_knows_where_versions_become_flexible() {
    macro_rules! check {
        ($($request:ident),+ $(,)?) => {
            $({
                let key = kafka_wire::$request::API_KEY.value();
                let api = supported::find(key).unwrap();
                for version in api.min..=api.max {
                    let flexible = kafka_wire::$request::is_flexible(ApiVersion::new(version));
                    let case = (api.name, version);
                    assert_eq!(supported::is_flexible(key, version), flexible, "{case:?}");
                }
            })+
        };
    }
    check!(
        ProduceRequest,
        FetchRequest,
        ListOffsetsRequest,
        MetadataRequest,
        OffsetCommitRequest,
        OffsetFetchRequest,
        FindCoordinatorRequest,
        JoinGroupRequest,
        HeartbeatRequest,
        LeaveGroupRequest,
        SyncGroupRequest,
        DescribeGroupsRequest,
        ListGroupsRequest,
        SaslHandshakeRequest,
        ApiVersionsRequest,
        CreateTopicsRequest,
        DeleteTopicsRequest,
        DeleteRecordsRequest,
        InitProducerIdRequest,
        OffsetForLeaderEpochRequest,
        DescribeConfigsRequest,
        AlterConfigsRequest,
        SaslAuthenticateRequest,
        CreatePartitionsRequest,
        DeleteGroupsRequest,
        IncrementalAlterConfigsRequest,
        OffsetDeleteRequest,
        DescribeClusterRequest,
        AddPartitionsToTxnRequest,
        AddOffsetsToTxnRequest,
        EndTxnRequest,
        WriteTxnMarkersRequest,
        TxnOffsetCommitRequest,
        DescribeProducersRequest,
        DescribeTransactionsRequest,
        ListTransactionsRequest,
        ConsumerGroupHeartbeatRequest,
        ConsumerGroupDescribeRequest,
        AlterReplicaLogDirsRequest,
        DescribeLogDirsRequest,
        ElectLeadersRequest,
        AlterPartitionReassignmentsRequest,
        ListPartitionReassignmentsRequest,
        DescribeClientQuotasRequest,
        AlterClientQuotasRequest,
        DescribeQuorumRequest,
        UpdateFeaturesRequest,
        UnregisterBrokerRequest,
        ListConfigResourcesRequest,
        DescribeTopicPartitionsRequest,
    );
}

#[test]
fn a_record_goes_in_and_out_in_every_version() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    for (offset, version) in (supported::PRODUCE_MIN..=13).enumerate() {
        let mut request = produce_to("t", 0, batch(&["v"]));
        if version >= 13 {
            request.topic_data[0].name = StrBytes::default();
            request.topic_data[0].topic_id = client.id_of("t");
        }
        let answer = client.ask(version, &request);
        let part = &answer.responses[0].partition_responses[0];
        assert_eq!((part.error_code, part.base_offset), (0, offset as i64), "{version}");
    }
    for version in 4..=18 {
        let mut request = fetch_from("t", 0, 3);
        if version >= 13 {
            request.topics[0].topic = StrBytes::default();
            request.topics[0].topic_id = client.id_of("t");
        }
        let answer = client.ask(version, &request);
        let part = &answer.responses[0].partitions[0];
        let records = part.records.as_ref().expect("records are never null");
        let first = i64::from_be_bytes(records[..8].try_into().unwrap());
        assert_eq!((part.error_code, part.high_watermark, first), (0, 11, 3), "{version}");
    }
    for version in 1..=10 {
        let mut place = kafka_wire::list_offsets_request::ListOffsetsPartition::default();
        place.timestamp = -1;
        let mut topic = kafka_wire::list_offsets_request::ListOffsetsTopic::default();
        topic.name = "t".into();
        topic.partitions = vec![place];
        let mut request = kafka_wire::ListOffsetsRequest::default();
        request.topics = vec![topic];
        let answer = client.ask(version, &request);
        assert_eq!(answer.topics[0].partitions[0].offset, 11, "{version}");
    }
    for version in 0..=13 {
        let mut topic = kafka_wire::metadata_request::MetadataRequestTopic::default();
        topic.name = Some("t".into());
        let mut request = kafka_wire::MetadataRequest::default();
        request.topics = Some(vec![topic]);
        let answer = client.ask(version, &request);
        assert_eq!(answer.topics[0].partitions.len(), 1, "{version}");
        assert_eq!(answer.brokers[0].port, 9092, "{version}");
    }
}

#[test]
fn an_unknown_version_of_api_versions_is_told_the_list_in_version_0() {
    let mut client = Client::new();
    let mut raw = frame(0, &kafka_wire::ApiVersionsRequest::default()).to_vec();
    raw[2..4].copy_from_slice(&99_i16.to_be_bytes());
    let outcome = handle(&client.node, &mut client.session, raw.into(), 0);
    let Outcome::Ready(answer) = outcome else { panic!("{outcome:?}") };
    let answer = read::<kafka_wire::ApiVersionsRequest>(0, answer);
    assert_eq!(answer.error_code, ErrorCode::UnsupportedVersion.code());
    assert_eq!(answer.api_keys.len(), supported::SUPPORTED.len());
    // Older librdkafka compresses nothing unless Produce is announced from 0 on.
    assert_eq!((answer.api_keys[0].api_key, answer.api_keys[0].min_version), (0, 0));
}

#[test]
fn versions_that_are_not_served_close_the_connection() {
    let mut client = Client::new();
    for (key, version) in [(0_i16, 2_i16), (1, 3), (3, 14), (4, 0), (-1, 0), (99, 0)] {
        let mut raw = frame(0, &kafka_wire::ApiVersionsRequest::default()).to_vec();
        raw[..2].copy_from_slice(&key.to_be_bytes());
        raw[2..4].copy_from_slice(&version.to_be_bytes());
        let outcome = handle(&client.node, &mut client.session, raw.into(), 0);
        assert!(matches!(outcome, Outcome::Close(_)), "{key} {version}: {outcome:?}");
    }
}
