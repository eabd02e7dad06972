//! `/server` and `/stats/outbound` (postmarkapp.com/developer/api/server-api, …/stats-api). A server there is a tenant
//! here.

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use serde_json::{Value, json};
use time::Duration;

use crate::domain::stats::{Cell, Counter, Counts};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::lists;
use crate::http::compat::query::{Asked, date};
use crate::http::error::Problem;
use crate::http::extract::Path;

/// `GET /server`.
pub async fn show(Extension(principal): Extension<Principal>) -> Json<Value> {
    Json(json!({
        "ID": 1,
        "Name": principal.tenant().to_string(),
        "ApiTokens": [],
        "Color": "blue",
        "SmtpApiActivated": true,
        "RawEmailEnabled": false,
        "DeliveryType": "Live",
        "ServerLink": "",
        "InboundAddress": "",
        "InboundHookUrl": "",
        "BounceHookUrl": "",
        "OpenHookUrl": "",
        "DeliveryHookUrl": "",
        "ClickHookUrl": "",
        "PostFirstOpenOnly": false,
        "InboundDomain": "",
        "InboundHash": "",
        "InboundSpamThreshold": 0,
        "TrackOpens": false,
        "TrackLinks": "None",
        "IncludeBounceContentInHook": false,
        "EnableSmtpApiErrorHooks": false,
    }))
}

async fn days(app: &App, principal: &Principal, query: Option<&str>) -> Result<Vec<(String, Cell)>, Problem> {
    let asked = Asked::parse(query);
    let now = app.clock.now();
    let to = asked.moment("todate").map_or(now, |day| day + Duration::DAY);
    let from = asked.moment("fromdate").unwrap_or(to - Duration::days(30));
    let tag = asked.text("tag").map(str::to_owned);
    let rows = lists::by_day(app, principal.tenant(), (from, to), tag).await?;
    Ok(rows.into_iter().map(|(day, cell)| (date(day), cell)).collect())
}

/// `GET /stats/outbound`: all together.
pub async fn overview(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let mut counts = Counts::default();
    for (_, cell) in days(&app, &principal, query.as_deref()).await? {
        counts.merge(&cell.counts);
    }
    let count = |counter| counts.get(counter);
    let sent = count(Counter::Accepted) - count(Counter::Suppressed);
    let rate = |part: i64| if sent > 0 { part as f64 * 100.0 / sent as f64 } else { 0.0 };
    Ok(Json(json!({
        "Sent": sent,
        "Bounced": count(Counter::Bounced),
        "SMTPApiErrors": 0,
        "BounceRate": rate(count(Counter::Bounced)),
        "SpamComplaints": count(Counter::Complained),
        "SpamComplaintsRate": rate(count(Counter::Complained)),
        "Opens": count(Counter::Opened),
        "UniqueOpens": count(Counter::UniqueOpened),
        "Tracked": count(Counter::Opened),
        "WithClientRecorded": 0,
        "WithPlatformRecorded": 0,
        "WithReadTimeRecorded": 0,
        "TotalClicks": count(Counter::Clicked),
        "UniqueLinksClicked": count(Counter::UniqueClicked),
        "TotalTrackedLinksSent": 0,
        "WithLinkTracking": 0,
        "WithOpenTracking": 0,
    })))
}

/// `GET /stats/outbound/{what}`: one figure by day.
pub async fn of(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(what): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let figures: &[(&str, Counter)] = match what.as_str() {
        "sends" => &[("Sent", Counter::Accepted)],
        "bounces" => &[("HardBounce", Counter::HardBounced), ("SoftBounce", Counter::Bounced)],
        "spam" => &[("SpamComplaint", Counter::Complained)],
        "opens" => &[("Opens", Counter::Opened), ("Unique", Counter::UniqueOpened)],
        "clicks" => &[("Clicks", Counter::Clicked), ("Unique", Counter::UniqueClicked)],
        "tracked" => &[("Tracked", Counter::Opened)],
        _ => return Err(Problem::not_found("figure")),
    };
    let value = |counts: &Counts, name: &str, counter: Counter| match name {
        // What is left of all bounces.
        "SoftBounce" => counts.get(Counter::Bounced) - counts.get(Counter::HardBounced),
        _ => counts.get(counter),
    };
    let mut total = Counts::default();
    let mut shown = Vec::new();
    for (day, cell) in days(&app, &principal, query.as_deref()).await? {
        total.merge(&cell.counts);
        let mut row = json!({ "Date": day });
        for (name, counter) in figures {
            row[*name] = value(&cell.counts, name, *counter).into();
        }
        shown.push(row);
    }
    let mut answer = json!({ "Days": shown });
    for (name, counter) in figures {
        answer[*name] = value(&total, name, *counter).into();
    }
    Ok(Json(answer))
}
