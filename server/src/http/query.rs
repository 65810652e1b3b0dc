//! `POST /query-stream`, `/query` and `/close-query`: one query, its rows as they come.
//!
//! A query runs on a thread of the blocking pool that writes pieces of the answer into a channel; the
//! response body is the other end. When the client goes away the channel closes, and the query with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use millstream_connectors::session::{
    Cancel, PrintEvent, PrintLines, PullRows, PushEvent, PushRows, QueryAnswer, RequestContext,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;

use super::ksql::{blocking, context, parse_body, statement_error};
use super::rows::{Format, Writer};
use super::{ApiError, App, AppState};

/// Pieces of an answer that may wait for a slow client; then the query waits.
const PIECES_QUEUED: usize = 64;
/// How often a quiet query looks whether its client is still there.
const IDLE: Duration = Duration::from_millis(200);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StreamRequest {
    #[serde(alias = "ksql")]
    sql: String,
    #[serde(default, alias = "streamsProperties")]
    properties: BTreeMap<String, Value>,
    #[serde(default)]
    session_variables: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CloseRequest {
    query_id: String,
}

pub(super) async fn query_stream(State(app): AppState, headers: HeaderMap, body: Bytes) -> Result<Response, ApiError> {
    let format = match accept(&headers) {
        None | Some("*/*" | "application/vnd.ksqlapi.delimited.v1") => Format::Delimited,
        Some("application/json") => Format::JsonArray,
        Some("application/vnd.ksql.v1+json") => Format::StreamedRows,
        Some(other) => return Err(not_acceptable(other)),
    };
    run(&app, body, format).await
}

pub(super) async fn query(State(app): AppState, headers: HeaderMap, body: Bytes) -> Result<Response, ApiError> {
    let format = match accept(&headers) {
        Some("application/vnd.ksqlapi.delimited.v1") => Format::Delimited,
        None | Some("*/*" | "application/json" | "application/vnd.ksql.v1+json") => Format::OldQuery,
        Some(other) => return Err(not_acceptable(other)),
    };
    run(&app, body, format).await
}

/// The first media type of `Accept`, without parameters.
fn accept(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::ACCEPT)?.to_str().ok()?;
    let first = value.split(',').next()?.split(';').next()?.trim();
    (!first.is_empty()).then_some(first)
}

fn not_acceptable(media_type: &str) -> ApiError {
    let message = format!(
        "There is no answer of type {media_type}; ask for application/vnd.ksqlapi.delimited.v1, application/json or application/vnd.ksql.v1+json."
    );
    ApiError::generic(StatusCode::NOT_ACCEPTABLE, 40600, message)
}

async fn run(app: &Arc<App>, body: Bytes, format: Format) -> Result<Response, ApiError> {
    let request: StreamRequest = parse_body(&body)?;
    let context: RequestContext = context(request.properties, request.session_variables);
    let answer = blocking(app, move |app| app.node.session().query(&request.sql, &context)).await?;
    let answer = answer.map_err(|e| statement_error(&e, Vec::new()))?;

    let (pieces, received) = mpsc::channel::<Bytes>(PIECES_QUEUED);
    let worker = app.clone();
    tokio::task::spawn_blocking(move || match answer {
        QueryAnswer::Pull(rows) => write_pull(&rows, format, &pieces),
        QueryAnswer::Push(rows) => write_push(&worker, &rows, format, &pieces),
        QueryAnswer::Print(lines) => write_print(&worker, &lines, &pieces),
    });
    let body = stream::unfold(received, |mut received| async move {
        received.recv().await.map(|piece| (Ok::<_, std::convert::Infallible>(piece), received))
    });
    let headers = [(header::CONTENT_TYPE, format.media_type())];
    Ok((headers, Body::from_stream(body)).into_response())
}

type Pieces = mpsc::Sender<Bytes>;

/// Sends what was written; false when the client has gone.
fn send(writer: &mut Writer, pieces: &Pieces) -> bool {
    let piece = writer.take();
    piece.is_empty() || pieces.blocking_send(piece).is_ok()
}

fn write_pull(rows: &PullRows, format: Format, pieces: &Pieces) {
    let mut writer = Writer::new(format);
    writer.head(&rows.query_id, &rows.columns);
    for batch in &rows.batches {
        for row in 0..batch.num_rows() {
            writer.row(batch, row, false);
            if writer.is_large() && !send(&mut writer, pieces) {
                return;
            }
        }
    }
    let limit = format == Format::OldQuery && rows.limit_reached;
    writer.end(limit.then_some("Limit Reached"));
    send(&mut writer, pieces);
}

fn write_push(app: &App, rows: &PushRows, format: Format, pieces: &Pieces) {
    let _registered = Registered::new(app, &rows.query_id, rows.cancel.clone());
    let mut writer = Writer::new(format);
    writer.head(&rows.query_id, &rows.columns);
    if !send(&mut writer, pieces) {
        return;
    }
    loop {
        match rows.rows.recv(IDLE) {
            PushEvent::Rows { batch, present, .. } => {
                for row in 0..batch.num_rows() {
                    let tombstone = present.as_ref().is_some_and(|p| !p.value(row));
                    writer.row(&batch, row, tombstone);
                }
                app.metrics.pushed_rows(batch.num_rows());
            }
            PushEvent::Idle if pieces.is_closed() || app.shutdown.is_cancelled() => return,
            PushEvent::Idle => {}
            PushEvent::LimitReached => {
                writer.end(Some("Limit Reached"));
                send(&mut writer, pieces);
                return;
            }
            PushEvent::Ended { error } => {
                if let Some(message) = error {
                    writer.error(ApiError::server(message).body());
                }
                writer.end(Some("Query Completed"));
                send(&mut writer, pieces);
                return;
            }
        }
        if !send(&mut writer, pieces) {
            return;
        }
    }
}

fn write_print(app: &App, lines: &PrintLines, pieces: &Pieces) {
    let _cancel = CancelOnDrop(lines.cancel.clone());
    loop {
        match lines.lines.recv(IDLE) {
            PrintEvent::Line(line) => {
                if pieces.blocking_send(Bytes::from(line + "\n")).is_err() {
                    return;
                }
            }
            PrintEvent::Idle if pieces.is_closed() || app.shutdown.is_cancelled() => return,
            PrintEvent::Idle => {}
            PrintEvent::Ended => return,
        }
    }
}

struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// A running push query, known to `/close-query`; ends with this value.
struct Registered<'a> {
    app: &'a App,
    id: String,
    cancel: Cancel,
}

impl<'a> Registered<'a> {
    fn new(app: &'a App, id: &str, cancel: Cancel) -> Registered<'a> {
        app.push_queries.lock().insert(id.to_owned(), cancel.clone());
        Registered { app, id: id.to_owned(), cancel }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.app.push_queries.lock().remove(&self.id);
        self.cancel.cancel();
    }
}

pub(super) async fn close(State(app): AppState, body: Bytes) -> Result<Response, ApiError> {
    let request: CloseRequest = parse_body(&body)?;
    match app.push_queries.lock().get(&request.query_id) {
        Some(cancel) => {
            cancel.cancel();
            Ok(StatusCode::OK.into_response())
        }
        None => Err(ApiError::bad_request(format!("No push query with id {} is running.", request.query_id))),
    }
}
