//! The shell's side of SQL over HTTP: one request, an answer as JSON or as a stream of lines.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::{Map, Value, json};

/// A line of an answer is never taken longer than this.
const LINE_BYTES_MAX: usize = 64 << 20;

/// A running server, and what this shell's user has SET and DEFINEd.
pub struct SqlClient {
    http: Client<HttpConnector, Full<Bytes>>,
    base: String,
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
    pub fn new(server: &str) -> SqlClient {
        let http = Client::builder(TokioExecutor::new()).build_http();
        let base = server.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        SqlClient { http, base, properties: Map::new(), variables: Map::new() }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> io::Result<Response<Incoming>> {
        let uri: Uri = format!("{}{path}", self.base).parse().map_err(io::Error::other)?;
        let bytes = body.map_or_else(Bytes::new, |b| Bytes::from(b.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", "application/json")
            .body(Full::new(bytes))
            .map_err(io::Error::other)?;
        self.http.request(request).await.map_err(|e| {
            io::Error::other(format!(
                "no answer from {}: {e}. Start the server with `millstream server`, or say where it is with --server",
                self.base
            ))
        })
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
