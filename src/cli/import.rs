//! Moving house: what other providers' exports hold, read for `postroad import`. Their lists come as CSV, which the API
//! reads by itself, or as the JSON that their APIs answer; templates come as JSON. Nothing is sent from here.
//!
//! Objects are known by their members, wherever they stand: an address makes a suppression, sources make a template.

use postroad::domain::suppression::Reason;
use postroad::domain::template::Alias;
use serde_json::{Map, Value, json};

/// What a file holds.
#[derive(Debug, Default, PartialEq)]
pub struct Dump {
    /// Lines of `email,reason,created_at`, as the API imports them.
    pub suppressions: Vec<[String; 3]>,
    /// Bodies for `POST /v1/templates`.
    pub templates: Vec<Value>,
    /// Templates without sources: lists often leave them out.
    pub hollow: usize,
}

/// Where addresses stand.
const ADDRESSES: [&str; 5] = ["email", "address", "EmailAddress", "recipient", "Email"];
/// What tells why.
const REASONS: [&str; 7] = ["SuppressionReason", "Reason", "reason", "type", "source", "origin", "status"];
const TIMES: [&str; 7] =
    ["created", "created_at", "createdAt", "CreatedAt", "LastUpdateTime", "blockedAt", "updated"];
const HTML: [&str; 6] = ["html_content", "HtmlBody", "htmlContent", "html", "Html", "template"];
const TEXT: [&str; 5] = ["plain_content", "TextBody", "textContent", "text", "Text"];
const SUBJECT: [&str; 3] = ["subject", "Subject", "SubjectPart"];
/// By which a template is known in code, the most particular first.
const NAMES: [&str; 6] = ["alias", "Alias", "TemplateName", "id", "TemplateId", "name"];
const TITLES: [&str; 4] = ["name", "Name", "TemplateName", "description"];

/// Reads a JSON export. `usual` is the reason of addresses that do not tell it.
///
/// # Errors
/// It is no JSON.
pub fn read(json: &str, usual: Option<Reason>) -> Result<Dump, serde_json::Error> {
    let mut dump = Dump::default();
    walk(&serde_json::from_str(json)?, usual, &mut dump);
    Ok(dump)
}

fn walk(value: &Value, usual: Option<Reason>, dump: &mut Dump) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| walk(value, usual, dump)),
        Value::Object(members) => {
            if let Some(entry) = suppression(members, usual) {
                dump.suppressions.push(entry);
            } else if is_template(members) {
                match template(members) {
                    Some(template) => dump.templates.push(template),
                    None => dump.hollow += 1,
                }
            } else {
                members.values().for_each(|value| walk(value, usual, dump));
            }
        }
        _ => {}
    }
}

fn first<'a>(members: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names.iter().filter_map(|name| members.get(*name)).find(|value| !value.is_null())
}

