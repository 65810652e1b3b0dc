//! The stored form of users and ACLs.
//!
//! They are kept as the coordinator's facts are: the journal keeps the newest value of each key
//! ([`crate::Broker::append_group`]), and forgetting is the key without a value.
//!
//! ```text
//! key    = 0x41, kind u8, pattern u8, name text, principal text, host text, operation u8,
//!          permission u8                                        value = version u8 (= 1)
//! key    = 0x53, user text, mechanism u8
//!                 value = version u8 (= 1), iterations u32, salt, stored key, server key: bytes
//! text, bytes = length u32, bytes
//! ```
//!
//! All numbers are big-endian. An entry that does not read back to its last byte is refused.

use bytes::Bytes;

use super::acls::{Acl, Rule};
use super::resource::{Operation, Pattern, Permission, ResourceKind};
use super::scram::{Credential, ScramMechanism};
use crate::journal::wire::{Put, Take};

/// First byte of the key of an ACL.
const ACL: u8 = 0x41;
/// First byte of the key of a credential.
const SCRAM: u8 = 0x53;
const VERSION: u8 = 1;

/// One durable fact about access.
#[derive(Clone)]
pub(super) enum Fact {
    AclAdded(Acl),
    AclRemoved(Acl),
    CredentialSet { user: String, credential: Credential },
    CredentialRemoved { user: String, mechanism: ScramMechanism },
}

/// Whether a stored fact is one of access, by its key.
pub fn is_about_access(key: &[u8]) -> bool {
    matches!(key.first(), Some(&ACL | &SCRAM))
}

impl Fact {
    /// The stored form; without a value it is to be forgotten.
    pub(super) fn to_entry(&self) -> (Bytes, Option<Bytes>) {
        match self {
            Fact::AclAdded(acl) => (acl_key(acl), Some(Bytes::from_static(&[VERSION]))),
            Fact::AclRemoved(acl) => (acl_key(acl), None),
            Fact::CredentialSet { user, credential } => {
                let mut value = vec![VERSION];
                value.put_u32(credential.iterations);
                value.put_bytes(&credential.salt);
                value.put_bytes(&credential.stored_key);
                value.put_bytes(&credential.server_key);
                (credential_key(user, credential.mechanism), Some(value.into()))
            }
            Fact::CredentialRemoved { user, mechanism } => (credential_key(user, *mechanism), None),
        }
    }

    /// Reads an entry that has a value; `None` if it is damaged or of a newer program.
    pub(super) fn from_entry(key: &[u8], value: &[u8]) -> Option<Fact> {
        let (mut key, mut value) = (Take::new(key), Take::new(value));
        let kind = key.u8()?;
        if value.u8()? != VERSION {
            return None;
        }
        let fact = match kind {
            ACL => Fact::AclAdded(Acl {
                kind: ResourceKind::from_code(code(&mut key)?)?,
                pattern: Pattern::from_code(code(&mut key)?)?,
                name: key.text()?,
                rule: Rule {
                    principal: key.text()?,
                    host: key.text()?,
                    operation: Operation::from_code(code(&mut key)?)?,
                    permission: Permission::from_code(code(&mut key)?)?,
                },
            }),
            SCRAM => {
                let user = key.text()?;
                let mechanism = ScramMechanism::from_code(code(&mut key)?)?;
                let iterations = value.u32()?;
                let credential = Credential {
                    mechanism,
                    iterations,
                    salt: value.slice()?.to_vec(),
                    stored_key: value.slice()?.to_vec(),
                    server_key: value.slice()?.to_vec(),
                };
                Fact::CredentialSet { user, credential }
            }
            _ => return None,
        };
        (key.is_done() && value.is_done()).then_some(fact)
    }
}

fn code(key: &mut Take<'_>) -> Option<i8> {
    i8::try_from(key.u8()?).ok()
}

fn acl_key(acl: &Acl) -> Bytes {
    let mut key = vec![ACL, acl.kind as u8, acl.pattern as u8];
    key.put_text(&acl.name);
    key.put_text(&acl.rule.principal);
    key.put_text(&acl.rule.host);
    key.extend([acl.rule.operation as u8, acl.rule.permission as u8]);
    key.into()
}

fn credential_key(user: &str, mechanism: ScramMechanism) -> Bytes {
    let mut key = vec![SCRAM];
    key.put_text(user);
    key.push(mechanism as u8);
    key.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> [Fact; 2] {
        [
            Fact::AclAdded(Acl {
                kind: ResourceKind::Topic,
                name: "payments".into(),
                pattern: Pattern::Prefixed,
                rule: Rule {
                    principal: "User:alice".into(),
                    host: "*".into(),
                    operation: Operation::Write,
                    permission: Permission::Deny,
                },
            }),
            Fact::CredentialSet {
                user: "bob".into(),
                credential: Credential::from_password(ScramMechanism::Sha512, "x", b"salt"),
            },
        ]
    }

    #[test]
    fn facts_read_back_and_no_part_of_one_does() {
        for fact in facts() {
            let (key, value) = fact.to_entry();
            let value = value.unwrap();
            assert!(is_about_access(&key));
            let again = Fact::from_entry(&key, &value).expect("it reads back").to_entry();
            assert_eq!(again, (key.clone(), Some(value.clone())));
            for cut in 0..key.len() {
                assert!(Fact::from_entry(&key[..cut], &value).is_none(), "key cut at {cut}");
            }
            for cut in 0..value.len() {
                assert!(Fact::from_entry(&key, &value[..cut]).is_none(), "value cut at {cut}");
            }
            let longer = [&value[..], &[0]].concat();
            assert!(Fact::from_entry(&key, &longer).is_none());
        }
    }
}
