//! The canonical send request. Everything that enters, by JSON, raw MIME, SMTP or a provider's shape, becomes
//! this and goes through the same `accept`. It is parsed, but not yet checked against limits or the database.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use crate::mail::attachment::Attachment;
use crate::mail::headers::CustomHeaders;
use crate::mail::{EmailAddress, Mailbox};
use crate::render::{Gaps, Source};

use super::delivery::{Priority, Role};
use super::handling::{Handling, Particulars};
use super::template::Selection;

/// Mail for people who await it; the stream when none is named.
pub const TRANSACTIONAL: &str = "transactional";

/// One mail as a caller asks for it.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The author (RFC 5322 §3.6.2). For raw MIME: the envelope's sender, or the first From.
    pub from: Option<Mailbox>,
    /// Where answers go; empty: to the author.
    pub reply_to: Vec<Mailbox>,
    /// Who gets it.
    pub recipients: Recipients,
    /// What they get.
    pub content: Content,
    /// How it is treated.
    pub options: Options,
}

/// Who gets the mail, by the role in which the header names them. Bcc is never in a header.
#[derive(Debug, Clone, Default)]
pub struct Recipients {
    /// Addressees.
    pub to: Vec<Mailbox>,
    /// Copies, seen by all.
    pub cc: Vec<Mailbox>,
    /// Copies, seen by none.
    pub bcc: Vec<Mailbox>,
    /// What is one recipient's alone, by the key of the address.
    pub particulars: BTreeMap<String, Particulars>,
    /// Instead of all these: who gets a mail of his own.
    pub personal: Vec<Personal>,
}

/// One who gets a mail of his own, alone in its To, and who gets copies of that one.
#[derive(Debug, Clone)]
pub struct Personal {
    /// Whose mail it is.
    pub to: Mailbox,
    /// Copies, seen by all who get this one.
    pub cc: Vec<Mailbox>,
    /// Copies, seen by none.
    pub bcc: Vec<Mailbox>,
    /// Values for the template, over those of the message.
    pub variables: Map<String, Value>,
    /// The caller's own data about this recipient, over that of the message.
    pub metadata: BTreeMap<String, String>,
}

impl Personal {
    /// Each address of this mail once, the addressee first.
    pub fn distinct(&self) -> Vec<(Role, &EmailAddress)> {
        once([(Role::To, std::slice::from_ref(&self.to)), (Role::Cc, &self.cc), (Role::Bcc, &self.bcc)])
    }
}

impl Recipients {
    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        [&self.to, &self.cc, &self.bcc].iter().all(|list| list.is_empty()) && self.personal.is_empty()
    }

    /// How many deliveries they make.
    pub fn count(&self) -> usize {
        if self.personal.is_empty() {
            return self.distinct().len();
        }
        self.personal.iter().map(|own| own.distinct().len()).sum()
    }

    /// Each address once, in the first role that names it: one delivery each. Of those who all get the same mail.
    pub fn distinct(&self) -> Vec<(Role, &EmailAddress)> {
        once([(Role::To, &self.to), (Role::Cc, &self.cc), (Role::Bcc, &self.bcc)])
    }
}

fn once(lists: [(Role, &[Mailbox]); 3]) -> Vec<(Role, &EmailAddress)> {
    let mut seen = std::collections::HashSet::new();
    lists
        .into_iter()
        .flat_map(|(role, boxes)| boxes.iter().map(move |mailbox| (role, &mailbox.address)))
        .filter(|(_, address)| seen.insert(address.key()))
        .collect()
}

/// What the recipients get.
#[derive(Debug, Clone)]
pub enum Content {
    /// Parts that postroad composes.
    Parts(Parts),
    /// A message the caller composed (RFC 5322), kept byte for byte as far as the RFCs let it be sent.
    Raw(Bytes),
}

/// The parts of a mail that postroad composes.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// One line.
    pub subject: String,
    /// The plain text.
    pub text: Option<String>,
    /// The HTML.
    pub html: Option<String>,
    /// Further header fields.
    pub headers: CustomHeaders,
    /// Files, inline when they have a content id.
    pub attachments: Vec<Attachment>,
    /// How subject, text and HTML come to be; `None`: they are taken verbatim.
    pub rendering: Option<Box<Rendering>>,
}

/// How the contents of a mail are rendered.
#[derive(Debug, Clone, Default)]
pub struct Rendering {
    /// Of what.
    pub of: Words,
    /// What is shown.
    pub variables: Map<String, Value>,
    /// What becomes of a variable that is missing; tokens that are not given stand as they are.
    pub gaps: Gaps,
}

/// What is rendered.
#[derive(Debug, Clone, Default)]
pub enum Words {
    /// The subject, text and HTML of the mail itself.
    #[default]
    Inline,
    /// The same, with the variables' names for literal tokens: see [`Tokens`](crate::render::tokens::Tokens). The
    /// values of header fields are filled in too.
    Tokens,
    /// A template of the tenant.
    Template(Selection),
    /// What a mail was made of before.
    Stored(Box<Source>),
}

