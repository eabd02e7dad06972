//! The way from accept to delivery inside one process: what is leased to it and in memory, and how much more
//! may be. Accept reserves room *before* it commits mail as leased, so that what was committed always fits.
//!
//! Fairness begins here: no tenant may hold more than three quarters of the room, a reserve is kept for high priority,
//! and while a tenant's earlier mail waits in the table its new mail joins it there, in order.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use time::OffsetDateTime;
use tokio::sync::{Notify, OnceCell, mpsc};

use crate::mail::EmailAddress;

use super::blueprint::Blueprint;
use super::delivery::Priority;
use super::handling::{Handling, Particulars};
use super::id::{DeliveryId, MessageId, TenantId};
use super::incarnation::Incarnation;

/// A message as delivery needs it: shared by its deliveries.
#[derive(Debug)]
pub struct Outgoing {
    /// Its id.
    pub id: MessageId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The stream it belongs to.
    pub stream: String,
    /// The domain of From, as A-labels.
    pub sender_domain: String,
    /// The content as it is stored: the RFC 5322 form, or the form of the blueprint.
    pub raw: Bytes,
    /// Of what each recipient's own mail is composed; `None`: all get the content as it is.
    pub blueprint: Option<Arc<Blueprint>>,
    /// The headers hold UTF-8 (RFC 6532).
    pub needs_smtputf8: bool,
    /// There are octets above 127 in it.
    pub eight_bit: bool,
    /// Signed or encrypted: unchanged or not at all.
    pub protected: bool,
    /// What is asked of delivery beyond carrying it.
    pub handling: Handling,
    /// Signatures and what else is put before it for every recipient alike; made by the first delivery.
    pub head: OnceCell<Bytes>,
}

/// A delivery this process holds a lease on, with all that delivering it needs.
#[derive(Debug)]
pub struct Leased {
    /// Which delivery.
    pub id: DeliveryId,
    /// The fence that every result must name.
    pub claim_no: i32,
    /// SMTP attempts, the coming one included.
    pub attempt: u32,
    /// Its rank among the tenant's mail.
    pub priority: Priority,
    /// How many delay thresholds have been told.
    pub delay_notices: i16,
    /// When it was to be sent first.
    pub since: OffsetDateTime,
    /// When its time runs out.
    pub expires_at: OffsetDateTime,
    /// When the lease ends: an attempt that could last longer is not begun.
    pub lease_until: OffsetDateTime,
    /// To whom.
    pub recipient: EmailAddress,
    /// What is this recipient's alone.
    pub particulars: Particulars,
    /// What.
    pub message: Arc<Outgoing>,
    /// The address of ours that the attempt before was made from: who greylists wants to see it again.
    pub source: Option<IpAddr>,
    /// Its room in this process, given back when it is dropped.
    pub room: Room,
}

/// One claim of a delivery: what a lease, a result and a room belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// The fence.
    pub claim_no: i32,
}

impl Claim {
    /// What being born leased counts as.
    pub fn first(delivery: DeliveryId) -> Claim {
        Claim { delivery, claim_no: 1 }
    }
}

/// How much one process may hold.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Deliveries.
    pub deliveries: usize,
    /// Octets of content.
    pub bytes: usize,
}

/// The sending end, held by accept, and the ledger of what is in hand, shared with delivery.
#[derive(Debug, Clone)]
pub struct Handoff {
    incarnation: Incarnation,
    ledger: Arc<Ledger>,
    leased: mpsc::UnboundedSender<Vec<Leased>>,
}

/// What is in hand: counted, bounded, by tenant.
#[derive(Debug)]
pub struct Ledger {
    books: Mutex<Books>,
    /// Rings when much of the room is free again.
    emptied: Notify,
}

#[derive(Debug)]
struct Books {
    capacity: Capacity,
    held: HashSet<Claim>,
    bytes: usize,
    finished: u64,
    by_tenant: HashMap<TenantId, usize>,
    backlogged: HashSet<TenantId>,
    closed: bool,
}

/// One delivery's room in a process. Dropping it gives the room back.
#[derive(Debug)]
pub struct Room {
    ledger: Arc<Ledger>,
    claim: Claim,
    tenant: TenantId,
    bytes: usize,
}

