//! From a leased delivery to what goes over the wire. Pure: a second copy of the same delivery is
//! byte-identical, because nothing here comes from a clock or from chance.

use crate::domain::handling::Bounces;
use crate::domain::handoff::Leased;
use crate::domain::return_path::ReturnPaths;

use super::list_fields::Leave;
use super::mark::Marker;
use super::transmit::{Mail, Notices};

/// A delivery ready to be sent.
#[derive(Debug)]
pub struct Prepared<'a> {
    return_path: String,
    leased: &'a Leased,
    /// This delivery's own form of the message; `None`: what all get.
    marked: Option<Vec<u8>>,
}

/// Gives the delivery its return path, says in its header how to leave its stream, and marks its links if they are
/// watched.
pub fn prepare<'a>(
    leased: &'a Leased,
    return_paths: &ReturnPaths,
    leave: &Leave,
    marker: &Marker,
) -> Prepared<'a> {
    let return_path = match leased.message.handling.bounces {
        Bounces::ToUs => return_paths.of(leased.id),
        Bounces::ToNobody => String::new(),
    };
    let message = &leased.message;
    let left = leave.marked(leased);
    let tracked = marker.mark(message, leased.id, left.as_deref().unwrap_or(&message.raw));
    Prepared { return_path, leased, marked: tracked.or(left) }
}

impl Prepared<'_> {
    /// As the connection sends it.
    pub fn mail(&self) -> Mail<'_> {
        let message = &self.leased.message;
        Mail {
            from: &self.return_path,
            to: self.leased.recipient.as_str(),
            content: self.marked.as_deref().unwrap_or(&message.raw),
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
