//! From the command line to a guarded node: which listeners, whether ACLs count, the first users.
//!
//! ACLs count as soon as any listener authenticates its clients (SASL, or required client
//! certificates), or with `--authorize`: then nothing is allowed that no ACL allows, also on plain
//! loopback listeners, whose clients are `User:ANONYMOUS`. Somebody must be able to begin: a super
//! user, or `admin`, whose password is in the environment.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use millstream_storage::Broker;
use millstream_storage::kafka::{KafkaNode, Listener};
use millstream_storage::security::scram::{Credential, ScramMechanism};
use millstream_storage::security::{AccessConfig, SaslMechanism};

use crate::cli::{ClientAuth, Secret, SecurityArgs};
use crate::listeners::{Advertised, ListenerSpec, Protocol};
use crate::tls::TlsServer;

/// The user whose password [`SecurityArgs::admin_password`] is.
const ADMIN: &str = "admin";

/// A user file is never longer, in bytes.
const USER_FILE_MAX: u64 = 1 << 20;

/// Everything about security that a server is started with.
#[derive(Clone, Debug, Default)]
pub struct Security {
    pub listeners: Vec<ListenerSpec>,
    advertised: Vec<Advertised>,
    args: SecurityArgs,
    mechanisms: Vec<SaslMechanism>,
    users: Vec<(String, Secret)>,
    pub access: AccessConfig,
    tls: Option<TlsServer>,
}

impl Security {
    /// Reads files and checks what can be checked before anything is started.
    ///
    /// # Errors
    /// When something is missing, unreadable or makes no sense: nothing is weakened silently.
    pub fn from_args(args: SecurityArgs, insecure: bool) -> io::Result<Security> {
        let client_auth = args.tls.tls_client_auth;
        let mut names = BTreeSet::new();
        for listener in &args.kafka_listener {
            listener.check(client_auth, insecure)?;
            if !names.insert(&listener.name) {
                return Err(io::Error::other(format!(
                    "two listeners are called {}; name them, like OUTSIDE:{}://{}",
                    listener.name,
                    listener.protocol.name(),
                    listener.address
                )));
            }
        }
        for advertised in &args.advertised_listener {
            if !names.contains(&advertised.name) {
                return Err(io::Error::other(format!(
                    "--advertised-listener {}: there is no listener of that name",
                    advertised.name
                )));
            }
        }
        let needs_tls =
            args.http_tls || args.kafka_listener.iter().any(|listener| listener.protocol.has_tls());
        let tls = needs_tls.then(|| TlsServer::new(&args.tls)).transpose()?;
        let mechanisms = mechanisms(&args.sasl_mechanisms)?;
        let mut users = match &args.sasl_user_file {
            Some(file) => read_users(file)?,
            None => Vec::new(),
        };
        let mut super_users: BTreeSet<String> = args.super_user.iter().cloned().collect();
        if let Some(bad) = super_users.iter().find(|principal| !principal.starts_with("User:")) {
            return Err(io::Error::other(format!(
                "--super-user {bad}: a principal is like User:alice"
            )));
        }
        if let Some(password) = &args.admin_password {
            if password.reveal().is_empty() {
                return Err(io::Error::other("MILLSTREAM_ADMIN_PASSWORD is empty"));
            }
            users.push((ADMIN.to_owned(), password.clone()));
            super_users.insert(format!("User:{ADMIN}"));
        }
        let authenticates = args.kafka_listener.iter().any(|l| l.authenticates(client_auth));
        let access = AccessConfig {
            enforced: args.authorize || authenticates,
            super_users,
            reauthenticate_ms: args.connections_max_reauth_ms.into(),
            failed_login_delay_ms: args.failed_authentication_delay_ms.into(),
        };
        if access.enforced && access.super_users.is_empty() {
            tracing::warn!(
                "ACLs count and there is no super user: only what ACLs already allow can be done. \
                 Name one with --super-user User:NAME or set MILLSTREAM_ADMIN_PASSWORD"
            );
        }
        Ok(Security {
            listeners: args.kafka_listener.clone(),
            advertised: args.advertised_listener.clone(),
            args,
            mechanisms,
            users,
            access,
            tls,
        })
    }

    /// Whether SQL over HTTP asks who its clients are.
    pub fn is_enforced(&self) -> bool {
        self.access.enforced
    }

    /// TLS for SQL over HTTP, if it is wanted.
    pub fn http_tls(&self) -> Option<TlsServer> {
        self.tls.as_ref().filter(|_| self.args.http_tls).cloned()
    }

    /// TLS for a listener, if its protocol has it.
    pub fn tls_of(&self, protocol: Protocol) -> Option<TlsServer> {
        self.tls.as_ref().filter(|_| protocol.has_tls()).cloned()
    }

