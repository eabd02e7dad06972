//! Signing in at an OpenID provider that the operator names (OpenID Connect Core 1.0): the authorization code flow with
//! PKCE, state and nonce. It needs nothing of the provider but discovery and its keys.
//!
//! Who comes back is known by issuer and subject. The first time she is found by her address, if the provider has
//! verified it and it is that of a user or of somebody invited; nobody gets an account merely by having one there.

mod id_token;
mod provider;

use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use data_encoding::BASE64URL_NOPAD;
use serde_json::json;
use time::{Duration, OffsetDateTime};
use url::Url;

use crate::domain::key::NoRandomness;
use crate::domain::session::Visitor;
use crate::domain::ticket::Ticket;
use crate::domain::user::{Login, Reach, User};
use crate::outbound::Outbound;
use crate::seal::Secret;
use crate::store::{PgConnection, StoreError, audit, identities, invitations, users};

use super::invitations::accept;
use super::sessions::Begun;
use super::sign_in::Refused;
use super::{Actor, NewUser, UserError, Users, enter, note_everywhere};

use provider::Provider;

/// How long somebody may be away at the provider.
const AWAY: Duration = Duration::minutes(10);

/// What the operator names.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The provider, as its tokens name it.
    pub issuer: Url,
    /// Who we are there.
    pub client_id: String,
    /// What proves it; `None`: a public client.
    pub client_secret: Option<Secret>,
}

/// Signs in at a provider. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Oidc {
    settings: Arc<Settings>,
    provider: Arc<Provider>,
    /// Where people come back to.
    redirect: String,
}

/// What is kept of somebody who is away at the provider: sealed, in her browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    state: String,
    nonce: String,
    verifier: String,
    next: String,
    since: i64,
}

/// Whom the provider says that she is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Names her there, for ever.
    pub subject: String,
    /// Her address, if the provider has verified it.
    pub email: Option<Login>,
    /// What she is called; may be empty.
    pub name: String,
}

/// Why somebody is not known.
#[derive(Debug, thiserror::Error)]
pub enum NotKnown {
    /// The provider does not answer, or not as it should.
    #[error("the provider does not answer as it should: {0}")]
    Provider(String),
    /// She, or the provider, said no.
    #[error("the provider did not let you in: {0}")]
    Denied(String),
    /// What came back is not what was sent away, or came too late.
    #[error("this sign-in was not begun here, or took too long; try again")]
    Stray,
    /// Nobody here is meant.
    #[error("nobody here has the address that the provider knows of you; ask to be invited")]
    NoAccount,
    /// See [`Refused`].
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl From<StoreError> for NotKnown {
    fn from(error: StoreError) -> NotKnown {
        NotKnown::Refused(error.into())
    }
}

impl From<NoRandomness> for NotKnown {
    fn from(error: NoRandomness) -> NotKnown {
        NotKnown::Refused(error.into())
    }
}

impl Away {
    /// As it is sealed.
    pub fn to_text(&self) -> String {
        let Away { state, nonce, verifier, next, since } = self;
        json!([state, nonce, verifier, next, since]).to_string()
    }

    /// Reads what [`Away::to_text`] wrote.
    pub fn parse(text: &str) -> Option<Away> {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        let part = |at: usize| value.get(at)?.as_str().map(str::to_owned);
        let since = value.get(4)?.as_i64()?;
        Some(Away { state: part(0)?, nonce: part(1)?, verifier: part(2)?, next: part(3)?, since })
    }

    /// The page that she wanted.
    pub fn next(&self) -> &str {
        &self.next
    }
}

impl Oidc {
    /// With a provider; people come back to `site`, which has no slash at its end.
    pub fn new(settings: Settings, outbound: Outbound, site: &str) -> Oidc {
        let provider = Arc::new(Provider::new(settings.issuer.clone(), outbound));
        Oidc { settings: Arc::new(settings), provider, redirect: format!("{site}/ui/oidc/callback") }
    }

    /// What the provider is called on a button.
    pub fn name(&self) -> &str {
        self.settings.issuer.host_str().unwrap_or_default()
    }

    /// The provider, as its tokens name it.
    pub fn issuer(&self) -> &str {
        self.provider.issuer()
    }

    /// Where to send somebody, and what to keep of her meanwhile.
    ///
    /// # Errors
    /// See [`NotKnown`].
    pub async fn begin(&self, next: &str, now: OffsetDateTime) -> Result<(Url, Away), NotKnown> {
        let random = || Ticket::generate().map(|ticket| ticket.reveal().to_owned());
        let away = Away {
            state: random()?,
            nonce: random()?,
            verifier: random()?,
            next: next.to_owned(),
            since: now.unix_timestamp(),
        };
        let mut url = self.provider.endpoints(now).await?.authorization;
        // RFC 7636 §4.2.
        let challenge =
            BASE64URL_NOPAD.encode(digest::digest(&digest::SHA256, away.verifier.as_bytes()).as_ref());
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &self.redirect)
            .append_pair("scope", "openid email profile")
            .append_pair("state", &away.state)
            .append_pair("nonce", &away.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok((url, away))
    }

