//! What the database holds of the mails of a test, read behind postroad's back.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection, Row};
use uuid::Uuid;

use postroad::domain::id::{Id, MessageId};

use super::test_id_of;

/// A stored message and everything that belongs to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    pub(super) test_id: String,
    /// As the API shows it.
    pub(super) id: String,
    /// The header, with angle brackets.
    pub(super) message_id: String,
    pub(super) sandbox: bool,
    pub(super) deliveries: Vec<Delivery>,
}

/// A stored delivery.
#[derive(Debug, Clone, Default)]
pub(super) struct Delivery {
    pub(super) recipient: String,
    /// It still has its row in the queue.
    pub(super) queued: bool,
    /// Ordinal and status.
    pub(super) outcomes: Vec<(i16, String)>,
    /// Types, in their order.
    pub(super) events: Vec<String>,
    pub(super) attempts: Vec<Attempt>,
}

/// A recorded attempt.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) number: i32,
    pub(super) result: String,
    pub(super) reply: String,
}

/// Reads everything about the mails with these test ids, once none of them is in the queue any more, or the
/// budget is spent. A database that is away is waited for.
pub(super) async fn read_ended(url: &str, test_ids: &HashSet<String>, budget: Duration) -> Vec<Message> {
    let deadline = Instant::now() + budget;
    let mut known = HashMap::new();
    loop {
        let late = Instant::now() >= deadline;
        match read(url, test_ids, &mut known, late).await {
            Ok(Some(messages)) => return messages,
            Err(error) if late => panic!("the database cannot be read: {error}"),
            Ok(None) | Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// `None`: some are still queued, and it is not `late`. `known` tells of messages whether they are ours.
async fn read(
    url: &str,
    test_ids: &HashSet<String>,
    known: &mut HashMap<Uuid, bool>,
    late: bool,
) -> sqlx::Result<Option<Vec<Message>>> {
    let mut connection = PgConnection::connect(url).await?;
    if !late && any_queued(&mut connection, test_ids, known).await? {
        return Ok(None);
    }
    let mut messages = messages(&mut connection, test_ids).await?;
    let mut deliveries = deliveries(&mut connection).await?;
    for (id, message) in &mut messages {
        message.deliveries = deliveries.remove(id).unwrap_or_default();
    }
    connection.close().await?;
    Ok(Some(messages.into_values().collect()))
}

/// Whether something of ours is still in the queue.
async fn any_queued(
    connection: &mut PgConnection,
    test_ids: &HashSet<String>,
    known: &mut HashMap<Uuid, bool>,
) -> sqlx::Result<bool> {
    let query = "SELECT DISTINCT message_of(delivery_id) FROM queue";
    let queued: Vec<Uuid> = sqlx::query_scalar(query).fetch_all(&mut *connection).await?;
    let unknown: Vec<Uuid> = queued.iter().filter(|id| !known.contains_key(id)).copied().collect();
    let heads = "SELECT id, substring(raw FROM 1 FOR 8192) AS head FROM bodies WHERE id = ANY ($1)";
    for row in sqlx::query(heads).bind(&unknown).fetch_all(connection).await? {
        let ours = test_id_of(row.get("head")).is_some_and(|test_id| test_ids.contains(&test_id));
        known.insert(row.get("id"), ours);
    }
    Ok(queued.iter().any(|id| known.get(id).copied().unwrap_or(false)))
}

async fn messages(
    connection: &mut PgConnection,
    test_ids: &HashSet<String>,
) -> sqlx::Result<HashMap<Uuid, Message>> {
    let rows = sqlx::query(
        "SELECT m.id, m.message_id, m.sandbox, substring(b.raw FROM 1 FOR 8192) AS head
         FROM messages m JOIN bodies b ON b.lane = m.lane AND b.id = m.id",
    )
    .fetch_all(connection)
    .await?;
    let message = |row: &sqlx::postgres::PgRow| {
        let test_id = test_id_of(row.get("head")).filter(|id| test_ids.contains(id))?;
        let id: Uuid = row.get("id");
        let shown: MessageId = Id::from_uuid(id);
        let (message_id, sandbox) = (row.get("message_id"), row.get("sandbox"));
        Some((id, Message { test_id, id: shown.to_string(), message_id, sandbox, deliveries: Vec::new() }))
    };
    Ok(rows.iter().filter_map(message).collect())
}

/// All deliveries by message.
async fn deliveries(connection: &mut PgConnection) -> sqlx::Result<HashMap<Uuid, Vec<Delivery>>> {
    let queued: Vec<Uuid> =
        sqlx::query_scalar("SELECT delivery_id FROM queue").fetch_all(&mut *connection).await?;
    let queued: HashSet<Uuid> = queued.into_iter().collect();
    let rows = sqlx::query("SELECT id, message_of(id) AS message, recipient FROM deliveries ORDER BY id")
        .fetch_all(&mut *connection)
        .await?;
    let mut events =
        grouped(connection, "SELECT delivery_id, type::text FROM events ORDER BY id", |row| row.get(1))
            .await?;
    let mut outcomes = grouped(
        connection,
        "SELECT delivery_id, ordinal, status::text FROM outcomes ORDER BY ordinal",
        |row| (row.get(1), row.get(2)),
    )
    .await?;
    let attempt =
        |row: &sqlx::postgres::PgRow| Attempt { number: row.get(1), result: row.get(2), reply: row.get(3) };
    let query = "SELECT delivery_id, attempt, result, reply FROM attempts ORDER BY claim_no";
    let mut attempts = grouped(connection, query, attempt).await?;
    let mut by_message: HashMap<Uuid, Vec<Delivery>> = HashMap::new();
    for row in rows {
        let id: Uuid = row.get("id");
        by_message.entry(row.get("message")).or_default().push(Delivery {
            recipient: row.get("recipient"),
            queued: queued.contains(&id),
            outcomes: outcomes.remove(&id).unwrap_or_default(),
            events: events.remove(&id).unwrap_or_default(),
            attempts: attempts.remove(&id).unwrap_or_default(),
        });
    }
    Ok(by_message)
}

async fn grouped<T>(
    connection: &mut PgConnection,
    query: &'static str,
    read: impl Fn(&sqlx::postgres::PgRow) -> T,
) -> sqlx::Result<HashMap<Uuid, Vec<T>>> {
    let mut groups: HashMap<Uuid, Vec<T>> = HashMap::new();
    for row in sqlx::query(query).fetch_all(connection).await? {
        groups.entry(row.get(0)).or_default().push(read(&row));
    }
    Ok(groups)
}
