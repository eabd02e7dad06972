//! Inviting people into a tenant, and joining it. The link goes by mail alone: who opens it has shown that the address is
//! hers, so that a new person needs nothing else to be entered.

use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::domain::id::{InvitationId, TenantId};
use crate::domain::key::NoRandomness;
use crate::domain::ticket::Ticket;
use crate::domain::user::{Login, Reach, Role, User};
use crate::store::audit::{self, Entry};
use crate::store::invitations::{self, Invitation};
use crate::store::{Database, PgConnection, StoreError, tenants, users};

use super::letters::{Letters, NotSent};
use super::passwords::{NoHash, Password};
use super::{Actor, NewUser, UserError, Users, enter, note};

/// How long an invitation is open.
const LIFE: Duration = Duration::days(7);
/// Open invitations of one tenant.
const MOST: usize = 100;

/// Why nobody was invited.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// She who invites may not give that role.
    #[error("you may not give that role")]
    NotYours,
    /// She is a member already.
    #[error("she is a member already")]
    MemberAlready,
    /// Too many invitations are open.
    #[error("{MOST} invitations are open; take some back first")]
    TooMany,
    /// See [`NotSent`].
    #[error(transparent)]
    NotSent(#[from] NotSent),
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why nobody joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The link is unknown, used, taken back, or has run out.
    #[error("this invitation does not work any more")]
    Gone,
    /// The address has an account already: she is to sign in first.
    #[error("sign in as the one who is invited first")]
    SignInFirst,
    /// See [`NoHash`].
    #[error(transparent)]
    NoHash(#[from] NoHash),
    /// See [`UserError`].
    #[error(transparent)]
    User(#[from] UserError),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who invites.
#[derive(Debug, Clone)]
pub struct Inviter {
    /// For the audit log.
    pub actor: Actor,
    /// For the mail.
    pub name: String,
    /// What she is in the tenant.
    pub role: Role,
}

/// Invites an address, by mail. An open invitation to it is replaced.
///
/// # Errors
/// See [`InviteError`].
pub async fn invite(
    database: &Database,
    letters: &Letters,
    inviter: &Inviter,
    tenant: TenantId,
    (email, role): (Login, Role),
    now: OffsetDateTime,
) -> Result<Invitation, InviteError> {
    if !inviter.role.may_give(role) {
        return Err(InviteError::NotYours);
    }
    let ticket = Ticket::generate()?;
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    check_room(&mut transaction, tenant, &email, now).await?;
    let tenant_name = tenants::find(&mut transaction, tenant).await?.map(|it| it.name.as_str().to_owned());
    let invitation = Invitation {
        id: InvitationId::new(now),
        tenant,
        tenant_name: tenant_name.unwrap_or_default(),
        email,
        role,
        invited_by: inviter.actor.name.clone(),
        created_at: now,
        expires_at: now + LIFE,
    };
    invitations::insert(&mut transaction, &invitation, ticket.hash()).await?;
    log(&mut transaction, &inviter.actor, &invitation, "invitation.create", now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    // After the commit: a mail whose link does not work yet is worse than an invitation without mail, which can be
    // sent again.
    let words = (inviter.name.as_str(), invitation.tenant_name.as_str(), role);
    letters.invite(&invitation.email, words, &ticket).await?;
    Ok(invitation)
}

async fn check_room(
    connection: &mut PgConnection,
    tenant: TenantId,
    email: &Login,
    now: OffsetDateTime,
) -> Result<(), InviteError> {
    if let Some(known) = users::find_by_email(connection, email).await?
        && users::role_for_update(connection, tenant, known.user.id).await?.is_some()
    {
        return Err(InviteError::MemberAlready);
    }
    let open = invitations::open(connection, tenant, now).await?;
    if open.len() >= MOST && !open.iter().any(|it| it.email == *email) {
        return Err(InviteError::TooMany);
    }
    Ok(())
}

/// Takes an open invitation back. False: there is none, or it is not hers to take.
///
/// # Errors
/// See [`StoreError`].
pub async fn take_back(
    database: &Database,
    actor: &Actor,
    (tenant, own_role): (TenantId, Role),
    id: InvitationId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let mut transaction = database.serve().begin().await?;
    let Some((email, role)) = invitations::take_back(&mut transaction, tenant, id).await? else {
        return Ok(false);
    };
    if role.is_some_and(|role| !own_role.may_give(role)) {
        return Ok(false);
    }
    let target = id.to_string();
    let details = audit::removed(json!({ "email": email }));
    let entry =
        Entry { actor: &actor.name, ip: actor.ip, action: "invitation.delete", target: &target, details };
    audit::append(&mut transaction, tenant, entry, now).await?;
    transaction.commit().await?;
    Ok(true)
}

/// What a link invites to, and whether the address has an account already.
#[derive(Debug, Clone)]
pub struct Offer {
    /// It.
    pub invitation: Invitation,
    /// Who has the address.
    pub known: Option<User>,
}

/// What a link invites to; `None`: it does not work.
///
/// # Errors
/// See [`StoreError`].
pub async fn offer(
    database: &Database,
    ticket: &Ticket,
    now: OffsetDateTime,
) -> Result<Option<Offer>, StoreError> {
    let mut connection = database.serve().acquire().await?;
    let Some(invitation) = invitations::find_by_ticket(&mut connection, ticket.hash(), now).await? else {
        return Ok(None);
    };
    let known = users::find_by_email(&mut connection, &invitation.email).await?.map(|known| known.user);
    Ok(Some(Offer { invitation, known }))
}

/// Somebody who is signed in joins the tenant that her link invites her to.
///
/// # Errors
/// See [`JoinError`].
pub async fn join(
    database: &Database,
    ticket: &Ticket,
    user: &User,
    actor: &Actor,
    now: OffsetDateTime,
) -> Result<Invitation, JoinError> {
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    let invitation = take(&mut transaction, ticket, now).await?;
    if invitation.email != user.email {
        return Err(JoinError::SignInFirst);
    }
    accept(&mut transaction, &invitation, user, actor, now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(invitation)
}

/// Somebody new enters herself by the link in her invitation.
///
/// # Errors
/// [`JoinError::SignInFirst`] when the address has an account: the link alone must not get into it.
pub async fn enter_and_join(
    people: &Users,
    ticket: &Ticket,
    (name, password): (String, Password),
    actor: &Actor,
    now: OffsetDateTime,
) -> Result<User, JoinError> {
    let hash = people.hasher.hash(password).await?;
    let mut transaction = people.database.serve().begin().await.map_err(StoreError::from)?;
    let invitation = take(&mut transaction, ticket, now).await?;
    let email = invitation.email.clone();
    if users::find_by_email(&mut transaction, &email).await?.is_some() {
        return Err(JoinError::SignInFirst);
    }
    let new = NewUser { email, name, reach: Reach::Tenants, password: Some(hash) };
    let user = enter(&mut transaction, actor, (invitation.tenant, invitation.role), new, now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(user)
}

async fn take(
    connection: &mut PgConnection,
    ticket: &Ticket,
    now: OffsetDateTime,
) -> Result<Invitation, JoinError> {
    let found = invitations::find_by_ticket(connection, ticket.hash(), now).await?;
    let invitation = found.ok_or(JoinError::Gone)?;
    // Of two who use it at once, the second finds it accepted.
    if !invitations::accept(connection, invitation.tenant, invitation.id, now).await? {
        return Err(JoinError::Gone);
    }
    Ok(invitation)
}

/// Makes a known person a member, within the caller's transaction.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn accept(
    connection: &mut PgConnection,
    invitation: &Invitation,
    user: &User,
    actor: &Actor,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    users::join(connection, invitation.tenant, user.id, invitation.role, now).await?;
    let details = audit::made(json!({ "email": user.email.as_str(), "role": invitation.role.as_str() }));
    note(connection, actor, invitation.tenant, ("member.create", user.id), details, now).await
}

async fn log(
    connection: &mut PgConnection,
    actor: &Actor,
    invitation: &Invitation,
    action: &'static str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let target = invitation.id.to_string();
    let details =
        audit::made(json!({ "email": invitation.email.as_str(), "role": invitation.role.as_str() }));
    let entry = Entry { actor: &actor.name, ip: actor.ip, action, target: &target, details };
    audit::append(connection, invitation.tenant, entry, now).await
}
