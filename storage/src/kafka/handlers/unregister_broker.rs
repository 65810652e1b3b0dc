//! UnregisterBroker: forget a broker that is gone.
//!
//! This one is not gone, and there is no other.

use kafka_wire::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: UnregisterBrokerRequest,
) -> Step<UnregisterBrokerResponse> {
    let mut response = UnregisterBrokerResponse::default();
    let refused = match request.broker_id == call.node.config.node_id {
        _ if check_cluster(call, Operation::Alter).is_err() => {
            Refused::from(ErrorCode::ClusterAuthorizationFailed)
        }
        true => Refused::new(
            ErrorCode::InvalidRequest,
            "this broker is the only one and cannot be unregistered while it runs",
        ),
        false => Refused::new(
            ErrorCode::BrokerIdNotRegistered,
            format!("Broker ID {} is not currently registered", request.broker_id),
        ),
    };
    response.error_code = refused.code.code();
    response.error_message = words(&refused);
    Step::Now(response)
}