fn text(members: &Map<String, Value>, names: &[&str]) -> Option<String> {
    match first(members, names)? {
        Value::String(text) => Some(text.clone()).filter(|text| !text.trim().is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn suppression(members: &Map<String, Value>, usual: Option<Reason>) -> Option<[String; 3]> {
    let own = text(members, &ADDRESSES).filter(|text| text.contains('@'));
    // MailerSend has an object for who it is.
    let email = own.or_else(|| text(members.get("recipient")?.as_object()?, &["email"]))?;
    let reason = reason(members).or(usual).unwrap_or(Reason::Manual);
    Some([email, reason.as_str().to_owned(), text(members, &TIMES).unwrap_or_default()])
}

fn reason(members: &Map<String, Value>) -> Option<Reason> {
    let has = |name: &str| members.contains_key(name);
    // What peers said may hold any word: these are bounces, complaints and unsubscribes by their form (SendGrid, Mailgun).
    if (has("status") && has("created")) || (has("code") && has("error")) {
        return Some(Reason::Bounce);
    }
    if has("ip") && has("created") {
        return Some(Reason::Complaint);
    }
    if has("tags") && has("address") {
        return Some(Reason::Unsubscribe);
    }
    let told: Vec<String> = REASONS
        .iter()
        .filter_map(|name| match members.get(*name)? {
            Value::String(text) => Some(text.to_lowercase()),
            // Brevo: {"code", "message"}.
            Value::Object(reason) => Some(reason.get("code")?.as_str()?.to_lowercase()),
            _ => None,
        })
        .collect();
    let says = |words: &[&str]| told.iter().any(|text| words.iter().any(|word| text.contains(word)));
    match () {
        () if says(&["spam", "complain", "abuse"]) => Some(Reason::Complaint),
        () if says(&["bounce", "invalid"]) => Some(Reason::Bounce),
        () if says(&["unsub"]) => Some(Reason::Unsubscribe),
        () if says(&["manual", "admin"]) && says(&["recipient"]) => Some(Reason::Unsubscribe),
        () if says(&["manual", "admin"]) => Some(Reason::Manual),
        () => None,
    }
}

/// A template has a name, and sources or a place for them.
fn is_template(members: &Map<String, Value>) -> bool {
    let places = ["versions", "version", "content", "TemplateContent", "TemplateType", "generation"];
    let has_source = first(members, &HTML).or(first(members, &TEXT)).is_some_and(Value::is_string);
    let has_place = places.iter().any(|place| members.contains_key(*place));
    first(members, &NAMES).is_some() && (has_source || has_place)
}

fn template(members: &Map<String, Value>) -> Option<Value> {
    let sources = sources(members)?;
    let names = NAMES.iter().filter_map(|name| text(members, &[*name]));
    let alias = names.filter_map(|name| Alias::like(&name)).next()?;
    let title = text(members, &TITLES).unwrap_or_default();
    let subject = text(sources, &SUBJECT).or_else(|| {
        let headers = sources.get("headers")?.as_object()?;
        text(headers, &SUBJECT)
    });
    let (html, plain) = (text(sources, &HTML), text(sources, &TEXT));
    if html.is_none() && plain.is_none() && subject.is_none() {
        return None;
    }
    Some(json!({
        "alias": alias.as_str(),
        "name": title.chars().filter(|c| !c.is_control()).take(200).collect::<String>(),
        "subject": subject,
        "html": html,
        "text": plain,
    }))
}

/// The object that has the sources: of several versions the active one, else the first.
fn sources(members: &Map<String, Value>) -> Option<&Map<String, Value>> {
    if let Some(versions) = members.get("versions").and_then(Value::as_array) {
        let is_active = |version: &&Value| {
            version.get("active").is_some_and(|active| active == &json!(1) || active == &json!(true))
        };
        return versions.iter().find(is_active).or(versions.first())?.as_object();
    }
    let inner = ["version", "content", "TemplateContent"].iter().filter_map(|name| members.get(*name));
    Some(inner.filter_map(Value::as_object).next().unwrap_or(members))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_providers_lists_are_read() {
        let cases = [
            (
                json!([{ "created": 1_795_514_400, "email": "a@x.example", "reason": "550 spam unsubscribe", "status": "5.1.1" }]),
                "bounce",
            ),
            (json!([{ "created": 1_795_514_400, "email": "a@x.example", "ip": "192.0.2.1" }]), "complaint"),
            (
                json!({ "items": [{ "address": "a@x.example", "code": "550", "error": "", "created_at": "" }] }),
                "bounce",
            ),
            (json!({ "items": [{ "address": "a@x.example", "tags": ["*"] }] }), "unsubscribe"),
            (
                json!({ "Suppressions": [{ "EmailAddress": "a@x.example", "SuppressionReason": "HardBounce" }] }),
                "bounce",
            ),
            (
                json!({ "SuppressedDestinationSummaries": [{ "EmailAddress": "a@x.example", "Reason": "COMPLAINT" }] }),
                "complaint",
            ),
            (
                json!({ "results": [{ "recipient": "a@x.example", "type": "transactional", "source": "List Unsubscribe" }] }),
                "unsubscribe",
            ),
            (
                json!({ "contacts": [{ "email": "a@x.example", "reason": { "code": "hardBounce" } }] }),
                "bounce",
            ),
            (
                json!({ "data": [{ "recipient": { "email": "a@x.example" }, "type": "spam_complaint" }] }),
                "complaint",
            ),
            (json!([{ "email": "a@x.example" }]), "unsubscribe"),
        ];
        for (export, reason) in cases {
            let dump = read(&export.to_string(), Some(Reason::Unsubscribe)).expect("JSON");
            let [email, found, _] = &dump.suppressions[0];
            assert_eq!(
                (email.as_str(), found.as_str(), dump.suppressions.len()),
                ("a@x.example", reason, 1),
                "{export}"
            );
        }
    }

    #[test]
    fn templates_keep_the_name_they_are_sent_by() {
        let cases = [
            (
                json!({ "result": [{ "id": "d-0A", "name": "Welcome", "generation": "dynamic", "versions": [
                    { "active": 0, "subject": "old", "html_content": "old" },
                    { "active": 1, "subject": "Hi", "html_content": "<p>", "plain_content": "" },
                ] }] }),
                json!({ "alias": "d-0a", "name": "Welcome", "subject": "Hi", "html": "<p>", "text": null }),
            ),
            (
                json!({ "TemplateId": 12, "Name": "Welcome", "Alias": "Wel.come", "Subject": "Hi", "HtmlBody": "<p>", "TextBody": "x" }),
                json!({ "alias": "wel-come", "name": "Welcome", "subject": "Hi", "html": "<p>", "text": "x" }),
            ),
            (
                json!({ "template": { "name": "welcome", "description": "W", "version": { "tag": "initial", "template": "<p>", "headers": { "Subject": "Hi" } } } }),
                json!({ "alias": "welcome", "name": "welcome", "subject": "Hi", "html": "<p>", "text": null }),
            ),
            (
                json!({ "TemplateName": "welcome", "TemplateContent": { "Subject": "Hi", "Html": "<p>" } }),
                json!({ "alias": "welcome", "name": "welcome", "subject": "Hi", "html": "<p>", "text": null }),
            ),
        ];
        for (export, template) in cases {
            let dump = read(&export.to_string(), None).expect("JSON");
            assert_eq!(dump.templates, [template], "{export}");
        }
        let hollow = json!({ "Templates": [{ "TemplateId": 1, "Name": "x", "Alias": null, "TemplateType": "Standard" }] });
        assert_eq!(read(&hollow.to_string(), None).expect("JSON").hollow, 1);
    }
}
