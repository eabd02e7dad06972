//! `/v3/{domain}/bounces`, `…/complaints` and `…/unsubscribes` (documentation.mailgun.com/docs/mailgun/api-reference/
//! openapi-final/tag/Bounces). Lists there are a domain's; here they are the tenant's, whatever domain is named.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::domain::suppression::{Reason, Suppression};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::lists::{self, Wanted};
use crate::http::compat::query::Asked;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::http::strict_json;
use crate::mail::EmailAddress;

use super::errors::said;
use super::form::Form;

const MOST: usize = 1000;

/// An address, and since when it is suppressed.
type Since = (EmailAddress, Option<OffsetDateTime>);

/// One of the three lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `bounces`.
    Bounces,
    /// `complaints`.
    Complaints,
    /// `unsubscribes`.
    Unsubscribes,
}

impl List {
    fn reasons(self) -> &'static [Reason] {
        match self {
            List::Bounces => &[Reason::Bounce],
            List::Complaints => &[Reason::Complaint],
            List::Unsubscribes => &[Reason::Unsubscribe, Reason::Manual],
        }
    }

    const fn name(self) -> &'static str {
        match self {
            List::Bounces => "bounces",
            List::Complaints => "complaints",
            List::Unsubscribes => "unsubscribes",
        }
    }

    fn show(self, entry: &Suppression) -> Value {
        let mut shown = json!({ "address": entry.address, "created_at": rfc_2822(entry.created_at()) });
        match self {
            List::Bounces => {
                shown["code"] = "550".into();
                shown["error"] = "".into();
            }
            List::Unsubscribes => {
                let tag = if entry.stream.is_empty() { "*" } else { &entry.stream };
                shown["tags"] = json!([tag]);
            }
            List::Complaints => {}
        }
        shown
    }

    fn parse(text: &str) -> Result<List, Problem> {
        [List::Bounces, List::Complaints, List::Unsubscribes]
            .into_iter()
            .find(|list| list.name() == text)
            .ok_or_else(|| Problem::new(Kind::NotFound, "not found"))
    }
}

/// `Tue, 24 Nov 2026 10:00:00 UTC`.
pub fn rfc_2822(at: OffsetDateTime) -> String {
    at.format(&Rfc2822).unwrap_or_default().replace("+0000", "UTC")
}

/// `GET /v3/{domain}/{list}`.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((_, name)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let list = List::parse(&name)?;
    let asked = Asked::parse(query.as_deref());
    let (skip, limit) = (asked.number("skip", 0, 10_000), asked.number("limit", 100, MOST));
    let wanted = Wanted { reasons: list.reasons(), ..Wanted::default() };
    let found = lists::suppressed(&app, principal.tenant(), &wanted, (skip, limit)).await?;
    let items: Vec<Value> = found.iter().map(|entry| list.show(entry)).collect();
    let path = place(&headers, &uri);
    let page = |skip: usize| format!("{path}?limit={limit}&skip={skip}");
    Ok(Json(json!({
        "items": items,
        "paging": {
            "first": page(0),
            "next": page(skip + items.len()),
            "previous": page(skip.saturating_sub(limit)),
            "last": page(skip + items.len()),
        },
    })))
}

/// The URL of a list, as its caller knows us: where he is led to page on.
pub fn place(headers: &HeaderMap, uri: &Uri) -> String {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or("localhost");
    let scheme =
        headers.get("x-forwarded-proto").filter(|scheme| *scheme == "https").map_or("http", |_| "https");
    format!("{scheme}://{host}{}", uri.path())
}

/// `GET /v3/{domain}/{list}/{address}`.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((_, name, email)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let list = List::parse(&name)?;
    let address = address(&email)?;
    let wanted = Wanted { reasons: list.reasons(), address: Some(&address), ..Wanted::default() };
    let found = lists::suppressed(&app, principal.tenant(), &wanted, (0, 1)).await?;
    Ok(match found.first() {
        Some(entry) => Json(list.show(entry)).into_response(),
        None => said(404, &format!("Address not found in {} table", list.name())),
    })
}

