//! Posting inbound mail to tenants' programs: signed as Standard Webhooks has it, tried again on its schedule.
//!
//! Invariant: a call is claimed and counted before it is made, and no transaction is open while it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use crate::domain::inbound::Action;
use crate::domain::webhook::{next_call, retry_after};
use crate::mail::reading::{self, Reading};
use crate::outbound::{Answer, Failure, Outbound};
use crate::store::inbound::{self, InboundRow};
use crate::store::inbound_calls::{self, CallKind, CallResult, DueCall};
use crate::store::{Database, StoreError};

use super::directory::Directory;

/// For how long nobody else takes a call: longer than it can last.
const LEASE: time::Duration = time::Duration::seconds(60);
/// Files together larger than this come without their content: the link to the mail has it.
const MAX_CONTENT: usize = 10 << 20;
/// The most of an error that is kept.
const MAX_ERROR: usize = 500;

/// Posts mail.
#[derive(Clone)]
pub struct Poster {
    /// Where mail and calls are.
    pub database: Database,
    /// Knows routes and their secrets.
    pub directory: Directory,
    /// Connects.
    pub outbound: Outbound,
    /// The base of links to the mail.
    pub public_url: String,
}

impl Poster {
    /// Takes calls that are due, at most `limit`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn claim(&self, limit: i64, now: OffsetDateTime) -> Result<Vec<DueCall>, StoreError> {
        let mut connection = self.database.serve().acquire().await?;
        inbound_calls::claim(&mut connection, &[CallKind::Webhook], now, now + LEASE, limit).await
    }

    /// Makes a call and writes what became of it.
    ///
    /// # Errors
    /// See [`StoreError`]: the call is due again when its lease ends.
    pub async fn make(&self, call: &DueCall, now: OffsetDateTime) -> Result<(), StoreError> {
        let mut connection = self.database.serve().acquire().await?;
        let row = inbound::find(&mut connection, call.tenant, call.mail).await?;
        let raw = inbound::raw(&mut connection, call.tenant, call.mail).await?;
        drop(connection);
        let result = match (row, raw) {
            (Some(row), Some(raw)) => self.posted(call, &row, &raw, now).await,
            // Its time is over, and with it the mail's.
            _ => over("the mail is no longer kept"),
        };
        let mut connection = self.database.serve().acquire().await?;
        inbound_calls::finish(&mut connection, call, &result).await
    }

    async fn posted(&self, call: &DueCall, row: &InboundRow, raw: &[u8], now: OffsetDateTime) -> CallResult {
        let Some(route) = call.route.and_then(|id| self.directory.route(id)) else {
            return over("the route is gone, or its domain is no longer verified");
        };
        let Action::Webhook { url, secret } = &route.action else {
            return over("the route has another action");
        };
        let Ok(parsed) = Url::parse(url) else { return over("the URL cannot be read") };
        let body = self.body(row, raw, now).to_string().into_bytes();
        let reference = row.id.to_string();
        let timestamp = now.unix_timestamp();
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("webhook-id", reference.clone()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", secret.sign(&reference, timestamp, &body)),
        ];
        let answer = self.outbound.post(&parsed, &headers, body).await;
        concluded(call, answer, now)
    }

    fn body(&self, row: &InboundRow, raw: &[u8], now: OffsetDateTime) -> Value {
        let reading = reading::read(raw);
        json!({
            "type": "inbound.received",
            // The format fails only for years beyond 9999.
            "timestamp": now.format(&Rfc3339).unwrap_or_default(),
            "data": {
                "id": row.id.to_string(),
                "received_at": row.id.born().format(&Rfc3339).unwrap_or_default(),
                "route_id": row.route.map(|id| id.to_string()),
                "sender": row.sender,
                "recipient": row.recipient,
                "from": row.author,
                "subject": row.subject,
                "message_id": row.message_id,
                "client": { "ip": row.peer, "helo": row.helo, "tls": row.tls },
                "authentication": row.verdicts,
                "kind": row.kind,
                "filters": row.filtered.as_ref().unwrap_or(&Value::Array(Vec::new())),
                "size_bytes": row.size,
                "headers": reading.headers.iter().map(|(name, value)| json!([name, value])).collect::<Vec<_>>(),
                "text": reading.text,
                "html": reading.html,
                "reply": reading.reply,
                "attachments": files(&reading),
                "raw_url": format!("{}/v1/inbound/{}/raw", self.public_url, row.id),
            },
        })
    }
}

fn files(reading: &Reading) -> Vec<Value> {
    let total: usize = reading.attachments.iter().map(|file| file.content.len()).sum();
    let content = |octets: &[u8]| (total <= MAX_CONTENT).then(|| STANDARD.encode(octets));
    reading
        .attachments
        .iter()
        .map(|file| {
            json!({
                "filename": file.filename,
                "content_type": file.content_type,
                "content_id": file.content_id,
                "size_bytes": file.content.len(),
                "content": content(&file.content),
            })
        })
        .collect()
}

pub(super) fn over(why: &str) -> CallResult {
    CallResult { state: "failed", due_at: None, status: None, error: Some(shortened(why)), message: None }
}

/// What is tried again, as long as the schedule has it.
pub(super) fn put_off(call: &DueCall, why: &str, now: OffsetDateTime) -> CallResult {
    later(call, None, None, why, now)
}

/// 2xx is yes; 410 says never again (Standard Webhooks); all else is tried again until the schedule ends.
fn concluded(call: &DueCall, answer: Result<Answer, Failure>, now: OffsetDateTime) -> CallResult {
    let (status, asked, error) = match answer {
        Ok(answer) if (200..300).contains(&answer.status) => {
            let status = Some(answer.status);
            return CallResult { state: "delivered", due_at: None, status, error: None, message: None };
        }
        Ok(answer) => {
            let asked = answer.retry_after.as_deref().and_then(|text| retry_after(text, now));
            (Some(answer.status), asked, format!("the answer was {}", answer.status))
        }
        Err(failure) => (None, None, failure.to_string()),
    };
    if status == Some(410) {
        return CallResult { status, ..over(&error) };
    }
    later(call, status, asked, &error, now)
}

fn later(
    call: &DueCall,
    status: Option<u16>,
    asked: Option<time::Duration>,
    why: &str,
    now: OffsetDateTime,
) -> CallResult {
    let attempts = u32::try_from(call.attempt).unwrap_or(u32::MAX);
    let due_at = next_call(attempts, jitter(call), asked, now);
    let state = if due_at.is_some() { "pending" } else { "failed" };
    CallResult { state, due_at, status, error: Some(shortened(why)), message: None }
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_ERROR).collect()
}

/// From −1 to 1, the same for the same attempt.
fn jitter(call: &DueCall) -> f64 {
    let bits = call.mail.uuid().as_u128()
        ^ u128::from(call.attempt.unsigned_abs()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (bits as u64 ^ (bits >> 64) as u64).wrapping_mul(0x2545_f491_4f6c_dd1d);
    (mixed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}
