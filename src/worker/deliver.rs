//! Delivery's loops: mail that accept hands over in memory, mail that waits in the table, and poison suspects.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::delivery::{self, Delivery, claim_lane, claim_suspect};
use crate::domain::handoff::{Leased, Ledger};
use crate::domain::id::Lane;
use crate::domain::incarnation::Incarnation;
use crate::store::claim::{self, Claimed};
use crate::store::{Database, StoreError};

/// The most rows of one claim.
const CLAIM: usize = 500;
/// A sweep over all lanes happens about so often, whatever notifications come.
const POLL_FLOOR: Duration = Duration::from_millis(250);
/// Sweeping takes at most this part of the time, however many tenants wait; but a slow sweep, such as one that
/// waited for the database, never puts the next one off for longer than this.
const POLL_SHARE: u32 = 20;
const POLL_CEILING: Duration = Duration::from_secs(2);
/// Claims pause while so little room is left.
const LEAST_ROOM: usize = 16;
/// How often suspects are looked for, and how often one that is in hand is looked after: after a series of crashes there
/// may be many, most of them innocent, and each waits for the one before.
const SUSPECT_INTERVAL: Duration = Duration::from_secs(1);
const SUSPECT_GLANCE: Duration = Duration::from_millis(25);
/// What takes a process down does so at once. A suspect that is in hand for longer waits for its peer, and the next one
/// need not wait for it.
const SUSPECT_PATIENCE: Duration = Duration::from_secs(20);
/// How often the room is fitted to what is delivered.
const FIT_INTERVAL: Duration = Duration::from_millis(250);
/// The room of a process that has not delivered anything yet, and the most it ever has.
const LEAST_CAPACITY: usize = 4096;
const MOST_CAPACITY: usize = 16_384;

/// What the loops share.
pub struct Claimer {
    /// What is claimed goes here.
    pub delivery: Arc<Delivery>,
    /// The queue.
    pub database: Database,
    /// How much may be in hand.
    pub ledger: Arc<Ledger>,
    /// Who claims.
    pub incarnation: Incarnation,
    /// How many lanes are in use.
    pub lanes: u16,
    /// Rings when there may be something due.
    pub wake: Arc<Notify>,
}

/// Passes on what accept hands over, until accept is gone.
pub async fn take_handed(delivery: Arc<Delivery>, mut handed: mpsc::UnboundedReceiver<Vec<Leased>>) {
    while let Some(mails) = handed.recv().await {
        delivery.dispatch(mails);
    }
}

/// Claims until `stop`. While there is more than one sweep can take, the next begins as soon as half of the
/// room is free; else it waits for a ring, or the next look.
pub async fn run(claimer: Arc<Claimer>, stop: CancellationToken) {
    // Processes that start together do not walk the lanes in step.
    let mut next = claimer.incarnation.current().unsigned_abs() as u16 % claimer.lanes;
    while !stop.is_cancelled() {
        let began = Instant::now();
        let sweep = tick(&claimer, next).await.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "could not claim mail");
            Sweep { next, claimed: 0, more: false }
        });
        next = sweep.next;
        let wait = (began.elapsed() * POLL_SHARE).clamp(POLL_FLOOR, POLL_CEILING);
        tokio::select! {
            () = stop.cancelled() => return,
            () = claimer.ledger.half_free(), if sweep.more => {}
            () = claimer.wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// What a sweep over the lanes found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sweep {
    /// The lane the next sweep begins with.
    pub next: u16,
    /// How many deliveries were claimed.
    pub claimed: usize,
    /// A lane had more than could be taken, or was not looked at for want of room.
    pub more: bool,
}

