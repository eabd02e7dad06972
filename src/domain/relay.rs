//! Where mail goes next: the installation's route and tenants' relays.

use std::fmt;

use time::OffsetDateTime;
use url::Url;

use crate::seal::Secret;

use super::handling::Transport;
use super::id::{RelayId, TenantId};

/// The installation's route, from `POSTROAD_ROUTE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefaultRoute {
    /// To a private listener that keeps the mail: nothing leaves the machine.
    Capture,
    /// To the recipient's MX.
    Direct,
    /// Through a relay.
    Relay(Endpoint),
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hop {
    /// To the private listener that keeps mail. Nothing is on the way, so that nothing is demanded of it.
    Kept(Endpoint),
    /// Through a server that hands it on.
    Relay(Endpoint),
    /// To the servers the recipient's domain names (MX).
    Direct(Transport),
}

/// An SMTP server mail is handed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address, as it is looked up and as its certificate must name it.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: TlsMode,
    /// How we show who we are.
    pub auth: Auth,
    /// The most connections to it, over all processes.
    pub max_connections: u16,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// In clear. Never with credentials.
    None,
    /// STARTTLS if offered, whatever the certificate.
    Opportunistic,
    /// STARTTLS with a certificate that verifies, or nothing.
    Required,
    /// TLS from the first octet (RFC 8314), with a certificate that verifies.
    Implicit,
}

impl TlsMode {
    const ALL: [TlsMode; 4] = [TlsMode::None, TlsMode::Opportunistic, TlsMode::Required, TlsMode::Implicit];

    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            TlsMode::None => "none",
            TlsMode::Opportunistic => "opportunistic",
            TlsMode::Required => "required",
            TlsMode::Implicit => "implicit",
        }
    }

    /// Reads what [`TlsMode::as_str`] writes.
    pub fn parse(text: &str) -> Option<TlsMode> {
        TlsMode::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}

/// How we show a relay who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    None,
    /// User name and password, by PLAIN or LOGIN, whichever is offered.
    Password {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
    /// XOAUTH2 with a token fetched from `token_url`.
    XOAuth2(OAuth),
}

/// How tokens for XOAUTH2 are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth {
    /// The mailbox that sends.
    pub username: String,
    /// Where tokens are fetched (RFC 6749 §3.2): https, or http on loopback.
    pub token_url: String,
    /// Asked for when the grant has no scope of its own.
    pub scope: Option<String>,
    /// What the token is given for.
    pub grant: Grant,
}

/// What an access token is given for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// A refresh token (RFC 6749 §6).
    RefreshToken {
        /// The application.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
        /// What the user's consent gave.
        refresh_token: Secret,
    },
    /// The application's own right (RFC 6749 §4.4), as Microsoft 365 grants it.
    ClientCredentials {
        /// The application.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
    },
    /// A service account's signed assertion (RFC 7523), as Google grants it.
    ServiceAccount {
        /// The account's address: `iss`.
        email: String,
        /// Its RSA key, PEM.
        private_key: Secret,
    },
}

/// A tenant's route, more specific ones first: by stream and domain, by stream, by domain, for all.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Its name in the API.
    pub id: RelayId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What its owner calls it.
    pub name: String,
    /// Where it leads.
    pub hop: Hop,
    /// Only mail of this stream.
    pub match_stream: Option<String>,
    /// Only mail to this recipient domain, as A-labels.
    pub match_domain: Option<String>,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

impl Relay {
    /// How specifically it matches mail of `stream` to `domain`; `None`: not at all.
    pub fn rank(&self, stream: &str, domain: &str) -> Option<u8> {
        let by_stream = match &self.match_stream {
            Some(wanted) if wanted != stream => return None,
            wanted => u8::from(wanted.is_some()),
        };
        let by_domain = match &self.match_domain {
            Some(wanted) if wanted != domain => return None,
            wanted => u8::from(wanted.is_some()),
        };
        Some(2 * by_stream + by_domain)
    }
}

/// Connections to one relay, unless it says otherwise.
pub const DEFAULT_CONNECTIONS: u16 = 16;

/// Why a text is no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRoute(String);

fn bad(reason: impl fmt::Display) -> BadRoute {
    BadRoute(reason.to_string())
}

