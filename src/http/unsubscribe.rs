//! `/u/{token}`: where recipients leave a stream. Open to all who have the link, which nobody can make. GET shows
//! a page and changes nothing, since links are opened by machines too; POST acts at once, without a redirect, a
//! cookie or a question, whether it comes from that page or from a mail program (RFC 8058 §3.2).

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use crate::account::unsubscribe::{Topic, leave, topics};
use crate::domain::unsubscribe_link::Leaving;

use super::App;
use super::error::Problem;
use super::extract::{self, Path};

/// The body of a form with all its topics.
const MAX_BODY: usize = 64 * 1024;
/// Forms on this page go back to it alone.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

#[derive(Template)]
#[template(path = "unsubscribe.html")]
struct Page<'a> {
    address: &'a str,
    stream: &'a str,
    topics: &'a [Topic],
    /// What was left just now, by title.
    left: &'a [&'a str],
}

#[derive(Template)]
#[template(path = "unsubscribe_unknown.html")]
struct Unknown;

/// Shows what can be left.
pub async fn show(State(app): State<App>, Path(token): Path<String>) -> Result<Response, Problem> {
    let Some(leaving) = app.unsubscribes.read(&token) else { return Ok(unknown()) };
    let topics = topics(&app.database, leaving.tenant, &leaving.stream).await?;
    Ok(page(&leaving, &topics, &[]))
}

/// Leaves: the streams that the form names, or else that of the mail.
pub async fn act(
    State(app): State<App>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Some(leaving) = app.unsubscribes.read(&token) else { return Ok(unknown()) };
    let body = app.budget.read(&headers, body, MAX_BODY).await?;
    let topics = topics(&app.database, leaving.tenant, &leaving.stream).await?;
    let chosen = chosen(&headers, &body.bytes, &topics);
    let (streams, method) = match chosen {
        Some(chosen) => (chosen, "page"),
        None => (vec![leaving.stream.clone()], "one_click"),
    };
    leave(&app.database, &leaving, &streams, method, app.clock.now()).await?;
    let left: Vec<&str> = topics
        .iter()
        .filter(|topic| streams.contains(&topic.name))
        .map(|topic| topic.title.as_str())
        .collect();
    Ok(page(&leaving, &topics, &left))
}

/// The topics that our own form names; `None`: it is not our form.
fn chosen(headers: &HeaderMap, body: &[u8], topics: &[Topic]) -> Option<Vec<String>> {
    if extract::media_type(headers).as_deref() != Some("application/x-www-form-urlencoded") {
        return None;
    }
    let fields: Vec<(String, String)> = url::form_urlencoded::parse(body).into_owned().collect();
    if fields.iter().any(|(name, _)| name == "everything") {
        return Some(topics.iter().map(|topic| topic.name.clone()).collect());
    }
    let known = |name: &String| topics.iter().any(|topic| topic.name == *name);
    let named = fields.into_iter().filter(|(name, _)| name == "topic").map(|(_, value)| value).filter(known);
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then_some(named)
}

fn page(leaving: &Leaving, topics: &[Topic], left: &[&str]) -> Response {
    let page = Page { address: &leaving.address, stream: &leaving.stream, topics, left };
    answer(StatusCode::OK, &page)
}

fn unknown() -> Response {
    answer(StatusCode::NOT_FOUND, &Unknown)
}

fn answer(status: StatusCode, page: &impl Template) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
    ];
    match page.render() {
        Ok(text) => (status, headers, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(error = %error, "a page cannot be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, headers, "Something is wrong on our side; try again.")
                .into_response()
        }
    }
}
