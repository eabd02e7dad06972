//! Passing mail on: what a route sends to another address, and notices that go back to whose mail was passed on. Both
//! become a submission like any other, so that they are retried and recorded as all mail is.
//!
//! Invariants: a mail is passed on once, whatever dies, because its Idempotency-Key is its own id; what goes round
//! meets its own mark; and nobody is told of mail that another may have sent in his name, or that a machine wrote.

use std::net::IpAddr;

use bytes::Bytes;
use futures_util::future::join_all;
use time::OffsetDateTime;

use crate::domain::handling::{Bounces, Handling, Notify, Particulars, Ret, SubmittedEnvelope};
use crate::domain::id::{DeliveryId, MessageId};
use crate::domain::identity::senders::{SenderDomain, Senders};
use crate::domain::inbound::Action;
use crate::domain::key::{KeyLimits, KeyMode};
use crate::domain::submission::{Content, Options, Recipients, Submission};
use crate::mail::dkim::{Algorithm, Signer};
use crate::mail::{EmailAddress, Mailbox, trace, xtext};
use crate::store::inbound::{self, InboundRow};
use crate::store::inbound_calls::{self, CallKind, CallResult, DueCall};
use crate::store::{Database, StoreError, notices};
use crate::submission::{
    Accept, AcceptError, Accepted, AcceptedDelivery, BornState, By, Caller, IdempotencyKey, Request, Unit,
};

use super::authenticate::{Authenticator, Claim};
use super::directory::Directory;
use super::post::{over, put_off};

/// For how long nobody else takes a mail: longer than sealing and accepting it can last.
const LEASE: time::Duration = time::Duration::seconds(60);
/// Mails taken at once.
const BATCH: i64 = 16;
/// The field that marks what we have passed on, with the address it came to.
const MARK: &str = "X-Loop";

/// Passes mail on.
pub struct Forwarder {
    /// Accepts it.
    pub accept: Accept,
    /// Where it is kept.
    pub database: Database,
    /// Knows routes, and who stands behind our addresses.
    pub directory: Directory,
    /// Knows whose keys seal.
    pub senders: Senders,
    /// Finds out once more who it is from, for the seal.
    pub authenticator: Authenticator,
    /// The host that passes notices on.
    pub hostname: String,
}

/// Whether a mail has been passed on from this address before.
pub fn goes_round(raw: &[u8], address: &EmailAddress) -> bool {
    let is_ours = |value: &String| value.trim().eq_ignore_ascii_case(address.as_str());
    trace::all_decoded(raw, MARK).iter().any(is_ours)
}

/// Where a mail goes, and in whose name.
struct Way {
    to: EmailAddress,
    /// The domain that passes it on.
    by: String,
    bounces: Bounces,
}

/// What became of passing a mail on.
struct Passed {
    result: CallResult,
    /// Not sent: whoever wrote it is to be told.
    suppressed: Vec<DeliveryId>,
}

impl From<CallResult> for Passed {
    fn from(result: CallResult) -> Passed {
        Passed { result, suppressed: Vec::new() }
    }
}

impl Passed {
    fn accepted(accepted: &Accepted) -> Passed {
        let is_suppressed = |one: &&AcceptedDelivery| one.state == BornState::Suppressed;
        let suppressed: Vec<DeliveryId> =
            accepted.deliveries.iter().filter(is_suppressed).map(|one| one.id).collect();
        let result = match suppressed.is_empty() {
            true => passed_on(Some(accepted.id)),
            false => {
                CallResult { message: Some(accepted.id), ..over("the address it goes to is suppressed") }
            }
        };
        Passed { result, suppressed }
    }
}

impl Forwarder {
    /// Passes on what is due; gives how many mails were looked at.
    ///
    /// # Errors
    /// See [`StoreError`]. What was not passed on is due again.
    pub async fn pass_due(&self, now: OffsetDateTime) -> Result<usize, StoreError> {
        let kinds = [CallKind::Forward, CallKind::Return];
        let mut connection = self.database.claim().acquire().await?;
        let due = inbound_calls::claim(&mut connection, &kinds, now, now + LEASE, BATCH).await?;
        drop(connection);
        // Each may wait for the DNS.
        let passed = join_all(due.iter().map(|call| self.pass(call, now))).await;
        passed.into_iter().collect::<Result<Vec<()>, StoreError>>()?;
        Ok(due.len())
    }

    async fn pass(&self, call: &DueCall, now: OffsetDateTime) -> Result<(), StoreError> {
        let mut connection = self.database.claim().acquire().await?;
        let row = inbound::find(&mut connection, call.tenant, call.mail).await?;
        let raw = inbound::raw(&mut connection, call.tenant, call.mail).await?;
        drop(connection);
        let passed = match row.zip(raw) {
            Some((row, raw)) => match self.way(call, &row) {
                Ok(way) => self.submit(call, &row, &raw, way, now).await,
                Err(why) => over(why).into(),
            },
            // Its time is over, and with it the mail's.
            None => over("the mail is no longer kept").into(),
        };
        let mut transaction = self.database.claim().begin().await?;
        // Whether he wants to know, and may, is asked when the notice is written.
        for delivery in &passed.suppressed {
            notices::tell_suppressed(&mut transaction, *delivery, now).await?;
        }
        inbound_calls::finish(&mut transaction, call, &passed.result).await?;
        transaction.commit().await?;
        Ok(())
    }

