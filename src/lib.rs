//! postroad: an e-mail sending service. Applications hand mail in over HTTP; it is stored durably in Postgres
//! before they are told yes; workers deliver it over SMTP; everything that happens to it is recorded.
//!
//! The modules, from the ground up. Imports run strictly downward, and siblings never import each other; a
//! test holds that (`tests/it/architecture.rs`). `ARCHITECTURE.md` tells why.

// 0: what the RFCs define, time, secrets, who is at a door. Pure.
pub mod admission;
pub mod clock;
pub mod mail;
pub mod render;
pub mod seal;
// 1: postroad's nouns and rules. Pure.
pub mod domain;
// 2: all SQL; names; HTTP to where tenants say.
pub mod dns;
pub mod outbound;
pub mod store;
// 3: the operation everything that sends mail goes through; who may send as whom.
pub mod identities;
pub mod submission;
// 4: operations.
pub mod account;
pub mod certificates;
pub mod delivery;
pub mod feedback;
pub mod live;
pub mod reporting;
pub mod webhooks;
// 5: doors and loops.
pub mod http;
pub mod smtp;
pub mod worker;
// 6: assembly.
pub mod config;
pub mod doctor;
pub mod embedded;
pub mod server;

#[cfg(test)]
mod testing;
