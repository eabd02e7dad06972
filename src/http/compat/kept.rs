//! What clients keep in header fields of their mail, to get it back in webhooks: tags and metadata, where a provider has
//! no other place for them (django-anymail, for Resend and for SES). The fields stay in the mail, as there.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::submission::{
    MAX_METADATA, MAX_TAGS, Options, is_metadata_key, is_metadata_value, is_tag,
};
use crate::mail::headers::CustomHeaders;
use crate::mail::raw;

/// A tag; the field may repeat.
pub const TAG: &str = "X-Tag";
/// A JSON list of tags.
pub const TAGS: &str = "X-Tags";
/// A JSON object.
pub const METADATA: &str = "X-Metadata";

/// The first field of a name.
pub fn first<'a>(headers: &'a CustomHeaders, name: &str) -> Option<&'a str> {
    headers.others.iter().find(|header| header.is(name)).map(|header| header.value())
}

/// A JSON list; what is none counts as empty.
pub fn tag_list(text: Option<&str>) -> Vec<String> {
    let list = text.and_then(|text| serde_json::from_str::<Vec<String>>(text).ok());
    list.unwrap_or_default().into_iter().filter(|tag| is_tag(tag)).take(MAX_TAGS).collect()
}

/// A JSON object, likewise.
pub fn metadata(text: Option<&str>) -> BTreeMap<String, String> {
    let object = text.and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let entries = object.unwrap_or_default().into_iter().map(|(name, value)| (name, text(value)));
    entries
        .filter(|(name, value)| is_metadata_key(name) && is_metadata_value(value))
        .take(MAX_METADATA)
        .collect()
}

/// Notes what a composed mail keeps; what the request says itself stands.
pub fn of_raw(octets: &[u8], options: &mut Options) {
    let tags = raw::values(octets, TAG);
    note(tags.iter().map(String::as_str), raw::values(octets, METADATA).first().map(String::as_str), options);
}

/// The same of header fields that are given by themselves.
pub fn of_headers(headers: &CustomHeaders, options: &mut Options) {
    let tags = headers.others.iter().filter(|header| header.is(TAG)).map(|header| header.value());
    note(tags, first(headers, METADATA), options);
}

fn note<'a>(tags: impl Iterator<Item = &'a str>, object: Option<&str>, options: &mut Options) {
    for tag in tags {
        if is_tag(tag) && options.tags.len() < MAX_TAGS && !options.tags.iter().any(|known| known == tag) {
            options.tags.push(tag.to_owned());
        }
    }
    for (name, value) in metadata(object) {
        if options.metadata.len() < MAX_METADATA {
            options.metadata.entry(name).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_in_a_mail_is_found() {
        let raw = b"From: a@b.example\r\nX-Tag: one\r\nX-Metadata: {\"order\": 7,\r\n \"who\": \"a\"}\r\nX-Tag: two\r\n\r\nX-Tag: three\r\n";
        let mut options = Options::default();
        options.metadata.insert("who".to_owned(), "request".to_owned());
        of_raw(raw, &mut options);
        assert_eq!(options.tags, ["one", "two"]);
        let wanted =
            [("order", "7"), ("who", "request")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(options.metadata, BTreeMap::from(wanted));
        assert_eq!(
            (tag_list(Some("[\"a\", \"\"]")), tag_list(Some("x"))),
            (vec!["a".to_owned()], Vec::new())
        );
    }
}
