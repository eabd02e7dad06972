//! From a leased delivery to what goes over the wire. Pure: a second copy of the same delivery is
//! byte-identical, because nothing here comes from a clock or from chance.

use bytes::Bytes;

use crate::domain::handling::Bounces;
use crate::domain::handoff::Leased;
use crate::domain::return_path::ReturnPaths;

use super::list_fields::Leave;
use super::personalise::personalise;
use super::transmit::{Failure, Mail, Notices};

/// A delivery ready to be sent.
#[derive(Debug)]
pub struct Prepared<'a> {
    return_path: String,
    leased: &'a Leased,
    /// This delivery's own form of the message; `None`: what all get.
    own: Option<Bytes>,
}

/// Gives the delivery its content and its return path, and says in its header how to leave its stream.
///
/// # Errors
/// The recipient's own mail cannot be composed.
pub fn prepare<'a>(
    leased: &'a Leased,
    return_paths: &ReturnPaths,
    leave: &Leave,
) -> Result<Prepared<'a>, Failure> {
    let return_path = match leased.message.handling.bounces {
        Bounces::ToUs => return_paths.of(leased.id),
        Bounces::ToNobody => String::new(),
    };
    let personal = personalise(leased)?;
    let marked = leave.marked(leased, personal.as_ref().unwrap_or(&leased.message.raw));
    Ok(Prepared { return_path, own: marked.map(Bytes::from).or(personal), leased })
}

impl Prepared<'_> {
    /// As the connection sends it.
    pub fn mail(&self) -> Mail<'_> {
        let message = &self.leased.message;
        Mail {
            from: &self.return_path,
            to: self.leased.recipient.as_str(),
            content: self.own.as_ref().unwrap_or(&message.raw),
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
