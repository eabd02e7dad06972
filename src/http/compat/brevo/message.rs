//! From the JSON of `/v3/smtp/email` to submissions: one, or one for each of `messageVersions`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::submission::{Content, Options, Parts, Recipients, Sending, Submission};
use crate::domain::template::TemplateName;
use crate::http::api::variables;
use crate::http::compat::dialect::{self, Twig};
use crate::http::compat::reading::{self, FileNames, LOWER};
use crate::http::fields::Fields;
use crate::mail::Mailbox;
use crate::mail::headers::CustomHeaders;
use crate::render::Gaps;
use crate::submission::{IdempotencyKey, Violation};

const FILE: FileNames = FileNames { name: "name", kind: "", id: "", content: "content" };
/// Versions in one call, and recipients over all of them.
const MAX_VERSIONS: usize = 2000;

/// What a call asks for.
pub struct Call {
    /// The mails.
    pub mails: Vec<Submission>,
    /// Its Idempotency-Key.
    pub key: Option<IdempotencyKey>,
    /// Whether its answer lists ids.
    pub is_versioned: bool,
}

/// What one mail says for itself, or all of them together.
#[derive(Clone, Default)]
struct Own {
    to: Vec<Mailbox>,
    cc: Vec<Mailbox>,
    bcc: Vec<Mailbox>,
    reply_to: Vec<Mailbox>,
    subject: Option<String>,
    text: Option<String>,
    html: Option<String>,
    headers: CustomHeaders,
    /// Brevo's own among the header fields.
    theirs: BTreeMap<String, String>,
    template: Option<TemplateName>,
    params: Option<Map<String, Value>>,
}

/// Reads a request.
pub fn call(value: Value) -> Result<Call, Vec<Violation>> {
    let mut fields = Fields::of(value, "").map_err(|violation| vec![violation])?;
    let from = sender(&mut fields);
    let common = own(&mut fields);
    let options = options(&mut fields, &common);
    let attachments = reading::files(&mut fields, "attachment", FILE);
    let versions = versions(&mut fields);
    let is_versioned = versions.is_some();
    let key = common.theirs.iter().find(|(name, _)| name.eq_ignore_ascii_case("idempotencykey"));
    let key = key.and_then(|(_, text)| IdempotencyKey::parse(text).ok());
    // Which addresses of theirs, and which batch of theirs, mean nothing here; unknown members are passed over.
    fields.rest();
    let all = versions.unwrap_or_else(|| vec![Own::default()]);
    let mut mails = Vec::new();
    for (index, version) in all.into_iter().enumerate() {
        let base = if is_versioned { format!("/messageVersions/{index}") } else { String::new() };
        let laid = version.over(&common);
        if laid.to.is_empty() && !fields.is_wrong("to") && !fields.is_wrong("messageVersions") {
            fields.wrong_at(Violation::new(format!("{base}/to"), "required", "a recipient is needed"));
        }
        match laid.parts() {
            Ok(parts) => {
                let parts = Parts { attachments: attachments.clone(), ..parts };
                mails.push(laid.submission(from.clone(), parts, options.clone()));
            }
            Err(violation) => fields.wrong_at(violation),
        }
    }
    let wrong = fields.finish();
    if wrong.is_empty() { Ok(Call { mails, key, is_versioned }) } else { Err(wrong) }
}

fn sender(fields: &mut Fields) -> Option<Mailbox> {
    reading::needed(fields, "sender", LOWER)
}

fn own(fields: &mut Fields) -> Own {
    let (headers, theirs) = reading::headers(fields, "headers", is_theirs);
    Own {
        to: reading::many(fields, "to", LOWER),
        cc: reading::many(fields, "cc", LOWER),
        bcc: reading::many(fields, "bcc", LOWER),
        reply_to: reading::one(fields, "replyTo", LOWER).into_iter().collect(),
        subject: reading::subject(fields, "subject"),
        text: fields.text("textContent").filter(|text| !text.is_empty()),
        html: fields.text("htmlContent").filter(|html| !html.is_empty()),
        headers,
        theirs,
        template: reading::template(fields, "templateId"),
        params: variables::take(fields, "params"),
    }
}

