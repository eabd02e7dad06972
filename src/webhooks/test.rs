//! The test button: one request, made at once, whatever the state of the webhook, and kept in its log.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::domain::event::{Event, EventType};
use crate::domain::id::{EventId, Lane, MessageId, PostId};
use crate::domain::submission::TRANSACTIONAL;
use crate::domain::webhook_format::Format;
use crate::outbound::Outbound;
use crate::seal::Subkey;
use crate::store::heads::Head;
use crate::store::posts::{self, Post};
use crate::store::webhooks::StoredWebhook;
use crate::store::{Database, StoreError};

use super::courier::logged;
use super::endpoint::Endpoint;
use super::{compose, formats};

/// What came of it.
#[derive(Debug)]
pub enum Tested {
    /// As the log has it.
    Posted(Box<Post>),
    /// The webhook's secret does not open with this installation's key.
    Sealed,
}

/// A notice that this is a test; in the shape of a provider, an event of a mail that never was.
fn example(endpoint: &Endpoint, now: OffsetDateTime) -> Value {
    let data = json!({ "webhook_id": endpoint.id.to_string() });
    let example = match endpoint.format {
        Format::Postroad => compose::notice("webhook.test", now, data),
        format => {
            let message = MessageId::in_lane(now, Lane::new(0));
            let delivery = message.delivery(1);
            let event = Event {
                id: EventId::of(now, delivery),
                kind: EventType::Delivered,
                delivery,
                recipient: "delivered@simulator.postroad.test".to_owned(),
                stream: TRANSACTIONAL.to_owned(),
                tags: vec!["webhook.test".to_owned()],
                metadata: data,
                data: json!({ "smtp": { "code": 250, "enhanced": "2.0.0", "text": "OK" } }),
            };
            let head = Head {
                message_id: format!("<{}@postroad.test>", message.uuid().simple()),
                subject: "A test of this webhook".to_owned(),
                from: "postroad@simulator.postroad.test".to_owned(),
                to: vec![event.recipient.clone()],
                size_bytes: 0,
            };
            formats::posted(format, &event, Some(&head)).unwrap_or_default()
        }
    };
    formats::body(endpoint.format, vec![example], endpoint.batch_size > 1)
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
    let reference = EventId::new(now).to_string();
    let (body, headers) = endpoint.dress(&reference, now, example(&endpoint, now));
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
