//! ListPartitionReassignments: which replicas are on their way to another broker?
//!
//! None ever: there is one broker.

use kafka_wire::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    _request: ListPartitionReassignmentsRequest,
) -> Step<ListPartitionReassignmentsResponse> {
    let mut response = ListPartitionReassignmentsResponse::default();
    response.error_message = None;
    response.error_code = code_of(check_cluster(call, Operation::Describe));
    Step::Now(response)
}
