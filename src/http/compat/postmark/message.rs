//! From the JSON of a mail to a submission (postmarkapp.com/developer/api/email-api). The first thing that is wrong is
//! said, in the words that clients look for.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::handling::{Handling, Tracking, WatchedLinks};
use crate::domain::stream::BROADCAST;
use crate::domain::submission::{
    Content, MAX_ATTACHMENTS, MAX_METADATA, Options, Parts, Recipients, Rendering, StreamName, Submission,
    TRANSACTIONAL, Words, is_metadata_key, is_metadata_value, is_tag,
};
use crate::domain::template::Selection;
use crate::http::api::variables;
use crate::http::compat::parts::{self, File};
use crate::http::fields::Fields;
use crate::mail::headers::CustomHeaders;
use crate::mail::{AddressError, Attachment, Mailbox, parse_list};
use crate::render::Gaps;
use crate::submission::{Rejected, Violation};

/// Recipients of one mail.
const MAX_RECIPIENTS: usize = 50;

/// The addressees as they were given, to be given back.
#[derive(Debug, Default)]
pub struct Addressed {
    /// `To`.
    pub to: Option<String>,
    /// `Cc`.
    pub cc: Option<String>,
    /// `Bcc`.
    pub bcc: Option<String>,
}

/// Reads a mail.
pub fn submission(value: Value) -> (Addressed, Result<Submission, Rejected>) {
    let mut fields = match Fields::of(value, "") {
        Ok(fields) => fields,
        Err(violation) => return (Addressed::default(), Err(Rejected::invalid(vec![violation]))),
    };
    let (echo, mail) = read(&mut fields);
    // A field that nobody here knows is passed over, as it is there.
    fields.rest();
    let wrong = fields.finish();
    (echo, if wrong.is_empty() { Ok(mail) } else { Err(Rejected::invalid(wrong)) })
}

fn read(fields: &mut Fields) -> (Addressed, Submission) {
    let from = from(fields);
    let echo = Addressed { to: fields.text("To"), cc: fields.text("Cc"), bcc: fields.text("Bcc") };
    let recipients = recipients(fields, &echo);
    let reply_to = fields.text("ReplyTo").map(|text| mailboxes(fields, "ReplyTo", &text)).unwrap_or_default();
    let options = options(fields);
    let parts = contents(fields);
    (echo, Submission { from, reply_to, recipients, content: Content::Parts(parts), options })
}

fn from(fields: &mut Fields) -> Option<Mailbox> {
    let text = fields.text("From").unwrap_or_default();
    if text.trim().is_empty() {
        fields.wrong("From", "required", "The 'From' address is missing.");
        return None;
    }
    let from = Mailbox::parse(text.trim()).ok();
    if from.is_none() {
        fields.wrong("From", "invalid_address", format!("Invalid 'From' address: '{text}'."));
    }
    from
}

fn recipients(fields: &mut Fields, echo: &Addressed) -> Recipients {
    let mut list = |name: &str, text: &Option<String>| {
        text.as_ref().map(|text| mailboxes(fields, name, text)).unwrap_or_default()
    };
    let recipients = Recipients {
        to: list("To", &echo.to),
        cc: list("Cc", &echo.cc),
        bcc: list("Bcc", &echo.bcc),
        ..Recipients::default()
    };
    let count = recipients.to.len() + recipients.cc.len() + recipients.bcc.len();
    let is_wrong = ["To", "Cc", "Bcc"].into_iter().any(|name| fields.is_wrong(name));
    if count == 0 && !is_wrong {
        fields.wrong("To", "required", "Zero recipients specified");
    }
    if count > MAX_RECIPIENTS {
        let message = format!(
            "Too many recipients: at most {MAX_RECIPIENTS} are allowed in 'To', 'Cc' and 'Bcc' together."
        );
        fields.wrong("To", "too_many_recipients", message);
    }
    recipients
}

/// A list with commas. Clients tell an address that cannot be from one that is not understood.
fn mailboxes(fields: &mut Fields, name: &str, text: &str) -> Vec<Mailbox> {
    match parse_list(text) {
        Ok(list) => list,
        Err(error) => {
            let message = match &error {
                AddressError::Name(_) | AddressError::Group | AddressError::Several => {
                    format!("Error parsing '{name}': {error} in '{text}'.")
                }
                _ => format!("Invalid '{name}' address: '{}'.", first_bad(text)),
            };
            fields.wrong(name, "invalid_address", message);
            Vec::new()
        }
    }
}

fn first_bad(text: &str) -> &str {
    let bad = text.split(',').map(str::trim).find(|one| !one.is_empty() && Mailbox::parse(one).is_err());
    bad.unwrap_or(text)
}

fn options(fields: &mut Fields) -> Options {
    let tag = fields.text("Tag").filter(|tag| !tag.is_empty());
    if tag.as_ref().is_some_and(|tag| !is_tag(tag)) {
        fields.wrong("Tag", "invalid_tag", "Invalid 'Tag': it may have 128 characters here.");
    }
    let opens = fields.flag("TrackOpens") == Some(true);
    let links = fields.text("TrackLinks").unwrap_or_default();
    let watched_links = if links == "HtmlAndText" { WatchedLinks::HtmlAndText } else { WatchedLinks::Html };
    let clicks = match links.as_str() {
        "" | "None" | "TextOnly" => false,
        "HtmlAndText" | "HtmlOnly" => true,
        other => {
            let message = format!("Invalid 'TrackLinks' value: '{other}'.");
            fields.wrong("TrackLinks", "invalid", message);
            false
        }
    };
    Options {
        tags: tag.into_iter().collect(),
        metadata: metadata(fields),
        stream: stream(fields).unwrap_or(Options::default().stream),
        handling: Handling { tracking: Tracking { opens, clicks }, watched_links, ..Handling::default() },
        ..Options::default()
    }
}

