//! AlterUserScramCredentials: users are made, change their passwords, are removed (KIP-554).
//!
//! The client salts the password itself; only the keys derived from it are kept. Needs Alter on the
//! cluster. Each user is answered by itself; what can be done is done in one step.

use std::collections::BTreeMap;

use kafka_wire::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_wire::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use kafka_wire::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse};

use super::*;
use crate::security::scram::{Credential, ITERATIONS_MAX, ITERATIONS_MIN, ScramMechanism};

/// A name or a salt is never longer, in bytes.
const BYTES_MAX: usize = 1024;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: AlterUserScramCredentialsRequest,
) -> Step<AlterUserScramCredentialsResponse> {
    let mut results: BTreeMap<String, Result<(), Refused>> = BTreeMap::new();
    let mut note = |user: &str, result: Result<(), Refused>| {
        // The first thing that is wrong with a user is told.
        let known = results.entry(user.to_owned()).or_insert(Ok(()));
        if known.is_ok() {
            *known = result;
        }
    };
    let allowed = check_cluster(call, Operation::Alter);
    let mut set = Vec::new();
    let mut remove = Vec::new();
    let mut named: BTreeMap<(&str, i8), usize> = BTreeMap::new();
    let deleted = request.deletions.iter().map(|one| (&*one.name, one.mechanism));
    let upserted = request.upsertions.iter().map(|one| (&*one.name, one.mechanism));
    deleted.chain(upserted).for_each(|place| *named.entry(place).or_default() += 1);
    let once = |name: &str, mechanism: i8| match named.get(&(name, mechanism)) {
        Some(1) => Ok(()),
        _ => Err(Refused::new(
            ErrorCode::DuplicateResource,
            "A user credential cannot be altered twice in the same request",
        )),
    };
    for asked in &request.deletions {
        let read = allowed.map_err(Refused::from).and_then(|()| once(&asked.name, asked.mechanism));
        let read = read.and_then(|()| deletion(call, asked));
        note(&asked.name, read.map(|mechanism| remove.push((asked.name.to_string(), mechanism))));
    }
    for asked in &request.upsertions {
        let read = allowed.map_err(Refused::from).and_then(|()| once(&asked.name, asked.mechanism));
        let read = read.and_then(|()| upsertion(asked));
        note(&asked.name, read.map(|credential| set.push((asked.name.to_string(), credential))));
    }
    // A user of whom something is refused is left as it was.
    set.retain(|(user, _)| results.get(user).is_some_and(Result::is_ok));
    remove.retain(|(user, _)| results.get(user).is_some_and(Result::is_ok));
    let mut ticket = Ticket::default();
    if !set.is_empty() || !remove.is_empty() {
        match call.node.access.change_users(&call.node.broker, set, remove) {
            Ok(changed) => ticket = changed,
            Err(code) => results
                .values_mut()
                .filter(|result| result.is_ok())
                .for_each(|result| *result = Err(code.into())),
        }
    }
    let mut response = AlterUserScramCredentialsResponse::default();
    for (user, result) in results {
        let mut answer = AlterUserScramCredentialsResult::default();
        answer.user = text(&user);
        if let Err(refused) = result {
            answer.error_code = refused.code.code();
            answer.error_message = words(&refused);
        }
        response.results.push(answer);
    }
    Step::Once(ticket, response)
}

fn mechanism(user: &str, code: i8) -> Result<ScramMechanism, Refused> {
    if user.is_empty() || user.len() > BYTES_MAX {
        let message = "Username must not be empty, nor longer than 1024 bytes";
        return Err(Refused::new(ErrorCode::UnacceptableCredential, message));
    }
    let unknown = || Refused::new(ErrorCode::UnsupportedSaslMechanism, "Unknown SCRAM mechanism");
    ScramMechanism::from_code(code).ok_or_else(unknown)
}

fn deletion(call: &Call<'_>, asked: &ScramCredentialDeletion) -> Result<ScramMechanism, Refused> {
    let mechanism = mechanism(&asked.name, asked.mechanism)?;
    if call.node.access.credential(&asked.name, mechanism).is_none() {
        let message = "Attempt to delete a user credential that does not exist";
        return Err(Refused::new(ErrorCode::ResourceNotFound, message));
    }
    Ok(mechanism)
}

fn upsertion(asked: &ScramCredentialUpsertion) -> Result<Credential, Refused> {
    let refuse = |message: &str| Err(Refused::new(ErrorCode::UnacceptableCredential, message));
    let mechanism = mechanism(&asked.name, asked.mechanism)?;
    let iterations = u32::try_from(asked.iterations).unwrap_or(0);
    if iterations < ITERATIONS_MIN {
        return refuse("Too few iterations");
    }
    if iterations > ITERATIONS_MAX {
        return refuse("Too many iterations");
    }
    if asked.salt.is_empty() || asked.salt.len() > BYTES_MAX {
        return refuse("The salt must have 1 to 1024 bytes");
    }
    if asked.salted_password.len() != mechanism.key_bytes() {
        return refuse("The salted password has not the mechanism's length");
    }
    Ok(Credential::from_salted(mechanism, iterations, &asked.salt, &asked.salted_password))
}
