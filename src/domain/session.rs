//! Signed-in browsers. A session lives while it is used, but not for ever, and ends at once when it is revoked.

use std::net::IpAddr;

use time::{Duration, OffsetDateTime};

use super::id::{SessionId, TenantId};
use super::user::{Role, User};

/// The longest life of a session, however it is used.
pub const LONGEST: Duration = Duration::days(14);
/// How long a session lives that is not used.
pub const IDLE: Duration = Duration::days(3);
/// How recent a proof must be for what is dangerous: changing factors, addresses, people.
pub const FRESH: Duration = Duration::minutes(30);

/// A signed-in browser.
#[derive(Debug, Clone)]
pub struct Session {
    /// Names it.
    pub id: SessionId,
    /// Whose it is.
    pub user: User,
    /// Whose dashboard it shows, if she has chosen.
    pub tenant: Option<TenantId>,
    /// How she proved who she is.
    pub method: String,
    /// From where.
    pub ip: Option<IpAddr>,
    /// With what, as it called itself.
    pub user_agent: String,
    /// When she signed in.
    pub created_at: OffsetDateTime,
    /// When she last proved who she is.
    pub proved_at: OffsetDateTime,
    /// When it was last used, to the minute.
    pub seen_at: OffsetDateTime,
    /// When it ends unless it is used.
    pub expires_at: OffsetDateTime,
}

impl Session {
    /// When it ends if it is used now and not again.
    pub fn end_if_used(&self, now: OffsetDateTime) -> OffsetDateTime {
        end(self.created_at, now)
    }

    /// Whether she has proved lately who she is.
    pub fn is_fresh(&self, now: OffsetDateTime) -> bool {
        now < self.proved_at + FRESH
    }
}

/// When a session ends that began at `began` and was last used at `used`.
pub fn end(began: OffsetDateTime, used: OffsetDateTime) -> OffsetDateTime {
    (used + IDLE).min(began + LONGEST)
}

/// A tenant that a person is a member of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub tenant: TenantId,
    /// What it is called.
    pub name: String,
    /// What she is there.
    pub role: Role,
}

/// Where a request comes from, for logs and lists.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// The client's address.
    pub ip: IpAddr,
    /// What it calls itself, cut to 400 characters.
    pub user_agent: String,
}

impl Visitor {
    /// With what a request said of its program.
    pub fn new(ip: IpAddr, user_agent: &str) -> Visitor {
        let user_agent = user_agent.chars().filter(|c| !c.is_control()).take(400).collect();
        Visitor { ip, user_agent }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn use_prolongs_a_session_but_not_for_ever() {
        let began = datetime!(2026-11-01 10:00 UTC);
        assert_eq!(end(began, began), datetime!(2026-11-04 10:00 UTC));
        assert_eq!(end(began, datetime!(2026-11-10 10:00 UTC)), datetime!(2026-11-13 10:00 UTC));
        assert_eq!(end(began, datetime!(2026-11-14 10:00 UTC)), datetime!(2026-11-15 10:00 UTC));
    }
}
