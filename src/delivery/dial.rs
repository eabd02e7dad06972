//! Connecting to one of the servers of a site: the best that answers, within bounds. Five addresses at most are
//! tried in an attempt, and two of them are spoken to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::domain::handling::Transport;
use crate::domain::outcome::Step;
use crate::domain::sending::Source;

use super::Delivery;
use super::dane::{self, DaneVerifier};
use super::mx::{self, MxSite, Security, Signed, Sts};
use super::resolve::{Candidate, Plan, before, head_start};
use super::tls::{Demand, Protection};
use super::transmit::{self, Circle, Connection, Dial, Failure, Peer, Trouble};

/// Sessions begun in one attempt.
const MOST_SESSIONS: usize = 2;

/// Opens a connection to one of the servers of a site, from this address of ours. `turn` shuffles equal ones.
///
/// # Errors
/// [`Failure`] of the last that was tried; `peer` tells of the same one.
pub async fn connect(
    delivery: &Delivery,
    exchange: &MxSite,
    source: Option<&Source>,
    turn: u64,
    peer: &mut Peer,
) -> Result<Connection, Failure> {
    let hosts = mx::order(&exchange.hosts, turn);
    peer.host = hosts.first().map(|mx| mx.host.clone());
    let found = delivery.direct.finder.candidates(&hosts).await.map_err(nowhere)?;
    let mut left: VecDeque<Candidate> = reachable(found, source).into();
    let mut last = None;
    for _ in 0..MOST_SESSIONS {
        let (candidate, socket) = match race(delivery, source, &mut left, peer).await {
            Ok(won) => won,
            Err(failure) => return Err(last.unwrap_or(failure)),
        };
        match speak(delivery, exchange, source, &candidate, socket, peer).await {
            Ok(connection) => return Ok(connection),
            Err(failure) if is_loop(&failure) => {
                // RFC 5321 §5.1: neither to ourselves, nor to servers of the same or a lower rank. If there is
                // a better one, it is down, and the mail waits for it.
                before(&mut left, candidate.host.preference);
                let better = exchange.hosts.iter().any(|mx| mx.preference < candidate.host.preference);
                last = Some(if better { last.unwrap_or_else(|| waits(failure)) } else { failure });
            }
            Err(failure) => last = Some(failure),
        }
        if left.is_empty() {
            break;
        }
    }
    Err(last.unwrap_or_else(|| broken("the servers have no address")))
}

/// Those that can be dialled from there; all, if none can: then the failure says why.
fn reachable(found: Vec<Candidate>, source: Option<&Source>) -> Vec<Candidate> {
    let can =
        |candidate: &Candidate| source.is_none_or(|source| source.towards(candidate.address.ip()).is_some());
    if found.iter().any(can) { found.into_iter().filter(can).collect() } else { found }
}

/// The first of these addresses that answers: each has a head start before the next is dialled beside it. Those
/// that failed or won are taken out.
async fn race(
    delivery: &Delivery,
    source: Option<&Source>,
    left: &mut VecDeque<Candidate>,
    peer: &mut Peer,
) -> Result<(Candidate, TcpStream), Failure> {
    let mut last = broken("the servers have no address left to try");
    let mut running = FuturesUnordered::new();
    let mut waiting: VecDeque<Candidate> = left.iter().cloned().collect();
    let start = |candidate: Candidate| async move {
        let reached = transmit::reach(candidate.address, source, delivery.deadlines).await;
        (candidate, reached)
    };
    let mut next_at = Instant::now();
    while !(running.is_empty() && waiting.is_empty()) {
        tokio::select! {
            () = tokio::time::sleep_until(next_at), if !waiting.is_empty() => {
                let Some(candidate) = waiting.pop_front() else { continue };
                next_at = Instant::now() + waiting.front().map_or(Duration::ZERO, |next| head_start(&candidate, next));
                running.push(start(candidate));
            }
            Some((candidate, reached)) = running.next() => {
                left.retain(|other| *other != candidate);
                peer.host = Some(candidate.host.host.clone());
                peer.address = Some(candidate.address);
                match reached {
                    Ok(socket) => return Ok((candidate, socket)),
                    Err(failure) => last = failure,
                }
                next_at = Instant::now();
            }
        }
    }
    Err(last)
}