impl DefaultRoute {
    /// Reads `capture`, `direct`, `smtp://…` or `smtps://…`.
    ///
    /// # Errors
    /// A sentence that names what is wrong. It never holds the password.
    pub fn parse(text: &str) -> Result<DefaultRoute, BadRoute> {
        match text {
            "capture" => Ok(DefaultRoute::Capture),
            "direct" => Ok(DefaultRoute::Direct),
            url => Endpoint::parse(url).map(DefaultRoute::Relay),
        }
    }
}

impl Endpoint {
    /// Reads `smtp://user:password@host:port?tls=…&connections=…` or `smtps://…`. For XOAUTH2 there is no
    /// password, and `auth=xoauth2&token_url=…&client_id=…&client_secret=…&refresh_token=…`.
    ///
    /// # Errors
    /// A sentence that names what is wrong. It never holds the password.
    pub fn parse(text: &str) -> Result<Endpoint, BadRoute> {
        let url = Url::parse(text)
            .map_err(|_| bad("a route is capture, direct, smtp://host:port or smtps://host:port"))?;
        let query: std::collections::HashMap<String, String> = url.query_pairs().into_owned().collect();
        let host =
            url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("the route names no host"))?;
        let auth = auth_of(&url, &query)?;
        let tls = tls_of(&url, query.get("tls").map(String::as_str), &auth)?;
        let default_port = if tls == TlsMode::Implicit { 465 } else { 25 };
        let endpoint = Endpoint {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(default_port),
            tls,
            auth,
            max_connections: connections_of(query.get("connections"))?,
        };
        endpoint.check()?;
        Ok(endpoint)
    }

    /// What processes call it among themselves when they share its connections out. Who uses it with another
    /// user name has another limit there.
    pub fn site_name(&self) -> String {
        let user = match &self.auth {
            Auth::None => "",
            Auth::Password { username, .. } => username,
            Auth::XOAuth2(oauth) => &oauth.username,
        };
        let at = if user.is_empty() { "" } else { "@" };
        format!("{user}{at}{}:{}", self.host, self.port)
    }

    /// What every endpoint must obey, from whichever door it came.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub fn check(&self) -> Result<(), BadRoute> {
        if self.tls == TlsMode::None && self.auth != Auth::None {
            // Fault T4: credentials never go over a connection in clear.
            return Err(bad("a relay with credentials needs TLS: tls=required, or smtps://"));
        }
        if let Auth::XOAuth2(oauth) = &self.auth {
            check_token_url(&oauth.token_url)?;
        }
        Ok(())
    }
}

fn check_token_url(text: &str) -> Result<(), BadRoute> {
    let url = Url::parse(text).map_err(|_| bad("token_url is no URL"))?;
    let loopback = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    match url.scheme() {
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        _ => Err(bad("token_url must be https")),
    }
}

fn tls_of(url: &Url, wanted: Option<&str>, auth: &Auth) -> Result<TlsMode, BadRoute> {
    match (url.scheme(), wanted) {
        ("smtps", None) => Ok(TlsMode::Implicit),
        ("smtps", Some(_)) => Err(bad("smtps:// is TLS from the start: leave tls= away")),
        // With credentials the safe mode is the default: they are never sent in clear.
        ("smtp", None) if *auth != Auth::None => Ok(TlsMode::Required),
        ("smtp", None) => Ok(TlsMode::Opportunistic),
        ("smtp", Some(mode)) => TlsMode::parse(mode)
            .filter(|mode| *mode != TlsMode::Implicit)
            .ok_or_else(|| bad("tls is none, opportunistic or required")),
        _ => Err(bad("a route is capture, direct, smtp://host:port or smtps://host:port")),
    }
}

fn connections_of(text: Option<&String>) -> Result<u16, BadRoute> {
    let Some(text) = text else { return Ok(DEFAULT_CONNECTIONS) };
    text.parse().ok().filter(|n| (1..=1000).contains(n)).ok_or_else(|| bad("connections is 1 to 1000"))
}

fn auth_of(url: &Url, query: &std::collections::HashMap<String, String>) -> Result<Auth, BadRoute> {
    let username = decoded(url.username())?;
    let password = url.password().map(decoded).transpose()?;
    match (query.get("auth").map(String::as_str), username.is_empty(), password) {
        (None, true, None) => Ok(Auth::None),
        (None | Some("password"), false, Some(password)) => {
            Ok(Auth::Password { username, password: Secret::new(password) })
        }
        (Some("xoauth2"), false, None) => oauth_of(username, query).map(Auth::XOAuth2),
        (Some("xoauth2"), _, _) => Err(bad("xoauth2 wants a user and no password in the URL")),
        _ => Err(bad("give both user and password, or neither")),
    }
}

