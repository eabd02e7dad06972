//! From the JSON of a mail to a [`Submission`]; every bad field is named.

use std::collections::BTreeMap;

use serde_json::Value;
use time::{Duration, OffsetDateTime};

use crate::domain::delivery::Priority;
use crate::domain::handling::{Handling, Tracking, Transport, WatchedLinks};
use crate::domain::submission::{
    Content, DEFAULT_TTL, MAX_ATTACHMENTS, MAX_HEADERS, MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE,
    MAX_SUBJECT, MAX_TAG_LEN, MAX_TAGS, Options, Parts, Recipients, Rendering, Sending, StreamName,
    Submission, Watch, Words, is_metadata_key, is_metadata_value, is_tag,
};
use crate::http::extract;
use crate::http::fields::Fields;
use crate::mail::attachment::{Attachment, AttachmentError};
use crate::mail::headers::CustomHeaders;
use crate::mail::{EmailAddress, Mailbox};
use crate::submission::{NO_RECIPIENT, Rejected, Violation, beyond_limits};

use super::personal;

/// Far more than a mail may have: the exact count is checked once duplicates are gone.
const MAX_LIST: usize = 10_000;

/// Reads one mail. A mail that is refused is told all that is wrong with it, so also what would be found later.
pub fn submission(value: Value, now: OffsetDateTime) -> Result<Submission, Rejected> {
    let mut fields = Fields::of(value, "").map_err(|violation| Rejected::invalid(vec![violation]))?;
    let from = from(&mut fields);
    let reply_to = mailboxes(&mut fields, "reply_to");
    let own = personal::recipients(&mut fields);
    let recipients = Recipients {
        to: mailboxes(&mut fields, "to"),
        cc: mailboxes(&mut fields, "cc"),
        bcc: mailboxes(&mut fields, "bcc"),
        personal: own.recipients,
        ..Recipients::default()
    };
    let places = ["to", "cc", "bcc", "recipients"];
    if recipients.is_empty() && !places.iter().any(|name| fields.is_wrong(name)) {
        fields.wrong("to", "required", NO_RECIPIENT);
    }
    let rendering = personal::rendering(&mut fields, own.variables);
    let parts = parts(&mut fields, rendering);
    let options = options(&mut fields);
    let mut errors = fields.finish();
    if !errors.is_empty() {
        errors.extend(beyond_limits(&recipients, &options, now));
        return Err(Rejected::invalid(errors));
    }
    Ok(Submission { from, reply_to, recipients, content: Content::Parts(parts), options })
}

/// What is watched and where, if the mail says it; else its stream or its sender domain decides.
fn tracking(fields: &mut Fields) -> (Tracking, WatchedLinks, Watch) {
    let Some(mut object) = fields.object("tracking") else {
        return (Tracking::default(), WatchedLinks::default(), Watch::ByDefault);
    };
    let mut flag = |name| object.flag(name) == Some(true);
    let tracking = Tracking { opens: flag("opens"), clicks: flag("clicks") };
    let links = if flag("text") { WatchedLinks::HtmlAndText } else { WatchedLinks::Html };
    fields.absorb(object);
    (tracking, links, Watch::AsSaid)
}

fn from(fields: &mut Fields) -> Option<Mailbox> {
    let Some(value) = fields.take("from") else {
        fields.wrong("from", "required", "the author is needed");
        return None;
    };
    let pointer = fields.pointer("from");
    mailbox(fields, value, &pointer)
}

/// One mailbox or a list of them.
pub(super) fn mailboxes(fields: &mut Fields, name: &str) -> Vec<Mailbox> {
    let pointer = fields.pointer(name);
    match fields.take(name) {
        None => Vec::new(),
        Some(Value::Array(list)) if list.len() > MAX_LIST => {
            fields.wrong(name, "too_many_recipients", "a mail has at most 1000 recipients");
            Vec::new()
        }
        Some(Value::Array(list)) => (0..)
            .zip(list)
            .filter_map(|(index, value): (usize, _)| mailbox(fields, value, &format!("{pointer}/{index}")))
            .collect(),
        Some(one) => mailbox(fields, one, &pointer).into_iter().collect(),
    }
}

/// `a@b`, `Name <a@b>` or `{"email", "name"}`.
pub(super) fn mailbox(fields: &mut Fields, value: Value, pointer: &str) -> Option<Mailbox> {
    let read = match value {
        Value::String(text) => Mailbox::parse(&text).map_err(|error| (pointer.to_owned(), error.to_string())),
        Value::Object(_) => return mailbox_object(fields, value, pointer),
        _ => Err((pointer.to_owned(), "an address is a string or an object with email and name".to_owned())),
    };
    read.map_err(|(pointer, message)| fields.wrong_at(Violation::new(pointer, "invalid_address", message)))
        .ok()
}

