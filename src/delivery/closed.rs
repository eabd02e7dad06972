//! Which mail need not be claimed for a moment: a site has just refused what a tenant sends to a domain, being
//! paused or full. Without this a heap of mail for a dead destination is claimed and given back again and again, and
//! its tenant's other mail waits behind it.
//!
//! Not a pause: it only spares work. Another way to the same domain may be open, so that nothing is passed over for
//! longer than [`LONGEST`].

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use time::{Duration, OffsetDateTime};

use crate::domain::id::TenantId;

use super::site::Refused;

/// What sites have refused of late.
#[derive(Debug, Default)]
pub struct Closed(Mutex<HashMap<(TenantId, String), OffsetDateTime>>);

/// The longest that mail is passed over for one refusal.
const LONGEST: Duration = Duration::seconds(5);
/// The most that are known at once: the list goes with every claim.
const MOST: usize = 200;

impl Closed {
    /// Notes what was refused `now`: until the first of it may come again.
    pub fn note(&self, refused: &[Refused], now: OffsetDateTime) {
        if refused.is_empty() {
            return;
        }
        let mut closed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        closed.retain(|_, until| *until > now);
        let mut first: HashMap<(TenantId, &str), OffsetDateTime> = HashMap::new();
        for Refused { leased, due_at } in refused {
            let until = first.entry((leased.message.tenant, leased.recipient.domain())).or_insert(*due_at);
            *until = (*until).min(*due_at);
        }
        for ((tenant, domain), until) in first {
            if closed.len() < MOST && until > now {
                closed.insert((tenant, domain.to_owned()), until.min(now + LONGEST));
            }
        }
    }

    /// What is not worth claiming `now`.
    pub fn now(&self, now: OffsetDateTime) -> Vec<(TenantId, String)> {
        let closed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        closed.iter().filter(|(_, until)| **until > now).map(|(known, _)| known.clone()).collect()
    }
}