fn oauth_of(username: String, query: &std::collections::HashMap<String, String>) -> Result<OAuth, BadRoute> {
    let wanted = |name: &str| query.get(name).cloned().ok_or_else(|| bad(format!("xoauth2 wants {name}")));
    let (client_id, client_secret) = (wanted("client_id")?, Secret::new(wanted("client_secret")?));
    let grant = match query.get("refresh_token") {
        Some(token) => Grant::RefreshToken { client_id, client_secret, refresh_token: Secret::new(token) },
        None => Grant::ClientCredentials { client_id, client_secret },
    };
    Ok(OAuth { username, token_url: wanted("token_url")?, scope: query.get("scope").cloned(), grant })
}

/// User and password are percent-encoded in a URL (RFC 3986 §3.2.1).
fn decoded(text: &str) -> Result<String, BadRoute> {
    let bytes = percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    String::from_utf8(bytes).map_err(|_| bad("user and password must be UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(text: &str) -> Endpoint {
        Endpoint::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn routes_are_read() {
        assert_eq!(DefaultRoute::parse("capture"), Ok(DefaultRoute::Capture));
        assert_eq!(DefaultRoute::parse("direct"), Ok(DefaultRoute::Direct));

        let plain = relay("smtp://127.0.0.1:2500");
        assert_eq!((plain.host.as_str(), plain.port, plain.tls), ("127.0.0.1", 2500, TlsMode::Opportunistic));
        assert_eq!(relay("smtp://[::1]:2500").host, "::1");
        assert_eq!(relay("smtps://mail.example").port, 465);
        assert_eq!(relay("smtp://mail.example?tls=required&connections=4").max_connections, 4);

        let authed = relay("smtp://us%40er:p%3Ass@mail.example:587");
        assert_eq!(authed.tls, TlsMode::Required, "credentials make TLS required");
        let Auth::Password { username, password } = authed.auth else { panic!("password expected") };
        assert_eq!((username.as_str(), password.reveal()), ("us@er", "p:ss"));
    }

    #[test]
    fn xoauth2_is_read() {
        let url = "smtp://me%40acme.example@smtp.gmail.example:587?auth=xoauth2&token_url=https%3A%2F%2Foauth.example%2Ftoken&client_id=i&client_secret=s&refresh_token=r";
        let Auth::XOAuth2(oauth) = relay(url).auth else { panic!("xoauth2 expected") };
        assert_eq!(oauth.username, "me@acme.example");
        assert!(matches!(oauth.grant, Grant::RefreshToken { .. }));
    }

    #[test]
    fn bad_routes_say_why_and_never_show_the_password() {
        let cases = [
            "nonsense",
            "http://host",
            "smtp://",
            "smtp://user@host",
            "smtp://user:hunter2@host?tls=none",
            "smtp://host?tls=maybe",
            "smtps://host?tls=none",
            "smtp://host?connections=0",
            "smtp://u@host?auth=xoauth2",
            "smtp://u@host?auth=xoauth2&token_url=http%3A%2F%2Fevil.example&client_id=i&client_secret=hunter2",
        ];
        for case in cases {
            let error = Endpoint::parse(case).expect_err(case).to_string();
            assert!(!error.is_empty() && !error.contains("hunter2"), "{case}: {error}");
        }
    }

    #[test]
    fn the_most_specific_relay_wins() {
        let relay = |stream: Option<&str>, domain: Option<&str>| Relay {
            id: RelayId::new(OffsetDateTime::UNIX_EPOCH),
            tenant: TenantId::new(OffsetDateTime::UNIX_EPOCH),
            name: String::new(),
            hop: Hop::Relay(relay("smtp://host")),
            match_stream: stream.map(str::to_owned),
            match_domain: domain.map(str::to_owned),
            created_at: OffsetDateTime::UNIX_EPOCH,
        };
        assert_eq!(relay(None, None).rank("bulk", "a.example"), Some(0));
        assert_eq!(relay(None, Some("a.example")).rank("bulk", "a.example"), Some(1));
        assert_eq!(relay(Some("bulk"), None).rank("bulk", "a.example"), Some(2));
        assert_eq!(relay(Some("bulk"), Some("a.example")).rank("bulk", "a.example"), Some(3));
        assert_eq!(relay(Some("bulk"), None).rank("other", "a.example"), None);
    }
}
