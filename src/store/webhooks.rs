//! Tenants' webhooks. Secrets come and go sealed. What is to be posted is in `store/calls`.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::id::{Id, TenantId, WebhookId};

use super::StoreError;

/// A webhook as it is stored.
#[derive(Debug, Clone)]
pub struct StoredWebhook {
    /// Its name in the API.
    pub id: WebhookId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where it leads.
    pub url: String,
    /// What its owner says of it.
    pub description: String,
    /// The shape of its bodies.
    pub format: String,
    /// Only these types; `None`: all.
    pub types: Option<Vec<String>>,
    /// Only of mail of these streams; `None`: all.
    pub streams: Option<Vec<String>>,
    /// Only of mail with one of these tags; `None`: all.
    pub tags: Option<Vec<String>>,
    /// The most events in one request; 1: each alone.
    pub batch_size: i32,
    /// What signs.
    pub secret_sealed: Vec<u8>,
    /// What signs too, and until when.
    pub previous: Option<(Vec<u8>, OffsetDateTime)>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// Since when nothing is posted to it, and why.
    pub disabled: Option<(OffsetDateTime, String)>,
    /// Since when it fails.
    pub failing_since: Option<OffsetDateTime>,
}

struct Row {
    id: Uuid,
    tenant_id: Uuid,
    url: String,
    description: String,
    format: String,
    types: Option<Vec<String>>,
    streams: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    batch_size: i32,
    secret_sealed: Vec<u8>,
    previous_sealed: Option<Vec<u8>>,
    previous_until: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
    disabled_at: Option<OffsetDateTime>,
    disabled_because: Option<String>,
    failing_since: Option<OffsetDateTime>,
}

impl From<Row> for StoredWebhook {
    fn from(row: Row) -> StoredWebhook {
        StoredWebhook {
            id: Id::from_uuid(row.id),
            tenant: Id::from_uuid(row.tenant_id),
            url: row.url,
            description: row.description,
            format: row.format,
            types: row.types,
            streams: row.streams,
            tags: row.tags,
            batch_size: row.batch_size,
            secret_sealed: row.secret_sealed,
            previous: row.previous_sealed.zip(row.previous_until),
            created_at: row.created_at,
            disabled: row.disabled_at.zip(row.disabled_because),
            failing_since: row.failing_since,
        }
    }
}

/// Stores a new webhook: it gets the events of all transactions that have not ended now, and of those alone.
///
/// # Errors
/// See [`StoreError`].
pub async fn insert(connection: &mut PgConnection, webhook: &StoredWebhook) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO webhooks
            (tenant_id, id, url, description, format, types, streams, tags, batch_size, secret_sealed,
             from_snapshot, created_at, disabled_at, disabled_because)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, txid_current_snapshot(), $11, $12,
                $13)
        "#,
        webhook.tenant.uuid(),
        webhook.id.uuid(),
        webhook.url,
        webhook.description,
        webhook.format,
        webhook.types.as_deref(),
        webhook.streams.as_deref(),
        webhook.tags.as_deref(),
        webhook.batch_size,
        webhook.secret_sealed,
        webhook.created_at,
        webhook.disabled.as_ref().map(|(at, _)| *at),
        webhook.disabled.as_ref().map(|(_, because)| because),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// One webhook of a tenant, for a change of it: nobody else changes it until the transaction ends.
///
/// # Errors
/// See [`StoreError`].
pub async fn find_to_change(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: WebhookId,
) -> Result<Option<StoredWebhook>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, tenant_id, url, description, format, types, streams, tags, batch_size, secret_sealed,
               previous_sealed, previous_until, created_at, disabled_at, disabled_because, failing_since
        FROM webhooks WHERE tenant_id = $1 AND id = $2 FOR UPDATE
        "#,
        tenant.uuid(),
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(StoredWebhook::from))
}

/// One webhook of a tenant.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: WebhookId,
) -> Result<Option<StoredWebhook>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, tenant_id, url, description, format, types, streams, tags, batch_size, secret_sealed,
               previous_sealed, previous_until, created_at, disabled_at, disabled_because, failing_since
        FROM webhooks WHERE tenant_id = $1 AND id = $2
        "#,
        tenant.uuid(),
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(StoredWebhook::from))
}

/// A page of a tenant's webhooks, oldest first, after `after`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    after: Option<WebhookId>,
    limit: i64,
) -> Result<Vec<StoredWebhook>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, tenant_id, url, description, format, types, streams, tags, batch_size, secret_sealed,
               previous_sealed, previous_until, created_at, disabled_at, disabled_because, failing_since
        FROM webhooks WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
        "#,
        tenant.uuid(),
        after.map(Id::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(StoredWebhook::from).collect())
}

