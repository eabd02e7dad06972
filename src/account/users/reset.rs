//! Choosing a new password: by a link that comes by mail, or by giving the present one. Either ends all other sessions
//! and links.

use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::domain::id::{SessionId, UserId};
use crate::domain::session::Visitor;
use crate::domain::ticket::Ticket;
use crate::domain::user::{Login, User};
use crate::store::links::{self, Purpose};
use crate::store::{Database, PgConnection, StoreError, audit, sessions as rows, users};

use super::attempts::TooMany;
use super::letters::{Letters, NotSent};
use super::passwords::{NoHash, Password};
use super::{Actor, UserError, Users, note_everywhere};

/// How long a link works (ASVS 5.0, 6.5.5: out-of-band secrets are short-lived).
const LIFE: Duration = Duration::HOUR;

/// Sends a link to whoever has the address. Nobody is told whether anybody does, nor by how long it takes: the work is
/// for the caller to do after its answer.
///
/// # Errors
/// See [`NotSent`] and [`UserError`].
pub async fn send_link(
    people: &Users,
    letters: &Letters,
    email: &Login,
    visitor: &Visitor,
    now: OffsetDateTime,
) -> Result<(), SendError> {
    if !people.attempts.may_mail(visitor.ip, email.as_str(), now) {
        return Ok(());
    }
    let mut transaction = people.database.serve().begin().await.map_err(StoreError::from)?;
    let known = users::find_by_email(&mut transaction, email).await?;
    let user = known.as_ref().map(|known| known.user.id);
    rows::log(&mut transaction, user, email.as_str(), ("reset", "asked"), visitor, now).await?;
    let Some(user) = user else {
        transaction.commit().await.map_err(StoreError::from)?;
        return Ok(());
    };
    let ticket = Ticket::generate().map_err(UserError::from)?;
    links::insert(&mut transaction, ticket.hash(), Purpose::Reset, Some(user), now, now + LIFE).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    letters.reset(email, &ticket).await?;
    Ok(())
}

/// Why no link was sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// See [`NotSent`].
    #[error(transparent)]
    NotSent(#[from] NotSent),
    /// See [`UserError`].
    #[error(transparent)]
    User(#[from] UserError),
}

impl From<StoreError> for SendError {
    fn from(error: StoreError) -> SendError {
        SendError::User(error.into())
    }
}

/// Whose link this is; `None`: it does not work.
///
/// # Errors
/// See [`StoreError`].
pub async fn owner(
    database: &Database,
    ticket: &Ticket,
    now: OffsetDateTime,
) -> Result<Option<User>, StoreError> {
    let mut connection = database.serve().acquire().await?;
    let Some(Some(user)) = links::find(&mut connection, ticket.hash(), Purpose::Reset, now).await? else {
        return Ok(None);
    };
    Ok(users::find(&mut connection, user).await?.map(|known| known.user))
}

/// Sets the password of a link's owner; gives her. `None`: the link does not work.
///
/// # Errors
/// See [`UserError`].
pub async fn by_link(
    people: &Users,
    ticket: &Ticket,
    password: Password,
    visitor: &Visitor,
    now: OffsetDateTime,
) -> Result<Option<User>, UserError> {
    let hash = people.hasher.hash(password).await?;
    let mut transaction = people.database.serve().begin().await.map_err(StoreError::from)?;
    let Some(Some(id)) = links::use_up(&mut transaction, ticket.hash(), Purpose::Reset, now).await? else {
        return Ok(None);
    };
    let Some(known) = users::find(&mut transaction, id).await? else { return Ok(None) };
    let actor = Actor::user(id, visitor.ip);
    set(&mut transaction, &actor, (id, &hash), None, "link", now).await?;
    let email = known.user.email.as_str();
    rows::log(&mut transaction, Some(id), email, ("reset", "password_changed"), visitor, now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    people.attempts.succeeded(email);
    Ok(Some(known.user))
}

/// Why a password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The present one is another.
    #[error("this is not your present password")]
    Wrong,
    /// See [`TooMany`].
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// See [`NoHash`].
    #[error(transparent)]
    NoHash(#[from] NoHash),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Changes the password of somebody who is signed in, and gives the present one, if she has one.
///
/// # Errors
/// See [`ChangeError`].
pub async fn by_present(
    people: &Users,
    (user, session): (UserId, SessionId),
    (present, chosen): (Password, Password),
    visitor: &Visitor,
    now: OffsetDateTime,
) -> Result<(), ChangeError> {
    people.confirm(user, present, visitor, now).await?;
    let hash = people.hasher.hash(chosen).await?;
    let mut transaction = people.database.serve().begin().await.map_err(StoreError::from)?;
    let actor = Actor::user(user, visitor.ip);
    set(&mut transaction, &actor, (user, &hash), Some(session), "password", now).await?;
    rows::prove(&mut transaction, session, now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(())
}

/// Sets a password and ends all sessions but `kept`, and all links.
async fn set(
    connection: &mut PgConnection,
    actor: &Actor,
    (user, hash): (UserId, &str),
    kept: Option<SessionId>,
    by: &str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    users::set_password(connection, user, hash, now).await?;
    rows::revoke_others(connection, user, kept, now).await?;
    links::forget_of_user(connection, user).await?;
    let details = audit::made(json!({ "by": by }));
    note_everywhere(connection, actor, ("user.password", user), details, now).await
}

impl Users {
    /// Notes that somebody who is signed in has just given her password again. Who has none proves herself only by
    /// signing in.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn prove(
        &self,
        user: UserId,
        session: SessionId,
        password: Password,
        visitor: &Visitor,
        now: OffsetDateTime,
    ) -> Result<(), ChangeError> {
        let mut connection = self.database.serve().acquire().await.map_err(StoreError::from)?;
        let known = users::find(&mut connection, user).await?;
        if known.is_none_or(|known| known.password.is_none()) {
            return Err(ChangeError::Wrong);
        }
        drop(connection);
        self.confirm(user, password, visitor, now).await?;
        let mut connection = self.database.serve().acquire().await.map_err(StoreError::from)?;
        rows::prove(&mut connection, session, now).await?;
        Ok(())
    }

    /// Compares the present password of somebody who is signed in; who has none has nothing to give.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn confirm(
        &self,
        user: UserId,
        password: Password,
        visitor: &Visitor,
        now: OffsetDateTime,
    ) -> Result<(), ChangeError> {
        let mut connection = self.database.serve().acquire().await.map_err(StoreError::from)?;
        let Some(known) = users::find(&mut connection, user).await? else { return Err(ChangeError::Wrong) };
        drop(connection);
        let Some(hash) = known.password else { return Ok(()) };
        let account = known.user.email.as_str();
        self.attempts.admit(visitor.ip, account, now)?;
        if self.hasher.matches(password, Some(&hash)).await? {
            return Ok(());
        }
        self.failed(Some(user), account, "confirm", visitor, now).await?;
        Err(ChangeError::Wrong)
    }
}
