//! Signing in by password. Every try is logged, with the same answer whether the address or the password is wrong.

use time::OffsetDateTime;

use crate::domain::id::UserId;
use crate::domain::key::NoRandomness;
use crate::domain::session::Visitor;
use crate::domain::user::{Login, User};
use crate::store::{StoreError, sessions as rows, users};

use super::Users;
use super::attempts::TooMany;
use super::passwords::{NoHash, Password};
use super::sessions::{self, BeginError, Begun};

/// What a right password brings.
#[derive(Debug)]
pub enum Entry {
    /// She is in.
    In(Begun),
    /// She has more to prove: a second factor.
    More(User),
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The address, the password or the code; which, is not told.
    #[error("the address or the password is not right")]
    Wrong,
    /// See [`TooMany`].
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// See [`NoHash`].
    #[error(transparent)]
    NoHash(#[from] NoHash),
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<BeginError> for Refused {
    fn from(error: BeginError) -> Refused {
        match error {
            BeginError::NoRandomness(error) => error.into(),
            BeginError::Store(error) => error.into(),
        }
    }
}

impl Users {
    /// Signs in by password.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn sign_in(
        &self,
        email: &str,
        password: Password,
        visitor: &Visitor,
        now: OffsetDateTime,
    ) -> Result<Entry, Refused> {
        // What is no address is nobody's, and costs as much to find out.
        let login = Login::parse(email).ok();
        let account = login.as_ref().map(Login::as_str).unwrap_or_default();
        self.attempts.admit(visitor.ip, account, now)?;
        let known = match &login {
            Some(login) => {
                let mut connection = self.database.serve().acquire().await.map_err(StoreError::from)?;
                users::find_by_email(&mut connection, login).await?
            }
            None => None,
        };
        let (user, hash) =
            (known.as_ref().map(|it| it.user.id), known.as_ref().and_then(|it| it.password.as_deref()));
        let is_right = self.hasher.matches(password, hash).await?;
        let Some(known) = known.filter(|_| is_right) else {
            self.failed(user, account, "password", visitor, now).await?;
            return Err(Refused::Wrong);
        };
        if self.has_second_factor(known.user.id).await? {
            return Ok(Entry::More(known.user));
        }
        Ok(Entry::In(self.let_in(&known.user, "password", visitor, now).await?))
    }

    /// Begins the session of somebody who has proved all that is asked.
    pub(super) async fn let_in(
        &self,
        user: &User,
        method: &str,
        visitor: &Visitor,
        now: OffsetDateTime,
    ) -> Result<Begun, Refused> {
        let mut transaction = self.database.serve().begin().await.map_err(StoreError::from)?;
        let begun = sessions::begin(&mut transaction, user, method, visitor, now).await?;
        let email = user.email.as_str();
        rows::log(&mut transaction, Some(user.id), email, (method, "signed_in"), visitor, now).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        self.attempts.succeeded(email);
        Ok(begun)
    }

    /// Counts and logs a failure.
    pub(super) async fn failed(
        &self,
        user: Option<UserId>,
        account: &str,
        method: &str,
        visitor: &Visitor,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        self.attempts.failed(visitor.ip, account, now);
        let mut connection = self.database.serve().acquire().await?;
        rows::log(&mut connection, user, account, (method, "refused"), visitor, now).await
    }
}
