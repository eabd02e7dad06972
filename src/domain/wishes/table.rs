//! The table: every control field, and what it asks for. The sources are the providers' pages on sending by SMTP.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::domain::delivery::Priority;
use crate::domain::handling::Transport;
use crate::domain::submission::{Sending, StreamName, TRANSACTIONAL};

use super::{Wishes, json};

type Done = Result<(), String>;

/// What Mailgun's clients say of their own addresses, keys and best moments.
const MAILGUN_PASSED_OVER: [&str; 6] = [
    "dkim",
    "sending-ip",
    "sending-ip-pool",
    "skip-verification",
    "delivery-time-optimize-period",
    "time-zone-localize",
];

/// Takes in one field.
pub(super) fn field(wishes: &mut Wishes, name: &str, value: &str) -> Done {
    let lower = name.to_ascii_lowercase();
    if let Some(rest) = lower.strip_prefix("x-mailgun-") {
        return mailgun(wishes, rest, value);
    }
    if lower.starts_with(PM_METADATA) {
        // Only ASCII stands before this place.
        return wishes.note(&name[PM_METADATA.len()..], value);
    }
    if lower.starts_with("x-ses-") {
        return ses(wishes, &lower, value);
    }
    match lower.as_str() {
        "x-smtpapi" => json::smtpapi(wishes, value),
        "x-msys-api" => json::msys_api(wishes, value),
        "x-pm-message-stream" => stream(wishes, value),
        "x-pm-tag" => wishes.tag(value),
        // A Message-ID that is given is always kept.
        "x-pm-keepid" => Ok(()),
        "x-pm-trackopens" => flag(value).map(|opens| wishes.opens = Some(opens)),
        "x-pm-tracklinks" => links(wishes, value),
        "x-mailin-tag" | "x-tags" => value.split(',').try_for_each(|tag| wishes.tag(tag)),
        "x-mailin-custom" => wishes.note("X-Mailin-custom", value),
        "x-sib-sandbox" => sandbox(wishes, value.eq_ignore_ascii_case("drop")),
        "x-mj-customid" => wishes.note("CustomID", value),
        "x-mj-eventpayload" => wishes.note("EventPayload", value),
        "x-mailjet-campaign" => wishes.tag(value),
        // Whether the same recipient gets a campaign twice is for its sender to see to.
        "x-mailjet-deduplicatecampaign" => Ok(()),
        "x-mailjet-prio" => priority(wishes, value),
        "x-mailjet-trackopen" => mailjet_switch(value).map(|opens| wishes.opens = opens.or(wishes.opens)),
        "x-mailjet-trackclick" => {
            mailjet_switch(value).map(|clicks| wishes.clicks = clicks.or(wishes.clicks))
        }
        "x-apiheader" => wishes.note("X-APIHEADER", value),
        "resend-idempotency-key" => {
            wishes.key = Some(value.to_owned());
            Ok(())
        }
        _ if lower.starts_with("x-mj-") => mailjet_template(&lower, value),
        _ => Err("there is no such control field".to_owned()),
    }
}

const PM_METADATA: &str = "x-pm-metadata-";

