//! AlterPartitionReassignments: place the replicas of partitions on other brokers.
//!
//! Versions
//! - 1 lets the client forbid that the number of replicas changes
//!
//! There is one broker. To place a partition where it is succeeds at once; there is never a
//! reassignment to cancel; any other broker is not there.

use kafka_wire::alter_partition_reassignments_request::ReassignablePartition;
use kafka_wire::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_wire::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use super::create_topics::check_placed;
use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: AlterPartitionReassignmentsRequest,
) -> Step<AlterPartitionReassignmentsResponse> {
    let mut response = AlterPartitionReassignmentsResponse::default();
    response.error_message = None;
    response.allow_replication_factor_change = request.allow_replication_factor_change;
    if let Err(code) = check_cluster(call, Operation::Alter) {
        response.error_code = code.code();
        return Step::Now(response);
    }
    for asked in &request.topics {
        let mut answer = ReassignableTopicResponse::default();
        answer.name = asked.name.clone();
        for partition in &asked.partitions {
            let mut placed = ReassignablePartitionResponse::default();
            placed.error_message = None;
            placed.partition_index = partition.partition_index;
            if let Err(refused) = place(call, &asked.name, partition) {
                placed.error_code = refused.code.code();
                placed.error_message = words(&refused);
            }
            answer.partitions.push(placed);
        }
        response.responses.push(answer);
    }
    Step::Now(response)
}

fn place(call: &Call<'_>, name: &str, asked: &ReassignablePartition) -> Result<(), Refused> {
    let unknown = |message| Refused::new(ErrorCode::UnknownTopicOrPartition, message);
    let index = asked.partition_index;
    let topic = call.node.broker.topic(name);
    let topic = topic.ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    partition_of(&topic, index)
        .map_err(|_| unknown(format!("Unable to find partition {name}-{index}.")))?;
    match &asked.replicas {
        None => Err(Refused::new(
            ErrorCode::NoReassignmentInProgress,
            "No partition reassignment is in progress.",
        )),
        Some(brokers) => check_placed(call.node, brokers),
    }
}
