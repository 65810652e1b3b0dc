//! SaslHandshake and SaslAuthenticate: how a connection says who it is.
//!
//! Versions
//! - SaslHandshake 0: the tokens that follow are bare, without Kafka's headers; 1: they come in
//!   SaslAuthenticate
//! - SaslAuthenticate 1 tells for how long the login is good (KIP-368), 2 is the first flexible version
//!
//! These change the session, so they are called with it and not with a `Call`. A login that fails
//! says which mechanism failed and nothing else; its answer is held back, and then the connection is
//! closed.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_wire::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};

use super::text;
use crate::error::ErrorCode;
use crate::kafka::Outcome;
use crate::kafka::node::KafkaNode;
use crate::kafka::session::{Login, Session};
use crate::kafka::wire::{self, FrameError, Header};
use crate::security::sasl::{Exchange, SaslMechanism, SaslStep};

pub(in crate::kafka) const HANDSHAKE: i16 = 17;
pub(in crate::kafka) const AUTHENTICATE: i16 = 36;

/// Chooses the mechanism.
pub(in crate::kafka) fn handshake(
    node: &KafkaNode,
    session: &mut Session,
    header: &Header,
    body: Bytes,
) -> Result<Outcome, FrameError> {
    let request: SaslHandshakeRequest = wire::decode(header, body)?;
    let mut response = SaslHandshakeResponse::default();
    let renewed = match &session.login {
        Login::Expected => None,
        Login::Done { mechanism, .. } => Some((session.principal_shared(), *mechanism)),
        Login::Open | Login::Exchanging { .. } => {
            response.error_code = ErrorCode::IllegalSaslState.code();
            return wire::encode(header, &response).map(Outcome::Ready);
        }
    };
    response.mechanisms = session.mechanisms().iter().map(|m| text(m.name())).collect();
    let chosen = SaslMechanism::named(&request.mechanism);
    let Some(mechanism) = chosen.filter(|m| session.mechanisms().contains(m)) else {
        response.error_code = ErrorCode::UnsupportedSaslMechanism.code();
        return refuse(node, wire::encode(header, &response)?);
    };
    let (exchange, raw) = (Exchange::new(mechanism), header.version == 0);
    session.login = Login::Exchanging { exchange, raw, renewed };
    wire::encode(header, &response).map(Outcome::Ready)
}

/// Takes a token in Kafka's frame.
pub(in crate::kafka) fn authenticate(
    node: &KafkaNode,
    session: &mut Session,
    header: &Header,
    body: Bytes,
    now_ms: i64,
) -> Result<Outcome, FrameError> {
    let request: SaslAuthenticateRequest = wire::decode(header, body)?;
    let mut response = SaslAuthenticateResponse::default();
    if !matches!(session.login, Login::Exchanging { raw: false, .. }) {
        response.error_code = ErrorCode::IllegalSaslState.code();
        let message = "SaslAuthenticate without a SaslHandshake before it";
        response.error_message = Some(text(message));
        let answer = wire::encode(header, &response)?;
        return match session.is_logging_in() {
            true => refuse(node, answer),
            false => Ok(Outcome::Ready(answer)),
        };
    }
    match step(node, session, &request.auth_bytes, now_ms) {
        Ok(answer) => {
            response.auth_bytes = answer.into();
            if let Login::Done { until_ms: Some(until_ms), .. } = session.login {
                response.session_lifetime_ms = until_ms.saturating_sub(now_ms);
            }
            wire::encode(header, &response).map(Outcome::Ready)
        }
        Err(message) => {
            response.error_code = ErrorCode::SaslAuthenticationFailed.code();
            response.error_message = Some(text(&message));
            refuse(node, wire::encode(header, &response)?)
        }
    }
}

/// Takes a bare token, as it comes after a handshake of version 0.
pub(in crate::kafka) fn raw_token(
    node: &KafkaNode,
    session: &mut Session,
    token: &Bytes,
    now_ms: i64,
) -> Outcome {
    match step(node, session, token, now_ms) {
        Ok(answer) => {
            let mut frame = BytesMut::with_capacity(4 + answer.len());
            frame.put_u32(answer.len() as u32);
            frame.put_slice(&answer);
            Outcome::Ready(frame.freeze())
        }
        // There is no way to say what is wrong.
        Err(_) => Outcome::Refuse {
            answer: Bytes::new(),
            after_ms: node.access.config().failed_login_delay_ms,
        },
    }
}

/// The next step of the exchange: what to send, or why the login failed.
fn step(
    node: &KafkaNode,
    session: &mut Session,
    token: &[u8],
    now_ms: i64,
) -> Result<Vec<u8>, String> {
    let login = std::mem::replace(&mut session.login, Login::Expected);
    let Login::Exchanging { mut exchange, raw, renewed } = login else {
        return Err("no mechanism was chosen".into());
    };
    let mechanism = exchange.mechanism();
    let host = session.client_host.clone();
    match exchange.next(&node.access, token, &node.fresh_id().simple().to_string()) {
        SaslStep::Challenge(answer) => {
            session.login = Login::Exchanging { exchange, raw, renewed };
            Ok(answer)
        }
        SaslStep::Done { user, answer } => {
            let principal = format!("User:{user}");
            if let Some((before, by)) = renewed
                && (*before != *principal || by != mechanism)
            {
                return Err("a login can be renewed only by the same user and mechanism".into());
            }
            let lifetime = node.access.config().reauthenticate_ms;
            let until_ms = (lifetime > 0).then(|| now_ms.saturating_add(lifetime));
            tracing::debug!(host, principal, mechanism = mechanism.name(), "logged in");
            session.logged_in(principal, Login::Done { mechanism, until_ms });
            Ok(answer)
        }
        SaslStep::Failed => {
            tracing::warn!(host, mechanism = mechanism.name(), "a login failed");
            Err(format!(
                "Authentication failed during authentication due to invalid credentials with SASL mechanism {}",
                mechanism.name()
            ))
        }
    }
}

fn refuse(node: &KafkaNode, answer: Bytes) -> Result<Outcome, FrameError> {
    Ok(Outcome::Refuse { answer, after_ms: node.access.config().failed_login_delay_ms })
}
