//! DKIM keys of domains: made, brought along, replaced. A key signs only once its record is published; the one
//! before it then retires, and its record is asked for until no mail under way needs it.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::Ed25519KeyPair;
use data_encoding::BASE32_NOPAD;
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::account::Actor;
use crate::domain::id::{DkimKeyId, DomainId, TenantId};
use crate::domain::identity::records::KeyFacts;
use crate::domain::identity::{KeyOrigin, KeyState};
use crate::mail::dkim::{Algorithm, KeyPair};
use crate::seal::{NoRandomness, Secret, Subkey};
use crate::store::audit;
use crate::store::domain_keys::{self, StoredKey};
use crate::store::domains::{self, StoredDomain};
use crate::store::{PgConnection, StoreError};

use super::{DomainError, DomainView, Domains, audited, locked};

/// How soon the records of new keys are looked for.
const SOON: Duration = Duration::minutes(2);

/// Where an imported key is published: one or more labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(String);

impl Selector {
    /// Reads a selector (RFC 6376 §3.1), in any case.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(text: &str) -> Result<Selector, &'static str> {
        let is_label = |label: &str| {
            let bytes = label.as_bytes();
            !bytes.is_empty()
                && bytes.len() <= 63
                && bytes.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() <= 63 && text.split('.').all(is_label) {
            Ok(Selector(text.to_ascii_lowercase()))
        } else {
            Err("a selector is made of letters, digits, hyphens and dots, up to 63 of them")
        }
    }

    /// As it is published.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A new key with its private half.
pub(super) struct Made {
    pub key: StoredKey,
    pkcs8: Vec<u8>,
}

impl Made {
    fn new(
        domain: DomainId,
        selector: String,
        origin: KeyOrigin,
        pair: KeyPair,
        now: OffsetDateTime,
    ) -> Made {
        Made {
            key: StoredKey {
                id: DkimKeyId::new(now),
                domain,
                facts: KeyFacts {
                    selector,
                    algorithm: pair.algorithm,
                    state: KeyState::Next,
                    public: pair.public,
                },
                origin,
                published: false,
                created_at: now,
                active_at: None,
                retired_at: None,
            },
            pkcs8: pair.pkcs8,
        }
    }

