//! `/t/`: the pixel and the links of tracked mail. Open to all, since recipients have no key: the token is what
//! proves that we made the link.
//!
//! No database is asked and nothing is waited for. What is no token of ours gets a page that leads nowhere, whatever
//! it looks like. There are no cookies, and nothing may be kept by caches.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::domain::id::DeliveryId;
use crate::domain::tracking::{Target, TrackingTokens};
use crate::feedback::visits::{Visit, Visits};

use super::App;
use super::auth::client_ip;
use super::extract::Path;

/// One transparent point: GIF89a, 1 × 1.
const PIXEL: &[u8] =
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\
    \x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

const NOTHING: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>No such link</title>\n\
    <h1>This link leads nowhere</h1>\n<p>It is not complete, or not ours. Open it from the mail again, without \
    changing it.</p></html>\n";

/// What the tracking routes work with.
#[derive(Clone)]
pub struct Tracking {
    /// Reads tokens.
    pub tokens: TrackingTokens,
    /// Takes visits.
    pub visits: Visits,
}

/// `GET /t/o/{token}.gif`: a mail was opened.
pub async fn open(State(app): State<App>, Path(file): Path<String>, request: Request) -> Response {
    let token = file.strip_suffix(".gif");
    let Some(delivery) = token.and_then(|token| app.tracking.tokens.opened(token)) else { return nothing() };
    note(&app, delivery, None, &request);
    let headers =
        [(header::CONTENT_TYPE, "image/gif"), (header::CACHE_CONTROL, "no-store, private, max-age=0")];
    (headers, PIXEL).into_response()
}

/// `GET /t/c/{token}`: a link was followed.
pub async fn click(State(app): State<App>, Path(token): Path<String>, request: Request) -> Response {
    let Some((delivery, target)) = app.tracking.tokens.clicked(&token) else { return nothing() };
    let Ok(location) = HeaderValue::from_str(target.as_str()) else { return nothing() };
    note(&app, delivery, Some(&target), &request);
    (StatusCode::FOUND, [(header::LOCATION, location)], [("x-robots-tag", "noindex")]).into_response()
}

fn note(app: &App, delivery: DeliveryId, target: Option<&Target>, request: &Request) {
    let agent = request.headers().get(header::USER_AGENT);
    app.tracking.visits.note(Visit {
        delivery,
        url: target.map(|target| target.as_str().to_owned()),
        at: app.clock.now(),
        address: client_ip(request, &app.trusted_proxies),
        user_agent: agent
            .map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned())
            .unwrap_or_default(),
        head_only: request.method() == Method::HEAD,
    });
}

fn nothing() -> Response {
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], NOTHING).into_response()
}
