//! From the JSON of `/api/v1/transmissions` to a submission, of which each recipient gets a mail of his own.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::domain::handling::{Handling, Tracking};
use crate::domain::stream::BROADCAST;
use crate::domain::submission::{
    Content, Options, Parts, Personal, Recipients, Sending, StreamName, Submission, is_tag,
};
use crate::domain::wishes;
use crate::http::api::variables;
use crate::http::compat::dialect;
use crate::http::compat::reading::{self, FileNames, LOWER};
use crate::http::fields::Fields;
use crate::mail::{Mailbox, control};
use crate::render::Gaps;
use crate::submission::Violation;

use super::recipients;

const FILE: FileNames = FileNames { name: "name", kind: "type", id: "", content: "data" };
const MAX_RECIPIENTS: usize = 10_000;

/// What a call asks for.
pub struct Call {
    /// The mail.
    pub mail: Submission,
    /// How many recipients can be used.
    pub accepted: usize,
    /// Those that cannot, a sentence each.
    pub rejected: Vec<String>,
}

/// What is said of the content.
#[derive(Default)]
struct Contents {
    from: Option<Mailbox>,
    reply_to: Vec<Mailbox>,
    cc: Vec<Mailbox>,
    parts: Parts,
    raw: Option<Bytes>,
}

/// Reads a request.
pub fn call(value: Value) -> Result<Call, Vec<Violation>> {
    let mut fields = Fields::of(value, "").map_err(|violation| vec![violation])?;
    let data = variables::take(&mut fields, "substitution_data").unwrap_or_default();
    let (mut options, substitutes) = options(&mut fields);
    let mut contents = contents(&mut fields, data, substitutes);
    let mut read = recipients(&mut fields, &contents.cc);
    if read.personal.is_empty() && !fields.is_wrong("recipients") {
        fields.wrong_at(recipients::nobody());
    }
    if let Some(raw) = &contents.raw {
        match wishes::read(&control::foreign_in(raw)) {
            Ok(wishes) => wishes.under(&mut options),
            Err(wrong) => fields.wrong("content", "invalid_header", wrong.join("; ")),
        }
    }
    // Where it bounces to, who it was for, and whatever else is theirs: unknown members are passed over there too.
    fields.rest();
    let wrong = fields.finish();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    read.personal.iter_mut().for_each(introduce);
    let (accepted, rejected) = (read.accepted, read.rejected);
    let (content, recipients) = match contents.raw.take() {
        Some(raw) => (Content::Raw(raw), together(read.personal)),
        None => {
            (Content::Parts(contents.parts), Recipients { personal: read.personal, ..Recipients::default() })
        }
    };
    let mail = Submission { from: contents.from, reply_to: contents.reply_to, recipients, content, options };
    Ok(Call { mail, accepted, rejected })
}

/// Every text can name whom it is for.
fn introduce(own: &mut Personal) {
    let address =
        json!({ "email": own.to.address.as_str(), "name": own.to.name.clone().unwrap_or_default() });
    own.variables.entry("address").or_insert(address);
}

/// A composed mail is the same for all.
fn together(personal: Vec<Personal>) -> Recipients {
    let mut recipients = Recipients::default();
    for own in personal {
        recipients.to.push(own.to);
        recipients.cc.extend(own.cc);
        recipients.bcc.extend(own.bcc);
    }
    recipients
}

fn recipients(fields: &mut Fields, cc: &[Mailbox]) -> recipients::Read {
    match fields.take("recipients") {
        Some(Value::Array(list)) if list.is_empty() => {
            fields.wrong("recipients", "required", "it is needed");
        }
        Some(Value::Array(list)) if list.len() > MAX_RECIPIENTS => {
            fields.wrong("recipients", "too_many", format!("at most {MAX_RECIPIENTS} are taken in one call"));
        }
        Some(Value::Array(list)) => return recipients::read(fields, list, cc),
        Some(_) => fields.wrong("recipients", "not_supported", "stored recipient lists are not available"),
        None => fields.wrong("recipients", "required", "it is needed"),
    }
    recipients::Read::default()
}

