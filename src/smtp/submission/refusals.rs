//! What a submitter is told when mail is not taken: as `http/error` does for HTTP, the only place that knows which
//! error has which code here.
//!
//! Invariant: 4yz is said only where the same mail may be taken later.

use crate::account::rates::Exhausted;
use crate::domain::quota::Period;
use crate::smtp::reply::Reply;
use crate::store::StoreError;
use crate::submission::quotas::Exceeded;
use crate::submission::{AcceptError, Rejected, Rejection, Violation};

pub(super) const BAD_LOGIN: Reply =
    Reply::new(535, 7, 8, "Authentication failed: the password is an API key that may send");
pub(super) const LOGIN_UNKNOWN: Reply = Reply::new(454, 7, 0, "Logins cannot be checked now, try again");
pub(super) const TOO_MANY_LOGINS: Reply = Reply::new(421, 7, 0, "Too many bad logins, try later");
pub(super) const DATABASE_AWAY: Reply =
    Reply::new(451, 3, 0, "The database does not answer; nobody knows whether it was stored, try again");

/// A key has had its share.
pub(super) fn too_often(exhausted: Exhausted) -> Reply {
    let Exhausted { quota, wait_seconds } = exhausted;
    let text = format!("This key may be used {quota} times a second, try again in {wait_seconds} s");
    Reply::new(451, 7, 0, "Too often").saying(text)
}

/// A call that could not be answered.
pub(super) fn unanswered(error: AcceptError) -> Reply {
    match error {
        AcceptError::KeyReused => Reply::new(550, 6, 0, "Idempotency key reused")
            .saying("X-Postroad-Idempotency-Key was used with another mail; use a new one"),
        AcceptError::Refused(all) => match all.first() {
            Some((_, first)) => rejected(first),
            None => Reply::new(550, 6, 0, "Invalid"),
        },
        AcceptError::Quota(exceeded) => over_quota(exceeded),
        AcceptError::Busy => Reply::new(451, 3, 1, "More mail is coming in than can be stored, try again"),
        AcceptError::Store(StoreError::Full(_)) => Reply::new(452, 3, 1, "There is no room in the database"),
        AcceptError::Store(StoreError::Unavailable(_)) => DATABASE_AWAY,
        AcceptError::Store(error) => {
            tracing::error!(error = %error, "a mail failed in the database");
            Reply::new(451, 3, 0, "The mail could not be stored; the log has the reason, try again")
        }
    }
}

/// A limit of the tenant is reached (RFC 5321 §4.2.2: 452 is for what there is not enough of, for now).
fn over_quota(exceeded: Exceeded) -> Reply {
    let Exceeded { period, limit, wait_seconds, .. } = exceeded;
    let period = period.as_str();
    let text = format!("Limit of {limit} a {period} reached, try again in {wait_seconds} s");
    let code = if exceeded.period == Period::Second { 451 } else { 452 };
    Reply::new(code, 7, 0, "Limit reached").saying(text)
}

/// A mail that is not accepted. One line has room for all that is usually wrong.
pub(super) fn rejected(rejected: &Rejected) -> Reply {
    let told: Vec<String> = rejected.violations.iter().map(told).collect();
    let is_loop = rejected.violations.iter().any(|violation| violation.code == "mail_loop");
    let reply = match rejected.rejection {
        Rejection::Invalid if is_loop => Reply::new(554, 4, 6, "In a loop"),
        Rejection::Invalid => Reply::new(550, 6, 0, "Invalid"),
        Rejection::Forbidden => Reply::new(550, 7, 1, "Forbidden"),
        Rejection::TooLarge => Reply::new(552, 3, 4, "Too large"),
    };
    reply.saying(told.join("; "))
}

/// A violation under the name that an SMTP client gave the thing.
fn told(violation: &Violation) -> String {
    let name = match violation.pointer.split('/').nth(1) {
        Some("send_at") => "X-Postroad-Send-At: ",
        Some("stream") => "X-Postroad-Stream: ",
        Some("tags") => "X-Postroad-Tag: ",
        Some("tracking") => "X-Postroad-Track: ",
        _ => "",
    };
    format!("{name}{}", violation.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_control_field_and_says_all() {
        let both = vec![
            Violation::new("/send_at", "too_far_ahead", "30 days ahead at most"),
            Violation::new("", "invalid_message", "the message has no From"),
        ];
        let reply = rejected(&Rejected::invalid(both));
        let text = "X-Postroad-Send-At: 30 days ahead at most; the message has no From";
        assert_eq!(reply, Reply::new(550, 6, 0, text));
        let looped = Violation::new("", "mail_loop", "a loop");
        assert_eq!(rejected(&Rejected::invalid(vec![looped])), Reply::new(554, 4, 6, "a loop"));
        let forbidden = Violation::new("/from", "sender_not_verified", "not yours");
        assert_eq!(rejected(&Rejected::forbidden(forbidden)), Reply::new(550, 7, 1, "not yours"));
        assert_eq!(rejected(&Rejected::too_large(7)).code(), 552);
    }
}
