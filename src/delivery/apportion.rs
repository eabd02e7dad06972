//! Apportioning: how a process gets its share of a site's connections, and gives it back. The operation behind
//! [`Shares`]; it owns its transactions.
//!
//! A site's limit is divided evenly among the processes that want some of it. Nobody opens a connection before
//! the database has noted it, nobody's note is lowered before it has closed one, and a raise is made under the
//! site's lock from what all others have noted: so the sum of open connections never exceeds the limit.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::oneshot;

use crate::domain::pacing::{Effect, SiteKey};
use crate::store::sites::{self, ShareRow, SiteState};
use crate::store::{Link, StoreError, queue};

use super::Delivery;
use super::pace::Slowed;
use super::share::{Ask, Share};
use super::site::Site;

/// A share nobody wants is kept for so long: mail to the site may come again.
const KEPT: Duration = Duration::from_secs(300);

/// Mail that is given back until a moment comes within this time after it.
const SPREAD: time::Duration = time::Duration::seconds(3);

/// What a process has noted in the database.
#[derive(Debug, Default)]
pub struct Noted {
    incarnation: i32,
    rows: HashMap<SiteKey, u32>,
}

/// One round: writes what was told, answers who asked, takes over what others have learnt, gives back what is too
/// much or unused, and takes more where there is more.
///
/// # Errors
/// What was asked is answered with what is there; the rest waits for the next round.
pub async fn round(
    delivery: &Arc<Delivery>,
    link: &mut Link,
    noted: &mut Noted,
    incarnation: i32,
    asks: Vec<Ask>,
) -> Result<(), StoreError> {
    let (mut seats, mut told) = (Vec::new(), Vec::new());
    for ask in asks {
        match ask {
            Ask::Seat { share, answered } => seats.push((share, answered)),
            Ask::Told(state) => told.push(*state),
        }
    }
    let result = work(delivery, link, noted, incarnation, &seats, told).await;
    if result.is_err() {
        link.broken();
    }
    answer(seats, &result);
    result
}

fn answer(seats: Vec<(Arc<Share>, oneshot::Sender<()>)>, result: &Result<(), StoreError>) {
    for (share, answered) in seats {
        if result.is_err() {
            // What took effect nobody knows: noted may be more than we think, never less.
            share.grant(share.standing().granted);
        }
        // An error means that the courier has given up.
        let _ = answered.send(());
    }
}

async fn work(
    delivery: &Arc<Delivery>,
    link: &mut Link,
    noted: &mut Noted,
    incarnation: i32,
    seats: &[(Arc<Share>, oneshot::Sender<()>)],
    told: Vec<SiteState>,
) -> Result<(), StoreError> {
    if noted.incarnation != incarnation {
        // This process was taken for dead and lives on as another: what it had counts as another's until that
        // one is dead for good, and its connections end.
        for share in delivery.shares.all() {
            // Not refused: whoever asks next is answered.
            share.lower(0);
        }
        *noted = Noted { incarnation, rows: HashMap::new() };
    }
    for state in told {
        sites::tell(link.get().await?, &state).await?;
    }
    let asked: Vec<SiteKey> = seats.iter().map(|(share, _)| share.key.clone()).collect();
    let mut keys: Vec<SiteKey> = noted.rows.keys().cloned().chain(asked.iter().cloned()).collect();
    keys.sort();
    keys.dedup();
    if keys.is_empty() {
        return Ok(());
    }
    let now = delivery.clock.now();
    let shares: HashMap<SiteKey, Arc<Share>> =
        delivery.shares.all().into_iter().map(|share| (share.key.clone(), share)).collect();
    for lifted in learn(&shares, sites::states(link.get().await?, &keys).await?, now) {
        // What we have put off until then, we put off no more.
        queue::hasten(link.get().await?, lifted, SPREAD, now).await?;
    }
    let rows = by_site(sites::shares(link.get().await?, &keys, now).await?);
    give_back(delivery, link, noted, &shares, &rows).await?;
    let wanting = keys.iter().filter(|key| {
        let granted = noted.rows.get(*key);
        let fair = shares.get(*key).map(|share| fair(share, of(&rows, key), noted.incarnation));
        asked.contains(key) || granted.zip(fair).is_some_and(|(granted, fair)| *granted < fair)
    });
    let wanting: Vec<SiteKey> = wanting.cloned().collect();
    if !wanting.is_empty() {
        raise(link, noted, &shares, &wanting, now).await?;
    }
    for share in shares.values() {
        share.fit(now);
    }
    for site in delivery.router.sites() {
        delivery.follow(&site, site.adjust(now));
    }
    Ok(())
}

