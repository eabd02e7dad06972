//! Reading what several providers' JSON has in other letters: mailboxes, header fields, files, labels. What is wrong is
//! noted at its place in the provider's own shape; the adapter says it in the provider's words.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::domain::submission::{
    MAX_ATTACHMENTS, MAX_HEADERS, MAX_METADATA, MAX_SUBJECT, MAX_TAGS, Parts, Rendering, Words,
    is_metadata_key, is_metadata_value, is_tag,
};
use crate::domain::template::{Selection, TemplateName};
use crate::http::fields::Fields;
use crate::mail::headers::CustomHeaders;
use crate::mail::{Attachment, EmailAddress, Mailbox};
use crate::render::Gaps;
use crate::submission::Violation;

use super::dialect::Untranslatable;
use super::parts::{self, File, FileError};

/// Far more than any provider takes.
const MAX_LIST: usize = 10_000;

/// What the members of a mailbox are called.
#[derive(Debug, Clone, Copy)]
pub struct BoxNames {
    /// The address.
    pub email: &'static str,
    /// The display name.
    pub name: &'static str,
}

/// `email` and `name`.
pub const LOWER: BoxNames = BoxNames { email: "email", name: "name" };

/// A mailbox: an object, or a text as header fields have it.
pub fn mailbox(fields: &mut Fields, value: Value, pointer: &str, names: BoxNames) -> Option<Mailbox> {
    let bad = |fields: &mut Fields, message: String| {
        fields.wrong_at(Violation::new(pointer, "invalid_address", message));
        None
    };
    let mut object = match value {
        Value::String(text) => {
            return Mailbox::parse(&text).map_or_else(|error| bad(fields, error.to_string()), Some);
        }
        value => match Fields::of(value, pointer) {
            Ok(object) => object,
            Err(_) => return bad(fields, "an object is needed".to_owned()),
        },
    };
    let email = object.required_text(names.email);
    let name = object.text(names.name);
    object.rest();
    let address = email.and_then(|email| match EmailAddress::parse(email.trim()) {
        Ok(address) => Some(address),
        Err(error) => {
            object.wrong(names.email, "invalid_address", error.to_string());
            None
        }
    });
    let read = address.and_then(|address| match Mailbox::new(name.as_deref(), address) {
        Ok(mailbox) => Some(mailbox),
        Err(error) => {
            object.wrong(names.name, "invalid_name", error.to_string());
            None
        }
    });
    fields.absorb(object);
    read
}

/// One mailbox, if it is there.
pub fn one(fields: &mut Fields, name: &str, names: BoxNames) -> Option<Mailbox> {
    let pointer = fields.pointer(name);
    let value = fields.take(name)?;
    mailbox(fields, value, &pointer, names)
}

/// One mailbox that must be there.
pub fn needed(fields: &mut Fields, name: &str, names: BoxNames) -> Option<Mailbox> {
    let is_there = fields.has(name);
    let read = one(fields, name, names);
    if read.is_none() && (!is_there || !fields.is_wrong(name)) {
        fields.wrong(name, "required", "it is needed");
    }
    read
}

/// A list of mailboxes, or one alone.
pub fn many(fields: &mut Fields, name: &str, names: BoxNames) -> Vec<Mailbox> {
    let pointer = fields.pointer(name);
    match fields.take(name) {
        None => Vec::new(),
        Some(Value::Array(list)) if list.len() > MAX_LIST => {
            fields.wrong(name, "too_many", "there are too many recipients");
            Vec::new()
        }
        Some(Value::Array(list)) => (0..)
            .zip(list)
            .filter_map(|(index, value): (usize, _)| {
                mailbox(fields, value, &format!("{pointer}/{index}"), names)
            })
            .collect(),
        Some(alone) => mailbox(fields, alone, &pointer, names).into_iter().collect(),
    }
}

/// A subject: one line, not too long.
pub fn subject(fields: &mut Fields, name: &str) -> Option<String> {
    let subject = fields.text(name)?;
    if subject.chars().count() > MAX_SUBJECT {
        fields.wrong(name, "too_long", format!("a subject has at most {MAX_SUBJECT} characters"));
    }
    if let Err(error) = crate::mail::text::check(&subject) {
        fields.wrong(name, "invalid_subject", error.to_string());
    }
    Some(subject)
}

