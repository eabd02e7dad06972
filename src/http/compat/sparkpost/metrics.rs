//! `GET /api/v1/metrics/deliverability`, and by days `…/time-series` (developers.sparkpost.com, "Metrics").

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::domain::stats::{Cell, Counter, Counts};
use crate::http::App;
use crate::http::api::wire::moment;
use crate::http::auth::Principal;
use crate::http::compat::lists;
use crate::http::compat::query::Asked;
use crate::http::error::Problem;

/// What a figure is called, and how it is counted.
type Figure = (&'static str, fn(&Counts) -> i64);

/// Figures by their names there; those that nobody asks for are left out.
const FIGURES: [Figure; 17] = [
    ("count_targeted", |counts| counts.get(Counter::Accepted)),
    ("count_injected", |counts| counts.get(Counter::Accepted) - counts.get(Counter::Suppressed)),
    ("count_sent", |counts| counts.get(Counter::Delivered) + counts.get(Counter::Bounced)),
    ("count_accepted", |counts| counts.get(Counter::Delivered)),
    ("count_delivered", |counts| counts.get(Counter::Delivered)),
    ("count_bounce", |counts| counts.get(Counter::Bounced) + counts.get(Counter::Expired)),
    ("count_hard_bounce", |counts| counts.get(Counter::HardBounced)),
    ("count_soft_bounce", |counts| counts.get(Counter::Bounced) - counts.get(Counter::HardBounced)),
    ("count_admin_bounce", |counts| counts.get(Counter::Suppressed)),
    ("count_rejected", |counts| counts.get(Counter::Suppressed)),
    ("count_delayed", |counts| counts.get(Counter::Deferred)),
    ("count_spam_complaint", |counts| counts.get(Counter::Complained)),
    ("count_rendered", |counts| counts.get(Counter::Opened)),
    ("count_unique_rendered", |counts| counts.get(Counter::UniqueOpened)),
    ("count_clicked", |counts| counts.get(Counter::Clicked)),
    ("count_unique_clicked", |counts| counts.get(Counter::UniqueClicked)),
    ("count_unsubscribe", |counts| counts.get(Counter::Unsubscribed)),
];

/// The days that are asked for, and the names of the figures.
async fn days(
    app: &App,
    principal: &Principal,
    asked: &Asked,
) -> Result<Vec<(OffsetDateTime, Cell)>, Problem> {
    let now = app.clock.now();
    let to = asked.moment("to").unwrap_or(now);
    let from = asked.moment("from").unwrap_or(to - Duration::DAY);
    let campaign = asked.text("campaigns").and_then(|list| list.split(',').next()).map(str::to_owned);
    lists::by_day(app, principal.tenant(), (from, to), campaign).await
}

fn figures(counts: &Counts, asked: &Asked) -> Value {
    let names = asked.text("metrics");
    let is_wanted = |name: &str| names.is_none_or(|names| names.split(',').any(|it| it.trim() == name));
    let wanted = FIGURES.iter().filter(|(name, _)| is_wanted(name));
    wanted.map(|(name, of)| ((*name).to_owned(), Value::from(of(counts)))).collect()
}

/// All together.
pub async fn total(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let mut counts = Counts::default();
    for (_, cell) in days(&app, &principal, &asked).await? {
        counts.merge(&cell.counts);
    }
    Ok(Json(json!({ "results": [figures(&counts, &asked)], "links": [] })))
}

/// Day by day.
pub async fn by_time(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let rows = days(&app, &principal, &asked).await?;
    let shown = rows.iter().map(|(day, cell)| {
        let mut row = figures(&cell.counts, &asked);
        row["ts"] = moment(*day).into();
        row
    });
    Ok(Json(json!({ "results": shown.collect::<Vec<_>>(), "links": [] })))
}
