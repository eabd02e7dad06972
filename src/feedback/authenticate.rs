//! Who a mail that came in is from, as far as the world's records tell: SPF (RFC 7208), DKIM (RFC 6376), DMARC
//! (RFC 9989) and ARC (RFC 8617), told to its reader as RFC 8601 has it. It decides nothing: mail is not refused
//! for it here.
//!
//! Invariant: it ends in time, whatever the DNS does; what could not be found out is a temporary error, never a
//! verdict.

use std::net::IpAddr;
use std::time::Duration;

use mail_auth::common::headers::HeaderWriter;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    ArcOutput, AuthenticatedMessage, AuthenticationResults, DkimOutput, DkimResult, DmarcOutput, DmarcResult,
    MessageAuthenticator, SpfOutput, SpfResult,
};
use serde_json::{Value, json};

use crate::mail::arc;
use crate::mail::dkim::Signer;

/// For everything together. A client waits five minutes and more for the reply to its text.
const PATIENCE: Duration = Duration::from_secs(20);

/// Checks who mail is from.
#[derive(Clone)]
pub struct Authenticator {
    /// Asks.
    pub records: MessageAuthenticator,
    /// Our authserv-id (RFC 8601 §2.5).
    pub name: String,
}

/// What is known of a client.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// From where it came.
    pub peer: IpAddr,
    /// What it called itself.
    pub helo: &'a str,
    /// MAIL FROM; empty: the null path.
    pub sender: &'a str,
}

/// What was found out.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdicts {
    /// For programs.
    pub json: Value,
    /// The Authentication-Results field, CRLF included.
    pub field: String,
}

impl Authenticator {
    /// Checks a mail.
    pub async fn check(&self, claim: Claim<'_>, raw: &[u8]) -> Verdicts {
        let checked = tokio::time::timeout(PATIENCE, self.ask(claim, raw)).await;
        checked.ok().flatten().unwrap_or_else(|| self.unknown())
    }

    /// The ARC set that says what was found, for a mail that is passed on; `None`: it is not to be sealed, or nothing
    /// could be found out in time.
    pub async fn seal(&self, claim: Claim<'_>, raw: &[u8], signer: &Signer) -> Option<String> {
        let message = AuthenticatedMessage::parse(raw)?;
        let found = tokio::time::timeout(PATIENCE, self.findings(claim, &message)).await.ok()?;
        // Whether a chain holds is told only where that is known.
        if !matches!(found.arc.result(), DkimResult::Pass | DkimResult::None | DkimResult::Fail(_)) {
            return None;
        }
        arc::seal(signer, raw, &message, &self.results(claim, &message, &found), &found.arc)
    }

    async fn ask(&self, claim: Claim<'_>, raw: &[u8]) -> Option<Verdicts> {
        let message = AuthenticatedMessage::parse(raw)?;
        let found = self.findings(claim, &message).await;
        let mut field = Vec::new();
        self.results(claim, &message, &found).write_header(&mut field);
        let signatures: Vec<Value> = found
            .dkim
            .iter()
            .filter_map(|output| {
                let signature = output.signature()?;
                Some(json!({ "domain": signature.d, "selector": signature.s, "result": of_dkim(output.result()) }))
            })
            .collect();
        Some(Verdicts {
            json: json!({
                "spf": of_spf(found.spf.result()),
                "dkim": best(&signatures),
                "signatures": signatures,
                "dmarc": of_dmarc(&found.dmarc.result()),
                "arc": of_dkim(found.arc.result()),
            }),
            field: String::from_utf8_lossy(&field).into_owned(),
        })
    }

    async fn findings<'m>(&self, claim: Claim<'_>, message: &'m AuthenticatedMessage<'m>) -> Findings<'m> {
        let peer = claim.peer.to_canonical();
        let spf = self.records.verify_spf(identity(claim, peer, &self.name)).await;
        let dkim = self.records.verify_dkim(message).await;
        let arc = self.records.verify_arc(message).await;
        let domain = claim.sender.rsplit_once('@').map_or(claim.helo, |(_, domain)| domain);
        let dmarc = self.records.verify_dmarc(DmarcParameters::new(message, &dkim, domain, &spf)).await;
        Findings { spf, dkim, arc, dmarc }
    }

    fn results(
        &self,
        claim: Claim<'_>,
        message: &AuthenticatedMessage<'_>,
        found: &Findings<'_>,
    ) -> AuthenticationResults<'_> {
        let peer = claim.peer.to_canonical();
        let author = message.from.first().map_or("", String::as_str);
        let results = AuthenticationResults::new(&self.name).with_dkim_results(&found.dkim, author);
        let results = results.with_spf_mailfrom_result(&found.spf, peer, claim.sender, claim.helo);
        results.with_dmarc_result(&found.dmarc).with_arc_result(&found.arc, peer)
    }

    /// Nothing could be found out in time, or there is nothing to check.
    fn unknown(&self) -> Verdicts {
        let name = &self.name;
        Verdicts {
            json: json!({
                "spf": "temperror", "dkim": "temperror", "signatures": [], "dmarc": "temperror", "arc": "temperror",
            }),
            field: format!(
                "Authentication-Results: {name};\r\n\tspf=temperror; dkim=temperror; dmarc=temperror; arc=temperror\r\n"
            ),
        }
    }
}

/// What each check gave.
struct Findings<'m> {
    spf: SpfOutput,
    dkim: Vec<DkimOutput<'m>>,
    arc: ArcOutput<'m>,
    dmarc: DmarcOutput,
}

/// RFC 7208 §2.4: with the null path it is the HELO name that is checked.
fn identity<'a>(claim: Claim<'a>, peer: IpAddr, host: &'a str) -> SpfParameters<'a> {
    if claim.sender.is_empty() {
        SpfParameters::verify_ehlo(peer, claim.helo, host)
    } else {
        SpfParameters::verify_mail_from(peer, claim.helo, host, claim.sender)
    }
}

/// One signature that holds is enough (RFC 6376 §6.1).
fn best(signatures: &[Value]) -> Value {
    let passed = signatures.iter().find(|signature| signature["result"] == "pass");
    passed.or(signatures.first()).map_or_else(|| "none".into(), |signature| signature["result"].clone())
}

fn of_spf(result: SpfResult) -> &'static str {
    match result {
        SpfResult::Pass => "pass",
        SpfResult::Fail => "fail",
        SpfResult::SoftFail => "softfail",
        SpfResult::Neutral => "neutral",
        SpfResult::TempError => "temperror",
        SpfResult::PermError => "permerror",
        SpfResult::None => "none",
    }
}

fn of_dkim(result: &DkimResult) -> &'static str {
    match result {
        DkimResult::Pass => "pass",
        DkimResult::Neutral(_) => "neutral",
        DkimResult::Fail(_) => "fail",
        DkimResult::PermError(_) => "permerror",
        DkimResult::TempError(_) => "temperror",
        DkimResult::None => "none",
    }
}

fn of_dmarc(result: &DmarcResult) -> &'static str {
    match result {
        DmarcResult::Pass => "pass",
        DmarcResult::Fail(_) => "fail",
        DmarcResult::TempError(_) => "temperror",
        DmarcResult::PermError(_) => "permerror",
        DmarcResult::None => "none",
    }
}
