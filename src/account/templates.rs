//! Tenants' templates: made, changed, published and deleted. A change of the sources is a new version; which version
//! sends use is a decision of its own.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::domain::id::{TemplateId, TenantId};
use crate::domain::template::{Alias, Contents, TemplateName};
use crate::store::audit::{self, Details, Entry};
use crate::store::templates::{self, StoredTemplate, StoredVersion};
use crate::store::{Database, PgConnection, StoreError};

use super::Actor;

/// Whether a version is what sends use from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    /// It is.
    Published,
    /// It waits to be published.
    Draft,
}

/// A template to make.
#[derive(Debug, Clone)]
pub struct NewTemplate {
    /// Its owner's name for it.
    pub alias: Option<Alias>,
    /// For people.
    pub name: String,
    /// Its first version.
    pub contents: Contents,
    /// Of the first version.
    pub publication: Publication,
}

/// What is to change; `None`: it stays.
#[derive(Debug, Clone, Default)]
pub struct TemplateChange {
    /// Another alias, or none any more.
    pub alias: Option<Option<Alias>>,
    /// Another name.
    pub name: Option<String>,
    /// Other sources: a new version.
    pub contents: Option<Contents>,
    /// Published: the newest version is. Draft: without other sources, none is any more.
    pub publication: Option<Publication>,
}

/// Why a template is not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The tenant has none of that name.
    #[error("there is no such template")]
    NotFound,
    /// The template has no such version.
    #[error("there is no such version of this template")]
    NoVersion,
    /// The tenant has another of the same alias.
    #[error("there is a template with this alias")]
    Conflict,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for TemplateError {
    fn from(error: StoreError) -> TemplateError {
        match error {
            StoreError::Conflict(_) => TemplateError::Conflict,
            other => TemplateError::Store(other),
        }
    }
}

/// Makes a template with its first version.
///
/// # Errors
/// See [`TemplateError`].
pub async fn create(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    new: NewTemplate,
    now: OffsetDateTime,
) -> Result<(StoredTemplate, StoredVersion), TemplateError> {
    let stored = StoredTemplate {
        id: TemplateId::new(now),
        alias: new.alias.map(|alias| alias.as_str().to_owned()),
        name: new.name,
        latest: 1,
        published: (new.publication == Publication::Published).then_some(1),
        created_at: now,
        updated_at: now,
    };
    let version = StoredVersion { version: 1, contents: new.contents, created_at: now };
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    templates::insert(&mut transaction, tenant, &stored).await?;
    templates::insert_version(&mut transaction, tenant, stored.id, &version).await?;
    let change = audit::made(shown(&stored));
    changed(&mut transaction, actor, (tenant, &stored), "template.create", change, now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok((stored, version))
}

/// Changes a template; `change` makes the change out of the newest version.
///
/// # Errors
/// See [`TemplateError`]; and what `change` refuses.
pub async fn update<E: From<TemplateError>>(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    name: &TemplateName,
    change: impl FnOnce(&Contents) -> Result<TemplateChange, E>,
    now: OffsetDateTime,
) -> Result<(StoredTemplate, StoredVersion), E> {
    let store = |error: StoreError| E::from(TemplateError::from(error));
    let mut transaction = database.serve().begin().await.map_err(|error| store(error.into()))?;
    let Some(mut stored) = templates::lock(&mut transaction, tenant, name).await.map_err(store)? else {
        return Err(TemplateError::NotFound.into());
    };
    let newest =
        templates::version(&mut transaction, tenant, stored.id, stored.latest).await.map_err(store)?;
    let mut version = newest.ok_or(TemplateError::NoVersion)?;
    let before = shown(&stored);
    let change = change(&version.contents)?;
    if let Some(contents) = change.contents.clone() {
        stored.latest += 1;
        version = StoredVersion { version: stored.latest, contents, created_at: now };
        templates::insert_version(&mut transaction, tenant, stored.id, &version).await.map_err(store)?;
    }
    apply(&mut stored, change, now);
    templates::update(&mut transaction, tenant, &stored).await.map_err(store)?;
    let change = audit::changed(before, shown(&stored));
    changed(&mut transaction, actor, (tenant, &stored), "template.update", change, now)
        .await
        .map_err(store)?;
    transaction.commit().await.map_err(|error| store(error.into()))?;
    Ok((stored, version))
}

fn apply(stored: &mut StoredTemplate, change: TemplateChange, now: OffsetDateTime) {
    if let Some(alias) = change.alias {
        stored.alias = alias.map(|alias| alias.as_str().to_owned());
    }
    if let Some(name) = change.name {
        stored.name = name;
    }
    match change.publication {
        Some(Publication::Published) => stored.published = Some(stored.latest),
        Some(Publication::Draft) if change.contents.is_none() => stored.published = None,
        _ => {}
    }
    stored.updated_at = now;
}

/// Makes a version what sends use: the newest, or the one that is named.
///
/// # Errors
/// See [`TemplateError`].
pub async fn publish(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    name: &TemplateName,
    version: Option<i32>,
    now: OffsetDateTime,
) -> Result<(StoredTemplate, StoredVersion), TemplateError> {
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    let found = templates::lock(&mut transaction, tenant, name).await?;
    let mut stored = found.ok_or(TemplateError::NotFound)?;
    let number = version.unwrap_or(stored.latest);
    let found = templates::version(&mut transaction, tenant, stored.id, number).await?;
    let version = found.ok_or(TemplateError::NoVersion)?;
    let before = shown(&stored);
    stored.published = Some(number);
    stored.updated_at = now;
    templates::update(&mut transaction, tenant, &stored).await?;
    let change = audit::changed(before, shown(&stored));
    changed(&mut transaction, actor, (tenant, &stored), "template.publish", change, now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok((stored, version))
}

/// Deletes a template. False: the tenant has no such template.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    name: &TemplateName,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let mut transaction = database.serve().begin().await?;
    let Some(stored) = templates::lock(&mut transaction, tenant, name).await? else { return Ok(false) };
    templates::delete(&mut transaction, tenant, stored.id).await?;
    let change = audit::removed(shown(&stored));
    changed(&mut transaction, actor, (tenant, &stored), "template.delete", change, now).await?;
    transaction.commit().await?;
    Ok(true)
}

/// As the audit log tells it.
fn shown(template: &StoredTemplate) -> Value {
    json!({
        "alias": template.alias,
        "name": template.name,
        "version": template.latest,
        "published": template.published,
    })
}

async fn changed(
    connection: &mut PgConnection,
    actor: &Actor,
    (tenant, template): (TenantId, &StoredTemplate),
    action: &'static str,
    details: Details,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let target = template.id.to_string();
    let entry = Entry { actor: &actor.name, ip: actor.ip, action, target: &target, details };
    audit::append(connection, tenant, entry, now).await
}
