//! Couriers: each serves one webhook while it has something due, so that a slow one delays nobody else. They
//! claim, commit, post, and hand what came of it to the writer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::domain::event::Event;
use crate::domain::id::{DeliveryId, EventId, MessageId, PostId, WebhookId};
use crate::domain::webhook::{next_call, retry_after};
use crate::domain::webhook_format::Format;
use crate::outbound::{Answer, Failure, TIMEOUT};
use crate::store::calls::{self, CallResult, CallTerms, ClaimedCall};
use crate::store::heads;
use crate::store::posts::Post;
use crate::store::{PgConnection, StoreError};

use super::endpoint::{Endpoint, MOST_POSTS};
use super::record::{Finished, Health};
use super::{Webhooks, formats};

/// How long a claim lasts: what is not posted by then comes again.
const LEASE: Duration = Duration::seconds(90);
/// A request is begun only if its answer, however slow, comes within the lease.
const MARGIN: Duration = Duration::seconds(TIMEOUT.as_secs() as i64 + 5);
/// Messages claimed at once, and calls of each.
const HEADS: i64 = 50;
const DEPTH: i64 = 20;
/// How much of a body and of an answer's is logged.
const LOGGED: usize = 4096;

/// Serves a webhook until nothing of it is due.
pub(super) async fn run(webhooks: Arc<Webhooks>, id: WebhookId) {
    let slots = Arc::new(Semaphore::new(MOST_POSTS));
    let mut under_way = JoinSet::new();
    while !webhooks.stopping.is_cancelled() {
        // Looked up each time: its secret, its address or its fare may have changed.
        let Some(endpoint) = webhooks.endpoints.get(id) else { break };
        if endpoint.is_paused(webhooks.clock.now()) {
            break;
        }
        if under_way.len() < endpoint.room() {
            match claim(&webhooks, &endpoint).await {
                Ok(trips) => {
                    for trip in trips {
                        let (webhooks, endpoint) = (Arc::clone(&webhooks), Arc::clone(&endpoint));
                        under_way.spawn(carry(webhooks, endpoint, Arc::clone(&slots), trip));
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, webhook.id = %id, "could not claim calls");
                    break;
                }
            }
        }
        if under_way.join_next().await.is_none() {
            break;
        }
    }
    while under_way.join_next().await.is_some() {}
    webhooks.served().remove(&id);
}

/// What is posted one after the other: of one message, or one batch.
struct Trip {
    units: VecDeque<Unit>,
    lease_until: OffsetDateTime,
    /// The webhook's room when it was claimed: less now means that it has begun to fail.
    room: usize,
}

/// One request.
struct Unit {
    calls: Vec<ClaimedCall>,
    reference: String,
    /// `None`: its events are not stored any more.
    body: Option<Value>,
    events: Vec<(DeliveryId, EventId)>,
}

async fn claim(webhooks: &Webhooks, endpoint: &Endpoint) -> Result<Vec<Trip>, StoreError> {
    let (now, room) = (webhooks.clock.now(), endpoint.room());
    // One that fails is asked with one message, so that little waits for it.
    let heads = if room == 1 { 1 } else { HEADS };
    let terms = CallTerms { now, lease_until: now + LEASE, heads, depth: DEPTH };
    let mut transaction = webhooks.database.serve().begin().await?;
    if !calls::lock_webhook(&mut transaction, endpoint.id).await? {
        return Ok(Vec::new());
    }
    let claimed = if endpoint.batch_size > 1 {
        batch(&mut transaction, endpoint, terms).await?
    } else {
        calls::claim(&mut transaction, endpoint.id, terms).await?
    };
    transaction.commit().await?;
    if claimed.is_empty() {
        return Ok(Vec::new());
    }
    let mut connection = webhooks.database.serve().acquire().await?;
    let events = calls::load_events(&mut connection, &claimed).await?;
    let bodies = bodies(&mut connection, endpoint, &events).await?;
    let trips = if endpoint.batch_size > 1 {
        one_trip(endpoint.format, claimed, &bodies)
    } else {
        by_message(endpoint.format, claimed, &bodies)
    };
    Ok(trips.into_iter().map(|units| Trip { units, lease_until: terms.lease_until, room }).collect())
}

