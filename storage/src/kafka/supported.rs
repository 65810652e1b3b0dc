//! Which requests are served, in which versions.
//!
//! The table is what ApiVersions tells clients and what the dispatcher accepts. The ranges are
//! those of Kafka 4.1; an API that is not served is left out, and clients fall back.

/// One API with the versions served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    pub key: i16,
    pub name: &'static str,
    pub min: i16,
    pub max: i16,
    /// The first version with compact strings and tags; above `max` if there is none.
    pub flexible_from: i16,
}

const fn api(key: i16, name: &'static str, min: i16, max: i16, flexible_from: i16) -> Api {
    Api { key, name, min, max, flexible_from }
}

/// Versions of Produce below this are announced but not served. Older librdkafka switches
/// compression off unless it sees version 0 (Kafka does the same, KAFKA-18659).
pub const PRODUCE_MIN: i16 = 3;

/// By key.
pub const SUPPORTED: &[Api] = &[
    api(0, "Produce", 0, 13, 9),
    api(1, "Fetch", 4, 18, 12),
    api(2, "ListOffsets", 1, 10, 6),
    api(3, "Metadata", 0, 13, 9),
    api(8, "OffsetCommit", 2, 9, 8),
    api(9, "OffsetFetch", 1, 9, 6),
    api(10, "FindCoordinator", 0, 6, 3),
    api(11, "JoinGroup", 0, 9, 6),
    api(12, "Heartbeat", 0, 4, 4),
    api(13, "LeaveGroup", 0, 5, 4),
    api(14, "SyncGroup", 0, 5, 4),
    api(15, "DescribeGroups", 0, 6, 5),
    api(16, "ListGroups", 0, 5, 3),
    api(17, "SaslHandshake", 0, 1, 2),
    api(18, "ApiVersions", 0, 4, 3),
    api(19, "CreateTopics", 2, 7, 5),
    api(20, "DeleteTopics", 1, 6, 4),
    api(21, "DeleteRecords", 0, 2, 2),
    api(22, "InitProducerId", 0, 5, 2),
    api(23, "OffsetForLeaderEpoch", 2, 4, 4),
    api(24, "AddPartitionsToTxn", 0, 5, 3),
    api(25, "AddOffsetsToTxn", 0, 4, 3),
    api(26, "EndTxn", 0, 5, 3),
    api(27, "WriteTxnMarkers", 1, 1, 1),
    api(28, "TxnOffsetCommit", 0, 5, 3),
    api(29, "DescribeAcls", 1, 3, 2),
    api(30, "CreateAcls", 1, 3, 2),
    api(31, "DeleteAcls", 1, 3, 2),
    api(32, "DescribeConfigs", 1, 4, 4),
    api(33, "AlterConfigs", 0, 2, 2),
    api(34, "AlterReplicaLogDirs", 1, 2, 2),
    api(35, "DescribeLogDirs", 1, 4, 2),
    api(36, "SaslAuthenticate", 0, 2, 2),
    api(37, "CreatePartitions", 0, 3, 2),
    api(38, "CreateDelegationToken", 1, 3, 2),
    api(39, "RenewDelegationToken", 1, 2, 2),
    api(40, "ExpireDelegationToken", 1, 2, 2),
    api(41, "DescribeDelegationToken", 1, 3, 2),
    api(42, "DeleteGroups", 0, 2, 2),
    api(43, "ElectLeaders", 0, 2, 2),
    api(44, "IncrementalAlterConfigs", 0, 1, 1),
    api(45, "AlterPartitionReassignments", 0, 1, 0),
    api(46, "ListPartitionReassignments", 0, 0, 0),
    api(47, "OffsetDelete", 0, 0, 1),
    api(48, "DescribeClientQuotas", 0, 1, 1),
    api(49, "AlterClientQuotas", 0, 1, 1),
    api(50, "DescribeUserScramCredentials", 0, 0, 0),
    api(51, "AlterUserScramCredentials", 0, 0, 0),
    api(55, "DescribeQuorum", 0, 2, 0),
    api(57, "UpdateFeatures", 0, 2, 0),
    api(60, "DescribeCluster", 0, 2, 0),
    api(61, "DescribeProducers", 0, 0, 0),
    api(64, "UnregisterBroker", 0, 0, 0),
    api(65, "DescribeTransactions", 0, 0, 0),
    api(66, "ListTransactions", 0, 2, 0),
    api(68, "ConsumerGroupHeartbeat", 0, 1, 0),
    api(69, "ConsumerGroupDescribe", 0, 1, 0),
    api(74, "ListConfigResources", 0, 1, 0),
    api(75, "DescribeTopicPartitions", 0, 0, 0),
];

/// One feature of the cluster: what this program can do, and what is switched on (KIP-584).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    pub name: &'static str,
    pub min: i16,
    pub max: i16,
    /// The level in force.
    pub level: i16,
}

/// By name. `group.version` 1 is KIP-848, `transaction.version` 2 is KIP-890: clients use its protocol
/// only if it is on.
pub const FEATURES: &[Feature] = &[
    Feature { name: "group.version", min: 0, max: 1, level: 1 },
    Feature { name: "transaction.version", min: 0, max: 2, level: 2 },
];

/// The row of an API.
pub fn find(key: i16) -> Option<&'static Api> {
    SUPPORTED.iter().find(|api| api.key == key)
}

/// Whether this version of this API is served. ApiVersions always is: it answers an unknown version
/// with what it knows.
pub fn serves(key: i16, version: i16) -> bool {
    let in_range = |api: &Api| {
        let min = if key == 0 { PRODUCE_MIN } else { api.min };
        (min..=api.max).contains(&version)
    };
    find(key).is_some_and(in_range)
}

/// Whether a request of this version has a header with tags. Of an unknown version of a known API
/// only the fixed part of the header is read.
pub fn is_flexible(key: i16, version: i16) -> bool {
    find(key).is_some_and(|api| version >= api.flexible_from && version <= api.max)
}
