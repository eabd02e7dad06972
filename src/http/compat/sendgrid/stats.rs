//! `/v3/stats` and `/v3/categories/stats` (docs.sendgrid.com/api-reference/stats).

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use serde_json::{Value, json};
use time::Duration;

use crate::domain::stats::{Cell, Counter};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::lists;
use crate::http::compat::query::{Asked, date};
use crate::http::error::Problem;

/// `GET /v3/stats`.
pub async fn all(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let rows = by_day(&app, &principal, &asked, None).await?;
    let days =
        rows.into_iter().map(|(day, cell)| json!({ "date": day, "stats": [{ "metrics": metrics(&cell) }] }));
    Ok(Json(days.collect()))
}

/// `GET /v3/categories/stats?categories=`.
pub async fn of_categories(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let categories = asked.all("categories");
    if categories.is_empty() {
        return Err(Problem::field("/categories", "required", "at least one category is required"));
    }
    let mut days: Vec<Value> = Vec::new();
    for category in categories {
        for (day, cell) in by_day(&app, &principal, &asked, Some(category.to_owned())).await? {
            let stat = json!({ "type": "category", "name": category, "metrics": metrics(&cell) });
            match days.iter_mut().find(|known| known["date"] == day.as_str()) {
                Some(known) => {
                    if let Some(stats) = known["stats"].as_array_mut() {
                        stats.push(stat);
                    }
                }
                None => days.push(json!({ "date": day, "stats": [stat] })),
            }
        }
    }
    days.sort_by(|one, other| one["date"].as_str().cmp(&other["date"].as_str()));
    Ok(Json(days.into()))
}

async fn by_day(
    app: &App,
    principal: &Principal,
    asked: &Asked,
    category: Option<String>,
) -> Result<Vec<(String, Cell)>, Problem> {
    let Some(from) = asked.moment("start_date") else {
        return Err(Problem::field("/start_date", "required", "start_date is required"));
    };
    let to = asked.moment("end_date").map_or_else(|| app.clock.now(), |end| end + Duration::DAY);
    let rows = lists::by_day(app, principal.tenant(), (from, to), category).await?;
    Ok(rows.into_iter().map(|(day, cell)| (date(day), cell)).collect())
}

fn metrics(cell: &Cell) -> Value {
    let count = |counter| cell.counts.get(counter);
    json!({
        "requests": count(Counter::Accepted),
        "processed": count(Counter::Accepted),
        "delivered": count(Counter::Delivered),
        "deferred": count(Counter::Deferred),
        "bounces": count(Counter::Bounced),
        "bounce_drops": count(Counter::Suppressed),
        "blocks": count(Counter::Expired),
        "invalid_emails": 0,
        "opens": count(Counter::Opened),
        "unique_opens": count(Counter::UniqueOpened),
        "clicks": count(Counter::Clicked),
        "unique_clicks": count(Counter::UniqueClicked),
        "spam_reports": count(Counter::Complained),
        "spam_report_drops": 0,
        "unsubscribes": count(Counter::Unsubscribed),
        "unsubscribe_drops": 0,
    })
}
