//! DescribeAcls: the access rules that a filter means.
//!
//! Versions
//! - 1 adds prefixed patterns (version 0 is gone since Kafka 4.0)
//! - 2 is the first flexible version, 3 adds the resource kind User
//!
//! Needs Describe on the cluster.

use kafka_wire::describe_acls_response::{AclDescription, DescribeAclsResource};
use kafka_wire::{DescribeAclsRequest, DescribeAclsResponse};

use super::*;
use crate::security::acls::{Filter, PatternFilter};
use crate::security::resource::{Pattern, Permission};

/// Unknown to Kafka itself, and "any", in every enumeration of ACLs.
pub(super) const ANY: i8 = 1;
const PATTERN_MATCH: i8 = 2;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: DescribeAclsRequest,
) -> Step<DescribeAclsResponse> {
    let mut response = DescribeAclsResponse::default();
    let filter = check(call, Operation::Describe).and_then(|()| filter_of(&request));
    let filter = match filter {
        Ok(filter) => filter,
        Err(refused) => {
            response.error_code = refused.code.code();
            response.error_message = words(&refused);
            return Step::Now(response);
        }
    };
    // What is told here must not be taken back by a crash.
    let ticket = call.node.access.ticket();
    for acl in call.node.access.find_acls(&filter) {
        let (kind, pattern) = (acl.kind.code(), acl.pattern.code());
        let same = response.resources.last().is_some_and(|last: &DescribeAclsResource| {
            last.resource_type == kind
                && last.pattern_type == pattern
                && *last.resource_name == *acl.name
        });
        if !same {
            let mut resource = DescribeAclsResource::default();
            resource.resource_type = kind;
            resource.resource_name = text(&acl.name);
            resource.pattern_type = pattern;
            response.resources.push(resource);
        }
        let mut described = AclDescription::default();
        described.principal = text(&acl.rule.principal);
        described.host = text(&acl.rule.host);
        described.operation = acl.rule.operation.code();
        described.permission_type = acl.rule.permission.code();
        if let Some(resource) = response.resources.last_mut() {
            resource.acls.push(described);
        }
    }
    Step::Once(ticket, response)
}

/// Whether ACLs count here at all, and whether the client may do this with them.
pub(super) fn check(call: &Call<'_>, operation: Operation) -> Result<(), Refused> {
    if !call.node.access.is_enforced() {
        let message = "No Authorizer is configured. Start the server with a listener that \
                       authenticates its clients, or with --authorize.";
        return Err(Refused::new(ErrorCode::SecurityDisabled, message));
    }
    Ok(check_cluster(call, operation)?)
}

fn filter_of(request: &DescribeAclsRequest) -> Result<Filter, Refused> {
    filter(
        [
            request.resource_type_filter,
            request.pattern_type_filter,
            request.operation,
            request.permission_type,
        ],
        [&request.resource_name_filter, &request.principal_filter, &request.host_filter],
    )
}

/// A filter from its codes (kind, pattern, operation, permission) and texts (name, principal, host).
pub(super) fn filter(codes: [i8; 4], texts: [&Option<StrBytes>; 3]) -> Result<Filter, Refused> {
    let [kind, pattern, operation, permission] = codes;
    let [name, principal, host] = texts.map(|text| text.as_deref().map(str::to_owned));
    Ok(Filter {
        kind: any_or(kind, "resource type", ResourceKind::from_code)?,
        name,
        pattern: match pattern {
            PATTERN_MATCH => PatternFilter::Match,
            code => match any_or(code, "pattern type", Pattern::from_code)? {
                None => PatternFilter::Any,
                Some(pattern) => PatternFilter::Exact(pattern),
            },
        },
        principal,
        host,
        operation: any_or(operation, "operation", Operation::from_code)?,
        permission: any_or(permission, "permission type", Permission::from_code)?,
    })
}

fn any_or<T>(code: i8, what: &str, known: fn(i8) -> Option<T>) -> Result<Option<T>, Refused> {
    if code == ANY {
        return Ok(None);
    }
    let unknown = || {
        let message = format!("the filter has an unknown {what} ({code})");
        Refused::new(ErrorCode::InvalidRequest, message)
    };
    known(code).map(Some).ok_or_else(unknown)
}
