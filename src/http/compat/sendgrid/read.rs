//! The fields of `/v3/mail/send`, each read for itself. What is wrong is said in SendGrid's words, where clients know
//! them (docs.sendgrid.com/api-reference/mail-send/errors).

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;
use time::OffsetDateTime;

use crate::domain::submission::{
    MAX_ATTACHMENTS, MAX_METADATA, MAX_TAG_LEN, StreamName, is_metadata_key, is_metadata_value, is_tag,
};
use crate::http::compat::parts::{self, File, FileError};
use crate::http::fields::Fields;
use crate::mail::headers::CustomHeaders;
use crate::mail::{Attachment, EmailAddress, Mailbox};
use crate::submission::Violation;

/// Recipients of a request, over all its personalizations.
pub(super) const MAX_RECIPIENTS: usize = 1000;
const MAX_CATEGORIES: usize = 10;
/// docs.sendgrid.com/api-reference/mail-send/errors#-Headers-Errors.
const RESERVED: [&str; 12] = [
    "x-sg-id",
    "x-sg-eid",
    "received",
    "dkim-signature",
    "content-type",
    "content-transfer-encoding",
    "to",
    "from",
    "subject",
    "reply-to",
    "cc",
    "bcc",
];

const BAD_ADDRESS: &str = "Does not contain a valid address.";
const NO_FROM: &str = "The from object must be provided for every email send. It is an object that requires the email \
    parameter, but may also contain a name parameter.  e.g. {\"email\" : \"example@example.com\"}  or {\"email\" : \
    \"example@example.com\", \"name\" : \"Example Recipient\"}.";
const NO_CONTENT: &str = "Unless a valid template_id is provided, the content parameter is required. There must be at \
    least one defined content block. We typically suggest both text/plain and text/html blocks are included, but only \
    one block is required.";
const EMPTY_CONTENT: &str = "The content value must be a string at least one character in length.";
const NOT_STRING: &str = "Bad Request";

pub(super) fn subject(fields: &mut Fields) -> Option<String> {
    fields.text("subject").filter(|subject| !subject.is_empty())
}

pub(super) fn mailbox(fields: &mut Fields, value: Value, pointer: &str) -> Option<Mailbox> {
    let mut object = match Fields::of(value, pointer) {
        Ok(object) => object,
        Err(_) => {
            fields.wrong_at(Violation::new(pointer, "wrong_type", BAD_ADDRESS));
            return None;
        }
    };
    let email = object.text("email").unwrap_or_default();
    let name = object.text("name");
    let mailbox = EmailAddress::parse(email.trim())
        .ok()
        .and_then(|address| Mailbox::new(name.as_deref(), address).ok());
    if mailbox.is_none() && !object.is_wrong("email") && !object.is_wrong("name") {
        object.wrong("email", "invalid_address", BAD_ADDRESS);
    }
    fields.absorb(object);
    mailbox
}

pub(super) fn mailboxes(fields: &mut Fields, name: &str) -> Vec<Mailbox> {
    let pointer = fields.pointer(name);
    // That there are too many is said of all of them together.
    let list = fields.list(name, 10 * MAX_RECIPIENTS).unwrap_or_default();
    (0..)
        .zip(list)
        .filter_map(|(index, value): (usize, _)| mailbox(fields, value, &format!("{pointer}/{index}")))
        .collect()
}

pub(super) fn reply_to(fields: &mut Fields) -> Vec<Mailbox> {
    let list = mailboxes(fields, "reply_to_list");
    let one = fields.take("reply_to").and_then(|value| mailbox(fields, value, "/reply_to"));
    if one.is_some() && !list.is_empty() {
        let message = "The reply_to and reply_to_list parameters are mutually exclusive.";
        fields.wrong("reply_to", "conflict", message);
    }
    one.into_iter().chain(list).collect()
}

/// The author.
pub(super) fn from(fields: &mut Fields) -> Option<Mailbox> {
    let Some(value) = fields.take("from") else {
        fields.wrong_at(Violation::new("/from/email", "required", NO_FROM));
        return None;
    };
    mailbox(fields, value, "/from")
}

/// The plain text and the HTML.
pub(super) fn content(fields: &mut Fields, is_template: bool) -> (Option<String>, Option<String>) {
    let list = fields.list("content", 10).unwrap_or_default();
    if list.is_empty() && !is_template && !fields.is_wrong("content") {
        fields.wrong("content", "required", NO_CONTENT);
    }
    let (mut text, mut html) = (None, None);
    for (index, value) in list.into_iter().enumerate() {
        let Ok(mut object) = Fields::of(value, &format!("/content/{index}")) else {
            fields.wrong("content", "wrong_type", NO_CONTENT);
            continue;
        };
        let kind = object.text("type").unwrap_or_default().to_ascii_lowercase();
        let value = object.text("value").filter(|value| !value.is_empty());
        let place = match kind.split(';').next().unwrap_or_default().trim() {
            "text/plain" => Some(&mut text),
            "text/html" => Some(&mut html),
            _ => {
                let message = "The content type must be text/plain or text/html here.";
                object.wrong("type", "not_supported", message);
                None
            }
        };
        match (place, value) {
            (Some(place), Some(value)) if place.is_none() => *place = Some(value),
            (Some(_), Some(_)) => object.wrong(
                "type",
                "twice",
                "If present, text/plain and text/html may only be provided once.",
            ),
            (_, None) if !object.is_wrong("value") && !is_template => {
                object.wrong("value", "required", EMPTY_CONTENT);
            }
            _ => {}
        }
        fields.absorb(object);
    }
    (text, html)
}

