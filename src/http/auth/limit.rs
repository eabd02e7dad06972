//! How a caller is told of its key's rate (draft-ietf-httpapi-ratelimit-headers). Who counts is `account/rates`.

use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};

use crate::account::rates::{Allowance, Exhausted};
use crate::http::error::{Kind, Problem};

/// Tells what is left.
pub fn tell(headers: &mut HeaderMap, allowance: Allowance) {
    write(headers, allowance.quota, allowance.remaining, 1);
}

impl IntoResponse for Exhausted {
    fn into_response(self) -> Response {
        let detail = format!("this key may be used {} times a second", self.quota);
        let problem = Problem::new(Kind::RateLimited, detail).retry_after(self.wait_seconds);
        let mut response = problem.into_response();
        write(response.headers_mut(), self.quota, 0, self.wait_seconds);
        response
    }
}

fn write(headers: &mut HeaderMap, quota: u32, remaining: u32, seconds: u32) {
    let values = [
        ("ratelimit-policy", format!("\"default\";q={quota};w=1")),
        ("ratelimit", format!("\"default\";r={remaining};t={seconds}")),
    ];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}
