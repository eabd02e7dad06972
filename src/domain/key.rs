//! API keys: what they look like, what they may do. Nothing here knows how a request carries one.
//!
//! A key is 256 random bits with a recognisable prefix and a checksum, so that scanners find leaked ones and
//! a mistyped one is told apart from a revoked one. Only its SHA-256 is ever stored.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use aws_lc_rs::digest;
use data_encoding::BASE32_NOPAD;
use ipnet::IpNet;
use time::OffsetDateTime;

use super::access_key::AccessKeyId;
use super::id::{KeyId, TenantId};

/// One thing a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Submit mail.
    Send,
    /// See messages, events and statistics.
    Read,
    /// Change everything of its own tenant.
    Manage,
    /// Run the installation: tenants, addresses, nodes.
    Operate,
}

impl Scope {
    /// All, in the order they are shown.
    pub const ALL: [Scope; 4] = [Scope::Send, Scope::Read, Scope::Manage, Scope::Operate];

    /// Its name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Send => "send",
            Scope::Read => "read",
            Scope::Manage => "manage",
            Scope::Operate => "operate",
        }
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Scope, UnknownScope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(UnknownScope)
    }
}

/// Not the name of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a scope: send, read, manage or operate")]
pub struct UnknownScope;

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope there is.
    pub fn all() -> Scopes {
        Scope::ALL.into_iter().collect()
    }

    /// Whether `scope` is in it.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// Whether everything in `other` is in it: nobody grants what he does not have.
    pub fn covers(self, other: Scopes) -> bool {
        self.0 & other.0 == other.0
    }

    /// Its members, in the order they are shown.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Scopes {
        Scopes(scopes.into_iter().fold(0, |set, scope| set | 1 << scope as u8))
    }
}

/// Whether what a key sends leaves the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyMode {
    /// Mail is sent.
    Live,
    /// Mail is checked and stored, never sent.
    Test,
}

/// The secret itself, in memory only for as long as it takes to hash or show it. Its `Debug` prints nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret(String);

/// Length of the random part: 32 bytes in base 32.
const RANDOM_LEN: usize = 52;
const CHECKSUM_LEN: usize = 6;

impl KeySecret {
    /// A new random key.
    ///
    /// # Errors
    /// Only when the operating system has no randomness to give.
    pub fn generate(mode: KeyMode) -> Result<KeySecret, NoRandomness> {
        let mut random = [0u8; 32];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| NoRandomness)?;
        let prefix = match mode {
            KeyMode::Live => "pr_live_",
            KeyMode::Test => "pr_test_",
        };
        let body = format!("{prefix}{}", BASE32_NOPAD.encode(&random).to_ascii_lowercase());
        let checksum = checksum(&body);
        Ok(KeySecret(body + &checksum))
    }

    /// What a caller sent, or the operator set in the environment: any text.
    pub fn given(text: &str) -> KeySecret {
        KeySecret(text.to_owned())
    }

    /// What the database knows it by.
    pub fn hash(&self) -> KeyHash {
        let digest = digest::digest(&digest::SHA256, self.0.as_bytes());
        let mut hash = [0u8; 32];
        hash.copy_from_slice(digest.as_ref());
        KeyHash(hash)
    }

    /// The first characters, to recognise it by in lists.
    pub fn hint(&self) -> String {
        let shown = if self.is_ours() { 12 } else { 3 };
        self.0.chars().take(shown).collect::<String>() + "…"
    }

    /// Whether it has our form and its checksum is right. A key set by the operator need not.
    pub fn is_ours(&self) -> bool {
        let Some((body, sum)) =
            self.0.len().checked_sub(CHECKSUM_LEN).and_then(|at| self.0.split_at_checked(at))
        else {
            return false;
        };
        (body.starts_with("pr_live_") || body.starts_with("pr_test_"))
            && body.len() == 8 + RANDOM_LEN
            && checksum(body) == sum
    }

    /// The key in clear, to be shown once to the one who made it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(…)")
    }
}

fn checksum(body: &str) -> String {
    let digest = digest::digest(&digest::SHA256, body.as_bytes());
    let text = BASE32_NOPAD.encode(&digest.as_ref()[..5]).to_ascii_lowercase();
    text[..CHECKSUM_LEN].to_owned()
}

/// The operating system gave no randomness.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub struct NoRandomness;

/// SHA-256 of a key. With 256 random bits behind it, no slow hash is needed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// By what a caller's key is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyName {
    /// The key itself was shown.
    Shown(KeyHash),
    /// Its public half was named, and a signature made with the other.
    Signing(AccessKeyId),
}

