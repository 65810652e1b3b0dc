//! DescribeCluster: the cluster's id and its brokers.
//!
//! Versions
//! - 1 asks for brokers or controllers
//! - 2 can list brokers that were fenced off
//!
//! Version 0 alone would break kafka-python 3.0, which reads a field of version 1.

use kafka_wire::describe_cluster_response::DescribeClusterBroker;
use kafka_wire::{DescribeClusterRequest, DescribeClusterResponse};

use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: DescribeClusterRequest,
) -> Step<DescribeClusterResponse> {
    let config = &call.node.config;
    let (host, port) = call.advertised();
    let mut broker = DescribeClusterBroker::default();
    broker.broker_id = config.node_id;
    broker.host = text(host);
    broker.port = i32::from(port);

    let mut response = DescribeClusterResponse::default();
    response.cluster_id = text(call.node.broker.cluster_id());
    response.controller_id = config.node_id;
    response.endpoint_type = request.endpoint_type;
    let asked = request.include_cluster_authorized_operations;
    response.cluster_authorized_operations = call.operations(asked, Resource::CLUSTER);
    response.brokers = vec![broker];
    Step::Now(response)
}
