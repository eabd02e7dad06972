//! From a leased delivery to what goes over the wire, in steps: personalise, mark, fit, sign. Pure: a second copy of
//! the same delivery is byte-identical, because nothing here comes from a clock or from chance.
//!
//! What a step changes, the later ones see: signatures (`sign`) cover everything and come last. Fields are put on
//! top, so that protected content (`multipart/signed`) stays octet for octet.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::domain::handling::Bounces;
use crate::domain::handoff::{Leased, Outgoing};
use crate::domain::identity::senders::SenderDomain;
use crate::domain::return_path::ReturnPaths;
use crate::mail::EmailAddress;

use super::list_fields::Leave;
use super::mark::Marker;
use super::personalise::personalise;
use super::transmit::{Connection, Failure, Mail, Notices};

/// A delivery on its way to be sent.
#[derive(Debug)]
pub struct Prepared<'a> {
    /// The delivery.
    pub leased: &'a Leased,
    /// As whom it is sent; `None`: nobody has proved it, and nobody signs.
    pub sender: Option<Arc<SenderDomain>>,
    return_path: String,
    /// The message.
    pub body: Body,
    head: Bytes,
}

/// The message as the steps so far have left it.
#[derive(Debug, Clone)]
pub enum Body {
    /// As it was accepted: the same for all its recipients, and so is what is put before it.
    Shared(Arc<Outgoing>),
    /// This delivery's own.
    Own(Bytes),
}

impl Body {
    /// The octets.
    pub fn octets(&self) -> &[u8] {
        match self {
            Body::Shared(message) => &message.raw,
            Body::Own(octets) => octets,
        }
    }
}

/// Gives the delivery its body and its return path: at the sender's own return-path domain where it has one, so that
/// SPF is aligned with From (RFC 9989).
///
/// # Errors
/// The recipient's own mail cannot be composed.
pub fn prepare<'a>(
    leased: &'a Leased,
    sender: Option<Arc<SenderDomain>>,
    return_paths: &ReturnPaths,
    leave: &Leave,
) -> Result<Prepared<'a>, Failure> {
    let own = sender.as_ref().and_then(|sender| sender.return_path.as_deref());
    let return_path = return_path(leased, return_paths, own.unwrap_or(return_paths.domain()));
    Ok(Prepared { return_path, sender, body: body(leased, leave)?, leased, head: Bytes::new() })
}

/// Of mail that is passed on: what stands for its own sender, if that can be written; else what leads to the
/// delivery.
fn return_path(leased: &Leased, return_paths: &ReturnPaths, domain: &str) -> String {
    let handling = &leased.message.handling;
    if handling.bounces == Bounces::ToNobody {
        return String::new();
    }
    let envelope = handling.passed_on_by.as_ref().and(handling.envelope.as_ref());
    let stranger = envelope.and_then(|envelope| EmailAddress::parse(envelope.sender.as_deref()?).ok());
    let at = leased.message.id.born();
    let rewritten = stranger.and_then(|sender| return_paths.of_stranger(&sender, at, domain));
    rewritten.unwrap_or_else(|| return_paths.at(leased.id, domain))
}

/// What this recipient gets: a mail of its own where each has one, with its own way to leave its stream in the header,
/// if that is asked for; else what all get.
fn body(leased: &Leased, leave: &Leave) -> Result<Body, Failure> {
    let personal = personalise(leased)?;
    let marked = leave.marked(leased, personal.as_ref().unwrap_or(&leased.message.raw));
    Ok(match marked.map(Bytes::from).or(personal) {
        Some(octets) => Body::Own(octets),
        None => Body::Shared(Arc::clone(&leased.message)),
    })
}

impl Prepared<'_> {
    /// Leads links through us and adds a pixel, if that is watched.
    pub fn mark(&mut self, marker: &Marker) {
        let (message, sender) = (&self.leased.message, self.sender.as_deref());
        if let Some(octets) = marker.mark(message, sender, self.leased.id, self.body.octets()) {
            self.body = Body::Own(octets.into());
        }
    }

    /// Makes the message fit the peer. Before it is signed: signatures would not survive another encoding.
    ///
    /// # Errors
    /// The peer lacks what the mail needs.
    pub fn fit(&mut self, connection: &Connection) -> Result<(), Failure> {
        if let Cow::Owned(octets) = connection.fit(&self.mail(self.body.octets()))? {
            self.body = Body::Own(octets.into());
        }
        Ok(())
    }

    /// Puts fields on top: signatures, and what they cover.
    pub fn put_before(&mut self, head: Bytes) {
        self.head = head;
    }

    /// The whole message, as it is sent.
    pub fn content(&self) -> Cow<'_, [u8]> {
        if self.head.is_empty() {
            return Cow::Borrowed(self.body.octets());
        }
        Cow::Owned([&self.head, self.body.octets()].concat())
    }

    /// As the connection sends it.
    pub fn mail<'b>(&'b self, content: &'b [u8]) -> Mail<'b> {
        let message = &self.leased.message;
        Mail {
            from: &self.return_path,
            to: self.leased.recipient.as_str(),
            content,
            needs_smtputf8: message.needs_smtputf8 || self.leased.recipient.needs_smtputf8(),
            eight_bit: message.eight_bit,
            protected: message.protected,
            notices: self.notices(),
        }
    }

    fn notices(&self) -> Notices<'_> {
        let (envelope, own) = (self.leased.message.handling.envelope.as_ref(), &self.leased.particulars);
        Notices {
            ret: envelope.and_then(|envelope| envelope.ret),
            envid: envelope.and_then(|envelope| envelope.envid.as_deref()),
            notify: own.notify,
            orcpt: own.orcpt.as_deref(),
        }
    }
}

/// The fields that tell receivers to whom complaints go, if a signature will cover them and the message has none of
/// its own. `Feedback-ID` is read by Gmail's Postmaster Tools: stream, domain, tenant, sender. `CFBL-Address` is RFC
/// 9477's.
pub fn marks(message: &Outgoing, sender: &SenderDomain, octets: &[u8], marking: &Marking) -> Vec<u8> {
    let header_end = memchr::memmem::find(octets, b"\r\n\r\n").unwrap_or(octets.len());
    let header = &octets[..header_end];
    let mut fields = String::new();
    if !has_field(header, "Feedback-ID") {
        let Marking { feedback_sender, .. } = marking;
        fields.push_str(&format!(
            "Feedback-ID: {}:{}:{}:{feedback_sender}\r\n",
            message.stream, sender.id, message.tenant
        ));
    }
    if let Some(address) = marking.complaints_to.as_ref().filter(|_| !has_field(header, "CFBL-Address")) {
        fields.push_str(&format!("CFBL-Address: {address}; report=arf\r\n"));
    }
    fields.into_bytes()
}

/// What is said about complaints.
#[derive(Debug, Clone)]
pub struct Marking {
    /// The last part of `Feedback-ID`: who sends for all.
    pub feedback_sender: String,
    /// `CFBL-Address`.
    pub complaints_to: Option<String>,
}

fn has_field(header: &[u8], name: &str) -> bool {
    header.split(|c| *c == b'\n').any(|line| {
        line.split_at_checked(name.len()).is_some_and(|(own, rest)| {
            own.eq_ignore_ascii_case(name.as_bytes()) && rest.first() == Some(&b':')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_in_any_case_and_only_whole() {
        let header = b"From: a@b\r\nFEEDBACK-id: x\r\nX-CFBL-Address: y";
        assert!(has_field(header, "Feedback-ID"));
        assert!(!has_field(header, "CFBL-Address") && !has_field(header, "Feedback"));
    }
}
