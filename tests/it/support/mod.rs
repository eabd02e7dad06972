//! What the tests share: databases, a running postroad inside or outside of this process, a client, a scripted
//! SMTP server, and the oracle that knows whether anything was lost.

pub mod account;
pub mod acme;
pub mod app;
pub mod captured;
pub mod client;
pub mod database;
pub mod dns;
pub mod dnssec;
pub mod domains;
pub mod mailbag;
pub mod oracle;
pub mod peer;
pub mod program;
pub mod routes;
pub mod sink;
pub mod sse;
