//! Tenants: the customers of one installation.

use time::OffsetDateTime;

use super::handling::Transport;
use super::id::TenantId;
use super::notice::DsnPolicy;

/// The tenant that exists from the first start.
pub const DEFAULT_TENANT: &str = "default";

/// A customer of this installation.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its name in the API.
    pub id: TenantId,
    /// Its name among people; unique.
    pub name: TenantName,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// Set: nothing is accepted from it, and what is queued is held.
    pub suspended_at: Option<OffsetDateTime>,
    /// Which notices submitters by SMTP get.
    pub dsn: DsnPolicy,
    /// How the way of all its mail is protected.
    pub transport: Transport,
}

/// 1 to 63 of `a-z 0-9 . _ -`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantName(String);

impl TenantName {
    /// Checks the form.
    ///
    /// # Errors
    /// [`BadTenantName`] tells the form.
    pub fn parse(text: &str) -> Result<TenantName, BadTenantName> {
        let good = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let bytes = text.as_bytes();
        let fits = (1..=63).contains(&bytes.len())
            && good(bytes[0])
            && bytes.iter().all(|&c| good(c) || matches!(c, b'.' | b'_' | b'-'));
        if fits { Ok(TenantName(text.to_owned())) } else { Err(BadTenantName) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Not the form of a tenant's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tenant's name is 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit")]
pub struct BadTenantName;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        for good in ["default", "a", "acme-2.eu_x", &"a".repeat(63)] {
            assert!(TenantName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "Acme", "ä", "a b", &"a".repeat(64)] {
            assert_eq!(TenantName::parse(bad), Err(BadTenantName), "{bad}");
        }
    }
}
