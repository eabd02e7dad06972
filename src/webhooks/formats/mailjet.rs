//! dev.mailjet.com/email/guides/webhooks.

use serde_json::{Value, json};

use crate::domain::event::EventType;

use super::{Facts, number};

pub(super) fn event(facts: &Facts<'_>) -> Option<Value> {
    let event = facts.event;
    let name = match event.kind {
        EventType::Delivered => "sent",
        EventType::Opened => "open",
        EventType::Clicked => "click",
        EventType::Bounced | EventType::Deferred | EventType::Expired => "bounce",
        EventType::Suppressed => "blocked",
        EventType::Complained => "spam",
        EventType::Unsubscribed => "unsub",
        EventType::Accepted | EventType::Canceled | EventType::Received => return None,
    };
    let metadata = facts.metadata();
    let custom_id = metadata.get("CustomID").and_then(Value::as_str).unwrap_or_default().to_owned();
    // What the caller gave as his payload, or else all his data.
    let payload = match metadata.get("EventPayload").and_then(Value::as_str) {
        Some(payload) => payload.to_owned(),
        None if metadata.is_empty() => String::new(),
        None => Value::Object(metadata).to_string(),
    };
    let mut shown = json!({
        "event": name,
        "time": facts.seconds(),
        "MessageID": number(event.message().uuid()),
        "Message_GUID": facts.uuid(),
        "email": event.recipient,
        "mj_campaign_id": 0,
        "mj_contact_id": 0,
        "customcampaign": facts.tag().unwrap_or_default(),
        "CustomID": custom_id,
        "Payload": payload,
    });
    match event.kind {
        EventType::Delivered => {
            shown["mj_message_id"] = number(event.message().uuid()).to_string().into();
            shown["smtp_reply"] = facts.response().into();
        }
        EventType::Bounced | EventType::Deferred | EventType::Expired => {
            shown["blocked"] = false.into();
            shown["hard_bounce"] = facts.is_hard().into();
            let (related, error) = trouble(facts.class());
            shown["error_related_to"] = related.into();
            shown["error"] = error.into();
            shown["comment"] = facts.response().into();
        }
        EventType::Suppressed => {
            shown["error_related_to"] = "mailjet".into();
            shown["error"] = "preblocked".into();
        }
        EventType::Complained => shown["source"] = facts.text("/feedback_type").unwrap_or("abuse").into(),
        EventType::Clicked | EventType::Opened => {
            shown["url"] = facts.text("/url").into();
            shown["ip"] = facts.text("/ip").into();
            shown["geo"] = facts.text("/country").into();
            shown["agent"] = facts.text("/user_agent").into();
        }
        _ => {}
    }
    Some(shown)
}

fn trouble(class: &str) -> (&'static str, &'static str) {
    match class {
        "invalid_recipient" => ("recipient", "user unknown"),
        "inactive_mailbox" => ("recipient", "mailbox inactive"),
        "mailbox_full" => ("recipient", "quota exceeded"),
        "domain_not_found" => ("domain", "invalid domain"),
        "relay_denied" => ("domain", "relay/access denied"),
        "spam_content" => ("content", "blocked"),
        "reputation_block" | "auth_policy" => ("spam", "sender blocked"),
        "greylisted" => ("domain", "greylisted"),
        "rate_limited" => ("domain", "throttled"),
        "network" => ("domain", "connection issue"),
        _ => ("system", "system issue"),
    }
}
