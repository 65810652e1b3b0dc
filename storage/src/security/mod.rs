//! Who may log in, and who may do what.
//!
//! - [`resource`] Kafka's words: operations, resources, patterns
//! - [`acls`] the authorizer, a pure function of principal, host, operation and resource
//! - [`scram`] and [`sasl`] logins
//! - `records` how users and ACLs are kept in the journal
//!
//! [`Access`] holds them for a node. With `enforced` nothing is allowed that no ACL allows, except
//! to super users; without it everything is, and the ACL APIs answer SECURITY_DISABLED, as a Kafka
//! broker without an authorizer does. Users are kept in either case.
//!
//! A change is appended to the journal and applied under one lock, so that the order in the journal
//! is the order in memory; it is told to a client when its ticket is published.

pub mod acls;
mod records;
pub mod resource;
pub mod sasl;
pub mod scram;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hashbrown::HashMap;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::{Mutex, RwLock};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::broker::{Broker, Ticket};
use crate::error::{Error, ErrorCode};
use acls::{Acl, Acls, Filter, Who};
use records::Fact;
pub use records::is_about_access;
pub use resource::{Operation, Resource, ResourceKind};
pub use sasl::SaslMechanism;
use scram::{Credential, ScramMechanism};

/// The principal of a connection that did not log in.
pub const ANONYMOUS: &str = "User:ANONYMOUS";

/// Most ACLs, and most users, that are kept.
const ACLS_MAX: usize = 100_000;
const USERS_MAX: usize = 10_000;

/// How a node is guarded.
#[derive(Clone, Debug, Default)]
pub struct AccessConfig {
    /// Nothing is allowed that no ACL allows.
    pub enforced: bool,
    /// Principals (`User:name`) that may do everything.
    pub super_users: BTreeSet<String>,
    /// A login is good for so long, in ms; 0 for as long as the connection (KIP-368).
    pub reauthenticate_ms: i64,
    /// How long the answer to a failed login is held back, in ms.
    pub failed_login_delay_ms: u64,
}

/// See the head of this file.
pub struct Access {
    config: AccessConfig,
    /// Random for each start; see [`Credential::of_nobody`].
    secret: [u8; 32],
    state: RwLock<State>,
    /// The newest ticket of a fact.
    ticket: AtomicU64,
    /// Passwords that were found right, as a keyed hash: thousands of rounds once, not for each
    /// request. Forgotten when the user changes.
    checked: Mutex<HashMap<String, [u8; 32]>>,
}

#[derive(Default)]
struct State {
    acls: Acls,
    users: BTreeMap<String, BTreeMap<ScramMechanism, Credential>>,
}

impl State {
    fn apply(&mut self, fact: &Fact) {
        match fact.clone() {
            Fact::AclAdded(acl) => {
                self.acls.add(acl);
            }
            Fact::AclRemoved(acl) => self.acls.remove(&acl),
            Fact::CredentialSet { user, credential } => {
                self.users.entry(user).or_default().insert(credential.mechanism, credential);
            }
            Fact::CredentialRemoved { user, mechanism } => {
                let Some(of_user) = self.users.get_mut(&user) else { return };
                of_user.remove(&mechanism);
                if of_user.is_empty() {
                    self.users.remove(&user);
                }
            }
        }
    }
}

impl Access {
    /// From the facts in the journal; those that are not about access are passed over. `secret`
    /// must be random.
    ///
    /// Errors: a fact is damaged or of a newer program.
    pub fn new(
        config: AccessConfig,
        facts: &[(Bytes, Bytes)],
        secret: [u8; 32],
    ) -> Result<Self, Error> {
        let mut state = State::default();
        for (key, value) in facts.iter().filter(|(key, _)| is_about_access(key)) {
            let fact = Fact::from_entry(key, value).ok_or_else(|| {
                Error::Invalid("an ACL or a user in the journal cannot be read".into())
            })?;
            state.apply(&fact);
        }
        let (ticket, checked) = (AtomicU64::new(0), Mutex::default());
        Ok(Self { config, secret, state: RwLock::new(state), ticket, checked })
    }

    pub fn config(&self) -> &AccessConfig {
        &self.config
    }

    /// Whether ACLs count.
    pub fn is_enforced(&self) -> bool {
        self.config.enforced
    }

    /// May this be done?
    pub fn allows(&self, who: Who<'_>, operation: Operation, resource: Resource<'_>) -> bool {
        self.is_free(who) || self.state.read().acls.allow(who, operation, resource)
    }

    /// May this be done to at least one resource of the kind?
    pub fn allows_any(&self, who: Who<'_>, operation: Operation, kind: ResourceKind) -> bool {
        self.is_free(who) || self.state.read().acls.allow_any(who, operation, kind)
    }

    fn is_free(&self, who: Who<'_>) -> bool {
        !self.config.enforced || self.config.super_users.contains(who.principal)
    }

    /// The operations that are allowed on a resource, as bits by Kafka's numbers.
    pub fn operations(&self, who: Who<'_>, resource: Resource<'_>) -> i32 {
        let all = resource.kind.operations().iter();
        let allowed = all.filter(|operation| self.allows(who, **operation, resource));
        allowed.fold(0, |bits, operation| bits | 1 << operation.code())
    }

    /// The newest change; an answer that tells of users or ACLs waits for it.
    pub fn ticket(&self) -> Ticket {
        Ticket(self.ticket.load(Ordering::Acquire))
    }

