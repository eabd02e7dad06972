//! Keys in memory. An entry is honoured only if it was read under the current revision of credentials, and
//! the revision is known as of at most a second ago; otherwise the database is asked.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;

use crate::domain::id::{KeyId, TenantId};
use crate::domain::key::KeyName;
use crate::store::keys::{self, Credential};
use crate::store::revisions::Known;
use crate::store::{Database, StoreError};

/// A revocation reaches every node within this time.
const FRESH: Duration = Duration::from_millis(900);
/// Unknown keys are remembered too, so that guessing costs the database nothing; but not without end.
const MOST: usize = 20_000;
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(4);

/// Why a key does not let its bearer in.
#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    /// There is no such key, or it has expired or was revoked.
    #[error("this key is not known, has expired or was revoked")]
    Unknown,
    /// It may not be used from there.
    #[error("this key may not be used from this address")]
    Address,
    /// Its tenant is suspended.
    #[error("this tenant is suspended; ask the operator")]
    Suspended,
    /// Nobody knows: the database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Knows keys.
#[derive(Debug)]
pub struct Keys {
    database: Database,
    known: watch::Receiver<Known>,
    kept: Mutex<Kept>,
    used: Mutex<HashMap<(TenantId, KeyId), OffsetDateTime>>,
}

#[derive(Debug, Default)]
struct Kept {
    revision: i64,
    credentials: HashMap<KeyName, Option<Arc<Credential>>>,
    /// Those with networks that need no login; `None`: not read yet.
    at_addresses: Option<Arc<[Arc<Credential>]>>,
}

impl Keys {
    /// Nothing known yet.
    pub fn new(database: Database, known: watch::Receiver<Known>) -> Keys {
        Keys { database, known, kept: Mutex::default(), used: Mutex::default() }
    }

    /// The credential of this name; `None`: there is none.
    ///
    /// # Errors
    /// It is not in memory, and the database does not answer.
    pub async fn find(&self, name: &KeyName) -> Result<Option<Arc<Credential>>, StoreError> {
        let revision = self.revision();
        if let Some(revision) = revision {
            let kept = self.kept();
            if kept.revision == revision
                && let Some(credential) = kept.credentials.get(name)
            {
                return Ok(credential.clone());
            }
        }
        // Boxed: what is rarely waited for would otherwise be carried, and moved, with every request.
        let found = Box::pin(self.look_up(name)).await?.map(Arc::new);
        if let Some(revision) = revision {
            self.keep(revision, |kept| kept.credentials.insert(name.clone(), found.clone()));
        }
        Ok(found)
    }

    /// What is known now, if it can be relied upon.
    fn revision(&self) -> Option<i64> {
        let known = *self.known.borrow();
        (known.as_of.elapsed() < FRESH).then_some(known.revisions.credentials)
    }

    /// The key that a client there has without a login; `None`: none. Of several networks that hold the address, the
    /// smallest counts, and of those that are alike the older key's.
    ///
    /// # Errors
    /// It is not in memory, and the database does not answer.
    pub async fn at_address(&self, ip: IpAddr) -> Result<Option<Arc<Credential>>, StoreError> {
        let ip = ip.to_canonical();
        let mut found: Option<(u8, &Arc<Credential>)> = None;
        let all = self.all_at_addresses().await?;
        for credential in all.iter() {
            for net in credential.key.smtp_networks.iter().flatten().filter(|net| net.contains(&ip)) {
                if found.is_none_or(|(narrowest, _)| net.prefix_len() > narrowest) {
                    found = Some((net.prefix_len(), credential));
                }
            }
        }
        Ok(found.map(|(_, credential)| Arc::clone(credential)))
    }

    async fn all_at_addresses(&self) -> Result<Arc<[Arc<Credential>]>, StoreError> {
        let revision = self.revision();
        if let Some(revision) = revision {
            let kept = self.kept();
            if kept.revision == revision
                && let Some(all) = &kept.at_addresses
            {
                return Ok(Arc::clone(all));
            }
        }
        let work = async {
            let mut connection = self.database.serve().acquire().await?;
            keys::with_smtp_networks(&mut connection).await
        };
        let read = tokio::time::timeout(LOOKUP_TIMEOUT, work)
            .await
            .unwrap_or_else(|_| Err(StoreError::timed_out()))?;
        let all: Arc<[Arc<Credential>]> = read.into_iter().map(Arc::new).collect();
        if let Some(revision) = revision {
            self.keep(revision, |kept| kept.at_addresses = Some(Arc::clone(&all)));
        }
        Ok(all)
    }

    /// The credential of this name, if it lets its bearer in from `ip` at this moment; and notes that it was used.
    ///
    /// # Errors
    /// See [`NotAdmitted`].
    pub async fn admit(
        &self,
        name: &KeyName,
        ip: IpAddr,
        now: OffsetDateTime,
    ) -> Result<Arc<Credential>, NotAdmitted> {
        let credential = self.find(name).await?.ok_or(NotAdmitted::Unknown)?;
        self.let_in(credential, ip, now)
    }

    /// The key that a client at `ip` has without a login, if it lets him in at this moment; and notes that it was used.
    ///
    /// # Errors
    /// See [`NotAdmitted`].
    pub async fn admit_at_address(
        &self,
        ip: IpAddr,
        now: OffsetDateTime,
    ) -> Result<Arc<Credential>, NotAdmitted> {
        let credential = self.at_address(ip).await?.ok_or(NotAdmitted::Unknown)?;
        self.let_in(credential, ip, now)
    }

    fn let_in(
        &self,
        credential: Arc<Credential>,
        ip: IpAddr,
        now: OffsetDateTime,
    ) -> Result<Arc<Credential>, NotAdmitted> {
        let key = &credential.key;
        if key.revoked_at.is_some() || !key.limits.is_current(now) {
            return Err(NotAdmitted::Unknown);
        }
        if !key.limits.allows_ip(ip) {
            return Err(NotAdmitted::Address);
        }
        if credential.suspended {
            return Err(NotAdmitted::Suspended);
        }
        self.used(key.tenant, key.id, now);
        Ok(credential)
    }

    async fn look_up(&self, name: &KeyName) -> Result<Option<Credential>, StoreError> {
        let work = async {
            let mut connection = self.database.serve().acquire().await?;
            keys::find_by_name(&mut connection, name).await
        };
        tokio::time::timeout(LOOKUP_TIMEOUT, work).await.unwrap_or_else(|_| Err(StoreError::timed_out()))
    }

    /// Keeps what was read under a revision that was known before it was read: a change in between has a
    /// higher revision, which will be seen.
    fn keep<T>(&self, revision: i64, note: impl FnOnce(&mut Kept) -> T) {
        let mut kept = self.kept();
        if kept.revision != revision || kept.credentials.len() >= MOST {
            *kept = Kept { revision, ..Kept::default() };
        }
        note(&mut kept);
    }

    /// A key was used.
    fn used(&self, tenant: TenantId, key: KeyId, now: OffsetDateTime) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert((tenant, key), now);
    }

    /// Writes down when keys were last used.
    ///
    /// # Errors
    /// See [`StoreError`]; the moments of this round are lost, the next ones are later anyway.
    pub async fn write_used(&self) -> Result<(), StoreError> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if used.is_empty() {
            return Ok(());
        }
        let used: Vec<_> = used.into_iter().map(|((tenant, key), at)| (tenant, key, at)).collect();
        let mut connection = self.database.serve().acquire().await?;
        keys::touch(&mut connection, &used).await
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
