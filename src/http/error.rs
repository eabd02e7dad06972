//! Problems: every refusal of the API, as RFC 9457 has it. The only place that knows which error has which
//! status and code.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::quota::Period;
use crate::store::StoreError;
use crate::submission::quotas::Exceeded;
use crate::submission::{AcceptError, Rejected, Rejection, Violation};

use super::auth::limit;
use super::request_id;

/// A refusal.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<Violation>,
    retry_after: Option<u32>,
    quota: Option<Exceeded>,
}

/// What can be refused. Codes never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 400: not JSON, or JSON that cannot be trusted.
    InvalidJson,
    /// 400: a header or a query that cannot be read.
    InvalidRequest,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 403: the tenant is suspended.
    Suspended,
    /// 404.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 409.
    Conflict,
    /// 413.
    TooLarge,
    /// 415.
    UnsupportedMediaType,
    /// 422.
    Invalid,
    /// 422: an Idempotency-Key with another request.
    KeyReused,
    /// 429.
    RateLimited,
    /// 429: a limit of the tenant is reached.
    QuotaExceeded,
    /// 500.
    Internal,
    /// 503: more comes in than can be stored.
    Overloaded,
    /// 503: the database is away.
    Unavailable,
    /// 507: the database has no room.
    Full,
}

impl Kind {
    /// Every kind, for the reference.
    pub const ALL: [Kind; 18] = [
        Kind::InvalidJson,
        Kind::InvalidRequest,
        Kind::Unauthorized,
        Kind::Forbidden,
        Kind::Suspended,
        Kind::NotFound,
        Kind::MethodNotAllowed,
        Kind::Conflict,
        Kind::TooLarge,
        Kind::UnsupportedMediaType,
        Kind::Invalid,
        Kind::KeyReused,
        Kind::RateLimited,
        Kind::QuotaExceeded,
        Kind::Internal,
        Kind::Overloaded,
        Kind::Unavailable,
        Kind::Full,
    ];

    /// Status, code and title.
    pub const fn parts(self) -> (u16, &'static str, &'static str) {
        match self {
            Kind::InvalidJson => (400, "invalid_json", "The body is not usable JSON"),
            Kind::InvalidRequest => (400, "invalid_request", "The request cannot be read"),
            Kind::Unauthorized => (401, "unauthorized", "A valid API key is needed"),
            Kind::Forbidden => (403, "forbidden", "This key may not do that"),
            Kind::Suspended => (403, "tenant_suspended", "The tenant is suspended"),
            Kind::NotFound => (404, "not_found", "There is no such thing"),
            Kind::MethodNotAllowed => (405, "method_not_allowed", "Not with this method"),
            Kind::Conflict => (409, "conflict", "It is not in a state for that"),
            Kind::TooLarge => (413, "too_large", "Larger than allowed"),
            Kind::UnsupportedMediaType => (415, "unsupported_media_type", "Not a type this can read"),
            Kind::Invalid => (422, "validation_failed", "Some fields cannot be used"),
            Kind::KeyReused => {
                (422, "idempotency_key_reused", "The Idempotency-Key belongs to another request")
            }
            Kind::RateLimited => (429, "rate_limited", "Too many requests"),
            Kind::QuotaExceeded => (429, "quota_exceeded", "A limit of this tenant is reached"),
            Kind::Internal => (500, "internal", "Something is wrong on our side"),
            Kind::Overloaded => (503, "overloaded", "More is coming in than can be stored"),
            Kind::Unavailable => (503, "unavailable", "The database does not answer"),
            Kind::Full => (507, "storage_full", "The database has no room"),
        }
    }
}

/// When to try again after trouble of ours, in seconds.
const RETRY_AFTER: u32 = 5;

