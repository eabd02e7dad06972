//! Pauses: mail that is held, by its tenant or, for a site or a recipient domain, by an operator.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::domain::id::{PauseId, TenantId};
use crate::domain::pacing::SiteKey;
use crate::domain::pause::{Held, Kinds, Pause};
use crate::store::audit::{self, Details, Entry};
use crate::store::revisions::{self, Revised};
use crate::store::{Database, PgConnection, StoreError, pauses, sites};

use super::Actor;

/// Holds mail from now on. `by`: in whose log it is noted.
///
/// # Errors
/// See [`StoreError`].
pub async fn create(
    database: &Database,
    actor: &Actor,
    by: TenantId,
    held: Held,
    reason: String,
    now: OffsetDateTime,
) -> Result<Pause, StoreError> {
    let pause = Pause { id: PauseId::new(now), held, reason, created_at: now };
    let mut transaction = database.serve().begin().await?;
    write(&mut transaction, actor, by, &pause, now).await?;
    transaction.commit().await?;
    Ok(pause)
}

/// The same in a transaction of another operation.
pub(super) async fn write(
    connection: &mut PgConnection,
    actor: &Actor,
    by: TenantId,
    pause: &Pause,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    pauses::insert(connection, pause).await?;
    changed(connection, actor, (by, pause), "pause.create", audit::made(shown(pause)), now).await
}

/// Lets mail go on. `of`: whose pause it is, `None`: the installation's. False: there is no such pause.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    database: &Database,
    actor: &Actor,
    by: TenantId,
    of: Option<TenantId>,
    id: PauseId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let mut transaction = database.serve().begin().await?;
    let Some(pause) = pauses::find(&mut transaction, of, id).await? else { return Ok(false) };
    pauses::delete(&mut transaction, of, id).await?;
    changed(&mut transaction, actor, (by, &pause), "pause.delete", audit::removed(shown(&pause)), now)
        .await?;
    transaction.commit().await?;
    Ok(true)
}

/// Lifts what a site's own replies have changed; the processes that put mail off for it make it due as they learn of
/// it. False: there is no such site.
///
/// # Errors
/// See [`StoreError`].
pub async fn lift(
    database: &Database,
    actor: &Actor,
    by: TenantId,
    key: &SiteKey,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let mut transaction = database.serve().begin().await?;
    if !sites::lift(&mut transaction, key, now).await? {
        return Ok(false);
    }
    let details = audit::made(json!({ "site": key.site, "source": key.source }));
    let entry = Entry { actor: &actor.name, ip: actor.ip, action: "site.resume", target: &key.site, details };
    audit::append(&mut transaction, by, entry, now).await?;
    transaction.commit().await?;
    Ok(true)
}

/// As the audit log tells it.
fn shown(pause: &Pause) -> Value {
    match &pause.held {
        Held::Mail { stream, domain, sender, kinds, .. } => json!({
            "stream": stream, "domain": domain, "sender_domain": sender,
            "broadcast_only": *kinds == Kinds::Broadcast, "reason": pause.reason,
        }),
        Held::Site(site) => json!({ "site": site, "reason": pause.reason }),
        Held::Destination(domain) => json!({ "domain": domain, "reason": pause.reason }),
    }
}

async fn changed(
    connection: &mut PgConnection,
    actor: &Actor,
    (by, pause): (TenantId, &Pause),
    action: &'static str,
    details: Details,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let target = pause.id.to_string();
    let entry = Entry { actor: &actor.name, ip: actor.ip, action, target: &target, details };
    audit::append(connection, by, entry, now).await?;
    revisions::raise(connection, Revised::Pauses).await
}
