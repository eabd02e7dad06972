//! Group commit: requests that come at the same time are stored by one statement.
//!
//! Two writers take turns: while one commits, the next group gathers. There is no timer; the commit in flight is
//! the linger. Only a large group is committed beside it. What is due now is born leased to this process, as far as
//! delivery has room, and is handed over in memory once it is committed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::domain::handoff::{Handoff, Leased, Room};
use crate::domain::id::DeliveryId;
use crate::domain::message::NewMessage;
use crate::domain::submission::Sending;
use crate::store::accept::{self, Birth, Inserted, Moments, NewIdempotency, Parcel};
use crate::store::{Database, Link, StoreError, Use};

use super::{AcceptError, Accepted, AcceptedDelivery, BornState, Lanes};

/// What became of one request.
#[derive(Debug)]
pub(super) enum Receipt {
    /// Committed.
    Stored(Vec<Accepted>),
    /// Its Idempotency-Key was there already: nothing was stored, and the mails come back.
    Lost(Vec<NewMessage>),
}

/// The accepting end.
#[derive(Debug, Clone)]
pub struct Intake {
    entries: mpsc::Sender<Entry>,
}

#[derive(Debug)]
struct Entry {
    messages: Vec<NewMessage>,
    idempotency: Option<NewIdempotency>,
    reply: oneshot::Sender<Result<Receipt, StoreError>>,
}

/// Requests that may wait for a writer. Beyond: 503.
const WAITING: usize = 4096;
/// The most requests and octets in one statement.
const GROUP: usize = 500;
const GROUP_BYTES: usize = 4 << 20;
/// So many requests are worth a commit beside one that is in flight: it costs each of them little then, and
/// saves waiting. Fewer wait for the other, but not longer than this.
const WORTH_A_SECOND_COMMIT: usize = 100;
const LONGEST_GATHERING: Duration = Duration::from_millis(25);
/// How long one statement may take, and how long a caller waits: the API answers within five seconds.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(4);
const ANSWER_TIMEOUT: Duration = Duration::from_millis(4800);
/// Writers: two, so that many requests need not wait for a slow disk; more only make the groups smaller.
pub const DEFAULT_WRITERS: usize = 2;

/// How a process without delivery wakes those that deliver.
#[derive(Debug, Clone)]
pub enum Onward {
    /// Delivery is in this process.
    InMemory {
        /// Takes what is born leased.
        handoff: Handoff,
        /// How long leases last.
        lease: time::Duration,
    },
    /// It is elsewhere: mail is left to the table, and a notification is sent.
    Notify,
}

impl Intake {
    /// An intake, and its writers: run each until it ends, which it does when every intake is dropped and all
    /// requests are answered.
    pub fn new(
        database: &Database,
        clock: Clock,
        lanes: Lanes,
        onward: Onward,
        writers: usize,
    ) -> (Intake, Vec<Writer>) {
        let (entries, queue) = mpsc::channel(WAITING);
        let queue = Arc::new(Mutex::new(queue));
        let (count, committing) = watch::channel(0);
        let count = Arc::new(count);
        let writers = (0..writers.max(1))
            .map(|_| Writer {
                queue: Arc::clone(&queue),
                link: database.link(Use::Accept),
                clock: clock.clone(),
                lanes: lanes.clone(),
                onward: onward.clone(),
                writers: Arc::clone(&count),
                committing: committing.clone(),
            })
            .collect();
        (Intake { entries }, writers)
    }

    /// Stores the mails of one request; returns when they are committed.
    pub(super) async fn store(
        &self,
        messages: Vec<NewMessage>,
        idempotency: Option<NewIdempotency>,
    ) -> Result<Receipt, AcceptError> {
        let (reply, answer) = oneshot::channel();
        self.entries.try_send(Entry { messages, idempotency, reply }).map_err(|_| AcceptError::Busy)?;
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(receipt)) => Ok(receipt?),
            // The writer is gone: the process is going down, and nobody knows.
            Ok(Err(_)) => Err(AcceptError::Busy),
            Err(_) => Err(StoreError::timed_out().into()),
        }
    }
}

/// Commits groups of requests.
pub struct Writer {
    queue: Arc<Mutex<mpsc::Receiver<Entry>>>,
    link: Link,
    clock: Clock,
    lanes: Lanes,
    onward: Onward,
    /// How many writers have a commit in flight.
    writers: Arc<watch::Sender<usize>>,
    committing: watch::Receiver<usize>,
}

/// One writer's commit in flight.
struct Committing(Arc<watch::Sender<usize>>);

impl Drop for Committing {
    fn drop(&mut self) {
        self.0.send_modify(|writers| *writers -= 1);
    }
}

