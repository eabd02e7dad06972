//! Complaints (RFC 5965): a provider tells that a recipient called a mail spam. Whose mail it is must be found by
//! what is left of it: providers take the recipient's address out, everywhere they find it.
//!
//! Invariant: all evidence is text from the report, bounded, and never believed before a token in it is.

use std::net::IpAddr;

use mail_parser::{Message, PartType};

use super::{MAX_TEXT, address, part, text_of, unfolded};

/// A complaint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// What the recipient thinks of the mail.
    pub kind: FeedbackType,
    /// The program that reports.
    pub user_agent: Option<String>,
    /// From where the mail had come.
    pub source_ip: Option<IpAddr>,
    /// The recipients that are named, if they were left in.
    pub recipients: Vec<String>,
    /// The Message-ID of the mail, without its angle brackets.
    pub message_id: Option<String>,
    /// The report's fields and the header of the mail: where tokens are looked for.
    pub evidence: String,
}

/// What the recipient thinks of the mail (RFC 5965 §7.3, RFC 6430).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedbackType {
    /// Spam: abuse, fraud, virus, and what is not registered.
    Spam(String),
    /// No more of it, please: an early form of it (RFC 5965, draft; still sent).
    OptOut(String),
    /// It was put among spam and is none (RFC 6430).
    NotSpam,
    /// About authentication, not by a recipient (RFC 6591).
    AuthFailure,
}

impl FeedbackType {
    fn parse(text: &str) -> FeedbackType {
        let word: String = text
            .trim()
            .to_ascii_lowercase()
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .collect();
        match word.as_str() {
            "opt-out" | "opt-out-list" => FeedbackType::OptOut(word),
            "not-spam" => FeedbackType::NotSpam,
            "auth-failure" | "dmarc" => FeedbackType::AuthFailure,
            "" => FeedbackType::Spam("abuse".to_owned()),
            _ => FeedbackType::Spam(word.chars().take(40).collect()),
        }
    }
}

pub(super) fn read(message: &Message<'_>) -> Option<Complaint> {
    let report = text_of(part(message, "message", "feedback-report")?);
    let fields = fields(&report);
    let get = |name: &str| {
        fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    };
    let original = original(message).unwrap_or_default();
    let named = fields.iter().filter(|(name, _)| {
        ["original-rcpt-to", "removal-recipient"].iter().any(|known| name.eq_ignore_ascii_case(known))
    });
    Some(Complaint {
        kind: FeedbackType::parse(get("feedback-type").unwrap_or_default()),
        user_agent: get("user-agent").map(|text| text.chars().take(200).collect()),
        source_ip: get("source-ip").and_then(|text| text.trim_matches(['[', ']']).parse().ok()),
        recipients: named.filter_map(|(_, value)| address(value)).take(10).collect(),
        message_id: message_id(&original),
        evidence: format!("{report}\n{original}"),
    })
}

/// A mail of ours that somebody attached, without a report about it.
pub(super) fn forwarded(message: &Message<'_>) -> Option<Complaint> {
    let original = original(message)?;
    Some(Complaint {
        kind: FeedbackType::Spam("abuse".to_owned()),
        user_agent: None,
        source_ip: None,
        recipients: Vec::new(),
        message_id: message_id(&original),
        evidence: original,
    })
}

/// The header of the mail that is returned, as it came.
pub(super) fn original(message: &Message<'_>) -> Option<String> {
    let attached = message.parts.iter().find(|part| matches!(part.body, PartType::Message(_)));
    let part = attached
        .or_else(|| part(message, "text", "rfc822-headers"))
        .or_else(|| part(message, "message", "global-headers"))?;
    let octets = part.contents();
    let text = String::from_utf8_lossy(&octets[..octets.len().min(MAX_TEXT)]);
    let end = ["\r\n\r\n", "\n\n"].iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    Some(text[..end].to_owned())
}

pub(super) fn message_id(header: &str) -> Option<String> {
    let fields = fields(header);
    let (_, value) = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("message-id"))?;
    let id = value.trim().trim_start_matches('<').trim_end_matches('>');
    (!id.is_empty() && id.len() <= 998).then(|| id.to_owned())
}

pub(super) fn fields(text: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    fields.into_iter().map(|(name, value)| (name, unfolded(&value))).collect()
}