    /// How a listener presents itself, bound to `port`.
    pub fn listener(&self, spec: &ListenerSpec, port: u16) -> Arc<Listener> {
        let advertised = self.advertised.iter().find(|advertised| advertised.name == spec.name);
        let sasl = if spec.protocol.has_sasl() { self.mechanisms.clone() } else { Vec::new() };
        Arc::new(Listener {
            advertised_host: match advertised {
                Some(advertised) => advertised.host.clone(),
                None => spec.address.ip().to_string(),
            },
            advertised_port: advertised.map_or(port, |advertised| advertised.port),
            sasl,
        })
    }

    /// Whether clients of this listener are known by their certificates.
    pub fn client_auth(&self) -> ClientAuth {
        self.args.tls.tls_client_auth
    }

    /// Makes the users that the command line names, durably. One whose password is what it should
    /// be is left alone.
    ///
    /// # Errors
    /// When the journal does not take them.
    pub fn make_users(&self, node: &KafkaNode, broker: &Broker) -> io::Result<()> {
        let mut set = Vec::new();
        for (user, password) in &self.users {
            for mechanism in ScramMechanism::ALL {
                let known = node.access().credential(user, mechanism);
                if known.is_some_and(|known| known.is_password(password.reveal())) {
                    continue;
                }
                let salt = uuid::Uuid::new_v4();
                let credential =
                    Credential::from_password(mechanism, password.reveal(), salt.as_bytes());
                set.push((user.clone(), credential));
            }
        }
        let made = node.access().change_users(broker, set, Vec::new());
        let ticket = made.map_err(|code| io::Error::other(format!("users: {code:?}")))?;
        broker.wait_durable(ticket).map_err(|e| io::Error::other(e.to_string()))
    }
}

fn mechanisms(names: &[String]) -> io::Result<Vec<SaslMechanism>> {
    let named = |name: &String| {
        SaslMechanism::named(name.trim()).ok_or_else(|| {
            io::Error::other(format!(
                "--sasl-mechanisms {name}: there are SCRAM-SHA-512, SCRAM-SHA-256 and PLAIN"
            ))
        })
    };
    names.iter().map(named).collect()
}

/// `name:password` on each line; empty lines and those that begin with `#` are passed over.
fn read_users(path: &Path) -> io::Result<Vec<(String, Secret)>> {
    let failed = |reason: &dyn std::fmt::Display| {
        io::Error::other(format!("--sasl-user-file {}: {reason}", path.display()))
    };
    let length = std::fs::metadata(path).map_err(|e| failed(&e))?.len();
    if length > USER_FILE_MAX {
        return Err(failed(&"it is longer than a megabyte"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| failed(&e))?;
    let mut users = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        // What is wrong with a line is told without the line: it holds a password.
        match line.split_once(':') {
            Some((name, password)) if !name.is_empty() && !password.is_empty() => {
                users.push((name.to_owned(), password.into()));
            }
            _ => return Err(failed(&format!("line {} is not name:password", at + 1))),
        }
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_file_is_read_and_a_bad_line_is_told_without_its_text() {
        let path = std::env::temp_dir().join(format!("millstream-users-{}", std::process::id()));
        std::fs::write(&path, "# people\nalice:won:der\n\nbob:b\n").unwrap();
        let users = read_users(&path).unwrap();
        let users: Vec<_> = users.iter().map(|(n, p)| (n.as_str(), p.reveal())).collect();
        assert_eq!(users, [("alice", "won:der"), ("bob", "b")]);
        std::fs::write(&path, "alice:a\nhunter2\n").unwrap();
        let told = read_users(&path).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(told.contains("line 2") && !told.contains("hunter2"), "{told}");
        assert_eq!(format!("{:?}", Secret::from("hunter2")), "***");
    }

    #[test]
    fn what_is_missing_is_told_before_anything_starts() {
        let listener = |text: &str| SecurityArgs {
            kafka_listener: vec![text.parse().unwrap()],
            ..SecurityArgs::default()
        };
        for (args, word) in [
            (listener("SSL://127.0.0.1:0"), "--tls-cert"),
            (listener("PLAINTEXT://0.0.0.0:0"), "--insecure-no-auth"),
            (SecurityArgs { http_tls: true, ..SecurityArgs::default() }, "--tls-cert"),
            (
                SecurityArgs {
                    sasl_mechanisms: vec!["GSSAPI".into()],
                    ..listener("SASL_PLAINTEXT://127.0.0.1:0")
                },
                "GSSAPI",
            ),
            (
                SecurityArgs { super_user: vec!["root".into()], ..SecurityArgs::default() },
                "User:alice",
            ),
            (
                SecurityArgs {
                    advertised_listener: vec!["SSL://h:1".parse().unwrap()],
                    ..SecurityArgs::default()
                },
                "no listener",
            ),
        ] {
            let told = Security::from_args(args, false).unwrap_err().to_string();
            assert!(told.contains(word), "{told}");
        }
        let open = Security::from_args(SecurityArgs::default(), false).unwrap();
        assert!(!open.is_enforced());
        let sasl = Security::from_args(listener("SASL_PLAINTEXT://127.0.0.1:0"), false).unwrap();
        assert!(sasl.is_enforced(), "a listener that authenticates makes ACLs count");
    }
}
