//! Emails that were sent: one, a list, another time, and taking one back.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::delivery::control::{self, Canceled, Rescheduled};
use crate::domain::delivery::{DeliveryStatus, Ending};
use crate::domain::event::EventType;
use crate::domain::id::MessageId;
use crate::domain::submission::MAX_AHEAD;
use crate::http::App;
use crate::http::api::wire::moment;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{Path, Query};
use crate::http::fields::Fields;
use crate::mail::reading;
use crate::store::events::{self, EventFilter};
use crate::store::messages::{self, MessageFilter, MessageRow};
use crate::submission::own;

use super::message::scheduled_at;

/// The id of an email: the UUID of a message.
///
/// # Errors
/// It is none.
pub fn id(text: &str) -> Result<MessageId, Problem> {
    parts::message_id(text).ok_or_else(not_found)
}

fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "Email not found")
}

/// `GET /emails/{id}`.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(given): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (id, tenant) = (id(&given)?, principal.tenant());
    let mut connection = app.database.snapshot().await?;
    let row = messages::find(&mut connection, tenant, id).await?.ok_or_else(not_found)?;
    let filter = EventFilter { message: Some(id), ..EventFilter::default() };
    let events = events::list(&mut connection, tenant, &filter, None, 1).await?;
    let raw = own::raw(&mut connection, tenant, id, None).await?;
    let read = raw.map(|raw| reading::read(&raw)).unwrap_or_default();
    let mut view = show(&row);
    view["object"] = "email".into();
    view["html"] = read.html.into();
    view["text"] = read.text.into();
    view["tags"] = tags(&row);
    view["last_event"] = events.first().map_or("queued", |event| last_event(event.kind, &row)).into();
    Ok(Json(view))
}

/// `GET /emails`: newest first.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let mut query = Query::parse(query.as_deref());
    let limit = query.limit();
    let before = query.text("after").map(|text| id(&text)).transpose()?;
    let mut connection = app.database.serve().acquire().await?;
    let filter = MessageFilter::default();
    let page = messages::list(&mut connection, principal.tenant(), &filter, before, limit).await?;
    let mut data = Vec::with_capacity(page.messages.len());
    for row in &page.messages {
        let counts = messages::status_counts(&mut connection, principal.tenant(), &[row.id()]).await?;
        let mut view = show(row);
        view["last_event"] = counts.first().map_or("queued", |count| of_status(count.status, row)).into();
        data.push(view);
    }
    Ok(Json(json!({ "object": "list", "has_more": page.next.is_some(), "data": data })))
}

fn show(row: &MessageRow) -> Value {
    let list = |name: &str| row.addresses.get(name).cloned().unwrap_or_else(|| json!([]));
    json!({
        "id": row.id.to_string(),
        "message_id": row.message_id,
        "from": row.addresses.get("from").cloned().unwrap_or_default(),
        "to": list("to"),
        "cc": list("cc"),
        "bcc": list("bcc"),
        "reply_to": list("reply_to"),
        "subject": row.subject,
        "created_at": moment(row.id().born()),
        "scheduled_at": row.send_at.map(moment),
    })
}

fn tags(row: &MessageRow) -> Value {
    let entries = row.metadata.as_object().into_iter().flatten();
    entries.map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

/// resend.com/docs/dashboard/emails/introduction#understand-email-events.
fn last_event(kind: EventType, row: &MessageRow) -> &'static str {
    match kind {
        EventType::Accepted | EventType::Received if row.send_at.is_some() => "scheduled",
        EventType::Accepted | EventType::Received => "queued",
        EventType::Deferred => "delivery_delayed",
        EventType::Delivered => "delivered",
        EventType::Bounced => "bounced",
        EventType::Expired => "failed",
        EventType::Suppressed => "suppressed",
        EventType::Canceled => "canceled",
        EventType::Complained => "complained",
        EventType::Opened => "opened",
        EventType::Clicked => "clicked",
        EventType::Unsubscribed => "delivered",
    }
}

fn of_status(status: DeliveryStatus, row: &MessageRow) -> &'static str {
    match status {
        DeliveryStatus::Queued if row.send_at.is_some() => "scheduled",
        DeliveryStatus::Queued | DeliveryStatus::Sending => "queued",
        DeliveryStatus::Ended(Ending::Delivered) => "delivered",
        DeliveryStatus::Ended(Ending::Bounced) => "bounced",
        DeliveryStatus::Ended(Ending::Expired) => "failed",
        DeliveryStatus::Ended(Ending::Suppressed) => "suppressed",
        DeliveryStatus::Ended(Ending::Canceled) => "canceled",
    }
}

/// `PATCH /emails/{id}`: another time.
pub async fn update(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(given): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let id = id(&given)?;
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let now = app.clock.now();
    let at = scheduled_at(&mut fields, now);
    if at.is_none() && !fields.is_wrong("scheduled_at") {
        fields.wrong("scheduled_at", "required", "it is needed");
    }
    if at.is_some_and(|at| at > now + MAX_AHEAD) {
        let message = "Invalid `scheduled_at` field. Emails can be scheduled up to 30 days ahead.";
        fields.wrong("scheduled_at", "too_far_ahead", message);
    }
    fields.rest();
    let wrong = fields.finish();
    let Some(at) = at.filter(|_| wrong.is_empty()) else { return Err(Problem::invalid(wrong)) };
    let (actor, place) = (principal.actor(), (principal.tenant(), id));
    match control::reschedule(&app.database, &actor, place, at.max(now), now).await? {
        Rescheduled::NotFound => Err(not_found()),
        Rescheduled::TooLate => Err(Problem::field("", "too_late", "Email has already been sent")),
        Rescheduled::Done => Ok(Json(json!({ "object": "email", "id": id.uuid().to_string() }))),
    }
}

/// `POST /emails/{id}/cancel`.
pub async fn cancel(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(given): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = id(&given)?;
    let (actor, tenant) = (principal.actor(), principal.tenant());
    match control::cancel(&app.database, &actor, tenant, id, app.clock.now()).await? {
        Canceled::NotFound => Err(not_found()),
        Canceled::TooLate => Err(Problem::field("", "too_late", "Email has already been sent")),
        Canceled::Now { .. } => Ok(Json(json!({ "object": "email", "id": id.uuid().to_string() }))),
    }
}
