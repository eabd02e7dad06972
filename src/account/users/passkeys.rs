//! Passkeys (WebAuthn): keys of people's authenticators, as second factor. What an authenticator is asked is kept here
//! until it answers, once; a browser only carries it.
//!
//! There are none where the dashboard has no name (`http://127.0.0.1`) or no TLS, since browsers make none for it.

use std::sync::Arc;

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use url::{Host, Url};
use webauthn_rs::prelude::{
    Passkey, PasskeyAuthentication, PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential,
    WebauthnError,
};
use webauthn_rs::{Webauthn, WebauthnBuilder};

use crate::domain::id::{PasskeyId, UserId};
use crate::domain::session::Visitor;
use crate::domain::user::User;
use crate::store::passkeys::{self, Ceremony, StoredPasskey};
use crate::store::{Database, PgConnection, StoreError, factors};

use super::sessions::Begun;
use super::sign_in::Refused;
use super::{Actor, Users, note_everywhere};

/// How long an authenticator may take.
const PATIENCE: Duration = Duration::minutes(5);
/// Keys of one person.
const MOST: usize = 20;

/// Works with authenticators. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Passkeys(Arc<Webauthn>);

/// Why a passkey was not added or taken.
#[derive(Debug, thiserror::Error)]
pub enum PasskeyError {
    /// She has too many.
    #[error("an account may have {MOST} passkeys; remove one first")]
    TooMany,
    /// Nothing was asked, or too long ago.
    #[error("this took too long; try again")]
    NotAsked,
    /// The answer is not what was asked for.
    #[error("the answer of your authenticator is not right ({0})")]
    Wrong(String),
    /// Somebody has this very key already.
    #[error("this passkey is here already")]
    Known,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<WebauthnError> for PasskeyError {
    fn from(error: WebauthnError) -> PasskeyError {
        PasskeyError::Wrong(error.to_string())
    }
}

impl From<serde_json::Error> for PasskeyError {
    fn from(_: serde_json::Error) -> PasskeyError {
        PasskeyError::Wrong("it cannot be read".to_owned())
    }
}

impl Passkeys {
    /// For the dashboard at `site`; `None`: browsers make no passkeys for it.
    pub fn new(site: &str) -> Option<Passkeys> {
        let origin = Url::parse(site).ok()?;
        let Some(Host::Domain(name)) = origin.host() else { return None };
        // WebAuthn §5.1.3: a secure context, which `localhost` is without TLS.
        if origin.scheme() != "https" && name != "localhost" && !name.ends_with(".localhost") {
            return None;
        }
        let builder = WebauthnBuilder::new(name, &origin).ok()?.rp_name("postroad");
        Some(Passkeys(Arc::new(builder.build().ok()?)))
    }

    /// Asks for a new key: what the browser is to hand to the authenticator.
    ///
    /// # Errors
    /// See [`PasskeyError`].
    pub async fn ask_for_new(
        &self,
        database: &Database,
        user: &User,
        now: OffsetDateTime,
    ) -> Result<Value, PasskeyError> {
        let mut connection = database.serve().acquire().await.map_err(StoreError::from)?;
        let held = keys(&mut connection, user.id).await?;
        if held.len() >= MOST {
            return Err(PasskeyError::TooMany);
        }
        let excluded = held.into_iter().map(|(_, key)| key.cred_id().clone()).collect();
        let email = user.email.as_str();
        let name = if user.name.is_empty() { email } else { &user.name };
        let (asked, state) = self.0.start_passkey_registration(user.id.uuid(), email, name, Some(excluded))?;
        let state = serde_json::to_value(&state)?;
        passkeys::ask(&mut connection, user.id, Ceremony::Register, &state, now + PATIENCE).await?;
        Ok(serde_json::to_value(&asked)?)
    }

    /// Takes the new key that an authenticator answers with.
    ///
    /// # Errors
    /// See [`PasskeyError`].
    pub async fn add(
        &self,
        database: &Database,
        user: UserId,
        (name, answer): (&str, Value),
        actor: &Actor,
        now: OffsetDateTime,
    ) -> Result<(), PasskeyError> {
        let answer: RegisterPublicKeyCredential = serde_json::from_value(answer)?;
        let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
        let asked = passkeys::answered(&mut transaction, user, Ceremony::Register, now).await?;
        let state: PasskeyRegistration = serde_json::from_value(asked.ok_or(PasskeyError::NotAsked)?)?;
        let key = self.0.finish_passkey_registration(&answer, &state)?;
        let stored = StoredPasskey {
            id: PasskeyId::new(now),
            name: name.chars().filter(|c| !c.is_control()).take(100).collect(),
            key: serde_json::to_value(&key)?,
            created_at: now,
            last_used_at: None,
        };
        match passkeys::insert(&mut transaction, user, key.cred_id(), &stored).await {
            Err(StoreError::Conflict(_)) => return Err(PasskeyError::Known),
            other => other?,
        }
        let details = json!({ "factor": "passkey", "name": stored.name });
        note_everywhere(&mut transaction, actor, ("user.factor_added", user), details, now).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(())
    }