/// The events in the webhook's shape. Those that it has no word for are left out.
async fn bodies(
    connection: &mut PgConnection,
    endpoint: &Endpoint,
    events: &[Event],
) -> Result<HashMap<EventId, Value>, StoreError> {
    let heads = match endpoint.format {
        Format::Postroad => HashMap::new(),
        _ => {
            let of_mail = events.iter().filter(|event| event.inbound().is_none());
            let mut messages: Vec<MessageId> = of_mail.map(Event::message).collect();
            messages.sort_unstable();
            messages.dedup();
            heads::of_messages(connection, endpoint.tenant, &messages).await?
        }
    };
    let shown = events.iter().filter_map(|event| {
        let body = formats::posted(endpoint.format, event, heads.get(&event.message()))?;
        Some((event.id, body))
    });
    Ok(shown.collect())
}

/// What is posted of a call. Notices about the account are ours alone.
fn body_of(format: Format, call: &ClaimedCall, bodies: &HashMap<EventId, Value>) -> Option<Value> {
    match &call.notice {
        Some(notice) if format == Format::Postroad => serde_json::from_str(notice).ok(),
        Some(_) => None,
        None => bodies.get(&call.event).cloned(),
    }
}

async fn batch(
    connection: &mut PgConnection,
    endpoint: &Endpoint,
    terms: CallTerms,
) -> Result<Vec<ClaimedCall>, StoreError> {
    let again = calls::claim_batch(connection, endpoint.id, terms).await?;
    if again.is_empty() {
        return calls::claim_new_batch(connection, endpoint.id, terms, endpoint.batch_size).await;
    }
    Ok(again)
}

fn by_message(
    format: Format,
    claimed: Vec<ClaimedCall>,
    bodies: &HashMap<EventId, Value>,
) -> Vec<VecDeque<Unit>> {
    let mut trips: Vec<VecDeque<Unit>> = Vec::new();
    let mut places = HashMap::new();
    for call in claimed {
        let place = *places.entry(call.group).or_insert_with(|| {
            trips.push(VecDeque::new());
            trips.len() - 1
        });
        let body = body_of(format, &call, bodies).map(|body| formats::body(format, vec![body], false));
        trips[place].push_back(Unit {
            reference: call.event.to_string(),
            body,
            events: events_of(std::slice::from_ref(&call)),
            calls: vec![call],
        });
    }
    trips
}

fn one_trip(
    format: Format,
    claimed: Vec<ClaimedCall>,
    bodies: &HashMap<EventId, Value>,
) -> Vec<VecDeque<Unit>> {
    let Some(first) = claimed.first() else { return Vec::new() };
    // The first event of a batch may be posted again in another one: its place tells them apart.
    let reference = format!("{}-{}", first.event, first.batch.unwrap_or(first.seq));
    let list: Vec<Value> = claimed.iter().filter_map(|call| body_of(format, call, bodies)).collect();
    let body = (!list.is_empty()).then(|| formats::body(format, list, true));
    vec![VecDeque::from([Unit { reference, body, events: events_of(&claimed), calls: claimed }])]
}

fn events_of(calls: &[ClaimedCall]) -> Vec<(DeliveryId, EventId)> {
    calls.iter().filter(|call| call.notice.is_none()).map(|call| (call.delivery, call.event)).collect()
}

/// Makes a trip: one request after the other, until one fails; the rest is given back.
async fn carry(webhooks: Arc<Webhooks>, endpoint: Arc<Endpoint>, slots: Arc<Semaphore>, mut trip: Trip) {
    // Neither semaphore is ever closed.
    let Ok(_slot) = slots.acquire().await else { return };
    while let Some(unit) = trip.units.pop_front() {
        let now = webhooks.clock.now();
        let unfit = webhooks.stopping.is_cancelled()
            || endpoint.is_paused(now)
            || endpoint.room() < trip.room
            || now + MARGIN > trip.lease_until;
        if unfit {
            trip.units.push_front(unit);
            break;
        }
        if !post(&webhooks, &endpoint, unit).await {
            break;
        }
    }
    let now = webhooks.clock.now();
    let left: Vec<CallResult> =
        trip.units.iter().flat_map(|unit| &unit.calls).map(|call| result(call, Some(now), 1)).collect();
    if !left.is_empty() {
        webhooks.tell(Finished { calls: left, post: None, health: None });
    }
}