    /// ACLs as a filter means them.
    pub fn find_acls(&self, filter: &Filter) -> Vec<Acl> {
        self.state.read().acls.find(filter)
    }

    /// Adds ACLs; those that are there already are fine.
    ///
    /// Errors: there are too many, or the broker has stopped.
    pub fn add_acls(&self, broker: &Broker, acls: Vec<Acl>) -> Result<Ticket, ErrorCode> {
        self.change(broker, |state| {
            if state.acls.len() + acls.len() > ACLS_MAX {
                return Err(ErrorCode::PolicyViolation);
            }
            let new = acls.into_iter().filter(|acl| !state.acls.contains(acl));
            Ok(new.map(Fact::AclAdded).collect())
        })
    }

    /// Removes the ACLs that filters mean; gives for each filter what it removed.
    pub fn remove_acls(
        &self,
        broker: &Broker,
        filters: &[Filter],
    ) -> Result<(Ticket, Vec<Vec<Acl>>), ErrorCode> {
        let mut removed = Vec::new();
        let ticket = self.change(broker, |state| {
            removed = filters.iter().map(|filter| state.acls.find(filter)).collect();
            let all: BTreeSet<&Acl> = removed.iter().flatten().collect();
            Ok(all.into_iter().cloned().map(Fact::AclRemoved).collect())
        })?;
        Ok((ticket, removed))
    }

    /// The users with their mechanisms and rounds.
    pub fn users(&self) -> BTreeMap<String, Vec<(ScramMechanism, u32)>> {
        let state = self.state.read();
        let of_user = |(user, of): (&String, &BTreeMap<ScramMechanism, Credential>)| {
            (user.clone(), of.values().map(|c| (c.mechanism, c.iterations)).collect())
        };
        state.users.iter().map(of_user).collect()
    }

    /// Sets or removes credentials, all in one step.
    ///
    /// Errors: a credential to be removed is not there (RESOURCE_NOT_FOUND), there are too many
    /// users, or the broker has stopped.
    pub fn change_users(
        &self,
        broker: &Broker,
        set: Vec<(String, Credential)>,
        remove: Vec<(String, ScramMechanism)>,
    ) -> Result<Ticket, ErrorCode> {
        let changed: Vec<String> = set
            .iter()
            .map(|(user, _)| user)
            .chain(remove.iter().map(|(user, _)| user))
            .cloned()
            .collect();
        let ticket = self.change(broker, |state| {
            let there = |(user, mechanism): &(String, ScramMechanism)| {
                state.users.get(user).is_some_and(|of| of.contains_key(mechanism))
            };
            if !remove.iter().all(there) {
                return Err(ErrorCode::ResourceNotFound);
            }
            if state.users.len() + set.len() > USERS_MAX {
                return Err(ErrorCode::PolicyViolation);
            }
            let removed = remove
                .into_iter()
                .map(|(user, mechanism)| Fact::CredentialRemoved { user, mechanism });
            let set =
                set.into_iter().map(|(user, credential)| Fact::CredentialSet { user, credential });
            Ok(removed.chain(set).collect())
        })?;
        let mut checked = self.checked.lock();
        changed.iter().for_each(|user| {
            checked.remove(user);
        });
        Ok(ticket)
    }

    /// What is kept of a user's password for this mechanism.
    pub fn credential(&self, user: &str, mechanism: ScramMechanism) -> Option<Credential> {
        self.state.read().users.get(user)?.get(&mechanism).cloned()
    }

    /// Whether this is the user's password. Takes as long for a user that is not there.
    pub fn is_password(&self, user: &str, password: &str) -> bool {
        let credential = {
            let state = self.state.read();
            state.users.get(user).and_then(|of| of.values().next_back().cloned())
        };
        let seen = self.seen(user, password, credential.as_ref());
        let known = self.checked.lock().get(user).copied();
        if credential.is_some() && known.is_some_and(|known| known.ct_eq(&seen).into()) {
            return true;
        }
        let exists = credential.is_some();
        let credential = credential
            .unwrap_or_else(|| Credential::of_nobody(ScramMechanism::Sha512, user, &self.secret));
        let right = credential.is_password(password) && exists;
        if right {
            self.checked.lock().insert(user.to_owned(), seen);
        }
        right
    }

    /// A password as it is remembered: under this process's secret, bound to the credential it was
    /// checked against.
    fn seen(&self, user: &str, password: &str, credential: Option<&Credential>) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        for part in [user.as_bytes(), password.as_bytes()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        credential.iter().for_each(|credential| mac.update(&credential.stored_key));
        mac.finalize().into_bytes().into()
    }

    fn secret(&self) -> &[u8] {
        &self.secret
    }

    fn change(
        &self,
        broker: &Broker,
        decide: impl FnOnce(&State) -> Result<Vec<Fact>, ErrorCode>,
    ) -> Result<Ticket, ErrorCode> {
        let mut state = self.state.write();
        let facts = decide(&state)?;
        if !facts.is_empty() {
            let entries: Vec<_> = facts.iter().map(Fact::to_entry).collect();
            let ticket = broker.append_group(&entries)?;
            facts.iter().for_each(|fact| state.apply(fact));
            self.ticket.store(ticket.0, Ordering::Release);
        }
        Ok(self.ticket())
    }
}
