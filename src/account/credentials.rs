//! Keys in memory. An entry is honoured only if it was read under the current revision of credentials, and
//! the revision is known as of at most a second ago; otherwise the database is asked.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;

use crate::domain::id::{KeyId, TenantId};
use crate::domain::key::KeyHash;
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
    credentials: HashMap<KeyHash, Option<Arc<Credential>>>,
}

impl Keys {
    /// Nothing known yet.
    pub fn new(database: Database, known: watch::Receiver<Known>) -> Keys {
        Keys { database, known, kept: Mutex::default(), used: Mutex::default() }
    }

    /// The credential with this hash; `None`: there is none.
    ///
    /// # Errors
    /// It is not in memory, and the database does not answer.
    pub async fn find(&self, hash: KeyHash) -> Result<Option<Arc<Credential>>, StoreError> {
        let known = *self.known.borrow();
        let revision = (known.as_of.elapsed() < FRESH).then_some(known.revisions.credentials);
        if let Some(revision) = revision {
            let kept = self.kept();
            if kept.revision == revision
                && let Some(credential) = kept.credentials.get(&hash)
            {
                return Ok(credential.clone());
            }
        }
        let found = self.look_up(hash).await?.map(Arc::new);
        if let Some(revision) = revision {
            self.keep(revision, hash, found.clone());
        }
        Ok(found)
    }

    /// The credential with this hash, if it lets its bearer in from `ip` at this moment; and notes that it was used.
    ///
    /// # Errors
    /// See [`NotAdmitted`].
    pub async fn admit(
        &self,
        hash: KeyHash,
        ip: IpAddr,
        now: OffsetDateTime,
    ) -> Result<Arc<Credential>, NotAdmitted> {
        let credential = self.find(hash).await?.ok_or(NotAdmitted::Unknown)?;
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

    async fn look_up(&self, hash: KeyHash) -> Result<Option<Credential>, StoreError> {
        let work = async {
            let mut connection = self.database.serve().acquire().await?;
            keys::find_by_hash(&mut connection, hash).await
        };
        tokio::time::timeout(LOOKUP_TIMEOUT, work).await.unwrap_or_else(|_| Err(StoreError::timed_out()))
    }

    /// Keeps what was read under a revision that was known before it was read: a change in between has a
    /// higher revision, which will be seen.
    fn keep(&self, revision: i64, hash: KeyHash, credential: Option<Arc<Credential>>) {
        let mut kept = self.kept();
        if kept.revision != revision || kept.credentials.len() >= MOST {
            kept.credentials.clear();
            kept.revision = revision;
        }
        kept.credentials.insert(hash, credential);
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
