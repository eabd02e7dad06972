//! The addresses that mail leaves from, their rules, and what their warm-ups have given out. The installation's, not
//! a tenant's: all of it crosses tenants.

use std::sync::Arc;

use sqlx::PgConnection;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::domain::id::{Id, IpId, IpRuleId};
use crate::domain::sending::{Ip, IpRule, IpState, Source};

use super::StoreError;

struct Row {
    id: Uuid,
    address: String,
    address6: Option<String>,
    ehlo: String,
    pool: String,
    state: String,
    warming_since: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
}

impl Row {
    /// The table's CHECKs let nothing else in: a row that does not read back was written by a newer version.
    fn read(self) -> Option<Ip> {
        let source = Source {
            address: self.address.parse().ok()?,
            address6: self.address6.map(|text| text.parse()).transpose().ok()?,
            ehlo: self.ehlo,
        };
        Some(Ip {
            id: Id::from_uuid(self.id),
            source: Arc::new(source),
            pool: self.pool,
            state: IpState::parse(&self.state)?,
            warming_since: self.warming_since,
            created_at: self.created_at,
        })
    }
}

/// Stores a new address.
///
/// # Errors
/// [`StoreError::Conflict`] when one of its addresses is there already.
pub async fn insert(connection: &mut PgConnection, ip: &Ip) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO ips (id, address, address6, ehlo, pool, state, warming_since, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        "#,
        ip.id.uuid(),
        ip.source.address.to_string(),
        ip.source.address6.map(|address| address.to_string()),
        ip.source.ehlo,
        ip.pool,
        ip.state.as_str(),
        ip.warming_since,
        ip.created_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// One address.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(connection: &mut PgConnection, id: IpId) -> Result<Option<Ip>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, address, address6, ehlo, pool, state, warming_since, created_at FROM ips WHERE id = $1
        "#,
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.and_then(Row::read))
}

/// A page of addresses, oldest first, after `after`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    after: Option<IpId>,
    limit: i64,
) -> Result<Vec<Ip>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, address, address6, ehlo, pool, state, warming_since, created_at
        FROM ips WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2
        "#,
        after.map(Id::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(Row::read).collect())
}

/// Writes what may change of an address: name, pool and state.
///
/// # Errors
/// See [`StoreError`].
pub async fn update(connection: &mut PgConnection, ip: &Ip) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE ips SET ehlo = $2, pool = $3, state = $4, warming_since = $5 WHERE id = $1",
        ip.id.uuid(),
        ip.source.ehlo,
        ip.pool,
        ip.state.as_str(),
        ip.warming_since,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes an address. False: there is none.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(connection: &mut PgConnection, id: IpId) -> Result<bool, StoreError> {
    let done = sqlx::query!("DELETE FROM ips WHERE id = $1", id.uuid()).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}

/// Makes addresses active whose warm-up began before; gives how many.
///
/// # Errors
/// See [`StoreError`].
pub async fn finish_warmups(
    connection: &mut PgConnection,
    began_before: OffsetDateTime,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "UPDATE ips SET state = 'active' WHERE state = 'warming' AND warming_since < $1",
        began_before
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

struct RuleRow {
    tenant_id: Option<Uuid>,
    id: Uuid,
    match_stream: Option<String>,
    pool: String,
    weight: i32,
    created_at: OffsetDateTime,
}

impl From<RuleRow> for IpRule {
    fn from(row: RuleRow) -> IpRule {
        IpRule {
            id: Id::from_uuid(row.id),
            tenant: row.tenant_id.map(Id::from_uuid),
            stream: row.match_stream,
            pool: row.pool,
            // The table's CHECK allows none below 1.
            weight: u32::try_from(row.weight).unwrap_or(1),
            created_at: row.created_at,
        }
    }
}

/// Stores a new rule.
///
/// # Errors
/// [`StoreError::Conflict`] when there is one for the same mail and pool, or no such tenant.
pub async fn insert_rule(connection: &mut PgConnection, rule: &IpRule) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO ip_rules (tenant_id, id, match_stream, pool, weight, created_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        "#,
        rule.tenant.map(Id::uuid),
        rule.id.uuid(),
        rule.stream,
        rule.pool,
        i32::try_from(rule.weight).unwrap_or(i32::MAX),
        rule.created_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// One rule.
///
/// # Errors
/// See [`StoreError`].
pub async fn find_rule(connection: &mut PgConnection, id: IpRuleId) -> Result<Option<IpRule>, StoreError> {
    let row = sqlx::query_as!(
        RuleRow,
        "SELECT tenant_id, id, match_stream, pool, weight, created_at FROM ip_rules WHERE id = $1",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(IpRule::from))
}

/// A page of rules, oldest first, after `after`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_rules(
    connection: &mut PgConnection,
    after: Option<IpRuleId>,
    limit: i64,
) -> Result<Vec<IpRule>, StoreError> {
    let rows = sqlx::query_as!(
        RuleRow,
        r#"
        SELECT tenant_id, id, match_stream, pool, weight, created_at
        FROM ip_rules WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2
        "#,
        after.map(Id::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(IpRule::from).collect())
}

/// Deletes a rule. False: there is none.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete_rule(connection: &mut PgConnection, id: IpRuleId) -> Result<bool, StoreError> {
    let done = sqlx::query!("DELETE FROM ip_rules WHERE id = $1", id.uuid()).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}

/// Which day of which address's warm-up, towards whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WarmupKey {
    /// The address.
    pub ip: IpId,
    /// The day (UTC).
    pub day: Date,
    /// The provider, as the table of paces calls it.
    pub provider: String,
}

