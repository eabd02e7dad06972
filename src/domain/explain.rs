//! What happened to a mail, in words that anybody understands: who did what, why, and what follows. Pure; the page of a
//! message tells its story with these sentences.
//!
//! Nothing here decides anything: classes and outcomes come from `classify` and are only told.

use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::delivery::{DeliveryStatus, Ending};
use super::event::EventType;
use super::outcome::BounceClass;
use super::provider;

/// How good the news is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It arrived, or somebody liked it.
    Good,
    /// It waits.
    Waiting,
    /// It failed, or somebody minded.
    Bad,
    /// It is noted.
    Neutral,
}

/// A sentence or two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// How good the news is.
    pub mood: Mood,
    /// What happened, why, and what follows.
    pub text: String,
}

/// Where a delivery stands, as far as it can be told of.
#[derive(Debug, Clone)]
pub struct Standing<'a> {
    /// Where it stands.
    pub status: DeliveryStatus,
    /// To whom.
    pub recipient: &'a str,
    /// The host that was spoken to last.
    pub host: Option<&'a str>,
    /// Of what class the last trouble was.
    pub class: Option<BounceClass>,
    /// The address is on the suppression list.
    pub suppressed: bool,
    /// SMTP attempts so far.
    pub attempts: i32,
    /// When it is tried next.
    pub next: Option<OffsetDateTime>,
    /// Now.
    pub now: OffsetDateTime,
}

/// Tells where a delivery stands: the sentence above its story.
pub fn standing(it: &Standing<'_>) -> Told {
    let who = peer(it.host, it.recipient);
    match it.status {
        DeliveryStatus::Sending => told(Mood::Waiting, "It is being sent right now."),
        DeliveryStatus::Queued => waiting(it, &who),
        DeliveryStatus::Ended(Ending::Delivered) => {
            told(Mood::Good, format!("{who} took it and is responsible for it now."))
        }
        DeliveryStatus::Ended(Ending::Bounced) => {
            let class = it.class.unwrap_or(BounceClass::Unknown);
            told(Mood::Bad, format!("{} {}", refusal(&who, class), consequence(class, it.suppressed)))
        }
        DeliveryStatus::Ended(Ending::Expired) => {
            let why = it.class.map_or("", because);
            let text = format!(
                "We tried {} and gave up when its time ran out.{why} Send it again once the reason is gone.",
                times(it.attempts)
            );
            told(Mood::Bad, text)
        }
        DeliveryStatus::Ended(Ending::Suppressed) => told(
            Mood::Bad,
            "Not sent: the address is on your suppression list. Take it off there if its owner wants your mail again.",
        ),
        DeliveryStatus::Ended(Ending::Canceled) => told(Mood::Neutral, "Canceled before it was sent."),
    }
}

fn waiting(it: &Standing<'_>, who: &str) -> Told {
    let wait = it.next.map(|next| next - it.now).filter(|wait| *wait > Duration::ZERO);
    let when = wait.map_or_else(|| "now".to_owned(), |wait| format!("in {}", span(wait)));
    let text = match (it.attempts, it.class) {
        (0, _) if wait.is_some() => format!("It is scheduled, and goes out {when}."),
        (0, _) => "It is queued, and goes out as soon as it is its turn.".to_owned(),
        (attempts, class) => {
            let why =
                class.map_or_else(|| format!("{who} did not take it yet."), |class| deferral(who, class));
            format!("{why} We tried {} and will try again {when}.", times(attempts))
        }
    };
    told(Mood::Waiting, text)
}

/// Tells of one attempt. `result` is as it is kept: `delivered`, `deferred`, `bounced`, …, or `stale`.
pub fn attempt(result: &str, class: Option<BounceClass>, host: Option<&str>, recipient: &str) -> Told {
    let who = peer(host, recipient);
    let class = class.unwrap_or(BounceClass::Unknown);
    match result {
        "delivered" => told(Mood::Good, format!("{who} took the mail.")),
        "deferred" => told(Mood::Waiting, deferral(&who, class)),
        "bounced" => told(Mood::Bad, refusal(&who, class)),
        "expired" => told(Mood::Bad, format!("{} Its time had run out.", deferral(&who, class))),
        "canceled" => told(Mood::Neutral, "Stopped: it had been canceled."),
        "suppressed" => told(Mood::Bad, "Not sent: the address is suppressed."),
        "stale" => told(
            Mood::Neutral,
            "This process had lost the mail to another one meanwhile; what came of it here does not count.",
        ),
        other => told(Mood::Neutral, other.to_owned()),
    }
}

