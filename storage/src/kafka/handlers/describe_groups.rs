//! DescribeGroups: state, members and assignments of these groups.
//!
//! Versions
//! - 3 may ask for allowed operations , 4 adds static members
//! - 5 is the first flexible version
//! - 6 answers GROUP_ID_NOT_FOUND for a group that is not there; before, its state is "Dead"
//!
//! A KIP-848 group is not there for this request: clients ask ConsumerGroupDescribe.

use kafka_wire::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_wire::{DescribeGroupsRequest, DescribeGroupsResponse};

use super::*;
use crate::coordinator::group::{Group, Member, State};

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: DescribeGroupsRequest,
) -> Step<DescribeGroupsResponse> {
    call.node.tick(call.now_ms);
    let looked = call.node.look(|groups| {
        let one = |name: &StrBytes| {
            if let Err(code) = check_group(call, Operation::Describe, name) {
                return refused(name, code);
            }
            let mut described = match groups.get(name) {
                Some(group) if group.consumer.is_none() => describe(group),
                Some(_) => missing(call.version(), name, "is not a classic group"),
                None => missing(call.version(), name, "not found"),
            };
            let asked = request.include_authorized_operations;
            described.authorized_operations = call.operations(asked, Resource::group(name));
            described
        };
        request.groups.iter().map(one).collect()
    });
    let mut response = DescribeGroupsResponse::default();
    response.groups = looked.response;
    Step::Now(response)
}

fn refused(name: &StrBytes, code: ErrorCode) -> DescribedGroup {
    let mut described = DescribedGroup::default();
    described.group_id = name.clone();
    described.authorized_operations = OPERATIONS_UNKNOWN;
    described.error_code = code.code();
    described
}

fn missing(version: i16, name: &StrBytes, why: &str) -> DescribedGroup {
    let mut described = DescribedGroup::default();
    described.group_id = name.clone();
    described.group_state = text("Dead");
    if version >= 6 {
        described.error_code = ErrorCode::GroupIdNotFound.code();
        described.error_message = Some(text(&format!("Group {} {why}.", &**name)));
    }
    described
}

fn describe(group: &Group) -> DescribedGroup {
    let mut described = DescribedGroup::default();
    described.group_id = text(&group.name);
    described.group_state = text(group.state.name());
    described.protocol_type = text(&group.protocol_type);
    // Metadata and assignments belong together only while a generation stands.
    let stable = group.state == State::Stable;
    let protocol = group.protocol.as_deref().filter(|_| stable);
    described.protocol_data = text(protocol.unwrap_or_default());
    let member = |member: &Member| {
        let mut described = DescribedGroupMember::default();
        described.member_id = text(&member.id);
        described.group_instance_id = member.instance.as_deref().map(text);
        described.client_id = text(&member.client_id);
        described.client_host = text(&member.client_host);
        described.member_metadata = member.metadata(protocol).to_vec().into();
        if stable {
            described.member_assignment = member.assignment.clone().into();
        }
        described
    };
    described.members = group.members.values().map(member).collect();
    described
}
