//! From a ruling to a result: what is written about an attempt. Pure, so that the same attempt always reads
//! the same.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::domain::delivery::Ending;
use crate::domain::handoff::Leased;
use crate::domain::notice::{NoticeKind, candidate};
use crate::domain::outcome::{AttemptReport, BounceClass, Hardness, Ruling, Suppress};
use crate::domain::retry::{Deferral, Next, delay_notices, next_try};
use crate::store::record::{Completion, Turn};

/// The result of an attempt on which `ruling` was made.
pub fn conclude(leased: &Leased, report: AttemptReport, ruling: Ruling, now: OffsetDateTime) -> Completion {
    match ruling {
        Ruling::Delivered => ended(leased, Some(report), Ending::Delivered, None, now),
        Ruling::Bounce { class, hardness, suppress } => {
            let mut completion = ended(leased, Some(report), Ending::Bounced, Some((class, hardness)), now);
            completion.suppress = Some((suppress, leased.recipient.key().to_owned()));
            completion
        }
        Ruling::Defer { class, not_before } => {
            let deferral = Deferral {
                attempts: leased.attempt,
                now,
                since: leased.since,
                expires_at: leased.expires_at,
                not_before,
                jitter: jitter(leased),
            };
            match next_try(deferral) {
                Next::TryAt(due_at) => deferred(leased, report, class, due_at, now),
                // RFC 3463: 5.4.7, delivery time expired. The class of the last trouble is kept inside.
                Next::Expired => expired(leased, Some(report), Some(class), now),
            }
        }
    }
}

/// It is tried again at `due_at`.
pub fn deferred(
    leased: &Leased,
    report: AttemptReport,
    class: BounceClass,
    due_at: OffsetDateTime,
    now: OffsetDateTime,
) -> Completion {
    let notices = delay_notices(now - leased.since).max(leased.delay_notices);
    let mut data =
        json!({ "class": class.as_str(), "next_attempt_at": rfc3339(due_at), "smtp": smtp(&report) });
    if notices > leased.delay_notices {
        data["delayed"] = Value::Bool(true);
    }
    let turn = Turn::Again { due_at, class, delay_notices: notices };
    completion(leased, Some(report), turn, data, now)
}

/// Its time ran out, in an attempt or while it waited.
pub fn expired(
    leased: &Leased,
    report: Option<AttemptReport>,
    last: Option<BounceClass>,
    now: OffsetDateTime,
) -> Completion {
    let mut data = json!({ "class": BounceClass::Expired.as_str(), "enhanced": "5.4.7" });
    if let Some(class) = last {
        data["last_class"] = class.as_str().into();
    }
    if let Some(report) = &report {
        data["smtp"] = smtp(report);
    }
    let turn = Turn::End {
        ending: Ending::Expired,
        class: Some(last.unwrap_or(BounceClass::Expired)),
        hardness: Hardness::Soft,
    };
    completion(leased, report, turn, data, now)
}

/// It ended otherwise than by a peer's word: suppressed or canceled.
pub fn stopped(leased: &Leased, ending: Ending, now: OffsetDateTime) -> Completion {
    ended(leased, None, ending, None, now)
}

/// It repeatedly took a worker down: a poison message.
pub fn condemned(leased: &Leased, report: AttemptReport, now: OffsetDateTime) -> Completion {
    ended(leased, Some(report), Ending::Bounced, Some((BounceClass::Internal, Hardness::Soft)), now)
}

fn ended(
    leased: &Leased,
    report: Option<AttemptReport>,
    ending: Ending,
    bounce: Option<(BounceClass, Hardness)>,
    now: OffsetDateTime,
) -> Completion {
    let mut data = json!({});
    if let Some(report) = &report {
        data["smtp"] = smtp(report);
    }
    if let Some((class, hardness)) = bounce {
        data["class"] = class.as_str().into();
        data["hard"] = (hardness == Hardness::Hard).into();
    }
    let turn = Turn::End {
        ending,
        class: bounce.map(|(class, _)| class),
        hardness: bounce.map_or(Hardness::Soft, |(_, hardness)| hardness),
    };
    completion(leased, report, turn, data, now)
}

fn completion(
    leased: &Leased,
    report: Option<AttemptReport>,
    turn: Turn,
    data: Value,
    now: OffsetDateTime,
) -> Completion {
    Completion {
        delivery: leased.id,
        tenant: leased.message.tenant,
        claim_no: leased.claim_no,
        attempt: leased.attempt,
        report,
        turn,
        event_data: data.to_string(),
        suppress: None::<(Suppress, String)>,
        notice: notice(leased, turn),
        at: now,
    }
}

/// What who submitted the mail may have to be told. Of delays the first only.
fn notice(leased: &Leased, turn: Turn) -> Option<NoticeKind> {
    let kind = match turn {
        Turn::End { ending: Ending::Delivered, .. } => NoticeKind::Relayed,
        Turn::End { ending: Ending::Bounced | Ending::Expired | Ending::Suppressed, .. } => {
            NoticeKind::Failed
        }
        Turn::Again { delay_notices: 1.., .. } if leased.delay_notices == 0 => NoticeKind::Delayed,
        Turn::End { ending: Ending::Canceled, .. } | Turn::Again { .. } => return None,
    };
    candidate(&leased.message.handling, &leased.particulars, kind)
}

/// What an event tells of the dialogue.
fn smtp(report: &AttemptReport) -> Value {
    json!({
        "step": report.step.as_str(),
        "code": report.code,
        "enhanced": report.enhanced,
        "text": report.text,
        "host": report.host,
        "ip": report.ip.map(|ip| ip.to_string()),
        "source": report.source.map(|ip| ip.to_string()),
        "tls": report.tls,
    })
}

fn rfc3339(moment: OffsetDateTime) -> String {
    // The format fails only for years beyond 9999.
    moment.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

/// Where in the spread of a delay this attempt falls: from −1 to 1, always the same for the same attempt.
fn jitter(leased: &Leased) -> f64 {
    let bits = leased.id.uuid().as_u128() ^ u128::from(leased.attempt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (bits as u64 ^ (bits >> 64) as u64).wrapping_mul(0x2545_f491_4f6c_dd1d);
    (mixed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}
