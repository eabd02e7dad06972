//! `GET /v1/stats`: figures over time, as JSON or CSV.

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};

use crate::domain::stats::{Cell, Counter, Counts, Dimension, Grain, Times};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::cells;
use crate::http::error::Problem;
use crate::http::extract::Query;
use crate::reporting::figures::{self, Figures, Question};

use super::wire::moment;

/// The longest time that is told by hours, and by days.
const MOST_HOURS: i64 = 31 * 24;
const MOST_DAYS: i64 = 400;
/// Groups, if nothing is said, and the most.
const GROUPS: usize = 10;
const MOST_GROUPS: usize = 100;
/// Intervals times groups.
const MOST_ROWS: usize = 10_000;

/// The percentiles of delivery times that are told.
const PERCENTILES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
}

/// `GET /v1/stats`.
pub async fn read(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let mut query = Query::parse(query.as_deref());
    let format = query.parsed("format", "invalid_format", parse_format).unwrap_or(Format::Json);
    let question = question(&mut query, now);
    query.finish()?;
    let figures = figures::answer(&app.database, principal.tenant(), &question, now).await?;
    Ok(match format {
        Format::Json => Json(show(&question, &figures)).into_response(),
        Format::Csv => csv(&figures),
    })
}

fn parse_format(text: &str) -> Result<Format, &'static str> {
    match text {
        "json" => Ok(Format::Json),
        "csv" => Ok(Format::Csv),
        _ => Err("json or csv is needed"),
    }
}

fn question(query: &mut Query, now: OffsetDateTime) -> Question {
    let grain = query.parsed("interval", "invalid_interval", str::parse).unwrap_or(Grain::Day);
    let usual = match grain {
        Grain::Hour => Duration::DAY,
        Grain::Day => Duration::days(30),
    };
    let to = query.moment("to").unwrap_or(now);
    let from = query.moment("from").unwrap_or(to - usual);
    let dimension = query.parsed("group_by", "invalid_group", str::parse).unwrap_or(Dimension::All);
    let values = query.all("group");
    if !values.is_empty() && dimension == Dimension::All {
        query.wrong("group", "needs_group_by", "it goes with group_by");
    }
    if values.len() > MOST_GROUPS || values.iter().any(|value| value.contains('\0')) {
        query.wrong("group", "too_many", format!("at most {MOST_GROUPS}, without U+0000"));
    }
    let limit = query.parsed("limit", "out_of_range", |text| {
        let wanted = format!("a number from 1 to {MOST_GROUPS} is needed");
        text.parse().ok().filter(|n| (1..=MOST_GROUPS).contains(n)).ok_or(wanted)
    });
    let limit = limit.unwrap_or(if values.is_empty() { GROUPS } else { values.len().min(MOST_GROUPS) });
    let question = Question { from, to, grain, dimension, values, limit };
    check_extent(query, &question);
    question
}

fn check_extent(query: &mut Query, question: &Question) {
    if question.from >= question.to {
        return query.wrong("from", "out_of_range", "it must be before to");
    }
    let intervals =
        (question.end() - question.first()).whole_seconds() / question.grain.length().whole_seconds();
    let most = match question.grain {
        Grain::Hour => MOST_HOURS,
        Grain::Day => MOST_DAYS,
    };
    if intervals > most {
        let message = format!("at most {most} intervals may be asked for, these are {intervals}");
        return query.wrong("from", "out_of_range", message);
    }
    let groups = if question.dimension == Dimension::All { 1 } else { question.limit };
    if usize::try_from(intervals).unwrap_or(usize::MAX).saturating_mul(groups) > MOST_ROWS {
        let message = format!(
            "{intervals} intervals of {groups} groups are too many: ask for a shorter time or fewer groups"
        );
        query.wrong("limit", "out_of_range", message);
    }
}

fn show(question: &Question, figures: &Figures) -> Value {
    let group = |value: &str| match question.dimension {
        Dimension::All => Value::Null,
        _ => value.into(),
    };
    let row = |time: Option<OffsetDateTime>, value: &str, cell: &Cell| {
        let mut row = figures_of(cell);
        if let Some(time) = time {
            row.insert("time".to_owned(), moment(time).into());
        }
        row.insert("group".to_owned(), group(value));
        Value::Object(row)
    };
    json!({
        "from": moment(question.first()),
        "to": moment(question.end()),
        "interval": question.grain.as_str(),
        "group_by": match question.dimension {
            Dimension::All => Value::Null,
            dimension => dimension.as_str().into(),
        },
        "as_of": moment(figures.as_of),
        "data": figures.rows.iter().map(|(time, value, cell)| row(Some(*time), value, cell)).collect::<Vec<_>>(),
        "totals": figures.totals.iter().map(|(value, cell)| row(None, value, cell)).collect::<Vec<_>>(),
    })
}

fn figures_of(cell: &Cell) -> Map<String, Value> {
    let mut figures: Map<String, Value> = Counter::ALL
        .into_iter()
        .map(|counter| (counter.as_str().to_owned(), cell.counts.get(counter).into()))
        .collect();
    figures.insert("rates".to_owned(), rates(&cell.counts));
    figures.insert("delivery_seconds".to_owned(), delivery_seconds(&cell.times));
    figures
}

/// Shares of what has ended, or of what arrived; null where there is nothing to have a share of.
fn rates(counts: &Counts) -> Value {
    let count = |counter| counts.get(counter);
    let ended = count(Counter::Delivered) + count(Counter::Bounced) + count(Counter::Expired);
    let share = |part: Counter, whole: i64| match whole {
        0 => Value::Null,
        whole => rounded(count(part) as f64 / whole as f64).into(),
    };
    json!({
        "delivered": share(Counter::Delivered, ended),
        "bounced": share(Counter::Bounced, ended),
        "complained": share(Counter::Complained, count(Counter::Delivered)),
        "opened": share(Counter::UniqueOpened, count(Counter::Delivered)),
        "clicked": share(Counter::UniqueClicked, count(Counter::Delivered)),
        "unsubscribed": share(Counter::Unsubscribed, count(Counter::Delivered)),
    })
}

fn delivery_seconds(times: &Times) -> Value {
    let percentiles: Option<Map<String, Value>> = PERCENTILES
        .iter()
        .map(|(name, share)| Some(((*name).to_owned(), rounded(times.percentile(*share)?).into())))
        .collect();
    percentiles.map_or(Value::Null, Value::Object)
}

/// To four places: more would feign a precision that is not there.
fn rounded(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

/// Figures as a file.
pub fn csv(figures: &Figures) -> Response {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let names = Counter::ALL.iter().map(|counter| counter.as_str());
    let head = ["time", "group"].into_iter().chain(names).chain(PERCENTILES.iter().map(|(name, _)| *name));
    // Writing to memory does not fail, and every record has as many fields as the first.
    let _ = writer.write_record(head);
    for (time, group, cell) in &figures.rows {
        let counts = cell.counts.as_slice().iter().map(i64::to_string);
        let times = PERCENTILES.iter().map(|(_, share)| {
            cell.times.percentile(*share).map_or_else(String::new, |seconds| rounded(seconds).to_string())
        });
        let record = [moment(*time), cells::write(group).into_owned()].into_iter().chain(counts).chain(times);
        let _ = writer.write_record(record);
    }
    let body = writer.into_inner().unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], body).into_response()
}
