//! Passkeys as second factor (W3C Web Authentication): what an authenticator is asked, and whether its answer holds.
//!
//! What was asked is kept sealed in the database, of each person and kind the last alone, and is answered once on
//! whichever node. Invariant: nothing that a browser sends chooses whose keys are looked at or what was asked.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use url::{Host, Url};
use webauthn_rs::prelude::{
    AuthenticationResult, Passkey, PasskeyAuthentication, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, WebauthnError,
};
use webauthn_rs::{Webauthn, WebauthnBuilder};

use crate::domain::id::{PasskeyId, UserId};
use crate::domain::key::NoRandomness;
use crate::domain::session::Visitor;
use crate::domain::user::User;
use crate::store::passkeys::{self, Ceremony, StoredPasskey};
use crate::store::{PgConnection, StoreError, audit, factors as factor_rows};

use super::factors::{factor_removed, new_codes};
use super::sessions::Begun;
use super::sign_in::Refused;
use super::{Actor, Users, note_everywhere};

/// How long an authenticator may take.
const PATIENCE: Duration = Duration::minutes(5);
/// Passkeys of one person.
pub const MOST: usize = 20;
/// Characters of a name.
pub const LONGEST_NAME: usize = 100;
/// Octets of an answer: many times what authenticators send.
const LONGEST_ANSWER: usize = 64 << 10;

/// The site that passkeys are made for and asked by: the dashboard's host.
#[derive(Debug, Clone)]
pub struct Site(Arc<Webauthn>);

impl Site {
    /// The dashboard at `url`. `None`: browsers make no passkeys there, since it has no name, or is reached without TLS from
    /// other machines (WebAuthn §5.1.3, Secure Contexts §3.1).
    pub fn at(url: &str) -> Option<Site> {
        let url = Url::parse(url).ok()?;
        let Some(Host::Domain(host)) = url.host() else { return None };
        let is_local = host == "localhost" || host.ends_with(".localhost");
        if url.scheme() != "https" && !is_local {
            return None;
        }
        let built = WebauthnBuilder::new(host, &url)
            .map(|builder| builder.rp_name("postroad").timeout(PATIENCE.unsigned_abs()))
            .and_then(WebauthnBuilder::build);
        built.ok().map(|webauthn| Site(Arc::new(webauthn)))
    }
}

/// Why nothing was asked, or no passkey added.
#[derive(Debug, thiserror::Error)]
pub enum PasskeyError {
    /// See [`Site::at`].
    #[error("browsers make passkeys only for a dashboard at an https:// address with a name")]
    NoSite,
    /// She has [`MOST`].
    #[error("there are {MOST} passkeys already; remove one first")]
    TooMany,
    /// She has none.
    #[error("there is no passkey to ask for")]
    None,
    /// The key is known, as hers or as somebody else's.
    #[error("this passkey is here already")]
    Known,
    /// The answer is not one to what was asked, or came too late.
    #[error("the passkey was not accepted, or it took too long; try again")]
    Unproved,
    /// The question could not be made.
    #[error("no passkey can be asked for: {0}")]
    Unasked(WebauthnError),
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Users {
    /// A person's passkeys, oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn passkeys_of(&self, user: UserId) -> Result<Vec<StoredPasskey>, StoreError> {
        let mut connection = self.database.serve().acquire().await?;
        passkeys::of_user(&mut connection, user).await
    }

    /// What her browser is asked to make a new passkey of: the argument of `navigator.credentials.create`, with octets in
    /// base64url.
    ///
    /// # Errors
    /// See [`PasskeyError`].
    pub async fn offer_passkey(
        &self,
        (user, email, name): (UserId, &str, &str),
        now: OffsetDateTime,
    ) -> Result<Value, PasskeyError> {
        let site = self.passkeys.as_ref().ok_or(PasskeyError::NoSite)?;
        let known = self.passkeys_of(user).await?;
        if known.len() >= MOST {
            return Err(PasskeyError::TooMany);
        }
        let known = known.iter().filter_map(read).map(|key| key.cred_id().clone()).collect();
        let shown = if name.is_empty() { email } else { name };
        let (asked, expected) = site
            .0
            .start_passkey_registration(user.uuid(), email, shown, Some(known))
            .map_err(PasskeyError::Unasked)?;
        self.keep(user, Ceremony::Register, &expected, now).await?;
        Ok(json!(asked))
    }

