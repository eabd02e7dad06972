//! A recipient leaves streams, by the link in a mail: the suppressions and the event in one transaction.

use serde_json::json;
use time::OffsetDateTime;

use crate::domain::id::{EventId, SuppressionId, TenantId};
use crate::domain::stream::{BROADCAST, Stream, StreamKind};
use crate::domain::suppression::{Reason, Suppression};
use crate::domain::unsubscribe_link::Leaving;
use crate::store::{Database, StoreError, events, streams, suppressions};

/// What a recipient can leave: a stream's name, and what it is called to him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// As mail names it.
    pub name: String,
    /// As recipients are shown it.
    pub title: String,
}

/// The most streams that are shown.
const MOST: i64 = 100;

/// What can be left by a link: the tenant's broadcast streams, that of the link's mail first.
///
/// # Errors
/// See [`StoreError`].
pub async fn topics(database: &Database, tenant: TenantId, stream: &str) -> Result<Vec<Topic>, StoreError> {
    let mut connection = database.serve().acquire().await?;
    let described = streams::list(&mut connection, tenant, None, MOST).await?;
    let topic =
        |stream: &Stream| Topic { name: stream.name.as_str().to_owned(), title: stream.title.clone() };
    let mut topics: Vec<Topic> =
        described.iter().filter(|stream| stream.kind == StreamKind::Broadcast).map(topic).collect();
    if !topics.iter().any(|topic| topic.name == stream) {
        let title = if stream == BROADCAST { "Newsletters" } else { stream };
        topics.push(Topic { name: stream.to_owned(), title: title.to_owned() });
    }
    topics.sort_by_key(|topic| topic.name != stream);
    Ok(topics)
}

/// Takes a recipient off streams. Doing so again changes nothing, and tells nobody again.
///
/// # Errors
/// See [`StoreError`].
pub async fn leave(
    database: &Database,
    leaving: &Leaving,
    streams: &[String],
    method: &str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let suppressed: Vec<Suppression> = streams
        .iter()
        .map(|stream| Suppression {
            id: SuppressionId::new(now),
            address: leaving.address.clone(),
            stream: stream.clone(),
            reason: Reason::Unsubscribe,
            delivery: Some(leaving.delivery),
        })
        .collect();
    let mut transaction = database.serve().begin().await?;
    if suppressions::add(&mut transaction, leaving.tenant, &suppressed).await? > 0 {
        let data = json!({ "method": method, "streams": streams });
        let id = EventId::of(now, leaving.delivery);
        events::append_unsubscribed(&mut transaction, leaving.delivery, id, &data).await?;
    }
    transaction.commit().await?;
    Ok(())
}
