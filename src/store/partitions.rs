//! Daily partitions of the mail tables: made a week ahead, dropped whole when their time is over.
//!
//! A mail's whole story lives in the partitions of the day it was born, because every key in it begins with
//! that moment. Making and dropping never takes a lock that stops mail: partitions are attached, and detached
//! concurrently. The statements are built from this file's own constants and dates, never from input.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use time::{Date, Duration, OffsetDateTime};

use crate::domain::id::{Id, MessageId, floor_at};

use super::StoreError;

/// What a partitioned table holds: decides how long it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// What happened.
    History,
    /// What was in the mail.
    Content,
}

const TABLES: [(&str, Keeps); 8] = [
    ("messages", Keeps::History),
    ("bodies", Keeps::Content),
    ("deliveries", Keeps::History),
    ("attempts", Keeps::History),
    ("outcomes", Keeps::History),
    ("events", Keeps::History),
    ("posts", Keeps::History),
    ("inbound", Keeps::Content),
];

/// How many days ahead partitions exist.
pub const DAYS_AHEAD: i64 = 7;

/// Serialises the makers of partitions over all nodes.
const LOCK: i64 = 0x706f_7374_726f_6164;

/// Makes what is missing from yesterday (for clocks that differ) to a week ahead. Gives how many were made.
///
/// # Errors
/// [`StoreError::Unavailable`] when a lock could not be had in time; what was made stays.
pub async fn ensure(connection: &mut PgConnection, today: Date) -> Result<usize, StoreError> {
    let mut made = 0;
    for offset in -1..=DAYS_AHEAD {
        made += ensure_day(connection, today + Duration::days(offset)).await?;
    }
    Ok(made)
}

/// Makes one day's partitions, all or none.
///
/// # Errors
/// As [`ensure`].
pub async fn ensure_day(connection: &mut PgConnection, day: Date) -> Result<usize, StoreError> {
    let missing = missing(connection, day).await?;
    if missing.is_empty() {
        return Ok(0);
    }
    let mut transaction = connection.begin().await?;
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", LOCK).execute(&mut *transaction).await?;
    // Looked at again under the lock: another node may have made them meanwhile.
    let missing = self::missing(&mut transaction, day).await?;
    for table in &missing {
        let statement = attach_statement(table, day);
        transaction.execute(AssertSqlSafe(statement)).await?;
    }
    transaction.commit().await?;
    Ok(missing.len())
}

/// Whether all partitions of a day are there.
///
/// # Errors
/// See [`StoreError`].
pub async fn exist(connection: &mut PgConnection, day: Date) -> Result<bool, StoreError> {
    Ok(missing(connection, day).await?.is_empty())
}

/// Drops the partitions of days that ended before these moments, and gives their names. Days from which mail
/// is still queued are kept whole.
///
/// # Errors
/// [`StoreError::Unavailable`] when a lock could not be had in time; what was dropped stays dropped.
pub async fn drop_older(
    connection: &mut PgConnection,
    history_before: OffsetDateTime,
    content_before: OffsetDateTime,
) -> Result<Vec<String>, StoreError> {
    finish_interrupted(connection).await?;
    let oldest_queued = oldest_queued(connection).await?.map(MessageId::born);
    let mut dropped = Vec::new();
    for (table, keeps) in TABLES {
        let retention = match keeps {
            Keeps::History => history_before,
            Keeps::Content => content_before,
        };
        let before = oldest_queued.map_or(retention, |queued| retention.min(queued));
        for name in attached(connection, table).await? {
            if end_of(&name).is_some_and(|end| end <= before) {
                detach_and_drop(connection, table, &name).await?;
                dropped.push(name);
            }
        }
    }
    Ok(dropped)
}

async fn missing(connection: &mut PgConnection, day: Date) -> Result<Vec<&'static str>, StoreError> {
    let names: Vec<String> = TABLES.iter().map(|(table, _)| name_of(table, day)).collect();
    let there = sqlx::query_scalar!(
        r#"
        SELECT c.relname::text AS "name!" FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid
        WHERE c.relname = ANY ($1::text[]) AND NOT i.inhdetachpending
        "#,
        &names,
    )
    .fetch_all(connection)
    .await?;
    Ok(TABLES.iter().map(|(table, _)| *table).filter(|table| !there.contains(&name_of(table, day))).collect())
}

/// Creating a table and attaching it takes a weaker lock on the parent than creating it as a partition.
fn attach_statement(table: &str, day: Date) -> String {
    let name = name_of(table, day);
    let from = floor_at(day.midnight().assume_utc());
    let to = floor_at((day + Duration::DAY).midnight().assume_utc());
    format!(
        "CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE \
         INCLUDING COMPRESSION); \
         ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{from}') TO ('{to}')"
    )
}

