//! `/v3/{domain}/events` and `/v3/{domain}/stats/total` (documentation.mailgun.com/docs/mailgun/api-reference/
//! openapi-final/tag/Events). Pages are walked by `?page=`, as their `paging` says.

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, Uri};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc2822;
use time::{Duration, OffsetDateTime};

use crate::domain::event::{Event, EventType};
use crate::domain::id::{EventId, MessageId};
use crate::domain::stats::{Counter, Counts};
use crate::domain::webhook_format::Format;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::lists;
use crate::http::compat::query::Asked;
use crate::http::error::Problem;
use crate::store::events::{self, EventFilter};
use crate::store::heads;
use crate::webhooks::posted;

use super::suppressions::{place, rfc_2822};

const MOST: usize = 300;

/// `GET /v3/{domain}/events`: as webhooks would post them, newest first.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    uri: Uri,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let limit = asked.number("limit", 100, MOST);
    let before = asked.text("page").and_then(|text| text.parse::<EventId>().ok());
    let (begin, end) = (moment(&asked, "begin"), moment(&asked, "end"));
    let (since, until) = match (begin, end) {
        // Given the other way round, they ask for the other order.
        (Some(begin), Some(end)) if end < begin => (Some(end), Some(begin)),
        other => other,
    };
    let filter = EventFilter {
        types: types(&asked),
        recipient: asked.text("recipient").or(asked.text("to")).map(str::to_lowercase),
        tag: asked.text("tags").map(str::to_owned),
        since,
        until,
        ..EventFilter::default()
    };
    let tenant = principal.tenant();
    let mut connection = app.database.serve().acquire().await?;
    let found = events::list(&mut connection, tenant, &filter, before, limit as i64).await?;
    let messages: Vec<MessageId> = found.iter().map(Event::message).collect();
    let heads = heads::of_messages(&mut connection, tenant, &messages).await?;
    let wanted = asked.text("message-id").map(|id| id.trim_matches(['<', '>']).to_owned());
    let shown: Vec<Value> = found
        .iter()
        .filter_map(|event| posted(Format::Mailgun, event, heads.get(&event.message())))
        .filter(|shown| {
            let id = shown.pointer("/message/headers/message-id").and_then(Value::as_str);
            wanted.as_deref().is_none_or(|wanted| id == Some(wanted))
        })
        .collect();
    let next = found.last().map_or_else(|| "end".to_owned(), |event| event.id.to_string());
    let path = place(&headers, &uri);
    Ok(Json(json!({
        "items": shown,
        "paging": {
            "first": format!("{path}?limit={limit}"),
            "next": format!("{path}?limit={limit}&page={next}"),
            "previous": format!("{path}?limit={limit}"),
            "last": format!("{path}?limit={limit}&page={next}"),
        },
    })))
}

/// `event=delivered OR failed`.
fn types(asked: &Asked) -> Option<Vec<EventType>> {
    let text = asked.text("event")?;
    let words = text.split(" OR ").map(str::trim);
    let types = words.flat_map(|word| -> &[EventType] {
        match word {
            "accepted" => &[EventType::Accepted],
            "delivered" => &[EventType::Delivered],
            "failed" => &[EventType::Deferred, EventType::Bounced, EventType::Expired, EventType::Suppressed],
            "opened" => &[EventType::Opened],
            "clicked" => &[EventType::Clicked],
            "unsubscribed" => &[EventType::Unsubscribed],
            "complained" => &[EventType::Complained],
            _ => &[],
        }
    });
    Some(types.copied().collect())
}

fn moment(asked: &Asked, name: &str) -> Option<OffsetDateTime> {
    let text = asked.text(name)?;
    let seconds = text.parse::<f64>().ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at as i64).ok());
    seconds.or_else(|| OffsetDateTime::parse(&text.replace("UTC", "GMT"), &Rfc2822).ok())
}

/// `GET /v3/{domain}/stats/total`.
pub async fn stats(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let now = app.clock.now();
    let to = moment(&asked, "end").unwrap_or(now);
    let from = moment(&asked, "start").unwrap_or(to - span(&asked));
    let rows = lists::by_day(&app, principal.tenant(), (from, to), None).await?;
    let wanted = asked.all("event");
    let stats: Vec<Value> = rows
        .iter()
        .map(|(day, cell)| {
            let mut row = json!({ "time": rfc_2822(*day) });
            for (name, value) in figures(&cell.counts) {
                if wanted.is_empty() || wanted.contains(&name) {
                    row[name] = value;
                }
            }
            row
        })
        .collect();
    Ok(Json(json!({ "start": rfc_2822(from), "end": rfc_2822(to), "resolution": "day", "stats": stats })))
}

/// `duration=1m`: hours, days, months.
fn span(asked: &Asked) -> Duration {
    let text = asked.text("duration").unwrap_or("7d");
    let number: i64 = text.get(..text.len() - 1).and_then(|digits| digits.parse().ok()).unwrap_or(7);
    let number = number.clamp(1, 400);
    match text.chars().last() {
        Some('h') => Duration::hours(number),
        Some('m') => Duration::days(30 * number.min(13)),
        _ => Duration::days(number),
    }
}

fn figures(counts: &Counts) -> [(&'static str, Value); 7] {
    let count = |counter| counts.get(counter);
    let (accepted, delivered) = (count(Counter::Accepted), count(Counter::Delivered));
    let permanent = count(Counter::Bounced) + count(Counter::Expired) + count(Counter::Suppressed);
    [
        ("accepted", json!({ "incoming": 0, "outgoing": accepted, "total": accepted })),
        ("delivered", json!({ "smtp": delivered, "http": 0, "total": delivered })),
        (
            "failed",
            json!({
                "temporary": { "espblock": 0, "total": count(Counter::Deferred) },
                "permanent": {
                    "bounce": count(Counter::Bounced),
                    "suppress-bounce": count(Counter::Suppressed),
                    "suppress-unsubscribe": 0,
                    "suppress-complaint": 0,
                    "delayed-bounce": 0,
                    "total": permanent,
                },
            }),
        ),
        ("opened", json!({ "total": count(Counter::Opened) })),
        ("clicked", json!({ "total": count(Counter::Clicked) })),
        ("unsubscribed", json!({ "total": count(Counter::Unsubscribed) })),
        ("complained", json!({ "total": count(Counter::Complained) })),
    ]
}