/// Header fields as an object: names and values. Some, told by `own`, are the provider's and are given back apart.
pub fn headers(
    fields: &mut Fields,
    name: &str,
    own: fn(&str) -> bool,
) -> (CustomHeaders, BTreeMap<String, String>) {
    let members = match fields.take(name) {
        None => Map::new(),
        Some(Value::Object(members)) => members,
        // PHP writes an empty object so.
        Some(Value::Array(list)) if list.is_empty() => Map::new(),
        Some(_) => {
            fields.wrong(name, "wrong_type", "an object is needed");
            Map::new()
        }
    };
    let pairs = members.into_iter().filter_map(|(header, value)| match value {
        Value::String(text) => Some((header, text)),
        Value::Number(number) => Some((header, number.to_string())),
        Value::Bool(flag) => Some((header, flag.to_string())),
        _ => None,
    });
    let (theirs, ours): (Vec<_>, Vec<_>) = pairs.partition(|(header, _)| own(&header.to_ascii_lowercase()));
    (check(fields, name, &ours), theirs.into_iter().collect())
}

/// Header fields as a list of objects with a name and a value.
pub fn header_list(fields: &mut Fields, name: &str, (key, value): (&str, &str)) -> CustomHeaders {
    let pairs = pairs(fields, name, (key, value));
    check(fields, name, &pairs)
}

/// A list of objects with a name and a value.
pub fn pairs(fields: &mut Fields, name: &str, (key, value): (&str, &str)) -> Vec<(String, String)> {
    let list = fields.list(name, MAX_HEADERS).unwrap_or_default();
    let pointer = fields.pointer(name);
    let mut pairs = Vec::new();
    for (index, entry) in list.into_iter().enumerate() {
        match Fields::of(entry, &format!("{pointer}/{index}")) {
            Ok(mut object) => {
                pairs.extend(object.required_text(key).zip(object.required_text(value)));
                object.rest();
                fields.absorb(object);
            }
            Err(violation) => fields.wrong_at(violation),
        }
    }
    pairs
}

fn check(fields: &mut Fields, name: &str, pairs: &[(String, String)]) -> CustomHeaders {
    if pairs.len() > MAX_HEADERS {
        fields.wrong(name, "too_many", format!("at most {MAX_HEADERS} are allowed"));
        return CustomHeaders::default();
    }
    let checked = CustomHeaders::check(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    checked.unwrap_or_else(|errors| {
        for (index, error) in errors {
            let pointer =
                format!("{}/{}", fields.pointer(name), pairs[index].0.replace('~', "~0").replace('/', "~1"));
            fields.wrong_at(Violation::new(pointer, "invalid_header", error.to_string()));
        }
        CustomHeaders::default()
    })
}

/// What the members of a file are called; an empty name: there is no such member.
#[derive(Debug, Clone, Copy)]
pub struct FileNames {
    /// Its name.
    pub name: &'static str,
    /// Its media type.
    pub kind: &'static str,
    /// By which the HTML shows it.
    pub id: &'static str,
    /// Its content in base 64.
    pub content: &'static str,
}

/// Files.
pub fn files(fields: &mut Fields, name: &str, names: FileNames) -> Vec<Attachment> {
    let list = fields.list(name, MAX_ATTACHMENTS).unwrap_or_default();
    let pointer = fields.pointer(name);
    let mut files = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        match Fields::of(value, &format!("{pointer}/{index}")) {
            Ok(mut object) => {
                files.extend(file(&mut object, names));
                object.rest();
                fields.absorb(object);
            }
            Err(violation) => fields.wrong_at(violation),
        }
    }
    files
}

