//! Tenants' relays. Credentials are sealed before they are stored, and opened only for delivery.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::domain::handling::Transport;
use crate::domain::id::{RelayId, TenantId};
use crate::domain::relay::{Auth, DEFAULT_CONNECTIONS, Endpoint, Grant, Hop, OAuth, Relay, TlsMode};
use crate::seal::{NoRandomness, Secret, Subkey};
use crate::store::audit::{self, Details, Entry};
use crate::store::relays::{self, StoredRelay};
use crate::store::revisions::{self, Revised};
use crate::store::{Database, PgConnection, StoreError};

use super::Actor;

/// A relay to make.
#[derive(Debug, Clone)]
pub struct NewRelay {
    /// What its owner calls it.
    pub name: String,
    /// Where it leads; already checked.
    pub hop: Hop,
    /// Only mail of this stream.
    pub match_stream: Option<String>,
    /// Only mail to this recipient domain, as A-labels.
    pub match_domain: Option<String>,
}

/// Why there is no relay.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The tenant has one for the same mail.
    #[error("there is a relay for the same stream and domain")]
    Conflict,
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a relay.
///
/// # Errors
/// See [`RelayError`].
pub async fn create(
    database: &Database,
    seal: &Subkey,
    actor: &Actor,
    tenant: TenantId,
    new: NewRelay,
    now: OffsetDateTime,
) -> Result<StoredRelay, RelayError> {
    let id = RelayId::new(now);
    let (route, endpoint) = written(new.hop);
    let stored = StoredRelay {
        id,
        tenant,
        name: new.name,
        route: route.to_owned(),
        host: endpoint.host,
        port: endpoint.port.into(),
        tls: endpoint.tls.as_str().to_owned(),
        auth_sealed: seal_auth(seal, id, &endpoint.auth)?,
        match_stream: new.match_stream,
        match_domain: new.match_domain,
        max_connections: endpoint.max_connections.into(),
        created_at: now,
    };
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    match relays::insert(&mut transaction, &stored).await {
        Err(StoreError::Conflict(_)) => return Err(RelayError::Conflict),
        other => other?,
    }
    changed(&mut transaction, actor, &stored, "relay.create", audit::made(shown(&stored)), now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(stored)
}

/// Deletes a relay. False: the tenant has no such relay.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    id: RelayId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let mut transaction = database.serve().begin().await?;
    let Some(stored) = relays::find(&mut transaction, tenant, id).await? else { return Ok(false) };
    relays::delete(&mut transaction, tenant, id).await?;
    changed(&mut transaction, actor, &stored, "relay.delete", audit::removed(shown(&stored)), now).await?;
    transaction.commit().await?;
    Ok(true)
}

/// All tenants' relays, ready to be used. One whose credentials do not open is left out, and said aloud: mail
/// then goes the installation's own way.
///
/// # Errors
/// See [`StoreError`].
pub async fn open_all(database: &Database, seal: &Subkey) -> Result<Vec<Relay>, StoreError> {
    let mut connection = database.serve().acquire().await?;
    let stored = relays::of_all_tenants(&mut connection).await?;
    Ok(stored.into_iter().filter_map(|relay| open(seal, relay)).collect())
}

fn open(seal: &Subkey, stored: StoredRelay) -> Option<Relay> {
    let owner = stored.id.to_string();
    let auth = match &stored.auth_sealed {
        None => Auth::None,
        Some(sealed) => match seal.open(&owner, sealed).ok().and_then(|clear| auth_from_json(&clear)) {
            Some(auth) => auth,
            None => {
                tracing::error!(relay.id = owner, "the relay's credentials do not open; it is not used");
                return None;
            }
        },
    };
    let endpoint = Endpoint {
        host: stored.host,
        port: u16::try_from(stored.port).ok()?,
        tls: TlsMode::parse(&stored.tls)?,
        auth,
        max_connections: u16::try_from(stored.max_connections).ok()?,
    };
    Some(Relay {
        id: stored.id,
        tenant: stored.tenant,
        name: stored.name,
        hop: read(&stored.route, endpoint),
        match_stream: stored.match_stream,
        match_domain: stored.match_domain,
        created_at: stored.created_at,
    })
}

/// The name of the way in the API and the database, to the recipient's own servers.
pub const DIRECT: &str = "direct";
/// The same, through a server.
pub const SMTP: &str = "smtp";

/// How a hop is stored: its route, and what there is of an endpoint.
fn written(hop: Hop) -> (&'static str, Endpoint) {
    match hop {
        Hop::Kept(endpoint) | Hop::Relay(endpoint) => (SMTP, endpoint),
        Hop::Direct(transport) => {
            let tls = match transport {
                Transport::AsOffered => TlsMode::Opportunistic,
                Transport::RequireTls => TlsMode::Required,
            };
            let (host, auth) = (String::new(), Auth::None);
            (DIRECT, Endpoint { host, port: 25, tls, auth, max_connections: DEFAULT_CONNECTIONS })
        }
    }
}

