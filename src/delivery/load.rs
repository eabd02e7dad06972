//! Claiming: from rows of the queue to leased mail. The claim is committed before anything is read or dialled.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use time::{Duration, OffsetDateTime};
use tokio::sync::OnceCell;

use crate::domain::delivery::{Ending, Priority};
use crate::domain::handling::{Form, Particulars};
use crate::domain::handoff::{Claim, Leased, Ledger, Outgoing};
use crate::domain::id::{Lane, MessageId};
use crate::domain::outcome::{AttemptReport, Step};
use crate::mail::EmailAddress;
use crate::store::blueprint::blueprint;
use crate::store::claim::{self, Claimed, LoadedDelivery, LoadedMessage, SUSPECT_AFTER, Terms};
use crate::store::{Database, StoreError};

use super::conclude::{condemned, expired, stopped};
use super::record::Finished;
use super::{Delivery, LEASE};

/// What a claim brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Rows that were claimed.
    pub claimed: usize,
}

/// Claims up to `limit` due deliveries of a lane and dispatches them.
///
/// # Errors
/// What was claimed and could not be read is in nobody's hands: `worker/reclaim` finds it.
pub async fn claim_lane(
    delivery: &Arc<Delivery>,
    database: &Database,
    ledger: &Arc<Ledger>,
    lane: Lane,
    terms: Terms,
) -> Result<Loaded, StoreError> {
    let mut connection = database.claim().acquire().await?;
    let began = std::time::Instant::now();
    let claimed = claim::claim(&mut connection, lane, terms).await?;
    metrics::histogram!("postroad_claim_seconds").record(began.elapsed().as_secs_f64());
    let count = claimed.len();
    if count > 0 {
        load(delivery, &mut connection, ledger, claimed, terms).await?;
    }
    Ok(Loaded { claimed: count })
}

/// Claims one poison suspect of a lane and tries it alone; condemns it if it was alone before.
///
/// # Errors
/// As [`claim_lane`].
pub async fn claim_suspect(
    delivery: &Arc<Delivery>,
    database: &Database,
    ledger: &Arc<Ledger>,
    lane: Lane,
    terms: Terms,
) -> Result<Option<Claimed>, StoreError> {
    let mut connection = database.claim().acquire().await?;
    let Some(suspect) = claim::claim_suspect(&mut connection, lane, terms).await? else { return Ok(None) };
    let claimed = suspect.claimed.clone();
    if suspect.unresolved <= SUSPECT_AFTER + 1 {
        load(delivery, &mut connection, ledger, vec![suspect.claimed], terms).await?;
        return Ok(Some(claimed));
    }
    tracing::error!(delivery.id = %claimed.delivery, "a poison message is bounced");
    for leased in read(&mut connection, ledger, vec![suspect.claimed], terms).await?.mails {
        let text = "it took the sending process down repeatedly".to_owned();
        let report = unsent(text, terms.now);
        let completion = condemned(&leased, report, terms.now);
        delivery.recorder.record(Finished::completed(leased, completion));
    }
    Ok(Some(claimed))
}

struct Read {
    mails: Vec<Leased>,
    suppressed: Vec<Leased>,
    canceled: Vec<Leased>,
    unreadable: Vec<Leased>,
}

async fn load(
    delivery: &Arc<Delivery>,
    connection: &mut crate::store::PgConnection,
    ledger: &Arc<Ledger>,
    claimed: Vec<Claimed>,
    terms: Terms,
) -> Result<(), StoreError> {
    let read = read(connection, ledger, claimed, terms).await?;
    for leased in read.suppressed {
        delivery.suppressed(leased, terms.now);
    }
    for leased in read.canceled {
        let completion = stopped(&leased, Ending::Canceled, terms.now);
        delivery.recorder.record(Finished::completed(leased, completion));
    }
    for leased in read.unreadable {
        let report = unsent("its content is no longer stored".to_owned(), terms.now);
        let completion = condemned(&leased, report, terms.now);
        delivery.recorder.record(Finished::completed(leased, completion));
    }
    let (late, due): (Vec<_>, Vec<_>) =
        read.mails.into_iter().partition(|leased| leased.expires_at <= terms.now);
    for leased in late {
        let completion = expired(&leased, None, None, terms.now);
        delivery.recorder.record(Finished::completed(leased, completion));
    }
    delivery.dispatch(due);
    Ok(())
}

