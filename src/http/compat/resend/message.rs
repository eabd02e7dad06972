//! From the JSON of an email to a submission (resend.com/docs/api-reference/emails/send-email).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use crate::domain::submission::{
    Content, MAX_ATTACHMENTS, MAX_HEADERS, MAX_METADATA, Options, Parts, Recipients, Rendering, Submission,
    Words, is_metadata_key, is_metadata_value,
};
use crate::domain::template::Selection;
use crate::http::api::variables;
use crate::http::compat::kept;
use crate::http::compat::parts::{self, File};
use crate::http::fields::{Fields, parse_moment};
use crate::mail::headers::CustomHeaders;
use crate::mail::{Attachment, Mailbox};
use crate::render::Gaps;
use crate::submission::{Rejected, Violation};

/// Addressees of one email.
const MAX_TO: usize = 50;

/// Reads an email.
pub fn submission(value: Value, now: OffsetDateTime) -> Result<Submission, Rejected> {
    let mut fields = Fields::of(value, "").map_err(|violation| Rejected::invalid(vec![violation]))?;
    let from = from(&mut fields);
    let recipients = recipients(&mut fields);
    let reply_to = either(&mut fields, "reply_to", "replyTo");
    let content = contents(&mut fields);
    let mut metadata = kept::metadata(kept::first(&content.headers, kept::METADATA));
    metadata.extend(tags(&mut fields));
    let options = Options {
        tags: kept::tag_list(kept::first(&content.headers, kept::TAGS)),
        metadata,
        send_at: scheduled_at(&mut fields, now),
        ..Options::default()
    };
    // Who wants which topics is not known here; what else there is has no effect there either.
    fields.rest();
    let wrong = fields.finish();
    if !wrong.is_empty() {
        return Err(Rejected::invalid(wrong));
    }
    Ok(Submission { from, reply_to, recipients, content: Content::Parts(content), options })
}

fn from(fields: &mut Fields) -> Option<Mailbox> {
    let Some(text) = fields.text("from").filter(|text| !text.trim().is_empty()) else {
        fields.wrong("from", "required", "it is needed");
        return None;
    };
    let from = Mailbox::parse(text.trim());
    if let Err(error) = &from {
        fields.wrong("from", "invalid_address", error.to_string());
    }
    from.ok()
}

fn recipients(fields: &mut Fields) -> Recipients {
    let recipients = Recipients {
        to: mailboxes(fields, "to"),
        cc: mailboxes(fields, "cc"),
        bcc: mailboxes(fields, "bcc"),
        ..Recipients::default()
    };
    if recipients.to.is_empty() && !fields.is_wrong("to") {
        fields.wrong("to", "required", "it is needed");
    }
    if recipients.to.len() > MAX_TO {
        let message = format!("Invalid `to` field. At most {MAX_TO} email addresses are allowed.");
        fields.wrong("to", "too_many_recipients", message);
    }
    recipients
}

/// One address or a list of them.
fn mailboxes(fields: &mut Fields, name: &str) -> Vec<Mailbox> {
    let list = match fields.take(name) {
        None => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    };
    let mut mailboxes = Vec::with_capacity(list.len().min(MAX_TO));
    for value in list {
        let read = value.as_str().and_then(|text| Mailbox::parse(text.trim()).ok());
        match read {
            Some(mailbox) => mailboxes.push(mailbox),
            None => fields.wrong(name, "invalid_address", "not an address"),
        }
    }
    mailboxes
}

fn either(fields: &mut Fields, name: &str, other: &str) -> Vec<Mailbox> {
    let given = mailboxes(fields, name);
    if given.is_empty() { mailboxes(fields, other) } else { given }
}

fn contents(fields: &mut Fields) -> Parts {
    let rendering = template(fields);
    let is_template = rendering.is_some() || fields.is_wrong("template");
    let subject = fields.text("subject").unwrap_or_default();
    if subject.is_empty() && !is_template && !fields.is_wrong("subject") {
        fields.wrong("subject", "required", "it is needed");
    }
    let (text, html) = (fields.text("text"), fields.text("html"));
    let attachments = attachments(fields);
    if !is_template
        && text.is_none()
        && html.is_none()
        && !fields.is_wrong("text")
        && !fields.is_wrong("html")
    {
        fields.wrong("html", "missing", "Missing `html` or `text` field.");
    }
    Parts {
        subject: if is_template { String::new() } else { subject },
        text: text.filter(|_| !is_template),
        html: html.filter(|_| !is_template),
        headers: headers(fields),
        attachments,
        rendering: rendering.map(Box::new),
    }
}

fn template(fields: &mut Fields) -> Option<Rendering> {
    let mut object = fields.object("template")?;
    let id = object.required_text("id");
    let name = id.as_deref().and_then(parts::template_name);
    if id.is_some() && name.is_none() {
        object.wrong("id", "unknown_template", "there is no such template");
    }
    let variables = variables::take(&mut object, "variables").unwrap_or_default();
    object.rest();
    fields.absorb(object);
    let selection = Selection { name: name?, version: None, locale: None };
    Some(Rendering { of: Words::Template(selection), variables, gaps: Gaps::Refused })
}

