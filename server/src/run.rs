//! Start and stop of a server: the node, its listeners, and the order in which they come and go.
//!
//! Listeners are bound before anything is recovered, so that a port in use is told at once; they are
//! served once the node is open. On stop they close first, then queries finish their epoch, then the
//! journal is checkpointed and the lock released.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millstream_connectors::session::{Node, NodeConfig};
use millstream_storage::kafka::KafkaConfig;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::{Durability, ServerArgs};
use crate::clock::SystemClock;
use crate::http::{self, App};
use crate::kafka_listener::{self, Door, Limits, WakeHub};
use crate::metrics::Metrics;
use crate::security::Security;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// How long open connections may take to end on a clean stop.
const STOP_GRACE: Duration = Duration::from_secs(5);

pub struct ServerConfig {
    pub data_dir: PathBuf,
    pub kafka: SocketAddr,
    pub http: SocketAddr,
    pub advertised_host: Option<String>,
    pub durability: Durability,
    pub default_partitions: u32,
    /// Settings of the Kafka broker under Kafka's names.
    pub kafka_settings: Vec<(String, String)>,
    pub no_queries: bool,
    /// Rows an epoch takes of a backlog; the engine's default unless given.
    pub epoch_rows: Option<u32>,
    /// How many threads step queries; as many as there are cores unless given.
    pub parallelism: Option<u16>,
    pub security: Security,
    pub limits: Limits,
}

