//! Access tokens for XOAUTH2: fetched when needed, kept until shortly before they expire, one fetch at a time
//! for each account.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration as StdDuration;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;

use crate::domain::relay::{Grant, OAuth};
use crate::seal::Secret;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum NoToken {
    /// The token endpoint cannot be reached, or answers nonsense.
    #[error("the token endpoint does not answer as it should ({0})")]
    Endpoint(String),
    /// It answered with an error (RFC 6749 §5.2).
    #[error("the token endpoint refused: {0}")]
    Refused(String),
    /// The service account's key cannot sign.
    #[error("the service account's key is no RSA key in PEM")]
    Key,
}

/// Fetches and keeps tokens. One for the process.
#[derive(Debug)]
pub struct Tokens {
    client: reqwest::Client,
    accounts: std::sync::Mutex<HashMap<Account, Slot>>,
}

/// SHA-256 over all that a token depends on, the secrets too: who only names another tenant's account must not be
/// given its token.
type Account = [u8; 32];
type Slot = Arc<Mutex<Option<Token>>>;

#[derive(Debug, Clone)]
struct Token {
    text: Secret,
    until: OffsetDateTime,
}

/// A token is not used in its last minute.
const MARGIN: Duration = Duration::minutes(1);
/// How long fetching one may take.
const FETCH_TIMEOUT: StdDuration = StdDuration::from_secs(15);
/// What is assumed when the answer does not say (RFC 6749 §5.1: recommended, not required).
const DEFAULT_LIFE: i64 = 300;
/// RFC 7523 §3: an assertion's life; Google allows an hour.
const ASSERTION_LIFE: Duration = Duration::minutes(10);
/// The most that is read of an answer.
const ANSWER_LIMIT: usize = 64 * 1024;

impl Tokens {
    /// Nothing fetched yet.
    ///
    /// # Errors
    /// The HTTP client cannot be built: no trusted roots.
    pub fn new() -> Result<Tokens, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(FETCH_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Tokens { client, accounts: std::sync::Mutex::default() })
    }

    /// A token that is valid for at least a minute.
    ///
    /// # Errors
    /// See [`NoToken`].
    pub async fn get(&self, oauth: &OAuth, now: OffsetDateTime) -> Result<Secret, NoToken> {
        let slot = self.slot(oauth);
        // Held while fetching: couriers of one relay that start together fetch one token.
        let mut token = slot.lock().await;
        if let Some(kept) = token.as_ref().filter(|kept| now < kept.until) {
            return Ok(kept.text.clone());
        }
        let fetched = self.fetch(oauth, now).await?;
        let text = fetched.text.clone();
        *token = Some(fetched);
        Ok(text)
    }

    fn slot(&self, oauth: &OAuth) -> Slot {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(accounts.entry(account(oauth)).or_default())
    }

    async fn fetch(&self, oauth: &OAuth, now: OffsetDateTime) -> Result<Token, NoToken> {
        let form = form(oauth, now)?;
        let broken = |error: reqwest::Error| NoToken::Endpoint(error.without_url().to_string());
        let answer = self.client.post(&oauth.token_url).form(&form).send().await.map_err(broken)?;
        let status = answer.status();
        let body = read_bounded(answer).await?;
        if !status.is_success() {
            let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
            return Err(NoToken::Refused(refusal.words(status)));
        }
        let granted: Granted = serde_json::from_slice(&body)
            .map_err(|_| NoToken::Endpoint("its answer holds no access_token".to_owned()))?;
        let life = Duration::seconds(granted.expires_in.unwrap_or(DEFAULT_LIFE).clamp(0, 86_400));
        Ok(Token { text: Secret::new(granted.access_token), until: now + (life - MARGIN).max(life / 2) })
    }
}

async fn read_bounded(mut answer: reqwest::Response) -> Result<Vec<u8>, NoToken> {
    let mut body = Vec::new();
    while let Some(chunk) =
        answer.chunk().await.map_err(|error| NoToken::Endpoint(error.without_url().to_string()))?
    {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_LIMIT {
            return Err(NoToken::Endpoint("its answer is too long".to_owned()));
        }
    }
    Ok(body)
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<i64>,
}

