//! The Sender Rewriting Scheme: under whose name mail is passed on, so that SPF holds for it and notices about it come
//! back to who wrote it.
//!
//! `SRS0=hash=day=domain=local` stands for `local@domain`; `SRS1=hash=host==…` for what another forwarder has
//! rewritten before, so that addresses do not grow with each of them. Invariant: nobody but us can make one, so that
//! nothing is relayed by them; and what we have rewritten is good for three weeks.

use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;
use time::OffsetDateTime;

use crate::mail::EmailAddress;
use crate::seal::{MasterKey, Purpose};

/// Makes and reads rewritten senders.
#[derive(Clone)]
pub struct Rewriter {
    key: hmac::Key,
}

/// Who stands behind a rewritten sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// His address, or that of the forwarder before us.
    pub address: EmailAddress,
    /// The day it was rewritten, as far as it is told; `None`: the forwarder before us knows.
    day: Option<u16>,
}

/// RFC 5321 §4.5.3.1.1.
const MAX_LOCAL: usize = 64;
/// Octets of the MAC: five give eight characters of base 32.
const MAC_LEN: usize = 5;
/// Days are counted round, in two characters of base 32.
const DAYS: u16 = 1024;
/// For how many days notices come back. Mail is tried for five at most; hosts after us may take as long again.
const GOOD_FOR: u16 = 21;
const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl Rewriter {
    /// With the installation's own key.
    pub fn new(master: &MasterKey) -> Rewriter {
        Rewriter { key: master.derive(Purpose::Forwarding).mac() }
    }

    /// The local part that stands for a sender. `None`: it cannot be written so, or would be too long.
    pub fn rewrite(&self, sender: &EmailAddress, at: OffsetDateTime) -> Option<String> {
        let (local, domain) = (sender.local(), sender.domain());
        if !local.bytes().all(is_plain) || domain.starts_with('[') {
            return None;
        }
        let rewritten = match tagged(local) {
            // RFC-less, as libsrs2 has it: only the host that made the SRS0 is remembered.
            Some(("SRS0", rest)) => self.guarded("SRS1", &format!("{domain}={rest}")),
            Some(("SRS1", rest)) => {
                let (_, known) = rest.get(1..)?.split_once('=')?;
                self.guarded("SRS1", known)
            }
            _ => self.guarded("SRS0", &format!("{}={domain}={local}", day_text(day_of(at)))),
        };
        (rewritten.len() <= MAX_LOCAL).then_some(rewritten)
    }

    /// Who stands behind a local part; `None`: it is none of ours.
    pub fn read(&self, local: &str) -> Option<Original> {
        let (tag, rest) = tagged(local)?;
        let (mac, known) = rest.get(1..)?.split_once('=')?;
        let expected = self.mac(tag, known);
        let given = mac.to_ascii_lowercase();
        aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_bytes(), given.as_bytes()).ok()?;
        if tag == "SRS1" {
            let (host, theirs) = known.split_once('=')?;
            let address = EmailAddress::parse(&format!("SRS0{theirs}@{host}")).ok()?;
            return Some(Original { address, day: None });
        }
        let mut parts = known.splitn(3, '=');
        let (day, domain, local) = (parts.next()?, parts.next()?, parts.next()?);
        let address = EmailAddress::parse(&format!("{local}@{domain}")).ok()?;
        Some(Original { address, day: Some(read_day(day)?) })
    }

    fn guarded(&self, tag: &str, known: &str) -> String {
        format!("{tag}={}={known}", self.mac(tag, known))
    }

    /// Hosts on the way may change the case of a local part.
    fn mac(&self, tag: &str, known: &str) -> String {
        let guarded = format!("{tag} {}", known.to_ascii_lowercase());
        let mac = hmac::sign(&self.key, guarded.as_bytes());
        BASE32_NOPAD.encode(&mac.as_ref()[..MAC_LEN]).to_ascii_lowercase()
    }
}

impl Original {
    /// Whether notices still come back.
    pub fn is_good(&self, now: OffsetDateTime) -> bool {
        // A clock that was ahead by a day does no harm.
        self.day.is_none_or(|day| (day_of(now) + DAYS + 1 - day) % DAYS <= GOOD_FOR + 1)
    }
}

