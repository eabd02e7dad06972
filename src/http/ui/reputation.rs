//! `/ui/reputation`: how a tenant's senders stand with their recipients, and who lists its domains.
//! `/ui/operator/reputation`: the same over all tenants, the worst first, and what the world's DNS says of our addresses.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use crate::domain::reputation::{Figures, Reputation, Standing, SubjectKind, WINDOW};
use crate::domain::user::Act;
use crate::http::App;
use crate::store::reputation::{self, Standings};

use super::frame::{Failed, Frame, Page, shown};
use super::show::{self, At, Badge, Tone};

/// Senders that are shown.
const MOST: i64 = 500;

#[derive(Template)]
#[template(path = "ui/reputation.html")]
struct Shown {
    frame: Frame,
    /// Of all tenants.
    is_all: bool,
    days: i64,
    senders: Vec<Sender>,
    names: Vec<Named>,
}

struct Sender {
    /// Whose; empty: the one that is shown.
    tenant: String,
    kind: &'static str,
    name: String,
    badge: Badge,
    delivered: String,
    bounce_rate: String,
    complaint_rate: String,
    since: At,
    /// Its broadcast mail is held.
    is_held: bool,
}

/// An address or a domain, and what DNS says of it.
struct Named {
    name: String,
    dns: Dns,
}

/// What the world's DNS says of a name.
pub(super) struct Dns {
    /// Whether the address and its name lead to each other; `None`: it has none.
    pub(super) reverse: Option<Badge>,
    /// Where it leads to.
    pub(super) names: String,
    /// Lists that have it, with what they say.
    pub(super) listed: Vec<String>,
    /// Lists that were asked and do not.
    pub(super) clear: usize,
    /// Lists that did not answer.
    pub(super) unknown: usize,
    /// When it was looked up.
    pub(super) at: At,
}

/// What was found, for people.
pub(super) fn dns(found: &Standings) -> Dns {
    let zones = found.findings["zones"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of = |status: &str| zones.iter().filter(|zone| zone["status"] == status).count();
    let reverse = found.findings["fcrdns"].as_object();
    Dns {
        reverse: reverse.map(|reverse| match reverse.get("status").and_then(Value::as_str) {
            Some("ok") => Badge("ok", Tone::Good),
            Some("unknown") | None => Badge("unknown", Tone::Plain),
            Some(_) => Badge("wrong", Tone::Bad),
        }),
        names: reverse
            .and_then(|reverse| reverse.get("names")?.as_array())
            .map(|names| names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
            .unwrap_or_default(),
        listed: zones.iter().filter(|zone| zone["status"] == "listed").map(listing).collect(),
        clear: of("clear"),
        unknown: of("unknown"),
        at: show::ago(found.checked_at),
    }
}

fn listing(zone: &Value) -> String {
    let (name, text) = (zone["zone"].as_str().unwrap_or_default(), zone["text"].as_str().unwrap_or_default());
    if text.is_empty() { name.to_owned() } else { format!("{name}: {text}") }
}

fn sender(tenant: String, of: &Reputation) -> Sender {
    let Figures { delivered, bounced, complained } = of.figures;
    Sender {
        tenant,
        kind: match of.subject.kind {
            SubjectKind::Domain => "domain",
            SubjectKind::Stream => "stream",
        },
        name: of.subject.name.clone(),
        badge: match of.standing {
            Standing::Good => Badge("good", Tone::Good),
            Standing::Warned => Badge("needs care", Tone::Warn),
            Standing::Held => Badge("broadcasts held", Tone::Bad),
        },
        delivered: show::count(delivered),
        bounce_rate: show::share(bounced, delivered + bounced),
        complaint_rate: rate(complained, delivered),
        since: show::ago(of.changed_at),
        is_held: of.standing == Standing::Held,
    }
}

/// Limits of complaints are hundredths of a percent.
fn rate(part: i64, whole: i64) -> String {
    if whole <= 0 { "–".to_owned() } else { format!("{:.2} %", part as f64 * 100.0 / whole as f64) }
}

fn named(found: &[Standings]) -> Vec<Named> {
    found.iter().map(|one| Named { name: one.name.clone(), dns: dns(one) }).collect()
}

/// The page of a tenant.
pub async fn own(State(app): State<App>, page: Page) -> Result<Response, Failed> {
    let mut connection = app.database.serve().acquire().await?;
    let senders = reputation::of_tenant(&mut connection, page.tenant(), MOST).await?;
    let names = reputation::standings_of_domains(&mut connection, page.tenant()).await?;
    shown(&Shown {
        frame: page.frame("Reputation", "reputation"),
        is_all: false,
        days: WINDOW.whole_days(),
        senders: senders.iter().map(|one| sender(String::new(), one)).collect(),
        names: named(&names),
    })
}

/// The page of the installation.
pub async fn all(State(app): State<App>, page: Page) -> Result<Response, Failed> {
    page.require(Act::Operate)?;
    let mut connection = app.database.serve().acquire().await?;
    let senders = reputation::worst_of_all_tenants(&mut connection, MOST).await?;
    let names = reputation::standings_of_ips(&mut connection).await?;
    shown(&Shown {
        frame: page.frame("Reputation of all tenants", "reputations"),
        is_all: true,
        days: WINDOW.whole_days(),
        senders: senders.into_iter().map(|(tenant, one)| sender(tenant, &one)).collect(),
        names: named(&names),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::OffsetDateTime;

    use super::*;

    #[test]
    fn what_lists_say_is_told_and_silence_is_no_verdict() {
        let findings = json!({
            "fcrdns": { "status": "mismatch", "names": [] },
            "zones": [
                { "zone": "zen.example", "status": "listed", "codes": ["127.0.0.2"], "text": "spam <b>" },
                { "zone": "b.example", "status": "clear", "codes": [], "text": null },
                { "zone": "c.example", "status": "unknown", "codes": [], "text": null },
            ],
        });
        let found = Standings {
            subject: "ip".to_owned(),
            name: "192.0.2.1".to_owned(),
            checked_at: OffsetDateTime::UNIX_EPOCH,
            findings,
        };
        let dns = dns(&found);
        assert_eq!((dns.reverse, dns.clear, dns.unknown), (Some(Badge("wrong", Tone::Bad)), 1, 1));
        assert_eq!(dns.listed, ["zen.example: spam <b>"]);
        assert_eq!([rate(3, 1000), rate(0, 10), rate(0, 0)], ["0.30 %", "0.00 %", "–"]);
    }
}
