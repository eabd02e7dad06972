//! Events in the shapes of other providers: what their receivers, and django-anymail's views, take apart. Pure: from
//! an event and what is known of its message to JSON. Signing and posting are elsewhere (`sign`, `courier`).
//!
//! An event that a provider has no word for is not posted there at all: `None`.

mod brevo;
mod mailersend;
mod mailgun;
mod mailjet;
mod postmark;
mod resend;
mod sendgrid;
mod ses;
mod sparkpost;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::domain::event::Event;
use crate::domain::webhook_format::Format;
use crate::store::heads::Head;

use super::compose;

/// An event in a shape; `None`: there is no such event in it.
pub fn posted(format: Format, event: &Event, head: Option<&Head>) -> Option<Value> {
    if format == Format::Postroad {
        return Some(compose::posted(event));
    }
    let facts = Facts { event, head: head? };
    match format {
        Format::Postroad => None,
        Format::SendGrid => sendgrid::event(&facts),
        Format::Mailgun => mailgun::event(&facts),
        Format::Postmark => postmark::event(&facts),
        Format::Ses => ses::event(&facts),
        Format::SparkPost => sparkpost::event(&facts),
        Format::Brevo => brevo::event(&facts),
        Format::Resend => resend::event(&facts),
        Format::Mailjet => mailjet::event(&facts),
        Format::MailerSend => mailersend::event(&facts),
    }
}

/// What a request carries: one event as it is, or the list that some receivers want even then.
pub fn body(format: Format, events: Vec<Value>, batched: bool) -> Value {
    match format {
        Format::SendGrid | Format::SparkPost => Value::Array(events),
        _ if batched => Value::Array(events),
        _ => events.into_iter().next().unwrap_or_default(),
    }
}

/// An event and its message, with the questions that all shapes ask.
pub(super) struct Facts<'a> {
    event: &'a Event,
    head: &'a Head,
}

impl Facts<'_> {
    /// Seconds since 1970.
    fn seconds(&self) -> i64 {
        self.event.at().unix_timestamp()
    }

    /// Seconds with milliseconds.
    fn fraction(&self) -> f64 {
        (self.event.at().unix_timestamp_nanos() / 1_000_000) as f64 / 1000.0
    }

    /// RFC 3339 with milliseconds.
    fn moment(&self) -> String {
        compose::moment(self.event.at())
    }

    /// A text of the event's data.
    fn text(&self, pointer: &str) -> Option<&str> {
        self.event.data.pointer(pointer)?.as_str()
    }

    /// What the peer said, as one line: code, enhanced code, text.
    fn response(&self) -> String {
        let code = self.code().map(|code| code.to_string());
        let parts = [code.as_deref(), self.text("/smtp/enhanced"), self.text("/smtp/text")];
        parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// The reply's three digits.
    fn code(&self) -> Option<u64> {
        self.event.data.pointer("/smtp/code")?.as_u64()
    }

    /// RFC 3463's code; what stands for it where none was given.
    fn enhanced(&self) -> String {
        let digit = self.code().map_or(5, |code| code / 100);
        self.text("/smtp/enhanced").map_or_else(|| format!("{digit}.0.0"), str::to_owned)
    }

    /// Whether the address itself is dead.
    fn is_hard(&self) -> bool {
        self.event.data.get("hard").and_then(Value::as_bool) == Some(true)
    }

    /// Whether the peer had taken the mail before.
    fn is_late(&self) -> bool {
        self.event.data.get("late").is_some()
    }

    /// The class of a bounce.
    fn class(&self) -> &str {
        self.text("/class").unwrap_or("unknown")
    }

    /// The message's UUID.
    fn uuid(&self) -> String {
        self.event.message().uuid().to_string()
    }

    /// The Message-ID without its angle brackets.
    fn bare_message_id(&self) -> &str {
        self.head.message_id.trim_start_matches('<').trim_end_matches('>')
    }

    /// The caller's own data.
    fn metadata(&self) -> Map<String, Value> {
        self.event.metadata.as_object().cloned().unwrap_or_default()
    }

    /// The first tag.
    fn tag(&self) -> Option<&str> {
        self.event.tags.first().map(String::as_str)
    }

    /// The recipient's domain.
    fn domain(&self) -> &str {
        self.event.recipient.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// The author's address alone.
    fn sender(&self) -> &str {
        let from = self.head.from.as_str();
        from.rsplit_once('<').map_or(from, |(_, rest)| rest.trim_end_matches('>'))
    }
}

/// RFC 3339, in seconds.
fn in_seconds(at: OffsetDateTime) -> String {
    // Fails only for years that no clock here reaches.
    at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default()
}

/// A 53-bit number that stands for a UUID where a provider has numbers: as many as JavaScript has exactly. Its moment is
/// in the upper bits, so that it grows.
pub fn number(uuid: uuid::Uuid) -> i64 {
    let bits = uuid.as_u128();
    let millis = (bits >> 80) as i64;
    // The last ten bits are the same for all messages.
    (millis << 10) | ((bits >> 10) as i64 & 0x3ff)
}
