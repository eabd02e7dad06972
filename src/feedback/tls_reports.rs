//! Telling domains how sessions with their servers fared (RFC 8460): a report a day, by mail or HTTPS, to whoever asks
//! for it by a `_smtp._tls` record.
//!
//! Invariant: a report is sent at least once, and by mail accepted at most once: its Idempotency-Key is its day, its
//! domain and its place.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};
use time::{Date, Duration, OffsetDateTime, Time};

use crate::dns::Resolver;
use crate::domain::handling::{Bounces, Handling};
use crate::domain::id::TenantId;
use crate::domain::key::{KeyLimits, KeyMode};
use crate::domain::submission::{Content, Options, Recipients, Submission};
use crate::domain::tls_result::TlsResult;
use crate::mail::tls_report::{Destination, ReportMail, compress, destinations};
use crate::mail::{EmailAddress, Mailbox};
use crate::outbound::Outbound;
use crate::store::tls_results::{self, Begun, Counted};
use crate::store::{Database, StoreError, mta_sts};
use crate::submission::{Accept, AcceptError, By, Caller, IdempotencyKey, Request, Unit};

/// What was begun is begun again after so long.
const AGAIN: Duration = Duration::HOUR;
/// RFC 8460 §5.5: for a day.
const TRIES: i16 = 24;
/// Reports begun at once.
const BATCH: i64 = 50;

/// What reports.
pub struct Reporter {
    /// Accepts what goes by mail.
    pub accept: Accept,
    /// What was counted.
    pub database: Database,
    /// Who wants to know.
    pub resolver: Resolver,
    /// Posts what goes by HTTPS.
    pub outbound: Outbound,
    /// The tenant whose mail reports are: the installation's own.
    pub tenant: TenantId,
    /// The domain that reports, and signs.
    pub domain: String,
}

/// Why a report was not sent.
#[derive(Debug, thiserror::Error)]
pub enum NotReported {
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
    /// See [`AcceptError`].
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// It could not be written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A report, ready to go.
struct Ready {
    id: String,
    file: String,
    gzip: Vec<u8>,
}

impl Reporter {
    /// Sends what is due; gives how many reports were looked at.
    ///
    /// # Errors
    /// What could not be sent is due again after an hour.
    pub async fn report_due(&self, now: OffsetDateTime) -> Result<usize, NotReported> {
        let mut connection = self.database.claim().acquire().await.map_err(StoreError::from)?;
        let begun = tls_results::begin(&mut connection, now, now + AGAIN, BATCH).await?;
        drop(connection);
        for report in &begun {
            let sent = self.report(report, now).await?;
            if sent || report.tries >= TRIES {
                let mut connection = self.database.claim().acquire().await.map_err(StoreError::from)?;
                tls_results::finish(&mut connection, report.day, &report.domain).await?;
            }
        }
        Ok(begun.len())
    }

    /// Sends one to wherever it is wanted. False: it is to be tried again.
    async fn report(&self, begun: &Begun, now: OffsetDateTime) -> Result<bool, NotReported> {
        let Ok(answer) = self.resolver.txt(&format!("_smtp._tls.{}", begun.domain)).await else {
            return Ok(false);
        };
        let mut connection = self.database.claim().acquire().await.map_err(StoreError::from)?;
        let counted = tls_results::of_day(&mut connection, begun.day, &begun.domain).await?;
        let policy = mta_sts::find(&mut connection, &begun.domain, now).await?;
        drop(connection);
        if counted.is_empty() {
            return Ok(true);
        }
        let sts = policy.map(|stored| stored.policy.lines()).unwrap_or_default();
        let ready = self.write(begun, &counted, &sts)?;
        let mut sent = true;
        for destination in destinations(&answer.records) {
            sent &= match destination {
                Destination::Mail(address) => self.mail(begun, &ready, &address, now).await?,
                Destination::Https(url) => self.post(&ready, &url).await,
            };
        }
        Ok(sent)
    }

    /// RFC 8460 §4.4, §5.1.
    fn write(&self, begun: &Begun, counted: &[Counted], sts: &[String]) -> Result<Ready, NotReported> {
        let start = begun.day.with_time(Time::MIDNIGHT).assume_utc();
        let end = start + Duration::DAY - Duration::SECOND;
        let id = format!("{}.{}@{}", day_digits(begun.day), begun.domain, self.domain);
        let report = json!({
            "organization-name": self.domain,
            "date-range": { "start-datetime": rfc3339(start), "end-datetime": rfc3339(end) },
            "contact-info": format!("postmaster@{}", self.domain),
            "report-id": id,
            "policies": policies(&begun.domain, counted, sts),
        });
        let (from, to) = (start.unix_timestamp(), end.unix_timestamp());
        let file = format!("{}!{}!{from}!{to}.json.gz", self.domain, begun.domain);
        Ok(Ready { id, file, gzip: compress(&report)? })
    }

