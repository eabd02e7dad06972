//! Moving house: what other providers' exports hold, read for `postroad import`. Their lists come as CSV, which the API
//! reads by itself, or as the JSON that their APIs answer; templates and domains come as JSON, keys of domains as JSON
//! or as PEM. Nothing is sent from here.
//!
//! Objects are known by their members, wherever they stand: an address makes a suppression, sources make a template, a
//! name with records or a state makes a domain, and a selector with a private key makes its key.

use postroad::domain::identity::DomainName;
use postroad::domain::suppression::Reason;
use postroad::domain::template::Alias;
use postroad::http::compat::stored;
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
    /// Templates that say what cannot be said here: the alias, and the tag.
    pub foreign: Vec<[String; 2]>,
    /// Names of domains.
    pub domains: Vec<String>,
    /// Keys of domains.
    pub keys: Vec<Key>,
}

/// A key that a domain's mail was signed with.
#[derive(PartialEq)]
pub struct Key {
    /// Whose.
    pub domain: String,
    /// Where its other half is published.
    pub selector: String,
    /// In PEM.
    pub private: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({}._domainkey.{})", self.selector, self.domain)
    }
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
/// Where the name of a domain stands.
const DOMAINS: [&str; 7] =
    ["domain", "domain_name", "signing_domain", "IdentityName", "Domain", "name", "Name"];
/// What an object has that is a domain, and nothing else.
const OF_A_DOMAIN: [&str; 14] = [
    "dkim",
    "dkim_key",
    "dkim_keys",
    "dns",
    "dns_records",
    "records",
    "DKIMVerified",
    "DKIMHost",
    "IdentityType",
    "DkimAttributes",
    "sending_dns_records",
    "spam_action",
    "selector",
    "is_verified",
];
const SELECTORS: [&str; 3] = ["selector", "Selector", "DomainSigningSelector"];
const PRIVATE_KEYS: [&str; 5] = ["private_key", "private", "privateKey", "pem", "DomainSigningPrivateKey"];

/// Reads a JSON export of a provider. `usual` is the reason of addresses that do not tell it.
///
/// # Errors
/// It is no JSON.
pub fn read(provider: &str, json: &str, usual: Option<Reason>) -> Result<Dump, serde_json::Error> {
    let mut reading = Reading { provider, usual, dump: Dump::default() };
    reading.walk(&serde_json::from_str(json)?, None);
    Ok(reading.dump)
}

/// A key in PEM, in a file that is called as the record of its other half is: `s1._domainkey.acme.example.pem`.
pub fn key_of_file(name: &str, pem: &str) -> Option<Key> {
    let name = [".pem", ".key", ".private"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let (selector, domain) = name.split_once("._domainkey.")?;
    let domain = DomainName::parse(domain).ok()?;
    Some(Key { domain: domain.as_str().to_owned(), selector: selector.to_owned(), private: pem.to_owned() })
}

/// An export while it is read.
struct Reading<'a> {
    provider: &'a str,
    usual: Option<Reason>,
    dump: Dump,
}

impl Reading<'_> {
    /// Looks at a value, which may be below a domain's.
    fn walk(&mut self, value: &Value, above: Option<&str>) {
        match value {
            Value::Array(list) => list.iter().for_each(|value| self.walk(value, above)),
            Value::Object(members) => {
                let dump = &mut self.dump;
                if let Some(entry) = suppression(members, self.usual) {
                    dump.suppressions.push(entry);
                } else if is_template(members) {
                    match template(members).map(|template| translated(self.provider, template)) {
                        Some(Ok(template)) => dump.templates.push(template),
                        Some(Err(foreign)) => dump.foreign.push(foreign),
                        None => dump.hollow += 1,
                    }
                } else {
                    let own = domain(members);
                    if let Some(name) = own.clone().filter(|name| !dump.domains.contains(name)) {
                        dump.domains.push(name);
                    }
                    let of = own.as_deref().or(above);
                    dump.keys.extend(of.and_then(|domain| key(members, domain)));
                    members.values().for_each(|value| self.walk(value, of));
                }
            }
            _ => {}
        }
    }
}

/// The name of a domain that an object is.
fn domain(members: &Map<String, Value>) -> Option<String> {
    let has = |names: &[&str]| names.iter().any(|name| members.contains_key(*name));
    if !has(&OF_A_DOMAIN) || members.get("IdentityType").is_some_and(|kind| kind != "DOMAIN") {
        return None;
    }
    let name = DomainName::parse(&text(members, &DOMAINS)?).ok()?;
    name.as_str().contains('.').then(|| name.as_str().to_owned())
}

