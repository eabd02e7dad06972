//! Signing: finds who a mail is sent as, and puts the signatures of his keys before it (DKIM). RSA takes a third of
//! a millisecond of a core and runs on a bounded number of threads beside the runtime, so that nothing else waits
//! for it.
//!
//! Invariant: where senders must be verified, no mail leaves in the name of a domain that its tenant does not hold,
//! whatever was true when it was accepted.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::domain::handoff::Outgoing;
use crate::domain::identity::senders::{SenderDomain, Standing};
use crate::domain::outcome::{BounceClass, Step};
use crate::identities::Identities;
use crate::mail::dkim::{self, Algorithm, CannotSign, Signer};
use crate::submission::SenderPolicy;

use super::crew::{Crew, NoCrew};
use super::prepare::{Body, Marking, Prepared, marks};
use super::transmit::{Failure, Trouble};

/// Signs mail.
pub struct Signing {
    identities: Arc<Identities>,
    settings: Arc<Settings>,
    crew: Crew,
}

/// How mail is signed.
#[derive(Debug)]
pub struct Settings {
    /// Whether a sender must be verified.
    pub policy: SenderPolicy,
    /// The installation's own domains: postroad itself sends as them.
    pub own_domains: Vec<String>,
    /// Signs everything a second time, for the installation's own domain.
    pub platform: Option<Signer>,
    /// What is said about complaints.
    pub marking: Marking,
}

/// Beyond so many octets hashing alone is worth a thread of its own.
const INLINE_BYTES: usize = 64 * 1024;

impl Signing {
    /// With the keys of `identities`.
    ///
    /// # Errors
    /// The operating system gives no threads.
    pub fn new(identities: Arc<Identities>, settings: Settings) -> Result<Signing, NoCrew> {
        // One core is left to the runtime.
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let crew = Crew::new(cores.saturating_sub(1).max(1))?;
        Ok(Signing { identities, settings: Arc::new(settings), crew })
    }

    /// The domain that lets a mail be sent; `None`: no domain is needed.
    ///
    /// # Errors
    /// One is needed, and the tenant has none, or none that may be used: the mail waits.
    pub async fn sender(&self, message: &Outgoing) -> Result<Option<Arc<SenderDomain>>, Failure> {
        let senders = self.identities.senders();
        let find = || senders.find(message.tenant, &message.sender_domain);
        let mut found = find();
        if found.is_none() && self.must_be_verified(message) {
            // It was when the mail was accepted, perhaps elsewhere and just now.
            let refreshed = Box::pin(self.identities.refresh_since(Instant::now())).await;
            refreshed.map_err(|error| waits(format!("the sender's domain cannot be looked up: {error}")))?;
            found = find();
        }
        match found {
            Some(sender) if sender.standing == Standing::Paused => {
                Err(waits(format!("{} is paused; the mail waits until it is resumed", sender.name)))
            }
            None if self.must_be_verified(message) => Err(waits(format!(
                "{} is no longer a verified domain of its sender; the mail waits until it is again",
                message.sender_domain
            ))),
            found => Ok(found),
        }
    }

    fn must_be_verified(&self, message: &Outgoing) -> bool {
        self.settings.policy == SenderPolicy::Verified
            && !self.settings.own_domains.contains(&message.sender_domain)
    }

    /// Signs what was prepared, if its sender has keys. What is the same for all recipients of a message is signed
    /// once.
    ///
    /// # Errors
    /// The mail cannot be signed, and waits: unsigned it would harm the sender's name.
    pub async fn sign(&self, prepared: &mut Prepared<'_>) -> Result<(), Failure> {
        let Some(sender) = prepared.sender.clone().filter(|sender| !sender.signers.is_empty()) else {
            return Ok(());
        };
        let message = &prepared.leased.message;
        let head = match &prepared.body {
            Body::Shared(shared) => {
                let once = shared.head.get_or_try_init(|| self.head(message, sender, &prepared.body));
                once.await.cloned()
            }
            own => self.head(message, sender, own).await,
        };
        prepared.put_before(head.map_err(|error| waits(error.to_string()))?);
        Ok(())
    }

    async fn head(
        &self,
        message: &Arc<Outgoing>,
        sender: Arc<SenderDomain>,
        body: &Body,
    ) -> Result<Bytes, CannotSign> {
        let settings = Arc::clone(&self.settings);
        let signers = sender.signers.iter().chain(settings.platform.as_ref());
        let is_quick = signers.map(Signer::algorithm).all(|algorithm| algorithm == Algorithm::Ed25519)
            && body.octets().len() <= INLINE_BYTES;
        if is_quick {
            return head(message, &sender, &settings, body.octets());
        }
        let (message, body) = (Arc::clone(message), body.clone());
        // A panic in there is the courier's, which knows what to do with it.
        self.crew.run(move || head(&message, &sender, &settings, body.octets())).await
    }
}

/// Marks and signatures. The moment of signing is the message's birth, so that a second copy has the same.
fn head(
    message: &Outgoing,
    sender: &SenderDomain,
    settings: &Settings,
    body: &[u8],
) -> Result<Bytes, CannotSign> {
    let marks = marks(message, sender, body, &settings.marking);
    let marked = [&marks, body].concat();
    let signers = sender.signers.iter().chain(settings.platform.as_ref());
    let mut head = dkim::sign(signers, &marked, message.id.born())?;
    head.extend_from_slice(&marks);
    Ok(head.into())
}

/// Nothing is wrong with the peer, and nothing with the mail that cannot be mended.
fn waits(text: String) -> Failure {
    Failure {
        step: Step::Prepare,
        trouble: Trouble::Unmet { class: BounceClass::AuthPolicy, status: None, text },
    }
}
