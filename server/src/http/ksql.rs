//! `POST /ksql`: statements in order; the first that fails ends the request.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use millstream_connectors::session::{RequestContext, StatementError};
use serde::Deserialize;
use serde_json::Value;

use super::{ApiError, App, AppState};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KsqlRequest {
    ksql: String,
    #[serde(default)]
    streams_properties: BTreeMap<String, Value>,
    #[serde(default)]
    session_variables: BTreeMap<String, Value>,
}

pub(super) async fn execute(State(app): AppState, body: Bytes) -> Result<Response, ApiError> {
    let request: KsqlRequest = parse_body(&body)?;
    let context = context(request.streams_properties, request.session_variables);
    let executed = blocking(&app, move |app| app.node.session().execute(&request.ksql, &context)).await?;
    let mut entities = Vec::with_capacity(executed.answers.len());
    for answer in &executed.answers {
        entities.push(serde_json::to_value(answer).map_err(|e| ApiError::server(e.to_string()))?);
    }
    app.metrics.statements(executed.answers.len(), executed.error.is_some());
    if let Some(error) = executed.error {
        return Err(statement_error(&error, entities));
    }
    let headers = [(header::CONTENT_TYPE, "application/json")];
    Ok((headers, Value::Array(entities).to_string()).into_response())
}

/// A refused statement as an HTTP error; the message has place, reason and remedy.
pub(super) fn statement_error(error: &StatementError, entities: Vec<Value>) -> ApiError {
    let message = error.error.render(&error.statement);
    ApiError::statement(message, error.error.kind, &error.statement, entities)
}

/// Any content type is taken: clients differ in what they say.
pub(super) fn parse_body<T: for<'a> Deserialize<'a>>(body: &Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|e| ApiError::bad_request(format!("The request body is not as expected: {e}")))
}

pub(super) fn context(properties: BTreeMap<String, Value>, variables: BTreeMap<String, Value>) -> RequestContext {
    RequestContext { properties: texts(properties), variables: texts(variables) }
}

fn texts(values: BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let text = |value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    values.into_iter().map(|(name, value)| (name, text(value))).collect()
}

/// Runs what may block (planning, journaling, reading) outside the tasks that serve sockets.
pub(super) async fn blocking<T: Send + 'static>(
    app: &Arc<App>,
    work: impl FnOnce(&App) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let app = app.clone();
    tokio::task::spawn_blocking(move || work(&app))
        .await
        .map_err(|e| ApiError::server(format!("the request ended abnormally: {e}")))
}
