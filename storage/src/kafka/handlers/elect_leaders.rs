//! ElectLeaders: give partitions another leader.
//!
//! Versions
//! - 1 adds the kind of election (preferred or unclean)
//! - 2 is the first flexible version
//!
//! The one replica leads already, so no election is needed. Asked for all partitions, those that
//! need none are left out, as in Kafka.

use kafka_wire::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_wire::{ElectLeadersRequest, ElectLeadersResponse};

use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: ElectLeadersRequest,
) -> Step<ElectLeadersResponse> {
    let mut response = ElectLeadersResponse::default();
    if let Err(code) = check_cluster(call, Operation::Alter) {
        response.error_code = code.code();
        return Step::Now(response);
    }
    if !(0..=1).contains(&request.election_type) {
        response.error_code = ErrorCode::InvalidRequest.code();
        return Step::Now(response);
    }
    for asked in request.topic_partitions.iter().flatten() {
        let topic = call.node.broker.topic(&asked.topic);
        let mut answer = ReplicaElectionResult::default();
        answer.topic = asked.topic.clone();
        for index in &asked.partitions {
            let unknown = ErrorCode::UnknownTopicOrPartition;
            let name = &*asked.topic;
            let (code, message) = match &topic {
                None => (unknown, format!("No such topic as {name}")),
                Some(topic) if partition_of(topic, *index).is_err() => {
                    (unknown, format!("No such partition as {name}-{index}"))
                }
                Some(_) => (
                    ErrorCode::ElectionNotNeeded,
                    "Leader election not needed for topic partition.".to_owned(),
                ),
            };
            let mut partition = PartitionResult::default();
            partition.partition_id = *index;
            partition.error_code = code.code();
            partition.error_message = Some(text(&message));
            answer.partition_result.push(partition);
        }
        response.replica_election_results.push(answer);
    }
    Step::Now(response)
}
