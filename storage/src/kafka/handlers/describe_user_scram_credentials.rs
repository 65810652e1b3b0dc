//! DescribeUserScramCredentials: which users there are, with which mechanisms and rounds (KIP-554).
//!
//! Needs Describe on the cluster. Nothing of a password is ever told.

use kafka_wire::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use kafka_wire::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};

use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: DescribeUserScramCredentialsRequest,
) -> Step<DescribeUserScramCredentialsResponse> {
    let mut response = DescribeUserScramCredentialsResponse::default();
    if let Err(code) = check_cluster(call, Operation::Describe) {
        response.error_code = code.code();
        return Step::Now(response);
    }
    let ticket = call.node.access.ticket();
    let users = call.node.access.users();
    // None asked for, be it null or an empty list, means all.
    let asked: Vec<&str> = request.users.iter().flatten().map(|user| &*user.name).collect();
    let names: Vec<&str> = match asked.is_empty() {
        true => users.keys().map(String::as_str).collect(),
        false => asked,
    };
    let mut seen = std::collections::BTreeMap::new();
    names.iter().for_each(|name| *seen.entry(*name).or_insert(0) += 1);
    for (name, times) in seen {
        let mut result = DescribeUserScramCredentialsResult::default();
        result.user = text(name);
        match users.get(name) {
            _ if times > 1 => {
                result.error_code = ErrorCode::DuplicateResource.code();
                let message = format!(
                    "Cannot describe SCRAM credentials for the same user twice in a single request: {name}"
                );
                result.error_message = Some(text(&message));
            }
            None => {
                result.error_code = ErrorCode::ResourceNotFound.code();
                let message =
                    format!("Attempt to describe a user credential that does not exist: {name}");
                result.error_message = Some(text(&message));
            }
            Some(credentials) => {
                for (mechanism, iterations) in credentials {
                    let mut info = CredentialInfo::default();
                    info.mechanism = mechanism.code();
                    info.iterations = i32::try_from(*iterations).unwrap_or(i32::MAX);
                    result.credential_infos.push(info);
                }
            }
        }
        response.results.push(result);
    }
    Step::Once(ticket, response)
}
