//! Getting certificates by ACME (RFC 8555), for the host, the public URL, and tenants' tracking hosts; and opening them
//! for the doors.
//!
//! Invariants: a certificate is asked for only under a lease, by one node at a time; nothing is asked for a name that
//! nobody has proved; and keys are in the database only sealed for their name.

mod order;

use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::domain::certificate::{LEASE, can_have_one, next_try, renewal};
use crate::mail::EmailAddress;
use crate::outbound::acme::Authority;
use crate::seal::Subkey;
use crate::store::certificates::{self, Issued};
use crate::store::{Database, StoreError, domains};

use order::Trouble;

/// The most of an error that is kept.
const MAX_ERROR: usize = 500;

/// Gets certificates.
#[derive(Clone)]
pub struct Certifier {
    /// Where they, and what is needed for them, are kept.
    pub database: Database,
    /// Seals keys.
    pub seal: Subkey,
    /// Whom they are got from.
    pub authority: Authority,
    /// Whom the authority writes to.
    pub contact: EmailAddress,
    /// The installation's own names.
    pub own_names: Vec<String>,
    /// What tracking hosts of tenants are aliases of.
    pub tracking_host: String,
}

/// What a look at what is due has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Nothing is due.
    Nothing,
    /// One certificate was got.
    Got,
    /// One could not be got, and is tried later.
    Failed,
}

impl Certifier {
    /// Gets one certificate that is due.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn get_due(&self, now: OffsetDateTime) -> Result<Done, StoreError> {
        let mut connection = self.database.serve().acquire().await?;
        let names = self.names(&mut connection).await?;
        certificates::forget_challenges(&mut connection, now).await?;
        certificates::want(&mut connection, &names, now).await?;
        let due = certificates::begin(&mut connection, &names, now, now + LEASE).await?;
        drop(connection);
        let Some(due) = due else { return Ok(Done::Nothing) };
        match self.get(&due.name, now).await {
            Ok(()) => {
                tracing::info!(name = due.name, "a certificate was got");
                Ok(Done::Got)
            }
            Err(trouble) => {
                let error: String = trouble.to_string().chars().take(MAX_ERROR).collect();
                tracing::warn!(name = due.name, error, "a certificate could not be got");
                let failures = u32::try_from(due.failures).unwrap_or(0).saturating_add(1);
                let mut connection = self.database.serve().acquire().await?;
                certificates::failed(&mut connection, &due.name, &error, next_try(failures, now)).await?;
                Ok(Done::Failed)
            }
        }
    }

    /// Names that want a certificate: our own, and tracking hosts that were found to lead to us.
    async fn names(&self, connection: &mut crate::store::PgConnection) -> Result<Vec<String>, StoreError> {
        let own = self.own_names.iter().map(|name| name.to_ascii_lowercase());
        let tracked = domains::tracked(connection, &self.tracking_host).await?;
        let names: BTreeSet<String> = own.chain(tracked).filter(|name| can_have_one(name)).collect();
        Ok(names.into_iter().collect())
    }

    async fn get(&self, name: &str, now: OffsetDateTime) -> Result<(), Trouble> {
        let got = self.order(name, now).await?;
        let validity = order::validity(&got.chain)?;
        let key_sealed = self.seal.seal(&owner(name), got.key.as_bytes())?;
        let (not_before, not_after) = validity;
        let issued = Issued { name: name.to_owned(), chain: got.chain, key_sealed, not_before, not_after };
        let mut transaction = self.database.serve().begin().await.map_err(StoreError::from)?;
        certificates::keep(&mut transaction, &issued, renewal(not_before, not_after)).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(())
    }
}

/// A certificate for the doors.
pub struct Opened {
    /// For which name.
    pub name: String,
    /// PEM, that of the name first.
    pub chain: String,
    /// Its key, PEM.
    pub key: Vec<u8>,
}

/// All certificates that hold. One whose key does not open is said aloud, and left out.
///
/// # Errors
/// See [`StoreError`].
pub async fn open_all(
    database: &Database,
    seal: &Subkey,
    now: OffsetDateTime,
) -> Result<Vec<Opened>, StoreError> {
    let mut connection = database.serve().acquire().await?;
    let stored = certificates::that_hold(&mut connection, now).await?;
    let open = |issued: Issued| match seal.open(&owner(&issued.name), &issued.key_sealed) {
        Ok(key) => Some(Opened { name: issued.name, chain: issued.chain, key }),
        Err(error) => {
            tracing::error!(name = issued.name, error = %error, "the key of a certificate does not open");
            None
        }
    };
    Ok(stored.into_iter().filter_map(open).collect())
}

fn owner(name: &str) -> String {
    format!("certificate {name}")
}
