//! Request ids: given back in `X-Request-Id`, named in problems and in every log line of the request.

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::response::Response;
use tracing::Instrument;

tokio::task_local! {
    static CURRENT: String;
}

const NAME: &str = "x-request-id";

/// The id of the request that is being answered; `None`: outside of any.
pub fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Takes the caller's id if it is harmless, or makes one; and logs the request.
pub async fn with(request: Request, answer: impl AsyncFnOnce(Request) -> Response) -> Response {
    let given =
        request.headers().get(NAME).and_then(|value| value.to_str().ok()).filter(|id| is_harmless(id));
    let id = given.map_or_else(new_id, str::to_owned);
    let span = tracing::info_span!("request", request.id = %id, method = %request.method());
    let path = request.uri().path().to_owned();
    let began = std::time::Instant::now();
    let respond = async {
        let response = answer(request).await;
        let status = response.status().as_u16();
        let duration_ms = began.elapsed().as_millis() as u64;
        if status >= 500 {
            tracing::warn!(path = %escape(&path), status, duration_ms, "answered");
        } else {
            tracing::debug!(path = %escape(&path), status, duration_ms, "answered");
        }
        response
    };
    let mut response = CURRENT.scope(id.clone(), respond.instrument(span)).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(NAME, value);
    }
    response
}

fn is_harmless(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

fn new_id() -> String {
    let mut random = [0u8; 10];
    // Without randomness ids repeat, which harms nobody.
    let _ = aws_lc_rs::rand::fill(&mut random);
    format!("req_{}", data_encoding::HEXLOWER.encode(&random))
}

/// Paths are the caller's: nothing in them may forge a log line.
fn escape(path: &str) -> String {
    path.chars().take(200).flat_map(char::escape_default).collect()
}
