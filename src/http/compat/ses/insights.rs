//! What became of mail: `GET /v2/email/insights/{MessageId}` ("GetMessageInsights") and `POST /v2/email/metrics/batch`
//! ("BatchGetMetricData").

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::domain::event::{Event, EventType};
use crate::domain::stats::{Counter, Counts};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::{lists, parts};
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;
use crate::store::events::{self, EventFilter};
use crate::store::messages;

const MAX_EVENTS: i64 = 1000;
/// Queries of one call.
const MAX_QUERIES: usize = 50;

fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "Message could not be found.")
}

/// What happened to one message, by its recipients.
pub async fn message(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (id, tenant) = (parts::message_id(&id).ok_or_else(not_found)?, principal.tenant());
    let mut connection = app.database.snapshot().await?;
    let row = messages::find(&mut connection, tenant, id).await?.ok_or_else(not_found)?;
    let deliveries = messages::deliveries(&mut connection, tenant, id).await?;
    let filter = EventFilter { message: Some(id), ..EventFilter::default() };
    let events = events::list(&mut connection, tenant, &filter, None, MAX_EVENTS).await?;
    let insights = deliveries.iter().map(|delivery| {
        let own = events.iter().rev().filter(|event| event.delivery == delivery.id);
        let domain = delivery.recipient.rsplit_once('@').map_or("", |(_, domain)| domain);
        json!({
            "Destination": delivery.recipient,
            "Isp": domain,
            "Events": own.filter_map(event).collect::<Vec<_>>(),
        })
    });
    let tags = row.metadata.as_object().into_iter().flatten();
    let tags: Vec<Value> = tags.map(|(name, value)| json!({ "Name": name, "Value": value })).collect();
    Ok(Json(json!({
        "MessageId": row.id().to_string(),
        "FromEmailAddress": row.addresses.get("from").cloned().unwrap_or_default(),
        "Subject": row.subject,
        "EmailTags": tags,
        "Insights": insights.collect::<Vec<_>>(),
    })))
}

fn event(event: &Event) -> Option<Value> {
    let (kind, details) = match event.kind {
        EventType::Accepted => ("SEND", json!({})),
        EventType::Delivered => ("DELIVERY", json!({})),
        EventType::Deferred => ("DELIVERY_DELAY", json!({})),
        EventType::Bounced | EventType::Expired | EventType::Suppressed => {
            let is_hard = event.data.get("hard").and_then(Value::as_bool) == Some(true);
            let kind = if is_hard || event.kind == EventType::Suppressed { "PERMANENT" } else { "TRANSIENT" };
            let sub = if event.kind == EventType::Suppressed { "Suppressed" } else { "General" };
            let text = event.data.pointer("/smtp/text");
            let bounce = json!({ "BounceType": kind, "BounceSubType": sub, "DiagnosticCode": text });
            ("BOUNCE", json!({ "Bounce": bounce }))
        }
        EventType::Complained => {
            let kind = event.data.get("feedback_type").and_then(Value::as_str).unwrap_or("abuse");
            ("COMPLAINT", json!({ "Complaint": { "ComplaintFeedbackType": kind } }))
        }
        EventType::Opened => ("OPEN", json!({})),
        EventType::Clicked => ("CLICK", json!({})),
        EventType::Unsubscribed => ("SUBSCRIPTION", json!({})),
        EventType::Canceled => ("REJECT", json!({})),
        EventType::Received => return None,
    };
    Some(json!({ "Timestamp": event.at().unix_timestamp(), "Type": kind, "Details": details }))
}

/// Figures by days, each query for itself.
pub async fn metrics(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let queries = value.get("Queries").and_then(Value::as_array).filter(|list| list.len() <= MAX_QUERIES);
    let queries =
        queries.ok_or_else(|| Problem::field("/Queries", "required", "1 to 50 queries are needed"))?;
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for query in queries {
        match answer(&app, &principal, query).await? {
            Ok(result) => results.push(result),
            Err(message) => errors.push(json!({
                "Id": query.get("Id"), "Code": "INTERNAL_FAILURE", "Message": message,
            })),
        }
    }
    Ok(Json(json!({ "Results": results, "Errors": errors })))
}

async fn answer(app: &App, principal: &Principal, query: &Value) -> Result<Result<Value, String>, Problem> {
    let metric = query.get("Metric").and_then(Value::as_str).unwrap_or_default();
    let Some(of) = figure(metric) else { return Ok(Err(format!("{metric} is not available"))) };
    if query.get("Dimensions").and_then(Value::as_object).is_some_and(|dimensions| !dimensions.is_empty()) {
        return Ok(Err("dimensions are not available".to_owned()));
    }
    let now = app.clock.now();
    let to = moment(query.get("EndDate")).unwrap_or(now);
    let from = moment(query.get("StartDate")).unwrap_or(to - Duration::DAY);
    let rows = lists::by_day(app, principal.tenant(), (from, to), None).await?;
    let times: Vec<i64> = rows.iter().map(|(day, _)| day.unix_timestamp()).collect();
    let values: Vec<i64> = rows.iter().map(|(_, cell)| of(&cell.counts)).collect();
    Ok(Ok(json!({ "Id": query.get("Id"), "Timestamps": times, "Values": values })))
}

/// Seconds since 1970, with a fraction or without.
fn moment(value: Option<&Value>) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(value?.as_f64()? as i64).ok()
}

fn figure(metric: &str) -> Option<fn(&Counts) -> i64> {
    let of: fn(&Counts) -> i64 = match metric {
        "SEND" => |counts| counts.get(Counter::Accepted) - counts.get(Counter::Suppressed),
        "DELIVERY" => |counts| counts.get(Counter::Delivered),
        "COMPLAINT" | "DELIVERY_COMPLAINT" => |counts| counts.get(Counter::Complained),
        "PERMANENT_BOUNCE" => |counts| counts.get(Counter::HardBounced),
        "TRANSIENT_BOUNCE" => |counts| counts.get(Counter::Bounced) - counts.get(Counter::HardBounced),
        "OPEN" | "DELIVERY_OPEN" => |counts| counts.get(Counter::Opened),
        "CLICK" | "DELIVERY_CLICK" => |counts| counts.get(Counter::Clicked),
        _ => return None,
    };
    Some(of)
}
