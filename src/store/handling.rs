//! The stored form of [`Handling`] and [`Particulars`]: JSON that leaves out whatever is as usual, and NULL
//! when nothing is left. What a newer version wrote is read as far as it is understood.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::handling::{
    Bounces, Form, Handling, OwnMail, Particulars, Readers, Ret, SubmittedEnvelope, Tracking, Transport,
    Unsubscribe, WatchedLinks,
};
use crate::mail::Mailbox;

/// As the column holds it; `None`: nothing is asked for.
pub fn handling_text(handling: &Handling) -> Option<String> {
    let mut object = Map::new();
    flag(&mut object, "opens", handling.tracking.opens);
    flag(&mut object, "clicks", handling.tracking.clicks);
    flag(&mut object, "text_links", handling.watched_links == WatchedLinks::HtmlAndText);
    flag(&mut object, "require_tls", handling.transport == Transport::RequireTls);
    flag(&mut object, "blueprint", handling.form == Form::Blueprint);
    if let Some(template) = handling.template {
        object.insert("template".to_owned(), template.to_string().into());
    }
    flag(&mut object, "unsubscribe", handling.unsubscribe == Unsubscribe::OneClick);
    flag(&mut object, "notice", handling.bounces == Bounces::ToNobody);
    flag(&mut object, "confidential", handling.readers == Readers::Recipients);
    if let Some(domain) = &handling.passed_on_by {
        object.insert("passed_on_by".to_owned(), domain.as_str().into());
    }
    if let Some(envelope) = &handling.envelope {
        object.insert("envelope".to_owned(), envelope_value(envelope));
    }
    text(object)
}

/// Reads what [`handling_text`] wrote.
pub fn handling(stored: Option<&Value>) -> Handling {
    let set = |name: &str| stored.and_then(|value| value.get(name)) == Some(&Value::Bool(true));
    Handling {
        tracking: Tracking { opens: set("opens"), clicks: set("clicks") },
        watched_links: if set("text_links") { WatchedLinks::HtmlAndText } else { WatchedLinks::Html },
        transport: if set("require_tls") { Transport::RequireTls } else { Transport::AsOffered },
        form: if set("blueprint") { Form::Blueprint } else { Form::Finished },
        template: stored
            .and_then(|value| value.get("template"))
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok()),
        unsubscribe: if set("unsubscribe") { Unsubscribe::OneClick } else { Unsubscribe::None },
        bounces: if set("notice") { Bounces::ToNobody } else { Bounces::ToUs },
        readers: if set("confidential") { Readers::Recipients } else { Readers::Tenant },
        envelope: stored.and_then(|value| value.get("envelope")).map(envelope),
        passed_on_by: stored
            .and_then(|value| value.get("passed_on_by"))
            .and_then(Value::as_str)
            .map(str::to_owned),
    }
}

fn envelope_value(envelope: &SubmittedEnvelope) -> Value {
    let members = [
        ("sender", envelope.sender.clone()),
        ("ret", envelope.ret.map(|ret| ret.as_str().to_owned())),
        ("envid", envelope.envid.clone()),
    ];
    let given = members.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::String(text?))));
    Value::Object(given.collect())
}

fn envelope(stored: &Value) -> SubmittedEnvelope {
    let text = |name: &str| stored.get(name).and_then(Value::as_str);
    SubmittedEnvelope {
        sender: text("sender").map(str::to_owned),
        ret: match text("ret") {
            Some("FULL") => Some(Ret::Full),
            Some("HDRS") => Some(Ret::Headers),
            _ => None,
        },
        envid: text("envid").map(str::to_owned),
    }
}

/// As the column holds it; `None`: nothing is particular.
pub fn particulars_text(particulars: &Particulars) -> Option<String> {
    let mut object = Map::new();
    if !particulars.variables.is_empty() {
        object.insert("variables".to_owned(), Value::Object(particulars.variables.clone()));
    }
    if !particulars.metadata.is_empty() {
        let entries = particulars.metadata.iter().map(|(key, value)| (key.clone(), value.clone().into()));
        object.insert("metadata".to_owned(), Value::Object(entries.collect()));
    }
    if let Some(own) = &particulars.own {
        object.insert("mail".to_owned(), own.ordinal.into());
        object.insert("to".to_owned(), own.to.to_string().into());
        if !own.cc.is_empty() {
            let cc: Vec<String> = own.cc.iter().map(ToString::to_string).collect();
            object.insert("cc".to_owned(), cc.into());
        }
    }
    if let Some(notify) = particulars.notify {
        object.insert("notify".to_owned(), notify.keywords().into());
    }
    if let Some(orcpt) = &particulars.orcpt {
        object.insert("orcpt".to_owned(), orcpt.as_str().into());
    }
    text(object)
}

