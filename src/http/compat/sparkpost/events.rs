//! `GET /api/v1/events/message` (developers.sparkpost.com, "Events"): events as webhooks post them, without their
//! classes, newest first.

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use serde_json::{Value, json};

use crate::domain::event::{Event, EventType};
use crate::domain::id::{EventId, MessageId};
use crate::domain::webhook_format::Format;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::compat::query::Asked;
use crate::http::error::Problem;
use crate::store::events::{self, EventFilter};
use crate::store::heads;
use crate::webhooks::posted;

const MOST: usize = 1000;

/// What of the events of theirs that are named there is here.
fn types(asked: &Asked) -> Option<Vec<EventType>> {
    let names = asked.text("events")?;
    let types = names.split(',').map(str::trim).flat_map(|name| -> &[EventType] {
        match name {
            "injection" => &[EventType::Accepted],
            "delivery" => &[EventType::Delivered],
            "delay" => &[EventType::Deferred],
            "bounce" => &[EventType::Bounced, EventType::Expired, EventType::Suppressed, EventType::Canceled],
            "out_of_band" => &[EventType::Bounced],
            "spam_complaint" => &[EventType::Complained],
            "open" | "initial_open" => &[EventType::Opened],
            "click" => &[EventType::Clicked],
            "list_unsubscribe" | "link_unsubscribe" => &[EventType::Unsubscribed],
            _ => &[],
        }
    });
    Some(types.copied().collect())
}

/// Lists events.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let limit = asked.number("per_page", MOST, MOST).max(1);
    let before = asked.text("cursor").and_then(|text| text.parse::<EventId>().ok());
    let first = |name: &str| asked.text(name).and_then(|list| list.split(',').next()).map(str::trim);
    let filter = EventFilter {
        types: types(&asked),
        message: first("transmissions").and_then(parts::message_id),
        recipient: first("recipients").map(str::to_lowercase),
        tag: first("campaigns").map(str::to_owned),
        since: asked.moment("from"),
        until: asked.moment("to"),
        ..EventFilter::default()
    };
    let tenant = principal.tenant();
    let mut connection = app.database.serve().acquire().await?;
    let found = events::list(&mut connection, tenant, &filter, before, limit as i64).await?;
    let ids: Vec<MessageId> = found.iter().map(Event::message).collect();
    let heads = heads::of_messages(&mut connection, tenant, &ids).await?;
    let shown: Vec<Value> = found
        .iter()
        .filter_map(|event| posted(Format::SparkPost, event, heads.get(&event.message())))
        .filter_map(|mut shown| match shown.pointer_mut("/msys").map(Value::take) {
            Some(Value::Object(classes)) => classes.into_iter().next().map(|(_, event)| event),
            _ => None,
        })
        .collect();
    let next = found.last().filter(|_| found.len() == limit);
    let links = match next {
        Some(last) => {
            json!({ "next": format!("/api/v1/events/message?cursor={}&per_page={limit}", last.id) })
        }
        None => json!({}),
    };
    Ok(Json(json!({ "results": shown, "total_count": shown.len(), "links": links })))
}
