//! The receiver for mail from the world: bounces, complaints, and mail for tenants' inbound routes.
//!
//! Invariant: it never relays. A recipient is one that [`Directory`] knows, or it is refused, wherever the client
//! is; and 250 after the text means that everything the mail brings about is committed.

use bytes::Bytes;

use super::mailroom::{Hello, MailParams, Mailroom, ReceivedEnvelope, SessionInfo, Verdict};
use super::path::{ForwardPath, ReversePath};
use super::reply::Reply;
use crate::clock::Clock;
use crate::domain::inbound::Action;
use crate::feedback::directory::{Addressee, Directory, Unwelcome};
use crate::feedback::forward::goes_round;
use crate::feedback::inbox::{Arrived, Inbox, Taken};
use crate::mail::raw::MAX_RECEIVED;
use crate::mail::{EmailAddress, trace};
use crate::store::StoreError;

const NO_SUCH_MAILBOX: Reply = Reply::new(550, 1, 1, "There is no such mailbox here");
const NO_RELAYING: Reply = Reply::new(550, 7, 1, "Relaying denied: this host takes no mail for that domain");
const REFUSED: Reply = Reply::new(550, 7, 1, "This mailbox takes no mail");
const FILTERED: Reply = Reply::new(550, 7, 1, "A filter of the recipient refuses this mail");
const NOTICES_ALONE: Reply = Reply::new(550, 7, 1, "This address takes notices alone, with a null sender");
const LOOP: Reply = Reply::new(554, 4, 6, "Too many hops: the mail is in a loop");
const TAKEN: Reply = Reply::new(250, 0, 0, "Ok: taken");
const TOO_EARLY: Reply = Reply::new(451, 3, 0, "The delivery it tells of is still being recorded, try again");
const NOT_NOW: Reply = Reply::new(451, 3, 0, "The mail could not be stored, try again");
const NO_ROOM: Reply = Reply::new(452, 3, 1, "There is no room to store the mail, try again");

/// A [`Mailroom`] for port 25.
pub struct Mx {
    inbox: Inbox,
    clock: Clock,
}

impl Mx {
    /// Hands what it takes to `inbox`.
    pub fn new(inbox: Inbox, clock: Clock) -> Mx {
        Mx { inbox, clock }
    }

    fn directory(&self) -> &Directory {
        &self.inbox.directory
    }

    fn addressee(&self, to: &ForwardPath) -> Result<(EmailAddress, Addressee), Reply> {
        let address = match to {
            // RFC 5321 §4.5.1: it may come without a domain.
            ForwardPath::Postmaster => EmailAddress::parse(&format!("postmaster@{}", self.inbox.hostname)),
            ForwardPath::Mailbox(mailbox) => EmailAddress::parse(mailbox.as_str()),
        };
        // What is grammatical and still no address of ours to think of is nobody's mailbox.
        let address = address.map_err(|_| NO_SUCH_MAILBOX)?;
        match self.directory().find(&address, self.clock.now()) {
            Ok(addressee) => Ok((address, addressee)),
            Err(Unwelcome::Foreign) => Err(NO_RELAYING),
            Err(Unwelcome::Unknown) => Err(NO_SUCH_MAILBOX),
            Err(Unwelcome::Refused) => Err(REFUSED),
        }
    }

    async fn take(
        &self,
        session: &SessionInfo,
        envelope: &ReceivedEnvelope,
        recipients: &[(EmailAddress, Addressee)],
        text: &[u8],
    ) -> Reply {
        let tls = session.tls.map(|tls| format!("{:?} {:?}", tls.version, tls.cipher));
        let mail = Arrived {
            sender: envelope.return_path.as_str(),
            peer: session.peer.ip(),
            helo: session.hello.host(),
            protocol: protocol(session),
            tls: tls.as_deref(),
            by: &self.inbox.hostname,
            raw: text,
        };
        match self.inbox.take(&mail, recipients, self.clock.now()).await {
            Ok(Taken::Done) => TAKEN,
            Ok(Taken::TooEarly) => TOO_EARLY,
            Ok(Taken::Refused) => FILTERED,
            Err(error) => refused(&error),
        }
    }
}

impl Mailroom for Mx {
    async fn mail(&self, _: &SessionInfo, _: &ReversePath, _: &MailParams) -> Verdict {
        Verdict::Accept
    }

    async fn rcpt(&self, _: &SessionInfo, from: &ReversePath, to: &ForwardPath) -> Verdict {
        match self.addressee(to) {
            // Else whoever sees one of these addresses could write to whom it stands for.
            Ok((_, Addressee::Stranger(_))) if *from != ReversePath::Null => Verdict::Refuse(NOTICES_ALONE),
            Ok(_) => Verdict::Accept,
            Err(reply) => Verdict::Refuse(reply),
        }
    }

    async fn data(&self, session: &SessionInfo, envelope: ReceivedEnvelope, text: Bytes) -> Reply {
        if trace::count(&text, "Received") > MAX_RECEIVED {
            return LOOP;
        }
        // Asked again: a route may have gone since RCPT.
        let found = envelope.recipients.iter().map(|to| self.addressee(to));
        let recipients: Vec<_> = found.filter_map(Result::ok).collect();
        if recipients.is_empty() {
            return NO_SUCH_MAILBOX;
        }
        if recipients.iter().any(|(address, addressee)| passes_round(address, addressee, &text)) {
            return LOOP;
        }
        self.take(session, &envelope, &recipients, &text).await
    }
}

/// Whether a mail would be passed on from an address that has passed it on before.
fn passes_round(address: &EmailAddress, addressee: &Addressee, text: &[u8]) -> bool {
    let forwards =
        matches!(addressee, Addressee::Routed(route) if matches!(route.action, Action::Forward(_)));
    forwards && goes_round(text, address)
}

/// RFC 3848.
fn protocol(session: &SessionInfo) -> &'static str {
    match (&session.hello, session.tls) {
        (Hello::Ehlo(_), Some(_)) => "ESMTPS",
        (Hello::Ehlo(_), None) => "ESMTP",
        _ => "SMTP",
    }
}

fn refused(error: &StoreError) -> Reply {
    match error {
        StoreError::Full(_) => NO_ROOM,
        StoreError::Unavailable(_) => NOT_NOW,
        StoreError::Conflict(_) | StoreError::Refused(_) => {
            tracing::error!(error = %error, "a mail that came in could not be stored");
            NOT_NOW
        }
    }
}
