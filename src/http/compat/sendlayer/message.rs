//! From the JSON of `/api/v1/email` to a submission. Its members are in mixed case.

use serde_json::Value;

use crate::domain::submission::{Content, Options, Parts, Recipients, Submission};
use crate::http::compat::reading::{self, FileNames, LOWER};
use crate::http::fields::Fields;
use crate::mail::{Attachment, Mailbox};
use crate::submission::Violation;

const FILE: FileNames = FileNames { name: "Filename", kind: "Type", id: "ContentId", content: "Content" };
/// "Send email": To, CC and BCC have these bounds there.
const MOST: [(&str, usize); 3] = [("To", 10), ("CC", 10), ("BCC", 5)];

/// Reads a request.
pub fn mail(value: Value) -> Result<Submission, Vec<Violation>> {
    let mut fields = Fields::of(value, "").map_err(|violation| vec![violation])?;
    let from = reading::needed(&mut fields, "From", LOWER);
    let [to, cc, bcc] = MOST.map(|(name, most)| recipients(&mut fields, name, most));
    if to.is_empty() && !fields.is_wrong("To") {
        fields.wrong("To", "required", "a recipient is needed");
    }
    let reply_to = reading::many(&mut fields, "ReplyTo", LOWER);
    let subject = reading::subject(&mut fields, "Subject");
    if subject.is_none() && !fields.is_wrong("Subject") {
        fields.wrong("Subject", "required", "it is needed");
    }
    let (text, html) = content(&mut fields);
    let headers = reading::headers(&mut fields, "Headers", |_| false).0;
    let options = Options { tags: reading::tags(&mut fields, "Tags"), ..Options::default() };
    let attachments = attachments(&mut fields);
    // Members that are not known are passed over.
    fields.rest();
    let wrong = fields.finish();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let parts =
        Parts { subject: subject.unwrap_or_default(), text, html, headers, attachments, rendering: None };
    let recipients = Recipients { to, cc, bcc, ..Recipients::default() };
    Ok(Submission { from, reply_to, recipients, content: Content::Parts(parts), options })
}

fn recipients(fields: &mut Fields, name: &str, most: usize) -> Vec<Mailbox> {
    let all = reading::many(fields, name, LOWER);
    if all.len() > most {
        fields.wrong(name, "too_many", format!("at most {most} are allowed"));
    }
    all
}

/// `ContentType` says which of the two is meant; the other goes along if it is given.
fn content(fields: &mut Fields) -> (Option<String>, Option<String>) {
    let kind = fields.text("ContentType").unwrap_or_else(|| "HTML".to_owned());
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (html, text) = (filled(fields.text("HTMLContent")), filled(fields.text("PlainContent")));
    if html.is_none() && text.is_none() {
        let needed = if kind.eq_ignore_ascii_case("HTML") { "HTMLContent" } else { "PlainContent" };
        fields.wrong(needed, "required", "it is needed");
    }
    (text, html)
}

/// The Python SDK numbers content ids, and calls inline files attachments: an id alone makes a file inline if the HTML
/// can refer to it.
fn attachments(fields: &mut Fields) -> Vec<Attachment> {
    let Some(Value::Array(mut list)) = fields.take("Attachments") else { return Vec::new() };
    for file in &mut list {
        let Some(file) = file.as_object_mut() else { continue };
        let is_inline = file
            .get("Disposition")
            .and_then(Value::as_str)
            .is_some_and(|disposition| disposition.eq_ignore_ascii_case("inline"));
        match file.remove("ContentId") {
            Some(Value::String(id)) if !id.is_empty() => {
                file.insert("ContentId".to_owned(), Value::String(id));
            }
            Some(Value::Number(id)) if is_inline => {
                file.insert("ContentId".to_owned(), Value::String(id.to_string()));
            }
            _ => {}
        }
    }
    let mut object = serde_json::Map::new();
    object.insert("Attachments".to_owned(), Value::Array(list));
    let Ok(mut inner) = Fields::of(Value::Object(object), "") else { return Vec::new() };
    let files = reading::files(&mut inner, "Attachments", FILE);
    fields.absorb(inner);
    files
}