async fn speak(
    delivery: &Delivery,
    exchange: &MxSite,
    source: Option<&Source>,
    candidate: &Candidate,
    socket: TcpStream,
    peer: &mut Peer,
) -> Result<Connection, Failure> {
    let protection = protection(delivery, &exchange.security, candidate).await?;
    let dial = Dial {
        host: &candidate.host.host,
        tls: protection,
        circle: Circle::Refused,
        hello: source.map_or(&delivery.hostname, |source| &source.ehlo),
        ourselves: &delivery.hostname,
        source,
        credentials: None,
        deadlines: delivery.deadlines,
    };
    transmit::converse(&dial, socket, &delivery.tls, peer).await
}

/// What is demanded of a server: by its TLSA records if there are any, else by the domain's policy, else by the
/// sender (RFC 8461 §2, RFC 7672 §2.2).
async fn protection(
    delivery: &Delivery,
    security: &Security,
    candidate: &Candidate,
) -> Result<Protection, Failure> {
    let records = match security.signed {
        Signed::Yes => delivery.direct.finder.tlsa(candidate).await.map_err(|text| {
            transmit::unsafe_way(format!(
                "TLS may be required by DANE, and the records are not known: {text}"
            ))
        })?,
        Signed::No => None,
    };
    let least = match &security.sts {
        Sts::Enforced { barred } if records.is_none() && barred.contains(&candidate.host.host) => {
            let text = "MTA-STS: the domain's policy does not name the server";
            return Err(transmit::unsafe_way(text.to_owned()));
        }
        Sts::Enforced { .. } => Protection::StartTls(Demand::MtaSts),
        Sts::Silent | Sts::Tested { .. } => match security.transport {
            Transport::AsOffered => Protection::Opportunistic,
            Transport::RequireTls => Protection::StartTls(Demand::Verified),
        },
    };
    let Some(usable) = records.map(dane::usable) else { return Ok(least) };
    if !usable.is_empty() {
        let mut names = vec![candidate.name.clone(), candidate.host.host.clone()];
        names.dedup();
        let verifier = DaneVerifier::new(usable, &names, Arc::clone(delivery.tls.provider()));
        return Ok(Protection::StartTls(Demand::Dane(Arc::new(verifier))));
    }
    Ok(match least {
        Protection::Opportunistic => Protection::StartTls(Demand::Encrypted),
        stricter => stricter,
    })
}

fn is_loop(failure: &Failure) -> bool {
    failure.step == Step::Greeting && matches!(failure.trouble, Trouble::Unfit { .. })
}

/// The better server is down: that we are a lower one is no reason to refuse the mail.
fn waits(failure: Failure) -> Failure {
    let text = "the domain's better servers do not answer, and the next one is this".to_owned();
    Failure { step: failure.step, trouble: Trouble::Broken(text) }
}

/// The site was found a moment ago; what is gone since may be back in another.
fn nowhere(plan: Plan) -> Failure {
    let trouble = match plan {
        Plan::Never(refusal) => Trouble::Unfit { reply: refusal.reply() },
        Plan::Absent(refusal) => Trouble::Broken(refusal.text),
        Plan::Later(text) | Plan::Unsafe(text) => Trouble::Broken(text),
        Plan::To(_) => Trouble::Broken("the servers have no address".to_owned()),
    };
    Failure { step: Step::Route, trouble }
}

fn broken(text: &str) -> Failure {
    Failure { step: Step::Connect, trouble: Trouble::Broken(text.to_owned()) }
}
