//! `/ui/stats`: figures by group, beside each other and beside the time before; and as CSV.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::domain::stats::{Cell, Counter, Dimension, Grain};
use crate::http::App;
use crate::http::api;
use crate::reporting::figures::{self, Figures, Question};

use super::form::Form;
use super::frame::{Failed, Frame, Page, shown};
use super::messages::day;
use super::show::{self, At};

/// The longest time by hours, and by days.
const MOST_HOURS: Duration = Duration::days(7);
const MOST_DAYS: Duration = Duration::days(366);
/// Groups that are drawn, and that are listed.
const DRAWN: usize = 6;
const LISTED: usize = 50;

const GROUPS: [(&str, &str); 7] = [
    ("", "nothing"),
    ("provider", "mailbox provider"),
    ("domain", "sender domain"),
    ("stream", "stream"),
    ("tag", "tag"),
    ("template", "template"),
    ("bounce_class", "reason of bounces"),
];

/// What can be drawn: a count, or a share of what ended or arrived.
const MEASURES: [(&str, &str); 8] = [
    ("accepted", "Sent"),
    ("delivered", "Delivered"),
    ("bounced", "Bounced"),
    ("deferred", "Deferred"),
    ("complained", "Complained"),
    ("unique_opened", "Opened"),
    ("unique_clicked", "Clicked"),
    ("unsubscribed", "Unsubscribed"),
];

#[derive(Template)]
#[template(path = "ui/stats.html")]
struct Stats {
    frame: Frame,
    form: Form,
    groups: [(&'static str, &'static str); 7],
    measures: [(&'static str, &'static str); 8],
    intervals: [(&'static str, &'static str); 2],
    chart: String,
    rows: Vec<Row>,
    from: At,
    to: At,
    as_of: At,
    csv: String,
    measure: &'static str,
}

struct Row {
    group: String,
    cells: Vec<String>,
    /// Against the time before, of the same length.
    change: String,
}

/// The page.
pub async fn read(State(app): State<App>, page: Page, RawQuery(query): RawQuery) -> Result<Response, Failed> {
    let form = Form::parse(query.unwrap_or_default().as_bytes());
    let now = app.clock.now();
    let (form, question) = question(form, now);
    let figures = figures::answer(&app.database, page.tenant(), &question, now).await?;
    let before = Question {
        from: question.from - (question.to - question.from),
        to: question.from,
        ..question.clone()
    };
    let before = figures::answer(&app.database, page.tenant(), &before, now).await?;
    let counter = measure(&form);
    let named = MEASURES.iter().find(|(code, _)| *code == counter.as_str());
    shown(&Stats {
        frame: page.frame("Statistics", "stats"),
        groups: GROUPS,
        measures: MEASURES,
        intervals: [("day", "days"), ("hour", "hours")],
        chart: chart(&question, &figures, counter),
        rows: rows(&question, &figures, &before, counter),
        from: show::clock(question.first()),
        to: show::clock(question.end()),
        as_of: show::clock(figures.as_of),
        csv: csv_path(&form),
        measure: named.map_or("Sent", |(_, label)| label),
        form,
    })
}

/// The same as CSV.
pub async fn csv(State(app): State<App>, page: Page, RawQuery(query): RawQuery) -> Result<Response, Failed> {
    let form = Form::parse(query.unwrap_or_default().as_bytes());
    let now = app.clock.now();
    let (_, question) = question(form, now);
    let figures = figures::answer(&app.database, page.tenant(), &question, now).await?;
    Ok(api::stats::csv(&figures))
}

const FIELDS: [&str; 5] = ["from", "to", "interval", "group", "measure"];

fn csv_path(form: &Form) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for name in FIELDS {
        if let Some(value) = form.given(name) {
            query.append_pair(name, value);
        }
    }
    format!("/ui/stats.csv?{}", query.finish())
}

fn measure(form: &Form) -> Counter {
    Counter::ALL
        .into_iter()
        .find(|counter| counter.as_str() == form.text("measure"))
        .unwrap_or(Counter::Accepted)
}

