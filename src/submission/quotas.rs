//! How much tenants may send, held without a question per mail: a process takes portions of a limit from the
//! database and spends them from memory.
//!
//! Invariant: what all processes have accepted of a period never exceeds its limit. It may fall short of it by what
//! a process has taken and not spent: that is given back after some seconds, and when it drains; a killed process
//! takes it along.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde_json::json;
use time::OffsetDateTime;
use tokio::sync::Mutex;

use crate::domain::account_notice::{Kind, NewNotice};
use crate::domain::id::TenantId;
use crate::domain::message::NewMessage;
use crate::domain::quota::{Limits, Period, passed, portion};
use crate::store::{Database, PgConnection, StoreError, account_notices, quotas};

use super::{Rejected, Violation};

/// A limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Of which period.
    pub period: Period,
    /// How much may be sent in it.
    pub limit: i64,
    /// How much is left of it.
    pub left: i64,
    /// When the next one begins, in seconds.
    pub wait_seconds: u32,
}

/// All tenants' limits, and what this process has of them. Clones agree.
#[derive(Debug, Clone)]
pub struct Quotas {
    database: Database,
    tenants: Arc<RwLock<HashMap<TenantId, Arc<Account>>>>,
}

/// A tenant that is limited.
#[derive(Debug)]
struct Account {
    limits: Limits,
    purses: [Mutex<Purse>; 3],
}

/// What this process has of one limit.
#[derive(Debug)]
struct Purse {
    starts_at: OffsetDateTime,
    left: i64,
    used: Instant,
    /// When it was last heard that no more than this is left for all.
    short: Option<(Instant, i64)>,
}

impl Default for Purse {
    fn default() -> Purse {
        Purse { starts_at: OffsetDateTime::UNIX_EPOCH, left: 0, used: Instant::now(), short: None }
    }
}

/// How long it is believed that nothing is left: others may give back.
const SHORT_FOR: Duration = Duration::from_secs(1);
/// A portion is taken within this time.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was spent of each period, to be put back if nothing comes of it.
#[derive(Debug, Default)]
pub(super) struct Spent(Vec<(Period, OffsetDateTime, i64)>);

impl Quotas {
    /// Nothing known yet.
    pub fn new(database: Database) -> Quotas {
        Quotas { database, tenants: Arc::default() }
    }

