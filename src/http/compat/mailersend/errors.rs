//! Refusals in MailerSend's words: `{"message", "errors": {"from.email": ["…"]}}` (developers.mailersend.com, "General",
//! "Validation errors").

use std::collections::BTreeMap;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::http::error::{Kind, Problem};
use crate::submission::Violation;

const NOT_VERIFIED: &str = "The from.email domain must be verified in your account to send emails. #MS42207";

/// A refusal.
pub fn refuse(problem: &Problem) -> Response {
    let (status, message) = match (problem.kind(), problem.violations()) {
        (Kind::Invalid | Kind::Forbidden | Kind::TooLarge, [first, ..]) => {
            let errors = errors(problem.violations());
            let message = errors.get(&field(first)).and_then(|all| all.first()).cloned().unwrap_or_default();
            return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "message": message, "errors": errors })))
                .into_response();
        }
        (Kind::InvalidJson, _) => (400, "Bad Request"),
        (Kind::Unauthorized, _) => (401, "Unauthenticated."),
        (Kind::Forbidden | Kind::Suspended, _) => (403, "This action is unauthorized."),
        (Kind::NotFound, _) => (404, "Resource not found."),
        (Kind::TooLarge, _) => (413, "The payload is too large."),
        (Kind::RateLimited, _) => (429, "Too Many Attempts."),
        (Kind::Internal | Kind::Overloaded | Kind::Unavailable | Kind::Full, _) => {
            (problem.kind().parts().0, "Server Error")
        }
        (kind, _) => (kind.parts().0, problem.detail()),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({ "message": message }))).into_response()
}

/// All that is wrong, by field.
fn errors(violations: &[Violation]) -> BTreeMap<String, Vec<String>> {
    let mut errors: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for violation in violations {
        let field = field(violation);
        let sentence = sentence(violation, &field);
        errors.entry(field).or_default().push(sentence);
    }
    errors
}

fn sentence(violation: &Violation, field: &str) -> String {
    match violation.code.as_str() {
        "sender_not_verified" | "domain_not_allowed" => NOT_VERIFIED.to_owned(),
        "required" if field == "text" => {
            "You must provide HTML and/or text versions of the email or template ID. #MS42204".to_owned()
        }
        "required" if field == "subject" => "The subject field is required. #MS42209".to_owned(),
        "required" => format!("The {field} field is required."),
        "invalid_address" => format!("The {field} must be a valid email address."),
        "unknown_template" | "not_published" => "The selected template id is invalid.".to_owned(),
        "too_many" | "too_many_recipients" => format!("The {field} has too many items."),
        _ => format!("The {field} is invalid: {}", violation.message),
    }
}

/// `to.0.email`; what accept refuses has our names.
fn field(violation: &Violation) -> String {
    let pointer = match violation.pointer.as_str() {
        "" => "/message",
        "/from" => "/from/email",
        "/html" => "/text",
        "/metadata" | "/variables" => "/personalization",
        pointer if pointer.starts_with("/template/variables") => "/personalization",
        pointer if pointer.starts_with("/variables") || pointer.starts_with("/recipients") => {
            "/personalization"
        }
        "/template/id" => "/template_id",
        pointer => pointer,
    };
    pointer.trim_start_matches('/').replace('/', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_by_field_as_mailersend_says_it() {
        let cases = [
            ("/from", "sender_not_verified", "from.email", NOT_VERIFIED),
            ("/to/0/email", "invalid_address", "to.0.email", "The to.0.email must be a valid email address."),
            ("/to", "required", "to", "The to field is required."),
            ("/subject", "required", "subject", "The subject field is required. #MS42209"),
            ("/template/id", "unknown_template", "template_id", "The selected template id is invalid."),
        ];
        for (pointer, code, field, wanted) in cases {
            let told = errors(&[Violation::new(pointer, code, "why")]);
            assert_eq!(told, BTreeMap::from([(field.to_owned(), vec![wanted.to_owned()])]), "{pointer}");
        }
    }
}
