//! From the JSON of `/v3/mail/send` to submissions: one for each personalization, or one for all, where they differ only
//! in what is filled in. Everything that is wrong is named, in SendGrid's words where clients know them.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::domain::handling::{Handling, Tracking, WatchedLinks};
use crate::domain::submission::{
    Content, Options, Parts, Personal, Recipients, Rendering, Sending, Submission, Words,
};
use crate::domain::template::{Selection, TemplateName};
use crate::http::api::variables;
use crate::http::compat::parts;
use crate::http::fields::Fields;
use crate::mail::headers::CustomHeaders;
use crate::mail::{Attachment, Mailbox};
use crate::render::tokens::Tokens;
use crate::render::{Gaps, Rendered};
use crate::submission::Violation;

use super::read::{
    MAX_RECIPIENTS, attachments, categories, content, custom_args, from, headers, mailbox, mailboxes,
    reply_to, send_at, stream, subject,
};

const NO_PERSONALIZATION: &str =
    "The personalizations field is required and must have at least one personalization.";
const NO_TO: &str = "The to array is required for all personalization objects, and must have at least one email object \
    with a valid email address.";
const NO_SUBJECT: &str = "The subject is required. You can get around this requirement if you use a template with a \
    subject defined or if every personalization has a subject defined.";
/// What all personalizations have in common.
struct Common {
    from: Option<Mailbox>,
    reply_to: Vec<Mailbox>,
    subject: Option<String>,
    text: Option<String>,
    html: Option<String>,
    attachments: Vec<Attachment>,
    template: Option<TemplateName>,
    headers: BTreeMap<String, String>,
    custom_args: BTreeMap<String, String>,
    sections: Map<String, Value>,
    options: Options,
}

/// One personalization.
#[derive(Default)]
struct Own {
    from: Option<Mailbox>,
    to: Vec<Mailbox>,
    cc: Vec<Mailbox>,
    bcc: Vec<Mailbox>,
    subject: Option<String>,
    headers: BTreeMap<String, String>,
    custom_args: BTreeMap<String, String>,
    substitutions: Map<String, Value>,
    variables: Map<String, Value>,
    send_at: Option<OffsetDateTime>,
}

/// Reads a request.
pub fn submissions(value: Value) -> Result<Vec<Submission>, Vec<Violation>> {
    let mut fields = Fields::of(value, "").map_err(|violation| vec![violation])?;
    let mut common = common(&mut fields);
    let own = personalizations(&mut fields, &common);
    settings(&mut fields, &mut common);
    let is_template = common.template.is_some() || fields.is_wrong("template_id");
    let has_subject = |own: &Own| own.subject.is_some() || common.subject.is_some();
    if !is_template && !own.is_empty() && !own.iter().all(has_subject) && !fields.is_wrong("subject") {
        fields.wrong("subject", "required", NO_SUBJECT);
    }
    for name in fields.rest().keys() {
        fields.wrong(name, "unknown_field", format!("Additional property {name} is not allowed"));
    }
    let wrong = fields.finish();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    if let Some(one) = together(&common, &own) {
        return one.map(|one| vec![one]);
    }
    own.into_iter().map(|own| alone(&common, own)).collect()
}

fn common(fields: &mut Fields) -> Common {
    let from = from(fields);
    let reply_to = reply_to(fields);
    let template = fields.text("template_id").and_then(|id| {
        let name = parts::template_name(&id);
        if name.is_none() {
            fields.wrong("template_id", "unknown_template", "The template_id must be a valid template ID.");
        }
        name
    });
    let (text, html) = content(fields, template.is_some());
    let options = Options {
        tags: categories(fields),
        send_at: send_at(fields),
        stream: stream(fields).unwrap_or(Options::default().stream),
        ..Options::default()
    };
    // Accepted and without effect: there are no pools here.
    fields.text("ip_pool_name");
    if fields.text("batch_id").is_some() {
        fields.wrong(
            "batch_id",
            "not_supported",
            "The batch_id is not valid: scheduled sends are canceled one by one.",
        );
    }
    Common {
        from,
        reply_to,
        subject: subject(fields),
        text,
        html,
        attachments: attachments(fields),
        template,
        headers: headers(fields),
        custom_args: custom_args(fields),
        sections: fields.object("sections").map(|mut object| object.rest()).unwrap_or_default(),
        options,
    }
}

