//! Sites: shares of their connections, and what their replies have changed. Crosses tenants.
//!
//! Shares are raised only under the lock of the site's row ([`lock`]), by who has read all shares after taking
//! it; lowering one's own needs none.

use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

use crate::domain::pacing::SiteKey;

use super::StoreError;

/// What a site's replies have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteState {
    /// Which.
    pub key: SiteKey,
    /// The table of paces' name for it.
    pub provider: String,
    /// Until when nothing goes there.
    pub suspended_until: Option<OffsetDateTime>,
    /// Until when less goes there.
    pub slowed_until: Option<OffsetDateTime>,
    /// At most so much mail: a rate.
    pub slow_mails: Option<String>,
    /// At most so many connections.
    pub slow_connections: Option<i32>,
    /// The reply that changed it last.
    pub told: Option<String>,
    /// When it was said, or lifted.
    pub told_at: Option<OffsetDateTime>,
}

/// One process's share of a site's connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareRow {
    /// Of which site.
    pub key: SiteKey,
    /// Whose.
    pub incarnation: i32,
    /// How many it may have open.
    pub connections: u32,
}

/// A process whose last sign of life ended so long ago has closed all its connections: it closes them itself
/// well before.
pub const DEAD_AFTER: Duration = Duration::minutes(2);

struct StateRow {
    site: String,
    source: String,
    provider: String,
    suspended_until: Option<OffsetDateTime>,
    slowed_until: Option<OffsetDateTime>,
    slow_mails: Option<String>,
    slow_connections: Option<i32>,
    told: Option<String>,
    told_at: Option<OffsetDateTime>,
}

impl From<StateRow> for SiteState {
    fn from(row: StateRow) -> SiteState {
        SiteState {
            key: SiteKey { site: row.site, source: row.source },
            provider: row.provider,
            suspended_until: row.suspended_until,
            slowed_until: row.slowed_until,
            slow_mails: row.slow_mails,
            slow_connections: row.slow_connections,
            told: row.told,
            told_at: row.told_at,
        }
    }
}

fn columns(keys: &[SiteKey]) -> (Vec<String>, Vec<String>) {
    keys.iter().map(|key| (key.site.clone(), key.source.clone())).unzip()
}

/// Locks the rows of these sites, in the order of their keys, and makes those that are missing. The caller's
/// transaction keeps the locks.
///
/// # Errors
/// See [`StoreError`].
pub async fn lock(connection: &mut PgConnection, keys: &[SiteKey]) -> Result<(), StoreError> {
    let (sites, sources) = columns(keys);
    sqlx::query!(
        r#"
        INSERT INTO sites (site, source)
        SELECT k.site, k.source FROM unnest($1::text[], $2::text[]) AS k (site, source)
        ORDER BY k.site COLLATE "C", k.source COLLATE "C"
        ON CONFLICT DO NOTHING
        "#,
        &sites,
        &sources,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        r#"
        SELECT s.site FROM sites s
        WHERE (s.site, s.source) IN (SELECT * FROM unnest($1::text[], $2::text[]))
        ORDER BY s.site, s.source
        FOR UPDATE
        "#,
        &sites,
        &sources,
    )
    .fetch_all(connection)
    .await?;
    Ok(())
}

/// All shares of these sites that count: those of processes that may still have connections open.
///
/// # Errors
/// See [`StoreError`].
pub async fn shares(
    connection: &mut PgConnection,
    keys: &[SiteKey],
    now: OffsetDateTime,
) -> Result<Vec<ShareRow>, StoreError> {
    let (sites, sources) = columns(keys);
    let rows = sqlx::query!(
        r#"
        SELECT s.site, s.source, s.incarnation, s.connections
        FROM site_shares s JOIN nodes n ON n.incarnation = s.incarnation
        WHERE (s.site, s.source) IN (SELECT * FROM unnest($1::text[], $2::text[])) AND n.alive_until > $3
        ORDER BY s.site, s.source, s.incarnation
        "#,
        &sites,
        &sources,
        now - DEAD_AFTER,
    )
    .fetch_all(connection)
    .await?;
    let share = |site, source, incarnation, connections| ShareRow {
        key: SiteKey { site, source },
        incarnation,
        // The table's CHECK allows none below zero.
        connections: u32::try_from(connections).unwrap_or(0),
    };
    Ok(rows.into_iter().map(|row| share(row.site, row.source, row.incarnation, row.connections)).collect())
}

