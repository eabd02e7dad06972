//! Telling submitters what became of their mail: a notice is a submission of our own, through the same accept, with
//! a null sender, so that it is never answered by another (RFC 3461 §6.1, RFC 5321 §4.5.5).
//!
//! Invariant: a notice is written at least once for each row, and accepted at most once, because its
//! Idempotency-Key is the event it tells of.

use bytes::Bytes;
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use crate::domain::handling::{Bounces, Handling, Ret};
use crate::domain::key::{KeyLimits, KeyMode};
use crate::domain::notice::NoticeKind;
use crate::domain::submission::{Content, Options, Recipients, Submission};
use crate::mail::report::{Action, Report, Returned};
use crate::mail::{EmailAddress, Mailbox, xtext};
use crate::store::notices::{self, Begun, Facts};
use crate::store::{Database, StoreError, messages};
use crate::submission::{Accept, AcceptError, By, Caller, IdempotencyKey, Request, Unit};

/// Another process may begin a notice again after so long: longer than accept ever takes.
const AGAIN: Duration = Duration::minutes(1);
/// A notice that cannot be written is given up after so many tries: ten minutes at least, an hour usually.
const TRIES: i16 = 60;
/// Notices begun at once.
const BATCH: i64 = 100;
/// A larger original goes back as its header alone, whatever RET says (RFC 3461 §4.3 lets us).
const MAX_RETURNED: usize = 1 << 20;

/// What writes notices.
pub struct Teller {
    /// Accepts them.
    pub accept: Accept,
    /// Reads what they tell.
    pub database: Database,
    /// The host that tells.
    pub hostname: String,
}

/// Why a notice was not written.
#[derive(Debug, thiserror::Error)]
pub enum NotTold {
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
    /// See [`AcceptError`].
    #[error(transparent)]
    Accept(#[from] AcceptError),
}

impl Teller {
    /// Writes notices that are due; gives how many rows were looked at.
    ///
    /// # Errors
    /// What could not be written is due again after a minute.
    pub async fn tell_due(&self, now: OffsetDateTime) -> Result<usize, NotTold> {
        let mut connection = self.database.claim().acquire().await.map_err(StoreError::from)?;
        let begun = notices::begin(&mut connection, now, now + AGAIN, BATCH).await?;
        drop(connection);
        for notice in &begun {
            self.tell(notice, now).await?;
        }
        Ok(begun.len())
    }

    async fn tell(&self, notice: &Begun, now: OffsetDateTime) -> Result<(), NotTold> {
        if notice.tries > TRIES {
            tracing::error!(event.id = %notice.event, "a notice to a submitter is given up");
        } else if let Some(submission) = self.write(notice, now).await? {
            let caller = Caller {
                tenant: notice.tenant,
                by: By::Postroad,
                mode: KeyMode::Live,
                limits: KeyLimits::default(),
            };
            let key = IdempotencyKey::parse(&format!("notice {}", notice.event)).ok();
            let answer = self
                .accept
                .accept(&caller, Request { items: vec![Ok(submission)], key, unit: Unit::Each })
                .await?;
            for rejected in answer.items.into_iter().filter_map(Result::err) {
                tracing::warn!(event.id = %notice.event, ?rejected, "a notice to a submitter was not accepted");
            }
        }
        let mut connection = self.database.claim().acquire().await.map_err(StoreError::from)?;
        notices::finish(&mut connection, notice.event).await?;
        Ok(())
    }

    /// The notice as a submission; `None`: nobody wants it.
    async fn write(&self, notice: &Begun, now: OffsetDateTime) -> Result<Option<Submission>, StoreError> {
        let mut connection = self.database.claim().acquire().await?;
        let Some(facts) = notices::facts(&mut connection, notice).await? else { return Ok(None) };
        if !facts.policy.wants(facts.particulars.notify, notice.kind) {
            return Ok(None);
        }
        let sender = facts.handling.envelope.as_ref().and_then(|envelope| envelope.sender.as_deref());
        let Some(to) = sender.and_then(|text| EmailAddress::parse(text).ok()) else { return Ok(None) };
        let original = messages::raw(&mut connection, notice.tenant, notice.delivery.message()).await?;
        let raw = self.report(notice, &facts, &to, original.as_deref(), now);
        let handling = Handling { bounces: Bounces::ToNobody, ..Handling::default() };
        Ok(Some(Submission {
            from: None,
            reply_to: Vec::new(),
            recipients: Recipients { to: vec![Mailbox { name: None, address: to }], ..Recipients::default() },
            content: Content::Raw(Bytes::from(raw)),
            options: Options { handling, ..Options::default() },
        }))
    }

