//! What is known of one connection: its listener, who is at the other end, how far its login is.
//!
//! ```text
//!            SaslHandshake          SaslAuthenticate*            its time is up
//! (no SASL)      │                        │                           │
//!    Open    Expected ──► Exchanging ──► Done ──► Exchanging ──► Done │ closed
//! ```
//!
//! On a listener that asks for SASL a connection may do nothing but ApiVersions, SaslHandshake and
//! SaslAuthenticate until it is logged in. A login that lasts too long must be renewed, by the same
//! principal and mechanism (KIP-368).

use std::sync::Arc;

use crate::security::acls::Who;
use crate::security::sasl::{Exchange, SaslMechanism};
use crate::security::{ANONYMOUS, Operation, Resource, ResourceKind};

use super::Call;

/// Longest frame of a connection that is not logged in, in bytes.
const LOGIN_FRAME_MAX: usize = 64 << 10;

/// "Not told" in an `authorized_operations` field.
pub(super) const OPERATIONS_UNKNOWN: i32 = i32::MIN;

/// One address that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where clients that came here are told to connect to.
    pub advertised_host: String,
    pub advertised_port: u16,
    /// The ways to log in; without any nobody has to.
    pub sasl: Vec<SaslMechanism>,
}

/// See the head of this file.
pub struct Session {
    /// The peer's address without the port, as DescribeGroups shows it: `/127.0.0.1`.
    pub client_host: String,
    /// `None`: a listener without SASL at the node's own advertised address.
    listener: Option<Arc<Listener>>,
    principal: Arc<str>,
    pub(super) login: Login,
}

pub(super) enum Login {
    /// Nothing to log in to.
    Open,
    /// A mechanism is to be chosen.
    Expected,
    Exchanging {
        exchange: Exchange,
        /// Handshake version 0: tokens come without Kafka's headers.
        raw: bool,
        /// Whose login is being renewed, and by which mechanism.
        renewed: Option<(Arc<str>, SaslMechanism)>,
    },
    Done {
        mechanism: SaslMechanism,
        /// Until when, ms since 1970.
        until_ms: Option<i64>,
    },
}

impl Session {
    /// A connection from `client_host` that needs no login.
    pub fn new(client_host: impl Into<String>) -> Self {
        let (client_host, principal) = (client_host.into(), ANONYMOUS.into());
        Self { client_host, listener: None, principal, login: Login::Open }
    }

    /// A connection to this listener. `principal` is the one of the client's certificate, if it
    /// showed one that was checked.
    pub fn at(listener: Arc<Listener>, client_host: String, principal: Option<String>) -> Self {
        let login = if listener.sasl.is_empty() { Login::Open } else { Login::Expected };
        let principal = principal.as_deref().unwrap_or(ANONYMOUS).into();
        Self { client_host, listener: Some(listener), principal, login }
    }

    /// Who is at the other end: `User:name`.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// Whether the connection still has to log in before it may do anything.
    pub fn is_logging_in(&self) -> bool {
        match &self.login {
            Login::Open | Login::Done { .. } => false,
            Login::Expected => true,
            Login::Exchanging { renewed, .. } => renewed.is_none(),
        }
    }

    /// Longest frame that is taken now, in bytes.
    pub fn frame_max(&self) -> usize {
        if self.is_logging_in() { LOGIN_FRAME_MAX } else { usize::MAX }
    }

    /// Whether the next frame is a bare SASL token.
    pub(super) fn takes_raw_tokens(&self) -> bool {
        matches!(self.login, Login::Exchanging { raw: true, .. })
    }

    /// Whether the login has run out.
    pub(super) fn is_over(&self, now_ms: i64) -> bool {
        matches!(self.login, Login::Done { until_ms: Some(until_ms), .. } if now_ms > until_ms)
    }

    pub(super) fn mechanisms(&self) -> &[SaslMechanism] {
        self.listener.as_ref().map_or(&[], |listener| &listener.sasl)
    }

    pub(super) fn principal_shared(&self) -> Arc<str> {
        self.principal.clone()
    }

    pub(super) fn logged_in(&mut self, principal: String, login: Login) {
        self.principal = principal.into();
        self.login = login;
    }

    /// Who asks, for the authorizer.
    pub fn who(&self) -> Who<'_> {
        let host = self.client_host.strip_prefix('/').unwrap_or(&self.client_host);
        Who { principal: &self.principal, host }
    }
}

impl Call<'_> {
    /// Whether the client may do this: `call.allowed(Operation::Read, Resource::topic(name))`.
    pub(crate) fn allowed(&self, operation: Operation, resource: Resource<'_>) -> bool {
        self.node.access.allows(self.session.who(), operation, resource)
    }

    /// Whether the client may do this to at least one resource of a kind.
    pub(crate) fn allowed_any(&self, operation: Operation, kind: ResourceKind) -> bool {
        self.node.access.allows_any(self.session.who(), operation, kind)
    }

    /// The operations the client is allowed, for an `authorized_operations` field; what says
    /// "not told" if the request did not ask.
    pub(crate) fn operations(&self, asked: bool, resource: Resource<'_>) -> i32 {
        match asked {
            true => self.node.access.operations(self.session.who(), resource),
            false => OPERATIONS_UNKNOWN,
        }
    }

    /// Where this client is told to connect to: the address of the listener it came by.
    pub(crate) fn advertised(&self) -> (&str, u16) {
        let config = &self.node.config;
        match &self.session.listener {
            Some(listener) => (&listener.advertised_host, listener.advertised_port),
            None => (&config.advertised_host, config.advertised_port),
        }
    }
}