/// Reads what [`written`] wrote.
fn read(route: &str, endpoint: Endpoint) -> Hop {
    match (route, endpoint.tls) {
        (DIRECT, TlsMode::Required) => Hop::Direct(Transport::RequireTls),
        (DIRECT, _) => Hop::Direct(Transport::AsOffered),
        _ => Hop::Relay(endpoint),
    }
}

fn seal_auth(seal: &Subkey, id: RelayId, auth: &Auth) -> Result<Option<Vec<u8>>, NoRandomness> {
    let clear = match auth {
        Auth::None => return Ok(None),
        Auth::Password { username, password } => {
            json!({ "type": "password", "username": username, "password": password.reveal() })
        }
        Auth::XOAuth2(oauth) => oauth_to_json(oauth),
    };
    seal.seal(&id.to_string(), clear.to_string().as_bytes()).map(Some)
}

fn oauth_to_json(oauth: &OAuth) -> Value {
    let mut value = json!({
        "type": "xoauth2",
        "username": oauth.username,
        "token_url": oauth.token_url,
        "scope": oauth.scope,
    });
    match &oauth.grant {
        Grant::RefreshToken { client_id, client_secret, refresh_token } => {
            value["client_id"] = client_id.as_str().into();
            value["client_secret"] = client_secret.reveal().into();
            value["refresh_token"] = refresh_token.reveal().into();
        }
        Grant::ClientCredentials { client_id, client_secret } => {
            value["client_id"] = client_id.as_str().into();
            value["client_secret"] = client_secret.reveal().into();
        }
        Grant::ServiceAccount { email, private_key } => {
            value["email"] = email.as_str().into();
            value["private_key"] = private_key.reveal().into();
        }
    }
    value
}

fn auth_from_json(clear: &[u8]) -> Option<Auth> {
    let value: Value = serde_json::from_slice(clear).ok()?;
    let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
    let secret = |name: &str| text(name).map(Secret::new);
    if text("type")? == "password" {
        return Some(Auth::Password { username: text("username")?, password: secret("password")? });
    }
    let grant = match (secret("private_key"), secret("refresh_token")) {
        (Some(private_key), _) => Grant::ServiceAccount { email: text("email")?, private_key },
        (None, Some(refresh_token)) => Grant::RefreshToken {
            client_id: text("client_id")?,
            client_secret: secret("client_secret")?,
            refresh_token,
        },
        (None, None) => Grant::ClientCredentials {
            client_id: text("client_id")?,
            client_secret: secret("client_secret")?,
        },
    };
    Some(Auth::XOAuth2(OAuth {
        username: text("username")?,
        token_url: text("token_url")?,
        scope: text("scope"),
        grant,
    }))
}

/// As the audit log tells it.
fn shown(relay: &StoredRelay) -> Value {
    json!({
        "name": relay.name, "route": relay.route, "host": relay.host, "port": relay.port, "tls": relay.tls
    })
}

async fn changed(
    connection: &mut PgConnection,
    actor: &Actor,
    relay: &StoredRelay,
    action: &'static str,
    details: Details,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let target = relay.id.to_string();
    let entry = Entry { actor: &actor.name, ip: actor.ip, action, target: &target, details };
    audit::append(connection, relay.tenant, entry, now).await?;
    revisions::raise(connection, Revised::Relays).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{MasterKey, Purpose};

    #[test]
    fn credentials_of_every_kind_open_again_and_are_not_readable_meanwhile() {
        let seal = MasterKey::generate().expect("randomness").derive(Purpose::Seal);
        let id = RelayId::new(OffsetDateTime::UNIX_EPOCH);
        let oauth = |grant| {
            Auth::XOAuth2(OAuth {
                username: "me@acme.example".into(),
                token_url: "https://oauth.example/token".into(),
                scope: Some("mail".into()),
                grant,
            })
        };
        let (client_id, secret) = ("client".to_owned(), Secret::new("hunter2"));
        let cases = [
            Auth::Password { username: "me".into(), password: secret.clone() },
            oauth(Grant::RefreshToken {
                client_id: client_id.clone(),
                client_secret: secret.clone(),
                refresh_token: Secret::new("refresh"),
            }),
            oauth(Grant::ClientCredentials { client_id, client_secret: secret.clone() }),
            oauth(Grant::ServiceAccount { email: "robot@acme.example".into(), private_key: secret }),
        ];
        for auth in cases {
            let sealed = seal_auth(&seal, id, &auth).expect("randomness").expect("there are credentials");
            assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
            let clear = seal.open(&id.to_string(), &sealed).expect("opens");
            assert_eq!(auth_from_json(&clear), Some(auth));
        }
    }
}
