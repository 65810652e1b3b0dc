//! Well-formed requests of every API and version that the server names, to start from.
//!
//! Each type comes as it is by default, and the ones that matter most also filled with something that
//! the server has. An API without a type here gets a bare header, so that a new one is never left out.

use bytes::{Bytes, BytesMut};
use kafka_wire::{KafkaRequest, OutboundFrameLimits, RequestResponsePair, encode_request};
use kafka_wire_core::{ApiVersion, KafkaEncode, StrBytes};
use millstream_storage::kafka::supported::{self, SUPPORTED};
use millstream_storage::log::batch::{BatchBuilder, Codec};

/// The topic that filled requests name.
pub const TOPIC: &str = "hostile";

/// A request frame without its length.
fn frame<R>(version: i16, request: &R) -> Option<Bytes>
where
    R: KafkaRequest + RequestResponsePair + KafkaEncode,
{
    let mut out = BytesMut::new();
    let client = Some(StrBytes::from("hostile"));
    let limits = OutboundFrameLimits::new(64 << 20);
    encode_request(&mut out, 1, client, request, ApiVersion::new(version), limits).ok()?;
    Some(out.freeze().slice(4..))
}

fn every<R>(seeds: &mut Vec<Bytes>, request: &R)
where
    R: KafkaRequest + RequestResponsePair + KafkaEncode,
{
    let Some(api) = supported::find(R::API_KEY.value()) else { return };
    seeds.extend((api.min..=api.max).filter_map(|version| frame(version, request)));
}

/// Records of a plain and of a compressed batch.
pub fn batch(codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for n in 0..20_i64 {
        let headers = [(&b"name"[..], Some(&b"value"[..]))];
        builder.push(1_000_000 + n, Some(b"key"), Some(&[b'v'; 100]), &headers);
    }
    builder.build().expect("records make a batch")
}

/// All seeds, and how many APIs had no type.
pub fn seeds() -> (Vec<Bytes>, usize) {
    let mut seeds = Vec::new();
    macro_rules! types {
        ($($request:ident),+ $(,)?) => { $( every(&mut seeds, &kafka_wire::$request::default()); )+ };
    }
    types!(
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
        AddPartitionsToTxnRequest,
        AddOffsetsToTxnRequest,
        EndTxnRequest,
        WriteTxnMarkersRequest,
        TxnOffsetCommitRequest,
        DescribeAclsRequest,
        CreateAclsRequest,
        DeleteAclsRequest,
        DescribeConfigsRequest,
        AlterConfigsRequest,
        AlterReplicaLogDirsRequest,
        DescribeLogDirsRequest,
        SaslAuthenticateRequest,
        CreatePartitionsRequest,
        CreateDelegationTokenRequest,
        RenewDelegationTokenRequest,
        ExpireDelegationTokenRequest,
        DescribeDelegationTokenRequest,
        DeleteGroupsRequest,
        ElectLeadersRequest,
        IncrementalAlterConfigsRequest,
        AlterPartitionReassignmentsRequest,
        ListPartitionReassignmentsRequest,
        OffsetDeleteRequest,
        DescribeClientQuotasRequest,
        AlterClientQuotasRequest,
        DescribeUserScramCredentialsRequest,
        AlterUserScramCredentialsRequest,
        DescribeQuorumRequest,
        UpdateFeaturesRequest,
        DescribeClusterRequest,
        DescribeProducersRequest,
        UnregisterBrokerRequest,
        DescribeTransactionsRequest,
        ListTransactionsRequest,
        ConsumerGroupHeartbeatRequest,
        ConsumerGroupDescribeRequest,
        GetTelemetrySubscriptionsRequest,
        PushTelemetryRequest,
        ListConfigResourcesRequest,
        DescribeTopicPartitionsRequest,
    );
    filled(&mut seeds);
    let key = |seed: &Bytes| i16::from_be_bytes([seed[0], seed[1]]);
    let mut bare = 0;
    for api in SUPPORTED {
        if seeds.iter().any(|seed| key(seed) == api.key) {
            continue;
        }
        bare += 1;
        for version in api.min..=api.max {
            let mut seed = [api.key.to_be_bytes(), version.to_be_bytes()].concat();
            seed.extend([0, 0, 0, 1, 0, 1, b'h']);
            seed.extend([0; 64]);
            seeds.push(seed.into());
        }
    }
    (seeds, bare)
}

