//! Complaints: a recipient called a mail spam.

use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, EventId, MessageId};
use crate::mail::returned::{Complaint, FeedbackType};
use crate::store::audit::{self, Entry};
use crate::store::feedback::{self, Reason, Subject};
use crate::store::{Database, PgConnection, StoreError, events};

use super::directory::Directory;
use super::unsubscribe;

/// A simulated recipient complains: the tenant gets the event, and nobody is suppressed.
///
/// # Errors
/// See [`StoreError`].
pub async fn record_simulated(
    database: &Database,
    delivery: DeliveryId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let data = json!({ "feedback_type": "abuse", "simulated": true });
    let mut connection = database.claim().acquire().await?;
    events::append_complaint(&mut connection, delivery, EventId::of(now, delivery), &data).await
}

/// Whether a complaint was about mail of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched {
    /// It was, and has taken effect, now or before.
    Ours,
    /// Nothing in it is ours.
    No,
}

/// Applies a complaint. `addressed`: the delivery whose return path it came to.
///
/// # Errors
/// See [`StoreError`].
pub async fn apply(
    connection: &mut PgConnection,
    directory: &Directory,
    complaint: &Complaint,
    addressed: Option<DeliveryId>,
    now: OffsetDateTime,
) -> Result<Matched, StoreError> {
    let by_token = directory.token_in(&complaint.evidence).or(addressed);
    let delivery = match by_token {
        Some(delivery) => Some(delivery),
        None => by_message_id(connection, complaint.message_id.as_deref(), &complaint.recipients).await?,
    };
    let Some(delivery) = delivery else { return Ok(Matched::No) };
    let Some(subject) = feedback::lock(connection, delivery).await? else { return Ok(Matched::No) };
    match &complaint.kind {
        FeedbackType::Spam(kind) => complain(connection, &subject, kind, complaint, now).await?,
        FeedbackType::OptOut(kind) => unsubscribe::record(connection, &subject, kind, now).await?,
        FeedbackType::NotSpam => forgive(connection, &subject, now).await?,
        // About how mail is signed, not about whether it is wanted.
        FeedbackType::AuthFailure => {}
    }
    Ok(Matched::Ours)
}

async fn complain(
    connection: &mut PgConnection,
    subject: &Subject,
    kind: &str,
    complaint: &Complaint,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    if feedback::was_told(connection, subject, EventType::Complained).await? {
        return Ok(());
    }
    feedback::tell(connection, subject, EventType::Complained, &event(kind, complaint), now).await?;
    let address = subject.recipient.to_ascii_lowercase();
    feedback::suppress(connection, subject, &address, &subject.stream, Reason::Complaint, now).await
}

fn event(kind: &str, complaint: &Complaint) -> Value {
    json!({
        "feedback_type": kind,
        "user_agent": complaint.user_agent,
        "source_ip": complaint.source_ip.map(|ip| ip.to_string()),
    })
}

/// RFC 6430: the recipient took the mail out of the spam folder. What his complaint about it had brought about is
/// taken back.
async fn forgive(
    connection: &mut PgConnection,
    subject: &Subject,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let Some(lifted) = feedback::lift_complaint(connection, subject).await? else { return Ok(()) };
    let target = lifted.to_string();
    let details =
        audit::removed(json!({ "feedback_type": "not-spam", "delivery_id": subject.delivery.to_string() }));
    let entry = Entry { actor: "feedback", ip: None, action: "suppression.delete", target: &target, details };
    audit::append(connection, subject.tenant, entry, now).await
}

/// A Message-ID that we gave names the message; the delivery must be the only one, or its recipient be named.
pub(super) async fn by_message_id(
    connection: &mut PgConnection,
    message_id: Option<&str>,
    recipients: &[String],
) -> Result<Option<DeliveryId>, StoreError> {
    let local = message_id.and_then(|id| id.split('@').next());
    let Some(uuid) = local.filter(|local| local.len() == 32).and_then(|local| Uuid::parse_str(local).ok())
    else {
        return Ok(None);
    };
    let deliveries = feedback::deliveries_of_any_tenant(connection, MessageId::from_uuid(uuid)).await?;
    let named = deliveries
        .iter()
        .find(|(_, recipient)| recipients.iter().any(|named| named.eq_ignore_ascii_case(recipient)));
    Ok(match (named, deliveries.as_slice()) {
        (Some((delivery, _)), _) | (None, [(delivery, _)]) => Some(*delivery),
        _ => None,
    })
}
