//! Events: lists, one message's story, and the stream.

use std::convert::Infallible;

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event as ServerEvent, KeepAlive, Sse};
use futures_util::Stream;
use serde_json::Value;

use crate::domain::event::EventType;
use crate::domain::id::MessageId;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path, Query};
use crate::live::Watch;
use crate::store::events::{self, EventFilter, Followed, Position};
use crate::store::messages;
pub use crate::webhooks::event as show;

use super::wire::Page;

/// `GET /v1/events`: newest first.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Value>>, Problem> {
    let mut query = Query::parse(query.as_deref());
    let filter = filter(&mut query);
    page(&app, &principal, query, filter).await
}

/// `GET /v1/messages/{id}/events`.
pub async fn of_message(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Value>>, Problem> {
    let id: MessageId = extract::id(&id, "message")?;
    let mut connection = app.database.serve().acquire().await?;
    let known = messages::find(&mut connection, principal.tenant(), id).await?;
    drop(connection);
    if known.is_none() {
        return Err(Problem::not_found("message"));
    }
    let query = Query::parse(query.as_deref());
    page(&app, &principal, query, EventFilter { message: Some(id), ..EventFilter::default() }).await
}

async fn page(
    app: &App,
    principal: &Principal,
    mut query: Query,
    filter: EventFilter,
) -> Result<Json<Page<Value>>, Problem> {
    let (limit, before) = (query.limit(), query.cursor());
    query.finish()?;
    let mut connection = app.database.serve().acquire().await?;
    let rows = events::list(&mut connection, principal.tenant(), &filter, before, limit as i64 + 1).await?;
    Ok(Json(Page::of(rows, limit, |event| event.id.to_string(), |event| show(&event))))
}

/// The filters that lists of events have.
pub fn filter(query: &mut Query) -> EventFilter {
    let types: Vec<EventType> = query
        .all("type")
        .iter()
        .flat_map(|value| value.split(','))
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter()
        .filter_map(|text| {
            let kind = text.parse().ok();
            if kind.is_none() {
                query.wrong("type", "invalid_type", format!("{text:?} is not a type of event"));
            }
            kind
        })
        .collect();
    EventFilter {
        types: (!types.is_empty()).then_some(types),
        message: query.parsed("message_id", "invalid_id", |text| {
            text.parse().map_err(|_| "this is not the id of a message")
        }),
        recipient: query.text("recipient").map(|recipient| recipient.to_ascii_lowercase()),
        tag: query.text("tag"),
        stream: query.text("stream"),
        since: query.moment("since"),
        until: query.moment("until"),
    }
}

/// `GET /v1/events/stream`: server-sent events, from now on, or after the event that `Last-Event-ID` names.
pub async fn stream(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<ServerEvent, Infallible>>>, Problem> {
    let mut query = Query::parse(query.as_deref());
    let filter = filter(&mut query);
    query.finish()?;
    let after = match headers.get("last-event-id") {
        None => None,
        Some(value) => Some(value.to_str().ok().and_then(parse_position).ok_or_else(|| {
            Problem::new(Kind::InvalidRequest, "Last-Event-ID is not the id of an event of this stream")
        })?),
    };
    let watch = app.live.watch(&app.database, principal.tenant(), after).await?;
    let stopping = app.stopping.clone();
    let events =
        futures_util::stream::unfold((watch, filter, stopping), |(mut watch, filter, stopping)| async {
            let next = tokio::select! {
                () = stopping.cancelled() => None,
                next = next_admitted(&mut watch, &filter) => next,
            };
            next.map(|followed| (Ok(server_event(&followed)), (watch, filter, stopping)))
        });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// The next event that passes the filter; `None`: the stream ends, and the client comes again.
async fn next_admitted(watch: &mut Watch, filter: &EventFilter) -> Option<Followed> {
    loop {
        match watch.next().await {
            Ok(Some(followed)) if filter.admits(&followed.event) => return Some(followed),
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => {
                tracing::debug!(error = %error, "an event stream ends");
                return None;
            }
        }
    }
}

/// The id of a server-sent event is its place in the order of commits, so that a client can go on after it.
fn server_event(followed: &Followed) -> ServerEvent {
    let Position { txid, id } = followed.position;
    ServerEvent::default()
        .id(format!("{txid}.{}", id.simple()))
        .event(followed.event.kind.as_str())
        .data(show(&followed.event).to_string())
}

fn parse_position(text: &str) -> Option<Position> {
    let (txid, id) = text.split_once('.')?;
    Some(Position { txid: txid.parse().ok().filter(|txid| *txid >= 0)?, id: id.parse().ok()? })
}
