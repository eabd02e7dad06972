//! From a form to a submission. With `recipient-variables` each recipient in `to` gets a mail of his own, in which
//! `%recipient.key%` and its like are replaced: in the subject, the bodies, and the values of `h:` and `v:`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::id::MAX_DELIVERIES;
use crate::domain::submission::{
    Content, MAX_METADATA, Options, Parts, Personal, Recipients, Rendering, Submission, Words,
    is_metadata_key, is_metadata_value,
};
use crate::domain::template::{Selection, TemplateName};
use crate::http::compat::parts;
use crate::mail::headers::CustomHeaders;
use crate::mail::mailbox::parse_list;
use crate::mail::{Attachment, Mailbox};
use crate::render::Gaps;
use crate::render::limits::MAX_VARIABLES;
use crate::render::tokens::Tokens;
use crate::submission::Violation;

use super::form::Form;
use super::options::options;

/// Placeholders that only Mailgun can fill in: a mail that has them would go out with a link that leads nowhere.
const FOREIGN: [&str; 5] = [
    "%unsubscribe_url%",
    "%tag_unsubscribe_url%",
    "%unsubscribe_email%",
    "%tag_unsubscribe_email%",
    "%mailing_list_unsubscribe_url%",
];

/// Reads `/messages`.
pub fn of_parts(form: &Form) -> Result<Submission, Vec<Violation>> {
    let mut wrong = Vec::new();
    let from = from(form, &mut wrong);
    let mut options = options(form, &mut wrong);
    let own = recipient_variables(form, &mut wrong);
    let variables = template_variables(form, &mut wrong);
    let (headers, reply_to) = headers(form, &mut wrong);
    options.metadata = metadata(form, &mut wrong);
    let template = template(form, &mut wrong);
    let recipients = recipients(form, own.as_ref(), (&template, &variables, &options), &mut wrong);
    let (text, html) = (body(form, "text", &mut wrong), body(form, "html", &mut wrong));
    if text.is_none() && html.is_none() && template.is_none() && form.files("attachment").next().is_none() {
        let message = "Need at least one of 'text', 'html' or 'template' parameters specified";
        wrong.push(Violation::new("/text", "missing", message));
    }
    let rendering = match (template, own.is_some()) {
        (Some(name), _) => {
            let selection = Selection { name, version: version(form, &mut wrong), locale: None };
            // What a template shows and is not given is empty there.
            Some(Rendering { of: Words::Template(selection), variables, gaps: Gaps::Empty })
        }
        (None, true) => Some(Rendering { of: Words::Tokens, ..Rendering::default() }),
        (None, false) => None,
    };
    let is_template = form.one("template").is_some();
    let parts = Parts {
        subject: form.one("subject").filter(|_| !is_template).unwrap_or_default().to_owned(),
        text: text.filter(|_| !is_template),
        html: html.filter(|_| !is_template),
        headers,
        attachments: files(form, &mut wrong),
        rendering: rendering.map(Box::new),
    };
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(Submission { from, reply_to, recipients, content: Content::Parts(parts), options })
}

/// Reads `/messages.mime`. A message without a Message-ID gets one at `domain`.
pub fn of_mime(form: &Form, domain: &str) -> Result<Submission, Vec<Violation>> {
    let mut wrong = Vec::new();
    let mut options = options(form, &mut wrong);
    options.metadata = metadata(form, &mut wrong);
    let to = mailboxes(form, "to", &mut wrong);
    if to.is_empty() && wrong.is_empty() {
        wrong.push(Violation::new("/to", "required", "to parameter is missing"));
    }
    if form.one("recipient-variables").is_some_and(|given| given.trim() != "{}") {
        let message = "'recipient-variables' parameter is not supported with a MIME message here";
        wrong.push(Violation::new("/recipient-variables", "not_supported", message));
    }
    let file = form.files("message").next().map(|file| file.content.clone());
    let raw = file.or_else(|| form.one("message").map(|text| text.to_owned().into()));
    if raw.is_none() {
        wrong.push(Violation::new("/message", "missing", "message parameter is missing"));
    }
    let Some(raw) = raw.filter(|_| wrong.is_empty()) else { return Err(wrong) };
    let recipients = Recipients { to, ..Recipients::default() };
    let from = Mailbox::parse(&format!("postmaster@{domain}")).ok();
    Ok(Submission { from, reply_to: Vec::new(), recipients, content: Content::Raw(raw), options })
}

fn from(form: &Form, wrong: &mut Vec<Violation>) -> Option<Mailbox> {
    let Some(text) = form.one("from") else {
        wrong.push(Violation::new("/from", "required", "from parameter is missing"));
        return None;
    };
    let from = Mailbox::parse(text.trim());
    if let Err(error) = &from {
        wrong.push(Violation::new("/from", "invalid_address", error.to_string()));
    }
    from.ok()
}

