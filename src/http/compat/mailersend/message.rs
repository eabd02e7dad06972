//! From the JSON of `/v1/email`, or an entry of `/v1/bulk-email`, to a submission.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::handling::{Handling, Tracking};
use crate::domain::submission::{Content, Options, Parts, Personal, Recipients, Submission};
use crate::http::api::variables;
use crate::http::compat::dialect::{self, Twig};
use crate::http::compat::reading::{self, FileNames, LOWER};
use crate::http::fields::Fields;
use crate::mail::Mailbox;
use crate::mail::headers::{CustomHeaders, Header};
use crate::render::Gaps;
use crate::submission::Violation;

const FILE: FileNames = FileNames { name: "filename", kind: "", id: "id", content: "content" };
const MAX_LIST: usize = 1000;

/// Reads a mail; what is wrong is named below `base`.
pub fn mail(value: Value, base: &str) -> Result<Submission, Vec<Violation>> {
    let mut fields = Fields::of(value, base).map_err(|violation| vec![violation])?;
    let from = reading::needed(&mut fields, "from", LOWER);
    let (to, cc, bcc) = (
        reading::many(&mut fields, "to", LOWER),
        reading::many(&mut fields, "cc", LOWER),
        reading::many(&mut fields, "bcc", LOWER),
    );
    if to.is_empty() && !fields.is_wrong("to") {
        fields.wrong("to", "required", "a recipient is needed");
    }
    let reply_to = reading::many(&mut fields, "reply_to", LOWER);
    let own = personalization(&mut fields);
    let options = options(&mut fields);
    let mut parts = parts(&mut fields);
    let is_template = parts.rendering.is_some();
    if !is_template
        && !own.is_empty()
        && let Err(violation) =
            reading::translate(&mut parts, |text| dialect::twig(text, Twig::MailerSend), Map::new())
    {
        fields.wrong_at(violation);
    }
    // Members that are not known are passed over there.
    fields.rest();
    let wrong = fields.finish();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let recipients = if own.is_empty() {
        Recipients { to, cc, bcc, ..Recipients::default() }
    } else {
        Recipients { personal: personal(to, cc, bcc, &own), ..Recipients::default() }
    };
    Ok(Submission { from, reply_to, recipients, content: Content::Parts(parts), options })
}

/// "Personalization": variables by address.
fn personalization(fields: &mut Fields) -> BTreeMap<String, Map<String, Value>> {
    let list = fields.list("personalization", MAX_LIST).unwrap_or_default();
    let pointer = fields.pointer("personalization");
    let mut own = BTreeMap::new();
    for (index, value) in list.into_iter().enumerate() {
        match Fields::of(value, &format!("{pointer}/{index}")) {
            Ok(mut object) => {
                let email = object.required_text("email");
                let data = variables::take(&mut object, "data").unwrap_or_default();
                own.extend(email.map(|email| (email.trim().to_lowercase(), data)));
                object.rest();
                fields.absorb(object);
            }
            Err(violation) => fields.wrong_at(violation),
        }
    }
    own
}

/// Each addressee gets a mail of his own, in which only his data is; copies go with the first.
fn personal(
    to: Vec<Mailbox>,
    cc: Vec<Mailbox>,
    bcc: Vec<Mailbox>,
    own: &BTreeMap<String, Map<String, Value>>,
) -> Vec<Personal> {
    let mut copies = Some((cc, bcc));
    let one = |to: Mailbox| {
        let (cc, bcc) = copies.take().unwrap_or_default();
        let variables = own.get(&to.address.as_str().to_lowercase()).cloned().unwrap_or_default();
        Personal { to, cc, bcc, variables, metadata: BTreeMap::new() }
    };
    to.into_iter().map(one).collect()
}

fn options(fields: &mut Fields) -> Options {
    let mut tracking = Tracking::default();
    if let Some(mut settings) = fields.object("settings") {
        tracking.opens = settings.flag("track_opens") == Some(true);
        tracking.clicks = settings.flag("track_clicks") == Some(true);
        // What was sent is always kept.
        settings.rest();
        fields.absorb(settings);
    }
    Options {
        tags: reading::tags(fields, "tags"),
        send_at: reading::unix(fields, "send_at"),
        handling: Handling { tracking, ..Handling::default() },
        ..Options::default()
    }
}

fn parts(fields: &mut Fields) -> Parts {
    let mut headers = reading::header_list(fields, "headers", ("name", "value"));
    add_header(fields, &mut headers, "in_reply_to", "In-Reply-To");
    add_references(fields, &mut headers);
    add_header(fields, &mut headers, "list_unsubscribe", "List-Unsubscribe");
    if fields.flag("precedence_bulk") == Some(true) {
        headers.others.extend(Header::new("Precedence", "bulk").ok());
    }
    let mut parts =
        Parts { attachments: reading::files(fields, "attachments", FILE), headers, ..Parts::default() };
    if let Some(name) = reading::template(fields, "template_id") {
        // The subject of the template stands; one that is given besides would be ignored.
        for name in ["subject", "text", "html"] {
            fields.take(name);
        }
        parts.rendering = Some(reading::of_template(name, Map::new(), Gaps::Empty));
        return parts;
    }
    let subject = reading::subject(fields, "subject");
    (parts.text, parts.html) = (fields.text("text"), fields.text("html"));
    if subject.is_none() && !fields.is_wrong("subject") {
        fields.wrong("subject", "required", "a subject is needed");
    }
    if parts.text.is_none() && parts.html.is_none() && !fields.is_wrong("template_id") {
        fields.wrong("text", "required", "text or HTML is needed");
    }
    parts.subject = subject.unwrap_or_default();
    parts
}

fn add_header(fields: &mut Fields, headers: &mut CustomHeaders, member: &str, name: &str) {
    let Some(value) = fields.text(member).filter(|value| !value.is_empty()) else { return };
    match Header::new(name, &value) {
        Ok(header) => headers.others.push(header),
        Err(error) => fields.wrong(member, "invalid_header", error.to_string()),
    }
}

/// `references` is a list of Message-IDs.
fn add_references(fields: &mut Fields, headers: &mut CustomHeaders) {
    let ids = fields.texts("references", 100).unwrap_or_default();
    if ids.is_empty() {
        return;
    }
    match Header::new("References", &ids.join(" ")) {
        Ok(header) => headers.others.push(header),
        Err(error) => fields.wrong("references", "invalid_header", error.to_string()),
    }
}
