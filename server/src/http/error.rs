//! Errors as ksqlDB's clients expect them: `error_code` is the HTTP status times 100 and a number.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use millstream_sql::error::ErrorKind;
use serde_json::{Value, json};

pub(crate) struct ApiError {
    status: StatusCode,
    body: Value,
}

impl ApiError {
    /// A request that is wrong for a reason other than a statement (40000).
    pub(crate) fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::generic(StatusCode::BAD_REQUEST, 40000, message)
    }

    pub(crate) fn not_found() -> ApiError {
        ApiError::generic(StatusCode::NOT_FOUND, 40400, "There is nothing at this path; see GET /info.")
    }

    /// The node cannot answer (50000).
    pub(crate) fn server(message: impl Into<String>) -> ApiError {
        ApiError::generic(StatusCode::INTERNAL_SERVER_ERROR, 50000, message)
    }

    pub(crate) fn generic(status: StatusCode, code: u32, message: impl Into<String>) -> ApiError {
        let message: String = message.into();
        ApiError { status, body: json!({ "@type": "generic_error", "error_code": code, "message": message }) }
    }

    /// A refused statement, with the answers of those before it in the request. 40001; an assertion that
    /// does not hold is 41700, a query sent to `/ksql` 40002.
    pub(crate) fn statement(message: String, kind: ErrorKind, text: &str, entities: Vec<Value>) -> ApiError {
        let (status, code) = match kind {
            ErrorKind::AssertionFailed => (StatusCode::EXPECTATION_FAILED, 41700),
            ErrorKind::QueryWithoutRows => (StatusCode::BAD_REQUEST, 40002),
            _ => (StatusCode::BAD_REQUEST, 40001),
        };
        let body = json!({
            "@type": "statement_error",
            "error_code": code,
            "message": message,
            "kind": kind.code(),
            "statementText": text,
            "entities": entities,
        });
        ApiError { status, body }
    }

    /// The error object, for answers whose head is already out.
    pub(crate) fn body(&self) -> &Value {
        &self.body
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let headers = [(header::CONTENT_TYPE, "application/json")];
        (self.status, headers, self.body.to_string()).into_response()
    }
}
