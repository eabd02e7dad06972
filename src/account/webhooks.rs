//! Tenants' webhooks. Secrets are sealed before they are stored, and shown once. Posting is in `webhooks`.

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::domain::id::{TenantId, WebhookId};
use crate::domain::webhook::WebhookSecret;
use crate::domain::webhook_format::Format;
use crate::seal::{NoRandomness, Subkey};
use crate::store::audit::{self, Details, Entry};
use crate::store::calls::{self, Again};
use crate::store::posts::Post;
use crate::store::revisions::{self, Revised};
use crate::store::webhooks::{self, StoredWebhook};
use crate::store::{Database, PgConnection, StoreError};

use super::Actor;

/// What its owner decides of a webhook.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// Where it leads; already checked.
    pub url: String,
    /// What its owner says of it.
    pub description: String,
    /// In whose shape its events are posted.
    pub format: Format,
    /// Only these types; `None`: all.
    pub types: Option<Vec<String>>,
    /// Only of mail of these streams; `None`: all.
    pub streams: Option<Vec<String>>,
    /// Only of mail with one of these tags; `None`: all.
    pub tags: Option<Vec<String>>,
    /// The most events in one request; 1: each alone.
    pub batch_size: i32,
    /// Whether anything is posted.
    pub state: State,
}

/// Whether anything is posted to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is.
    Enabled,
    /// It is not, by its owner's will.
    Disabled,
}

