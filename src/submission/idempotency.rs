//! Idempotency-Keys: the first answer is kept with the mail it answers for, and given again.

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::domain::id::{Lane, MessageId, TenantId};
use crate::domain::message::NewMessage;
use crate::store::{Database, StoreError, idempotency, messages};

use super::{Accepted, AcceptedDelivery, BornState, Rejected, Violation};

/// A caller's key: 1 to 256 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// Not the form of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an Idempotency-Key is 1 to 256 visible ASCII characters")]
pub struct BadIdempotencyKey;

impl IdempotencyKey {
    /// Checks the form. The quotes of a structured field (RFC 8941 §3.3.3) are not part of the key.
    ///
    /// # Errors
    /// [`BadIdempotencyKey`].
    pub fn parse(text: &str) -> Result<IdempotencyKey, BadIdempotencyKey> {
        let key = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let fits = (1..=256).contains(&key.len()) && key.bytes().all(|c| (b' '..=b'~').contains(&c));
        if fits { Ok(IdempotencyKey(key.to_owned())) } else { Err(BadIdempotencyKey) }
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How long an answer is kept.
const KEPT: Duration = Duration::hours(24);

/// What is known of an earlier call with the same key.
pub(super) enum Earlier {
    /// It was answered so.
    Is {
        /// Of its request.
        fingerprint: Vec<u8>,
        /// The outcome of accept.
        answer: Value,
        /// When.
        at: OffsetDateTime,
    },
    /// It was over 24 hours ago, and is forgotten now.
    Expired,
    /// It is not there any more.
    Gone,
}

/// Looks for the earlier call whose record ours met.
pub(super) async fn earlier(
    database: &Database,
    tenant: TenantId,
    lane: Lane,
    key: &IdempotencyKey,
    now: OffsetDateTime,
) -> Result<Earlier, StoreError> {
    let mut connection = database.serve().acquire().await?;
    let Some(stored) = idempotency::find(&mut connection, tenant, lane, key.as_str()).await? else {
        return Ok(Earlier::Gone);
    };
    if stored.created_at < now - KEPT {
        idempotency::forget(&mut connection, tenant, lane, key.as_str(), now - KEPT).await?;
        return Ok(Earlier::Expired);
    }
    Ok(Earlier::Is { fingerprint: stored.fingerprint, answer: stored.answer, at: stored.created_at })
}

/// The outcome of accept, as the record keeps it. Recipients' states are read from the mail itself.
pub(super) fn answer_of(items: &[Result<NewMessage, Rejected>]) -> Value {
    let items: Vec<Value> = items
        .iter()
        .map(|item| match item {
            Ok(message) => json!({ "id": message.id().to_string(), "message_id": message.message_id }),
            Err(rejected) => rejected.to_json(),
        })
        .collect();
    Value::Array(items)
}

/// The messages of a recorded outcome.
pub(super) fn messages_of(answer: &Value) -> Vec<MessageId> {
    let items = answer.as_array().into_iter().flatten();
    items.filter_map(|item| item.get("id")?.as_str()?.parse().ok()).collect()
}

/// Gives the recorded outcome again.
pub(super) async fn replay(
    database: &Database,
    tenant: TenantId,
    answer: &Value,
    at: OffsetDateTime,
) -> Result<Vec<Result<Accepted, Rejected>>, StoreError> {
    let mut connection = database.serve().acquire().await?;
    let mut items = Vec::new();
    for item in answer.as_array().into_iter().flatten() {
        let id = item.get("id").and_then(Value::as_str).and_then(|text| text.parse::<MessageId>().ok());
        items.push(match id {
            Some(id) => Ok(Accepted {
                id,
                message_id: item.get("message_id").and_then(Value::as_str).unwrap_or_default().to_owned(),
                deliveries: messages::born(&mut connection, tenant, id, at)
                    .await?
                    .into_iter()
                    .map(born)
                    .collect(),
            }),
            None => Err(Rejected::from_json(item).unwrap_or_else(unreadable)),
        });
    }
    Ok(items)
}

fn born(row: messages::Born) -> AcceptedDelivery {
    let state = if row.suppressed { BornState::Suppressed } else { BornState::Queued };
    AcceptedDelivery { id: row.id, recipient: row.recipient, state }
}

/// A record that this version cannot read.
fn unreadable() -> Rejected {
    let message = "the recorded answer cannot be read; send it again with another Idempotency-Key";
    Rejected::invalid(vec![Violation::new("", "unreadable_record", message)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_form() {
        assert_eq!(IdempotencyKey::parse("\"8e03978e\"").map(|key| key.0), Ok("8e03978e".to_owned()));
        assert!(IdempotencyKey::parse(&"k".repeat(256)).is_ok());
        for bad in ["", "\"\"", "k\u{e4}", "a\nb", &"k".repeat(257)] {
            assert_eq!(IdempotencyKey::parse(bad), Err(BadIdempotencyKey), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_key_is_what_was_sent_and_can_stand_in_a_header(text in "[ -~]{0,300}|\\PC{0,40}|\"?[a-z\\r\\n\\x00-\\x7f]{0,40}\"?") {
            if let Ok(key) = IdempotencyKey::parse(&text) {
                let key = key.as_str();
                proptest::prop_assert!((1..=256).contains(&key.len()) && key.bytes().all(|c| (b' '..=b'~').contains(&c)));
                let quoted = format!("\"{key}\"");
                proptest::prop_assert!(text == key || text == quoted);
            }
        }
    }
}
