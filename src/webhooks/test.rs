//! The test button: one request, made at once, whatever the state of the webhook, and kept in its log.

use serde_json::json;
use time::OffsetDateTime;

use crate::domain::id::{EventId, PostId};
use crate::outbound::Outbound;
use crate::seal::Subkey;
use crate::store::posts::{self, Post};
use crate::store::webhooks::StoredWebhook;
use crate::store::{Database, StoreError};

use super::compose;
use super::courier::logged;
use super::endpoint::Endpoint;

/// What came of it.
#[derive(Debug)]
pub enum Tested {
    /// As the log has it.
    Posted(Box<Post>),
    /// The webhook's secret does not open with this installation's key.
    Sealed,
}

/// Posts a `webhook.test` and waits for the answer.
///
/// # Errors
/// See [`StoreError`]: it was posted and could not be written down.
pub async fn test(
    database: &Database,
    seal: &Subkey,
    outbound: &Outbound,
    webhook: StoredWebhook,
    now: OffsetDateTime,
) -> Result<Tested, StoreError> {
    let Some(endpoint) = Endpoint::open(webhook, seal) else { return Ok(Tested::Sealed) };
    let data = json!({ "webhook_id": endpoint.id.to_string() });
    let mut body = compose::notice("webhook.test", now, data);
    if endpoint.batch_size > 1 {
        body = json!([body]);
    }
    let (body, reference) = (body.to_string().into_bytes(), EventId::new(now).to_string());
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("webhook-id", reference.clone()),
        ("webhook-timestamp", now.unix_timestamp().to_string()),
        ("webhook-signature", endpoint.sign(&reference, now, &body)),
    ];
    let began = std::time::Instant::now();
    let answered = outbound.post(&endpoint.url, &headers, body.clone()).await;
    let taken = answered.as_ref().is_ok_and(|answer| (200..300).contains(&answer.status));
    let post = Post {
        id: PostId::new(now),
        tenant: endpoint.tenant,
        webhook: endpoint.id,
        attempt: 1,
        duration_ms: i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX),
        status: answered.as_ref().ok().map(|answer| i16::try_from(answer.status).unwrap_or(0)),
        result: if taken { "delivered" } else { "failed" }.to_owned(),
        error: answered.as_ref().err().map(ToString::to_string),
        next_at: None,
        reference,
        events: Vec::new(),
        request: logged(&body),
        response: answered.as_ref().map(|answer| logged(&answer.body)).unwrap_or_default(),
    };
    let mut connection = database.serve().acquire().await?;
    posts::append(&mut connection, std::slice::from_ref(&post)).await?;
    Ok(Tested::Posted(Box::new(post)))
}
