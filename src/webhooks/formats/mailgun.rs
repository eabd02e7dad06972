//! documentation.mailgun.com/docs/mailgun/user-manual/events. The signature beside it is made when it is posted.

use serde_json::{Value, json};

use crate::domain::event::EventType;

use super::Facts;

pub(super) fn event(facts: &Facts<'_>) -> Option<Value> {
    let event = facts.event;
    let mut shown = json!({
        "id": event.id.to_string(),
        "timestamp": facts.fraction(),
        "log-level": "info",
        "recipient": event.recipient,
        "recipient-domain": facts.domain(),
        "tags": event.tags,
        "user-variables": facts.metadata(),
        "campaigns": [],
        "envelope": { "sender": facts.sender(), "targets": event.recipient, "transport": "smtp" },
        "flags": { "is-test-mode": event.data.get("sandbox").is_some(), "is-authenticated": true },
        "message": {
            "headers": {
                "message-id": facts.bare_message_id(),
                "from": facts.head.from,
                "to": facts.head.to.join(", "),
                "subject": facts.head.subject,
            },
            "attachments": [],
            "size": facts.head.size_bytes,
        },
    });
    let (name, more) = match event.kind {
        EventType::Accepted => ("accepted", json!({ "method": "HTTP" })),
        EventType::Delivered => ("delivered", json!({ "delivery-status": status(facts) })),
        EventType::Deferred => (
            "failed",
            json!({ "severity": "temporary", "reason": "generic", "log-level": "warn", "delivery-status": status(facts) }),
        ),
        EventType::Bounced => {
            let reason = if facts.is_hard() { "bounce" } else { "generic" };
            (
                "failed",
                json!({ "severity": "permanent", "reason": reason, "log-level": "error", "delivery-status": status(facts) }),
            )
        }
        EventType::Expired => (
            "failed",
            json!({ "severity": "permanent", "reason": "old", "log-level": "error", "delivery-status": status(facts) }),
        ),
        EventType::Suppressed => {
            let told = json!({ "code": 605, "description": "Not delivering to previously bounced address", "message": "" });
            (
                "failed",
                json!({ "severity": "permanent", "reason": "suppress-bounce", "log-level": "error", "delivery-status": told }),
            )
        }
        EventType::Opened => ("opened", seen(facts)),
        EventType::Clicked => {
            let mut more = seen(facts);
            more["url"] = facts.text("/url").into();
            ("clicked", more)
        }
        EventType::Unsubscribed => ("unsubscribed", seen(facts)),
        EventType::Complained => ("complained", json!({})),
        EventType::Canceled | EventType::Received => return None,
    };
    shown["event"] = name.into();
    if let (Some(members), Some(more)) = (shown.as_object_mut(), more.as_object()) {
        members.extend(more.clone());
    }
    Some(shown)
}

fn status(facts: &Facts<'_>) -> Value {
    json!({
        "code": facts.code(),
        "enhanced-code": facts.text("/smtp/enhanced"),
        "message": facts.text("/smtp/text").unwrap_or("OK"),
        "description": "",
        "mx-host": facts.text("/smtp/host"),
        "tls": facts.text("/smtp/tls").is_some(),
        "attempt-no": 1,
    })
}

fn seen(facts: &Facts<'_>) -> Value {
    json!({
        "ip": facts.text("/ip"),
        "geolocation": { "country": facts.text("/country"), "region": null, "city": null },
        "client-info": {
            "user-agent": facts.text("/user_agent"),
            "client-name": facts.text("/client"),
            "client-os": facts.text("/os"),
            "device-type": facts.text("/device"),
        },
    })
}
