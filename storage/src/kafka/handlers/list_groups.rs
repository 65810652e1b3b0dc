//! ListGroups: all groups of this node.
//!
//! Versions
//! - 3 is the first flexible version
//! - 4 filters by state and shows it, 5 filters by type and shows it
//!
//! A group is of type "classic", or "consumer" if it speaks KIP-848.

use kafka_wire::list_groups_response::ListedGroup;
use kafka_wire::{ListGroupsRequest, ListGroupsResponse};

use super::*;
use crate::coordinator::group::Group;
use crate::coordinator::protocol::CONSUMER;

/// The name of a group's type.
fn type_of(group: &Group) -> &'static str {
    if group.consumer.is_some() { "consumer" } else { "classic" }
}

fn protocol_type_of(group: &Group) -> &str {
    if group.consumer.is_some() { CONSUMER } else { &group.protocol_type }
}

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: ListGroupsRequest,
) -> Step<ListGroupsResponse> {
    call.node.tick(call.now_ms);
    let allows = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let sees_all = call.allowed(Operation::Describe, Resource::CLUSTER);
    let shown = |group: &&Group| {
        let may_see = sees_all || check_group(call, Operation::Describe, &group.name).is_ok();
        may_see
            && allows(&request.states_filter, group.state_name())
            && allows(&request.types_filter, type_of(group))
    };
    let list = |group: &Group| {
        let mut listed = ListedGroup::default();
        listed.group_id = text(&group.name);
        listed.protocol_type = text(protocol_type_of(group));
        listed.group_state = text(group.state_name());
        listed.group_type = text(type_of(group));
        listed
    };
    let mut response = ListGroupsResponse::default();
    response.groups =
        call.node.look(|groups| groups.all().filter(shown).map(list).collect()).response;
    Step::Now(response)
}
