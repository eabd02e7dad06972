//! The SMTP doors: mail that comes in by SMTP, whoever it is for.
//!
//! One strict engine ([`Listener`] and the session behind it) and a [`Mailroom`] per kind of receiver: the private
//! [`Capture`], and [`Mx`] for mail that comes in. This module does not send, and it knows no policy.
//! Invariant: what the engine hands to a mailroom is one well-formed envelope and one mail that every RFC 5321
//! host delimits alike.
//!
//! Reading order: `mailroom` (what stands behind), `settings`, `listener`, `session`, `session/commands`, then the
//! grammar in `command`, `path` and `data`.

mod admission;
mod capture;
mod command;
mod data;
mod listener;
mod mailroom;
mod mx;
mod path;
mod reply;
mod session;
mod settings;
mod wire;

pub use capture::{Capture, CapturedMail, Keep, KeepError};
pub use listener::Listener;
pub use mailroom::{
    Body, Charset, Hello, MailParams, Mailroom, ReceivedEnvelope, SessionInfo, TlsSession, Verdict,
};
pub use mx::Mx;
pub use path::{BadPath, ForwardPath, Mailbox, ReversePath};
pub use reply::Reply;
pub use settings::{EarlyTalk, Limits, Settings, Timeouts, Tls, TlsConfig};
