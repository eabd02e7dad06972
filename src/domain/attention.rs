//! What needs attention, in words: from figures and states to sentences that somebody can act on. Pure, a table of
//! rules; each says what is so, why it matters, and where to go.

use time::{Duration, OffsetDateTime};

/// How urgent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Mail is lost or about to be.
    Now,
    /// It will be, if nobody looks.
    Soon,
    /// Good to know.
    Note,
}

/// Something that needs attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matter {
    /// How urgent it is.
    pub urgency: Urgency,
    /// What is so, and why it matters.
    pub text: String,
    /// The page where something can be done about it, below the dashboard's root.
    pub page: String,
    /// What is to be done there.
    pub act: &'static str,
}

/// What is looked at.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Deliveries of the time that is looked at, by how they ended.
    pub delivered: i64,
    /// Deliveries that could not be made.
    pub bounced: i64,
    /// Deliveries whose time ran out.
    pub expired: i64,
    /// Complaints.
    pub complained: i64,
    /// Since when the longest waiting mail has been due.
    pub due_since: Option<OffsetDateTime>,
    /// Sender domains that were verified and are not any more: id and name.
    pub failing_domains: Vec<(String, String)>,
    /// Sender domains that are still to be verified.
    pub pending_domains: Vec<(String, String)>,
    /// Webhooks that were switched off because they failed: id and URL.
    pub disabled_webhooks: Vec<(String, String)>,
    /// Webhooks that fail at the moment.
    pub failing_webhooks: Vec<(String, String)>,
    /// Keys that run out: name and when.
    pub expiring_keys: Vec<(String, OffsetDateTime)>,
    /// Pauses that hold mail of the tenant.
    pub pauses: usize,
    /// The tenant is suspended.
    pub is_suspended: bool,
    /// Nothing leaves the machine.
    pub is_captured: bool,
    /// Senders must have a verified domain, and there is none.
    pub lacks_domain: bool,
}

/// Fewer ended deliveries than this say nothing about a rate.
const FEW: i64 = 50;
/// Large receivers think ill of senders from these rates on: 0.1 % is what Gmail and Yahoo want, 0.3 % the end.
const COMPLAINTS: f64 = 0.001;
const MANY_COMPLAINTS: f64 = 0.003;
const BOUNCES: f64 = 0.05;
/// Due mail that nobody has taken for so long means that something stands still.
const STANDSTILL: Duration = Duration::minutes(15);
/// How long before a key runs out somebody should know.
const KEY_WARNING: Duration = Duration::days(14);

/// What needs attention, the most urgent first.
pub fn matters(facts: &Facts, now: OffsetDateTime) -> Vec<Matter> {
    let mut matters = Vec::new();
    standing(facts, &mut matters);
    rates(facts, &mut matters);
    queue(facts, now, &mut matters);
    domains(facts, &mut matters);
    webhooks(facts, &mut matters);
    keys(facts, now, &mut matters);
    matters.sort_by_key(|matter| matter.urgency);
    matters
}

fn matter(urgency: Urgency, text: impl Into<String>, page: impl Into<String>, act: &'static str) -> Matter {
    Matter { urgency, text: text.into(), page: page.into(), act }
}

fn standing(facts: &Facts, matters: &mut Vec<Matter>) {
    if facts.is_suspended {
        let text = "This tenant is suspended: nothing is accepted from it, and what is queued is held.";
        matters.push(matter(Urgency::Now, text, "settings", "Settings"));
    }
    if facts.is_captured {
        let text = "Mail is captured: nothing leaves this machine. Set POSTROAD_ROUTE to send for real.";
        matters.push(matter(Urgency::Note, text, "messages", "See what was captured"));
    }
    if facts.pauses > 0 {
        let text = match facts.pauses {
            1 => "Sending is paused in part: one pause holds mail.".to_owned(),
            many => format!("Sending is paused in part: {many} pauses hold mail."),
        };
        matters.push(matter(Urgency::Soon, text, "settings#pauses", "Look at the pauses"));
    }
}

fn rates(facts: &Facts, matters: &mut Vec<Matter>) {
    let ended = facts.delivered + facts.bounced + facts.expired;
    if ended < FEW {
        return;
    }
    let bounced = facts.bounced as f64 / ended as f64;
    if bounced >= BOUNCES {
        let text = format!(
            "{} of your mail bounced. Receivers distrust senders who mail dead addresses: find out where these come from.",
            percent(bounced)
        );
        matters.push(matter(Urgency::Now, text, "messages?status=bounced", "See what bounced"));
    }
    let complained = facts.complained as f64 / facts.delivered.max(1) as f64;
    if complained >= COMPLAINTS {
        let urgency = if complained >= MANY_COMPLAINTS { Urgency::Now } else { Urgency::Soon };
        let text = format!(
            "{} of your recipients called your mail spam. Gmail and Yahoo want less than 0.1 %, and block from 0.3 % on.",
            percent(complained)
        );
        matters.push(matter(urgency, text, "stats?group=stream", "See which stream"));
    }
}

