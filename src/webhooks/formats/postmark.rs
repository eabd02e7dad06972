//! postmarkapp.com/developer/webhooks/webhooks-overview: a record each, told apart by `RecordType`.

use serde_json::{Map, Value, json};

use crate::domain::event::EventType;
use crate::domain::submission::TRANSACTIONAL;

use super::{Facts, number};

pub(super) fn event(facts: &Facts<'_>) -> Option<Value> {
    let event = facts.event;
    let stream = if event.stream == TRANSACTIONAL { "outbound" } else { &event.stream };
    let mut shown = Map::from_iter([
        ("MessageID".to_owned(), facts.uuid().into()),
        ("ServerID".to_owned(), 1.into()),
        ("MessageStream".to_owned(), stream.into()),
        ("Tag".to_owned(), facts.tag().unwrap_or_default().into()),
        ("Metadata".to_owned(), facts.metadata().into()),
    ]);
    let at = facts.moment();
    let (kind, more) = match event.kind {
        EventType::Delivered => (
            "Delivery",
            json!({ "Recipient": event.recipient, "DeliveredAt": at, "Details": facts.response() }),
        ),
        EventType::Deferred => ("Bounce", bounce(facts, ("Transient", 2, "Message delayed"))),
        EventType::Bounced => ("Bounce", bounce(facts, bounce_type(facts))),
        EventType::Expired => ("Bounce", bounce(facts, ("SoftBounce", 4096, "Soft bounce"))),
        EventType::Complained => {
            ("SpamComplaint", bounce(facts, ("SpamComplaint", 100_001, "Spam complaint")))
        }
        EventType::Opened => {
            let mut more = seen(facts);
            more["FirstOpen"] = facts.event.data.get("first").cloned().unwrap_or(Value::Bool(false));
            ("Open", more)
        }
        EventType::Clicked => {
            let mut more = seen(facts);
            more["OriginalLink"] = facts.text("/url").into();
            more["ClickLocation"] = "HTML".into();
            ("Click", more)
        }
        EventType::Unsubscribed => (
            "SubscriptionChange",
            json!({
                "Recipient": event.recipient,
                "ChangedAt": at,
                "Origin": "Recipient",
                "SuppressSending": true,
                "SuppressionReason": "ManualSuppression",
            }),
        ),
        EventType::Accepted | EventType::Suppressed | EventType::Canceled | EventType::Received => {
            return None;
        }
    };
    shown.insert("RecordType".to_owned(), kind.into());
    shown.extend(more.as_object().cloned().unwrap_or_default());
    Some(Value::Object(shown))
}

/// postmarkapp.com/developer/api/bounce-api#bounce-types: type, its number, its name.
fn bounce_type(facts: &Facts<'_>) -> (&'static str, i32, &'static str) {
    match facts.class() {
        _ if facts.is_hard() => ("HardBounce", 1, "Hard bounce"),
        "domain_not_found" => ("DnsError", 256, "DNS error"),
        "spam_content" | "reputation_block" => ("SpamNotification", 512, "Spam notification"),
        "auth_policy" => ("DMARCPolicy", 100_009, "DMARC policy"),
        "message_invalid" => ("Undeliverable", 100_010, "Undeliverable"),
        _ => ("SoftBounce", 4096, "Soft bounce"),
    }
}

fn bounce(facts: &Facts<'_>, (kind, code, name): (&str, i32, &str)) -> Value {
    json!({
        "ID": number(facts.event.id.uuid()),
        "Type": kind,
        "TypeCode": code,
        "Name": name,
        "Email": facts.event.recipient,
        "From": facts.sender(),
        "BouncedAt": facts.moment(),
        "Description": name,
        "Details": facts.response(),
        "Subject": facts.head.subject,
        "Inactive": facts.is_hard() || kind == "SpamComplaint",
        "CanActivate": kind != "SpamComplaint",
        "DumpAvailable": false,
    })
}

fn seen(facts: &Facts<'_>) -> Value {
    json!({
        "Recipient": facts.event.recipient,
        "ReceivedAt": facts.moment(),
        "UserAgent": facts.text("/user_agent").unwrap_or_default(),
        "Platform": facts.text("/device").unwrap_or_default(),
        "Client": { "Name": facts.text("/client"), "Family": facts.text("/client") },
        "OS": { "Name": facts.text("/os"), "Family": facts.text("/os") },
        "Geo": { "CountryISOCode": facts.text("/country"), "IP": facts.text("/ip") },
    })
}