fn mailbox_object(fields: &mut Fields, value: Value, pointer: &str) -> Option<Mailbox> {
    let mut object = Fields::of(value, pointer).ok()?;
    let email = object.required_text("email");
    let name = object.text("name");
    let address = email.and_then(|email| match EmailAddress::parse(&email) {
        Ok(address) => Some(address),
        Err(error) => {
            object.wrong("email", "invalid_address", error.to_string());
            None
        }
    });
    let mailbox = address.and_then(|address| match Mailbox::new(name.as_deref(), address) {
        Ok(mailbox) => Some(mailbox),
        Err(error) => {
            object.wrong("name", "invalid_name", error.to_string());
            None
        }
    });
    fields.absorb(object);
    mailbox
}

fn parts(fields: &mut Fields, rendering: Option<Rendering>) -> Parts {
    let is_template = matches!(&rendering, Some(Rendering { of: Words::Template(_), .. }));
    let subject = fields.text("subject").unwrap_or_default();
    if subject.chars().count() > MAX_SUBJECT {
        fields.wrong("subject", "too_long", format!("a subject has at most {MAX_SUBJECT} characters"));
    }
    // What is rendered is checked when it is.
    if let (None, Err(error)) = (&rendering, crate::mail::text::check(&subject)) {
        fields.wrong("subject", "invalid_subject", format!("the subject cannot be used: {error}"));
    }
    let (text, html) = (fields.text("text"), fields.text("html"));
    let attachments = attachments(fields);
    let wrong = ["text", "html", "attachments", "template"].into_iter().any(|name| fields.is_wrong(name));
    if text.is_none() && html.is_none() && attachments.is_empty() && !wrong && !is_template {
        fields.wrong("text", "required", "a mail needs text, html or an attachment");
    }
    Parts { subject, text, html, headers: headers(fields), attachments, rendering: rendering.map(Box::new) }
}

fn headers(fields: &mut Fields) -> CustomHeaders {
    let Some(mut object) = fields.object("headers") else { return CustomHeaders::default() };
    let mut given = Vec::new();
    for (name, value) in object.rest() {
        match value {
            Value::String(value) => given.push((name, value)),
            _ => object.wrong(&name, "wrong_type", "a string is needed"),
        }
    }
    if given.len() > MAX_HEADERS {
        fields.wrong(
            "headers",
            "too_many",
            format!("at most {MAX_HEADERS} are allowed, these are {}", given.len()),
        );
        return CustomHeaders::default();
    }
    let checked = CustomHeaders::check(given.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let headers = checked.unwrap_or_else(|errors| {
        for (index, error) in errors {
            object.wrong(&given[index].0, "invalid_header", error.to_string());
        }
        CustomHeaders::default()
    });
    fields.absorb(object);
    headers
}

fn attachments(fields: &mut Fields) -> Vec<Attachment> {
    let pointer = fields.pointer("attachments");
    let list = fields.list("attachments", MAX_ATTACHMENTS).unwrap_or_default();
    let read = (0..).zip(list).filter_map(|(index, value): (usize, _)| {
        match Fields::of(value, &format!("{pointer}/{index}")) {
            Ok(object) => attachment(fields, object),
            Err(violation) => {
                fields.wrong_at(violation);
                None
            }
        }
    });
    read.collect()
}

fn attachment(fields: &mut Fields, mut object: Fields) -> Option<Attachment> {
    let filename = object.required_text("filename");
    let content = object.required_text("content");
    let content_type = object.text("content_type");
    let content_id = object.text("content_id");
    let content = content.and_then(|text| match extract::base64(&text) {
        Some(bytes) => Some(bytes),
        None => {
            object.wrong("content", "invalid_base64", "the content is base 64 (RFC 4648)");
            None
        }
    });
    let attachment = filename.zip(content).and_then(|(filename, content)| {
        let content_type = content_type.as_deref().unwrap_or("application/octet-stream");
        match Attachment::new(&filename, content_type, content_id.as_deref(), content) {
            Ok(attachment) => Some(attachment),
            Err(error) => {
                object.wrong(attachment_field(&error), "invalid_attachment", error.to_string());
                None
            }
        }
    });
    fields.absorb(object);
    attachment
}

fn attachment_field(error: &AttachmentError) -> &'static str {
    match error {
        AttachmentError::Filename(_) | AttachmentError::NoFilename | AttachmentError::FilenameTooLong => {
            "filename"
        }
        AttachmentError::ContentType | AttachmentError::CompositeType(_) => "content_type",
        AttachmentError::ContentId => "content_id",
    }
}