/// A request whose fate is being decided.
struct Pending {
    parcel: Parcel,
    rooms: Vec<Vec<Room>>,
    reply: oneshot::Sender<Result<Receipt, StoreError>>,
}

impl Writer {
    /// Commits until there is nothing more to come.
    pub async fn run(mut self) {
        while let Some(group) = self.gather().await {
            metrics::histogram!("postroad_accept_group_size").record(group.len() as f64);
            self.lanes.rotate();
            let _committing = self.is_committing();
            self.commit(group).await;
        }
        self.link.close().await;
    }

    /// The next group: whatever waits, up to the limits. While another writer commits, a small group goes on
    /// gathering: a statement costs the same for few as for many. Callers that have given up are left out.
    async fn gather(&mut self) -> Option<Vec<Entry>> {
        let mut queue = self.queue.lock().await;
        let mut group = vec![queue.recv().await?];
        let mut bytes = size(&group[0]);
        let until = Instant::now() + LONGEST_GATHERING;
        while group.len() < GROUP && bytes < GROUP_BYTES {
            let Some(entry) = another(&mut queue, &mut self.committing, group.len(), until).await else {
                break;
            };
            bytes += size(&entry);
            group.push(entry);
        }
        group.retain(|entry| !entry.reply.is_closed());
        Some(group)
    }

    /// Tells the other writers that this one commits, as long as the guard lives.
    fn is_committing(&self) -> Committing {
        self.writers.send_modify(|writers| *writers += 1);
        Committing(Arc::clone(&self.writers))
    }

    /// Stores a group. If the database refuses it, its halves are tried, until the request that is at fault is
    /// alone.
    async fn commit(&mut self, group: Vec<Entry>) {
        let now = self.clock.now();
        let mut groups = vec![group.into_iter().map(|entry| self.pending(entry, now)).collect::<Vec<_>>()];
        while let Some(mut group) = groups.pop() {
            if group.is_empty() {
                continue;
            }
            let parcels: Vec<Parcel> = group.iter_mut().map(|pending| pending.take_parcel()).collect();
            let result = self.insert(&parcels, now).await;
            for (pending, parcel) in group.iter_mut().zip(parcels) {
                pending.parcel = parcel;
            }
            match result {
                Ok(inserted) => self.answer(group, &inserted, now),
                Err(error) if error.is_passing() => self.give_up(group, &error),
                Err(error) if group.len() == 1 => {
                    tracing::error!(error = %error, "a request could not be stored");
                    self.give_up(group, &error);
                }
                Err(_) => {
                    groups.push(group.split_off(group.len() / 2));
                    groups.push(group);
                }
            }
        }
    }

    /// Decides for each mail whether it is born leased, and reserves its room.
    fn pending(&self, entry: Entry, now: OffsetDateTime) -> Pending {
        let mut rooms = Vec::with_capacity(entry.messages.len());
        let mut births = Vec::with_capacity(entry.messages.len());
        for message in entry.messages {
            let reserved = self.reserve(&message, now);
            births.push(Birth { leased_by: reserved.as_ref().map(|(incarnation, _)| *incarnation), message });
            rooms.push(reserved.map(|(_, rooms)| rooms).unwrap_or_default());
        }
        Pending {
            parcel: Parcel { idempotency: entry.idempotency, messages: births },
            rooms,
            reply: entry.reply,
        }
    }

    fn reserve(&self, message: &NewMessage, now: OffsetDateTime) -> Option<(i32, Vec<Room>)> {
        let Onward::InMemory { handoff, .. } = &self.onward else { return None };
        if message.due_at() > now || message.sending == Sending::Sandbox {
            return None;
        }
        let deliveries = message.deliveries.iter().map(|delivery| delivery.id);
        let bytes = message.outgoing.raw.len();
        let rooms = handoff.ledger().reserve(message.tenant(), message.priority, deliveries, bytes)?;
        Some((handoff.incarnation(), rooms))
    }

    async fn insert(&mut self, parcels: &[Parcel], now: OffsetDateTime) -> Result<Inserted, StoreError> {
        let work = self.insert_unbounded(parcels, now);
        let result =
            tokio::time::timeout(COMMIT_TIMEOUT, work).await.unwrap_or_else(|_| Err(StoreError::timed_out()));
        if let Err(StoreError::Unavailable(_)) = &result {
            self.link.broken();
            // Nobody knows whether it is stored. If it is, its leases are in nobody's hands: `worker/reclaim`
            // finds them.
        }
        result
    }