    /// Adds the passkey that her browser has made. Gives recovery codes, told here once, if she had none; else nothing.
    ///
    /// # Errors
    /// See [`PasskeyError`].
    pub async fn add_passkey(
        &self,
        user: UserId,
        name: &str,
        answer: &str,
        actor: &Actor,
        now: OffsetDateTime,
    ) -> Result<Vec<String>, PasskeyError> {
        let site = self.passkeys.as_ref().ok_or(PasskeyError::NoSite)?;
        let expected: Option<PasskeyRegistration> = self.asked(user, Ceremony::Register, now).await?;
        let answer: Option<RegisterPublicKeyCredential> = parse(answer);
        let (Some(expected), Some(answer)) = (expected, answer) else { return Err(PasskeyError::Unproved) };
        let key = site.0.finish_passkey_registration(&answer, &expected).map_err(|error| {
            tracing::info!(user.id = %user, error = %error, "a passkey was not accepted");
            PasskeyError::Unproved
        })?;
        let stored = StoredPasskey {
            id: PasskeyId::new(now),
            name: name.to_owned(),
            key: json!(key),
            created_at: now,
            last_used_at: None,
        };
        let mut transaction = self.database.serve().begin().await.map_err(StoreError::from)?;
        match passkeys::insert(&mut transaction, user, key.cred_id().as_ref(), &stored).await {
            Err(StoreError::Conflict(_)) => return Err(PasskeyError::Known),
            other => other?,
        }
        let codes = if factor_rows::codes_left(&mut transaction, user).await? == 0 {
            let (codes, hashes) = new_codes()?;
            factor_rows::replace_codes(&mut transaction, user, &hashes).await?;
            codes
        } else {
            Vec::new()
        };
        let details = audit::made(json!({ "factor": "passkey", "name": name }));
        note_everywhere(&mut transaction, actor, ("user.factor_added", user), details, now).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(codes)
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
        factor_removed(&mut transaction, actor, (user, "passkey"), now).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// What the browser of somebody whose password was right at `proved` is asked: the argument of
    /// `navigator.credentials.get`, with octets in base64url.
    ///
    /// # Errors
    /// See [`PasskeyError`].
    pub async fn ask_passkey(
        &self,
        (user, proved): (UserId, OffsetDateTime),
        now: OffsetDateTime,
    ) -> Result<Value, PasskeyError> {
        let site = self.passkeys.as_ref().ok_or(PasskeyError::NoSite)?;
        let user = self.halfway(user, proved).await?.ok_or(PasskeyError::Unproved)?;
        let known: Vec<Passkey> = self.passkeys_of(user.id).await?.iter().filter_map(read).collect();
        if known.is_empty() {
            return Err(PasskeyError::None);
        }
        let (asked, expected) = site.0.start_passkey_authentication(&known).map_err(PasskeyError::Unasked)?;
        self.keep(user.id, Ceremony::Prove, &expected, now).await?;
        Ok(json!(asked))
    }

    /// Lets somebody in whose password was right at `proved`, by a passkey.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn second_factor_by_passkey(
        &self,
        (user, proved): (UserId, OffsetDateTime),
        answer: &str,
        visitor: &Visitor,
        now: OffsetDateTime,
    ) -> Result<(User, Begun), Refused> {
        let user = self.halfway(user, proved).await?.ok_or(Refused::Wrong)?;
        let account = user.id.to_string();
        self.attempts.admit(visitor.ip, &account, now)?;
        if !self.prove_passkey(user.id, answer, now).await? {
            self.attempts.failed(visitor.ip, &account, now);
            self.failed(Some(user.id), user.email.as_str(), "passkey", visitor, now).await?;
            return Err(Refused::Wrong);
        }
        self.attempts.succeeded(&account);
        let begun = self.let_in(&user, "password+passkey", visitor, now).await?;
        Ok((user, begun))
    }

