//! What a process does of all that postroad does.

use std::str::FromStr;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// HTTP.
    Api,
    /// Delivery and chores.
    Worker,
    /// SMTP.
    Smtp,
}

impl Role {
    /// All of them: what a process does unless it is told otherwise.
    pub const ALL: [Role; 3] = [Role::Api, Role::Worker, Role::Smtp];

    /// As it is written in `--roles` and in the answer of `/readyz`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Api => "api",
            Role::Worker => "worker",
            Role::Smtp => "smtp",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        let role = Role::ALL.into_iter().find(|role| role.as_str() == text);
        role.ok_or_else(|| format!("{text:?} is no role: api, worker or smtp"))
    }
}
