//! The story of a delivery: its attempts and events in their order, each in plain words.

use serde_json::Value;
use time::OffsetDateTime;

use crate::domain::event::{Event, EventType};
use crate::domain::explain::{self, Mood, Standing, Told};
use crate::store::messages::{AttemptRow, DeliveryRow};

use super::show::{self, At};

/// One thing that happened.
pub struct Line {
    /// When.
    pub at: At,
    /// How good it is: the class that colours it.
    pub tone: &'static str,
    /// What happened.
    pub text: String,
    /// What the peer said, with its codes; empty: nothing.
    pub reply: String,
    /// What else is known, for those who want to know.
    pub facts: Vec<(&'static str, String)>,
}

/// Where a delivery stands, in a sentence.
pub fn verdict(
    delivery: &DeliveryRow,
    attempts: &[AttemptRow],
    suppressed: bool,
    now: OffsetDateTime,
) -> Told {
    let last = own(delivery, attempts).rfind(|attempt| attempt.result != "stale");
    let class = delivery.class.as_deref().or_else(|| last.and_then(|attempt| attempt.class.as_deref()));
    explain::standing(&Standing {
        status: delivery.status,
        recipient: &delivery.recipient,
        host: last.and_then(|attempt| attempt.host.as_deref()),
        class: class.and_then(|class| class.parse().ok()),
        suppressed,
        attempts: delivery.attempts,
        next: delivery.next_attempt_at,
        now,
    })
}

/// What happened to a delivery, the first thing first.
pub fn lines(delivery: &DeliveryRow, attempts: &[AttemptRow], events: &[Event]) -> Vec<Line> {
    let tried =
        own(delivery, attempts).map(|attempt| (attempt.started_at, of_attempt(attempt, &delivery.recipient)));
    let has_attempts = own(delivery, attempts).next().is_some();
    let other = events
        .iter()
        .filter(|event| event.delivery == delivery.id && !(has_attempts && is_told_by_attempt(event)))
        .map(|event| (event.at(), of_event(event)));
    let mut lines: Vec<(OffsetDateTime, Line)> = tried.chain(other).collect();
    lines.sort_by_key(|(at, _)| *at);
    lines.into_iter().map(|(_, line)| line).collect()
}

fn own<'a>(
    delivery: &DeliveryRow,
    attempts: &'a [AttemptRow],
) -> impl DoubleEndedIterator<Item = &'a AttemptRow> {
    let id = delivery.id.uuid();
    attempts.iter().filter(move |attempt| attempt.delivery_id == id)
}

/// Whether the attempt that brought an event about tells more of it.
fn is_told_by_attempt(event: &Event) -> bool {
    let of_attempt = matches!(
        event.kind,
        EventType::Deferred | EventType::Delivered | EventType::Bounced | EventType::Expired
    );
    of_attempt && event.data.get("smtp").is_some() && event.data.get("late") != Some(&Value::Bool(true))
}

fn of_attempt(attempt: &AttemptRow, recipient: &str) -> Line {
    let class = attempt.class.as_deref().and_then(|class| class.parse().ok());
    let told = explain::attempt(&attempt.result, class, attempt.host.as_deref(), recipient);
    let host = match (&attempt.host, &attempt.ip) {
        (Some(host), Some(ip)) if host != ip => format!("{host} [{ip}]"),
        (Some(host), _) => host.clone(),
        (None, ip) => ip.clone().unwrap_or_default(),
    };
    let facts = [
        ("Host", host),
        ("TLS", attempt.tls.clone().unwrap_or_else(|| "none: in clear".to_owned())),
        ("Step", attempt.step.clone()),
        ("Took", show::lasting(f64::from(attempt.duration_ms) / 1000.0)),
        ("Attempt", attempt.attempt.to_string()),
        ("Class", attempt.class.clone().unwrap_or_default()),
    ];
    let code = attempt.code.map(|code| code.to_string());
    let said = [code.as_deref(), attempt.enhanced.as_deref(), Some(attempt.reply.as_str())];
    let said: Vec<&str> = said.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    Line {
        at: show::clock(attempt.started_at),
        tone: tone(told.mood),
        text: told.text,
        reply: said.join(" "),
        facts: facts.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
    }
}

fn of_event(event: &Event) -> Line {
    let told = explain::event(event.kind, &event.data);
    let text = |name: &str| event.data.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let smtp =
        |name: &str| event.data.pointer(&format!("/smtp/{name}")).and_then(Value::as_str).unwrap_or_default();
    let code = event.data.pointer("/smtp/code").and_then(Value::as_i64).map(|code| code.to_string());
    let said = [code.as_deref().unwrap_or_default(), smtp("enhanced"), smtp("text")];
    let said: Vec<&str> = said.into_iter().filter(|part| !part.is_empty()).collect();
    let facts = [
        ("By", text("user_agent")),
        ("With", text("client")),
        ("From", text("ip")),
        ("Country", text("country")),
        ("Kind", text("feedback_type")),
        ("How", text("method")),
    ];
    Line {
        at: show::clock(event.at()),
        tone: tone(told.mood),
        text: told.text,
        reply: said.join(" "),
        facts: facts.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
    }
}

fn tone(mood: Mood) -> &'static str {
    match mood {
        Mood::Good => "ok",
        Mood::Waiting => "warn",
        Mood::Bad => "bad",
        Mood::Neutral => "",
    }
}
