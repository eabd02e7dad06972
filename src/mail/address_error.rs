//! Why a text is no address (`address`) or no mailbox (`mailbox`). Not whether anyone lives there.
//!
//! Invariant: each message is a clause about the text that tells a person what to change.

use super::address::{MAX_ADDRESS, MAX_DOMAIN, MAX_LABEL, MAX_LOCAL};
use super::text::TextError;

/// Why a text is no address, or no mailbox. Each reads as a sentence about the address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing there.
    #[error("the address is empty")]
    Empty,
    /// No `@` at all.
    #[error("there is no @ in the address")]
    NoAt,
    /// `a@b@c`.
    #[error("there is more than one @ in the address")]
    ManyAts,
    /// `@example.com`.
    #[error("the part before the @ is missing")]
    NoLocal,
    /// `ann@`.
    #[error("the domain is missing")]
    NoDomain,
    /// A line break, control character or bidirectional override, anywhere.
    #[error("the address cannot be used: {0}")]
    Text(TextError),
    /// A space outside quotes.
    #[error("there is a space in the address")]
    Space,
    /// Over [`MAX_LOCAL`].
    #[error("the part before the @ is longer than {MAX_LOCAL} octets")]
    LocalTooLong,
    /// `.ann@`, `ann.@`.
    #[error("the part before the @ begins or ends with a dot")]
    LocalDot,
    /// `ann..smith@`.
    #[error("there are two dots in a row before the @")]
    LocalDots,
    /// A character that is legal only in quotes.
    #[error("{0:?} cannot stand before the @ unless it is all in double quotes")]
    LocalCharacter(char),
    /// A quoted local part that does not end, or that ends before the `@`.
    #[error("the part before the @ begins with a double quote and does not end with one")]
    Quotes,
    /// Over [`MAX_DOMAIN`].
    #[error("the domain is longer than {MAX_DOMAIN} octets")]
    DomainTooLong,
    /// A label over 63 octets.
    #[error("a part of the domain between two dots is longer than {MAX_LABEL} octets")]
    LabelTooLong,
    /// `.example.com`, `example..com`.
    #[error("the domain begins with a dot or has two in a row")]
    DomainDots,
    /// `example.com.`.
    #[error("the domain ends with a dot; leave it away")]
    TrailingDot,
    /// `-example.com`, `example-.com`.
    #[error("a part of the domain begins or ends with a hyphen")]
    Hyphen,
    /// Neither letter nor digit nor hyphen nor dot.
    #[error("{0:?} cannot be in a domain")]
    DomainCharacter(char),
    /// Refused by UTS 46: unassigned, mixed directions, broken Punycode…
    #[error("the domain is no valid internationalized name")]
    Idna,
    /// `ann@192.0.2.1`, `ann@example.123`.
    #[error("the domain ends in a number; an IP address must stand in brackets, as in ann@[192.0.2.1]")]
    Numeric,
    /// Brackets without an IP address in them.
    #[error("the brackets hold no IP address; they are written [192.0.2.1] or [IPv6:2001:db8::1]")]
    Literal,
    /// Over [`MAX_ADDRESS`].
    #[error("the address is longer than {MAX_ADDRESS} octets")]
    TooLong,
    /// A display name with a character that must not be in a header field.
    #[error("the display name cannot be used: {0}")]
    Name(TextError),
    /// `Ann, Smith <ann@…>`, or a character that ends a name.
    #[error("the display name contains {0:?}; put the name in double quotes")]
    NameCharacter(char),
    /// `Ann ann@example.com`.
    #[error("write the address after a name in angle brackets: Name <ann@example.com>")]
    NoBrackets,
    /// `<ann@example.com`, `ann@example.com>`.
    #[error("an angle bracket has no partner")]
    AngleBracket,
    /// `"Ann <ann@example.com>`.
    #[error("a double quote has no partner")]
    OpenQuote,
    /// `ann@example.com (work`.
    #[error("a comment in parentheses has no end")]
    Comment,
    /// `<ann@example.com> and others`.
    #[error("there is text after the address")]
    TextAfter,
    /// Several mailboxes where one was expected.
    #[error("there is more than one address; give them as a list, and put a name with a comma in quotes")]
    Several,
    /// `Friends: ann@example.com;` where one mailbox was expected.
    #[error("this is a group of addresses (Name: …;), not one address")]
    Group,
}