/// Takes over what other processes have learnt of these sites. Gives the moments until which some were suspended
/// that are so no more.
fn learn(
    shares: &HashMap<SiteKey, Arc<Share>>,
    states: Vec<SiteState>,
    now: OffsetDateTime,
) -> Vec<OffsetDateTime> {
    let mut lifted = Vec::new();
    for state in states {
        let Some(share) = shares.get(&state.key) else { continue };
        let slowed = state.slowed_until.map(|until| Slowed {
            until,
            mails: state.slow_mails.as_deref().and_then(|text| text.parse().ok()),
            connections: state.slow_connections.and_then(|number| u32::try_from(number).ok()),
        });
        lifted.extend(share.learn(state.suspended_until, slowed, state.told_at, now));
        share.fit(now);
    }
    lifted
}

/// Gives back what is more than a fair share, and what nobody has wanted for a while.
async fn give_back(
    delivery: &Delivery,
    link: &mut Link,
    noted: &mut Noted,
    shares: &HashMap<SiteKey, Arc<Share>>,
    rows: &HashMap<SiteKey, Vec<ShareRow>>,
) -> Result<(), StoreError> {
    let (mut lowered, mut dropped) = (Vec::new(), Vec::new());
    for (key, row) in &noted.rows {
        let Some(share) = shares.get(key) else { continue };
        if share.give_up(KEPT) {
            dropped.push(key.clone());
            delivery.shares.forget(share);
            continue;
        }
        let least = share.lower(fair(share, of(rows, key), noted.incarnation));
        if least < *row {
            lowered.push((key.clone(), least));
        }
    }
    if !lowered.is_empty() {
        sites::set_shares(link.get().await?, noted.incarnation, &lowered).await?;
    }
    if !dropped.is_empty() {
        sites::drop_shares(link.get().await?, noted.incarnation, &dropped).await?;
    }
    noted.rows.extend(lowered);
    noted.rows.retain(|key, _| !dropped.contains(key));
    Ok(())
}

/// Takes up to a fair share of what is free, under the sites' locks.
async fn raise(
    link: &mut Link,
    noted: &mut Noted,
    shares: &HashMap<SiteKey, Arc<Share>>,
    keys: &[SiteKey],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let mut transaction = link.begin().await?;
    sites::lock(&mut transaction, keys).await?;
    // Read after the locks were taken, by a statement that sees all that was written under them before.
    let rows = by_site(sites::shares(&mut transaction, keys, now).await?);
    let known = keys.iter().filter_map(|key| shares.get(key));
    let raised: Vec<(SiteKey, u32)> =
        known.map(|share| (share.key.clone(), grant(share, of(&rows, &share.key), noted))).collect();
    sites::set_shares(&mut transaction, noted.incarnation, &raised).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    for (key, granted) in &raised {
        if let Some(share) = shares.get(key) {
            share.grant((*granted).min(share.standing().limit));
        }
    }
    noted.rows.extend(raised);
    Ok(())
}

/// What is ours after a raise: up to a fair share, as far as it is free; never less than is noted already.
fn grant(share: &Share, rows: &[ShareRow], noted: &Noted) -> u32 {
    let own = noted.rows.get(&share.key).copied().unwrap_or(0);
    let theirs = rows.iter().filter(|row| row.incarnation != noted.incarnation);
    let theirs: u32 = theirs.map(|row| row.connections).sum();
    let free = share.standing().limit.saturating_sub(theirs);
    fair(share, rows, noted.incarnation).min(free).max(own)
}

/// An equal part of the limit for everybody who wants some; the remainder goes round by the site's name, so that
/// no process has the last connection of every site.
fn fair(share: &Share, rows: &[ShareRow], own: i32) -> u32 {
    let mut everybody: Vec<i32> = rows.iter().map(|row| row.incarnation).chain([own]).collect();
    everybody.sort_unstable();
    everybody.dedup();
    let count = u32::try_from(everybody.len()).unwrap_or(u32::MAX);
    let shift = share.key.site.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let place = everybody.iter().position(|incarnation| *incarnation == own).unwrap_or(0);
    let place = (u32::try_from(place).unwrap_or(0).wrapping_add(shift % count)) % count;
    let limit = share.standing().limit;
    limit / count + u32::from(place < limit % count)
}