fn personalizations(fields: &mut Fields, common: &Common) -> Vec<Own> {
    let list = fields.list("personalizations", MAX_RECIPIENTS).unwrap_or_default();
    if list.is_empty() {
        if !fields.is_wrong("personalizations") {
            fields.wrong("personalizations", "required", NO_PERSONALIZATION);
        }
        return Vec::new();
    }
    let mut all = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        match Fields::of(value, &format!("/personalizations/{index}")) {
            Ok(mut object) => {
                all.push(personalization(&mut object, common));
                fields.absorb(object);
            }
            Err(violation) => fields.wrong_at(violation),
        }
    }
    let count: usize = all.iter().map(|own| own.to.len() + own.cc.len() + own.bcc.len()).sum();
    if count > MAX_RECIPIENTS {
        let message = "The total number of recipients must be no more than 1000.";
        fields.wrong("personalizations", "too_many_recipients", message);
    }
    for (index, own) in all.iter().enumerate() {
        if let Some((name, twice)) = first_twice(own) {
            let message = format!(
                "Each email address in the personalization block should be unique between to, cc, and bcc. We found the \
                 first duplicate instance of [{twice}] in the personalizations.{index}.{name} field."
            );
            fields.wrong("personalizations", "duplicate", message);
        }
    }
    all
}

fn first_twice(own: &Own) -> Option<(&'static str, &str)> {
    let mut seen = HashSet::new();
    let lists = [("to", &own.to), ("cc", &own.cc), ("bcc", &own.bcc)];
    let mut all = lists.into_iter().flat_map(|(name, list)| list.iter().map(move |mailbox| (name, mailbox)));
    all.find(|(_, mailbox)| !seen.insert(mailbox.address.key()))
        .map(|(name, mailbox)| (name, mailbox.address.as_str()))
}

fn personalization(object: &mut Fields, common: &Common) -> Own {
    let pointer = object.pointer("from");
    let from = object.take("from").and_then(|value| mailbox(object, value, &pointer));
    let to = mailboxes(object, "to");
    if to.is_empty() && !object.is_wrong("to") {
        object.wrong("to", "required", NO_TO);
    }
    let own = Own {
        from,
        to,
        cc: mailboxes(object, "cc"),
        bcc: mailboxes(object, "bcc"),
        subject: subject(object),
        headers: headers(object),
        custom_args: custom_args(object),
        substitutions: variables::take(object, "substitutions").unwrap_or_default(),
        variables: variables::take(object, "dynamic_template_data").unwrap_or_default(),
        send_at: send_at(object),
    };
    if common.template.is_some() && !own.substitutions.is_empty() {
        let message = "Substitutions may not be used with dynamic templating";
        object.wrong("substitutions", "conflict", message);
    }
    own
}

fn settings(fields: &mut Fields, common: &mut Common) {
    if let Some(mut object) = fields.object("mail_settings") {
        let on = enabled(&mut object, "sandbox_mode");
        if on.is_some() {
            common.options.sending = Sending::Sandbox;
        }
        if let Some(mut footer) = enabled(&mut object, "footer") {
            add_footer(common, footer.text("text"), footer.text("html"));
        }
        for name in [
            "bypass_list_management",
            "bypass_spam_management",
            "bypass_bounce_management",
            "bypass_unsubscribe_management",
            "bcc",
            "spam_check",
        ] {
            if enabled(&mut object, name).is_some() {
                let message = format!("The mail_settings.{name} setting is not supported here.");
                object.wrong(name, "not_supported", message);
            }
        }
        fields.absorb(object);
    }
    let (mut tracking, mut watched_links) = (Tracking::default(), WatchedLinks::default());
    if let Some(mut object) = fields.object("tracking_settings") {
        if let Some(mut clicks) = enabled(&mut object, "click_tracking") {
            tracking.clicks = true;
            if clicks.flag("enable_text") == Some(true) {
                watched_links = WatchedLinks::HtmlAndText;
            }
        }
        tracking.opens = enabled(&mut object, "open_tracking").is_some();
        for name in ["subscription_tracking", "ganalytics"] {
            if enabled(&mut object, name).is_some() {
                let message = format!("The tracking_settings.{name} setting is not supported here.");
                object.wrong(name, "not_supported", message);
            }
        }
        fields.absorb(object);
    }
    common.options.handling = Handling { tracking, watched_links, ..Handling::default() };
}

/// A setting that is switched on.
fn enabled(object: &mut Fields, name: &str) -> Option<Fields> {
    let mut setting = object.object(name)?;
    let is_on = setting.flag("enable") == Some(true);
    let rest = setting.rest();
    object.absorb(setting);
    if is_on { Fields::of(Value::Object(rest), &object.pointer(name)).ok() } else { None }
}

