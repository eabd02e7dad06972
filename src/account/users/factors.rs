//! Second factors: an authenticator app, and recovery codes for who has lost hers; passkeys are beside (`passkeys`). What
//! is dangerous here wants a fresh proof, which the door checks.

use aws_lc_rs::digest;
use data_encoding::BASE32_NOPAD;
use serde_json::json;
use time::OffsetDateTime;

use crate::domain::id::UserId;
use crate::domain::key::NoRandomness;
use crate::domain::session::Visitor;
use crate::domain::totp::TotpSecret;
use crate::domain::user::User;
use crate::seal::Subkey;
use crate::store::factors::{self, Totp};
use crate::store::{PgConnection, StoreError, audit, users};

use super::sessions::Begun;
use super::sign_in::Refused;
use super::{Actor, Users, note_everywhere};

/// How many recovery codes there are.
const CODES: usize = 10;
/// Octets of one: 80 bits, so that SHA-256 keeps them.
const CODE_LEN: usize = 10;

/// What a person's account has beyond a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factors {
    /// An authenticator app.
    pub app: Has,
    /// Recovery codes that are not used yet.
    pub codes_left: i64,
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Has {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// Why a factor was not changed.
#[derive(Debug, thiserror::Error)]
pub enum FactorError {
    /// The code is not one of now.
    #[error("this code is not right; codes change every 30 seconds, so take the next one")]
    WrongCode,
    /// She has a confirmed app already.
    #[error("there is an authenticator app already; remove it first")]
    AppAlready,
    /// The secret does not open: another master key.
    #[error("the secret does not open; was the master key changed?")]
    DoesNotOpen,
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Users {
    /// What her account has.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn factors(&self, user: UserId) -> Result<Factors, StoreError> {
        let mut connection = self.database.serve().acquire().await?;
        let app = factors::totp(&mut connection, user).await?;
        let has_app = app.is_some_and(|app| app.confirmed_at.is_some());
        let codes_left = factors::codes_left(&mut connection, user).await?;
        Ok(Factors { app: if has_app { Has::Yes } else { Has::No }, codes_left })
    }

    /// Makes the secret of an app that is still to be confirmed by a code.
    ///
    /// # Errors
    /// See [`FactorError`].
    pub async fn offer_app(&self, user: UserId, now: OffsetDateTime) -> Result<TotpSecret, FactorError> {
        let secret = TotpSecret::generate()?;
        let sealed = self.seal.seal(&user.to_string(), secret.octets()).map_err(|_| NoRandomness)?;
        let mut connection = self.database.serve().acquire().await.map_err(StoreError::from)?;
        if !factors::offer_totp(&mut connection, user, &sealed, now).await? {
            return Err(FactorError::AppAlready);
        }
        Ok(secret)
    }

    /// The secret that was offered and is not confirmed yet, to be shown again beside what went wrong.
    ///
    /// # Errors
    /// See [`FactorError`].
    pub async fn offered_app(&self, user: UserId) -> Result<Option<TotpSecret>, FactorError> {
        let mut connection = self.database.serve().acquire().await.map_err(StoreError::from)?;
        let Some(app) = factors::totp(&mut connection, user).await? else { return Ok(None) };
        if app.confirmed_at.is_some() {
            return Ok(None);
        }
        open(&self.seal, user, &app.secret).map(Some)
    }

    /// Confirms an app by one of its codes; gives new recovery codes, told here once.
    ///
    /// # Errors
    /// See [`FactorError`].
    pub async fn confirm_app(
        &self,
        user: UserId,
        code: &str,
        actor: &Actor,
        now: OffsetDateTime,
    ) -> Result<Vec<String>, FactorError> {
        let (codes, hashes) = new_codes()?;
        let mut transaction = self.database.serve().begin().await.map_err(StoreError::from)?;
        let app = factors::totp(&mut transaction, user).await?.filter(|app| app.confirmed_at.is_none());
        if !take_code(&mut transaction, &self.seal, (user, app), code, now).await? {
            return Err(FactorError::WrongCode);
        }
        factors::replace_codes(&mut transaction, user, &hashes).await?;
        let details = audit::made(json!({ "factor": "app" }));
        note_everywhere(&mut transaction, actor, ("user.factor_added", user), details, now).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(codes)
    }

    /// Makes new recovery codes, told here once; the old ones end.
    ///
    /// # Errors
    /// See [`FactorError`].
    pub async fn renew_codes(
        &self,
        user: UserId,
        actor: &Actor,
        now: OffsetDateTime,
    ) -> Result<Vec<String>, FactorError> {
        let (codes, hashes) = new_codes()?;
        let mut transaction = self.database.serve().begin().await.map_err(StoreError::from)?;
        factors::replace_codes(&mut transaction, user, &hashes).await?;
        let details = audit::made(json!({ "codes": hashes.len() }));
        note_everywhere(&mut transaction, actor, ("user.recovery_codes", user), details, now).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(codes)
    }

    /// Removes the app. False: there is none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn remove_app(
        &self,
        user: UserId,
        actor: &Actor,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.database.serve().begin().await?;
        if !factors::remove_totp(&mut transaction, user).await? {
            return Ok(false);
        }
        factor_removed(&mut transaction, actor, (user, "app"), now).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Lets somebody in whose password was right at `proved`, by a code of her app or a recovery code.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn second_factor(
        &self,
        (user, proved): (UserId, OffsetDateTime),
        code: &str,
        visitor: &Visitor,
        now: OffsetDateTime,
    ) -> Result<(User, Begun), Refused> {
        let user = self.halfway(user, proved).await?.ok_or(Refused::Wrong)?;
        // Counted apart from passwords: whoever is here knows hers.
        let account = user.id.to_string();
        self.attempts.admit(visitor.ip, &account, now)?;
        let Some(method) = self.prove_code(user.id, code, now).await? else {
            self.attempts.failed(visitor.ip, &account, now);
            self.failed(Some(user.id), user.email.as_str(), "code", visitor, now).await?;
            return Err(Refused::Wrong);
        };
        self.attempts.succeeded(&account);
        let begun = self.let_in(&user, method, visitor, now).await?;
        Ok((user, begun))
    }

    /// Somebody who was halfway in at `proved`, unless she has chosen another password since.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn halfway(
        &self,
        id: UserId,
        proved: OffsetDateTime,
    ) -> Result<Option<User>, StoreError> {
        let mut connection = self.database.serve().acquire().await?;
        let changed = users::password_changed_at(&mut connection, id).await?;
        // The token tells whole seconds.
        if changed.is_some_and(|changed| changed.unix_timestamp() > proved.unix_timestamp()) {
            return Ok(None);
        }
        Ok(users::find(&mut connection, id).await?.map(|known| known.user))
    }

    /// By what a code proves who she is; `None`: it does not.
    async fn prove_code(
        &self,
        user: UserId,
        code: &str,
        now: OffsetDateTime,
    ) -> Result<Option<&'static str>, StoreError> {
        let mut transaction = self.database.serve().begin().await?;
        let app = factors::totp(&mut transaction, user).await?.filter(|app| app.confirmed_at.is_some());
        let method = match take_code(&mut transaction, &self.seal, (user, app), code, now).await {
            Ok(true) => Some("password+app"),
            Ok(false) if factors::use_code(&mut transaction, user, &hash(code), now).await? => {
                Some("password+recovery")
            }
            Ok(false) => None,
            Err(FactorError::Store(error)) => return Err(error),
            Err(error) => {
                tracing::error!(user.id = %user, error = %error, "an authenticator app cannot be asked");
                None
            }
        };
        transaction.commit().await?;
        Ok(method)
    }
}