    /// An address that is none, or that nobody accepts, is not tried again.
    async fn mail(
        &self,
        begun: &Begun,
        ready: &Ready,
        address: &str,
        now: OffsetDateTime,
    ) -> Result<bool, NotReported> {
        let Ok(to) = EmailAddress::parse(address) else { return Ok(true) };
        let mail = ReportMail {
            from: &format!("noreply-smtp-tls-reporting@{}", self.domain),
            to: to.as_str(),
            submitter: &self.domain,
            domain: &begun.domain,
            id: &ready.id,
            file: &ready.file,
            date: now,
            gzip: &ready.gzip,
        };
        let key = IdempotencyKey::parse(&format!("tlsrpt {} {}", ready.id, to.key())).ok();
        let handling = Handling { bounces: Bounces::ToNobody, ..Handling::default() };
        let submission = Submission {
            from: None,
            reply_to: Vec::new(),
            content: Content::Raw(Bytes::from(mail.write())),
            recipients: Recipients { to: vec![Mailbox { name: None, address: to }], ..Recipients::default() },
            options: Options { handling, ..Options::default() },
        };
        let caller = Caller {
            tenant: self.tenant,
            by: By::Postroad,
            mode: KeyMode::Live,
            limits: KeyLimits::default(),
        };
        let answer = self
            .accept
            .accept(&caller, Request { items: vec![Ok(submission)], key, unit: Unit::Each })
            .await?;
        for rejected in answer.items.into_iter().filter_map(Result::err) {
            tracing::warn!(?rejected, "a TLS report was not accepted");
        }
        Ok(true)
    }

    /// RFC 8460 §5.4.
    async fn post(&self, ready: &Ready, url: &str) -> bool {
        let Ok(url) = self.outbound.check(url).await else { return true };
        let headers = [("content-type", "application/tlsrpt+gzip".to_owned())];
        let answer = self.outbound.post(&url, &headers, ready.gzip.clone()).await;
        answer.is_ok_and(|answer| (200..300).contains(&answer.status))
    }
}

fn policies(domain: &str, counted: &[Counted], sts: &[String]) -> Vec<Value> {
    let mut by_policy: BTreeMap<&str, Vec<&Counted>> = BTreeMap::new();
    for sessions in counted {
        by_policy.entry(&sessions.policy).or_default().push(sessions);
    }
    by_policy.into_iter().map(|(policy, sessions)| of_policy(domain, policy, &sessions, sts)).collect()
}

fn of_policy(domain: &str, policy: &str, sessions: &[&Counted], sts: &[String]) -> Value {
    let is_good = |sessions: &&&Counted| sessions.result == TlsResult::Successful.as_str();
    let (good, bad): (Vec<&Counted>, Vec<&Counted>) = sessions.iter().partition(|one| is_good(one));
    let sum = |of: &[&Counted]| of.iter().map(|sessions| sessions.sessions).sum::<i64>();
    let mut told = json!({ "policy-type": policy, "policy-domain": domain });
    if policy == "sts" && !sts.is_empty() {
        let patterns: Vec<&str> = sts.iter().filter_map(|line| line.strip_prefix("mx: ")).collect();
        told["policy-string"] = json!(sts);
        told["mx-host"] = json!(patterns);
    }
    json!({
        "policy": told,
        "summary": { "total-successful-session-count": sum(&good), "total-failure-session-count": sum(&bad) },
        "failure-details": bad.into_iter().map(detail).collect::<Vec<_>>(),
    })
}

/// What is not known is left out.
fn detail(of: &Counted) -> Value {
    let mut told = json!({ "result-type": of.result, "failed-session-count": of.sessions });
    let known = [("sending-mta-ip", &of.source), ("receiving-mx-hostname", &of.mx), ("receiving-ip", &of.ip)];
    for (name, value) in known.into_iter().filter(|(_, value)| !value.is_empty()) {
        told[name] = json!(value);
    }
    told
}

fn rfc3339(moment: OffsetDateTime) -> String {
    // Fails only for years beyond 9999.
    moment.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

fn day_digits(day: Date) -> String {
    format!("{}{:02}{:02}", day.year(), u8::from(day.month()), day.day())
}