/// An API key as stored: everything but the secret.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its name in the API.
    pub id: KeyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What its owner calls it.
    pub name: String,
    /// The first characters of the secret.
    pub hint: String,
    /// What it may do.
    pub scopes: Scopes,
    /// Whether what it sends leaves the house.
    pub mode: KeyMode,
    /// Where and for what it may be used.
    pub limits: KeyLimits,
    /// Its public half, if it signs requests instead of being shown.
    pub access_key_id: Option<AccessKeyId>,
    /// Networks whose SMTP sessions need no login: they have this key.
    pub smtp_networks: Option<Vec<IpNet>>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was last used, to the minute.
    pub last_used_at: Option<OffsetDateTime>,
    /// When it was revoked.
    pub revoked_at: Option<OffsetDateTime>,
}

/// Restrictions of a key. `None` everywhere: none.
#[derive(Debug, Clone, Default)]
pub struct KeyLimits {
    /// From this moment on it is no key any more.
    pub expires_at: Option<OffsetDateTime>,
    /// Sender domains it may use, as A-labels.
    pub domains: Option<Vec<String>>,
    /// Streams it may use.
    pub streams: Option<Vec<String>>,
    /// Networks it may be used from.
    pub allow_ips: Option<Vec<IpNet>>,
    /// Requests a second; `None`: the installation's default.
    pub rate_per_second: Option<u32>,
}

impl KeyLimits {
    /// Whether the key is still valid at `now`.
    pub fn is_current(&self, now: OffsetDateTime) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether it may be used from `ip`. IPv4 in IPv6 clothes counts as IPv4.
    pub fn allows_ip(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.allow_ips.as_ref().is_none_or(|nets| nets.iter().any(|net| net.contains(&ip)))
    }

    /// Whether it may send as `domain`.
    pub fn allows_domain(&self, domain: &str) -> bool {
        self.domains.as_ref().is_none_or(|all| all.iter().any(|allowed| allowed.eq_ignore_ascii_case(domain)))
    }

    /// Whether it may use `stream`.
    pub fn allows_stream(&self, stream: &str) -> bool {
        self.streams.as_ref().is_none_or(|all| all.iter().any(|allowed| allowed == stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_key_is_recognised_and_a_mistyped_one_is_not() {
        let key = KeySecret::generate(KeyMode::Live).expect("randomness");
        assert!(key.is_ours());
        assert_eq!(key.reveal().len(), 66);

        let mut mistyped = key.reveal().to_owned();
        let last = mistyped.pop().expect("not empty");
        mistyped.push(if last == 'a' { 'b' } else { 'a' });
        assert!(!KeySecret::given(&mistyped).is_ours());
        assert!(!KeySecret::given("ä").is_ours());
    }

    #[test]
    fn two_keys_differ_and_debug_shows_neither() {
        let (one, two) = (KeySecret::generate(KeyMode::Test), KeySecret::generate(KeyMode::Test));
        let (one, two) = (one.expect("randomness"), two.expect("randomness"));
        assert_ne!(one.hash(), two.hash());
        assert!(one.reveal().starts_with("pr_test_"));
        assert_eq!(format!("{one:?}"), "KeySecret(…)");
    }

    #[test]
    fn nobody_covers_more_than_he_has() {
        let manager: Scopes = [Scope::Manage, Scope::Send].into_iter().collect();
        assert!(manager.covers([Scope::Send].into_iter().collect()));
        assert!(!manager.covers([Scope::Send, Scope::Operate].into_iter().collect()));
        assert!(Scopes::all().covers(manager));
    }

    #[test]
    fn limits_hold() {
        let limits = KeyLimits {
            expires_at: Some(datetime!(2026-01-02 0:00 UTC)),
            domains: Some(vec!["acme.example".into()]),
            streams: Some(vec!["transactional".into()]),
            allow_ips: Some(vec!["192.0.2.0/24".parse().expect("a network")]),
            rate_per_second: None,
        };
        assert!(limits.is_current(datetime!(2026-01-01 23:59:59 UTC)));
        assert!(!limits.is_current(datetime!(2026-01-02 0:00 UTC)));
        assert!(limits.allows_ip("::ffff:192.0.2.7".parse().expect("an address")));
        assert!(!limits.allows_ip("198.51.100.1".parse().expect("an address")));
        assert!(limits.allows_domain("ACME.example") && !limits.allows_domain("evil.example"));
        assert!(!limits.allows_stream("broadcast"));
    }
}
