//! DescribeQuorum: who keeps the cluster's metadata?
//!
//! Versions
//! - 1 adds times to replicas
//! - 2 adds the replicas' directories, words to errors, and the controllers' addresses
//!
//! In Kafka the metadata is the log `__cluster_metadata`; here it is the node journal, kept by this
//! node alone. Its newest published place is told as the high watermark. Its leader's epoch is 1.

use kafka_wire::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use kafka_wire::{DescribeQuorumRequest, DescribeQuorumResponse};

use super::*;

const METADATA_TOPIC: &str = "__cluster_metadata";
const EPOCH: i32 = 1;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: DescribeQuorumRequest,
) -> Step<DescribeQuorumResponse> {
    let mut response = DescribeQuorumResponse::default();
    if let Err(code) = check_cluster(call, Operation::Describe) {
        response.error_code = code.code();
        return Step::Now(response);
    }
    for asked in &request.topics {
        let mut topic = TopicData::default();
        topic.topic_name = asked.topic_name.clone();
        for partition in &asked.partitions {
            let is_there = &*asked.topic_name == METADATA_TOPIC && partition.partition_index == 0;
            let mut told = match is_there {
                true => journal(call),
                false => unknown(),
            };
            told.partition_index = partition.partition_index;
            topic.partitions.push(told);
        }
        response.topics.push(topic);
    }
    if call.version() < 2 {
        return Step::Now(response);
    }
    let mut node = Node::default();
    node.node_id = call.node.config.node_id;
    let mut listener = Listener::default();
    listener.name = text("CONTROLLER");
    listener.host = text(&call.node.config.advertised_host);
    listener.port = call.node.config.advertised_port;
    node.listeners = vec![listener];
    response.nodes = vec![node];
    Step::Now(response)
}

fn journal(call: &Call<'_>) -> PartitionData {
    let end = i64::try_from(call.node.broker.published().0).unwrap_or(i64::MAX);
    let mut replica = ReplicaState::default();
    replica.replica_id = call.node.config.node_id;
    replica.log_end_offset = end;
    if call.version() >= 1 {
        replica.last_fetch_timestamp = call.now_ms;
        replica.last_caught_up_timestamp = call.now_ms;
    }
    let mut told = PartitionData::default();
    told.leader_id = call.node.config.node_id;
    told.leader_epoch = EPOCH;
    told.high_watermark = end;
    told.current_voters = vec![replica];
    told
}

fn unknown() -> PartitionData {
    let mut told = PartitionData::default();
    told.error_code = ErrorCode::UnknownTopicOrPartition.code();
    told
}
