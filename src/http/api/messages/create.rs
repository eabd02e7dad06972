//! `POST /v1/messages` and `POST /v1/messages/batch`: sending.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use crate::domain::submission::{Content, Options, Recipients, Submission};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, HeldBody, Query};
use crate::mail::Mailbox;
use crate::submission::{Answer, IdempotencyKey, Rejected, Request, Unit};

use super::decode;
use super::show::{AcceptedView, BatchItem};

/// Mails in one call.
const MAX_BATCH: usize = 1000;
/// Deliveries in one call, over all its mails.
const MAX_DELIVERIES: usize = 10_000;

/// Sends one mail: JSON, or raw MIME as `message/rfc822` with the envelope in the query.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    let (item, _held) = if extract::media_type(&headers).as_deref() == Some("message/rfc822") {
        let body = app.budget.read(&headers, body, app.max_message_bytes()).await?;
        (Ok(raw(query.as_deref(), &body)?), body)
    } else {
        Query::parse(query.as_deref()).finish()?;
        let body = app.budget.read(&headers, body, app.max_json_bytes()).await?;
        (decode::submission(extract::json(&headers, &body.bytes)?, app.clock.now()), body)
    };
    let request = Request { items: vec![item], key, unit: Unit::Each };
    let Answer { mut items, replayed } = app.accept.accept(&principal.caller(), request).await?;
    let accepted = items.pop().ok_or_else(|| Problem::new(Kind::Internal, "no answer"))??;
    Ok(answered(replayed, Json(AcceptedView::from(accepted))))
}

#[derive(Serialize)]
struct BatchView {
    data: Vec<BatchItem>,
}

/// Sends up to a thousand mails: the valid ones commit together, the invalid ones are answered alone.
pub async fn batch(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    let body: HeldBody = app.budget.read(&headers, body, app.max_batch_bytes()).await?;
    let Value::Array(list) = extract::json(&headers, &body.bytes)? else {
        return Err(Problem::field("", "wrong_type", "a list of mails is needed"));
    };
    if list.is_empty() || list.len() > MAX_BATCH {
        let message = format!("a batch has 1 to {MAX_BATCH} mails, this one has {}", list.len());
        return Err(Problem::field("", "out_of_range", message));
    }
    let now = app.clock.now();
    let items: Vec<Result<Submission, Rejected>> =
        list.into_iter().map(|mail| decode::submission(mail, now)).collect();
    let deliveries: usize = items.iter().flatten().map(|mail| mail.recipients.count()).sum();
    if deliveries > MAX_DELIVERIES {
        let message = format!(
            "a call has at most {MAX_DELIVERIES} recipients over all its mails, this one has {deliveries}"
        );
        return Err(Problem::field("", "too_many_recipients", message));
    }
    let request = Request { items, key, unit: Unit::Each };
    let Answer { items, replayed } = app.accept.accept(&principal.caller(), request).await?;
    let data = items.into_iter().map(BatchItem::from).collect();
    Ok(answered(replayed, Json(BatchView { data })))
}

fn answered(replayed: bool, body: impl IntoResponse) -> Response {
    let mut response = (StatusCode::ACCEPTED, body).into_response();
    if replayed {
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    response
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::new(Kind::InvalidRequest, "there is more than one Idempotency-Key"));
    }
    let parsed = value.to_str().ok().and_then(|text| IdempotencyKey::parse(text).ok());
    parsed.map(Some).ok_or_else(|| {
        Problem::new(Kind::InvalidRequest, "an Idempotency-Key is 1 to 256 visible ASCII characters")
    })
}

/// `?from=&to=`: the envelope of raw MIME. Without `from`, the author of the message is its sender.
fn raw(query: Option<&str>, body: &HeldBody) -> Result<Submission, Problem> {
    let mut query = Query::parse(query);
    let from = query.parsed("from", "invalid_address", Mailbox::parse);
    let mut to = Vec::new();
    for text in query.all("to") {
        match Mailbox::parse(&text) {
            Ok(mailbox) => to.push(mailbox),
            Err(error) => query.wrong("to", "invalid_address", error.to_string()),
        }
    }
    if to.is_empty() {
        query.wrong("to", "required", "at least one recipient is needed: ?to=");
    }
    query.finish()?;
    Ok(Submission {
        from,
        reply_to: Vec::new(),
        recipients: Recipients { to, ..Recipients::default() },
        content: Content::Raw(body.bytes.clone()),
        options: Options::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submission::{Accept, Caller};

    fn size_of_future<A, B, C, F: Future>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    // Futures are moved when they are made and boxed. With a look into the database in them that hardly any request
    // takes, these had 6 kB each; without it a mail costs postroad 7 % less of the processor.
    #[test]
    fn a_request_carries_nothing_that_is_rarely_needed() {
        let accept = size_of_future::<&'static Accept, &'static Caller, Request, _>(Accept::accept);
        assert!(accept <= 2048, "{accept} octets");
        let create = |(app, principal), (query, headers), body| create(app, principal, query, headers, body);
        let create = size_of_future(create);
        assert!(create <= 3072, "{create} octets");
    }
}