fn mailboxes(form: &Form, name: &str, wrong: &mut Vec<Violation>) -> Vec<Mailbox> {
    let mut all = Vec::new();
    for text in form.all(name).filter(|text| !text.trim().is_empty()) {
        match parse_list(text) {
            Ok(list) => all.extend(list),
            Err(error) => {
                wrong.push(Violation::new(format!("/{name}"), "invalid_address", error.to_string()));
            }
        }
    }
    all
}

/// Per address, what is put in place of what.
type Own = BTreeMap<String, Map<String, Value>>;

fn recipient_variables(form: &Form, wrong: &mut Vec<Violation>) -> Option<Own> {
    let text = form.one("recipient-variables")?;
    let Ok(Value::Object(given)) = serde_json::from_str::<Value>(text) else {
        let message = "'recipient-variables' parameter is not a valid JSON object";
        wrong.push(Violation::new("/recipient-variables", "invalid_json", message));
        return None;
    };
    let own = given.into_iter().filter_map(|(address, values)| {
        let key = Mailbox::parse(&address).map_or(address, |mailbox| mailbox.address.key());
        let Value::Object(values) = values else { return None };
        Some((key, values))
    });
    Some(own.collect())
}

/// The tokens of a recipient (documentation.mailgun.com/docs/mailgun/user-manual/sending-messages/batch-sending).
fn tokens(to: &Mailbox, values: Option<&Map<String, Value>>) -> Map<String, Value> {
    let name = to.name.clone().unwrap_or_default();
    let (first, last) = name.split_once(' ').unwrap_or((&name, ""));
    let mut tokens = Map::new();
    for (token, value) in [
        ("%recipient%", to.to_string()),
        ("%recipient_email%", to.address.as_str().to_owned()),
        ("%recipient_name%", name.clone()),
        ("%recipient_fname%", first.to_owned()),
        ("%recipient_lname%", last.to_owned()),
    ] {
        tokens.insert(token.to_owned(), value.into());
    }
    for (key, value) in values.into_iter().flatten() {
        tokens.insert(format!("%recipient.{key}%"), value.clone());
    }
    tokens
}

fn recipients(
    form: &Form,
    own: Option<&Own>,
    (template, variables, options): (&Option<TemplateName>, &Map<String, Value>, &Options),
    wrong: &mut Vec<Violation>,
) -> Recipients {
    let to = mailboxes(form, "to", wrong);
    let (cc, bcc) = (mailboxes(form, "cc", wrong), mailboxes(form, "bcc", wrong));
    if to.is_empty() && !wrong.iter().any(|violation| violation.pointer == "/to") {
        wrong.push(Violation::new("/to", "required", "to parameter is missing"));
    }
    if to.len() + cc.len() + bcc.len() > MAX_DELIVERIES {
        let message = "too many recipients: at most 1000 are allowed";
        wrong.push(Violation::new("/to", "too_many_recipients", message));
        return Recipients::default();
    }
    let Some(own) = own else { return Recipients { to, cc, bcc, ..Recipients::default() } };
    let mut seen = std::collections::HashSet::new();
    let to = to.into_iter().filter(|mailbox| seen.insert(mailbox.address.key()));
    let personal = to.map(|to| {
        let given = tokens(&to, own.get(&to.address.key()));
        let fill = Tokens::new(&given);
        let metadata = options.metadata.iter();
        let metadata = metadata.filter_map(|(key, value)| match fill.fill(value) {
            std::borrow::Cow::Owned(value) => Some((key.clone(), value)),
            std::borrow::Cow::Borrowed(_) => None,
        });
        let metadata = metadata.collect();
        let variables = if template.is_some() { filled(variables, &fill) } else { given };
        Personal { to, cc: cc.clone(), bcc: bcc.clone(), variables, metadata }
    });
    Recipients { personal: personal.collect(), ..Recipients::default() }
}

/// Variables of a template with a recipient's values in their texts.
fn filled(variables: &Map<String, Value>, fill: &Tokens) -> Map<String, Value> {
    variables.iter().map(|(name, value)| (name.clone(), filled_value(value, fill))).collect()
}

fn filled_value(value: &Value, fill: &Tokens) -> Value {
    match value {
        Value::String(text) => Value::String(fill.fill(text).into_owned()),
        Value::Array(list) => list.iter().map(|value| filled_value(value, fill)).collect(),
        Value::Object(members) => Value::Object(filled(members, fill)),
        other => other.clone(),
    }
}

