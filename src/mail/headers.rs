//! Which header fields a caller may add to a mail that postroad composes, and in what form. Not the fields that
//! postroad writes itself (`compose`), and not the header of a message that comes composed (`raw`).
//!
//! Invariant: a [`Header`] can be written into any mail: it is one field, it is none of ours, and it can be folded.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::text::{self, TextError};
use super::words::{self, FieldWriter};

/// The longest name, in octets.
pub const MAX_NAME: usize = 76;
/// What the control fields of a submitted message begin with, in lower case. They never leave the house.
pub const CONTROL_PREFIX: &str = "x-postroad-";

/// A header field that a caller adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    name: Box<str>,
    value: Box<str>,
}

impl Header {
    /// Checks a field, all but Message-ID and Date, which [`CustomHeaders::check`] knows.
    ///
    /// # Errors
    /// What is wrong with the name or the value.
    pub fn new(name: &str, value: &str) -> Result<Header, HeaderError> {
        check_name(name)?;
        text::check(value).map_err(HeaderError::Value)?;
        match rule(&name.to_ascii_lowercase()) {
            Rule::Ours(instead) => Err(HeaderError::Ours { name: name.to_owned(), instead }),
            Rule::MessageId | Rule::Date => {
                Err(HeaderError::Ours { name: name.to_owned(), instead: "it is given apart" })
            }
            Rule::Structured | Rule::Single => check_structured(value),
            Rule::Free => Ok(()),
        }?;
        Ok(Header { name: name.into(), value: value.into() })
    }

    /// The name, in the letters it was given in.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value, neither encoded nor folded.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether this is the field of that name; case does not matter (RFC 5322 §1.2.2).
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Writes the field, encoded and folded.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let writer = FieldWriter::begin(out, &self.name);
        match rule(&self.name.to_ascii_lowercase()) {
            Rule::Free => writer.unstructured(&self.value),
            _ => writer.structured(&self.value),
        }
    }
}

/// The custom fields of one mail, checked together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomHeaders {
    /// A Message-ID to use instead of ours, without its angle brackets.
    pub message_id: Option<String>,
    /// A date to use instead of the time of acceptance.
    pub date: Option<OffsetDateTime>,
    /// All others, in their order.
    pub others: Vec<Header>,
}

impl CustomHeaders {
    /// Checks fields given as names and values.
    ///
    /// # Errors
    /// Every field that is not well, by its place in the list.
    pub fn check<'a>(
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<CustomHeaders, Vec<(usize, HeaderError)>> {
        let mut headers = CustomHeaders::default();
        let mut errors = Vec::new();
        for (index, (name, value)) in fields.into_iter().enumerate() {
            if let Err(error) = headers.add(name, value) {
                errors.push((index, error));
            }
        }
        if errors.is_empty() { Ok(headers) } else { Err(errors) }
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), HeaderError> {
        let twice = || HeaderError::Twice { name: name.to_owned() };
        match rule(&name.to_ascii_lowercase()) {
            Rule::MessageId => {
                let id = parse_message_id(value).ok_or(HeaderError::MessageId)?;
                self.message_id.replace(id.to_owned()).map_or(Ok(()), |_| Err(twice()))
            }
            Rule::Date => {
                let date = OffsetDateTime::parse(value.trim(), &Rfc2822).map_err(|_| HeaderError::Date)?;
                self.date.replace(date).map_or(Ok(()), |_| Err(twice()))
            }
            Rule::Single if self.others.iter().any(|header| header.is(name)) => Err(twice()),
            _ => {
                self.others.push(Header::new(name, value)?);
                Ok(())
            }
        }
    }
}

/// Why a caller's header field cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// No name.
    #[error("the header has no name")]
    NoName,
    /// Over [`MAX_NAME`].
    #[error("the header's name is longer than {MAX_NAME} octets")]
    NameTooLong,
    /// A character that is not in RFC 5322 §3.6.8's `ftext`.
    #[error("{0:?} cannot be in a header's name; it is made of visible ASCII characters without a colon")]
    NameCharacter(char),
    /// A field that postroad writes.
    #[error("the header {name} cannot be set: {instead}")]
    Ours {
        /// As it was given.
        name: String,
        /// Why, and what to use instead.
        instead: &'static str,
    },
    /// A field that may occur once (RFC 5322 §3.6, RFC 2369 §3).
    #[error("the header {name} is given twice, and a mail may have only one")]
    Twice {
        /// As it was given the second time.
        name: String,
    },
    /// A value that would end the field, or could not be shown.
    #[error("the header's value cannot be used: {0}")]
    Value(TextError),
    /// A field whose value has a syntax without room for encoded words.
    #[error("the header's value must be ASCII")]
    NotAscii,
    /// A field whose value must not be empty.
    #[error("the header's value is empty")]
    NoValue,
    /// A value that would need a line of more than 998 octets.
    #[error(
        "the header's value has a part without a space that is longer than {} octets",
        words::MAX_UNFOLDABLE
    )]
    Unfoldable,
    /// Not the form of RFC 5322 §3.6.4.
    #[error("the Message-ID is not of the form <left@right>, without spaces")]
    MessageId,
    /// Not the form of RFC 5322 §3.3.
    #[error("the date is not of the form `Mon, 24 Nov 2025 02:30:00 +0000`")]
    Date,
}