/// Theirs are called `outbound` and `broadcast` from the start, ours `transactional` and `broadcast`.
pub fn stream_name(id: &str) -> Option<StreamName> {
    let name = match id {
        "outbound" => TRANSACTIONAL,
        "broadcasts" => BROADCAST,
        other => other,
    };
    StreamName::parse(name).ok()
}

fn stream(fields: &mut Fields) -> Option<StreamName> {
    let id = fields.text("MessageStream").filter(|id| !id.is_empty())?;
    let name = stream_name(&id);
    if name.is_none() {
        fields.wrong("MessageStream", "invalid_stream", "no such stream");
    }
    name
}

fn metadata(fields: &mut Fields) -> BTreeMap<String, String> {
    let Some(mut object) = fields.object("Metadata") else { return BTreeMap::new() };
    let mut metadata = BTreeMap::new();
    for (key, value) in object.rest() {
        let value = match value {
            Value::String(text) => text,
            Value::Null => continue,
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => {
                object.wrong(
                    &key,
                    "wrong_type",
                    format!("Invalid metadata: the value of '{key}' is no string."),
                );
                continue;
            }
        };
        if !is_metadata_key(&key) || !is_metadata_value(&value) {
            object.wrong(&key, "too_long", format!("Invalid metadata: '{key}' is too long."));
        }
        metadata.insert(key, value);
    }
    if metadata.len() > MAX_METADATA {
        object.wrong(
            "",
            "too_many",
            format!("Invalid metadata: at most {MAX_METADATA} entries are allowed."),
        );
    }
    fields.absorb(object);
    metadata
}

fn contents(fields: &mut Fields) -> Parts {
    let subject = fields.text("Subject").unwrap_or_default();
    let (text, html) = (fields.text("TextBody"), fields.text("HtmlBody"));
    let (text, html) = (text.filter(|it| !it.is_empty()), html.filter(|it| !it.is_empty()));
    let rendering = template(fields);
    let is_template =
        rendering.is_some() || fields.is_wrong("TemplateAlias") || fields.is_wrong("TemplateModel");
    if !is_template && text.is_none() && html.is_none() {
        fields.wrong("TextBody", "required", "Provide either email TextBody or HtmlBody or both.");
    }
    Parts {
        subject: if is_template { String::new() } else { subject },
        text: text.filter(|_| !is_template),
        html: html.filter(|_| !is_template),
        headers: headers(fields),
        attachments: attachments(fields),
        rendering: rendering.map(Box::new),
    }
}

fn template(fields: &mut Fields) -> Option<Rendering> {
    let id = match fields.take("TemplateId") {
        Some(Value::Number(number)) if number.as_i64() != Some(0) => Some(number.to_string()),
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let alias = fields.text("TemplateAlias").filter(|alias| !alias.is_empty());
    // What stylesheets say is always put into the elements here.
    fields.take("InlineCss");
    let variables: Option<Map<String, Value>> = variables::take(fields, "TemplateModel");
    let Some(name) = parts::template_name(&alias.or(id)?) else {
        fields.wrong("TemplateAlias", "unknown_template", "no such template");
        return None;
    };
    if variables.is_none() && !fields.is_wrong("TemplateModel") {
        fields.wrong("TemplateModel", "required", "The 'TemplateModel' is required, and must be an object.");
    }
    let selection = Selection { name, version: None, locale: None };
    // What a template shows and the model does not have is empty there.
    Some(Rendering {
        of: Words::Template(selection),
        variables: variables.unwrap_or_default(),
        gaps: Gaps::Empty,
    })
}

fn headers(fields: &mut Fields) -> CustomHeaders {
    let list = fields.list("Headers", crate::domain::submission::MAX_HEADERS).unwrap_or_default();
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let given: Vec<(String, String)> = list
        .iter()
        .filter_map(|header| Some((text(header, "Name")?, text(header, "Value").unwrap_or_default())))
        .collect();
    let checked = CustomHeaders::check(given.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    checked.unwrap_or_else(|errors| {
        for (index, error) in errors {
            let message = format!("Invalid 'Headers': '{}': {error}.", given[index].0);
            fields.wrong("Headers", "invalid_header", message);
        }
        CustomHeaders::default()
    })
}

fn attachments(fields: &mut Fields) -> Vec<Attachment> {
    let list = fields.list("Attachments", MAX_ATTACHMENTS).unwrap_or_default();
    let mut files = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let name = text("Name").unwrap_or_default();
        let file = File {
            name,
            kind: text("ContentType"),
            content_id: text("ContentID"),
            content: text("Content").unwrap_or_default(),
        };
        match parts::file(file) {
            Ok(file) => files.push(file),
            Err(error) => {
                let message = format!("Invalid attachment '{name}': {error}.");
                let pointer = format!("/Attachments/{index}");
                fields.wrong_at(Violation::new(pointer, "invalid_attachment", message));
            }
        }
    }
    files
}
