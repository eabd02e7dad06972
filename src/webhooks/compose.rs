//! How an event is written, here and in the API, and what goes around it.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::domain::account_notice;
use crate::domain::event::Event;

/// An event as every door shows it.
pub fn event(event: &Event) -> Value {
    let ours = event.inbound().is_none();
    let mut shown = json!({
        "id": event.id.to_string(),
        "type": event.kind.as_str(),
        "created_at": moment(event.at()),
        "message_id": ours.then(|| event.message().to_string()),
        "delivery_id": ours.then(|| event.delivery.to_string()),
        "recipient": event.recipient,
        "stream": ours.then_some(&event.stream),
        "tags": event.tags,
        "metadata": event.metadata,
        "data": event.data,
    });
    if let Some(inbound) = event.inbound() {
        shown["inbound_id"] = inbound.to_string().into();
    }
    shown
}

/// What is posted of an event.
pub fn posted(event: &Event) -> Value {
    notice(&format!("message.{}", event.kind.as_str()), event.at(), self::event(event))
}

/// What is posted: its type, when it happened, and what is known of it.
pub fn notice(kind: &str, at: OffsetDateTime, data: Value) -> Value {
    account_notice::posted(kind, at, data)
}

/// A moment as the API writes it.
pub fn moment(moment: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    // Fails only for years that no clock here reaches.
    moment.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default()
}
