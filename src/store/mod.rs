//! All SQL. Rows in, domain types out; plain functions, one file for each family of tables.
//!
//! Functions take `&mut PgConnection` and never begin or end a transaction: whoever calls owns it. Queries of
//! what a tenant owns take its [`TenantId`](crate::domain::id::TenantId) first; the few that cross tenants
//! say so in their names or stand in files that only workers and operators use.

pub mod accept;
pub mod account_notices;
pub mod address_history;
pub mod audit;
pub mod blueprint;
pub mod calls;
pub mod captured;
pub mod certificates;
pub mod chores;
pub mod claim;
pub mod dmarc;
pub mod domain_keys;
pub mod domains;
pub mod erase;
pub mod erasures;
mod error;
pub mod events;
pub mod factors;
pub mod feedback;
pub mod filters;
pub mod handling;
pub mod heads;
pub mod health;
pub mod idempotency;
pub mod identities;
pub mod inbound;
pub mod inbound_calls;
pub mod inbound_routes;
pub mod installation;
pub mod invitations;
pub mod ips;
pub mod keys;
mod link;
pub mod links;
pub mod messages;
pub mod migrate;
pub mod mta_sts;
pub mod nodes;
pub mod notices;
pub mod partitions;
pub mod passkeys;
pub mod pauses;
pub mod posts;
pub mod queue;
pub mod quotas;
pub mod recipients;
pub mod record;
pub mod relays;
pub mod reputation;
pub mod revisions;
pub mod sessions;
pub mod sites;
pub mod stats;
pub mod streams;
pub mod suppressions;
pub mod templates;
pub mod tenants;
pub mod tls_results;
pub mod users;
pub mod vacuum;
pub mod visits;
pub mod webhooks;

pub use error::StoreError;
pub use link::{Database, Link, Use};
pub use sqlx::PgConnection;
