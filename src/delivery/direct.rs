//! Mail that goes directly: from its recipient's domain to a site, or to an end without one. Nothing else waits
//! while a domain is looked up, and a domain that cannot be is asked for once, not once for each of its mails.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use time::OffsetDateTime;

use crate::domain::handling::Transport;
use crate::domain::handoff::Leased;
use crate::domain::outcome::{AttemptReport, BounceClass, Hardness, Ruling, Step, Suppress};
use crate::mail::reply::{EnhancedStatus, SmtpReply, printable};

use super::Delivery;
use super::conclude::conclude;
use super::domains::{ABSENCE, Domains, Look};
use super::record::Finished;
use super::resolve::{Finder, Plan, Refusal};
use super::transmit::UNSAFE;
use crate::domain::classify::{classify, no_reply};

/// What mail that goes directly needs.
#[derive(Debug)]
pub struct Direct {
    /// Finds the way.
    pub finder: Finder,
    /// Domains with trouble.
    pub domains: Domains,
}

/// Mail to one domain, protected alike.
type Bundles = HashMap<(String, Transport), Vec<Leased>>;

/// Sorts mail by where its way must be looked up.
#[derive(Debug, Default)]
pub struct Bundling(Bundles);

impl Bundling {
    /// One more.
    pub fn add(&mut self, leased: Leased, transport: Transport) {
        let domain = leased.recipient.domain().to_owned();
        self.0.entry((domain, transport)).or_default().push(leased);
    }

    /// Looks all of it up, each domain on its own.
    pub fn send(self, delivery: &Arc<Delivery>) {
        for ((domain, transport), mails) in self.0 {
            let delivery_of_it = Arc::clone(delivery);
            delivery
                .couriers
                .spawn(async move { delivery_of_it.send_directly(domain, transport, mails).await });
        }
    }
}

impl Delivery {
    async fn send_directly(self: Arc<Self>, domain: String, transport: Transport, mails: Vec<Leased>) {
        let (started_at, began) = (self.clock.now(), Instant::now());
        if let Some(until) = self.direct.domains.paused(&domain, started_at) {
            return self.hand_back(mails, until);
        }
        let plan = self.direct.finder.plan(&domain, transport, started_at).await;
        let now = self.clock.now();
        let unsent = |status: Option<String>, text: &str| unsent(status, text, started_at, began);
        match plan {
            Plan::To(exchange) => {
                self.direct.domains.well(&domain);
                self.bring_from_sources(exchange, &domain, mails, now);
            }
            Plan::Never(refusal) => {
                self.direct.domains.well(&domain);
                self.end_all(mails, &unsent(Some(refusal.status.to_owned()), &refusal.text), never(&refusal));
            }
            Plan::Absent(refusal) => {
                let look = self.direct.domains.absent(&domain, now);
                self.end_all(mails, &unsent(status_of(&refusal, look), &refusal.text), absent(look));
            }
            Plan::Later(text) => {
                let until = self.direct.domains.unknown(&domain, now);
                self.first_bears(mails, &unsent(None, &text), no_reply(BounceClass::Network), until);
            }
            Plan::Unsafe(text) => {
                self.tls_results.unsafe_plan(&domain);
                let until = self.direct.domains.unknown(&domain, now);
                let report = unsent(Some(UNSAFE.to_owned()), &text);
                self.first_bears(mails, &report, no_reply(BounceClass::Network), until);
            }
        }
    }

    /// The same for all: it is about where they go, not about one of them.
    pub(super) fn end_all(&self, mails: Vec<Leased>, report: &AttemptReport, ruling: Ruling) {
        for leased in mails {
            self.end(leased, report.clone(), ruling);
        }
    }

    /// The first mail bears the attempt; the rest goes back uncounted until the pause is over.
    pub(super) fn first_bears(
        &self,
        mails: Vec<Leased>,
        report: &AttemptReport,
        ruling: Ruling,
        until: OffsetDateTime,
    ) {
        let mut mails = mails.into_iter();
        if let Some(first) = mails.next() {
            self.end(first, report.clone(), ruling);
        }
        self.hand_back(mails.collect(), until);
    }

    fn end(&self, leased: Leased, report: AttemptReport, ruling: Ruling) {
        let completion = conclude(&leased, report, ruling, self.clock.now());
        self.recorder.record(Finished::completed(leased, completion));
    }
}

/// What the domain itself says counts at once.
fn never(refusal: &Refusal) -> Ruling {
    match refusal.status {
        // RFC 7505: nobody at this domain will ever take mail.
        "5.1.10" => Ruling::Bounce {
            class: BounceClass::DomainNotFound,
            hardness: Hardness::Hard,
            suppress: Suppress::Now,
        },
        _ => match classify(Step::Route, &refusal.reply()) {
            // Where a name leads says nothing about the address.
            Ruling::Bounce { class, .. } => {
                Ruling::Bounce { class, hardness: Hardness::Soft, suppress: Suppress::Never }
            }
            other => other,
        },
    }
}

/// What is not there may be back soon: only the second look, an hour later, settles it.
fn absent(look: Look) -> Ruling {
    let class = BounceClass::DomainNotFound;
    match look {
        Look::Second => Ruling::Bounce { class, hardness: Hardness::Hard, suppress: Suppress::After(2) },
        Look::First => Ruling::Defer { class, not_before: ABSENCE },
    }
}

/// What is not settled yet is told as transient (RFC 3463 §2).
fn status_of(refusal: &Refusal, look: Look) -> Option<String> {
    Some(match look {
        Look::First => refusal.status.replacen('5', "4", 1),
        Look::Second => refusal.status.to_owned(),
    })
}

impl Refusal {
    /// As a peer would have said it.
    pub(super) fn reply(&self) -> SmtpReply {
        SmtpReply { code: self.code, enhanced: EnhancedStatus::parse(self.status), text: self.text.clone() }
    }
}

/// An attempt that ended before anybody was dialled. Nobody replied: a code is only in its status.
fn unsent(enhanced: Option<String>, text: &str, started_at: OffsetDateTime, began: Instant) -> AttemptReport {
    AttemptReport {
        started_at,
        duration_ms: i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX),
        step: Step::Route,
        host: None,
        ip: None,
        source: None,
        tls: None,
        code: None,
        enhanced,
        text: printable(text),
    }
}
