//! `/v3/messages` (docs.sendgrid.com/api-reference/e-mail-activity). Of the query language, comparisons joined by AND are
//! understood: `to_email="a@b" AND status="delivered"`.

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use serde_json::{Value, json};

use crate::domain::delivery::{DeliveryStatus, Ending};
use crate::domain::event::EventType;
use crate::http::App;
use crate::http::api::wire::moment;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::compat::query::Asked;
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;
use crate::store::events::{self, EventFilter};
use crate::store::messages::{self, DeliveryRow, MessageFilter, MessageRow};

const MOST: usize = 1000;

/// `GET /v3/messages?query=&limit=`.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let limit = asked.number("limit", 10, MOST);
    let mut filter = MessageFilter::default();
    let mut only = None;
    for comparison in asked.text("query").unwrap_or_default().split(" AND ").map(str::trim) {
        if !comparison.is_empty() {
            narrow(&mut filter, &mut only, comparison)?;
        }
    }
    let mut connection = app.database.serve().acquire().await?;
    let tenant = principal.tenant();
    let rows = match only {
        Some(id) => messages::find(&mut connection, tenant, id).await?.into_iter().collect(),
        None => messages::list(&mut connection, tenant, &filter, None, limit).await?.messages,
    };
    let mut shown = Vec::new();
    for row in &rows {
        let deliveries = messages::deliveries(&mut connection, tenant, row.id()).await?;
        shown.extend(deliveries.iter().map(|delivery| show(row, delivery)));
    }
    shown.truncate(limit);
    Ok(Json(json!({ "messages": shown })))
}

fn narrow(
    filter: &mut MessageFilter,
    only: &mut Option<crate::domain::id::MessageId>,
    comparison: &str,
) -> Result<(), Problem> {
    let wrong = || Problem::field("/query", "invalid", format!("invalid query: {comparison}"));
    let (name, value) = comparison.split_once('=').ok_or_else(wrong)?;
    let value = value.trim().trim_matches(['"', '\'']).to_owned();
    match name.trim() {
        "to_email" => filter.to = Some(value.to_lowercase()),
        "from_email" => filter.from = Some(value),
        "subject" => filter.subject = Some(value),
        "categories" => filter.tag = Some(value),
        "msg_id" => *only = Some(id(&value)?),
        "status" => {
            filter.status = Some(match value.as_str() {
                "delivered" => DeliveryStatus::Ended(Ending::Delivered),
                "not_delivered" => DeliveryStatus::Ended(Ending::Bounced),
                "processing" => DeliveryStatus::Queued,
                _ => return Err(wrong()),
            });
        }
        _ => return Err(wrong()),
    }
    Ok(())
}

/// What stands before the first dot is what the send answered.
fn id(text: &str) -> Result<crate::domain::id::MessageId, Problem> {
    let first = text.split('.').next().unwrap_or_default();
    parts::message_id(first).ok_or_else(|| Problem::new(Kind::NotFound, "message not found"))
}

fn show(row: &MessageRow, delivery: &DeliveryRow) -> Value {
    json!({
        "from_email": row.addresses.get("from").cloned().unwrap_or_default(),
        "msg_id": format!("{}.{}", row.id(), delivery.id),
        "subject": row.subject,
        "to_email": delivery.recipient,
        "status": match delivery.status {
            DeliveryStatus::Ended(Ending::Delivered) => "delivered",
            DeliveryStatus::Queued | DeliveryStatus::Sending => "processing",
            DeliveryStatus::Ended(_) => "not_delivered",
        },
        "opens_count": 0,
        "clicks_count": 0,
        "last_event_time": moment(delivery.ended_at.unwrap_or_else(|| row.id().born())),
    })
}

/// `GET /v3/messages/{id}`: with its events.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(text): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (id, tenant) = (id(&text)?, principal.tenant());
    let mut connection = app.database.snapshot().await?;
    let row = messages::find(&mut connection, tenant, id).await?;
    let row = row.ok_or_else(|| Problem::new(Kind::NotFound, "message not found"))?;
    let deliveries = messages::deliveries(&mut connection, tenant, id).await?;
    let wanted = text.split_once('.').map(|(_, delivery)| delivery);
    let delivery = deliveries.iter().find(|it| wanted.is_none_or(|wanted| it.id.to_string() == wanted));
    let delivery = delivery.ok_or_else(|| Problem::new(Kind::NotFound, "message not found"))?;
    let filter = EventFilter { message: Some(id), ..EventFilter::default() };
    let events = events::list(&mut connection, tenant, &filter, None, 1000).await?;
    let own = events.iter().rev().filter(|event| event.delivery == delivery.id);
    let events: Vec<Value> = own
        .filter_map(|event| {
            let reason = event.data.pointer("/smtp/text").cloned();
            Some(
                json!({ "event_name": word(event.kind)?, "processed": moment(event.at()), "reason": reason }),
            )
        })
        .collect();
    let mut shown = show(&row, delivery);
    shown["events"] = events.into();
    shown["categories"] = row.tags.clone().into();
    shown["unique_args"] = row.metadata.clone();
    Ok(Json(shown))
}

fn word(kind: EventType) -> Option<&'static str> {
    Some(match kind {
        EventType::Accepted => "processed",
        EventType::Deferred => "deferred",
        EventType::Delivered => "delivered",
        EventType::Bounced | EventType::Expired => "bounce",
        EventType::Suppressed => "dropped",
        EventType::Complained => "spam report",
        EventType::Opened => "open",
        EventType::Clicked => "click",
        EventType::Unsubscribed => "unsubscribe",
        EventType::Canceled | EventType::Received => return None,
    })
}
