//! What was posted to a webhook, and posting it again.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::account::webhooks::{self as operation, Replay};
use crate::domain::id::{EventId, PostId};
use crate::http::App;
use crate::http::api::wire::{Page, moment};
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{Path, Query};
use crate::http::fields::Fields;
use crate::store::calls::Again;
use crate::store::posts::{self, Post, PostFilter};
use crate::store::webhooks::StoredWebhook;
use crate::webhooks::{self, Tested};

use super::{body, find};

const RESULTS: [&str; 3] = ["delivered", "deferred", "failed"];
/// Events looked at in one call of replay.
const MAX_REPLAY: i64 = 10_000;

fn show(post: &Post) -> Value {
    let events: Vec<String> = post.events.iter().map(|(_, event)| event.to_string()).collect();
    json!({
        "id": post.id.to_string(),
        "created_at": moment(post.id.born()),
        "result": post.result,
        "attempt": post.attempt,
        "webhook_id_header": post.reference,
        "event_ids": events,
        "duration_ms": post.duration_ms,
        "next_attempt_at": post.next_at.map(moment),
        "request": { "body": post.request },
        "response": { "status": post.status, "body": post.response, "error": post.error },
    })
}

/// A page of what was posted to a webhook, newest first.
pub async fn deliveries(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Value>>, Problem> {
    let webhook = find(&app, principal.tenant(), &id).await?;
    let mut query = Query::parse(query.as_deref());
    let filter = PostFilter {
        result: query.parsed("result", "invalid_result", |text| {
            let known = RESULTS.contains(&text).then(|| text.to_owned());
            known.ok_or("the result is delivered, deferred or failed")
        }),
        event: query.parsed("event_id", "invalid_id", |text| {
            text.parse::<EventId>().map_err(|_| "this is not the id of an event")
        }),
        since: query.moment("since"),
        until: query.moment("until"),
    };
    let (limit, before) = (query.limit(), query.cursor());
    query.finish()?;
    let mut connection = app.database.serve().acquire().await?;
    let rows =
        posts::list(&mut connection, webhook.tenant, webhook.id, &filter, before, limit as i64 + 1).await?;
    Ok(Json(Page::of(rows, limit, |post| post.id.to_string(), |post| show(&post))))
}

/// Posts a test at once and tells what came of it.
pub async fn test(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let webhook = find(&app, principal.tenant(), &id).await?;
    let errors = self::body(&app, &headers, body).await?.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let now = app.clock.now();
    match webhooks::test(&app.database, &app.seal, &app.outbound, webhook, now).await? {
        Tested::Posted(post) => Ok(Json(show(&post))),
        Tested::Sealed => Err(Problem::new(Kind::Internal, "the webhook's secret does not open; rotate it")),
    }
}

/// Queues events once more: those of one request, or those of a time.
pub async fn replay(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let webhook = find(&app, principal.tenant(), &id).await?;
    let fields = self::body(&app, &headers, body).await?;
    let wanted = wanted(&app, &webhook, fields).await?;
    let actor = principal.actor();
    let done = operation::replay(&app.database, &actor, &webhook, wanted, app.clock.now()).await?;
    let body = json!({ "queued": done.queued, "after": done.last.map(|event| event.to_string()) });
    Ok((StatusCode::ACCEPTED, Json(body)))
}

async fn wanted(app: &App, webhook: &StoredWebhook, mut fields: Fields) -> Result<Replay, Problem> {
    let post = fields.parsed("delivery_id", "invalid_id", |text| {
        text.parse::<PostId>().map_err(|_| "this is not the id of a delivery to a webhook")
    });
    let (since, until) = (fields.moment("since"), fields.moment("until"));
    let after = fields.parsed("after", "invalid_id", |text| {
        text.parse::<EventId>().map_err(|_| "this is not the id of an event")
    });
    match (&post, &since) {
        (Some(_), Some(_)) => fields.wrong("since", "conflict", "give delivery_id or a time, not both"),
        (None, None) if !fields.is_wrong("delivery_id") && !fields.is_wrong("since") => {
            fields.wrong("since", "required", "give delivery_id, or since and perhaps until");
        }
        _ => {}
    }
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    if let Some(post) = post {
        let mut connection = app.database.serve().acquire().await?;
        let found = posts::find(&mut connection, webhook.tenant, webhook.id, post).await?;
        let unknown =
            || Problem::field("/delivery_id", "not_found", "there is no such delivery to this webhook");
        return found.map(|post| Replay::Post(Box::new(post))).ok_or_else(unknown);
    }
    let now = app.clock.now();
    let (since, until) = (since.unwrap_or(now), until.unwrap_or(now));
    Ok(Replay::Time(Again { since, until, after, limit: MAX_REPLAY }))
}
