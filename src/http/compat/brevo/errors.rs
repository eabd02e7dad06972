//! Refusals in Brevo's words: `{"code", "message"}` (developers.brevo.com, "How it works", "Error codes").

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::http::error::{Kind, Problem};
use crate::submission::Violation;

/// A refusal.
pub fn refuse(problem: &Problem) -> Response {
    let (status, code, message) = match (problem.kind(), problem.violations().first()) {
        (Kind::Invalid | Kind::Forbidden | Kind::TooLarge, Some(first)) => {
            let (code, message) = violation(first);
            (400, code, message)
        }
        (Kind::InvalidJson, _) => (400, "bad_request", "Input must be a valid JSON object".to_owned()),
        (Kind::Unauthorized, _) => (401, "unauthorized", "Key not found".to_owned()),
        (Kind::Forbidden | Kind::Suspended, _) => (403, "permission_denied", problem.detail().to_owned()),
        (Kind::NotFound, _) => (404, "document_not_found", problem.detail().to_owned()),
        (Kind::MethodNotAllowed, _) => (405, "method_not_allowed", problem.detail().to_owned()),
        (Kind::TooLarge, _) => (413, "invalid_parameter", problem.detail().to_owned()),
        (Kind::KeyReused, _) => (400, "duplicate_request", problem.detail().to_owned()),
        (Kind::RateLimited, _) => (429, "too_many_requests", "Too many requests".to_owned()),
        (kind, _) => (kind.parts().0, "internal_error", problem.detail().to_owned()),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({ "code": code, "message": message }))).into_response()
}

/// What clients compare: the code, and the field in the sentence.
fn violation(violation: &Violation) -> (&'static str, String) {
    let field = field(&violation.pointer);
    match violation.code.as_str() {
        "required" if field == "htmlContent" => {
            ("missing_parameter", "Either of htmlContent or textContent is required".to_owned())
        }
        "required" => ("missing_parameter", format!("{field} is missing")),
        "invalid_address" if field == "sender" => ("invalid_parameter", "valid sender email required".to_owned()),
        "invalid_address" => ("invalid_parameter", format!("email is not valid in {field}")),
        "sender_not_verified" | "domain_not_allowed" => (
            "invalid_parameter",
            "Sending has been rejected because the sender you used is not valid. Validate your sender or authenticate \
             your domain"
                .to_owned(),
        ),
        "unknown_template" | "not_published" => ("document_not_found", "Template ID does not exist".to_owned()),
        _ => ("invalid_parameter", format!("{field}: {}", violation.message)),
    }
}

/// The member that a pointer leads to; what accept refuses has our names.
fn field(pointer: &str) -> String {
    let name = pointer.split('/').nth(1).unwrap_or_default();
    let named = match name {
        "" => "request",
        "from" => "sender",
        "reply_to" => "replyTo",
        "text" | "html" => "htmlContent",
        "template" if pointer.starts_with("/template/variables") => "params",
        "template" => "templateId",
        "variables" => "params",
        "attachments" => "attachment",
        "recipients" => "messageVersions",
        "send_at" => "scheduledAt",
        other => other,
    };
    named.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_as_brevo_says_it() {
        for (pointer, code, wanted) in [
            ("/sender", "required", ("missing_parameter", "sender is missing")),
            ("/to", "required", ("missing_parameter", "to is missing")),
            ("/to/0/email", "invalid_address", ("invalid_parameter", "email is not valid in to")),
            ("/sender/email", "invalid_address", ("invalid_parameter", "valid sender email required")),
            ("/template/id", "unknown_template", ("document_not_found", "Template ID does not exist")),
            (
                "/htmlContent",
                "required",
                ("missing_parameter", "Either of htmlContent or textContent is required"),
            ),
            ("/tags", "invalid_tag", ("invalid_parameter", "tags: why")),
        ] {
            let (found, message) = violation(&Violation::new(pointer, code, "why"));
            assert_eq!((found, message.as_str()), wanted, "{pointer} {code}");
        }
    }
}
