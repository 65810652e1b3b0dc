//! ConsumerGroupHeartbeat: a member of a KIP-848 group joins, stays, changes its mind or leaves.
//!
//! Versions
//! - 0 is the first and flexible; a member that joins may leave its id to the server
//! - 1 has the client make its member id (KIP-1082) and adds subscriptions by regular expression
//!
//! The answer rests on facts (epochs, assignment), so it goes out when they are durable.

use kafka_wire::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_wire::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::*;
use crate::coordinator::Groups;
use crate::coordinator::consumer::{Beat, Heartbeat, Parts};

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: ConsumerGroupHeartbeatRequest,
) -> Step<ConsumerGroupHeartbeatResponse> {
    let said = to_heartbeat(call, &request);
    let told = check_group(call, Operation::Read, &said.group)
        .and_then(|()| may_subscribe(call, &said))
        .and_then(|()| {
            let sees = |name: &str| check_topic(call, Operation::Describe, name).is_ok();
            let decide = |groups: &mut Groups| groups.consumer_heartbeat(&said, &sees, call.now_ms);
            call.node.decide(call.now_ms, decide)
        });
    let (ticket, told) = match told {
        Ok(settled) => (settled.ticket, settled.response),
        Err(code) => (Ticket::default(), Err(code.into())),
    };
    let mut response = ConsumerGroupHeartbeatResponse::default();
    match told {
        Ok(beat) => fill(&mut response, beat),
        Err(refused) => {
            response.error_code = refused.code.code();
            response.error_message = words(&refused);
        }
    }
    Step::Once(ticket, response)
}

/// Whoever names a topic may describe it. (A regular expression matches only such topics.)
fn may_subscribe(call: &Call<'_>, said: &Heartbeat) -> Result<(), ErrorCode> {
    let mut names = said.topics.iter().flatten();
    names.try_for_each(|name| check_topic(call, Operation::Describe, name))
}

fn to_heartbeat(call: &Call<'_>, request: &ConsumerGroupHeartbeatRequest) -> Heartbeat {
    let owned = |value: &Option<StrBytes>| value.as_deref().map(str::to_owned);
    let parts = |topics: &Vec<_>| {
        let one = |topic: &kafka_wire::consumer_group_heartbeat_request::TopicPartitions| {
            (from_wire(topic.topic_id), topic.partitions.iter().copied().collect())
        };
        topics.iter().map(one).collect::<Parts>()
    };
    let names = |names: &Vec<StrBytes>| names.iter().map(|name| name.to_string()).collect();
    Heartbeat {
        group: request.group_id.to_string(),
        member: request.member_id.to_string(),
        epoch: request.member_epoch,
        instance: owned(&request.instance_id),
        rack: owned(&request.rack_id),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        topics: request.subscribed_topic_names.as_ref().map(names),
        regex: owned(&request.subscribed_topic_regex),
        assignor: owned(&request.server_assignor),
        owned: request.topic_partitions.as_ref().map(parts),
        client_id: call.header.client_id.clone(),
        client_host: call.session.client_host.clone(),
        brings_id: call.version() >= 1,
        fresh_id: crate::topics::kafka_uuid(call.node.fresh_id()),
    }
}

fn fill(response: &mut ConsumerGroupHeartbeatResponse, beat: Beat) {
    response.member_id = Some(text(&beat.member));
    response.member_epoch = beat.epoch;
    response.heartbeat_interval_ms = beat.interval_ms;
    response.assignment = beat.assignment.map(|parts| {
        let mut assignment = Assignment::default();
        for (topic, indexes) in parts {
            let mut given = TopicPartitions::default();
            given.topic_id = to_wire(topic);
            given.partitions = indexes.into_iter().collect();
            assignment.topic_partitions.push(given);
        }
        assignment
    });
}
