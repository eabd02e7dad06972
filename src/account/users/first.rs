//! The first person: from the operator's settings, from the command line, or by the set-up link that a start without
//! anybody prints.

use time::{Duration, OffsetDateTime};

use crate::domain::id::TenantId;
use crate::domain::ticket::Ticket;
use crate::domain::user::{Login, Reach, Role, User};
use crate::store::links::{self, Purpose};
use crate::store::{Database, StoreError, users};

use super::passwords::Password;
use super::{Actor, NewUser, UserError, Users, enter};

/// How long a set-up link works. The next start prints another; several nodes may print one each.
const SETUP_LIFE: Duration = Duration::days(1);
/// How long a link to choose a password works that the command line prints.
const CHOOSE_LIFE: Duration = Duration::days(7);

/// The person that the operator's settings name exists from the first start on; later they change nothing about her.
/// Gives whether she is new.
///
/// # Errors
/// See [`UserError`].
pub async fn ensure_admin(
    people: &Users,
    tenant: TenantId,
    email: Login,
    password: Password,
    now: OffsetDateTime,
) -> Result<bool, UserError> {
    let mut connection = people.database.serve().acquire().await.map_err(StoreError::from)?;
    if users::find_by_email(&mut connection, &email).await?.is_some() {
        return Ok(false);
    }
    drop(connection);
    let hash = people.hasher.hash(password).await?;
    let new = NewUser { email, name: String::new(), reach: Reach::Installation, password: Some(hash) };
    match create(&people.database, &Actor::cli(), (tenant, Role::Owner), new, now).await {
        // Another process was faster.
        Err(UserError::EmailTaken) => Ok(false),
        other => other.map(|_| true),
    }
}

/// A link by which the first person enters herself, while there is nobody.
///
/// # Errors
/// See [`UserError`].
pub async fn setup_ticket(database: &Database, now: OffsetDateTime) -> Result<Option<Ticket>, UserError> {
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    if users::any(&mut transaction).await? {
        return Ok(None);
    }
    let ticket = Ticket::generate()?;
    links::insert(&mut transaction, ticket.hash(), Purpose::Setup, None, now, now + SETUP_LIFE).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(Some(ticket))
}

/// Why the first person was not entered.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The link is unknown, used, or has run out; or somebody is there already.
    #[error("this set-up link does not work any more")]
    Gone,
    /// See [`UserError`].
    #[error(transparent)]
    User(#[from] UserError),
}

impl From<StoreError> for SetupError {
    fn from(error: StoreError) -> SetupError {
        SetupError::User(error.into())
    }
}

/// Whether a set-up link works.
///
/// # Errors
/// See [`StoreError`].
pub async fn setup_works(
    database: &Database,
    ticket: &Ticket,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let mut connection = database.serve().acquire().await?;
    let works = links::find(&mut connection, ticket.hash(), Purpose::Setup, now).await?.is_some();
    Ok(works && !users::any(&mut connection).await?)
}

/// Enters the first person: owner of the first tenant, and operator.
///
/// # Errors
/// See [`SetupError`].
pub async fn set_up(
    people: &Users,
    tenant: TenantId,
    ticket: &Ticket,
    (email, name, password): (Login, String, Password),
    actor: &Actor,
    now: OffsetDateTime,
) -> Result<User, SetupError> {
    let hash = people.hasher.hash(password).await.map_err(UserError::from)?;
    let mut transaction = people.database.serve().begin().await.map_err(StoreError::from)?;
    // The link is the lock: of two who use it at once, the second finds it used.
    if links::use_up(&mut transaction, ticket.hash(), Purpose::Setup, now).await?.is_none()
        || users::any(&mut transaction).await?
    {
        return Err(SetupError::Gone);
    }
    let new = NewUser { email, name, reach: Reach::Installation, password: Some(hash) };
    let user = enter(&mut transaction, actor, (tenant, Role::Owner), new, now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(user)
}

/// Enters somebody.
///
/// # Errors
/// See [`UserError`].
pub async fn create(
    database: &Database,
    actor: &Actor,
    place: (TenantId, Role),
    new: NewUser,
    now: OffsetDateTime,
) -> Result<User, UserError> {
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    let user = enter(&mut transaction, actor, place, new, now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(user)
}

/// Enters somebody who has no password yet, and gives the link's ticket by which she chooses one.
///
/// # Errors
/// See [`UserError`].
pub async fn create_with_link(
    database: &Database,
    actor: &Actor,
    place: (TenantId, Role),
    new: NewUser,
    now: OffsetDateTime,
) -> Result<(User, Ticket), UserError> {
    let ticket = Ticket::generate()?;
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    let user = enter(&mut transaction, actor, place, new, now).await?;
    let end = now + CHOOSE_LIFE;
    links::insert(&mut transaction, ticket.hash(), Purpose::Reset, Some(user.id), now, end).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok((user, ticket))
}
