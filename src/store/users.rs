//! People: their addresses, passwords and the tenants they are members of. What is about a person crosses tenants by
//! nature; what is about a tenant's members takes the tenant first.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::id::{Id, TenantId, UserId};
use crate::domain::session::Place;
use crate::domain::user::{Login, Reach, Role, User};

use super::StoreError;

pub(super) struct Row {
    pub id: Uuid,
    pub email: String,
    pub name: String,
    pub operator: bool,
    pub created_at: OffsetDateTime,
}

impl Row {
    pub(super) fn user(self) -> Option<User> {
        Some(User {
            id: Id::from_uuid(self.id),
            // Written by this type.
            email: Login::parse(&self.email).ok()?,
            name: self.name,
            reach: if self.operator { Reach::Installation } else { Reach::Tenants },
            created_at: self.created_at,
        })
    }
}

/// A person, and the hash of her password; `None`: she has none.
#[derive(Debug, Clone)]
pub struct Known {
    /// Who.
    pub user: User,
    /// Argon2id in PHC form.
    pub password: Option<String>,
}

/// Stores a new person, without a password.
///
/// # Errors
/// [`StoreError::Conflict`] when the address is taken.
pub async fn insert(connection: &mut PgConnection, user: &User) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO users (id, email, name, operator, created_at) VALUES ($1, $2, $3, $4, $5)",
        user.id.uuid(),
        user.email.as_str(),
        user.name,
        user.reach == Reach::Installation,
        user.created_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether there is anybody at all.
///
/// # Errors
/// See [`StoreError`].
pub async fn any(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let any = sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM users) AS "any!""#);
    Ok(any.fetch_one(connection).await?)
}

/// One person.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(connection: &mut PgConnection, id: UserId) -> Result<Option<Known>, StoreError> {
    let row = sqlx::query!(
        "SELECT id, email, name, operator, created_at, password FROM users WHERE id = $1",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.and_then(|row| {
        let user = Row {
            id: row.id,
            email: row.email,
            name: row.name,
            operator: row.operator,
            created_at: row.created_at,
        };
        Some(Known { user: user.user()?, password: row.password })
    }))
}

/// Whoever has this address.
///
/// # Errors
/// See [`StoreError`].
pub async fn find_by_email(
    connection: &mut PgConnection,
    email: &Login,
) -> Result<Option<Known>, StoreError> {
    let row = sqlx::query!(
        "SELECT id, email, name, operator, created_at, password FROM users WHERE email = $1",
        email.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.and_then(|row| {
        let user = Row {
            id: row.id,
            email: row.email,
            name: row.name,
            operator: row.operator,
            created_at: row.created_at,
        };
        Some(Known { user: user.user()?, password: row.password })
    }))
}

/// Sets a password. False: there is no such person.
///
/// # Errors
/// See [`StoreError`].
pub async fn set_password(
    connection: &mut PgConnection,
    id: UserId,
    hash: &str,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE users SET password = $2, password_changed_at = $3 WHERE id = $1",
        id.uuid(),
        hash,
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Changes what she is called, and gives what that was; `None`: there is no such person.
///
/// # Errors
/// See [`StoreError`].
pub async fn rename(
    connection: &mut PgConnection,
    id: UserId,
    name: &str,
) -> Result<Option<String>, StoreError> {
    let before = sqlx::query_scalar!(
        r#"
        UPDATE users u SET name = $2 FROM (SELECT name FROM users WHERE id = $1 FOR UPDATE) b
        WHERE u.id = $1 RETURNING b.name AS "before!"
        "#,
        id.uuid(),
        name,
    )
    .fetch_optional(connection)
    .await?;
    Ok(before)
}

/// When she last chose a password; `None`: never.
///
/// # Errors
/// See [`StoreError`].
pub async fn password_changed_at(
    connection: &mut PgConnection,
    id: UserId,
) -> Result<Option<OffsetDateTime>, StoreError> {
    let at = sqlx::query_scalar!("SELECT password_changed_at FROM users WHERE id = $1", id.uuid())
        .fetch_optional(connection)
        .await?;
    Ok(at.flatten())
}

/// The tenants that a person is a member of, by name.
///
/// # Errors
/// See [`StoreError`].
pub async fn places(connection: &mut PgConnection, id: UserId) -> Result<Vec<Place>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT t.id, t.name, m.role FROM memberships m JOIN tenants t ON t.id = m.tenant_id
        WHERE m.user_id = $1 ORDER BY t.name
        "#,
        id.uuid(),
    )
    .fetch_all(connection)
    .await?;
    let read = rows.into_iter().filter_map(|row| {
        // The table's CHECK has this binary's roles, or those of a newer one during an upgrade.
        let role: Role = row.role.parse().ok()?;
        Some(Place { tenant: Id::from_uuid(row.id), name: row.name, role })
    });
    Ok(read.collect())
}

