//! Sender domains in memory: reads who has proved what, opens the keys that sign, and keeps
//! [`Senders`](crate::domain::identity::senders::Senders) true. Not how domains are proved.
//!
//! Invariant: what has changed in the database is taken over when the revision says so, within a second; and only
//! what has changed is read and opened.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::domain::id::DomainId;
use crate::domain::identity::senders::{SenderDomain, Senders, Standing};
use crate::mail::dkim::Signer;
use crate::seal::Subkey;
use crate::store::domain_keys::{self, SigningKey};
use crate::store::domains::{self, Held, HeldDomain};
use crate::store::{Database, StoreError};

/// Keeps sender domains in memory.
pub struct Identities {
    senders: Senders,
    database: Database,
    keys: Keys,
    loaded: Mutex<Loaded>,
}

/// Whether this process needs keys.
#[derive(Debug, Clone)]
pub enum Keys {
    /// It delivers mail, and opens them with this.
    Opened(Subkey),
    /// It only has to know names.
    Unneeded,
}

#[derive(Default)]
struct Loaded {
    domains: HashMap<DomainId, (i64, Arc<SenderDomain>)>,
    /// When the last reading began.
    as_of: Option<Instant>,
}

/// Domains read at once.
const BATCH: usize = 500;
/// How long one reading may take.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Identities {
    /// Nothing is known until it is refreshed.
    pub fn new(database: Database, keys: Keys) -> Identities {
        Identities { senders: Senders::default(), database, keys, loaded: Mutex::default() }
    }

    /// Who may send as whom, always as of the last refresh.
    pub fn senders(&self) -> &Senders {
        &self.senders
    }

    /// Reads what has changed.
    ///
    /// # Errors
    /// See [`StoreError`]; then what was known stays.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.refresh_since(Instant::now()).await
    }

    /// Reads what has changed, unless a reading has begun since `moment`: of many who miss something at once, one
    /// asks.
    ///
    /// # Errors
    /// See [`StoreError`]; then what was known stays.
    pub async fn refresh_since(&self, moment: Instant) -> Result<(), StoreError> {
        let mut loaded = self.loaded.lock().await;
        if loaded.as_of.is_some_and(|as_of| as_of >= moment) {
            return Ok(());
        }
        let as_of = Instant::now();
        let read = tokio::time::timeout(TIMEOUT, self.read(&mut loaded.domains));
        read.await.unwrap_or_else(|_| Err(StoreError::timed_out()))?;
        loaded.as_of = Some(as_of);
        self.senders.replace(loaded.domains.values().map(|(_, domain)| Arc::clone(domain)));
        Ok(())
    }

    async fn read(&self, known: &mut HashMap<DomainId, (i64, Arc<SenderDomain>)>) -> Result<(), StoreError> {
        let mut connection = self.database.serve().acquire().await?;
        let held = domains::held(&mut connection).await?;
        let is_known = |held: &Held| known.get(&held.id).is_some_and(|(at, _)| *at == held.revision);
        let changed: Vec<Held> = held.iter().filter(|held| !is_known(held)).copied().collect();
        let ids: std::collections::HashSet<DomainId> = held.iter().map(|held| held.id).collect();
        known.retain(|id, _| ids.contains(id));
        for batch in changed.chunks(BATCH) {
            let read = domains::load_held(&mut connection, batch).await?;
            let keys = match self.keys {
                Keys::Opened(_) => domain_keys::that_sign(&mut connection, batch).await?,
                Keys::Unneeded => Vec::new(),
            };
            // What is not held any more since it was listed comes with the next revision.
            for held in batch {
                known.remove(&held.id);
            }
            known.extend(self.open(read, keys).await);
        }
        Ok(())
    }

    /// Opening an RSA key takes a while: not on the runtime's threads.
    async fn open(
        &self,
        domains: Vec<HeldDomain>,
        keys: Vec<SigningKey>,
    ) -> Vec<(DomainId, (i64, Arc<SenderDomain>))> {
        let opener = self.keys.clone();
        let work = move || {
            let mut by_domain: HashMap<DomainId, Vec<SigningKey>> = HashMap::new();
            for key in keys {
                by_domain.entry(key.domain).or_default().push(key);
            }
            let one = |domain: HeldDomain| {
                let keys = by_domain.remove(&domain.held.id).unwrap_or_default();
                let signers = signers(&opener, &domain, keys);
                (domain.held.id, (domain.held.revision, Arc::new(sender(domain, signers))))
            };
            domains.into_iter().map(one).collect()
        };
        // A panic in there is passed on.
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}

fn sender(domain: HeldDomain, signers: Vec<Signer>) -> SenderDomain {
    SenderDomain {
        id: domain.held.id,
        tenant: domain.held.tenant,
        name: domain.name,
        return_path: domain.return_path,
        transport: domain.transport,
        standing: if domain.paused_at.is_some() { Standing::Paused } else { Standing::Active },
        tracking: domain.tracking,
        tracking_host: domain.tracking_host,
        signers,
    }
}

/// The keys whose records were found; all of them when none was, since then DNS is more likely to be in trouble than
/// all of them to be gone. One that does not open is said aloud, and signs nothing.
fn signers(opener: &Keys, domain: &HeldDomain, keys: Vec<SigningKey>) -> Vec<Signer> {
    let Keys::Opened(seal) = opener else { return Vec::new() };
    let any_published = keys.iter().any(|key| key.published);
    let open = |key: &SigningKey| {
        let owner = key.id.to_string();
        let opened = seal.open(&owner, &key.private_sealed).ok();
        let signer =
            opened.and_then(|der| Signer::open(key.algorithm, &der, &domain.name, &key.selector).ok());
        if signer.is_none() {
            tracing::error!(key.id = owner, "a DKIM key does not open; it signs nothing");
        }
        signer
    };
    keys.iter().filter(|key| key.published || !any_published).filter_map(open).collect()
}