fn headers(fields: &mut Fields) -> CustomHeaders {
    let Some(mut object) = fields.object("headers") else { return CustomHeaders::default() };
    let mut given: Vec<(String, String)> = Vec::new();
    for (name, value) in object.rest() {
        match value {
            Value::String(value) => given.push((name, value)),
            Value::Number(_) | Value::Bool(_) => given.push((name, value.to_string())),
            _ => {
                object.wrong(&name, "wrong_type", format!("Invalid `headers` field. `{name}` is no string."))
            }
        }
    }
    fields.absorb(object);
    if given.len() > MAX_HEADERS {
        fields.wrong("headers", "too_many", format!("At most {MAX_HEADERS} headers are allowed."));
        return CustomHeaders::default();
    }
    let checked = CustomHeaders::check(given.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    checked.unwrap_or_else(|errors| {
        for (index, error) in errors {
            let message = format!("Invalid `headers` field. `{}`: {error}", given[index].0);
            fields.wrong("headers", "invalid_header", message);
        }
        CustomHeaders::default()
    })
}

fn attachments(fields: &mut Fields) -> Vec<Attachment> {
    let list = fields.list("attachments", MAX_ATTACHMENTS).unwrap_or_default();
    let mut files = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        if let Err(message) = attachment(&value).map(|file| files.push(file)) {
            let violation = Violation::new(format!("/attachments/{index}"), "invalid_attachment", message);
            fields.wrong_at(violation);
        }
    }
    files
}

/// The content is base 64, or a list of octets, as the Python SDK makes of a file. What lies behind a URL is not fetched.
fn attachment(value: &Value) -> Result<Attachment, String> {
    let text = |name: &str, other: &str| {
        value.get(name).and_then(Value::as_str).or_else(|| value.get(other).and_then(Value::as_str))
    };
    let name = text("filename", "name").unwrap_or_default();
    if value.get("path").is_some_and(|path| !path.is_null()) {
        return Err("Attachments by `path` are not supported here; send their `content`.".to_owned());
    }
    let octets: Option<Vec<u8>> = match value.get("content") {
        Some(Value::Array(octets)) => {
            octets.iter().map(|octet| octet.as_u64().and_then(|octet| u8::try_from(octet).ok())).collect()
        }
        // What the Node SDK makes of a Buffer.
        Some(Value::Object(buffer)) => buffer.get("data").and_then(Value::as_array).and_then(|data| {
            data.iter().map(|octet| octet.as_u64().and_then(|octet| u8::try_from(octet).ok())).collect()
        }),
        _ => None,
    };
    let encoded = octets.map(|octets| STANDARD.encode(octets));
    let content = encoded.as_deref().or_else(|| value.get("content").and_then(Value::as_str));
    let content = content.ok_or("Missing `content` field in `attachments`.")?;
    let file = File {
        name,
        kind: text("content_type", "contentType"),
        content_id: text("content_id", "contentId"),
        content,
    };
    parts::file(file).map_err(|error| format!("Invalid `attachments` field. {error}"))
}

/// Names with values: metadata here.
fn tags(fields: &mut Fields) -> BTreeMap<String, String> {
    let list = fields.list("tags", MAX_METADATA).unwrap_or_default();
    let mut tags = BTreeMap::new();
    for tag in list {
        let text = |name: &str| tag.get(name).and_then(Value::as_str);
        match (text("name"), text("value").unwrap_or_default()) {
            (Some(name), value) if is_metadata_key(name) && is_metadata_value(value) => {
                tags.insert(name.to_owned(), value.to_owned());
            }
            _ => fields.wrong("tags", "invalid", "Invalid `tags` field. A tag has a `name` and a `value`."),
        }
    }
    tags
}

/// Takes `scheduled_at`: a moment, or a span from now.
pub fn scheduled_at(fields: &mut Fields, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let text = fields.text("scheduled_at").or_else(|| fields.text("scheduledAt"))?;
    let at = parse_moment(&text).or_else(|| Some(now + span(&text)?));
    if at.is_none() {
        let message = "Invalid `scheduled_at` field. Use ISO 8601, or `in 5 minutes`.";
        fields.wrong("scheduled_at", "invalid_time", message);
    }
    at
}

/// `in 1 min`, `in 2 hours`.
fn span(text: &str) -> Option<Duration> {
    let mut words = text.split_whitespace();
    if !words.next()?.eq_ignore_ascii_case("in") {
        return None;
    }
    let number: i32 = words.next()?.parse().ok()?;
    let unit = words.next()?.to_ascii_lowercase();
    let unit = match unit.trim_end_matches('s') {
        "sec" | "second" => Duration::seconds(1),
        "m" | "min" | "minute" => Duration::minutes(1),
        "h" | "hour" => Duration::hours(1),
        "day" => Duration::days(1),
        _ => return None,
    };
    (words.next().is_none() && (0..100_000).contains(&number)).then(|| unit * number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_from_now_are_understood() {
        let cases = [
            ("in 1 min", Some(60)),
            ("in 2 hours", Some(7200)),
            ("In 3 days", Some(259_200)),
            ("in a while", None),
            ("tomorrow", None),
            ("in 1 min now", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(span(text).map(Duration::whole_seconds), seconds, "{text}");
        }
    }
}
