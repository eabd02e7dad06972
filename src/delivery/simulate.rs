//! The addresses that simulate: every outcome can be tried out, on any route, and no mail leaves.

use time::{Duration, OffsetDateTime};

use crate::domain::delivery::Ending;
use crate::domain::handoff::Leased;
use crate::domain::outcome::{AttemptReport, BounceClass, Hardness, Ruling, Step, Suppress};
use crate::mail::reply::SmtpReply;

use super::conclude::{conclude, deferred, stopped};
use super::record::{Completed, Finished, Sequel};
use crate::domain::classify::classify;

/// Mail to this domain is never sent. `.test` belongs to nobody (RFC 6761).
pub const SIMULATOR_DOMAIN: &str = "simulator.postroad.test";

/// Whether the recipient simulates.
pub fn is_simulated(leased: &Leased) -> bool {
    leased.recipient.domain() == SIMULATOR_DOMAIN
}

/// Plays the recipient's part.
pub fn simulate(leased: Leased, now: OffsetDateTime) -> Finished {
    // `+label` tells tests apart, as it does with real mailboxes.
    let name = leased.recipient.local().split('+').next().unwrap_or_default().to_ascii_lowercase();
    let mut sequel = Sequel::None;
    let completion = match (name.as_str(), leased.attempt) {
        ("suppressed", _) => stopped(&leased, Ending::Suppressed, now),
        ("deferred", attempt @ (1 | 2)) => {
            let (report, _) = answered(Step::Rcpt, 451, "4.7.1 simulated: come back later", now);
            deferred(&leased, report, BounceClass::Greylisted, now + Duration::seconds(attempt.into()), now)
        }
        ("delivered" | "deferred" | "complained", _) => {
            if name == "complained" {
                sequel = Sequel::Complaint;
            }
            let (report, _) = answered(Step::Body, 250, "2.0.0 simulated: taken", now);
            conclude(&leased, report, Ruling::Delivered, now)
        }
        // `bounced@`, and every mailbox that does not exist here.
        _ => {
            let (report, reply) = answered(Step::Rcpt, 550, "5.1.1 simulated: no such mailbox", now);
            conclude(&leased, report, unsuppressed(classify(Step::Rcpt, &reply)), now)
        }
    };
    Finished::Completed(Box::new(Completed { completion, room: leased.room, sequel }))
}

/// Simulated recipients never enter the suppression list.
fn unsuppressed(ruling: Ruling) -> Ruling {
    match ruling {
        Ruling::Bounce { class, .. } => {
            Ruling::Bounce { class, hardness: Hardness::Hard, suppress: Suppress::Never }
        }
        other => other,
    }
}

fn answered(step: Step, code: u16, text: &str, now: OffsetDateTime) -> (AttemptReport, SmtpReply) {
    let reply = SmtpReply::from_lines(code, [text]);
    let report = AttemptReport {
        started_at: now,
        duration_ms: 0,
        step,
        host: Some(SIMULATOR_DOMAIN.to_owned()),
        ip: None,
        source: None,
        tls: None,
        code: Some(code),
        enhanced: reply.enhanced.map(|status| status.to_string()),
        text: reply.text.clone(),
    };
    (report, reply)
}