/// The enabled webhooks of all tenants: what the workers post to.
///
/// # Errors
/// See [`StoreError`].
pub async fn of_all_tenants(connection: &mut PgConnection) -> Result<Vec<StoredWebhook>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, tenant_id, url, description, format, types, streams, tags, batch_size, secret_sealed,
               previous_sealed, previous_until, created_at, disabled_at, disabled_because, failing_since
        FROM webhooks WHERE disabled_at IS NULL ORDER BY tenant_id, id
        "#,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(StoredWebhook::from).collect())
}

/// Writes what may change of a webhook. One that is enabled again gets the events of all transactions that
/// have not ended now; those of the time between are not posted by themselves.
///
/// # Errors
/// See [`StoreError`].
pub async fn update(connection: &mut PgConnection, webhook: &StoredWebhook) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE webhooks
        SET url = $3, description = $4, types = $5, streams = $6, tags = $7, batch_size = $8,
            secret_sealed = $9, previous_sealed = $10, previous_until = $11,
            from_snapshot = CASE WHEN disabled_at IS NOT NULL AND $12::timestamptz IS NULL
                                 THEN txid_current_snapshot() ELSE from_snapshot END,
            disabled_at = $12, disabled_because = $13, failing_since = $14
        WHERE tenant_id = $1 AND id = $2
        "#,
        webhook.tenant.uuid(),
        webhook.id.uuid(),
        webhook.url,
        webhook.description,
        webhook.types.as_deref(),
        webhook.streams.as_deref(),
        webhook.tags.as_deref(),
        webhook.batch_size,
        webhook.secret_sealed,
        webhook.previous.as_ref().map(|(sealed, _)| sealed.as_slice()),
        webhook.previous.as_ref().map(|(_, until)| *until),
        webhook.disabled.as_ref().map(|(at, _)| *at),
        webhook.disabled.as_ref().map(|(_, because)| because),
        webhook.failing_since,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes a webhook; what was still to be posted to it is swept later. False: there is no such webhook.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: WebhookId,
) -> Result<bool, StoreError> {
    let done =
        sqlx::query!("DELETE FROM webhooks WHERE tenant_id = $1 AND id = $2", tenant.uuid(), id.uuid())
            .execute(connection)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether there is any webhook: their secrets are sealed.
///
/// # Errors
/// See [`StoreError`].
pub async fn any(connection: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM webhooks) AS "any!""#)
        .fetch_one(connection)
        .await?)
}

/// Notes which webhooks failed and which did not, and since when.
///
/// # Errors
/// See [`StoreError`].
pub async fn note_health(
    connection: &mut PgConnection,
    well: &[Uuid],
    failing: &[Uuid],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE webhooks SET failing_since = CASE WHEN id = ANY ($2) THEN $3::timestamptz END
        WHERE (id = ANY ($1) AND failing_since IS NOT NULL) OR (id = ANY ($2) AND failing_since IS NULL)
        "#,
        well,
        failing,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A webhook that was disabled by what it answered.
#[derive(Debug, Clone)]
pub struct Disabled {
    /// Which.
    pub id: WebhookId,
    /// Whose.
    pub tenant: TenantId,
    /// Where it led.
    pub url: String,
    /// Why: `gone` or `failing`.
    pub because: String,
}

/// Disables those that are gone, and of those that failed the ones that have failed since `failing_before`.
///
/// # Errors
/// See [`StoreError`].
pub async fn disable(
    connection: &mut PgConnection,
    gone: &[Uuid],
    failed: &[Uuid],
    failing_before: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<Vec<Disabled>, StoreError> {
    let rows = sqlx::query!(
        r#"
        UPDATE webhooks SET disabled_at = $4, disabled_because = CASE WHEN id = ANY ($1) THEN 'gone' ELSE 'failing' END
        WHERE disabled_at IS NULL AND (id = ANY ($1) OR (id = ANY ($2) AND failing_since <= $3))
        RETURNING id, tenant_id, url, disabled_because AS "because!"
        "#,
        gone,
        failed,
        failing_before,
        now,
    )
    .fetch_all(connection)
    .await?;
    let disabled = |id, tenant, url, because| Disabled {
        id: Id::from_uuid(id),
        tenant: Id::from_uuid(tenant),
        url,
        because,
    };
    Ok(rows.into_iter().map(|row| disabled(row.id, row.tenant_id, row.url, row.because)).collect())
}
