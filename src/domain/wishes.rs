//! What the header of a composed mail asks for in the words of other providers, as ours: one table of their control
//! fields. Pure. Our own `X-Postroad-…` are read by the door of SMTP.
//!
//! Invariant: what asks for a mail that we would send otherwise than its author means is refused; what only chooses
//! among a provider's own addresses, keys or accounts is passed over.

mod json;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::mail::Mailbox;
use crate::mail::control::ForeignField;

use super::delivery::Priority;
use super::handling::{Tracking, Transport};
use super::submission::{
    MAX_METADATA, MAX_TAGS, Options, Sending, StreamName, is_metadata_key, is_metadata_value, is_tag,
};

/// What is asked for; `None` and empty: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The stream.
    pub stream: Option<StreamName>,
    /// Labels.
    pub tags: Vec<String>,
    /// The author's own data.
    pub metadata: BTreeMap<String, String>,
    /// Not before this moment.
    pub send_at: Option<OffsetDateTime>,
    /// Whether opens are watched.
    pub opens: Option<bool>,
    /// Whether clicks are watched.
    pub clicks: Option<bool>,
    /// How the way is protected.
    pub transport: Option<Transport>,
    /// Whether it leaves the house.
    pub sending: Option<Sending>,
    /// Before or after other mail.
    pub priority: Option<Priority>,
    /// An Idempotency-Key, as it was written.
    pub key: Option<String>,
    /// Who gets a copy besides the envelope's recipients.
    pub copies: Vec<Mailbox>,
}

/// Reads the control fields of providers.
///
/// # Errors
/// Everything that cannot be done, each with the name of its field.
pub fn read(fields: &[ForeignField]) -> Result<Wishes, Vec<String>> {
    let mut wishes = Wishes::default();
    let mut wrong = Vec::new();
    for field in fields {
        if let Err(trouble) = table::field(&mut wishes, &field.name, &field.value) {
            wrong.push(format!("{}: {trouble}", field.name));
        }
    }
    if wrong.is_empty() { Ok(wishes) } else { Err(wrong) }
}

impl Wishes {
    /// Lays the wishes under what is asked for otherwise: what `options` say already stays.
    pub fn under(self, options: &mut Options) {
        let usual = Options::default();
        if let Some(stream) = self.stream.filter(|_| options.stream == usual.stream) {
            options.stream = stream;
        }
        for tag in self.tags {
            if !options.tags.contains(&tag) && options.tags.len() < MAX_TAGS {
                options.tags.push(tag);
            }
        }
        for (key, value) in self.metadata {
            if options.metadata.len() < MAX_METADATA {
                options.metadata.entry(key).or_insert(value);
            }
        }
        options.send_at = options.send_at.or(self.send_at);
        if options.handling.tracking == Tracking::default() {
            let Tracking { opens, clicks } = options.handling.tracking;
            let (opens, clicks) = (self.opens.unwrap_or(opens), self.clicks.unwrap_or(clicks));
            options.handling.tracking = Tracking { opens, clicks };
        }
        if let Some(transport) = self.transport {
            options.handling.transport = transport;
        }
        if let Some(sending) = self.sending {
            options.sending = sending;
        }
        if let Some(priority) = self.priority.filter(|_| options.priority == usual.priority) {
            options.priority = priority;
        }
    }

    fn tag(&mut self, tag: &str) -> Result<(), String> {
        let tag = tag.trim();
        if tag.is_empty() || self.tags.iter().any(|known| known == tag) {
            return Ok(());
        }
        if !is_tag(tag) || self.tags.len() == MAX_TAGS {
            return Err("a tag has at most 128 characters, and a mail at most 20 tags".to_owned());
        }
        self.tags.push(tag.to_owned());
        Ok(())
    }

    fn note(&mut self, key: &str, value: &str) -> Result<(), String> {
        if !is_metadata_key(key) || !is_metadata_value(value) || self.metadata.len() == MAX_METADATA {
            let text = "at most 50 entries are kept, of at most 64 characters and values of at most 1024";
            return Err(text.to_owned());
        }
        self.metadata.insert(key.to_owned(), value.to_owned());
        Ok(())
    }
}