/// One tenant leaves this part of the capacity to the others.
const OTHERS_SHARE: usize = 4;
/// High priority may exceed the capacity by this part of it.
const HIGH_RESERVE: usize = 8;

impl Handoff {
    /// Both ends, for this process's `incarnation`.
    pub fn new(
        incarnation: Incarnation,
        capacity: Capacity,
    ) -> (Handoff, mpsc::UnboundedReceiver<Vec<Leased>>) {
        let (leased, receiver) = mpsc::unbounded_channel();
        let books = Books {
            capacity,
            held: HashSet::new(),
            bytes: 0,
            finished: 0,
            by_tenant: HashMap::new(),
            backlogged: HashSet::new(),
            closed: false,
        };
        let ledger = Arc::new(Ledger { books: Mutex::new(books), emptied: Notify::new() });
        (Handoff { incarnation, ledger, leased }, receiver)
    }

    /// The owner of the leases.
    pub fn incarnation(&self) -> i32 {
        self.incarnation.current()
    }

    /// The ledger, for the delivering side.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Hands over what was committed as leased. The channel is unbounded because the ledger is not.
    pub fn send(&self, leased: Vec<Leased>) {
        // An error means that delivery is gone: the process is going down, and its leases are made due by
        // whoever finds the incarnation dead.
        let _ = self.leased.send(leased);
    }
}

impl Ledger {
    /// Room for one message's deliveries, or `None`: then they are left to the table, and so is the
    /// tenant's later mail until [`Ledger::backlog_cleared`].
    pub fn reserve(
        self: &Arc<Self>,
        tenant: TenantId,
        priority: Priority,
        deliveries: impl ExactSizeIterator<Item = DeliveryId>,
        bytes: usize,
    ) -> Option<Vec<Room>> {
        let mut books = self.books();
        let fits = !books.closed && books.fits(tenant, priority, deliveries.len(), bytes);
        if !fits {
            books.backlogged.insert(tenant);
            return None;
        }
        drop(books);
        let rooms = deliveries.zip(std::iter::once(bytes).chain(std::iter::repeat(0)));
        Some(rooms.map(|(delivery, bytes)| self.enter(tenant, Claim::first(delivery), bytes)).collect())
    }

    /// Room for what a claim brought: already leased, so never refused.
    pub fn enter(self: &Arc<Self>, tenant: TenantId, claim: Claim, bytes: usize) -> Room {
        let mut books = self.books();
        books.held.insert(claim);
        books.bytes += bytes;
        *books.by_tenant.entry(tenant).or_default() += 1;
        drop(books);
        Room { ledger: Arc::clone(self), claim, tenant, bytes }
    }

    /// How many more deliveries a claim may bring.
    pub fn free(&self) -> usize {
        let books = self.books();
        if books.closed || books.bytes >= books.capacity.bytes {
            return 0;
        }
        books.capacity.deliveries.saturating_sub(books.held.len())
    }