/// What is asked for; days that cannot be read or are too many are named, and replaced.
fn question(form: Form, now: OffsetDateTime) -> (Form, Question) {
    let grain = if form.text("interval") == "hour" { Grain::Hour } else { Grain::Day };
    let dimension = form.given("group").and_then(|group| group.parse().ok()).unwrap_or(Dimension::All);
    let mut form = form;
    let mut edge = |name: &str, otherwise: OffsetDateTime| match form.given(name).map(day) {
        None => otherwise,
        Some(Some(begun)) => begun,
        Some(None) => {
            form = form.clone().wrong(name, "a day, such as 2026-11-29");
            otherwise
        }
    };
    let to = edge("to", now - Duration::DAY) + Duration::DAY;
    let (usual, most) = match grain {
        Grain::Hour => (Duration::days(1), MOST_HOURS),
        Grain::Day => (Duration::days(29), MOST_DAYS),
    };
    let mut from = edge("from", to - usual);
    if from >= to || to - from > most {
        form = form.wrong("from", format!("before the last day, and at most {} days", most.whole_days()));
        from = to - usual;
    }
    let question = Question {
        from,
        to: to.min(now.max(from + Duration::HOUR)),
        grain,
        dimension,
        values: Vec::new(),
        limit: LISTED,
    };
    (form, question)
}

fn label(question: &Question, value: &str) -> String {
    match question.dimension {
        Dimension::All => "All mail".to_owned(),
        _ if value.is_empty() => "(none)".to_owned(),
        _ => value.to_owned(),
    }
}

fn chart(question: &Question, figures: &Figures, counter: Counter) -> String {
    let mut times = Vec::new();
    let mut start = question.first();
    while start < question.end() {
        times.push(start);
        start += question.grain.length();
    }
    let mut drawn: Vec<&(String, Cell)> = figures.totals.iter().collect();
    drawn.sort_by_key(|(_, cell)| std::cmp::Reverse(cell.counts.get(counter)));
    let series = drawn.into_iter().take(DRAWN).map(|(value, _)| {
        let counts: Vec<i64> = times
            .iter()
            .map(|start| {
                let found = figures.rows.iter().find(|(at, group, _)| at == start && group == value);
                found.map_or(0, |(_, _, cell)| cell.counts.get(counter))
            })
            .collect();
        json!({ "label": label(question, value), "values": counts })
    });
    let series: Vec<_> = series.collect();
    json!({ "times": times.iter().map(|at| at.unix_timestamp()).collect::<Vec<_>>(), "series": series })
        .to_string()
}

fn rows(question: &Question, figures: &Figures, before: &Figures, counter: Counter) -> Vec<Row> {
    let row = |(value, cell): &(String, Cell)| {
        let count = |counter| cell.counts.get(counter);
        let ended = count(Counter::Delivered) + count(Counter::Bounced) + count(Counter::Expired);
        let delivered = count(Counter::Delivered);
        let past = before.totals.iter().find(|(other, _)| other == value);
        let past = past.map_or(0, |(_, cell)| cell.counts.get(counter));
        let median = cell.times.percentile(0.5).map_or_else(|| "–".to_owned(), show::lasting);
        Row {
            group: label(question, value),
            cells: vec![
                show::count(count(Counter::Accepted)),
                show::count(delivered),
                show::share(delivered, ended),
                show::share(count(Counter::Bounced), ended),
                show::count(count(Counter::Deferred)),
                show::share(count(Counter::Complained), delivered),
                show::share(count(Counter::UniqueOpened), delivered),
                show::share(count(Counter::UniqueClicked), delivered),
                median,
            ],
            change: change(count(counter), past),
        }
    };
    figures.totals.iter().map(row).collect()
}

/// How a figure stands to the one of the time before.
fn change(now: i64, before: i64) -> String {
    match (now, before) {
        (0, 0) => "–".to_owned(),
        (_, 0) => "new".to_owned(),
        (now, before) => format!("{:+.0} %", (now - before) as f64 * 100.0 / before as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_time_that_makes_no_sense_is_named_and_replaced() {
        let now = datetime!(2026-11-29 12:00 UTC);
        let asked = |query: &str| question(Form::parse(query.as_bytes()), now);
        for wrong in
            ["from=2026-11-20&to=2026-11-01", "from=2020-01-01", "from=x", "interval=hour&from=2026-10-01"]
        {
            let (form, question) = asked(wrong);
            assert!(form.error("from").is_some(), "{wrong}");
            assert!(question.from < question.to, "{wrong}");
        }
        let (form, question) = asked("from=2026-11-01&to=2026-11-10");
        assert!(!form.is_wrong());
        assert_eq!(question.end() - question.first(), Duration::days(10));
    }

    #[test]
    fn a_change_is_told_against_the_time_before() {
        assert_eq!(
            [change(150, 100), change(50, 100), change(3, 0), change(0, 0)],
            ["+50 %", "-50 %", "new", "–"]
        );
    }
}
