//! The log alone, as a plain Kafka broker: no SQL, no HTTP.
//!
//! ```text
//! cargo run -p millstream --example kafka_only -- 127.0.0.1:9092 /tmp/log [fsync|os]
//! ```
//!
//! Ctrl-C or SIGTERM stops it cleanly; after `kill -9` the next start recovers from the journal.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use millstream::clock::{SystemClock, now_ms};
use millstream::kafka_listener::{WakeHub, node, serve};
use millstream_storage::{Broker, Durability, RealDisk, StorageConfig};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_env_filter("info").with_writer(std::io::stderr).init();
    let mut args = std::env::args().skip(1);
    let address: SocketAddr = args.next().unwrap_or("127.0.0.1:9092".into()).parse()?;
    let data_dir = args.next().unwrap_or("millstream-log".into());
    let durability = match args.next().as_deref() {
        Some("os") => Durability::Os,
        _ => Durability::Fsync,
    };

    let listener = TcpListener::bind(address).await?;
    let hub = Arc::new(WakeHub::new());
    let disk = Arc::new(RealDisk::new(data_dir)?);
    let config = StorageConfig { durability, ..StorageConfig::default() };
    let (broker, _) = Broker::open(disk, config, now_ms(), uuid::Uuid::new_v4(), hub.clone())?;
    let broker = Arc::new(broker);
    let committer = std::thread::spawn({
        let broker = broker.clone();
        move || broker.run_committer(&SystemClock)
    });

    let port = listener.local_addr()?.port();
    let node = node(broker.clone(), &address.ip().to_string(), port, 1)?;
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(serve(listener, node, hub, shutdown.clone()));
    eprintln!("Kafka clients are served on {address}");

    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    shutdown.cancel();
    served.await?;
    broker.shut_down();
    committer.join().map_err(|_| "the committer panicked")??;
    Ok(())
}
