//! What receivers report of mail in the name of sender domains: kept by domain, and summed up.

use std::net::IpAddr;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::id::{DmarcReportId, DomainId, Id, TenantId};
use crate::mail::dmarc_report::AggregateReport;

use super::StoreError;

/// Who holds the nearest of these domains, of which each is above the one before. Crosses tenants: for mail that comes
/// in.
///
/// # Errors
/// See [`StoreError`].
pub async fn holder(
    connection: &mut PgConnection,
    names: &[String],
) -> Result<Option<(TenantId, DomainId)>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT tenant_id, id FROM domains WHERE name = ANY ($1) AND status <> 'pending'
        ORDER BY length(name) DESC LIMIT 1
        "#,
        names,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (Id::from_uuid(row.tenant_id), Id::from_uuid(row.id))))
}

/// Keeps a report of a domain. False: it is there already.
///
/// # Errors
/// See [`StoreError`].
pub async fn keep(
    connection: &mut PgConnection,
    (tenant, domain): (TenantId, DomainId),
    report: &AggregateReport,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let id = DmarcReportId::new(now);
    let done = sqlx::query!(
        r#"
        INSERT INTO dmarc_reports (tenant_id, domain_id, id, begins_at, ends_at, reporter, report_id, policy)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING
        "#,
        tenant.uuid(),
        domain.uuid(),
        id.uuid(),
        report.begins_at,
        report.ends_at,
        report.reporter,
        report.id,
        report.policy,
    )
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let counts: Vec<i64> = report.rows.iter().map(|row| i64::from(row.messages)).collect();
    let dkim: Vec<bool> = report.rows.iter().map(|row| row.dkim_aligned).collect();
    let spf: Vec<bool> = report.rows.iter().map(|row| row.spf_aligned).collect();
    let sources: Vec<String> = report.rows.iter().map(|row| row.source.to_string()).collect();
    let dispositions: Vec<&str> = report.rows.iter().map(|row| row.disposition).collect();
    sqlx::query!(
        r#"
        INSERT INTO dmarc_rows
            (tenant_id, domain_id, report, messages, ends_at, dkim_aligned, spf_aligned, source, disposition)
        SELECT $1::uuid, $2::uuid, $3::uuid, sum(r.messages)::bigint, $4::timestamptz, r.dkim, r.spf, r.source::inet, r.disposition
        FROM unnest($5::bigint[], $6::bool[], $7::bool[], $8::text[], $9::text[])
            AS r (messages, dkim, spf, source, disposition)
        GROUP BY r.dkim, r.spf, r.source, r.disposition
        "#,
        tenant.uuid(),
        domain.uuid(),
        id.uuid(),
        report.ends_at,
        &counts,
        &dkim,
        &spf,
        &sources,
        &dispositions as _,
    )
    .execute(connection)
    .await?;
    Ok(true)
}

/// What reports of a time say together.
#[derive(Debug, Clone, Default)]
pub struct Sums {
    /// Reports.
    pub reports: i64,
    /// Mails they tell of.
    pub messages: i64,
    /// Of these, those that passed DMARC.
    pub aligned: i64,
    /// Those that were put aside.
    pub quarantined: i64,
    /// Those that were refused.
    pub rejected: i64,
    /// Who reported, by the number of reports.
    pub reporters: Vec<(String, i64)>,
    /// Where the mail came from, the most first.
    pub sources: Vec<Source>,
}

/// A place mail came from.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its address.
    pub ip: IpAddr,
    /// Mails.
    pub messages: i64,
    /// Those with an aligned signature.
    pub dkim_aligned: i64,
    /// Those with aligned SPF.
    pub spf_aligned: i64,
    /// Those with either: they passed.
    pub aligned: i64,
}

/// Reporters and sources that are told of.
const MOST: i64 = 100;

/// Sums up what reports that ended in this time say of a domain.
///
/// # Errors
/// See [`StoreError`].
pub async fn sums(
    connection: &mut PgConnection,
    (tenant, domain): (TenantId, DomainId),
    (since, until): (OffsetDateTime, OffsetDateTime),
) -> Result<Sums, StoreError> {
    let (tenant, domain): (Uuid, Uuid) = (tenant.uuid(), domain.uuid());
    let reporters = sqlx::query!(
        r#"
        SELECT reporter, count(*) AS "reports!" FROM dmarc_reports
        WHERE tenant_id = $1 AND domain_id = $2 AND ends_at >= $3 AND ends_at < $4
        GROUP BY reporter ORDER BY 2 DESC, 1
        "#,
        tenant,
        domain,
        since,
        until,
    )
    .fetch_all(&mut *connection)
    .await?;
    let all = sqlx::query!(
        r#"
        SELECT coalesce(sum(messages), 0)::bigint AS "messages!",
               coalesce(sum(messages) FILTER (WHERE dkim_aligned OR spf_aligned), 0)::bigint AS "aligned!",
               coalesce(sum(messages) FILTER (WHERE disposition = 'quarantine'), 0)::bigint AS "quarantined!",
               coalesce(sum(messages) FILTER (WHERE disposition = 'reject'), 0)::bigint AS "rejected!"
        FROM dmarc_rows WHERE tenant_id = $1 AND domain_id = $2 AND ends_at >= $3 AND ends_at < $4
        "#,
        tenant,
        domain,
        since,
        until,
    )
    .fetch_one(&mut *connection)
    .await?;
    let sources = sqlx::query!(
        r#"
        SELECT host(source) AS "ip!", sum(messages)::bigint AS "messages!",
               coalesce(sum(messages) FILTER (WHERE dkim_aligned), 0)::bigint AS "dkim!",
               coalesce(sum(messages) FILTER (WHERE spf_aligned), 0)::bigint AS "spf!",
               coalesce(sum(messages) FILTER (WHERE dkim_aligned OR spf_aligned), 0)::bigint AS "aligned!"
        FROM dmarc_rows WHERE tenant_id = $1 AND domain_id = $2 AND ends_at >= $3 AND ends_at < $4
        GROUP BY source ORDER BY 2 DESC, source LIMIT $5
        "#,
        tenant,
        domain,
        since,
        until,
        MOST,
    )
    .fetch_all(connection)
    .await?;
    let source = |ip: &str, messages, dkim_aligned, spf_aligned, aligned| {
        // The database writes what it read.
        Some(Source { ip: ip.parse().ok()?, messages, dkim_aligned, spf_aligned, aligned })
    };
    Ok(Sums {
        reports: reporters.iter().map(|row| row.reports).sum(),
        messages: all.messages,
        aligned: all.aligned,
        quarantined: all.quarantined,
        rejected: all.rejected,
        reporters: reporters.into_iter().take(MOST as usize).map(|row| (row.reporter, row.reports)).collect(),
        sources: sources
            .into_iter()
            .filter_map(|row| source(&row.ip, row.messages, row.dkim, row.spf, row.aligned))
            .collect(),
    })
}

/// Forgets reports that ended before a moment. Crosses tenants: for the chore.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget(connection: &mut PgConnection, before: OffsetDateTime) -> Result<u64, StoreError> {
    let done =
        sqlx::query!("DELETE FROM dmarc_reports WHERE ends_at < $1", before).execute(connection).await?;
    Ok(done.rows_affected())
}
