//! DescribeProducers: who writes to these partitions, and since where is a transaction open?
//!
//! With it an administrator finds the transaction that holds the last stable offset back (KIP-664).

use kafka_wire::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use kafka_wire::{DescribeProducersRequest, DescribeProducersResponse};

use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: DescribeProducersRequest,
) -> Step<DescribeProducersResponse> {
    let broker = &call.node.broker;
    let mut response = DescribeProducersResponse::default();
    for topic in &request.topics {
        let found = topic_named(call, Operation::Read, &topic.name);
        let mut answer = TopicResponse::default();
        answer.name = topic.name.clone();
        for index in &topic.partition_indexes {
            let mut partition = PartitionResponse::default();
            partition.partition_index = *index;
            let place = found.as_deref().map_err(|code| *code);
            let place = place.and_then(|topic| partition_of(topic, *index));
            match place.and_then(|at| broker.producers(at)) {
                Ok(producers) => {
                    partition.active_producers = producers.iter().map(describe).collect();
                }
                Err(code) => partition.error_code = code.code(),
            }
            answer.partitions.push(partition);
        }
        response.topics.push(answer);
    }
    Step::Now(response)
}

fn describe(producer: &crate::broker::ProducerState) -> ProducerState {
    let mut state = ProducerState::default();
    state.producer_id = producer.producer_id;
    state.producer_epoch = i32::from(producer.epoch);
    state.last_sequence = producer.last_sequence;
    state.last_timestamp = producer.last_append_ms;
    state.coordinator_epoch = producer.coordinator_epoch;
    state.current_txn_start_offset = producer.open.unwrap_or(-1);
    state
}
