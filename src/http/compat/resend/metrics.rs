//! `GET /emails/metrics` (resend.com/docs/api-reference/emails/get-metrics): totals, and with the dimension `period` day
//! by day. Other dimensions are refused.

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use serde_json::{Map, Value, json};
use time::Duration;

use crate::domain::stats::{Counter, Counts};
use crate::http::App;
use crate::http::api::wire::moment;
use crate::http::auth::Principal;
use crate::http::compat::lists;
use crate::http::compat::query::{Asked, date};
use crate::http::error::Problem;

/// What a figure is called, and how it is counted.
type Figure = (&'static str, fn(&Counts) -> i64);

const FIGURES: [Figure; 15] = [
    ("sent", |counts| counts.get(Counter::Accepted) - counts.get(Counter::Suppressed)),
    ("delivered", |counts| counts.get(Counter::Delivered)),
    ("complained", |counts| counts.get(Counter::Complained)),
    ("suppressed", |counts| counts.get(Counter::Suppressed)),
    ("bounced", |counts| counts.get(Counter::Bounced)),
    ("bounced_permanent", |counts| counts.get(Counter::HardBounced)),
    ("bounced_transient", |counts| counts.get(Counter::Bounced) - counts.get(Counter::HardBounced)),
    ("bounced_undetermined", |_| 0),
    ("opened", |counts| counts.get(Counter::Opened)),
    ("unique_opened", |counts| counts.get(Counter::UniqueOpened)),
    ("clicked", |counts| counts.get(Counter::Clicked)),
    ("unique_clicked", |counts| counts.get(Counter::UniqueClicked)),
    ("unsubscribed", |counts| counts.get(Counter::Unsubscribed)),
    ("delivery_delayed", |counts| counts.get(Counter::Deferred)),
    ("failed", |counts| counts.get(Counter::Expired)),
];
/// A figure in a hundred of those that were delivered, or of those that were sent.
const RATES: [(&str, &str, &str); 6] = [
    ("delivery_rate", "delivered", "sent"),
    ("open_rate", "unique_opened", "delivered"),
    ("click_rate", "unique_clicked", "delivered"),
    ("bounce_rate", "bounced", "sent"),
    ("complaint_rate", "complained", "delivered"),
    ("unsubscribe_rate", "unsubscribed", "delivered"),
];

fn figure(counts: &Counts, name: &str) -> i64 {
    FIGURES.iter().find(|(known, _)| *known == name).map_or(0, |(_, of)| of(counts))
}

fn figures(counts: &Counts, wanted: &[&str]) -> Map<String, Value> {
    let is_wanted = |name: &str| wanted.is_empty() || wanted.contains(&name);
    let mut shown: Map<String, Value> = FIGURES
        .iter()
        .filter(|(name, _)| is_wanted(name))
        .map(|(name, of)| ((*name).to_owned(), of(counts).into()))
        .collect();
    for (name, part, whole) in RATES.iter().filter(|(name, ..)| is_wanted(name)) {
        let (part, whole) = (figure(counts, part), figure(counts, whole));
        let rate = if whole > 0 { part as f64 * 100.0 / whole as f64 } else { 0.0 };
        shown.insert((*name).to_owned(), rate.into());
    }
    shown
}

/// Shows them.
pub async fn show(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let list = |name: &str| -> Vec<String> {
        let values = [asked.all(name), asked.all(&format!("{name}[]"))].concat();
        values.iter().flat_map(|text| text.split(',')).map(|text| text.trim().to_owned()).collect()
    };
    let (names, dimensions) = (list("metrics"), list("dimensions"));
    if dimensions.iter().any(|dimension| dimension != "period") {
        let message = "Invalid `dimensions` field. Only `period` is available.";
        return Err(Problem::field("/dimensions", "not_supported", message));
    }
    let end = asked.moment("end_date").unwrap_or_else(|| app.clock.now());
    let start = asked.moment("start_date").unwrap_or(end - Duration::days(6));
    let rows = lists::by_day(&app, principal.tenant(), (start, end), None).await?;
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut total = Counts::default();
    let mut data = Vec::new();
    for (day, cell) in &rows {
        total.merge(&cell.counts);
        let mut row = figures(&cell.counts, &wanted);
        row.insert("period".to_owned(), date(*day).into());
        data.push(Value::Object(row));
    }
    let totals = figures(&total, &wanted);
    let mut shown = json!({
        "object": "metrics",
        "start_date": moment(start),
        "end_date": moment(end),
        "metrics": totals.keys().collect::<Vec<_>>(),
        "dimensions": dimensions,
        "granularity": "daily",
        "totals": totals,
    });
    if !dimensions.is_empty() {
        shown["data"] = data.into();
    }
    Ok(Json(shown))
}
