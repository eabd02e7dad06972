//! A courier: one connection to one site, on a seat of this process's share, and the mail it carries. It opens
//! the connection first and takes mail only then, so that a dead site costs one mail's attempt and not one for every connection tried.

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use time::{Duration, OffsetDateTime};

use crate::domain::delivery::Ending;
use crate::domain::handoff::Leased;
use crate::domain::id::DeliveryId;
use crate::domain::netguard;
use crate::domain::outcome::{AttemptReport, BounceClass, Ruling, Step};
use crate::domain::relay::{Auth, Endpoint};
use crate::mail::reply::{SmtpReply, printable};

use super::Delivery;
use super::apportion;
use super::conclude::{conclude, expired, stopped};
use super::dial;
use super::observe;
use super::prepare::prepare;
use super::record::Finished;
use super::share::Seat;
use super::site::{Brought, Reach, Refused, Site, Target};
use super::transmit::{self, Circle, Connection, Credentials, Dial, Failure, Peer, Trouble};
use crate::domain::classify::{classify, no_reply, outcome_unknown};

/// When mail comes again whose courier panicked.
const ABANDONED_WAIT: Duration = Duration::seconds(30);

/// Carries mail over one connection until the site has none left for it, or it is worn.
pub async fn run(delivery: Arc<Delivery>, site: Arc<Site>) {
    let mut place = Place { site: Arc::clone(&site), arrived: false, left: false };
    let Some(seat) = delivery.shares.seat(&site.share).await else {
        return delivery.refuse_of(&site, place.denied(delivery.clock.now()));
    };
    let mut courier = Courier {
        delivery: Arc::clone(&delivery),
        site: Arc::clone(&site),
        connection: None,
        seat,
        in_hand: None,
        told_of: Vec::new(),
    };
    let carried = AssertUnwindSafe(courier.carry(&mut place)).catch_unwind().await;
    if carried.is_err() {
        courier.abandon();
    }
    // The next connection is not opened before this one has ended for the peer, too.
    courier.drop_connection().await;
    drop(courier);
    delivery.follow(&site, place.leave(delivery.clock.now()));
}

/// A courier's place among the connections of its site, given up whatever happens to the courier.
struct Place {
    site: Arc<Site>,
    arrived: bool,
    left: bool,
}

impl Place {
    /// Its connection is there, or will not be.
    fn arrive(&mut self) {
        if !std::mem::replace(&mut self.arrived, true) {
            self.site.arrived();
        }
    }

    fn leave(mut self, now: OffsetDateTime) -> Brought {
        self.arrive();
        self.left = true;
        self.site.connection_ended(now)
    }

    fn denied(mut self, now: OffsetDateTime) -> Vec<Refused> {
        self.arrive();
        self.left = true;
        self.site.connection_denied(now)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.arrive();
        if !self.left {
            self.site.connection_lost();
        }
    }
}

struct Courier {
    delivery: Arc<Delivery>,
    site: Arc<Site>,
    connection: Option<Connection>,
    /// The right to the connection.
    seat: Seat,
    /// What it is working on, should it panic.
    in_hand: Option<(DeliveryId, i32)>,
    /// The domains for whose mail the connection has been counted.
    told_of: Vec<String>,
}

/// A connection that could not be had, with what was learnt on the way.
struct Unconnected {
    failure: Failure,
    peer: Peer,
    started_at: OffsetDateTime,
    began: Instant,
}

impl Courier {
    async fn carry(&mut self, place: &mut Place) {
        self.delivery.recorder.ready().await;
        // Boxed, here and below: what is done once for many mails is not carried along with each.
        let opened = Box::pin(self.open()).await;
        place.arrive();
        if let Err(unconnected) = opened {
            return self.give_up(unconnected);
        }
        let idle = self.site.policy.limits.idle;
        let idle = idle.and_then(|idle| idle.try_into().ok()).unwrap_or(self.delivery.deadlines.idle);
        while !self.is_worn() {
            self.delivery.recorder.ready().await;
            let Some(leased) = self.site.next(idle, &mut self.seat, &self.delivery.clock).await else {
                return;
            };
            self.in_hand = Some((leased.id, leased.claim_no));
            self.deliver(leased).await;
            self.in_hand = None;
        }
    }

    /// It panicked. The mail it had comes again without a result: three such claims make it a suspect, and a
    /// suspect is claimed alone.
    fn abandon(&mut self) {
        let Some((delivery, claim_no)) = self.in_hand.take() else { return };
        tracing::error!(delivery.id = %delivery, "a courier panicked");
        let due_at = self.delivery.clock.now() + ABANDONED_WAIT;
        self.delivery.recorder.record(Finished::Abandoned { delivery, claim_no, due_at });
    }

