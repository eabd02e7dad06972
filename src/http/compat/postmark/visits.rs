//! `/messages/outbound/opens` and `…/clicks` (postmarkapp.com/developer/api/messages-api): of all mails, or of one.

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use serde_json::{Value, json};
use time::Duration;

use crate::domain::event::{Event, EventType};
use crate::domain::id::MessageId;
use crate::domain::submission::TRANSACTIONAL;
use crate::http::App;
use crate::http::api::wire::moment;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::compat::query::Asked;
use crate::http::error::Problem;
use crate::http::extract::Path;
use crate::store::events::{self, EventFilter};

use super::message::stream_name;

const MOST: usize = 500;

type Answer = Result<Json<Value>, Problem>;

fn show(event: &Event) -> Value {
    let text = |pointer: &str| event.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let named = |name: &str| json!({ "Name": name, "Company": "", "Family": name });
    let mut shown = json!({
        "RecordType": if event.kind == EventType::Opened { "Open" } else { "Click" },
        "MessageID": event.message().uuid().to_string(),
        "MessageStream": if event.stream == TRANSACTIONAL { "outbound" } else { &event.stream },
        "Recipient": event.recipient,
        "Tag": event.tags.first(),
        "Metadata": event.metadata,
        "ReceivedAt": moment(event.at()),
        "Platform": text("/device"),
        "UserAgent": text("/user_agent"),
        "Client": named(text("/client")),
        "OS": named(text("/os")),
        "Geo": { "CountryISOCode": text("/country"), "IP": text("/ip") },
    });
    if event.kind == EventType::Opened {
        shown["FirstOpen"] = event.data.get("first").cloned().unwrap_or(Value::Bool(false));
    } else {
        shown["ClickLocation"] = "HTML".into();
        shown["OriginalLink"] = text("/url").into();
    }
    shown
}

async fn page<V: Visit>(
    app: &App,
    principal: &Principal,
    message: Option<MessageId>,
    query: Option<&str>,
) -> Answer {
    let asked = Asked::parse(query);
    let (offset, count) = (asked.number("offset", 0, 10_000), asked.number("count", 50, MOST));
    let stream = asked.text("messagestream").or(asked.text("messageStream"));
    let filter = EventFilter {
        types: Some(vec![V::KIND]),
        message,
        recipient: asked.text("recipient").map(str::to_lowercase),
        tag: asked.text("tag").map(str::to_owned),
        stream: stream.and_then(stream_name).map(|name| name.as_str().to_owned()),
        since: asked.moment("fromdate").or(asked.moment("fromDate")),
        until: asked.moment("todate").or(asked.moment("toDate")).map(|day| day + Duration::DAY),
    };
    let mut connection = app.database.serve().acquire().await?;
    let most = (offset + count + 1) as i64;
    let all = events::list(&mut connection, principal.tenant(), &filter, None, most).await?;
    let shown: Vec<Value> = all.iter().skip(offset).take(count).map(show).collect();
    // How many there are is known as far as anybody has looked.
    Ok(Json(json!({ "TotalCount": all.len(), V::LIST: shown })))
}

/// What somebody did with a mail.
pub trait Visit: 'static {
    /// The events that tell of it.
    const KIND: EventType;
    /// What a list of them is called.
    const LIST: &str;
}

/// Opens.
#[derive(Debug)]
pub struct Opens;

impl Visit for Opens {
    const KIND: EventType = EventType::Opened;
    const LIST: &str = "Opens";
}

/// Clicks.
#[derive(Debug)]
pub struct Clicks;

impl Visit for Clicks {
    const KIND: EventType = EventType::Clicked;
    const LIST: &str = "Clicks";
}

/// `GET /messages/outbound/opens` and `…/clicks`.
pub async fn list<V: Visit>(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Answer {
    page::<V>(&app, &principal, None, query.as_deref()).await
}

/// `GET /messages/outbound/opens/{id}` and `…/clicks/{id}`.
pub async fn of<V: Visit>(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let id = parts::message_id(&id).ok_or_else(super::messages::not_found)?;
    page::<V>(&app, &principal, Some(id), query.as_deref()).await
}
