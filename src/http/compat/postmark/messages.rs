//! `/messages/outbound` (postmarkapp.com/developer/api/messages-api).

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use serde_json::{Value, json};
use time::Duration;

use crate::domain::event::{Event, EventType};
use crate::domain::submission::TRANSACTIONAL;
use crate::http::App;
use crate::http::api::wire::moment;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::compat::query::Asked;
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;
use crate::mail::{Mailbox, reading};
use crate::store::events::{self, EventFilter};
use crate::store::messages::{self, DeliveryRow, MessageFilter, MessageRow};
use crate::submission::own;

use super::message::stream_name;

const MOST: usize = 500;

pub(super) fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "The message was not found.")
}

fn show(row: &MessageRow, deliveries: &[DeliveryRow]) -> Value {
    let mailboxes = |name: &str| -> Value {
        let list = row.addresses.get(name).and_then(Value::as_array).into_iter().flatten();
        let read = list.filter_map(|text| Mailbox::parse(text.as_str()?).ok());
        read.map(|mailbox| json!({ "Email": mailbox.address.as_str(), "Name": mailbox.name })).collect()
    };
    let recipients: Vec<&str> = deliveries.iter().map(|delivery| delivery.recipient.as_str()).collect();
    let tracking = row.handling().tracking;
    json!({
        "Tag": row.tags.first(),
        "MessageID": row.id.to_string(),
        "MessageStream": if row.stream == TRANSACTIONAL { "outbound" } else { &row.stream },
        "To": mailboxes("to"),
        "Cc": mailboxes("cc"),
        "Bcc": mailboxes("bcc"),
        "Recipients": recipients,
        "ReceivedAt": moment(row.id().born()),
        "From": row.addresses.get("from").cloned().unwrap_or_default(),
        "Subject": row.subject,
        "Attachments": [],
        "Status": if deliveries.iter().any(|delivery| delivery.ended_at.is_none()) { "Queued" } else { "Sent" },
        "TrackOpens": tracking.opens,
        "TrackLinks": if tracking.clicks { "HtmlAndText" } else { "None" },
        "Metadata": row.metadata,
        "Sandboxed": row.sandbox,
    })
}

/// `GET /messages/outbound`.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let (offset, count) = (asked.number("offset", 0, 10_000), asked.number("count", 100, MOST));
    let stream = asked.text("messagestream").or(asked.text("messageStream"));
    let filter = MessageFilter {
        to: asked.text("recipient").map(str::to_lowercase),
        from: asked.text("fromemail").or(asked.text("fromEmail")).map(str::to_owned),
        subject: asked.text("subject").map(str::to_owned),
        tag: asked.text("tag").map(str::to_owned),
        stream: stream.and_then(stream_name).map(|name| name.as_str().to_owned()),
        since: asked.moment("fromdate").or(asked.moment("fromDate")),
        until: asked.moment("todate").or(asked.moment("toDate")).map(|day| day + Duration::DAY),
        status: None,
    };
    let mut connection = app.database.serve().acquire().await?;
    let tenant = principal.tenant();
    let page = messages::list(&mut connection, tenant, &filter, None, offset + count).await?;
    // How many there are is known as far as anybody has looked.
    let total = page.messages.len() + usize::from(page.next.is_some());
    let mut shown = Vec::new();
    for row in page.messages.iter().skip(offset) {
        let deliveries = messages::deliveries(&mut connection, tenant, row.id()).await?;
        shown.push(show(row, &deliveries));
    }
    Ok(Json(json!({ "TotalCount": total, "Messages": shown })))
}

/// `GET /messages/outbound/{id}/details`.
pub async fn details(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (id, tenant) = (parts::message_id(&id).ok_or_else(not_found)?, principal.tenant());
    let mut connection = app.database.snapshot().await?;
    let row = messages::find(&mut connection, tenant, id).await?.ok_or_else(not_found)?;
    let deliveries = messages::deliveries(&mut connection, tenant, id).await?;
    let filter = EventFilter { message: Some(id), ..EventFilter::default() };
    let events = events::list(&mut connection, tenant, &filter, None, 1000).await?;
    let raw = own::raw(&mut connection, tenant, id, None).await?.unwrap_or_default();
    let read = reading::read(&raw);
    let mut shown = show(&row, &deliveries);
    shown["Attachments"] = read.attachments.iter().map(|file| json!(file.filename)).collect();
    shown["TextBody"] = read.text.into();
    shown["HtmlBody"] = read.html.into();
    shown["Body"] = String::from_utf8_lossy(&raw).into_owned().into();
    shown["MessageEvents"] = events.iter().rev().filter_map(event).collect();
    Ok(Json(shown))
}

fn event(event: &Event) -> Option<Value> {
    let text = |pointer: &str| event.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (kind, details) = match event.kind {
        EventType::Delivered => {
            let details = json!({ "DeliveryMessage": text("/smtp/text"), "DestinationServer": text("/smtp/host"), "DestinationIP": text("/smtp/ip") });
            ("Delivered", details)
        }
        EventType::Deferred => ("Transient", json!({ "DeliveryMessage": text("/smtp/text") })),
        EventType::Bounced | EventType::Expired => ("Bounced", json!({ "Summary": text("/smtp/text") })),
        EventType::Opened => ("Opened", json!({ "Summary": text("/user_agent") })),
        EventType::Clicked => ("LinkClicked", json!({ "Link": text("/url"), "Summary": text("/url") })),
        EventType::Unsubscribed => {
            let details = json!({ "Origin": "Recipient", "SuppressSending": "True" });
            ("SubscriptionChanged", details)
        }
        _ => return None,
    };
    Some(
        json!({ "Recipient": event.recipient, "Type": kind, "ReceivedAt": moment(event.at()), "Details": details }),
    )
}

/// `GET /messages/outbound/{id}/dump`: its source.
pub async fn dump(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = parts::message_id(&id).ok_or_else(not_found)?;
    let mut connection = app.database.serve().acquire().await?;
    let raw = own::raw(&mut connection, principal.tenant(), id, None).await?.ok_or_else(not_found)?;
    Ok(Json(json!({ "Body": String::from_utf8_lossy(&raw) })))
}