/// Why there is no webhook, or no new secret.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a webhook.
///
/// # Errors
/// See [`WebhookError`].
pub async fn create(
    database: &Database,
    seal: &Subkey,
    actor: &Actor,
    tenant: TenantId,
    wishes: Wishes,
    secret: &WebhookSecret,
    now: OffsetDateTime,
) -> Result<StoredWebhook, WebhookError> {
    let id = WebhookId::new(now);
    let stored = StoredWebhook {
        id,
        tenant,
        url: wishes.url,
        description: wishes.description,
        format: wishes.format.as_str().to_owned(),
        types: wishes.types,
        streams: wishes.streams,
        tags: wishes.tags,
        batch_size: wishes.batch_size,
        secret_sealed: seal.seal(&id.to_string(), secret.octets())?,
        previous: None,
        created_at: now,
        disabled: (wishes.state == State::Disabled).then(|| (now, "manual".to_owned())),
        failing_since: None,
    };
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    webhooks::insert(&mut transaction, &stored).await?;
    changed(&mut transaction, actor, &stored, "webhook.create", audit::made(shown(&stored)), now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(stored)
}

/// Changes a webhook. `None`: the tenant has no such webhook. `change` is given its present state.
///
/// # Errors
/// See [`StoreError`].
pub async fn update(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    id: WebhookId,
    change: impl FnOnce(Wishes) -> Wishes + Send,
    now: OffsetDateTime,
) -> Result<Option<StoredWebhook>, StoreError> {
    let mut transaction = database.serve().begin().await?;
    let Some(mut stored) = webhooks::find_to_change(&mut transaction, tenant, id).await? else {
        return Ok(None);
    };
    let before = shown(&stored);
    let wishes = change(Wishes::of(&stored));
    let was_enabled = stored.disabled.is_none();
    stored.url = wishes.url;
    stored.description = wishes.description;
    (stored.types, stored.streams, stored.tags) = (wishes.types, wishes.streams, wishes.tags);
    stored.batch_size = wishes.batch_size;
    match wishes.state {
        State::Disabled if was_enabled => stored.disabled = Some((now, "manual".to_owned())),
        State::Enabled if !was_enabled => (stored.disabled, stored.failing_since) = (None, None),
        State::Enabled | State::Disabled => {}
    }
    webhooks::update(&mut transaction, &stored).await?;
    let change = audit::changed(before, shown(&stored));
    changed(&mut transaction, actor, &stored, "webhook.update", change, now).await?;
    transaction.commit().await?;
    Ok(Some(stored))
}

impl Wishes {
    /// As they stand.
    pub fn of(stored: &StoredWebhook) -> Wishes {
        Wishes {
            url: stored.url.clone(),
            description: stored.description.clone(),
            // One of a newer binary stays what it is, since it is not written.
            format: stored.format.parse().unwrap_or(Format::Postroad),
            types: stored.types.clone(),
            streams: stored.streams.clone(),
            tags: stored.tags.clone(),
            batch_size: stored.batch_size,
            state: if stored.disabled.is_none() { State::Enabled } else { State::Disabled },
        }
    }
}

/// Gives a webhook another secret; the one before signs too for `overlap`. `None`: the tenant has no such
/// webhook.
///
/// # Errors
/// See [`WebhookError`].
pub async fn rotate(
    database: &Database,
    seal: &Subkey,
    actor: &Actor,
    (tenant, id): (TenantId, WebhookId),
    (secret, overlap): (&WebhookSecret, Duration),
    now: OffsetDateTime,
) -> Result<Option<StoredWebhook>, WebhookError> {
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    let Some(mut stored) = webhooks::find_to_change(&mut transaction, tenant, id).await? else {
        return Ok(None);
    };
    let sealed = seal.seal(&id.to_string(), secret.octets())?;
    let before = std::mem::replace(&mut stored.secret_sealed, sealed);
    stored.previous = (overlap > Duration::ZERO).then(|| (before, now + overlap));
    let change = audit::made(json!({ "overlap_seconds": overlap.whole_seconds() }));
    webhooks::update(&mut transaction, &stored).await?;
    changed(&mut transaction, actor, &stored, "webhook.rotate", change, now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(Some(stored))
}

/// Deletes a webhook, with what was still to be posted to it. False: the tenant has no such webhook.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    id: WebhookId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let mut transaction = database.serve().begin().await?;
    let Some(stored) = webhooks::find_to_change(&mut transaction, tenant, id).await? else {
        return Ok(false);
    };
    webhooks::delete(&mut transaction, tenant, id).await?;
    changed(&mut transaction, actor, &stored, "webhook.delete", audit::removed(shown(&stored)), now).await?;
    transaction.commit().await?;
    Ok(true)
}

/// What is posted again.
#[derive(Debug)]
pub enum Replay {
    /// The events of one request.
    Post(Box<Post>),
    /// The events of a time.
    Time(Again),
}

/// What a replay did.
#[derive(Debug, Clone, Copy)]
pub struct Replayed {
    /// Events queued.
    pub queued: u64,
    /// The last event looked at, if there may be more.
    pub last: Option<crate::domain::id::EventId>,
}

/// Queues events once more for a webhook, with the ids they had.
///
/// # Errors
/// See [`StoreError`].
pub async fn replay(
    database: &Database,
    actor: &Actor,
    webhook: &StoredWebhook,
    replay: Replay,
    now: OffsetDateTime,
) -> Result<Replayed, StoreError> {
    let (tenant, id) = (webhook.tenant, webhook.id);
    let mut transaction = database.serve().begin().await?;
    let done = match &replay {
        Replay::Post(post) => {
            let queued = calls::replay_events(&mut transaction, tenant, id, &post.events, now).await?;
            Replayed { queued, last: None }
        }
        Replay::Time(again) => {
            let (queued, last) = calls::replay(&mut transaction, tenant, id, *again, now).await?;
            Replayed { queued, last }
        }
    };
    if done.queued > 0 {
        let target = id.to_string();
        let details = audit::made(json!({ "queued": done.queued }));
        let entry =
            Entry { actor: &actor.name, ip: actor.ip, action: "webhook.replay", target: &target, details };
        audit::append(&mut transaction, tenant, entry, now).await?;
    }
    transaction.commit().await?;
    Ok(done)
}

/// As the audit log tells it.
fn shown(webhook: &StoredWebhook) -> Value {
    json!({
        "url": webhook.url,
        "format": webhook.format,
        "types": webhook.types,
        "streams": webhook.streams,
        "tags": webhook.tags,
        "batch_size": webhook.batch_size,
        "enabled": webhook.disabled.is_none(),
    })
}

async fn changed(
    connection: &mut PgConnection,
    actor: &Actor,
    webhook: &StoredWebhook,
    action: &'static str,
    details: Details,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let target = webhook.id.to_string();
    let entry = Entry { actor: &actor.name, ip: actor.ip, action, target: &target, details };
    audit::append(connection, webhook.tenant, entry, now).await?;
    revisions::raise(connection, Revised::Webhooks).await
}
