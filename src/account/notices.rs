//! What tenants are told about their account: who is told by mail, and telling them. Raising a notice is the affair
//! of whoever makes its fact true ([`raise`](crate::store::account_notices::raise)).
//!
//! Invariant: a notice is mailed at least once, and accepted as a mail at most once, because its Idempotency-Key is
//! its id.

use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::domain::account_notice::Kind;
use crate::domain::id::TenantId;
use crate::domain::key::{KeyLimits, KeyMode};
use crate::domain::submission::{Content, Options, Parts, Recipients, Submission, Watch};
use crate::mail::{EmailAddress, Mailbox};
use crate::store::account_notices::{self, Begun};
use crate::store::audit::{self, Entry};
use crate::store::{Database, StoreError};
use crate::submission::{Accept, AcceptError, By, Caller, IdempotencyKey, Request, Unit};

use super::Actor;

/// The most addresses that are told by mail.
pub const MOST_EMAILS: usize = 10;
/// Another process may begin mailing a notice again after so long: longer than accept ever takes.
const AGAIN: Duration = Duration::minutes(1);
/// A notice that cannot be mailed is given up after so many tries: an hour.
const TRIES: i16 = 60;
/// Notices begun at once.
const BATCH: i64 = 50;

/// Decides to whom a tenant's notices go by mail.
///
/// # Errors
/// See [`StoreError`].
pub async fn set_emails(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    emails: &[EmailAddress],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let emails: Vec<String> = emails.iter().map(|email| email.as_str().to_owned()).collect();
    let mut transaction = database.serve().begin().await?;
    let before = account_notices::emails(&mut transaction, tenant).await?;
    account_notices::set_emails(&mut transaction, tenant, &emails).await?;
    let details = audit::changed(json!({ "emails": before }), json!({ "emails": emails }));
    let entry = Entry { actor: &actor.name, ip: actor.ip, action: "notice.settings", target: "", details };
    audit::append(&mut transaction, tenant, entry, now).await?;
    transaction.commit().await?;
    Ok(())
}

/// What mails notices.
pub struct Announcer {
    /// Accepts the mails.
    pub accept: Accept,
    /// Where notices are.
    pub database: Database,
    /// The host that tells.
    pub hostname: String,
}

/// Why a notice was not mailed.
#[derive(Debug, thiserror::Error)]
pub enum NotAnnounced {
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
    /// See [`AcceptError`].
    #[error(transparent)]
    Accept(#[from] AcceptError),
}

impl Announcer {
    /// Mails notices that are due; gives how many were looked at.
    ///
    /// # Errors
    /// What could not be mailed is due again after a minute.
    pub async fn announce_due(&self, now: OffsetDateTime) -> Result<usize, NotAnnounced> {
        let mut connection = self.database.claim().acquire().await.map_err(StoreError::from)?;
        let begun = account_notices::begin(&mut connection, now, now + AGAIN, BATCH).await?;
        drop(connection);
        for notice in &begun {
            self.announce(notice).await?;
        }
        Ok(begun.len())
    }

    async fn announce(&self, notice: &Begun) -> Result<(), NotAnnounced> {
        if notice.tries > TRIES {
            tracing::error!(notice.id = %notice.id, "mailing a notice is given up");
        } else if let Some(submission) = self.write(notice) {
            let caller = Caller {
                tenant: notice.tenant,
                by: By::Postroad,
                mode: KeyMode::Live,
                limits: KeyLimits::default(),
            };
            let key = IdempotencyKey::parse(&format!("account notice {}", notice.id)).ok();
            let answer = self
                .accept
                .accept(&caller, Request { items: vec![Ok(submission)], key, unit: Unit::Each })
                .await?;
            for rejected in answer.items.into_iter().filter_map(Result::err) {
                tracing::warn!(notice.id = %notice.id, ?rejected, "a notice was not accepted as a mail");
            }
        }
        let mut connection = self.database.claim().acquire().await.map_err(StoreError::from)?;
        account_notices::mailed(&mut connection, notice.tenant, notice.id).await?;
        Ok(())
    }

    /// The notice as a submission; `None`: nobody wants it any more.
    fn write(&self, notice: &Begun) -> Option<Submission> {
        let mailbox = |address| Mailbox { name: None, address };
        let to: Vec<Mailbox> =
            notice.emails.iter().filter_map(|text| EmailAddress::parse(text).ok()).map(mailbox).collect();
        if to.is_empty() {
            return None;
        }
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == notice.kind);
        let title = kind.map_or(notice.kind.as_str(), |kind| kind.title());
        let address = EmailAddress::parse(&format!("postmaster@{}", self.hostname)).ok()?;
        let text = format!(
            "{}\n\nAccount: {}\nType: {}\n\nGET /v1/notices lists all notices; PATCH /v1/notices/settings decides who gets them.\n",
            notice.message, notice.tenant_name, notice.kind
        );
        Some(Submission {
            from: Some(Mailbox { name: Some("postroad".to_owned()), address }),
            reply_to: Vec::new(),
            recipients: Recipients { to, ..Recipients::default() },
            content: Content::Parts(Parts {
                subject: format!("{title} ({})", notice.tenant_name),
                text: Some(text),
                ..Parts::default()
            }),
            options: Options { watch: Watch::AsSaid, ..Options::default() },
        })
    }
}