fn producing(batch: Bytes) -> kafka_wire::ProduceRequest {
    let mut part = kafka_wire::produce_request::PartitionProduceData::default();
    part.records = Some(batch);
    let mut data = kafka_wire::produce_request::TopicProduceData::default();
    data.name = TOPIC.into();
    data.partition_data = vec![part];
    let mut produce = kafka_wire::ProduceRequest::default();
    produce.transactional_id = None;
    produce.acks = -1;
    produce.topic_data = vec![data];
    produce
}

fn fetching() -> kafka_wire::FetchRequest {
    let mut part = kafka_wire::fetch_request::FetchPartition::default();
    part.partition_max_bytes = 1 << 20;
    let mut asked = kafka_wire::fetch_request::FetchTopic::default();
    asked.topic = TOPIC.into();
    asked.partitions = vec![part.clone(), part];
    let mut fetch = kafka_wire::FetchRequest::default();
    fetch.max_bytes = 1 << 20;
    fetch.topics = vec![asked.clone(), asked];
    fetch
}

fn creating(topic: &str) -> kafka_wire::CreateTopicsRequest {
    let mut made = kafka_wire::create_topics_request::CreatableTopic::default();
    made.name = topic.into();
    made.num_partitions = 1;
    made.replication_factor = 1;
    let mut create = kafka_wire::CreateTopicsRequest::default();
    create.topics = vec![made];
    create
}

/// The topic made, a batch produced to it, and it read: frames that do something.
pub fn exchange(batches: impl IntoIterator<Item = Bytes>) -> Vec<Bytes> {
    let mut frames = vec![frame(4, &creating(TOPIC))];
    frames.extend(batches.into_iter().map(|batch| frame(9, &producing(batch))));
    frames.push(frame(4, &fetching()));
    frames.into_iter().flatten().collect()
}

/// Requests with something in them, nested as deep as they go.
fn filled(seeds: &mut Vec<Bytes>) {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        every(seeds, &producing(batch(codec)));
    }
    every(seeds, &fetching());

    let mut offsets = kafka_wire::list_offsets_request::ListOffsetsTopic::default();
    offsets.name = TOPIC.into();
    offsets.partitions.push(Default::default());
    let mut list = kafka_wire::ListOffsetsRequest::default();
    list.topics = vec![offsets];
    every(seeds, &list);

    let mut topic = kafka_wire::metadata_request::MetadataRequestTopic::default();
    topic.name = Some(TOPIC.into());
    let mut metadata = kafka_wire::MetadataRequest::default();
    metadata.topics = Some(vec![topic.clone(), topic]);
    every(seeds, &metadata);

    let mut protocol = kafka_wire::join_group_request::JoinGroupRequestProtocol::default();
    protocol.name = "range".into();
    protocol.metadata = Bytes::from_static(&[0, 1, 0, 0, 0, 1, 0, 7, b'h', b'o', b's', b't']);
    let mut join = kafka_wire::JoinGroupRequest::default();
    join.group_id = "hostile-group".into();
    join.session_timeout_ms = 10_000;
    join.rebalance_timeout_ms = 10_000;
    join.protocol_type = "consumer".into();
    join.protocols = vec![protocol.clone(), protocol];
    every(seeds, &join);

    let mut commit = kafka_wire::offset_commit_request::OffsetCommitRequestTopic::default();
    commit.name = TOPIC.into();
    commit.partitions.push(Default::default());
    let mut commits = kafka_wire::OffsetCommitRequest::default();
    commits.group_id = "hostile-group".into();
    commits.generation_id_or_member_epoch = -1;
    commits.topics = vec![commit];
    every(seeds, &commits);

    let mut create = creating("made");
    create.topics[0].configs.push(Default::default());
    create.topics[0].assignments.push(Default::default());
    create.validate_only = true;
    every(seeds, &create);

    let mut resource =
        kafka_wire::incremental_alter_configs_request::AlterConfigsResource::default();
    resource.resource_type = 2;
    resource.resource_name = TOPIC.into();
    resource.configs.push(Default::default());
    let mut alter = kafka_wire::IncrementalAlterConfigsRequest::default();
    alter.resources = vec![resource];
    alter.validate_only = true;
    every(seeds, &alter);
    let mut acls = kafka_wire::CreateAclsRequest::default();
    acls.creations = vec![Default::default(), Default::default()];
    every(seeds, &acls);

    let mut users = kafka_wire::AlterUserScramCredentialsRequest::default();
    users.upsertions.push(Default::default());
    users.deletions.push(Default::default());
    every(seeds, &users);
    let mut markers = kafka_wire::WriteTxnMarkersRequest::default();
    let mut marker = kafka_wire::write_txn_markers_request::WritableTxnMarker::default();
    marker.topics.push(Default::default());
    markers.markers = vec![marker];
    every(seeds, &markers);
}