fn add_footer(common: &mut Common, text: Option<String>, html: Option<String>) {
    if let (Some(body), Some(footer)) = (&mut common.text, text) {
        body.push_str("\n\n");
        body.push_str(&footer);
    }
    if let (Some(body), Some(footer)) = (&mut common.html, html) {
        let at = body.to_ascii_lowercase().rfind("</body>").unwrap_or(body.len());
        body.insert_str(at, &footer);
    }
}

/// One submission for all, if they differ only in their addressee, in what is filled in and in their data.
fn together(common: &Common, all: &[Own]) -> Option<Result<Submission, Vec<Violation>>> {
    let is_plain = |own: &Own| {
        own.to.len() == 1
            && own.from.is_none()
            && own.subject.is_none()
            && own.headers.is_empty()
            && own.send_at.is_none()
    };
    if all.len() < 2 || !all.iter().all(is_plain) {
        return None;
    }
    let has_tokens = all.iter().any(|own| !own.substitutions.is_empty());
    let personal = all.iter().filter_map(|own| {
        Some(Personal {
            to: own.to.first()?.clone(),
            cc: own.cc.clone(),
            bcc: own.bcc.clone(),
            variables: if has_tokens { tokens(common, own) } else { own.variables.clone() },
            metadata: own.custom_args.clone(),
        })
    });
    let recipients = Recipients { personal: personal.collect(), ..Recipients::default() };
    let rendering = match &common.template {
        Some(name) => Some(template(name, Map::new())),
        None => has_tokens.then(|| Rendering { of: Words::Tokens, ..Rendering::default() }),
    };
    let contents = Rendered {
        subject: common.subject.clone().unwrap_or_default(),
        text: common.text.clone(),
        html: common.html.clone(),
        amp: None,
    };
    Some(submission(common, Own::default(), recipients, contents, rendering))
}

/// A personalization's own mail, which all its recipients share.
fn alone(common: &Common, mut own: Own) -> Result<Submission, Vec<Violation>> {
    let recipients = Recipients {
        to: std::mem::take(&mut own.to),
        cc: std::mem::take(&mut own.cc),
        bcc: std::mem::take(&mut own.bcc),
        ..Recipients::default()
    };
    let tokens = Tokens::new(&tokens(common, &own));
    let contents = Rendered {
        subject: own.subject.clone().or_else(|| common.subject.clone()).unwrap_or_default(),
        text: common.text.clone(),
        html: common.html.clone(),
        amp: None,
    };
    let contents = tokens.fill_all(&contents);
    let rendering = common.template.as_ref().map(|name| template(name, std::mem::take(&mut own.variables)));
    submission(common, own, recipients, contents, rendering)
}

/// The substitutions, with the sections they name in their place.
fn tokens(common: &Common, own: &Own) -> Map<String, Value> {
    let sections = Tokens::new(&common.sections);
    let value = |value: &Value| match value {
        Value::String(text) => Value::String(sections.fill(text).into_owned()),
        other => other.clone(),
    };
    own.substitutions.iter().map(|(token, text)| (token.clone(), value(text))).collect()
}

fn template(name: &TemplateName, variables: Map<String, Value>) -> Rendering {
    let selection = Selection { name: name.clone(), version: None, locale: None };
    // What a template shows and is not given is empty there.
    Rendering { of: Words::Template(selection), variables, gaps: Gaps::Empty }
}

fn submission(
    common: &Common,
    own: Own,
    recipients: Recipients,
    contents: Rendered,
    rendering: Option<Rendering>,
) -> Result<Submission, Vec<Violation>> {
    let mut headers = common.headers.clone();
    headers.extend(own.headers);
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let headers = CustomHeaders::check(pairs).map_err(|errors| {
        let told = errors
            .into_iter()
            .map(|(_, error)| Violation::new("/headers", "invalid_header", error.to_string()));
        told.collect::<Vec<_>>()
    })?;
    let mut options = common.options.clone();
    options.metadata = common.custom_args.clone();
    options.metadata.extend(own.custom_args);
    options.send_at = own.send_at.or(options.send_at);
    let is_template = common.template.is_some();
    let parts = Parts {
        // A dynamic template has its own.
        subject: if is_template { String::new() } else { contents.subject },
        text: contents.text.filter(|_| !is_template),
        html: contents.html.filter(|_| !is_template),
        headers,
        attachments: common.attachments.clone(),
        rendering: rendering.map(Box::new),
    };
    Ok(Submission {
        from: own.from.or_else(|| common.from.clone()),
        reply_to: common.reply_to.clone(),
        recipients,
        content: Content::Parts(parts),
        options,
    })
}
