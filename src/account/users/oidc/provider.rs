//! The provider: where its endpoints are (OpenID Connect Discovery 1.0), its keys (RFC 7517), and the exchange of a code
//! for a token (RFC 6749 §4.1.3). What it has said is kept for an hour.

use std::sync::Arc;

use data_encoding::BASE64;
use jsonwebtoken::jwk::JwkSet;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;
use url::Url;

use crate::outbound::{Answer, Outbound};

use super::{NotKnown, Settings, cut};

/// How long what a provider has said is believed.
const KEPT: Duration = Duration::HOUR;
/// Keys are fetched again for one that is not known, but not more often than this.
const AGAIN: Duration = Duration::MINUTE;

/// Speaks with a provider.
#[derive(Debug)]
pub(super) struct Provider {
    issuer: Url,
    outbound: Outbound,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    endpoints: Option<(Endpoints, OffsetDateTime)>,
    keys: Option<(Arc<JwkSet>, OffsetDateTime)>,
}

/// Where a provider wants what.
#[derive(Debug, Clone)]
pub(super) struct Endpoints {
    /// Where people sign in.
    pub authorization: Url,
    token: Url,
    keys: Url,
    wants_basic: bool,
}

#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Redeemed {
    id_token: String,
}

#[derive(Deserialize, Default)]
struct Said {
    error: Option<String>,
    error_description: Option<String>,
}

impl Provider {
    pub(super) fn new(issuer: Url, outbound: Outbound) -> Provider {
        Provider { issuer, outbound, known: Mutex::default() }
    }

    /// As its tokens name it: without the slash that URLs get, where it has no path.
    pub(super) fn issuer(&self) -> &str {
        let text = self.issuer.as_str();
        if self.issuer.path() == "/" { text.trim_end_matches('/') } else { text }
    }

    /// Where its endpoints are.
    pub(super) async fn endpoints(&self, now: OffsetDateTime) -> Result<Endpoints, NotKnown> {
        let mut known = self.known.lock().await;
        if let Some((endpoints, at)) = &known.endpoints
            && now < *at + KEPT
        {
            return Ok(endpoints.clone());
        }
        let endpoints = self.discover().await?;
        known.endpoints = Some((endpoints.clone(), now));
        Ok(endpoints)
    }

    /// Discovery §4: the issuer must name itself.
    async fn discover(&self) -> Result<Endpoints, NotKnown> {
        let base = self.issuer.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}/.well-known/openid-configuration"));
        let url = url.map_err(|_| NotKnown::Provider("its address has no discovery document".to_owned()))?;
        let found: Discovered = self.read(self.outbound.get(&url).await, "its discovery document")?;
        if found.issuer.trim_end_matches('/') != base {
            return Err(NotKnown::Provider("its discovery document is of another issuer".to_owned()));
        }
        let methods = found.token_endpoint_auth_methods_supported;
        Ok(Endpoints {
            authorization: self.place(&found.authorization_endpoint)?,
            token: self.place(&found.token_endpoint)?,
            keys: self.place(&found.jwks_uri)?,
            // Discovery §3: client_secret_basic where it does not say.
            wants_basic: methods.is_none_or(|methods| methods.iter().any(|it| it == "client_secret_basic")),
        })
    }

    /// A place that the provider names. Whoever is reached over TLS leads nowhere without.
    fn place(&self, text: &str) -> Result<Url, NotKnown> {
        let url = Url::parse(text)
            .ok()
            .filter(|url| url.scheme() == "https" || url.scheme() == self.issuer.scheme());
        url.ok_or_else(|| {
            NotKnown::Provider("its discovery document leads nowhere, or without TLS".to_owned())
        })
    }

    /// Its keys; fetched anew when the one that is wanted is not among those that are known.
    pub(super) async fn keys(
        &self,
        wanted: Option<String>,
        now: OffsetDateTime,
    ) -> Result<Arc<JwkSet>, NotKnown> {
        let url = self.endpoints(now).await?.keys;
        let mut known = self.known.lock().await;
        if let Some((keys, at)) = &known.keys {
            let has_it = wanted.as_ref().is_none_or(|id| keys.find(id).is_some());
            if (has_it && now < *at + KEPT) || now < *at + AGAIN {
                return Ok(Arc::clone(keys));
            }
        }
        let keys: JwkSet = self.read(self.outbound.get(&url).await, "its keys")?;
        let keys = Arc::new(keys);
        known.keys = Some((Arc::clone(&keys), now));
        Ok(keys)
    }

    /// Exchanges a code for an ID token.
    pub(super) async fn redeem(
        &self,
        settings: &Settings,
        form: &[(&str, &str)],
        now: OffsetDateTime,
    ) -> Result<String, NotKnown> {
        let endpoints = self.endpoints(now).await?;
        let mut headers = vec![
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
            ("accept", "application/json".to_owned()),
        ];
        let mut pairs = form.to_vec();
        match &settings.client_secret {
            Some(secret) if endpoints.wants_basic => {
                headers.push(("authorization", basic(&settings.client_id, secret.reveal())));
            }
            Some(secret) => {
                pairs
                    .extend([("client_id", settings.client_id.as_str()), ("client_secret", secret.reveal())]);
            }
            None => pairs.push(("client_id", settings.client_id.as_str())),
        }
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let answer = self.outbound.post(&endpoints.token, &headers, body.into_bytes()).await;
        let redeemed: Redeemed = self.read(answer, "its token endpoint")?;
        Ok(redeemed.id_token)
    }

    fn read<T: DeserializeOwned>(
        &self,
        answer: Result<Answer, crate::outbound::Failure>,
        what: &str,
    ) -> Result<T, NotKnown> {
        let answer = answer.map_err(|error| NotKnown::Provider(format!("{what}: {error}")))?;
        if answer.status != 200 {
            let said: Said = serde_json::from_slice(&answer.body).unwrap_or_default();
            let words =
                [said.error, said.error_description].into_iter().flatten().collect::<Vec<_>>().join(": ");
            return Err(NotKnown::Provider(format!("{what}: status {} {}", answer.status, cut(&words))));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|_| NotKnown::Provider(format!("{what}: not what it should be")))
    }
}

/// RFC 6749 §2.3.1: both are form-encoded before they are joined.
fn basic(id: &str, secret: &str) -> String {
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", BASE64.encode(format!("{}:{}", encode(id), encode(secret)).as_bytes()))
}
