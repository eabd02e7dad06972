//! The SMTP doors: mail that comes in by SMTP, whoever it is for.
//!
//! One strict engine ([`Listener`] and the session behind it) and a [`Mailroom`] per kind of receiver: the private
//! [`Capture`], [`Submission`] for our own users, and [`Mx`] for mail that comes in. This module does not send, and it
//! knows no policy.
//! Invariant: what the engine hands to a mailroom is one well-formed envelope and one mail that every RFC 5321
//! host delimits alike.
//!
//! Reading order: `mailroom` (what stands behind), `settings`, `listener`, `session`, `session/commands`, then the
//! grammar in `command`, `path` and `data`; `proxy` is what may stand before a session.

mod capture;
mod command;
mod data;
#[cfg(fuzzing)]
pub mod fuzzing;
mod listener;
mod mailroom;
mod mx;
mod path;
#[cfg(test)]
mod properties;
mod proxy;
mod reply;
mod session;
mod settings;
pub mod submission;
mod wire;

pub use capture::{Capture, CapturedMail, Keep, KeepError};
pub use listener::Listener;
pub use mailroom::{
    Body, Charset, Entry, Hello, Login, MailParams, Mailroom, RcptParams, ReceivedEnvelope, SessionInfo,
    TlsSession, Verdict,
};
pub use mx::Mx;
pub use path::{BadPath, ForwardPath, Mailbox, ReversePath};
pub use reply::Reply;
pub use settings::{Door, EarlyTalk, Limits, Memory, Settings, Timeouts, Tls, TlsConfig};
pub use submission::Submission;
