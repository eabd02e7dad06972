//! developers.brevo.com/docs/transactional-webhooks. `ts_epoch` is the only time that says where it is.

use serde_json::{Value, json};

use crate::domain::event::EventType;

use super::Facts;

pub(super) fn event(facts: &Facts<'_>) -> Option<Value> {
    let event = facts.event;
    let name = match event.kind {
        EventType::Accepted => "request",
        EventType::Delivered => "delivered",
        EventType::Deferred => "deferred",
        EventType::Bounced if facts.class() == "invalid_recipient" && facts.is_hard() => "hard_bounce",
        EventType::Bounced if facts.is_hard() => "hard_bounce",
        EventType::Bounced => "soft_bounce",
        EventType::Expired => "soft_bounce",
        EventType::Suppressed => "blocked",
        EventType::Complained => "spam",
        EventType::Opened if facts.event.data.get("machine") == Some(&Value::Bool(true)) => "proxy_open",
        EventType::Opened if facts.event.data.get("first") == Some(&Value::Bool(true)) => "unique_opened",
        EventType::Opened => "opened",
        EventType::Clicked => "click",
        EventType::Unsubscribed => "unsubscribed",
        EventType::Canceled | EventType::Received => return None,
    };
    let mut shown = json!({
        "event": name,
        "email": event.recipient,
        "id": 1,
        "date": super::in_seconds(event.at()),
        "ts": facts.seconds(),
        "ts_event": facts.seconds(),
        "ts_epoch": (facts.fraction() * 1000.0) as i64,
        "message-id": facts.head.message_id,
        "subject": facts.head.subject,
        "sender_email": facts.sender(),
        "tags": event.tags,
        "tag": serde_json::to_string(&event.tags).unwrap_or_default(),
    });
    let metadata = facts.metadata();
    if !metadata.is_empty() {
        shown["X-Mailin-custom"] = Value::Object(metadata).to_string().into();
    }
    if matches!(
        event.kind,
        EventType::Bounced | EventType::Deferred | EventType::Expired | EventType::Suppressed
    ) {
        shown["reason"] = facts.response().into();
    }
    if event.kind == EventType::Clicked {
        shown["link"] = facts.text("/url").into();
    }
    if matches!(event.kind, EventType::Clicked | EventType::Opened) {
        shown["user_agent"] = facts.text("/user_agent").into();
        shown["ip"] = facts.text("/ip").into();
    }
    Some(shown)
}