/// A member of a tenant.
#[derive(Debug, Clone)]
pub struct Member {
    /// Who.
    pub user: User,
    /// What she is there.
    pub role: Role,
    /// Since when.
    pub since: OffsetDateTime,
    /// When she was last seen, if she is signed in.
    pub seen_at: Option<OffsetDateTime>,
    /// Whether she proves who she is by more than a password.
    pub has_second_factor: bool,
}

/// The members of a tenant, by address.
///
/// # Errors
/// See [`StoreError`].
pub async fn members(connection: &mut PgConnection, tenant: TenantId) -> Result<Vec<Member>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT u.id, u.email, u.name, u.operator, u.created_at, m.role, m.created_at AS since,
            (SELECT max(s.seen_at) FROM sessions s WHERE s.user_id = u.id) AS seen_at,
            (EXISTS (SELECT 1 FROM totp_factors f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL)
                OR EXISTS (SELECT 1 FROM passkeys p WHERE p.user_id = u.id)) AS "has_second_factor!"
        FROM memberships m JOIN users u ON u.id = m.user_id
        WHERE m.tenant_id = $1 ORDER BY u.email LIMIT 1000
        "#,
        tenant.uuid(),
    )
    .fetch_all(connection)
    .await?;
    let read = rows.into_iter().filter_map(|row| {
        let user = Row {
            id: row.id,
            email: row.email,
            name: row.name,
            operator: row.operator,
            created_at: row.created_at,
        };
        Some(Member {
            user: user.user()?,
            role: row.role.parse().ok()?,
            since: row.since,
            seen_at: row.seen_at,
            has_second_factor: row.has_second_factor,
        })
    });
    Ok(read.collect())
}

/// What a person is in a tenant, the row locked until the transaction ends; `None`: no member.
///
/// # Errors
/// See [`StoreError`].
pub async fn role_for_update(
    connection: &mut PgConnection,
    tenant: TenantId,
    user: UserId,
) -> Result<Option<Role>, StoreError> {
    let role = sqlx::query_scalar!(
        "SELECT role FROM memberships WHERE tenant_id = $1 AND user_id = $2 FOR UPDATE",
        tenant.uuid(),
        user.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(role.and_then(|role| role.parse().ok()))
}

/// The owners of a tenant, their rows locked until the transaction ends.
///
/// # Errors
/// See [`StoreError`].
pub async fn owners_for_update(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> Result<Vec<UserId>, StoreError> {
    let ids = sqlx::query_scalar!(
        "SELECT user_id FROM memberships WHERE tenant_id = $1 AND role = 'owner' ORDER BY user_id FOR UPDATE",
        tenant.uuid(),
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(Id::from_uuid).collect())
}

/// Makes somebody a member. False: she is one already, and stays what she is.
///
/// # Errors
/// [`StoreError::Conflict`] when there is no such tenant or person.
pub async fn join(
    connection: &mut PgConnection,
    tenant: TenantId,
    user: UserId,
    role: Role,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        INSERT INTO memberships (tenant_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (tenant_id, user_id) DO NOTHING
        "#,
        tenant.uuid(),
        user.uuid(),
        role.as_str(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes a member something else. False: she is no member.
///
/// # Errors
/// See [`StoreError`].
pub async fn set_role(
    connection: &mut PgConnection,
    tenant: TenantId,
    user: UserId,
    role: Role,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE memberships SET role = $3 WHERE tenant_id = $1 AND user_id = $2",
        tenant.uuid(),
        user.uuid(),
        role.as_str(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes a member. False: she is none.
///
/// # Errors
/// See [`StoreError`].
pub async fn leave(
    connection: &mut PgConnection,
    tenant: TenantId,
    user: UserId,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "DELETE FROM memberships WHERE tenant_id = $1 AND user_id = $2",
        tenant.uuid(),
        user.uuid(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}
