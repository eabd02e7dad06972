//! The queue's own vacuum.
//!
//! Every mail comes into the queue and leaves it, and until a vacuum has taken away what left, claims look at all of it.
//! The database's own vacuum comes once a minute where nobody has said otherwise, and hardly at all where the database
//! dies often, since its counts die with it. So does what it knows of free pages: until the next vacuum the indexes grow
//! although they have room, and an index never shrinks.

use std::time::Duration;

use sqlx::PgConnection;

use super::StoreError;

/// Vacuums the queue, if enough has left it and the last time is `rest` ago, or if it has been vacuumed and nobody knows
/// when. It waits for nothing, and takes no lock that mail would wait for. False: there was nothing to do, or others own
/// the table. A queue that is new is left alone: once it is known to be empty, the first burst of mail is planned for
/// few rows.
///
/// # Errors
/// See [`StoreError`].
pub async fn queue(connection: &mut PgConnection, rest: Duration) -> Result<bool, StoreError> {
    let is_due = sqlx::query_scalar!(
        r#"
        SELECT (l.last IS NULL AND c.reltuples >= 0
                OR s.n_dead_tup >= 500 AND coalesce(l.last NOT BETWEEN
                    clock_timestamp() - $1::float8 * interval '1 s' AND clock_timestamp(), true))
               AND pg_has_role(c.relowner, 'USAGE') AS "is_due!"
        FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid,
             LATERAL (SELECT greatest(s.last_vacuum, s.last_autovacuum) AS last) l
        WHERE s.relid = 'queue'::regclass
        "#,
        rest.as_secs_f64(),
    )
    .fetch_one(&mut *connection)
    .await?;
    if is_due {
        sqlx::query!("VACUUM (SKIP_LOCKED, TRUNCATE FALSE) queue").execute(connection).await?;
    }
    Ok(is_due)
}
