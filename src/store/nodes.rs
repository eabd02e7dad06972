//! Nodes: who is alive, and whose leases may be taken over. Crosses tenants.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;

/// A process that starts.
#[derive(Debug, Clone)]
pub struct NewNode {
    /// The same at every start from one data directory.
    pub node_id: Uuid,
    /// Where it runs.
    pub hostname: String,
    /// What runs.
    pub version: &'static str,
    /// What it does.
    pub roles: Vec<String>,
    /// Until when it counts as alive without another sign of life.
    pub alive_until: OffsetDateTime,
}

/// Enters a new incarnation and gives its number.
///
/// # Errors
/// See [`StoreError`].
pub async fn enter(
    connection: &mut PgConnection,
    node: &NewNode,
    now: OffsetDateTime,
) -> Result<i32, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"
        INSERT INTO nodes (node_id, hostname, version, roles, started_at, alive_until)
        VALUES ($1, $2, $3, $4, $5, $6) RETURNING incarnation
        "#,
        node.node_id,
        node.hostname,
        node.version,
        &node.roles,
        now,
        node.alive_until,
    )
    .fetch_one(connection)
    .await?)
}

/// A sign of life. False: the incarnation has been declared dead, and its leases taken over.
///
/// # Errors
/// See [`StoreError`].
pub async fn renew(
    connection: &mut PgConnection,
    incarnation: i32,
    alive_until: OffsetDateTime,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE nodes SET alive_until = $2 WHERE incarnation = $1 AND rescued_at IS NULL",
        incarnation,
        alive_until,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Incarnations that died and whose leases nobody has taken over yet: those past their time, and earlier ones
/// of this very node, whose data directory we hold locked.
///
/// # Errors
/// See [`StoreError`].
pub async fn dead(
    connection: &mut PgConnection,
    own: i32,
    own_node: Uuid,
    now: OffsetDateTime,
) -> Result<Vec<i32>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT incarnation FROM nodes
        WHERE rescued_at IS NULL AND incarnation <> $1 AND (alive_until < $3 OR (node_id = $2 AND incarnation < $1))
        "#,
        own,
        own_node,
        now,
    )
    .fetch_all(connection)
    .await?)
}

/// Notes that no lease of these incarnations is left.
///
/// # Errors
/// See [`StoreError`].
pub async fn rescued(
    connection: &mut PgConnection,
    incarnations: &[i32],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE nodes SET rescued_at = $2 WHERE incarnation = ANY ($1) AND rescued_at IS NULL",
        incarnations,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets incarnations that ended before `before`.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget(connection: &mut PgConnection, before: OffsetDateTime) -> Result<u64, StoreError> {
    let done = sqlx::query!("DELETE FROM nodes WHERE rescued_at < $1", before).execute(connection).await?;
    Ok(done.rows_affected())
}

/// The database's own time: what [`crate::clock::Clock`] runs on.
///
/// # Errors
/// See [`StoreError`].
pub async fn database_time(connection: &mut PgConnection) -> Result<OffsetDateTime, StoreError> {
    Ok(sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(connection).await?)
}

/// An incarnation, as operators see it.
#[derive(Debug, Clone)]
pub struct NodeRow {
    /// Its number.
    pub incarnation: i32,
    /// The same at every start from one data directory.
    pub node_id: Uuid,
    /// Where it runs.
    pub hostname: String,
    /// What runs.
    pub version: String,
    /// What it does.
    pub roles: Vec<String>,
    /// Since when.
    pub started_at: OffsetDateTime,
    /// Until when it counts as alive without another sign of life.
    pub alive_until: OffsetDateTime,
    /// When what it held was made due, after its end.
    pub rescued_at: Option<OffsetDateTime>,
    /// Deliveries in its hands.
    pub held: i64,
}

/// The incarnations that are known, the newest first.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(connection: &mut PgConnection, limit: i64) -> Result<Vec<NodeRow>, StoreError> {
    Ok(sqlx::query_as!(
        NodeRow,
        r#"
        SELECT n.incarnation, n.node_id, n.hostname, n.version, n.roles, n.started_at, n.alive_until, n.rescued_at,
               coalesce(h.held, 0) AS "held!"
        FROM nodes n
        LEFT JOIN (SELECT q.leased_by, count(*) AS held FROM queue q WHERE q.leased_by IS NOT NULL GROUP BY q.leased_by) h
            ON h.leased_by = n.incarnation
        ORDER BY n.incarnation DESC LIMIT $1
        "#,
        limit,
    )
    .fetch_all(connection)
    .await?)
}