/// Header fields that are not for the mail: addresses of theirs, the sandbox, the caller's own data.
fn is_theirs(name: &str) -> bool {
    matches!(
        name,
        "sender.ip"
            | "x-sib-sandbox"
            | "x-mailin-custom"
            | "x-mailin-tag"
            | "idempotencykey"
            | "idempotency-key"
    )
}

fn options(fields: &mut Fields, common: &Own) -> Options {
    let mut options = Options {
        tags: reading::tags(fields, "tags"),
        send_at: fields.moment("scheduledAt"),
        ..Options::default()
    };
    for (name, value) in &common.theirs {
        match name.to_ascii_lowercase().as_str() {
            "x-sib-sandbox" if value.eq_ignore_ascii_case("drop") => options.sending = Sending::Sandbox,
            "x-mailin-custom" => {
                let key = "X-Mailin-custom".to_owned();
                reading::note(fields, "headers", &mut options.metadata, key, value.clone());
            }
            "x-mailin-tag" if !options.tags.contains(value) => options.tags.push(value.clone()),
            _ => {}
        }
    }
    options
}

fn versions(fields: &mut Fields) -> Option<Vec<Own>> {
    let list = fields.list("messageVersions", MAX_VERSIONS)?;
    let mut versions = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        match Fields::of(value, &format!("/messageVersions/{index}")) {
            Ok(mut object) => {
                versions.push(own(&mut object));
                object.rest();
                fields.absorb(object);
            }
            Err(violation) => fields.wrong_at(violation),
        }
    }
    Some(versions).filter(|versions| !versions.is_empty())
}

impl Own {
    /// This version, with what all have in common where it says nothing itself.
    fn over(self, common: &Own) -> Own {
        let or_common =
            |own: Vec<Mailbox>, common: &Vec<Mailbox>| if own.is_empty() { common.clone() } else { own };
        let has_headers = self.headers != CustomHeaders::default();
        Own {
            to: or_common(self.to, &common.to),
            cc: or_common(self.cc, &common.cc),
            bcc: or_common(self.bcc, &common.bcc),
            reply_to: or_common(self.reply_to, &common.reply_to),
            subject: self.subject.or_else(|| common.subject.clone()),
            text: self.text.or_else(|| common.text.clone()),
            html: self.html.or_else(|| common.html.clone()),
            headers: if has_headers { self.headers } else { common.headers.clone() },
            theirs: BTreeMap::new(),
            template: self.template.or_else(|| common.template.clone()),
            // A version's own win over the common ones of the same name.
            params: match (common.params.clone(), self.params) {
                (Some(common), Some(own)) => Some(common.into_iter().chain(own).collect()),
                (common, own) => own.or(common),
            },
        }
    }

    fn parts(&self) -> Result<Parts, Violation> {
        let mut parts = Parts { headers: self.headers.clone(), ..Parts::default() };
        if let Some(name) = &self.template {
            // A template has the parameters by their names, and as it had them there.
            let mut variables = self.params.clone().unwrap_or_default();
            variables.insert("params".to_owned(), Value::Object(self.params.clone().unwrap_or_default()));
            parts.rendering = Some(reading::of_template(name.clone(), variables, Gaps::Empty));
            return Ok(parts);
        }
        parts.subject = self.subject.clone().ok_or_else(|| missing("/subject"))?;
        (parts.text, parts.html) = (self.text.clone(), self.html.clone());
        if parts.text.is_none() && parts.html.is_none() {
            return Err(missing("/htmlContent"));
        }
        if let Some(params) = &self.params {
            let variables = Map::from_iter([("params".to_owned(), Value::Object(params.clone()))]);
            reading::translate(&mut parts, |text| dialect::twig(text, Twig::Brevo), variables)?;
        }
        Ok(parts)
    }

    fn submission(self, from: Option<Mailbox>, parts: Parts, options: Options) -> Submission {
        let recipients = Recipients { to: self.to, cc: self.cc, bcc: self.bcc, ..Recipients::default() };
        Submission { from, reply_to: self.reply_to, recipients, content: Content::Parts(parts), options }
    }
}

fn missing(pointer: &str) -> Violation {
    Violation::new(pointer, "required", "it is needed")
}
