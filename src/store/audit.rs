//! The audit log: who changed what, written in the transaction of the change, and read by its tenant. Rows are
//! never changed.

use std::net::IpAddr;

use serde_json::{Value, json};
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::id::{AuditId, Id, TenantId, floor_at};

use super::StoreError;

/// An entry to write.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// `key_…`, `user_…` or `cli`.
    pub actor: &'a str,
    /// Where the change came from.
    pub ip: Option<IpAddr>,
    /// `noun.verb`.
    pub action: &'static str,
    /// What was changed.
    pub target: &'a str,
    /// What changed.
    pub details: Details,
}

/// Before and after, without secrets: made by [`made`], [`changed`] and [`removed`].
#[derive(Debug, Clone)]
pub struct Details(Value);

/// The details of what is there now and was not.
pub fn made(after: Value) -> Details {
    changed(Value::Null, after)
}

/// The details of what is otherwise now.
pub fn changed(before: Value, after: Value) -> Details {
    Details(json!({ "before": before, "after": after }))
}

/// The details of what was there and is no more.
pub fn removed(before: Value) -> Details {
    changed(before, Value::Null)
}

/// Appends an entry.
///
/// # Errors
/// See [`StoreError`].
pub async fn append(
    connection: &mut PgConnection,
    tenant: TenantId,
    entry: Entry<'_>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO audit_log (tenant_id, id, actor, ip, action, target, details)
        VALUES ($1, $2, $3, $4::text::inet, $5, $6, $7)
        "#,
        tenant.uuid(),
        AuditId::new(now).uuid(),
        entry.actor,
        entry.ip.map(|ip| ip.to_string()),
        entry.action,
        entry.target,
        entry.details.0,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What a list is narrowed by. `None` everywhere: nothing.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// By this actor.
    pub actor: Option<String>,
    /// This action, or with a noun alone all of its actions.
    pub action: Option<String>,
    /// Of this resource, by its id.
    pub resource: Option<String>,
    /// At this moment or later.
    pub since: Option<OffsetDateTime>,
    /// Before this moment.
    pub until: Option<OffsetDateTime>,
}

/// An entry as it was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its id, which carries when it was written.
    pub id: AuditId,
    /// Who made the change.
    pub actor: String,
    /// From where; `None`: from within.
    pub ip: Option<String>,
    /// `noun.verb`.
    pub action: String,
    /// The id of what was changed; empty: no single thing.
    pub resource: String,
    /// How it was; null: it was not, or nobody wrote it down.
    pub before: Value,
    /// How it is since; null: it is no more.
    pub after: Value,
}

/// A page of a tenant's entries, newest first, before `before`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &AuditFilter,
    before: Option<AuditId>,
    limit: i64,
) -> Result<Vec<Written>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT id, actor, host(ip) AS ip, action, target, details FROM audit_log
        WHERE tenant_id = $1
          AND ($2::uuid IS NULL OR id < $2)
          AND ($3::text IS NULL OR actor = $3)
          AND ($4::text IS NULL OR action = $4 OR starts_with(action, $4 || '.'))
          AND ($5::text IS NULL OR target = $5)
          AND ($6::uuid IS NULL OR id >= $6)
          AND ($7::uuid IS NULL OR id < $7)
        ORDER BY id DESC LIMIT $8
        "#,
        tenant.uuid(),
        before.map(Id::uuid),
        filter.actor,
        filter.action,
        filter.resource,
        filter.since.map(floor_at),
        filter.until.map(floor_at),
        limit,
    )
    .fetch_all(connection)
    .await?;
    let written = rows.into_iter().map(|row| {
        let (before, after) = halves(row.details);
        Written {
            id: Id::from_uuid(row.id),
            actor: row.actor,
            ip: row.ip,
            action: row.action,
            resource: row.target,
            before,
            after,
        }
    });
    Ok(written.collect())
}

/// Before and after. The first entries had no halves: theirs is what was known of the thing.
fn halves(details: Option<Value>) -> (Value, Value) {
    match details {
        None => (Value::Null, Value::Null),
        Some(Value::Object(mut halves)) if halves.contains_key("before") && halves.contains_key("after") => {
            let mut half = |name| halves.remove(name).unwrap_or_default();
            (half("before"), half("after"))
        }
        Some(whole) => (Value::Null, whole),
    }
}