    /// Waits until half of the room is free: less is not worth a claim.
    pub async fn half_free(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if self.books().is_half_free() {
                return;
            }
            emptied.await;
        }
    }

    /// How many deliveries are in hand.
    pub fn in_hand(&self) -> usize {
        self.books().held.len()
    }

    /// Those of these claims that are in nobody's hands here.
    pub fn not_held(&self, mut claims: Vec<Claim>) -> Vec<Claim> {
        let books = self.books();
        claims.retain(|claim| !books.held.contains(claim));
        claims
    }

    /// How many deliveries have been in hand and are not any more.
    pub fn finished(&self) -> u64 {
        self.books().finished
    }

    /// Sets how much may be in hand: about half a second of work.
    pub fn resize(&self, deliveries: usize) {
        self.books().capacity.deliveries = deliveries;
    }

    /// Nothing of these tenants waits in the table any more.
    pub fn backlog_cleared(&self, still_waiting: &HashSet<TenantId>) {
        self.books().backlogged.retain(|tenant| still_waiting.contains(tenant));
    }

    /// Tenants whose mail goes through the table, because earlier mail of theirs waits there.
    pub fn backlogged(&self) -> Vec<TenantId> {
        self.books().backlogged.iter().copied().collect()
    }

    /// From now on there is no room: the process drains.
    pub fn close(&self) {
        self.books().closed = true;
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Nothing panics while it is held; if it ever did, plain counters would still be usable.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn is_half_free(&self) -> bool {
        self.held.len() <= self.capacity.deliveries / 2 && self.bytes <= self.capacity.bytes / 2
    }

    fn fits(&self, tenant: TenantId, priority: Priority, deliveries: usize, bytes: usize) -> bool {
        let limit = match priority {
            Priority::High => self.capacity.deliveries + self.capacity.deliveries / HIGH_RESERVE,
            Priority::Normal | Priority::Low => self.capacity.deliveries,
        };
        let held = self.by_tenant.get(&tenant).copied().unwrap_or(0);
        let waits_behind = priority != Priority::High && self.backlogged.contains(&tenant);
        !waits_behind
            && self.held.len() + deliveries <= limit
            && held + deliveries <= (limit - limit / OTHERS_SHARE).max(1)
            && self.bytes + bytes <= self.capacity.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut books = self.ledger.books();
        books.held.remove(&self.claim);
        books.finished += 1;
        books.bytes -= self.bytes;
        let left = books.by_tenant.get_mut(&self.tenant).map(|held| {
            *held -= 1;
            *held
        });
        if left == Some(0) {
            books.by_tenant.remove(&self.tenant);
        }
        if books.is_half_free() {
            drop(books);
            self.ledger.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Lane;
    use time::macros::datetime;

    fn ledger(deliveries: usize) -> Arc<Ledger> {
        let (handoff, _receiver) = Handoff::new(Incarnation::new(1), Capacity { deliveries, bytes: 1000 });
        Arc::clone(handoff.ledger())
    }

    fn tenant() -> TenantId {
        TenantId::new(datetime!(2026-11-24 10:00 UTC))
    }

    /// So many deliveries of a new message.
    fn new(count: u16) -> impl ExactSizeIterator<Item = DeliveryId> {
        let message = MessageId::in_lane(datetime!(2026-11-24 10:00 UTC), Lane::new(3));
        (1..=count).map(move |ordinal| message.delivery(ordinal))
    }

    #[test]
    fn one_tenant_gets_most_and_leaves_a_quarter_to_others() {
        let ledger = ledger(8);
        let (bulk, other) = (tenant(), tenant());

        let held: Vec<_> = (0..8).map_while(|_| ledger.reserve(bulk, Priority::Normal, new(1), 1)).collect();
        assert_eq!(held.len(), 6);
        assert!(ledger.reserve(other, Priority::Normal, new(1), 1).is_some());
    }

    #[test]
    fn a_refused_tenant_stays_behind_its_backlog_but_for_high_priority() {
        let ledger = ledger(8);
        let bulk = tenant();
        assert!(ledger.reserve(bulk, Priority::Normal, new(7), 1).is_none());

        assert!(ledger.reserve(bulk, Priority::Normal, new(1), 1).is_none(), "its earlier mail waits");
        assert!(ledger.reserve(bulk, Priority::High, new(1), 1).is_some());
        ledger.backlog_cleared(&HashSet::new());
        assert!(ledger.reserve(bulk, Priority::Normal, new(1), 1).is_some());
    }

    #[test]
    fn dropped_room_is_free_again() {
        let ledger = ledger(8);
        let room = ledger.reserve(tenant(), Priority::Normal, new(4), 900).expect("room");
        assert_eq!((ledger.free(), ledger.in_hand()), (4, 4));
        assert!(
            ledger.reserve(tenant(), Priority::Normal, new(1), 200).is_none(),
            "the octets are bounded too"
        );
        drop(room);
        assert_eq!((ledger.free(), ledger.in_hand()), (8, 0));
    }

    #[test]
    fn a_claim_that_is_in_nobodys_hands_is_told() {
        let ledger = ledger(8);
        let [held, other] = [new(1), new(1)].map(|mut ids| Claim::first(ids.next().expect("one")));
        let _room = ledger.enter(tenant(), held, 1);
        let again = Claim { claim_no: 2, ..held };
        assert_eq!(ledger.not_held(vec![held, other, again]), [other, again]);
    }

    #[test]
    fn a_closed_ledger_has_no_room() {
        let ledger = ledger(8);
        ledger.close();
        assert!(ledger.reserve(tenant(), Priority::High, new(1), 1).is_none());
        assert_eq!(ledger.free(), 0);
    }
}
