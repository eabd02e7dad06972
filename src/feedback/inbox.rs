//! Taking a mail that came in: what it brings about for each recipient, all of it in one transaction.

use std::net::IpAddr;

use time::OffsetDateTime;

use crate::domain::filter::Measure;
use crate::domain::id::TenantId;
use crate::mail::EmailAddress;
use crate::mail::dmarc_report::AggregateReport;
use crate::mail::returned::{self, Envelope, Returned};
use crate::mail::trace::{self, Hop};
use crate::store::{Database, PgConnection, StoreError};

use super::authenticate::{Authenticator, Claim, Verdicts};
use super::bounce::{self, Effect};
use super::complaint::{self, Matched};
use super::directory::{Addressee, Directory, Mailroom};
use super::dmarc;
use super::kept::{self, Owner};
use super::receipt;
use super::screen::{Screen, Screened};
use super::unsubscribe;

/// Takes mail.
#[derive(Clone)]
pub struct Inbox {
    /// Where it is kept.
    pub database: Database,
    /// Whom it is taken for.
    pub directory: Directory,
    /// Whose the mail to postmaster and abuse is.
    pub operator: TenantId,
    /// Our name in trace fields.
    pub hostname: String,
    /// Finds out who mail is from.
    pub authenticator: Authenticator,
    /// Looks at mail before a route takes it.
    pub screen: Screen,
}

/// A mail as it came over SMTP.
#[derive(Debug)]
pub struct Arrived<'a> {
    /// MAIL FROM; empty: the null path.
    pub sender: &'a str,
    /// From where.
    pub peer: IpAddr,
    /// What the client called itself.
    pub helo: &'a str,
    /// Over which protocol (RFC 3848).
    pub protocol: &'a str,
    /// Version and cipher, if it was encrypted.
    pub tls: Option<&'a str>,
    /// Our name.
    pub by: &'a str,
    /// The mail, with CRLF line ends.
    pub raw: &'a [u8],
}

/// A mail that may be kept, and who it is from.
#[derive(Debug)]
pub(super) struct Examined<'a> {
    /// As it came.
    pub mail: &'a Arrived<'a>,
    /// Who it is from.
    pub verdicts: Verdicts,
    /// Without results that claim to be ours (RFC 8601 §5).
    clean: Vec<u8>,
}

impl Examined<'_> {
    /// The mail with the fields we put before it.
    pub(super) fn with_trace(
        &self,
        id: &str,
        recipient: &str,
        screened: &Screened,
        at: OffsetDateTime,
    ) -> Vec<u8> {
        let mail = self.mail;
        let hop = Hop {
            helo: mail.helo,
            peer: mail.peer,
            by: mail.by,
            protocol: mail.protocol,
            tls: mail.tls,
            id,
            recipient: Some(recipient),
            at,
        };
        // RFC 5321 §4.4: the final host adds what the envelope said.
        let return_path = format!("Return-Path: <{}>\r\n", mail.sender);
        let (received, tags) = (trace::received(&hop), screened.fields());
        let fields = [return_path.as_str(), &received, &tags, &self.verdicts.field].concat();
        [fields.as_bytes(), &self.clean].concat()
    }
}

impl Arrived<'_> {
    pub(super) fn envelope(&self) -> Envelope {
        if self.sender.is_empty() { Envelope::Null } else { Envelope::Named }
    }
}

/// Whether a mail was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// What it brings about is committed.
    Done,
    /// It is a notice about a delivery whose end we have not recorded yet. Nothing was stored.
    TooEarly,
    /// A filter of every recipient refuses it. Nothing was stored.
    Refused,
}

impl Inbox {
    /// Takes a mail for these recipients. Committed when it returns [`Taken::Done`].
    ///
    /// # Errors
    /// See [`StoreError`]; nothing was stored, unless nobody knows.
    pub async fn take(
        &self,
        mail: &Arrived<'_>,
        recipients: &[(EmailAddress, Addressee)],
        now: OffsetDateTime,
    ) -> Result<Taken, StoreError> {
        // Before the transaction: it asks the world.
        let examined = match recipients.iter().any(|(_, addressee)| may_keep(addressee)) {
            true => Some(self.examine(mail).await),
            false => None,
        };
        let report = match recipients.iter().any(|(_, addressee)| matches!(addressee, Addressee::Reports)) {
            true => dmarc::read(mail.raw).await,
            false => None,
        };
        let ordered = in_order(recipients);
        let screened = self.screened(examined.as_ref(), &ordered).await;
        if screened.iter().all(|screened| screened.fate == Some(Measure::Reject)) {
            return Ok(Taken::Refused);
        }
        let mut transaction = self.database.serve().begin().await?;
        for ((address, addressee), screened) in ordered.into_iter().zip(&screened) {
            let work = Work { mail, examined: examined.as_ref(), report: report.as_ref(), screened };
            if self.one(&mut transaction, work, address, addressee, now).await? == Taken::TooEarly {
                return Ok(Taken::TooEarly);
            }
        }
        transaction.commit().await?;
        Ok(Taken::Done)
    }

