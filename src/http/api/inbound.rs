//! `/v1/inbound`: mail that came in and was kept.

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::domain::id::InboundId;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::Problem;
use crate::http::extract::{self, Path, Query};
use crate::store::inbound::{self, InboundRow};

use super::wire::{Page, moment};

const WHAT: &str = "inbound mail";

fn show(mail: &InboundRow) -> Value {
    let posted = mail.call.as_ref().filter(|call| call.kind == "webhook");
    let webhook = posted.map(|call| {
        json!({
            "state": call.state,
            "attempts": call.attempts,
            "last_status": call.last_status,
            "last_error": call.last_error,
        })
    });
    let passed_on = mail.call.as_ref().filter(|call| call.kind != "webhook");
    let forward = passed_on.map(|call| {
        json!({
            "state": call.state,
            "attempts": call.attempts,
            "last_error": call.last_error,
            "message_id": call.message.map(|id| id.to_string()),
        })
    });
    json!({
        "id": mail.id.to_string(),
        "received_at": moment(mail.id.born()),
        "route_id": mail.route.map(|id| id.to_string()),
        "sender": mail.sender,
        "recipient": mail.recipient,
        "from": mail.author,
        "subject": mail.subject,
        "message_id": mail.message_id,
        "client": { "ip": mail.peer, "helo": mail.helo, "tls": mail.tls },
        "authentication": mail.verdicts,
        "size_bytes": mail.size,
        "kind": mail.kind,
        "filters": mail.filtered.as_ref().unwrap_or(&Value::Array(Vec::new())),
        "webhook": webhook,
        "forward": forward,
    })
}

/// A page of the tenant's mail, newest first.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Value>>, Problem> {
    let mut query = Query::parse(query.as_deref());
    let (limit, before) = (query.limit(), query.cursor());
    let recipient = query.text("recipient").map(|recipient| recipient.to_ascii_lowercase());
    query.finish()?;
    let mut connection = app.database.serve().acquire().await?;
    let tenant = principal.tenant();
    let rows = inbound::list(&mut connection, tenant, recipient.as_deref(), before, limit as i64 + 1).await?;
    Ok(Json(Page::of(rows, limit, |mail| mail.id.to_string(), |mail| show(&mail))))
}

/// One mail.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id: InboundId = extract::id(&id, WHAT)?;
    let mut connection = app.database.serve().acquire().await?;
    let mail = inbound::find(&mut connection, principal.tenant(), id).await?;
    mail.map(|mail| Json(show(&mail))).ok_or_else(|| Problem::not_found(WHAT))
}

/// One mail's content.
pub async fn raw(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: InboundId = extract::id(&id, WHAT)?;
    let mut connection = app.database.serve().acquire().await?;
    let raw = inbound::raw(&mut connection, principal.tenant(), id).await?;
    let raw = raw.ok_or_else(|| Problem::not_found(WHAT))?;
    let headers = [(header::CONTENT_TYPE, "message/rfc822"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, raw).into_response())
}
