//! CreateAcls: access rules are added.
//!
//! Versions
//! - 1 adds prefixed patterns (version 0 is gone since Kafka 4.0)
//! - 2 is the first flexible version, 3 adds the resource kind User
//!
//! Needs Alter on the cluster. A rule that is there already is created again without effect; one
//! that makes no sense is refused by itself.

use kafka_wire::create_acls_request::AclCreation;
use kafka_wire::create_acls_response::AclCreationResult;
use kafka_wire::{CreateAclsRequest, CreateAclsResponse};

use super::*;
use crate::security::acls::{Acl, Rule};
use crate::security::resource::{CLUSTER_NAME, Pattern, Permission};

/// A name, a principal or a host is never longer, in bytes.
const TEXT_MAX: usize = 2048;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: CreateAclsRequest,
) -> Step<CreateAclsResponse> {
    let checked = describe_acls::check(call, Operation::Alter);
    let read = |creation| checked.clone().and_then(|()| acl_of(creation));
    let mut results: Vec<Result<Acl, Refused>> = request.creations.iter().map(read).collect();
    let good: Vec<Acl> = results.iter().flatten().cloned().collect();
    let mut ticket = Ticket::default();
    if !good.is_empty() {
        match call.node.access.add_acls(&call.node.broker, good) {
            Ok(added) => ticket = added,
            Err(code) => results.iter_mut().for_each(|result| *result = Err(code.into())),
        }
    }
    let mut response = CreateAclsResponse::default();
    for result in results {
        let mut answer = AclCreationResult::default();
        if let Err(refused) = result {
            answer.error_code = refused.code.code();
            answer.error_message = words(&refused);
        }
        response.results.push(answer);
    }
    Step::Once(ticket, response)
}

fn acl_of(asked: &AclCreation) -> Result<Acl, Refused> {
    let invalid = |message: String| Refused::new(ErrorCode::InvalidRequest, message);
    let unknown = |what: &str, code: i8| invalid(format!("an ACL cannot have {what} {code}"));
    let kind = asked.resource_type;
    let kind = ResourceKind::from_code(kind).ok_or_else(|| unknown("the resource type", kind))?;
    let pattern = asked.resource_pattern_type;
    let pattern = Pattern::from_code(pattern).ok_or_else(|| unknown("the pattern", pattern))?;
    let operation = asked.operation;
    let operation =
        Operation::from_code(operation).ok_or_else(|| unknown("the operation", operation))?;
    let permission = asked.permission_type;
    let permission =
        Permission::from_code(permission).ok_or_else(|| unknown("the permission", permission))?;
    if operation != Operation::All && !kind.operations().contains(&operation) {
        return Err(invalid(format!("{operation:?} is not an operation on a {kind:?}")));
    }
    let name = &*asked.resource_name;
    if name.is_empty() {
        return Err(invalid("Invalid empty resource name".into()));
    }
    if kind == ResourceKind::Cluster && name != CLUSTER_NAME {
        let message = format!("The only valid name for the CLUSTER resource is {CLUSTER_NAME}");
        return Err(invalid(message));
    }
    let texts = [name, &*asked.principal, &*asked.host];
    if texts.iter().any(|text| text.len() > TEXT_MAX) {
        return Err(invalid(format!("a text of an ACL is longer than {TEXT_MAX} bytes")));
    }
    let whole = asked.principal.split_once(':');
    if whole.is_none_or(|(kind, name)| kind.is_empty() || name.is_empty()) {
        let message = format!("Could not parse principal from `{}`", &*asked.principal);
        return Err(invalid(format!("{message}; it must be like User:alice")));
    }
    if asked.host.is_empty() {
        return Err(invalid("the host of an ACL is an address or *".into()));
    }
    Ok(Acl {
        kind,
        name: name.to_owned(),
        pattern,
        rule: Rule {
            principal: asked.principal.to_string(),
            host: asked.host.to_string(),
            operation,
            permission,
        },
    })
}
