//! The HTTP listener: accept, TLS if it is wanted, one task per connection, an end that is clean.
//!
//! A connection that does not send the head of a request in time is closed, and there are never more
//! than [`CONNECTIONS_MAX`].

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::tls::{Stream, TlsServer};

/// HTTP connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1_000;

/// A TLS handshake and the head of a request each have to be there by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Serves until `shutdown`, and then until the open requests are answered.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<TlsServer>,
    router: Router,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "an HTTP connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (tls, router, watcher) = (tls.clone(), router.clone(), graceful.watcher());
        tokio::spawn(async move {
            let stream = match opened(socket, tls).await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%peer, %error, "HTTP connection closed");
                    return;
                }
            };
            let router = TowerToHyperService::new(router);
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(Peer(peer.ip()));
                let answered = router.call(request);
                async move { answered.await as Result<Response<_>, _> }
            });
            let mut builder = Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            builder.http2().timer(TokioTimer::new());
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                tracing::debug!(%peer, %error, "HTTP connection closed");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}

async fn opened(socket: TcpStream, tls: Option<TlsServer>) -> io::Result<Stream> {
    let _ = socket.set_nodelay(true);
    match tls {
        None => Ok(Stream::Plain(socket)),
        Some(tls) => {
            let hello = timeout(PATIENCE, tls.accept(socket)).await;
            let hello = hello.map_err(|_| io::Error::other("no TLS handshake in time"))?;
            Ok(Stream::Tls(Box::new(
                hello.map_err(|e| io::Error::other(format!("TLS handshake: {e}")))?,
            )))
        }
    }
}
