//! WriteTxnMarkers: end a producer's transaction in these partitions.
//!
//! Version 1 is the first flexible one. Between brokers of a cluster the coordinator sends it; here only
//! an administrator does, to free a partition of a transaction that nobody will end
//! (`kafka-transactions --abort`). A marker for a producer without an open transaction does no harm and
//! succeeds, so a repetition does too (KAFKA-19999).

use kafka_wire::write_txn_markers_request::WritableTxnMarker;
use kafka_wire::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_wire::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};

use super::*;
use crate::broker::TransactionEnd;
use crate::log::control::Marker;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: WriteTxnMarkersRequest,
) -> Step<WriteTxnMarkersResponse> {
    let mut ticket = Ticket::default();
    let mut response = WriteTxnMarkersResponse::default();
    let allowed = check_cluster(call, Operation::ClusterAction)
        .or_else(|_| check_cluster(call, Operation::Alter));
    for wanted in &request.markers {
        response.markers.push(write(call, allowed, wanted, &mut ticket));
    }
    Step::Once(ticket, response)
}

fn write(
    call: &Call<'_>,
    allowed: Result<(), ErrorCode>,
    wanted: &WritableTxnMarker,
    ticket: &mut Ticket,
) -> WritableTxnMarkerResult {
    let broker = &call.node.broker;
    let marker = Marker {
        producer_id: wanted.producer_id,
        producer_epoch: wanted.producer_epoch,
        coordinator_epoch: wanted.coordinator_epoch,
        commit: wanted.transaction_result,
    };
    let mut partitions = Vec::new();
    let mut result = WritableTxnMarkerResult::default();
    result.producer_id = wanted.producer_id;
    for topic in &wanted.topics {
        let found = broker.topic(&topic.name).ok_or(ErrorCode::UnknownTopicOrPartition);
        let found = allowed.and(found);
        let mut answer = WritableTxnMarkerTopicResult::default();
        answer.name = topic.name.clone();
        for index in &topic.partition_indexes {
            let place = found.as_deref().map_err(|code| *code);
            let place = place.and_then(|topic| partition_of(topic, *index));
            let checked = place.and_then(|at| broker.check_marker(at, &marker).map(|()| at));
            partitions.extend(checked.ok());
            let mut partition = WritableTxnMarkerPartitionResult::default();
            partition.partition_index = *index;
            partition.error_code = code_of(checked.map(drop));
            answer.partitions.push(partition);
        }
        result.topics.push(answer);
    }
    if partitions.is_empty() {
        return result;
    }
    let end = TransactionEnd { marker, partitions, facts: Vec::new(), told: Vec::new() };
    match broker.end_transaction(&end, call.now_ms) {
        Ok(written) => *ticket = written.max(*ticket),
        Err(code) => {
            let all = result.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            all.filter(|one| one.error_code == 0).for_each(|one| one.error_code = code.code());
        }
    }
    result
}
