//! A tenant's people: what each is, and who leaves. A tenant always keeps an owner, and nobody decides about what is
//! above her.

use serde_json::json;
use time::OffsetDateTime;

use crate::domain::id::{TenantId, UserId};
use crate::domain::user::Role;
use crate::store::users::{self, Member};
use crate::store::{Database, PgConnection, StoreError, audit};

use super::{Actor, note};

/// Why a member was not changed.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// There is no such member.
    #[error("there is no such member")]
    NotFound,
    /// It is not hers to decide.
    #[error("you may not decide about this member, or give this role")]
    NotYours,
    /// Nobody would own the tenant.
    #[error("a tenant needs an owner: make somebody else one first")]
    LastOwner,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who decides, and where.
#[derive(Debug, Clone)]
pub struct Decider {
    /// For the audit log.
    pub actor: Actor,
    /// Who.
    pub user: UserId,
    /// In which tenant.
    pub tenant: TenantId,
}

/// The members of a tenant, by address.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(database: &Database, tenant: TenantId) -> Result<Vec<Member>, StoreError> {
    let mut connection = database.serve().acquire().await?;
    users::members(&mut connection, tenant).await
}

/// Makes a member something else.
///
/// # Errors
/// See [`MemberError`].
pub async fn set_role(
    database: &Database,
    decider: &Decider,
    member: UserId,
    role: Role,
    now: OffsetDateTime,
) -> Result<(), MemberError> {
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    let before = admit(&mut transaction, decider, member, Some(role)).await?;
    users::set_role(&mut transaction, decider.tenant, member, role).await?;
    let details = audit::changed(json!({ "role": before.as_str() }), json!({ "role": role.as_str() }));
    note(&mut transaction, &decider.actor, decider.tenant, ("member.update", member), details, now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(())
}

/// Removes a member; anybody may remove herself. What she sees ends at once, since each page asks what she is.
///
/// # Errors
/// See [`MemberError`].
pub async fn remove(
    database: &Database,
    decider: &Decider,
    member: UserId,
    now: OffsetDateTime,
) -> Result<(), MemberError> {
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    let before = admit(&mut transaction, decider, member, None).await?;
    users::leave(&mut transaction, decider.tenant, member).await?;
    let details = audit::removed(json!({ "role": before.as_str() }));
    note(&mut transaction, &decider.actor, decider.tenant, ("member.delete", member), details, now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(())
}

/// Whether the decider may make `member` what she is to be (`None`: no member any more); gives what she is. All is read
/// under locks: two owners who unmake each other at once must not both succeed.
async fn admit(
    connection: &mut PgConnection,
    decider: &Decider,
    member: UserId,
    wanted: Option<Role>,
) -> Result<Role, MemberError> {
    let tenant = decider.tenant;
    let owners = users::owners_for_update(connection, tenant).await?;
    let own = users::role_for_update(connection, tenant, decider.user).await?.ok_or(MemberError::NotYours)?;
    let before = users::role_for_update(connection, tenant, member).await?.ok_or(MemberError::NotFound)?;
    let leaves_herself = member == decider.user && wanted.is_none();
    let may = own.may_give(before) && wanted.is_none_or(|wanted| own.may_give(wanted));
    if !may && !leaves_herself {
        return Err(MemberError::NotYours);
    }
    let stays_owner = wanted == Some(Role::Owner);
    if before == Role::Owner && !stays_owner && owners.iter().all(|owner| *owner == member) {
        return Err(MemberError::LastOwner);
    }
    Ok(before)
}
