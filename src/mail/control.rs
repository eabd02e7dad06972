//! The control fields of a message that comes composed: what its author asks of us, in the header. They are read
//! before a message is accepted, since they tell how, and `raw` takes them out.

use super::headers::CONTROL_PREFIX;
use super::structure::{self, Field};
use super::{raw, words};

/// The control fields, in order: the name as it was written after `X-Postroad-`, and the value, decoded. Lines must
/// end in CRLF.
pub fn fields(message: &[u8]) -> Vec<(String, String)> {
    let (header, _) = structure::split(message, 0..message.len());
    let fields = structure::fields(message, header).into_iter().filter_map(|field| {
        let name = String::from_utf8_lossy(name_of(message, &field)?).into_owned();
        Some((name, raw::clean(&words::decode(&field.text(message)))))
    });
    fields.collect()
}

/// What follows `X-Postroad-` in the name of a field; `None`: it is another field.
pub(super) fn name_of<'a>(message: &'a [u8], field: &Field) -> Option<&'a [u8]> {
    let (prefix, rest) = message[field.name.clone()].split_at_checked(CONTROL_PREFIX.len())?;
    prefix.eq_ignore_ascii_case(CONTROL_PREFIX.as_bytes()).then_some(rest)
}