/// Takes a code of a person's app, once.
async fn take_code(
    connection: &mut PgConnection,
    seal: &Subkey,
    (user, app): (UserId, Option<Totp>),
    code: &str,
    now: OffsetDateTime,
) -> Result<bool, FactorError> {
    let Some(app) = app else { return Ok(false) };
    let secret = open(seal, user, &app.secret)?;
    match secret.step_of(code, app.last_step, now) {
        Some(step) => Ok(factors::take_step(connection, user, step, now).await?),
        None => Ok(false),
    }
}

fn open(seal: &Subkey, user: UserId, sealed: &[u8]) -> Result<TotpSecret, FactorError> {
    let octets = seal.open(&user.to_string(), sealed).map_err(|_| FactorError::DoesNotOpen)?;
    Ok(TotpSecret::from_octets(octets))
}

/// What follows when a factor is gone: without any, recovery codes are of no use; and it is noted.
pub(super) async fn factor_removed(
    connection: &mut PgConnection,
    actor: &Actor,
    (user, factor): (UserId, &str),
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    if !factors::any(connection, user).await? {
        factors::replace_codes(connection, user, &[]).await?;
    }
    let details = audit::removed(json!({ "factor": factor }));
    note_everywhere(connection, actor, ("user.factor_removed", user), details, now).await
}

pub(super) fn new_codes() -> Result<(Vec<String>, Vec<Vec<u8>>), NoRandomness> {
    let mut codes = Vec::with_capacity(CODES);
    for _ in 0..CODES {
        let mut random = [0u8; CODE_LEN];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| NoRandomness)?;
        let text = BASE32_NOPAD.encode(&random).to_ascii_lowercase();
        codes.push(format!("{}-{}-{}-{}", &text[..4], &text[4..8], &text[8..12], &text[12..]));
    }
    let hashes = codes.iter().map(|code| hash(code)).collect();
    Ok((codes, hashes))
}

/// However it is typed.
fn hash(code: &str) -> Vec<u8> {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    digest::digest(&digest::SHA256, plain.to_ascii_lowercase().as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_codes_differ_and_are_known_however_they_are_typed() {
        let (codes, hashes) = new_codes().expect("randomness");
        assert_eq!(codes.len(), 10);
        assert!(codes.iter().all(|code| code.len() == 19), "{codes:?}");
        let mut distinct = hashes.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 10);
        assert_eq!(hash(&format!(" {} ", codes[0].to_uppercase().replace('-', " "))), hashes[0]);
    }
}
