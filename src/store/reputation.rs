//! Reputations: how senders stand with their recipients, from the counters; and standings: what the world's DNS says
//! of our addresses and domains.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::id::{Id, TenantId};
use crate::domain::reputation::{Figures, Reputation, Standing, Subject, SubjectKind};

use super::StoreError;

/// What was counted since `from`, or since something was let go on, of all tenants' sender domains and streams.
///
/// # Errors
/// See [`StoreError`].
pub async fn figures(
    connection: &mut PgConnection,
    from: OffsetDateTime,
) -> Result<HashMap<Subject, Figures>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT t.id AS tenant_id, d.subject AS "subject!", s.value AS "value!",
               sum(s.counts[3])::bigint AS "delivered!", sum(s.counts[5])::bigint AS "bounced!",
               sum(s.counts[9])::bigint AS "complained!"
        FROM tenants t
        CROSS JOIN (VALUES (1::smallint, 'stream'), (3::smallint, 'domain')) AS d (dimension, subject)
        JOIN stats s ON s.tenant_id = t.id AND s.grain = 0 AND s.dimension = d.dimension AND s.start >= $1
        LEFT JOIN reputations r ON r.tenant_id = t.id AND r.subject = d.subject AND r.name = s.value
        WHERE r.counted_from IS NULL OR s.start >= r.counted_from
        GROUP BY t.id, d.subject, s.value
        "#,
        from,
    )
    .fetch_all(connection)
    .await?;
    let read = rows.into_iter().filter_map(|row| {
        let kind = SubjectKind::parse(&row.subject)?;
        let subject = Subject { tenant: Id::from_uuid(row.tenant_id), kind, name: row.value };
        let figures = Figures { delivered: row.delivered, bounced: row.bounced, complained: row.complained };
        Some((subject, figures))
    });
    Ok(read.collect())
}

struct Row {
    tenant_id: Uuid,
    pause_id: Option<Uuid>,
    delivered: i64,
    bounced: i64,
    complained: i64,
    counted_from: Option<OffsetDateTime>,
    changed_at: OffsetDateTime,
    looked_at: OffsetDateTime,
    subject: String,
    name: String,
    state: String,
}

impl Row {
    /// The table's CHECKs let nothing else in.
    fn read(self) -> Option<Reputation> {
        Some(Reputation {
            subject: Subject {
                tenant: Id::from_uuid(self.tenant_id),
                kind: SubjectKind::parse(&self.subject)?,
                name: self.name,
            },
            standing: Standing::parse(&self.state)?,
            figures: Figures {
                delivered: self.delivered,
                bounced: self.bounced,
                complained: self.complained,
            },
            counted_from: self.counted_from,
            pause: self.pause_id.map(Id::from_uuid),
            changed_at: self.changed_at,
            looked_at: self.looked_at,
        })
    }
}

/// All reputations of all tenants.
///
/// # Errors
/// See [`StoreError`].
pub async fn of_all_tenants(connection: &mut PgConnection) -> Result<Vec<Reputation>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT tenant_id, pause_id, delivered, bounced, complained, counted_from, changed_at, looked_at, subject,
               name, state
        FROM reputations
        "#
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(Row::read).collect())
}

/// A tenant's reputations, by name; at most so many.
///
/// # Errors
/// See [`StoreError`].
pub async fn of_tenant(
    connection: &mut PgConnection,
    tenant: TenantId,
    limit: i64,
) -> Result<Vec<Reputation>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT tenant_id, pause_id, delivered, bounced, complained, counted_from, changed_at, looked_at, subject,
               name, state
        FROM reputations WHERE tenant_id = $1 ORDER BY subject, name LIMIT $2
        "#,
        tenant.uuid(),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(Row::read).collect())
}

/// The reputations of all tenants, the worst first, each with its tenant's name; at most so many.
///
/// # Errors
/// See [`StoreError`].
pub async fn worst_of_all_tenants(
    connection: &mut PgConnection,
    limit: i64,
) -> Result<Vec<(String, Reputation)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT r.tenant_id, r.pause_id, r.delivered, r.bounced, r.complained, r.counted_from, r.changed_at, r.looked_at,
               r.subject, r.name, r.state, t.name AS tenant
        FROM reputations r JOIN tenants t ON t.id = r.tenant_id
        ORDER BY r.state = 'held' DESC, r.state = 'warned' DESC, r.complained DESC, r.bounced DESC, r.delivered DESC,
                 r.tenant_id, r.subject, r.name
        LIMIT $1
        "#,
        limit,
    )
    .fetch_all(connection)
    .await?;
    let read = rows.into_iter().filter_map(|row| {
        let reputation = Row {
            tenant_id: row.tenant_id,
            pause_id: row.pause_id,
            delivered: row.delivered,
            bounced: row.bounced,
            complained: row.complained,
            counted_from: row.counted_from,
            changed_at: row.changed_at,
            looked_at: row.looked_at,
            subject: row.subject,
            name: row.name,
            state: row.state,
        };
        Some((row.tenant, reputation.read()?))
    });
    Ok(read.collect())
}