    /// Opens a connection and keeps it.
    async fn open(&mut self) -> Result<(), Unconnected> {
        let (started_at, began) = (self.delivery.clock.now(), Instant::now());
        let mut peer = Peer::default();
        match self.connect(&mut peer).await {
            Ok(connection) => {
                observe::connected(None, began.elapsed());
                self.told_of.clear();
                self.connection = Some(connection);
                Ok(())
            }
            Err(failure) => {
                observe::connected(Some(failure.step), began.elapsed());
                Err(Unconnected { failure, peer, started_at, began })
            }
        }
    }

    async fn connect(&self, peer: &mut Peer) -> Result<Connection, Failure> {
        let endpoint = match &self.site.target {
            Target::Relay(endpoint) => endpoint,
            Target::Mx(exchange) => {
                let turn = self.site.next_turn();
                return dial::connect(&self.delivery, exchange, self.site.source.as_deref(), turn, peer)
                    .await;
            }
        };
        peer.host = Some(endpoint.host.clone());
        let addresses = self.resolve(endpoint).await?;
        let credentials = self.credentials(endpoint).await?;
        let dial = Dial {
            host: &endpoint.host,
            tls: endpoint.tls.into(),
            circle: Circle::Allowed,
            hello: &self.delivery.hostname,
            ourselves: &self.delivery.hostname,
            source: None,
            credentials,
            deadlines: self.delivery.deadlines,
        };
        transmit::connect(&dial, &addresses, &self.delivery.tls, peer).await
    }

