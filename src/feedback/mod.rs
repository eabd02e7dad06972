//! What comes back, and what comes in: bounces, complaints and unsubscribes about our deliveries, and mail for
//! tenants' inbound routes; and what submitters are told of their mail. Opens and clicks are not here, nor is the protocol by which mail comes.
//!
//! Invariant: what a mail brings about is committed as one transaction, before its sender is told yes.
//!
//! Reading order: `directory` (whom we take mail for), `inbox` (the operation), then one file for each effect.

pub mod authenticate;
pub mod bounce;
pub mod capture;
pub mod complaint;
pub mod directory;
mod dmarc;
pub mod forward;
pub mod inbox;
pub mod kept;
pub mod notices;
pub mod post;
pub mod receipt;
pub mod screen;
pub mod tls_reports;
pub mod unsubscribe;
pub mod visits;