/// Tells of an event that no attempt tells of.
pub fn event(kind: EventType, data: &Value) -> Told {
    let text = |name: &str| data.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let is = |name: &str| data.get(name) == Some(&Value::Bool(true));
    match kind {
        EventType::Accepted => told(Mood::Neutral, "Accepted, and stored safely."),
        EventType::Deferred if is("delayed") => told(Mood::Waiting, "It is late; its sender has been told."),
        EventType::Deferred => told(Mood::Waiting, "Not taken yet; it will be tried again."),
        EventType::Delivered if is("sandbox") => {
            told(Mood::Good, "Counts as delivered. It was sent with a test key, and never leaves the house.")
        }
        EventType::Delivered => told(Mood::Good, "Delivered."),
        EventType::Bounced if is("late") => told(
            Mood::Bad,
            "The receiving side took the mail first, and returned it later: it did not reach the mailbox.",
        ),
        EventType::Bounced => told(Mood::Bad, "Bounced."),
        EventType::Expired => told(Mood::Bad, "Given up: its time ran out."),
        EventType::Suppressed => told(Mood::Bad, "Not sent: the address is suppressed."),
        EventType::Canceled => told(Mood::Neutral, "Canceled."),
        EventType::Complained => told(
            Mood::Bad,
            "The recipient called this mail spam. We will not mail this address again: each such complaint hurts how \
             your mail is received.",
        ),
        EventType::Opened if is("machine") => told(
            Mood::Neutral,
            "Fetched by a machine, such as a mail service's proxy: that need not be a person.",
        ),
        EventType::Opened if is("receipt") => {
            told(Mood::Good, "The recipient's mail program sent a receipt: the mail was shown.")
        }
        EventType::Opened => told(Mood::Good, "The recipient opened it."),
        EventType::Clicked => {
            let link = text("url").map_or_else(|| "a link".to_owned(), |url| format!("the link {url}"));
            if is("machine") {
                told(Mood::Neutral, format!("A machine followed {link}: a filter that looks where it leads."))
            } else {
                told(Mood::Good, format!("The recipient followed {link}."))
            }
        }
        EventType::Unsubscribed => {
            told(Mood::Neutral, "The recipient unsubscribed, and gets no more of this stream.")
        }
        EventType::Received => told(Mood::Neutral, "Mail came in."),
    }
}

fn told(mood: Mood, text: impl Into<String>) -> Told {
    Told { mood, text: text.into() }
}

/// Who is spoken of: a provider by its name among people, else the host, else the domain.
pub fn peer(host: Option<&str>, recipient: &str) -> String {
    let domain = recipient.rsplit_once('@').map_or(recipient, |(_, domain)| domain).to_ascii_lowercase();
    let known = host.and_then(provider::of_exchanger).or_else(|| provider::of_domain(&domain));
    match known {
        Some(name) => spoken(name).to_owned(),
        None => host
            .filter(|host| !host.is_empty())
            .map_or_else(|| format!("The mail server of {domain}"), str::to_owned),
    }
}

