//! Sender domains, as their tenants see them. Their keys are in `domain_keys`.

mod held;
mod history;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::handling::{Tracking, Transport};
use crate::domain::id::{DomainId, Id, TenantId};
use crate::domain::identity::DomainStatus;
use crate::domain::identity::judge::{Finding, RecordStatus};

use super::StoreError;
use super::revisions::{self, Revised};

pub use held::{Held, HeldDomain, held, load_held, tracked};
pub use history::{Note, forget_notes, history, note};

/// A domain as it is stored.
#[derive(Debug, Clone)]
pub struct StoredDomain {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its name in the API.
    pub id: DomainId,
    /// Its name in DNS.
    pub name: String,
    /// The full name of its return-path domain.
    pub return_path: String,
    /// Where it stands.
    pub status: DomainStatus,
    /// Whether bounces to its return path reach us.
    pub returns: bool,
    /// What the last look-up found.
    pub checks: Checks,
    /// Since when its owner has stopped it.
    pub paused_at: Option<OffsetDateTime>,
    /// How the way of all mail from it is protected.
    pub transport: Transport,
    /// What is watched of mail that does not say, in a stream that does not either.
    pub tracking: Tracking,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was proved last.
    pub verified_at: Option<OffsetDateTime>,
    /// Since when something has been wrong.
    pub failing_since: Option<OffsetDateTime>,
    /// When its records were looked up last.
    pub checked_at: Option<OffsetDateTime>,
    /// When they will be again.
    pub check_due_at: Option<OffsetDateTime>,
}

/// What was found for records, by type and name. A finding stands for the value it was compared with: another
/// value wants another look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks(BTreeMap<String, (String, Finding)>);

impl Checks {
    /// Notes a finding.
    pub fn note(&mut self, kind: &str, name: &str, value: &str, finding: Finding) {
        self.0.insert(format!("{kind} {name}"), (value.to_owned(), finding));
    }

    /// What was found, if it was looked for with this value.
    pub fn of(&self, kind: &str, name: &str, value: &str) -> Option<&Finding> {
        let (compared, finding) = self.0.get(&format!("{kind} {name}"))?;
        (compared == value).then_some(finding)
    }

    fn to_json(&self) -> Value {
        let entry = |(place, (value, finding)): (&String, &(String, Finding))| {
            let stored = json!({
                "value": value,
                "status": finding.status.as_str(),
                "found": finding.found,
                "advice": finding.advice,
            });
            (place.clone(), stored)
        };
        Value::Object(self.0.iter().map(entry).collect())
    }

    fn from_json(stored: &Value) -> Checks {
        let entry = |(place, stored): (&String, &Value)| {
            let text = |name: &str| stored.get(name)?.as_str().map(str::to_owned);
            let found = stored.get("found")?.as_array()?.iter().filter_map(Value::as_str);
            let finding = Finding {
                status: RecordStatus::parse(&text("status")?)?,
                found: found.map(str::to_owned).collect(),
                advice: text("advice"),
            };
            Some((place.clone(), (text("value")?, finding)))
        };
        Checks(stored.as_object().into_iter().flatten().filter_map(entry).collect())
    }
}

struct Row {
    tenant_id: uuid::Uuid,
    id: uuid::Uuid,
    name: String,
    return_path: String,
    status: String,
    returns: bool,
    checks: Value,
    paused_at: Option<OffsetDateTime>,
    require_tls: bool,
    created_at: OffsetDateTime,
    verified_at: Option<OffsetDateTime>,
    failing_since: Option<OffsetDateTime>,
    checked_at: Option<OffsetDateTime>,
    check_due_at: Option<OffsetDateTime>,
    track_opens: bool,
    track_clicks: bool,
}

impl From<Row> for StoredDomain {
    fn from(row: Row) -> StoredDomain {
        StoredDomain {
            tenant: Id::from_uuid(row.tenant_id),
            id: Id::from_uuid(row.id),
            name: row.name,
            return_path: row.return_path,
            // The table's CHECK has the same words as the type.
            status: DomainStatus::parse(&row.status).unwrap_or(DomainStatus::Pending),
            returns: row.returns,
            checks: Checks::from_json(&row.checks),
            paused_at: row.paused_at,
            transport: Transport::required(row.require_tls),
            tracking: Tracking { opens: row.track_opens, clicks: row.track_clicks },
            created_at: row.created_at,
            verified_at: row.verified_at,
            failing_since: row.failing_since,
            checked_at: row.checked_at,
            check_due_at: row.check_due_at,
        }
    }
}

/// Stores a new domain.
///
/// # Errors
/// [`StoreError::Conflict`] when the tenant has one of this name.
pub async fn insert(connection: &mut PgConnection, domain: &StoredDomain) -> Result<(), StoreError> {
    let revision = revisions::next(connection, Revised::Domains).await?;
    sqlx::query!(
        r#"
        INSERT INTO domains (tenant_id, id, name, return_path, status, created_at, check_due_at, revision)
        VALUES ($1, $2, $3, $4, 'pending', $5, $6, $7)
        "#,
        domain.tenant.uuid(),
        domain.id.uuid(),
        domain.name,
        domain.return_path,
        domain.created_at,
        domain.check_due_at,
        revision,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// How many domains a tenant has.
///
/// # Errors
/// See [`StoreError`].
pub async fn count(connection: &mut PgConnection, tenant: TenantId) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM domains WHERE tenant_id = $1"#, tenant.uuid())
        .fetch_one(connection)
        .await?)
}

