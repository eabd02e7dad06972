//! Receipts (RFC 8098): the program of a recipient tells what became of a mail that he was shown.
//!
//! Invariant: as with complaints, all evidence is text from the report, bounded, and never believed before a token
//! in it is.

use mail_parser::Message;

use super::arf::{fields, message_id, original};
use super::{address, part, text_of};

/// A receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What became of the mail.
    pub disposition: Disposition,
    /// The program that tells.
    pub user_agent: Option<String>,
    /// The recipients that are named.
    pub recipients: Vec<String>,
    /// The Message-ID of the mail, without its angle brackets.
    pub message_id: Option<String>,
    /// The report's fields and the header of the mail: where tokens are looked for.
    pub evidence: String,
}

/// What became of a mail (RFC 8098 §3.2.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It was shown to its reader, which does not mean that he read it.
    Displayed,
    /// It was deleted, processed or sent on, unseen as far as is told; or nothing that is known.
    Other,
}

pub(super) fn read(message: &Message<'_>) -> Option<Receipt> {
    let report = text_of(part(message, "message", "disposition-notification")?);
    let fields = fields(&report);
    let get = |name: &str| {
        fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    };
    let original = original(message).unwrap_or_default();
    let id = |text: &str| message_id(&format!("Message-ID: {text}"));
    Some(Receipt {
        disposition: disposition(get("disposition").unwrap_or_default()),
        user_agent: get("reporting-ua").map(|text| text.chars().take(200).collect()),
        recipients: ["original-recipient", "final-recipient"]
            .into_iter()
            .filter_map(|name| get(name).and_then(address))
            .collect(),
        message_id: get("original-message-id").and_then(id).or_else(|| message_id(&original)),
        evidence: format!("{report}\n{original}"),
    })
}

/// `manual-action/MDN-sent-manually; displayed/error`: the type comes after the modes, its modifiers after a slash.
fn disposition(text: &str) -> Disposition {
    let kind = text.rsplit(';').next().unwrap_or_default().split('/').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("displayed") { Disposition::Displayed } else { Disposition::Other }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_shown_is_displayed() {
        for (text, wanted) in [
            ("manual-action/MDN-sent-manually; displayed", Disposition::Displayed),
            ("automatic-action/MDN-sent-automatically;Displayed/error", Disposition::Displayed),
            ("displayed", Disposition::Displayed),
            ("manual-action/MDN-sent-manually; deleted", Disposition::Other),
            ("automatic-action/MDN-sent-automatically; dispatched/displayed", Disposition::Other),
            ("", Disposition::Other),
        ] {
            assert_eq!(disposition(text), wanted, "{text}");
        }
    }
}