    fn report(
        &self,
        notice: &Begun,
        facts: &Facts,
        to: &EmailAddress,
        original: Option<&[u8]>,
        now: OffsetDateTime,
    ) -> Vec<u8> {
        let envelope = facts.handling.envelope.as_ref();
        let envelope_id = envelope.and_then(|envelope| envelope.envid.as_deref()).and_then(xtext::decode);
        let original_recipient = facts.particulars.orcpt.as_deref().and_then(decoded);
        let smtp = Dialogue::of(&facts.event);
        let wants_all = notice.kind == NoticeKind::Failed
            && envelope.and_then(|envelope| envelope.ret) == Some(Ret::Full)
            && original.is_some_and(|raw| raw.len() <= MAX_RETURNED);
        let report = Report {
            host: &self.hostname,
            to: to.as_str(),
            message_id: &format!("{}.notice@{}", notice.event.uuid().simple(), self.hostname),
            date: now,
            boundary_seed: notice.event.uuid().as_u128(),
            action: action(notice.kind),
            status: &status(notice.kind, &facts.event),
            recipient: &facts.recipient,
            original_recipient: original_recipient.as_deref(),
            envelope_id: envelope_id.as_deref(),
            remote_host: smtp.host,
            diagnostic: smtp.said.as_deref(),
            arrived: notice.delivery.message().born(),
            retry_until: (notice.kind == NoticeKind::Delayed).then_some(facts.expires_at),
            original,
            returned: if wants_all { Returned::Full } else { Returned::Headers },
        };
        report.write()
    }
}

/// What the event tells of the dialogue with the peer.
struct Dialogue<'a> {
    host: Option<&'a str>,
    said: Option<String>,
}

impl Dialogue<'_> {
    fn of(event: &Value) -> Dialogue<'_> {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
        let code = event.pointer("/smtp/code").and_then(Value::as_u64).map(|code| code.to_string());
        let words = [code.as_deref(), text("/smtp/enhanced"), text("/smtp/text")];
        let said = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
        Dialogue { host: text("/smtp/host"), said: Some(said).filter(|said| !said.is_empty()) }
    }
}

fn action(kind: NoticeKind) -> Action {
    match kind {
        NoticeKind::Failed => Action::Failed,
        NoticeKind::Delayed => Action::Delayed,
        NoticeKind::Relayed => Action::Relayed,
    }
}

/// The status that the event tells, if it is of the class of what happened (RFC 3463 §3).
fn status(kind: NoticeKind, event: &Value) -> String {
    let (class, usual) = match kind {
        NoticeKind::Failed => ("5.", "5.0.0"),
        NoticeKind::Delayed => ("4.", "4.0.0"),
        NoticeKind::Relayed => return "2.0.0".to_owned(),
    };
    // An expiry has a status of its own (5.4.7), whatever the last reply was.
    let told = ["/enhanced", "/smtp/enhanced"].into_iter().filter_map(|at| event.pointer(at)?.as_str());
    told.into_iter().find(|status| status.starts_with(class)).unwrap_or(usual).to_owned()
}

/// `type;xtext` as `type;text`.
fn decoded(orcpt: &str) -> Option<String> {
    let (kind, address) = orcpt.split_once(';')?;
    Some(format!("{kind};{}", xtext::decode(address)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_status_is_of_the_class_of_what_happened() {
        let bounced = json!({ "smtp": { "enhanced": "5.1.1", "code": 550, "text": "no" } });
        let expired = json!({ "enhanced": "5.4.7", "smtp": { "enhanced": "4.2.2" } });
        let odd = json!({ "smtp": { "enhanced": "4.2.2" } });
        assert_eq!(status(NoticeKind::Failed, &bounced), "5.1.1");
        assert_eq!(status(NoticeKind::Failed, &expired), "5.4.7");
        assert_eq!(status(NoticeKind::Failed, &odd), "5.0.0");
        assert_eq!(status(NoticeKind::Failed, &json!({})), "5.0.0");
        assert_eq!(status(NoticeKind::Delayed, &odd), "4.2.2");
        assert_eq!(status(NoticeKind::Delayed, &bounced), "4.0.0");
        assert_eq!(status(NoticeKind::Relayed, &bounced), "2.0.0");
        assert_eq!(Dialogue::of(&bounced).said.as_deref(), Some("550 5.1.1 no"));
    }
}
