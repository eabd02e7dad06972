//! From the JSON of `/v2/email/outbound-emails` and `-bulk-emails` to submissions.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::submission::{Content, Options, Parts, Recipients, Submission};
use crate::domain::wishes;
use crate::http::compat::{kept, reading};
use crate::http::fields::Fields;
use crate::mail::headers::CustomHeaders;
use crate::mail::{Mailbox, control, raw};
use crate::submission::{Rejected, Violation};

use super::content::{self, Contents};

/// "SendEmail": recipients of one mail; "SendBulkEmail": entries.
pub const MAX_RECIPIENTS: usize = 50;

/// Reads a request of `SendEmail`.
pub fn mail(value: Value) -> Result<Submission, Vec<Violation>> {
    let mut fields = Fields::of(value, "").map_err(|violation| vec![violation])?;
    let from = from(&mut fields);
    let reply_to = addresses(&mut fields, "ReplyToAddresses");
    let mut recipients = destination(&mut fields);
    let tags = reading::pairs(&mut fields, "EmailTags", ("Name", "Value"));
    let mut options = Options::default();
    note_all(&mut fields, "EmailTags", &mut options.metadata, tags);
    let contents = content::read(&mut fields, "Content");
    let content = match contents {
        Some(Contents::Parts(parts)) => {
            kept::of_headers(&parts.headers, &mut options);
            Some(Content::Parts(*parts))
        }
        Some(Contents::Raw(octets)) => {
            if recipients.count() == 0 {
                recipients.to = raw::addressees(&octets);
            }
            own_wishes(&mut fields, &octets, &mut options, &mut recipients);
            Some(Content::Raw(octets))
        }
        None => None,
    };
    check_recipients(&mut fields, &recipients);
    if from.is_none() && matches!(content, Some(Content::Parts(_))) && !fields.is_wrong("FromEmailAddress") {
        fields.wrong("FromEmailAddress", "required", "it is needed");
    }
    // Sets, lists, identities and tenants of theirs mean nothing here.
    fields.rest();
    let wrong = fields.finish();
    match content {
        Some(content) if wrong.is_empty() => Ok(Submission { from, reply_to, recipients, content, options }),
        _ => Err(wrong),
    }
}

/// The control fields of a composed mail; tags of the request win over those of the header.
fn own_wishes(fields: &mut Fields, octets: &[u8], options: &mut Options, recipients: &mut Recipients) {
    match wishes::read(&control::foreign_in(octets)) {
        Ok(mut wishes) => {
            recipients.bcc.append(&mut wishes.copies);
            if !options.metadata.is_empty() {
                wishes.metadata.clear();
            }
            wishes.under(options);
        }
        Err(wrong) => fields.wrong("Content", "invalid_header", wrong.join("; ")),
    }
    kept::of_raw(octets, options);
}

fn from(fields: &mut Fields) -> Option<Mailbox> {
    fields.parsed("FromEmailAddress", "invalid_address", Mailbox::parse)
}

fn addresses(fields: &mut Fields, name: &str) -> Vec<Mailbox> {
    reading::many(fields, name, reading::LOWER)
}

fn destination(fields: &mut Fields) -> Recipients {
    let Some(mut object) = fields.object("Destination") else { return Recipients::default() };
    let recipients = Recipients {
        to: addresses(&mut object, "ToAddresses"),
        cc: addresses(&mut object, "CcAddresses"),
        bcc: addresses(&mut object, "BccAddresses"),
        ..Recipients::default()
    };
    object.rest();
    fields.absorb(object);
    recipients
}

fn check_recipients(fields: &mut Fields, recipients: &Recipients) {
    let count = recipients.count();
    if count == 0 && !fields.is_wrong("Destination") {
        fields.wrong("Destination", "required", "at least one recipient is needed");
    }
    if count > MAX_RECIPIENTS {
        let message = format!("Recipient count exceeds {MAX_RECIPIENTS}.");
        fields.wrong_at(Violation::new("", "too_many_recipients", message));
    }
}