/// The key that an object has; some write the inside of the PEM alone.
fn key(members: &Map<String, Value>, domain: &str) -> Option<Key> {
    let (selector, private) = (text(members, &SELECTORS)?, text(members, &PRIVATE_KEYS)?);
    let private = if private.contains("-----BEGIN") {
        private
    } else {
        // PKCS #1 begins with the version and then a long number, PKCS #8 with the version and the algorithm.
        let inside: String = private.split_whitespace().collect();
        let is_pkcs8 =
            inside.get(..12).is_some_and(|begin| begin.contains("IBADAN") || begin.starts_with("MC4CAQAw"));
        let label = if is_pkcs8 { "" } else { "RSA " };
        format!("-----BEGIN {label}PRIVATE KEY-----\n{inside}\n-----END {label}PRIVATE KEY-----\n")
    };
    Some(Key { domain: domain.to_owned(), selector, private })
}

/// A template in the language that templates have here; else its alias, and the tag that has no counterpart.
fn translated(provider: &str, mut template: Value) -> Result<Value, [String; 2]> {
    for part in ["subject", "html", "text"] {
        if let Some(source) = template[part].as_str() {
            let alias = || template["alias"].as_str().unwrap_or_default().to_owned();
            let source = stored::of(provider, source).map_err(|tag| [alias(), tag])?;
            template[part] = source.into();
        }
    }
    Ok(template)
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
            let dump = read("x", &export.to_string(), Some(Reason::Unsubscribe)).expect("JSON");
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
            let dump = read("x", &export.to_string(), None).expect("JSON");
            assert_eq!(dump.templates, [template], "{export}");
        }
        let hollow = json!({ "Templates": [{ "TemplateId": 1, "Name": "x", "Alias": null, "TemplateType": "Standard" }] });
        assert_eq!(read("x", &hollow.to_string(), None).expect("JSON").hollow, 1);
    }

    #[test]
    fn templates_come_in_the_language_they_are_rendered_in_here() {
        let one = |html: &str| json!({ "id": 7, "name": "Welcome", "htmlContent": html }).to_string();
        let dump = read("brevo", &one("Hi {{ params.name }}"), None).expect("JSON");
        assert_eq!(dump.templates[0]["html"], "Hi {{default params.name \"\"}}");
        let dump = read("sendgrid", &one("{{#equals a b}}x{{/equals}}"), None).expect("JSON");
        assert_eq!(dump.templates[0]["html"], "{{#if (eq a b)}}x{{/if}}");
        let dump = read("brevo", &one("{% macro x %}"), None).expect("JSON");
        assert_eq!(dump.foreign, [["7".to_owned(), "{% macro x %}".to_owned()]]);
    }

    #[test]
    fn domains_and_their_keys_are_found() {
        let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n";
        let cases = [
            // SparkPost, SMTP.com, Mailgun, Amazon, Postmark, SendGrid, Resend.
            (
                json!({ "results": { "domain": "acme.example", "dkim": { "selector": "s1", "private": "MIIB", "public": "x" } } }),
                Some("RSA PRIVATE"),
            ),
            (
                json!({ "domain_name": "acme.example", "dkim_key": { "selector": "s1", "private_key": pem } }),
                Some("RSA PRIVATE"),
            ),
            (
                json!({ "items": [{ "signing_domain": "acme.example", "selector": "s1", "pem": "MIIEvQIBADANBgkq" }] }),
                Some("BEGIN PRIVATE"),
            ),
            (
                json!({ "EmailIdentities": [{ "IdentityType": "DOMAIN", "IdentityName": "acme.example" }] }),
                None,
            ),
            (json!({ "Domains": [{ "Name": "acme.example", "ID": 1, "DKIMVerified": true }] }), None),
            (json!([{ "domain": "acme.example", "id": 1, "dns": {} }]), None),
            (json!({ "object": "domain", "name": "acme.example", "records": [] }), None),
        ];
        for (export, label) in cases {
            let dump = read("x", &export.to_string(), None).expect("JSON");
            assert_eq!(dump.domains, ["acme.example"], "{export}");
            let found: Vec<(&str, bool)> = dump
                .keys
                .iter()
                .map(|key| (key.selector.as_str(), label.is_some_and(|label| key.private.contains(label))))
                .collect();
            let wanted: &[(&str, bool)] = if label.is_some() { &[("s1", true)] } else { &[] };
            assert_eq!(found, wanted, "{export}");
        }
        let address = json!({ "EmailIdentities": [{ "IdentityType": "EMAIL_ADDRESS", "IdentityName": "a@acme.example" }] });
        assert_eq!(read("ses", &address.to_string(), None).expect("JSON"), Dump::default());
        let key = key_of_file("s1._domainkey.acme.example.pem", pem).expect("a key");
        assert_eq!((key.domain.as_str(), key.selector.as_str()), ("acme.example", "s1"));
        assert_eq!(key_of_file("key.pem", pem), None);
    }
}
