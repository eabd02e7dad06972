//! The parameters `o:*` (documentation.mailgun.com/docs/mailgun/api-reference/openapi-final/tag/Messages): what is asked
//! of a mail besides its content. Those that have no counterpart here are named in the README, and have no effect.

use time::format_description::well_known::Rfc2822;
use time::{Duration, OffsetDateTime};

use crate::domain::handling::{Handling, Tracking, Transport};
use crate::domain::submission::{DEFAULT_TTL, MAX_TAGS, Options, Sending, is_tag};
use crate::submission::Violation;

use super::form::Form;

/// Reads them; what is wrong is added.
pub fn options(form: &Form, wrong: &mut Vec<Violation>) -> Options {
    let yes = |name: &str| form.one(name).is_some_and(is_yes);
    if form.one("o:archive-to").is_some() {
        wrong.push(Violation::new("/o:archive-to", "not_supported", "'o:archive-to' is not supported here"));
    }
    Options {
        tags: tags(form, wrong),
        send_at: send_at(form, wrong),
        ttl: ttl(form, wrong),
        sending: if yes("o:testmode") { Sending::Sandbox } else { Sending::Real },
        handling: Handling {
            tracking: tracking(form),
            transport: if yes("o:require-tls") { Transport::RequireTls } else { Transport::AsOffered },
            ..Handling::default()
        },
        ..Options::default()
    }
}

/// `yes`, `true`, and `htmlonly`, since only HTML is ever tracked here.
fn is_yes(value: &str) -> bool {
    ["yes", "true", "1", "htmlonly"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

fn tracking(form: &Form) -> Tracking {
    let all = form.one("o:tracking").map(is_yes);
    let own = |name: &str| match all {
        Some(false) => false,
        all => form.one(name).map(is_yes).or(all).unwrap_or(false),
    };
    Tracking { opens: own("o:tracking-opens"), clicks: own("o:tracking-clicks") }
}

fn tags(form: &Form, wrong: &mut Vec<Violation>) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in form.all("o:tag").filter(|tag| !tag.is_empty()) {
        if !is_tag(tag) {
            let message = "'o:tag' parameter is invalid: a tag has up to 128 characters";
            wrong.push(Violation::new("/o:tag", "invalid_tag", message));
        } else if !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    if tags.len() > MAX_TAGS {
        wrong.push(Violation::new("/o:tag", "too_many", format!("at most {MAX_TAGS} tags are allowed")));
    }
    tags
}

/// RFC 2822, or seconds since 1970.
fn send_at(form: &Form, wrong: &mut Vec<Violation>) -> Option<OffsetDateTime> {
    let text = form.one("o:deliverytime")?.trim();
    let at = match text.parse::<f64>() {
        Ok(seconds) => OffsetDateTime::from_unix_timestamp(seconds as i64).ok(),
        Err(_) => OffsetDateTime::parse(&text.replace("UTC", "GMT"), &Rfc2822).ok(),
    };
    if at.is_none() {
        let message = "'o:deliverytime' parameter is not a valid RFC-2822 date";
        wrong.push(Violation::new("/o:deliverytime", "invalid_time", message));
    }
    at
}

/// `1h30m`: from five minutes to a day.
fn ttl(form: &Form, wrong: &mut Vec<Violation>) -> Duration {
    let Some(text) = form.one("o:deliver-within") else { return DEFAULT_TTL };
    let ttl = span(text).filter(|ttl| (Duration::minutes(5)..=Duration::hours(24)).contains(ttl));
    if ttl.is_none() {
        let message = "'o:deliver-within' parameter is invalid: from 5m to 24h, such as 1h30m";
        wrong.push(Violation::new("/o:deliver-within", "invalid_time", message));
    }
    ttl.unwrap_or(DEFAULT_TTL)
}

fn span(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut digits = String::new();
    for c in text.trim().chars() {
        if c.is_ascii_digit() && digits.len() < 6 {
            digits.push(c);
            continue;
        }
        let number: i64 = std::mem::take(&mut digits).parse().ok()?;
        total += match c {
            'h' => Duration::hours(number),
            'm' => Duration::minutes(number),
            's' => Duration::seconds(number),
            _ => return None,
        };
    }
    digits.is_empty().then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;
    use axum::http::HeaderMap;

    async fn read(form: &str) -> (Options, Vec<String>) {
        let body = Bytes::from(form.to_owned());
        let form = Form::read(&HeaderMap::new(), body).await.expect("a form");
        let mut wrong = Vec::new();
        let options = options(&form, &mut wrong);
        (options, wrong.into_iter().map(|violation| violation.pointer).collect())
    }

    #[tokio::test]
    async fn options_are_read_as_mailgun_documents_them() {
        let (options, wrong) = read(
            "o:tag=a&o:tag=b&o:tag=a&o:testmode=yes&o:tracking=yes&o:tracking-clicks=htmlonly&o:tracking-opens=no\
             &o:deliver-within=1h30m&o:deliverytime=Tue%2C+24+Nov+2026+10%3A00%3A00+-0000&o:require-tls=True",
        )
        .await;
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(options.tags, ["a", "b"]);
        assert_eq!(options.sending, Sending::Sandbox);
        assert_eq!(options.handling.tracking, Tracking { opens: false, clicks: true });
        assert_eq!(options.handling.transport, Transport::RequireTls);
        assert_eq!(options.ttl, Duration::minutes(90));
        assert_eq!(options.send_at.map(OffsetDateTime::unix_timestamp), Some(1_795_514_400));
        let (_, wrong) = read("o:deliverytime=soon&o:deliver-within=2m&o:archive-to=x").await;
        assert_eq!(wrong, ["/o:archive-to", "/o:deliverytime", "/o:deliver-within"]);
    }
}
