//! How sessions with recipient domains' servers fared, and the reports that are to tell them. They cross tenants.

use sqlx::PgConnection;
use time::{Date, OffsetDateTime};

use crate::domain::tls_result::TlsSession;

use super::StoreError;

/// Adds sessions of a day, and notes that it is to be reported to each of their domains.
///
/// # Errors
/// See [`StoreError`]: nothing was added, but for [`StoreError::Unavailable`], after which nobody knows.
pub async fn add(
    connection: &mut PgConnection,
    day: Date,
    due_at: OffsetDateTime,
    sessions: &[(TlsSession, u64)],
) -> Result<(), StoreError> {
    let column = |of: fn(&TlsSession) -> &str| -> Vec<String> {
        sessions.iter().map(|(session, _)| of(session).to_owned()).collect()
    };
    let counts: Vec<i64> =
        sessions.iter().map(|(_, count)| i64::try_from(*count).unwrap_or(i64::MAX)).collect();
    sqlx::query!(
        r#"
        WITH counted AS (
            INSERT INTO tls_results (day, domain, policy, result, mx, source, ip, sessions)
            SELECT $1, s.domain, s.policy, s.result, s.mx, s.source, s.ip, s.sessions
            FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[])
                AS s (domain, policy, result, mx, source, ip, sessions)
            -- In one order everywhere, so that two processes do not wait for each other.
            ORDER BY s.domain, s.policy, s.result, s.mx, s.source, s.ip
            ON CONFLICT (day, domain, policy, result, mx, source, ip)
            DO UPDATE SET sessions = tls_results.sessions + excluded.sessions
            RETURNING domain
        )
        INSERT INTO tls_reports (day, domain, due_at) SELECT DISTINCT $1::date, c.domain, $2::timestamptz FROM counted c
        ON CONFLICT DO NOTHING
        "#,
        day,
        due_at,
        &column(|session| &session.domain),
        &column(|session| session.policy.as_str()),
        &column(|session| session.result.as_str()),
        &column(|session| &session.mx),
        &column(|session| &session.source),
        &column(|session| &session.ip),
        &counts,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A report that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Of which day.
    pub day: Date,
    /// To which domain.
    pub domain: String,
    /// How often it was begun, this time included.
    pub tries: i16,
}

/// Begins reports that are due: they are due again at `again`.
///
/// # Errors
/// See [`StoreError`].
pub async fn begin(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    again: OffsetDateTime,
    limit: i64,
) -> Result<Vec<Begun>, StoreError> {
    let rows = sqlx::query!(
        r#"
        UPDATE tls_reports r SET due_at = $2, tries = r.tries + 1
        FROM (SELECT day, domain FROM tls_reports WHERE due_at <= $1
              ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) due
        WHERE r.day = due.day AND r.domain = due.domain
        RETURNING r.day, r.domain, r.tries
        "#,
        now,
        again,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| Begun { day: row.day, domain: row.domain, tries: row.tries }).collect())
}

/// Sessions of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The policy's type.
    pub policy: String,
    /// What came of them.
    pub result: String,
    /// The server.
    pub mx: String,
    /// The address of ours.
    pub source: String,
    /// The server's.
    pub ip: String,
    /// How many.
    pub sessions: i64,
}

/// What was counted of a domain on a day.
///
/// # Errors
/// See [`StoreError`].
pub async fn of_day(
    connection: &mut PgConnection,
    day: Date,
    domain: &str,
) -> Result<Vec<Counted>, StoreError> {
    Ok(sqlx::query_as!(
        Counted,
        r#"
        SELECT policy, result, mx, source, ip, sessions FROM tls_results
        WHERE day = $1 AND domain = $2 ORDER BY policy, result, mx, source, ip LIMIT 10000
        "#,
        day,
        domain,
    )
    .fetch_all(connection)
    .await?)
}

/// A report was sent, or is given up: what it told is forgotten.
///
/// # Errors
/// See [`StoreError`].
pub async fn finish(connection: &mut PgConnection, day: Date, domain: &str) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        WITH told AS (DELETE FROM tls_results WHERE day = $1 AND domain = $2)
        DELETE FROM tls_reports WHERE day = $1 AND domain = $2
        "#,
        day,
        domain,
    )
    .execute(connection)
    .await?;
    Ok(())
}
