//! `/v1/notices`: what befell the account, and who is told of it by mail.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::account::notices::{self as operation, MOST_EMAILS};
use crate::domain::id::AccountNoticeId;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::Problem;
use crate::http::extract::{self, Path, Query};
use crate::http::fields::Fields;
use crate::mail::EmailAddress;
use crate::store::account_notices::{self, NoticeFilter, StoredNotice};
use crate::submission::Violation;

use super::wire::{Page, moment};

const WHAT: &str = "notice";

fn show(notice: &StoredNotice) -> Value {
    json!({
        "id": notice.id.to_string(),
        "created_at": moment(notice.id.born()),
        "type": notice.kind,
        "subject": notice.subject,
        "message": notice.message,
        "data": notice.data,
        "read_at": notice.read_at.map(moment),
    })
}

/// A page of notices, newest first.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Value>>, Problem> {
    let mut query = Query::parse(query.as_deref());
    let read = query.parsed("read", "invalid_flag", |text| match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false is needed"),
    });
    let filter = NoticeFilter { kind: query.text("type"), read };
    let (limit, before) = (query.limit(), query.cursor());
    query.finish()?;
    let mut connection = app.database.serve().acquire().await?;
    let tenant = principal.tenant();
    let rows = account_notices::list(&mut connection, tenant, &filter, before, limit as i64 + 1).await?;
    Ok(Json(Page::of(rows, limit, |notice| notice.id.to_string(), |notice| show(&notice))))
}

/// Notes that a notice was read.
pub async fn read(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id: AccountNoticeId = extract::id(&id, WHAT)?;
    let mut connection = app.database.serve().acquire().await?;
    let tenant = principal.tenant();
    match account_notices::mark_read(&mut connection, tenant, Some(id), app.clock.now()).await? {
        0 => Err(Problem::not_found(WHAT)),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// Notes that all notices were read.
pub async fn read_all(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<StatusCode, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    account_notices::mark_read(&mut connection, principal.tenant(), None, app.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who is told by mail.
pub async fn settings(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Value>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let emails = account_notices::emails(&mut connection, principal.tenant()).await?;
    Ok(Json(json!({ "emails": emails })))
}

/// Decides who is told by mail.
pub async fn set_settings(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let body = app.budget.read(&headers, body, 16 * 1024).await?;
    let mut fields = Fields::of(extract::json(&headers, &body.bytes)?, "")
        .map_err(|violation| Problem::invalid(vec![violation]))?;
    let given = fields.has("emails");
    let texts = fields.texts("emails", MOST_EMAILS).unwrap_or_default();
    if !given {
        fields.wrong("emails", "required", "a list of addresses is needed; an empty one tells nobody");
    }
    let mut emails = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match EmailAddress::parse(text) {
            Ok(email) => emails.push(email),
            Err(error) => {
                let pointer = format!("{}/{index}", fields.pointer("emails"));
                fields.wrong_at(Violation::new(pointer, "invalid_address", error.to_string()));
            }
        }
    }
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let (actor, tenant) = (principal.actor(), principal.tenant());
    operation::set_emails(&app.database, &actor, tenant, &emails, app.clock.now()).await?;
    Ok(Json(json!({ "emails": emails.iter().map(EmailAddress::as_str).collect::<Vec<_>>() })))
}