#[derive(Deserialize, Default)]
struct Refusal {
    error: Option<String>,
    error_description: Option<String>,
}

impl Refusal {
    fn words(self, status: reqwest::StatusCode) -> String {
        let error = self.error.unwrap_or_else(|| status.to_string());
        match self.error_description {
            Some(description) => format!("{error} ({description})"),
            None => error,
        }
    }
}

fn account(oauth: &OAuth) -> Account {
    let scope = oauth.scope.as_deref().unwrap_or_default();
    let (kind, identity, secrets) = match &oauth.grant {
        Grant::RefreshToken { client_id, client_secret, refresh_token } => {
            ("refresh", client_id, [client_secret.reveal(), refresh_token.reveal()])
        }
        Grant::ClientCredentials { client_id, client_secret } => {
            ("client", client_id, [client_secret.reveal(), ""])
        }
        Grant::ServiceAccount { email, private_key } => ("service", email, [private_key.reveal(), ""]),
    };
    let mut digest = Context::new(&SHA256);
    for part in [&oauth.token_url, &oauth.username, scope, kind, identity, secrets[0], secrets[1]] {
        // Each with its length, so that no two accounts run together alike.
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let mut account = [0u8; 32];
    account.copy_from_slice(digest.finish().as_ref());
    account
}

fn form(oauth: &OAuth, now: OffsetDateTime) -> Result<Vec<(&'static str, String)>, NoToken> {
    let mut form = match &oauth.grant {
        Grant::RefreshToken { client_id, client_secret, refresh_token } => vec![
            ("grant_type", "refresh_token".to_owned()),
            ("client_id", client_id.clone()),
            ("client_secret", client_secret.reveal().to_owned()),
            ("refresh_token", refresh_token.reveal().to_owned()),
        ],
        Grant::ClientCredentials { client_id, client_secret } => vec![
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", client_id.clone()),
            ("client_secret", client_secret.reveal().to_owned()),
        ],
        Grant::ServiceAccount { email, private_key } => {
            return Ok(vec![
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()),
                ("assertion", assertion(oauth, email, private_key, now)?),
            ]);
        }
    };
    if let Some(scope) = &oauth.scope {
        form.push(("scope", scope.clone()));
    }
    Ok(form)
}

/// RFC 7523 §2.1, as Google's service accounts want it: the mailbox is the subject.
fn assertion(
    oauth: &OAuth,
    email: &str,
    private_key: &Secret,
    now: OffsetDateTime,
) -> Result<String, NoToken> {
    #[derive(Serialize)]
    struct Claims<'a> {
        iss: &'a str,
        sub: &'a str,
        aud: &'a str,
        scope: &'a str,
        iat: i64,
        exp: i64,
    }
    let claims = Claims {
        iss: email,
        sub: &oauth.username,
        aud: &oauth.token_url,
        scope: oauth.scope.as_deref().unwrap_or("https://mail.google.com/"),
        iat: now.unix_timestamp(),
        exp: (now + ASSERTION_LIFE).unix_timestamp(),
    };
    let key =
        jsonwebtoken::EncodingKey::from_rsa_pem(private_key.reveal().as_bytes()).map_err(|_| NoToken::Key)?;
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
    jsonwebtoken::encode(&header, &claims, &key).map_err(|_| NoToken::Key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_the_secrets_gets_the_token() {
        let account_with = |username: &str, client_secret: &str, refresh_token: &str| {
            account(&OAuth {
                username: username.to_owned(),
                token_url: "https://oauth.example/token".to_owned(),
                scope: None,
                grant: Grant::RefreshToken {
                    client_id: "shop".to_owned(),
                    client_secret: Secret::new(client_secret),
                    refresh_token: Secret::new(refresh_token),
                },
            })
        };
        let owner = account_with("a@acme.example", "secret", "token");
        assert_eq!(owner, account_with("a@acme.example", "secret", "token"));
        assert_ne!(owner, account_with("a@acme.example", "guess", "token"));
        assert_ne!(owner, account_with("a@acme.example", "secret", "guess"));
        assert_ne!(owner, account_with("a@acme.example", "secrett", "oken"));
        assert_ne!(owner, account_with("b@acme.example", "secret", "token"));
    }
}
