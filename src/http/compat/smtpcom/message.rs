//! From the JSON of `/v4/messages` and `/v4/messages/mime` to submissions: one, or with `bulk_list` one of which everybody
//! gets a mail of his own.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::domain::submission::{Content, Options, Parts, Personal, Recipients, Submission};
use crate::domain::wishes;
use crate::http::compat::parts as shared;
use crate::http::compat::reading::{self, BoxNames};
use crate::http::extract;
use crate::http::fields::Fields;
use crate::mail::headers::CustomHeaders;
use crate::mail::{Attachment, Mailbox, control};
use crate::submission::Violation;

const NAMES: BoxNames = BoxNames { email: "address", name: "name" };

/// Reads a request of `/v4/messages`.
pub fn mail(value: Value) -> Result<Submission, Vec<Violation>> {
    let mut fields = Fields::of(value, "").map_err(|violation| vec![violation])?;
    channel(&mut fields);
    let recipients = recipients(&mut fields);
    let (from, reply_to) = originator(&mut fields);
    let (headers, mut options) = headers(&mut fields);
    let subject = reading::subject(&mut fields, "subject").unwrap_or_default();
    let mut parts = body(&mut fields);
    (parts.subject, parts.headers) = (subject, headers);
    let tags = reading::tags(&mut fields, "tags");
    options.tags.extend(tags);
    // Members that are not known are passed over.
    fields.rest();
    let wrong = fields.finish();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(Submission { from, reply_to, recipients, content: Content::Parts(parts), options })
}

/// Reads a request of `/v4/messages/mime`: the mail is composed, and its control fields count.
pub fn mime(value: Value) -> Result<Submission, Vec<Violation>> {
    let mut fields = Fields::of(value, "").map_err(|violation| vec![violation])?;
    channel(&mut fields);
    let mut recipients = recipients(&mut fields);
    let (from, _) = match fields.has("originator") {
        true => originator(&mut fields),
        false => (None, Vec::new()),
    };
    let raw = fields.required_text("mime").map(String::into_bytes);
    let mut options = Options::default();
    match wishes::read(&control::foreign_in(raw.as_deref().unwrap_or_default())) {
        Ok(mut wishes) => {
            recipients.bcc.append(&mut wishes.copies);
            wishes.under(&mut options);
        }
        Err(wrong) => fields.wrong("mime", "invalid_header", wrong.join("; ")),
    }
    if !recipients.personal.is_empty() {
        fields.wrong("recipients", "not_supported", "bulk_list cannot be used with a prepared message");
    }
    fields.rest();
    let wrong = fields.finish();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let content = Content::Raw(Bytes::from(raw.unwrap_or_default()));
    Ok(Submission { from, reply_to: Vec::new(), recipients, content, options })
}

/// Every call names one; here there is only the one of the key.
fn channel(fields: &mut Fields) {
    if fields.text("channel").is_none_or(|channel| channel.is_empty()) && !fields.is_wrong("channel") {
        fields.wrong("channel", "required", "it is needed");
    }
}

fn recipients(fields: &mut Fields) -> Recipients {
    let Some(mut object) = fields.object("recipients") else {
        if !fields.is_wrong("recipients") {
            fields.wrong("recipients", "required", "it is needed");
        }
        return Recipients::default();
    };
    let mut recipients = Recipients {
        to: reading::many(&mut object, "to", NAMES),
        cc: reading::many(&mut object, "cc", NAMES),
        bcc: reading::many(&mut object, "bcc", NAMES),
        ..Recipients::default()
    };
    let bulk = reading::many(&mut object, "bulk_list", NAMES);
    if !bulk.is_empty() && recipients.count() > 0 {
        object.wrong("bulk_list", "conflict", "can not be used with to, cc or bcc");
    }
    let own = |to| Personal {
        to,
        cc: Vec::new(),
        bcc: Vec::new(),
        variables: Map::new(),
        metadata: BTreeMap::new(),
    };
    recipients.personal = bulk.into_iter().map(own).collect();
    object.rest();
    fields.absorb(object);
    if recipients.count() == 0 && !fields.is_wrong("recipients") {
        fields.wrong("recipients", "required", "it is needed");
    }
    recipients
}