/// Reads a Message-ID (RFC 5322 §3.6.4), with its angle brackets or without; gives what is between them.
pub fn parse_message_id(text: &str) -> Option<&str> {
    let text = text.trim_matches([' ', '\t']);
    let id = match text.strip_prefix('<') {
        Some(rest) => rest.strip_suffix('>')?,
        None => text,
    };
    let (left, right) = id.split_once('@')?;
    let is_literal = right.len() > 2 && right.starts_with('[') && right.ends_with(']');
    let inside = if is_literal { &right[1..right.len() - 1] } else { right };
    let is_literal_char = |c: u8| c.is_ascii_graphic() && !matches!(c, b'[' | b']' | b'\\' | b'<' | b'>');
    let right_is_well = if is_literal { inside.bytes().all(is_literal_char) } else { is_dot_atom(right) };
    // The whole field must fit into one line, since there is no place to fold.
    (is_dot_atom(left) && right_is_well && id.len() <= words::MAX_UNFOLDABLE).then_some(id)
}

/// `dot-atom-text` of RFC 5322 §3.2.3.
fn is_dot_atom(text: &str) -> bool {
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.is_ascii() && atom.chars().all(super::address::is_atom_char))
}

fn check_name(name: &str) -> Result<(), HeaderError> {
    if name.is_empty() {
        return Err(HeaderError::NoName);
    }
    if name.len() > MAX_NAME {
        return Err(HeaderError::NameTooLong);
    }
    // RFC 5322 §3.6.8: ftext is visible ASCII but for the colon.
    match name.chars().find(|c| !c.is_ascii_graphic() || *c == ':') {
        Some(c) => Err(HeaderError::NameCharacter(c)),
        None => Ok(()),
    }
}

fn check_structured(value: &str) -> Result<(), HeaderError> {
    if !value.is_ascii() {
        return Err(HeaderError::NotAscii);
    }
    if value.trim().is_empty() {
        return Err(HeaderError::NoValue);
    }
    if words::longest_token(value) > words::MAX_UNFOLDABLE { Err(HeaderError::Unfoldable) } else { Ok(()) }
}

/// How a field is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Not the caller's to set; what to use instead.
    Ours(&'static str),
    MessageId,
    Date,
    /// Free text (RFC 5322 §2.2.1): encoded where it must be, any number of times.
    Free,
    /// Has a syntax of its own: ASCII, folded at spaces only, any number of times.
    Structured,
    /// As `Structured`, at most once.
    Single,
}

