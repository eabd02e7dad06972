//! developers.mailersend.com/api/v1/webhooks.html.

use serde_json::{Value, json};

use crate::domain::event::EventType;

use super::Facts;

pub(super) fn event(facts: &Facts<'_>) -> Option<Value> {
    let event = facts.event;
    let kind = match event.kind {
        EventType::Accepted => "sent",
        EventType::Delivered => "delivered",
        EventType::Bounced if facts.is_hard() => "hard_bounced",
        EventType::Bounced | EventType::Expired => "soft_bounced",
        EventType::Opened if facts.event.data.get("first") == Some(&Value::Bool(true)) => "opened_unique",
        EventType::Opened => "opened",
        EventType::Clicked if facts.event.data.get("first") == Some(&Value::Bool(true)) => "clicked_unique",
        EventType::Clicked => "clicked",
        EventType::Unsubscribed => "unsubscribed",
        EventType::Complained => "spam_complaint",
        EventType::Deferred => "deferred",
        EventType::Suppressed | EventType::Canceled | EventType::Received => return None,
    };
    let status = match event.kind {
        EventType::Accepted => "sent",
        EventType::Bounced | EventType::Expired => "rejected",
        EventType::Deferred => "queued",
        _ => "delivered",
    };
    let morph = match event.kind {
        EventType::Bounced | EventType::Expired | EventType::Deferred => {
            json!({ "object": "bounce", "reason": facts.response(), "readable_reason": facts.class() })
        }
        EventType::Opened => {
            json!({ "object": "open", "created_at": facts.moment(), "ip": facts.text("/ip") })
        }
        EventType::Clicked => {
            json!({ "object": "click", "created_at": facts.moment(), "ip": facts.text("/ip"), "url": facts.text("/url") })
        }
        EventType::Complained => json!({ "object": "spam_complaint", "reason": null }),
        EventType::Unsubscribed => {
            json!({ "object": "recipient_unsubscribe", "reason": "option_3", "readable_reason": "Unsubscribed" })
        }
        _ => Value::Null,
    };
    let at = facts.moment();
    Some(json!({
        "type": format!("activity.{kind}"),
        "domain_id": "",
        "created_at": at,
        "webhook_id": "",
        "url": "",
        "data": {
            "object": "activity",
            "id": event.id.to_string(),
            "type": kind,
            "created_at": at,
            "email": {
                "object": "email",
                "id": event.delivery.to_string(),
                "created_at": compose_moment(facts),
                "from": facts.sender(),
                "subject": facts.head.subject,
                "status": status,
                "tags": event.tags,
                "message": {
                    "object": "message",
                    // What the send answered.
                    "id": event.message().to_string(),
                    "created_at": compose_moment(facts),
                },
                "recipient": { "object": "recipient", "email": event.recipient, "created_at": compose_moment(facts) },
            },
            "morph": morph,
            "template_id": "",
        },
    }))
}

fn compose_moment(facts: &Facts<'_>) -> String {
    super::compose::moment(facts.event.message().born())
}