    /// What the filters of each recipient find, in the same order.
    async fn screened(
        &self,
        examined: Option<&Examined<'_>>,
        recipients: &[&(EmailAddress, Addressee)],
    ) -> Vec<Screened> {
        let mut questions = examined.map(|examined| self.screen.about(examined));
        let mut screened = Vec::with_capacity(recipients.len());
        for (address, addressee) in recipients {
            screened.push(match (&mut questions, addressee) {
                (Some(questions), Addressee::Routed(route)) => {
                    questions.answer(&self.directory.filters(route), address.as_str()).await
                }
                _ => Screened::default(),
            });
        }
        screened
    }

    async fn examine<'a>(&self, mail: &'a Arrived<'a>) -> Examined<'a> {
        let claim = Claim { peer: mail.peer, helo: mail.helo, sender: mail.sender };
        let verdicts = self.authenticator.check(claim, mail.raw).await;
        Examined { mail, verdicts, clean: trace::without_results(mail.raw, mail.by) }
    }

    async fn one(
        &self,
        connection: &mut PgConnection,
        work: Work<'_>,
        address: &EmailAddress,
        addressee: &Addressee,
        now: OffsetDateTime,
    ) -> Result<Taken, StoreError> {
        let mail = work.mail;
        match addressee {
            Addressee::ReturnPath(delivery) => match returned::read(mail.raw, mail.envelope()) {
                Returned::Notice(notices) => {
                    if bounce::apply(connection, *delivery, &notices, now).await? == Effect::TooEarly {
                        return Ok(Taken::TooEarly);
                    }
                }
                Returned::Complaint(complaint) => {
                    complaint::apply(connection, &self.directory, &complaint, Some(*delivery), now).await?;
                }
                Returned::Receipt(receipt) => receipt::apply(connection, *delivery, &receipt, now).await?,
                // Nobody reads a return path: automatic answers and the like have no effect.
                Returned::AutoReply | Returned::Mail => {}
            },
            Addressee::Unsubscribe(delivery) => match returned::read(mail.raw, mail.envelope()) {
                Returned::Notice(_) | Returned::Receipt(_) => {}
                _ => unsubscribe::apply(connection, *delivery, now).await?,
            },
            Addressee::Feedback(room) => {
                if self.feedback(connection, mail, *room, now).await? == Matched::No {
                    keep(connection, work, Owner::Operator(self.operator), address, now).await?;
                }
            }
            Addressee::Postmaster => {
                keep(connection, work, Owner::Operator(self.operator), address, now).await?;
            }
            Addressee::Reports => match (work.report, work.examined) {
                (Some(report), Some(examined)) => {
                    dmarc::apply(connection, report, &examined.verdicts, now).await?;
                }
                _ => keep(connection, work, Owner::Operator(self.operator), address, now).await?,
            },
            Addressee::Stranger(_) => {
                keep(connection, work, Owner::Stranger(self.operator), address, now).await?;
            }
            Addressee::Routed(route) => {
                keep(connection, work, Owner::Route(route), address, now).await?;
                // An address that asks for receipts is usually one that somebody reads.
                if work.screened.fate.is_none()
                    && let Returned::Receipt(receipt) = returned::read(mail.raw, mail.envelope())
                {
                    let directory = &self.directory;
                    receipt::apply_for(connection, directory, route.tenant, &receipt, now).await?;
                }
            }
        }
        Ok(Taken::Done)
    }

    /// A report takes effect; what is none, or about mail of others, is for a person to read.
    async fn feedback(
        &self,
        connection: &mut PgConnection,
        mail: &Arrived<'_>,
        room: Mailroom,
        now: OffsetDateTime,
    ) -> Result<Matched, StoreError> {
        let read = match room {
            Mailroom::Machines => returned::read_at_feedback_address(mail.raw, mail.envelope()),
            Mailroom::Person => returned::read(mail.raw, mail.envelope()),
        };
        match read {
            Returned::Complaint(complaint) => {
                complaint::apply(connection, &self.directory, &complaint, None, now).await
            }
            _ => Ok(Matched::No),
        }
    }
}

fn may_keep(addressee: &Addressee) -> bool {
    !matches!(addressee, Addressee::ReturnPath(_) | Addressee::Unsubscribe(_))
}

/// A mail for one of its recipients.
#[derive(Clone, Copy)]
struct Work<'a> {
    mail: &'a Arrived<'a>,
    examined: Option<&'a Examined<'a>>,
    report: Option<&'a AggregateReport>,
    screened: &'a Screened,
}

/// What may be kept has been examined, by [`may_keep`].
async fn keep(
    connection: &mut PgConnection,
    work: Work<'_>,
    owner: Owner<'_>,
    address: &EmailAddress,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    match work.examined {
        Some(examined) => {
            kept::keep(connection, (examined, work.screened), owner, address.as_str(), now).await
        }
        None => Ok(()),
    }
}

/// Deliveries are locked in the order of their ids, so that two mails to the same two recipients do not wait for
/// each other. Each recipient counts once.
fn in_order(recipients: &[(EmailAddress, Addressee)]) -> Vec<&(EmailAddress, Addressee)> {
    let mut ordered: Vec<_> = recipients.iter().collect();
    ordered.sort_by_key(|(address, addressee)| {
        let delivery = match addressee {
            Addressee::ReturnPath(delivery) | Addressee::Unsubscribe(delivery) => Some(*delivery),
            _ => None,
        };
        (delivery, address.key())
    });
    ordered.dedup_by_key(|(address, _)| address.key());
    ordered
}