/// One sweep over the lanes, beginning with `first`.
///
/// # Errors
/// The lanes after the one that failed are left to the next sweep.
pub async fn tick(claimer: &Claimer, first: u16) -> Result<Sweep, StoreError> {
    claimer.delivery.recorder.ready().await;
    let mut sweep = Sweep { next: first, claimed: 0, more: false };
    for _ in 0..claimer.lanes {
        // Whose fence is closed claims nothing. That is no want of room, which `run` would wait for and find at once.
        if !claimer.delivery.fence.may_send() {
            break;
        }
        let room = claimer.ledger.free();
        if room < LEAST_ROOM {
            sweep.more = true;
            break;
        }
        let now = claimer.delivery.clock.now();
        let limit = room.min(CLAIM);
        let terms = delivery::terms(claimer.incarnation.current(), now, limit);
        let lane = Lane::new(sweep.next);
        let loaded = claim_lane(&claimer.delivery, &claimer.database, &claimer.ledger, lane, terms).await?;
        sweep.next = (sweep.next + 1) % claimer.lanes;
        sweep.claimed += loaded.claimed;
        sweep.more |= loaded.claimed >= limit;
    }
    metrics::counter!("postroad_claimed_total").increment(sweep.claimed as u64);
    clear_backlog(claimer).await?;
    Ok(sweep)
}

/// Tenants of whom nothing due waits any more may be handed over in memory again.
async fn clear_backlog(claimer: &Claimer) -> Result<(), StoreError> {
    let backlogged = claimer.ledger.backlogged();
    if backlogged.is_empty() {
        return Ok(());
    }
    let mut connection = claimer.database.claim().acquire().await?;
    let now = claimer.delivery.clock.now();
    let lanes = Lane::new(claimer.lanes).number();
    let waiting = claim::tenants_with_due_mail(&mut connection, &backlogged, lanes, now).await?;
    claimer.ledger.backlog_cleared(&waiting.into_iter().collect::<HashSet<_>>());
    Ok(())
}

/// Tries poison suspects one at a time, until `stop`.
pub async fn run_suspects(claimer: Arc<Claimer>, stop: CancellationToken) {
    let mut in_hand: Option<(Claimed, Instant)> = None;
    loop {
        let wait = if in_hand.is_some() { SUSPECT_GLANCE } else { SUSPECT_INTERVAL };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let before = in_hand.take().filter(|(_, since)| since.elapsed() < SUSPECT_PATIENCE);
        let previous = before.as_ref().map(|(claimed, _)| claimed.clone());
        match tick_suspects(&claimer, previous).await {
            Ok(now) => in_hand = now.map(|claimed| followed(claimed, before)),
            Err(error) => tracing::warn!(error = %error, "could not look for poison suspects"),
        }
    }
}

/// A suspect in hand, and since when: the one before, if it still is.
fn followed(claimed: Claimed, before: Option<(Claimed, Instant)>) -> (Claimed, Instant) {
    let same = |(known, _): &(Claimed, Instant)| {
        (known.delivery, known.claim_no) == (claimed.delivery, claimed.claim_no)
    };
    before.filter(same).unwrap_or_else(|| (claimed, Instant::now()))
}

/// Claims the next suspect, unless `previous` is still in hand; gives the one that is in hand now.
///
/// # Errors
/// See [`StoreError`].
pub async fn tick_suspects(
    claimer: &Claimer,
    previous: Option<Claimed>,
) -> Result<Option<Claimed>, StoreError> {
    if let Some(suspect) = previous {
        let mut connection = claimer.database.claim().acquire().await?;
        if claim::is_unresolved(&mut connection, &suspect).await? {
            return Ok(Some(suspect));
        }
    }
    for number in 0..claimer.lanes {
        let terms = delivery::terms(claimer.incarnation.current(), claimer.delivery.clock.now(), 1);
        let lane = Lane::new(number);
        let suspect =
            claim_suspect(&claimer.delivery, &claimer.database, &claimer.ledger, lane, terms).await?;
        if suspect.is_some() {
            return Ok(suspect);
        }
    }
    Ok(None)
}

/// Fits the room to half a second of what is really delivered, until `stop`: deep enough that no courier waits,
/// shallow enough that a crash leaves little to rescue and that no tenant's mail is stuck behind another's.
pub async fn run_fit(ledger: Arc<Ledger>, stop: CancellationToken) {
    let mut smoothed = 0.0_f64;
    let mut seen = ledger.finished();
    super::every(FIT_INTERVAL, &stop, || {
        let finished = ledger.finished();
        let rate = (finished - seen) as f64 / FIT_INTERVAL.as_secs_f64();
        seen = finished;
        smoothed = if rate > smoothed { rate } else { 0.9 * smoothed + 0.1 * rate };
        ledger.resize(((smoothed / 2.0) as usize).clamp(LEAST_CAPACITY, MOST_CAPACITY));
        std::future::ready(())
    })
    .await;
}
