//! Mail to people: invitations and links to choose a password. It goes through postroad itself, as mail of the first
//! tenant, and what it says is its recipient's alone: nobody who reads that tenant's messages sees the link.

use crate::domain::handling::{Handling, Readers};
use crate::domain::id::TenantId;
use crate::domain::key::{KeyLimits, KeyMode};
use crate::domain::submission::{Content, Options, Parts, Recipients, Submission};
use crate::domain::ticket::Ticket;
use crate::domain::user::{Login, Role};
use crate::mail::{EmailAddress, Mailbox};
use crate::submission::{Accept, AcceptError, By, Caller, Request, Unit};

/// Writes to people.
#[derive(Debug, Clone)]
pub struct Letters {
    /// Accepts mail.
    pub accept: Accept,
    /// Whose mail it is: the first tenant's.
    pub tenant: TenantId,
    /// From whom it is.
    pub from: Mailbox,
    /// Where the dashboard is, without a slash at its end.
    pub site: String,
}

/// Why a letter was not sent.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    /// It was not accepted: a mail that large or an address like that.
    #[error("the mail was refused: {0}")]
    Refused(String),
    /// See [`AcceptError`].
    #[error(transparent)]
    Accept(#[from] AcceptError),
}

impl Letters {
    /// An invitation to join a tenant.
    ///
    /// # Errors
    /// See [`NotSent`].
    pub async fn invite(
        &self,
        to: &Login,
        (inviter, tenant, role): (&str, &str, Role),
        ticket: &Ticket,
    ) -> Result<(), NotSent> {
        let link = format!("{}/ui/invitation?token={}", self.site, ticket.reveal());
        let text = format!(
            "{inviter} invites you to join \"{tenant}\" on postroad, as {role}.\n\n\
             To accept, open this link within seven days:\n\n{link}\n\n\
             If you do not know why you got this, do nothing: without the link nobody joins in your name.\n",
            role = role.as_str(),
        );
        self.send(to, &format!("Join {tenant} on postroad"), text).await
    }

    /// A link to choose a new password.
    ///
    /// # Errors
    /// See [`NotSent`].
    pub async fn reset(&self, to: &Login, ticket: &Ticket) -> Result<(), NotSent> {
        let link = format!("{}/ui/reset?token={}", self.site, ticket.reveal());
        let text = format!(
            "Somebody, probably you, asked for a new password for {site}.\n\n\
             To choose one, open this link within an hour:\n\n{link}\n\n\
             If it was not you, do nothing: your password stays as it is.\n",
            site = self.site,
        );
        self.send(to, "Choose a new password", text).await
    }

    /// That something was changed which only she should change.
    ///
    /// # Errors
    /// See [`NotSent`].
    pub async fn warn(&self, to: &Login, what: &str) -> Result<(), NotSent> {
        let text = format!(
            "{what} for your account at {site}.\n\n\
             If it was you, all is well. If not, reset your password now and look at your sessions:\n\n{site}/ui/forgot\n",
            site = self.site,
        );
        self.send(to, what, text).await
    }

    /// The same, without making anybody wait for it; what goes wrong is in the log.
    pub fn warn_later(&self, to: &str, what: &'static str) {
        let Ok(to) = Login::parse(to) else { return };
        let letters = self.clone();
        tokio::spawn(async move {
            if let Err(error) = letters.warn(&to, what).await {
                tracing::warn!(error = %error, "a warning to a user was not sent");
            }
        });
    }

    async fn send(&self, to: &Login, subject: &str, text: String) -> Result<(), NotSent> {
        let address =
            EmailAddress::parse(to.as_str()).map_err(|error| NotSent::Refused(error.to_string()))?;
        let recipients = Recipients { to: vec![address.into()], ..Recipients::default() };
        let parts = Parts { subject: one_line(subject), text: Some(text), ..Parts::default() };
        let handling = Handling { readers: Readers::Recipients, ..Handling::default() };
        let submission = Submission {
            from: Some(self.from.clone()),
            reply_to: Vec::new(),
            recipients,
            content: Content::Parts(parts),
            options: Options { handling, tags: vec!["postroad".to_owned()], ..Options::default() },
        };
        let caller = Caller {
            tenant: self.tenant,
            by: By::Postroad,
            mode: KeyMode::Live,
            limits: KeyLimits::default(),
        };
        let answer = self
            .accept
            .accept(&caller, Request { items: vec![Ok(submission)], key: None, unit: Unit::Each })
            .await?;
        match answer.items.into_iter().find_map(Result::err) {
            Some(rejected) => Err(NotSent::Refused(format!("{rejected:?}"))),
            None => Ok(()),
        }
    }
}

fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