    /// Seals it for its row and stores it.
    pub(super) async fn store(
        &self,
        connection: &mut PgConnection,
        seal: &Subkey,
        tenant: TenantId,
    ) -> Result<(), DomainError> {
        let sealed = seal.seal(&self.key.id.to_string(), &self.pkcs8)?;
        match domain_keys::insert(connection, tenant, &self.key, &sealed).await {
            Err(StoreError::Conflict(_)) => Err(DomainError::SelectorTaken),
            other => Ok(other?),
        }
    }
}

/// The first keys of a domain, one of each algorithm.
pub(super) async fn make_both(domain: DomainId, now: OffsetDateTime) -> Result<Vec<Made>, DomainError> {
    make(domain, Algorithm::ALL.map(|algorithm| (algorithm, 1)).into(), now).await
}

/// Making an RSA key takes a tenth of a second, or several: not on the runtime's threads.
async fn make(
    domain: DomainId,
    wanted: Vec<(Algorithm, u32)>,
    now: OffsetDateTime,
) -> Result<Vec<Made>, DomainError> {
    let one = move |(algorithm, generation): (Algorithm, u32)| {
        let pair = generate(algorithm)?;
        let selector = selector(domain, algorithm, generation);
        Ok(Made::new(domain, selector, KeyOrigin::Generated, pair, now))
    };
    let work = move || wanted.into_iter().map(one).collect();
    // A panic in there is passed on.
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn generate(algorithm: Algorithm) -> Result<KeyPair, DomainError> {
    match algorithm {
        Algorithm::Rsa => {
            let pair = rsa::KeyPair::generate(KeySize::Rsa2048).map_err(|_| NoRandomness)?;
            Ok(KeyPair::of_rsa(Ok::<_, NoRandomness>(pair))?)
        }
        Algorithm::Ed25519 => {
            let pair = Ed25519KeyPair::generate().map_err(|_| NoRandomness)?;
            Ok(KeyPair::of_ed25519(&pair)?)
        }
    }
}

/// Says whose record it is: two tenants with one name publish at different places, and who publishes proves *his*.
fn selector(domain: DomainId, algorithm: Algorithm, generation: u32) -> String {
    let mark = BASE32_NOPAD.encode(&digest(&SHA256, domain.uuid().as_bytes()).as_ref()[..5]);
    let letter = match algorithm {
        Algorithm::Rsa => 'r',
        Algorithm::Ed25519 => 'e',
    };
    format!("pr{}{letter}{generation}", mark.to_ascii_lowercase())
}

/// The generation after every one that a key of the domain still has.
fn next_generation(domain: DomainId, algorithm: Algorithm, keys: &[StoredKey]) -> u32 {
    let stem = selector(domain, algorithm, 0);
    let stem = stem.trim_end_matches('0');
    let known = keys.iter().filter_map(|key| key.facts.selector.strip_prefix(stem)?.parse::<u32>().ok());
    known.max().unwrap_or(0) + 1
}

impl Domains {
    /// Makes the next keys of a domain: they sign as soon as their records are found.
    ///
    /// # Errors
    /// [`DomainError::KeysPending`] while earlier ones wait to be published.
    pub async fn rotate(
        &self,
        actor: &Actor,
        (tenant, id): (TenantId, DomainId),
        now: OffsetDateTime,
    ) -> Result<DomainView, DomainError> {
        let before = self.find(tenant, id).await?;
        check_none_next(&before.keys)?;
        let wanted =
            Algorithm::ALL.map(|algorithm| (algorithm, next_generation(id, algorithm, &before.keys)));
        let made = make(id, wanted.into(), now).await?;
        let mut transaction = self.database.serve().begin().await.map_err(StoreError::from)?;
        let domain = locked(&mut transaction, tenant, id).await?;
        check_none_next(&domain_keys::of_domains(&mut transaction, tenant, &[id]).await?)?;
        for made in &made {
            made.store(&mut transaction, &self.seal, tenant).await?;
        }
        let message = "New keys were made. Publish their records: the old keys sign until they are found.";
        domains::note(&mut transaction, (tenant, id), "keys_made", message, now).await?;
        let selectors: Vec<&str> = made.iter().map(|made| made.key.facts.selector.as_str()).collect();
        let change = audit::made(json!({ "name": domain.name, "selectors": selectors }));
        audited(&mut transaction, actor, &domain, "domain.rotate", change, now).await?;
        look_soon(&mut transaction, domain, now).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        self.find(tenant, id).await
    }

    /// Takes a key that its owner brings, to be the next of its algorithm; one that waited in its place goes.
    ///
    /// # Errors
    /// [`DomainError::BadKey`], [`DomainError::SelectorTaken`].
    pub async fn import_key(
        &self,
        actor: &Actor,
        (tenant, id): (TenantId, DomainId),
        selector: Selector,
        pem: &Secret,
        now: OffsetDateTime,
    ) -> Result<DomainView, DomainError> {
        let pair = KeyPair::from_pem(pem.reveal())?;
        let made = Made::new(id, selector.0, KeyOrigin::Imported, pair, now);
        let facts = &made.key.facts;
        let mut transaction = self.database.serve().begin().await.map_err(StoreError::from)?;
        let domain = locked(&mut transaction, tenant, id).await?;
        let keys = domain_keys::of_domains(&mut transaction, tenant, &[id]).await?;
        let replaced = keys
            .iter()
            .filter(|key| key.facts.state == KeyState::Next && key.facts.algorithm == facts.algorithm);
        for key in replaced {
            domain_keys::delete(&mut transaction, tenant, id, key.id).await?;
        }
        made.store(&mut transaction, &self.seal, tenant).await?;
        let message = format!("The key {} was imported. It signs once its record is found.", facts.selector);
        domains::note(&mut transaction, (tenant, id), "key_imported", &message, now).await?;
        let details = audit::made(json!({
            "name": domain.name, "selector": facts.selector, "algorithm": facts.algorithm.as_str(),
        }));
        audited(&mut transaction, actor, &domain, "domain.import_key", details, now).await?;
        look_soon(&mut transaction, domain, now).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        self.find(tenant, id).await
    }
}

fn check_none_next(keys: &[StoredKey]) -> Result<(), DomainError> {
    let waits = keys.iter().any(|key| key.facts.state == KeyState::Next);
    if waits { Err(DomainError::KeysPending) } else { Ok(()) }
}

async fn look_soon(
    connection: &mut PgConnection,
    mut domain: StoredDomain,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    domain.check_due_at = Some(now + SOON);
    domains::update_looked(connection, &domain).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_name_domain_algorithm_and_generation() {
        let (one, other) =
            (DomainId::new(OffsetDateTime::UNIX_EPOCH), DomainId::new(OffsetDateTime::UNIX_EPOCH));
        assert_ne!(selector(one, Algorithm::Rsa, 1), selector(other, Algorithm::Rsa, 1));
        assert_ne!(selector(one, Algorithm::Rsa, 1), selector(one, Algorithm::Ed25519, 1));
        assert_eq!(
            Selector::parse(&selector(one, Algorithm::Rsa, 7)).map(|s| s.0),
            Ok(selector(one, Algorithm::Rsa, 7))
        );
    }

    #[test]
    fn a_generation_is_never_used_twice_at_a_time() {
        let id = DomainId::new(OffsetDateTime::UNIX_EPOCH);
        let key = |selector: String| {
            let pair = KeyPair { algorithm: Algorithm::Rsa, public: String::new(), pkcs8: Vec::new() };
            Made::new(id, selector, KeyOrigin::Generated, pair, OffsetDateTime::UNIX_EPOCH).key
        };
        assert_eq!(next_generation(id, Algorithm::Rsa, &[]), 1);
        let keys =
            [key(selector(id, Algorithm::Rsa, 9)), key(selector(id, Algorithm::Rsa, 10)), key("s1".into())];
        assert_eq!(next_generation(id, Algorithm::Rsa, &keys), 11);
        assert_eq!(next_generation(id, Algorithm::Ed25519, &keys), 1);
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in ["", ".", "a..b", "-a", "a b", "a;b", "ü", &"x".repeat(64)] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
        assert_eq!(Selector::parse("S1.Mail_2"), Ok(Selector("s1.mail_2".into())));
    }
}