fn queue(facts: &Facts, now: OffsetDateTime, matters: &mut Vec<Matter>) {
    let Some(waited) = facts.due_since.map(|since| now - since).filter(|waited| *waited >= STANDSTILL) else {
        return;
    };
    let text = format!(
        "Mail has been due for {} minutes and nobody has taken it. Is a process with the role worker running?",
        waited.whole_minutes()
    );
    matters.push(matter(Urgency::Now, text, "messages?status=queued", "See what waits"));
}

fn domains(facts: &Facts, matters: &mut Vec<Matter>) {
    for (id, name) in &facts.failing_domains {
        let text = format!("{name} fails: a record that was published is gone or was changed.");
        matters.push(matter(Urgency::Now, text, format!("domains/{id}"), "See which"));
    }
    for (id, name) in &facts.pending_domains {
        let text = format!("{name} is not verified yet: its records are still to be published.");
        matters.push(matter(Urgency::Soon, text, format!("domains/{id}"), "See the records"));
    }
    if facts.lacks_domain {
        let text =
            "You have no sender domain yet. Mail must come from a domain that you have proved to be yours.";
        matters.push(matter(Urgency::Soon, text, "domains", "Add a domain"));
    }
}

fn webhooks(facts: &Facts, matters: &mut Vec<Matter>) {
    for (id, url) in &facts.disabled_webhooks {
        let text =
            format!("The webhook {url} was switched off, because it failed for too long. Its events wait.");
        matters.push(matter(Urgency::Now, text, format!("webhooks/{id}"), "Look at its log"));
    }
    for (id, url) in &facts.failing_webhooks {
        let text =
            format!("The webhook {url} does not accept its events at the moment. They are tried again.");
        matters.push(matter(Urgency::Soon, text, format!("webhooks/{id}"), "Look at its log"));
    }
}

fn keys(facts: &Facts, now: OffsetDateTime, matters: &mut Vec<Matter>) {
    for (name, at) in &facts.expiring_keys {
        let left = *at - now;
        if left <= Duration::ZERO || left > KEY_WARNING {
            continue;
        }
        let days = left.whole_days();
        let when = if days == 0 { "today".to_owned() } else { format!("in {days} days") };
        let text = format!("The key “{name}” runs out {when}.");
        matters.push(matter(Urgency::Soon, text, "keys", "Make another"));
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-29 12:00 UTC);

    fn told(facts: &Facts) -> Vec<(Urgency, String)> {
        matters(facts, NOW).into_iter().map(|matter| (matter.urgency, matter.page)).collect()
    }

    #[test]
    fn nothing_is_said_where_nothing_is_wrong() {
        let fine = Facts { delivered: 10_000, bounced: 100, complained: 5, ..Facts::default() };
        assert_eq!(told(&fine), []);
        assert_eq!(told(&Facts { bounced: 10, ..Facts::default() }), [], "ten bounces are no rate");
    }

    #[test]
    fn each_rule_leads_where_something_can_be_done() {
        let named = |name: &str| vec![("x_1".to_owned(), name.to_owned())];
        let table = [
            (
                Facts { delivered: 90, bounced: 10, ..Facts::default() },
                Urgency::Now,
                "messages?status=bounced",
            ),
            (
                Facts { delivered: 1000, complained: 2, ..Facts::default() },
                Urgency::Soon,
                "stats?group=stream",
            ),
            (
                Facts { delivered: 1000, complained: 3, ..Facts::default() },
                Urgency::Now,
                "stats?group=stream",
            ),
            (
                Facts { due_since: Some(NOW - Duration::minutes(20)), ..Facts::default() },
                Urgency::Now,
                "messages?status=queued",
            ),
            (
                Facts { failing_domains: named("acme.example"), ..Facts::default() },
                Urgency::Now,
                "domains/x_1",
            ),
            (
                Facts { pending_domains: named("acme.example"), ..Facts::default() },
                Urgency::Soon,
                "domains/x_1",
            ),
            (
                Facts { disabled_webhooks: named("https://a.example"), ..Facts::default() },
                Urgency::Now,
                "webhooks/x_1",
            ),
            (
                Facts { failing_webhooks: named("https://a.example"), ..Facts::default() },
                Urgency::Soon,
                "webhooks/x_1",
            ),
            (
                Facts {
                    expiring_keys: vec![("shop".to_owned(), NOW + Duration::days(3))],
                    ..Facts::default()
                },
                Urgency::Soon,
                "keys",
            ),
            (Facts { pauses: 2, ..Facts::default() }, Urgency::Soon, "settings#pauses"),
            (Facts { is_suspended: true, ..Facts::default() }, Urgency::Now, "settings"),
            (Facts { is_captured: true, ..Facts::default() }, Urgency::Note, "messages"),
            (Facts { lacks_domain: true, ..Facts::default() }, Urgency::Soon, "domains"),
        ];
        for (facts, urgency, page) in table {
            assert_eq!(told(&facts), [(urgency, page.to_owned())], "{facts:?}");
        }
    }

    #[test]
    fn the_most_urgent_comes_first() {
        let facts = Facts {
            is_captured: true,
            pauses: 1,
            failing_domains: vec![("dom_1".to_owned(), "acme.example".to_owned())],
            ..Facts::default()
        };
        let urgencies: Vec<Urgency> = told(&facts).into_iter().map(|(urgency, _)| urgency).collect();
        assert_eq!(urgencies, [Urgency::Now, Urgency::Soon, Urgency::Note]);
    }
}
