//! What a start brings and shows once: the first key, and the way in for the first person.

use anyhow::Result;

use crate::account::users::first;
use crate::config::Admin;
use crate::domain::id::TenantId;
use crate::domain::key::KeySecret;
use crate::domain::ticket::Ticket;

use super::{Building, Role};

/// What the start brought.
pub(super) struct First {
    /// The tenant `default`.
    pub tenant: TenantId,
    /// Its first key, at the first start.
    pub key: Option<KeySecret>,
    /// The ticket of the set-up link, while there is nobody.
    pub setup: Option<Ticket>,
}

impl Building {
    /// Sees to it that somebody can sign in: who the settings name, or else whoever follows a link.
    pub(super) async fn first_person(&self, tenant: TenantId) -> Result<Option<Ticket>> {
        let now = self.opened.clock.now();
        if let Some(Admin { email, password }) = self.config.admin.clone() {
            first::ensure_admin(&self.users, tenant, email, password, now).await?;
        }
        if !self.roles.contains(&Role::Api) {
            return Ok(None);
        }
        Ok(first::setup_ticket(&self.opened.database, now).await?)
    }
}
