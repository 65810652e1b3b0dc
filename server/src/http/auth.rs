//! Who asks, and whether they may: HTTP's Basic authentication against the node's users, and the same
//! ACLs as on the Kafka side.
//!
//! It lies around all paths, so that none is forgotten:
//!
//! | path | needs |
//! |---|---|
//! | `/healthcheck` | nothing: it tells nothing but whether the server serves |
//! | `/`, `/info` | to be somebody |
//! | `/metrics` | Describe on the cluster |
//! | all others: statements and queries | Alter on the cluster |
//!
//! A statement can read and write any topic, so whoever may run one may do everything that SQL can:
//! Alter on the cluster is the right that Kafka gives to administrators. Without authorization
//! ([`millstream_storage::security::Access::is_enforced`]) everybody may.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use millstream_storage::security::acls::Who;
use millstream_storage::security::{ANONYMOUS, Operation, Resource};
use tokio::sync::Semaphore;

use super::serve::Peer;
use super::{ApiError, App};

/// Passwords are checked by so many threads at a time.
static LOGINS: Semaphore = Semaphore::const_new(2);

/// Lets a request through if its sender may make it.
pub(super) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let access = app.kafka.access();
    let path = request.uri().path();
    if !access.is_enforced() || path == "/healthcheck" {
        return next.run(request).await;
    }
    let principal = match basic(request.headers()) {
        None => ANONYMOUS.to_owned(),
        Some((user, password)) => match check(&app, user, password).await {
            Some(principal) => principal,
            None => {
                let delay = access.config().failed_login_delay_ms;
                tokio::time::sleep(Duration::from_millis(delay)).await;
                tracing::warn!(peer = ?peer(&request), "a login over HTTP failed");
                return unauthorized("The user and the password do not fit.");
            }
        },
    };
    let host = peer(&request);
    let who = Who { principal: &principal, host: &host };
    let needed = match path {
        "/" | "/info" => None,
        "/metrics" => Some(Operation::Describe),
        _ => Some(Operation::Alter),
    };
    let allowed = match needed {
        None => principal != ANONYMOUS || access.allows(who, Operation::Describe, Resource::CLUSTER),
        Some(operation) => access.allows(who, operation, Resource::CLUSTER),
    };
    match allowed {
        true => next.run(request).await,
        false if principal == ANONYMOUS => unauthorized("Say who you are: user and password, as Basic authentication."),
        false => forbidden(&principal, needed.unwrap_or(Operation::Describe)),
    }
}

fn peer(request: &Request) -> String {
    request.extensions().get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default()
}

/// User and password, if the request carries them as it should.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

async fn check(app: &Arc<App>, user: String, password: String) -> Option<String> {
    let _turn = LOGINS.acquire().await.ok()?;
    let kafka = app.kafka.clone();
    let checked = tokio::task::spawn_blocking(move || {
        kafka.access().is_password(&user, &password).then(|| format!("User:{user}"))
    });
    checked.await.ok().flatten()
}

fn unauthorized(message: &str) -> Response {
    let mut response = ApiError::generic(StatusCode::UNAUTHORIZED, 40100, message).into_response();
    let value = header::HeaderValue::from_static("Basic realm=\"millstream\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    response
}

fn forbidden(principal: &str, needed: Operation) -> Response {
    let message = format!(
        "{principal} may not do this: it needs {needed:?} on the cluster. A super user can allow it \
         with Kafka's ACLs (kafka-acls --add --cluster --operation {needed:?} --allow-principal {principal})."
    );
    ApiError::generic(StatusCode::FORBIDDEN, 40300, message).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_authentication_is_read_and_nothing_else() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("a header"));
            basic(&headers)
        };
        // alice:won:der
        let both = Some(("alice".to_owned(), "won:der".to_owned()));
        assert_eq!(read("Basic YWxpY2U6d29uOmRlcg=="), both);
        assert_eq!(read("basic YWxpY2U6d29uOmRlcg=="), both);
        for wrong in ["Bearer YWxpY2U6d29uOmRlcg==", "Basic YWxpY2U=", "Basic !", "Basic", ""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
