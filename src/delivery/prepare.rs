//! From a leased delivery to what goes over the wire. Pure: a second copy of the same delivery is
//! byte-identical, because nothing here comes from a clock or from chance.

use crate::domain::handoff::Leased;
use crate::domain::return_path::ReturnPaths;

use super::mark::Marker;
use super::transmit::Mail;

/// A delivery ready to be sent.
#[derive(Debug)]
pub struct Prepared<'a> {
    return_path: String,
    leased: &'a Leased,
    marked: Option<Vec<u8>>,
}

/// Gives the delivery its return path, and its links and pixel if they are wanted.
pub fn prepare<'a>(leased: &'a Leased, return_paths: &ReturnPaths, marker: &Marker) -> Prepared<'a> {
    let marked = marker.mark(&leased.message, leased.id, &leased.message.raw);
    Prepared { return_path: return_paths.of(leased.id), leased, marked }
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
        }
    }
}
