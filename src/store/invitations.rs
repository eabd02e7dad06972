//! Invitations to join a tenant. What is stored of their links is the hash alone.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::id::{Id, InvitationId, TenantId};
use crate::domain::ticket::TicketHash;
use crate::domain::user::{Login, Role};

use super::StoreError;

/// An invitation.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// Names it.
    pub id: InvitationId,
    /// Into which tenant.
    pub tenant: TenantId,
    /// What that tenant is called.
    pub tenant_name: String,
    /// Who is invited.
    pub email: Login,
    /// What she will be.
    pub role: Role,
    /// `user_…`, `key_…` or `cli`.
    pub invited_by: String,
    /// When.
    pub created_at: OffsetDateTime,
    /// Until when.
    pub expires_at: OffsetDateTime,
}

struct Row {
    id: uuid::Uuid,
    tenant_id: uuid::Uuid,
    tenant_name: String,
    email: String,
    role: String,
    invited_by: String,
    created_at: OffsetDateTime,
    expires_at: OffsetDateTime,
}

impl Row {
    fn invitation(self) -> Option<Invitation> {
        Some(Invitation {
            id: Id::from_uuid(self.id),
            tenant: Id::from_uuid(self.tenant_id),
            tenant_name: self.tenant_name,
            // Written by these types.
            email: Login::parse(&self.email).ok()?,
            role: self.role.parse().ok()?,
            invited_by: self.invited_by,
            created_at: self.created_at,
            expires_at: self.expires_at,
        })
    }
}

/// Stores an invitation, instead of an open one to the same address.
///
/// # Errors
/// [`StoreError::Conflict`] when there is no such tenant.
pub async fn insert(
    connection: &mut PgConnection,
    invitation: &Invitation,
    hash: TicketHash,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO invitations (tenant_id, id, email, role, hash, invited_by, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (tenant_id, email) WHERE accepted_at IS NULL DO UPDATE
        SET id = excluded.id, role = excluded.role, hash = excluded.hash, invited_by = excluded.invited_by,
            created_at = excluded.created_at, expires_at = excluded.expires_at
        "#,
        invitation.tenant.uuid(),
        invitation.id.uuid(),
        invitation.email.as_str(),
        invitation.role.as_str(),
        &hash.0,
        invitation.invited_by,
        invitation.created_at,
        invitation.expires_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The open invitations of a tenant, newest first.
///
/// # Errors
/// See [`StoreError`].
pub async fn open(
    connection: &mut PgConnection,
    tenant: TenantId,
    now: OffsetDateTime,
) -> Result<Vec<Invitation>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT i.id, i.tenant_id, t.name AS tenant_name, i.email, i.role, i.invited_by, i.created_at, i.expires_at
        FROM invitations i JOIN tenants t ON t.id = i.tenant_id
        WHERE i.tenant_id = $1 AND i.accepted_at IS NULL AND i.expires_at > $2 ORDER BY i.id DESC LIMIT 1000
        "#,
        tenant.uuid(),
        now,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(Row::invitation).collect())
}

/// The invitation that a link belongs to, while it is open. It crosses tenants: the link says which.
///
/// # Errors
/// See [`StoreError`].
pub async fn find_by_ticket(
    connection: &mut PgConnection,
    hash: TicketHash,
    now: OffsetDateTime,
) -> Result<Option<Invitation>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT i.id, i.tenant_id, t.name AS tenant_name, i.email, i.role, i.invited_by, i.created_at, i.expires_at
        FROM invitations i JOIN tenants t ON t.id = i.tenant_id
        WHERE i.hash = $1 AND i.accepted_at IS NULL AND i.expires_at > $2
        "#,
        &hash.0,
        now,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.and_then(Row::invitation))
}

/// The open invitations to an address, from all tenants.
///
/// # Errors
/// See [`StoreError`].
pub async fn to_address(
    connection: &mut PgConnection,
    email: &Login,
    now: OffsetDateTime,
) -> Result<Vec<Invitation>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT i.id, i.tenant_id, t.name AS tenant_name, i.email, i.role, i.invited_by, i.created_at, i.expires_at
        FROM invitations i JOIN tenants t ON t.id = i.tenant_id
        WHERE i.email = $1 AND i.accepted_at IS NULL AND i.expires_at > $2 ORDER BY i.id
        "#,
        email.as_str(),
        now,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(Row::invitation).collect())
}

/// Accepts an invitation. False: it was accepted or taken back meanwhile.
///
/// # Errors
/// See [`StoreError`].
pub async fn accept(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: InvitationId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE invitations SET accepted_at = $3
        WHERE tenant_id = $1 AND id = $2 AND accepted_at IS NULL AND expires_at > $3
        "#,
        tenant.uuid(),
        id.uuid(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes an open invitation back; gives to whom it was. `None`: there is none.
///
/// # Errors
/// See [`StoreError`].
pub async fn take_back(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: InvitationId,
) -> Result<Option<(String, Option<Role>)>, StoreError> {
    let row = sqlx::query!(
        "DELETE FROM invitations WHERE tenant_id = $1 AND id = $2 AND accepted_at IS NULL RETURNING email, role",
        tenant.uuid(),
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (row.email, row.role.parse().ok())))
}

/// Forgets invitations that ended before `ended`.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget(connection: &mut PgConnection, ended: OffsetDateTime) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM invitations WHERE expires_at < $1", ended).execute(connection).await?;
    Ok(())
}
