//! Resend's errors: `{"statusCode", "name", "message"}` (resend.com/docs/api-reference/errors).

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::http::auth;
use crate::http::error::{Kind, Problem};
use crate::submission::Violation;

const MISSING_KEY: &str = "Missing API key in the authorization header. Include the following header `Authorization: \
    Bearer YOUR_API_KEY` in the request.";
const WRONG_KEY: &str = "API key is invalid";
const RESTRICTED: &str = "This API key is restricted to only send emails";
const KEY_REUSED: &str = "This idempotency key has been used on a request that went through, but with a different \
    request body. Retry with the original body, or use another key.";

/// A refusal.
pub fn refuse(problem: &Problem) -> Response {
    let (status, name, message) = words(problem);
    said(status, name, &message)
}

/// Status, name and sentence of a refusal.
pub fn words(problem: &Problem) -> (u16, &'static str, String) {
    let detail = || problem.detail().to_owned();
    let first = problem.violations().first();
    match problem.kind() {
        Kind::Unauthorized if problem.detail() == auth::NO_KEY => {
            (401, "missing_api_key", MISSING_KEY.to_owned())
        }
        Kind::Unauthorized => (403, "invalid_api_key", WRONG_KEY.to_owned()),
        Kind::Forbidden if first.is_none() => (401, "restricted_api_key", RESTRICTED.to_owned()),
        Kind::Forbidden => (403, "validation_error", first.map_or_else(detail, sentence)),
        Kind::Suspended => (403, "validation_error", detail()),
        Kind::Invalid => match first {
            Some(violation) if violation.code == "required" => {
                (422, "missing_required_field", sentence(violation))
            }
            Some(violation) => (422, "validation_error", sentence(violation)),
            None => (422, "validation_error", detail()),
        },
        Kind::InvalidJson => (400, "validation_error", detail()),
        Kind::KeyReused => (409, "invalid_idempotent_request", KEY_REUSED.to_owned()),
        Kind::NotFound => (404, "not_found", detail()),
        Kind::MethodNotAllowed => (405, "method_not_allowed", detail()),
        Kind::QuotaExceeded => (429, "daily_quota_exceeded", detail()),
        Kind::RateLimited => (429, "rate_limit_exceeded", "Too many requests".to_owned()),
        Kind::Internal => (500, "application_error", "An unexpected error occurred".to_owned()),
        kind if kind.parts().0 >= 500 => (kind.parts().0, "internal_server_error", detail()),
        kind => (kind.parts().0, "validation_error", detail()),
    }
}

/// An error.
pub fn said(status: u16, name: &str, message: &str) -> Response {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, Json(body(status, name, message))).into_response()
}

/// The body of an error.
pub fn body(status: u16, name: &str, message: &str) -> Value {
    json!({ "statusCode": status, "name": name, "message": message })
}

fn sentence(violation: &Violation) -> String {
    let field = violation.pointer.split('/').rfind(|part| !part.is_empty() && part.parse::<usize>().is_err());
    match (violation.code.as_str(), field) {
        ("required", Some(field)) => format!("Missing `{field}` field."),
        ("invalid_address", Some(field)) => format!(
            "Invalid `{field}` field. The email address needs to follow the `email@example.com` or `Name \
             <email@example.com>` format."
        ),
        ("sender_not_verified" | "domain_not_allowed", _) => {
            let domain = violation.message.split(' ').next().unwrap_or_default();
            if violation.code == "domain_not_allowed" {
                return violation.message.clone();
            }
            format!(
                "The {domain} domain is not verified. Please, add and verify your domain on https://resend.com/domains"
            )
        }
        _ => violation.message.clone(),
    }
}
