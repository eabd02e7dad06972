//! developers.sparkpost.com/api/webhooks: each event below `msys` and its class.

use serde_json::{Value, json};

use crate::domain::event::EventType;

use super::Facts;

pub(super) fn event(facts: &Facts<'_>) -> Option<Value> {
    let event = facts.event;
    let (class, kind) = match event.kind {
        EventType::Accepted => ("message_event", "injection"),
        EventType::Delivered => ("message_event", "delivery"),
        EventType::Deferred => ("message_event", "delay"),
        EventType::Bounced if facts.is_late() => ("message_event", "out_of_band"),
        EventType::Bounced | EventType::Expired | EventType::Suppressed | EventType::Canceled => {
            ("message_event", "bounce")
        }
        EventType::Complained => ("message_event", "spam_complaint"),
        EventType::Opened => ("track_event", "open"),
        EventType::Clicked => ("track_event", "click"),
        EventType::Unsubscribed => ("unsubscribe_event", "list_unsubscribe"),
        EventType::Received => return None,
    };
    let mut shown = json!({
        "type": kind,
        "event_id": event.id.to_string(),
        "timestamp": facts.seconds().to_string(),
        // What the send answered.
        "transmission_id": event.message().to_string(),
        "message_id": event.delivery.to_string(),
        "rcpt_to": event.recipient.to_lowercase(),
        "raw_rcpt_to": event.recipient,
        "rcpt_meta": facts.metadata(),
        "rcpt_tags": event.tags,
        "campaign_id": facts.tag().unwrap_or_default(),
        "subject": facts.head.subject,
        "friendly_from": facts.sender(),
        "recipient_domain": facts.domain(),
        "transactional": "1",
        "ip_address": facts.text("/smtp/ip").or(facts.text("/ip")),
    });
    let (bounce_class, reason) = match event.kind {
        EventType::Bounced | EventType::Deferred => (bounce_class(facts), facts.response()),
        EventType::Expired => {
            ("24", "554 5.4.7 [internal] message timeout (exceeded max time, last transfail)".to_owned())
        }
        EventType::Suppressed => {
            ("25", "554 5.7.1 recipient address was suppressed due to customer policy".to_owned())
        }
        EventType::Canceled => ("25", "554 5.7.1 [internal] Campaign cancelled".to_owned()),
        _ => ("", String::new()),
    };
    if !bounce_class.is_empty() {
        let code = reason.split(' ').next().unwrap_or_default().to_owned();
        shown["bounce_class"] = bounce_class.into();
        shown["error_code"] = code.into();
        shown["raw_reason"] = reason.as_str().into();
        shown["reason"] = reason.into();
    }
    if event.kind == EventType::Complained {
        shown["fbtype"] = facts.text("/feedback_type").unwrap_or("abuse").into();
    }
    if matches!(event.kind, EventType::Opened | EventType::Clicked) {
        shown["user_agent"] = facts.text("/user_agent").into();
        shown["target_link_url"] = facts.text("/url").into();
    }
    Some(json!({ "msys": { class: shown } }))
}

/// support.sparkpost.com/docs/deliverability/bounce-classification-codes.
fn bounce_class(facts: &Facts<'_>) -> &'static str {
    match facts.class() {
        "invalid_recipient" => "10",
        "inactive_mailbox" => "30",
        "mailbox_full" => "22",
        "domain_not_found" => "90",
        "rate_limited" | "greylisted" | "network" => "20",
        "reputation_block" => "51",
        "spam_content" => "52",
        "auth_policy" => "54",
        "message_invalid" => "23",
        "relay_denied" => "50",
        "expired" => "24",
        _ => "1",
    }
}
