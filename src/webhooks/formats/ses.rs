//! docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html. What goes around it, SNS's envelope,
//! is made when it is posted.

use serde_json::{Map, Value, json};

use crate::domain::event::EventType;

use super::Facts;

pub(super) fn event(facts: &Facts<'_>) -> Option<Value> {
    let event = facts.event;
    let at = facts.moment();
    let to = json!([{ "emailAddress": event.recipient, "action": "failed", "status": facts.enhanced(), "diagnosticCode": format!("smtp; {}", facts.response()) }]);
    let alone = json!([{ "emailAddress": event.recipient }]);
    let (name, member, more) = match event.kind {
        EventType::Accepted => ("Send", "send", json!({})),
        EventType::Delivered => (
            "Delivery",
            "delivery",
            json!({
                "timestamp": at,
                "recipients": [event.recipient],
                "smtpResponse": facts.response(),
                "remoteMtaIp": facts.text("/smtp/ip"),
                "reportingMTA": facts.text("/smtp/host"),
            }),
        ),
        EventType::Deferred => (
            "DeliveryDelay",
            "deliveryDelay",
            json!({ "timestamp": at, "delayType": delay_type(facts.class()), "delayedRecipients": to }),
        ),
        EventType::Bounced | EventType::Expired => {
            let (kind, sub) = bounce_type(facts);
            let more = json!({
                "timestamp": at,
                "bounceType": kind,
                "bounceSubType": sub,
                "bouncedRecipients": to,
                "feedbackId": event.id.to_string(),
            });
            ("Bounce", "bounce", more)
        }
        EventType::Suppressed => {
            let more = json!({
                "timestamp": at,
                "bounceType": "Permanent",
                "bounceSubType": "OnAccountSuppressionList",
                "bouncedRecipients": [{ "emailAddress": event.recipient, "action": "failed", "status": "5.1.1",
                    "diagnosticCode": "Amazon SES did not send the message to this address because it is on the suppression list for your account." }],
                "feedbackId": event.id.to_string(),
            });
            ("Bounce", "bounce", more)
        }
        EventType::Complained => (
            "Complaint",
            "complaint",
            json!({
                "timestamp": at,
                "complainedRecipients": alone,
                "complaintFeedbackType": facts.text("/feedback_type").unwrap_or("abuse"),
                "userAgent": facts.text("/user_agent"),
                "feedbackId": event.id.to_string(),
            }),
        ),
        EventType::Opened => (
            "Open",
            "open",
            json!({ "timestamp": at, "ipAddress": facts.text("/ip"), "userAgent": facts.text("/user_agent") }),
        ),
        EventType::Clicked => (
            "Click",
            "click",
            json!({ "timestamp": at, "ipAddress": facts.text("/ip"), "userAgent": facts.text("/user_agent"), "link": facts.text("/url") }),
        ),
        EventType::Unsubscribed => (
            "Subscription",
            "subscription",
            json!({ "timestamp": at, "contactList": event.stream, "source": "UnsubscribeHeader" }),
        ),
        EventType::Canceled | EventType::Received => return None,
    };
    let mut shown = json!({ "eventType": name, "mail": mail(facts) });
    shown[member] = more;
    Some(shown)
}

/// What is known of the mail. Tags and metadata stand where anymail puts them, too.
fn mail(facts: &Facts<'_>) -> Value {
    let event = facts.event;
    let mut headers = vec![
        json!({ "name": "From", "value": facts.head.from }),
        json!({ "name": "To", "value": facts.head.to.join(", ") }),
        json!({ "name": "Subject", "value": facts.head.subject }),
        json!({ "name": "Message-ID", "value": facts.head.message_id }),
    ];
    headers.extend(event.tags.iter().map(|tag| json!({ "name": "X-Tag", "value": tag })));
    let metadata = facts.metadata();
    if !metadata.is_empty() {
        headers.push(json!({ "name": "X-Metadata", "value": Value::Object(metadata.clone()).to_string() }));
    }
    let tags: Map<String, Value> = metadata.into_iter().map(|(name, value)| (name, json!([value]))).collect();
    json!({
        "timestamp": super::in_seconds(event.message().born()),
        "messageId": event.message().to_string(),
        "source": facts.sender(),
        "destination": [event.recipient],
        "headersTruncated": false,
        "headers": headers,
        "commonHeaders": {
            "from": [facts.head.from],
            "to": facts.head.to,
            "messageId": facts.head.message_id,
            "subject": facts.head.subject,
        },
        "tags": tags,
    })
}

fn bounce_type(facts: &Facts<'_>) -> (&'static str, &'static str) {
    match facts.class() {
        "invalid_recipient" | "inactive_mailbox" if facts.is_hard() => ("Permanent", "NoEmail"),
        _ if facts.is_hard() => ("Permanent", "General"),
        "mailbox_full" => ("Transient", "MailboxFull"),
        "message_invalid" => ("Transient", "MessageTooLarge"),
        "spam_content" | "reputation_block" | "auth_policy" => ("Transient", "ContentRejected"),
        "unknown" => ("Undetermined", "Undetermined"),
        _ => ("Transient", "General"),
    }
}

fn delay_type(class: &str) -> &'static str {
    match class {
        "mailbox_full" => "MailboxFull",
        "network" => "TransientCommunicationFailure",
        "spam_content" => "SpamDetected",
        "reputation_block" | "rate_limited" => "IPFailure",
        "domain_not_found" => "RecipientServerError",
        "internal" => "InternalFailure",
        _ => "General",
    }
}
