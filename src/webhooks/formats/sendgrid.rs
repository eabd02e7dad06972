//! twilio.com/docs/sendgrid/for-developers/tracking-events/event. The caller's own data is in the event itself.

use serde_json::{Value, json};

use crate::domain::event::EventType;

use super::Facts;

pub(super) fn event(facts: &Facts<'_>) -> Option<Value> {
    let event = facts.event;
    let id = event.message().to_string();
    let mut members = facts.metadata();
    let mut own = json!({
        "email": event.recipient,
        "timestamp": facts.seconds(),
        "smtp-id": facts.head.message_id,
        "category": event.tags,
        "sg_event_id": event.id.to_string(),
        // What stands before the first dot is what the send answered.
        "sg_message_id": format!("{id}.{}", event.delivery),
    });
    let (name, more) = match event.kind {
        EventType::Accepted => ("processed", json!({})),
        EventType::Deferred => ("deferred", json!({ "response": facts.response(), "attempt": "1" })),
        EventType::Delivered => {
            ("delivered", json!({ "response": facts.response(), "ip": facts.text("/smtp/ip") }))
        }
        EventType::Bounced => {
            let kind = if facts.is_hard() { "bounce" } else { "blocked" };
            let status = facts.enhanced();
            let classification = classification(facts.class());
            (
                "bounce",
                json!({ "type": kind, "reason": facts.response(), "status": status, "bounce_classification": classification }),
            )
        }
        EventType::Expired => (
            "bounce",
            json!({ "type": "blocked", "reason": "unable to deliver: the time ran out", "status": "5.4.7" }),
        ),
        EventType::Suppressed => ("dropped", json!({ "reason": "Bounced Address", "status": "5.0.0" })),
        EventType::Complained => ("spamreport", json!({})),
        EventType::Opened => ("open", seen(facts)),
        EventType::Clicked => {
            let mut more = seen(facts);
            more["url"] = facts.text("/url").into();
            ("click", more)
        }
        EventType::Unsubscribed => ("unsubscribe", json!({})),
        EventType::Canceled | EventType::Received => return None,
    };
    own["event"] = name.into();
    members.extend(more.as_object().cloned().unwrap_or_default());
    members.extend(own.as_object().cloned().unwrap_or_default());
    members.retain(|_, value| !value.is_null());
    Some(Value::Object(members))
}

fn seen(facts: &Facts<'_>) -> Value {
    json!({
        "useragent": facts.text("/user_agent"),
        "ip": facts.text("/ip"),
        "sg_machine_open": facts.event.data.get("machine").and_then(Value::as_bool) == Some(true),
    })
}

fn classification(class: &str) -> &'static str {
    match class {
        "invalid_recipient" | "inactive_mailbox" => "Invalid Address",
        "mailbox_full" => "Mailbox Unavailable",
        "domain_not_found" | "network" => "Technical",
        "rate_limited" | "greylisted" => "Frequency or Volume Too High",
        "reputation_block" => "Reputation",
        "spam_content" | "message_invalid" => "Content",
        "auth_policy" | "relay_denied" => "Technical",
        _ => "Unclassified",
    }
}
