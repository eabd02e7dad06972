//! Refusals of API v2: the name of the exception in a header, the sentence in the body ("Common errors", and the
//! errors of each action).

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::http::error::{Kind, Problem};
use crate::http::request_id;
use crate::submission::Violation;

use super::sigv4::Unsigned;

const TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// A refusal as both APIs have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Of the answer.
    pub status: u16,
    /// The exception, as v2 calls it.
    pub name: &'static str,
    /// The sentence.
    pub message: String,
}

/// A refusal.
pub fn refuse(problem: &Problem) -> Response {
    answer(&told(problem))
}

/// A request that is not well signed.
pub fn unsigned(unsigned: &Unsigned) -> Response {
    let name = match unsigned {
        Unsigned::Missing => "MissingAuthenticationTokenException",
        Unsigned::Malformed(_) => "IncompleteSignatureException",
        Unsigned::Expired { .. } | Unsigned::Early { .. } | Unsigned::Mismatch => "InvalidSignatureException",
    };
    answer(&Told { status: 403, name, message: unsigned.to_string() })
}

fn answer(told: &Told) -> Response {
    let status = StatusCode::from_u16(told.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(json!({ "message": told.message }))).into_response();
    let headers = response.headers_mut();
    headers.insert(TYPE, HeaderValue::from_static(told.name));
    if let Some(id) = request_id::current().and_then(|id| HeaderValue::from_str(&id).ok()) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// What is told of a problem.
pub fn told(problem: &Problem) -> Told {
    let at = |status, name, message: &str| Told { status, name, message: message.to_owned() };
    match (problem.kind(), problem.violations().first()) {
        (Kind::Invalid | Kind::Forbidden | Kind::TooLarge, Some(first)) => violation(first),
        (Kind::InvalidJson, _) => at(400, "SerializationException", "The request body is not valid JSON."),
        (Kind::Unauthorized, _) => {
            at(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
        }
        (Kind::Forbidden, _) => at(403, "AccessDeniedException", problem.detail()),
        (Kind::Suspended, _) => at(400, "AccountSuspendedException", problem.detail()),
        (Kind::NotFound, _) => at(404, "NotFoundException", problem.detail()),
        (Kind::Conflict, _) => at(400, "AlreadyExistsException", problem.detail()),
        (Kind::RateLimited, _) => at(429, "TooManyRequestsException", "Maximum sending rate exceeded."),
        (Kind::TooLarge, _) => at(413, "RequestEntityTooLargeException", problem.detail()),
        (Kind::Internal, _) => at(500, "InternalFailure", problem.detail()),
        (Kind::Overloaded | Kind::Unavailable | Kind::Full, _) => {
            at(503, "ServiceUnavailable", problem.detail())
        }
        _ => at(400, "BadRequestException", problem.detail()),
    }
}

/// What is told of a mail that is not accepted.
pub fn violation(violation: &Violation) -> Told {
    let (status, name, message) = match violation.code.as_str() {
        "sender_not_verified" | "domain_not_allowed" | "domain_paused" => (
            400,
            "MessageRejected",
            format!(
                "Email address is not verified. The following identities failed the check in region US-EAST-1: {}",
                violation.message.split_whitespace().next().unwrap_or_default()
            ),
        ),
        "unknown_template" | "not_published" => {
            (404, "NotFoundException", "The template does not exist.".to_owned())
        }
        "too_large" => {
            let limit: String = violation.message.chars().filter(char::is_ascii_digit).collect();
            (400, "MessageRejected", format!("Message length is more than {limit} bytes long."))
        }
        "missing_variable" => {
            (400, "BadRequestException", format!("Missing rendering attribute: {}", violation.message))
        }
        "invalid_address" => (400, "BadRequestException", format!("Illegal address: {}", violation.message)),
        _ if violation.pointer.is_empty() => (400, "BadRequestException", violation.message.clone()),
        _ => {
            let field = violation.pointer.trim_start_matches('/').replace('/', ".");
            (400, "BadRequestException", format!("{field}: {}", violation.message))
        }
    };
    Told { status, name, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_has_the_name_that_clients_compare() {
        let of = |violation: Violation| told(&Problem::invalid(vec![violation]));
        let rejected =
            of(Violation::new("/from", "sender_not_verified", "a.example is not a verified domain"));
        let text = "Email address is not verified. The following identities failed the check in region US-EAST-1: a.example";
        assert_eq!(rejected, Told { status: 400, name: "MessageRejected", message: text.to_owned() });
        assert_eq!(of(Violation::new("/template/id", "unknown_template", "")).name, "NotFoundException");
        assert_eq!(of(Violation::new("/Destination", "required", "no")).message, "Destination: no");
        assert_eq!(told(&Problem::new(Kind::Unauthorized, "")).name, "UnrecognizedClientException");
        assert_eq!(told(&Problem::new(Kind::RateLimited, "")).status, 429);
    }
}
