//! `/api/v1/suppression-list` (developers.sparkpost.com, "Suppression list"). Mail of both their types is the tenant's
//! mail here: an entry is for all streams.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::domain::suppression::{Reason, Suppression};
use crate::http::App;
use crate::http::api::wire::moment;
use crate::http::auth::Principal;
use crate::http::compat::lists::{self, Wanted};
use crate::http::compat::parts;
use crate::http::compat::query::Asked;
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;
use crate::mail::EmailAddress;

const MOST: usize = 1000;
/// Entries in one call.
const MAX_BATCH: usize = 10_000;

fn show(entry: &Suppression) -> Value {
    let (source, description) = match entry.reason {
        Reason::Bounce => ("Bounce Rule", "the address bounced"),
        Reason::Complaint => ("Spam Complaint", "its owner complained"),
        Reason::Unsubscribe => ("List Unsubscribe", "its owner unsubscribed"),
        Reason::Manual => ("Manually Added", ""),
    };
    let at = moment(entry.created_at());
    json!({
        "recipient": entry.address,
        "type": "transactional",
        "source": source,
        "description": description,
        "created": at,
        "updated": at,
        "transactional": true,
    })
}

fn address(text: &str) -> Result<EmailAddress, Problem> {
    EmailAddress::parse(text)
        .map_err(|error| Problem::field("/recipient", "invalid_address", error.to_string()))
}

fn everywhere(address: &EmailAddress) -> Wanted<'_> {
    Wanted { reasons: &Reason::ALL, address: Some(address), ..Wanted::default() }
}

fn nowhere() -> Problem {
    Problem::new(Kind::NotFound, "Recipient could not be found")
}

/// `GET /api/v1/suppression-list`.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let wanted = Wanted {
        reasons: &Reason::ALL,
        time: (asked.moment("from"), asked.moment("to")),
        ..Wanted::default()
    };
    let limit = asked.number("per_page", asked.number("limit", MOST, MOST), MOST);
    let page = asked.number("page", 1, 10_000).max(1);
    let found = lists::suppressed(&app, principal.tenant(), &wanted, ((page - 1) * limit, limit)).await?;
    let shown: Vec<Value> = found.iter().map(show).collect();
    Ok(Json(json!({ "results": shown, "total_count": shown.len(), "links": [] })))
}

/// `GET /api/v1/suppression-list/summary`: how many entries of each source.
pub async fn summary(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Value>, Problem> {
    let mut counts = [0; 4];
    for (count, reason) in counts.iter_mut().zip(Reason::ALL) {
        let reasons = [reason];
        let wanted = Wanted { reasons: &reasons, ..Wanted::default() };
        *count = lists::suppressed(&app, principal.tenant(), &wanted, (0, MAX_BATCH)).await?.len();
    }
    let of = |wanted: Reason| {
        let found = Reason::ALL.iter().zip(counts).find(|(reason, _)| **reason == wanted);
        found.map_or(0, |(_, count)| count)
    };
    Ok(Json(json!({ "results": {
        "spam_complaint": of(Reason::Complaint),
        "list_unsubscribe": of(Reason::Unsubscribe),
        "bounce_rule": of(Reason::Bounce),
        "unsubscribe_link": 0,
        "manually_added": of(Reason::Manual),
        "compliance": 0,
        "total": counts.iter().sum::<usize>(),
    } })))
}

/// `GET /api/v1/suppression-list/{recipient}`.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(email): Path<String>,
) -> Result<Json<Value>, Problem> {
    let address = address(&email)?;
    let found = lists::suppressed(&app, principal.tenant(), &everywhere(&address), (0, 10)).await?;
    if found.is_empty() {
        return Err(nowhere());
    }
    Ok(Json(json!({ "results": found.iter().map(show).collect::<Vec<_>>() })))
}

/// `PUT /api/v1/suppression-list/{recipient}`.
pub async fn put(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(email): Path<String>,
) -> Result<Json<Value>, Problem> {
    add(&app, &principal, vec![address(&email)?]).await
}

/// `PUT /api/v1/suppression-list` with `recipients`.
pub async fn put_many(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let list = value.get("recipients").and_then(Value::as_array).cloned().unwrap_or_default();
    if list.is_empty() || list.len() > MAX_BATCH {
        return Err(Problem::field("/recipients", "required", "1 to 10000 recipients are needed"));
    }
    let texts = list.iter().map(|entry| {
        let text = entry.get("recipient").or_else(|| entry.get("email")).and_then(Value::as_str);
        address(text.unwrap_or_default())
    });
    add(&app, &principal, texts.collect::<Result<Vec<_>, _>>()?).await
}

async fn add(app: &App, principal: &Principal, addresses: Vec<EmailAddress>) -> Result<Json<Value>, Problem> {
    let addresses = addresses.into_iter().map(|address| (address, None)).collect();
    lists::suppress(app, principal, addresses, (Reason::Manual, "")).await?;
    Ok(Json(json!({ "results": { "message": "Suppression List successfully updated" } })))
}

/// `DELETE /api/v1/suppression-list/{recipient}`.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(email): Path<String>,
) -> Result<StatusCode, Problem> {
    let address = address(&email)?;
    match lists::unsuppress(&app, &principal, &everywhere(&address)).await? {
        0 => Err(nowhere()),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}
