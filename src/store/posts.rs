//! The log of what was posted to webhooks.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::id::{DeliveryId, EventId, Id, PostId, TenantId, WebhookId, floor_at};

use super::StoreError;

/// One request that was made.
#[derive(Debug, Clone)]
pub struct Post {
    /// Its name; carries when.
    pub id: PostId,
    /// Whose.
    pub tenant: TenantId,
    /// To which webhook.
    pub webhook: WebhookId,
    /// Which attempt it was.
    pub attempt: i32,
    /// How long it took.
    pub duration_ms: i32,
    /// The status of the answer; `None`: there was none.
    pub status: Option<i16>,
    /// `delivered`, `deferred` or `failed`.
    pub result: String,
    /// What went wrong.
    pub error: Option<String>,
    /// When it is tried again.
    pub next_at: Option<OffsetDateTime>,
    /// The header `webhook-id`.
    pub reference: String,
    /// The events in it, with their deliveries; for a notice, none.
    pub events: Vec<(DeliveryId, EventId)>,
    /// The beginning of the body.
    pub request: String,
    /// The beginning of the answer's body.
    pub response: String,
}

/// Appends to the log.
///
/// # Errors
/// See [`StoreError`].
pub async fn append(connection: &mut PgConnection, posts: &[Post]) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = posts.iter().map(|post| post.id.uuid()).collect();
    let tenants: Vec<Uuid> = posts.iter().map(|post| post.tenant.uuid()).collect();
    let webhooks: Vec<Uuid> = posts.iter().map(|post| post.webhook.uuid()).collect();
    let attempts: Vec<i32> = posts.iter().map(|post| post.attempt).collect();
    let durations: Vec<i32> = posts.iter().map(|post| post.duration_ms).collect();
    let statuses: Vec<Option<i16>> = posts.iter().map(|post| post.status).collect();
    let results: Vec<&str> = posts.iter().map(|post| post.result.as_str()).collect();
    let errors: Vec<Option<&str>> = posts.iter().map(|post| post.error.as_deref()).collect();
    let next: Vec<Option<OffsetDateTime>> = posts.iter().map(|post| post.next_at).collect();
    let references: Vec<&str> = posts.iter().map(|post| post.reference.as_str()).collect();
    // Arrays of arrays cannot be unnested row by row: PostgreSQL's own text form can.
    let events: Vec<String> =
        posts.iter().map(|post| literal(post.events.iter().map(|(_, id)| id.uuid()))).collect();
    let deliveries: Vec<String> =
        posts.iter().map(|post| literal(post.events.iter().map(|(id, _)| id.uuid()))).collect();
    let requests: Vec<&str> = posts.iter().map(|post| post.request.as_str()).collect();
    let responses: Vec<&str> = posts.iter().map(|post| post.response.as_str()).collect();
    sqlx::query!(
        r#"
        INSERT INTO posts
            (id, tenant_id, webhook_id, attempt, duration_ms, status, result, error, next_at, reference, event_ids,
             delivery_ids, request, response)
        SELECT p.id, p.tenant_id, p.webhook_id, p.attempt, p.duration_ms, p.status, p.result, p.error, p.next_at,
               p.reference, p.event_ids::uuid[], p.delivery_ids::uuid[], p.request, p.response
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::int[], $6::smallint[], $7::text[], $8::text[],
                    $9::timestamptz[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[])
            AS p (id, tenant_id, webhook_id, attempt, duration_ms, status, result, error, next_at, reference,
                  event_ids, delivery_ids, request, response)
        "#,
        &ids,
        &tenants,
        &webhooks,
        &attempts,
        &durations,
        &statuses as _,
        &results as _,
        &errors as _,
        &next as _,
        &references as _,
        &events,
        &deliveries,
        &requests as _,
        &responses as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn literal(ids: impl Iterator<Item = Uuid>) -> String {
    let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
    format!("{{{}}}", ids.join(","))
}

struct Row {
    id: Uuid,
    attempt: i32,
    duration_ms: i32,
    status: Option<i16>,
    result: String,
    error: Option<String>,
    next_at: Option<OffsetDateTime>,
    reference: String,
    event_ids: Vec<Uuid>,
    delivery_ids: Vec<Uuid>,
    request: String,
    response: String,
}

impl Row {
    fn post(self, tenant: TenantId, webhook: WebhookId) -> Post {
        let deliveries = self.delivery_ids.into_iter().map(Id::from_uuid);
        Post {
            id: Id::from_uuid(self.id),
            tenant,
            webhook,
            attempt: self.attempt,
            duration_ms: self.duration_ms,
            status: self.status,
            result: self.result,
            error: self.error,
            next_at: self.next_at,
            reference: self.reference,
            events: deliveries.zip(self.event_ids.into_iter().map(Id::from_uuid)).collect(),
            request: self.request,
            response: self.response,
        }
    }
}

/// What a list is narrowed by. `None` everywhere: nothing.
#[derive(Debug, Clone, Default)]
pub struct PostFilter {
    /// `delivered`, `deferred` or `failed`.
    pub result: Option<String>,
    /// With this event in it.
    pub event: Option<EventId>,
    /// At this moment or later.
    pub since: Option<OffsetDateTime>,
    /// Before this moment.
    pub until: Option<OffsetDateTime>,
}

/// A page of what was posted to a webhook, newest first, before `before`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    webhook: WebhookId,
    filter: &PostFilter,
    before: Option<PostId>,
    limit: i64,
) -> Result<Vec<Post>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, attempt, duration_ms, status, result, error, next_at, reference, event_ids, delivery_ids, request,
               response
        FROM posts
        WHERE tenant_id = $1 AND webhook_id = $2
          AND ($3::uuid IS NULL OR id < $3)
          AND ($4::text IS NULL OR result = $4)
          AND ($5::uuid IS NULL OR $5 = ANY (event_ids))
          AND ($6::uuid IS NULL OR id >= $6)
          AND ($7::uuid IS NULL OR id < $7)
        ORDER BY id DESC LIMIT $8
        "#,
        tenant.uuid(),
        webhook.uuid(),
        before.map(Id::uuid),
        filter.result,
        filter.event.map(Id::uuid),
        filter.since.map(floor_at),
        filter.until.map(floor_at),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| row.post(tenant, webhook)).collect())
}

/// One request that was made to a webhook.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    webhook: WebhookId,
    id: PostId,
) -> Result<Option<Post>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, attempt, duration_ms, status, result, error, next_at, reference, event_ids, delivery_ids, request,
               response
        FROM posts WHERE tenant_id = $1 AND webhook_id = $2 AND id = $3
        "#,
        tenant.uuid(),
        webhook.uuid(),
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.post(tenant, webhook)))
}