/// The tag and what follows it, with the separator that its maker has chosen.
fn tagged(local: &str) -> Option<(&'static str, &str)> {
    let (tag, rest) = local.split_at_checked(4)?;
    let known = ["SRS0", "SRS1"].into_iter().find(|known| known.eq_ignore_ascii_case(tag))?;
    rest.starts_with(['=', '-', '+']).then_some((known, rest))
}

fn is_plain(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&octet)
}

fn day_of(at: OffsetDateTime) -> u16 {
    // Less than DAYS.
    at.unix_timestamp().div_euclid(86_400).rem_euclid(i64::from(DAYS)) as u16
}

fn day_text(day: u16) -> String {
    [day / 32, day % 32].map(|digit| char::from(DIGITS[usize::from(digit % 32)])).iter().collect()
}

fn read_day(text: &str) -> Option<u16> {
    let digit = |c: u8| DIGITS.iter().position(|known| *known == c.to_ascii_lowercase());
    let [high, low] = text.as_bytes() else { return None };
    u16::try_from(digit(*high)? * 32 + digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-29 10:00 UTC);

    fn address(text: &str) -> EmailAddress {
        EmailAddress::parse(text).expect("an address")
    }

    fn rewriter() -> Rewriter {
        Rewriter::new(&MasterKey::generate().expect("randomness"))
    }

    #[test]
    fn a_sender_is_found_again_for_three_weeks_in_any_case_by_us_alone() {
        let ours = rewriter();
        for sender in ["ann@example.org", "a=b+c@example.org", "prvs=123=ann@example.org"] {
            let local = ours.rewrite(&address(sender), NOW).expect("short");
            assert!(local.starts_with("SRS0="), "{local}");
            let found = ours.read(&local).expect("ours");
            assert_eq!(found.address, address(sender));
            assert_eq!(
                ours.read(&local.to_ascii_uppercase()).expect("ours").address.key(),
                address(sender).key()
            );
            let good = [-1, 0, 1, 21, 22, 23, 500].map(|days| found.is_good(NOW + Duration::days(days)));
            assert_eq!(good, [true, true, true, true, false, false, false]);
            assert_eq!(rewriter().read(&local), None, "another key");
        }
    }

    #[test]
    fn no_octet_can_be_changed() {
        let ours = rewriter();
        let local = ours.rewrite(&address("ann@example.org"), NOW).expect("short");
        for at in 4..local.len() {
            let mut changed = local.clone().into_bytes();
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(ours.read(&changed), None, "{changed}");
        }
        for other in ["SRS0", "SRS0=", "SRS0==", "SRS0=a=b", "SRS1=aaaaaaaa=x", "ann", "srs0=ö=aa=b=c"] {
            assert_eq!(ours.read(other), None, "{other}");
        }
    }

    #[test]
    fn what_was_rewritten_before_stays_short_and_goes_back_to_who_made_it() {
        let (ours, theirs) = (rewriter(), rewriter());
        let first = theirs.rewrite(&address("ann@example.org"), NOW).expect("short");
        let second = ours.rewrite(&address(&format!("{first}@b.example")), NOW).expect("short");
        assert!(second.starts_with("SRS1="), "{second}");
        assert_eq!(ours.read(&second).expect("ours").address.as_str(), format!("{first}@b.example"));
        let third = rewriter();
        let again = third.rewrite(&address(&format!("{second}@c.example")), NOW).expect("short");
        assert_eq!(again.len(), second.len(), "it does not grow");
        assert_eq!(third.read(&again).expect("theirs").address.as_str(), format!("{first}@b.example"));
    }

    #[test]
    fn what_does_not_fit_is_left_to_others() {
        let long = format!("{}@example.org", "a".repeat(40));
        for sender in [long.as_str(), "\"a b\"@example.org", "jörg@example.org", "ann@[192.0.2.1]"] {
            assert_eq!(rewriter().rewrite(&address(sender), NOW), None, "{sender}");
        }
    }
}