/// Reads what the claimed rows need; each message once, however many of its deliveries were claimed.
async fn read(
    connection: &mut crate::store::PgConnection,
    ledger: &Arc<Ledger>,
    claimed: Vec<Claimed>,
    terms: Terms,
) -> Result<Read, StoreError> {
    let mut ids: Vec<MessageId> = claimed.iter().map(|row| row.delivery.message()).collect();
    ids.sort_unstable();
    ids.dedup();
    let messages = claim::load_messages(connection, &ids).await?;
    let messages: HashMap<MessageId, Message> =
        messages.into_iter().map(|message| (message.id, Message::from(message))).collect();
    let stream = |row: &Claimed| messages.get(&row.delivery.message()).map(|m| m.outgoing.stream.as_str());
    let known: Vec<_> = claimed.iter().filter_map(|row| Some((row.delivery, stream(row)?))).collect();
    let deliveries = claim::load_deliveries(connection, &known).await?;
    let deliveries: HashMap<_, LoadedDelivery> = deliveries.into_iter().map(|row| (row.id, row)).collect();

    let mut read =
        Read { mails: Vec::new(), suppressed: Vec::new(), canceled: Vec::new(), unreadable: Vec::new() };
    let mut counted = std::collections::HashSet::new();
    for row in claimed {
        let Some((message, stored)) =
            messages.get(&row.delivery.message()).zip(deliveries.get(&row.delivery))
        else {
            // Without its message a row can neither be sent nor told of: it is kept, and said aloud.
            tracing::error!(delivery.id = %row.delivery, "a queued delivery has no message");
            continue;
        };
        let Ok(recipient) = EmailAddress::parse(&stored.recipient) else {
            tracing::error!(delivery.id = %row.delivery, "a stored recipient does not read back");
            continue;
        };
        let size = if counted.insert(row.delivery.message()) { message.outgoing.raw.len() } else { 0 };
        let particulars = stored.particulars.clone();
        let leased = lease(
            &row,
            message,
            (recipient, particulars),
            ledger.enter(row.tenant, claim_of(&row), size),
            terms,
        );
        if row.cancel_requested {
            read.canceled.push(leased);
        } else if stored.suppressed {
            read.suppressed.push(leased);
        } else if message.readable {
            read.mails.push(leased);
        } else {
            read.unreadable.push(leased);
        }
    }
    Ok(read)
}

struct Message {
    outgoing: Arc<Outgoing>,
    ttl: Duration,
    readable: bool,
}

impl From<LoadedMessage> for Message {
    fn from(loaded: LoadedMessage) -> Message {
        let is_blueprint = loaded.handling.form == Form::Blueprint;
        let blueprint = loaded.raw.as_deref().filter(|_| is_blueprint).and_then(blueprint).map(Arc::new);
        let author = loaded.sender.rsplit_once('@').map_or("", |(_, domain)| domain);
        let sender_domain = loaded.handling.passed_on_by.clone().unwrap_or_else(|| author.to_owned());
        Message {
            ttl: Duration::seconds(loaded.ttl_seconds.into()),
            readable: loaded.raw.is_some() && is_blueprint == blueprint.is_some(),
            outgoing: Arc::new(Outgoing {
                id: loaded.id,
                tenant: loaded.tenant,
                stream: loaded.stream,
                sender_domain,
                blueprint,
                raw: Bytes::from(loaded.raw.unwrap_or_default()),
                needs_smtputf8: loaded.needs_smtputf8,
                eight_bit: loaded.eight_bit,
                protected: loaded.protected,
                handling: loaded.handling,
                head: OnceCell::new(),
            }),
        }
    }
}

fn claim_of(row: &Claimed) -> Claim {
    Claim { delivery: row.delivery, claim_no: row.claim_no }
}

fn lease(
    row: &Claimed,
    message: &Message,
    (recipient, particulars): (EmailAddress, Particulars),
    room: crate::domain::handoff::Room,
    terms: Terms,
) -> Leased {
    Leased {
        id: row.delivery,
        claim_no: row.claim_no,
        attempt: u32::try_from(row.attempts).unwrap_or(1),
        priority: Priority::from_number(row.priority),
        delay_notices: row.delay_notices,
        since: row.expires_at - message.ttl,
        expires_at: row.expires_at,
        lease_until: terms.lease_until,
        recipient,
        particulars,
        message: Arc::clone(&message.outgoing),
        source: row.source.as_deref().and_then(|text| text.parse().ok()),
        room,
    }
}

fn unsent(text: String, now: OffsetDateTime) -> AttemptReport {
    AttemptReport {
        started_at: now,
        duration_ms: 0,
        step: Step::Prepare,
        host: None,
        ip: None,
        source: None,
        tls: None,
        code: None,
        enhanced: None,
        text,
    }
}

/// The terms of a claim made `now`.
pub fn terms(incarnation: i32, now: OffsetDateTime, limit: usize) -> Terms {
    Terms { now, lease_until: now + LEASE, incarnation, limit: i64::try_from(limit).unwrap_or(i64::MAX) }
}