pub(super) fn categories(fields: &mut Fields) -> Vec<String> {
    let list = match fields.take("categories") {
        // Documented as a list; a single text is taken all the same.
        Some(Value::String(one)) => vec![Value::String(one)],
        Some(Value::Array(list)) => list,
        Some(_) => {
            fields.wrong("categories", "wrong_type", "The categories must be an array of strings.");
            Vec::new()
        }
        None => Vec::new(),
    };
    if list.len() > MAX_CATEGORIES {
        let message = "The categories param cannot exceed 10 items.";
        fields.wrong("categories", "too_many", message);
    }
    let mut seen = HashSet::new();
    let mut tags = Vec::new();
    for value in list {
        match value {
            Value::String(tag) if is_tag(&tag) => {
                if seen.insert(tag.clone()) {
                    tags.push(tag);
                }
            }
            _ => {
                let message = format!("The categories must be strings of up to {MAX_TAG_LEN} characters.");
                fields.wrong("categories", "invalid_tag", message);
            }
        }
    }
    tags
}

pub(super) fn send_at(fields: &mut Fields) -> Option<OffsetDateTime> {
    let value = fields.take("send_at")?;
    let at = value.as_i64().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    if at.is_none() {
        fields.wrong("send_at", "invalid_time", "The send_at must be a valid UNIX timestamp.");
    }
    at.filter(|at| at.unix_timestamp() > 0)
}

/// An unsubscribe group is a stream here: who leaves it gets no more of its mail.
pub(super) fn stream(fields: &mut Fields) -> Option<StreamName> {
    let mut asm = fields.object("asm")?;
    let group = asm.number("group_id", 1..=i64::from(i32::MAX));
    if group.is_none() && !asm.is_wrong("group_id") {
        asm.wrong("group_id", "required", "The asm.group_id is required.");
    }
    asm.list("groups_to_display", 25);
    fields.absorb(asm);
    StreamName::parse(&stream_of_group(group?)).ok()
}

/// The stream that stands for an unsubscribe group.
pub(super) fn stream_of_group(group: i64) -> String {
    format!("asm-{group}")
}

pub(super) fn attachments(fields: &mut Fields) -> Vec<Attachment> {
    let list = fields.list("attachments", MAX_ATTACHMENTS).unwrap_or_default();
    let mut files = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        match Fields::of(value, &format!("/attachments/{index}")) {
            Ok(mut object) => {
                files.extend(attachment(&mut object));
                fields.absorb(object);
            }
            Err(violation) => fields.wrong_at(violation),
        }
    }
    files
}

fn attachment(object: &mut Fields) -> Option<Attachment> {
    let content = object.text("content").unwrap_or_default();
    let name = object.text("filename").or_else(|| object.text("name")).unwrap_or_default();
    let kind = object.text("type");
    let disposition = object.text("disposition");
    // Both are seen: the Node SDK passes on what it is given.
    let id = object.text("content_id").or_else(|| object.text("contentId"));
    object.rest();
    if content.is_empty() {
        object.wrong("content", "required", "The attachment content is required.");
        return None;
    }
    if name.trim().is_empty() {
        object.wrong("filename", "required", "The attachment filename parameter is required.");
        return None;
    }
    let is_inline = disposition.is_some_and(|it| it.eq_ignore_ascii_case("inline"));
    let content_id = id.as_deref().filter(|_| is_inline);
    match parts::file(File { name: &name, kind: kind.as_deref(), content_id, content: &content }) {
        Ok(file) => Some(file),
        Err(FileError::Base64) => {
            object.wrong("content", "invalid_base64", "The attachment content must be base64 encoded.");
            None
        }
        Err(error) => {
            object.wrong("filename", "invalid_attachment", error.to_string());
            None
        }
    }
}

pub(super) fn headers(fields: &mut Fields) -> BTreeMap<String, String> {
    let Some(mut object) = fields.object("headers") else { return BTreeMap::new() };
    let mut headers = BTreeMap::new();
    for (name, value) in object.rest() {
        if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            let message = format!("The header {name} is reserved and cannot be set.");
            object.wrong(&name, "reserved", message);
        } else if let Value::String(value) = value {
            headers.insert(name, value);
        } else {
            object.wrong(&name, "wrong_type", "The headers must be an object of key/value pairs of strings.");
        }
    }
    let checked = CustomHeaders::check(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    if let Err(errors) = checked {
        for (index, error) in errors {
            let name = headers.keys().nth(index).cloned().unwrap_or_default();
            object.wrong(&name, "invalid_header", error.to_string());
        }
    }
    fields.absorb(object);
    headers
}

pub(super) fn custom_args(fields: &mut Fields) -> BTreeMap<String, String> {
    let Some(mut object) = fields.object("custom_args") else { return BTreeMap::new() };
    let mut args = BTreeMap::new();
    let given = object.rest();
    if given.len() > MAX_METADATA {
        let message = format!("The custom_args may have at most {MAX_METADATA} entries here.");
        fields.wrong("custom_args", "too_many", message);
        return args;
    }
    for (key, value) in given {
        match value {
            Value::String(value) if is_metadata_key(&key) && is_metadata_value(&value) => {
                args.insert(key, value);
            }
            Value::String(_) => {
                object.wrong(&key, "too_long", "A custom_args key or value is too long.");
            }
            // As it is known to refuse them: without saying which.
            _ => object.wrong_at(Violation::new("", "wrong_type", NOT_STRING)),
        }
    }
    fields.absorb(object);
    args
}
