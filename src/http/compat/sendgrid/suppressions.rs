//! `/v3/suppression/…` and `/v3/asm/…` (docs.sendgrid.com/api-reference/bounces-api, …/suppressions-global-suppressions,
//! …/suppressions-suppressions). Each of SendGrid's lists is a reason here; an unsubscribe group is a stream.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::domain::suppression::{Reason, Suppression};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::lists::{self, Wanted};
use crate::http::compat::parts;
use crate::http::compat::query::Asked;
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;
use crate::mail::EmailAddress;

use super::read::stream_of_group;

const MOST: usize = 500;

/// The list that a path names, as a reason; `invalid_emails` and `blocks` have none here, and are always empty.
fn reasons(list: &str) -> Result<&'static [Reason], Problem> {
    match list {
        "bounces" => Ok(&[Reason::Bounce]),
        "spam_reports" => Ok(&[Reason::Complaint]),
        "unsubscribes" => Ok(&[Reason::Unsubscribe, Reason::Manual]),
        "invalid_emails" | "blocks" => Ok(&[]),
        _ => Err(Problem::not_found("list")),
    }
}

/// Whom nobody mails, whatever the group.
const GLOBAL: &[Reason] = &[Reason::Unsubscribe, Reason::Manual];

fn show(entry: &Suppression) -> Value {
    let mut shown = json!({ "created": entry.created_at().unix_timestamp(), "email": entry.address });
    match entry.reason {
        Reason::Bounce => {
            shown["reason"] = "550 5.1.1 The email account that you tried to reach does not exist.".into();
            shown["status"] = "5.1.1".into();
        }
        Reason::Complaint => shown["ip"] = "".into(),
        Reason::Unsubscribe | Reason::Manual => {}
    }
    shown
}

/// `GET /v3/suppression/{list}`.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(list): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let address = asked.text("email").and_then(|text| EmailAddress::parse(text).ok());
    let wanted = Wanted {
        reasons: reasons(&list)?,
        address: address.as_ref(),
        time: (asked.moment("start_time"), asked.moment("end_time")),
        ..Wanted::default()
    };
    let page = (asked.number("offset", 0, usize::MAX), asked.number("limit", MOST, MOST));
    let found = lists::suppressed(&app, principal.tenant(), &wanted, page).await?;
    Ok(Json(found.iter().map(show).collect()))
}

/// `GET /v3/suppression/{list}/{email}`: a list of one, or of none.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((list, email)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let address = address(&email)?;
    let wanted = Wanted { reasons: reasons(&list)?, address: Some(&address), ..Wanted::default() };
    let found = lists::suppressed(&app, principal.tenant(), &wanted, (0, 1)).await?;
    Ok(Json(found.iter().map(show).collect()))
}

/// `DELETE /v3/suppression/{list}/{email}`.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((list, email)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let address = address(&email)?;
    let wanted = Wanted { reasons: reasons(&list)?, address: Some(&address), ..Wanted::default() };
    match lists::unsuppress(&app, &principal, &wanted).await? {
        0 => Err(Problem::not_found("address")),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// `DELETE /v3/suppression/{list}` with `emails`, or `delete_all`.
pub async fn delete_many(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(list): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let reasons = reasons(&list)?;
    if value.get("delete_all") == Some(&Value::Bool(true)) {
        lists::unsuppress(&app, &principal, &Wanted { reasons, ..Wanted::default() }).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    let emails = texts(&value, "emails");
    if emails.is_empty() {
        return Err(Problem::field("/emails", "required", "emails or delete_all is required"));
    }
    for email in emails {
        let address = address(email)?;
        let wanted = Wanted { reasons, address: Some(&address), ..Wanted::default() };
        lists::unsuppress(&app, &principal, &wanted).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v3/asm/suppressions/global`.
pub async fn add_global(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    add(&app, &principal, (&headers, body), "").await
}

/// `GET /v3/asm/suppressions/global/{email}`: an empty object, if the address is not on the list.
pub async fn global(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(email): Path<String>,
) -> Result<Json<Value>, Problem> {
    let address = address(&email)?;
    let wanted = Wanted { reasons: GLOBAL, address: Some(&address), ..Wanted::default() };
    let found = lists::suppressed(&app, principal.tenant(), &wanted, (0, 1)).await?;
    Ok(Json(found.first().map_or_else(|| json!({}), |entry| json!({ "recipient_email": entry.address }))))
}

/// `DELETE /v3/asm/suppressions/global/{email}`.
pub async fn delete_global(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(email): Path<String>,
) -> Result<StatusCode, Problem> {
    let address = address(&email)?;
    let wanted = Wanted { reasons: GLOBAL, address: Some(&address), ..Wanted::default() };
    lists::unsuppress(&app, &principal, &wanted).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v3/asm/groups/{group}/suppressions`.
pub async fn of_group(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(group): Path<i64>,
) -> Result<Json<Value>, Problem> {
    let wanted = Wanted { reasons: &Reason::ALL, stream: Some(stream_of_group(group)), ..Wanted::default() };
    let found = lists::suppressed(&app, principal.tenant(), &wanted, (0, 10_000)).await?;
    Ok(Json(found.iter().map(|entry| Value::from(entry.address.as_str())).collect()))
}

/// `POST /v3/asm/groups/{group}/suppressions`.
pub async fn add_to_group(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(group): Path<i64>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    add(&app, &principal, (&headers, body), &stream_of_group(group)).await
}

/// `DELETE /v3/asm/groups/{group}/suppressions/{email}`.
pub async fn delete_of_group(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((group, email)): Path<(i64, String)>,
) -> Result<StatusCode, Problem> {
    let address = address(&email)?;
    let stream = Some(stream_of_group(group));
    let wanted = Wanted { reasons: &Reason::ALL, stream, address: Some(&address), ..Wanted::default() };
    lists::unsuppress(&app, &principal, &wanted).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn add(
    app: &App,
    principal: &Principal,
    (headers, body): (&HeaderMap, Body),
    stream: &str,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (value, _held) = parts::json(app, headers, body).await?;
    let emails: Vec<&str> = texts(&value, "recipient_emails");
    if emails.is_empty() {
        return Err(Problem::field("/recipient_emails", "required", "recipient_emails is required"));
    }
    let addresses =
        emails.iter().map(|email| Ok((address(email)?, None))).collect::<Result<Vec<_>, Problem>>()?;
    lists::suppress(app, principal, addresses, (Reason::Unsubscribe, stream)).await?;
    Ok((StatusCode::CREATED, Json(json!({ "recipient_emails": emails }))))
}

fn texts<'a>(value: &'a Value, name: &str) -> Vec<&'a str> {
    value.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

fn address(text: &str) -> Result<EmailAddress, Problem> {
    let bad = |_| Problem::new(Kind::InvalidRequest, format!("{text} is not a valid email address"));
    EmailAddress::parse(text.trim()).map_err(bad)
}
