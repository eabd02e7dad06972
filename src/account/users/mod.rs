//! People who use the dashboard: entering them, letting them in, and what they prove who they are by. Each change is one
//! transaction that also writes the audit log of every tenant it concerns.
//!
//! It knows nothing of cookies and pages: those are `http/ui`'s.

pub mod attempts;
pub mod factors;
pub mod first;
pub mod invitations;
pub mod letters;
pub mod members;
pub mod oidc;
pub mod passkeys;
pub mod passwords;
pub mod reset;
pub mod sessions;
pub mod sign_in;

use std::sync::Arc;

use serde_json::json;
use time::OffsetDateTime;

use crate::domain::id::{TenantId, UserId};
use crate::domain::key::NoRandomness;
use crate::domain::user::{Login, Reach, Role, User};
use crate::seal::Subkey;
use crate::store::audit::{self, Details, Entry};
use crate::store::{Database, PgConnection, StoreError, factors as factor_rows, users};

use super::Actor;
use attempts::Attempts;
use passkeys::Site;
use passwords::{Hasher, NoHash};

/// Works on people. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Users {
    /// Where they are kept.
    pub database: Database,
    /// Seals the secrets of authenticator apps, and what passkeys are asked.
    pub seal: Subkey,
    /// Hashes passwords.
    pub hasher: Hasher,
    /// Counts failures.
    pub attempts: Arc<Attempts>,
    /// What passkeys are made for; `None`: where the dashboard is, browsers make none.
    pub passkeys: Option<Site>,
}

/// Somebody to enter.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// What she signs in with.
    pub email: Login,
    /// What she is called; may be empty.
    pub name: String,
    /// Whether she runs the installation.
    pub reach: Reach,
    /// The hash of her password, if she has one already.
    pub password: Option<String>,
}

/// Why somebody was not entered or changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Somebody has the address.
    #[error("somebody with this address is here already")]
    EmailTaken,
    /// There is no such tenant.
    #[error("there is no such tenant")]
    NoSuchTenant,
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

impl Users {
    /// What works on the people of a database.
    pub fn new(database: Database, seal: Subkey) -> Users {
        Users { database, seal, hasher: Hasher::default(), attempts: Arc::default(), passkeys: None }
    }

    /// With passkeys, if browsers make any for a dashboard at `url`.
    #[must_use]
    pub fn reached_at(self, url: &str) -> Users {
        Users { passkeys: Site::at(url), ..self }
    }

    /// Changes what she is called.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn rename(
        &self,
        user: UserId,
        name: &str,
        actor: &Actor,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let mut transaction = self.database.serve().begin().await?;
        if let Some(before) = users::rename(&mut transaction, user, name).await? {
            let details = audit::changed(json!({ "name": before }), json!({ "name": name }));
            note_everywhere(&mut transaction, actor, ("user.update", user), details, now).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Whether a password alone does not let her in.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn has_second_factor(&self, user: UserId) -> Result<bool, StoreError> {
        let mut connection = self.database.serve().acquire().await?;
        factor_rows::any(&mut connection, user).await
    }
}

/// Enters somebody and makes her a member of a tenant, within the caller's transaction.
///
/// # Errors
/// See [`UserError`].
pub(super) async fn enter(
    connection: &mut PgConnection,
    actor: &Actor,
    (tenant, role): (TenantId, Role),
    new: NewUser,
    now: OffsetDateTime,
) -> Result<User, UserError> {
    let user =
        User { id: UserId::new(now), email: new.email, name: new.name, reach: new.reach, created_at: now };
    match users::insert(connection, &user).await {
        Err(StoreError::Conflict(_)) => return Err(UserError::EmailTaken),
        other => other?,
    }
    if let Some(hash) = &new.password {
        users::set_password(connection, user.id, hash, now).await?;
    }
    match users::join(connection, tenant, user.id, role, now).await {
        Err(StoreError::Conflict(_)) => return Err(UserError::NoSuchTenant),
        other => other?,
    };
    let details = audit::made(json!({
        "email": user.email.as_str(),
        "role": role.as_str(),
        "operator": user.reach == Reach::Installation,
    }));
    note(connection, actor, tenant, ("user.create", user.id), details, now).await?;
    Ok(user)
}

/// Writes the audit log of one tenant.
pub(super) async fn note(
    connection: &mut PgConnection,
    actor: &Actor,
    tenant: TenantId,
    (action, user): (&'static str, UserId),
    details: Details,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let target = user.to_string();
    let entry = Entry { actor: &actor.name, ip: actor.ip, action, target: &target, details };
    audit::append(connection, tenant, entry, now).await
}

/// Writes the audit log of every tenant that a person is a member of: what is about her concerns them all.
pub(super) async fn note_everywhere(
    connection: &mut PgConnection,
    actor: &Actor,
    (action, user): (&'static str, UserId),
    details: Details,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    for place in users::places(connection, user).await? {
        note(connection, actor, place.tenant, (action, user), details.clone(), now).await?;
    }
    Ok(())
}