    /// Asks for a proof by one of a person's keys; `None`: she has none.
    ///
    /// # Errors
    /// See [`PasskeyError`].
    pub async fn ask_for_proof(
        &self,
        database: &Database,
        user: UserId,
        now: OffsetDateTime,
    ) -> Result<Option<Value>, PasskeyError> {
        let mut connection = database.serve().acquire().await.map_err(StoreError::from)?;
        let held: Vec<Passkey> = keys(&mut connection, user).await?.into_iter().map(|(_, key)| key).collect();
        if held.is_empty() {
            return Ok(None);
        }
        let (asked, state) = self.0.start_passkey_authentication(&held)?;
        let state = serde_json::to_value(&state)?;
        passkeys::ask(&mut connection, user, Ceremony::Prove, &state, now + PATIENCE).await?;
        Ok(Some(serde_json::to_value(&asked)?))
    }

    /// Whether an authenticator's answer proves that it has one of her keys.
    async fn proves(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        answer: Value,
        now: OffsetDateTime,
    ) -> Result<(), PasskeyError> {
        let answer: PublicKeyCredential = serde_json::from_value(answer)?;
        let asked = passkeys::answered(connection, user, Ceremony::Prove, now).await?;
        let state: PasskeyAuthentication = serde_json::from_value(asked.ok_or(PasskeyError::NotAsked)?)?;
        let proof = self.0.finish_passkey_authentication(&answer, &state)?;
        // A key that was removed meanwhile proves nothing.
        let held = keys(connection, user).await?;
        let used = held.into_iter().find(|(_, key)| key.cred_id() == proof.cred_id());
        let (id, mut key) = used.ok_or(PasskeyError::NotAsked)?;
        key.update_credential(&proof);
        passkeys::used(connection, user, id, &serde_json::to_value(&key)?, now).await?;
        Ok(())
    }
}

/// A person's keys; what cannot be read any more is passed over.
async fn keys(connection: &mut PgConnection, user: UserId) -> Result<Vec<(PasskeyId, Passkey)>, StoreError> {
    let stored = passkeys::of_user(connection, user).await?;
    Ok(stored.into_iter().filter_map(|it| Some((it.id, serde_json::from_value(it.key).ok()?))).collect())
}

impl Users {
    /// A person's passkeys.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn passkeys(&self, user: UserId) -> Result<Vec<StoredPasskey>, StoreError> {
        let mut connection = self.database.serve().acquire().await?;
        passkeys::of_user(&mut connection, user).await
    }

    /// Removes a passkey. False: she has none of this id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn remove_passkey(
        &self,
        user: UserId,
        id: PasskeyId,
        actor: &Actor,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.database.serve().begin().await?;
        if !passkeys::remove(&mut transaction, user, id).await? {
            return Ok(false);
        }
        if !factors::any(&mut transaction, user).await? {
            factors::replace_codes(&mut transaction, user, &[]).await?;
        }
        let details = json!({ "factor": "passkey" });
        note_everywhere(&mut transaction, actor, ("user.factor_removed", user), details, now).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Lets somebody in whose password was right at `proved`, by a passkey.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn second_factor_by_passkey(
        &self,
        passkeys: &Passkeys,
        (user, proved): (UserId, OffsetDateTime),
        answer: Value,
        visitor: &Visitor,
        now: OffsetDateTime,
    ) -> Result<Begun, Refused> {
        let user = self.halfway(user, proved).await?.ok_or(Refused::Wrong)?;
        let account = user.id.to_string();
        self.attempts.admit(visitor.ip, &account, now)?;
        let mut transaction = self.database.serve().begin().await.map_err(StoreError::from)?;
        let proof = passkeys.proves(&mut transaction, user.id, answer, now).await;
        // What was asked is answered, whether well or not.
        transaction.commit().await.map_err(StoreError::from)?;
        match proof {
            Ok(()) => {}
            Err(PasskeyError::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::debug!(user.id = %user.id, error = %error, "a passkey was refused");
                self.attempts.failed(visitor.ip, &account, now);
                self.failed(Some(user.id), user.email.as_str(), "passkey", visitor, now).await?;
                return Err(Refused::Wrong);
            }
        }
        self.attempts.succeeded(&account);
        self.let_in(&user, "password+passkey", visitor, now).await
    }
}

#[cfg(test)]
mod tests {
    use super::Passkeys;

    #[test]
    fn there_are_passkeys_where_browsers_make_them() {
        for good in ["https://mail.acme.example", "https://mail.acme.example:8443", "http://localhost:8080"] {
            assert!(Passkeys::new(good).is_some(), "{good}");
        }
        for bad in ["http://127.0.0.1:8080", "https://192.0.2.1", "https://[::1]", "http://mail.acme.example", ""] {
            assert!(Passkeys::new(bad).is_none(), "{bad}");
        }
    }
}