    /// Reads all limits anew. What was taken of those that have changed is given back.
    ///
    /// # Errors
    /// See [`StoreError`]; what was known stays.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let mut connection = self.database.serve().acquire().await?;
        let all = quotas::of_all_tenants(&mut connection).await?;
        drop(connection);
        let changed: Vec<(TenantId, Arc<Account>)> = {
            let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
            let before = std::mem::take(&mut *tenants);
            for (tenant, limits) in all {
                let kept = before.get(&tenant).filter(|account| account.limits == limits).map(Arc::clone);
                let account =
                    kept.unwrap_or_else(|| Arc::new(Account { limits, purses: Default::default() }));
                tenants.insert(tenant, account);
            }
            let is_gone = |tenant: &TenantId, account: &Arc<Account>| {
                !tenants.get(tenant).is_some_and(|kept| Arc::ptr_eq(kept, account))
            };
            before.into_iter().filter(|(tenant, account)| is_gone(tenant, account)).collect()
        };
        for (tenant, account) in changed {
            self.return_all(tenant, &account, Duration::ZERO).await?;
        }
        Ok(())
    }

    fn account(&self, tenant: TenantId) -> Option<Arc<Account>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).map(Arc::clone)
    }

    /// Refuses what is larger, or goes to more, than the tenant may send in one mail.
    pub(super) fn fit(&self, tenant: TenantId, items: &mut [Result<NewMessage, Rejected>]) {
        let Some(account) = self.account(tenant) else { return };
        for item in items {
            let refused = match item {
                Ok(message) => too_much(&account.limits, message),
                Err(_) => None,
            };
            if let Some(refused) = refused {
                *item = Err(refused);
            }
        }
    }

    /// Spends for mails to so many recipients.
    ///
    /// # Errors
    /// The outer: the database is needed and does not answer. The inner: a limit is reached; nothing is spent.
    pub(super) async fn spend(
        &self,
        tenant: TenantId,
        (mails, recipients): (i64, i64),
        now: OffsetDateTime,
    ) -> Result<Result<Spent, Exceeded>, StoreError> {
        let mut spent = Spent::default();
        let Some(account) = self.account(tenant).filter(|_| mails > 0) else { return Ok(Ok(spent)) };
        for period in Period::ALL {
            let Some(limit) = account.limits.of(period) else { continue };
            let need = match period {
                // More mails in one call than a second may have take all of one.
                Period::Second => mails.min(limit),
                Period::Day | Period::Month => recipients,
            };
            let work = self.take(tenant, &account, period, (limit, need), now);
            let taken =
                tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(StoreError::timed_out()));
            match taken {
                Ok(Ok(starts_at)) => spent.0.push((period, starts_at, need)),
                Ok(Err(exceeded)) => {
                    self.put_back(tenant, spent).await;
                    return Ok(Err(exceeded));
                }
                Err(error) => {
                    self.put_back(tenant, spent).await;
                    return Err(error);
                }
            }
        }
        Ok(Ok(spent))
    }

    /// Nothing came of it.
    pub(super) async fn put_back(&self, tenant: TenantId, spent: Spent) {
        let Some(account) = self.account(tenant) else { return };
        for (period, starts_at, amount) in spent.0 {
            let mut purse = account.purses[period as usize].lock().await;
            if purse.starts_at == starts_at {
                purse.left += amount;
            }
        }
    }

    async fn take(
        &self,
        tenant: TenantId,
        account: &Account,
        period: Period,
        (limit, need): (i64, i64),
        now: OffsetDateTime,
    ) -> Result<Result<OffsetDateTime, Exceeded>, StoreError> {
        let mut purse = account.purses[period as usize].lock().await;
        let starts_at = period.start(now);
        if purse.starts_at != starts_at {
            *purse = Purse { starts_at, ..Purse::default() };
        }
        purse.used = Instant::now();
        if purse.left < need {
            let missing = need - purse.left;
            let more = Box::pin(self.more(tenant, &mut purse, period, (limit, missing), now));
            if let Err(left) = more.await? {
                let wait = (period.end(starts_at) - now).whole_seconds() + 1;
                let wait_seconds = u32::try_from(wait).unwrap_or(1);
                return Ok(Err(Exceeded { period, limit, left: left + purse.left, wait_seconds }));
            }
        }
        purse.left -= need;
        Ok(Ok(starts_at))
    }

    /// Puts a portion into the purse; the inner error is what is left for all, which is not enough.
    async fn more(
        &self,
        tenant: TenantId,
        purse: &mut Purse,
        period: Period,
        (limit, missing): (i64, i64),
        now: OffsetDateTime,
    ) -> Result<Result<(), i64>, StoreError> {
        let believed = purse.short.filter(|(heard, left)| heard.elapsed() < SHORT_FOR && *left < missing);
        if let Some((_, left)) = believed {
            return Ok(Err(left));
        }
        match self.lease(tenant, period, purse.starts_at, (limit, missing), now).await? {
            Ok(portion) => {
                purse.left += portion;
                Ok(Ok(()))
            }
            Err(left) => {
                purse.short = Some((Instant::now(), left));
                Ok(Err(left))
            }
        }
    }

    /// Takes a portion; the inner error is what is left, which is not enough.
    async fn lease(
        &self,
        tenant: TenantId,
        period: Period,
        starts_at: OffsetDateTime,
        (limit, need): (i64, i64),
        now: OffsetDateTime,
    ) -> Result<Result<i64, i64>, StoreError> {
        let mut transaction = self.database.serve().begin().await?;
        let leased = quotas::lock_counter(&mut transaction, tenant, period, starts_at).await?;
        let more = portion(limit, leased, need);
        if let Some(more) = more {
            quotas::count(&mut transaction, tenant, period, starts_at, more).await?;
        }
        let reached = match more {
            None => Some(100),
            Some(more) => passed(limit, leased, leased + more),
        };
        if let Some(percent) = reached.filter(|_| period != Period::Second) {
            tell(&mut transaction, tenant, period, (limit, percent), now).await?;
        }
        transaction.commit().await?;
        Ok(more.ok_or((limit - leased).max(0)))
    }

    /// Gives back what has not been touched for so long.
    ///
    /// # Errors
    /// See [`StoreError`]; what could not be given back is kept.
    pub async fn give_back(&self, idle: Duration) -> Result<(), StoreError> {
        let all: Vec<(TenantId, Arc<Account>)> = {
            let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
            tenants.iter().map(|(tenant, account)| (*tenant, Arc::clone(account))).collect()
        };
        for (tenant, account) in all {
            self.return_all(tenant, &account, idle).await?;
        }
        Ok(())
    }

    async fn return_all(
        &self,
        tenant: TenantId,
        account: &Account,
        idle: Duration,
    ) -> Result<(), StoreError> {
        for period in [Period::Day, Period::Month] {
            let mut purse = account.purses[period as usize].lock().await;
            if purse.left == 0 || purse.used.elapsed() < idle {
                continue;
            }
            let mut connection = self.database.serve().acquire().await?;
            quotas::count(&mut connection, tenant, period, purse.starts_at, -purse.left).await?;
            purse.left = 0;
        }
        Ok(())
    }
}

fn too_much(limits: &Limits, message: &NewMessage) -> Option<Rejected> {
    let above = |limit: Option<i64>, found: usize| {
        limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| found > *limit)
    };
    if let Some(limit) = above(limits.message_bytes, message.outgoing.raw.len()) {
        return Some(Rejected::too_large(limit));
    }
    let count = message.deliveries.len();
    above(limits.recipients, count).map(|limit| {
        let text = format!("a mail of this tenant has at most {limit} recipients, this one has {count}");
        Rejected::invalid(vec![Violation::new("/to", "too_many_recipients", text)])
    })
}

async fn tell(
    connection: &mut PgConnection,
    tenant: TenantId,
    period: Period,
    (limit, percent): (i64, u8),
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let subject = format!("{} {percent}", period.as_str());
    let message = match percent {
        100 => format!(
            "All {limit} recipients of this {} have been used: more mail is refused.",
            period.as_str()
        ),
        _ => format!("{percent} % of the {limit} recipients of this {} have been used.", period.as_str()),
    };
    let data = json!({ "period": period.as_str(), "limit": limit, "percent": percent });
    let notice = NewNotice { kind: Kind::QuotaReached, subject: &subject, message: &message, data };
    account_notices::raise(connection, tenant, &notice, now).await.map(drop)
}
