//! `/suppressions` (resend.com/docs/api-reference/suppressions): the tenant's list, of which an entry is known by its
//! id or its address.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::domain::id::SuppressionId;
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

const MOST: usize = 100;
/// Addresses of one call.
const MAX_BATCH: usize = 100;

fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "Suppression not found")
}

/// Of theirs there are three; who unsubscribed counts among those that were put there.
fn reasons(origin: Option<&str>) -> &'static [Reason] {
    match origin {
        Some("bounce") => &[Reason::Bounce],
        Some("complaint") => &[Reason::Complaint],
        Some("manual") => &[Reason::Manual, Reason::Unsubscribe],
        _ => &Reason::ALL,
    }
}

fn show(entry: &Suppression) -> Value {
    json!({
        "object": "suppression",
        "id": entry.id.uuid().to_string(),
        "email": entry.address,
        "origin": match entry.reason {
            Reason::Bounce => "bounce",
            Reason::Complaint => "complaint",
            Reason::Unsubscribe | Reason::Manual => "manual",
        },
        "source_id": entry.delivery.map(|delivery| delivery.message().uuid().to_string()),
        "created_at": moment(entry.created_at()),
    })
}

async fn of_address(app: &App, principal: &Principal, email: &str) -> Result<Vec<Suppression>, Problem> {
    let address = EmailAddress::parse(email.trim()).map_err(|_| not_found())?;
    let wanted = Wanted { reasons: &Reason::ALL, address: Some(&address), ..Wanted::default() };
    lists::suppressed(app, principal.tenant(), &wanted, (0, MOST)).await
}

/// The entries that an id or an address names.
async fn find(app: &App, principal: &Principal, named: &str) -> Result<Vec<Suppression>, Problem> {
    if named.contains('@') {
        return of_address(app, principal, named).await;
    }
    let id = uuid::Uuid::parse_str(named).map(SuppressionId::from_uuid).map_err(|_| not_found())?;
    Ok(lists::entry(app, principal.tenant(), id).await?.into_iter().collect())
}

/// `GET /suppressions?limit=&after=&origin=`: newest first.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let limit = asked.number("limit", 20, MOST).max(1);
    let after = asked.text("after").and_then(|text| uuid::Uuid::parse_str(text).ok());
    let before = after.map(SuppressionId::from_uuid);
    let wanted = Wanted { reasons: reasons(asked.text("origin")), before, ..Wanted::default() };
    let found = lists::suppressed(&app, principal.tenant(), &wanted, (0, limit + 1)).await?;
    let data: Vec<Value> = found.iter().take(limit).map(show).collect();
    Ok(Json(json!({ "object": "list", "has_more": found.len() > limit, "data": data })))
}

/// `GET /suppressions/{id or email}`.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(named): Path<String>,
) -> Result<Json<Value>, Problem> {
    let found = find(&app, &principal, &named).await?;
    Ok(Json(found.first().map(show).ok_or_else(not_found)?))
}

/// Suppresses addresses; gives the entry of each.
async fn added(app: &App, principal: &Principal, emails: &[String]) -> Result<Vec<Value>, Problem> {
    let mut new = Vec::new();
    for email in emails {
        let bad = |_| Problem::field("/email", "invalid_address", "Invalid `email` field.");
        new.push((EmailAddress::parse(email.trim()).map_err(bad)?, None));
    }
    lists::suppress(app, principal, new, (Reason::Manual, "")).await?;
    let mut ids = Vec::new();
    for email in emails {
        let found = of_address(app, principal, email).await?;
        let id = found.first().map(|entry| entry.id.uuid().to_string());
        ids.push(json!({ "object": "suppression", "id": id }));
    }
    Ok(ids)
}

/// `POST /suppressions`.
pub async fn add(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let email = value.get("email").and_then(Value::as_str).map(str::to_owned);
    let email = email.ok_or_else(|| Problem::field("/email", "required", "it is needed"))?;
    let mut ids = added(&app, &principal, &[email]).await?;
    Ok((StatusCode::CREATED, Json(ids.pop().unwrap_or_default())))
}

fn texts(value: &Value, name: &str) -> Result<Option<Vec<String>>, Problem> {
    let Some(list) = value.get(name).filter(|list| !list.is_null()) else { return Ok(None) };
    let list = list.as_array().filter(|list| (1..=MAX_BATCH).contains(&list.len()));
    let list = list.map(|list| list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect());
    let message = format!("Invalid `{name}` field. It holds 1 to {MAX_BATCH} entries.");
    list.map(Some).ok_or_else(|| Problem::field(&format!("/{name}"), "too_many", message))
}

/// `POST /suppressions/batch/add` with `emails`.
pub async fn add_many(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let emails =
        texts(&value, "emails")?.ok_or_else(|| Problem::field("/emails", "required", "it is needed"))?;
    Ok((StatusCode::CREATED, Json(json!({ "data": added(&app, &principal, &emails).await? }))))
}

async fn removed(app: &App, principal: &Principal, entries: Vec<Suppression>) -> Result<Value, Problem> {
    let first = entries.first().map(|entry| entry.id.uuid().to_string()).ok_or_else(not_found)?;
    for entry in entries {
        lists::unsuppress_one(app, principal, entry.id, &Reason::ALL).await?;
    }
    Ok(json!({ "object": "suppression", "id": first, "deleted": true }))
}

/// `DELETE /suppressions/{id or email}`.
pub async fn remove(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(named): Path<String>,
) -> Result<Json<Value>, Problem> {
    let found = find(&app, &principal, &named).await?;
    Ok(Json(removed(&app, &principal, found).await?))
}

/// `POST /suppressions/batch/remove` with `emails` or `ids`; those that are on no list are passed over.
pub async fn remove_many(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let named = match texts(&value, "emails")? {
        Some(emails) => Some(emails),
        None => texts(&value, "ids")?,
    };
    let named = named.ok_or_else(|| Problem::field("/emails", "required", "it is needed"))?;
    let mut gone = Vec::new();
    for named in &named {
        let found = find(&app, &principal, named).await?;
        if !found.is_empty() {
            gone.push(removed(&app, &principal, found).await?);
        }
    }
    Ok(Json(json!({ "data": gone })))
}
