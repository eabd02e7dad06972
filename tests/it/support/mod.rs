//! What the tests share: databases, a running postroad inside or outside of this process, a client, a scripted
//! SMTP server, and the oracle that knows whether anything was lost.

pub mod app;
pub mod client;
pub mod database;
pub mod oracle;
pub mod program;
pub mod sink;
