//! The stored form of a [`Blueprint`]: a line that names it, its members as one line of JSON, and the octets of its
//! files one after the other.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::domain::blueprint::{Blueprint, Marked, Template, Wording};
use crate::mail::{Attachment, Header, Mailbox};
use crate::render::{Gaps, Rendered, Source};

use super::templates::{bodies, bodies_json};

/// The first line: the form and its version. It cannot begin a message, since it is no header field.
const FIRST_LINE: &[u8] = b"postroad blueprint 1\n";

/// As the body of a message holds it.
pub fn blueprint_octets(blueprint: &Blueprint) -> Vec<u8> {
    let files: Vec<Value> = blueprint.attachments.iter().map(file).collect();
    let headers: Vec<Value> =
        blueprint.headers.iter().map(|header| json!([header.name(), header.value()])).collect();
    let members = json!({
        "from": blueprint.from.to_string(),
        "reply_to": blueprint.reply_to.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "wording": wording_json(&blueprint.wording),
        "headers": headers,
        "files": files,
        "date": blueprint.date.unix_timestamp(),
        "offset": blueprint.date.offset().whole_seconds(),
    });
    let mut octets = FIRST_LINE.to_vec();
    // JSON as serde_json writes it has no line break.
    octets.extend_from_slice(members.to_string().as_bytes());
    octets.push(b'\n');
    for file in &blueprint.attachments {
        octets.extend_from_slice(file.content());
    }
    octets
}

fn file(file: &Attachment) -> Value {
    json!({
        "filename": file.filename(),
        "type": file.media_type(),
        "content_id": file.content_id(),
        "size": file.size(),
    })
}

fn wording_json(wording: &Wording) -> Value {
    match wording {
        Wording::Verbatim(contents) => contents_json(contents),
        Wording::Tokens(marked) => {
            json!({ "tokens": contents_json(&marked.contents), "variables": marked.variables })
        }
        Wording::Template(template) => {
            let partials = template.source.partials.iter();
            let partials: Map<String, Value> =
                partials.map(|(name, own)| (name.clone(), Value::Object(bodies_json(own)))).collect();
            json!({
                "template": bodies_json(&template.source.bodies),
                "partials": partials,
                "variables": template.variables,
                "gaps": (template.gaps == Gaps::Empty).then_some("empty"),
            })
        }
    }
}

fn contents_json(contents: &Rendered) -> Value {
    json!({
        "subject": contents.subject,
        "text": contents.text,
        "html": contents.html,
        "amp": contents.amp,
    })
}

fn contents(value: &Value) -> Option<Rendered> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(Rendered { subject: text("subject")?, text: text("text"), html: text("html"), amp: text("amp") })
}

/// Reads what [`blueprint_octets`] wrote; `None`: it is something else.
pub fn blueprint(octets: &[u8]) -> Option<Blueprint> {
    let rest = octets.strip_prefix(FIRST_LINE)?;
    let end = memchr::memchr(b'\n', rest)?;
    let members: Value = serde_json::from_slice(&rest[..end]).ok()?;
    let seconds = members.get("date")?.as_i64()?;
    let offset = i32::try_from(members.get("offset")?.as_i64()?).ok()?;
    Some(Blueprint {
        from: mailbox(members.get("from")?)?,
        reply_to: members.get("reply_to")?.as_array()?.iter().map(mailbox).collect::<Option<_>>()?,
        wording: wording(members.get("wording")?)?,
        headers: members.get("headers")?.as_array()?.iter().map(header).collect::<Option<_>>()?,
        attachments: files(members.get("files")?.as_array()?, &rest[end + 1..])?,
        date: OffsetDateTime::from_unix_timestamp(seconds)
            .ok()?
            .to_offset(time::UtcOffset::from_whole_seconds(offset).ok()?),
    })
}

fn mailbox(value: &Value) -> Option<Mailbox> {
    Mailbox::parse(value.as_str()?).ok()
}

fn header(value: &Value) -> Option<Header> {
    Header::new(value.get(0)?.as_str()?, value.get(1)?.as_str()?).ok()
}

