//! The first start: a tenant to begin with, and a key for it. And at every start: the key the operator set.

use time::OffsetDateTime;

use crate::domain::access_key::AccessKey;
use crate::domain::id::TenantId;
use crate::domain::key::{KeyLimits, KeyMode, KeySecret, Scopes};
use crate::domain::tenant::DEFAULT_TENANT;
use crate::seal::{MasterKey, Purpose, Secret};
use crate::store::installation::{self, Fact};
use crate::store::{Database, StoreError, tenants};

use super::Actor;
use super::keys::{self, KeyError, NewKey};

/// What the start brought.
#[derive(Debug)]
pub struct Bootstrap {
    /// The tenant `default`.
    pub tenant: TenantId,
    /// The first key, to be shown once; `None`: it is not the first start, or the operator set a key.
    pub first_key: Option<KeySecret>,
}

/// Why the process must not start.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The database was used with another master key: what it sealed would not open.
    #[error(
        "the database was used with another master key (fingerprint {stored}, this one has {given}): give \
         POSTROAD_MASTER_KEY the key of the first start, or the data directory that holds it"
    )]
    OtherMasterKey {
        /// Of the key that was used.
        stored: String,
        /// Of the key that was given.
        given: String,
    },
    /// See [`KeyError`].
    #[error(transparent)]
    Key(#[from] KeyError),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The keys that the operator set.
#[derive(Debug, Clone, Copy, Default)]
pub struct OperatorsKeys<'a> {
    /// One that is shown.
    pub api_key: Option<&'a Secret>,
    /// One that signs.
    pub access_key: Option<&'a AccessKey>,
}

/// Makes sure that the installation can be used. Any number of processes may start at once: one of them makes
/// the first key.
///
/// # Errors
/// See [`BootstrapError`].
pub async fn run(
    database: &Database,
    master: &MasterKey,
    operators: OperatorsKeys<'_>,
    now: OffsetDateTime,
) -> Result<Bootstrap, BootstrapError> {
    let mut connection = database.serve().acquire().await.map_err(StoreError::from)?;
    check_master_key(&mut connection, master).await?;
    let (tenant, is_new) = tenants::ensure(&mut connection, TenantId::new(now), DEFAULT_TENANT, now).await?;
    drop(connection);
    if let Some(key) = operators.access_key {
        let new = full_key(tenant, "POSTROAD_AWS_ACCESS_KEY_ID");
        keys::ensure_access_key(database, &master.derive(Purpose::Seal), new, key, now).await?;
    }
    if let Some(key) = operators.api_key {
        ensure_key(database, tenant, &KeySecret::given(key.reveal()), now).await?;
        return Ok(Bootstrap { tenant, first_key: None });
    }
    let first_key = match is_new {
        true => Some(keys::create(database, &Actor::cli(), full_key(tenant, "first key"), now).await?.1),
        false => None,
    };
    Ok(Bootstrap { tenant, first_key })
}

/// Whether this is the master key that the database is used with.
///
/// # Errors
/// It is another one, or the database does not answer.
pub async fn check_master_key(
    connection: &mut crate::store::PgConnection,
    master: &MasterKey,
) -> Result<(), BootstrapError> {
    let given = master.fingerprint();
    let stored = installation::ensure(connection, Fact::MasterKeyFingerprint, &given).await?;
    if stored == given { Ok(()) } else { Err(BootstrapError::OtherMasterKey { stored, given }) }
}

/// The key from the environment exists with every scope; after a restart it is there already.
async fn ensure_key(
    database: &Database,
    tenant: TenantId,
    secret: &KeySecret,
    now: OffsetDateTime,
) -> Result<(), BootstrapError> {
    let new = full_key(tenant, "POSTROAD_API_KEY");
    match keys::create_with(database, &Actor::cli(), new, secret, now).await {
        Ok(_) | Err(KeyError::Conflict) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn full_key(tenant: TenantId, name: &str) -> NewKey {
    NewKey {
        tenant,
        name: name.to_owned(),
        scopes: Scopes::all(),
        mode: KeyMode::Live,
        limits: KeyLimits::default(),
        smtp_networks: None,
    }
}
