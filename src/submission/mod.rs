//! Accepting mail: the one operation behind every door. A [`Submission`] is checked, composed, and committed
//! together with its queue rows, its events and its idempotency record; only then is it answered.
//!
//! Invariant: an [`Answer`] exists only for what is committed with synchronous_commit=on.

mod check;
mod compose;
mod fingerprint;
pub mod hashed;
mod idempotency;
pub mod intake;
mod lanes;
pub mod own;
mod personal;
pub mod quotas;
mod rejected;
mod render;
pub mod resend;
mod streams;
pub mod template;

use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;

use crate::clock::Clock;
use crate::domain::id::{DeliveryId, KeyId, MessageId, TenantId, UserId};
use crate::domain::identity::senders::Senders;
use crate::domain::key::{KeyLimits, KeyMode};
use crate::domain::message::NewMessage;
use crate::domain::submission::{Sending, Submission};
use crate::store::accept::NewIdempotency;
use crate::store::{Database, StoreError};

pub use check::{NO_RECIPIENT, SenderPolicy, beyond_limits};
pub use hashed::Hashed;
pub use idempotency::IdempotencyKey;
pub use lanes::Lanes;
pub use quotas::Quotas;
pub use rejected::{Rejected, Rejection, Violation};
pub use streams::Streams;

use idempotency::Earlier;
use intake::{Intake, Receipt};
use render::Sources;

/// Who submits.
#[derive(Debug, Clone)]
pub struct Caller {
    /// For which tenant.
    pub tenant: TenantId,
    /// Who is behind it.
    pub by: By,
    /// Whether what it sends leaves the house.
    pub mode: KeyMode,
    /// What the key is restricted to.
    pub limits: KeyLimits,
}

/// Who is behind a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A program with this key.
    Key(KeyId),
    /// Somebody at the dashboard.
    Person(UserId),
    /// postroad itself, which writes as the host that it is, and may.
    Postroad,
}

impl By {
    /// The key, if it was one.
    pub fn key(self) -> Option<KeyId> {
        match self {
            By::Key(key) => Some(key),
            By::Person(_) | By::Postroad => None,
        }
    }
}

/// What is asked for in one call.
#[derive(Debug)]
pub struct Request {
    /// The mails, in order; what the door could not read is rejected already.
    pub items: Vec<Result<Submission, Rejected>>,
    /// The caller's key, if it gave one.
    pub key: Option<IdempotencyKey>,
    /// What stands and falls together.
    pub unit: Unit,
}

/// What of a call stands and falls together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Each mail for itself.
    Each,
    /// All of them.
    All,
}

/// What became of a call.
#[derive(Debug)]
pub struct Answer {
    /// One for each item, in order.
    pub items: Vec<Result<Accepted, Rejected>>,
    /// This is the answer of an earlier call with the same key.
    pub replayed: bool,
}

/// An accepted mail.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Its id; carries when it was accepted.
    pub id: MessageId,
    /// Its Message-ID header, with angle brackets.
    pub message_id: String,
    /// One for each recipient.
    pub deliveries: Vec<AcceptedDelivery>,
}

/// One recipient of an accepted mail.
#[derive(Debug, Clone)]
pub struct AcceptedDelivery {
    /// Which delivery.
    pub id: DeliveryId,
    /// To whom.
    pub recipient: String,
    /// How it begins.
    pub state: BornState,
}

/// How a delivery begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BornState {
    /// It waits.
    Queued,
    /// The recipient is not to be mailed.
    Suppressed,
}

/// Why a call could not be answered. What is wrong with single mails is in the answer's items.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Some mails of a call that stands and falls as a whole, by their place. Nothing of it was stored.
    #[error("{} mails of the call cannot be accepted", .0.len())]
    Refused(Vec<(usize, Rejected)>),
    /// The key was used with other content.
    #[error("this Idempotency-Key was used with another request")]
    KeyReused,
    /// A limit of the tenant is reached. Nothing of this call was stored.
    #[error("a limit of this tenant is reached")]
    Quota(quotas::Exceeded),
    /// More is coming in than is being stored. Nothing of this call was stored.
    #[error("more mail is coming in than can be stored")]
    Busy,
    /// The database is away or full. Whether this call was stored is unknown, unless it is full.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What may be accepted.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest mail, in octets of its RFC 5322 form.
    pub max_message_bytes: usize,
    /// Who may send as whom.
    pub sender_policy: SenderPolicy,
    /// Who has proved which domain.
    pub senders: Senders,
    /// What a mail's stream asks of it.
    pub streams: Streams,
}

/// Accepts mail. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Accept {
    /// The time.
    pub clock: Clock,
    /// What may be accepted.
    pub limits: Limits,
    /// Where mails go.
    pub lanes: Lanes,
    /// Group commit.
    pub intake: Intake,
    /// How much may come in.
    pub quotas: Quotas,
    /// Who is known by a hash alone.
    pub hashed: Hashed,
    /// For answers given earlier.
    pub database: Database,
}

