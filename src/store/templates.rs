//! Tenants' templates and their versions.

use serde_json::{Map, Value};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::id::{Id, TemplateId, TenantId};
use crate::domain::template::{Contents, Locale, TemplateName};
use crate::render::{Bodies, Part};

use super::StoreError;

/// A template without its sources.
#[derive(Debug, Clone)]
pub struct StoredTemplate {
    /// Its name in the API.
    pub id: TemplateId,
    /// Its owner's name for it.
    pub alias: Option<String>,
    /// For people.
    pub name: String,
    /// The newest version.
    pub latest: i32,
    /// The version that sends use.
    pub published: Option<i32>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    pub updated_at: OffsetDateTime,
}

/// A version's sources.
#[derive(Debug, Clone)]
pub struct StoredVersion {
    /// Which, from 1.
    pub version: i32,
    /// What it holds.
    pub contents: Contents,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

struct Row {
    id: Uuid,
    alias: Option<String>,
    name: String,
    latest: i32,
    published: Option<i32>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl From<Row> for StoredTemplate {
    fn from(row: Row) -> StoredTemplate {
        StoredTemplate {
            id: Id::from_uuid(row.id),
            alias: row.alias,
            name: row.name,
            latest: row.latest,
            published: row.published,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// Stores a new template, without its first version.
///
/// # Errors
/// [`StoreError::Conflict`] when the tenant has one of the same alias.
pub async fn insert(
    connection: &mut PgConnection,
    tenant: TenantId,
    template: &StoredTemplate,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO templates (tenant_id, id, alias, name, latest, published, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        "#,
        tenant.uuid(),
        template.id.uuid(),
        template.alias,
        template.name,
        template.latest,
        template.published,
        template.created_at,
        template.updated_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Stores a version.
///
/// # Errors
/// [`StoreError::Conflict`] when there is one of that number.
pub async fn insert_version(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: TemplateId,
    version: &StoredVersion,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO template_versions (tenant_id, template_id, version, contents, created_at)
        VALUES ($1, $2, $3, $4, $5)
        "#,
        tenant.uuid(),
        id.uuid(),
        version.version,
        contents_json(&version.contents),
        version.created_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A tenant's template.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    name: &TemplateName,
) -> Result<Option<StoredTemplate>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, alias, name, latest, published, created_at, updated_at
        FROM templates WHERE tenant_id = $1 AND (id = $2 OR alias = $3)
        "#,
        tenant.uuid(),
        name.id().map(Id::uuid),
        name.alias(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(StoredTemplate::from))
}

/// A tenant's template, held until the transaction ends.
///
/// # Errors
/// See [`StoreError`].
pub async fn lock(
    connection: &mut PgConnection,
    tenant: TenantId,
    name: &TemplateName,
) -> Result<Option<StoredTemplate>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, alias, name, latest, published, created_at, updated_at
        FROM templates WHERE tenant_id = $1 AND (id = $2 OR alias = $3) FOR UPDATE
        "#,
        tenant.uuid(),
        name.id().map(Id::uuid),
        name.alias(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(StoredTemplate::from))
}

/// A version of a template.
///
/// # Errors
/// See [`StoreError`].
pub async fn version(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: TemplateId,
    version: i32,
) -> Result<Option<StoredVersion>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT version, contents, created_at FROM template_versions
        WHERE tenant_id = $1 AND template_id = $2 AND version = $3
        "#,
        tenant.uuid(),
        id.uuid(),
        version,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| StoredVersion {
        version: row.version,
        contents: contents(&row.contents),
        created_at: row.created_at,
    }))
}

/// The published versions of the templates with these aliases: what partials stand for.
///
/// # Errors
/// See [`StoreError`].
pub async fn published(
    connection: &mut PgConnection,
    tenant: TenantId,
    aliases: &[String],
) -> Result<Vec<(String, Contents)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT t.alias AS "alias!", v.contents
        FROM templates t
        JOIN template_versions v ON v.tenant_id = t.tenant_id AND v.template_id = t.id AND v.version = t.published
        WHERE t.tenant_id = $1 AND t.alias = ANY ($2)
        "#,
        tenant.uuid(),
        aliases,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.alias, contents(&row.contents))).collect())
}

/// A page of a tenant's templates, oldest first, after `after`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    after: Option<TemplateId>,
    limit: i64,
) -> Result<Vec<StoredTemplate>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, alias, name, latest, published, created_at, updated_at
        FROM templates WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
        "#,
        tenant.uuid(),
        after.map(Id::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(StoredTemplate::from).collect())
}

/// The numbers and times of a template's versions, newest first.
///
/// # Errors
/// See [`StoreError`].
pub async fn versions(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: TemplateId,
) -> Result<Vec<(i32, OffsetDateTime)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT version, created_at FROM template_versions
        WHERE tenant_id = $1 AND template_id = $2 ORDER BY version DESC LIMIT 1000
        "#,
        tenant.uuid(),
        id.uuid(),
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.version, row.created_at)).collect())
}

/// Writes what may change of a template that is held.
///
/// # Errors
/// [`StoreError::Conflict`] when the tenant has another of the same alias.
pub async fn update(
    connection: &mut PgConnection,
    tenant: TenantId,
    template: &StoredTemplate,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE templates SET alias = $3, name = $4, latest = $5, published = $6, updated_at = $7
        WHERE tenant_id = $1 AND id = $2
        "#,
        tenant.uuid(),
        template.id.uuid(),
        template.alias,
        template.name,
        template.latest,
        template.published,
        template.updated_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes a template with its versions.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: TemplateId,
) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM templates WHERE tenant_id = $1 AND id = $2", tenant.uuid(), id.uuid())
        .execute(connection)
        .await?;
    Ok(())
}

fn contents_json(contents: &Contents) -> Value {
    let mut object = bodies_json(&contents.common);
    if !contents.locales.is_empty() {
        let locales = contents.locales.iter();
        let locales =
            locales.map(|(locale, own)| (locale.as_str().to_owned(), Value::Object(bodies_json(own))));
        object.insert("locales".to_owned(), Value::Object(locales.collect()));
    }
    Value::Object(object)
}

fn contents(stored: &Value) -> Contents {
    let locales = stored.get("locales").and_then(Value::as_object).into_iter().flatten();
    Contents {
        common: bodies(stored),
        locales: locales.filter_map(|(tag, own)| Some((Locale::parse(tag).ok()?, bodies(own)))).collect(),
    }
}

/// Sources as an object that leaves out what is not there.
pub(super) fn bodies_json(bodies: &Bodies) -> Map<String, Value> {
    let parts = Part::ALL.into_iter();
    parts.filter_map(|part| Some((part.name().to_owned(), bodies.get(part)?.into()))).collect()
}

/// Reads what [`bodies_json`] wrote.
pub(super) fn bodies(stored: &Value) -> Bodies {
    let mut bodies = Bodies::default();
    for part in Part::ALL {
        *bodies.get_mut(part) = stored.get(part.name()).and_then(Value::as_str).map(str::to_owned);
    }
    bodies
}
