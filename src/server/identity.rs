//! Assembly of what sender domains need: what is known of them, what signs for them, and what works on them.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::account::domains::Domains;
use crate::certificates::Certifier;
use crate::config::{Config, PlatformKey};
use crate::delivery::prepare::Marking;
use crate::delivery::sign::{Settings, Signing};
use crate::dns::Resolver;
use crate::domain::identity::records::Places;
use crate::identities::{Identities, Keys};
use crate::mail::dkim::{KeyPair, Signer};
use crate::outbound::acme::Authority;
use crate::seal::Purpose;
use crate::store::revisions::Known;

use super::{Opened, Role};

/// What this process keeps in memory of sender domains.
pub(super) fn identities(opened: &Opened, roles: &BTreeSet<Role>) -> Arc<Identities> {
    let keys = if roles.contains(&Role::Worker) {
        Keys::Opened(opened.master.derive(Purpose::Seal))
    } else {
        Keys::Unneeded
    };
    Arc::new(Identities::new(opened.database.clone(), keys))
}

/// Reads what has changed of sender domains when something has.
pub(super) fn follow(
    identities: Arc<Identities>,
    mut known: watch::Receiver<Known>,
    stop: CancellationToken,
) -> impl Future<Output = ()> {
    let mut seen = known.borrow().revisions.domains;
    async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = known.changed() => if changed.is_err() { return },
            }
            let now = known.borrow_and_update().revisions.domains;
            if now == seen {
                continue;
            }
            match identities.refresh().await {
                Ok(()) => seen = now,
                Err(error) => tracing::warn!(error = %error, "could not read what has changed of domains"),
            }
        }
    }
}

/// What signs.
pub(super) fn signing(config: &Config, identities: &Arc<Identities>) -> Result<Signing> {
    let mut own_domains = vec![config.hostname.clone(), config.bounce_domain.clone()];
    own_domains.extend(config.platform_key.as_ref().map(|key| key.domain.as_str().to_owned()));
    let settings = Settings {
        policy: config.sender_policy,
        own_domains,
        platform: config.platform_key.as_ref().map(platform_signer).transpose()?,
        marking: Marking {
            feedback_sender: config.feedback_sender.clone(),
            complaints_to: config.complaints_to.as_ref().map(ToString::to_string),
        },
    };
    Signing::new(Arc::clone(identities), settings).context("no threads for signing")
}

fn platform_signer(key: &PlatformKey) -> Result<Signer> {
    let what = || format!("POSTROAD_DKIM_KEY: {}", key.file.display());
    let pem = std::fs::read_to_string(&key.file).with_context(what)?;
    let pair = KeyPair::from_pem(&pem).with_context(what)?;
    Signer::open(pair.algorithm, &pair.pkcs8, key.domain.as_str(), &key.selector).with_context(what)
}

/// What works on sender domains.
pub(super) fn domains(config: &Config, opened: &Opened, identities: &Arc<Identities>) -> Result<Domains> {
    Ok(Domains {
        database: opened.database.clone(),
        seal: opened.master.derive(Purpose::Seal),
        dns: Resolver::new(&config.dns).context("the resolver cannot be set up")?,
        places: places(config),
        grace: config.domain_grace,
        identities: Arc::clone(identities),
    })
}

/// What gets certificates, if that is wanted.
pub(super) fn certifier(config: &Config, opened: &Opened) -> Result<Option<Certifier>> {
    let Some(acme) = &config.acme else { return Ok(None) };
    let roots = super::roots::load(config.tls_roots.as_deref())?;
    let roots: Vec<Vec<u8>> = roots.iter().map(|root| root.to_vec()).collect();
    let authority = Authority::new(acme.directory.as_str(), &roots).context("no HTTP client for ACME")?;
    let places = places(config);
    Ok(Some(Certifier {
        database: opened.database.clone(),
        seal: opened.master.derive(Purpose::Seal),
        authority,
        contact: acme.contact.clone(),
        own_names: vec![config.hostname.clone(), places.tracking.clone()],
        tracking_host: places.tracking,
    }))
}

/// The names that tenants' records lead to. A public URL that has no name leads to no CNAME.
fn places(config: &Config) -> Places {
    let host = config.public_url.as_deref().and_then(|text| url::Url::parse(text).ok());
    let named = host.and_then(|url| url.domain().map(str::to_owned));
    Places {
        bounce: config.bounce_domain.clone(),
        host: config.hostname.clone(),
        tracking: named.unwrap_or_else(|| config.hostname.clone()),
    }
}