/// Mails whose composition takes longer than this many octets allow are composed off the async threads.
const COMPOSE_INLINE: usize = 256 * 1024;
/// An expired idempotency record is replaced; a racing one is read. Both may happen, rarely twice.
const TRIES: usize = 3;

impl Accept {
    /// Accepts what is asked for, or what of it can be: each item has its own fate.
    ///
    /// What is rarely waited for on this way is boxed: the futures of all requests would carry it, and be moved with it.
    ///
    /// # Errors
    /// See [`AcceptError`]; then there is no answer at all.
    pub async fn accept(&self, caller: &Caller, request: Request) -> Result<Answer, AcceptError> {
        let fingerprint = request.key.as_ref().map(|_| fingerprint::of(caller.mode, &request.items));
        let now = self.clock.now();
        let unit = request.unit;
        let sources = Sources::read(&self.database, caller.tenant, &request.items).await?;
        let items = self.compose_all(caller, request, sources, now).await;
        let (key, mut items) = (items.key.zip(fingerprint), items.composed);
        self.hashed.apply(&self.database, caller.tenant, &mut items).await?;
        if unit == Unit::All {
            self.all_or_none(caller, &mut items)?;
        }
        let spent = match self.spend(caller, &mut items, now).await? {
            Ok(spent) => spent,
            Err(exceeded) => return Box::pin(self.refuse(caller, key, exceeded)).await,
        };
        let answer = match key {
            None => self.store_once(items, None).await.map(|answer| answer.expect_stored()),
            Some((key, fingerprint)) => self.store_keyed(caller, items, key, fingerprint).await,
        };
        let is_new = match &answer {
            Ok(answer) => !answer.replayed,
            // Nobody knows whether it was stored.
            Err(error) => matches!(error, AcceptError::Store(StoreError::Unavailable(_))),
        };
        if !is_new {
            self.quotas.put_back(caller.tenant, spent).await;
        }
        answer
    }

    /// Whether all mails of a call can be accepted.
    fn all_or_none(
        &self,
        caller: &Caller,
        items: &mut [Result<NewMessage, Rejected>],
    ) -> Result<(), AcceptError> {
        if caller.by != By::Postroad {
            self.quotas.fit(caller.tenant, items);
        }
        let refused = (0..).zip(items.iter());
        let refused: Vec<(usize, Rejected)> =
            refused.filter_map(|(place, item)| Some((place, item.as_ref().err()?.clone()))).collect();
        if refused.is_empty() { Ok(()) } else { Err(AcceptError::Refused(refused)) }
    }

    /// Spends of the tenant's limits. What postroad itself sends does not count, nor does what never leaves.
    async fn spend(
        &self,
        caller: &Caller,
        items: &mut [Result<NewMessage, Rejected>],
        now: OffsetDateTime,
    ) -> Result<Result<quotas::Spent, quotas::Exceeded>, AcceptError> {
        if caller.by == By::Postroad {
            return Ok(Ok(quotas::Spent::default()));
        }
        self.quotas.fit(caller.tenant, items);
        let counting = || items.iter().flatten().filter(|message| message.sending == Sending::Real);
        let recipients: usize = counting().map(|message| message.deliveries.len()).sum();
        let amounts = (counting().count() as i64, recipients as i64);
        Ok(self.quotas.spend(caller.tenant, amounts, now).await?)
    }

