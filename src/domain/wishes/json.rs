//! The fields whose values are JSON: SendGrid's, which SMTP.com takes too, SparkPost's, and Mailgun's variables.

use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::domain::submission::Sending;
use crate::mail::{EmailAddress, Mailbox};

use super::Wishes;

type Done = Result<(), String>;

/// Why a composed mail is not made into several.
const ONLY_HTTP: &str = "mail for each recipient is to be had over HTTP only";

fn object(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err("an object is needed".to_owned()),
        Err(error) => Err(format!("it is no JSON: {error}")),
    }
}

/// SendGrid, "Building an X-SMTPAPI header".
pub(super) fn smtpapi(wishes: &mut Wishes, text: &str) -> Done {
    for (name, value) in object(text)? {
        match (name.as_str(), value) {
            ("category", value) => each_text(&value, |tag| wishes.tag(tag))?,
            ("unique_args", Value::Object(members)) => notes(wishes, &members)?,
            ("send_at", value) => wishes.send_at = Some(unix(&value)?),
            ("filters", Value::Object(filters)) => smtpapi_filters(wishes, &filters)?,
            // Groups, addresses and accounts that are SendGrid's own.
            ("asm_group_id" | "asm_groups_to_display" | "ip_pool", _) => {}
            ("to" | "sub" | "section" | "send_each_at", value) if is_empty(&value) => {}
            ("to" | "sub" | "section" | "send_each_at", _) => return Err(format!("{name}: {ONLY_HTTP}")),
            _ => return Err(format!("{name} cannot be used")),
        }
    }
    Ok(())
}

/// SendGrid, "SMTP filters": of those, the ones that have a meaning here.
fn smtpapi_filters(wishes: &mut Wishes, filters: &Map<String, Value>) -> Done {
    for (name, filter) in filters {
        let enable = filter.pointer("/settings/enable");
        let is_on = match enable {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::Number(number)) => number.as_i64() == Some(1),
            Some(Value::String(text)) => text == "1",
            _ => false,
        };
        match name.as_str() {
            "clicktrack" => wishes.clicks = Some(is_on),
            "opentrack" => wishes.opens = Some(is_on),
            "templates" | "footer" | "template" if is_on => {
                return Err(format!("the filter {name} is not available"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// SparkPost, "SMTP API": `X-MSYS-API`.
pub(super) fn msys_api(wishes: &mut Wishes, text: &str) -> Done {
    for (name, value) in object(text)? {
        match (name.as_str(), value) {
            ("campaign_id", Value::String(campaign)) => wishes.tag(&campaign)?,
            ("tags", value) => each_text(&value, |tag| wishes.tag(tag))?,
            ("metadata", Value::Object(members)) => notes(wishes, &members)?,
            ("cc" | "bcc" | "archive", Value::Array(list)) => {
                for entry in &list {
                    wishes.copies.push(copy(entry)?);
                }
            }
            ("options", Value::Object(options)) => msys_options(wishes, &options)?,
            (_, Value::Null) => {}
            // Unknown members are passed over there too.
            ("campaign_id" | "metadata" | "cc" | "bcc" | "archive" | "options", _) => {
                return Err(format!("{name} is of another type"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn msys_options(wishes: &mut Wishes, options: &Map<String, Value>) -> Done {
    let flag = |name: &str| options.get(name).and_then(Value::as_bool);
    wishes.opens = flag("open_tracking").or(wishes.opens);
    wishes.clicks = flag("click_tracking").or(wishes.clicks);
    if flag("sandbox") == Some(true) {
        wishes.sending = Some(Sending::Sandbox);
    }
    if flag("skip_suppression") == Some(true) {
        return Err("skip_suppression is not available".to_owned());
    }
    Ok(())
}

fn copy(entry: &Value) -> Result<Mailbox, String> {
    let email = entry.get("email").or(Some(entry)).and_then(Value::as_str).ok_or("an email is needed")?;
    EmailAddress::parse(email).map(Mailbox::from).map_err(|error| error.to_string())
}

/// Mailgun's `X-Mailgun-Variables`: the author's own data, merged.
pub(super) fn variables(wishes: &mut Wishes, text: &str) -> Done {
    let members = object(text)?;
    notes(wishes, &members)
}

fn notes(wishes: &mut Wishes, members: &Map<String, Value>) -> Done {
    members.iter().try_for_each(|(key, value)| match value {
        Value::String(text) => wishes.note(key, text),
        other => wishes.note(key, &other.to_string()),
    })
}

fn each_text(value: &Value, mut take: impl FnMut(&str) -> Done) -> Done {
    match value {
        Value::String(text) => take(text),
        Value::Array(list) => {
            list.iter().try_for_each(|entry| take(entry.as_str().ok_or("texts are needed")?))
        }
        _ => Err("a text or a list of texts is needed".to_owned()),
    }
}

fn unix(value: &Value) -> Result<OffsetDateTime, String> {
    let seconds = value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    seconds
        .filter(|seconds| (0..253_402_300_800).contains(seconds))
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or_else(|| "send_at is in seconds since 1970".to_owned())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}