/// Posts one request. False: what comes after it must wait.
async fn post(webhooks: &Webhooks, endpoint: &Endpoint, unit: Unit) -> bool {
    let now = webhooks.clock.now();
    let Some(body) = unit.body else {
        let calls = unit.calls.iter().map(|call| result(call, None, 0)).collect();
        webhooks.tell(Finished { calls, post: None, health: None });
        return true;
    };
    let (body, headers) = endpoint.dress(&unit.reference, now, body);
    let Ok(permit) = webhooks.posting.acquire().await else { return false };
    let began = std::time::Instant::now();
    let answered = webhooks.outbound.post(&endpoint.url, &headers, body.clone()).await;
    drop(permit);
    let (attempts, seq) = (unit.calls[0].attempts, unit.calls[0].seq);
    let verdict = Verdict::of(endpoint.format, &answered, attempts, seq, webhooks.clock.now());
    if verdict.health == Health::Well {
        endpoint.fares_well()
    } else {
        endpoint.fares_badly()
    }
    if let Some(wait) = verdict.pause {
        endpoint.pause(webhooks.clock.now(), wait);
    }
    let went_on = verdict.next_at.is_none() && verdict.health != Health::Gone;
    let calls = unit.calls.iter().map(|call| result(call, verdict.next_at, 0)).collect();
    let post = Post {
        id: PostId::new(now),
        tenant: endpoint.tenant,
        webhook: endpoint.id,
        attempt: unit.calls[0].attempts,
        duration_ms: i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX),
        status: answered.as_ref().ok().map(|answer| i16::try_from(answer.status).unwrap_or(0)),
        result: verdict.result.to_owned(),
        error: answered.as_ref().err().map(ToString::to_string),
        next_at: verdict.next_at,
        reference: unit.reference,
        events: unit.events,
        request: logged(&body),
        response: answered.as_ref().map(|answer| logged(&answer.body)).unwrap_or_default(),
    };
    let health = Some((endpoint.id, verdict.health));
    webhooks.tell(Finished { calls, post: Some(post), health });
    went_on
}

/// What follows from an answer.
struct Verdict {
    result: &'static str,
    next_at: Option<OffsetDateTime>,
    health: Health,
    /// It wants nothing for so long.
    pause: Option<Duration>,
}

impl Verdict {
    fn of(
        format: Format,
        answered: &Result<Answer, Failure>,
        attempts: i32,
        seq: i64,
        now: OffsetDateTime,
    ) -> Verdict {
        let status = answered.as_ref().map_or(0, |answer| answer.status);
        match status {
            200..=299 => {
                return Verdict { result: "delivered", next_at: None, health: Health::Well, pause: None };
            }
            410 => return Verdict { result: "failed", next_at: None, health: Health::Gone, pause: None },
            // Its receiver does not want this one; others it does.
            stop if format.gives_up_at(stop) => {
                return Verdict { result: "failed", next_at: None, health: Health::Well, pause: None };
            }
            _ => {}
        }
        let asked = answered.as_ref().ok().filter(|answer| matches!(answer.status, 429 | 503));
        let asked = asked.and_then(|answer| retry_after(answer.retry_after.as_deref()?, now));
        let attempts = u32::try_from(attempts).unwrap_or(1).max(1);
        let next_at = next_call(attempts, jitter(seq, attempts), asked, now);
        let result = if next_at.is_some() { "deferred" } else { "failed" };
        // The specification names these as calls to slow down.
        let throttled = matches!(status, 429 | 502 | 503 | 504);
        let pause = asked.or(throttled.then_some(Duration::seconds(5)));
        Verdict { result, next_at, health: Health::Failing, pause }
    }
}

fn result(call: &ClaimedCall, due_at: Option<OffsetDateTime>, refund: i32) -> CallResult {
    CallResult {
        webhook: call.webhook,
        group: call.group,
        seq: call.seq,
        claim_no: call.claim_no,
        due_at,
        refund,
    }
}

/// Where in the spread of a wait this try falls: from −1 to 1, always the same for the same try.
fn jitter(seq: i64, attempts: u32) -> f64 {
    let bits = seq.cast_unsigned() ^ u64::from(attempts).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (bits ^ (bits >> 29)).wrapping_mul(0x2545_f491_4f6c_dd1d);
    (mixed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// The beginning of a body, as the log holds it: the database has no U+0000.
pub(super) fn logged(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(LOGGED)]);
    text.replace('\0', "\u{fffd}")
}