/// The table. Names are in lower case.
fn rule(name: &str) -> Rule {
    const MIME: &str = "the MIME structure is made from text, html and attachments";
    const TRACE: &str = "it is written by the servers that carry the mail";
    const SIGNATURE: &str = "signatures and their results are written by postroad and by the receiver";
    const RESENT: &str = "it belongs to a mail that is sent again; send that one as raw MIME";
    match name {
        "from" | "sender" => Rule::Ours("use the field `from`"),
        "to" => Rule::Ours("use the field `to`"),
        "cc" => Rule::Ours("use the field `cc`"),
        "bcc" | "apparently-to" => Rule::Ours("use the field `bcc`; blind copies are in no header"),
        "reply-to" => Rule::Ours("use the field `reply_to`"),
        "subject" => Rule::Ours("use the field `subject`"),
        "message-id" => Rule::MessageId,
        "date" => Rule::Date,
        "mime-version" => Rule::Ours(MIME),
        "received" | "return-path" | "delivered-to" | "received-spf" => Rule::Ours(TRACE),
        "dkim-signature" | "domainkey-signature" | "authentication-results" => Rule::Ours(SIGNATURE),
        "dkim2-signature" | "message-instance" | "bimi-location" | "bimi-indicator" => Rule::Ours(SIGNATURE),
        "in-reply-to" | "references" => Rule::Single,
        // RFC 2369 §3: each at most once. RFC 8058 §3.1.
        "list-help" | "list-unsubscribe" | "list-subscribe" | "list-post" | "list-owner" | "list-archive" => {
            Rule::Single
        }
        "list-unsubscribe-post" => Rule::Single,
        // RFC 3834 §5, RFC 2156; Feedback-ID is Gmail's, a:b:c:sender.
        "auto-submitted" | "precedence" | "feedback-id" | "x-auto-response-suppress" => Rule::Single,
        "importance" | "priority" | "sensitivity" | "x-priority" | "expires" => Rule::Single,
        // RFC 8689, RFC 7293, RFC 9477, RFC 5064.
        "tls-required" | "require-recipient-valid-since" | "cfbl-address" | "cfbl-feedback-id" => {
            Rule::Single
        }
        "archived-at" => Rule::Structured,
        _ if name.starts_with("content-") => Rule::Ours(MIME),
        _ if name.starts_with("resent-") => Rule::Ours(RESENT),
        _ if name.starts_with("arc-") => Rule::Ours(SIGNATURE),
        _ if name.starts_with(CONTROL_PREFIX) => Rule::Ours(
            "it controls mail that comes by SMTP; here use the fields `tags`, `metadata`, `stream`…",
        ),
        _ => Rule::Free,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    fn written(name: &str, value: &str) -> String {
        let mut out = Vec::new();
        Header::new(name, value).unwrap().write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn free_fields_are_encoded_and_structured_ones_are_only_folded() {
        for (name, value, wanted) in [
            ("X-Order", "7", "X-Order: 7\r\n"),
            ("X-Empty", "", "X-Empty:\r\n"),
            ("X-Name", "Grüße 7", "X-Name: =?utf-8?b?R3LDvMOfZQ==?= 7\r\n"),
            ("x-json", r#"{"a": ["b", 1]}"#, "x-json: {\"a\": [\"b\", 1]}\r\n"),
            ("List-ID", "Ümlaut <l.example.com>", "List-ID: =?utf-8?b?w5xtbGF1dA==?= <l.example.com>\r\n"),
            ("Feedback-ID", "1:2:3:acme", "Feedback-ID: 1:2:3:acme\r\n"),
        ] {
            assert_eq!(written(name, value), wanted);
        }
        let url = format!("<https://example.com/u/{}>", "x".repeat(120));
        assert_eq!(
            written("List-Unsubscribe", &format!("{url}, <mailto:u@example.com?subject==?x?=>")),
            format!("List-Unsubscribe: {url},\r\n <mailto:u@example.com?subject==?x?=>\r\n")
        );
        assert_eq!(
            written(
                "References",
                "<aaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.com> <bbbbbbbbbbbbbbbbbbbb@example.com> <c@d>"
            ),
            "References: <aaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.com>\r\n <bbbbbbbbbbbbbbbbbbbb@example.com> <c@d>\r\n"
        );
    }

    #[test]
    fn names_are_visible_ascii_without_a_colon() {
        for (name, wanted) in [
            ("", HeaderError::NoName),
            ("X Order", HeaderError::NameCharacter(' ')),
            ("X-Order:", HeaderError::NameCharacter(':')),
            ("X-Order\r\nBcc", HeaderError::NameCharacter('\r')),
            ("X-Ördér", HeaderError::NameCharacter('Ö')),
            ("X\0", HeaderError::NameCharacter('\0')),
            (&"X".repeat(77), HeaderError::NameTooLong),
        ] {
            assert_eq!(Header::new(name, "x"), Err(wanted), "{name:?}");
        }
        assert!(Header::new(&"X".repeat(76), "x").is_ok());
        assert!(Header::new("!#$%&'*+./=?[]{}|~", "x").is_ok());
    }

    #[test]
    fn values_cannot_end_their_field() {
        for bad in ["a\r\nBcc: b@c", "a\nb", "a\rb", "a\r\n b", "a\u{85}b", "a\u{2028}b", "a\u{2029}b"] {
            assert_eq!(Header::new("X-A", bad), Err(HeaderError::Value(TextError::LineBreak)), "{bad:?}");
        }
        assert_eq!(Header::new("X-A", "a\0"), Err(HeaderError::Value(TextError::Control('\0'))));
        assert!(Header::new("X-A", "a%0d%0aBcc: b@c").is_ok());
    }

    #[test]
    fn our_fields_are_refused_with_what_to_use_instead() {
        for name in [
            "From",
            "SENDER",
            "to",
            "Cc",
            "BCC",
            "Reply-To",
            "Subject",
            "MIME-Version",
            "Content-Type",
            "content-transfer-encoding",
            "Received",
            "Return-Path",
            "DKIM-Signature",
            "ARC-Seal",
            "Authentication-Results",
            "Resent-Bcc",
            "X-Postroad-Tag",
            "x-postroad-metadata-a",
            "Apparently-To",
        ] {
            let error = Header::new(name, "x").unwrap_err();
            assert!(matches!(error, HeaderError::Ours { .. }), "{name}: {error:?}");
        }
        assert_eq!(
            Header::new("Reply-To", "x").unwrap_err().to_string(),
            "the header Reply-To cannot be set: use the field `reply_to`"
        );
    }

    #[test]
    fn structured_values_are_ascii_and_can_be_folded() {
        assert_eq!(Header::new("References", "<é@b>"), Err(HeaderError::NotAscii));
        assert_eq!(Header::new("In-Reply-To", " "), Err(HeaderError::NoValue));
        let long = format!("<{}@b>", "a".repeat(900));
        assert_eq!(Header::new("References", &long), Err(HeaderError::Unfoldable));
        assert!(Header::new("X-Long", &long).is_ok());
        assert_eq!(
            Header::new("X-Long", &"a".repeat(text::MAX_TEXT_OCTETS + 1)),
            Err(HeaderError::Value(TextError::TooLong))
        );
    }

    #[test]
    fn a_message_id_and_a_date_may_be_given_once_and_well_formed() {
        let headers = CustomHeaders::check([
            ("message-id", "<a.b@example.com>"),
            ("Date", "Fri, 21 Nov 1997 09:55:06 -0600"),
            ("X-A", "1"),
            ("X-A", "2"),
        ])
        .unwrap();
        assert_eq!(headers.message_id.as_deref(), Some("a.b@example.com"));
        assert_eq!(headers.date, Some(datetime!(1997-11-21 09:55:06 -6)));
        assert_eq!(headers.others.iter().map(Header::value).collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn every_bad_field_is_named_at_once() {
        let errors = CustomHeaders::check([
            ("X-Good", "1"),
            ("To", "x@y"),
            ("Message-ID", "<a@b>"),
            ("Message-Id", "<c@d>"),
            ("References", "<a@b>"),
            ("REFERENCES", "<a@b>"),
            ("Date", "tomorrow"),
            ("X-Bad", "a\nb"),
        ])
        .unwrap_err();
        assert_eq!(errors.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 3, 5, 6, 7]);
        assert_eq!(errors[1].1, HeaderError::Twice { name: "Message-Id".to_owned() });
        assert_eq!(errors[2].1, HeaderError::Twice { name: "REFERENCES".to_owned() });
        assert_eq!(errors[3].1, HeaderError::Date);
    }

    #[test]
    fn message_ids_have_the_form_of_rfc_5322() {
        for (text, wanted) in [
            ("<1234@local.machine.example>", Some("1234@local.machine.example")),
            ("1234@local.machine.example", Some("1234@local.machine.example")),
            (" <a.b+c=d@[192.0.2.1]> ", Some("a.b+c=d@[192.0.2.1]")),
            ("<a@b", None),
            ("a@b>", None),
            ("<a@>", None),
            ("<@b>", None),
            ("<ab>", None),
            ("<a@b@c>", None),
            ("<a b@c>", None),
            ("<a..b@c>", None),
            ("<é@c>", None),
            ("<a@b>\r\nBcc: x", None),
            ("<a@b> <c@d>", None),
            ("<a@[]>", None),
            ("<a@[x]y]>", None),
            ("", None),
        ] {
            assert_eq!(parse_message_id(text), wanted, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_written_as_one_field(name in "[!-~]{1,80}|\\PC{1,9}", value in "([!-~]{1,60}| |\\PC|\r|\n){0,40}") {
            if let Ok(header) = Header::new(&name, &value) {
                let mut out = Vec::new();
                header.write(&mut out);
                let out = String::from_utf8(out).unwrap();
                prop_assert!(out.is_ascii() && out.ends_with("\r\n"));
                let lines: Vec<_> = out[..out.len() - 2].split("\r\n").collect();
                prop_assert!(lines[0].starts_with(&name));
                prop_assert!(lines.iter().skip(1).all(|line| line.starts_with(' ')));
                prop_assert!(lines.iter().all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])));
                let read = words::decode(&out[name.len() + 1..].replace("\r\n", ""));
                prop_assert_eq!(read.trim_matches([' ', '\t']), value.trim_matches([' ', '\t']));
            }
        }
    }
}
