//! `/bounces` and `/deliverystats` (postmarkapp.com/developer/api/bounce-api). A bounce is an event here; its number is
//! made of the event's id.

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::domain::event::{Event, EventType};
use crate::domain::id::{MessageId, TenantId};
use crate::domain::submission::TRANSACTIONAL;
use crate::domain::suppression::Reason;
use crate::http::App;
use crate::http::api::wire::moment;
use crate::http::auth::Principal;
use crate::http::compat::lists::{self, Wanted};
use crate::http::compat::parts;
use crate::http::compat::query::Asked;
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;
use crate::mail::EmailAddress;
use crate::store::events::{self, EventFilter};
use crate::store::heads::{self, Head};
use crate::webhooks::number;

const MOST: usize = 500;
const KINDS: [EventType; 3] = [EventType::Bounced, EventType::Expired, EventType::Complained];

/// Type, its number, and its name.
fn kind(event: &Event) -> (&'static str, i32, &'static str) {
    let is_hard = event.data.get("hard").and_then(Value::as_bool) == Some(true);
    match event.kind {
        EventType::Complained => ("SpamComplaint", 100_001, "Spam complaint"),
        EventType::Bounced if is_hard => ("HardBounce", 1, "Hard bounce"),
        _ => ("SoftBounce", 4096, "Soft bounce"),
    }
}

fn show(event: &Event, head: &Head) -> Value {
    let (kind, code, name) = kind(event);
    let stream = if event.stream == TRANSACTIONAL { "outbound" } else { &event.stream };
    let text = |pointer: &str| event.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    json!({
        "RecordType": "Bounce",
        "ID": number(event.id.uuid()),
        "Type": kind,
        "TypeCode": code,
        "Name": name,
        "Tag": event.tags.first(),
        "MessageID": event.message().uuid().to_string(),
        "ServerID": 1,
        "MessageStream": stream,
        "Description": name,
        "Details": text("/smtp/text"),
        "Email": event.recipient,
        "From": head.from,
        "BouncedAt": moment(event.at()),
        "DumpAvailable": false,
        "Inactive": kind != "SoftBounce",
        "CanActivate": kind != "SpamComplaint",
        "Subject": head.subject,
        "Metadata": event.metadata,
    })
}

async fn shown(app: &App, tenant: TenantId, events: &[Event]) -> Result<Vec<Value>, Problem> {
    let messages: Vec<MessageId> = events.iter().map(Event::message).collect();
    let mut connection = app.database.serve().acquire().await?;
    let heads = heads::of_messages(&mut connection, tenant, &messages).await?;
    let none = Head::default();
    Ok(events.iter().map(|event| show(event, heads.get(&event.message()).unwrap_or(&none))).collect())
}

/// `GET /bounces`.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let (offset, count) = (asked.number("offset", 0, 10_000), asked.number("count", MOST, MOST));
    let filter = EventFilter {
        types: Some(KINDS.to_vec()),
        message: asked.text("messageID").or(asked.text("messageid")).and_then(parts::message_id),
        recipient: asked.text("emailFilter").or(asked.text("emailfilter")).map(str::to_lowercase),
        tag: asked.text("tag").map(str::to_owned),
        stream: None,
        since: asked.moment("fromdate").or(asked.moment("fromDate")),
        until: asked.moment("todate").or(asked.moment("toDate")).map(|day| day + Duration::DAY),
    };
    let wanted = asked.text("type").map(str::to_owned);
    let mut connection = app.database.serve().acquire().await?;
    let most = (offset + count + 1) as i64;
    let mut all = events::list(&mut connection, principal.tenant(), &filter, None, most).await?;
    drop(connection);
    all.retain(|event| wanted.as_deref().is_none_or(|wanted| wanted == kind(event).0));
    let page: Vec<Event> = all.iter().skip(offset).take(count).cloned().collect();
    let shown = shown(&app, principal.tenant(), &page).await?;
    Ok(Json(json!({ "TotalCount": all.len(), "Bounces": shown })))
}

async fn find(app: &App, tenant: TenantId, id: i64) -> Result<Event, Problem> {
    let not_found = || Problem::new(Kind::NotFound, "The bounce was not found.");
    let millis = i128::from(id >> 10);
    let at = OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000).map_err(|_| not_found())?;
    let filter = EventFilter {
        types: Some(KINDS.to_vec()),
        since: Some(at),
        until: Some(at + Duration::milliseconds(1)),
        ..EventFilter::default()
    };
    let mut connection = app.database.serve().acquire().await?;
    let found = events::list(&mut connection, tenant, &filter, None, 1000).await?;
    found.into_iter().find(|event| number(event.id.uuid()) == id).ok_or_else(not_found)
}

/// `GET /bounces/{id}`.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Problem> {
    let event = find(&app, principal.tenant(), id).await?;
    let shown = shown(&app, principal.tenant(), &[event]).await?;
    Ok(Json(shown.into_iter().next().unwrap_or_default()))
}

/// `PUT /bounces/{id}/activate`: the address is mailed again.
pub async fn activate(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Problem> {
    let event = find(&app, principal.tenant(), id).await?;
    if let Ok(address) = EmailAddress::parse(&event.recipient) {
        let wanted = Wanted { reasons: &[Reason::Bounce], address: Some(&address), ..Wanted::default() };
        lists::unsuppress(&app, &principal, &wanted).await?;
    }
    let shown = shown(&app, principal.tenant(), &[event]).await?;
    let mut bounce = shown.into_iter().next().unwrap_or_default();
    bounce["Inactive"] = false.into();
    Ok(Json(json!({ "Message": "OK", "Bounce": bounce })))
}

/// `GET /deliverystats`: how many addresses are not mailed, and bounces by type.
pub async fn summary(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Value>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let filter = EventFilter { types: Some(KINDS.to_vec()), ..EventFilter::default() };
    let all = events::list(&mut connection, principal.tenant(), &filter, None, 10_000).await?;
    drop(connection);
    let wanted = Wanted { reasons: &Reason::ALL, ..Wanted::default() };
    let inactive = lists::suppressed(&app, principal.tenant(), &wanted, (0, 10_000)).await?.len();
    let mut bounces = vec![json!({ "Name": "All", "Count": all.len() })];
    for (wanted, name) in
        [("HardBounce", "Hard bounce"), ("SoftBounce", "Soft bounce"), ("SpamComplaint", "Spam complaint")]
    {
        let count = all.iter().filter(|event| kind(event).0 == wanted).count();
        if count > 0 {
            bounces.push(json!({ "Type": wanted, "Name": name, "Count": count }));
        }
    }
    Ok(Json(json!({ "InactiveMails": inactive, "Bounces": bounces })))
}