/// What templates show: `v:*`, over them the header `X-Mailgun-Variables`, over it `t:variables`.
fn template_variables(form: &Form, wrong: &mut Vec<Violation>) -> Map<String, Value> {
    let mut variables: Map<String, Value> =
        form.below("v:").map(|(name, value)| (name.to_owned(), json_or_text(value))).collect();
    for name in ["h:X-Mailgun-Variables", "t:variables"] {
        let Some(text) = form.one(name) else { continue };
        match serde_json::from_str(text) {
            Ok(Value::Object(given)) => variables.extend(given),
            _ => {
                let message = format!("'{name}' parameter is not a valid JSON object");
                wrong.push(Violation::new(format!("/{name}"), "invalid_json", message));
            }
        }
    }
    if Value::Object(variables.clone()).to_string().len() > MAX_VARIABLES {
        wrong.push(Violation::new("/t:variables", "too_large", "the variables are too large"));
    }
    variables
}

fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text)
        .ok()
        .filter(|value: &Value| value.is_object() || value.is_array())
        .unwrap_or(text.into())
}

fn template(form: &Form, wrong: &mut Vec<Violation>) -> Option<TemplateName> {
    let text = form.one("template")?;
    let name = parts::template_name(text);
    if name.is_none() {
        wrong.push(Violation::new("/template", "unknown_template", "template not found"));
    }
    name
}

/// Versions have tags there and numbers here; `initial`, the tag of the first one, is no choice.
fn version(form: &Form, wrong: &mut Vec<Violation>) -> Option<i32> {
    let tag = form.one("t:version").filter(|tag| *tag != "initial")?;
    let number = tag.trim_start_matches('v').parse().ok().filter(|number| *number > 0);
    if number.is_none() {
        wrong.push(Violation::new("/t:version", "unknown_version", "template version not found"));
    }
    number
}

fn metadata(form: &Form, wrong: &mut Vec<Violation>) -> BTreeMap<String, String> {
    let all: BTreeMap<String, String> =
        form.below("v:").map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let bad = all.iter().find(|(name, value)| !is_metadata_key(name) || !is_metadata_value(value));
    if let Some((name, _)) = bad {
        let message = format!("'v:{name}' parameter is too long");
        wrong.push(Violation::new(format!("/v:{name}"), "too_long", message));
    }
    if all.len() > MAX_METADATA {
        let message = format!("at most {MAX_METADATA} parameters 'v:' are allowed");
        wrong.push(Violation::new("/v:", "too_many", message));
    }
    all
}

fn headers(form: &Form, wrong: &mut Vec<Violation>) -> (CustomHeaders, Vec<Mailbox>) {
    let mut reply_to = Vec::new();
    let mut given: Vec<(String, String)> = Vec::new();
    for (name, value) in form.below("h:") {
        if name.eq_ignore_ascii_case("Reply-To") {
            match parse_list(value) {
                Ok(list) => reply_to = list,
                Err(error) => {
                    wrong.push(Violation::new("/h:Reply-To", "invalid_address", error.to_string()));
                }
            }
        } else if name.eq_ignore_ascii_case("List-Unsubscribe") {
            let kept = without_foreign(value);
            if !kept.is_empty() {
                given.push((name.to_owned(), kept));
            }
        } else if !name.eq_ignore_ascii_case("X-Mailgun-Variables") {
            given.push((name.to_owned(), value.to_owned()));
        }
    }
    let checked = CustomHeaders::check(given.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let headers = checked.unwrap_or_else(|errors| {
        for (index, error) in errors {
            let pointer = format!("/h:{}", given[index].0);
            wrong.push(Violation::new(pointer, "invalid_header", error.to_string()));
        }
        CustomHeaders::default()
    });
    (headers, reply_to)
}

/// A list of places to unsubscribe at, without those that only Mailgun knows.
fn without_foreign(value: &str) -> String {
    let kept = value.split(',').map(str::trim).filter(|place| !FOREIGN.iter().any(|it| place.contains(it)));
    kept.collect::<Vec<_>>().join(", ")
}

fn body(form: &Form, name: &str, wrong: &mut Vec<Violation>) -> Option<String> {
    let text = form.one(name)?;
    if let Some(foreign) = FOREIGN.iter().find(|foreign| text.contains(**foreign)) {
        let message =
            format!("{foreign} is not supported here; put a link of your own in the '{name}' parameter");
        wrong.push(Violation::new(format!("/{name}"), "not_supported", message));
    }
    Some(text.to_owned())
}

/// Files, and inline ones by their names.
fn files(form: &Form, wrong: &mut Vec<Violation>) -> Vec<Attachment> {
    let mut files = Vec::new();
    for (field, inline) in [("attachment", false), ("inline", true)] {
        for file in form.files(field) {
            let name = if file.name.trim().is_empty() { "attachment" } else { &file.name };
            let id = inline.then_some(name);
            match parts::attach(name, file.kind.as_deref(), id, file.content.clone()) {
                Ok(file) => files.push(file),
                Err(error) => {
                    wrong.push(Violation::new(format!("/{field}"), "invalid_attachment", error.to_string()));
                }
            }
        }
    }
    files
}
