//! The shell's side of SQL over HTTP: one request, an answer as JSON or as a stream of lines.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::cli::LoginArgs;
use crate::tls;

/// Where SQL is unless the address says otherwise.
const DEFAULT_PORT: u16 = 8088;

/// A line of an answer is never taken longer than this.
const LINE_BYTES_MAX: usize = 64 << 20;

/// A running server, and what this shell's user has SET and DEFINEd.
pub struct SqlClient {
    base: String,
    /// `host:port`.
    authority: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// What goes into `Authorization`.
    login: Option<HeaderValue>,
    pub properties: Map<String, Value>,
    pub variables: Map<String, Value>,
}

/// The lines of a streaming answer.
pub struct Lines {
    body: Incoming,
    buffer: BytesMut,
    ended: bool,
}

impl SqlClient {
    /// A server at `http://host:port`, without a login.
    pub fn new(server: &str) -> SqlClient {
        let base = server.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        let rest = base.split_once("://").map_or(base.as_str(), |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or(rest);
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:{DEFAULT_PORT}") };
        SqlClient { base, authority, tls: None, login: None, properties: Map::new(), variables: Map::new() }
    }

    /// A server at `http://…` or `https://…`, as this user.
    ///
    /// # Errors
    /// When https is asked for and there is nothing to trust its certificate by.
    pub fn with_login(server: &str, login: &LoginArgs) -> io::Result<SqlClient> {
        let mut client = SqlClient::new(server);
        if client.base.starts_with("https://") {
            let Some(ca) = &login.ca else {
                return Err(io::Error::other(
                    "https needs --ca FILE: the certificates, in PEM, that the server's is trusted by",
                ));
            };
            let host = client.authority.rsplit_once(':').map_or("", |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            client.tls = Some((tls::connector(ca)?, name));
        }
        if let Some(user) = &login.user {
            let password = login.password()?;
            let pair = BASE64.encode(format!("{user}:{}", password.reveal()));
            let mut value = HeaderValue::try_from(format!("Basic {pair}")).map_err(io::Error::other)?;
            value.set_sensitive(true);
            client.login = Some(value);
        }
        Ok(client)
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> io::Result<Response<Incoming>> {
        let bytes = body.map_or_else(Bytes::new, |b| Bytes::from(b.to_string()));
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(login) = &self.login {
            request = request.header(header::AUTHORIZATION, login);
        }
        let request = request.body(Full::new(bytes)).map_err(io::Error::other)?;
        let answered = match self.connect().await {
            Ok(mut sender) => sender.send_request(request).await.map_err(io::Error::other),
            Err(e) => Err(e),
        };
        let response = answered.map_err(|e| {
            io::Error::other(format!(
                "no answer from {}: {e}. Start the server with `millstream server`, or say where it is with --server",
                self.base
            ))
        })?;
        match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let told = collect_json(response).await?;
                let message = told["message"].as_str().unwrap_or("the server asks for a user and a password");
                Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!("{message} (--user, MILLSTREAM_PASSWORD)"),
                ))
            }
            _ => Ok(response),
        }
    }

    /// A connection for one request.
    async fn connect(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        let tcp = TcpStream::connect(&self.authority).await?;
        let _ = tcp.set_nodelay(true);
        match &self.tls {
            None => talk(TokioIo::new(tcp)).await,
            Some((tls, name)) => talk(TokioIo::new(tls.connect(name.clone(), tcp).await?)).await,
        }
    }

    /// `GET path` as JSON.
    ///
    /// # Errors
    /// When the server does not answer with JSON.
    pub async fn get(&self, path: &str) -> io::Result<Value> {
        let response = self.send(Method::GET, path, None).await?;
        collect_json(response).await
    }

    /// Statements to `/ksql`: the entities, or the error object.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn execute(&self, sql: &str) -> io::Result<Value> {
        let body = json!({
            "ksql": sql,
            "streamsProperties": self.properties,
            "sessionVariables": self.variables,
        });
        collect_json(self.send(Method::POST, "/ksql", Some(body)).await?).await
    }

    /// A query to `/query-stream`: its lines, or the error object.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn query(&self, sql: &str) -> io::Result<Result<Lines, Value>> {
        let body = json!({
            "sql": sql,
            "properties": self.properties,
            "sessionVariables": self.variables,
        });
        let response = self.send(Method::POST, "/query-stream", Some(body)).await?;
        if !response.status().is_success() {
            return Ok(Err(collect_json(response).await?));
        }
        Ok(Ok(Lines { body: response.into_body(), buffer: BytesMut::new(), ended: false }))
    }

    /// Ends a push query on the server.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn close(&self, query_id: &str) -> io::Result<()> {
        self.send(Method::POST, "/close-query", Some(json!({ "queryId": query_id }))).await.map(|_| ())
    }
}

async fn talk<T>(stream: T) -> io::Result<SendRequest<Full<Bytes>>>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
    // It ends when the answer is read to its end, or dropped.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

async fn collect_json(response: Response<Incoming>) -> io::Result<Value> {
    let body = response.into_body().collect().await.map_err(io::Error::other)?;
    serde_json::from_reader(body.aggregate().reader()).map_err(io::Error::other)
}

impl Lines {
    /// The next line without its end, or `None` after the last.
    ///
    /// # Errors
    /// When the connection broke or a line is absurdly long.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(at) = self.buffer.iter().position(|b| *b == b'\n') {
                let line = self.buffer.split_to(at).freeze();
                self.buffer.advance(1);
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Some(line));
            }
            if self.ended {
                let rest = self.buffer.split().freeze();
                return Ok((!rest.iter().all(u8::is_ascii_whitespace)).then_some(rest));
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(io::Error::other("the server sent a line without end"));
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                None => self.ended = true,
            }
        }
    }
}
