//! Refusals in Mailjet's words: of a whole call `{"ErrorIdentifier", "ErrorCode", "StatusCode", "ErrorMessage"}`, of one
//! message a list of these that name what they are about (dev.mailjet.com, "Send API v3.1", "Errors").

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::http::error::{Kind, Problem};
use crate::http::request_id;
use crate::submission::{Rejected, Violation};

const UNAUTHORIZED: &str = "API key authentication/authorization failure. You may be unauthorized to access the API or \
    your API key may be expired. Visit API keys management section to check your keys.";

/// A refusal of a whole call.
pub fn refuse(problem: &Problem) -> Response {
    let (status, code, message) = match (problem.kind(), problem.violations().first()) {
        (Kind::Invalid, Some(first)) => {
            let told = error(first);
            let body = json!({
                "ErrorIdentifier": told["ErrorIdentifier"],
                "ErrorCode": told["ErrorCode"],
                "StatusCode": 400,
                "ErrorMessage": told["ErrorMessage"],
                "ErrorRelatedTo": told["ErrorRelatedTo"],
            });
            return (StatusCode::BAD_REQUEST, Json(body)).into_response();
        }
        (Kind::InvalidJson, _) => {
            (400, Some("mj-0002"), "Malformed JSON, please review the syntax and properties types.")
        }
        (Kind::Unauthorized, _) => (401, None, UNAUTHORIZED),
        (Kind::Forbidden | Kind::Suspended, _) => {
            (403, None, "You are not authorized to access this resource.")
        }
        (Kind::NotFound, _) => (404, None, "Object not found"),
        (Kind::TooLarge, _) => (413, None, "Request entity too large"),
        (Kind::RateLimited, _) => (429, None, "Too many requests"),
        (kind, _) => (kind.parts().0, None, problem.detail()),
    };
    let mut body = json!({ "ErrorIdentifier": identifier(), "StatusCode": status, "ErrorMessage": message });
    if let Some(code) = code {
        body["ErrorCode"] = code.into();
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(body)).into_response()
}

/// What a message that is refused looks like in the answer.
pub fn message(rejected: &Rejected) -> Value {
    let errors: Vec<Value> = rejected.violations.iter().map(error).collect();
    json!({ "Status": "error", "Errors": errors })
}

fn identifier() -> String {
    request_id::current().unwrap_or_default()
}

/// Of an address that is none, the violation's sentence is the address as it was given.
fn error(violation: &Violation) -> Value {
    let related = related(&violation.pointer);
    let name = related.rsplit('.').next().unwrap_or_default();
    let (code, status, text) = match violation.code.as_str() {
        "required" if matches!(related.as_str(), "HTMLPart" | "TextPart") => (
            "send-0003",
            400,
            "At least \"HTMLPart\", \"TextPart\" or \"TemplateID\" must be provided.".to_owned(),
        ),
        "required" => ("mj-0003", 400, format!("The {name} is mandatory but missing from the input")),
        "wrong_type" => ("mj-0004", 400, format!("Type mismatch. {}", violation.message)),
        "invalid_address" => {
            ("mj-0013", 400, format!("\"{}\" is an invalid email address.", violation.message))
        }
        "unknown_template" | "not_published" => ("mj-0020", 400, "The template does not exist.".to_owned()),
        "sender_not_verified" | "domain_not_allowed" | "domain_paused" => (
            "send-0008",
            403,
            "The sender is not an authorized sender email address for your account.".to_owned(),
        ),
        "too_large" => ("send-0022", 413, "The total size of attachments exceeds the limit.".to_owned()),
        "too_many" | "too_many_recipients" => ("mj-0007", 400, format!("{name} has too many entries.")),
        _ => ("mj-0018", 400, violation.message.clone()),
    };
    json!({
        "ErrorIdentifier": identifier(),
        "ErrorCode": code,
        "StatusCode": status,
        "ErrorMessage": text,
        "ErrorRelatedTo": [related],
    })
}

/// `To[0].Email`; what accept refuses has our names.
fn related(pointer: &str) -> String {
    let named = match pointer {
        "/from" => "/From",
        "/to" | "/recipients" => "/To",
        "/text" | "/html" => "/HTMLPart",
        "/subject" => "/Subject",
        "/template/id" => "/TemplateID",
        pointer if pointer.starts_with("/template/variables") || pointer.starts_with("/variables") => {
            "/Variables"
        }
        "/attachments" => "/Attachments",
        pointer => pointer,
    };
    let mut text = String::new();
    for step in named.split('/').skip(1) {
        if step.bytes().all(|c| c.is_ascii_digit()) && !step.is_empty() && !text.is_empty() {
            text.push_str(&format!("[{step}]"));
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(step);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_has_mailjets_code_and_place() {
        let cases = [
            (
                "/To/0/Email",
                "invalid_address",
                "x",
                "mj-0013",
                "\"x\" is an invalid email address.",
                "To[0].Email",
            ),
            ("/From", "required", "", "mj-0003", "The From is mandatory but missing from the input", "From"),
            (
                "/HTMLPart",
                "required",
                "",
                "send-0003",
                "At least \"HTMLPart\", \"TextPart\" or \"TemplateID\" must be provided.",
                "HTMLPart",
            ),
            (
                "/from",
                "sender_not_verified",
                "",
                "send-0008",
                "The sender is not an authorized sender email address for your account.",
                "From",
            ),
        ];
        for (pointer, code, message, wanted, text, place) in cases {
            let told = error(&Violation::new(pointer, code, message));
            assert_eq!(told["ErrorCode"], wanted, "{pointer}");
            assert_eq!(told["ErrorMessage"], text);
            assert_eq!(told["ErrorRelatedTo"], json!([place]));
        }
    }
}