/// Reads what [`particulars_text`] wrote.
pub fn particulars(stored: Option<&Value>) -> Particulars {
    let object = |name: &str| stored.and_then(|value| value.get(name)).and_then(Value::as_object);
    let metadata: BTreeMap<String, String> = object("metadata")
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    let text = |name: &str| stored.and_then(|value| value.get(name)).and_then(Value::as_str);
    Particulars {
        variables: object("variables").cloned().unwrap_or_default(),
        metadata,
        notify: text("notify").and_then(|keywords| keywords.parse().ok()),
        orcpt: text("orcpt").map(str::to_owned),
        own: stored.and_then(own_mail),
    }
}

fn own_mail(stored: &Value) -> Option<OwnMail> {
    let mailbox = |value: &Value| Mailbox::parse(value.as_str()?).ok();
    let cc = stored.get("cc").and_then(Value::as_array).into_iter().flatten();
    Some(OwnMail {
        ordinal: stored.get("mail")?.as_u64().and_then(|ordinal| u16::try_from(ordinal).ok())?,
        to: mailbox(stored.get("to")?)?,
        cc: cc.filter_map(mailbox).collect(),
    })
}

fn flag(object: &mut Map<String, Value>, name: &str, set: bool) {
    if set {
        object.insert(name.to_owned(), Value::Bool(true));
    }
}

fn text(object: Map<String, Value>) -> Option<String> {
    (!object.is_empty()).then(|| Value::Object(object).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::handling::Notify;
    use crate::domain::id::TemplateId;
    use serde_json::json;

    fn stored(text: Option<String>) -> Option<Value> {
        text.map(|text| serde_json::from_str(&text).expect("JSON"))
    }

    #[test]
    fn what_is_written_reads_back_and_the_usual_is_nothing() {
        assert_eq!(handling_text(&Handling::default()), None);
        assert_eq!(particulars_text(&Particulars::default()), None);
        assert_eq!(handling(None), Handling::default());
        assert_eq!(particulars(None), Particulars::default());

        let envelope = SubmittedEnvelope {
            sender: Some("ann@acme.example".to_owned()),
            ret: Some(Ret::Headers),
            envid: Some("Q+2B1".to_owned()),
        };
        let asked = Handling {
            tracking: Tracking { opens: true, clicks: false },
            watched_links: WatchedLinks::HtmlAndText,
            transport: Transport::RequireTls,
            envelope: Some(envelope),
            bounces: Bounces::ToNobody,
            form: Form::Blueprint,
            template: Some(TemplateId::new(time::OffsetDateTime::UNIX_EPOCH)),
            unsubscribe: Unsubscribe::OneClick,
            readers: Readers::Recipients,
            passed_on_by: Some("in.acme.example".to_owned()),
        };
        assert_eq!(handling(stored(handling_text(&asked)).as_ref()), asked);
        let silent = Handling { envelope: Some(SubmittedEnvelope::default()), ..Handling::default() };
        assert_eq!(handling(stored(handling_text(&silent)).as_ref()), silent, "it came by SMTP all the same");
        let own = Particulars {
            variables: Map::from_iter([("name".to_owned(), json!("Ann"))]),
            metadata: BTreeMap::from([("order".to_owned(), "7".to_owned())]),
            own: Some(OwnMail {
                ordinal: 7,
                to: Mailbox::parse("\"Müller, \\\"A\\\"\" <ann@example.net>").expect("a mailbox"),
                cc: vec![Mailbox::parse("bob@example.net").expect("a mailbox")],
            }),
            notify: Some(Notify::NEVER),
            orcpt: Some("rfc822;ann+2Bx@example.net".to_owned()),
        };
        assert_eq!(particulars(stored(particulars_text(&own)).as_ref()), own);
    }

    #[test]
    fn what_a_newer_version_wrote_is_passed_over() {
        assert!(handling(Some(&json!({"hologram": true, "clicks": true}))).tracking.clicks);
    }
}
