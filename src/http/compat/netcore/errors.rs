//! Refusals in Netcore's words: `{"status": "error", "message", "error": [{"field", "message", "description"}]}`. Its
//! clients can show 400, 401, 403 and 405 alone.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::http::error::{Kind, Problem};
use crate::submission::Violation;

/// A refusal.
pub fn refuse(problem: &Problem) -> Response {
    let (status, message) = match problem.kind() {
        Kind::Unauthorized => (401, "Unauthorized"),
        Kind::Forbidden | Kind::Suspended if problem.violations().is_empty() => (403, "Forbidden"),
        Kind::MethodNotAllowed => (405, "Method not allowed"),
        Kind::NotFound => (404, "Not found"),
        Kind::TooLarge => (413, "Payload too large"),
        Kind::RateLimited => (429, "Too many requests"),
        Kind::Internal | Kind::Overloaded | Kind::Unavailable | Kind::Full => {
            (problem.kind().parts().0, "Internal server error")
        }
        _ => (400, "Bad Request"),
    };
    let error: Vec<Value> = match problem.violations() {
        [] if problem.kind() == Kind::Unauthorized => vec![json!({
            "field": "api_key",
            "message": "Invalid API key",
            "description": "The API key is missing or not valid",
        })],
        [] => vec![json!({ "field": "", "message": message, "description": problem.detail() })],
        violations => violations.iter().map(error).collect(),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({ "status": "error", "message": message, "error": error }))).into_response()
}

fn error(violation: &Violation) -> Value {
    let field = field(&violation.pointer);
    let description = match violation.code.as_str() {
        "required" => format!("The {field} field is required."),
        "invalid_address" => format!("The {field} must be a valid email address."),
        "sender_not_verified" | "domain_not_allowed" => "The from domain is not verified.".to_owned(),
        _ => violation.message.clone(),
    };
    json!({ "field": field, "message": description, "description": description })
}

/// `personalizations.0.to.0.email`; what accept refuses has our names.
fn field(pointer: &str) -> String {
    let named = match pointer {
        "/from" => "/from/email",
        "/text" | "/html" => "/content",
        "/template/id" => "/template_id",
        "/to" => "/personalizations/0/to",
        "/send_at" => "/schedule",
        pointer if pointer.starts_with("/recipients") || pointer.starts_with("/template/variables") => {
            "/personalizations"
        }
        pointer => pointer,
    };
    named.trim_start_matches('/').replace('/', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_by_field() {
        for (pointer, code, field, wanted) in [
            ("/from", "required", "from.email", "The from.email field is required."),
            ("/from", "sender_not_verified", "from.email", "The from domain is not verified."),
            (
                "/personalizations/0/to/0/email",
                "invalid_address",
                "personalizations.0.to.0.email",
                "The personalizations.0.to.0.email must be a valid email address.",
            ),
        ] {
            let told = error(&Violation::new(pointer, code, "why"));
            assert_eq!((told["field"].as_str(), told["description"].as_str()), (Some(field), Some(wanted)));
        }
    }
}
