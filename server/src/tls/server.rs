//! The server's side of TLS, which follows its files: a certificate that is renewed is used by the
//! next connection that comes [`LOOK_EVERY`] later, without a restart.
//!
//! Files that are changed and cannot be used (half written, a key of another certificate) leave what
//! was there in force, and say so in the log; they are looked at again when they change again.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::cli::TlsArgs;

/// How often the files are looked at, at most; only when somebody connects.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Accepts connections with TLS. Clones share what was read.
#[derive(Clone)]
pub struct TlsServer {
    args: Arc<TlsArgs>,
    state: Arc<Mutex<State>>,
}

struct State {
    acceptor: TlsAcceptor,
    stamps: Stamps,
    looked: Instant,
}

/// When each file was changed, and its length.
type Stamps = Vec<Option<(SystemTime, u64)>>;

impl std::fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TLS")
    }
}

impl TlsServer {
    /// # Errors
    /// When a file is missing or does not hold what it should.
    pub fn new(args: &TlsArgs) -> io::Result<TlsServer> {
        // Before the files are read: a change while they are is then seen later.
        let stamps = stamps(args);
        let state = State { acceptor: super::acceptor(args)?, stamps, looked: Instant::now() };
        Ok(TlsServer { args: Arc::new(args.clone()), state: Arc::new(Mutex::new(state)) })
    }

    /// The handshake on a fresh connection.
    ///
    /// # Errors
    /// When the peer does not speak TLS, or shows a certificate that is not taken.
    pub async fn accept(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = self.current();
        acceptor.accept(socket).await
    }

    fn current(&self) -> TlsAcceptor {
        let mut state = self.state.lock();
        if state.looked.elapsed() >= LOOK_EVERY {
            state.looked = Instant::now();
            let now = stamps(&self.args);
            if now != state.stamps {
                match super::acceptor(&self.args) {
                    Ok(acceptor) => {
                        tracing::info!("TLS certificates were read again");
                        state.acceptor = acceptor;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "changed TLS files cannot be used; the old ones stay in force");
                    }
                }
                state.stamps = now;
            }
        }
        state.acceptor.clone()
    }
}

fn stamps(args: &TlsArgs) -> Stamps {
    let stamp = |path: &Path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    let files = [&args.tls_cert, &args.tls_key, &args.tls_client_ca];
    files.into_iter().flatten().map(|path| stamp(path)).collect()
}
