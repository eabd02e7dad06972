//! `/v1/suppressions/{list}` (developers.mailersend.com, "Recipients"): hard bounces, complaints, unsubscribes and the
//! blocklist are one list here, told apart by reason.

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

const MOST: usize = 100;
const MAX_BATCH: usize = 1000;

fn reason(list: &str) -> Result<Reason, Problem> {
    match list {
        "hard-bounces" => Ok(Reason::Bounce),
        "spam-complaints" => Ok(Reason::Complaint),
        "unsubscribes" => Ok(Reason::Unsubscribe),
        "blocklist" => Ok(Reason::Manual),
        _ => Err(Problem::new(Kind::NotFound, "Resource not found.")),
    }
}

fn show(entry: &Suppression) -> Value {
    let at = moment(entry.created_at());
    json!({
        "id": entry.id.to_string(),
        "type": "exact",
        "pattern": entry.address,
        "recipient": { "id": entry.id.to_string(), "email": entry.address, "created_at": at },
        "reason": entry.reason.as_str(),
        "created_at": at,
        "updated_at": at,
    })
}

/// `GET /v1/suppressions/{list}`.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let reasons = [reason(&name)?];
    let asked = Asked::parse(query.as_deref());
    let (page, limit) = (asked.number("page", 1, 1000).max(1), asked.number("limit", 25, MOST).max(1));
    let wanted = Wanted { reasons: &reasons, ..Wanted::default() };
    let found = lists::suppressed(&app, principal.tenant(), &wanted, ((page - 1) * limit, limit)).await?;
    let shown: Vec<Value> = found.iter().map(show).collect();
    Ok(Json(json!({ "data": shown, "meta": { "current_page": page, "per_page": limit } })))
}

/// `POST /v1/suppressions/{list}` with `recipients`; patterns are not taken.
pub async fn add(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let reasons = [reason(&name)?];
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let given = addresses(&value, "recipients")?;
    let entries = given.iter().map(|address| (address.clone(), None)).collect();
    lists::suppress(&app, &principal, entries, (reasons[0], "")).await?;
    let mut shown = Vec::new();
    for address in &given {
        let wanted = Wanted { reasons: &Reason::ALL, address: Some(address), ..Wanted::default() };
        let found = lists::suppressed(&app, principal.tenant(), &wanted, (0, 1)).await?;
        shown.extend(found.iter().map(show));
    }
    Ok((StatusCode::CREATED, Json(json!({ "data": shown }))))
}

/// `DELETE /v1/suppressions/{list}` with `ids`, or with `all`.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let reasons = [reason(&name)?];
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let all = Wanted { reasons: &reasons, ..Wanted::default() };
    if value.get("all").and_then(Value::as_bool) == Some(true) {
        lists::unsuppress(&app, &principal, &all).await?;
        return Ok(Json(json!({})));
    }
    let ids = value.get("ids").and_then(Value::as_array).filter(|ids| (1..=MAX_BATCH).contains(&ids.len()));
    let ids = ids.ok_or_else(|| Problem::field("/ids", "required", "1 to 1000 ids are needed"))?;
    for id in ids.iter().filter_map(|id| id.as_str()?.parse().ok()) {
        lists::unsuppress_one(&app, &principal, id, &reasons).await?;
    }
    Ok(Json(json!({})))
}

fn addresses(value: &Value, name: &str) -> Result<Vec<EmailAddress>, Problem> {
    let list = value.get(name).and_then(Value::as_array).filter(|list| (1..=MAX_BATCH).contains(&list.len()));
    let pointer = format!("/{name}");
    let list = list.ok_or_else(|| Problem::field(&pointer, "required", "1 to 1000 are needed"))?;
    let read = (0..).zip(list).map(|(index, text): (usize, _)| {
        EmailAddress::parse(text.as_str().unwrap_or_default().trim()).map_err(|error| {
            Problem::field(&format!("{pointer}/{index}"), "invalid_address", error.to_string())
        })
    });
    read.collect()
}
