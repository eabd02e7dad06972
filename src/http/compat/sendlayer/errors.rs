//! Refusals in SendLayer's words: `{"Errors": [{"Code", "Message"}]}` (developers.sendlayer.com, "Error codes").

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::http::error::{Kind, Problem};
use crate::submission::Violation;

/// A refusal.
pub fn refuse(problem: &Problem) -> Response {
    let (status, code, message) = match (problem.kind(), problem.violations()) {
        (Kind::Invalid | Kind::Forbidden, [_, ..]) => {
            let errors: Vec<Value> = problem.violations().iter().map(error).collect();
            return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "Errors": errors }))).into_response();
        }
        (Kind::Unauthorized, _) => (401, 13, "Invalid SenderAPIKey"),
        (Kind::Forbidden | Kind::Suspended, _) => (403, 12, "Invalid user"),
        (Kind::NotFound, _) => (404, 404, "Resource not found"),
        (Kind::RateLimited, _) => (429, 429, "Too many requests"),
        (Kind::InvalidJson | Kind::InvalidRequest, _) => (422, 422, "Invalid request parameters"),
        (kind, _) => (kind.parts().0, kind.parts().0, problem.detail()),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({ "Errors": [{ "Code": code, "Message": message }] }))).into_response()
}

fn error(violation: &Violation) -> Value {
    let (code, message) = told(violation);
    json!({ "Code": code, "Message": message })
}

/// The table of codes, read backwards.
fn told(violation: &Violation) -> (u16, String) {
    let mut steps = violation.pointer.split('/').skip(1);
    let (field, is_missing) = (steps.next().unwrap_or_default(), violation.code == "required");
    let message = match (field, violation.code.as_str()) {
        ("From" | "from", "required") => (3, "Missing FromEmail"),
        ("From" | "from", "sender_not_verified" | "domain_not_allowed" | "domain_paused") => {
            (32, "Domain is not activated")
        }
        ("From" | "from", _) => (23, "Invalid from email address format"),
        ("To" | "to" | "recipients", "too_many" | "too_many_recipients") => {
            (20, "The number of recipients exceeds the allowed recipient email address count")
        }
        ("To" | "to", "required") if steps.next().is_none() => {
            (20, "There is no recipient set for the email")
        }
        ("To" | "to", _) if is_missing => (18, "Recipient name or email address is missing"),
        ("To" | "to", _) => (19, "Recipient email address is invalid"),
        ("CC", _) if is_missing => (21, "CC name or email address is missing"),
        ("CC", _) => (22, "CC email address is invalid"),
        ("BCC", "too_many") => {
            (27, "The number of BCC email addresses exceed the allowed email address count")
        }
        ("BCC", _) if is_missing => (25, "BCC name or email address is missing"),
        ("BCC", _) => (26, "BCC email address is invalid"),
        ("ReplyTo", _) if is_missing => (29, "Reply-To name or email address is missing"),
        ("ReplyTo", _) => (30, "Reply-To email address is invalid"),
        ("Subject", "required") => (8, "Missing Subject"),
        ("ContentType", "required") => (9, "Missing ContentType"),
        ("HTMLContent", "required") => (10, "Missing HTMLContent"),
        ("PlainContent", "required") => (11, "Missing PlainContent"),
        _ => return (422, format!("Invalid request parameters: {field}: {}", violation.message)),
    };
    (message.0, message.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_has_sendlayers_code() {
        for (pointer, code, wanted) in [
            ("/From", "required", (3, "Missing FromEmail")),
            ("/from", "sender_not_verified", (32, "Domain is not activated")),
            ("/To", "required", (20, "There is no recipient set for the email")),
            ("/To/0/email", "required", (18, "Recipient name or email address is missing")),
            ("/To/0/email", "invalid_address", (19, "Recipient email address is invalid")),
            ("/Subject", "required", (8, "Missing Subject")),
            ("/Tags", "invalid_tag", (422, "Invalid request parameters: Tags: why")),
        ] {
            let (found, message) = told(&Violation::new(pointer, code, "why"));
            assert_eq!((found, message.as_str()), wanted, "{pointer}");
        }
    }
}
