//! The control fields of a message that comes composed: what its author asks of us, in the header. They are read
//! before a message is accepted, since they tell how, and `raw` takes them out.
//!
//! Ours begin with `X-Postroad-`; others are those that the providers' clients write. What any of them means is not
//! known here.

use super::headers::CONTROL_PREFIX;
use super::structure::{self, Field};
use super::{lines, raw, words};

/// The control fields of providers, in lower case.
const FOREIGN: [&str; 18] = [
    "x-smtpapi",
    "x-msys-api",
    "x-pm-message-stream",
    "x-pm-tag",
    "x-pm-keepid",
    "x-pm-trackopens",
    "x-pm-tracklinks",
    "x-mailin-tag",
    "x-mailin-custom",
    "x-sib-sandbox",
    "x-mailjet-campaign",
    "x-mailjet-deduplicatecampaign",
    "x-mailjet-prio",
    "x-mailjet-trackopen",
    "x-mailjet-trackclick",
    "resend-idempotency-key",
    "x-apiheader",
    "x-tags",
];

/// What the names of whole families of them begin with.
const FOREIGN_PREFIXES: [&str; 4] = ["x-mailgun-", "x-pm-metadata-", "x-ses-", "x-mj-"];

/// A control field of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignField {
    /// Its name, as it was written.
    pub name: String,
    /// Its value, unfolded and decoded.
    pub value: String,
}

/// Our control fields, in order: the name as it was written after `X-Postroad-`, and the value, decoded. Lines must
/// end in CRLF.
pub fn fields(message: &[u8]) -> Vec<(String, String)> {
    let (header, _) = structure::split(message, 0..message.len());
    let fields = structure::fields(message, header).into_iter().filter_map(|field| {
        let name = String::from_utf8_lossy(name_of(message, &field)?).into_owned();
        Some((name, raw::clean(&words::decode(&field.text(message)))))
    });
    fields.collect()
}

/// The control fields of providers, in order. Lines must end in CRLF.
pub fn foreign(message: &[u8]) -> Vec<ForeignField> {
    let (header, _) = structure::split(message, 0..message.len());
    let fields = structure::fields(message, header).into_iter().filter(|field| is_foreign(message, field));
    let read = fields.map(|field| ForeignField {
        name: String::from_utf8_lossy(&message[field.name.clone()]).into_owned(),
        value: raw::clean(&words::decode(&field.text(message))),
    });
    read.collect()
}

/// The control fields of providers in a message whose lines may end in any way.
pub fn foreign_in(raw: &[u8]) -> Vec<ForeignField> {
    foreign(&lines::to_crlf(raw))
}

/// Whether a field is a control field, ours or a provider's.
pub(super) fn is_control(message: &[u8], field: &Field) -> bool {
    name_of(message, field).is_some() || is_foreign(message, field)
}

/// What follows `X-Postroad-` in the name of a field; `None`: it is another field.
fn name_of<'a>(message: &'a [u8], field: &Field) -> Option<&'a [u8]> {
    after(&message[field.name.clone()], CONTROL_PREFIX)
}

fn is_foreign(message: &[u8], field: &Field) -> bool {
    let name = &message[field.name.clone()];
    // Nearly no field begins so.
    let begins = name.first().is_some_and(|first| matches!(first, b'x' | b'X' | b'r' | b'R'));
    begins
        && (FOREIGN.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
            || FOREIGN_PREFIXES.iter().any(|prefix| after(name, prefix).is_some()))
}

fn after<'a>(name: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let (prefix, rest) = name.split_at_checked(wanted.len())?;
    prefix.eq_ignore_ascii_case(wanted.as_bytes()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_providers_are_found_whatever_their_case_and_folding() {
        let message = b"From: a@b.example\r\nX-SMTPAPI: {\"category\":\r\n \"a\"}\r\nx-pm-metadata-Order: 7\r\n\
            X-Mailgun-Tag: =?utf-8?q?gr=C3=BCn?=\r\nReceived: x\r\nX-Mailer: y\r\nX-Postroad-Tag: z\r\n\r\nX-PM-Tag: body\r\n";
        let found = foreign(message);
        let shown: Vec<_> = found.iter().map(|field| (field.name.as_str(), field.value.as_str())).collect();
        let wanted =
            [("X-SMTPAPI", "{\"category\": \"a\"}"), ("x-pm-metadata-Order", "7"), ("X-Mailgun-Tag", "grün")];
        assert_eq!(shown, wanted);
        assert_eq!(fields(message), [("Tag".to_owned(), "z".to_owned())]);
    }
}
