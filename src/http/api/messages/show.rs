//! How messages and deliveries are written.

use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::delivery::{Priority, Role};
use crate::http::api::wire::moment;
use crate::http::error::{Problem, ProblemBody};
use crate::store::messages::{AttemptRow, DeliveryRow, MessageRow};
use crate::submission::{Accepted, BornState, Rejected};

/// What a send answers.
#[derive(Debug, Serialize)]
pub struct AcceptedView {
    id: String,
    message_id: String,
    created_at: String,
    deliveries: Vec<BornView>,
}

#[derive(Debug, Serialize)]
struct BornView {
    id: String,
    recipient: String,
    status: &'static str,
}

impl From<Accepted> for AcceptedView {
    fn from(accepted: Accepted) -> AcceptedView {
        let born = |state| match state {
            BornState::Queued => "queued",
            BornState::Suppressed => "suppressed",
        };
        AcceptedView {
            id: accepted.id.to_string(),
            message_id: accepted.message_id,
            created_at: moment(accepted.id.born()),
            deliveries: accepted
                .deliveries
                .into_iter()
                .map(|delivery| BornView {
                    id: delivery.id.to_string(),
                    recipient: delivery.recipient,
                    status: born(delivery.state),
                })
                .collect(),
        }
    }
}

/// One item of a batch's answer.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum BatchItem {
    /// It was accepted.
    Accepted(AcceptedView),
    /// It was not.
    Rejected {
        /// Why.
        error: ProblemBody,
    },
}

impl From<Result<Accepted, Rejected>> for BatchItem {
    fn from(item: Result<Accepted, Rejected>) -> BatchItem {
        match item {
            Ok(accepted) => BatchItem::Accepted(accepted.into()),
            Err(rejected) => BatchItem::Rejected { error: Problem::from(rejected).body() },
        }
    }
}

/// A message, without its deliveries.
pub fn message(row: &MessageRow) -> Value {
    let list = |name: &str| row.addresses.get(name).cloned().unwrap_or_else(|| json!([]));
    json!({
        "id": row.id().to_string(),
        "message_id": row.message_id,
        "created_at": moment(row.id().born()),
        "from": row.addresses.get("from").cloned().unwrap_or(Value::Null),
        "to": list("to"),
        "cc": list("cc"),
        "bcc": list("bcc"),
        "reply_to": list("reply_to"),
        "subject": row.subject,
        "stream": row.stream,
        "priority": Priority::from_number(row.priority).as_str(),
        "tags": row.tags,
        "metadata": row.metadata,
        "send_at": row.send_at.map(moment),
        "ttl_seconds": row.ttl_seconds,
        "size_bytes": row.size_bytes,
        "sandbox": row.sandbox,
    })
}

/// A delivery with its attempts.
pub fn delivery(row: &DeliveryRow, attempts: &[AttemptRow]) -> Value {
    let own = attempts.iter().filter(|attempt| attempt.delivery_id == row.id.uuid()).map(attempt);
    let mut view = state(row);
    view["attempts"] = Value::Array(own.collect());
    view
}

/// A delivery and where it stands.
pub fn state(row: &DeliveryRow) -> Value {
    json!({
        "id": row.id.to_string(),
        "recipient": row.recipient,
        "role": Role::from_number(row.role).as_str(),
        "status": row.status.as_str(),
        "attempt_count": row.attempts,
        "next_attempt_at": row.next_attempt_at.map(moment),
        "ended_at": row.ended_at.map(moment),
        "class": row.class,
        "hard": row.hard,
    })
}

fn attempt(row: &AttemptRow) -> Value {
    json!({
        "attempt": row.attempt,
        "started_at": moment(row.started_at),
        "duration_ms": row.duration_ms,
        "result": row.result,
        "class": row.class,
        "smtp": {
            "step": row.step,
            "code": row.code,
            "enhanced": row.enhanced,
            "text": row.reply,
            "host": row.host,
            "ip": row.ip,
            "source": row.source,
            "tls": row.tls,
        },
    })
}