/// What is asked of a mail besides its content. The door of raw MIME has no such fields.
fn options(fields: &mut Fields) -> Options {
    let default = Options::default();
    let (tracking, watched_links, watch) = tracking(fields);
    Options {
        tags: tags(fields),
        metadata: metadata(fields),
        stream: fields.parsed("stream", "invalid_stream", StreamName::parse).unwrap_or(default.stream),
        priority: fields
            .parsed("priority", "invalid_priority", str::parse::<Priority>)
            .unwrap_or(default.priority),
        send_at: fields.moment("send_at"),
        ttl: fields.number("ttl_seconds", 300..=432_000).map_or(DEFAULT_TTL, Duration::seconds),
        sending: if fields.flag("sandbox") == Some(true) { Sending::Sandbox } else { Sending::Real },
        handling: Handling { tracking, watched_links, transport: transport(fields), ..Handling::default() },
        watch,
        trace: None,
    }
}

fn transport(fields: &mut Fields) -> Transport {
    if fields.flag("require_tls") == Some(true) { Transport::RequireTls } else { Transport::AsOffered }
}

fn tags(fields: &mut Fields) -> Vec<String> {
    let mut tags = fields.texts("tags", MAX_TAGS).unwrap_or_default();
    for (index, tag) in tags.iter().enumerate() {
        if !is_tag(tag) {
            let pointer = format!("{}/{index}", fields.pointer("tags"));
            let message =
                format!("a tag has 1 to {MAX_TAG_LEN} characters, none of them a control character");
            fields.wrong_at(Violation::new(pointer, "invalid_tag", message));
        }
    }
    let mut seen = std::collections::HashSet::new();
    tags.retain(|tag| seen.insert(tag.clone()));
    tags
}

pub(super) fn metadata(fields: &mut Fields) -> BTreeMap<String, String> {
    let Some(mut object) = fields.object("metadata") else { return BTreeMap::new() };
    let rest = object.rest();
    if rest.len() > MAX_METADATA {
        fields.wrong("metadata", "too_many", format!("at most {MAX_METADATA} entries are allowed"));
        return BTreeMap::new();
    }
    let mut metadata = BTreeMap::new();
    for (key, value) in rest {
        let Value::String(value) = value else {
            object.wrong(&key, "wrong_type", "a string is needed");
            continue;
        };
        if !is_metadata_key(&key) {
            object.wrong(&key, "invalid_key", format!("a key has 1 to {MAX_METADATA_KEY} characters"));
        } else if !is_metadata_value(&value) {
            object.wrong(&key, "too_long", format!("a value has at most {MAX_METADATA_VALUE} characters"));
        } else {
            metadata.insert(key, value);
        }
    }
    fields.absorb(object);
    metadata
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 24] = [
        "from",
        "to",
        "cc",
        "bcc",
        "reply_to",
        "subject",
        "text",
        "html",
        "attachments",
        "headers",
        "tags",
        "metadata",
        "stream",
        "priority",
        "send_at",
        "ttl_seconds",
        "tracking",
        "sandbox",
        "recipients",
        "variables",
        "template",
        "email",
        "name",
        "content",
    ];

    fn leaf() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z]{1,5}@[a-z]{1,5}\\.example".prop_map(Value::from),
            "[A-Z][a-z]{1,5} <[a-z]{1,5}@[a-z]{1,5}\\.example>".prop_map(Value::from),
            "(aGVsbG8=|high|2026-12-01T10:00:00Z|text/plain|utf-8|\\PC|[\r\n\t\u{0}]){0,4}"
                .prop_map(Value::from),
        ]
    }

    fn json() -> impl Strategy<Value = Value> {
        leaf().prop_recursive(4, 60, 8, |inner| {
            let name =
                prop_oneof![4 => proptest::sample::select(&NAMES).prop_map(str::to_owned), 1 => "\\PC{0,6}"];
            prop_oneof![
                vec(inner.clone(), 0..6).prop_map(Value::from),
                btree_map(name, inner, 0..8).prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_a_mail_or_is_told_what_is_wrong_and_where(
            members in btree_map(proptest::sample::select(&NAMES).prop_map(str::to_owned), json(), 0..12),
        ) {
            let mail = Value::Object(members.into_iter().collect());
            if let Err(rejected) = submission(mail, OffsetDateTime::UNIX_EPOCH) {
                prop_assert!(!rejected.violations.is_empty());
                for violation in rejected.violations {
                    prop_assert!(violation.pointer.starts_with('/'), "{}", violation.pointer);
                    prop_assert!(!violation.code.is_empty() && !violation.message.is_empty());
                }
            }
        }
    }
}
