//! `/v2/email/suppression/addresses` ("PutSuppressedDestination" and the others): the tenant's list, as far as it is for
//! all streams.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::domain::suppression::{Reason, Suppression};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::lists::{self, Wanted};
use crate::http::compat::parts;
use crate::http::compat::query::Asked;
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;
use crate::http::fields::Fields;
use crate::mail::EmailAddress;

const MOST: usize = 1000;

/// Of theirs there are two; whatever else keeps an address from being mailed is shown as a bounce.
fn reason(entry: &Suppression) -> &'static str {
    if entry.reason == Reason::Complaint { "COMPLAINT" } else { "BOUNCE" }
}

fn reasons(text: &str) -> Option<&'static [Reason]> {
    match text {
        "BOUNCE" => Some(&[Reason::Bounce, Reason::Manual, Reason::Unsubscribe]),
        "COMPLAINT" => Some(&[Reason::Complaint]),
        _ => None,
    }
}

fn show(entry: &Suppression) -> Value {
    json!({
        "EmailAddress": entry.address,
        "Reason": reason(entry),
        "LastUpdateTime": entry.created_at().unix_timestamp(),
    })
}

fn address(text: &str) -> Result<EmailAddress, Problem> {
    EmailAddress::parse(text)
        .map_err(|error| Problem::field("/EmailAddress", "invalid_address", error.to_string()))
}

fn everywhere(address: &EmailAddress) -> Wanted<'_> {
    Wanted { reasons: &Reason::ALL, stream: Some(String::new()), address: Some(address), ..Wanted::default() }
}

fn nowhere(text: &str) -> Problem {
    Problem::new(Kind::NotFound, format!("Email address {text} does not exist on your suppression list."))
}

/// `PUT /v2/email/suppression/addresses`.
pub async fn put(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let email = fields.required_text("EmailAddress");
    let wanted = fields.required_text("Reason").and_then(|text| {
        let read = reasons(&text).and_then(|reasons| reasons.first().copied());
        if read.is_none() {
            fields.wrong("Reason", "invalid_reason", "BOUNCE or COMPLAINT is needed");
        }
        read
    });
    fields.rest();
    let wrong = fields.finish();
    let Some((email, reason)) = email.zip(wanted).filter(|_| wrong.is_empty()) else {
        return Err(Problem::invalid(wrong));
    };
    lists::suppress(&app, &principal, vec![(address(&email)?, None)], (reason, "")).await?;
    Ok(Json(json!({})))
}

/// `GET /v2/email/suppression/addresses/{EmailAddress}`.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(email): Path<String>,
) -> Result<Json<Value>, Problem> {
    let address = address(&email)?;
    let found = lists::suppressed(&app, principal.tenant(), &everywhere(&address), (0, 1)).await?;
    let entry = found.first().ok_or_else(|| nowhere(&email))?;
    Ok(Json(json!({ "SuppressedDestination": show(entry) })))
}

/// `DELETE /v2/email/suppression/addresses/{EmailAddress}`.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(email): Path<String>,
) -> Result<Json<Value>, Problem> {
    let address = address(&email)?;
    match lists::unsuppress(&app, &principal, &everywhere(&address)).await? {
        0 => Err(nowhere(&email)),
        _ => Ok(Json(json!({}))),
    }
}

/// `GET /v2/email/suppression/addresses`: newest first; `NextToken` counts what was shown.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let given = asked.all("Reason");
    let reasons: Vec<Reason> = match given.is_empty() {
        true => Reason::ALL.to_vec(),
        false => given.iter().filter_map(|text| reasons(text)).flatten().copied().collect(),
    };
    let wanted = Wanted {
        reasons: &reasons,
        stream: Some(String::new()),
        time: (asked.moment("StartDate"), asked.moment("EndDate")),
        ..Wanted::default()
    };
    let (offset, limit) = (asked.number("NextToken", 0, usize::MAX), asked.number("PageSize", MOST, MOST));
    let mut found = lists::suppressed(&app, principal.tenant(), &wanted, (offset, limit + 1)).await?;
    let next = (found.len() > limit).then(|| (offset + limit).to_string());
    found.truncate(limit);
    let shown: Vec<Value> = found.iter().map(show).collect();
    Ok(Json(json!({ "SuppressedDestinationSummaries": shown, "NextToken": next })))
}