    fn way(&self, call: &DueCall, row: &InboundRow) -> Result<Way, &'static str> {
        let came_to = EmailAddress::parse(&row.recipient).map_err(|_| "the recipient cannot be read")?;
        if call.kind == CallKind::Return {
            let original =
                self.directory.stranger(&came_to).ok_or("nobody's mail was passed on from there")?;
            return Ok(Way { to: original.address, by: self.hostname.clone(), bounces: Bounces::ToNobody });
        }
        let route = call.route.and_then(|id| self.directory.route(id));
        let route = route.ok_or("the route is gone, or its domain is no longer verified")?;
        let Action::Forward(to) = &route.action else { return Err("the route has another action") };
        let bounces = if row.sender.is_empty() { Bounces::ToNobody } else { Bounces::ToUs };
        Ok(Way { to: to.clone(), by: came_to.domain().to_owned(), bounces })
    }

    async fn submit(
        &self,
        call: &DueCall,
        row: &InboundRow,
        raw: &[u8],
        way: Way,
        now: OffsetDateTime,
    ) -> Passed {
        let caller = Caller {
            tenant: call.tenant,
            by: By::Postroad,
            mode: KeyMode::Live,
            limits: KeyLimits::default(),
        };
        let head = self.head(call, row, raw, &way.by).await;
        let submission = submission(row, Bytes::from([head.as_bytes(), raw].concat()), way);
        let key = IdempotencyKey::parse(&format!("forward {}", call.mail)).ok();
        match self
            .accept
            .accept(&caller, Request { items: vec![Ok(submission)], key, unit: Unit::Each })
            .await
        {
            Ok(mut answer) => match answer.items.pop() {
                Some(Ok(accepted)) => Passed::accepted(&accepted),
                Some(Err(rejected)) => {
                    let wrong: Vec<&str> =
                        rejected.violations.iter().map(|one| one.message.as_str()).collect();
                    over(&wrong.join("; ")).into()
                }
                None => put_off(call, "it was not answered", now).into(),
            },
            // It was, before the route led elsewhere.
            Err(AcceptError::KeyReused) => passed_on(None).into(),
            Err(error) => put_off(call, &error.to_string(), now).into(),
        }
    }

    /// What goes before the mail: our mark, and above it the seal.
    async fn head(&self, call: &DueCall, row: &InboundRow, raw: &[u8], by: &str) -> String {
        let mark = format!("{MARK}: {}\r\n", row.recipient);
        let peer: Option<IpAddr> = row.peer.parse().ok();
        let domain = self.senders.find(call.tenant, by);
        let seal = match (peer, domain.as_deref().and_then(sealer)) {
            (Some(peer), Some(signer)) => {
                let claim = Claim { peer, helo: &row.helo, sender: &row.sender };
                self.authenticator.seal(claim, raw, signer).await
            }
            _ => None,
        };
        seal.unwrap_or_default() + &mark
    }
}

/// RSA: what every host checks.
fn sealer(domain: &SenderDomain) -> Option<&Signer> {
    domain.signers.iter().find(|signer| signer.algorithm() == Algorithm::Rsa)
}

fn passed_on(message: Option<MessageId>) -> CallResult {
    CallResult { state: "delivered", due_at: None, status: None, error: None, message }
}

fn submission(row: &InboundRow, raw: Bytes, way: Way) -> Submission {
    let sender = EmailAddress::parse(&row.sender).ok();
    let notify = (!may_be_told(row, &raw)).then_some(Notify::NEVER);
    let orcpt = Some(format!("rfc822;{}", xtext::encode(&row.recipient)));
    let own = Particulars { notify, orcpt, ..Particulars::default() };
    let envelope = SubmittedEnvelope {
        sender: sender.as_ref().map(|sender| sender.as_str().to_owned()),
        ret: Some(Ret::Headers),
        envid: None,
    };
    let handling = Handling {
        envelope: (way.bounces == Bounces::ToUs).then_some(envelope),
        bounces: way.bounces,
        passed_on_by: Some(way.by),
        ..Handling::default()
    };
    Submission {
        from: sender.map(|address| Mailbox { name: None, address }),
        reply_to: Vec::new(),
        recipients: Recipients {
            particulars: [(way.to.key(), own)].into(),
            to: vec![Mailbox { name: None, address: way.to }],
            ..Recipients::default()
        },
        content: Content::Raw(raw),
        options: Options {
            metadata: [("inbound_id".to_owned(), row.id.to_string())].into(),
            handling,
            ..Options::default()
        },
    }
}

/// Whether its sender is told if it cannot be delivered: not if he may be somebody else (that would be backscatter),
/// and not if nobody wrote it (RFC 3834 §2).
fn may_be_told(row: &InboundRow, raw: &[u8]) -> bool {
    let is_doubtful = ["fail", "softfail"].contains(&row.verdicts["spf"].as_str().unwrap_or_default());
    let automatic =
        trace::value(raw, "Auto-Submitted").is_some_and(|value| !value.eq_ignore_ascii_case("no"));
    !is_doubtful && !automatic
}
