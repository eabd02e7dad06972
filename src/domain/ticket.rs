//! Tickets: random secrets that are told once, in a link or a cookie, and known afterwards by their SHA-256 alone.

use std::fmt;

use aws_lc_rs::digest;
use data_encoding::BASE64URL_NOPAD;

use super::key::NoRandomness;

/// The secret itself. Its `Debug` prints nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket(String);

/// What the database knows a ticket by. With 256 random bits behind it, no slow hash is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TicketHash(pub [u8; 32]);

/// The longest text that is looked at.
const MOST: usize = 128;

impl Ticket {
    /// A new one: 256 random bits.
    ///
    /// # Errors
    /// Only when the operating system has no randomness to give.
    pub fn generate() -> Result<Ticket, NoRandomness> {
        let mut random = [0u8; 32];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| NoRandomness)?;
        Ok(Ticket(BASE64URL_NOPAD.encode(&random)))
    }

    /// What somebody shows; `None`: too long to be one.
    pub fn given(text: &str) -> Option<Ticket> {
        (!text.is_empty() && text.len() <= MOST).then(|| Ticket(text.to_owned()))
    }

    /// What the database knows it by.
    pub fn hash(&self) -> TicketHash {
        let digest = digest::digest(&digest::SHA256, self.0.as_bytes());
        let mut hash = [0u8; 32];
        hash.copy_from_slice(digest.as_ref());
        TicketHash(hash)
    }

    /// The ticket in clear, for the one who is to have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}

impl fmt::Debug for TicketHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_differ_fit_into_a_url_and_show_nothing() {
        let (one, two) = (Ticket::generate().expect("randomness"), Ticket::generate().expect("randomness"));
        assert!(one.hash() != two.hash());
        assert_eq!(one.reveal().len(), 43);
        assert!(one.reveal().bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_')));
        assert_eq!(Ticket::given(one.reveal()).map(|again| again.hash()), Some(one.hash()));
        assert_eq!(format!("{one:?} {:?}", one.hash()), "Ticket(…) TicketHash(…)");
        assert!(Ticket::given("").is_none() && Ticket::given(&"x".repeat(129)).is_none());
    }
}