/// A server that is up.
pub struct Running {
    pub kafka: SocketAddr,
    pub http: SocketAddr,
    node: Arc<Node>,
    shutdown: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl ServerConfig {
    /// # Errors
    /// When an address is reachable from outside without encryption and authentication, and nobody
    /// said that this is wanted; when security is asked for that cannot be had.
    pub fn from_args(args: ServerArgs) -> io::Result<ServerConfig> {
        let security = Security::from_args(args.security, args.insecure_no_auth)?;
        let http_is_safe = security.http_tls().is_some() && security.is_enforced();
        for (what, flag, address, safe, remedy) in [
            (
                "Kafka",
                "--kafka",
                args.kafka,
                false,
                "add --kafka-listener SASL_SSL://ADDRESS:PORT for others",
            ),
            ("SQL", "--http", args.http, http_is_safe, "use --http-tls together with users"),
        ] {
            if !address.ip().is_loopback() && !safe && !args.insecure_no_auth {
                return Err(io::Error::other(format!(
                    "{what} would listen on {address}, which other machines can reach, without encryption or authentication.\n\
                     Listen on loopback ({flag} 127.0.0.1:{}) and {remedy}, or accept the risk with --insecure-no-auth.",
                    address.port()
                )));
            }
        }
        Ok(ServerConfig {
            data_dir: args.data_dir,
            kafka: args.kafka,
            http: args.http,
            advertised_host: args.advertised_host,
            durability: args.durability,
            default_partitions: args.default_partitions,
            kafka_settings: args.kafka_setting,
            no_queries: args.no_queries,
            epoch_rows: Some(args.limits.epoch_rows),
            parallelism: args.limits.parallelism,
            security,
            limits: Limits {
                connections_max: args.limits.max_connections,
                connections_per_ip_max: args.limits.max_connections_per_ip,
                request_bytes_max: args.limits.socket_request_max_bytes,
                queued_bytes_max: args.limits.queued_max_request_bytes,
                idle: Duration::from_millis(args.limits.connections_max_idle_ms),
                ..Limits::default()
            },
        })
    }
}

async fn bind(what: &str, address: SocketAddr) -> io::Result<TcpListener> {
    let listening = async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        // Inherited by what is accepted: peers that vanished without a word are noticed.
        socket.set_keepalive(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listening.await.map_err(|e| {
        io::Error::new(e.kind(), format!("cannot listen for {what} on {address}: {e}. Is another server running? Choose another port."))
    })
}

/// Logs to standard error; `RUST_LOG` overrides what.
pub fn log_to_stderr(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}

/// Starts a server; it is up when this returns.
///
/// # Errors
/// When a port is taken, the data directory is in use or damaged.
pub async fn start(config: ServerConfig) -> io::Result<Running> {
    let kafka = bind("Kafka", config.kafka).await?;
    let http = bind("SQL", config.http).await?;
    let (kafka_address, http_address) = (kafka.local_addr()?, http.local_addr()?);
    let mut guarded = Vec::new();
    for spec in &config.security.listeners {
        let listener = bind("Kafka", spec.address).await?;
        let port = listener.local_addr()?.port();
        guarded.push((spec.clone(), listener, port));
    }
    let hub = Arc::new(WakeHub::new());
    let node = {
        let hub = hub.clone();
        let default = NodeConfig::default();
        let epoch_rows = config.epoch_rows.map(|rows| rows as usize);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let node_config = NodeConfig {
            data_dir: config.data_dir,
            durability: match config.durability {
                Durability::Fsync => millstream_storage::Durability::Fsync,
                Durability::Os => millstream_storage::Durability::Os,
            },
            default_partitions: config.default_partitions,
            start_queries: !config.no_queries,
            epoch_rows: epoch_rows.unwrap_or(default.epoch_rows),
            parallelism: config.parallelism.map_or(cores, usize::from),
            ..default
        };
        tokio::task::spawn_blocking(move || Node::open(node_config, Arc::new(SystemClock), hub))
            .await
            .map_err(io::Error::other)?
            .map_err(|e| io::Error::other(e.to_string()))?
    };

    let shutdown = CancellationToken::new();
    let advertised_host = config.advertised_host.unwrap_or_else(|| kafka_address.ip().to_string());
    let partitions = i32::try_from(config.default_partitions).map_err(io::Error::other)?;
    let security = config.security;
    let mut kafka_config = KafkaConfig {
        default_partitions: partitions,
        access: security.access.clone(),
        ..KafkaConfig::at(&advertised_host, kafka_address.port())
    };
    for (name, value) in &config.kafka_settings {
        kafka_config.set(name, value).map_err(io::Error::other)?;
    }
    let kafka_node = kafka_listener::guarded_node(node.broker().clone(), kafka_config)?;
    tokio::task::spawn_blocking({
        let (security, kafka_node, broker) =
            (security.clone(), kafka_node.clone(), node.broker().clone());
        move || security.make_users(&kafka_node, &broker)
    })
    .await
    .map_err(io::Error::other)??;
    let mut doors = vec![Door::plain(kafka)];
    doors.extend(guarded.into_iter().map(|(spec, listener, port)| Door {
        listener,
        at: Some(security.listener(&spec, port)),
        tls: security.tls_of(spec.protocol),
    }));
    let app = Arc::new(App {
        node: node.clone(),
        metrics: Arc::new(Metrics::default()),
        push_queries: Mutex::default(),
        kafka: kafka_node.clone(),
        shutdown: shutdown.clone(),
    });
    let kafka_task = tokio::spawn(kafka_listener::serve_doors(
        doors,
        kafka_node,
        hub,
        config.limits,
        shutdown.clone(),
    ));
    let http_task = tokio::spawn(async move {
        if let Err(e) = http::serve(http, security.http_tls(), app).await {
            tracing::error!(error = %e, "sql listener failed");
        }
    });
    Ok(Running {
        kafka: kafka_address,
        http: http_address,
        node,
        shutdown,
        tasks: vec![kafka_task, http_task],
    })
}

impl Running {
    /// Clean stop: the next start has nothing to recover.
    pub async fn stop(self) {
        self.shutdown.cancel();
        for task in self.tasks {
            if tokio::time::timeout(STOP_GRACE, task).await.is_err() {
                tracing::warn!("connections were still open after {STOP_GRACE:?}");
            }
        }
        let node = self.node;
        if let Err(e) = tokio::task::spawn_blocking(move || node.shut_down()).await {
            tracing::error!(error = %e, "clean stop failed; the next start recovers");
        }
    }
}

/// Runs a server until SIGTERM or Ctrl-C.
///
/// # Errors
/// When it cannot start.
pub async fn serve(config: ServerConfig) -> io::Result<()> {
    let started = std::time::Instant::now();
    let data_dir = config.data_dir.clone();
    let running = start(config).await?;
    eprintln!(
        "Millstream {} is up after {} ms: Kafka on {}, SQL on http://{}, data in {}\nTry `millstream sql` in another terminal. Ctrl-C stops it.",
        env!("CARGO_PKG_VERSION"),
        started.elapsed().as_millis(),
        running.kafka,
        running.http,
        data_dir.display()
    );
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    eprintln!("Stopping: finishing the running epoch and writing a checkpoint.");
    running.stop().await;
    Ok(())
}