/// One domain of a tenant.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: DomainId,
) -> Result<Option<StoredDomain>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT tenant_id, id, name, return_path, status, returns, checks, paused_at, created_at, verified_at,
               failing_since, checked_at, check_due_at, require_tls, track_opens, track_clicks
        FROM domains WHERE tenant_id = $1 AND id = $2
        "#,
        tenant.uuid(),
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(StoredDomain::from))
}

/// A page of a tenant's domains, oldest first, after `after`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    after: Option<DomainId>,
    limit: i64,
) -> Result<Vec<StoredDomain>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT tenant_id, id, name, return_path, status, returns, checks, paused_at, created_at, verified_at,
               failing_since, checked_at, check_due_at, require_tls, track_opens, track_clicks
        FROM domains WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
        "#,
        tenant.uuid(),
        after.map(Id::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(StoredDomain::from).collect())
}

/// Locks every tenant's domain of one name until the transaction ends, always in the same order: who proves a
/// name takes it from whoever holds it.
///
/// # Errors
/// See [`StoreError`].
pub async fn lock_name(connection: &mut PgConnection, name: &str) -> Result<Vec<StoredDomain>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT tenant_id, id, name, return_path, status, returns, checks, paused_at, created_at, verified_at,
               failing_since, checked_at, check_due_at, require_tls, track_opens, track_clicks
        FROM domains WHERE name = $1 ORDER BY tenant_id FOR UPDATE
        "#,
        name,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(StoredDomain::from).collect())
}

/// Writes what may change of a domain. False: the tenant has no such domain.
///
/// # Errors
/// [`StoreError::Conflict`] when another tenant holds the name: it must be taken from that one first.
pub async fn update(connection: &mut PgConnection, domain: &StoredDomain) -> Result<bool, StoreError> {
    let revision = revisions::next(connection, Revised::Domains).await?;
    let done = sqlx::query!(
        r#"
        UPDATE domains
        SET status = $3, returns = $4, checks = $5, paused_at = $6, verified_at = $7, failing_since = $8,
            checked_at = $9, check_due_at = $10, revision = $11, require_tls = $12, track_opens = $13,
            track_clicks = $14
        WHERE tenant_id = $1 AND id = $2
        "#,
        domain.tenant.uuid(),
        domain.id.uuid(),
        domain.status.as_str(),
        domain.returns,
        domain.checks.to_json(),
        domain.paused_at,
        domain.verified_at,
        domain.failing_since,
        domain.checked_at,
        domain.check_due_at,
        revision,
        domain.transport.is_required(),
        domain.tracking.opens,
        domain.tracking.clicks,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes that nothing but the moment of looking has changed, so that no node need read the domain again.
///
/// # Errors
/// See [`StoreError`].
pub async fn update_looked(connection: &mut PgConnection, domain: &StoredDomain) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE domains SET checks = $3, checked_at = $4, check_due_at = $5
        WHERE tenant_id = $1 AND id = $2
        "#,
        domain.tenant.uuid(),
        domain.id.uuid(),
        domain.checks.to_json(),
        domain.checked_at,
        domain.check_due_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes a domain with its keys and history. False: the tenant has no such domain.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: DomainId,
) -> Result<bool, StoreError> {
    let done = sqlx::query!("DELETE FROM domains WHERE tenant_id = $1 AND id = $2", tenant.uuid(), id.uuid())
        .execute(&mut *connection)
        .await?;
    revisions::raise(connection, Revised::Domains).await?;
    Ok(done.rows_affected() == 1)
}

/// Takes up to `limit` domains of any tenant whose records are to be looked up again: until `lease_until` nobody
/// else takes them.
///
/// # Errors
/// See [`StoreError`].
pub async fn lease_due(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    lease_until: OffsetDateTime,
    limit: i64,
) -> Result<Vec<(TenantId, DomainId)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        UPDATE domains d SET check_due_at = $2
        FROM (
            -- Another node's choice is passed over.
            SELECT tenant_id, id FROM domains WHERE check_due_at <= $1
            ORDER BY check_due_at LIMIT $3 FOR UPDATE SKIP LOCKED
        ) due
        WHERE d.tenant_id = due.tenant_id AND d.id = due.id
        RETURNING d.tenant_id, d.id
        "#,
        now,
        lease_until,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (Id::from_uuid(row.tenant_id), Id::from_uuid(row.id))).collect())
}

/// A tenant's domain of this name.
///
/// # Errors
/// See [`StoreError`].
pub async fn id_of_name(
    connection: &mut PgConnection,
    tenant: TenantId,
    name: &str,
) -> Result<Option<DomainId>, StoreError> {
    let id =
        sqlx::query_scalar!("SELECT id FROM domains WHERE tenant_id = $1 AND name = $2", tenant.uuid(), name)
            .fetch_optional(connection)
            .await?;
    Ok(id.map(Id::from_uuid))
}

/// How many domains there are, by status.
///
/// # Errors
/// See [`StoreError`].
pub async fn count_by_status(connection: &mut PgConnection) -> Result<Vec<(String, i64)>, StoreError> {
    let rows = sqlx::query!(r#"SELECT status, count(*) AS "count!" FROM domains GROUP BY status"#)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| (row.status, row.count)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_survive_and_stand_for_one_value_alone() {
        let finding = Finding::mismatch(vec!["10 mx.example".into()], "Mail goes elsewhere.");
        let mut checks = Checks::default();
        checks.note("MX", "in.acme.example", "mx.host.example", finding.clone());
        let read = Checks::from_json(&checks.to_json());
        assert_eq!(read, checks);
        assert_eq!(read.of("MX", "in.acme.example", "mx.host.example"), Some(&finding));
        assert_eq!(read.of("MX", "in.acme.example", "other.host.example"), None);
        assert_eq!(read.of("TXT", "in.acme.example", "mx.host.example"), None);
    }
}
