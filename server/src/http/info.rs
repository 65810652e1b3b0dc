//! `GET /info`, `/healthcheck` and `/metrics`.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::AppState;

pub(super) async fn info(State(app): AppState) -> Json<Value> {
    Json(json!({
        "KsqlServerInfo": {
            "version": env!("CARGO_PKG_VERSION"),
            "kafkaClusterId": app.node.cluster_id(),
            "ksqlServiceId": app.node.service_id(),
            "serverStatus": "RUNNING",
        }
    }))
}

/// 200 when the log takes writes and the epoch loop turns; 500 with what is wrong otherwise.
pub(super) async fn healthcheck(State(app): AppState) -> Response {
    let health = app.node.health();
    let healthy = health.log.is_ok() && health.engine.is_ok();
    let part = |state: &Result<(), String>| match state {
        Ok(()) => json!({ "isHealthy": true }),
        Err(reason) => json!({ "isHealthy": false, "message": reason }),
    };
    let body = json!({
        "isHealthy": healthy,
        "details": {
            "metastore": { "isHealthy": true },
            "kafka": part(&health.log),
            "commandRunner": part(&health.engine),
        },
        "serverState": "READY",
    });
    let status = if healthy { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    (status, Json(body)).into_response()
}

pub(super) async fn metrics(State(app): AppState) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    (headers, app.metrics.encode(&app.node)).into_response()
}