fn spoken(name: &'static str) -> &'static str {
    match name {
        "google" => "Gmail",
        "microsoft" => "Microsoft",
        "yahoo" => "Yahoo",
        "apple" => "iCloud",
        "gmx" => "GMX",
        "proton" => "Proton",
        "comcast" => "Comcast",
        "yandex" => "Yandex",
        "mail.ru" => "Mail.ru",
        "orange" => "Orange",
        "qq" => "QQ Mail",
        "netease" => "NetEase",
        "fastmail" => "Fastmail",
        "zoho" => "Zoho",
        "proofpoint" => "Proofpoint",
        "mimecast" => "Mimecast",
        other => other,
    }
}

/// Why it was refused for good.
fn refusal(who: &str, class: BounceClass) -> String {
    match class {
        BounceClass::InvalidRecipient => format!("{who} refused this address: the mailbox does not exist."),
        BounceClass::InactiveMailbox => format!("{who} refused this address: the mailbox is disabled."),
        BounceClass::MailboxFull => format!("{who} refused the mail: the mailbox is full."),
        BounceClass::DomainNotFound => {
            "There is no place to send this to: the domain takes no mail.".to_owned()
        }
        BounceClass::RateLimited => format!("{who} refused the mail: too much came from us at once."),
        BounceClass::Greylisted => format!("{who} refused the mail, although it asked to come again."),
        BounceClass::ReputationBlock => {
            format!("{who} refused the mail: it distrusts the address we send from.")
        }
        BounceClass::SpamContent => format!("{who} refused the mail: it takes its content for spam."),
        BounceClass::AuthPolicy => {
            format!("{who} refused the mail: SPF, DKIM, DMARC or TLS is not as it demands.")
        }
        BounceClass::MessageInvalid => {
            format!("{who} refused the mail itself: its size or form is not acceptable there.")
        }
        BounceClass::RelayDenied => format!("{who} does not take mail for this address from us."),
        BounceClass::Network => format!("{who} could not be reached, or broke off."),
        BounceClass::Expired => format!("{who} did not take it in time."),
        BounceClass::Internal => "We could not prepare this mail for sending.".to_owned(),
        BounceClass::Unknown => format!("{who} refused the mail."),
    }
}

/// Why it was not taken yet.
fn deferral(who: &str, class: BounceClass) -> String {
    match class {
        BounceClass::Greylisted => {
            format!("{who} asked us to come again later, as many do with a first mail.")
        }
        BounceClass::RateLimited => format!("{who} wants less mail from us at once, so we slow down."),
        BounceClass::MailboxFull => format!("The mailbox is full, says {who}."),
        BounceClass::Network => format!("{who} could not be reached, or broke off."),
        BounceClass::ReputationBlock => format!("{who} distrusts the address we send from, for now."),
        BounceClass::AuthPolicy => format!("{who} wants SPF, DKIM, DMARC or TLS to be other than it is."),
        BounceClass::RelayDenied => {
            format!("{who} does not accept our credentials, or does not take mail from us.")
        }
        BounceClass::DomainNotFound => "The domain's mail servers cannot be found at the moment.".to_owned(),
        BounceClass::SpamContent => format!("{who} suspects spam, and did not take it yet."),
        BounceClass::InvalidRecipient | BounceClass::InactiveMailbox => {
            format!("{who} does not know this mailbox at the moment.")
        }
        BounceClass::MessageInvalid | BounceClass::Expired | BounceClass::Internal | BounceClass::Unknown => {
            format!("{who} did not take it yet.")
        }
    }
}

/// What a refusal brings about, and what its reader can do.
fn consequence(class: BounceClass, suppressed: bool) -> &'static str {
    match (class, suppressed) {
        (_, true) => "We will not try again and have suppressed it.",
        (BounceClass::MailboxFull, _) => "We will not try this mail again; another one may fit.",
        (BounceClass::ReputationBlock, _) => {
            "We will not try again. The address is not suppressed: look at your reputation with this receiver."
        }
        (BounceClass::SpamContent, _) => {
            "We will not try again. Change the content before you send it again."
        }
        (BounceClass::AuthPolicy, _) => "We will not try again. Look at your domain's records first.",
        (BounceClass::MessageInvalid, _) => "We will not try again. Make it smaller or simpler.",
        (BounceClass::Internal, _) => "Please report it; the mail is kept.",
        _ => "We will not try again.",
    }
}

fn because(class: BounceClass) -> &'static str {
    match class {
        BounceClass::Greylisted => " The receiving side kept asking to come again.",
        BounceClass::RateLimited => " The receiving side took too little at once.",
        BounceClass::MailboxFull => " The mailbox was full.",
        BounceClass::Network => " The receiving side could not be reached.",
        BounceClass::DomainNotFound => " The domain's mail servers could not be found.",
        BounceClass::ReputationBlock => " The receiving side distrusts the address we send from.",
        BounceClass::AuthPolicy => " The receiving side wants other authentication.",
        _ => "",
    }
}

