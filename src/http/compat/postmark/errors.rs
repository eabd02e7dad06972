//! Postmark's errors: `{"ErrorCode", "Message"}` (postmarkapp.com/developer/api/overview#error-codes). The numbers are
//! not those of HTTP, even where they look like them.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::http::error::{Kind, Problem};
use crate::submission::Violation;

/// What Postmark says of something: its number, and the sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The error's number.
    pub code: u16,
    /// The sentence.
    pub message: String,
}

impl Said {
    /// A number and a sentence.
    pub fn new(code: u16, message: impl Into<String>) -> Said {
        Said { code, message: message.into() }
    }

    /// As a body, or as an item of a batch's answer.
    pub fn body(&self) -> Value {
        json!({ "ErrorCode": self.code, "Message": self.message })
    }
}

impl IntoResponse for Said {
    fn into_response(self) -> Response {
        (StatusCode::UNPROCESSABLE_ENTITY, Json(self.body())).into_response()
    }
}

/// A refusal.
pub fn refuse(problem: &Problem) -> Response {
    let (status, said) = status_and_words(problem);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(said.body())).into_response()
}

/// The same as an item of a batch's answer.
pub fn words(problem: &Problem) -> Said {
    status_and_words(problem).1
}

fn status_and_words(problem: &Problem) -> (u16, Said) {
    match problem.kind() {
        Kind::Unauthorized => (401, Said::new(10, "Request does not contain a valid Server token.")),
        Kind::Forbidden if problem.violations().is_empty() => (
            401,
            Said::new(
                10,
                "The Server token you provided in the X-Postmark-Server-Token request header may not do this.",
            ),
        ),
        Kind::Suspended => (422, Said::new(412, "Your account is not allowed to send at the moment.")),
        Kind::InvalidJson => (422, Said::new(402, "Received invalid JSON input.")),
        Kind::TooLarge => (413, Said::new(300, "The message is larger than allowed.")),
        Kind::NotFound => (404, Said::new(404, problem.detail())),
        Kind::MethodNotAllowed => (405, Said::new(405, problem.detail())),
        Kind::QuotaExceeded => (422, Said::new(405, problem.detail())),
        Kind::RateLimited => (429, Said::new(429, "Rate limit exceeded.")),
        Kind::Internal => (500, Said::new(500, "Internal Server Error")),
        Kind::Overloaded | Kind::Unavailable | Kind::Full => {
            (503, Said::new(100, "Down for maintenance, try again later."))
        }
        _ => (422, problem.violations().first().map_or_else(|| Said::new(300, problem.detail()), said)),
    }
}

/// What is wrong first; Postmark never tells more.
fn said(violation: &Violation) -> Said {
    let code = match violation.code.as_str() {
        "sender_not_verified" | "domain_not_allowed" | "domain_paused" => {
            let message = "The 'From' address you supplied is not a Sender Signature on your account. Please add and \
                confirm this address in order to be able to use it in the 'From' field of your messages.";
            return Said::new(400, message);
        }
        "unknown_template" | "not_published" => {
            let message = "The Template's 'Alias' or 'TemplateId' associated with this request is not valid or was not \
                found.";
            return Said::new(1101, message);
        }
        "unknown_stream" | "stream_not_allowed" | "invalid_stream" => {
            let message = "The 'MessageStream' associated with this request is not valid or was not found.";
            return Said::new(1235, message);
        }
        "missing_variable" => 1109,
        _ => 300,
    };
    Said::new(code, violation.message.clone())
}

/// Nobody was mailed, since all are on a list: clients take the addresses out of this sentence.
pub fn inactive(addresses: &[&str]) -> Said {
    let list = addresses.join(", ");
    let message = format!(
        "You tried to send to a recipient that has been marked as inactive. Found inactive addresses: {list}. Inactive \
         recipients are ones that have generated a hard bounce, a spam complaint, or a manual suppression."
    );
    Said::new(406, message)
}

/// The same, when others were mailed.
pub fn partly_inactive(addresses: &[&str]) -> String {
    let list = addresses.join(", ");
    format!(
        "Message OK, but will not deliver to these inactive addresses: {list}. Inactive recipients are ones that have \
         generated a hard bounce or a spam complaint."
    )
}
