//! Users and ACLs of a node: what is durable, what a login needs, what is never told.

use std::sync::Arc;

use uuid::Uuid;

use super::acls::{PatternFilter, Rule};
use super::resource::{Pattern, Permission};
use super::sasl::{Exchange, SaslStep};
use super::scram::client;
use super::*;
use crate::broker::{WakeKey, Wakes};
use crate::config::StorageConfig;
use crate::disk::MemDisk;

struct NoWakes;

impl Wakes for NoWakes {
    fn wake(&self, _: WakeKey) {}
}

fn open(disk: &Arc<MemDisk>) -> (Broker, Access) {
    let config = StorageConfig { journal_file_bytes: 64 << 10, ..StorageConfig::default() };
    let (broker, recovered) =
        Broker::open(disk.clone(), config, 1, Uuid::from_u128(7), Arc::new(NoWakes)).unwrap();
    let config = AccessConfig {
        enforced: true,
        super_users: ["User:root".to_owned()].into(),
        ..AccessConfig::default()
    };
    let access = Access::new(config, &recovered.groups, [7; 32]).unwrap();
    (broker, access)
}

fn user(access: &Access, broker: &Broker, name: &str, password: &str) {
    let credentials = ScramMechanism::ALL
        .map(|m| (name.to_owned(), Credential::from_password(m, password, b"salt-of-16-bytes")));
    access.change_users(broker, credentials.into(), Vec::new()).unwrap();
}

/// Plays the client's part of a login.
fn login(access: &Access, mechanism: SaslMechanism, user: &str, password: &str) -> Option<String> {
    let mut exchange = Exchange::new(mechanism);
    let step = match mechanism {
        SaslMechanism::Plain => {
            exchange.next(access, format!("\0{user}\0{password}").as_bytes(), "n")
        }
        SaslMechanism::Scram(scram) => {
            let first = client::first(user, "client");
            let SaslStep::Challenge(answer) = exchange.next(access, &first, "server") else {
                panic!("the first message is always answered");
            };
            let last = client::last(scram, &first, password, &answer);
            exchange.next(access, &last, "unused")
        }
    };
    match step {
        SaslStep::Done { user, .. } => Some(user),
        SaslStep::Failed => None,
        SaslStep::Challenge(_) => panic!("a login ends with the last message"),
    }
}

#[test]
fn a_login_needs_the_users_own_password_and_survives_a_restart() {
    let disk = Arc::new(MemDisk::new());
    let (broker, access) = open(&disk);
    user(&access, &broker, "alice", "wonder");
    user(&access, &broker, "bob", "build");
    broker.commit_pending(2).unwrap();
    drop(broker);

    let (broker, access) = open(&disk);
    for mechanism in SaslMechanism::ALL {
        for (name, password, expected) in [
            ("alice", "wonder", true),
            ("bob", "build", true),
            ("alice", "build", false),
            ("alice", "", false),
            ("carol", "wonder", false),
            ("User:alice", "wonder", false),
        ] {
            for _ in 0..2 {
                let done = login(&access, mechanism, name, password);
                assert_eq!(done.is_some(), expected, "{mechanism:?} {name} {password}");
            }
        }
    }
    // A changed password counts at once, also where the old one was remembered.
    user(&access, &broker, "alice", "changed");
    assert_eq!(login(&access, SaslMechanism::Plain, "alice", "wonder"), None);
    assert!(login(&access, SaslMechanism::Plain, "alice", "changed").is_some());
    let gone = ScramMechanism::ALL.map(|mechanism| ("alice".to_owned(), mechanism));
    access.change_users(&broker, Vec::new(), gone.to_vec()).unwrap();
    assert_eq!(login(&access, SaslMechanism::Plain, "alice", "changed"), None);
    let again = access.change_users(&broker, Vec::new(), gone.to_vec());
    assert_eq!(again, Err(ErrorCode::ResourceNotFound));
}

#[test]
fn malformed_plain_messages_log_nobody_in() {
    let disk = Arc::new(MemDisk::new());
    let (broker, access) = open(&disk);
    user(&access, &broker, "alice", "wonder");
    for message in [
        &b"\0alice\0wonder\0"[..],
        b"alice\0wonder",
        b"bob\0alice\0wonder",
        b"\0alice",
        b"",
        b"\0\0wonder",
        b"\0alice\0",
        b"\0alice\0\xff",
    ] {
        let step = Exchange::new(SaslMechanism::Plain).next(&access, message, "n");
        assert!(matches!(step, SaslStep::Failed), "{message:?}");
    }
    let step = Exchange::new(SaslMechanism::Plain).next(&access, b"alice\0alice\0wonder", "n");
    assert!(matches!(step, SaslStep::Done { user, .. } if user == "alice"));
}

#[test]
fn acls_are_durable_and_super_users_need_none() {
    let disk = Arc::new(MemDisk::new());
    let (broker, access) = open(&disk);
    let acl = Acl {
        kind: ResourceKind::Topic,
        name: "t".into(),
        pattern: Pattern::Literal,
        rule: Rule {
            principal: "User:alice".into(),
            host: "*".into(),
            operation: Operation::Read,
            permission: Permission::Allow,
        },
    };
    access.add_acls(&broker, vec![acl.clone()]).unwrap();
    let again = access.add_acls(&broker, vec![acl.clone()]).unwrap();
    assert_eq!(again, access.ticket(), "an ACL that is there already changes nothing");
    broker.commit_pending(2).unwrap();
    drop(broker);

    let (broker, access) = open(&disk);
    let asks = |principal: &str, operation| {
        let who = Who { principal, host: "1.1.1.1" };
        access.allows(who, operation, Resource::topic("t"))
    };
    assert!(asks("User:alice", Operation::Read) && asks("User:alice", Operation::Describe));
    assert!(!asks("User:alice", Operation::Write) && !asks(ANONYMOUS, Operation::Read));
    assert!(asks("User:root", Operation::Delete));
    let who = Who { principal: "User:alice", host: "1.1.1.1" };
    assert_eq!(access.operations(who, Resource::topic("t")), 1 << 3 | 1 << 8);

    let filter = Filter { pattern: PatternFilter::Any, ..Filter::default() };
    let (_, removed) = access.remove_acls(&broker, &[filter.clone(), filter]).unwrap();
    assert_eq!(removed, [vec![acl.clone()], vec![acl]]);
    assert!(!access.allows(who, Operation::Read, Resource::topic("t")));
}