/// Writes how something stands.
///
/// # Errors
/// [`StoreError::Conflict`]: its tenant is gone.
pub async fn put(connection: &mut PgConnection, reputation: &Reputation) -> Result<(), StoreError> {
    let Reputation { subject, figures, .. } = reputation;
    sqlx::query!(
        r#"
        INSERT INTO reputations (tenant_id, subject, name, state, pause_id, delivered, bounced, complained,
                                 counted_from, changed_at, looked_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (tenant_id, subject, name) DO UPDATE
        SET state = excluded.state, pause_id = excluded.pause_id, delivered = excluded.delivered,
            bounced = excluded.bounced, complained = excluded.complained, counted_from = excluded.counted_from,
            changed_at = excluded.changed_at, looked_at = excluded.looked_at
        "#,
        subject.tenant.uuid(),
        subject.kind.as_str(),
        subject.name,
        reputation.standing.as_str(),
        reputation.pause.map(Id::uuid),
        figures.delivered,
        figures.bounced,
        figures.complained,
        reputation.counted_from,
        reputation.changed_at,
        reputation.looked_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets what stands well and has not sent since.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget(connection: &mut PgConnection, before: OffsetDateTime) -> Result<u64, StoreError> {
    let done = sqlx::query!("DELETE FROM reputations WHERE state = 'good' AND looked_at < $1", before)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

/// What the world's DNS says of an address or a domain.
#[derive(Debug, Clone, PartialEq)]
pub struct Standings {
    /// `ip` or `domain`.
    pub subject: String,
    /// Its name.
    pub name: String,
    /// When it was looked up.
    pub checked_at: OffsetDateTime,
    /// What was found.
    pub findings: Value,
}

/// Keeps what was found.
///
/// # Errors
/// See [`StoreError`].
pub async fn put_standing(connection: &mut PgConnection, standing: &Standings) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO standings (subject, name, checked_at, findings) VALUES ($1, $2, $3, $4)
        ON CONFLICT (subject, name) DO UPDATE SET checked_at = excluded.checked_at, findings = excluded.findings
        "#,
        standing.subject,
        standing.name,
        standing.checked_at,
        standing.findings,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets what has not been looked up since.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget_standings(
    connection: &mut PgConnection,
    before: OffsetDateTime,
) -> Result<u64, StoreError> {
    let done =
        sqlx::query!("DELETE FROM standings WHERE checked_at < $1", before).execute(connection).await?;
    Ok(done.rows_affected())
}

/// What was found of the addresses that mail leaves from. The installation's.
///
/// # Errors
/// See [`StoreError`].
pub async fn standings_of_ips(connection: &mut PgConnection) -> Result<Vec<Standings>, StoreError> {
    Ok(sqlx::query_as!(
        Standings,
        "SELECT subject, name, checked_at, findings FROM standings WHERE subject = 'ip' ORDER BY name LIMIT 1000"
    )
    .fetch_all(connection)
    .await?)
}

/// What was found of a tenant's own domains.
///
/// # Errors
/// See [`StoreError`].
pub async fn standings_of_domains(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> Result<Vec<Standings>, StoreError> {
    Ok(sqlx::query_as!(
        Standings,
        r#"
        SELECT s.subject, s.name, s.checked_at, s.findings
        FROM domains d JOIN standings s ON s.subject = 'domain' AND s.name = d.name
        WHERE d.tenant_id = $1 AND d.status <> 'pending' ORDER BY s.name LIMIT 1000
        "#,
        tenant.uuid(),
    )
    .fetch_all(connection)
    .await?)
}

/// The names of all domains that are held. Crosses tenants.
///
/// # Errors
/// See [`StoreError`].
pub async fn held_domains(connection: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar!("SELECT name FROM domains WHERE status <> 'pending' ORDER BY name")
        .fetch_all(connection)
        .await?)
}