    async fn insert_unbounded(
        &mut self,
        parcels: &[Parcel],
        now: OffsetDateTime,
    ) -> Result<Inserted, StoreError> {
        let connection = self.link.get().await?;
        let lease = match &self.onward {
            Onward::InMemory { lease, .. } => *lease,
            Onward::Notify => time::Duration::ZERO,
        };
        let is_due = |birth: &Birth| birth.leased_by.is_none() && birth.message.due_at() <= now;
        let notify = matches!(self.onward, Onward::Notify)
            && parcels.iter().flat_map(|parcel| &parcel.messages).any(is_due);
        let moments = Moments { now, lease_until: now + lease };
        accept::insert(connection, moments, parcels, notify.then_some("")).await
    }

    /// Committed: answers first, then hands over what was born leased.
    fn answer(&self, group: Vec<Pending>, inserted: &Inserted, now: OffsetDateTime) {
        let mut leased = Vec::new();
        for pending in group {
            let Pending { parcel, rooms, reply } = pending;
            if parcel.first().is_some_and(|first| inserted.lost.contains(&first)) {
                let messages = parcel.messages.into_iter().map(|birth| birth.message).collect();
                // An error means that the caller has gone away.
                let _ = reply.send(Ok(Receipt::Lost(messages)));
                continue;
            }
            let accepted =
                parcel.messages.iter().map(|b| accepted(&b.message, &inserted.suppressed)).collect();
            let _ = reply.send(Ok(Receipt::Stored(accepted)));
            metrics::counter!("postroad_accepted_total").increment(parcel.messages.len() as u64);
            if let Onward::InMemory { lease, .. } = &self.onward {
                let lease_until = now + *lease;
                for (birth, rooms) in parcel.messages.iter().zip(rooms) {
                    leased.extend(lease_all(&birth.message, rooms, &inserted.suppressed, lease_until));
                }
            }
        }
        if let (false, Onward::InMemory { handoff, .. }) = (leased.is_empty(), &self.onward) {
            handoff.send(leased);
        }
    }

    fn give_up(&self, group: Vec<Pending>, error: &StoreError) {
        tracing::warn!(error = %error, requests = group.len(), "mail could not be stored");
        for pending in group {
            // An error means that the caller has gone away.
            let _ = pending.reply.send(Err(error.clone()));
        }
    }
}

impl Pending {
    fn take_parcel(&mut self) -> Parcel {
        std::mem::replace(&mut self.parcel, Parcel { idempotency: None, messages: Vec::new() })
    }
}

/// The next entry of a group of so many: one that waits already or, while the group is too small for a commit
/// beside that of another writer, one that comes until that is done.
async fn another(
    queue: &mut mpsc::Receiver<Entry>,
    committing: &mut watch::Receiver<usize>,
    so_far: usize,
    until: Instant,
) -> Option<Entry> {
    if let Ok(entry) = queue.try_recv() {
        return Some(entry);
    }
    if so_far >= WORTH_A_SECOND_COMMIT {
        return None;
    }
    let alone = tokio::time::timeout_at(until, committing.wait_for(|writers| *writers == 0));
    tokio::select! {
        biased;
        // However it ended, the group is committed now.
        _ = alone => None,
        entry = queue.recv() => entry,
    }
}

fn size(entry: &Entry) -> usize {
    entry.messages.iter().map(|message| message.outgoing.raw.len()).sum()
}

fn accepted(message: &NewMessage, suppressed: &HashSet<DeliveryId>) -> Accepted {
    let state = |id| if suppressed.contains(&id) { BornState::Suppressed } else { BornState::Queued };
    let delivery = |delivery: &crate::domain::message::NewDelivery| AcceptedDelivery {
        id: delivery.id,
        recipient: delivery.recipient.as_str().to_owned(),
        state: state(delivery.id),
    };
    Accepted {
        id: message.id(),
        message_id: message.message_id.clone(),
        deliveries: message.deliveries.iter().map(delivery).collect(),
    }
}

/// What delivery gets of a mail that was born leased: its deliveries with their rooms, without the suppressed.
fn lease_all(
    message: &NewMessage,
    rooms: Vec<Room>,
    suppressed: &HashSet<DeliveryId>,
    lease_until: OffsetDateTime,
) -> Vec<Leased> {
    let deliveries =
        message.deliveries.iter().zip(rooms).filter(|(delivery, _)| !suppressed.contains(&delivery.id));
    deliveries
        .map(|(delivery, room)| Leased {
            id: delivery.id,
            claim_no: 1,
            attempt: 1,
            priority: message.priority,
            delay_notices: 0,
            since: message.due_at(),
            expires_at: message.expires_at(),
            lease_until,
            recipient: delivery.recipient.clone(),
            particulars: delivery.particulars.clone(),
            message: Arc::clone(&message.outgoing),
            source: None,
            room,
        })
        .collect()
}
