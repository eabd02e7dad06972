//! Erasing what is stored of one recipient: asked for, and carried out in batches by whichever process takes it.
//!
//! Invariant: a batch is one transaction, and every step of it can be done again; a request is done only when
//! nothing to the address is left, in the tables or in hand.

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::domain::erasure::Pseudonyms;
use crate::domain::id::{ErasureId, SuppressionId, TenantId};
use crate::domain::suppression::{Reason, Suppression};
use crate::mail::{EmailAddress, Mailbox};
use crate::seal::{NoRandomness, Subkey};
use crate::store::audit::{self, Entry};
use crate::store::erasures::{self, Begun, Erased, Erasure};
use crate::store::revisions::{self, Revised};
use crate::store::{Database, PgConnection, StoreError, erase, suppressions};

use super::Actor;

/// Deliveries, or mails that came in, of one batch.
const BATCH: i64 = 200;
/// What is in hand is looked at again after so long.
const IN_HAND: Duration = Duration::seconds(2);
/// A batch whose process dies is taken again after so long.
const LEASE: Duration = Duration::minutes(2);

/// Why nothing is erased.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a recipient whose data is erased may be mailed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// He may.
    Mailable,
    /// He may not: a keyed hash of his address is kept for that.
    Suppressed,
}

/// Asks for the erasure of all that a tenant has of an address. The log does not say whose it is.
///
/// # Errors
/// See [`ErasureError`].
pub async fn create(
    database: &Database,
    seal: &Subkey,
    actor: &Actor,
    tenant: TenantId,
    (address, afterwards): (&EmailAddress, Afterwards),
    now: OffsetDateTime,
) -> Result<Erasure, ErasureError> {
    let erasure = Erasure {
        id: ErasureId::new(now),
        keep_suppressed: afterwards == Afterwards::Suppressed,
        deliveries: 0,
        contents: 0,
        inbound: 0,
        finished_at: None,
    };
    let target = erasure.id.to_string();
    let sealed = seal.seal(&target, address.key().as_bytes())?;
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    erasures::insert(&mut transaction, tenant, &erasure, &sealed, now).await?;
    let details = audit::made(json!({ "keep_suppressed": erasure.keep_suppressed }));
    let entry =
        Entry { actor: &actor.name, ip: actor.ip, action: "erasure.create", target: &target, details };
    audit::append(&mut transaction, tenant, entry, now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(erasure)
}

/// What carries erasures out.
pub struct Eraser {
    /// Where all is.
    pub database: Database,
    /// Opens whom they are about.
    pub seal: Subkey,
    /// What stands in his place.
    pub pseudonyms: Pseudonyms,
}

impl Eraser {
    /// Takes one batch of a request that is due. False: none is.
    ///
    /// # Errors
    /// See [`StoreError`]; the batch is taken again.
    pub async fn erase_due(&self, now: OffsetDateTime) -> Result<bool, StoreError> {
        let mut connection = self.database.claim().acquire().await?;
        let Some(begun) = erasures::begin(&mut connection, now, now + LEASE).await? else { return Ok(false) };
        drop(connection);
        let sealed = self.seal.open(&begun.id.to_string(), &begun.address_sealed);
        let Some(address) = sealed.ok().and_then(|clear| String::from_utf8(clear).ok()) else {
            tracing::error!(erasure.id = %begun.id, "whom an erasure is about does not open; it waits");
            return Ok(false);
        };
        self.batch(&begun, &address, now).await?;
        Ok(true)
    }

    async fn batch(&self, begun: &Begun, address: &str, now: OffsetDateTime) -> Result<(), StoreError> {
        let (tenant, pseudonym) = (begun.tenant, self.pseudonyms.address(begun.tenant, address));
        let mut transaction = self.database.claim().begin().await?;
        let found = erase::deliveries_to(&mut transaction, tenant, address, BATCH).await?;
        let in_hand = erase::stop(&mut transaction, tenant, &found, now).await?;
        let ended: Vec<_> = found.iter().copied().filter(|id| !in_hand.contains(id)).collect();
        erase::pseudonymise(&mut transaction, tenant, &ended, &pseudonym).await?;
        let contents = self.rename(&mut transaction, tenant, &ended, address, &pseudonym).await?;
        let mut erased = Erased { deliveries: ended.len() as i64, contents, inbound: 0 };
        let inbound = erase::inbound(&mut transaction, tenant, address, &pseudonym, BATCH).await?;
        erased.inbound = inbound as i64;
        let due_at = if !in_hand.is_empty() {
            Some(now + IN_HAND)
        } else if found.len() as i64 == BATCH || inbound as i64 == BATCH {
            Some(now)
        } else {
            self.finish(&mut transaction, begun, address, &pseudonym, now).await?;
            None
        };
        erasures::note(&mut transaction, (tenant, begun.id), erased, due_at, now).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Takes him out of the messages' own lists; gives how many lost their content.
    async fn rename(
        &self,
        connection: &mut PgConnection,
        tenant: TenantId,
        deliveries: &[crate::domain::id::DeliveryId],
        address: &str,
        pseudonym: &str,
    ) -> Result<i64, StoreError> {
        let mut contents = 0;
        for mut naming in erase::messages_of(connection, tenant, deliveries).await? {
            renamed(&mut naming.addresses, address, pseudonym);
            contents += i64::from(erase::rename(connection, &naming).await?);
        }
        Ok(contents)
    }

    async fn finish(
        &self,
        connection: &mut PgConnection,
        begun: &Begun,
        address: &str,
        pseudonym: &str,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        erase::the_rest(connection, begun.tenant, address, pseudonym).await?;
        if begun.keep_suppressed {
            let suppression = Suppression {
                id: SuppressionId::new(now),
                address: self.pseudonyms.suppression(begun.tenant, address),
                stream: String::new(),
                reason: Reason::Manual,
                delivery: None,
            };
            suppressions::add(connection, begun.tenant, std::slice::from_ref(&suppression)).await?;
            revisions::raise(connection, Revised::Erasures).await?;
        }
        Ok(())
    }
}

/// Puts the pseudonym in his place, in every list of a message's mailboxes.
fn renamed(addresses: &mut Value, address: &str, pseudonym: &str) {
    let is_his = |text: &str| Mailbox::parse(text).is_ok_and(|mailbox| mailbox.address.key() == address);
    for name in ["to", "cc", "bcc", "reply_to"] {
        for entry in addresses.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten() {
            if entry.as_str().is_some_and(is_his) {
                *entry = pseudonym.into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_his_mailboxes_are_renamed() {
        let mut addresses = json!({
            "from": "Ann <ann@example.net>", "to": ["Ann Smith <ANN@example.net>", "bob@example.net"],
            "bcc": ["ann@example.net"],
        });
        renamed(&mut addresses, "ann@example.net", "erased-1@erased.invalid");
        let expected = json!({
            "from": "Ann <ann@example.net>", "to": ["erased-1@erased.invalid", "bob@example.net"],
            "bcc": ["erased-1@erased.invalid"],
        });
        assert_eq!(addresses, expected);
    }
}
