//! Which words each shape has, and what none of them may do.

use super::*;
use crate::domain::event::EventType;
use crate::domain::id::{EventId, Lane, MessageId};
use serde_json::json;
use time::macros::datetime;

fn event(kind: EventType, data: Value) -> Event {
    let at = datetime!(2026-11-24 10:00:00.250 UTC);
    let delivery = MessageId::in_lane(at, Lane::new(3)).delivery(1);
    Event {
        id: EventId::of(at, delivery),
        kind,
        delivery,
        recipient: "ann@example.net".into(),
        stream: "transactional".into(),
        tags: vec!["welcome".into(), "b".into()],
        metadata: json!({ "order": "7" }),
        data,
    }
}

fn head() -> Head {
    Head {
        message_id: "<abc@acme.example>".into(),
        subject: "Hello".into(),
        from: "Acme <hello@acme.example>".into(),
        to: vec!["Ann <ann@example.net>".into()],
        size_bytes: 1234,
    }
}

fn shown(format: Format, kind: EventType) -> Option<Value> {
    let smtp = json!({ "step": "rcpt", "code": 550, "enhanced": "5.1.1", "text": "no such user", "host": "mx.example.net", "ip": "192.0.2.7" });
    let data = match kind {
        EventType::Bounced => json!({ "smtp": smtp, "class": "invalid_recipient", "hard": true }),
        EventType::Deferred => json!({ "smtp": smtp, "class": "greylisted" }),
        EventType::Delivered => json!({ "smtp": { "code": 250, "enhanced": "2.0.0", "text": "OK" } }),
        EventType::Clicked => {
            json!({ "url": "https://acme.example/", "user_agent": "Mozilla", "ip": "192.0.2.0", "first": true })
        }
        EventType::Opened => json!({ "user_agent": "Mozilla", "first": true, "machine": false }),
        _ => json!({}),
    };
    posted(format, &event(kind, data), Some(&head()))
}

/// Which word each shape has for what happened, in the order of `EventType::ALL` without `received`.
#[test]
fn every_shape_has_its_words() {
    type Words = [Option<&'static str>; 11];
    let words: [(Format, &str, Words); 9] = [
        (
            Format::SendGrid,
            "/event",
            [
                Some("processed"),
                Some("deferred"),
                Some("delivered"),
                Some("bounce"),
                Some("bounce"),
                Some("dropped"),
                None,
                Some("spamreport"),
                Some("open"),
                Some("click"),
                Some("unsubscribe"),
            ],
        ),
        (
            Format::Mailgun,
            "/event",
            [
                Some("accepted"),
                Some("failed"),
                Some("delivered"),
                Some("failed"),
                Some("failed"),
                Some("failed"),
                None,
                Some("complained"),
                Some("opened"),
                Some("clicked"),
                Some("unsubscribed"),
            ],
        ),
        (
            Format::Postmark,
            "/RecordType",
            [
                None,
                Some("Bounce"),
                Some("Delivery"),
                Some("Bounce"),
                Some("Bounce"),
                None,
                None,
                Some("SpamComplaint"),
                Some("Open"),
                Some("Click"),
                Some("SubscriptionChange"),
            ],
        ),
        (
            Format::Ses,
            "/eventType",
            [
                Some("Send"),
                Some("DeliveryDelay"),
                Some("Delivery"),
                Some("Bounce"),
                Some("Bounce"),
                Some("Bounce"),
                None,
                Some("Complaint"),
                Some("Open"),
                Some("Click"),
                Some("Subscription"),
            ],
        ),
        (
            Format::SparkPost,
            "/type",
            [
                Some("injection"),
                Some("delay"),
                Some("delivery"),
                Some("bounce"),
                Some("bounce"),
                Some("bounce"),
                Some("bounce"),
                Some("spam_complaint"),
                Some("open"),
                Some("click"),
                Some("list_unsubscribe"),
            ],
        ),
        (
            Format::Brevo,
            "/event",
            [
                Some("request"),
                Some("deferred"),
                Some("delivered"),
                Some("hard_bounce"),
                Some("soft_bounce"),
                Some("blocked"),
                None,
                Some("spam"),
                Some("unique_opened"),
                Some("click"),
                Some("unsubscribed"),
            ],
        ),
        (
            Format::Resend,
            "/type",
            [
                Some("email.sent"),
                Some("email.delivery_delayed"),
                Some("email.delivered"),
                Some("email.bounced"),
                Some("email.failed"),
                Some("email.suppressed"),
                None,
                Some("email.complained"),
                Some("email.opened"),
                Some("email.clicked"),
                None,
            ],
        ),
        (
            Format::Mailjet,
            "/event",
            [
                None,
                Some("bounce"),
                Some("sent"),
                Some("bounce"),
                Some("bounce"),
                Some("blocked"),
                None,
                Some("spam"),
                Some("open"),
                Some("click"),
                Some("unsub"),
            ],
        ),
        (
            Format::MailerSend,
            "/data/type",
            [
                Some("sent"),
                Some("deferred"),
                Some("delivered"),
                Some("hard_bounced"),
                Some("soft_bounced"),
                None,
                None,
                Some("spam_complaint"),
                Some("opened_unique"),
                Some("clicked_unique"),
                Some("unsubscribed"),
            ],
        ),
    ];
    for (format, pointer, words) in words {
        for (kind, word) in EventType::ALL.into_iter().zip(words) {
            let shown = shown(format, kind);
            // SparkPost's class stands above its type.
            let inner = shown.as_ref().and_then(|shown| match shown.get("msys") {
                Some(Value::Object(classes)) => classes.values().next(),
                _ => Some(shown),
            });
            let found = inner.and_then(|shown| shown.pointer(pointer)).and_then(Value::as_str);
            assert_eq!(found, word, "{} {}", format.as_str(), kind.as_str());
        }
        assert_eq!(posted(format, &event(EventType::Received, json!({})), None), None);
    }
}

#[test]
fn the_callers_data_is_in_the_event_itself_and_hides_none_of_it() {
    let mut event = event(EventType::Delivered, json!({}));
    event.metadata = json!({ "order": "7", "email": "forged@example.net", "event": "open" });
    let shown = posted(Format::SendGrid, &event, Some(&head())).expect("an event");
    assert_eq!(shown["order"], "7");
    assert_eq!((&shown["email"], &shown["event"]), (&json!("ann@example.net"), &json!("delivered")));
    assert_eq!(shown["timestamp"], 1_795_514_400);
}

#[test]
fn numbers_for_ids_are_exact_in_javascript_and_differ() {
    let at = datetime!(2126-11-24 10:00 UTC);
    let ids: Vec<i64> = (1..=50).map(|_| number(EventId::new(at).uuid())).collect();
    assert!(ids.iter().all(|id| *id > 0 && *id < 1 << 53), "{ids:?}");
}

#[test]
fn lists_stay_lists_and_single_events_are_alone() {
    let one = || vec![json!({ "a": 1 })];
    assert_eq!(body(Format::SendGrid, one(), false), json!([{ "a": 1 }]));
    assert_eq!(body(Format::SparkPost, one(), true), json!([{ "a": 1 }]));
    assert_eq!(body(Format::Brevo, one(), false), json!({ "a": 1 }));
    assert_eq!(body(Format::Mailjet, one(), true), json!([{ "a": 1 }]));
}
