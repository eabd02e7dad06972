//! People who use the dashboard: what they are called, and what each role may do. Nothing here knows how a person
//! proves who she is.
//!
//! The table of roles is pure, and the only one: pages and operations ask it.

use std::str::FromStr;

use time::OffsetDateTime;

use super::id::UserId;
use super::key::{Scope, Scopes};

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Names her.
    pub id: UserId,
    /// What she signs in with.
    pub email: Login,
    /// What she is called; may be empty.
    pub name: String,
    /// Whether she runs the installation.
    pub reach: Reach,
    /// When she was entered.
    pub created_at: OffsetDateTime,
}

/// How far a person's hand reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Into the tenants that she is a member of.
    Tenants,
    /// Beyond: she runs the installation.
    Installation,
}

/// An address as it is signed in with: in lower case, so that nobody is two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Login(String);

/// Not an address that can be signed in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an e-mail address is needed, such as ann@acme.example")]
pub struct BadLogin;

impl Login {
    /// Reads an address.
    ///
    /// # Errors
    /// [`BadLogin`].
    pub fn parse(text: &str) -> Result<Login, BadLogin> {
        let address = crate::mail::EmailAddress::parse(text.trim()).map_err(|_| BadLogin)?;
        let lower = address.as_str().to_lowercase();
        if lower.len() > 254 { Err(BadLogin) } else { Ok(Login(lower)) }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Login {
    type Err = BadLogin;

    fn from_str(text: &str) -> Result<Login, BadLogin> {
        Login::parse(text)
    }
}

/// What a member of a tenant is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Builds: templates, keys, domains, webhooks.
    Developer,
    /// Also decides about people and settings.
    Admin,
    /// Also decides about owners.
    Owner,
}

/// What somebody does on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// See messages, events, figures, settings.
    See,
    /// Send, resend, cancel, send a test.
    Send,
    /// Change what mail is made of and how it goes: templates, streams, suppressions, domains, webhooks, relays.
    Manage,
    /// Make and revoke keys and SMTP credentials.
    Keys,
    /// See who changed what.
    Audit,
    /// Invite, change and remove people below owners.
    People,
    /// Make and unmake owners.
    Owners,
    /// Run the installation: tenants, queue, nodes.
    Operate,
}

impl Act {
    /// All.
    pub const ALL: [Act; 8] =
        [Act::See, Act::Send, Act::Manage, Act::Keys, Act::Audit, Act::People, Act::Owners, Act::Operate];
}

/// Not the name of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a role: owner, admin, developer or viewer")]
pub struct UnknownRole;

impl Role {
    /// All, the mightiest first.
    pub const ALL: [Role; 4] = [Role::Owner, Role::Admin, Role::Developer, Role::Viewer];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Admin => "admin",
            Role::Developer => "developer",
            Role::Viewer => "viewer",
        }
    }

    /// What it is for, in a sentence for the page where it is chosen.
    pub const fn meaning(self) -> &'static str {
        match self {
            Role::Owner => "May do everything here, and decide who else is an owner.",
            Role::Admin => "May do everything here but make owners.",
            Role::Developer => "May send, and change templates, domains, keys and webhooks.",
            Role::Viewer => "May look at messages and figures, and change nothing.",
        }
    }

    /// Whether it may do something in its tenant. To run the installation is of no role.
    pub const fn may(self, act: Act) -> bool {
        match act {
            Act::See => true,
            Act::Send | Act::Manage | Act::Keys => {
                matches!(self, Role::Developer | Role::Admin | Role::Owner)
            }
            Act::Audit | Act::People => matches!(self, Role::Admin | Role::Owner),
            Act::Owners => matches!(self, Role::Owner),
            Act::Operate => false,
        }
    }

    /// Whether it may give, change or take `other`: nobody decides about what is above him.
    pub const fn may_give(self, other: Role) -> bool {
        match other {
            Role::Owner => self.may(Act::Owners),
            _ => self.may(Act::People),
        }
    }

    /// What a key with the same rights would have.
    pub fn scopes(self, reach: Reach) -> Scopes {
        let scopes = [
            (Scope::Read, self.may(Act::See)),
            (Scope::Send, self.may(Act::Send)),
            (Scope::Manage, self.may(Act::Manage)),
            (Scope::Operate, reach == Reach::Installation),
        ];
        scopes.into_iter().filter(|(_, has)| *has).map(|(scope, _)| scope).collect()
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Role, UnknownRole> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_the_table_says_and_no_role_runs_the_installation() {
        use Act::{Audit, Keys, Manage, Owners, People, See, Send};
        let table: [(Role, &[Act]); 4] = [
            (Role::Viewer, &[See]),
            (Role::Developer, &[See, Send, Manage, Keys]),
            (Role::Admin, &[See, Send, Manage, Keys, Audit, People]),
            (Role::Owner, &[See, Send, Manage, Keys, Audit, People, Owners]),
        ];
        for (role, acts) in table {
            for act in Act::ALL {
                assert_eq!(role.may(act), acts.contains(&act), "{role:?} {act:?}");
            }
        }
    }

    #[test]
    fn nobody_gives_what_is_above_him() {
        assert!(Role::Owner.may_give(Role::Owner) && Role::Admin.may_give(Role::Admin));
        assert!(!Role::Admin.may_give(Role::Owner));
        assert!(
            Role::ALL.iter().all(|role| !Role::Developer.may_give(*role) && !Role::Viewer.may_give(*role))
        );
    }

    #[test]
    fn a_role_is_as_mighty_as_a_key_with_its_scopes() {
        let shown = |role: Role, reach| role.scopes(reach).iter().map(Scope::as_str).collect::<Vec<_>>();
        assert_eq!(shown(Role::Viewer, Reach::Tenants), ["read"]);
        assert_eq!(shown(Role::Developer, Reach::Tenants), ["send", "read", "manage"]);
        assert_eq!(shown(Role::Owner, Reach::Installation), ["send", "read", "manage", "operate"]);
    }

    #[test]
    fn nobody_is_two_by_the_case_of_her_address() {
        let login = |text| Login::parse(text).map(|login| login.0);
        assert_eq!(login(" Ann@Acme.Example "), Ok("ann@acme.example".to_owned()));
        assert_eq!(login("ann"), Err(BadLogin));
        assert_eq!(login("ann@acme.example\r\nBcc: x@y"), Err(BadLogin));
        assert_eq!("owner".parse(), Ok(Role::Owner));
        assert_eq!("root".parse::<Role>(), Err(UnknownRole));
    }
}
