//! The words of e-mail: what the RFCs define about addresses, header fields and messages, and how to read, write and
//! mend them. Not how mail moves: there is no I/O here, no clock, no randomness, and no noun of postroad.
//!
//! Invariant: everything here is a pure function of its arguments, and imports nothing from the other modules.
//!
//! In reading order:
//! - [`address`]: `local@domain`; [`mailbox`]: an address with a display name.
//! - [`text`]: what may stand in a header field; [`headers`]: which fields a caller may add.
//! - [`mod@compose`]: parts into a mail; [`attachment`]: a file as a part.
//! - [`dkim`]: signatures before a mail.
//! - [`raw`]: a message that comes composed; [`transcode`]: making one fit a narrower way.
//! - [`html_part`]: changing the HTML of a message; [`links`]: finding what to change in it.
//! - [`reading`]: a mail as a program wants it; [`preview`]: its HTML as somebody else may look at it.
//! - [`returned`]: what a mail that comes back is: bounce, complaint, automatic answer; [`report`]: a notice about one of
//!   ours; [`control`] and [`xtext`]: what clients say in a header and in SMTP.
//! - `words`, `lines`, `encoding` and `structure` are what these share: encoded words and folding, line ends,
//!   transfer encodings, and where the parts of a message are.

pub mod address;
mod address_error;
pub mod arc;
pub mod attachment;
pub mod compose;
pub mod control;
pub mod dkim;
pub mod dmarc_report;
mod encoding;
pub mod headers;
pub mod html_part;
pub mod identity;
mod lines;
pub mod links;
pub mod mailbox;
pub mod mta_sts;
pub mod preview;
pub mod raw;
pub mod reading;
pub mod reply;
pub mod report;
pub mod returned;
mod structure;
pub mod text;
pub mod text_links;
pub mod tls_report;
pub mod trace;
pub mod transcode;
mod words;
pub mod xtext;

pub use address::EmailAddress;
pub use address_error::AddressError;
pub use attachment::{Attachment, AttachmentError};
pub use compose::{ComposeError, Draft, compose};
pub use headers::{CustomHeaders, Header, HeaderError, parse_message_id};
pub use lines::MAX_LINE;
pub use mailbox::{Mailbox, parse_list};
pub use raw::RawError;
pub use structure::{MAX_HEADER, TooComplex};
pub use text::TextError;
pub use transcode::{TranscodeError, to_seven_bit};