    /// The addresses of the endpoint, as far as they may be dialled.
    async fn resolve(&self, endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Failure> {
        let lookup = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port));
        let found: Vec<SocketAddr> =
            transmit::within(Step::Route, self.delivery.deadlines.connect, lookup).await?.collect();
        let allowed: Vec<SocketAddr> = match self.site.reach {
            Reach::Anywhere => found,
            Reach::Public => found.into_iter().filter(|address| netguard::is_public(address.ip())).collect(),
        };
        if allowed.is_empty() {
            let text = "the relay's name leads to no public address".to_owned();
            return Err(Failure { step: Step::Route, trouble: Trouble::Broken(text) });
        }
        Ok(allowed)
    }

    async fn credentials(&self, endpoint: &Endpoint) -> Result<Option<Credentials>, Failure> {
        match &endpoint.auth {
            Auth::None => Ok(None),
            Auth::Password { username, password } => {
                Ok(Some(Credentials::Password { username: username.clone(), password: password.clone() }))
            }
            Auth::XOAuth2(oauth) => match self.delivery.tokens.get(oauth, self.delivery.clock.now()).await {
                Ok(token) => Ok(Some(Credentials::Bearer { username: oauth.username.clone(), token })),
                Err(error) => {
                    let text = format!("no access token for the relay: {error}");
                    let trouble = Trouble::Unmet { class: BounceClass::RelayDenied, status: None, text };
                    Err(Failure { step: Step::Auth, trouble })
                }
            },
        }
    }

    /// The site cannot be reached. The first mail that waits for it bears the attempt; the rest goes back
    /// uncounted until the pause is over. What is for good, and about the site, is so for all.
    fn give_up(&mut self, unconnected: Unconnected) {
        let now = self.delivery.clock.now();
        let (waiting, until) = self.site.unreachable(now);
        self.delivery.sources.unused(&self.site, waiting.len().saturating_sub(1));
        self.hear(&unconnected.failure, now);
        let Unconnected { failure, peer, started_at, began } = unconnected;
        self.count_failed(&waiting, &failure, &peer);
        let report = self.report(Err(&failure), Some(&peer), started_at, began);
        match self.rule(&failure) {
            for_good @ Ruling::Bounce { .. } if matches!(self.site.target, Target::Mx(_)) => {
                self.delivery.end_all(waiting, &report, for_good);
            }
            ruling => self.delivery.first_bears(waiting, &report, ruling, until),
        }
    }

    /// One mail: asks the fences, sends it, and records what came of it.
    async fn deliver(&mut self, leased: Leased) {
        let now = self.delivery.clock.now();
        if self.delivery.cancels.contain(leased.message.id) {
            let completion = stopped(&leased, Ending::Canceled, now);
            return self.delivery.recorder.record(Finished::completed(leased, completion));
        }
        if self.delivery.suspended.contain(leased.message.tenant) {
            return self.delivery.hand_back(vec![leased], now);
        }
        let pauses = &self.delivery.pauses;
        if let Some(pause) = pauses.of_mail(&leased).or_else(|| pauses.of_site(&self.site)) {
            return self.delivery.recorder.record(Finished::hold(leased, pause));
        }
        if leased.expires_at <= now {
            let completion = expired(&leased, None, None, now);
            return self.delivery.recorder.record(Finished::completed(leased, completion));
        }
        if !self.delivery.fence.may_send() || now + self.delivery.deadlines.attempt > leased.lease_until {
            return self.delivery.recorder.record(Finished::hand_back(leased, now));
        }
        self.attempt(leased, now).await;
    }

    async fn attempt(&mut self, leased: Leased, started_at: OffsetDateTime) {
        let began = Instant::now();
        self.count_session(leased.recipient.domain());
        let mut result = self.transmit(&leased).await;
        if self.was_closed_while_idle(&result) {
            // The peer had closed the connection before the mail came: that is no attempt on the mail.
            Box::pin(self.drop_connection()).await;
            if let Err(due_at) = self.site.redial(started_at) {
                return self.delivery.refuse_of(&self.site, vec![Refused { leased, due_at }]);
            }
            if let Err(unconnected) = Box::pin(self.open()).await {
                let report =
                    self.report(Err(&unconnected.failure), Some(&unconnected.peer), started_at, began);
                let ruling = self.rule(&unconnected.failure);
                self.finish(leased, report, ruling);
                let (waiting, until) = self.site.unreachable(self.delivery.clock.now());
                return self.delivery.hand_back_of(&self.site, waiting, until);
            }
            result = self.transmit(&leased).await;
        }
        let report = self.report(result.as_ref(), None, started_at, began);
        match result {
            Ok(_) => {
                let open = self.site.succeeded(&self.delivery.clock);
                self.delivery.follow(&self.site, Brought { open, refused: Vec::new() });
                self.finish(leased, report, Ruling::Delivered);
            }
            Err(failure) => {
                observe::failed(&failure);
                self.after_failure(&failure);
                self.finish(leased, report, self.rule(&failure));
            }
        }
    }

    async fn transmit(&mut self, leased: &Leased) -> Result<SmtpReply, Failure> {
        let signing = &self.delivery.signing;
        let sender = signing.sender(&leased.message).await?;
        let mut prepared = prepare(leased, sender, &self.delivery.return_paths, &self.delivery.leave)?;
        prepared.mark(&self.delivery.marker);
        let gone = || Failure { step: Step::Connect, trouble: Trouble::Broken("no connection".to_owned()) };
        let connection = self.connection.as_mut().ok_or_else(gone)?;
        prepared.fit(connection)?;
        signing.sign(&mut prepared).await?;
        let content = prepared.content();
        let deadline = self.delivery.deadlines.attempt;
        match tokio::time::timeout(deadline, connection.send(prepared.mail(&content))).await {
            Ok(result) => result,
            Err(_) => {
                Box::pin(self.drop_connection()).await;
                // It may have been in any step: the cautious one is assumed.
                Err(Failure {
                    step: Step::Body,
                    trouble: Trouble::Unknown("the attempt took too long".to_owned()),
                })
            }
        }
    }

    /// On a connection that has been used: closed before anything was answered, or with 421 at MAIL.
    fn was_closed_while_idle(&self, result: &Result<SmtpReply, Failure>) -> bool {
        let used = self.connection.as_ref().is_some_and(|connection| connection.used() > 1);
        let closed = match result {
            Err(Failure { step: Step::Mail, trouble: Trouble::Broken(_) }) => true,
            Err(Failure { step: Step::Mail, trouble: Trouble::Refused(reply) }) => reply.code == 421,
            _ => false,
        };
        used && closed
    }

    /// A peer that closes with 421 amid a session wants to be left alone for a while.
    fn after_failure(&mut self, failure: &Failure) {
        let now = self.delivery.clock.now();
        self.hear(failure, now);
        match &failure.trouble {
            Trouble::Refused(reply) if reply.code == 421 => {
                let (waiting, until) = self.site.unreachable(now);
                self.delivery.hand_back_of(&self.site, waiting, until);
            }
            Trouble::Refused(_) | Trouble::Unfit { .. } => self.site.reachable(),
            Trouble::Broken(_) | Trouble::Unknown(_) => self.site.failed(),
            Trouble::Unmet { .. } => {}
        }
    }

    /// Slows or suspends the site if that is what the peer's reply asks for; the other processes are told.
    fn hear(&self, failure: &Failure, now: OffsetDateTime) {
        let Trouble::Refused(reply) = &failure.trouble else { return };
        let Some(heard) = self.site.heard(reply, now) else { return };
        observe::paced(&self.site.policy.provider, heard.effect);
        let text = reply.without_addresses();
        tracing::warn!(site = self.site.share.key.site, effect = ?heard.effect, reply = text, "a peer wants less");
        self.delivery.shares.tell(apportion::told(&self.site, heard.effect, text, now));
        self.delivery.follow(&self.site, heard.brought);
    }

    fn rule(&self, failure: &Failure) -> Ruling {
        match &failure.trouble {
            Trouble::Refused(reply) | Trouble::Unfit { reply } => classify(failure.step, reply),
            Trouble::Broken(_) => no_reply(BounceClass::Network),
            Trouble::Unmet { class, .. } => no_reply(*class),
            Trouble::Unknown(_) => outcome_unknown(),
        }
    }

    fn report(
        &self,
        result: Result<&SmtpReply, &Failure>,
        peer: Option<&Peer>,
        started_at: OffsetDateTime,
        began: Instant,
    ) -> AttemptReport {
        let (step, reply, text) = match result {
            Ok(reply) => (Step::Body, Some(reply), reply.text.clone()),
            Err(Failure { step, trouble: Trouble::Refused(reply) | Trouble::Unfit { reply } }) => {
                (*step, Some(reply), reply.text.clone())
            }
            Err(Failure { step, trouble: Trouble::Broken(text) | Trouble::Unmet { text, .. } }) => {
                (*step, None, printable(text))
            }
            Err(Failure { step, trouble: Trouble::Unknown(text) }) => {
                (*step, None, printable(&format!("{text}; the peer may have taken the mail")))
            }
        };
        let status = || match result {
            Err(Failure { trouble: Trouble::Unmet { status, .. }, .. }) => status.map(str::to_owned),
            _ => None,
        };
        let connection = self.connection.as_ref();
        let address = peer.and_then(|peer| peer.address).or_else(|| connection.map(Connection::address));
        let tls = peer
            .and_then(|peer| peer.tls.clone())
            .or_else(|| connection.and_then(|c| c.tls().map(str::to_owned)));
        AttemptReport {
            started_at,
            duration_ms: i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX),
            step,
            host: peer
                .and_then(|peer| peer.host.as_deref())
                .or_else(|| connection.map(Connection::host))
                .or_else(|| self.site.target.host())
                .map(str::to_owned),
            ip: address.map(|address| address.ip()),
            source: self.source_towards(address),
            tls,
            code: reply.map(|reply| reply.code),
            enhanced: reply.and_then(|reply| reply.enhanced).map(|status| status.to_string()).or_else(status),
            text,
        }
    }

    /// A connection is counted once for each domain, for reports about TLS.
    fn count_session(&mut self, domain: &str) {
        let (Target::Mx(exchange), Some(connection)) = (&self.site.target, &self.connection) else { return };
        // Mail to a domain comes in a row.
        if self.told_of.iter().rev().any(|told| told == domain) {
            return;
        }
        let source = self.source_towards(Some(connection.address()));
        self.delivery.tls_results.connected(domain, exchange, connection, source);
        self.told_of.push(domain.to_owned());
    }

    fn count_failed(&self, waiting: &[Leased], failure: &Failure, peer: &Peer) {
        let source = self.source_towards(peer.address);
        let mut domains: Vec<&str> = waiting.iter().map(|leased| leased.recipient.domain()).collect();
        domains.sort_unstable();
        domains.dedup();
        for domain in domains {
            self.delivery.tls_results.failed(domain, failure, peer, source);
        }
    }

    fn source_towards(&self, address: Option<SocketAddr>) -> Option<IpAddr> {
        self.site.source.as_ref()?.towards(address?.ip())
    }

    fn finish(&self, leased: Leased, report: AttemptReport, ruling: Ruling) {
        let completion = conclude(&leased, report, ruling, self.delivery.clock.now());
        self.delivery.recorder.record(Finished::completed(leased, completion));
    }

    fn is_worn(&self) -> bool {
        let most = self.site.policy.limits.mails_per_connection;
        self.connection.as_ref().is_none_or(|c| !c.is_open() || c.used() >= most)
    }

    /// Says goodbye, within the little time that QUIT has.
    async fn drop_connection(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.quit().await;
        }
    }
}