    /// The messages that were accepted under a key in the last 24 hours; `None`: there was no such call.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn accepted_under(
        &self,
        tenant: TenantId,
        key: &IdempotencyKey,
    ) -> Result<Option<Vec<MessageId>>, StoreError> {
        let lane = self.lanes.of_key(tenant, key);
        let earlier = idempotency::earlier(&self.database, tenant, lane, key, self.clock.now()).await?;
        Ok(match earlier {
            Earlier::Is { answer, .. } => Some(idempotency::messages_of(&answer)),
            Earlier::Expired | Earlier::Gone => None,
        })
    }

    /// A limit is reached; but what was accepted before under the same key is answered as it was.
    async fn refuse(
        &self,
        caller: &Caller,
        key: Option<(IdempotencyKey, [u8; 32])>,
        exceeded: quotas::Exceeded,
    ) -> Result<Answer, AcceptError> {
        if let Some((key, fingerprint)) = key {
            let lane = self.lanes.of_key(caller.tenant, &key);
            let earlier = idempotency::earlier(&self.database, caller.tenant, lane, &key, self.clock.now());
            if let Earlier::Is { fingerprint: theirs, answer, at } = earlier.await?
                && theirs == fingerprint
            {
                return self.replay(caller.tenant, &answer, at).await;
            }
        }
        Err(AcceptError::Quota(exceeded))
    }

    async fn compose_all(
        &self,
        caller: &Caller,
        request: Request,
        sources: Sources,
        now: OffsetDateTime,
    ) -> Composed {
        let lane = request
            .key
            .as_ref()
            .map_or_else(|| self.lanes.current(), |key| self.lanes.of_key(caller.tenant, key));
        let size: usize = request.items.iter().flatten().map(check::work).sum();
        let work = {
            let (caller, limits) = (caller.clone(), self.limits.clone());
            move || {
                let one = |item: Result<Submission, Rejected>| {
                    let checked = check::check(&caller, &limits, item?, now)?;
                    compose::compose(&caller, &limits, checked, &sources, now, lane)
                };
                Composed { key: request.key, composed: request.items.into_iter().map(one).collect() }
            }
        };
        if size <= COMPOSE_INLINE {
            return work();
        }
        // A panic in there is passed on: it belongs to this call.
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    async fn store_keyed(
        &self,
        caller: &Caller,
        items: Vec<Result<NewMessage, Rejected>>,
        key: IdempotencyKey,
        fingerprint: [u8; 32],
    ) -> Result<Answer, AcceptError> {
        let lane = self.lanes.of_key(caller.tenant, &key);
        let mut items = items;
        for _ in 0..TRIES {
            if items.iter().all(Result::is_err) {
                break;
            }
            let record = NewIdempotency {
                tenant: caller.tenant,
                key: key.as_str().to_owned(),
                lane,
                fingerprint,
                answer: idempotency::answer_of(&items),
            };
            match self.store_once(items, Some(record)).await? {
                Stored::Yes(answer) => return Ok(answer),
                Stored::Lost(back) => items = back,
            }
            let now = self.clock.now();
            let earlier = Box::pin(idempotency::earlier(&self.database, caller.tenant, lane, &key, now));
            match earlier.await? {
                Earlier::Is { fingerprint: theirs, .. } if theirs != fingerprint => {
                    return Err(AcceptError::KeyReused);
                }
                Earlier::Is { answer, at, .. } => return self.replay(caller.tenant, &answer, at).await,
                Earlier::Expired | Earlier::Gone => {}
            }
        }
        if items.iter().any(Result::is_ok) {
            return Err(AcceptError::Busy);
        }
        Ok(Answer { items: items.into_iter().filter_map(Result::err).map(Err).collect(), replayed: false })
    }

    async fn store_once(
        &self,
        items: Vec<Result<NewMessage, Rejected>>,
        record: Option<NewIdempotency>,
    ) -> Result<Stored, AcceptError> {
        let mut fates = Vec::with_capacity(items.len());
        let mut messages = Vec::new();
        for item in items {
            fates.push(match item {
                Ok(message) => {
                    messages.push(message);
                    None
                }
                Err(rejected) => Some(rejected),
            });
        }
        if messages.is_empty() {
            let items = fates.into_iter().flatten().map(Err).collect();
            return Ok(Stored::Yes(Answer { items, replayed: false }));
        }
        match self.intake.store(messages, record).await? {
            Receipt::Stored(accepted) => {
                let mut accepted = accepted.into_iter();
                let fate = |fate: Option<Rejected>| match fate {
                    Some(rejected) => Some(Err(rejected)),
                    None => accepted.next().map(Ok),
                };
                Ok(Stored::Yes(Answer {
                    items: fates.into_iter().filter_map(fate).collect(),
                    replayed: false,
                }))
            }
            Receipt::Lost(messages) => {
                let mut messages = messages.into_iter();
                let back = |fate: Option<Rejected>| match fate {
                    Some(rejected) => Some(Err(rejected)),
                    None => messages.next().map(Ok),
                };
                Ok(Stored::Lost(fates.into_iter().filter_map(back).collect()))
            }
        }
    }

    async fn replay(
        &self,
        tenant: TenantId,
        answer: &Value,
        at: OffsetDateTime,
    ) -> Result<Answer, AcceptError> {
        let work = Box::pin(idempotency::replay(&self.database, tenant, answer, at));
        let items = tokio::time::timeout(READ_TIMEOUT, work).await.map_err(|_| StoreError::timed_out())??;
        Ok(Answer { items, replayed: true })
    }
}

const READ_TIMEOUT: Duration = Duration::from_secs(4);

struct Composed {
    key: Option<IdempotencyKey>,
    composed: Vec<Result<NewMessage, Rejected>>,
}

enum Stored {
    Yes(Answer),
    /// The key was there already: nothing was stored, and the mails come back.
    Lost(Vec<Result<NewMessage, Rejected>>),
}

impl Stored {
    /// Without a key nothing can be lost.
    fn expect_stored(self) -> Answer {
        match self {
            Stored::Yes(answer) => answer,
            Stored::Lost(items) => Answer {
                items: items.into_iter().filter_map(Result::err).map(Err).collect(),
                replayed: false,
            },
        }
    }
}
