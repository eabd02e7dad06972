//! Revisions: how nodes learn that what they keep in memory has changed. Read twice a second by every node.

use std::time::Instant;

use sqlx::PgConnection;

use super::StoreError;

/// What is kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Revised {
    /// API keys and tenants.
    Credentials,
    /// Tenants' relays.
    Relays,
    /// Sender domains and their keys.
    Domains,
    /// What is held.
    Pauses,
    /// Tenants' inbound routes.
    Inbound,
    /// Tenants' webhooks.
    Webhooks,
    /// Tenants' streams.
    Streams,
    /// The addresses that mail leaves from.
    Ips,
    /// Certificates by ACME.
    Certificates,
    /// What tenants are limited to.
    Quotas,
    /// Who has suppressions that are known by a hash alone.
    Erasures,
}

impl Revised {
    const fn name(self) -> &'static str {
        match self {
            Revised::Credentials => "credentials",
            Revised::Relays => "relays",
            Revised::Domains => "domains",
            Revised::Pauses => "pauses",
            Revised::Inbound => "inbound",
            Revised::Webhooks => "webhooks",
            Revised::Streams => "streams",
            Revised::Ips => "ips",
            Revised::Certificates => "certificates",
            Revised::Quotas => "quotas",
            Revised::Erasures => "erasures",
        }
    }
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Revisions {
    /// API keys and tenants.
    pub credentials: i64,
    /// Tenants' relays.
    pub relays: i64,
    /// Sender domains and their keys.
    pub domains: i64,
    /// What is held.
    pub pauses: i64,
    /// Tenants' inbound routes.
    pub inbound: i64,
    /// Tenants' webhooks.
    pub webhooks: i64,
    /// Tenants' streams.
    pub streams: i64,
    /// The addresses that mail leaves from.
    pub ips: i64,
    /// Certificates by ACME.
    pub certificates: i64,
    /// What tenants are limited to.
    pub quotas: i64,
    /// Who has suppressions that are known by a hash alone.
    pub erasures: i64,
}

/// What a process knows of the revisions, and as of when.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The counters.
    pub revisions: Revisions,
    /// When the question that brought them was asked.
    pub as_of: Instant,
}

/// Raises a counter, in the transaction of the change.
///
/// # Errors
/// See [`StoreError`].
pub async fn raise(connection: &mut PgConnection, revised: Revised) -> Result<(), StoreError> {
    sqlx::query!("UPDATE revisions SET value = value + 1 WHERE name = $1", revised.name())
        .execute(connection)
        .await?;
    Ok(())
}

/// Raises a counter, in the transaction of the change; gives its new value, which no other change has.
///
/// # Errors
/// See [`StoreError`].
pub async fn next(connection: &mut PgConnection, revised: Revised) -> Result<i64, StoreError> {
    let value = sqlx::query_scalar!(
        "UPDATE revisions SET value = value + 1 WHERE name = $1 RETURNING value",
        revised.name(),
    );
    Ok(value.fetch_one(connection).await?)
}

/// Reads all counters.
///
/// # Errors
/// See [`StoreError`].
pub async fn read(connection: &mut PgConnection) -> Result<Revisions, StoreError> {
    let rows = sqlx::query!("SELECT name, value FROM revisions").fetch_all(connection).await?;
    let value =
        |revised: Revised| rows.iter().find(|row| row.name == revised.name()).map_or(0, |row| row.value);
    Ok(Revisions {
        credentials: value(Revised::Credentials),
        relays: value(Revised::Relays),
        domains: value(Revised::Domains),
        pauses: value(Revised::Pauses),
        inbound: value(Revised::Inbound),
        webhooks: value(Revised::Webhooks),
        streams: value(Revised::Streams),
        ips: value(Revised::Ips),
        certificates: value(Revised::Certificates),
        quotas: value(Revised::Quotas),
        erasures: value(Revised::Erasures),
    })
}