async fn attached(connection: &mut PgConnection, table: &str) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT c.relname::text AS "name!" FROM pg_inherits i
        JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
        WHERE p.relname = $1 AND c.relkind = 'r' ORDER BY c.relname
        "#,
        table,
    )
    .fetch_all(connection)
    .await?)
}

async fn detach_and_drop(connection: &mut PgConnection, table: &str, name: &str) -> Result<(), StoreError> {
    // Not inside a transaction: concurrent detaching waits for old readers without stopping new ones.
    let detach = format!("ALTER TABLE {table} DETACH PARTITION {name} CONCURRENTLY");
    connection.execute(AssertSqlSafe(detach)).await?;
    connection.execute(AssertSqlSafe(format!("DROP TABLE {name}"))).await?;
    Ok(())
}

/// Completes what a killed process left half detached, and drops what it left detached.
async fn finish_interrupted(connection: &mut PgConnection) -> Result<(), StoreError> {
    let pending = sqlx::query!(
        r#"
        SELECT p.relname::text AS "table!", c.relname::text AS "name!" FROM pg_inherits i
        JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
        WHERE i.inhdetachpending
        "#,
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in pending.iter().filter(|row| is_ours(&row.name)) {
        let finalize = format!("ALTER TABLE {} DETACH PARTITION {} FINALIZE", row.table, row.name);
        connection.execute(AssertSqlSafe(finalize)).await?;
    }
    let detached = sqlx::query_scalar!(
        r#"
        SELECT c.relname::text AS "name!" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND n.nspname = current_schema() AND c.relname ~ '^[a-z]+_p[0-9]{8}$'
          AND NOT EXISTS (SELECT 1 FROM pg_inherits i WHERE i.inhrelid = c.oid)
        "#,
    )
    .fetch_all(&mut *connection)
    .await?;
    for name in detached.iter().filter(|name| is_ours(name)) {
        connection.execute(AssertSqlSafe(format!("DROP TABLE {name}"))).await?;
    }
    Ok(())
}

/// The oldest message with mail in the queue, over all lanes and tenants.
async fn oldest_queued(connection: &mut PgConnection) -> Result<Option<MessageId>, StoreError> {
    let oldest = sqlx::query_scalar!(
        r#"
        SELECT first.delivery_id FROM generate_series(0, 4095) l (lane)
        CROSS JOIN LATERAL (SELECT q.delivery_id FROM queue q WHERE q.lane = l.lane::smallint
                            ORDER BY q.delivery_id LIMIT 1) first
        ORDER BY first.delivery_id LIMIT 1
        "#,
    )
    .fetch_optional(connection)
    .await?;
    Ok(oldest.map(Id::from_uuid))
}

fn name_of(table: &str, day: Date) -> String {
    format!("{table}_p{:04}{:02}{:02}", day.year(), u8::from(day.month()), day.day())
}

/// The moment a partition's day ends, from its name; `None`: not a partition of ours.
fn end_of(name: &str) -> Option<OffsetDateTime> {
    let (table, digits) = name.rsplit_once("_p")?;
    let known = TABLES.iter().any(|(known, _)| *known == table);
    let fits = digits.len() == 8 && digits.bytes().all(|c| c.is_ascii_digit());
    if !known || !fits {
        return None;
    }
    let month = digits[4..6].parse::<u8>().ok().and_then(|month| time::Month::try_from(month).ok())?;
    let day = Date::from_calendar_date(digits[..4].parse().ok()?, month, digits[6..].parse().ok()?).ok()?;
    Some((day + Duration::DAY).midnight().assume_utc())
}

fn is_ours(name: &str) -> bool {
    end_of(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::{date, datetime};

    #[test]
    fn names_tell_the_day_and_only_ours_are_touched() {
        assert_eq!(name_of("events", date!(2026 - 01 - 05)), "events_p20260105");
        assert_eq!(end_of("events_p20260105"), Some(datetime!(2026-01-06 0:00 UTC)));
        for other in ["queue_p20260105", "events_p2026010", "events_p2026010x", "events", "events_p20261305"]
        {
            assert_eq!(end_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_day_holds_exactly_the_ids_born_in_it() {
        let statement = attach_statement("messages", date!(2026 - 11 - 24));
        let first = floor_at(datetime!(2026-11-24 0:00 UTC)).to_string();
        let next = floor_at(datetime!(2026-11-25 0:00 UTC)).to_string();
        assert!(statement.contains(&format!("FROM ('{first}') TO ('{next}')")), "{statement}");
    }
}
