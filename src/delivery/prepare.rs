//! From a leased delivery to what goes over the wire. Pure: a second copy of the same delivery is
//! byte-identical, because nothing here comes from a clock or from chance.

use bytes::Bytes;

use crate::domain::handoff::Leased;
use crate::domain::return_path::ReturnPaths;

use super::personalise::personalise;
use super::transmit::{Failure, Mail};

/// A delivery ready to be sent.
#[derive(Debug)]
pub struct Prepared<'a> {
    return_path: String,
    leased: &'a Leased,
    /// What this recipient alone gets; `None`: what all get.
    own: Option<Bytes>,
}

/// Gives the delivery its content and its return path.
///
/// # Errors
/// The recipient's own mail cannot be composed.
pub fn prepare<'a>(leased: &'a Leased, return_paths: &ReturnPaths) -> Result<Prepared<'a>, Failure> {
    Ok(Prepared { return_path: return_paths.of(leased.id), own: personalise(leased)?, leased })
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
        }
    }
}
