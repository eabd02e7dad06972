//! SendGrid's errors: `{"errors": [{"message", "field", "help"}]}` (docs.sendgrid.com/api-reference/how-to-use-the-
//! sendgrid-v3-api/responses).

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::http::error::{Kind, Problem};
use crate::submission::Violation;

const NOT_VERIFIED: &str = "The from address does not match a verified Sender Identity. Mail cannot be sent until this \
    error is resolved. Visit https://sendgrid.com/docs/for-developers/sending-email/sender-identity/ to see the Sender \
    Identity requirements";

/// A refusal.
pub fn refuse(problem: &Problem) -> Response {
    let (status, message) = match problem.kind() {
        Kind::Invalid | Kind::KeyReused if !problem.violations().is_empty() => {
            return (StatusCode::BAD_REQUEST, Json(json!({ "errors": list(problem.violations()) })))
                .into_response();
        }
        Kind::Forbidden | Kind::Suspended if !problem.violations().is_empty() => {
            return (StatusCode::FORBIDDEN, Json(json!({ "errors": list(problem.violations()) })))
                .into_response();
        }
        Kind::InvalidJson => (400, "Bad Request"),
        Kind::Unauthorized => (401, "The provided authorization grant is invalid, expired, or revoked"),
        Kind::Forbidden => (403, "access forbidden"),
        Kind::NotFound => (404, "Not Found"),
        Kind::MethodNotAllowed => (405, "method not allowed"),
        Kind::TooLarge => (413, "The payload exceeds the maximum allowed size"),
        Kind::RateLimited => (429, "too many requests"),
        Kind::Internal => (500, "internal server error"),
        Kind::Overloaded | Kind::Unavailable | Kind::Full => (503, "service unavailable"),
        kind => (kind.parts().0, problem.detail()),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let error = json!({ "message": message, "field": null, "help": null });
    (status, Json(json!({ "errors": [error] }))).into_response()
}

fn list(violations: &[Violation]) -> Vec<Value> {
    violations.iter().map(error).collect()
}

fn error(violation: &Violation) -> Value {
    let message = match violation.code.as_str() {
        "sender_not_verified" | "domain_not_allowed" => NOT_VERIFIED,
        _ => violation.message.as_str(),
    };
    json!({ "message": message, "field": field(violation), "help": null })
}

/// The place as SendGrid names it: `personalizations.0.to`. What accept refuses has our names.
fn field(violation: &Violation) -> Option<String> {
    let named = match violation.pointer.as_str() {
        "" => return None,
        "/template/id" => "/template_id",
        pointer if pointer.starts_with("/template/variables") => "/personalizations",
        pointer if pointer.starts_with("/recipients") => "/personalizations",
        "/tags" => "/categories",
        "/metadata" => "/custom_args",
        "/stream" => "/asm/group_id",
        pointer => pointer,
    };
    let parts = named.trim_start_matches('/').split('/');
    let parts = parts.map(|part| part.replace("~1", "/").replace("~0", "~"));
    Some(parts.collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_as_sendgrid_names_them() {
        let cases = [
            ("/personalizations/0/to/1/email", Some("personalizations.0.to.1.email")),
            ("/template/id", Some("template_id")),
            ("/template/variables/name", Some("personalizations")),
            ("/headers/X~1Y", Some("headers.X/Y")),
            ("", None),
        ];
        for (pointer, name) in cases {
            assert_eq!(field(&Violation::new(pointer, "x", "y")).as_deref(), name, "{pointer}");
        }
    }
}