/// Writes a process's own shares: raised ones under the lock, lowered ones without.
///
/// # Errors
/// See [`StoreError`].
pub async fn set_shares(
    connection: &mut PgConnection,
    incarnation: i32,
    shares: &[(SiteKey, u32)],
) -> Result<(), StoreError> {
    let keys: Vec<SiteKey> = shares.iter().map(|(key, _)| key.clone()).collect();
    let (sites, sources) = columns(&keys);
    let connections: Vec<i32> =
        shares.iter().map(|(_, count)| i32::try_from(*count).unwrap_or(i32::MAX)).collect();
    sqlx::query!(
        r#"
        INSERT INTO site_shares (site, source, incarnation, connections)
        SELECT k.site, k.source, $3, k.connections
        FROM unnest($1::text[], $2::text[], $4::int[]) AS k (site, source, connections)
        ON CONFLICT (site, source, incarnation) DO UPDATE SET connections = excluded.connections
        "#,
        &sites,
        &sources,
        incarnation,
        &connections,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives a process's shares of these sites up.
///
/// # Errors
/// See [`StoreError`].
pub async fn drop_shares(
    connection: &mut PgConnection,
    incarnation: i32,
    keys: &[SiteKey],
) -> Result<(), StoreError> {
    let (sites, sources) = columns(keys);
    sqlx::query!(
        r#"
        DELETE FROM site_shares s
        WHERE s.incarnation = $3 AND (s.site, s.source) IN (SELECT * FROM unnest($1::text[], $2::text[]))
        "#,
        &sites,
        &sources,
        incarnation,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives up whatever one process has: it has ended in order, and closed its connections before.
///
/// # Errors
/// See [`StoreError`].
pub async fn leave(connection: &mut PgConnection, incarnation: i32) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM site_shares WHERE incarnation = $1", incarnation).execute(connection).await?;
    Ok(())
}

/// Gives up what earlier lives of a node had, whose data directory we hold locked: their processes are gone.
///
/// # Errors
/// See [`StoreError`].
pub async fn succeed(connection: &mut PgConnection, own: i32, node: uuid::Uuid) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM site_shares s USING nodes n
        WHERE n.incarnation = s.incarnation AND n.node_id = $2 AND n.incarnation < $1
        "#,
        own,
        node,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that a site's replies have changed its pace; what holds longer already stays.
///
/// # Errors
/// See [`StoreError`].
pub async fn tell(connection: &mut PgConnection, state: &SiteState) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO sites (site, source, provider, suspended_until, slowed_until, slow_mails, slow_connections,
                           told, told_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (site, source) DO UPDATE
        SET provider = excluded.provider, told = excluded.told, told_at = excluded.told_at,
            suspended_until = greatest(sites.suspended_until, excluded.suspended_until),
            slowed_until = coalesce(excluded.slowed_until, sites.slowed_until),
            slow_mails = CASE WHEN excluded.slowed_until IS NULL THEN sites.slow_mails ELSE excluded.slow_mails END,
            slow_connections = CASE WHEN excluded.slowed_until IS NULL THEN sites.slow_connections
                                    ELSE excluded.slow_connections END
        "#,
        state.key.site,
        state.key.source,
        state.provider,
        state.suspended_until,
        state.slowed_until,
        state.slow_mails,
        state.slow_connections,
        state.told,
        state.told_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Lifts whatever a site's replies have changed. False: there is no such site.
///
/// # Errors
/// See [`StoreError`].
pub async fn lift(
    connection: &mut PgConnection,
    key: &SiteKey,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE sites SET suspended_until = NULL, slowed_until = NULL, slow_mails = NULL, slow_connections = NULL,
                         told_at = $3
        WHERE site = $1 AND source = $2
        "#,
        key.site,
        key.source,
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What the replies of these sites have changed.
///
/// # Errors
/// See [`StoreError`].
pub async fn states(connection: &mut PgConnection, keys: &[SiteKey]) -> Result<Vec<SiteState>, StoreError> {
    let (sites, sources) = columns(keys);
    let rows = sqlx::query_as!(
        StateRow,
        r#"
        SELECT s.site, s.source, s.provider, s.suspended_until, s.slowed_until, s.slow_mails, s.slow_connections,
               s.told, s.told_at
        FROM sites s WHERE (s.site, s.source) IN (SELECT * FROM unnest($1::text[], $2::text[]))
        "#,
        &sites,
        &sources,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(SiteState::from).collect())
}

/// A page of sites, by name, after `after`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    after: Option<&SiteKey>,
    limit: i64,
) -> Result<Vec<SiteState>, StoreError> {
    let rows = sqlx::query_as!(
        StateRow,
        r#"
        SELECT s.site, s.source, s.provider, s.suspended_until, s.slowed_until, s.slow_mails, s.slow_connections,
               s.told, s.told_at
        FROM sites s WHERE $1::text IS NULL OR (s.site, s.source) > ($1, $2)
        ORDER BY s.site, s.source LIMIT $3
        "#,
        after.map(|key| key.site.as_str()),
        after.map(|key| key.source.as_str()),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(SiteState::from).collect())
}

/// Forgets sites that nobody has a share of and about which nothing is to be remembered.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget(connection: &mut PgConnection, before: OffsetDateTime) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        DELETE FROM sites s
        WHERE greatest(s.suspended_until, s.slowed_until, s.told_at, '-infinity') < $1
          AND NOT EXISTS (SELECT 1 FROM site_shares x WHERE x.site = s.site AND x.source = s.source)
        "#,
        before,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "DELETE FROM site_shares s WHERE NOT EXISTS (SELECT 1 FROM nodes n WHERE n.incarnation = s.incarnation)"
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