/// Mailgun, "Passing sending options" by SMTP.
fn mailgun(wishes: &mut Wishes, name: &str, value: &str) -> Done {
    match name {
        "tag" => wishes.tag(value),
        "deliver-by" => {
            let moment = OffsetDateTime::parse(value, &Rfc2822);
            wishes.send_at = Some(moment.map_err(|_| "a date as RFC 2822 has it is needed".to_owned())?);
            Ok(())
        }
        "drop-message" => flag(value).and_then(|drop| sandbox(wishes, drop)),
        "track" => flag(value).map(|watched| {
            wishes.opens = wishes.opens.or(Some(watched));
            wishes.clicks = wishes.clicks.or(Some(watched));
        }),
        "track-opens" => flag(value).map(|opens| wishes.opens = Some(opens)),
        // Plain text is never marked, so that this asks for what is done anyway.
        "track-clicks" if value.trim().eq_ignore_ascii_case("htmlonly") => {
            wishes.clicks = Some(true);
            Ok(())
        }
        "track-clicks" => flag(value).map(|clicks| wishes.clicks = Some(clicks)),
        "require-tls" => flag(value).map(|required| {
            wishes.transport = required.then_some(Transport::RequireTls);
        }),
        "variables" => json::variables(wishes, value),
        _ if MAILGUN_PASSED_OVER.contains(&name) => Ok(()),
        "recipient-variables" if value.trim() == "{}" => Ok(()),
        "recipient-variables" | "template-variables" | "template-name" => {
            Err("mail for each recipient and templates are to be had over HTTP only".to_owned())
        }
        _ => Err("there is no such control field".to_owned()),
    }
}

/// Amazon SES, "Using the Amazon SES SMTP interface": the header's tags are `name=value`, with commas between them.
fn ses(wishes: &mut Wishes, name: &str, value: &str) -> Done {
    match name {
        "x-ses-message-tags" => {
            value.split(',').filter(|pair| !pair.trim().is_empty()).try_for_each(|pair| {
                let (name, value) = pair.split_once('=').ok_or("tags are written as name=value")?;
                wishes.note(name.trim(), value.trim())
            })
        }
        // Rights, accounts and lists of a provider that is not here.
        _ => Ok(()),
    }
}

/// Postmark: every account has `outbound`, and most `broadcast`.
fn stream(wishes: &mut Wishes, value: &str) -> Done {
    let name = match value.trim() {
        "outbound" => TRANSACTIONAL,
        other => other,
    };
    wishes.stream = Some(StreamName::parse(name).map_err(|error| error.to_string())?);
    Ok(())
}

fn links(wishes: &mut Wishes, value: &str) -> Done {
    wishes.clicks = match value.trim().to_ascii_lowercase().as_str() {
        "none" | "textonly" => Some(false),
        "htmlandtext" | "htmlonly" => Some(true),
        _ => return Err("None, HtmlAndText, HtmlOnly or TextOnly is needed".to_owned()),
    };
    Ok(())
}

fn sandbox(wishes: &mut Wishes, is_on: bool) -> Done {
    if is_on {
        wishes.sending = Some(Sending::Sandbox);
    }
    Ok(())
}

/// Mailjet, "Real-time priority": 0 to 3, 2 is usual.
fn priority(wishes: &mut Wishes, value: &str) -> Done {
    wishes.priority = match value.trim() {
        "0" | "1" => Some(Priority::Low),
        "2" => Some(Priority::Normal),
        "3" => Some(Priority::High),
        _ => return Err("0 to 3 is needed".to_owned()),
    };
    Ok(())
}

/// Mailjet: 0 as the account has it, 1 off, 2 on.
fn mailjet_switch(value: &str) -> Result<Option<bool>, String> {
    match value.trim() {
        "0" => Ok(None),
        "1" => Ok(Some(false)),
        "2" => Ok(Some(true)),
        _ => Err("0, 1 or 2 is needed".to_owned()),
    }
}

fn mailjet_template(name: &str, value: &str) -> Done {
    let value = value.trim();
    let is_off = matches!(value, "" | "0" | "{}") || value.eq_ignore_ascii_case("false");
    match name {
        "x-mj-templateid" | "x-mj-templatelanguage" | "x-mj-vars" if !is_off => {
            Err("templates are to be had over HTTP only".to_owned())
        }
        // What follows from a template.
        _ => Ok(()),
    }
}

/// As the providers write yes and no.
pub(super) fn flag(value: &str) -> Result<bool, String> {
    match value.trim().to_ascii_lowercase().as_str() {
        "yes" | "true" | "1" | "on" => Ok(true),
        "no" | "false" | "0" | "off" => Ok(false),
        _ => Err("yes or no is needed".to_owned()),
    }
}