fn options(fields: &mut Fields) -> (Options, bool) {
    let mut options = Options { metadata: reading::metadata(fields, "metadata"), ..Options::default() };
    if let Some(campaign) = fields.text("campaign_id").filter(|campaign| !campaign.is_empty()) {
        if is_tag(&campaign) {
            options.tags.push(campaign);
        } else {
            fields.wrong("campaign_id", "invalid_tag", "it is too long");
        }
    }
    let Some(mut object) = fields.object("options") else { return (options, true) };
    let mut flag = |name: &str| object.flag(name);
    let tracking =
        Tracking { opens: flag("open_tracking") == Some(true), clicks: flag("click_tracking") == Some(true) };
    options.handling = Handling { tracking, ..Handling::default() };
    if flag("sandbox") == Some(true) {
        options.sending = Sending::Sandbox;
    }
    // What is not said to be transactional is taken for it all the same: no mail is to get a link to leave by surprise.
    if flag("transactional") == Some(false)
        && let Ok(stream) = StreamName::parse(BROADCAST)
    {
        options.stream = stream;
    }
    let substitutes = flag("perform_substitutions") != Some(false);
    if flag("skip_suppression") == Some(true) {
        object.wrong("skip_suppression", "not_supported", "suppressed addresses are never mailed");
    }
    let start = object.text("start_time").filter(|start| !start.eq_ignore_ascii_case("now"));
    if let Some(start) = start {
        options.send_at = crate::http::fields::parse_moment(&start);
        if options.send_at.is_none() {
            object.wrong("start_time", "invalid_time", "a time is written as 2026-11-24T10:00:00+00:00");
        }
    }
    // Pools of addresses, keys and looks that are chosen by name there.
    object.rest();
    fields.absorb(object);
    (options, substitutes)
}

fn contents(fields: &mut Fields, data: Map<String, Value>, substitutes: bool) -> Contents {
    let Some(mut object) = fields.object("content") else {
        if !fields.is_wrong("content") {
            fields.wrong("content", "required", "it is needed");
        }
        return Contents::default();
    };
    let read =
        if object.has("email_rfc822") { raw(&mut object) } else { composed(&mut object, data, substitutes) };
    object.rest();
    fields.absorb(object);
    read
}

fn raw(object: &mut Fields) -> Contents {
    let raw = object.required_text("email_rfc822").map(|text| Bytes::from(text.into_bytes()));
    Contents { raw, ..Contents::default() }
}

fn composed(object: &mut Fields, data: Map<String, Value>, substitutes: bool) -> Contents {
    let template = reading::template(object, "template_id");
    object.flag("use_draft_template");
    reading::refuse(object, "ab_test_id", "A/B tests are not available");
    let has_template = template.is_some() || object.is_wrong("template_id");
    if has_template && ["subject", "html", "text"].iter().any(|name| object.has(name)) {
        object.wrong_at(Violation::new("/content", "content_conflict", "one of both is needed"));
    }
    let from = match has_template {
        true => reading::one(object, "from", LOWER),
        false => reading::needed(object, "from", LOWER),
    };
    let (headers, own) = reading::headers(object, "headers", |name| matches!(name, "cc" | "to"));
    let cc = own.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cc"));
    let cc = cc.flat_map(|(_, text)| recipients::copies(text)).collect();
    let mut attachments = reading::files(object, "attachments", FILE);
    // An image's name is its content id.
    let images = reading::files(object, "inline_images", FILE);
    for image in images {
        let inline = crate::mail::Attachment::new(
            image.filename(),
            image.media_type(),
            Some(image.filename()),
            image.content().clone(),
        );
        match inline {
            Ok(image) => attachments.push(image),
            Err(error) => object.wrong("inline_images", "invalid_attachment", error.to_string()),
        }
    }
    let reply_to = reading::many(object, "reply_to", LOWER);
    let mut parts = Parts { headers, attachments, ..Parts::default() };
    if let Some(name) = template {
        parts.rendering = Some(reading::of_template(name, data, Gaps::Empty));
    } else if !has_template {
        texts(object, &mut parts, data, substitutes);
    }
    Contents { from, reply_to, cc, parts, raw: None }
}

fn texts(object: &mut Fields, parts: &mut Parts, data: Map<String, Value>, substitutes: bool) {
    let subject = reading::subject(object, "subject");
    if subject.is_none() && !object.is_wrong("subject") {
        object.wrong("subject", "required", "it is needed");
    }
    parts.subject = subject.unwrap_or_default();
    (parts.text, parts.html) = (object.text("text"), object.text("html"));
    if parts.text.is_none() && parts.html.is_none() && !object.is_wrong("text") && !object.is_wrong("html") {
        object.wrong("html", "required", "text or html is needed");
    }
    if substitutes && let Err(violation) = reading::translate(parts, dialect::sparkpost, data) {
        object.wrong_at(violation);
    }
}
