//! Recipients who were erased and are not to be mailed again: their suppressions are known by a keyed hash alone.
//! Only mail of tenants that have such entries is looked at, and only then is the database asked.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::erasure::Pseudonyms;
use crate::domain::id::TenantId;
use crate::domain::message::NewMessage;
use crate::store::{Database, StoreError, erasures, suppressions};

use super::Rejected;

/// Knows which tenants have hashed suppressions. Clones agree.
#[derive(Debug, Clone)]
pub struct Hashed {
    pseudonyms: Pseudonyms,
    tenants: Arc<RwLock<HashSet<TenantId>>>,
}

impl Hashed {
    /// Nothing known yet.
    pub fn new(pseudonyms: Pseudonyms) -> Hashed {
        Hashed { pseudonyms, tenants: Arc::default() }
    }

    /// Reads anew who has some.
    ///
    /// # Errors
    /// See [`StoreError`]; what was known stays.
    pub async fn reload(&self, database: &Database) -> Result<(), StoreError> {
        let mut connection = database.serve().acquire().await?;
        let tenants = erasures::tenants_with_hashes(&mut connection).await?;
        *self.tenants.write().unwrap_or_else(PoisonError::into_inner) = tenants.into_iter().collect();
        Ok(())
    }

    fn concerns(&self, tenant: TenantId) -> bool {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).contains(&tenant)
    }

    /// Has the suppression list asked for the hash of those recipients whom it knows by one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn apply(
        &self,
        database: &Database,
        tenant: TenantId,
        items: &mut [Result<NewMessage, Rejected>],
    ) -> Result<(), StoreError> {
        if !self.concerns(tenant) {
            return Ok(());
        }
        Box::pin(self.mark(database, tenant, items)).await
    }

    async fn mark(
        &self,
        database: &Database,
        tenant: TenantId,
        items: &mut [Result<NewMessage, Rejected>],
    ) -> Result<(), StoreError> {
        let hash = |key: &str| self.pseudonyms.suppression(tenant, key);
        let recipients = items.iter().flatten().flat_map(|message| &message.deliveries);
        let hashes: Vec<String> = recipients.map(|delivery| hash(&delivery.recipient.key())).collect();
        let mut connection = database.serve().acquire().await?;
        let known = suppressions::among(&mut connection, tenant, &hashes).await?;
        if known.is_empty() {
            return Ok(());
        }
        let deliveries = items.iter_mut().flatten().flat_map(|message| &mut message.deliveries);
        for (delivery, hash) in deliveries.zip(hashes) {
            if known.contains(&hash) {
                delivery.suppressed_as = Some(hash);
            }
        }
        Ok(())
    }
}
