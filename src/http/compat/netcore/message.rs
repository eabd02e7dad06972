//! From the JSON of `/v5.1/mail/send` to submissions: one for each personalization.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::handling::{Handling, Tracking};
use crate::domain::submission::{Content, Options, Parts, Recipients, Submission};
use crate::domain::template::TemplateName;
use crate::http::api::variables;
use crate::http::compat::dialect;
use crate::http::compat::reading::{self, FileNames, LOWER};
use crate::http::fields::Fields;
use crate::mail::headers::CustomHeaders;
use crate::mail::{Attachment, Mailbox};
use crate::render::Gaps;
use crate::submission::Violation;

const FILE: FileNames = FileNames { name: "name", kind: "", id: "", content: "content" };
const MAX_PERSONALIZATIONS: usize = 1000;

/// What all personalizations have in common.
struct Common {
    from: Option<Mailbox>,
    reply_to: Vec<Mailbox>,
    bcc: Vec<Mailbox>,
    subject: Option<String>,
    html: Option<String>,
    text: Option<String>,
    template: Option<TemplateName>,
    attachments: Vec<Attachment>,
    options: Options,
}

/// One personalization.
struct Own {
    to: Vec<Mailbox>,
    cc: Vec<Mailbox>,
    bcc: Vec<Mailbox>,
    attributes: Option<Map<String, Value>>,
    headers: CustomHeaders,
    attachments: Vec<Attachment>,
    metadata: BTreeMap<String, String>,
}

/// Reads a request.
pub fn mails(value: Value) -> Result<Vec<Submission>, Vec<Violation>> {
    let mut fields = Fields::of(value, "").map_err(|violation| vec![violation])?;
    let common = common(&mut fields);
    let own = personalizations(&mut fields);
    let mut mails = Vec::new();
    for own in own {
        match common.mail(own) {
            Ok(mail) => mails.push(mail),
            Err(violation) => fields.wrong_at(violation),
        }
    }
    // Members that are not known are passed over.
    fields.rest();
    let wrong = fields.finish();
    if wrong.is_empty() { Ok(mails) } else { Err(wrong) }
}

fn common(fields: &mut Fields) -> Common {
    let from = reading::needed(fields, "from", LOWER);
    let (html, text) = content(fields);
    let template = reading::template(fields, "template_id").filter(|name| name.alias() != Some("0"));
    let subject = reading::subject(fields, "subject");
    if subject.is_none() && template.is_none() && !fields.is_wrong("subject") {
        fields.wrong("subject", "required", "it is needed");
    }
    if html.is_none() && text.is_none() && template.is_none() && !fields.is_wrong("content") {
        fields.wrong("content", "required", "it is needed");
    }
    Common {
        from,
        reply_to: reading::many(fields, "reply_to", LOWER),
        bcc: reading::many(fields, "bcc", LOWER),
        subject,
        html,
        text,
        template,
        attachments: reading::files(fields, "attachments", FILE),
        options: options(fields),
    }
}

/// `content`: HTML; plain text is taken too, AMP is not.
fn content(fields: &mut Fields) -> (Option<String>, Option<String>) {
    let (mut html, mut text) = (None, None);
    for (index, value) in fields.list("content", 10).unwrap_or_default().into_iter().enumerate() {
        let Ok(mut part) = Fields::of(value, &format!("/content/{index}")) else {
            fields.wrong("content", "wrong_type", "objects with type and value are needed");
            continue;
        };
        let kind = part.text("type").unwrap_or_default();
        let value = part.required_text("value");
        match kind.to_ascii_lowercase().as_str() {
            "html" | "text/html" => html = html.or(value),
            "text" | "plain" | "text/plain" => text = text.or(value),
            _ => part.wrong("type", "not_supported", format!("content of the type {kind:?} cannot be sent")),
        }
        part.rest();
        fields.absorb(part);
    }
    (html, text)
}

fn options(fields: &mut Fields) -> Options {
    let mut tracking = Tracking::default();
    if let Some(mut settings) = fields.object("settings") {
        tracking.opens = settings.flag("open_track") == Some(true);
        tracking.clicks = settings.flag("click_track") == Some(true);
        settings.rest();
        fields.absorb(settings);
    }
    Options {
        tags: reading::tags(fields, "tags"),
        send_at: schedule(fields),
        handling: Handling { tracking, ..Handling::default() },
        ..Options::default()
    }
}

/// Seconds since 1970, as a number or a text; 0 is now.
fn schedule(fields: &mut Fields) -> Option<time::OffsetDateTime> {
    let value = fields.take("schedule")?;
    let seconds = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
    match seconds {
        Some(0) => None,
        Some(seconds) => time::OffsetDateTime::from_unix_timestamp(seconds).ok(),
        None => {
            fields.wrong("schedule", "invalid_time", "seconds since 1970 are needed");
            None
        }
    }
}

fn personalizations(fields: &mut Fields) -> Vec<Own> {
    let list = fields.list("personalizations", MAX_PERSONALIZATIONS).unwrap_or_default();
    if list.is_empty() && !fields.is_wrong("personalizations") {
        fields.wrong("personalizations", "required", "it is needed");
    }
    let mut all = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        match Fields::of(value, &format!("/personalizations/{index}")) {
            Ok(mut object) => {
                all.push(personalization(&mut object));
                object.rest();
                fields.absorb(object);
            }
            Err(violation) => fields.wrong_at(violation),
        }
    }
    all
}

fn personalization(object: &mut Fields) -> Own {
    let to = reading::many(object, "to", LOWER);
    if to.is_empty() && !object.is_wrong("to") {
        object.wrong("to", "required", "it is needed");
    }
    let mut metadata = BTreeMap::new();
    // What comes back in events as X-APIHEADER.
    if let Some(token) = object.text("token_to").filter(|token| !token.is_empty()) {
        reading::note(object, "token_to", &mut metadata, "X-APIHEADER".to_owned(), token);
    }
    Own {
        to,
        cc: reading::many(object, "cc", LOWER),
        bcc: reading::many(object, "bcc", LOWER),
        attributes: variables::take(object, "attributes"),
        headers: reading::headers(object, "headers", |_| false).0,
        attachments: reading::files(object, "attachments", FILE),
        metadata,
    }
}

impl Common {
    fn mail(&self, own: Own) -> Result<Submission, Violation> {
        let mut parts = Parts {
            headers: own.headers,
            attachments: self.attachments.iter().cloned().chain(own.attachments).collect(),
            ..Parts::default()
        };
        if let Some(name) = &self.template {
            parts.rendering =
                Some(reading::of_template(name.clone(), own.attributes.unwrap_or_default(), Gaps::Empty));
        } else {
            parts.subject = self.subject.clone().unwrap_or_default();
            (parts.html, parts.text) = (self.html.clone(), self.text.clone());
            if let Some(attributes) = own.attributes {
                reading::translate(&mut parts, dialect::tokens, attributes)?;
            }
        }
        let recipients = Recipients {
            to: own.to,
            cc: own.cc,
            bcc: self.bcc.iter().cloned().chain(own.bcc).collect(),
            ..Recipients::default()
        };
        let options = Options { metadata: own.metadata, ..self.options.clone() };
        Ok(Submission {
            from: self.from.clone(),
            reply_to: self.reply_to.clone(),
            recipients,
            content: Content::Parts(parts),
            options,
        })
    }
}
