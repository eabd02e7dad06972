//! `/ui/messages`: finding mail, by whom it went to, what it says, when, and how it ended.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::domain::delivery::DeliveryStatus;
use crate::domain::id::{DeliveryId, MessageId};
use crate::http::App;
use crate::store::messages::{self, MessageFilter, MessageRow, StatusCount};

use super::form::Form;
use super::frame::{Failed, Frame, Page, shown};
use super::show::{self, At, Badge};

/// Messages of one page.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "ui/messages.html")]
struct Messages {
    frame: Frame,
    form: Form,
    statuses: Vec<(&'static str, &'static str)>,
    rows: Vec<Row>,
    /// Where older ones are; empty: nowhere.
    older: String,
    is_first: bool,
    is_filtered: bool,
    url: String,
}

/// A message in a list.
pub struct Row {
    /// Its id.
    pub id: String,
    /// What it is about.
    pub subject: String,
    /// Who gets it: the first, and how many more.
    pub to: String,
    /// How many more get it.
    pub more: usize,
    /// When it was accepted.
    pub at: At,
    /// How its deliveries stand, each with how many if there are several.
    pub states: Vec<(Badge, String)>,
    /// Its stream.
    pub stream: String,
    /// Its labels.
    pub tags: Vec<String>,
    /// Made with a test key.
    pub sandbox: bool,
}

/// A message as a list shows it.
pub fn row(row: &MessageRow, counts: &[StatusCount]) -> Row {
    let recipients: Vec<String> = ["to", "cc", "bcc"]
        .iter()
        .filter_map(|name| row.addresses.get(*name)?.as_array())
        .flatten()
        .filter_map(address)
        .collect();
    let own: Vec<&StatusCount> = counts.iter().filter(|count| count.message == row.id()).collect();
    let total: i64 = own.iter().map(|count| count.count).sum();
    let several = |count: i64| if total > 1 { show::count(count) } else { String::new() };
    Row {
        id: row.id().to_string(),
        subject: row.subject.clone(),
        more: usize::try_from(total).unwrap_or_default().max(recipients.len()).saturating_sub(1),
        to: recipients.into_iter().next().unwrap_or_default(),
        at: show::ago(row.id().born()),
        states: own.iter().map(|count| (show::status(count.status), several(count.count))).collect(),
        stream: row.stream.clone(),
        tags: row.tags.clone(),
        sandbox: row.sandbox,
    }
}

/// The address of a stored mailbox: a text, or an object with `email`.
pub fn address(value: &serde_json::Value) -> Option<String> {
    value.as_str().or_else(|| value.get("email")?.as_str()).map(str::to_owned)
}

/// The page.
pub async fn list(State(app): State<App>, page: Page, RawQuery(query): RawQuery) -> Result<Response, Failed> {
    let form = Form::parse(query.unwrap_or_default().as_bytes());
    if let Some(path) = by_id(form.text("q")) {
        return Ok(Redirect::to(&path).into_response());
    }
    let (filter, form) = filter(form);
    let before = form.given("before").and_then(|text| text.parse::<MessageId>().ok());
    let tenant = page.tenant();
    let mut connection = app.database.serve().acquire().await?;
    let found = messages::list(&mut connection, tenant, &filter, before, PAGE).await?;
    let ids: Vec<MessageId> = found.messages.iter().map(MessageRow::id).collect();
    let counts = messages::status_counts(&mut connection, tenant, &ids).await?;
    let older =
        found.next.map(|next| form.onward("/ui/messages", &FILTERS, &next.to_string())).unwrap_or_default();
    let mut frame = page.frame("Messages", "messages");
    frame.search = form.text("q").to_owned();
    let statuses = DeliveryStatus::ALL.into_iter().map(|status| (status.as_str(), status.as_str()));
    shown(&Messages {
        frame,
        statuses: std::iter::once(("", "any")).chain(statuses).collect(),
        rows: found.messages.iter().map(|message| row(message, &counts)).collect(),
        older,
        is_first: before.is_none(),
        is_filtered: FILTERS.iter().any(|name| form.given(name).is_some()),
        form,
        url: app.site.origin().to_owned(),
    })
}

const FILTERS: [&str; 8] = ["q", "to", "subject", "status", "tag", "stream", "since", "until"];

/// Where the message is that an id names; `None`: it is no id.
fn by_id(text: &str) -> Option<String> {
    let message = text.parse::<MessageId>().ok();
    let message = message.or_else(|| text.parse::<DeliveryId>().ok().map(|id| id.message()));
    message.map(|id| format!("/ui/messages/{id}"))
}

/// What is searched for. What cannot be read is named, and left out.
fn filter(mut form: Form) -> (MessageFilter, Form) {
    let text = |form: &Form, name: &str| form.given(name).map(str::to_owned);
    let mut filter = MessageFilter {
        to: text(&form, "to").map(|to| to.to_lowercase()),
        subject: text(&form, "subject"),
        tag: text(&form, "tag"),
        stream: text(&form, "stream"),
        ..MessageFilter::default()
    };
    // One line for whatever somebody has at hand.
    match form.given("q") {
        Some(word) if word.contains('@') => filter.to = Some(word.to_lowercase()),
        Some(word) => filter.subject = Some(word.to_owned()),
        None => {}
    }
    if let Some(status) = text(&form, "status") {
        match status.parse() {
            Ok(status) => filter.status = Some(status),
            Err(_) => form = form.wrong("status", "not a status"),
        }
    }
    for name in ["since", "until"] {
        let Some(given) = text(&form, name) else { continue };
        match day(&given) {
            Some(begun) if name == "since" => filter.since = Some(begun),
            Some(begun) => filter.until = Some(begun + time::Duration::DAY),
            None => form = form.wrong(name, "a day, such as 2026-11-29"),
        }
    }
    (filter, form)
}

/// The beginning of a day, in UTC.
pub fn day(text: &str) -> Option<OffsetDateTime> {
    let day = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
    (1970..=9000).contains(&day.year()).then(|| day.midnight().assume_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_finds_by_id_recipient_and_subject() {
        let filter = |query: &str| super::filter(Form::parse(query.as_bytes())).0;
        assert_eq!(filter("q=Ann%40Example.net").to.as_deref(), Some("ann@example.net"));
        assert_eq!(filter("q=Hello").subject.as_deref(), Some("Hello"));
        assert_eq!(by_id("Hello"), None);
        let id = MessageId::new(time::macros::datetime!(2026-11-29 12:00 UTC)).to_string();
        assert_eq!(by_id(&id), Some(format!("/ui/messages/{id}")));
    }

    #[test]
    fn a_day_is_whole_and_what_cannot_be_read_is_named() {
        let (filter, form) = filter(Form::parse(b"since=2026-11-28&until=2026-11-28&status=lost"));
        assert_eq!(
            filter.until.zip(filter.since).map(|(until, since)| until - since),
            Some(time::Duration::DAY)
        );
        assert!(form.is_wrong() && filter.status.is_none());
    }
}