fn note_all(
    fields: &mut Fields,
    name: &str,
    metadata: &mut BTreeMap<String, String>,
    pairs: Vec<(String, String)>,
) {
    for (key, value) in pairs {
        reading::note(fields, name, metadata, key, value);
    }
}

/// What all entries of a bulk call have in common.
struct Common {
    from: Option<Mailbox>,
    reply_to: Vec<Mailbox>,
    parts: Parts,
    metadata: BTreeMap<String, String>,
}

/// Reads a request of `SendBulkEmail`: each entry has its own fate.
pub fn bulk(value: Value) -> Result<Vec<Result<Submission, Rejected>>, Vec<Violation>> {
    let mut fields = Fields::of(value, "").map_err(|violation| vec![violation])?;
    let from = from(&mut fields);
    if from.is_none() && !fields.is_wrong("FromEmailAddress") {
        fields.wrong("FromEmailAddress", "required", "it is needed");
    }
    let reply_to = addresses(&mut fields, "ReplyToAddresses");
    let mut parts = None;
    if let Some(mut object) = fields.object("DefaultContent") {
        parts = content::template(&mut object);
        object.rest();
        fields.absorb(object);
    }
    if parts.is_none() && !fields.is_wrong("DefaultContent") {
        fields.wrong("DefaultContent", "required", "a template is needed");
    }
    let tags = reading::pairs(&mut fields, "DefaultEmailTags", ("Name", "Value"));
    let mut metadata = BTreeMap::new();
    note_all(&mut fields, "DefaultEmailTags", &mut metadata, tags);
    let entries = fields.list("BulkEmailEntries", MAX_RECIPIENTS).unwrap_or_default();
    if entries.is_empty() && !fields.is_wrong("BulkEmailEntries") {
        fields.wrong("BulkEmailEntries", "required", "it is needed");
    }
    fields.rest();
    let wrong = fields.finish();
    let Some(parts) = parts.filter(|_| wrong.is_empty()) else { return Err(wrong) };
    let common = Common { from, reply_to, parts, metadata };
    Ok(entries.into_iter().map(|entry| common.entry(entry)).collect())
}

impl Common {
    fn entry(&self, value: Value) -> Result<Submission, Rejected> {
        let mut fields = Fields::of(value, "").map_err(|violation| Rejected::invalid(vec![violation]))?;
        let recipients = destination(&mut fields);
        check_recipients(&mut fields, &recipients);
        let mut parts = self.parts.clone();
        replace(&mut fields, &mut parts);
        let headers = reading::header_list(&mut fields, "ReplacementHeaders", ("Name", "Value"));
        if headers != CustomHeaders::default() {
            parts.headers = headers;
        }
        let mut metadata = self.metadata.clone();
        let tags = reading::pairs(&mut fields, "ReplacementTags", ("Name", "Value"));
        note_all(&mut fields, "ReplacementTags", &mut metadata, tags);
        fields.rest();
        let wrong = fields.finish();
        if !wrong.is_empty() {
            return Err(Rejected::invalid(wrong));
        }
        let mut options = Options { metadata, ..Options::default() };
        kept::of_headers(&parts.headers, &mut options);
        Ok(Submission {
            from: self.from.clone(),
            reply_to: self.reply_to.clone(),
            recipients,
            content: Content::Parts(parts),
            options,
        })
    }
}

/// `ReplacementEmailContent.ReplacementTemplate.ReplacementTemplateData`, over the default.
fn replace(fields: &mut Fields, parts: &mut Parts) {
    let Some(mut content) = fields.object("ReplacementEmailContent") else { return };
    if let Some(mut template) = content.object("ReplacementTemplate") {
        let own = content::template_data(&mut template, "ReplacementTemplateData").unwrap_or_default();
        if let Some(rendering) = &mut parts.rendering {
            rendering.variables.extend(own);
        }
        template.rest();
        content.absorb(template);
    }
    content.rest();
    fields.absorb(content);
}
