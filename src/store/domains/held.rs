//! Domains that are held, of all tenants: what nodes keep in memory. It crosses tenants.

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::handling::{Tracking, Transport};
use crate::domain::id::{DomainId, Id, TenantId};
use crate::domain::identity::judge::RecordStatus;
use crate::domain::identity::records::{self, RecordType, TRACKING_LABEL};

use super::super::StoreError;
use super::Checks;

/// A domain that is held, with the revision of its last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub id: DomainId,
    /// Changes with it.
    pub revision: i64,
}

/// Every domain that is held, of all tenants: what nodes keep in memory.
///
/// # Errors
/// See [`StoreError`].
pub async fn held(connection: &mut PgConnection) -> Result<Vec<Held>, StoreError> {
    let rows = sqlx::query!("SELECT tenant_id, id, revision FROM domains WHERE status <> 'pending'")
        .fetch_all(connection)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| Held {
            tenant: Id::from_uuid(row.tenant_id),
            id: Id::from_uuid(row.id),
            revision: row.revision,
        })
        .collect())
}

/// Tracking hosts of held domains that were found to be aliases of `host`. Crosses tenants.
///
/// # Errors
/// See [`StoreError`].
pub async fn tracked(connection: &mut PgConnection, host: &str) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query!("SELECT name, checks FROM domains WHERE status <> 'pending'")
        .fetch_all(connection)
        .await?;
    let tracked = |name: String, checks: &Value| {
        let own = records::tracking_host(&name);
        let checks = Checks::from_json(checks);
        let found = checks.of(RecordType::Cname.as_str(), &own, host)?;
        (found.status == RecordStatus::Ok).then_some(own)
    };
    Ok(rows.into_iter().filter_map(|row| tracked(row.name, &row.checks)).collect())
}

/// A held domain as nodes keep it in memory, with the revision of its last change.
#[derive(Debug, Clone)]
pub struct HeldDomain {
    /// Which, whose, and when it changed.
    pub held: Held,
    /// Its name in DNS.
    pub name: String,
    /// Its own return-path domain, if bounces to it reach us.
    pub return_path: Option<String>,
    /// Since when its owner has stopped it.
    pub paused_at: Option<OffsetDateTime>,
    /// How the way of all mail from it is protected.
    pub transport: Transport,
    /// What is watched of mail that does not say.
    pub tracking: Tracking,
    /// Its own host for links and pixels, if the last look found that it leads to us.
    pub tracking_host: Option<String>,
}

/// These domains, as far as they are held still.
///
/// # Errors
/// See [`StoreError`].
pub async fn load_held(
    connection: &mut PgConnection,
    wanted: &[Held],
) -> Result<Vec<HeldDomain>, StoreError> {
    let (tenants, ids): (Vec<_>, Vec<_>) =
        wanted.iter().map(|held| (held.tenant.uuid(), held.id.uuid())).unzip();
    let rows = sqlx::query!(
        r#"
        SELECT d.tenant_id, d.id, d.revision, d.name, d.return_path, d.returns, d.paused_at, d.require_tls,
               d.track_opens, d.track_clicks,
               d.checks -> ('CNAME ' || $3::text || '.' || d.name) ->> 'status' = 'ok' AS tracks
        FROM UNNEST($1::uuid[], $2::uuid[]) AS wanted (tenant_id, id)
        JOIN domains d ON d.tenant_id = wanted.tenant_id AND d.id = wanted.id
        WHERE d.status <> 'pending'
        "#,
        &tenants,
        &ids,
        TRACKING_LABEL,
    )
    .fetch_all(connection)
    .await?;
    let held = rows.into_iter().map(|row| HeldDomain {
        held: Held {
            tenant: Id::from_uuid(row.tenant_id),
            id: Id::from_uuid(row.id),
            revision: row.revision,
        },
        tracking: Tracking { opens: row.track_opens, clicks: row.track_clicks },
        tracking_host: (row.tracks == Some(true)).then(|| format!("{TRACKING_LABEL}.{}", row.name)),
        name: row.name,
        return_path: row.returns.then_some(row.return_path),
        paused_at: row.paused_at,
        transport: Transport::required(row.require_tls),
    });
    Ok(held.collect())
}