fn file(object: &mut Fields, names: FileNames) -> Option<Attachment> {
    let mut optional = |name: &'static str| if name.is_empty() { None } else { object.text(name) };
    let (kind, mut id) = (optional(names.kind), optional(names.id));
    if object.take("disposition").and_then(|value| value.as_str().map(str::to_owned)).as_deref()
        == Some("attachment")
        && names.id == "id"
    {
        id = None;
    }
    let filename = object.required_text(names.name);
    let content = object.required_text(names.content);
    let (filename, content) = filename.zip(content)?;
    let read = File { name: &filename, kind: kind.as_deref(), content_id: id.as_deref(), content: &content };
    match parts::file(read) {
        Ok(file) => Some(file),
        Err(error) => {
            let at = if error == FileError::Base64 { names.content } else { names.name };
            object.wrong(at, "invalid_attachment", error.to_string());
            None
        }
    }
}

/// Labels.
pub fn tags(fields: &mut Fields, name: &str) -> Vec<String> {
    let given = fields.texts(name, MAX_TAGS).unwrap_or_default();
    let mut tags: Vec<String> = Vec::new();
    for tag in given {
        if !is_tag(&tag) {
            fields.wrong(name, "invalid_tag", "a tag has 1 to 128 characters");
        } else if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

/// Data of the caller's own: values that are no texts are kept as JSON.
pub fn metadata(fields: &mut Fields, name: &str) -> BTreeMap<String, String> {
    let members = match fields.take(name) {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let mut metadata = BTreeMap::new();
    for (key, value) in members {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        note(fields, name, &mut metadata, key, value);
    }
    metadata
}

/// Keeps one piece of the caller's own data.
pub fn note(
    fields: &mut Fields,
    name: &str,
    metadata: &mut BTreeMap<String, String>,
    key: String,
    value: String,
) {
    if !is_metadata_key(&key) || !is_metadata_value(&value) || metadata.len() == MAX_METADATA {
        let text =
            "at most 50 entries are kept, of keys with 1 to 64 characters and values with at most 1024";
        fields.wrong(name, "too_long", text);
        return;
    }
    metadata.insert(key, value);
}

/// A moment in seconds since 1970.
pub fn unix(fields: &mut Fields, name: &str) -> Option<OffsetDateTime> {
    let seconds = fields.number(name, 0..=253_402_300_799)?;
    OffsetDateTime::from_unix_timestamp(seconds).ok()
}

/// Notes a member that asks for what there is not, unless it is empty or false.
pub fn refuse(fields: &mut Fields, name: &str, message: &str) {
    let is_nothing = |value: &Value| match value {
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    if fields.take(name).is_some_and(|value| !is_nothing(&value)) {
        fields.wrong(name, "not_supported", message);
    }
}

/// Makes the contents of a mail templates of this house.
///
/// # Errors
/// The part, and the tag in it that has no counterpart.
pub fn translate(
    parts: &mut Parts,
    dialect: impl Fn(&str) -> Result<String, Untranslatable>,
    variables: Map<String, Value>,
) -> Result<(), Violation> {
    let one = |part: &str, text: &str| {
        dialect(text).map_err(|tag| Violation::new(part, "invalid_template", format!("{tag} cannot be used")))
    };
    parts.subject = one("/subject", &parts.subject)?;
    parts.text = parts.text.take().map(|text| one("/text", &text)).transpose()?;
    parts.html = parts.html.take().map(|html| one("/html", &html)).transpose()?;
    // The dialects say themselves what may be missing.
    parts.rendering = Some(Box::new(Rendering { of: Words::Inline, variables, gaps: Gaps::Refused }));
    Ok(())
}

/// What a template of the tenant makes of variables; `gaps` is as the provider has it.
pub fn of_template(name: TemplateName, variables: Map<String, Value>, gaps: Gaps) -> Box<Rendering> {
    let selection = Selection { name, version: None, locale: None };
    Box::new(Rendering { of: Words::Template(selection), variables, gaps })
}

/// The name of a template that is given as a text or a number.
pub fn template(fields: &mut Fields, name: &str) -> Option<TemplateName> {
    let text = match fields.take(name)? {
        Value::String(text) if text.is_empty() => return None,
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        _ => {
            fields.wrong(name, "wrong_type", "a text or a number is needed");
            return None;
        }
    };
    let read = parts::template_name(&text);
    if read.is_none() {
        fields.wrong(name, "unknown_template", "there is no such template");
    }
    read
}
