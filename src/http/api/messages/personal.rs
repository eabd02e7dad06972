//! From the JSON of a mail to what is rendered in it, and to recipients who each get a mail of their own.

use serde_json::{Map, Value};

use crate::domain::id::MAX_DELIVERIES;
use crate::domain::submission::{Personal, Rendering, Words};
use crate::domain::template::{Locale, Selection, TemplateName};
use crate::http::api::variables;
use crate::http::fields::Fields;
use crate::render::Gaps;
use crate::submission::Violation;

use super::decode::{mailbox, mailboxes, metadata};

/// What `recipients` says.
#[derive(Debug, Default)]
pub struct OwnMails {
    /// Who get mails of their own.
    pub recipients: Vec<Personal>,
    /// Whether any of them has variables: then inline content is a template.
    pub variables: Variables,
}

/// Whether variables are given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Variables {
    /// Some are.
    Given,
    /// None are.
    #[default]
    None,
}

/// Reads `recipients`, which stand instead of `to`, `cc` and `bcc`.
pub fn recipients(fields: &mut Fields) -> OwnMails {
    let pointer = fields.pointer("recipients");
    let Some(list) = fields.list("recipients", MAX_DELIVERIES) else { return OwnMails::default() };
    if list.is_empty() {
        fields.wrong("recipients", "required", "at least one recipient is needed");
        return OwnMails::default();
    }
    for name in ["to", "cc", "bcc"] {
        if fields.take(name).is_some() {
            fields.wrong(name, "not_with_recipients", "recipients stand instead of to, cc and bcc");
        }
    }
    let mut own = OwnMails::default();
    for (index, value) in list.into_iter().enumerate() {
        match Fields::of(value, &format!("{pointer}/{index}")) {
            Ok(mut object) => {
                if let Some(personal) = recipient(&mut object, &mut own.variables) {
                    own.recipients.push(personal);
                }
                fields.absorb(object);
            }
            Err(violation) => fields.wrong_at(violation),
        }
    }
    own
}

fn recipient(object: &mut Fields, variables: &mut Variables) -> Option<Personal> {
    let pointer = object.pointer("to");
    let to = match object.take("to") {
        Some(value) => mailbox(object, value, &pointer),
        None => {
            object.wrong("to", "required", "the addressee is needed");
            None
        }
    };
    let own = variables::take(object, "variables");
    if own.is_some() {
        *variables = Variables::Given;
    }
    let (cc, bcc) = (mailboxes(object, "cc"), mailboxes(object, "bcc"));
    let metadata = metadata(object);
    Some(Personal { to: to?, cc, bcc, variables: own.unwrap_or_default(), metadata })
}

/// Reads `template` and `variables`: with either, or with variables of recipients, the contents are rendered.
pub fn rendering(fields: &mut Fields, own: Variables) -> Option<Rendering> {
    let common = variables::take(fields, "variables");
    if let Some(mut object) = fields.object("template") {
        for name in ["subject", "text", "html"] {
            if fields.take(name).is_some() {
                fields.wrong(name, "not_with_template", "the template brings subject, text and HTML");
            }
        }
        let rendering = template(&mut object, common.unwrap_or_default());
        fields.absorb(object);
        return rendering;
    }
    let is_rendered = common.is_some() || own == Variables::Given;
    is_rendered.then(|| Rendering {
        of: Words::Inline,
        variables: common.unwrap_or_default(),
        gaps: Gaps::Refused,
    })
}

fn template(object: &mut Fields, common: Map<String, Value>) -> Option<Rendering> {
    let name = object.required_text("id").and_then(|text| {
        let name = TemplateName::parse(&text);
        if name.is_none() {
            let violation =
                Violation::new(object.pointer("id"), "unknown_template", "there is no such template");
            object.wrong_at(violation);
        }
        name
    });
    let version =
        object.number("version", 1..=i64::from(i32::MAX)).and_then(|number| i32::try_from(number).ok());
    let locale = object.parsed("locale", "invalid_locale", Locale::parse);
    let own = variables::take(object, "variables").unwrap_or_default();
    let mut variables = common;
    variables.extend(own);
    let of = Words::Template(Selection { name: name?, version, locale });
    Some(Rendering { of, variables, gaps: Gaps::Refused })
}
