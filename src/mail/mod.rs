//! The words of e-mail: what the RFCs define about addresses, header fields and messages, and how to read, write and
//! mend them. Not how mail moves: there is no I/O here, no clock, no randomness, and no noun of postroad.
//!
//! Invariant: everything here is a pure function of its arguments, and imports nothing from the other modules.

pub mod address;
mod address_error;
pub mod text;

pub use address::EmailAddress;
pub use address_error::AddressError;
pub use text::TextError;
