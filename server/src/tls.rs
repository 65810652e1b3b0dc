//! TLS for the listeners: certificates from PEM files, streams with or without it, and the name in a
//! client's certificate.
//!
//! rustls with ring: TLS 1.2 and 1.3. A file that is missing or holds nothing is an error at start:
//! there is no state in which a listener is meant to be encrypted and is not.

mod name;
mod server;

use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub use server::TlsServer;

use crate::cli::{ClientAuth, TlsArgs};

/// The certificates of a PEM file, at least one.
fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let unreadable = |reason: String| {
        io::Error::other(format!("certificates in {} cannot be used: {reason}", path.display()))
    };
    let read = CertificateDer::pem_file_iter(path).map_err(|e| unreadable(e.to_string()))?;
    let all: Vec<_> = read.collect::<Result<_, _>>().map_err(|e| unreadable(e.to_string()))?;
    if all.is_empty() {
        return Err(unreadable("there is none".into()));
    }
    Ok(all)
}

fn roots(path: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|e| {
            io::Error::other(format!("a certificate in {} cannot be used: {e}", path.display()))
        })?;
    }
    Ok(roots)
}

/// The server's side, from what the command line says.
///
/// # Errors
/// When a file is missing or does not hold what it should.
fn acceptor(args: &TlsArgs) -> io::Result<TlsAcceptor> {
    let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) else {
        return Err(io::Error::other(
            "a listener with TLS needs --tls-cert FILE and --tls-key FILE, both in PEM",
        ));
    };
    let chain = certificates(certificate)?;
    // The reason may hold a part of the file: it is not shown.
    let key = PrivateKeyDer::from_pem_file(key).map_err(|_| {
        io::Error::other(format!("there is no usable private key in {}", key.display()))
    })?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let config = match args.tls_client_auth {
        ClientAuth::None => config.with_no_client_auth(),
        wanted => {
            let Some(ca) = &args.tls_client_ca else {
                return Err(io::Error::other(
                    "--tls-client-auth needs --tls-client-ca FILE: whose client certificates are taken",
                ));
            };
            let provider = Arc::new(ring::default_provider());
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider);
            let verifier = match wanted {
                ClientAuth::Required => verifier,
                _ => verifier.allow_unauthenticated(),
            };
            config.with_client_cert_verifier(verifier.build().map_err(io::Error::other)?)
        }
    };
    let config = config.with_single_cert(chain, key).map_err(|e| {
        io::Error::other(format!("the certificate and the private key cannot be used: {e}"))
    })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The client's side: servers are trusted whose certificate comes from this file's.
///
/// # Errors
/// When the file is missing or does not hold certificates.
pub fn connector(ca: &Path) -> io::Result<TlsConnector> {
    Ok(TlsConnector::from(Arc::new(client_config(ca)?)))
}

fn client_config(ca: &Path) -> io::Result<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(config.with_root_certificates(roots(ca)?).with_no_client_auth())
}

/// The client's side of a blocking connection; see [`connector`].
///
/// # Errors
/// When the file does not hold certificates, or the host is no name.
pub fn over(tcp: std::net::TcpStream, host: &str, ca: &Path) -> io::Result<BlockingTls> {
    let config = client_config(ca)?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, tcp))
}

/// A blocking client's connection with TLS.
pub type BlockingTls = StreamOwned<ClientConnection, std::net::TcpStream>;

/// A connection, encrypted or not.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

impl Stream {
    /// `User:` and the subject of the certificate that the client showed, if it showed one.
    pub fn principal(&self) -> Option<String> {
        let Stream::Tls(tls) = self else { return None };
        let certificates = tls.get_ref().1.peer_certificates()?;
        Some(format!("User:{}", name::subject(certificates.first()?)?))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, pieces),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(tcp) => tcp.is_write_vectored(),
            Stream::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
        }
    }
}
