//! Refusals in SMTP.com's words: `{"status": "fail", "data": {"errors": {"field": "…"}}}` with 400, and with 401
//! `{"status": "fail", "data": {"api_key": "invalid"}}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::http::error::{Kind, Problem};
use crate::submission::Violation;

/// A refusal.
pub fn refuse(problem: &Problem) -> Response {
    let (status, data) = match (problem.kind(), problem.violations()) {
        (Kind::Unauthorized, _) => (401, json!({ "api_key": "invalid" })),
        (Kind::Invalid | Kind::Forbidden | Kind::TooLarge, [_, ..]) => {
            (400, json!({ "errors": errors(problem.violations()) }))
        }
        (Kind::InvalidJson, _) => (400, json!({ "errors": { "body": "invalid JSON" } })),
        (Kind::Forbidden | Kind::Suspended, _) => (403, json!({ "errors": [problem.detail()] })),
        (kind, _) => (kind.parts().0, json!({ "errors": [problem.detail()] })),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({ "status": "fail", "data": data }))).into_response()
}

/// One sentence for each field.
fn errors(violations: &[Violation]) -> Map<String, Value> {
    let mut errors = Map::new();
    for violation in violations {
        let sentence = match violation.code.as_str() {
            "required" => "must be provided".to_owned(),
            "invalid_address" => "is not a valid email address".to_owned(),
            "sender_not_verified" | "domain_not_allowed" => "is not a verified domain".to_owned(),
            _ => violation.message.clone(),
        };
        errors.entry(field(&violation.pointer)).or_insert(Value::String(sentence));
    }
    errors
}

/// `recipients.to.0.address`; what accept refuses has our names.
fn field(pointer: &str) -> String {
    let named = match pointer {
        "" => "/mime",
        "/from" => "/originator/from",
        "/reply_to" => "/originator/reply_to",
        "/to" => "/recipients",
        "/text" | "/html" => "/body/parts",
        "/attachments" => "/body/attachments",
        "/headers" => "/custom_headers",
        pointer => pointer,
    };
    named.trim_start_matches('/').replace('/', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_by_field() {
        let violations = [
            Violation::new("/channel", "required", "why"),
            Violation::new("/recipients/to/0/address", "invalid_address", "why"),
            Violation::new("/from", "sender_not_verified", "why"),
        ];
        let wanted = json!({
            "channel": "must be provided",
            "recipients.to.0.address": "is not a valid email address",
            "originator.from": "is not a verified domain",
        });
        assert_eq!(Value::Object(errors(&violations)), wanted);
    }
}
