//! What became of mail: `/v1/bulk-email/{id}`, `/v1/messages` and `/v1/message-schedules` (developers.mailersend.com,
//! "Bulk email", "Messages", "Scheduled messages"). Below `/compat/mailersend/` alone: at the root `/v1` is this house's.

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::delivery::control::{self, Canceled};
use crate::domain::delivery::{DeliveryStatus, Ending};
use crate::domain::id::MessageId;
use crate::http::App;
use crate::http::api::wire::moment;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::compat::query::Asked;
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;
use crate::mail::reading;
use crate::store::messages::{self, DeliveryRow, MessageFilter, MessageRow};
use crate::submission::{IdempotencyKey, own};

const MOST: usize = 100;
/// How far into a list a caller may page by counting.
const MOST_PAGES: usize = 100;

fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "Resource not found.")
}

/// Under which Idempotency-Key the mails of a bulk call are accepted: so they are found again, for 24 hours.
pub fn bulk_key(id: &str) -> Option<IdempotencyKey> {
    let is_id = id.len() == 32 && id.bytes().all(|c| c.is_ascii_hexdigit());
    if is_id { IdempotencyKey::parse(&format!("mailersend-bulk-{id}")).ok() } else { None }
}

/// `GET /v1/bulk-email/{bulk_email_id}`.
pub async fn bulk(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (key, tenant) = (bulk_key(&id).ok_or_else(not_found)?, principal.tenant());
    let ids = app.accept.accepted_under(tenant, &key).await?.ok_or_else(not_found)?;
    let mut connection = app.database.serve().acquire().await?;
    let (mut recipients, mut suppressed) = (0, Vec::new());
    for id in &ids {
        let deliveries = messages::deliveries(&mut connection, tenant, *id).await?;
        recipients += deliveries.len();
        let left_out = deliveries.into_iter().filter(is_suppressed);
        suppressed
            .extend(left_out.map(|delivery| json!({ "email": delivery.recipient, "reason": "blocklisted" })));
    }
    let born = ids.first().map(|id| moment(id.born()));
    let list = ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    Ok(Json(json!({ "data": {
        "id": id,
        // What cannot be accepted is refused at once.
        "state": "completed",
        "total_recipients_count": recipients,
        "suppressed_recipients_count": suppressed.len(),
        "suppressed_recipients": if suppressed.is_empty() { Value::Null } else { suppressed.into() },
        "validation_errors_count": 0,
        "validation_errors": null,
        "messages_id": list,
        "created_at": born,
        "updated_at": born,
    } })))
}

fn is_suppressed(delivery: &DeliveryRow) -> bool {
    delivery.status == DeliveryStatus::Ended(Ending::Suppressed)
}

/// `GET /v1/messages?page=&limit=`: newest first.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let (page, limit) = (asked.number("page", 1, MOST_PAGES).max(1), asked.number("limit", 25, MOST).max(1));
    let mut connection = app.database.serve().acquire().await?;
    let filter = MessageFilter::default();
    let found = messages::list(&mut connection, principal.tenant(), &filter, None, page * limit).await?;
    let from = (page - 1) * limit;
    let shown: Vec<Value> = found.messages.iter().skip(from).map(summary).collect();
    let count = shown.len();
    Ok(Json(json!({
        "data": shown,
        "meta": { "current_page": page, "per_page": limit, "from": from + 1, "to": from + count },
    })))
}

fn summary(row: &MessageRow) -> Value {
    let born = moment(row.id().born());
    json!({ "id": row.id().to_string(), "created_at": born, "updated_at": born })
}

async fn find(app: &App, principal: &Principal, id: &str) -> Result<(MessageId, MessageRow), Problem> {
    let id = parts::message_id(id).ok_or_else(not_found)?;
    let mut connection = app.database.serve().acquire().await?;
    let row = messages::find(&mut connection, principal.tenant(), id).await?.ok_or_else(not_found)?;
    Ok((id, row))
}

/// `GET /v1/messages/{message_id}`: with a mail for each recipient.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (id, row) = find(&app, &principal, &id).await?;
    let tenant = principal.tenant();
    let mut connection = app.database.snapshot().await?;
    let deliveries = messages::deliveries(&mut connection, tenant, id).await?;
    let raw = own::raw(&mut connection, tenant, id, None).await?;
    let read = raw.map(|raw| reading::read(&raw)).unwrap_or_default();
    let emails = deliveries.iter().map(|delivery| {
        json!({
            "id": delivery.id.to_string(),
            "from": row.addresses.get("from").cloned().unwrap_or_default(),
            "subject": row.subject,
            "text": read.text,
            "html": read.html,
            "tags": row.tags,
            "status": status(delivery.status),
            "recipient": { "email": delivery.recipient },
            "created_at": moment(id.born()),
            "updated_at": moment(delivery.ended_at.unwrap_or_else(|| id.born())),
        })
    });
    let mut shown = summary(&row);
    shown["emails"] = emails.collect();
    Ok(Json(json!({ "data": shown })))
}

fn status(status: DeliveryStatus) -> &'static str {
    match status {
        DeliveryStatus::Queued => "queued",
        DeliveryStatus::Sending => "sent",
        DeliveryStatus::Ended(Ending::Delivered) => "delivered",
        DeliveryStatus::Ended(Ending::Bounced | Ending::Expired) => "rejected",
        DeliveryStatus::Ended(Ending::Suppressed | Ending::Canceled) => "rejected",
    }
}

/// `GET /v1/message-schedules/{message_id}`.
pub async fn scheduled(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (id, row) = find(&app, &principal, &id).await?;
    let at = row.send_at.ok_or_else(not_found)?;
    let mut connection = app.database.serve().acquire().await?;
    let deliveries = messages::deliveries(&mut connection, principal.tenant(), id).await?;
    let waits = deliveries.iter().any(|delivery| delivery.ended_at.is_none() && delivery.attempts == 0);
    Ok(Json(json!({ "data": {
        "message_id": id.to_string(),
        "subject": row.subject,
        "send_at": moment(at),
        "status": if waits { "scheduled" } else { "sent" },
        "status_message": null,
        "created_at": moment(id.born()),
    } })))
}

/// `DELETE /v1/message-schedules/{message_id}`.
pub async fn cancel(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let (id, _) = find(&app, &principal, &id).await?;
    let (actor, tenant) = (principal.actor(), principal.tenant());
    match control::cancel(&app.database, &actor, tenant, id, app.clock.now()).await? {
        Canceled::NotFound => Err(not_found()),
        Canceled::TooLate => Err(Problem::field("/message_id", "too_late", "the message is sent already")),
        Canceled::Now { .. } => Ok(StatusCode::NO_CONTENT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_bulk_calls_lead_to_a_key() {
        assert!(bulk_key(&"0a".repeat(16)).is_some());
        for other in ["", "msg_06h2dtt5j1o0t0ck402dv8fg00", &"g".repeat(32), &"0".repeat(33)] {
            assert_eq!(bulk_key(other), None, "{other}");
        }
    }
}
