//! resend.com/docs/dashboard/webhooks/event-types.

use serde_json::{Value, json};

use crate::domain::event::EventType;

use super::Facts;

pub(super) fn event(facts: &Facts<'_>) -> Option<Value> {
    let event = facts.event;
    let (kind, member, more) = match event.kind {
        EventType::Accepted => ("email.sent", "", Value::Null),
        EventType::Delivered => ("email.delivered", "", Value::Null),
        EventType::Deferred => ("email.delivery_delayed", "", Value::Null),
        EventType::Bounced => {
            let (kind, sub) =
                if facts.is_hard() { ("Permanent", "General") } else { ("Transient", "General") };
            let told = json!({ "message": facts.response(), "type": kind, "subType": sub });
            ("email.bounced", "bounce", told)
        }
        EventType::Expired => ("email.failed", "failed", json!({ "reason": "expired" })),
        EventType::Suppressed => {
            let message = "The recipient is on the suppression list";
            (
                "email.suppressed",
                "suppressed",
                json!({ "message": message, "type": "OnAccountSuppressionList" }),
            )
        }
        EventType::Complained => ("email.complained", "", Value::Null),
        EventType::Opened => ("email.opened", "open", seen(facts)),
        EventType::Clicked => {
            let mut told = seen(facts);
            told["link"] = facts.text("/url").into();
            ("email.clicked", "click", told)
        }
        EventType::Unsubscribed | EventType::Canceled | EventType::Received => return None,
    };
    let mut data = json!({
        "email_id": facts.uuid(),
        "created_at": super::in_seconds(event.message().born()),
        "from": facts.head.from,
        // Whom it is about: theirs names all addressees, and not whom it is about.
        "to": [event.recipient],
        "subject": facts.head.subject,
        "message_id": facts.head.message_id,
        "tags": facts.metadata(),
        "headers": headers(facts),
    });
    if !member.is_empty() {
        data[member] = more;
    }
    Some(json!({ "type": kind, "created_at": facts.moment(), "data": data }))
}

/// Tags and metadata stand where anymail puts them, too.
fn headers(facts: &Facts<'_>) -> Value {
    let mut headers = vec![json!({ "name": "Message-ID", "value": facts.head.message_id })];
    if !facts.event.tags.is_empty() {
        headers.push(json!({ "name": "X-Tags", "value": json!(facts.event.tags).to_string() }));
    }
    let metadata = facts.metadata();
    if !metadata.is_empty() {
        headers.push(json!({ "name": "X-Metadata", "value": Value::Object(metadata).to_string() }));
    }
    Value::Array(headers)
}

fn seen(facts: &Facts<'_>) -> Value {
    json!({ "timestamp": facts.moment(), "userAgent": facts.text("/user_agent"), "ipAddress": facts.text("/ip") })
}
