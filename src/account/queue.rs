//! The queue of a recipient domain, over all tenants: tried now, or taken back. An operator's acts, noted in the log of
//! whoever does them.
//!
//! Both go batch by batch, each a transaction with its own entry in the log, so that no lock is held for long; whoever is
//! interrupted does it again.

use serde_json::json;
use time::OffsetDateTime;

use crate::domain::id::TenantId;
use crate::store::audit::{self, Entry};
use crate::store::{Database, PgConnection, StoreError, queue};

use super::Actor;

/// Deliveries of one transaction.
const BATCH: i64 = 5000;

/// Makes what has been tried and waits for its next try due now; what pauses hold stays held, and what is scheduled waits
/// for its time. Gives how many deliveries.
///
/// # Errors
/// See [`StoreError`]: what was made due before stays so.
pub async fn retry(
    database: &Database,
    actor: &Actor,
    by: TenantId,
    domain: &str,
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let mut all = 0;
    loop {
        let mut transaction = database.serve().begin().await?;
        let retried = queue::retry_domain(&mut transaction, domain, now, BATCH).await?;
        if retried > 0 {
            note(&mut transaction, actor, by, ("queue.retry", domain), retried, now).await?;
        }
        transaction.commit().await?;
        all += retried;
        if retried < BATCH as u64 {
            return Ok(all);
        }
    }
}

/// What a purge did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Deliveries that have ended `canceled`.
    pub canceled: u64,
    /// Deliveries in a worker's hands: they end as they end, and are not tried again.
    pub stopping: u64,
}

/// Takes back what waits for a recipient domain, whoever sends it and whatever holds it.
///
/// # Errors
/// See [`StoreError`]: what was taken back before stays so.
pub async fn purge(
    database: &Database,
    actor: &Actor,
    by: TenantId,
    domain: &str,
    now: OffsetDateTime,
) -> Result<Purged, StoreError> {
    let mut purged = Purged::default();
    loop {
        let mut transaction = database.serve().begin().await?;
        let canceled = queue::cancel_domain(&mut transaction, domain, now, BATCH).await?;
        let stopping = queue::mark_domain_canceled(&mut transaction, domain).await?;
        if canceled + stopping > 0 {
            note(&mut transaction, actor, by, ("queue.purge", domain), canceled + stopping, now).await?;
        }
        transaction.commit().await?;
        purged.canceled += canceled;
        purged.stopping += stopping;
        if canceled < BATCH as u64 {
            return Ok(purged);
        }
    }
}

async fn note(
    connection: &mut PgConnection,
    actor: &Actor,
    by: TenantId,
    (action, domain): (&'static str, &str),
    deliveries: u64,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let details = audit::made(json!({ "domain": domain, "deliveries": deliveries }));
    let entry = Entry { actor: &actor.name, ip: actor.ip, action, target: domain, details };
    audit::append(connection, by, entry, now).await
}