impl Problem {
    /// A refusal with a sentence a person can act on.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        let retry_after =
            matches!(kind, Kind::Overloaded | Kind::Unavailable | Kind::Full).then_some(RETRY_AFTER);
        Problem { kind, detail: detail.into(), errors: Vec::new(), retry_after, quota: None }
    }

    /// Fields that cannot be used.
    pub fn invalid(errors: Vec<Violation>) -> Problem {
        let detail = match errors.as_slice() {
            [only] => only.message.clone(),
            _ => format!("{} things are wrong; errors names each", errors.len()),
        };
        Problem { errors, ..Problem::new(Kind::Invalid, detail) }
    }

    /// One field that cannot be used.
    pub fn field(pointer: &str, code: &str, message: impl Into<String>) -> Problem {
        Problem::invalid(vec![Violation::new(pointer, code, message)])
    }

    /// There is no such thing, for this caller.
    pub fn not_found(what: &str) -> Problem {
        Problem::new(Kind::NotFound, format!("there is no such {what}"))
    }

    /// What is refused.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The sentence.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The fields that cannot be used, if that is what it is about.
    pub fn violations(&self) -> &[Violation] {
        &self.errors
    }

    /// With a wait.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Problem {
        Problem { retry_after: Some(seconds), ..self }
    }

    /// Its body.
    pub fn body(&self) -> ProblemBody {
        let (status, code, title) = self.kind.parts();
        // A single violation of a rejection may be more telling than the kind.
        let code = match (self.kind, self.errors.as_slice()) {
            (Kind::Forbidden, [only]) => only.code.clone(),
            _ => code.to_owned(),
        };
        ProblemBody {
            r#type: format!("urn:postroad:problem:{code}"),
            title,
            status,
            detail: self.detail.clone(),
            code,
            request_id: request_id::current(),
            errors: self.errors.iter().map(WireViolation::from).collect(),
        }
    }
}

/// RFC 9457's members and ours.
#[derive(Debug, Serialize)]
pub struct ProblemBody {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<WireViolation>,
}

#[derive(Debug, Serialize)]
struct WireViolation {
    pointer: String,
    code: String,
    message: String,
}

impl From<&Violation> for WireViolation {
    fn from(violation: &Violation) -> WireViolation {
        WireViolation {
            pointer: violation.pointer.clone(),
            code: violation.code.clone(),
            message: violation.message.clone(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.body();
        let status = StatusCode::from_u16(body.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(quota) = self.quota {
            limit::tell_quota(headers, quota);
        }
        if self.kind == Kind::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"postroad\""));
        }
        // For doors that say the same in other words.
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Problem {
        let kind = match rejected.rejection {
            Rejection::Invalid => return Problem::invalid(rejected.violations),
            Rejection::Forbidden => Kind::Forbidden,
            Rejection::TooLarge => Kind::TooLarge,
        };
        let detail = rejected.violations.first().map(|first| first.message.clone()).unwrap_or_default();
        Problem { errors: rejected.violations, ..Problem::new(kind, detail) }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        match error {
            StoreError::Unavailable(_) => Problem::new(
                Kind::Unavailable,
                "the database does not answer; try again, with the same Idempotency-Key if you gave one",
            ),
            StoreError::Full(_) => Problem::new(Kind::Full, "the database has no room; nothing was stored"),
            StoreError::Conflict(_) | StoreError::Refused(_) => {
                tracing::error!(error = %error, "a request failed in the database");
                Problem::new(
                    Kind::Internal,
                    "the request could not be carried out; the log has the reason under this request id",
                )
            }
        }
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Problem {
        StoreError::from(error).into()
    }
}

/// What is wrong with the mails of a call, each below its place.
fn together(refused: Vec<(usize, Rejected)>) -> Problem {
    let kind = refused.first().map_or(Rejection::Invalid, |(_, rejected)| rejected.rejection);
    let at_its_place = |place: usize, violation: Violation| Violation {
        pointer: format!("/{place}{}", violation.pointer),
        ..violation
    };
    let violations = refused.into_iter().flat_map(|(place, rejected)| {
        rejected.violations.into_iter().map(move |own| at_its_place(place, own))
    });
    Rejected { rejection: kind, violations: violations.collect() }.into()
}

impl From<Exceeded> for Problem {
    fn from(exceeded: Exceeded) -> Problem {
        let Exceeded { period, limit, left, wait_seconds } = exceeded;
        let what = if period == Period::Second { "send" } else { "mail recipients" };
        let detail = format!(
            "this tenant may {what} {limit} times a {}, and {left} are left of it: fewer than this call takes",
            period.as_str()
        );
        let problem = Problem::new(Kind::QuotaExceeded, detail).retry_after(wait_seconds);
        Problem { quota: Some(exceeded), ..problem }
    }
}

impl From<AcceptError> for Problem {
    fn from(error: AcceptError) -> Problem {
        match error {
            AcceptError::Refused(refused) => together(refused),
            AcceptError::KeyReused => Problem::new(
                Kind::KeyReused,
                "this Idempotency-Key was used with another request; use a new key",
            ),
            AcceptError::Quota(exceeded) => exceeded.into(),
            AcceptError::Busy => {
                Problem::new(Kind::Overloaded, "more mail is coming in than can be stored; try again")
                    .retry_after(1)
            }
            AcceptError::Store(error) => error.into(),
        }
    }
}
