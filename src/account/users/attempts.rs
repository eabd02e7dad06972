//! Who guesses passwords and codes: failures, counted by where they come from and by the account that was tried. Each
//! node counts for itself.
//!
//! By account too, since guessers have many addresses; the count is high enough, and short enough, that locking somebody
//! out by it takes more than a typo. Invariant: memory is bounded, and nothing is remembered beyond the window.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use time::{Duration, OffsetDateTime};

/// Failures are forgotten so long after the first of them.
pub const WINDOW: Duration = Duration::minutes(15);
/// From this one on an address (or IPv6 /64) is turned away.
pub const MOST_OF_PEER: u32 = 30;
/// From this one on an account is.
pub const MOST_OF_ACCOUNT: u32 = 10;
/// Mails that one address may have sent to one account in a window: links to reset a password.
pub const MOST_MAILS: u32 = 3;
/// Addresses, and accounts, in memory.
const MOST: usize = 50_000;

/// Counts failures.
#[derive(Debug, Default)]
pub struct Attempts {
    peers: Mutex<Counts<IpAddr>>,
    accounts: Mutex<Counts<String>>,
    mails: Mutex<Counts<String>>,
}

/// Too many failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts; wait {} minutes, then try again", wait.whole_minutes() + 1)]
pub struct TooMany {
    /// How long until there may be another.
    pub wait: Duration,
}

#[derive(Debug)]
struct Counts<K>(HashMap<K, (u32, OffsetDateTime)>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Counts(HashMap::new())
    }
}

impl Attempts {
    /// Whether there may be another attempt from there at this account (an address, or the id of a user).
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn admit(&self, ip: IpAddr, account: &str, now: OffsetDateTime) -> Result<(), TooMany> {
        lock(&self.peers).admit(&network(ip), MOST_OF_PEER, now)?;
        lock(&self.accounts).admit(&account.to_owned(), MOST_OF_ACCOUNT, now)
    }

    /// Counts a failure.
    pub fn failed(&self, ip: IpAddr, account: &str, now: OffsetDateTime) {
        lock(&self.peers).count(network(ip), now);
        lock(&self.accounts).count(account.to_owned(), now);
    }

    /// Forgets the failures of an account that has been proved.
    pub fn succeeded(&self, account: &str) {
        lock(&self.accounts).0.remove(account);
    }

    /// Counts a mail that somebody unknown has us send; false: it is one too many.
    pub fn may_mail(&self, ip: IpAddr, account: &str, now: OffsetDateTime) -> bool {
        let mut mails = lock(&self.mails);
        let (of_account, of_peer) = (account.to_owned(), network(ip).to_string());
        let fits = mails.admit(&of_account, MOST_MAILS, now).is_ok()
            && mails.admit(&of_peer, MOST_OF_ACCOUNT, now).is_ok();
        if fits {
            mails.count(of_account, now);
            mails.count(of_peer, now);
        }
        fits
    }
}

fn lock<K>(counts: &Mutex<Counts<K>>) -> MutexGuard<'_, Counts<K>> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who has one IPv6 address has a /64.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & !u128::from(u64::MAX)).into()),
        ip => ip,
    }
}

impl<K: Eq + Hash> Counts<K> {
    fn admit(&self, who: &K, most: u32, now: OffsetDateTime) -> Result<(), TooMany> {
        match self.0.get(who) {
            Some((count, since)) if *count >= most && now < *since + WINDOW => {
                Err(TooMany { wait: *since + WINDOW - now })
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, who: K, now: OffsetDateTime) {
        if self.0.len() >= MOST {
            self.make_room(now);
        }
        let (count, since) = self.0.entry(who).or_insert((0, now));
        if now >= *since + WINDOW {
            (*count, *since) = (0, now);
        }
        *count += 1;
    }

    /// What is over goes; and if that is not enough, whoever tried least.
    fn make_room(&mut self, now: OffsetDateTime) {
        self.0.retain(|_, (_, since)| now < *since + WINDOW);
        for least in 1..MOST_OF_PEER {
            if self.0.len() < MOST {
                return;
            }
            self.0.retain(|_, (count, _)| *count > least);
        }
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-29 10:00 UTC);

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_account_rests_after_ten_failures_wherever_they_come_from() {
        let attempts = Attempts::default();
        for n in 0..10 {
            let from = ip(&format!("192.0.2.{n}"));
            assert_eq!(attempts.admit(from, "ann", NOW), Ok(()));
            attempts.failed(from, "ann", NOW);
        }
        let refused = attempts.admit(ip("198.51.100.1"), "ann", NOW + Duration::MINUTE);
        assert_eq!(refused, Err(TooMany { wait: Duration::minutes(14) }));
        assert_eq!(
            refused.expect_err("refused").to_string(),
            "too many attempts; wait 15 minutes, then try again"
        );
        assert_eq!(attempts.admit(ip("198.51.100.1"), "bob", NOW), Ok(()));
        assert_eq!(attempts.admit(ip("192.0.2.1"), "ann", NOW + WINDOW), Ok(()));
        attempts.succeeded("ann");
        assert_eq!(attempts.admit(ip("192.0.2.1"), "ann", NOW), Ok(()));
    }

    #[test]
    fn an_address_is_turned_away_after_thirty_failures_whomever_it_tries() {
        let attempts = Attempts::default();
        for n in 0..30 {
            attempts.failed(ip(&format!("2001:db8::{n:x}")), &format!("user {n}"), NOW);
        }
        assert!(attempts.admit(ip("2001:db8::ffff"), "ann", NOW).is_err(), "one /64 is one");
        assert!(attempts.admit(ip("2001:db8:0:1::1"), "ann", NOW).is_ok());
    }

    #[test]
    fn nobody_fills_another_ones_mailbox() {
        let attempts = Attempts::default();
        let sent = (0..10).filter(|n| attempts.may_mail(ip(&format!("192.0.2.{n}")), "ann", NOW)).count();
        assert_eq!(sent, 3);
        let sent =
            (0..50).filter(|n| attempts.may_mail(ip("198.51.100.1"), &format!("user {n}"), NOW)).count();
        assert_eq!(sent, 10);
    }

    #[test]
    fn memory_is_bounded() {
        let mut counts = Counts::default();
        for n in 0..MOST + 10 {
            counts.count(n, NOW);
        }
        assert!(counts.0.len() <= MOST);
    }
}
