//! Logins as a client sees them: what may be asked before, what a failure tells, how it is renewed.

use kafka_wire::{
    ApiVersionsRequest, ListGroupsRequest, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest,
};

use super::*;
use crate::error::ErrorCode;
use crate::security::scram::{Credential, ScramMechanism};
use crate::security::{AccessConfig, SaslMechanism};

/// A client on a listener that asks for a login.
fn at_a_guarded_door() -> Client {
    let access = AccessConfig {
        enforced: true,
        reauthenticate_ms: 60_000,
        failed_login_delay_ms: 100,
        ..AccessConfig::default()
    };
    let mut client = Client::with(Arc::new(MemDisk::new()), |config| config.access = access);
    let credential = Credential::from_password(ScramMechanism::Sha256, "wonder", b"salt");
    let users = vec![("alice".to_owned(), credential.clone()), ("bob".to_owned(), credential)];
    client.node.access.change_users(&client.node.broker, users, Vec::new()).unwrap();
    client.session = guarded();
    client
}

fn guarded() -> Session {
    let listener = Listener {
        advertised_host: "outside".into(),
        advertised_port: 9094,
        sasl: vec![SaslMechanism::Plain, SaslMechanism::Scram(ScramMechanism::Sha256)],
    };
    Session::at(Arc::new(listener), "/10.0.0.1".into(), None)
}

fn handshake(client: &mut Client, version: i16, mechanism: &str) -> Outcome {
    let mut request = SaslHandshakeRequest::default();
    request.mechanism = mechanism.into();
    client.send(version, &request)
}

fn authenticate(client: &mut Client, token: &[u8]) -> Result<SaslAuthenticateResponse, String> {
    let mut request = SaslAuthenticateRequest::default();
    request.auth_bytes = Bytes::copy_from_slice(token);
    match client.send(2, &request) {
        Outcome::Ready(answer) => Ok(read::<SaslAuthenticateRequest>(2, answer)),
        Outcome::Refuse { answer, after_ms } => {
            assert_eq!(after_ms, 100, "a failed login is held back");
            let response = read::<SaslAuthenticateRequest>(2, answer);
            assert_ne!(response.error_code, 0);
            Err(response.error_message.unwrap().to_string())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_but_a_login_is_possible_before_it() {
    let mut client = at_a_guarded_door();
    assert!(matches!(client.send(4, &ListGroupsRequest::default()), Outcome::Close(_)));
    client.ask(4, &ApiVersionsRequest::default());
    assert!(client.session.is_logging_in() && client.session.frame_max() < 1 << 20);

    assert!(matches!(handshake(&mut client, 1, "PLAIN"), Outcome::Ready(_)));
    let response = authenticate(&mut client, b"\0alice\0wonder").unwrap();
    assert_eq!((response.error_code, response.session_lifetime_ms), (0, 60_000));
    assert_eq!(client.session.principal(), "User:alice");
    client.ask(4, &ListGroupsRequest::default());
}

#[test]
fn a_failure_tells_the_mechanism_and_not_the_reason() {
    let mut told = Vec::new();
    for token in [&b"\0alice\0wrong"[..], b"\0carol\0wonder", b"nonsense"] {
        let mut client = at_a_guarded_door();
        handshake(&mut client, 1, "PLAIN");
        told.push(authenticate(&mut client, token).unwrap_err());
        assert_eq!(client.session.principal(), "User:ANONYMOUS");
        assert!(client.session.is_logging_in());
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("PLAIN"), "{told:?}");
}

#[test]
fn unknown_and_unoffered_mechanisms_are_refused_with_the_list() {
    for mechanism in ["GSSAPI", "SCRAM-SHA-512", "plain", ""] {
        let mut client = at_a_guarded_door();
        let Outcome::Refuse { answer, .. } = handshake(&mut client, 1, mechanism) else {
            panic!("{mechanism} was taken");
        };
        let response = read::<SaslHandshakeRequest>(1, answer);
        assert_eq!(response.error_code, ErrorCode::UnsupportedSaslMechanism.code());
        assert_eq!(response.mechanisms.len(), 2);
    }
    let mut client = at_a_guarded_door();
    assert!(authenticate(&mut client, b"\0alice\0wonder").is_err(), "no handshake came before");
}

#[test]
fn after_a_handshake_of_version_0_tokens_are_bare() {
    let mut client = at_a_guarded_door();
    assert!(matches!(handshake(&mut client, 0, "PLAIN"), Outcome::Ready(_)));
    let bare = |client: &mut Client, token: &'static [u8]| {
        handle(&client.node, &mut client.session, Bytes::from_static(token), client.now_ms)
    };
    let Outcome::Ready(answer) = bare(&mut client, b"\0alice\0wonder") else { panic!() };
    assert_eq!(&answer[..], [0, 0, 0, 0]);
    client.ask(4, &ListGroupsRequest::default());

    client.session = guarded();
    handshake(&mut client, 0, "PLAIN");
    let refused = bare(&mut client, b"\0alice\0wrong");
    assert!(matches!(refused, Outcome::Refuse { answer, .. } if answer.is_empty()));
}

#[test]
fn a_login_that_ran_out_is_renewed_by_the_same_user_or_closed() {
    let mut client = at_a_guarded_door();
    let login = |client: &mut Client, token: &[u8]| {
        assert!(matches!(handshake(client, 1, "PLAIN"), Outcome::Ready(_)));
        authenticate(client, token)
    };
    login(&mut client, b"\0alice\0wonder").unwrap();
    client.now_ms += 50_000;
    login(&mut client, b"\0alice\0wonder").unwrap();
    client.now_ms += 50_000;
    client.ask(4, &ListGroupsRequest::default());
    client.now_ms += 20_000;
    assert!(matches!(client.send(4, &ListGroupsRequest::default()), Outcome::Close(_)));
    login(&mut client, b"\0alice\0wonder").unwrap();
    client.ask(4, &ListGroupsRequest::default());
    assert!(login(&mut client, b"\0bob\0wonder").is_err(), "another user took over a connection");
}

#[test]
fn without_sasl_a_handshake_is_out_of_place() {
    let mut client = Client::new();
    let Outcome::Ready(answer) = handshake(&mut client, 1, "PLAIN") else { panic!() };
    let response = read::<SaslHandshakeRequest>(1, answer);
    assert_eq!(response.error_code, ErrorCode::IllegalSaslState.code());
    client.ask(4, &ListGroupsRequest::default());
}