    /// Who has come back, by what the provider's redirect says.
    ///
    /// # Errors
    /// See [`NotKnown`].
    pub async fn finish(&self, away: &Away, back: &Back, now: OffsetDateTime) -> Result<Identity, NotKnown> {
        let is_ours =
            constant_time::verify_slices_are_equal(away.state.as_bytes(), back.state.as_bytes()).is_ok();
        let in_time = now.unix_timestamp() < away.since + AWAY.whole_seconds();
        // RFC 9207: a provider that names itself must be ours.
        let is_theirs = back.issuer.is_empty() || back.issuer == self.provider.issuer();
        if !(is_ours && in_time && is_theirs) {
            return Err(NotKnown::Stray);
        }
        if !back.error.is_empty() {
            return Err(NotKnown::Denied(cut(&back.error)));
        }
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &back.code),
            ("redirect_uri", &self.redirect),
            ("code_verifier", &away.verifier),
        ];
        let token = self.provider.redeem(&self.settings, &form, now).await?;
        let wanted = id_token::Wanted {
            issuer: self.provider.issuer(),
            client_id: &self.settings.client_id,
            nonce: &away.nonce,
        };
        let keys = self.provider.keys(id_token::key_id(&token), now).await?;
        id_token::read(&token, &keys, &wanted, now).map_err(|why| NotKnown::Provider(why.to_string()))
    }
}

/// What the provider's redirect says.
#[derive(Debug, Clone, Default)]
pub struct Back {
    /// What is exchanged for a token.
    pub code: String,
    /// What we sent along.
    pub state: String,
    /// Who the provider is; empty: it does not say.
    pub issuer: String,
    /// Why not; empty: nothing is wrong.
    pub error: String,
}

/// Words of the provider, fit for a page and a log.
fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

impl Users {
    /// Lets in whom a provider has named.
    ///
    /// # Errors
    /// See [`NotKnown`].
    pub async fn sign_in_as(
        &self,
        issuer: &str,
        identity: &Identity,
        visitor: &Visitor,
        now: OffsetDateTime,
    ) -> Result<Begun, NotKnown> {
        let mut transaction = self.database.serve().begin().await.map_err(StoreError::from)?;
        let user = match identities::find(&mut transaction, issuer, &identity.subject).await? {
            Some(user) => user,
            None => adopt(&mut transaction, issuer, identity, visitor, now).await?,
        };
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(self.let_in(&user, "oidc", visitor, now).await?)
    }
}

/// Finds whom an identity belongs to that comes for the first time, and remembers it.
async fn adopt(
    connection: &mut PgConnection,
    issuer: &str,
    identity: &Identity,
    visitor: &Visitor,
    now: OffsetDateTime,
) -> Result<User, NotKnown> {
    let email = identity.email.as_ref().ok_or(NotKnown::NoAccount)?;
    let open = invitations::to_address(connection, email, now).await?;
    let user = match users::find_by_email(connection, email).await? {
        Some(known) => known.user,
        None => {
            let first = open.first().ok_or(NotKnown::NoAccount)?;
            let (name, reach) = (identity.name.clone(), Reach::Tenants);
            let new = NewUser { email: email.clone(), name, reach, password: None };
            let actor = Actor { name: format!("invitation {}", first.id), ip: Some(visitor.ip) };
            let entered = enter(connection, &actor, (first.tenant, first.role), new, now).await;
            entered.map_err(|error| match error {
                UserError::Store(error) => NotKnown::from(error),
                _ => NotKnown::NoAccount,
            })?
        }
    };
    let actor = Actor::user(user.id, visitor.ip);
    for invitation in &open {
        invitations::accept(connection, invitation.tenant, invitation.id, now).await?;
        accept(connection, invitation, &user, &actor, now).await?;
    }
    identities::insert(connection, issuer, &identity.subject, user.id, now).await?;
    let details = audit::made(json!({ "issuer": issuer }));
    note_everywhere(connection, &actor, ("user.identity", user.id), details, now).await?;
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_somebody_away_reads_back() {
        let part = |text: &str| text.to_owned();
        let away =
            Away { state: part("s"), nonce: part("n"), verifier: part("v"), next: part("/ui/\"x"), since: 7 };
        assert_eq!(Away::parse(&away.to_text()), Some(away));
        assert_eq!(Away::parse("[]"), None);
        assert_eq!(Away::parse("x"), None);
    }
}
