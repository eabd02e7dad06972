//! How a caller is told of its key's rate, and of its tenant's limits (draft-ietf-httpapi-ratelimit-headers). Who counts is `account/rates`, and
//! `submission/quotas`.

use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};

use crate::account::rates::{Allowance, Exhausted};
use crate::domain::quota::Period;
use crate::http::error::{Kind, Problem};
use crate::submission::quotas::Exceeded;

/// Tells what is left.
pub fn tell(headers: &mut HeaderMap, allowance: Allowance) {
    let (quota, left) = (allowance.quota.into(), allowance.remaining.into());
    write(headers, ("default", 1), (quota, left, 1));
}

/// Tells that a limit of the tenant is reached.
pub fn tell_quota(headers: &mut HeaderMap, exceeded: Exceeded) {
    let Exceeded { period, limit, left, wait_seconds } = exceeded;
    let window = match period {
        Period::Second => 1,
        Period::Day => 86_400,
        Period::Month => 30 * 86_400,
    };
    write(headers, (period.as_str(), window), (limit, left, wait_seconds));
}

/// The field that tells what is left.
pub const LEFT: &str = "ratelimit";

impl IntoResponse for Exhausted {
    fn into_response(self) -> Response {
        let detail = format!("this key may be used {} times a second", self.quota);
        let problem = Problem::new(Kind::RateLimited, detail).retry_after(self.wait_seconds);
        let mut response = problem.into_response();
        write(response.headers_mut(), ("default", 1), (self.quota.into(), 0, self.wait_seconds));
        response
    }
}

fn write(headers: &mut HeaderMap, (name, window): (&str, u32), (quota, left, seconds): (i64, i64, u32)) {
    let values = [
        ("ratelimit-policy", format!("\"{name}\";q={quota};w={window}")),
        (LEFT, format!("\"{name}\";r={left};t={seconds}")),
    ];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}