fn times(attempts: i32) -> String {
    match attempts {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

/// A length of time to wait, rounded as people do.
fn span(wait: Duration) -> String {
    let of = |number: i64, unit: &str| format!("{number} {unit}{}", if number == 1 { "" } else { "s" });
    match wait.whole_seconds() {
        seconds if seconds < 90 => of(seconds.max(1), "second"),
        seconds if seconds < 90 * 60 => of((seconds + 30) / 60, "minute"),
        seconds if seconds < 36 * 3600 => of((seconds + 1800) / 3600, "hour"),
        seconds => of((seconds + 43_200) / 86_400, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-29 12:00 UTC);

    fn it(status: DeliveryStatus, class: Option<BounceClass>) -> Standing<'static> {
        Standing {
            status,
            recipient: "ann@example.net",
            host: None,
            class,
            suppressed: false,
            attempts: 1,
            next: None,
            now: NOW,
        }
    }

    #[test]
    fn a_delivery_says_who_did_what_and_what_follows() {
        let bounced = DeliveryStatus::Ended(Ending::Bounced);
        let gmail = Standing {
            host: Some("gmail-smtp-in.l.google.com"),
            suppressed: true,
            ..it(bounced, Some(BounceClass::InvalidRecipient))
        };
        let greylisted = Standing {
            host: Some("mx.example.net"),
            attempts: 2,
            next: Some(NOW + Duration::minutes(10)),
            ..it(DeliveryStatus::Queued, Some(BounceClass::Greylisted))
        };
        let scheduled = Standing {
            attempts: 0,
            next: Some(NOW + Duration::hours(5)),
            ..it(DeliveryStatus::Queued, None)
        };
        let expired = Standing {
            attempts: 9,
            ..it(DeliveryStatus::Ended(Ending::Expired), Some(BounceClass::Network))
        };
        let table = [
            (
                gmail,
                "Gmail refused this address: the mailbox does not exist. We will not try again and have suppressed it.",
            ),
            (
                it(bounced, Some(BounceClass::SpamContent)),
                "The mail server of example.net refused the mail: it takes its content for spam. We will not try again. \
                 Change the content before you send it again.",
            ),
            (
                greylisted,
                "mx.example.net asked us to come again later, as many do with a first mail. We tried twice and will try \
                 again in 10 minutes.",
            ),
            (scheduled, "It is scheduled, and goes out in 5 hours."),
            (
                expired,
                "We tried 9 times and gave up when its time ran out. The receiving side could not be reached. Send it \
                 again once the reason is gone.",
            ),
            (
                it(DeliveryStatus::Ended(Ending::Delivered), None),
                "The mail server of example.net took it and is responsible for it now.",
            ),
        ];
        for (it, wanted) in table {
            assert_eq!(standing(&it).text, wanted);
        }
    }

    #[test]
    fn every_class_has_a_sentence_for_each_end_and_none_promises_what_is_not_so() {
        for class in BounceClass::ALL {
            let refused = standing(&it(DeliveryStatus::Ended(Ending::Bounced), Some(class)));
            assert_eq!(refused.mood, Mood::Bad);
            assert!(!refused.text.contains("have suppressed"), "{class:?}: {}", refused.text);
            let deferred = attempt("deferred", Some(class), None, "ann@example.net");
            assert_eq!(deferred.mood, Mood::Waiting);
            assert!(deferred.text.ends_with('.') && refused.text.ends_with('.'), "{class:?}");
        }
    }

    #[test]
    fn events_tell_people_from_machines() {
        let table = [
            (EventType::Opened, json!({ "machine": true }), Mood::Neutral),
            (EventType::Opened, json!({ "receipt": true }), Mood::Good),
            (EventType::Opened, json!({}), Mood::Good),
            (EventType::Clicked, json!({ "url": "https://acme.example/", "machine": false }), Mood::Good),
            (EventType::Complained, json!({}), Mood::Bad),
            (EventType::Bounced, json!({ "late": true }), Mood::Bad),
        ];
        for (kind, data, mood) in table {
            assert_eq!(event(kind, &data).mood, mood, "{kind:?} {data}");
        }
        let clicked = event(EventType::Clicked, &json!({ "url": "https://acme.example/" }));
        assert_eq!(clicked.text, "The recipient followed the link https://acme.example/.");
        for kind in EventType::ALL {
            assert!(!event(kind, &json!({})).text.is_empty(), "{kind:?}");
        }
    }

    #[test]
    fn waits_are_told_as_people_say_them() {
        let spans = [1, 45, 600, 5 * 3600, 3 * 86_400].map(|seconds| span(Duration::seconds(seconds)));
        assert_eq!(spans, ["1 second", "45 seconds", "10 minutes", "5 hours", "3 days"]);
    }
}
