//! What a mail that comes back is: a bounce, a complaint, an automatic answer, or just a mail. Read from its form
//! alone: whose mail it is about is not asked here.
//!
//! Invariant: only a report (RFC 3464, RFC 5965), or a text from a mail system that says that a mail could not be
//! delivered, is taken for one. An automatic answer (RFC 3834) is never a bounce.
//!
//! Reading order: `dsn` is the standard form, `prose` all the others, `arf` complaints, `mdn` receipts.

mod arf;
mod dsn;
mod mdn;
mod prose;
#[cfg(test)]
mod tests;

use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders, PartType};

use super::reply::SmtpReply;
use super::structure;

pub use arf::{Complaint, FeedbackType};
pub use mdn::{Disposition, Receipt};

/// Who sent the mail, by its envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// `MAIL FROM:<>`: a notice (RFC 5321 §4.5.5).
    Null,
    /// Somebody who can be answered.
    Named,
}

/// What a mail is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Returned {
    /// A notice about deliveries, one entry for each recipient it tells of; never empty.
    Notice(Vec<Notice>),
    /// A recipient calls a mail spam, or says otherwise what he thinks of it.
    Complaint(Complaint),
    /// A program tells what became of it when it had arrived (RFC 8098): neither bounce nor answer.
    Receipt(Receipt),
    /// Nobody wrote it (RFC 3834).
    AutoReply,
    /// A mail like any other.
    Mail,
}

/// What a notice tells of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What became of the mail.
    pub action: Action,
    /// The recipient as we had named it, else as the reporting host did.
    pub recipient: Option<String>,
    /// What was said about it; put together from the status if no reply is quoted.
    pub reply: SmtpReply,
    /// At which command it was said.
    pub stage: Stage,
    /// Who said it, else who reports it.
    pub host: Option<String>,
}

/// What became of a mail (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It will not be delivered.
    Failed,
    /// It is still being tried.
    Delayed,
    /// It was delivered, relayed or expanded.
    Done,
}

/// At which command a host refused, as far as the notice says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before the recipient was named.
    Sender,
    /// At RCPT.
    Recipient,
    /// Later, or unknown: then nothing is concluded from where it happened.
    Content,
}

/// How much of a text is looked at: a notice says what it has to say at its beginning.
const MAX_TEXT: usize = 64 * 1024;

/// Reads a mail with CRLF line ends.
pub fn read(raw: &[u8], envelope: Envelope) -> Returned {
    // What is built to exhaust its reader is nobody's report.
    if structure::parse(raw).is_err() {
        return Returned::Mail;
    }
    let Some(message) = MessageParser::default().parse(raw) else { return Returned::Mail };
    if let Some(complaint) = arf::read(&message) {
        return Returned::Complaint(complaint);
    }
    if let Some(receipt) = mdn::read(&message) {
        return Returned::Receipt(receipt);
    }
    let notices = dsn::read(&message);
    if !notices.is_empty() {
        return Returned::Notice(notices);
    }
    if let Some(notice) = prose::read(&message, envelope) {
        return Returned::Notice(vec![notice]);
    }
    if is_automatic(&message) { Returned::AutoReply } else { Returned::Mail }
}

/// What a mail is, in one word, for those who read it: `mail`, `auto_reply`, `bounce`, `complaint` or `receipt`.
pub fn kind(raw: &[u8], envelope: Envelope) -> &'static str {
    match read(raw, envelope) {
        Returned::Notice(_) => "bounce",
        Returned::Complaint(_) => "complaint",
        Returned::Receipt(_) => "receipt",
        Returned::AutoReply => "auto_reply",
        Returned::Mail => "mail",
    }
}

/// A mail to an address whose only purpose is complaints: any mail of ours that comes in it, as an attachment, is
/// complained about, if nothing else is said.
pub fn read_at_feedback_address(raw: &[u8], envelope: Envelope) -> Returned {
    match read(raw, envelope) {
        Returned::Mail => {
            let message = structure::parse(raw).ok().and_then(|_| MessageParser::default().parse(raw));
            match message.as_ref().and_then(arf::forwarded) {
                Some(complaint) => Returned::Complaint(complaint),
                None => Returned::Mail,
            }
        }
        other => other,
    }
}

/// RFC 3834 §5 and what there was before it.
fn is_automatic(message: &Message<'_>) -> bool {
    let value = |name: &str| field(message, name).map(|value| value.to_ascii_lowercase());
    let says = |name: &str, words: &[&str]| {
        value(name).is_some_and(|value| words.iter().any(|word| value.starts_with(word)))
    };
    value("Auto-Submitted").is_some_and(|value| value != "no")
        || says("Precedence", &["auto_reply", "auto-reply"])
        || value("X-Autoreply").is_some()
        || value("X-Autorespond").is_some()
        || value("X-Auto-Reply-From").is_some()
        || says("Subject", &["out of office", "automatic reply", "auto:", "autoreply", "abwesenheitsnotiz"])
}

/// The text of a field, unfolded, without the white space around it.
fn field(message: &Message<'_>, name: &str) -> Option<String> {
    let (_, value) = message.headers_raw().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(unfolded(value))
}

fn unfolded(value: &str) -> String {
    value.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The first part of that type; parts of attached messages are not looked at.
fn part<'a, 'm>(message: &'a Message<'m>, main: &str, sub: &str) -> Option<&'a MessagePart<'m>> {
    message.parts.iter().find(|part| {
        part.content_type().is_some_and(|kind| {
            kind.ctype().eq_ignore_ascii_case(main)
                && kind.subtype().is_some_and(|subtype| subtype.eq_ignore_ascii_case(sub))
        })
    })
}

/// What a part says, as far as it is looked at.
fn text_of(part: &MessagePart<'_>) -> String {
    let octets = part.contents();
    String::from_utf8_lossy(&octets[..octets.len().min(MAX_TEXT)]).into_owned()
}

/// The text that a person would read first.
fn readable(message: &Message<'_>) -> Option<String> {
    let plain = message.parts.iter().find(|part| matches!(part.body, PartType::Text(_)) && is_plain(part));
    if let Some(part) = plain {
        return Some(text_of(part));
    }
    let html = message.parts.iter().find(|part| matches!(part.body, PartType::Html(_)))?;
    Some(without_tags(&text_of(html)))
}

fn is_plain(part: &MessagePart<'_>) -> bool {
    part.content_type().is_none_or(|kind| {
        kind.ctype().eq_ignore_ascii_case("text")
            && kind.subtype().is_none_or(|sub| sub.eq_ignore_ascii_case("plain"))
    })
}

/// Good enough to search for words: tags become line breaks, the commonest references characters.
fn without_tags(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut in_tag = false;
    for c in html.chars() {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                text.push('\n');
            }
            c if !in_tag => text.push(c),
            _ => {}
        }
    }
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", " ").replace("&amp;", "&")
}

/// An address as reports write it: `rfc822; <ann@example.net>` (RFC 3464 §2.3.1), and without any of it.
fn address(text: &str) -> Option<String> {
    let text = text.rsplit(';').next().unwrap_or(text).trim();
    let text = text.trim_start_matches('<').trim_end_matches('>').trim();
    (text.contains('@') && !text.contains(char::is_whitespace)).then(|| text.to_owned())
}