/// What a reply has changed at a site, for all processes to know.
pub fn told(site: &Site, effect: Effect, reply: String, now: OffsetDateTime) -> SiteState {
    let mut state = SiteState {
        key: site.share.key.clone(),
        provider: site.policy.provider.clone(),
        suspended_until: None,
        slowed_until: None,
        slow_mails: None,
        slow_connections: None,
        told: Some(reply),
        told_at: Some(now),
    };
    match effect {
        Effect::Suspend { lasting } => state.suspended_until = Some(now + lasting),
        Effect::Slow { mails, connections, lasting } => {
            state.slowed_until = Some(now + lasting);
            state.slow_mails = mails.map(|rate| rate.to_string());
            state.slow_connections = connections.and_then(|number| i32::try_from(number).ok());
        }
    }
    state
}

fn by_site(rows: Vec<ShareRow>) -> HashMap<SiteKey, Vec<ShareRow>> {
    let mut found: HashMap<SiteKey, Vec<ShareRow>> = HashMap::new();
    for row in rows {
        found.entry(row.key.clone()).or_default().push(row);
    }
    found
}

fn of<'a>(rows: &'a HashMap<SiteKey, Vec<ShareRow>>, key: &SiteKey) -> &'a [ShareRow] {
    rows.get(key).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::share::Shares;
    use crate::domain::pacing::Limits;

    fn limits(connections: u32) -> Limits {
        Limits { connections, start: 1, mails_per_connection: 100, dials: None, mails: None, idle: None }
    }

    fn key(site: &str) -> SiteKey {
        SiteKey { site: site.to_owned(), source: String::new() }
    }

    fn rows(of: &[(i32, u32)]) -> Vec<ShareRow> {
        let row = |(incarnation, connections): &(i32, u32)| ShareRow {
            key: key("mx"),
            incarnation: *incarnation,
            connections: *connections,
        };
        of.iter().map(row).collect()
    }

    #[test]
    fn fair_shares_are_the_limit_together_and_the_rest_goes_round() {
        let (shares, _asked) = Shares::new();
        let mut last = std::collections::HashSet::new();
        for site in ["a", "b", "c", "d"] {
            for (limit, processes) in [(5u32, 2), (1, 2), (7, 3), (2, 5), (16, 1)] {
                let share = shares.of(key(site), limits(limit));
                share.fit(OffsetDateTime::UNIX_EPOCH);
                let everybody = rows(&(0..processes).map(|n| (n, 0)).collect::<Vec<_>>());
                let fair: Vec<u32> = (0..processes).map(|own| fair(&share, &everybody, own)).collect();
                assert_eq!(fair.iter().sum::<u32>(), limit, "{site}: {fair:?}");
                assert!(
                    fair.iter().max().zip(fair.iter().min()).is_some_and(|(most, least)| most - least <= 1)
                );
                if (limit, processes) == (1, 2) {
                    last.insert(fair.iter().position(|share| *share == 1));
                }
            }
        }
        assert_eq!(last.len(), 2, "not always the same process has the only connection");
    }

    #[test]
    fn a_grant_is_never_more_than_what_others_have_left() {
        let (shares, _asked) = Shares::new();
        let share = shares.of(key("mx"), limits(5));
        let own = |granted| Noted { incarnation: 9, rows: HashMap::from([(key("mx"), granted)]) };
        let nothing = Noted { incarnation: 9, rows: HashMap::new() };
        assert_eq!(grant(&share, &rows(&[]), &nothing), 5, "alone");
        assert_eq!(grant(&share, &rows(&[(1, 5)]), &nothing), 0, "the other has yet to give back");
        assert!((2..=3).contains(&grant(&share, &rows(&[(1, 2)]), &nothing)));
        assert_eq!(grant(&share, &rows(&[(1, 5), (2, 1)]), &nothing), 0, "a limit that was lowered");
        assert_eq!(grant(&share, &rows(&[(1, 4), (9, 1)]), &own(1)), 1);
    }
}
