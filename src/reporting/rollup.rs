//! The roll-up: counts the events below the horizon, batch by batch.
//!
//! Invariant: a batch's counters and the cursor that says that it is counted are one transaction, under the lock of
//! the cursor's row. So an event counts exactly once, whichever node counts it and wherever it is killed; what
//! commits late is not skipped, since nothing at or above the oldest running transaction is read.

use std::collections::{HashMap, HashSet};

use time::OffsetDateTime;

use crate::domain::event::EventType;
use crate::domain::id::TenantId;
use crate::domain::provider;
use crate::domain::stats::{Dimension, Fact, Grain, Tally};
use crate::store::stats::{self, Tail};
use crate::store::{Link, PgConnection, StoreError, events};

use super::places::{self, Known};

/// Events counted in one transaction.
pub const BATCH: i64 = 4000;
/// Days of tenants whose values are kept in memory.
const MAX_DAYS: usize = 10_000;

/// What a counter of events remembers between batches.
#[derive(Debug, Default)]
pub struct Memory {
    known: Known,
    days: HashSet<(TenantId, OffsetDateTime)>,
}

/// What a batch brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rolled {
    /// Somebody else is at it.
    Elsewhere,
    /// So many events were counted; a whole [`BATCH`]: there may be more.
    Counted(usize),
}

/// Counts one batch.
///
/// # Errors
/// Nothing of it was counted, or, if the database went away, all or nothing: the next batch begins where the
/// cursor says.
pub async fn batch(link: &mut Link, memory: &mut Memory, now: OffsetDateTime) -> Result<Rolled, StoreError> {
    let rolled = try_batch(link, memory, now).await;
    if rolled.is_err() {
        // What was noted as known may never have been stored.
        *memory = Memory::default();
    }
    rolled
}

async fn try_batch(link: &mut Link, memory: &mut Memory, now: OffsetDateTime) -> Result<Rolled, StoreError> {
    let mut transaction = link.begin().await?;
    let Some(cursor) = stats::lock_cursor(&mut transaction).await? else { return Ok(Rolled::Elsewhere) };
    let horizon = events::horizon(&mut transaction).await?;
    let tail = Tail { tenant: None, after: cursor, horizon: Some(horizon), limit: BATCH, recipients: true };
    let read = stats::uncounted(&mut transaction, tail).await?;
    let Some(position) = read.position else { return Ok(Rolled::Counted(0)) };
    let tally = tally(&mut transaction, memory, &read.facts, now).await?;
    stats::add(&mut transaction, &tally).await?;
    stats::move_cursor(&mut transaction, position).await?;
    transaction.commit().await?;
    Ok(Rolled::Counted(read.read))
}

async fn tally(
    connection: &mut PgConnection,
    memory: &mut Memory,
    facts: &[Fact],
    now: OffsetDateTime,
) -> Result<Tally, StoreError> {
    memory.learn(connection, facts).await?;
    let learnt = learn(connection, facts, now).await?;
    let mut tally = Tally::new();
    for fact in facts {
        places::count(&mut tally, &mut memory.known, fact, places::provider_of(fact, &learnt));
    }
    Ok(tally)
}

impl Memory {
    /// Reads the values of the days that are new to it.
    async fn learn(&mut self, connection: &mut PgConnection, facts: &[Fact]) -> Result<(), StoreError> {
        let days = facts.iter().map(|fact| (fact.tenant, Grain::Day.start(fact.at)));
        let mut new: Vec<_> = days.filter(|day| !self.days.contains(day)).collect();
        new.sort_unstable();
        new.dedup();
        if new.is_empty() {
            return Ok(());
        }
        if self.days.len() + new.len() > MAX_DAYS {
            *self = Memory::default();
            new = facts.iter().map(|fact| (fact.tenant, Grain::Day.start(fact.at))).collect();
            new.sort_unstable();
            new.dedup();
        }
        self.known.extend(stats::known_values(connection, &new).await?);
        self.days.extend(new);
        Ok(())
    }
}

/// Who keeps the mailboxes of the recipients' domains: what these events teach, and what earlier ones did.
async fn learn(
    connection: &mut PgConnection,
    facts: &[Fact],
    now: OffsetDateTime,
) -> Result<HashMap<String, String>, StoreError> {
    let taught = taught(facts);
    if !taught.is_empty() {
        stats::learn_providers(connection, &taught, now).await?;
    }
    stats::providers(connection, &unnamed(facts)).await
}

/// The recipients' domains that do not name their provider.
fn unnamed(facts: &[Fact]) -> Vec<&str> {
    let mut domains: Vec<&str> = facts.iter().map(|fact| fact.recipient_domain.as_str()).collect();
    domains.sort_unstable();
    domains.dedup();
    domains.retain(|domain| provider::of_domain(domain).is_none());
    domains
}

/// What events teach about their recipients' domains: a host that takes or refuses mail for them, and stands where
/// only a provider's exchangers do.
fn taught(facts: &[Fact]) -> HashMap<&str, &str> {
    let answered = |fact: &&Fact| {
        matches!(fact.kind, EventType::Delivered | EventType::Bounced | EventType::Deferred)
            && provider::of_domain(&fact.recipient_domain).is_none()
    };
    let teach = |fact: &'_ Fact| provider::of_exchanger(fact.host.as_deref()?);
    facts
        .iter()
        .filter(answered)
        .filter_map(|fact| Some((fact.recipient_domain.as_str(), teach(fact)?)))
        .collect()
}

/// What some events that are not counted yet will add by one dimension and in one length of interval: for readers.
/// Values beyond the bound may show here under their own names until they are counted.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn preview(
    connection: &mut PgConnection,
    facts: &[Fact],
    asked: (Dimension, Grain),
) -> Result<Tally, StoreError> {
    let learnt = match asked.0 {
        Dimension::Provider => providers(connection, facts).await?,
        _ => HashMap::new(),
    };
    let (mut tally, mut known) = (Tally::new(), Known::new());
    for fact in facts {
        places::count_by(asked, &mut tally, &mut known, fact, places::provider_of(fact, &learnt));
    }
    Ok(tally)
}

/// Who keeps the recipients' mailboxes, without keeping what these events teach.
async fn providers(
    connection: &mut PgConnection,
    facts: &[Fact],
) -> Result<HashMap<String, String>, StoreError> {
    let mut learnt = stats::providers(connection, &unnamed(facts)).await?;
    learnt.extend(taught(facts).into_iter().map(|(domain, name)| (domain.to_owned(), name.to_owned())));
    Ok(learnt)
}
