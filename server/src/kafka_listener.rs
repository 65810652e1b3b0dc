//! The Kafka listeners: accept, let in, and one task per connection.
//!
//! No thread is held by a request that waits: storage says what it waits for, the [`WakeHub`] maps
//! those keys to the connections that wait.
//!
//! Answers leave in the order of the requests. A request that waits for the world (a long poll, a
//! join) holds the next one back, as in Kafka. One that is carried out and waits only for the disk
//! does not: the next is started behind it, so the requests a producer has in flight share a sync.
//!
//! Files: `wake.rs` who waits for what, `admission.rs` how much is let in, `connection.rs` one
//! connection.

mod admission;
mod connection;
mod wake;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millstream_storage::Broker;
use millstream_storage::kafka::{Ids, KafkaConfig, KafkaNode, Listener, Session};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use admission::{Admission, Limits};
use connection::Connection;
pub use wake::WakeHub;

use crate::clock::now_ms;
use crate::tls::{Stream, TlsServer};

/// How often groups are told that time passes.
const TICK: Duration = Duration::from_secs(1);

/// Random ids for storage.
pub struct RandomIds;

impl Ids for RandomIds {
    fn fresh(&self) -> uuid::Uuid {
        uuid::Uuid::new_v4()
    }
}

/// The front door of an open broker, reached at `host` and `port`. To be made once: it owns the
/// broker's groups.
///
/// # Errors
/// When what the journal knows of the groups cannot be read.
pub fn node(
    broker: Arc<Broker>,
    host: &str,
    port: u16,
    default_partitions: i32,
) -> io::Result<Arc<KafkaNode>> {
    guarded_node(broker, KafkaConfig { default_partitions, ..KafkaConfig::at(host, port) })
}

/// The front door of an open broker, with all its settings.
///
/// # Errors
/// When what the journal knows of groups, users or ACLs cannot be read.
pub fn guarded_node(broker: Arc<Broker>, config: KafkaConfig) -> io::Result<Arc<KafkaNode>> {
    let facts = broker.group_facts();
    // Connections call the committer, behind all that has arrived.
    let config = KafkaConfig { commit_held: true, ..config };
    let node = KafkaNode::new(broker, &facts, config, Arc::new(RandomIds), now_ms());
    node.map(Arc::new).map_err(|error| {
        let message = format!("groups, users or ACLs in the journal: {error}");
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

/// One address that is listened on.
pub struct Door {
    pub listener: TcpListener,
    /// `None`: at the node's own advertised address, without SASL.
    pub at: Option<Arc<Listener>>,
    pub tls: Option<TlsServer>,
}

impl Door {
    /// A listener as it comes: neither encrypted nor authenticated.
    pub fn plain(listener: TcpListener) -> Self {
        Self { listener, at: None, tls: None }
    }
}

/// Serves Kafka clients at one address until `shutdown`; returns when the last connection has ended.
pub async fn serve(
    listener: TcpListener,
    node: Arc<KafkaNode>,
    hub: Arc<WakeHub>,
    shutdown: CancellationToken,
) {
    serve_doors(vec![Door::plain(listener)], node, hub, Limits::default(), shutdown).await;
}

/// Serves Kafka clients at all these addresses until `shutdown`; returns when the last connection
/// has ended.
pub async fn serve_doors(
    doors: Vec<Door>,
    node: Arc<KafkaNode>,
    hub: Arc<WakeHub>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let connections = TaskTracker::new();
    let admission = Admission::new(limits);
    for door in doors {
        let server = Server {
            door: Arc::new(door),
            node: node.clone(),
            hub: hub.clone(),
            admission: admission.clone(),
            shutdown: shutdown.clone(),
        };
        connections.spawn(server.accept(connections.clone()));
    }
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = tick.tick() => node.tick(now_ms()),
        }
    }
    connections.close();
    connections.wait().await;
}

#[derive(Clone)]
struct Server {
    door: Arc<Door>,
    node: Arc<KafkaNode>,
    hub: Arc<WakeHub>,
    admission: Arc<Admission>,
    shutdown: CancellationToken,
}

impl Server {
    async fn accept(self, connections: TaskTracker) {
        loop {
            let accepted = tokio::select! {
                () = self.shutdown.cancelled() => return,
                accepted = self.door.listener.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: it passes when connections end.
                    tracing::warn!(%error, "a Kafka connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let entered = match self.admission.enter(peer.ip()) {
                Ok(entered) => entered,
                Err(limit) => {
                    tracing::warn!(%peer, limit, "too many Kafka connections; this one is closed");
                    continue;
                }
            };
            let server = self.clone();
            connections.spawn(async move {
                if let Err(error) = server.talk(socket, peer).await {
                    match error.kind() {
                        // Somebody to be helped, or watched.
                        io::ErrorKind::InvalidData | io::ErrorKind::TimedOut => {
                            tracing::warn!(%peer, %error, "Kafka connection closed");
                        }
                        _ => tracing::debug!(%peer, %error, "Kafka connection closed"),
                    }
                }
                drop(entered);
            });
        }
    }

    async fn talk(self, socket: TcpStream, peer: SocketAddr) -> io::Result<()> {
        // Answers are written whole, so there is nothing to gain from holding small ones back.
        let _ = socket.set_nodelay(true);
        let stream = match &self.door.tls {
            None => Stream::Plain(socket),
            Some(tls) => {
                let hello = tokio::select! {
                    () = self.shutdown.cancelled() => return Ok(()),
                    hello = timeout(self.admission.limits.patience, tls.accept(socket)) => hello,
                };
                let stream = hello
                    .map_err(|_| {
                        io::Error::new(io::ErrorKind::TimedOut, "no TLS handshake in time")
                    })?
                    .map_err(|e| io::Error::new(e.kind(), format!("TLS handshake: {e}")))?;
                Stream::Tls(Box::new(stream))
            }
        };
        let host = format!("/{}", peer.ip());
        let session = match &self.door.at {
            None => Session::new(host),
            Some(at) => Session::at(at.clone(), host, stream.principal()),
        };
        let connection =
            Connection::new(stream, session, self.node.clone(), self.admission.clone(), &self.hub);
        connection.run(self.shutdown.clone()).await
    }
}
