//! Mailgun's errors: `{"message": …}`, but for a wrong key, which is answered with a bare word.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::http::error::{Kind, Problem};
use crate::submission::Violation;

/// A refusal.
pub fn refuse(problem: &Problem) -> Response {
    let (status, message) = match problem.kind() {
        Kind::Unauthorized => return (StatusCode::UNAUTHORIZED, "Forbidden").into_response(),
        Kind::Invalid if !problem.violations().is_empty() => (400, sentence(&problem.violations()[0])),
        Kind::Forbidden if !problem.violations().is_empty() => (403, sentence(&problem.violations()[0])),
        Kind::InvalidJson | Kind::InvalidRequest | Kind::Invalid | Kind::KeyReused => {
            (400, problem.detail().to_owned())
        }
        Kind::Forbidden => (403, "Forbidden".to_owned()),
        Kind::NotFound => (404, problem.detail().to_owned()),
        Kind::TooLarge => (413, "Message is too large".to_owned()),
        Kind::RateLimited => (429, "Too many requests, please try again later".to_owned()),
        Kind::Internal => (500, "Internal Server Error".to_owned()),
        kind => (kind.parts().0, problem.detail().to_owned()),
    };
    said(status, &message)
}

/// An answer that is one message.
pub fn said(status: u16, message: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({ "message": message }))).into_response()
}

/// What is wrong, with the parameter it is about.
fn sentence(violation: &Violation) -> String {
    let named = violation.pointer.trim_start_matches('/').split('/').next().unwrap_or_default();
    match (violation.code.as_str(), named) {
        ("invalid_address", name) => {
            format!("'{name}' parameter is not a valid address. please check documentation")
        }
        ("required", "from" | "to") => format!("{named} parameter is missing"),
        ("unknown_template" | "not_published", _) => "template not found".to_owned(),
        _ => violation.message.clone(),
    }
}
