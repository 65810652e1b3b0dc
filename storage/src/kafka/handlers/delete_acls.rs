//! DeleteAcls: the access rules that filters mean are removed, and told.
//!
//! Versions
//! - 1 adds prefixed patterns (version 0 is gone since Kafka 4.0)
//! - 2 is the first flexible version, 3 adds the resource kind User
//!
//! Needs Alter on the cluster.

use kafka_wire::delete_acls_request::DeleteAclsFilter;
use kafka_wire::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsMatchingAcl};
use kafka_wire::{DeleteAclsRequest, DeleteAclsResponse};

use super::*;
use crate::security::acls::{Acl, Filter};

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: DeleteAclsRequest,
) -> Step<DeleteAclsResponse> {
    let checked = describe_acls::check(call, Operation::Alter);
    let read = |filter| checked.clone().and_then(|()| filter_of(filter));
    let filters: Vec<Result<Filter, Refused>> = request.filters.iter().map(read).collect();
    let good: Vec<Filter> = filters.iter().flatten().cloned().collect();
    let mut ticket = Ticket::default();
    let mut removed = Vec::new();
    let mut failed = None;
    if !good.is_empty() {
        match call.node.access.remove_acls(&call.node.broker, &good) {
            Ok((done, acls)) => (ticket, removed) = (done, acls),
            Err(code) => failed = Some(code),
        }
    }
    let mut removed = removed.into_iter();
    let mut response = DeleteAclsResponse::default();
    for filter in filters {
        let filter = match failed {
            Some(code) => Err(code.into()),
            None => filter,
        };
        let mut answer = DeleteAclsFilterResult::default();
        match filter {
            Ok(_) => {
                let acls = removed.next().unwrap_or_default();
                answer.matching_acls = acls.iter().map(tell).collect();
            }
            Err(refused) => {
                answer.error_code = refused.code.code();
                answer.error_message = words(&refused);
            }
        }
        response.filter_results.push(answer);
    }
    Step::Once(ticket, response)
}

fn filter_of(asked: &DeleteAclsFilter) -> Result<Filter, Refused> {
    describe_acls::filter(
        [
            asked.resource_type_filter,
            asked.pattern_type_filter,
            asked.operation,
            asked.permission_type,
        ],
        [&asked.resource_name_filter, &asked.principal_filter, &asked.host_filter],
    )
}

fn tell(acl: &Acl) -> DeleteAclsMatchingAcl {
    let mut told = DeleteAclsMatchingAcl::default();
    told.resource_type = acl.kind.code();
    told.resource_name = text(&acl.name);
    told.pattern_type = acl.pattern.code();
    told.principal = text(&acl.rule.principal);
    told.host = text(&acl.rule.host);
    told.operation = acl.rule.operation.code();
    told.permission_type = acl.rule.permission.code();
    told
}
