//! SQL over HTTP, as ksqlDB serves it (`reference/ksqldb.md` §4), HTTP/1.1 and HTTP/2 on one port.
//!
//! | path | what |
//! |---|---|
//! | `POST /ksql` | statements; an array of entities |
//! | `POST /query` | one query, the old format |
//! | `POST /query-stream` | one query, in the format that `Accept` asks for |
//! | `POST /close-query` | ends a push query |
//! | `GET /info`, `/healthcheck`, `/metrics` | who, how, how much |
//!
//! On a loopback address only requests whose `Host` is loopback too are answered, so that a web page
//! cannot reach the server by a name that resolves here.

mod auth;
mod error;
mod info;
mod ksql;
mod query;
mod rows;
mod serve;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use millstream_connectors::session::{Cancel, Node};
use millstream_storage::kafka::KafkaNode;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::tls::TlsServer;

pub(crate) use error::ApiError;

/// The greatest request body taken: statements are text, not data.
const BODY_BYTES_MAX: usize = 2 << 20;

/// What every handler sees.
pub struct App {
    pub node: Arc<Node>,
    pub metrics: Arc<Metrics>,
    /// Push queries that are running, by the id their client was told.
    pub push_queries: Mutex<HashMap<String, Cancel>>,
    /// Knows the users and what they may do.
    pub kafka: Arc<KafkaNode>,
    pub shutdown: CancellationToken,
}

/// Serves until `app.shutdown`; open push queries end then.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, tls: Option<TlsServer>, app: Arc<App>) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    let shutdown = app.shutdown.clone();
    serve::serve(listener, tls, router(app, address), shutdown).await
}

fn router(app: Arc<App>, address: SocketAddr) -> Router {
    let router = Router::new()
        .route("/", get(|| async { Redirect::temporary("/info") }))
        .route("/info", get(info::info))
        .route("/healthcheck", get(info::healthcheck))
        .route("/metrics", get(info::metrics))
        .route("/ksql", post(ksql::execute))
        .route("/query", post(query::query))
        .route("/query-stream", post(query::query_stream))
        .route("/close-query", post(query::close))
        .fallback(|| async { ApiError::not_found() })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(app.clone(), auth::guard))
        .with_state(app);
    if address.ip().is_loopback() { router.layer(middleware::from_fn(only_loopback_hosts)) } else { router }
}

async fn only_loopback_hosts(headers: HeaderMap, request: Request, next: Next) -> Response {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let authority = host.or_else(|| request.uri().authority().map(|a| a.as_str())).unwrap_or("localhost");
    if is_loopback_name(authority) {
        return next.run(request).await;
    }
    let message = format!("Host {authority:?} is not this machine's loopback; use http://127.0.0.1 or http://localhost");
    (StatusCode::MISDIRECTED_REQUEST, message).into_response()
}

/// Whether `host[:port]` is `localhost` or a loopback address.
fn is_loopback_name(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The node of a handler's state.
pub(crate) type AppState = State<Arc<App>>;

#[cfg(test)]
mod tests {
    use super::is_loopback_name;

    #[test]
    fn only_loopback_names_are_loopback() {
        for (name, expected) in [
            ("localhost", true),
            ("LocalHost:8088", true),
            ("127.0.0.1:8088", true),
            ("127.9.9.9", true),
            ("[::1]:8088", true),
            ("example.com", false),
            ("127.0.0.1.example.com:8088", false),
            ("192.168.0.1:8088", false),
            ("", false),
        ] {
            assert_eq!(is_loopback_name(name), expected, "{name}");
        }
    }
}