fn originator(fields: &mut Fields) -> (Option<Mailbox>, Vec<Mailbox>) {
    let Some(mut object) = fields.object("originator") else {
        if !fields.is_wrong("originator") {
            fields.wrong("originator", "required", "it is needed");
        }
        return (None, Vec::new());
    };
    let from = reading::needed(&mut object, "from", NAMES);
    let reply_to = reading::one(&mut object, "reply_to", NAMES).into_iter().collect();
    object.rest();
    fields.absorb(object);
    (from, reply_to)
}

/// Header fields, and what `X-SMTPAPI` among them asks for, which SMTP.com takes as SendGrid does.
fn headers(fields: &mut Fields) -> (CustomHeaders, Options) {
    let mut options = Options::default();
    let is_control = |name: &str| name == "x-smtpapi";
    let (headers, theirs) = reading::headers(fields, "custom_headers", is_control);
    let controls: Vec<control::ForeignField> =
        theirs.into_iter().map(|(name, value)| control::ForeignField { name, value }).collect();
    match wishes::read(&controls) {
        Ok(wishes) => wishes.under(&mut options),
        Err(wrong) => fields.wrong("custom_headers", "invalid_header", wrong.join("; ")),
    }
    (headers, options)
}

fn body(fields: &mut Fields) -> Parts {
    let mut parts = Parts::default();
    let Some(mut object) = fields.object("body") else {
        if !fields.is_wrong("body") {
            fields.wrong("body", "required", "it is needed");
        }
        return parts;
    };
    for (index, value) in object.list("parts", 10).unwrap_or_default().into_iter().enumerate() {
        match Fields::of(value, &format!("/body/parts/{index}")) {
            Ok(mut part) => {
                text_part(&mut part, &mut parts);
                object.absorb(part);
            }
            Err(violation) => object.wrong_at(violation),
        }
    }
    for (index, value) in object.list("attachments", 200).unwrap_or_default().into_iter().enumerate() {
        match Fields::of(value, &format!("/body/attachments/{index}")) {
            Ok(mut file) => {
                parts.attachments.extend(attachment(&mut file));
                object.absorb(file);
            }
            Err(violation) => object.wrong_at(violation),
        }
    }
    if parts.text.is_none() && parts.html.is_none() && !object.is_wrong("parts") {
        object.wrong("parts", "required", "it is needed");
    }
    object.rest();
    fields.absorb(object);
    parts
}

/// A part's content is as it reads, whatever `encoding` says of how it is to be sent.
fn text_part(part: &mut Fields, parts: &mut Parts) {
    let kind = part.text("type").unwrap_or_else(|| "text/plain".to_owned());
    let content = part.required_text("content");
    part.rest();
    match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "text/html" => parts.html = parts.html.take().or(content),
        "text/plain" | "plain/text" | "" => parts.text = parts.text.take().or(content),
        _ => part.wrong("type", "not_supported", "parts are text/plain and text/html"),
    }
}

/// A file's content is in base 64 if its encoding says so, or says nothing and it reads as such.
fn attachment(file: &mut Fields) -> Option<Attachment> {
    let kind = file.text("type");
    let is_inline = file.text("disposition").is_some_and(|text| text.eq_ignore_ascii_case("inline"));
    let name = file.required_text("filename");
    let id = file.text("cid").or_else(|| name.clone());
    let encoding = file.text("encoding");
    let content = file.required_text("content");
    file.rest();
    let (name, content) = name.zip(content)?;
    let octets = match encoding.as_deref() {
        None | Some("base64") => extract::base64(&content),
        Some(_) => None,
    };
    let octets = octets.unwrap_or_else(|| Bytes::from(content.into_bytes()));
    let id = id.filter(|_| is_inline);
    match shared::attach(&name, kind.as_deref(), id.as_deref(), octets) {
        Ok(file) => Some(file),
        Err(error) => {
            file.wrong("filename", "invalid_attachment", error.to_string());
            None
        }
    }
}