/// Takes up to `portion` mails of a day that allows so many; gives how many there were. The caller's transaction.
///
/// # Errors
/// See [`StoreError`].
pub async fn take_warmup(
    connection: &mut PgConnection,
    key: &WarmupKey,
    allowed: u32,
    portion: u32,
) -> Result<u32, StoreError> {
    let allowed = i32::try_from(allowed).unwrap_or(i32::MAX);
    sqlx::query!(
        r#"
        INSERT INTO ip_warmups (ip_id, day, provider, allowed, granted) VALUES ($1, $2, $3, $4, 0)
        ON CONFLICT (ip_id, day, provider) DO UPDATE SET allowed = excluded.allowed
        "#,
        key.ip.uuid(),
        key.day,
        key.provider,
        allowed,
    )
    .execute(&mut *connection)
    .await?;
    // The row is ours since the statement before: nobody takes of it meanwhile.
    let taken = sqlx::query_scalar!(
        r#"
        UPDATE ip_warmups w SET granted = w.granted + least($4, greatest(0, w.allowed - w.granted))
        FROM ip_warmups was
        WHERE w.ip_id = $1 AND w.day = $2 AND w.provider = $3
          AND was.ip_id = w.ip_id AND was.day = w.day AND was.provider = w.provider
        RETURNING w.granted - was.granted AS "taken!"
        "#,
        key.ip.uuid(),
        key.day,
        key.provider,
        i32::try_from(portion).unwrap_or(i32::MAX),
    )
    .fetch_one(connection)
    .await?;
    Ok(u32::try_from(taken).unwrap_or(0))
}

/// Gives back what was taken and not used.
///
/// # Errors
/// See [`StoreError`].
pub async fn return_warmup(
    connection: &mut PgConnection,
    key: &WarmupKey,
    unused: u32,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE ip_warmups SET granted = greatest(0, granted - $4) WHERE ip_id = $1 AND day = $2 AND provider = $3
        "#,
        key.ip.uuid(),
        key.day,
        key.provider,
        i32::try_from(unused).unwrap_or(i32::MAX),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A provider's part of a day's warm-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warmup {
    /// Of which address.
    pub ip: IpId,
    /// The provider.
    pub provider: String,
    /// How many mails may leave.
    pub allowed: i32,
    /// How many processes have taken.
    pub granted: i32,
}

/// The warm-ups of these addresses on a day.
///
/// # Errors
/// See [`StoreError`].
pub async fn warmups(
    connection: &mut PgConnection,
    ips: &[IpId],
    day: Date,
) -> Result<Vec<Warmup>, StoreError> {
    let ids: Vec<Uuid> = ips.iter().map(|ip| ip.uuid()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT ip_id, provider, allowed, granted FROM ip_warmups
        WHERE ip_id = ANY($1) AND day = $2 ORDER BY ip_id, provider
        "#,
        &ids,
        day,
    )
    .fetch_all(connection)
    .await?;
    let warmup =
        |ip_id, provider, allowed, granted| Warmup { ip: Id::from_uuid(ip_id), provider, allowed, granted };
    Ok(rows.into_iter().map(|row| warmup(row.ip_id, row.provider, row.allowed, row.granted)).collect())
}

/// Forgets the days before.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget_warmups(connection: &mut PgConnection, before: Date) -> Result<u64, StoreError> {
    let done = sqlx::query!("DELETE FROM ip_warmups WHERE day < $1", before).execute(connection).await?;
    Ok(done.rows_affected())
}