/// `POST /v3/{domain}/{list}`: a form with one address, or a JSON list.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((_, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let list = List::parse(&name)?;
    let held = app.budget.read(&headers, body, 4 << 20).await?;
    let is_json = extract::media_type(&headers).as_deref() == Some("application/json");
    let given: Vec<(String, Option<String>, Option<String>)> = if is_json {
        let bad = |_| Problem::new(Kind::InvalidRequest, "Invalid JSON");
        let value = strict_json::parse(&held.bytes).map_err(bad)?;
        let entries = match value {
            Value::Array(entries) => entries,
            one => vec![one],
        };
        let text = |entry: &Value, name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        let tag = |entry: &Value| {
            text(entry, "tag").or_else(|| entry.get("tags")?.get(0)?.as_str().map(str::to_owned))
        };
        let read = |entry: &Value| {
            (text(entry, "address").unwrap_or_default(), text(entry, "created_at"), tag(entry))
        };
        entries.iter().take(MOST).map(read).collect()
    } else {
        let form = Form::read(&headers, held.bytes.clone()).await?;
        let text = |name: &str| form.one(name).map(str::to_owned);
        vec![(text("address").unwrap_or_default(), text("created_at"), text("tag"))]
    };
    let mut by_stream: Vec<(String, Vec<Since>)> = Vec::new();
    for (email, since, tag) in &given {
        let since = since
            .as_deref()
            .and_then(|text| OffsetDateTime::parse(&text.replace("UTC", "GMT"), &Rfc2822).ok());
        let stream = tag.as_deref().filter(|tag| *tag != "*" && list == List::Unsubscribes);
        let stream = stream.and_then(|tag| crate::domain::submission::StreamName::parse(tag).ok());
        let stream = stream.map(|name| name.as_str().to_owned()).unwrap_or_default();
        let entry = (address(email)?, since);
        match by_stream.iter_mut().find(|(known, _)| *known == stream) {
            Some((_, entries)) => entries.push(entry),
            None => by_stream.push((stream, vec![entry])),
        }
    }
    let reason = list.reasons()[0];
    for (stream, entries) in by_stream {
        lists::suppress(&app, &principal, entries, (reason, &stream)).await?;
    }
    let name = list.name();
    let answer = match given.as_slice() {
        [(only, ..)] => {
            json!({ "message": format!("Address has been added to the {name} table"), "address": only })
        }
        all => json!({ "message": format!("{} addresses have been added to the {name} table", all.len()) }),
    };
    Ok(Json(answer).into_response())
}

/// `DELETE /v3/{domain}/{list}/{address}`.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((_, name, email)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let list = List::parse(&name)?;
    let address = address(&email)?;
    let wanted = Wanted { reasons: list.reasons(), address: Some(&address), ..Wanted::default() };
    if lists::unsuppress(&app, &principal, &wanted).await? == 0 {
        return Ok(said(404, &format!("Address not found in {} table", list.name())));
    }
    let message = match list {
        List::Bounces => "Bounced address has been removed",
        List::Complaints => "Spam complaint has been removed",
        List::Unsubscribes => "Unsubscribe event has been removed",
    };
    Ok(Json(json!({ "message": message, "address": email })).into_response())
}

/// `DELETE /v3/{domain}/{list}`: all of it.
pub async fn delete_all(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let list = List::parse(&name)?;
    lists::unsuppress(&app, &principal, &Wanted { reasons: list.reasons(), ..Wanted::default() }).await?;
    let message = match list {
        List::Bounces => "Bounced addresses for this domain have been removed",
        List::Complaints => "Complaint addresses for this domain have been removed",
        List::Unsubscribes => "Unsubscribe addresses for this domain have been removed",
    };
    Ok(said(200, message))
}

fn address(text: &str) -> Result<EmailAddress, Problem> {
    let bad = |_| Problem::field("/address", "invalid_address", "not an address");
    EmailAddress::parse(text.trim()).map_err(bad)
}
