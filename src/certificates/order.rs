//! One order: account, challenges by HTTP (RFC 8555 §8.3), certificate.

use std::time::Duration;

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use time::OffsetDateTime;
use x509_parser::parse_x509_certificate;

use crate::domain::certificate::LEASE;
use crate::seal::{DoesNotOpen, NoRandomness};
use crate::store::StoreError;
use crate::store::certificates;

use super::Certifier;

/// For everything together; less than the lease.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// For the authority to look at a challenge, and to write a certificate.
const POLICY: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).timeout(Duration::from_secs(4 * 60));

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The authority refuses, or does not answer.
    #[error("the authority: {0}")]
    Acme(#[from] instant_acme::Error),
    /// What it says makes no sense, or is no.
    #[error("{0}")]
    Order(String),
    /// It took too long.
    #[error("the authority takes too long")]
    TimedOut,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error(transparent)]
    DoesNotOpen(#[from] DoesNotOpen),
}

/// What came of an order.
pub(super) struct Got {
    pub(super) chain: String,
    pub(super) key: String,
}

impl Certifier {
    pub(super) async fn order(&self, name: &str, now: OffsetDateTime) -> Result<Got, Trouble> {
        let work = async {
            let account = self.account(now).await?;
            let identifiers = [Identifier::Dns(name.to_owned())];
            let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
            self.answer_challenges(&mut order, now).await?;
            match order.poll_ready(&POLICY).await? {
                OrderStatus::Ready => {}
                other => return Err(refused(&mut order, other).await),
            }
            let key = order.finalize().await?;
            let chain = order.poll_certificate(&POLICY).await?;
            Ok(Got { chain, key })
        };
        tokio::time::timeout(PATIENCE, work).await.unwrap_or(Err(Trouble::TimedOut))
    }

    /// Our account with the authority; made at the first order.
    async fn account(&self, now: OffsetDateTime) -> Result<Account, Trouble> {
        let directory = self.authority.directory();
        let owner = format!("acme account {directory}");
        let mut connection = self.database.serve().acquire().await.map_err(StoreError::from)?;
        let builder = || Account::builder_with_http(Box::new(self.authority.clone()));
        if let Some(sealed) = certificates::account(&mut connection, directory).await? {
            let clear = self.seal.open(&owner, &sealed)?;
            let credentials: AccountCredentials = serde_json::from_slice(&clear)
                .map_err(|error| Trouble::Order(format!("the account cannot be read: {error}")))?;
            drop(connection);
            return Ok(builder().from_credentials(credentials).await?);
        }
        drop(connection);
        let contact = format!("mailto:{}", self.contact.as_str());
        let new =
            NewAccount { contact: &[&contact], terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = builder().create(&new, directory.to_owned(), None).await?;
        let clear = serde_json::to_vec(&credentials)
            .map_err(|error| Trouble::Order(format!("the account cannot be written: {error}")))?;
        let sealed = self.seal.seal(&owner, &clear)?;
        let mut connection = self.database.serve().acquire().await.map_err(StoreError::from)?;
        certificates::put_account(&mut connection, directory, self.contact.as_str(), &sealed, now).await?;
        Ok(account)
    }

    /// Puts the answers where every node finds them, then has the authority look.
    async fn answer_challenges(&self, order: &mut Order, now: OffsetDateTime) -> Result<(), Trouble> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                other => return Err(Trouble::Order(format!("the authorization is {other:?}"))),
            }
            let challenge = authorization.challenge(ChallengeType::Http01);
            let mut challenge =
                challenge.ok_or_else(|| Trouble::Order("the authority offers no http-01".to_owned()))?;
            let answer = challenge.key_authorization();
            let mut connection = self.database.serve().acquire().await.map_err(StoreError::from)?;
            certificates::put_challenge(&mut connection, &challenge.token, answer.as_str(), now + LEASE)
                .await?;
            drop(connection);
            challenge.set_ready().await?;
        }
        Ok(())
    }
}

/// What the authority found wrong, as it says itself.
async fn refused(order: &mut Order, status: OrderStatus) -> Trouble {
    let mut told = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        for challenge in &authorization.challenges {
            told.extend(challenge.error.as_ref().map(ToString::to_string));
        }
    }
    match told.is_empty() {
        true => Trouble::Order(format!("the order is {status:?}")),
        false => Trouble::Order(told.join("; ")),
    }
}

/// From when until when the first certificate of a chain holds.
pub(super) fn validity(chain: &str) -> Result<(OffsetDateTime, OffsetDateTime), Trouble> {
    let unreadable = || Trouble::Order("the certificate cannot be read".to_owned());
    let der = CertificateDer::from_pem_slice(chain.as_bytes()).map_err(|_| unreadable())?;
    let (_, certificate) = parse_x509_certificate(&der).map_err(|_| unreadable())?;
    let validity = certificate.validity();
    Ok((validity.not_before.to_datetime(), validity.not_after.to_datetime()))
}
