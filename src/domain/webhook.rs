//! Webhooks as Standard Webhooks has them (standard-webhooks/spec): secrets, signatures, and when to try again.

use std::fmt;

use aws_lc_rs::{hmac, rand};
use data_encoding::{BASE64, BASE64_NOPAD};
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::seal::NoRandomness;

use super::account_notice::Kind;
use super::event::EventType;

/// The most types, streams or tags an endpoint may be narrowed to.
pub const MAX_FILTER: usize = 50;
/// The most events in one request.
pub const MAX_BATCH: i64 = 500;
/// The longest URL, in octets.
pub const MAX_URL: usize = 2000;
/// How long an endpoint may fail before it is disabled.
pub const PATIENCE: Duration = Duration::days(5);

/// Whether this is the name of something that is posted.
pub fn is_type(name: &str) -> bool {
    name.parse::<EventType>().is_ok() || Kind::ALL.iter().any(|kind| kind.as_str() == name)
}

/// What signs the requests to an endpoint: 24 to 64 octets. Its `Debug` prints nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

/// Not the form of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret is whsec_ and 24 to 64 octets in base 64")]
pub struct BadSecret;

const PREFIX: &str = "whsec_";
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

impl WebhookSecret {
    /// A new one of 32 octets.
    ///
    /// # Errors
    /// Only when the operating system has no randomness to give.
    pub fn generate() -> Result<WebhookSecret, NoRandomness> {
        let mut octets = vec![0; 32];
        rand::fill(&mut octets).map_err(|_| NoRandomness)?;
        Ok(WebhookSecret(octets))
    }

    /// Reads `whsec_…`.
    ///
    /// # Errors
    /// [`BadSecret`].
    pub fn parse(text: &str) -> Result<WebhookSecret, BadSecret> {
        let digits = text.strip_prefix(PREFIX).ok_or(BadSecret)?;
        let octets = BASE64_NOPAD.decode(digits.trim_end_matches('=').as_bytes()).map_err(|_| BadSecret)?;
        WebhookSecret::from_octets(octets)
    }

    /// From the octets that sign.
    ///
    /// # Errors
    /// [`BadSecret`]: too few or too many.
    pub fn from_octets(octets: Vec<u8>) -> Result<WebhookSecret, BadSecret> {
        if LENGTHS.contains(&octets.len()) { Ok(WebhookSecret(octets)) } else { Err(BadSecret) }
    }

    /// The octets that sign, to be sealed.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// `whsec_…`, to be shown once.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", BASE64.encode(&self.0))
    }

    /// The signature of a request: HMAC-SHA-256 over its id, its time and its body.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64.encode(context.sign().as_ref()))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

/// Waits before the second, third, … attempt, in seconds: the schedule that Standard Webhooks recommends.
const SCHEDULE: [i64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// The spread around a wait: ±10 %.
const JITTER: f64 = 0.1;
/// The longest wait an endpoint may ask for.
const MAX_ASKED: Duration = Duration::days(1);

/// When to try again after `attempts` (1 or more); `None`: no more. Where in the spread it falls is `jitter`,
/// −1 to 1. What the endpoint asked for is heeded when it is longer.
pub fn next_call(
    attempts: u32,
    jitter: f64,
    asked: Option<Duration>,
    now: OffsetDateTime,
) -> Option<OffsetDateTime> {
    let index = usize::try_from(attempts.saturating_sub(1)).ok()?;
    let wait = Duration::seconds(*SCHEDULE.get(index)?) * (1.0 + JITTER * jitter.clamp(-1.0, 1.0));
    Some(now + wait.max(asked.unwrap_or_default()))
}

/// Reads `Retry-After` (RFC 9110 §10.2.3): seconds or a date. At most a day; nothing that has passed.
pub fn retry_after(text: &str, now: OffsetDateTime) -> Option<Duration> {
    let text = text.trim();
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let wait = match text.parse::<u32>() {
        Ok(seconds) => Duration::seconds(seconds.into()),
        Err(_) => PrimitiveDateTime::parse(text, format).ok()?.assume_utc() - now,
    };
    (wait > Duration::ZERO).then(|| wait.min(MAX_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-24 10:00 UTC);

    // The example of the specification's own libraries.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let body = br#"{"test": 2432232314}"#;
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_have_24_to_64_octets_and_are_not_printed() {
        let secret = WebhookSecret::generate().expect("randomness");
        assert_eq!(WebhookSecret::parse(&secret.reveal()), Ok(secret.clone()));
        assert_eq!(format!("{secret:?}"), "WebhookSecret(…)");
        let of = |length| format!("whsec_{}", BASE64.encode(&vec![7; length]));
        assert!(WebhookSecret::parse(&of(24)).is_ok() && WebhookSecret::parse(&of(64)).is_ok());
        for bad in [of(23), of(65), "whsec_".to_owned(), BASE64.encode(&[7; 32]), "whsec_*".to_owned()] {
            assert_eq!(WebhookSecret::parse(&bad), Err(BadSecret), "{bad}");
        }
    }

    #[test]
    fn the_schedule_is_that_of_the_specification_and_then_it_is_over() {
        let waits: Vec<i64> =
            (1..).map_while(|n| next_call(n, 0.0, None, NOW)).map(|at| (at - NOW).whole_seconds()).collect();
        assert_eq!(waits, [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]);
        assert_eq!(next_call(2, -1.0, None, NOW), Some(NOW + Duration::seconds(270)));
        assert_eq!(next_call(2, 9.0, None, NOW), Some(NOW + Duration::seconds(330)));
        let asked = Some(Duration::seconds(60));
        assert_eq!(next_call(1, 0.0, asked, NOW), Some(NOW + Duration::seconds(60)));
        assert_eq!(next_call(2, 0.0, asked, NOW), Some(NOW + Duration::seconds(300)));
        assert_eq!(next_call(10, 0.0, asked, NOW), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let cases = [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("Tue, 24 Nov 2026 10:01:00 GMT", Some(60)),
            ("Tue, 24 Nov 2026 09:59:00 GMT", None),
            ("99999999", Some(86_400)),
            ("0", None),
            ("-5", None),
            ("soon", None),
        ];
        for (text, expected) in cases {
            assert_eq!(retry_after(text, NOW), expected.map(Duration::seconds), "{text}");
        }
    }
}