fn wording(value: &Value) -> Option<Wording> {
    if let Some(tokens) = value.get("tokens") {
        let variables = value.get("variables")?.as_object()?.clone();
        return Some(Wording::Tokens(Box::new(Marked { contents: contents(tokens)?, variables })));
    }
    let Some(template) = value.get("template") else {
        return contents(value).map(Wording::Verbatim);
    };
    let partials = value.get("partials")?.as_object()?;
    let partials = partials.iter().map(|(name, own)| (name.clone(), bodies(own))).collect();
    let source = Source { bodies: bodies(template), partials };
    let variables = value.get("variables")?.as_object()?.clone();
    // Written by those who let them be empty, and by nobody else.
    let gaps = if value.get("gaps").is_some_and(Value::is_string) { Gaps::Empty } else { Gaps::Refused };
    Some(Wording::Template(Box::new(Template::new(source, variables, gaps))))
}

fn files(listed: &[Value], mut octets: &[u8]) -> Option<Vec<Attachment>> {
    let mut files = Vec::with_capacity(listed.len());
    for file in listed {
        let size = usize::try_from(file.get("size")?.as_u64()?).ok()?;
        let (content, rest) = octets.split_at_checked(size)?;
        octets = rest;
        let text = |name: &str| file.get(name).and_then(Value::as_str);
        let content = Bytes::copy_from_slice(content);
        files.push(Attachment::new(text("filename")?, text("type")?, text("content_id"), content).ok()?);
    }
    octets.is_empty().then_some(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::handling::{OwnMail, Particulars};
    use crate::domain::id::{Lane, MessageId};
    use crate::render::Bodies;
    use std::collections::BTreeMap;
    use time::macros::datetime;

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text).expect("a mailbox")
    }

    fn blueprints() -> [Blueprint; 3] {
        let source = Source {
            bodies: Bodies {
                subject: Some("Hi {{name}}".into()),
                html: Some("<style>p{color:red}</style><p>{{name}} {{> foot}}</p><img src=cid:logo>".into()),
                ..Bodies::default()
            },
            partials: BTreeMap::from([(
                "foot".to_owned(),
                Bodies { html: Some("{{year}}{{gone}}".into()), ..Bodies::default() },
            )]),
        };
        let variables = Map::from_iter([("year".to_owned(), json!(2026))]);
        let verbatim =
            Rendered { subject: "{{x}}".into(), text: Some("a\nb\n".into()), html: None, amp: None };
        let marked = Marked {
            contents: Rendered {
                subject: "Hi name".into(),
                text: Some("name, year".into()),
                html: None,
                amp: None,
            },
            variables: variables.clone(),
        };
        let wordings = [
            Wording::Template(Box::new(Template::new(source, variables, Gaps::Empty))),
            Wording::Verbatim(verbatim),
            Wording::Tokens(Box::new(marked)),
        ];
        let file = |name: &str, kind: &str, id: Option<&str>, content: &'static [u8]| {
            Attachment::new(name, kind, id, Bytes::from_static(content)).expect("a file")
        };
        wordings.map(|wording| Blueprint {
            from: mailbox("\"Müller, A\" <hello@acme.example>"),
            reply_to: vec![mailbox("help@acme.example")],
            wording,
            headers: vec![Header::new("X-Order", "é 7").expect("a field")],
            attachments: vec![
                file("ä.bin", "application/octet-stream", None, b"\n\0{}\n"),
                file("logo.png", "image/png", Some("logo"), b""),
                file("m.eml", "message/rfc822", None, b"Subject: \xc3\xa9\r\n\r\nx\r\n"),
            ],
            date: datetime!(2026-11-24 10:00:07 +01:00),
        })
    }

    #[test]
    fn a_stored_blueprint_composes_the_same_octets_for_every_recipient() {
        let message = MessageId::in_lane(datetime!(2026-11-24 10:00 UTC), Lane::new(3));
        for made in blueprints() {
            let read = blueprint(&blueprint_octets(&made)).expect("it reads back");
            for ordinal in 1..=3 {
                let own = Particulars {
                    variables: Map::from_iter([("name".to_owned(), json!(format!("<{ordinal}>")))]),
                    own: Some(OwnMail { ordinal, to: mailbox("Ann <ann@example.net>"), cc: Vec::new() }),
                    ..Particulars::default()
                };
                let delivery = message.delivery(ordinal);
                let composed = made.compose(delivery, &own).expect("composed");
                assert_eq!(read.compose(delivery, &own).expect("composed"), composed);
                assert_eq!(made.compose(delivery, &own).expect("again"), composed);
            }
        }
    }

    #[test]
    fn what_is_no_blueprint_is_none() {
        let octets = blueprint_octets(&blueprints()[0]);
        for bad in [&b""[..], b"From: a@b\r\n\r\n", FIRST_LINE, &octets[..octets.len() - 1], &octets[1..]] {
            assert!(blueprint(bad).is_none());
        }
    }
}
