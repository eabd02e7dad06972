//! Passwords: which are good enough, and their hashes (argon2id). Hashing takes memory and time on purpose, so that it
//! is done beside the runtime, by few at a time, and only so many may wait.
//!
//! Invariant: an address that nobody has costs as much as one with another password.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::Semaphore;

/// Memory of one hash, in KiB (OWASP's password storage cheat sheet: 19 MiB with two passes).
const MEMORY: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Hashes at once.
const AT_ONCE: usize = 2;
/// Hashes that are made or waited for; beyond: busy.
const MOST: usize = 64;
/// The shortest password, in characters (NIST SP 800-63B §3.1.1.2).
pub const SHORTEST: usize = 8;
/// The longest, in octets: longer ones would only cost.
const LONGEST: usize = 512;

/// A password as somebody chose or gave it. Its `Debug` prints nothing.
#[derive(Clone)]
pub struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    /// Too short.
    #[error("a password needs {SHORTEST} characters or more")]
    Short,
    /// Too long.
    #[error("a password may have at most {LONGEST} octets")]
    Long,
    /// The first that are tried.
    #[error("this password is among the first that are guessed; choose another")]
    Common,
}

/// Hashing cannot be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoHash {
    /// Too many wait for it.
    #[error("too many people are signing in; try again in a moment")]
    Busy,
    /// The operating system gave no randomness or no memory.
    #[error("the password could not be hashed")]
    Failed,
}

impl Password {
    /// What somebody gives to be compared: any text that is not absurdly long.
    pub fn given(text: &str) -> Password {
        Password(text.chars().take(LONGEST).collect())
    }

    /// A password that the operator sets: it is long enough.
    ///
    /// # Errors
    /// [`BadPassword::Short`] and [`BadPassword::Long`].
    pub fn of_operator(text: &str) -> Result<Password, BadPassword> {
        if text.chars().count() < SHORTEST {
            return Err(BadPassword::Short);
        }
        if text.len() > LONGEST {
            return Err(BadPassword::Long);
        }
        Ok(Password(text.to_owned()))
    }

    /// A password to be set for `email`.
    ///
    /// # Errors
    /// See [`BadPassword`].
    pub fn chosen(text: &str, email: &str) -> Result<Password, BadPassword> {
        let password = Password::of_operator(text)?;
        if is_common(&text.to_lowercase(), email) {
            return Err(BadPassword::Common);
        }
        Ok(password)
    }
}

/// One character again and again, the address itself, a run of digits, or one that every guesser begins with.
fn is_common(text: &str, email: &str) -> bool {
    const FIRST: [&str; 16] = [
        "password", "passwort", "qwertyui", "qwertzui", "qwerty12", "iloveyou", "sunshine", "princess",
        "football", "baseball", "trustno1", "superman", "changeme", "letmein1", "postroad", "admin123",
    ];
    let mut characters = text.chars();
    let first = characters.next();
    let is_one_character = characters.all(|c| Some(c) == first);
    let is_run = "01234567890123456789".contains(text) || "98765432109876543210".contains(text);
    let local = email.split('@').next().unwrap_or_default();
    let base = text.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '!' | '.'));
    is_one_character
        || is_run
        || text == email
        || text == local
        || FIRST.iter().any(|known| text == *known || base == *known)
}

/// Makes and compares hashes. Cheap to clone; clones share their bounds.
#[derive(Debug, Clone)]
pub struct Hasher {
    at_once: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// A hash that no password has.
    nobodys: Arc<str>,
}

fn argon() -> Argon2<'static> {
    let params = Params::new(MEMORY, PASSES, LANES, None).expect("the parameters are within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Of random octets that nobody knows.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5cyBzYWx0IQ$PN2fSAkNzVPxJhfFZ0QJcd2vLp2rCw5n8YV7r6GxS0E";

impl Default for Hasher {
    fn default() -> Hasher {
        Hasher {
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(MOST)),
            nobodys: NOBODYS.into(),
        }
    }
}

impl Hasher {
    /// The hash of a password, in PHC form.
    ///
    /// # Errors
    /// See [`NoHash`].
    pub async fn hash(&self, password: Password) -> Result<String, NoHash> {
        let hash = move || argon().hash_password(password.0.as_bytes()).map(|hash| hash.to_string());
        self.beside(hash).await?.map_err(|_| NoHash::Failed)
    }

    /// Whether the password has this hash. `None`: nobody has the address, which takes as long to find out.
    ///
    /// # Errors
    /// See [`NoHash`].
    pub async fn matches(&self, password: Password, hash: Option<&str>) -> Result<bool, NoHash> {
        let is_somebodys = hash.is_some();
        let hash = hash.map_or_else(|| self.nobodys.to_string(), str::to_owned);
        let equal = move || argon().verify_password(password.0.as_bytes(), hash.as_str()).is_ok();
        Ok(self.beside(equal).await? && is_somebodys)
    }

    async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoHash> {
        let _place = self.waiting.try_acquire().map_err(|_| NoHash::Busy)?;
        let turn = Arc::clone(&self.at_once).acquire_owned().await.map_err(|_| NoHash::Failed)?;
        let done = tokio::task::spawn_blocking(move || {
            // Held until it is done, even if nobody waits for it any more.
            let _turn = turn;
            work()
        });
        done.await.map_err(|_| NoHash::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_hash_and_no_other() {
        let hasher = Hasher::default();
        let hash = hasher.hash(Password::given("correct horse")).await.expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let again = hasher.hash(Password::given("correct horse")).await.expect("hashed");
        assert_ne!(hash, again, "each has a salt of its own");
        assert_eq!(hasher.matches(Password::given("correct horse"), Some(&hash)).await, Ok(true));
        assert_eq!(hasher.matches(Password::given("correct horsf"), Some(&hash)).await, Ok(false));
        assert_eq!(hasher.matches(Password::given("correct horse"), None).await, Ok(false));
    }

    #[test]
    fn the_hash_of_nobody_costs_what_all_others_cost() {
        let hash = argon2::password_hash::phc::PasswordHash::new(NOBODYS).expect("a hash");
        let params = Params::try_from(&hash).expect("parameters");
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (MEMORY, PASSES, LANES));
    }

    #[test]
    fn what_is_guessed_first_is_not_taken() {
        let chosen = |text: &str| Password::chosen(text, "ann.lee@acme.example").err();
        for good in ["correct horse", "pässwörd-für-ann", "x7&Kq2!p", &"long ".repeat(100)] {
            assert_eq!(chosen(good), None, "{good}");
        }
        for bad in
            ["Password1", "password", "12345678", "87654321", "aaaaaaaa", "ANN.LEE@acme.example", "changeme!"]
        {
            assert_eq!(chosen(bad), Some(BadPassword::Common), "{bad}");
        }
        assert_eq!(chosen("kurz"), Some(BadPassword::Short));
        assert_eq!(chosen(&"x".repeat(513)), Some(BadPassword::Long));
    }

    #[test]
    fn debug_shows_no_password() {
        assert_eq!(format!("{:?}", Password::given("hunter2hunter2")), "Password(…)");
    }
}
