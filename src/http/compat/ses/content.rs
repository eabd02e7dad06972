//! The contents of a mail in API v2: `Simple`, `Template` and `Raw` ("EmailContent").

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::domain::submission::{Parts, Rendering, Words};
use crate::http::api::variables;
use crate::http::compat::reading::{self, FileNames};
use crate::http::extract;
use crate::http::fields::Fields;
use crate::mail::headers::CustomHeaders;
use crate::render::Gaps;
use crate::submission::Violation;

const FILE: FileNames =
    FileNames { name: "FileName", kind: "ContentType", id: "ContentId", content: "RawContent" };

/// What is sent.
pub enum Contents {
    /// It is composed here.
    Parts(Box<Parts>),
    /// It is composed already.
    Raw(Bytes),
}

/// Reads `Content`.
pub fn read(fields: &mut Fields, name: &str) -> Option<Contents> {
    let Some(mut object) = fields.object(name) else {
        if !fields.is_wrong(name) {
            fields.wrong(name, "required", "it is needed");
        }
        return None;
    };
    let read = if object.has("Raw") {
        raw(&mut object)
    } else if object.has("Template") {
        template(&mut object).map(|parts| Contents::Parts(Box::new(parts)))
    } else {
        simple(&mut object).map(|parts| Contents::Parts(Box::new(parts)))
    };
    object.rest();
    fields.absorb(object);
    read
}

fn raw(object: &mut Fields) -> Option<Contents> {
    let mut raw = object.object("Raw")?;
    let data = raw.required_text("Data");
    let octets = data.and_then(|data| {
        let octets = extract::base64(&data);
        if octets.is_none() {
            raw.wrong("Data", "invalid_base64", "the data is not in base 64");
        }
        octets
    });
    raw.rest();
    object.absorb(raw);
    octets.map(Contents::Raw)
}

fn simple(object: &mut Fields) -> Option<Parts> {
    let Some(mut simple) = object.object("Simple") else {
        if !object.is_wrong("Simple") {
            object.wrong("Simple", "required", "Simple, Template or Raw is needed");
        }
        return None;
    };
    let subject = data(&mut simple, "Subject");
    if subject.is_none() && !simple.is_wrong("Subject") {
        simple.wrong("Subject", "required", "it is needed");
    }
    let (mut text, mut html) = (None, None);
    if let Some(mut body) = simple.object("Body") {
        (text, html) = (data(&mut body, "Text"), data(&mut body, "Html"));
        body.rest();
        simple.absorb(body);
    }
    if text.is_none() && html.is_none() && !simple.is_wrong("Body") {
        simple.wrong("Body", "required", "Text or Html is needed");
    }
    let parts = Parts {
        subject: subject.unwrap_or_default(),
        text,
        html,
        headers: headers(&mut simple),
        attachments: reading::files(&mut simple, "Attachments", FILE),
        rendering: None,
    };
    simple.rest();
    object.absorb(simple);
    Some(parts)
}

/// `{"Data", "Charset"}`; what is JSON is Unicode, whatever the charset says.
fn data(object: &mut Fields, name: &str) -> Option<String> {
    let mut inner = object.object(name)?;
    let data = inner.required_text("Data");
    inner.rest();
    object.absorb(inner);
    data
}

fn headers(object: &mut Fields) -> CustomHeaders {
    reading::header_list(object, "Headers", ("Name", "Value"))
}

/// `Template`: by name, or with its content ("Template").
pub fn template(object: &mut Fields) -> Option<Parts> {
    let mut template = object.object("Template")?;
    let mut parts = Parts {
        headers: headers(&mut template),
        attachments: reading::files(&mut template, "Attachments", FILE),
        ..Parts::default()
    };
    let variables = template_data(&mut template, "TemplateData").unwrap_or_default();
    let arn = template.text("TemplateArn");
    let named = template.text("TemplateName").or_else(|| {
        // arn:aws:ses:region:account:template/name
        arn.and_then(|arn| arn.rsplit_once('/').map(|(_, name)| name.to_owned()))
    });
    match (named, template.object("TemplateContent")) {
        (Some(name), _) => match crate::http::compat::parts::template_name(&name) {
            Some(name) => parts.rendering = Some(reading::of_template(name, variables, Gaps::Refused)),
            None => template.wrong_at(Violation::new("/template/id", "unknown_template", "there is none")),
        },
        (None, Some(mut content)) => {
            parts.subject = content.text("Subject").unwrap_or_default();
            (parts.text, parts.html) = (content.text("Text"), content.text("Html"));
            content.rest();
            template.absorb(content);
            parts.rendering = Some(Box::new(Rendering { of: Words::Inline, variables, gaps: Gaps::Refused }));
        }
        (None, None) => {
            template.wrong("TemplateName", "required", "TemplateName or TemplateContent is needed")
        }
    }
    template.rest();
    object.absorb(template);
    Some(parts)
}

/// Variables, as a text that is JSON.
pub fn template_data(fields: &mut Fields, name: &str) -> Option<Map<String, Value>> {
    let text = fields.text(name).filter(|text| !text.trim().is_empty())?;
    let read = match serde_json::from_str::<Value>(&text) {
        Ok(value @ Value::Object(_)) => {
            let Ok(mut inner) = Fields::of(Value::Object(Map::from_iter([(name.to_owned(), value)])), "")
            else {
                return None;
            };
            let read = variables::take(&mut inner, name);
            fields.absorb(inner);
            return read;
        }
        Ok(_) => "an object is needed".to_owned(),
        Err(error) => error.to_string(),
    };
    fields.wrong(name, "invalid_json", format!("the template data is not valid: {read}"));
    None
}
