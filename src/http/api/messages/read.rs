//! Reading messages: one, its events, its source, and lists.

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::domain::delivery::DeliveryStatus;
use crate::domain::id::{DeliveryId, MessageId};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::Problem;
use crate::http::extract::{self, Path, Query};
use crate::store::messages::{self, MessageFilter, StatusCount};
use crate::submission::own;

use super::show;

const WHAT: &str = "message";

/// `GET /v1/messages/{id}`: the message, its deliveries, each with its attempts.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id: MessageId = extract::id(&id, WHAT)?;
    let tenant = principal.tenant();
    // One moment for all three: else an attempt could be there whose delivery is still shown as being sent.
    let mut connection = app.database.snapshot().await?;
    let row = messages::find(&mut connection, tenant, id).await?.ok_or_else(|| Problem::not_found(WHAT))?;
    let deliveries = messages::deliveries(&mut connection, tenant, id).await?;
    let attempts = messages::attempts(&mut connection, tenant, id).await?;
    let mut view = show::message(&row);
    view["deliveries"] = deliveries.iter().map(|delivery| show::delivery(delivery, &attempts)).collect();
    Ok(Json(view))
}

/// `GET /v1/messages/{id}/raw`: its RFC 5322 form; `?delivery=`, where each recipient gets a mail of its own.
pub async fn raw(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let id: MessageId = extract::id(&id, WHAT)?;
    let mut query = Query::parse(query.as_deref());
    let delivery = query.parsed("delivery", "invalid_id", str::parse::<DeliveryId>);
    query.finish()?;
    let mut connection = app.database.serve().acquire().await?;
    let raw = own::raw(&mut connection, principal.tenant(), id, delivery).await?;
    let raw = raw.ok_or_else(|| Problem::not_found("message, or its content is no longer stored"))?;
    let headers = [
        (header::CONTENT_TYPE, "message/rfc822"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"message.eml\""),
    ];
    Ok((headers, raw).into_response())
}

/// `GET /v1/messages`: newest first.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let mut query = Query::parse(query.as_deref());
    let filter = MessageFilter {
        status: query.parsed("status", "invalid_status", str::parse::<DeliveryStatus>),
        to: query.text("to").map(|to| to.to_ascii_lowercase()),
        from: query.text("from"),
        subject: query.text("subject"),
        tag: query.text("tag"),
        stream: query.text("stream"),
        since: query.moment("since"),
        until: query.moment("until"),
    };
    let (limit, before) = (query.limit(), query.cursor());
    query.finish()?;
    let tenant = principal.tenant();
    let mut connection = app.database.serve().acquire().await?;
    let page = messages::list(&mut connection, tenant, &filter, before, limit).await?;
    let ids: Vec<MessageId> = page.messages.iter().map(|row| row.id()).collect();
    let counts = messages::status_counts(&mut connection, tenant, &ids).await?;
    let data: Vec<Value> = page
        .messages
        .iter()
        .map(|row| {
            let mut view = show::message(row);
            view["statuses"] = statuses(&counts, row.id());
            view
        })
        .collect();
    Ok(Json(json!({ "data": data, "next_cursor": page.next.map(|id| id.to_string()) })))
}

/// How many deliveries of a message stand how.
fn statuses(counts: &[StatusCount], message: MessageId) -> Value {
    let own = counts.iter().filter(|count| count.message == message);
    own.map(|count| (count.status.as_str().to_owned(), Value::from(count.count)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
