//! Answers: objects, and failures as the API server words them.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A failure, to be answered.
#[derive(Debug)]
pub(super) struct Failure {
    code: u16,
    reason: &'static str,
    message: String,
    causes: Vec<Value>,
}

impl Failure {
    pub(super) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            causes: Vec::new(),
        }
    }

    pub(super) fn not_found(plural: &str, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{plural} {name:?} not found"))
    }

    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, "Conflict", message)
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(422, "Invalid", message)
    }

    pub(super) fn with_causes(mut self, causes: Vec<Value>) -> Self {
        self.causes = causes;
        self
    }
}

/// The object that describes a failure.
pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "metadata": {},
        "message": message, "reason": reason, "code": code,
    })
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let http = StatusCode::from_u16(self.code).expect("a status");
        let mut body = status(self.code, self.reason, &self.message);
        if !self.causes.is_empty() {
            body["details"] = json!({"causes": self.causes});
        }
        let mut response = (http, Json(body)).into_response();
        if matches!(self.code, 429 | 503) {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, "1".parse().expect("a number"));
        }
        response
    }
}

/// An object.
pub(super) fn object(code: StatusCode, object: Value) -> Response {
    (code, Json(object)).into_response()
}
