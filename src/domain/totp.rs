//! Codes of authenticator apps (RFC 6238, RFC 4226): six digits that change every thirty seconds, by HMAC-SHA-1, which
//! is what all apps speak. Nothing here knows whose secret it is.
//!
//! Invariant: of one time step no code is taken twice; whoever calls keeps the last step.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use data_encoding::BASE32_NOPAD;
use time::OffsetDateTime;

use super::key::NoRandomness;

/// Seconds of a step (RFC 6238 §4.1).
const STEP: i64 = 30;
/// Steps before and after the present one whose codes are taken: clocks differ, and typing takes time (§5.2).
const DRIFT: i64 = 1;
const DIGITS: u32 = 6;
/// RFC 4226 §4: 160 bits.
const SECRET_LEN: usize = 20;

/// The secret that an app and we share. Its `Debug` prints nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret(Vec<u8>);

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(…)")
    }
}

impl TotpSecret {
    /// A new one.
    ///
    /// # Errors
    /// Only when the operating system has no randomness to give.
    pub fn generate() -> Result<TotpSecret, NoRandomness> {
        let mut random = [0u8; SECRET_LEN];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| NoRandomness)?;
        Ok(TotpSecret(random.to_vec()))
    }

    /// As it was stored.
    pub fn from_octets(octets: Vec<u8>) -> TotpSecret {
        TotpSecret(octets)
    }

    /// To be sealed and stored.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// As a person types it into her app.
    pub fn to_base32(&self) -> String {
        BASE32_NOPAD.encode(&self.0)
    }

    /// What the picture says that an app reads (Google Authenticator's key URI format).
    pub fn uri(&self, account: &str, issuer: &str) -> String {
        let escape = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let (account, issuer, secret) = (escape(account), escape(issuer), self.to_base32());
        format!(
            "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits=6&period=30"
        )
    }

    /// The step whose code this is, if it is of now or next to it and later than `last`.
    pub fn step_of(&self, code: &str, last: i64, now: OffsetDateTime) -> Option<i64> {
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        let present = now.unix_timestamp() / STEP;
        let mut found = None;
        // All are compared, so that time tells nothing.
        for step in present - DRIFT..=present + DRIFT {
            let equal =
                constant_time::verify_slices_are_equal(self.code(step).as_bytes(), code.as_bytes()).is_ok();
            if equal && step > last {
                found = Some(step);
            }
        }
        found
    }

    /// RFC 4226 §5.3.
    fn code(&self, step: i64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let at = usize::from(tag[tag.len() - 1] & 0x0f);
        let truncated = u32::from_be_bytes([tag[at] & 0x7f, tag[at + 1], tag[at + 2], tag[at + 3]]);
        format!("{:06}", truncated % 10u32.pow(DIGITS))
    }

    /// The code of a moment, as an app shows it: for tests that stand in for one.
    pub fn code_at(&self, moment: OffsetDateTime) -> String {
        self.code(moment.unix_timestamp() / STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 6238, appendix B (SHA-1), the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = TotpSecret::from_octets(b"12345678901234567890".to_vec());
        for (second, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let moment = OffsetDateTime::from_unix_timestamp(second).expect("a moment");
            assert_eq!(secret.code_at(moment), code, "{second}");
            assert_eq!(secret.step_of(code, 0, moment), Some(second / 30));
        }
    }

    #[test]
    fn a_code_is_taken_a_step_early_or_late_and_never_twice() {
        let secret = TotpSecret::generate().expect("randomness");
        let now = OffsetDateTime::from_unix_timestamp(3_000_000).expect("a moment");
        let later = |seconds| now + time::Duration::seconds(seconds);
        let code = secret.code_at(now);
        assert_eq!(secret.step_of(&code, 0, later(30)), Some(100_000));
        assert_eq!(secret.step_of(&code, 0, later(-30)), Some(100_000));
        assert_eq!(secret.step_of(&format!(" {} {} ", &code[..3], &code[3..]), 0, now), Some(100_000));
        assert_eq!(secret.step_of(&code, 100_000, now), None, "taken already");
        assert_eq!(secret.step_of(&code, 0, later(60)), None);
        assert_eq!(secret.step_of("", 0, now), None);
    }

    #[test]
    fn an_app_reads_what_it_needs_and_debug_shows_nothing() {
        let secret = TotpSecret::from_octets(b"12345678901234567890".to_vec());
        let uri = secret.uri("ann@acme.example", "postroad & co");
        assert_eq!(
            uri,
            "otpauth://totp/postroad%20%26%20co:ann%40acme%2Eexample?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=postroad%20%26%20co&algorithm=SHA1&digits=6&period=30"
        );
        assert_eq!(format!("{secret:?}"), "TotpSecret(…)");
    }
}
