//! DKIM keys of sender domains. Private halves come and go sealed.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::id::{DkimKeyId, DomainId, Id, TenantId};
use crate::domain::identity::records::KeyFacts;
use crate::domain::identity::{KeyOrigin, KeyState};
use crate::mail::dkim::Algorithm;

use super::StoreError;
use super::domains::Held;

/// A key as it is stored, without its private half.
#[derive(Debug, Clone)]
pub struct StoredKey {
    /// Its name in the API.
    pub id: DkimKeyId,
    /// Of which domain.
    pub domain: DomainId,
    /// Selector, algorithm, state, public half.
    pub facts: KeyFacts,
    /// Where it comes from.
    pub origin: KeyOrigin,
    /// Whether the last look-up found its record.
    pub published: bool,
    /// When it was made or brought.
    pub created_at: OffsetDateTime,
    /// When it began to sign.
    pub active_at: Option<OffsetDateTime>,
    /// When it ceased to.
    pub retired_at: Option<OffsetDateTime>,
}

struct Row {
    id: uuid::Uuid,
    domain_id: uuid::Uuid,
    selector: String,
    algorithm: String,
    origin: String,
    state: String,
    published: bool,
    public_key: String,
    created_at: OffsetDateTime,
    active_at: Option<OffsetDateTime>,
    retired_at: Option<OffsetDateTime>,
}

impl Row {
    /// `None` only for what a newer version wrote: the table's CHECKs have the same words as the types.
    fn key(self) -> Option<StoredKey> {
        Some(StoredKey {
            id: Id::from_uuid(self.id),
            domain: Id::from_uuid(self.domain_id),
            facts: KeyFacts {
                selector: self.selector,
                algorithm: Algorithm::parse(&self.algorithm)?,
                state: KeyState::parse(&self.state)?,
                public: self.public_key,
            },
            origin: KeyOrigin::parse(&self.origin)?,
            published: self.published,
            created_at: self.created_at,
            active_at: self.active_at,
            retired_at: self.retired_at,
        })
    }
}

/// Stores a new key.
///
/// # Errors
/// [`StoreError::Conflict`] when the domain has one with this selector, or one of its algorithm in this state.
pub async fn insert(
    connection: &mut PgConnection,
    tenant: TenantId,
    key: &StoredKey,
    private_sealed: &[u8],
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO domain_keys
            (tenant_id, domain_id, id, selector, algorithm, origin, state, public_key, private_sealed, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        "#,
        tenant.uuid(),
        key.domain.uuid(),
        key.id.uuid(),
        key.facts.selector,
        key.facts.algorithm.as_str(),
        key.origin.as_str(),
        key.facts.state.as_str(),
        key.facts.public,
        private_sealed,
        key.created_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The keys of a tenant's domains: by domain, and within one RSA first, the oldest first.
///
/// # Errors
/// See [`StoreError`].
pub async fn of_domains(
    connection: &mut PgConnection,
    tenant: TenantId,
    domains: &[DomainId],
) -> Result<Vec<StoredKey>, StoreError> {
    let domains: Vec<uuid::Uuid> = domains.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, domain_id, selector, algorithm, origin, state, published, public_key, created_at, active_at,
               retired_at
        FROM domain_keys WHERE tenant_id = $1 AND domain_id = ANY ($2)
        ORDER BY domain_id, algorithm DESC, id
        "#,
        tenant.uuid(),
        &domains,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(Row::key).collect())
}

/// Writes what may change of a key.
///
/// # Errors
/// [`StoreError::Conflict`]: another key of the algorithm is in this state.
pub async fn update(
    connection: &mut PgConnection,
    tenant: TenantId,
    key: &StoredKey,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE domain_keys SET state = $4, published = $5, active_at = $6, retired_at = $7
        WHERE tenant_id = $1 AND domain_id = $2 AND id = $3
        "#,
        tenant.uuid(),
        key.domain.uuid(),
        key.id.uuid(),
        key.facts.state.as_str(),
        key.published,
        key.active_at,
        key.retired_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes a key.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    connection: &mut PgConnection,
    tenant: TenantId,
    domain: DomainId,
    key: DkimKeyId,
) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM domain_keys WHERE tenant_id = $1 AND domain_id = $2 AND id = $3",
        tenant.uuid(),
        domain.uuid(),
        key.uuid(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A key that signs, sealed.
#[derive(Debug, Clone)]
pub struct SigningKey {
    /// Its name, for which it is sealed.
    pub id: DkimKeyId,
    /// Of which domain.
    pub domain: DomainId,
    /// Where it is published.
    pub selector: String,
    /// How it signs.
    pub algorithm: Algorithm,
    /// Whether the last look-up found its record.
    pub published: bool,
    /// PKCS #8, sealed.
    pub private_sealed: Vec<u8>,
}

/// The keys of domains of all tenants that sign: RSA first, so that it is the first signature verifiers meet.
///
/// # Errors
/// See [`StoreError`].
pub async fn that_sign(
    connection: &mut PgConnection,
    domains: &[Held],
) -> Result<Vec<SigningKey>, StoreError> {
    let (tenants, ids): (Vec<_>, Vec<_>) =
        domains.iter().map(|held| (held.tenant.uuid(), held.id.uuid())).unzip();
    let rows = sqlx::query!(
        r#"
        SELECT k.id, k.domain_id, k.selector, k.algorithm, k.published, k.private_sealed
        FROM UNNEST($1::uuid[], $2::uuid[]) AS wanted (tenant_id, domain_id)
        JOIN domain_keys k ON k.tenant_id = wanted.tenant_id AND k.domain_id = wanted.domain_id
        WHERE k.state = 'active'
        ORDER BY k.domain_id, k.algorithm DESC
        "#,
        &tenants,
        &ids,
    )
    .fetch_all(connection)
    .await?;
    let key = |id, domain, selector, algorithm: String, published, private_sealed| {
        let algorithm = Algorithm::parse(&algorithm)?;
        Some(SigningKey { id, domain, selector, algorithm, published, private_sealed })
    };
    let keys = rows.into_iter().filter_map(|row| {
        let (id, domain) = (Id::from_uuid(row.id), Id::from_uuid(row.domain_id));
        key(id, domain, row.selector, row.algorithm, row.published, row.private_sealed)
    });
    Ok(keys.collect())
}

/// Whether any key is stored: then the master key must be the one that sealed it.
///
/// # Errors
/// See [`StoreError`].
pub async fn any_sealed(connection: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM domain_keys) AS "any!""#)
        .fetch_one(connection)
        .await?)
}