    async fn prove_passkey(
        &self,
        user: UserId,
        answer: &str,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let Some(site) = &self.passkeys else { return Ok(false) };
        let expected: Option<PasskeyAuthentication> = self.asked(user, Ceremony::Prove, now).await?;
        let answer: Option<PublicKeyCredential> = parse(answer);
        let (Some(expected), Some(answer)) = (expected, answer) else { return Ok(false) };
        match site.0.finish_passkey_authentication(&answer, &expected) {
            Ok(proof) => {
                let mut connection = self.database.serve().acquire().await?;
                note_use(&mut connection, user, &proof, now).await
            }
            Err(error) => {
                tracing::info!(user.id = %user, error = %error, "a passkey proved nothing");
                Ok(false)
            }
        }
    }

    /// Keeps what an authenticator is asked until it answers.
    async fn keep(
        &self,
        user: UserId,
        ceremony: Ceremony,
        expected: &impl Serialize,
        now: OffsetDateTime,
    ) -> Result<(), PasskeyError> {
        let text = json!(expected).to_string();
        let sealed = self.seal.seal(&owner(user, ceremony), text.as_bytes()).map_err(|_| NoRandomness)?;
        let mut connection = self.database.serve().acquire().await.map_err(StoreError::from)?;
        Ok(passkeys::ask(&mut connection, user, ceremony, &sealed, now + PATIENCE).await?)
    }

    /// What an authenticator was asked, if it was, and not too long ago. It is not asked any more.
    async fn asked<T: DeserializeOwned>(
        &self,
        user: UserId,
        ceremony: Ceremony,
        now: OffsetDateTime,
    ) -> Result<Option<T>, StoreError> {
        let mut connection = self.database.serve().acquire().await?;
        let sealed = passkeys::answered(&mut connection, user, ceremony, now).await?;
        let opened = sealed.and_then(|sealed| self.seal.open(&owner(user, ceremony), &sealed).ok());
        Ok(opened.and_then(|text| serde_json::from_slice(&text).ok()))
    }
}

fn owner(user: UserId, ceremony: Ceremony) -> String {
    format!("{user} {}", ceremony.as_str())
}

/// A stored key. One that does not read back was written by a newer version, and is not asked for.
fn read(stored: &StoredPasskey) -> Option<Passkey> {
    serde_json::from_value(stored.key.clone()).ok()
}

fn parse<T: DeserializeOwned>(answer: &str) -> Option<T> {
    if answer.len() > LONGEST_ANSWER {
        return None;
    }
    serde_json::from_str(answer).ok()
}

/// Notes that a key was used, with its counter. False: it has been removed meanwhile.
async fn note_use(
    connection: &mut PgConnection,
    user: UserId,
    proof: &AuthenticationResult,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    for stored in passkeys::of_user(connection, user).await? {
        let Some(mut key) = read(&stored).filter(|key| key.cred_id() == proof.cred_id()) else { continue };
        key.update_credential(proof);
        passkeys::used(connection, user, stored.id, &json!(key), now).await?;
        return Ok(true);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passkeys_are_made_where_browsers_make_them() {
        for url in ["https://mail.acme.example", "https://mail.acme.example:8443", "http://localhost:8080"] {
            assert!(Site::at(url).is_some(), "{url}");
        }
        for url in
            ["http://mail.acme.example", "https://192.0.2.1", "http://127.0.0.1:8080", "https://[::1]", ""]
        {
            assert!(Site::at(url).is_none(), "{url}");
        }
    }

    #[test]
    fn an_answer_is_bounded() {
        assert_eq!(parse::<Value>("{}"), Some(json!({})));
        assert_eq!(parse::<Value>(&format!("\"{}\"", "x".repeat(LONGEST_ANSWER))), None);
    }
}