/// How a mail is treated.
#[derive(Debug, Clone)]
pub struct Options {
    /// The stream it belongs to.
    pub stream: StreamName,
    /// Before or after the tenant's other mail.
    pub priority: Priority,
    /// Labels for search and statistics.
    pub tags: Vec<String>,
    /// The caller's own data, given back in events.
    pub metadata: BTreeMap<String, String>,
    /// Not before this moment; `None`: now.
    pub send_at: Option<OffsetDateTime>,
    /// How long after `send_at` or acceptance it is tried.
    pub ttl: Duration,
    /// Whether it leaves the house.
    pub sending: Sending,
    /// What is asked of delivery beyond carrying it.
    pub handling: Handling,
    /// Whether what is watched was said.
    pub watch: Watch,
    /// A trace field (RFC 5321 §4.4), with its CRLF, that goes before raw content.
    pub trace: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            stream: StreamName(TRANSACTIONAL.to_owned()),
            priority: Priority::Normal,
            tags: Vec::new(),
            metadata: BTreeMap::new(),
            send_at: None,
            ttl: DEFAULT_TTL,
            sending: Sending::Real,
            handling: Handling::default(),
            watch: Watch::ByDefault,
            trace: None,
        }
    }
}

/// Who decides what is watched of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Its stream or its sender domain, unless the mail asks for something.
    ByDefault,
    /// The mail itself, also if it asks for nothing.
    AsSaid,
}

/// Whether a mail leaves the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// It is delivered.
    Real,
    /// It is checked and stored, and ends `delivered` without being sent.
    Sandbox,
}

/// A stream's name: 1 to 64 of `a-z 0-9 _ -`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamName(String);

impl StreamName {
    /// Checks the form.
    ///
    /// # Errors
    /// [`BadStreamName`] tells the form.
    pub fn parse(text: &str) -> Result<StreamName, BadStreamName> {
        let good = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(good) {
            Ok(StreamName(text.to_owned()))
        } else {
            Err(BadStreamName)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Not the form of a stream's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stream's name is 1 to 64 of a-z, 0-9, '_' and '-'")]
pub struct BadStreamName;

/// Whether a text can be a tag: 1 to [`MAX_TAG_LEN`] characters, none of them a control character.
pub fn is_tag(text: &str) -> bool {
    (1..=MAX_TAG_LEN).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// Whether a text can be a key of metadata: 1 to [`MAX_METADATA_KEY`] characters.
pub fn is_metadata_key(text: &str) -> bool {
    (1..=MAX_METADATA_KEY).contains(&text.chars().count()) && !text.contains('\0')
}

/// Whether a text can be a value of metadata: up to [`MAX_METADATA_VALUE`] characters.
pub fn is_metadata_value(text: &str) -> bool {
    text.chars().count() <= MAX_METADATA_VALUE && !text.contains('\0')
}

/// How long mail is tried when the caller does not say: three days.
pub const DEFAULT_TTL: Duration = Duration::seconds(259_200);
/// The shortest life a caller may ask for: five minutes.
pub const MIN_TTL: Duration = Duration::seconds(300);
/// The longest: five days (RFC 5321 §4.5.4.1 wants at least four to five to be possible).
pub const MAX_TTL: Duration = Duration::seconds(432_000);
/// How far ahead mail may be scheduled.
pub const MAX_AHEAD: Duration = Duration::days(30);
/// Labels on one mail.
pub const MAX_TAGS: usize = 20;
/// Characters in a tag.
pub const MAX_TAG_LEN: usize = 128;
/// Entries of metadata on one mail.
pub const MAX_METADATA: usize = 50;
/// Characters in a key of metadata.
pub const MAX_METADATA_KEY: usize = 64;
/// Characters in a value of metadata.
pub const MAX_METADATA_VALUE: usize = 1024;
/// Characters of a subject: more would not be shown anywhere.
pub const MAX_SUBJECT: usize = 2000;
/// Attachments on one mail.
pub const MAX_ATTACHMENTS: usize = 200;
/// Custom header fields on one mail.
pub const MAX_HEADERS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text).expect("a mailbox")
    }

    #[test]
    fn an_address_named_twice_gets_one_delivery_in_its_first_role() {
        let recipients = Recipients {
            to: vec![mailbox("Ann <ann@example.net>")],
            cc: vec![mailbox("ANN@EXAMPLE.NET"), mailbox("bob@example.net")],
            bcc: vec![mailbox("bob@example.net")],
            ..Recipients::default()
        };
        let distinct = recipients.distinct();
        let shown: Vec<_> = distinct.iter().map(|(role, address)| (*role, address.as_str())).collect();
        assert_eq!(shown, [(Role::To, "ann@example.net"), (Role::Cc, "bob@example.net")]);
    }

    #[test]
    fn stream_names_have_one_form() {
        assert!(StreamName::parse("broadcast-2").is_ok());
        for bad in ["", "Broad", "a b", &"a".repeat(65)] {
            assert_eq!(StreamName::parse(bad), Err(BadStreamName));
        }
    }
}
